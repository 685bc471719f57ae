#!/usr/bin/env python3
"""dfs explain: what it says of files that are well, being written, short of replicas, and lost."""

import json
import os
import subprocess
import time

from dfs_e2e import Cluster, log, main, require, wait_for


def explain(c, path, code=None):
    lines = [json.loads(line) for line in c.run("explain", "--json", path, code=code).text.splitlines()]
    require(all(line["schema"] == "dfs.explain/1" for line in lines), f"{lines}")
    return lines


def test_states():
    with Cluster(namenodes=1, datanodes=3) as c:
        c.run("put", "-", "/small", stdin=b"in the namenode")
        small = explain(c, "/small", code=0)
        require(len(small) == 1 and small[0]["kind"] == "file" and small[0]["inline"], f"{small}")
        c.run("put", "--block-size", "1M", "-", "/big", stdin=os.urandom(3 << 20))
        wait_for("the close to be known", lambda: all(b["condition"] == "healthy" for b in explain(c, "/big")[1:]))
        blocks = explain(c, "/big", code=0)[1:]
        require([b["slot"] for b in blocks] == [0, 1, 2], f"{blocks}")
        for b in blocks:
            require(b["good_replicas"] == 3 and b["action"] == "none", f"{b}")
            require(all(r["replica_state"] == "good" and r["node_state"] == "live" and "verified" not in r
                        for r in b["replicas"]), f"{b}")
        text = c.run("explain", "/big").text
        require("3 of 3 replicas: healthy" in text and "127.0.0.1" in text, text)

        writer = c.popen("append", "-", "/open", stdin=subprocess.PIPE)
        writer.stdin.write(os.urandom(1 << 20))
        writer.stdin.flush()
        wait_for("the writer's block to be open", lambda: c.status()["open_blocks"] > 0)
        head, block = explain(c, "/open", code=0)
        require(block["condition"] == "open" and block["writer_session"] in [s["session"] for s in head["sessions"]],
                f"{head} {block}")
        writer.stdin.close()
        writer.wait()

        wait_for("a healthy tree", lambda: c.run("explain", "--json", "/", code=None).code == 0)
        total = explain(c, "/", code=0)[0]
        require(total["kind"] == "directory" and total["files"] == 3 and total["complete"], f"{total}")
        require(total["files_by_condition"]["healthy"] == 3 and total["inline_files"] == 1, f"{total}")
        require(not explain(c, "/")[0]["blocks_by_action"], f"{total}")
        require("stopped" in c.run("explain", "--limit", "1", "/").text, "--limit")

        c.kill("datanode-3")
        wait_for("the loss to be told", lambda: explain(c, "/big")[1]["condition"] == "under_replicated")
        wait_for("that there is no place for another",
                 lambda: explain(c, "/big", code=7)[1]["action"] == "no_target")
        shown = c.run("explain", "/big", code=7).text
        require("no datanode is left for 1 more replica" in shown, shown)
        require("/big" in c.run("explain", "-v", "/", code=7).text, "-v names the file")
        c.run("explain", "/none", code=1)


def test_lost():
    """All who had it are given up: that is said at once, and not after a minute."""
    with Cluster(namenodes=1, datanodes=2, options=("--namenode-setting", "blocks.dead_after_ms=3000",
                                                    "--namenode-setting", "blocks.stale_after_ms=1000")) as c:
        c.run("put", "--replication", "1", "-", "/one", stdin=os.urandom(100_000))
        where = explain(c, "/one", code=0)[1]["replicas"][0]["address"]
        holder = next(n for n, p in c.processes().items() if p["address"] == where)
        c.kill(holder)
        wait_for("the loss", lambda: explain(c, "/one")[1]["action"] == "no_source")
        lost = explain(c, "/one", code=7)[1]
        require(lost["condition"] == "missing" and lost["replicas"][0]["replica_state"] == "not_reported", f"{lost}")
        began = time.monotonic()
        run = c.run("cat", "/one", code=7)
        log(f"missing_block after {time.monotonic() - began:.1f} s")
        require("no live replica" in run.error_text, f"{run}")
        c.revive(holder)
        wait_for("its return", lambda: c.run("cat", "/one", code=None).code == 0)


if __name__ == "__main__":
    main(test_states, test_lost)
