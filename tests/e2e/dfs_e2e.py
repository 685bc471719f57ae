"""What the end-to-end tests share: a development cluster of real processes, the command line, checks.

A test is a program: it makes a Cluster in a directory of its own, does what a user would do, and fails by an
exception. The programs are taken from $DFS_BIN_DIR. Exit code 77 says that the machine cannot run the test.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

BIN = os.environ.get("DFS_BIN_DIR", os.path.join(os.getcwd(), "build", "release", "bin"))
DFS = os.path.join(BIN, "dfs")
SKIPPED = 77
# Every wait is a bound on failure, never a pause, and long enough for any machine, however busy; sanitized
# daemons are slower still.
PATIENCE = float(os.environ.get("DFS_TEST_PATIENCE", "1"))
WAIT_SECONDS = 180 * PATIENCE


def log(text):
    print(f"[{time.monotonic() - STARTED:7.2f}] {text}", flush=True)


STARTED = time.monotonic()


def skip(name, why):
    print(f"SKIP: {name} {why}", flush=True)
    sys.exit(SKIPPED)


def require(condition, text):
    if not condition:
        raise AssertionError(text)


def wait_for(what, condition, every=0.02):
    """The first true value of condition(); fails when there never is one."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {WAIT_SECONDS:.0f} s in vain for: {what}")
        time.sleep(every)


class Run:
    """The outcome of one command."""

    def __init__(self, argv, completed, seconds):
        self.argv = argv
        self.code = completed.returncode
        self.out = completed.stdout
        self.err = completed.stderr
        self.seconds = seconds

    @property
    def text(self):
        return self.out.decode("utf-8", "surrogateescape")

    @property
    def error_text(self):
        return self.err.decode("utf-8", "surrogateescape")

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        shown = " ".join(repr(a) if isinstance(a, bytes) else a for a in self.argv)
        return f"{shown}\n  exit code {self.code}\n  stdout: {self.out[-2000:]!r}\n  stderr: {self.err[-2000:]!r}"


class Cluster:
    """A cluster in a temporary directory, with discovery files of its own. Removed at the end."""

    def __init__(self, namenodes=1, datanodes=3, start=True, options=()):
        base = os.environ.get("DFS_TEST_TMP", tempfile.gettempdir())
        self.home = tempfile.mkdtemp(prefix="dfs-e2e-", dir=base)
        # Sockets need a short path.
        self.runtime = tempfile.mkdtemp(prefix="dfs-rt-", dir="/tmp")
        self.dir = os.path.join(self.home, "cluster")
        self.work = os.path.join(self.home, "work")
        os.mkdir(self.work)
        self.env = dict(os.environ, XDG_RUNTIME_DIR=self.runtime, HOME=self.home)
        for name in ("DFS_NAMENODES", "DFS_CLUSTER", "DFS_KEY_FILE", "XDG_CONFIG_HOME"):
            self.env.pop(name, None)
        self.env["DFS_TIMEOUT"] = f"{WAIT_SECONDS:.0f}s"  # of each call; a bound on failure, too
        self.namenode_count = namenodes
        self.datanode_count = datanodes
        self.options = list(options)
        self.keep = bool(os.environ.get("DFS_TEST_KEEP"))
        if start:
            self.start()

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if value is not None and not (kind is SystemExit and value.code == SKIPPED):
            self.show_logs()
        self.remove()

    # ---- Commands ----

    def run(self, *argv, stdin=b"", code=0, env=None, cwd=None):
        """Runs dfs; fails when the exit code is not the expected one (None: any)."""
        argv = [DFS, *argv]
        started = time.monotonic()
        completed = subprocess.run(argv, input=stdin, capture_output=True, timeout=2 * WAIT_SECONDS,
                                   env=env or self.env, cwd=cwd or self.work, check=False)
        run = Run(argv, completed, time.monotonic() - started)
        if code is not None and run.code != code:
            raise AssertionError(f"expected exit code {code}:\n{run}")
        return run

    def popen(self, *argv, **options):
        options.setdefault("env", self.env)
        options.setdefault("cwd", self.work)
        return subprocess.Popen([DFS, *argv], **options)

    def start(self, *more):
        run = self.run("dev", "start", self.dir, "--namenodes", str(self.namenode_count), "--datanodes",
                       str(self.datanode_count), "--json", *self.options, *more)
        return run.json()

    def stop(self):
        self.run("dev", "stop", self.dir)

    def kill(self, *names):
        self.run("dev", "kill", self.dir, *names)

    def revive(self, *names):
        self.run("dev", "revive", self.dir, *names)

    def dev_status(self):
        return self.run("dev", "status", self.dir, "--json").json()

    def processes(self):
        return {p["name"]: p for p in self.dev_status()["processes"]}

    def status(self):
        return self.run("status", "--json").json()

    def try_status(self):
        run = self.run("status", "--json", "--timeout", "3s", code=None)
        return run.json() if run.code == 0 else None

    def leader(self):
        """The name of the leading namenode."""
        def find():
            for process in self.dev_status()["processes"]:
                if process["leader"]:
                    return process["name"]
            return None
        return wait_for("a leader", find)

    # ---- Waiting ----

    def wait_healthy(self):
        """All datanodes live, nothing missing or under-replicated, all namenodes answering."""
        def healthy():
            status = self.try_status()
            if status is None:
                return None
            live = sum(1 for d in status["datanodes"] if d["state"] == "live")
            if live < self.datanode_count or status["missing"] or status["under_replicated"]:
                return None
            if not all(n["answers"] for n in status["namenodes"]):
                return None
            return status
        return wait_for("a healthy cluster", healthy, every=0.1)

    def wait_same_state(self):
        """All namenodes at one applied index with one state hash; returns (index, hash)."""
        last = None

        def same():
            nonlocal last
            status = self.try_status()
            if status is None:
                return None
            members = [n for n in status["namenodes"] if n["answers"]]
            last = [(n["applied_index"], n["state_hash"]) for n in members]
            if len(members) != self.namenode_count or len({n["applied_index"] for n in members}) != 1:
                return None
            require(all(n["state_hash"] for n in members), f"a namenode shows no state hash: {members}")
            require(len({n["state_hash"] for n in members}) == 1,
                    f"namenodes differ at the same applied index: {members}")
            return last[0]
        try:
            return wait_for("namenodes at the same applied index", same, every=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}; last seen: {last}") from None

    # ---- The end ----

    def show_logs(self, lines=40):
        for verb in (("status",), ("fsck", "-v")):
            with contextlib.suppress(Exception):
                print(self.run(*verb, "--timeout", "5s", code=None), flush=True)
        folder = os.path.join(self.dir, "log")
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            with open(os.path.join(folder, name), "rb") as f:
                tail = f.read().decode("utf-8", "replace").splitlines()[-lines:]
            print(f"--- {name}\n" + "\n".join(tail), flush=True)

    def kill_all(self):
        """As a power switch, but for the page cache."""
        pids = [p["pid"] for p in self.processes().values() if p["pid"]]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        wait_for("all processes gone", lambda: all(p["state"] == "stopped" for p in self.processes().values()))

    def remove(self):
        with contextlib.suppress(Exception):
            self.run("dev", "destroy", self.dir, "--yes", code=None)
        if not self.keep:
            shutil.rmtree(self.home, ignore_errors=True)
            shutil.rmtree(self.runtime, ignore_errors=True)


def make_tree(root, seed, files=200, largest=300_000):
    """A tree with empty, tiny, inline and block-sized files, odd names, symlinks and nested directories."""
    rng = random.Random(seed)
    os.makedirs(root)
    folders = [root]
    for i in range(max(1, files // 15)):
        folder = os.path.join(rng.choice(folders), f"dir{i}")
        os.mkdir(folder)
        folders.append(folder)
    sizes = [0, 1, 100, 4095, 4096, 4097, 16384, 16385, 65536]
    odd = ["with space", "-dash", "ümläut", "quote'\"", "new\nline", ".hidden", "x" * 255]
    for i in range(files):
        name = odd[i] if i < len(odd) else f"file{i}"
        size = sizes[i] if i < len(sizes) else int(rng.random() ** 3 * largest)
        with open(os.path.join(rng.choice(folders), name), "wb") as f:
            f.write(rng.randbytes(size))
    os.symlink("file30", os.path.join(root, "link"))
    os.symlink("/nowhere/at all", os.path.join(root, "dangling"))
    return root


def describe_tree(root):
    """Everything of a tree that a copy must keep."""
    out = {}
    for folder, names, files in os.walk(root):
        for name in names + files:
            path = os.path.join(folder, name)
            key = os.path.relpath(path, root)
            if os.path.islink(path):
                out[key] = ("link", os.readlink(path))
            elif os.path.isdir(path):
                out[key] = ("dir", os.stat(path).st_mode & 0o777)
            else:
                with open(path, "rb") as f:
                    out[key] = ("file", os.stat(path).st_mode & 0o777, hashlib.sha256(f.read()).hexdigest())
    return out


def require_equal_trees(a, b):
    left, right = describe_tree(a), describe_tree(b)
    missing = sorted(set(left) - set(right))[:5]
    extra = sorted(set(right) - set(left))[:5]
    differ = sorted(k for k in set(left) & set(right) if left[k] != right[k])[:5]
    require(not (missing or extra or differ),
            f"trees differ: missing {missing}, extra {extra}, different {differ}")


def main(*tests):
    """Runs the test functions in order."""
    for test in tests:
        log(f"--- {test.__name__}")
        test()
    log("passed")
