#!/usr/bin/env python3
"""File locks between two mounts of one cluster: flock(2) and fcntl(2), with processes and leaders that die."""

import contextlib
import errno
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import time

from dfs_e2e import PATIENCE, Cluster, log, require, wait_for
from mounting import check_machine, mounted, run_some

# A process that locks when it is told to. Commands: flock|posix, sh|ex|un, wait|try, [start, length]; put TEXT; get;
# add KIND TIMES, which adds one to the number in the file, each time under a lock.
WORKER = """
import errno, fcntl, os, signal, sys, time
signal.signal(signal.SIGUSR1, lambda *_: (_ for _ in ()).throw(InterruptedError(errno.EINTR, "signal")))
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o644)
print("open", flush=True)
kinds = {"sh": fcntl.LOCK_SH, "ex": fcntl.LOCK_EX, "un": fcntl.LOCK_UN}
for line in sys.stdin:
    words = line.split()
    try:
        if words[0] == "put":
            os.pwrite(fd, words[1].encode(), 0)
            print("ok", flush=True)
        elif words[0] == "get":
            print(os.pread(fd, 100, 0).decode(), flush=True)
        elif words[0] == "add":
            lock = fcntl.flock if words[1] == "flock" else fcntl.lockf
            for _ in range(int(words[2])):
                lock(fd, fcntl.LOCK_EX)
                os.pwrite(fd, b"%08d" % (int(os.pread(fd, 8, 0)) + 1), 0)
                lock(fd, fcntl.LOCK_UN)
            print("ok", flush=True)
        else:
            flags = kinds[words[1]] | (fcntl.LOCK_NB if words[2:3] == ["try"] and words[1] != "un" else 0)
            if words[0] == "flock":
                fcntl.flock(fd, flags)
            else:
                fcntl.lockf(fd, flags, int(words[4]) if len(words) > 4 else 0, int(words[3]) if len(words) > 3 else 0)
            print("ok", time.monotonic(), flush=True)
    except OSError as e:
        print("EDEADLK" if e.errno == errno.EDEADLK else errno.errorcode[e.errno], flush=True)
"""


class Worker:
    def __init__(self, path):
        self.process = subprocess.Popen([sys.executable, "-c", WORKER, path], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        require(self.answer() == "open", f"{path} does not open")
        self.granted = 0.0

    def send(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()

    def answer(self):
        ready = select.select([self.process.stdout], [], [], 180 * PATIENCE)[0]
        require(ready, "the worker does not answer")
        line = self.process.stdout.readline().split()
        require(line, "the worker ended")
        if line[0] == "ok" and len(line) > 1:
            self.granted = float(line[1])
        return line[0]

    def do(self, *words):
        self.send(*words)
        return self.answer()

    def expect(self, wanted, *words):
        got = self.do(*words)
        require(got == wanted, f"{' '.join(str(w) for w in words)}: {got}, not {wanted}")

    def blocked(self):
        """In the middle of a lock call."""
        try:
            with open(f"/proc/{self.process.pid}/wchan", encoding="utf-8") as f:
                where = f.read()
            return "fuse" in where or "request_wait" in where
        except OSError:
            return False

    def wait_blocked(self):
        wait_for("the lock call to wait", self.blocked)

    def end(self):
        self.process.stdin.close()
        self.process.wait(60 * PATIENCE)
        self.process.stdout.close()

    def kill(self):
        self.process.kill()
        self.end()


@contextlib.contextmanager
def workers(*paths):
    made = []
    try:
        for path in paths:
            made.append(Worker(path))
        yield made
    finally:
        for worker in made:
            if worker.process.poll() is None:
                worker.process.kill()
                worker.process.wait()


@contextlib.contextmanager
def two_mounts(*options, **cluster):
    with Cluster(**cluster) as c, mounted(c, "a", *options, may_be_killed=True) as (a, one), \
            mounted(c, "b", *options, may_be_killed=True) as (b, two):
        yield c, (a, one), (b, two)


def test_exclusion():
    """Shared and exclusive, whole files and ranges, conversions, closes, between two mounts and within one."""
    with two_mounts(namenodes=1, datanodes=1) as (_, (a, _), (b, _)):
        with workers(f"{a}/f", f"{b}/f", f"{b}/f") as (one, two, three):
            for kind in ("flock", "posix"):
                one.expect("ok", kind, "ex", "try")
                two.expect("EAGAIN", kind, "ex", "try")
                two.expect("EAGAIN", kind, "sh", "try")
                one.expect("ok", kind, "sh", "try")
                two.expect("ok", kind, "sh", "try")
                three.expect("ok", kind, "sh", "try")
                one.expect("EAGAIN", kind, "ex", "try")
                for worker in (one, two, three):
                    worker.expect("ok", kind, "un", "try")
                three.expect("ok", kind, "ex", "try")
                two.expect("EAGAIN", kind, "ex", "try")
                three.expect("ok", kind, "un", "try")
            # The two kinds do not see each other.
            one.expect("ok", "flock", "ex", "try")
            two.expect("ok", "posix", "ex", "try")
            one.expect("ok", "flock", "un", "try")
            two.expect("ok", "posix", "un", "try")
            # Ranges.
            one.expect("ok", "posix", "ex", "try", 0, 10)
            two.expect("ok", "posix", "ex", "try", 10, 10)
            two.expect("EAGAIN", "posix", "sh", "try", 9, 1)
            one.expect("ok", "posix", "un", "try", 5, 5)
            two.expect("ok", "posix", "sh", "try", 5, 5)
            check_getlk(f"{b}/f", one.process.pid)
            # A process that ends releases what it has.
            one.end()
            two.expect("ok", "posix", "ex", "try")
            three.expect("ok", "flock", "ex", "try")
            two.kill()
            three.kill()
            wait_for("locks of killed processes to go", lambda: free(f"{a}/f"))
        with open(f"{a}/f", "rb+") as f, open(f"{b}/f", "rb+") as g:
            # Linux' open file description locks belong to the open file.
            ofd = 37  # F_OFD_SETLK
            fcntl.fcntl(f, ofd, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0))
            refused(lambda: fcntl.fcntl(g, ofd, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)))
            f.close()
            wait_for("the open file's lock to go", lambda: free(f"{b}/f"))


def check_getlk(path, pid):
    with open(path, "rb+") as f:
        held = struct.unpack("hhqqi4x", fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)))
        require(held == (fcntl.F_WRLCK, os.SEEK_SET, 0, 5, pid), f"F_GETLK: {held}, process {pid}")
        far = struct.unpack("hhqqi4x", fcntl.fcntl(f, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 500, 0, 0)))
        require(far[0] == fcntl.F_UNLCK, f"F_GETLK where nothing is: {far}")


def refused(call):
    try:
        call()
    except OSError as e:
        require(e.errno == errno.EAGAIN, f"{e}")
        return
    require(False, "a lock that is held was granted")


def free(path):
    """Whether both kinds can be had; they are given back."""
    with open(path, "rb+") as f:
        try:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            return False


def test_waiting():
    """A lock call that waits: woken at once, also after long; interrupted by a signal; killed."""
    with two_mounts(namenodes=3, datanodes=1) as (_, (a, _), (b, _)):
        with workers(f"{a}/f", f"{b}/f", f"{b}/f") as (one, two, three):
            for kind in ("flock", "posix"):
                times = []
                for _ in range(20):
                    one.expect("ok", kind, "ex", "try")
                    two.send(kind, "ex", "wait")
                    two.wait_blocked()
                    released = time.monotonic()
                    one.expect("ok", kind, "un", "try")
                    require(two.answer() == "ok", "a wait failed")
                    times.append(two.granted - released)
                    two.expect("ok", kind, "un", "try")
                times.sort()
                log(f"{kind}: woken {1000 * times[len(times) // 2]:.1f} ms after the unlock began, {1000 * times[-1]:.1f} ms at most")
                # Longer than the namenode holds a request.
                one.expect("ok", kind, "ex", "try")
                two.send(kind, "ex", "wait")
                started = time.monotonic()
                wait_for("a long wait", lambda: time.monotonic() - started > 3.3)
                released = time.monotonic()
                one.expect("ok", kind, "un", "try")
                require(two.answer() == "ok", "a long wait failed")
                log(f"{kind}: after 3 s of waiting woken within {1000 * (two.granted - released):.1f} ms")
                # A signal ends the wait and nothing is left of it.
                three.send(kind, "ex", "wait")
                three.wait_blocked()
                three.process.send_signal(signal.SIGUSR1)
                require(three.answer() == "EINTR", "a signal did not end the wait")
                # SIGKILL, too.
                with workers(f"{a}/f") as (victim,):
                    victim.send(kind, "ex", "wait")
                    victim.wait_blocked()
                    victim.process.kill()
                    victim.process.wait(60 * PATIENCE)
                two.expect("ok", kind, "un", "try")
                three.expect("ok", kind, "ex", "try")
                three.expect("ok", kind, "un", "try")


def test_deadlock():
    """Two processes that wait for each other's records: the one that closes the circle is told EDEADLK."""
    with two_mounts(namenodes=1, datanodes=1) as (_, (a, _), (b, _)):
        with workers(f"{a}/f", f"{b}/f") as (one, two):
            one.expect("ok", "posix", "ex", "try", 0, 1)
            two.expect("ok", "posix", "ex", "try", 1, 1)
            one.send("posix", "ex", "wait", 1, 1)
            two.send("posix", "ex", "wait", 0, 1)
            # Which of them was first at the namenode is not for us to say.
            answered = select.select([one.process.stdout, two.process.stdout], [], [], 60 * PATIENCE)[0]
            require(len(answered) == 1, f"{len(answered)} answers")
            loser, winner = (one, two) if answered[0] is one.process.stdout else (two, one)
            require(loser.answer() == "EDEADLK", "a circle was not seen")
            loser.expect("ok", "posix", "un", "try")
            require(winner.answer() == "ok", "the other one")


def test_written_under_a_lock():
    """What was written under a lock is read by who gets it next, without close or fsync."""
    with two_mounts(namenodes=1, datanodes=1) as (_, (a, _), (b, _)):
        for kind in ("flock", "posix"):
            with workers(f"{a}/{kind}", f"{b}/{kind}") as pair:
                pair[0].expect("ok", "put", "100")
                for i in range(100, 140):
                    mine = pair[i % 2]
                    mine.expect("ok", kind, "ex", "wait")
                    seen = mine.do("get")
                    require(seen == str(i), f"{kind}: {seen} instead of {i}")
                    mine.expect("ok", "put", i + 1)
                    mine.expect("ok", kind, "un", "wait")


def test_contention():
    """Six processes on two mounts count in one file: no number is lost, also while the leader dies."""
    with two_mounts(namenodes=3, datanodes=1) as (c, (a, _), (b, _)):
        for kind in ("flock", "posix"):
            with open(f"{a}/{kind}", "w", encoding="utf-8") as f:
                f.write("00000000")
            with workers(*(f"{root}/{kind}" for root in (a, b) for _ in range(3))) as all_of_them:
                started = time.monotonic()
                for worker in all_of_them:
                    worker.send("add", kind, 100)
                if kind == "posix":
                    c.kill("leader")
                for worker in all_of_them:
                    require(worker.answer() == "ok", "a worker")
                seen = all_of_them[0].do("get")
                log(f"{kind}: {600 / (time.monotonic() - started):.0f} times locked, read, written and unlocked a second")
                require(seen == "00000600", f"{kind}: counted to {seen}")


def test_deaths():
    """The leader dies: what is held stays held, who waits waits on. dfs-fuse dies: its locks go when its session ends."""
    with two_mounts(namenodes=3, datanodes=1, options=("--namenode-setting", "sessions.expiry_ms=6000")) as \
            (c, (a, mount), (b, _)):
        with workers(f"{a}/f", f"{b}/f", f"{b}/g") as (one, two, three):
            for round_number in range(2):
                one.expect("ok", "flock", "ex", "try")
                one.expect("ok", "posix", "ex", "try", 0, 10)
                two.send("flock", "ex", "wait")
                two.wait_blocked()
                leader = c.leader()
                c.kill(leader)
                wait_for("another leader", lambda: c.try_status() is not None)
                with open(f"{b}/f", "rb+") as f:
                    refused(lambda: fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB))
                three.expect("ok", "posix", "ex", "try")
                three.expect("ok", "posix", "un", "try")
                require(two.blocked(), "the leader's death ended a wait")
                released = time.monotonic()
                one.expect("ok", "flock", "un", "try")
                require(two.answer() == "ok", "a wait over a leader's death")
                log(f"round {round_number}: after the leader's death woken within {1000 * (two.granted - released):.0f} ms")
                two.expect("ok", "flock", "un", "try")
                one.expect("ok", "posix", "un", "try")
                c.revive(leader)
                wait_for("all namenodes", lambda: (s := c.try_status()) and all(n["answers"] for n in s["namenodes"]))
            one.expect("ok", "flock", "ex", "try")
            two.send("flock", "ex", "wait")
            two.wait_blocked()
            mount.kill()
            mount.wait()
            died = time.monotonic()
            require(two.answer() == "ok", "a wait for a dead mount's lock")
            log(f"the lock of a killed dfs-fuse passed on after {time.monotonic() - died:.1f} s; its session lasts 6 s")
            one.kill()
        c.wait_same_state()


def test_local():
    """lock=local: among the processes of one mount, as before."""
    with two_mounts("-o", "lock=local", namenodes=1, datanodes=1) as (_, (a, _), (b, _)):
        with workers(f"{a}/f", f"{b}/f", f"{a}/f") as (one, two, three):
            for kind in ("flock", "posix"):
                one.expect("ok", kind, "ex", "try")
                two.expect("ok", kind, "ex", "try")
                three.expect("EAGAIN", kind, "ex", "try")


if __name__ == "__main__":
    check_machine("e2e_locks")
    run_some(test_exclusion, test_waiting, test_deadlock, test_written_under_a_lock, test_contention, test_deaths,
             test_local)
