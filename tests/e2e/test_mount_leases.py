#!/usr/bin/env python3
"""Two mounts of one cluster: what one completed, the next call on the other sees; and what that is worth when something dies."""

import os
import random
import signal
import subprocess
import threading
import time

from dfs_e2e import PATIENCE, Cluster, log, require
from mounting import check_machine, is_mounted, mounted, run_some


def test_names():
    """Made, removed, renamed and changed on one, seen by the next call on the other; also what is not there."""
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c, "a") as (a, _), mounted(c, "b") as (b, _):
        os.makedirs(f"{a}/d/e")
        for i in range(60):
            one, other = (a, b) if i % 2 else (b, a)
            name = f"d/n{i}"
            require(not os.path.exists(f"{other}/{name}"), f"{name} is there before it is made")
            with open(f"{one}/{name}", "w", encoding="ascii") as f:
                f.write(str(i))
            require(os.stat(f"{other}/{name}").st_size == len(str(i)), f"{name}: size")
            require(name[2:] in os.listdir(f"{other}/d"), f"{name} is not listed")
            os.chmod(f"{one}/{name}", 0o600 + i % 8)
            require(os.stat(f"{other}/{name}").st_mode & 0o777 == 0o600 + i % 8, f"{name}: mode")
            os.rename(f"{other}/{name}", f"{other}/d/e/m{i}")
            require(not os.path.exists(f"{one}/{name}"), f"{name} is still there")
            with open(f"{one}/d/e/m{i}", encoding="ascii") as f:
                require(f.read() == str(i), f"m{i}: content")
            os.link(f"{one}/d/e/m{i}", f"{one}/d/l{i}")
            require(os.stat(f"{other}/d/e/m{i}").st_nlink == 2, f"m{i}: links")
            os.unlink(f"{other}/d/e/m{i}")
            require(os.stat(f"{one}/d/l{i}").st_nlink == 1, f"l{i}: links")
            os.utime(f"{one}/d/l{i}", ns=(1, 10**9 + i))
            require(os.stat(f"{other}/d/l{i}").st_mtime_ns == 10**9 + i, f"l{i}: time")
            os.setxattr(f"{one}/d/l{i}", "user.i", str(i).encode())
            require(os.getxattr(f"{other}/d/l{i}", "user.i") == str(i).encode(), f"l{i}: attribute")
        # A directory that is moved away from under the other's feet.
        require(os.path.exists(f"{b}/d/e"), "d/e")
        os.rename(f"{a}/d", f"{a}/x")
        require(not os.path.exists(f"{b}/d/e") and os.path.isdir(f"{b}/x/e"), "a directory that moved")


def test_bytes():
    """A completed write is in the next read elsewhere, without fsync or close, of small files and large."""
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c, "a") as (a, _), mounted(c, "b") as (b, _):
        for size in (3, 5000, 300_000):
            path = f"f{size}"
            mine = os.open(f"{a}/{path}", os.O_RDWR | os.O_CREAT)
            theirs = os.open(f"{b}/{path}", os.O_RDWR)
            for i in range(12):
                data = (b"%04d" % i) * (size // 4 + 1)
                require(os.pwrite(mine, data, 0) == len(data), "short write")
                require(os.fstat(theirs).st_size == len(data), f"{path}: size in round {i}")
                require(os.pread(theirs, len(data) + 9, 0) == data, f"{path}: content in round {i}")
                os.pwrite(theirs, b"theirs", len(data) // 2)
                require(os.pread(mine, 6, len(data) // 2) == b"theirs", f"{path}: theirs in round {i}")
                os.ftruncate(theirs, 2)
                require(os.pread(mine, 9, 0) == data[:2], f"{path}: cut in round {i}")
                # By a client without leases, too.
                require(c.run("cat", f"/{path}").out == data[:2], f"{path}: dfs cat in round {i}")
            os.close(mine)
            os.close(theirs)


def test_appends():
    """Two mounts append to one file at the same time: every record is there once and whole."""
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c, "a") as (a, _), mounted(c, "b") as (b, _):
        open(f"{a}/log", "w", encoding="ascii").close()
        records = 60

        def append(mount, who):
            fd = os.open(f"{mount}/log", os.O_WRONLY | os.O_APPEND)
            for i in range(records):
                os.write(fd, f"{who}{i:06d}\n".encode() * 40)
            os.close(fd)

        threads = [threading.Thread(target=append, args=(m, w)) for m, w in ((a, "a"), (b, "b"))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        lines = open(f"{b}/log", encoding="ascii").read().split()
        want = sorted(f"{w}{i:06d}" for w in "ab" for i in range(records) for _ in range(40))
        require(sorted(lines) == want, f"{len(lines)} of {len(want)} lines, or others")


def test_fail_over():
    """The leader dies under two mounts that cache: what is cached stays right, and serving goes on."""
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c, "a") as (a, _), mounted(c, "b") as (b, _):
        os.makedirs(f"{a}/d")
        for i in range(50):
            with open(f"{a}/d/f{i}", "w", encoding="ascii") as f:
                f.write("0")
        fd = os.open(f"{a}/d/open", os.O_RDWR | os.O_CREAT)
        for round_ in range(1, 4):
            for i in range(50):
                require(os.stat(f"{b}/d/f{i}").st_size == round_, f"f{i} in round {round_}")
            os.pwrite(fd, b"%d" % round_, 0)
            c.run("dev", "kill", c.dir, "leader")
            began = time.monotonic()
            for i in range(50):
                with open(f"{a}/d/f{i}", "a", encoding="ascii") as f:
                    f.write("+")
                require(os.stat(f"{b}/d/f{i}").st_size == round_ + 1, f"f{i} after kill {round_}")
            log(f"{time.monotonic() - began:.2f} s for 50 changes over a fail-over")
            with open(f"{b}/d/open", "rb") as f:
                require(f.read() == b"%d" % round_, "what was written before the kill")
            c.start()
        os.close(fd)


def test_dead_mount():
    """A mount that is killed or stopped holds nobody up for longer than its term, and serves nothing old when it wakes."""
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c, "a") as (a, _), \
            mounted(c, "b", may_be_killed=True) as (b, process):
        for name in ("x", "y"):
            with open(f"{a}/{name}", "w", encoding="ascii") as f:
                f.write("old")
        for name in ("x", "y"):
            require(open(f"{b}/{name}", encoding="ascii").read() == "old", "b reads")
        process.send_signal(signal.SIGSTOP)
        began = time.monotonic()
        with open(f"{a}/x", "w", encoding="ascii") as f:
            f.write("newer")
        log(f"a change waited {time.monotonic() - began:.2f} s for a stopped mount")
        process.send_signal(signal.SIGCONT)
        require(open(f"{b}/x", encoding="ascii").read() == "newer", "b serves what it had cached")
        require(open(f"{b}/y", encoding="ascii").read() == "old", "b reads again")
        process.kill()
        process.wait()
        began = time.monotonic()
        with open(f"{a}/y", "w", encoding="ascii") as f:
            f.write("newer")
        log(f"a change waited {time.monotonic() - began:.2f} s for a dead mount")
        subprocess.run(["umount", "-l", b], check=True)
        require(not is_mounted(b), "unmounted")


def test_random():
    """Random changes and looks from two mounts, against a model that is always right."""
    seed = int(os.environ.get("DFS_TEST_SEED", "0")) or random.randrange(1 << 30)
    log(f"seed {seed}")
    rng = random.Random(seed)
    with Cluster(namenodes=3, datanodes=3) as c, mounted(c, "a") as (a, _), mounted(c, "b") as (b, _):
        model = {}
        names = [f"n{i}" for i in range(8)]
        done = []
        for step in range(int(1500 / PATIENCE)):
            mount = rng.choice((a, b))
            name = rng.choice(names)
            path = f"{mount}/{name}"
            what = rng.randrange(8)
            done.append((step, what, path[-4:]))
            if what == 0 and name in model:
                os.unlink(path)
                del model[name]
            elif what == 1 and name in model:
                to = rng.choice(names)
                os.rename(path, f"{mount}/{to}")
                model[to] = model.pop(name) if to != name else model[name]
            elif what in (2, 3):
                data = rng.randbytes(rng.choice((1, 100, 20_000, 70_000)))
                with open(path, "wb") as f:
                    f.write(data)
                model[name] = data
            elif what == 4 and name in model:
                at = rng.randrange(len(model[name]) + 1)
                with open(path, "r+b") as f:
                    f.seek(at)
                    f.write(b"<patch>")
                old = model[name]
                model[name] = old[:at] + b"<patch>" + old[at + 7:]
            elif what == 5 and name in model:
                size = rng.randrange(len(model[name]) + 10)
                os.truncate(path, size)
                model[name] = model[name][:size].ljust(size, b"\0")
            for look in (a, b):
                seen = rng.choice(names)
                if seen not in model:
                    require(not os.path.exists(f"{look}/{seen}"), f"step {step}: {look[-1]} shows {seen}, after {done[-9:]}")
                    continue
                require(os.stat(f"{look}/{seen}").st_size == len(model[seen]), f"step {step}: size of {seen} on {look[-1]}, after {done[-9:]}")
                if rng.randrange(2):
                    with open(f"{look}/{seen}", "rb") as f:
                        require(f.read() == model[seen], f"step {step}: content of {seen} on {look[-1]}, after {done[-9:]}")
            if step % 100 == 0:
                require(sorted(os.listdir(a)) == sorted(model) == sorted(os.listdir(b)), f"step {step}: listing")


if __name__ == "__main__":
    check_machine("test_mount_leases")
    run_some(test_names, test_bytes, test_appends, test_fail_over, test_dead_mount, test_random)
