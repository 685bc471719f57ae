#!/usr/bin/env python3
"""A copy goes on while the leader, then a datanode, is killed with -9 at random moments, 20 times.

The copy must show no error and every byte must come back equal; all namenodes must end in the same state.
Then everything is killed at once and started again, and all is compared again. Each kill must have met
what it was meant for: for the leader a proposal that was not committed yet, for a datanode an open chain
that it was a member of. A kill that came too late for that is made good by another.
"""

import hashlib
import os
import random
import signal
import subprocess
import threading
import time

from dfs_e2e import (WAIT_SECONDS, Cluster, describe_tree, log, main, make_tree, require, require_equal_trees,
                     wait_for)
from thrift_status import NamenodeStatus

KILLS = int(os.environ.get("DFS_TEST_KILLS", "20"))
SEED = int(os.environ.get("DFS_TEST_SEED", str(random.SystemRandom().randrange(1 << 30))))
# Small blocks, so that a stream passes from block to block many times.
BLOCK_BYTES = 8 << 20


class Stream(threading.Thread):
    """`dfs put -` of random bytes at a bounded rate, until it is told to end."""

    def __init__(self, cluster, path, seed):
        super().__init__()
        self.rng = random.Random(seed)
        self.sha = hashlib.sha256()
        self.bytes = 0
        self.ending = False
        self.process = cluster.popen("put", "--block-size", str(BLOCK_BYTES), "-", path,
                                     stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self):
        try:
            while not self.ending:
                piece = self.rng.randbytes(256 << 10)
                self.process.stdin.write(piece)
                self.sha.update(piece)
                self.bytes += len(piece)
                time.sleep(0.02)  # the rate of the source, some 12 MiB/s
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def finish(self):
        self.ending = True
        self.join()
        error = self.process.stderr.read().decode()
        require(self.process.wait(WAIT_SECONDS) == 0, f"the stream failed: {error}")
        require(error == "", f"the stream showed: {error}")


class Trees(threading.Thread):
    """`dfs put -r` of a tree, again and again under new names."""

    def __init__(self, cluster, tree):
        super().__init__()
        self.cluster = cluster
        self.tree = tree
        self.copies = []
        self.failure = None
        self.ending = False

    def run(self):
        while not self.ending and self.failure is None:
            target = f"/copies/{len(self.copies)}"
            run = self.cluster.run("put", "-r", self.tree, target, code=None)
            if run.code != 0 or run.err:
                self.failure = str(run)
                return
            self.copies.append(target)


def open_chains(c, processes):
    """The blocks of the stream that are being written now: {block: names of the datanodes}."""
    addresses = {p["address"]: p["name"] for p in processes.values() if p["role"] == "datanode"}
    out = {}
    for name in c.run("ls", "-a", "/streams").text.splitlines():
        run = c.run("fsck", "-v", "--json", f"/streams/{name}", code=None)
        for file in run.json()["found"] if run.code in (0, 7) else []:
            for block in file["blocks"]:
                members = [addresses[r["address"]] for r in block["replicas"] if r["address"] in addresses]
                if block["state"] == "open" and members:
                    out[block["block"]] = members
    return out


def kill_process(c, name, process):
    os.kill(process["pid"], signal.SIGKILL)
    wait_for(f"the end of {name}", lambda: c.processes()[name]["state"] == "stopped")


def kill_leader(c):
    """With -9 while an entry that somebody waits for is not committed, and a chain is open."""
    while True:
        name = c.leader()
        process = c.processes()[name]
        with NamenodeStatus(process["unix"]) as namenode:
            def met():
                status = namenode.ask()
                if not status["leader"]:
                    return "deposed"  # on a busy machine that happens
                return status["proposal_pending"] and status["open_blocks"] > 0 and "pending"
            if wait_for("a pending proposal", met, every=0) == "pending":
                kill_process(c, name, process)
                return name, "a pending proposal and an open chain"


def kill_member(c, rng):
    """With -9 a datanode of a chain; whether that chain was open then is known when it still is afterwards."""
    processes = c.processes()
    block, members = rng.choice(sorted(wait_for("an open chain", lambda: open_chains(c, processes)).items()))
    name = rng.choice(members)
    kill_process(c, name, processes[name])
    return name, f"the open chain of block {block}" if block in open_chains(c, processes) else None


def revive(c, name):
    c.revive(name)
    if name.startswith("namenode"):
        wait_for("the namenode's return", lambda: all(
            n["answers"] for n in (c.try_status() or {"namenodes": [{"answers": False}]})["namenodes"]))
    else:
        wait_for("the datanode's return", lambda: sum(
            d["state"] == "live" for d in (c.try_status() or {"datanodes": []})["datanodes"]) == 3)


def compare(c, trees, stream_path, sha, number_of_bytes, round_name):
    for i, target in enumerate(trees.copies):
        # The trees are equal, so it is enough to bring some of them back whole and to count the others.
        if i in (0, len(trees.copies) - 1) or i % 7 == 3:
            copy = f"{c.work}/back-{round_name}-{i}"
            c.run("get", "-r", target, copy)
            require_equal_trees(trees.tree, copy)
            subprocess.run(["rm", "-rf", copy], check=True)
        usage = c.run("du", "-s", "--json", target).json()
        require(usage["bytes"] == trees.expected_bytes, f"{target} has {usage}, expected {trees.expected_bytes} bytes")
    got = hashlib.sha256()
    get = c.popen("cat", stream_path, stdout=subprocess.PIPE)
    size = 0
    while piece := get.stdout.read(1 << 20):
        got.update(piece)
        size += len(piece)
    require(get.wait(WAIT_SECONDS) == 0 and size == number_of_bytes, f"{stream_path}: {size} of {number_of_bytes} bytes")
    require(got.hexdigest() == sha, f"{stream_path} came back different")


def test_kills():
    rng = random.Random(SEED)
    log(f"seed {SEED}")
    with Cluster(namenodes=3, datanodes=3) as c:
        tree = make_tree(f"{c.work}/tree", seed=SEED, files=60, largest=2_000_000)
        c.run("mkdir", "/copies")
        c.run("mkdir", "/streams")
        stream = Stream(c, "/streams/long", SEED)
        stream.start()
        trees = Trees(c, tree)
        trees.expected_bytes = sum(
            os.lstat(os.path.join(folder, name)).st_size for folder, _, files in os.walk(tree) for name in files)
        trees.start()
        done = 0
        while done < KILLS:
            time.sleep(rng.random() * 0.7)  # the random moment
            victim, met = kill_leader(c) if done % 2 == 0 else kill_member(c, rng)
            require(stream.process.poll() is None, f"the stream ended: {stream.process.returncode}")
            require(trees.failure is None, f"a copy failed: {trees.failure}")
            log(f"killed {victim}, which met {met or 'nothing, so it does not count'}; "
                f"{stream.bytes >> 20} MiB streamed, {len(trees.copies)} trees copied")
            done += met is not None
            time.sleep(rng.random())  # and how long it is away
            revive(c, victim)
        trees.ending = True
        trees.join()
        require(trees.failure is None, f"a copy failed: {trees.failure}")
        stream.finish()
        log(f"{stream.bytes >> 20} MiB streamed, {len(trees.copies)} trees copied; comparing")
        require(len(trees.copies) > 0 and stream.bytes > KILLS << 18, "there was work during the kills")
        c.wait_healthy()
        sha = stream.sha.hexdigest()
        compare(c, trees, "/streams/long", sha, stream.bytes, "first")
        log(f"namenodes agree: {c.wait_same_state()}")
        c.run("fsck")
        before = describe_tree(tree)

        log("everything is killed at once")
        c.kill_all()
        c.start()
        c.wait_healthy()
        compare(c, trees, "/streams/long", sha, stream.bytes, "second")
        log(f"namenodes agree: {c.wait_same_state()}")
        c.run("fsck")
        require(describe_tree(tree) == before, "the source stayed as it was")


if __name__ == "__main__":
    main(test_kills)
