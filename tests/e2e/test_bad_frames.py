#!/usr/bin/env python3
"""Garbage at every port: the daemons stay up, keep their memory, and serve others meanwhile."""

import os
import random
import re
import socket
import struct

from dfs_e2e import WAIT_SECONDS, Cluster, log, main, require

SEED = int(os.environ.get("DFS_TEST_SEED", str(random.SystemRandom().randrange(1 << 30))))
MASK = (1 << 64) - 1
# The first 64 bytes of XXH3's default secret: enough for inputs of 33 to 64 bytes.
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c")


def xxh3_64(data):
    """XXH3-64 of 33 to 64 bytes: a frame header's checksum."""
    assert 33 <= len(data) <= 64

    def mix16(at, secret_at):
        low, high = struct.unpack_from("<QQ", data, at)
        s0, s1 = struct.unpack_from("<QQ", SECRET, secret_at)
        product = (low ^ s0) * (high ^ s1)
        return (product & MASK) ^ (product >> 64)
    acc = len(data) * 0x9E3779B185EBCA87 & MASK
    acc += mix16(16, 32) + mix16(len(data) - 32, 48) + mix16(0, 0) + mix16(len(data) - 16, 16)
    acc &= MASK
    acc ^= acc >> 37
    acc = acc * 0x165667919E3779F9 & MASK
    return acc ^ (acc >> 32)


def frame(kind=1, method=10, request=1, payload=b"", claim=None, magic=b"DRF1", version=1, good_sum=True):
    head = magic + struct.pack("<BBHIIQQI", version, kind, method, 0, 1000, request, 0,
                               len(payload) if claim is None else claim)
    checksum = xxh3_64(head) & 0xFFFFFFFF
    return head + struct.pack("<I", checksum if good_sum else checksum ^ 1) + payload


def preamble(kind=1, body=b"", magic=b"DFS1", claim=None):
    return magic + struct.pack("<BBH", kind, 0, len(body) if claim is None else claim) + body


def hello(low=1, high=1, role=1, method=0, cluster="", node=0):
    name = cluster.encode()
    return preamble(1, struct.pack("<HHBBQQ", low, high, role, method, node, 0) + bytes([len(name)]) + name +
                    os.urandom(32))


def connect(address):
    if address.startswith("/"):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(WAIT_SECONDS)
        s.connect(address)
    else:
        host, port = address.rsplit(":", 1)
        s = socket.create_connection((host, int(port)), timeout=WAIT_SECONDS)
    return s


def ask(address, *pieces, wants):
    """Sends and returns what came back until that has the wanted bytes or the other side closed."""
    got = b""
    with connect(address) as s:
        for piece in pieces:
            s.sendall(piece)
        while wants not in got and (piece := s.recv(65536)):
            got += piece
    return got


def throw(address, *pieces, read=True):
    """Sends and returns what came back before the other side closed or fell silent."""
    got = b""
    with connect(address) as s:
        s.settimeout(1.0)
        try:
            for piece in pieces:
                s.sendall(piece)
            if not read:
                return got
            s.shutdown(socket.SHUT_WR)
            while piece := s.recv(65536):
                got += piece
        except (ConnectionError, socket.timeout, BrokenPipeError):
            pass
    return got


def garbage(rng, cluster_id):
    """One hostile conversation."""
    ok = hello(cluster=cluster_id)
    choice = rng.randrange(15)
    if choice == 0:
        return [rng.randbytes(rng.randrange(1, 5000))]
    if choice == 1:
        return [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"]
    if choice == 2:
        return [preamble(magic=b"DFS2", body=rng.randbytes(60))]
    if choice == 3:
        return [hello(low=7, high=9, cluster=cluster_id)]
    if choice == 4:
        return [hello(cluster="00000000-0000-0000-0000-000000000000")]
    if choice == 5:
        return [ok[:rng.randrange(1, len(ok))]]  # truncated
    if choice == 6:
        return [preamble(kind=rng.randrange(256), body=rng.randbytes(rng.randrange(1024)))]
    if choice == 7:
        return [preamble(claim=65535, body=rng.randbytes(2000))]  # oversize
    if choice == 8:
        return [hello(role=rng.randrange(256), method=rng.randrange(256), cluster=cluster_id)]
    if choice == 9:
        return [ok, frame(claim=(16 << 20) + 1)]
    if choice == 10:
        return [ok, frame(payload=rng.randbytes(100), claim=10 << 20)]  # truncated frame
    if choice == 11:
        return [ok, frame(good_sum=False), frame(magic=b"XXXX"), frame(version=9)]
    if choice == 12:  # well-formed frames of every method with random content
        return [ok] + [frame(method=m, request=m + 1, payload=rng.randbytes(rng.randrange(200)))
                       for m in range(0, 200)]
    if choice == 13:  # frames of every type
        return [ok] + [frame(kind=k, request=rng.randrange(4), payload=rng.randbytes(64)) for k in range(0, 8)]
    return [struct.pack(">I", rng.choice([0, 1, 1 << 20, 0x7FFFFFFF])) + rng.randbytes(300)]  # framed Thrift


def test_garbage():
    rng = random.Random(SEED)
    log(f"seed {SEED}")
    # A known value, so that the checksum of this test is not garbage itself.
    with Cluster(namenodes=3, datanodes=3) as c:
        data = os.urandom(300_000)
        c.run("put", "-", "/f", stdin=data)
        cluster_id = c.status()["cluster_id"]
        processes = c.processes()
        targets = []
        for name, p in processes.items():
            targets += [(name, p["address"]), (name, p["unix"])]
            if "raft_address" in p:
                targets.append((name, p["raft_address"]))
        before = {n: p["resident_bytes"] for n, p in processes.items()}
        # A valid frame on a Unix socket is answered: the hostile ones below differ from it in one thing.
        answer = ask(processes["namenode-1"]["unix"], hello(cluster=cluster_id), frame(method=70, payload=b"\0"),
                     wants=b"DRF1")
        require(b"DRF1" in answer, f"a well-formed request got no frame: {answer[:100]!r}")
        answer = ask(processes["namenode-1"]["unix"], hello(low=7, high=9, cluster=cluster_id), wants=b"version")
        require(re.search(rb"version", answer), f"no word of the version: {answer!r}")
        answer = ask(processes["namenode-1"]["unix"], hello(cluster="11111111-1111-1111-1111-111111111111"),
                     wants=b"cluster")
        require(re.search(rb"cluster", answer), f"no word of the cluster: {answer!r}")
        conversations = 0
        for round_number in range(12):
            for name, address in targets:
                for _ in range(3):
                    throw(address, *garbage(rng, cluster_id), read=rng.random() < 0.3)
                    conversations += 1
            require(c.run("cat", "/f").out == data, "service beside the garbage")
            states = {n: p["state"] for n, p in c.processes().items()}
            require(all(s == "running" for s in states.values()), f"after round {round_number}: {states}")
        # Connections that say nothing do not keep others out.
        idle = [connect(address) for _, address in targets for _ in range(20)]
        require(c.run("cat", "/f").out == data, "service beside idle connections")
        for s in idle:
            s.close()
        after = c.processes()
        require({n: p["pid"] for n, p in after.items()} == {n: p["pid"] for n, p in processes.items()},
                "a daemon was started again")
        for name, p in after.items():
            grown = (p["resident_bytes"] - before[name]) >> 20
            require(grown < 200, f"{name} grew by {grown} MiB")
        log(f"{conversations} conversations")
        c.run("put", "-", "/g", stdin=data)
        require(c.run("cat", "/g").out == data, "writing after the garbage")
        log(f"namenodes agree: {c.wait_same_state()}")


if __name__ == "__main__":
    main(test_garbage)
