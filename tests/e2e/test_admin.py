#!/usr/bin/env python3
"""dfs admin export and import, and the audit log."""

import json
import os
import signal
import subprocess

from dfs_e2e import Cluster, log, main, make_tree, require, require_equal_trees, wait_for


def lines_of(path):
    with open(path, "rb") as f:
        return [json.loads(line) for line in f]


def attributes(c):
    """Everything of the cluster's tree that an export must keep."""
    out = {}
    for line in c.run("ls", "-aR", "--json", "/").text.splitlines():
        e = json.loads(line)
        key = e.get("path") or e["path_b64"]
        out[key] = (e["type"], e["mode"], e["uid"], e["gid"], e["size"], e["mtime"], e.get("target"), e["links"])
    return out


def test_export_and_import():
    with Cluster(namenodes=3, datanodes=1) as c:
        tree = make_tree(f"{c.work}/tree", seed=3, files=60, largest=10_000)
        c.run("put", "-rp", "tree", "/tree")
        c.run("ln", "/tree/file30" if os.path.exists(f"{tree}/file30") else "/tree/link", "/hard", code=None)
        c.run("put", "-", "/first", stdin=b"hard links")
        c.run("mkdir", "/d")
        c.run("ln", "/first", "/d/second")
        c.run("setfattr", "-n", "user.colour", "-v", "blue", "/first")
        if os.geteuid() == 0:
            c.run("chown", "1234:4321", "/first")
        c.run("chmod", "500", "/d")
        c.run("admin", "export", "names.jsonl")
        lines = lines_of(f"{c.work}/names.jsonl")
        require(lines[0]["kind"] == "header" and lines[-1]["kind"] == "end", f"{lines[0]} {lines[-1]}")
        require(lines[-1]["entries"] == len(lines) - 2, "entries are counted")
        require(all(line["schema"] == "dfs.export/1" for line in lines), "schema")
        require(c.run("admin", "export", "names.jsonl", code=1).error_text.count("-f"), "an existing file is kept")
        to_stdout = c.run("admin", "export").out.splitlines()
        require(len(to_stdout) == len(lines), "export to standard output")
        before = attributes(c)

        with Cluster(namenodes=1, datanodes=1) as other:
            run = other.run("admin", "import", f"{c.work}/names.jsonl", code=1)
            require("in blocks" in run.error_text and "--names-only" in run.error_text, f"{run}")
            require(other.run("find", "/", "-mindepth", "1").text == "", "nothing is made of what is refused")
            run = other.run("admin", "import", "--names-only", f"{c.work}/names.jsonl")
            require("files are empty" in run.error_text, f"{run}")
            after = attributes(other)
            require(set(before) == set(after), f"names differ: {set(before) ^ set(after)}")
            in_blocks = {line.get("path") or line["path_b64"] for line in lines if line.get("in_blocks")}
            for path, was in before.items():
                now = after[path]
                if path in in_blocks:
                    require(now[4] == 0 and was[4] > 0, f"{path}: {was} {now}")
                    was, now = was[:4] + was[5:], now[:4] + now[5:]
                require(was == now, f"{path}: {was} is now {now}")
            require(other.run("cat", "/d/second").out == b"hard links", "inline content")
            require("blue" in other.run("getfattr", "-d", "/first").text, "extended attributes")
            require(other.run("stat", "-c", "%i", "/first").text == other.run("stat", "-c", "%i", "/d/second").text,
                    "hard links")
            other.run("admin", "import", "--names-only", f"{c.work}/names.jsonl", code=1)  # not empty

        # Contents from a copy, everything else from the export: as docs/operations.md says.
        c.run("get", "-rp", "/", "backup")
        with Cluster(namenodes=1, datanodes=1) as other:
            other.run("put", "-rp", f"{c.work}/backup/.", "/")
            other.run("admin", "import", "--existing", f"{c.work}/names.jsonl")
            after = attributes(other)
            require(after == before, f"{ {k: (before.get(k), after.get(k)) for k in set(before) | set(after) if before.get(k) != after.get(k)} }")
            other.run("get", "-rp", "/tree", "again")
            require_equal_trees(tree, f"{other.work}/again")

        for damaged, why in ((lines[:-1], "cut off"), (lines[:2] + lines[3:], "missing"), (lines[1:], "header")):
            with open(f"{c.work}/bad.jsonl", "w") as f:
                f.writelines(json.dumps(line) + "\n" for line in damaged)
            require(why in c.run("admin", "import", "--existing", "bad.jsonl", code=1).error_text, why)
        with open(f"{c.work}/bad.jsonl", "w") as f:
            f.write("no json\n")
        require("line 1" in c.run("admin", "import", "bad.jsonl", code=1).error_text, "the line is named")
        c.run("admin", "import", "none.jsonl", code=1)
        c.run("admin", "frobnicate", code=2)


def test_audit_log():
    with Cluster(namenodes=1, datanodes=1, start=False) as c:
        audit = f"{c.home}/audit.log"
        c.options = ["--namenode-setting", f"audit.file={audit}"]
        c.start()
        c.run("mkdir", "/d")
        c.run("put", "-", "/d/small", stdin=b"x")
        c.run("put", "-", "/d/big", stdin=os.urandom(100_000))
        c.run("mv", "/d/small", "/d/odd \x1b[31m\nname")
        c.run("chmod", "600", "/d/big")
        c.run("rm", "-r", "/d")
        c.run("ls", "/")

        def written():
            with open(audit, "rb") as f:
                return f.read()
        wait_for("the last change in the log", lambda: b"op=move_to_trash" in written())
        text = written().decode("ascii")
        told = text.splitlines()
        for word in ('op=mkdir path="/d"', "op=create", 'op=rename path="/d/small" to="/d/odd \\x1b[31m\\x0aname"',
                     'op=set_attr path="/d/big"', 'op=move_to_trash path="/d"', 'to="/d/big"'):
            require(any(word in line and line.endswith("outcome=ok") for line in told), f"{word}:\n{text}")
        require(all(f" uid={os.geteuid()} " in line and line[:2] == "20" for line in told), text)
        require("list_directory" not in text, "reading is no change")
        require(os.stat(audit).st_mode & 0o777 == 0o600, "for its owner only")

        # As logrotate does.
        os.rename(audit, audit + ".1")
        os.kill(c.processes()["namenode-1"]["pid"], signal.SIGHUP)
        wait_for("a new file", lambda: os.path.exists(audit))
        c.run("mkdir", "/after")
        wait_for("a line in it", lambda: b'path="/after"' in written())
        if os.geteuid() == 0:
            test_refusal(c, written)


def test_refusal(c, written):
    """Another user, who may not."""
    c.run("mkdir", "-m", "700", "/closed")
    os.chmod(c.home, 0o755)
    subprocess.run(["chmod", "-R", "a+rX", c.runtime, c.dir], check=True)
    key = f"{c.work}/key"
    with open(f"{c.dir}/cluster.key") as f, open(key, "w") as copy:
        copy.write(f.read())
    os.chmod(key, 0o600)
    os.chown(key, 65534, 65534)
    address = c.processes()["namenode-1"]["address"]

    def demote():
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    run = subprocess.run([os.path.join(os.environ.get("DFS_BIN_DIR", "build/release/bin"), "dfs"), "touch", "/closed/x",
                          "--namenodes", address, "--key-file", key], env=dict(c.env, HOME="/tmp"), preexec_fn=demote,
                         cwd="/", capture_output=True, check=False)
    if run.returncode != 4:
        log(f"no refusal could be had here: {run.stderr}")
        return  # this machine does not let the other user get at the program
    wait_for("the refusal", lambda: b'uid=65534' in written() and b"outcome=access_denied" in written())


if __name__ == "__main__":
    main(test_export_and_import, test_audit_log)
