#!/usr/bin/env python3
"""Datanodes whose disk is full: a clear error, nothing lost, service again when space is given back."""

import os
import subprocess

from dfs_e2e import Cluster, log, main, require, skip, wait_for

MIB = 1 << 20


def mount(path, size_mib):
    os.makedirs(path)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "tmpfs", path],
                          capture_output=True, check=False)
    if done.returncode != 0:
        skip("e2e_full_disk", f"cannot mount a tmpfs: {done.stderr.decode().strip()}")


def test_full_disk():
    if os.geteuid() != 0:
        skip("e2e_full_disk", "needs root to mount a small disk")
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
            c.run("rm", "/kept")
            again = os.urandom(30 * MIB)

            def put_again():
                return c.run("put", "-f", "-", "/again", stdin=again, code=None).code == 0
            wait_for("space to come back", put_again, every=0.5)
            require(c.run("cat", "/again").out == again, "written after the disk was full")
            # Who had no room meanwhile gets its replica as room comes back.
            wait_for("full replication", lambda: c.status()["under_replicated"] == 0, every=0.2)
            c.run("fsck")
        finally:
            c.run("dev", "stop", c.dir, code=None)
            for path in mounts:
                subprocess.run(["umount", "-l", path], check=False)


if __name__ == "__main__":
    main(test_full_disk)
