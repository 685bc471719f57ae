#!/usr/bin/env python3
"""dfs fs: what scripts written for Hadoop's shell type, and what they read."""

import re

from dfs_e2e import Cluster, main, require

c = None


def fs(*arguments, code=0, stdin=b""):
    return c.run("fs", *arguments, code=code, stdin=stdin)


def test_listing():
    fs("-mkdir", "-p", "/data/sub")
    fs("-put", "-", "/data/file", stdin=b"x" * 1536)
    lines = fs("-ls", "/data").text.splitlines()
    require(lines[0] == "Found 2 items", f"{lines}")
    require(re.fullmatch(r"-rw-r--r--   \d \S+ \S+ +1536 \d{4}-\d\d-\d\d \d\d:\d\d /data/file", lines[1]), lines[1])
    require(re.fullmatch(r"drwxr-xr-x   - \S+ \S+ +0 \d{4}-\d\d-\d\d \d\d:\d\d /data/sub", lines[2]), lines[2])
    require(fs("-ls", "-C", "/data").text.split() == ["/data/file", "/data/sub"], "-ls -C")
    require("1.5 K" in fs("-ls", "-h", "/data").text, "-ls -h")
    require([line.split()[-1] for line in fs("-ls", "-R", "/").text.splitlines()] ==
            ["/data", "/data/file", "/data/sub"], "-ls -R")
    require(c.run("dfs", "-ls", "-d", "/data").text.endswith("/data\n"), "dfs dfs")
    require(fs("-count", "/data").text.split() == ["2", "1", "1536", "/data"], "-count")
    require(fs("-du", "-s", "/data").text.split()[::2] == ["1536", "/data"], "-du -s")
    require(fs("-stat", "%n %b %F %a", "/data/file").text == "file 1536 regular file 644\n", "-stat")
    require(re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", fs("-stat", "/data").text), "-stat without a format")
    require(fs("-df").text.startswith("Filesystem"), "-df")


def test_changes():
    fs("-put", "-", "/a", stdin=b"one\n")
    fs("-cp", "/a", "/b")
    fs("-put", "-", "/b", stdin=b"two\n", code=1)
    fs("-put", "-f", "-", "/b", stdin=b"two\n")
    require(fs("-cat", "/a", "/b").out == b"one\ntwo\n", "-cat")
    require("File exists" in fs("-mv", "/a", "/b", code=1).error_text, "-mv replaces nothing")
    fs("-getmerge", "-nl", "/a", "/b", "merged")
    require(open(f"{c.work}/merged", "rb").read() == b"one\n\ntwo\n\n", "-getmerge")
    fs("-mkdir", "/tree")
    fs("-mv", "/a", "/b", "/tree")
    fs("-get", "/tree", "local")
    require(open(f"{c.work}/local/a", "rb").read() == b"one\n", "-get of a tree")
    require("Directory not empty" in fs("-rmdir", "/tree", code=1).error_text, "-rmdir")
    fs("-chmod", "-R", "700", "/tree")
    fs("-truncate", "-w", "2", "/tree/a")
    require(fs("-tail", "/tree/a").out == b"on" and fs("-head", "/tree/a").out == b"on", "-head, -tail")
    require(fs("-find", "/tree", "-name", "b").text == "/tree/b\n", "-find")
    fs("-setrep", "1", "/tree")
    fs("-touchz", "/tree/empty")
    fs("-test", "-z", "/tree/empty")
    fs("-test", "-d", "/tree/empty", code=1)
    require(fs("-rm", "-r", "-skipTrash", "/tree").text == "Deleted /tree\n", "-rm -r")


def test_errors():
    require(fs("-ls", "/none", code=1).error_text == "ls: `/none': No such file or directory\n", "-ls of nothing")
    require("Unknown command" in fs("-frobnicate", code=255).error_text, "an unknown command")
    require("begins with a dash" in fs("ls", code=255).error_text, "a missing dash")
    require("Illegal option -Z" in fs("-ls", "-Z", code=255).error_text, "an unknown option")
    require("Not enough arguments" in fs("-cp", "/a", code=255).error_text, "too few arguments")
    require("-ls" in fs("-help", "ls").text, "-help")


if __name__ == "__main__":
    with Cluster(namenodes=1, datanodes=2) as cluster:
        c = cluster
        main(test_listing, test_changes, test_errors)
