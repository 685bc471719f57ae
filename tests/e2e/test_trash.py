#!/usr/bin/env python3
"""The trash as a user meets it: dfs rm, trash, restore, and the shell of Hadoop."""

import json
import os

from dfs_e2e import Cluster, main, require, wait_for

c = None


def trash(*options):
    return [json.loads(line) for line in c.run("trash", "--json", *options).text.splitlines()]


def test_remove_and_restore():
    data = os.urandom(100_000)
    c.run("mkdir", "-p", "/docs/deep")
    c.run("put", "-", "/docs/deep/big", stdin=data)
    c.run("put", "-", "/docs/small", stdin=b"hello")
    said = c.run("rm", "-v", "/docs/small").text
    require("5 B" in said and "in the trash for" in said, f"rm -v: {said}")
    c.run("rm", "/docs/deep", code=1)
    c.run("rm", "-r", "/docs/deep")
    found = {t["path"]: t for t in trash()}
    require(set(found) == {"/docs/small", "/docs/deep"}, f"{found}")
    small = found["/docs/small"]
    require(small["schema"] == "dfs.trash/1" and small["size"] == 5 and small["uid"] == os.geteuid(), f"{small}")
    require(small["removed"] < small["until"], f"{small}")
    require("/docs/deep" in c.run("trash").text, "trash for people")
    # It still takes its space, and says so.
    require(c.run("du", "-s", "--json", "/.Trash").json()["bytes"] == 100_005, "du of the trash")
    require(c.run("df", "--json").json()["file_bytes"] == 100_005, "df counts the trash")
    c.run("restore", "/docs/deep", "/docs/small")
    require(c.run("cat", "/docs/deep/big").out == data and c.run("cat", "/docs/small").out == b"hello", "restored")
    require(trash() == [], "restored, and still in the trash")
    require(c.run("find", "/.Trash", "-mindepth", "2").text == "", "empty places stay behind")
    missing = c.run("restore", "/docs/never", code=1)
    require("dfs trash" in missing.error_text, f"{missing}")


def test_of_several_the_newest_or_the_one_that_is_named():
    for version in (b"one", b"two", b"three"):
        c.run("put", "-", "/v", stdin=version)
        c.run("rm", "/v")
    times = sorted(t["removed"] for t in trash())
    require(len(times) == 3, f"{times}")
    c.run("restore", "--at", times[1], "/v")
    require(c.run("cat", "/v").out == b"two", "--at")
    refused = c.run("restore", "/v", code=1)
    require("-f" in refused.error_text, f"{refused}")
    c.run("restore", "-f", "/v")
    require(c.run("cat", "/v").out == b"three", "the newest")
    # What -f replaced is in the trash itself.
    c.run("restore", "-f", "/v")
    require(c.run("cat", "/v").out == b"two", "restore -f lost what it replaced")
    where = min(trash(), key=lambda t: t["removed"])["trash_path"]
    c.run("restore", "-f", where)
    require(c.run("cat", "/v").out == b"one", "by the path in the trash")
    c.run("rm", "--skip-trash", "/v")
    c.run("trash", "empty")


def test_parents_that_are_gone():
    c.run("mkdir", "-p", "/p/q")
    c.run("put", "-", "/p/q/file", stdin=b"x")
    c.run("rm", "/p/q/file")
    c.run("rm", "-r", "--skip-trash", "/p")
    refused = c.run("restore", "/p/q/file", code=1)
    require("-p" in refused.error_text, f"{refused}")
    c.run("restore", "-p", "-v", "/p/q/file")
    require(c.run("cat", "/p/q/file").out == b"x", "restore -p")


def test_odd_names():
    odd = b"/odd \xff\n:*name"
    c.run("put", "-", odd, stdin=b"odd")
    c.run("ln", "-s", "nowhere", "/symlink")
    c.run("rm", "--no-glob", odd, "/symlink")
    require(any("path_b64" in t for t in trash()), "a name that is not UTF-8")
    c.run("restore", odd, "/symlink")
    require(c.run("cat", "--no-glob", odd).out == b"odd", "an odd name")
    require(c.run("stat", "-c", "%N", "/symlink").code == 0, "a symlink")


def test_emptying():
    for name in ("a", "b"):
        c.run("put", "-", f"/{name}", stdin=b"x")
        c.run("rm", f"/{name}")
    c.run("trash", "empty", "--older-than", "1h")
    require(len(trash()) == 2, "nothing is that old")
    c.run("rm", trash()[0]["trash_path"])  # in the trash: for good
    require(len(trash("--all")) == 1, "rm in the trash")
    require("removed" in c.run("trash", "empty", "-v").text, "-v")
    require(trash() == [], "emptied")
    c.run("trash", "--user", "no-such-user", code=1)
    c.run("trash", "empty", "--older-than", "soon", code=2)


def test_hadoop():
    c.run("put", "-", "/h", stdin=b"x")
    said = c.run("fs", "-rm", "/h").text
    require(said.startswith("Moved: '/h' to trash at: /.Trash/"), said)
    c.run("fs", "-expunge")
    require(len(trash()) == 1, "-expunge takes what is kept no longer")
    c.run("fs", "-expunge", "-immediate")
    require(trash() == [], "-expunge -immediate")
    c.run("put", "-", "/h", stdin=b"x")
    require(c.run("fs", "-rm", "-skipTrash", "/h").text == "Deleted /h\n", "-skipTrash")
    require(trash() == [], "-skipTrash")


def test_expiry_and_none():
    global c
    with Cluster(datanodes=1, options=("--namenode-setting", "trash.keep_ms=1s")) as c:
        c.run("put", "-", "/short", stdin=b"x")
        c.run("rm", "/short")
        wait_for("the trash to empty itself", lambda: trash() == [])
        wait_for("its space", lambda: c.run("df", "--json").json()["files"] == 0)
    with Cluster(datanodes=1, options=("--namenode-setting", "trash.keep_ms=0")) as c:
        c.run("put", "-", "/gone", stdin=b"12345")
        said = c.run("rm", "-v", "/gone").text
        require("5 B" in said and "trash" not in said, said)
        require(trash() == [] and c.run("df", "--json").json()["files"] == 0, "no trash")


if __name__ == "__main__":
    with Cluster(namenodes=1, datanodes=2) as cluster:
        c = cluster
        main(test_remove_and_restore, test_of_several_the_newest_or_the_one_that_is_named, test_parents_that_are_gone,
             test_odd_names, test_emptying, test_hadoop)
    main(test_expiry_and_none)
