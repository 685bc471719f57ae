#!/usr/bin/env python3
"""dfs dev: ready in time, data over stop and start, kill, pause, revive, more datanodes, destroy."""

import os
import signal
import subprocess
import time

from dfs_e2e import WAIT_SECONDS, Cluster, main, require


def test_life():
    with Cluster(namenodes=3, datanodes=3, start=False) as c:
        # The aim is two seconds; what it took is told, and is no reason to fail on a busy machine.
        started = time.monotonic()
        ready = c.start()
        print(f"ready after {time.monotonic() - started:.2f} s")
        require(len(ready["processes"]) == 6 and ready["event"] == "ready", f"{ready}")
        require(oct(os.stat(f"{c.dir}/cluster.key").st_mode & 0o777) == "0o600", "mode of the key")
        require(oct(os.stat(f"{c.runtime}/dfs/dev.json").st_mode & 0o777) == "0o600", "mode of dev.json")
        c.run("put", "-", "/kept", stdin=b"k" * 100_000)
        # Again: nothing is started twice.
        pids = {n: p["pid"] for n, p in c.processes().items()}
        c.start()
        require(pids == {n: p["pid"] for n, p in c.processes().items()}, "a second start changed processes")
        c.stop()
        require(all(p["state"] == "stopped" for p in c.processes().values()), "all stopped")
        require(c.run("ls", code=5), "no discovery after stop")
        started = time.monotonic()
        c.start()
        print(f"started again after {time.monotonic() - started:.2f} s")
        require(c.run("cat", "/kept").out == b"k" * 100_000, "data over stop and start")

        leader = c.leader()
        c.kill("leader")
        require(c.processes()[leader]["state"] == "stopped", "the leader was killed")
        require(c.run("cat", "/kept").out == b"k" * 100_000, "reading after the leader's death")
        require(c.leader() != leader, "another leads")
        c.revive(leader)
        c.run("dev", "kill", c.dir, "datanode-9", code=2)

        c.run("dev", "pause", c.dir, "datanode-2")
        require(c.processes()["datanode-2"]["state"] == "paused", "paused")
        require(c.run("cat", "/kept").out == b"k" * 100_000, "reading beside a paused datanode")
        c.run("put", "-", "/while-paused", stdin=b"p" * 100_000)
        c.run("dev", "resume", c.dir, "datanode-2")
        require(c.processes()["datanode-2"]["state"] == "running", "resumed")
        require(c.run("cat", "/while-paused").out == b"p" * 100_000, "written beside a paused datanode")

        # A pid that belongs to somebody else by now is not killed.
        c.run("dev", "start", c.dir, "--datanodes", "4")
        c.datanode_count = 4
        c.wait_healthy()
        c.run("dev", "start", c.dir, "--namenodes", "1", code=2)
        c.run("dev", "destroy", c.dir, code=2)  # no terminal, no --yes
        stranger = f"{c.dir}/mine.txt"
        with open(stranger, "w") as f:
            f.write("not yours")
        pids = [p["pid"] for p in c.processes().values()]
        c.run("dev", "destroy", c.dir, "--yes")
        require(os.listdir(c.dir) == ["mine.txt"], f"destroy left {os.listdir(c.dir)}")
        require(not any(os.path.exists(f"/proc/{pid}/exe") for pid in pids), "processes are left")


def test_refusals():
    with Cluster(start=False) as c:
        os.mkdir(c.dir)
        with open(f"{c.dir}/other", "w") as f:
            f.write("x")
        run = c.run("dev", "start", c.dir, code=1)
        require("not empty" in run.error_text, f"{run}")
        require(os.listdir(c.dir) == ["other"], "a refused directory is left alone")
        c.run("dev", "stop", c.dir, code=1)
        c.run("dev", "start", f"{c.home}/two", "--namenodes", "2", code=2)
        c.run("dev", "start", "/proc/no", code=None)
        require(c.run("dev", "start", "/proc/no", code=None).code != 0, "an impossible directory")


def test_port_base_and_foreground():
    with Cluster(start=False) as c:
        import socket
        taken = socket.socket()
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        run = c.run("dev", "start", c.dir, "--port-base", str(port), code=None)
        require(run.code != 0 and str(port) in run.error_text and str(os.getpid()) in run.error_text,
                f"the taken port and its owner are named: {run}")
        taken.close()
        front = c.popen("dev", "start", c.dir, "--foreground", "--json", stdout=subprocess.PIPE)
        require(b'"ready"' in front.stdout.readline(), "ready in the foreground")
        front.send_signal(signal.SIGINT)
        require(front.wait(WAIT_SECONDS) == 0, "Ctrl-C stops it")
        require(all(p["state"] == "stopped" for p in c.processes().values()), "all stopped")


def test_many_datanodes():
    # The usual ports of one kind must not run into those of another.
    with Cluster(namenodes=1, datanodes=6) as c:
        ports = [p["address"] for p in c.processes().values()]
        require(len(ports) == 7 and len(set(ports)) == 7, f"addresses: {ports}")
        require(all(p["state"] == "running" for p in c.processes().values()), "all run")


def test_recycled_pid():
    with Cluster(namenodes=1, datanodes=1) as c:
        victim = subprocess.Popen(["sleep", "1000"])
        c.kill_all()
        text = open(f"{c.dir}/dev.json").read()
        import json
        state = json.loads(text)
        state["members"][0]["pid"] = victim.pid  # as if the pid had been given to somebody else
        with open(f"{c.dir}/dev.json", "w") as f:
            json.dump(state, f)
        require(c.processes()["namenode-1"]["state"] == "stopped", "a stranger is not ours")
        c.run("dev", "kill", c.dir, "namenode-1", code=1)
        c.run("dev", "stop", c.dir)
        require(victim.poll() is None, "a stranger was killed")
        victim.kill()
        victim.wait()


if __name__ == "__main__":
    main(test_life, test_refusals, test_port_base_and_foreground, test_recycled_pid)
