"""What the tests of the mount share: mounting a test's cluster."""

import contextlib
import os
import subprocess
import sys

from dfs_e2e import BIN, PATIENCE, log, main, require, skip, wait_for

FUSE = os.path.join(BIN, "dfs-fuse")


def check_machine(test):
    if not os.path.exists("/dev/fuse"):
        skip(test, "needs /dev/fuse, and root to mount: there is no /dev/fuse")
    if os.geteuid() != 0:
        skip(test, "needs /dev/fuse, and root to mount: not root")


def is_mounted(path):
    with open("/proc/self/mounts", encoding="utf-8") as mounts:
        return any(line.split()[1] == path.replace(" ", "\\040") for line in mounts)


@contextlib.contextmanager
def mounted(c, name="mnt", *options, may_be_killed=False, program=(FUSE,)):
    """Mounts the cluster in a directory of the test's; whatever happens, nothing stays mounted."""
    path = os.path.join(c.home, name)
    os.makedirs(path, exist_ok=True)
    log_file = open(os.path.join(c.home, f"{name}.log"), "wb")
    process = subprocess.Popen([*program, "-f", path, *options], env=c.env, stderr=log_file)
    try:
        wait_for("the mount", lambda: is_mounted(path) or process.poll() is not None)
        require(process.poll() is None, f"dfs-fuse ended: {open(log_file.name).read()}")
        # The first answer comes when the kernel and the daemon have agreed.
        os.listdir(path)
        yield path, process
        if may_be_killed and process.poll() is not None:
            return
        if is_mounted(path):
            subprocess.run(["umount", path], check=True, timeout=60 * PATIENCE)
        require(process.wait(90 * PATIENCE) == 0, f"exit code {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if is_mounted(path):
            subprocess.run(["umount", "-l", path], check=False)
        log_file.close()


def sh(command, cwd):
    done = subprocess.run(["bash", "-e", "-u", "-o", "pipefail", "-c", command], cwd=cwd, timeout=300 * PATIENCE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    require(done.returncode == 0, f"{command}\n{done.stdout.decode(errors='replace')}")
    return done.stdout.decode()


def run_some(*tests):
    """All, or those that are named on the command line."""
    named = [t for t in tests if t.__name__ in sys.argv[1:]]
    main(*(named or tests))
