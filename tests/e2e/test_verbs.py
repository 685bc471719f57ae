#!/usr/bin/env python3
"""Every verb as a user types it: results, exit codes, JSON, refusals."""

import json
import os
import shutil
import subprocess

from dfs_e2e import DFS, PATIENCE, WAIT_SECONDS, Cluster, main, make_tree, require, require_equal_trees

c = None


def names(path):
    return c.run("ls", "-a", path).text.splitlines()


def test_put_get_cat():
    data = os.urandom(700_000)
    with open(f"{c.work}/f", "wb") as f:
        f.write(data)
    c.run("put", "f", "/")
    require(c.run("cat", "/f").out == data, "cat gives other bytes")
    again = c.run("put", "f", "/f", code=1)
    require("exists" in again.error_text and "-f" in again.error_text, f"unhelpful refusal: {again}")
    c.run("put", "-f", "f", "/f")
    c.run("get", "/f", "g")
    require(open(f"{c.work}/g", "rb").read() == data, "get gives other bytes")
    c.run("get", "/f", "g", code=1)
    c.run("get", "-f", "/f", "g")
    require(c.run("get", "/f", "-").out == data, "get to stdout gives other bytes")
    c.run("put", "-", "/stdin", stdin=data)
    require(c.run("cat", "/stdin", "/f").out == data + data, "put from stdin")
    c.run("put", "-", "/tiny", stdin=b"hi\n")
    require(c.run("cat", "/tiny").out == b"hi\n", "a small file")
    c.run("put", "-", "/empty", stdin=b"")
    require(c.run("cat", "/empty").out == b"", "an empty file")
    require(c.run("ls", "-a", "/").text.splitlines() == sorted(["f", "stdin", "tiny", "empty"]),
            "no hidden temporary files stay behind")


def test_trees():
    tree = make_tree(f"{c.work}/tree", seed=7)
    c.run("put", "tree", "/", code=1)  # a directory without -r
    c.run("put", "-r", "tree", "/")
    c.run("get", "-r", "/tree", "copy")
    require_equal_trees(tree, f"{c.work}/copy")
    c.run("put", "-rp", "tree", "/kept")
    c.run("get", "-rp", "/kept", "kept")
    require_equal_trees(tree, f"{c.work}/kept")
    for folder, _, files in os.walk(tree):
        for name in files:
            path = os.path.join(folder, name)
            if not os.path.islink(path):
                other = os.path.join(f"{c.work}/kept", os.path.relpath(path, tree))
                require(os.stat(path).st_mtime_ns == os.stat(other).st_mtime_ns, f"mtime of {other}")
    # Into an existing directory, as cp does; then refused, file by file.
    c.run("mkdir", "/into")
    c.run("put", "-r", "tree", "/into")
    c.run("get", "-r", "/into/tree", "copy2")
    require_equal_trees(tree, f"{c.work}/copy2")
    c.run("get", "-r", "/tree", "copy", code=None)
    # get into a directory that exists makes copy/tree; the second time its files exist.
    require_equal_trees(tree, f"{c.work}/copy/tree")
    require(c.run("get", "-r", "/tree", "copy", code=None).code in (1, 3), "existing files are refused")


def test_get_never_leaves_its_target():
    c.run("mkdir", "-p", "/evil/sub")
    c.run("put", "-", "/evil/sub/file", stdin=b"evil")
    outside = f"{c.work}/outside"
    os.mkdir(outside)
    os.makedirs(f"{c.work}/trap/evil")
    os.symlink(outside, f"{c.work}/trap/evil/sub")
    run = c.run("get", "-rf", "/evil", "trap", code=None)
    require(run.code != 0, "a symlink in the way was followed")
    require(os.listdir(outside) == [], "something was written through a symlink")
    # A symlink at the place of a file is replaced, not followed.
    victim = f"{c.work}/victim"
    with open(victim, "w") as f:
        f.write("unharmed")
    os.symlink(victim, f"{c.work}/file-here")
    c.run("get", "-f", "/evil/sub/file", "file-here")
    require(open(victim).read() == "unharmed", "a file was written through a symlink")
    require(open(f"{c.work}/file-here").read() == "evil", "the symlink was not replaced")


def test_block_sizes():
    for size in ("1000", "3G"):  # no multiple of 4 KiB; more than a datanode stores in one block
        run = c.run("put", "--block-size", size, "-", "/sized", stdin=b"s" * 100_000, code=None)
        require(run.code != 0 and "4 KiB to 2 GiB" in run.error_text, f"unclear: {run}")
        c.run("stat", "/sized", code=1)
    c.run("put", "--block-size", "2G", "-", "/sized", stdin=b"s" * 100_000)
    require(c.run("cat", "/sized").out == b"s" * 100_000, "the largest block size")
    c.run("rm", "/sized")


def test_names():
    c.run("mkdir", "/n")
    longest = "x" * 255
    c.run("touch", f"/n/{longest}")
    too_long = c.run("touch", "/n/" + "x" * 256, code=1)
    require("255 bytes" in too_long.error_text, f"unclear: {too_long}")
    deep = "/" + "/".join(["d" * 99] * 50)
    require(len(deep) == 5000, "the test's own arithmetic")
    path = c.run("stat", deep, code=1)
    require("path too long" in path.error_text, f"unclear: {path}")
    c.run("mkdir", "-p", deep, code=1)
    raw = b"/n/not \xff\xfe utf-8"
    c.run("put", "-", raw, stdin=b"bytes")
    require(c.run("cat", raw).out == b"bytes", "a name that is not UTF-8")
    require(raw[3:] in c.run("ls", "/n").out.split(b"\n"), "ls changes the name's bytes")
    entry = [json.loads(line) for line in c.run("ls", "--json", "/n").text.splitlines()]
    require(any("path_b64" in e for e in entry), "JSON has the raw name")
    c.run("put", "-", "/n/new\nline\x1b[31m", stdin=b"")
    require(b"/n/new\nline\x1b[31m\0" in c.run("ls", "-0R", "/n").out, "-0 gives raw names")
    # On a terminal control characters are quoted.
    if shutil.which("script"):
        shown = subprocess.run(["script", "-qec", f"{DFS} ls -1 /n", "/dev/null"], env=c.env,
                               capture_output=True, stdin=subprocess.DEVNULL, check=False).stdout
        require(b"\x1b[31m" not in shown and b"\\x1b[31m" in shown, f"raw escape on a terminal: {shown!r}")
    c.run("rm", raw, "/n/new\nline\x1b[31m")
    require(names("/n") == [longest], "what is left")


def test_directories():
    c.run("mkdir", "/a/b/c", code=1)
    c.run("mkdir", "-p", "/a/b/c")
    c.run("mkdir", "-p", "/a/b/c")
    c.run("mkdir", "/a/b/c", code=1)
    c.run("mkdir", "-m", "700", "/a/private")
    require(c.run("stat", "-c", "%a %F", "/a/private").text == "700 directory\n", "mode of mkdir -m")
    for name in ("x", "y", ".z"):
        c.run("put", "-", f"/a/{name}", stdin=name.encode() * 3)
    require(c.run("ls", "/a").text.splitlines() == ["b", "private", "x", "y"], "ls")
    require(c.run("ls", "-r", "/a").text.splitlines() == ["y", "x", "private", "b"], "ls -r")
    require(c.run("ls", "-a", "/a").text.splitlines() == [".z", "b", "private", "x", "y"], "ls -a")
    require(c.run("ls", "-d", "/a").text == "/a\n", "ls -d")
    long = c.run("ls", "-l", "/a").text
    require("-rw-r--r--" in long and "drwx------" in long, f"ls -l: {long}")
    recursive = c.run("ls", "-R", "/a").text
    require("/a/b:" in recursive, f"ls -R: {recursive}")
    c.run("ls", "/nowhere", code=1)
    require(c.run("ls", "/nowhere", "/a/x", code=3).text == "/a/x\n", "a part of the arguments failed")


def test_move_and_remove():
    c.run("mv", "/a/x", "/a/x2")
    c.run("mv", "/a/x2", "/a/y", "/a/b/")
    require(names("/a/b") == ["c", "x2", "y"], "mv into a directory")
    c.run("mv", "-n", "/a/b/x2", "/a/b/y", code=1)
    c.run("mv", "-nT", "/a/b/x2", "/a/b/y", code=1)
    c.run("mv", "/a/b/x2", "/a/b/y")
    require(c.run("cat", "/a/b/y").out == b"xxx", "mv replaces")
    c.run("mv", "/a", "/a/b/inside", code=1)
    c.run("rm", "/a/b", code=1)
    c.run("rm", "/gone", code=1)
    c.run("rm", "-f", "/gone")
    c.run("rm", "-r", "/", code=4)
    usage = c.run("du", "-s", "--json", "/a").json()
    require(usage["files"] == 2 and usage["bytes"] == 9, f"du: {usage}")
    c.run("rm", "-r", "/a")
    c.run("stat", "/a", code=1)


def test_attributes():
    c.run("touch", "/t")
    before = c.run("stat", "--json", "/t").json()
    c.run("touch", "/t")
    after = c.run("stat", "--json", "/t").json()
    require(after["mtime"] > before["mtime"] and after["size"] == 0, "touch sets the time")
    c.run("touch", "-c", "/not-made")
    c.run("stat", "/not-made", code=1)
    c.run("chmod", "640", "/t")
    c.run("chmod", "u+x,o=r", "/t")
    require(c.run("stat", "-c", "%a %A", "/t").text == "744 -rwxr--r--\n", c.run("stat", "/t").text)
    c.run("chmod", "nonsense", "/t", code=2)
    if os.geteuid() == 0:
        c.run("chown", "1234:4321", "/t")
        require(c.run("stat", "-c", "%u %g", "/t").text == "1234 4321\n", "chown")
        c.run("chown", ":77", "/t")
        require(c.run("stat", "-c", "%u %g", "/t").text == "1234 77\n", "chown of the group")
    c.run("mkdir", "-p", "/m/n")
    c.run("touch", "/m/n/o")
    c.run("chmod", "-R", "go-rwx", "/m")
    require(c.run("stat", "-c", "%a", "/m/n/o").text == "600\n", "chmod -R")
    c.run("rm", "-r", "/m", "/t")


def test_append_and_tail():
    c.run("append", "-", "/log", stdin=b"one\n")
    c.run("append", "-", "/log", stdin=b"two\nthree\n")
    require(c.run("cat", "/log").out == b"one\ntwo\nthree\n", "append")
    require(c.run("tail", "-n", "2", "/log").out == b"two\nthree\n", "tail -n")
    require(c.run("tail", "-c", "4", "/log").out == b"ree\n", "tail -c")
    big = b"".join(b"line %d\n" % i for i in range(60_000))
    c.run("append", "-", "/log", stdin=big)
    require(c.run("cat", "/log").out == b"one\ntwo\nthree\n" + big, "append past the inline limit")
    require(c.run("tail", "/log").out == b"".join(b"line %d\n" % i for i in range(59_990, 60_000)), "tail")
    follow = c.popen("tail", "-f", "-n", "1", "/log", stdout=subprocess.PIPE)
    require(follow.stdout.readline() == b"line 59999\n", "tail -f begins as tail does")
    c.run("append", "-", "/log", stdin=b"news\n")
    require(follow.stdout.readline() == b"news\n", "tail -f")
    follow.terminate()
    follow.wait(WAIT_SECONDS)
    c.run("rm", "/log")


def test_machine_readable():
    c.run("put", "-", "/j", stdin=b"12345")
    stat = c.run("stat", "--json", "/j").json()
    require(stat["schema"] == "dfs.stat/1" and stat["size"] == 5 and stat["path"] == "/j", f"stat: {stat}")
    error = c.run("cat", "--json", "/none", code=1)
    require(json.loads(error.error_text)["code"] == "not_found", f"error: {error}")
    df = c.run("df", "--json").json()
    require(df["schema"] == "dfs.df/1" and df["capacity_bytes"] > 0, f"df: {df}")
    status = c.run("status", "--json").json()
    require(status["schema"] == "dfs.status/1" and len(status["datanodes"]) == 3, f"status: {status}")
    fsck = c.run("fsck", "--json").json()
    require(fsck["healthy"] and fsck["missing_files"] == 0, f"fsck: {fsck}")
    c.run("status", "--exit-code")
    dev = c.dev_status()
    require({"name", "role", "pid", "address", "leader", "state"} <= set(dev["processes"][0]), f"{dev}")
    require(dev["under_replicated"] == 0 and dev["missing"] == 0, f"{dev}")
    require(sum(p["leader"] for p in dev["processes"]) == 1, f"{dev}")


def test_fsck_shows_replicas():
    c.run("put", "-", "/blocks", stdin=os.urandom(100_000))
    shown = c.run("fsck", "-v", "/blocks").text
    require("replicas 3/3" in shown and "/blocks" in shown, shown)
    found = c.run("fsck", "-v", "--json", "/blocks").json()
    require(len(found["found"][0]["blocks"][0]["replicas"]) == 3, f"{found}")
    require("healthy" in c.run("fsck").text, "fsck of a healthy cluster")


def test_copy_inside():
    tree = make_tree(f"{c.work}/original", seed=11)
    c.run("put", "-rp", "original", "/cp")
    c.run("cp", "/cp", "/cp2", code=1)  # a directory without -r
    c.run("cp", "-rp", "/cp", "/cp2")
    c.run("get", "-rp", "/cp2", "copied")
    require_equal_trees(tree, f"{c.work}/copied")
    for inside in ("/cp/deeper", "/cp"):
        run = c.run("cp", "-r", "/cp", inside, code=1)
        require("inside" in run.error_text, f"a tree into itself: {run}")
    c.run("ln", "-s", "/cp", "/way-back")
    c.run("cp", "-r", "/cp", "/way-back/again", code=None)
    require(c.run("find", "/cp/again", "-name", "again").text == "/cp/again\n", "a copy that copies itself")
    c.run("put", "-", "/one", stdin=b"one")
    refused = c.run("cp", "/one", "/cp2/one", code=0) and c.run("cp", "/one", "/cp2/one", code=1)
    require("-f replaces it" in refused.error_text, f"{refused}")
    c.run("cp", "-f", "/one", "/one", code=1)
    require(c.run("cat", "/one").out == b"one", "a file copied onto itself")


def test_update():
    os.mkdir(f"{c.work}/site")
    for name in ("a", "b", "c"):
        with open(f"{c.work}/site/{name}", "w") as f:
            f.write(name * 100)
    os.symlink("a", f"{c.work}/site/link")
    copied = lambda: json.loads(c.run("put", "-ru", "--json", "site", "/").text)["files"]
    link = lambda: c.run("stat", "-c", "%i %N", "/site/link").text
    require(copied() == 3, "all is copied")
    before = link()
    require(copied() == 0 and link() == before, "the second time nothing has changed")
    with open(f"{c.work}/site/b", "w") as f:
        f.write("B" * 100)  # the same size
    os.utime(f"{c.work}/site/b", (1, 1))
    require(copied() == 1, "one file has changed")
    require(c.run("cat", "/site/b").out == b"B" * 100 and c.run("stat", "-c", "%Y", "/site/b").text == "1\n", "b")


def test_top():
    lines = c.run("top", "-n", "2", "--interval", "100ms", "--json").text.splitlines()
    require([json.loads(line)["schema"] for line in lines] == ["dfs.top/1"] * 2, f"{lines}")
    require("changes/s" in c.run("top", "-n", "1").text, "top for people")
    c.run("top", "--interval", "1ms", code=2)


def test_links():
    c.run("put", "-", "/first", stdin=b"12345")
    c.run("ln", "/first", "/second")
    require(c.run("stat", "-c", "%h", "/second").text == "2\n", "two links")
    c.run("ln", "/first", "/second", code=1)
    c.run("ln", "-f", "-s", "first", "/second")
    require(c.run("cat", "/second").out == b"12345", "a symbolic link")


def test_globs():
    c.run("mkdir", "-p", "/g/a1", "/g/a2", "/g/b")
    for name in ("a1/x", "a2/x", "a2/y", "b/x", "b/.hidden", "b/st*r"):
        c.run("put", "-", f"/g/{name}", stdin=name.encode())
    require(c.run("ls", "-d", "/g/a*").text.split() == ["/g/a1", "/g/a2"], "directories by pattern")
    require(c.run("cat", "/g/*/x").out == b"a1/xa2/xb/x", "a pattern in the middle")
    require(c.run("ls", "-d", "/g/b/*").text.split() == ["/g/b/st*r", "/g/b/x"], "a dot in front is no match for *")
    require(c.run("ls", "-d", "/g/[ab][!1]/x").text.split() == ["/g/a2/x"], "sets")
    require("/g/z*" in c.run("ls", "/g/z*", code=1).error_text, "what matches nothing is named")
    require(c.run("cat", "--no-glob", "/g/b/st*r").out == b"b/st*r", "--no-glob")
    require(c.run("cat", "/g/b/st\\*r").out == b"b/st*r", "a backslash")
    c.run("rm", "/g/a?/*")
    require(c.run("find", "/g", "-type", "f", "-name", "x").text == "/g/b/x\n", "rm by pattern")


def test_find_and_count():
    c.run("mkdir", "-p", "/find/deep/er")
    c.run("put", "-", "/find/small", stdin=b"x")
    c.run("put", "-", "/find/deep/large", stdin=b"x" * 5000)
    c.run("put", "-", "/find/deep/er/EMPTY", stdin=b"")
    c.run("touch", "-c", "/find/small")
    found = lambda *tests: sorted(c.run("find", "/find", *tests).text.split())
    require(found() == ["/find", "/find/deep", "/find/deep/er", "/find/deep/er/EMPTY", "/find/deep/large", "/find/small"], "everything")
    require(found("-size", "+4K") == ["/find/deep/large"], "-size +")
    require(found("-size", "-2c", "-type", "f") == ["/find/deep/er/EMPTY", "/find/small"], "-size -")
    require(found("-iname", "empty") == found("-empty") == ["/find/deep/er/EMPTY"], "-iname, -empty")
    require(found("-maxdepth", "1", "-type", "d") == ["/find", "/find/deep"], "-maxdepth")
    require(found("-mindepth", "3") == ["/find/deep/er/EMPTY"], "-mindepth")
    require(found("-mtime", "+1") == [] and len(found("-mtime", "0")) == 6, "-mtime")
    require(found("-path", "*/er/*") == ["/find/deep/er/EMPTY"], "-path")
    c.run("chmod", "4755", "/find/small")
    require(found("-perm", "-4000") == found("-perm", "4755") == ["/find/small"], "-perm")
    require(c.run("find", "/find", "-type", "f", "-print0").out.count(b"\0") == 3, "-print0")
    require(json.loads(c.run("find", "/find/small", "--json").text)["path"] == "/find/small", "--json")
    c.run("find", "/find", "-size", "huge", code=2)
    c.run("find", "/nope", code=1)
    line = c.run("count", "--json", "/find").text
    require([json.loads(line)[k] for k in ("directories", "files", "bytes")] == [2, 3, 5001], f"count: {line}")


def test_head_and_truncate():
    c.run("put", "-", "/lines", stdin=b"".join(b"line %d\n" % i for i in range(100)))
    require(c.run("head", "-n", "2", "/lines").out == b"line 0\nline 1\n", "head -n")
    require(c.run("head", "-c", "3", "/lines").out == b"lin", "head -c")
    c.run("truncate", "-s", "7", "/lines")
    require(c.run("head", "/lines").out == b"line 0\n", "truncated")
    c.run("truncate", "-s", "+3", "/lines")
    require(c.run("cat", "/lines").out == b"line 0\n\0\0\0", "a longer file ends in zeros")
    c.run("truncate", "-s", "1G", "/sparse")
    require(c.run("stat", "-c", "%s %b", "/sparse").text == f"{1 << 30} 0\n", "a hole takes no space")
    c.run("truncate", "-c", "-s", "0", "/not-there")
    c.run("test", "-e", "/not-there", code=1)
    c.run("truncate", "/lines", code=2)


def test_questions():
    c.run("put", "-", "/q", stdin=b"x")
    c.run("chmod", "600", "/q")
    for asked in ("-e", "-f", "-s", "-fs", "-r"):
        c.run("test", asked, "/q")
    for asked in ("-d", "-z", "-L", "-x", "-fd"):
        require(c.run("test", asked, "/q", code=1).error_text == "", f"test {asked} is quiet")
    c.run("test", "-e", "/q/below", code=1)
    c.run("test", "/q", code=2)


def test_extended_attributes():
    c.run("put", "-", "/x", stdin=b"x")
    c.run("setfattr", "-n", "user.text", "-v", "a \"quoted\" word", "/x")
    c.run("setfattr", "-n", "user.raw", "-v", "0x00ff10", "/x")
    shown = c.run("getfattr", "-d", "/x").text
    require('user.text="a \\"quoted\\" word"' in shown and "user.raw=0sAP8Q" in shown, f"getfattr -d: {shown}")
    require(c.run("getfattr", "-n", "user.raw", "--only-values", "/x").out == b"\0\xff\x10", "--only-values")
    c.run("setfattr", "-n", "user.copy", "-v", "0sAP8Q", "/x")
    require("user.copy=0x00ff10" in c.run("getfattr", "-n", "user.copy", "-e", "hex", "/x").text, "hex")
    c.run("setfattr", "-x", "user.raw", "/x")
    require("user.raw" not in c.run("getfattr", "/x").text, "removed")
    c.run("getfattr", "-n", "user.raw", "/x", code=1)
    c.run("setfattr", "-n", "user.bad", "-v", "0xzz", "/x", code=2)


def test_set_replication():
    c.run("put", "-", "/r", stdin=os.urandom(200_000))
    replicas = lambda: len(json.loads(c.run("fsck", "-v", "--json", "/r").text)["found"][0]["blocks"][0]["replicas"])
    for n in (1, 3):
        c.run("setrep", "-w", str(n), "/r")
        require(replicas() == n, f"setrep -w {n}: {replicas()} replicas")
    c.run("setrep", "0", "/r", code=2)


def test_completion():
    for shell in ("bash", "zsh", "fish"):
        require("dfs" in c.run("completion", shell).text, shell)
    c.run("completion", "tcsh", code=2)
    c.run("mkdir", "-p", "/complete/directory")
    c.run("put", "-", "/complete/different", stdin=b"")
    script = """source <(dfs completion bash)
        complete_it() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _dfs; printf '%s\\n' "${COMPREPLY[@]}"; }
        complete_it dfs getf; complete_it dfs ls /complete/di; complete_it dfs ls --no-g"""
    env = dict(c.env, PATH=os.path.dirname(DFS) + ":" + os.environ["PATH"])
    run = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    require(run.stdout.split() == ["getfattr", "/complete/directory/", "/complete/different", "--no-glob"], f"{run}")


def test_keygen():
    c.run("keygen", "new.key")
    key = open(f"{c.work}/new.key").read()
    require(len(key.strip()) == 64 and os.stat(f"{c.work}/new.key").st_mode & 0o777 == 0o600, "a private key")
    c.run("keygen", "new.key", code=1)
    c.run("keygen", "--if-missing", "new.key")
    require(open(f"{c.work}/new.key").read() == key, "a key is never replaced")


def test_usage_errors():
    for argv in (["nonsense"], [], ["ls", "--nonsense"], ["put", "x"], ["mkdir"], ["mv", "/a"],
                 ["dev", "nonsense"], ["stat", "-c", "%Q", "/"]):
        run = c.run(*argv, code=2)
        require(run.err and not run.out, f"usage errors go to stderr: {run}")
    require("Examples" in c.run("put", "--help").text, "help has examples")
    c.run("help", "ls")
    c.run("--version")
    unreachable = c.run("ls", "--namenodes", "127.0.0.1:1", "--timeout", "1s", code=None)
    require(unreachable.code in (4, 5), f"{unreachable}")
    nothing = dict(c.env, XDG_RUNTIME_DIR=c.work)
    run = c.run("ls", env=nothing, code=5)
    require("dfs dev start" in run.error_text, f"no hint: {run}")


def test_pipes():
    full = subprocess.run(f"{DFS} cat /blocks > /dev/full", shell=True, env=c.env, capture_output=True, check=False)
    require(full.returncode not in (0, 141), "an error of writing stdout")
    head = subprocess.run(["bash", "-c", f"{DFS} cat /blocks | head -c 10; exit ${{PIPESTATUS[0]}}"],
                          env=c.env, capture_output=True, check=False)
    require(head.returncode in (0, 141) and head.stderr == b"", f"a closed pipe is quiet: {head}")


def test_ls_is_quick():
    c.run("ls", "/")
    times = sorted(c.run("ls", "/").seconds for _ in range(20))
    print(f"dfs ls: median {times[10] * 1000:.1f} ms, best {times[0] * 1000:.1f} ms")
    # The aim is 30 ms. What fails the test is no slow machine but somebody's pause or time-out in the way:
    # the best of many has no excuse.
    require(times[0] < 3.0 * PATIENCE, f"dfs ls took {times[0] * 1000:.1f} ms")


if __name__ == "__main__":
    with Cluster(namenodes=1, datanodes=3) as cluster:
        c = cluster
        main(test_put_get_cat, test_trees, test_get_never_leaves_its_target, test_block_sizes, test_names, test_directories,
             test_move_and_remove, test_attributes, test_append_and_tail, test_machine_readable,
             test_copy_inside, test_update, test_top, test_links, test_globs, test_find_and_count, test_head_and_truncate, test_questions,
             test_extended_attributes, test_set_replication, test_completion, test_keygen, test_fsck_shows_replicas, test_usage_errors, test_pipes, test_ls_is_quick)
