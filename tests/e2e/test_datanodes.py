#!/usr/bin/env python3
"""Keeping replicas over the life of datanodes and their disks: what rots unread is found and replaced; datanodes are
taken out of service, and disks fail."""

import glob
import json
import os
import signal
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


def datanode(c, name):
    """What status says of the datanode of this process."""
    address = c.processes()[name]["address"]
    return next(d for d in c.status()["datanodes"] if d["address"] == address)


def replicas_of(c, path):
    found = c.run("fsck", "-v", "--json", path, code=None).json()["found"]
    return [sorted(r["address"] for r in b["replicas"]) for f in found for b in f["blocks"]]


def test_decommission():
    with Cluster(namenodes=3, datanodes=4) as c:
        data = os.urandom(4 << 20)
        for i in range(6):
            c.run("put", "--block-size", "1M", "-", f"/f{i}", stdin=data)
        address = {name: p["address"] for name, p in c.processes().items()}
        gone = address["datanode-1"]
        refused = c.run("datanode", "decommission", "nobody:1", code=1)
        require("nobody:1" in refused.error_text, refused.error_text)
        c.run("datanode", "decommission", "-w", gone)
        require(datanode(c, "datanode-1")["service"] == "decommissioned", f"{c.status()}")
        require("decommissioned" in c.run("status").text, "status says so")
        listed = [json.loads(line) for line in c.run("datanode", "list", "--json").text.splitlines()]
        require([d["service"] for d in listed if d["address"] == gone] == ["decommissioned"], f"{listed}")
        c.run("status", "--exit-code")  # which is no warning
        # It can go for good, and nothing is missed; a new leader knows it, too.
        c.kill(c.leader(), "datanode-1")
        for i in range(6):
            require(c.run("cat", f"/f{i}").out == data, f"/f{i} is different")
        wait_for("three replicas on the others", lambda: all(
            len(set(r)) == 3 and gone not in r for i in range(6) for r in replicas_of(c, f"/f{i}")), every=0.2)
        c.run("put", "-", "/new", stdin=data)
        require(all(gone not in r for r in replicas_of(c, "/new")), "it takes no new blocks")
        wait_for("its death to be noticed", lambda: datanode(c, "datanode-1")["state"] == "dead", every=0.2)
        require(c.status()["under_replicated"] == 0, f"{c.status()}")
        # With one fewer there are too few for three replicas.
        few = c.run("datanode", "decommission", address["datanode-2"], code=1)
        require("--yes" in few.error_text, f"{few}")
        # Back, and in service, it is like any other.
        c.revive("datanode-1")
        c.run("datanode", "recommission", gone)
        wait_for("it to be in service", lambda: datanode(c, "datanode-1")["service"] == "in_service"
                 and datanode(c, "datanode-1")["state"] == "live", every=0.2)


def test_maintenance():
    with Cluster(namenodes=1, datanodes=4) as c:
        data = os.urandom(3 << 20)
        for i in range(4):
            c.run("put", "--block-size", "1M", "-", f"/f{i}", stdin=data)
        c.run("put", "--replication", "1", "--block-size", "1M", "-", "/rare", stdin=data)
        address = {name: p["address"] for name, p in c.processes().items()}
        away = next(n for n in address if address[n] == replicas_of(c, "/rare")[0][0])
        c.run("datanode", "maintenance", address[away], code=2)
        c.run("datanode", "maintenance", "--for", "1h", "-w", address[away])
        done = metric(c, "namenode-1", "dfs_replications_done_total")
        c.kill(away)
        wait_for("it to be dead", lambda: datanode(c, away)["state"] == "dead", every=0.2)
        status = c.status()
        require(status["under_replicated"] == 0 and status["missing"] == 0 and status["health"] == "healthy", f"{status}")
        require(metric(c, "namenode-1", "dfs_replications_done_total") == done, "nothing was copied on its account")
        for path in ("/rare", "/f0", "/f3"):
            require(c.run("cat", path).out == data, f"{path} is different")
        # When that is over it is missed.
        c.run("datanode", "recommission", address[away])
        wait_for("copies to be made", lambda: metric(c, "namenode-1", "dfs_replications_done_total") > done, every=0.2)
        wait_for("all to be well", lambda: c.status()["under_replicated"] == 0 and all(
            address[away] not in r for i in range(4) for r in replicas_of(c, f"/f{i}")), every=0.2)


def test_failed_volume():
    """A disk of two goes away: what was on it is made again elsewhere, and the datanode serves the rest."""
    with Cluster(namenodes=1, datanodes=4) as c:
        c.stop()
        disk = os.path.join(c.home, "disk")
        os.mkdir(disk)
        config = f"{c.dir}/datanode-1/config.toml"
        with open(config, encoding="utf-8") as f:
            lines = f.read().splitlines()
        with open(config, "w", encoding="utf-8") as f:
            for line in lines:
                key, _, value = line.partition("=")
                if key.strip() == "volumes":
                    line = "volumes = " + json.dumps(json.loads(value) + [disk])
                f.write(line + "\n")
        c.start()
        data = os.urandom(12 << 20)
        for i in range(4):
            c.run("put", "--block-size", "1M", "-", f"/f{i}", stdin=data)
        require(datanode(c, "datanode-1")["volumes"] == 2, f"{datanode(c, 'datanode-1')}")
        lost = glob.glob(f"{disk}/blocks/*/blk_*.meta")
        require(len(lost) > 0 and len(block_files(c, "datanode-1")) > 0, "blocks are on both disks")
        os.rename(disk, disk + "-pulled")
        wait_for("the volume to be taken out", lambda: datanode(c, "datanode-1")["failed_volumes"] == 1, every=0.1)
        text = c.run("status").text
        require("1 of 2 volumes failed" in text and "1 volume has failed" in text, text)
        wait_for("what was on it to be made again", lambda: c.status()["under_replicated"] == 0 and all(
            len(set(r)) == 3 for i in range(4) for r in replicas_of(c, f"/f{i}")), every=0.2)
        require(metric(c, "namenode-1", "dfs_replications_done_total") >= len(lost), "copies were made")
        for i in range(4):
            require(c.run("cat", f"/f{i}").out == data, f"/f{i} is different")
        require(datanode(c, "datanode-1")["state"] == "live", "the rest of it is in service")


def test_racks():
    """Racks come from a table, which is read again when it changes, and at once at SIGHUP."""
    with Cluster(namenodes=1, datanodes=3, start=False) as c:
        table = os.path.join(c.home, "racks")
        with open(table, "w", encoding="utf-8") as f:
            f.write("127.0.0.0/8 /all\n")
        c.options = ["--namenode-setting", f"placement.rack_table={table}"]
        c.start()
        require({d["rack"] for d in c.status()["datanodes"]} == {"/all"}, f"{c.status()['datanodes']}")
        address = {name: p["address"] for name, p in c.processes().items()}

        def write(rack):
            with open(table + ".new", "w", encoding="utf-8") as f:
                f.write(f"127.0.0.1 /a\n{address['datanode-2']} {rack}\n")
            os.rename(table + ".new", table)

        write("/b")
        wait_for("the table to be read again", lambda: datanode(c, "datanode-2")["rack"] == "/b", every=0.2)
        require(datanode(c, "datanode-1")["rack"] == "/a", f"{c.status()['datanodes']}")
        c.run("put", "--replication", "2", "-", "/f", stdin=os.urandom(100_000))
        require(all(address["datanode-2"] in r for r in replicas_of(c, "/f")), "a replica is in the other rack")
        write("no-rack")  # and is not used
        os.kill(c.processes()["namenode-1"]["pid"], signal.SIGHUP)
        write("/c")
        os.kill(c.processes()["namenode-1"]["pid"], signal.SIGHUP)
        wait_for("the table to be read again", lambda: datanode(c, "datanode-2")["rack"] == "/c", every=0.2)
        # A table that is wrong at the start is an error that names the line.
        write("no-rack")
        c.stop()
        failed = c.run("dev", "start", c.dir, code=None)
        require(failed.code != 0 and "line 2" in failed.error_text + failed.text, f"{failed}")


if __name__ == "__main__":
    main(test_scanner, test_decommission, test_maintenance, test_failed_volume, test_racks)
