#!/usr/bin/env python3
"""Keeping replicas over the life of datanodes and their disks: what rots unread is found and replaced."""

import glob
import os
import urllib.request

from dfs_e2e import WAIT_SECONDS, Cluster, log, main, require, wait_for


def block_files(c, datanode):
    return [p for p in glob.glob(f"{c.dir}/{datanode}/data/**/blk_*", recursive=True) if not p.endswith(".meta")]


def flip(path, offset, bit):
    with open(path, "r+b") as f:
        f.seek(offset)
        byte = f.read(1)
        f.seek(offset)
        f.write(bytes([byte[0] ^ bit]))


def metric(c, datanode, name):
    address = c.processes()[datanode]["http"]
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=WAIT_SECONDS) as page:
        for line in page.read().decode().splitlines():
            if line.startswith(name + " "):
                return float(line.split()[1])
    return None


def content(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except FileNotFoundError:
        return None


def test_scanner():
    """A bit of a replica that nobody reads turns over; so does one of another's sums."""
    with Cluster(namenodes=1, datanodes=3, options=("--datanode-setting", "scanner.period_ms=1s",
                                                    "--datanode-setting", "scanner.bytes_per_second=64MiB")) as c:
        data = {f"/f{i}": os.urandom(3 << 20) for i in range(4)}
        for path, bytes_ in data.items():
            c.run("put", "-", path, stdin=bytes_)
        files = wait_for("block files", lambda: len(block_files(c, "datanode-2")) == 4 and block_files(c, "datanode-2"))
        wait_for("every replica to be verified", lambda: metric(c, "datanode-2", "dfs_datanode_scanner_replicas_total") >= 4
                 and metric(c, "datanode-2", "dfs_datanode_never_verified_replicas") == 0)
        require(metric(c, "datanode-2", "dfs_datanode_scanner_corrupt_total") == 0, "nothing is corrupt")
        good = {path: content(path) for path in files}
        flip(files[0], 1_234_567, 0x40)
        flip(files[1] + ".meta", 1024 + 8 * 500 + 3, 0x01)
        wait_for("both to be found", lambda: metric(c, "datanode-2", "dfs_datanode_scanner_corrupt_total") == 2, every=0.1)
        wait_for("both to be replaced", lambda: all(content(path) == good[path] for path in files)
                 and c.status()["corrupt_replicas"] == 0 and c.status()["under_replicated"] == 0, every=0.2)
        found = metric(c, "datanode-2", "dfs_datanode_scanner_corrupt_total")
        verified = metric(c, "datanode-2", "dfs_datanode_scanner_replicas_total")
        wait_for("another round", lambda: metric(c, "datanode-2", "dfs_datanode_scanner_replicas_total") >= verified + 8)
        require(metric(c, "datanode-2", "dfs_datanode_scanner_corrupt_total") == found == 2, "the new ones are well")
        c.run("fsck")
        for path, bytes_ in data.items():
            require(c.run("cat", path).out == bytes_, f"{path} is different")

        # Overwriting, truncating and deleting under the scanner is no damage.
        for i in range(20):
            c.run("put", "-f", "-", "/f0", stdin=data["/f1"])
            c.run("append", "-", "/f2", stdin=b"more")
            c.run("truncate", "-s", str((3 << 20) - 1000 * i), "/f3")
            c.run("rm", "/f1")
            c.run("put", "-", "/f1", stdin=data["/f1"])
        verified = metric(c, "datanode-1", "dfs_datanode_scanner_replicas_total")
        wait_for("a round more", lambda: metric(c, "datanode-1", "dfs_datanode_scanner_replicas_total") >= verified + 8)
        for i in (1, 3):
            require(metric(c, f"datanode-{i}", "dfs_datanode_scanner_corrupt_total") == 0, "nothing else is corrupt")
        log("the scanner found two of two")


if __name__ == "__main__":
    main(test_scanner)
