#!/usr/bin/env python3
"""Ctrl-C in the middle of a copy: no half file under the final name, here or there."""

import os
import signal
import subprocess

from dfs_e2e import WAIT_SECONDS, Cluster, main, require, wait_for


def names(c, path="/"):
    return c.run("ls", "-a", path).text.splitlines()


def test_put():
    with Cluster(namenodes=1, datanodes=3) as c:
        put = c.popen("put", "-", "/f", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        put.stdin.write(os.urandom(5_000_000))
        put.stdin.flush()
        wait_for("the copy to be under way", lambda: c.status()["open_blocks"] > 0)
        require("f" not in names(c), "a half file is visible under the final name")
        put.send_signal(signal.SIGINT)
        require(put.wait(WAIT_SECONDS) == 130, f"exit code {put.returncode}")
        require(names(c) == [], f"left behind: {names(c)}")

        # The old content stays when the replacement is interrupted.
        c.run("put", "-", "/old", stdin=b"old content")
        put = c.popen("put", "-f", "-", "/old", stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        put.stdin.write(os.urandom(5_000_000))
        put.stdin.flush()
        wait_for("the copy to be under way", lambda: c.status()["open_blocks"] > 0)
        put.send_signal(signal.SIGTERM)
        require(put.wait(WAIT_SECONDS) == 130, f"exit code {put.returncode}")
        require(c.run("cat", "/old").out == b"old content", "the old content is gone")
        require(names(c) == ["old"], f"left behind: {names(c)}")

        # kill -9 leaves a hidden temporary file at most.
        put = c.popen("put", "-", "/killed", stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        put.stdin.write(os.urandom(5_000_000))
        put.stdin.flush()
        wait_for("the copy to be under way", lambda: c.status()["open_blocks"] > 0)
        put.kill()
        put.wait()
        require("killed" not in names(c), "a half file under the final name")
        require(c.run("ls", "/").text.splitlines() == ["old"], "a temporary file is not hidden")


def interrupt(start, copied):
    """Starts copies until one is interrupted in its middle: one may end before the signal comes."""
    for attempt in range(100):
        process = start(attempt)
        wait_for("the copy to be under way", lambda: process.poll() is not None or copied(attempt) > 20)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=WAIT_SECONDS)[1].decode()
        if process.returncode == 130:
            require("interrupted" in error, f"says nothing: {error}")
            return attempt
        require(process.returncode == 0, f"exit code {process.returncode}: {error}")
    raise AssertionError("every copy was done before it could be interrupted")


def test_many_files():
    with Cluster(namenodes=1, datanodes=3) as c:
        os.mkdir(f"{c.work}/many")
        for i in range(3000):
            with open(f"{c.work}/many/{i}", "wb") as f:
                f.write(b"%d" % i * 2000)
        last = interrupt(lambda i: c.popen("put", "-r", "many", f"/many{i}", stderr=subprocess.PIPE),
                         lambda i: c.run("ls", f"/many{i}", code=None).out.count(b"\n"))
        there = names(c, f"/many{last}")
        require(0 < len(there) <= 3000, f"{len(there)} files")
        require(not any(n.startswith(".") for n in there), f"temporary files: {there[:5]}")
        for name in there[:: max(1, len(there) // 25)]:
            require(c.run("cat", f"/many{last}/{name}").out == name.encode() * 2000, f"a half file: {name}")

        c.run("put", "-rf", "many", "/")
        last = interrupt(lambda i: c.popen("get", "-r", "/many", f"back{i}", stderr=subprocess.PIPE),
                         lambda i: os.path.isdir(f"{c.work}/back{i}") and len(os.listdir(f"{c.work}/back{i}")))
        back = f"{c.work}/back{last}"
        for name in os.listdir(back):
            require(not name.startswith("."), f"a temporary file: {name}")
            with open(f"{back}/{name}", "rb") as f:
                require(f.read() == name.encode() * 2000, f"a half file: {name}")


if __name__ == "__main__":
    main(test_put, test_many_files)
