#!/usr/bin/env python3
"""dfs doctor: what was broken on purpose is named, with what to do; what is well is not."""

import json
import os

from dfs_e2e import Cluster, main, require, wait_for


def doctor(c, *arguments, code=None):
    run = c.run("doctor", "--json", *arguments, code=code)
    return [json.loads(line) for line in run.text.splitlines()]


def found(c, word, *arguments):
    """The finding that has the word, with advice; everything that doctor said when there is none."""
    checks = doctor(c, *arguments)
    for check in checks:
        if check["level"] != "ok" and word in check["what"] and check["advice"]:
            return check
    raise AssertionError(f"'{word}' is not among the findings: {checks}")


def names(c, word, *arguments):
    try:
        return found(c, word, *arguments)
    except AssertionError:
        return None


def plant(c, what, do, undo, word, *arguments):
    do()
    wait_for(f"doctor to name: {what}", lambda: names(c, word, *arguments))
    if undo:
        undo()


def only_fuse(c):
    """Nothing wrong but, at the most, that this machine cannot mount."""
    return all(check["level"] == "ok" or "For dfs mount only" in check["advice"] for check in doctor(c))


def test_a_sick_cluster():
    with Cluster(namenodes=3, datanodes=3) as c:
        wait_for("doctor to be content", lambda: only_fuse(c))
        dev = lambda verb, name: lambda: c.run("dev", verb, c.dir, name)
        follower = next(n for n, p in c.processes().items() if p["role"] == "namenode" and not p["leader"])
        plant(c, "a namenode that is down", dev("kill", follower), None, "does not hear namenode")
        require(names(c, follower.replace("namenode-", "nn")), "the one that does not answer is named")
        c.run("dev", "revive", c.dir, follower)
        plant(c, "a namenode that hangs", dev("pause", follower), dev("resume", follower),
              follower.replace("namenode-", "nn"))
        wait_for("the cluster to be well again", lambda: only_fuse(c))
        c.run("dev", "kill", c.dir, follower)
        sockets = next(check["what"] for check in doctor(c) if "namenodes are" in check["what"]).split()[-1].split(",")
        require(len(sockets) == 3, f"{sockets}")
        leading = next(n for n, p in c.processes().items() if p.get("leader")).replace("namenode-", "nn")
        one = next(s for s in sockets if leading in s)
        plant(c, "a client that knows one namenode of three", lambda: None, None, "told 1 of the 3", "--namenodes", one)
        with Cluster(namenodes=1, datanodes=1) as other:
            its = next(check["what"] for check in doctor(other) if "namenodes are" in check["what"]).split()[-1]
            require(found(c, "different clusters", "--namenodes", f"{one},{its}")["level"] == "error", "two clusters")
        leader = next(n for n, p in c.processes().items() if p.get("leader"))
        plant(c, "no majority", dev("kill", leader), None, "no namenode leads: 1 of 3")
        for name in (follower, leader):
            c.run("dev", "revive", c.dir, name)
        wait_for("the cluster to be well again", lambda: only_fuse(c))
        plant(c, "a silent datanode", dev("pause", "datanode-1"), dev("resume", "datanode-1"), "is stale")
        c.run("put", "--replication", "1", "-", "/one", stdin=os.urandom(100_000))
        where = c.run("fsck", "-v", "--json", "/one").json()["found"][0]["blocks"][0]["replicas"][0]["address"]
        holder = next(n for n, p in c.processes().items() if p["address"] == where)
        plant(c, "a dead datanode", dev("kill", holder), None, "is dead")
        plant(c, "a missing block", lambda: None, None, "on no live datanode")
        plant(c, "too few datanodes", lambda: None, None, "that the default replication needs")
        c.run("dev", "revive", c.dir, holder)
        wait_for("the cluster to be well again", lambda: only_fuse(c))
        c.run("dev", "stop", c.dir)


def test_a_wrong_configuration():
    with Cluster(namenodes=1, datanodes=1) as c:
        require(found(c, "there is one namenode"), "one namenode")
        address = c.processes()["namenode-1"]["address"]
        key = f"{c.dir}/cluster.key"
        tcp = ("--namenodes", address)
        plant(c, "no key", lambda: None, None, "no key file is configured", *tcp)
        c.run("keygen", "other.key")
        plant(c, "a wrong key", lambda: None, None, address, *tcp, "--key-file", f"{c.work}/other.key")
        require("key" in found(c, address, *tcp, "--key-file", f"{c.work}/other.key")["advice"], "it says that it is the key")
        open_key = f"{c.work}/open.key"
        with open(key) as f, open(open_key, "w") as copy:
            copy.write(f.read())
        os.chmod(open_key, 0o644)
        plant(c, "a key that others may read", lambda: None, None, "chmod 600", *tcp, "--key-file", open_key)
        plant(c, "a key that is not there", lambda: None, None, "nowhere.key", *tcp, "--key-file", "/nowhere.key")
        plant(c, "nothing listens", lambda: None, None, "127.0.0.1:1", "--namenodes", "127.0.0.1:1", "--key-file", key)
        plant(c, "a name without an address", lambda: None, None, "no-such-host.invalid", "--namenodes",
              "no-such-host.invalid:9700", "--key-file", key)
        os.makedirs(f"{c.home}/.config/dfs", exist_ok=True)
        config = f"{c.home}/.config/dfs/client.toml"
        env = dict(c.env, XDG_CONFIG_HOME=f"{c.home}/.config")
        for text, word in ((f'namenodes = ["{address}"]\nkey_file = "{key}"\ncluster_id = "{"a" * 8}-0000-0000-0000-{"b" * 12}"',
                            "cluster"), ('namnodes = ["x"]', "namnodes"), ("namenodes = [", "client.toml")):
            with open(config, "w") as f:
                f.write(text)
            run = c.run("doctor", code=7, env=env)
            require(word in run.text and "error" in run.text, f"{word}: {run}")


if __name__ == "__main__":
    main(test_a_sick_cluster, test_a_wrong_configuration)
