#!/usr/bin/env python3
"""Every verb with --json: each line that it prints is an object with a schema. A verb that is not named here fails."""

import json
import os
import re

from dfs_e2e import Cluster, log, main, require

# What to type behind the verb; None: it needs what this test does not make, and has a test of its own.
VERBS = {
    "ls": [["-a", "/"]],
    "put": [["-v", "local", "/put"], ["-r", "tree", "/"]],
    "get": [["/f", "got"]],
    "cat": None,  # bytes of files
    "head": None,
    "tail": None,
    "append": [["local", "/f"]],
    "mkdir": [["-v", "/d"]],
    "cp": [["-v", "/f", "/f2"]],
    "mv": [["-v", "/f2", "/f3"]],
    "ln": [["-s", "f", "/l"]],
    "rm": [["-v", "/f3"], ["/f"]],
    "trash": [[], ["--all"], ["empty", "--older-than", "1h", "-v"]],
    "restore": [["-v", "/f"]],
    "touch": [["/t"]],
    "truncate": [["-s", "1", "/t"]],
    "chmod": [["600", "/t"]],
    "chown": [[str(os.geteuid()), "/t"]],
    "setrep": [["1", "/f"], ["-w", "1", "/f"]],
    "getfattr": [["-d", "/f"]],
    "setfattr": [["-n", "user.a", "-v", "b", "/f"]],
    "stat": [["/f", "/d"]],
    "test": [["-e", "/f"]],
    "find": [["/"], ["/", "-name", "f"]],
    "count": [["/"]],
    "du": [["/"], ["-s", "/"]],
    "df": [[]],
    "status": [[]],
    "top": [["-n", "2", "--interval", "100ms"]],
    "datanode": [["list"]],
    "doctor": [[]],
    "fsck": [["-v", "/"]],
    "explain": [["/f"], ["/"], ["/t"]],
    "mount": None,
    "umount": None,
    "admin": [["export"]],
    "dev": None,  # below
    "bench": None,  # test_bench.py
    "fs": None,  # Hadoop's formats
    "keygen": None,  # prints nothing
    "completion": None,
}


def check(text, what):
    """How many lines there are, each with a schema."""
    lines = text.splitlines()
    for line in lines:
        require(line.startswith("{"), f"{what} prints what is no JSON: {line}")
        value = json.loads(line)
        require(isinstance(value, dict) and re.fullmatch(r"dfs\.[a-z.]+/\d+", value.get("schema", "")), f"{what}: {line}")
    return len(lines)


def test_all_verbs():
    with Cluster(namenodes=1, datanodes=2) as c:
        names = re.findall(r"^  ([a-z]+) ", c.run("--help").text, re.M)
        require(set(names) == set(VERBS), f"verbs that this test does not know, or that are gone: {set(names) ^ set(VERBS)}")
        with open(f"{c.work}/local", "wb") as f:
            f.write(os.urandom(50_000))
        os.mkdir(f"{c.work}/tree")
        c.run("put", "local", "/f")
        c.run("setfattr", "-n", "user.x", "-v", "y", "/f")
        printed = 0
        for verb, calls in VERBS.items():
            for arguments in calls or []:
                # admin and trash have commands of their own, behind which options stand.
                run = c.run(verb, *arguments, "--json", code=None)
                require(run.code in (0, 1) if verb == "doctor" else run.code == 0, f"{run}")
                printed += check(run.text, f"{verb} {arguments}")
                require(run.error_text == "", f"{run}")
        log(f"{printed} lines")
        for verb, arguments in (("ls", ["/none"]), ("cat", ["/none"]), ("restore", ["/none"]), ("explain", ["/none"]),
                                ("stat", ["--namenodes", "127.0.0.1:1", "--timeout", "1s", "/"])):
            run = c.run(verb, *arguments, "--json", code=None)
            require(run.code != 0 and check(run.error_text, f"{verb}: error") == 1, f"{run}")
        check(c.run("dev", "status", c.dir, "--json").text, "dev status")
        check(c.run("version", "--json").text, "version")
        check(json.dumps(c.start()), "dev start")


if __name__ == "__main__":
    main(test_all_verbs)
