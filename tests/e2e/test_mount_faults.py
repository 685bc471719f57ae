#!/usr/bin/env python3
"""The mount when something dies, is away or is wrong: the leader, a datanode, dfs-fuse, a program; planted mistakes; memory."""

import contextlib
import errno
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading

from dfs_e2e import BIN, PATIENCE, Cluster, log, require, skip, wait_for
from mounting import FUSE, check_machine, is_mounted, mounted, run_some, sh


SQLITE_WRITER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("pragma synchronous = full")
mode = db.execute("pragma journal_mode = " + sys.argv[2]).fetchone()[0]
assert mode == sys.argv[2], mode
db.execute("create table if not exists t(a integer primary key, b text)")
i = db.execute("select coalesce(max(a), 0) from t").fetchone()[0]
while True:
    i += 1
    db.execute("begin immediate")
    db.execute("insert into t values(?, ?)", (i, "v" * (i % 3000)))
    db.execute("commit")
    print(i, flush=True)
"""


class SqliteWriter:
    """Commits row after row; knows which were acknowledged."""

    def __init__(self, path, mode):
        self.path = path
        self.process = subprocess.Popen([sys.executable, "-c", SQLITE_WRITER, path, mode], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.acknowledged = 0

    def commit(self, count):
        for _ in range(count):
            line = self.process.stdout.readline()
            require(line, f"the writer ended: {self.process.stderr.read() if not line else ''}")
            self.acknowledged = int(line)

    def kill(self):
        self.process.kill()
        for line in self.process.stdout:
            if line.endswith("\n"):
                self.acknowledged = int(line)
        self.process.wait()
        self.process.stdout.close()
        self.process.stderr.close()

    def check(self):
        db = sqlite3.connect(self.path, timeout=60)
        require(db.execute("pragma integrity_check").fetchone()[0] == "ok", "integrity_check")
        rows = db.execute("select a, length(b) from t order by a").fetchall()
        require(rows == [(i, i % 3000) for i in range(1, len(rows) + 1)], "rows differ")
        require(len(rows) >= self.acknowledged, f"{len(rows)} rows, {self.acknowledged} acknowledged")
        db.close()


def test_sqlite():
    """A database under kill -9 of its process, of a datanode, of the leader and of dfs-fuse, in every journal mode."""
    with Cluster(namenodes=3, datanodes=4) as c:
        for mode in ("delete", "truncate", "wal"):
            c.wait_healthy()
            with mounted(c, may_be_killed=True) as (root, mount):
                path = f"{root}/{mode}.db"
                writer = SqliteWriter(path, mode)
                writer.commit(20)
                writer.kill()
                writer.check()
                writer = SqliteWriter(path, mode)
                writer.commit(10)
                c.kill("leader")
                writer.commit(10)
                c.kill("datanode-2")
                writer.commit(10)
                mount.kill()
                mount.wait()
                writer.kill()
            with mounted(c) as (root, _):
                writer.path = f"{root}/{mode}.db"
                writer.check()
            c.start()


def test_cluster_away():
    """Without a leader calls fail after timeo, and Ctrl-C ends them at once; when it is back the mount goes on."""
    with Cluster(namenodes=1, datanodes=1) as c, mounted(c, "soft", "-o", "timeo=2s") as (soft, _), \
            mounted(c, "hard", "-o", "hard") as (hard, _):
        with open(f"{soft}/f", "w", encoding="utf-8") as f:
            f.write("here")
        c.run("dev", "pause", c.dir, "namenode-1")
        try:
            os.stat(f"{soft}/f")
            require(False, "a stat without a namenode")
        except OSError as e:
            require(e.errno in (errno.ETIMEDOUT, errno.EIO), f"{e}")
        for signal_number in (signal.SIGINT, signal.SIGKILL):
            with subprocess.Popen(["cat", f"{hard}/f"], stderr=subprocess.DEVNULL) as cat:
                wait_for("cat to wait", lambda: waits_for_fuse(cat.pid))
                cat.send_signal(signal_number)
                require(cat.wait(60 * PATIENCE) == -signal_number, f"{cat.returncode}")
        with subprocess.Popen(["cat", f"{hard}/f"], stdout=subprocess.PIPE) as cat:
            wait_for("cat to wait", lambda: waits_for_fuse(cat.pid))
            c.run("dev", "resume", c.dir, "namenode-1")
            require(cat.communicate(timeout=60 * PATIENCE)[0] == b"here", "a call that waited on a hard mount")
        wait_for("the soft mount", lambda: reads(f"{soft}/f") == "here")


def reads(path):
    try:
        with open(path, encoding="utf-8") as f:
            return f.read()
    except OSError:
        return None


def waits_for_fuse(pid):
    try:
        with open(f"/proc/{pid}/wchan", encoding="utf-8") as f:
            where = f.read()
        return "fuse" in where or "request_wait" in where
    except OSError:
        return False


def resident_peak(pid):
    with open(f"/proc/{pid}/status", encoding="utf-8") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmHWM")) << 10


def test_memory():
    """Nothing is staged whole: a long file and a long directory."""
    with Cluster(namenodes=1, datanodes=1) as c, mounted(c) as (root, process):
        sh("head -c 400M /dev/zero > long && cmp -n 400M long /dev/zero && truncate -s 8G long && "
           "dd if=long of=/dev/null bs=1M skip=7000 status=none && rm long", root)
        os.mkdir(f"{root}/d")
        for i in range(3_000):
            os.mknod(f"{root}/d/{'n' * 200}{i}")
        require(len(os.listdir(f"{root}/d")) == 3_000, "a long listing")
        require(sum(1 for e in os.scandir(f"{root}/d") if e.stat().st_size == 0) == 3_000, "with attributes")
        peak = resident_peak(process.pid)
        log(f"dfs-fuse took {peak >> 20} MiB at most")
        require(peak < 200 << 20, f"{peak >> 20} MiB")


DEFECTS = ("mount_inline_stale_tail",
           "mount_gap_not_zero",
           "mount_block_boundary_lost",
           "mount_read_beside_writer",
           "mount_no_overlay",
           "mount_sync_does_nothing",
           "mount_close_does_not_flush",
           "mount_pages_stay",
           "mount_time_stands_still",
           "mount_grow_forgotten",
           "mount_places_stay")
# What is not told is asked for under leases: these make no difference to whoever looks from elsewhere.
UNSEEN_UNDER_LEASES = ("mount_sync_does_nothing", "mount_close_does_not_flush", "mount_time_stands_still")


def test_planted_defects():
    """The exerciser finds each of these mistakes."""
    small_blocks = ("--namenode-setting", "namespace.default_block_size_bytes=65536")
    with Cluster(namenodes=1, datanodes=3, options=small_blocks) as c:
        for defect in DEFECTS:
            program = (os.path.join(BIN, "dfs-fuse-defective"), defect)
            options = ("-o", "cache=none") if defect in UNSEEN_UNDER_LEASES else ()
            with mounted(c, "a", *options, program=program, may_be_killed=True) as (a, one), \
                    mounted(c, "b", *options, program=program, may_be_killed=True) as (b, other):
                done = subprocess.run([os.path.join(BIN, "dfs-fsx"), "--seconds", f"{60 * PATIENCE:.0f}", "--files", "2",
                                       "--max-size", "300000", a, b], capture_output=True, text=True, check=False,
                                      timeout=240 * PATIENCE)
                require(done.returncode == 1, f"{defect} was not found: {done.stdout}{done.stderr}")
                log(f"{defect}: {done.stderr.strip().splitlines()[-1]}")
                for process in (one, other):
                    process.kill()
                    process.wait()


def test_faults():
    """A leader and a datanode die under running writes: a pause, no error, no difference."""
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c) as (root, _):
        failures = []
        stop = threading.Event()
        written = []

        def write():
            try:
                while not stop.is_set():
                    i = len(written)
                    data = random.Random(i).randbytes(100_000 if i % 3 else 2_000)
                    with open(f"{root}/{i}", "wb") as f:
                        f.write(data)
                        os.fsync(f.fileno())
                    written.append(data)
            except OSError as e:
                failures.append(e)

        writer = threading.Thread(target=write)
        writer.start()
        wait_for("files", lambda: len(written) > 5 or failures)
        c.kill("leader")
        at = len(written)
        wait_for("files after the leader's death", lambda: len(written) > at + 5 or failures)
        c.kill("datanode-2")
        at = len(written)
        wait_for("files after a datanode's death", lambda: len(written) > at + 5 or failures)
        stop.set()
        writer.join()
        require(not failures, f"{failures}")
        for i, data in enumerate(written):
            require(open(f"{root}/{i}", "rb").read() == data, f"file {i}")


def test_killed_mount():
    """kill -9 of dfs-fuse: what was synced is there, the directory can be unmounted and mounted again."""
    with Cluster(namenodes=1, datanodes=3, options=("--namenode-setting", "sessions.expiry_ms=6000")) as c:
        path = os.path.join(c.home, "mnt")
        os.mkdir(path)
        with subprocess.Popen([FUSE, "-f", path], env=c.env) as process:
            try:
                wait_for("the mount", lambda: is_mounted(path))
                fd = os.open(f"{path}/f", os.O_CREAT | os.O_RDWR)
                os.write(fd, b"s" * 200_000)
                os.fsync(fd)
                os.write(fd, b"t" * 200_000)
                gone = os.open(f"{path}/gone", os.O_CREAT | os.O_RDWR)
                os.write(gone, b"g" * 200_000)
                os.fsync(gone)
                os.unlink(f"{path}/gone")
                require(c.status()["blocks"] == 2, "a file that is open and unlinked")
                process.kill()
                process.wait()
                for each in (fd, gone):
                    with contextlib.suppress(OSError):
                        os.close(each)
                try:
                    os.stat(f"{path}/f")
                    require(False, "a dead mount answers")
                except OSError as e:
                    require(e.errno in (107, 103), f"{e}")  # ENOTCONN, ECONNABORTED
            finally:
                process.kill()
                subprocess.run(["umount", "-l", path], check=False)
        with mounted(c) as (root, _):
            data = open(f"{root}/f", "rb").read()
            require(data.startswith(b"s" * 200_000), f"{len(data)} bytes")
            # What only the dead mount held open goes when its session ends.
            wait_for("the unlinked file's block to go", lambda: c.status()["blocks"] == 1)


if __name__ == "__main__":
    check_machine("e2e_mount_faults")
    run_some(test_sqlite, test_cluster_away, test_memory, test_planted_defects, test_faults, test_killed_mount)
