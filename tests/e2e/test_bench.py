#!/usr/bin/env python3
"""dfs bench runs and says what it measured; a small run, since a test is no place for numbers."""

import json
import os
import subprocess

from dfs_e2e import DFS, Cluster, log, main, require


def test_quick():
    with Cluster(namenodes=3, datanodes=3, start=False) as c:
        done = c.run("bench", "metadata", "small-files", "throughput", "overwrite", "--quick", "--tenths", "2",
                     "--dev", f"{c.home}/bench", "--json")
        result = done.json()
        require(result["schema"] == "dfs.bench/1" and result["ok"], f"{result}")
        names = {r["name"] for r in result["rows"]}
        for wanted in ("create", "stat", "rename", "delete", "mkdir", "in, 4 KiB", "out, 64 KiB",
                       "sync, 16 in flight"):
            require(wanted in names, f"no row '{wanted}' in {sorted(names)}")
        for row in result["rows"]:
            if row["name"] == "create":
                require(row["calls"] > 0 and row["p99_us"] >= row["p50_us"] > 0, f"{row}")
                require(sum(row["log_fsyncs"].values()) > 0, f"creates without an fsync: {row}")
                require(row["cpu_seconds"], f"no CPU times: {row}")
        require(not os.path.exists(f"{c.home}/bench/dev.json"), "its own cluster is destroyed afterwards")


def test_failover_and_restart():
    with Cluster(namenodes=3, datanodes=1) as c:
        done = c.run("bench", "failover", "million", "--kills", "2", "--files", "2000", "--json")
        result = done.json()
        require(result["ok"], f"{result}")
        gap = next(r for r in result["rows"] if r["name"] == "time without service, median")
        log(f"time without service: {gap['value']:.0f} ms, worst {gap['max']:.0f} ms")
        require(gap["kills"] == 2 and gap["errors_seen_by_client"] == 0, f"{gap}")
        require(c.run("ls", "-a", "/").text == "", "the benchmark cleans up")


def test_mounted_directories():
    with Cluster(start=False) as c:
        os.mkdir(f"{c.work}/measured")
        os.makedirs(f"{c.work}/tree/folder")
        for i in range(20):
            with open(f"{c.work}/tree/folder/{i}", "w") as f:
                f.write("x" * i)
        done = c.run("bench", "fs", "measured", "--quick", "--tenths", "1", "--tree", "tree", "--json",
                     code=0 if os.geteuid() == 0 else None)
        rows = {r["name"]: r for r in done.json()["rows"]}
        require(all(r["rate"] > 0 for r in rows.values()), f"a row without a rate: {rows}")
        wanted = 18 if os.geteuid() == 0 else 10  # cold rows need root
        require(len(rows) >= wanted, f"{len(rows)} rows: {sorted(rows)}")
        require(os.listdir(f"{c.work}/measured") == [], "it cleans up")
        c.run("bench", "fs", "nowhere", code=1)


if __name__ == "__main__":
    main(test_quick, test_failover_and_restart, test_mounted_directories)
