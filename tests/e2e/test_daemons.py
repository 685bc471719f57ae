#!/usr/bin/env python3
"""Daemons by themselves: configuration, and the faults of starting them wrongly. Each gives a clear message
and a fitting exit code, and harms nothing."""

import os
import re
import shutil
import socket
import subprocess
import uuid

from dfs_e2e import BIN, WAIT_SECONDS, Cluster, log, main, require, wait_for

NAMENODE = os.path.join(BIN, "dfs-namenode")
DATANODE = os.path.join(BIN, "dfs-datanode")


def start(program, *argv):
    """Runs a daemon that is expected to end by itself."""
    try:
        done = subprocess.run([program, *argv], capture_output=True, timeout=WAIT_SECONDS, check=False,
                              stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as e:
        raise AssertionError(f"{program} {argv} went on running: {e.stdout} {e.stderr}") from None
    text = (done.stdout + done.stderr).decode("utf-8", "replace")
    log(f"exit {done.returncode}: {text.strip().splitlines()[-1] if text.strip() else '(nothing)'}")
    return done.returncode, text


def expect(program, *argv, code, says):
    got, text = start(program, *argv)
    require(got == code, f"{program} {argv}: exit code {got}, expected {code}:\n{text}")
    require(re.search(says, text, re.IGNORECASE), f"{program} {argv} does not say '{says}':\n{text}")


def rewrite(path, out, *changes):
    text = open(path).read()
    for old, new in changes:
        require(old in text, f"{old} is not in {path}")
        text = text.replace(old, new)
    text = re.sub(r'http = ".*"', 'http = "127.0.0.1:0"', text)
    with open(out, "w") as f:
        f.write(text)
    return out


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def datanode_config(c, name, data, **changes):
    """A datanode of this cluster with its own directory and ports."""
    config = f"{c.work}/{name}.toml"
    text = open(f"{c.dir}/datanode-1/config.toml").read()
    text = text.replace(f"{c.dir}/datanode-1/data", data)
    text = re.sub(r'block = "127.0.0.1:\d+"', 'block = "127.0.0.1:0"', text)
    text = re.sub(r'http = ".*"', 'http = "127.0.0.1:0"', text)
    text = re.sub(r'block_unix = ".*"', f'block_unix = "{c.runtime}/{name}.sock"', text)
    for old, new in changes.values():
        text = text.replace(old, new)
    with open(config, "w") as f:
        f.write(text)
    return config


def test_configuration():
    with Cluster(namenodes=1, datanodes=1) as c:
        config = f"{c.dir}/namenode-1/config.toml"
        bad = f"{c.work}/bad.toml"
        with open(bad, "w") as f:
            f.write(open(config).read() + "\n[blocks2]\nnonsense = 3\n")
        expect(NAMENODE, "--config", bad, code=2, says="blocks2|nonsense")
        expect(NAMENODE, "--config", config, "--blocks.no_such_key=1", code=2, says="no_such_key")
        expect(NAMENODE, "--config", config, "--raft.heartbeat_ms=soon", code=2, says="heartbeat_ms")
        expect(NAMENODE, "--config", f"{c.work}/absent.toml", code=2, says="absent.toml")
        with open(bad, "w") as f:
            f.write("this is [not TOML")
        expect(NAMENODE, "--config", bad, code=2, says="bad.toml")
        expect(DATANODE, "--config", bad, code=2, says="bad.toml")
        expect(DATANODE, "--config", f"{c.dir}/datanode-1/config.toml", "--storage.no_such=1", code=2, says="no_such")
        # The effective configuration is printed at start.
        text = open(f"{c.dir}/log/namenode-1.log").read() + open(f"{c.dir}/namenode-1/ready").read()
        require("dead_after_ms" in text and "10000" in text, "the effective configuration is not printed")
        require(open(f"{c.dir}/cluster.key").read().strip() not in text, "the key is printed")


def test_directories():
    with Cluster(namenodes=1, datanodes=1) as c:
        config = f"{c.dir}/namenode-1/config.toml"
        data = f"{c.dir}/namenode-1/data"
        ports = [(re.search(r'client = "(.*?)"', open(config).read())[0], 'client = "127.0.0.1:0"'),
                 (re.search(r'\nraft = "(.*?)"', open(config).read())[0], '\nraft = "127.0.0.1:0"'),
                 (re.search(r'client_unix = "(.*?)"', open(config).read())[0], f'client_unix = "{c.runtime}/x.sock"')]
        # Two daemons on one directory.
        two = rewrite(config, f"{c.work}/two.toml", *ports)
        expect(NAMENODE, "--config", two, code=1, says="in use|lock|busy|already")
        two = datanode_config(c, "two", f"{c.dir}/datanode-1/data")
        expect(DATANODE, "--config", two, code=1, says="in use|lock|busy|already")
        # A port in use: it is named.
        port = re.search(r'client = "127.0.0.1:(\d+)"', open(config).read())[1]
        elsewhere = rewrite(config, f"{c.work}/port.toml", (data, f"{c.work}/nn2"), ports[1], ports[2])
        subprocess.run([NAMENODE, "--config", elsewhere, "--format"], check=True, capture_output=True)
        expect(NAMENODE, "--config", elsewhere, code=1, says=port)
        raft_port = re.search(r'\nraft = "127.0.0.1:(\d+)"', open(config).read())[1]
        elsewhere = rewrite(config, f"{c.work}/raft.toml", (data, f"{c.work}/nn2"), ports[0], ports[2])
        expect(NAMENODE, "--config", elsewhere, code=1, says=raft_port)
        block_port = re.search(r'block = "127.0.0.1:(\d+)"', open(f"{c.dir}/datanode-1/config.toml").read())[1]
        same_port = datanode_config(c, "port", f"{c.work}/dnp")
        rewrite(same_port, same_port, ('block = "127.0.0.1:0"', f'block = "127.0.0.1:{block_port}"'))
        expect(DATANODE, "--config", same_port, code=1, says=block_port)
        # Not formatted, missing, formatted twice.
        fresh = rewrite(config, f"{c.work}/fresh.toml", (data, f"{c.work}/nothing-here"), *ports)
        expect(NAMENODE, "--config", fresh, code=1, says="format")
        require(not os.path.exists(f"{c.work}/nothing-here/CURRENT"), "it made a namespace out of nothing")
        expect(NAMENODE, "--config", config, "--format", code=1, says="empty|exist|format|lock|use")
        expect(DATANODE, "--config", datanode_config(c, "nowhere", "/proc/absent"), code=1, says="/proc/absent")
        # Read-only.
        readonly = f"{c.work}/readonly"
        os.mkdir(readonly)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", readonly], check=False, capture_output=True)
        os.chmod(readonly, 0o555) if not os.path.ismount(readonly) else None
        if os.path.ismount(readonly) or os.geteuid() != 0:
            try:
                broken = rewrite(config, f"{c.work}/ro.toml", (data, f"{readonly}/nn"), *ports)
                expect(NAMENODE, "--config", broken, "--format", code=1, says="read-only|permission")
                broken = datanode_config(c, "ro", readonly)
                expect(DATANODE, "--config", broken, code=1, says="read-only|permission")
            finally:
                subprocess.run(["umount", "-l", readonly], check=False, capture_output=True)
        # A damaged state store is not served.
        c.run("put", "-", "/f", stdin=b"f" * 100)
        require(all(p["state"] == "running" for p in c.processes().values()), "a daemon died")
        require(c.run("cat", "/f").out == b"f" * 100, "the cluster was harmed")


def test_other_cluster():
    with Cluster(namenodes=1, datanodes=1) as c:
        # A datanode whose files belong to another cluster.
        shutil.copytree(f"{c.dir}/datanode-1/data", f"{c.work}/foreign")
        foreign = datanode_config(c, "foreign", f"{c.work}/foreign")
        text = open(foreign).read()
        ours = re.search(r'id = "([0-9a-f-]{36})"', text)[1]
        with open(foreign, "w") as f:
            f.write(text.replace(ours, str(uuid.uuid4())))
        expect(DATANODE, "--config", foreign, code=1, says="cluster")
        # A datanode made for another cluster that dials this one's namenode is refused, and says so.
        stranger = datanode_config(c, "stranger", f"{c.work}/stranger")
        text = open(stranger).read()
        with open(stranger, "w") as f:
            f.write(text.replace(ours, str(uuid.uuid4())))
        process = subprocess.Popen([DATANODE, "--config", stranger], stderr=subprocess.PIPE,
                                   stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        try:
            os.set_blocking(process.stderr.fileno(), False)
            seen = b""

            def refused():
                nonlocal seen
                seen += process.stderr.read() or b""
                return process.poll() is not None or b"cluster" in seen.split(b"READY")[-1].lower() and (
                    b"belongs" in seen or b"wrong" in seen.lower() or b"refus" in seen.lower())
            wait_for("the stranger's refusal", refused)
        finally:
            process.kill()
            process.wait()
        status = c.status()
        require(len(status["datanodes"]) == 1, f"a stranger is registered: {status['datanodes']}")


def test_wrong_key_and_cluster_id():
    with Cluster(namenodes=1, datanodes=1) as c:
        address = c.processes()["namenode-1"]["address"]
        c.run("put", "-", "/f", stdin=b"secret")
        good = c.run("cat", "--namenodes", address, "--key-file", f"{c.dir}/cluster.key", "/f",
                     env=dict(c.env, XDG_RUNTIME_DIR=c.work))
        require(good.out == b"secret", "TCP with the key")
        other = f"{c.work}/other.key"
        with open(other, "w") as f:
            f.write("ab" * 32 + "\n")
        os.chmod(other, 0o600)
        run = c.run("cat", "--namenodes", address, "--key-file", other, "/f", code=4,
                    env=dict(c.env, XDG_RUNTIME_DIR=c.work))
        require("key" in run.error_text, f"unclear: {run}")
        run = c.run("cat", "--namenodes", address, "/f", code=4, env=dict(c.env, XDG_RUNTIME_DIR=c.work))
        require("key" in run.error_text, f"unclear: {run}")
        os.chmod(other, 0o644)
        run = c.run("cat", "--namenodes", address, "--key-file", other, "/f", code=4,
                    env=dict(c.env, XDG_RUNTIME_DIR=c.work))
        require("chmod" in run.error_text or "600" in run.error_text, f"a key that others may read: {run}")
        os.makedirs(f"{c.home}/.config/dfs")
        with open(f"{c.home}/.config/dfs/client.toml", "w") as f:
            f.write(f'default_cluster = "one"\n[cluster.one]\nnamenodes = ["{address}"]\n'
                    f'key_file = "{c.dir}/cluster.key"\n'
                    f'[cluster.two]\nnamenodes = ["{address}"]\nkey_file = "{c.dir}/cluster.key"\n'
                    f'cluster_id = "{uuid.uuid4()}"\n')
        env = dict(c.env, XDG_RUNTIME_DIR=c.work)
        require(c.run("cat", "/f", env=env).out == b"secret", "client.toml")
        run = c.run("cat", "--cluster", "two", "/f", env=env, code=4)
        require("cluster" in run.error_text, f"unclear: {run}")
        c.run("cat", "--cluster", "three", "/f", env=env, code=1)
        text = open(f"{c.home}/.config/dfs/client.toml").read()
        with open(f"{c.home}/.config/dfs/client.toml", "w") as f:
            f.write("nonsense = 1\n" + text)
        run = c.run("cat", "/f", env=env, code=1)
        require("nonsense" in run.error_text, f"an unknown setting is named: {run}")


def test_wiped_namenode():
    """A member that lost its disk must not vote under its old id as if nothing had happened."""
    with Cluster(namenodes=3, datanodes=3) as c:
        data = os.urandom(200_000)
        c.run("put", "-", "/f", stdin=data)
        # Whoever knows one address learns of all members from it.
        for process in (p for p in c.processes().values() if p["role"] == "namenode"):
            known = c.run("status", "--json", "--namenodes", process["address"], "--key-file",
                          f"{c.dir}/cluster.key", env=dict(c.env, XDG_RUNTIME_DIR=c.work)).json()["namenodes"]
            require(len(known) == 3 and all(n["answers"] for n in known), f"not all members: {known}")
        leader = c.leader()
        victim = next(n for n in ("namenode-1", "namenode-2", "namenode-3") if n != leader)
        c.kill(victim)
        shutil.rmtree(f"{c.dir}/{victim}/data")
        # Without a formatted directory it refuses to start at all.
        expect(NAMENODE, "--config", f"{c.dir}/{victim}/config.toml", code=1, says="format")
        # Formatted anew under its old id it has forgotten its votes: the others refuse it, and it says why and ends.
        done = subprocess.run([NAMENODE, "--config", f"{c.dir}/{victim}/config.toml", "--format"],
                              capture_output=True, check=False)
        require(done.returncode == 0, f"format: {done}")
        c.run("dev", "revive", c.dir, victim, code=None)
        wait_for("the wiped member to end", lambda: c.processes()[victim]["state"] == "stopped")
        text = open(f"{c.dir}/log/{victim}.log").read()
        require("wiped" in text and "new node id" in text, f"it does not say why: {text[-500:]}")
        require(c.run("cat", "/f").out == data, "data after a member was wiped")
        c.run("put", "-", "/g", stdin=data)
        require(c.run("cat", "/g").out == data, "writing after a member was wiped")


if __name__ == "__main__":
    main(test_configuration, test_directories, test_other_cluster, test_wrong_key_and_cluster_id,
         test_wiped_namenode)
