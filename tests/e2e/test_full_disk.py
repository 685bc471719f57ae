#!/usr/bin/env python3
"""A full disk, of datanodes and of namenodes: a clear error, nothing lost, service again when there is room."""

import errno
import os
import subprocess

from dfs_e2e import Cluster, log, main, require, skip, wait_for

MIB = 1 << 20


def mount(path, size_mib):
    os.makedirs(path)
    if os.geteuid() != 0:
        skip("e2e_full_disk", "needs root to mount a small disk")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", path],
                          capture_output=True, check=False)
    if done.returncode != 0:
        skip("e2e_full_disk", f"cannot mount a tmpfs: {done.stderr.decode().strip()}")


def fill(path):
    """Takes what is left of a disk; returns the file to remove."""
    name = os.path.join(path, "filler")
    with open(name, "wb", buffering=0) as f:
        try:
            while True:
                f.write(b"x" * (64 << 10))
        except OSError as error:
            require(error.errno == errno.ENOSPC, f"{error}")
    return name


def test_datanodes():
    options = ("--datanode-setting", "storage.reserve_bytes=4194304",
               "--namenode-setting", "blocks.deletion_delay_ms=1000")
    with Cluster(namenodes=1, datanodes=3, start=False, options=options) as c:
        mounts = []
        try:
            # The cluster is made on the big disk, then each datanode gets a small one of its own.
            c.start()
            c.stop()
            for i in (1, 2, 3):
                path = f"{c.dir}/datanode-{i}/data"
                subprocess.run(["rm", "-rf", path], check=True)
                mount(path, 64)
                mounts.append(path)
            c.start()
            kept = os.urandom(20 * MIB)
            c.run("put", "-", "/kept", stdin=kept)
            too_big = os.urandom(60 * MIB)
            run = c.run("put", "-", "/too-big", stdin=too_big, code=None)
            require(run.code == 6, f"expected 'no space' (6): {run}")
            log(run.error_text.strip())
            require("space" in run.error_text, f"unclear: {run.error_text}")
            require(c.run("ls", "-a", "/").text.splitlines() == ["kept"], "something is left of the failed copy")
            require(all(p["state"] == "running" for p in c.processes().values()), "a daemon died of a full disk")
            require(c.run("cat", "/kept").out == kept, "what was there before is damaged")
            # Deleting needs no space and gives it back.
            c.run("rm", "--skip-trash", "/kept")
            again = os.urandom(30 * MIB)

            def put_again():
                return c.run("put", "-f", "-", "/again", stdin=again, code=None).code == 0
            wait_for("space to come back", put_again, every=0.5)
            require(c.run("cat", "/again").out == again, "written after the disk was full")
            # Who had no room meanwhile gets its replica as room comes back.
            wait_for("full replication", lambda: c.status()["under_replicated"] == 0, every=0.2)
            c.run("fsck")
        finally:
            for path in mounts:  # lazily: the daemons still run
                subprocess.run(["umount", "-l", path], check=False)


def test_namenode():
    """A member that cannot store its log stops and says why; the others serve; with room it comes back."""
    with Cluster(namenodes=3, datanodes=1, start=False) as c:
        c.start()
        c.run("put", "-", "/before", stdin=b"b" * 1000)
        victim = c.leader()
        c.stop()
        data = f"{c.dir}/{victim}/data"
        os.rename(data, f"{data}.moved")
        mount(data, 200)
        try:
            subprocess.run(["cp", "-a", f"{data}.moved/.", data], check=True)
            c.start()
            filler = fill(data)
            # Files whose bytes go through the log, until that needs room.
            os.mkdir(f"{c.work}/small")
            for i in range(3000):
                with open(f"{c.work}/small/{i}", "wb") as f:
                    f.write(b"%05d" % i * 3200)
            rounds = 0
            while c.processes()[victim]["state"] == "running":
                require(rounds < 20, "its disk is full and it goes on as if nothing were")
                c.run("put", "-r", "small", f"/round{rounds}")
                rounds += 1
            log(f"{victim} ended in round {rounds}")
            text = open(f"{c.dir}/log/{victim}.log").read()
            require("no_space" in text or "No space left" in text, f"it does not say why: {text[-1000:]}")
            require(sum(p["state"] == "running" for p in c.processes().values()) == 3, "another died with it")
            require(c.run("cat", "/before").out == b"b" * 1000, "reading without it")
            c.run("put", "-", "/meanwhile", stdin=b"m" * 1000)
            os.remove(filler)
            c.revive(victim)
            c.wait_healthy()
            log(f"namenodes agree: {c.wait_same_state()}")
            for i in range(rounds):
                usage = c.run("du", "-s", "--json", f"/round{i}").json()
                require(usage["files"] == 3000 and usage["bytes"] == 3000 * 16000, f"/round{i}: {usage}")
        finally:
            subprocess.run(["umount", "-l", data], check=False)


if __name__ == "__main__":
    main(test_datanodes, test_namenode)
