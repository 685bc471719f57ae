#!/usr/bin/env python3
"""A copy goes on while the leader, then a datanode, is killed with -9 at random moments, 20 times.

The copy must show no error and every byte must come back equal; all namenodes must end in the same state.
Then everything is killed at once and started again, and all is compared again. Each kill must have met
what it was meant for: a block open for writing, and for the datanodes one of that block's chain.
"""

import hashlib
import os
import random
import subprocess
import threading
import time

from dfs_e2e import Cluster, describe_tree, log, main, make_tree, require, require_equal_trees, wait_for

KILLS = int(os.environ.get("DFS_TEST_KILLS", "20"))
SEED = int(os.environ.get("DFS_TEST_SEED", str(random.SystemRandom().randrange(1 << 30))))
# Small blocks, so that a stream passes from block to block many times.
BLOCK_BYTES = 8 << 20


class Stream(threading.Thread):
    """`dfs put -` of random bytes at a bounded rate, until it is told to end."""

    def __init__(self, cluster, path, seed):
        super().__init__()
        self.rng = random.Random(seed)
        self.sha = hashlib.sha256()
        self.bytes = 0
        self.ending = False
        self.process = cluster.popen("put", "--block-size", str(BLOCK_BYTES), "-", path,
                                     stdin=subprocess.PIPE, stderr=subprocess.PIPE)

    def run(self):
        try:
            while not self.ending:
                piece = self.rng.randbytes(256 << 10)
                self.process.stdin.write(piece)
                self.sha.update(piece)
                self.bytes += len(piece)
                time.sleep(0.02)  # the rate of the source, some 12 MiB/s
            self.process.stdin.close()
        except BrokenPipeError:
            pass

    def finish(self):
        self.ending = True
        self.join()
        error = self.process.stderr.read().decode()
        require(self.process.wait(120) == 0, f"the stream failed: {error}")
        require(error == "", f"the stream showed: {error}")


class Trees(threading.Thread):
    """`dfs put -r` of a tree, again and again under new names."""

    def __init__(self, cluster, tree):
        super().__init__()
        self.cluster = cluster
        self.tree = tree
        self.copies = []
        self.failure = None
        self.ending = False

    def run(self):
        while not self.ending and self.failure is None:
            target = f"/copies/{len(self.copies)}"
            run = self.cluster.run("put", "-r", self.tree, target, code=None, timeout=300)
            if run.code != 0 or run.err:
                self.failure = str(run)
                return
            self.copies.append(target)


def members_of_open_block(c, path_of_stream):
    """The datanodes of the chain that is being written now, by name."""
    addresses = {p["address"]: p["name"] for p in c.processes().values() if p["role"] == "datanode"}
    temporary = [e for e in (c.run("ls", "-a", "/streams").text.splitlines())]
    for name in temporary:
        run = c.run("fsck", "-v", "--json", f"/streams/{name}", code=None)
        if run.code not in (0, 7):
            continue
        for file in run.json()["found"]:
            for block in file["blocks"]:
                if block["state"] == "open":
                    return [addresses[r["address"]] for r in block["replicas"] if r["address"] in addresses]
    return []


def compare(c, trees, stream_path, sha, number_of_bytes, round_name):
    for i, target in enumerate(trees.copies):
        # The trees are equal, so it is enough to bring some of them back whole and to count the others.
        if i in (0, len(trees.copies) - 1) or i % 7 == 3:
            copy = f"{c.work}/back-{round_name}-{i}"
            c.run("get", "-r", target, copy, timeout=300)
            require_equal_trees(trees.tree, copy)
            subprocess.run(["rm", "-rf", copy], check=True)
        usage = c.run("du", "-s", "--json", target).json()
        require(usage["bytes"] == trees.expected_bytes, f"{target} has {usage}, expected {trees.expected_bytes} bytes")
    got = hashlib.sha256()
    get = c.popen("cat", stream_path, stdout=subprocess.PIPE)
    size = 0
    while piece := get.stdout.read(1 << 20):
        got.update(piece)
        size += len(piece)
    require(get.wait(60) == 0 and size == number_of_bytes, f"{stream_path}: {size} of {number_of_bytes} bytes")
    require(got.hexdigest() == sha, f"{stream_path} came back different")


def test_kills():
    rng = random.Random(SEED)
    log(f"seed {SEED}")
    with Cluster(namenodes=3, datanodes=3) as c:
        tree = make_tree(f"{c.work}/tree", seed=SEED, files=60, largest=2_000_000)
        c.run("mkdir", "/copies")
        c.run("mkdir", "/streams")
        stream = Stream(c, "/streams/long", SEED)
        stream.start()
        trees = Trees(c, tree)
        trees.expected_bytes = sum(
            os.lstat(os.path.join(folder, name)).st_size for folder, _, files in os.walk(tree) for name in files)
        trees.start()
        met_open_block = 0
        for i in range(KILLS):
            time.sleep(rng.random() * 0.7)  # the random moment
            # The last thing before the kill: what it meets.
            if i % 2 == 0:
                victim = c.leader()
                open_blocks = wait_for("an open block", lambda: (c.try_status() or {}).get("open_blocks"))
                c.kill(victim)
            else:
                chain = wait_for("members of an open block", lambda: members_of_open_block(c, "/streams"))
                victim = rng.choice(chain)
                open_blocks = c.status()["open_blocks"]
                c.kill(victim)
            require(open_blocks > 0, f"kill {i} of {victim} met no open block")
            met_open_block += 1
            require(stream.process.poll() is None, f"the stream ended: {stream.process.returncode}")
            require(trees.failure is None, f"a copy failed: {trees.failure}")
            log(f"kill {i + 1}: {victim}, {open_blocks} blocks open, {stream.bytes >> 20} MiB streamed, "
                f"{len(trees.copies)} trees copied")
            time.sleep(rng.random())
            c.revive(victim)
            if i % 2 == 0:
                wait_for("the namenode's return", lambda: all(
                    n["answers"] for n in (c.try_status() or {"namenodes": [{"answers": False}]})["namenodes"]))
            else:
                wait_for("the datanode's return", lambda: sum(
                    d["state"] == "live" for d in (c.try_status() or {"datanodes": []})["datanodes"]) == 3)
        require(met_open_block == KILLS, "each kill met an open block")
        trees.ending = True
        trees.join()
        require(trees.failure is None, f"a copy failed: {trees.failure}")
        stream.finish()
        log(f"{stream.bytes >> 20} MiB streamed, {len(trees.copies)} trees copied; comparing")
        require(len(trees.copies) > 0 and stream.bytes > KILLS << 18, "there was work during the kills")
        c.wait_healthy(timeout=120)
        sha = stream.sha.hexdigest()
        compare(c, trees, "/streams/long", sha, stream.bytes, "first")
        log(f"namenodes agree: {c.wait_same_state()}")
        c.run("fsck")
        before = describe_tree(tree)

        log("everything is killed at once")
        c.kill_all()
        c.start()
        c.wait_healthy(timeout=120)
        compare(c, trees, "/streams/long", sha, stream.bytes, "second")
        log(f"namenodes agree: {c.wait_same_state()}")
        c.run("fsck")
        require(describe_tree(tree) == before, "the source stayed as it was")


if __name__ == "__main__":
    main(test_kills)
