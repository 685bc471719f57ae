#!/usr/bin/env python3
"""Lost replicas are made again; a corrupt replica is found and replaced; a dead writer's file is closed."""

import glob
import os
import signal
import subprocess
import time

from dfs_e2e import Cluster, log, main, require, wait_for


def replicas_of(c, path):
    """For each block the addresses of those that have it."""
    found = c.run("fsck", "-v", "--json", path, code=None).json()["found"]
    return [[r["address"] for r in b["replicas"]] for f in found for b in f["blocks"]]


def test_datanode_gone_for_good():
    with Cluster(namenodes=1, datanodes=4, options=("--namenode-setting", "blocks.dead_after_ms=5000")) as c:
        data = os.urandom(5 << 20)
        for i in range(8):
            c.run("put", "--block-size", "1M", "-", f"/f{i}", stdin=data)
        addresses = {p["name"]: p["address"] for p in c.processes().values()}
        by_address = {d["address"]: d["replicas"] for d in c.status()["datanodes"]}
        victim = max((n for n in addresses if n.startswith("datanode")), key=lambda n: by_address[addresses[n]])
        require(by_address[addresses[victim]] > 0, "the victim holds replicas")
        c.kill(victim)
        started = time.monotonic()
        # That blocks are short of replicas may pass before anybody sees it; that they have them elsewhere stays.
        for i in range(8):
            wait_for(f"three replicas of /f{i} on those that remain", lambda path=f"/f{i}": all(
                len(set(r)) == 3 and addresses[victim] not in r for r in replicas_of(c, path)), every=0.2)
        log(f"repaired {time.monotonic() - started:.1f} s after the kill")
        c.run("fsck")
        for i in range(8):
            require(len(replicas_of(c, f"/f{i}")) == 5, f"blocks of /f{i}: {replicas_of(c, f'/f{i}')}")
            require(c.run("cat", f"/f{i}").out == data, f"/f{i} is different")

        # With one fewer there is no place for a third replica, until another joins.
        c.kill("datanode-1" if victim != "datanode-1" else "datanode-2")
        wait_for("the second loss to be noticed", lambda: c.status()["under_replicated"] > 0, every=0.1)
        under = c.run("fsck", code=7)
        require("under-replicated" in under.text, under.text)
        c.run("dev", "start", c.dir, "--datanodes", "5")
        c.run("dev", "kill", c.dir, victim)
        wait_for("full replication on who joined", lambda: c.status()["under_replicated"] == 0, every=0.1)
        for i in range(8):
            require(c.run("cat", f"/f{i}").out == data, f"/f{i} is different after the second loss")


def block_files(c, datanode):
    return [p for p in glob.glob(f"{c.dir}/{datanode}/data/**/blk_*", recursive=True) if not p.endswith(".meta")]


def test_corrupt_replica():
    with Cluster(namenodes=1, datanodes=3) as c:
        data = os.urandom(3 << 20)
        c.run("put", "-", "/f", stdin=data)
        for datanode in ("datanode-1",):  # two good ones must stay for anything to be deleted
            files = wait_for("block files", lambda d=datanode: block_files(c, d))
            require(len(files) == 1, f"{files}")
            with open(files[0], "r+b") as f:
                f.seek(1_234_567)
                byte = f.read(1)
                f.seek(1_234_567)
                f.write(bytes([byte[0] ^ 0x40]))
        # Readers are never given a wrong byte, whichever replica they meet first.
        for _ in range(6):
            require(c.run("cat", "/f").out == data, "a corrupt replica was served")
        # What was found is replaced from a good one.
        wait_for("the corrupt replicas to be replaced",
                 lambda: c.run("cat", "/f").out == data and c.status()["corrupt_replicas"] == 0
                 and c.status()["under_replicated"] == 0, every=0.2)
        c.run("fsck")

        # All three of another file: an error with a name, never wrong bytes.
        c.run("put", "-", "/g", stdin=data)
        found = c.run("fsck", "-v", "--json", "/g").json()["found"][0]["blocks"][0]["block"]
        for datanode in ("datanode-1", "datanode-2", "datanode-3"):
            for path in block_files(c, datanode):
                if os.path.basename(path) == f"blk_{found}":
                    with open(path, "r+b") as f:
                        f.seek(2_000_000)
                        byte = f.read(1)
                        f.seek(2_000_000)
                        f.write(bytes([byte[0] ^ 1]))
        run = c.run("cat", "/g", code=7)
        require(data.startswith(run.out), "wrong bytes were given out")
        require("/g" in run.error_text, f"the file is named: {run.error_text}")
        require(c.run("cat", "/f").out == data, "the other file is well")
        fsck = c.run("fsck", code=7)
        require("/g" in fsck.text, f"fsck names the file: {fsck.text}")


def test_dying_writer():
    """After kill -9 of a writer all that it had synced is there, and another can append."""
    with Cluster(namenodes=3, datanodes=3) as c:
        first = os.urandom(3_000_000)
        c.run("append", "-", "/log", stdin=first)  # returns synced
        writer = c.popen("append", "-", "/log", stdin=subprocess.PIPE)
        written = os.urandom(2_000_000)
        writer.stdin.write(written)
        writer.stdin.flush()
        wait_for("the writer's block to be open", lambda: c.status()["open_blocks"] > 0)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        died = time.monotonic()
        require(c.run("cat", "/log").out[:len(first)] == first, "what was synced is readable at once")
        last = b"after the writer's death\n"
        # That it takes no more than the session's expiry and five seconds is shown in simulated time
        # (tests/service, AWriterThatDiesIsFencedAndItsBlockClosed); here it is told.
        c.run("append", "-", "/log", stdin=last)
        log(f"another writer appended after {time.monotonic() - died:.1f} s")
        got = c.run("cat", "/log").out
        require(got.startswith(first) and got.endswith(last), "synced bytes or the new ones are missing")
        middle = got[len(first):-len(last)]
        require(written.startswith(middle), "bytes that nobody wrote")
        wait_for("the block to be closed", lambda: c.status()["open_blocks"] == 0, every=0.2)
        log(f"namenodes agree: {c.wait_same_state()}")


if __name__ == "__main__":
    main(test_datanode_gone_for_good, test_corrupt_replica, test_dying_writer)
