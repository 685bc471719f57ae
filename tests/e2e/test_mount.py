#!/usr/bin/env python3
"""The mount: what programs do to a file system, and two mounts of one cluster."""

import ctypes
import errno
import mmap
import os
import random
import signal
import socket
import stat
import subprocess
import sys

from dfs_e2e import BIN, PATIENCE, Cluster, log, require, wait_for
from mounting import FUSE, check_machine, is_mounted, mounted, run_some, sh


def test_copies():
    """Unmodified programs that copy trees: cp, tar, rsync."""
    with Cluster(namenodes=1, datanodes=3) as c, mounted(c) as (root, _):
        source = "/usr/include/linux/netfilter"
        sh(f"cp -a {source} copy && diff -r {source} copy", root)
        sh(f"tar cf t.tar -C {source} . && mkdir out && tar xf t.tar -C out && diff -r {source} out", root)
        sh(f"test \"$(cd copy && stat -c '%n %Y %a' *.h)\" = \"$(cd {source} && stat -c '%n %Y %a' *.h)\"", root)
        sh(f"rsync -a {source}/ synced && diff -r {source} synced && "
           f"test -z \"$(rsync -a --checksum --itemize-changes --delete {source}/ synced)\" && "
           f"test -z \"$(rsync -a --itemize-changes {source}/ synced)\"", root)
        # The command line sees the same.
        require(c.run("ls", "/copy").text.splitlines() == sorted(os.listdir(f"{root}/copy")), "ls differs")
        sh("rm -r copy out synced t.tar && test -z \"$(ls -A .)\"", root)


MAKEFILE = """CFLAGS = -O1
program: main.o part.o
\tgcc -o $@ $^
%.o: %.c part.h
\tgcc $(CFLAGS) -c $<
"""


def test_development():
    """git, make, an editor's way of saving."""
    with Cluster(namenodes=1, datanodes=3) as c, mounted(c) as (root, _):
        git = "git -c user.name=a -c user.email=a@b -c safe.directory='*'"
        sh(f"mkdir g && cd g && {git} init -q . && cp -r /usr/include/linux/netfilter . && {git} add -A && "
           f"{git} commit -qm one && {git} fsck --strict && echo x >> netfilter/$(ls -p netfilter | grep -v / | tail -1) && "
           f"test \"$({git} status --short | cut -c2)\" = M", root)
        sh(f"{git} clone -q g h && {git} -C h fsck --strict && {git} -C h gc -q && {git} -C h fsck --strict", root)
        os.mkdir(f"{root}/project")
        for name, text in (("Makefile", MAKEFILE), ("part.h", "int part(int);\n"),
                           ("part.c", "#include \"part.h\"\nint part(int x) { return 6 * x; }\n"),
                           ("main.c", "#include \"part.h\"\n#include <stdio.h>\n"
                                      "int main() { printf(\"%d\\n\", part(7)); return 0; }\n")):
            with open(f"{root}/project/{name}", "w", encoding="utf-8") as f:
                f.write(text)
        sh("make -s && test \"$(./program)\" = 42 && make -q", f"{root}/project")
        # As vim saves: the old file becomes a backup, a new one takes its name.
        path = f"{root}/project/part.c"
        for i in range(10):
            os.rename(path, path + "~")
            with open(path, "w", encoding="utf-8") as f:
                f.write(f"#include \"part.h\"\nint part(int x) {{ return {i} * x; }}\n")
                f.flush()
                os.fsync(f.fileno())
            os.unlink(path + "~")
        sh("! make -q && make -s && test \"$(./program)\" = 63", f"{root}/project")
        sh("rm -r g h project && test -z \"$(ls -A .)\"", root)


def test_fio():
    """fio writes at random and verifies what it reads, four jobs at once."""
    with Cluster(namenodes=1, datanodes=3) as c, mounted(c) as (root, _):
        for options in ("--rw=randrw --bsrange=512-64k --fsync=16", "--rw=randwrite --bs=4k --ioengine=mmap",
                        "--rw=rw --bs=256k --end_fsync=1"):
            sh(f"fio --name=v --directory=. --numjobs=4 --size=4m --verify=crc32c --verify_fatal=1 --do_verify=1 "
               f"--verify_state_save=0 --randseed=7 {options}", root)


def check_rename_flags(root):
    libc = ctypes.CDLL(None, use_errno=True)

    def rename(old, new, flags):
        done = libc.renameat2(-100, f"{root}/{old}".encode(), -100, f"{root}/{new}".encode(), flags)
        return 0 if done == 0 else ctypes.get_errno()

    for name in ("p", "q"):
        with open(f"{root}/{name}", "w", encoding="utf-8") as f:
            f.write(name)
    require(rename("p", "q", 1) == errno.EEXIST, "RENAME_NOREPLACE replaced")
    require(rename("p", "r", 1) == 0 and os.path.exists(f"{root}/r"), "RENAME_NOREPLACE")
    require(rename("r", "q", 2) == 0, "RENAME_EXCHANGE")
    require(open(f"{root}/q", encoding="utf-8").read() == "p" and open(f"{root}/r", encoding="utf-8").read() == "q",
            "RENAME_EXCHANGE did not")
    require(rename("q", "nothing", 2) == errno.ENOENT, "RENAME_EXCHANGE with nothing")
    require(rename("q", "r", 4) == errno.EINVAL, "RENAME_WHITEOUT")


def check_special_files(root):
    os.mkfifo(f"{root}/fifo", 0o640)
    st = os.stat(f"{root}/fifo")
    require(stat.S_ISFIFO(st.st_mode) and st.st_mode & 0o7777 == 0o640, f"{st}")
    with subprocess.Popen(["cat", f"{root}/fifo"], stdout=subprocess.PIPE) as cat:
        with open(f"{root}/fifo", "w", encoding="utf-8") as f:
            f.write("through")
        require(cat.communicate(timeout=60 * PATIENCE)[0] == b"through", "a fifo")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        os.chdir(root)  # a socket's path is short
        listener.bind("socket")
        listener.listen()
        caller.connect("socket")
        os.chdir("/")
    require(stat.S_ISSOCK(os.stat(f"{root}/socket").st_mode), "a socket's file")
    for name, kind, device in (("null", stat.S_IFCHR, os.makedev(1, 3)), ("loop", stat.S_IFBLK, os.makedev(7, 300))):
        os.mknod(f"{root}/{name}", kind | 0o600, device)
        st = os.stat(f"{root}/{name}")
        require(stat.S_IFMT(st.st_mode) == kind and st.st_rdev == device, f"{name}: {st}")
    kinds = {e.name: e.stat(follow_symlinks=False).st_mode for e in os.scandir(root)}
    require(stat.S_ISFIFO(kinds["fifo"]) and stat.S_ISCHR(kinds["null"]) and stat.S_ISBLK(kinds["loop"]), "types in a listing")
    for name in ("fifo", "socket", "null", "loop"):
        os.unlink(f"{root}/{name}")


def test_posix():
    """Single calls whose outcome POSIX fixes."""
    with Cluster(namenodes=1, datanodes=3) as c, mounted(c) as (root, _):
        path = os.path.join(root, "f")
        with open(path, "wb") as f:
            f.write(b"x" * 100_000)
        os.utime(path, ns=(1_500_000_000_123_456_789, 1_600_000_000_987_654_321))
        st = os.stat(path)
        require((st.st_mtime_ns, st.st_size) == (1_600_000_000_987_654_321, 100_000), f"{st}")

        # Open but unlinked.
        fd = os.open(path, os.O_RDWR)
        os.unlink(path)
        require(not os.path.exists(path), "the name is still there")
        os.pwrite(fd, b"y" * 10, 99_995)
        require(os.pread(fd, 20, 99_990) == b"x" * 5 + b"y" * 10, "content of an unlinked file")
        require(os.fstat(fd).st_nlink == 0 and os.fstat(fd).st_size == 100_005, f"{os.fstat(fd)}")
        os.close(fd)

        # Truncation down and up leaves zeros, inline and in blocks.
        for size in (5_000, 500_000):
            with open(path, "w+b") as f:
                f.write(b"z" * size)
                f.flush()
                os.ftruncate(f.fileno(), 1_000)
                os.ftruncate(f.fileno(), size)
                require(os.pread(f.fileno(), size, 0) == b"z" * 1_000 + bytes(size - 1_000), "a stale tail")
        os.truncate(path, 10)
        require(open(path, "rb").read() == b"z" * 10, "truncate by name")

        # O_APPEND from two descriptors.
        a, b = (os.open(path, os.O_WRONLY | os.O_APPEND) for _ in range(2))
        for i in range(20):
            os.write(a if i % 2 else b, b"%02d" % i)
        os.close(a)
        os.close(b)
        require(open(path, "rb").read()[10:] == b"".join(b"%02d" % i for i in range(20)), "appended in order")

        # Links, symbolic and hard; renames with and without replacement.
        os.link(path, f"{root}/hard")
        require(os.stat(path).st_nlink == 2 and os.path.samefile(path, f"{root}/hard"), "hard link")
        os.symlink("f", f"{root}/soft")
        require(os.readlink(f"{root}/soft") == "f" and os.stat(f"{root}/soft").st_size == 50, "symbolic link")
        os.mkdir(f"{root}/d")
        os.rename(f"{root}/hard", f"{root}/d/moved")
        os.replace(f"{root}/d/moved", f"{root}/other")
        for call, error in ((lambda: os.mkdir(f"{root}/d"), FileExistsError),
                            (lambda: os.rmdir(root + "/nothing"), FileNotFoundError),
                            (lambda: os.rmdir(path), NotADirectoryError),
                            (lambda: os.unlink(f"{root}/d"), IsADirectoryError),
                            (lambda: open(f"{root}/{'n' * 256}", "wb"), OSError)):
            try:
                call()
                require(False, f"no {error}")
            except error:
                pass
        space = os.statvfs(root)
        require(space.f_namemax == 255 and 0 < space.f_bavail <= space.f_blocks, f"{space}")
        check_rename_flags(root)
        check_special_files(root)

        # Extended attributes; shared memory.
        os.setxattr(path, "user.color", b"blue")
        require(os.getxattr(path, "user.color") == b"blue" and os.listxattr(path) == ["user.color"], "xattr")
        os.removexattr(path, "user.color")
        with open(f"{root}/map", "w+b") as f:
            f.truncate(1 << 20)
            with mmap.mmap(f.fileno(), 1 << 20) as m:
                m[70_000:70_005] = b"hello"
                m.flush()
        require(open(f"{root}/map", "rb").read()[70_000:70_005] == b"hello", "shared mapping")

        # Permissions are the caller's, supplementary groups included.
        os.mkdir(f"{root}/group", 0o770)
        os.chown(f"{root}/group", 0, 4242)
        as_user = "import os,sys; os.setgroups([int(sys.argv[2])]); os.setgid(9999); os.setuid(9999); os.mkdir(sys.argv[1])"
        os.chmod(root, 0o755)
        if "allow_other" not in open("/proc/self/mounts").read():
            refused = subprocess.run([sys.executable, "-c", as_user, f"{root}/group/x", "4242"], capture_output=True)
            require(refused.returncode != 0, "a mount without allow_other answered another user")


def test_other_users():
    with Cluster(namenodes=1, datanodes=1) as c:
        os.chmod(c.home, 0o755)
        with mounted(c, "mnt", "-o", "allow_other") as (root, _):
            os.mkdir(f"{root}/group")
            os.chown(f"{root}/group", 0, 4242)
            os.chmod(f"{root}/group", 0o770)
            program = ("import os,sys; os.setgroups([int(sys.argv[2])]); os.setgid(9999); os.setuid(9999)\n"
                       "os.mkdir(sys.argv[1])")
            for group, ok in ((4243, False), (4242, True)):
                done = subprocess.run([sys.executable, "-c", program, f"{root}/group/x", str(group)],
                                      capture_output=True, timeout=60 * PATIENCE)
                require((done.returncode == 0) == ok, f"group {group}: {done.stderr.decode()}")
            require(os.stat(f"{root}/group/x").st_uid == 9999, "owner")
            check_privilege_bits(root)


AS_USER = "import os,sys; os.setgroups([]); os.setgid(9999); os.setuid(9999); "


def check_privilege_bits(root):
    """S_ISUID and S_ISGID go when somebody without privileges changes the file; S_ISVTX and S_ISGID of directories."""
    def user(code):
        done = subprocess.run([sys.executable, "-c", AS_USER + code, root], capture_output=True, text=True,
                              timeout=60 * PATIENCE, check=False)
        return "" if done.returncode == 0 else done.stderr

    os.chmod(root, 0o777)
    path = f"{root}/privileged"
    for code in ("os.pwrite(os.open(sys.argv[1] + '/privileged', os.O_WRONLY), b'x', 1)",
                 "os.truncate(sys.argv[1] + '/privileged', 2)",
                 "open(sys.argv[1] + '/privileged', 'w').close()"):
        with open(path, "w", encoding="utf-8") as f:
            f.write("text")
        os.chmod(path, 0o6777)
        require(user(code) == "", f"{code}: {user(code)}")
        require(os.stat(path).st_mode & 0o7777 == 0o777, f"{code} left {os.stat(path).st_mode:o}")
    os.chmod(path, 0o6777)
    os.chown(path, 9999, 9999)
    require(os.stat(path).st_mode & 0o6000 == 0, f"chown left {os.stat(path).st_mode:o}")
    require("PermissionError" in user("os.chown(sys.argv[1] + '/privileged', 5, 5)"), "a user gave a file away")

    os.mkdir(f"{root}/sticky")
    os.chmod(f"{root}/sticky", 0o1777)
    with open(f"{root}/sticky/root", "w", encoding="utf-8"):
        pass
    require("Operation not permitted" in user("os.unlink(sys.argv[1] + '/sticky/root')"), "a sticky directory")
    os.chown(f"{root}/sticky", 0, 4242)
    os.chmod(f"{root}/sticky", 0o3777)
    require(user("os.umask(0o27); os.mkdir(sys.argv[1] + '/sticky/d'); os.close(os.open(sys.argv[1] + '/sticky/f', os.O_CREAT))") == "",
            "create in a directory of a group")
    st = os.stat(f"{root}/sticky/d")
    require(st.st_gid == 4242 and st.st_mode & 0o7777 == 0o2750, f"a directory below S_ISGID: {st}")
    st = os.stat(f"{root}/sticky/f")
    require(st.st_gid == 4242 and st.st_mode & 0o7777 == 0o750, f"a file below S_ISGID: {st}")
    for name in ("system.posix_acl_access", "security.capability"):
        try:
            os.setxattr(path, name, b"\x02\x00\x00\x00")
            require(False, f"{name} was taken, and nobody keeps it")
        except OSError as e:
            require(e.errno in (errno.EOPNOTSUPP, errno.EINVAL), f"{name}: {e}")


def test_exerciser():
    """Random operations against a model: by one mount, by two in turns, by small blocks."""
    fsx = os.path.join(BIN, "dfs-fsx")
    seed = os.environ.get("DFS_TEST_SEED", str(random.randrange(1 << 30)))
    small_blocks = ("--namenode-setting", "namespace.default_block_size_bytes=1048576")
    with Cluster(namenodes=1, datanodes=3, options=small_blocks) as c, mounted(c, "a") as (a, _), \
            mounted(c, "b") as (b, _):
        for argv in (("--files", "2", a), ("--files", "2", a, b), ("--max-size", "60000", "--files", "3", a, b),
                     ("--max-size", "9000000", a, b)):
            done = subprocess.run([fsx, "--seed", seed, "--seconds", "6", *argv], capture_output=True, text=True,
                                  timeout=180 * PATIENCE, check=False)
            require(done.returncode == 0, f"seed {seed} {argv}: {done.stdout}{done.stderr}")
            log(done.stdout.strip())


def test_random_operations():
    """Reads, writes, truncations, syncs and reopening against a model, through two descriptors."""
    rng = random.Random(20261121)
    with Cluster(namenodes=1, datanodes=3) as c, mounted(c) as (root, _):
        path = os.path.join(root, "r")
        fds = [os.open(path, os.O_CREAT | os.O_RDWR) for _ in range(2)]
        model = bytearray()
        for step in range(500):
            fd = rng.choice(fds)
            kind = rng.random()
            if kind < 0.5:
                offset = rng.randrange(300_000)
                data = rng.randbytes(rng.randrange(1, 70_000))
                os.pwrite(fd, data, offset)
                model.extend(bytes(max(0, offset - len(model))))
                model[offset:offset + len(data)] = data
            elif kind < 0.6:
                size = rng.randrange(350_000)
                os.ftruncate(fd, size)
                del model[size:]
                model.extend(bytes(size - len(model)))
            elif kind < 0.65:
                os.fsync(fd)
            elif kind < 0.7:
                fds.remove(fd)
                os.close(fd)
                fds.append(os.open(path, os.O_RDWR))
            else:
                offset, size = rng.randrange(350_000), rng.randrange(1, 100_000)
                require(os.pread(fd, size, offset) == model[offset:offset + size], f"step {step}: {size} at {offset}")
            require(os.fstat(fds[0]).st_size == len(model), f"step {step}: size")
        for fd in fds:
            os.close(fd)
        require(c.run("cat", "/r").out == model, "the command line reads something else")


def test_two_mounts():
    """What one mount has closed or synced, the other sees at its next call."""
    with Cluster(namenodes=1, datanodes=3) as c, mounted(c, "a") as (a, _), mounted(c, "b") as (b, _):
        for i, size in enumerate((10, 50_000, 10, 3_000_000)):
            with open(f"{a}/f", "wb") as f:
                f.write(b"%d" % i * size)
            require(open(f"{b}/f", "rb").read() == b"%d" % i * size, f"round {i}")
            os.rename(f"{b}/f", f"{b}/g")
            require(os.listdir(a) == ["g"] and not os.path.exists(f"{a}/f"), "a renamed file")
            os.rename(f"{a}/g", f"{a}/f")
        reader = os.open(f"{b}/f", os.O_RDONLY)
        os.pread(reader, 100, 0)
        with open(f"{a}/f", "r+b") as f:
            f.write(b"changed")
        require(os.pread(reader, 7, 0) == b"changed", "what was closed is not seen through an open descriptor")
        os.close(reader)


def test_messages():
    with Cluster(namenodes=1, datanodes=1) as c:
        nowhere = os.path.join(c.home, "nowhere")

        def says(code, text, *argv, env=c.env):
            done = subprocess.run([FUSE, *argv], env=env, capture_output=True, timeout=90 * PATIENCE)
            error = done.stderr.decode()
            require(done.returncode == code and text in error, f"{argv}: {done.returncode} {error}")

        says(1, "No such file", nowhere)
        says(2, "unknown mount option: cahce", "-o", "cahce", c.home)
        says(2, "required", *[])
        says(1, "no namenode addresses", c.work, env=dict(c.env, XDG_RUNTIME_DIR=nowhere))
        require(subprocess.run([FUSE, "--help"], capture_output=True).returncode == 0, "--help")

        # In the background, read only, and unmounted by a signal.
        os.mkdir(nowhere)
        with mounted(c, "rw") as (root, _):
            with open(f"{root}/f", "w", encoding="utf-8") as f:
                f.write("here")
        subprocess.run([FUSE, nowhere, "-o", "ro,_netdev,noatime"], env=c.env, check=True, timeout=60 * PATIENCE)
        try:
            require(is_mounted(nowhere), "the command came back before the mount was there")
            require(open(f"{nowhere}/f", encoding="utf-8").read() == "here", "content")
            try:
                open(f"{nowhere}/g", "w", encoding="utf-8")
                require(False, "wrote to a read-only mount")
            except OSError as e:
                require(e.errno == 30, f"{e}")
            pids = subprocess.run(["pgrep", "-f", f"{FUSE} {nowhere}"], capture_output=True, text=True).stdout.split()
            require(len(pids) == 1, f"{pids}")
            os.kill(int(pids[0]), signal.SIGTERM)
            wait_for("the unmount", lambda: not is_mounted(nowhere))
        finally:
            if is_mounted(nowhere):
                subprocess.run(["umount", "-l", nowhere], check=False)


def test_verbs():
    """dfs mount and dfs umount; mount(8)'s grammar; a directory of the cluster as root of a mount."""
    with Cluster(namenodes=3, datanodes=1) as c:
        place = os.path.join(c.home, "a b")
        os.mkdir(place)
        run = c.run("mount", place)
        require("Mounted" in run.text and is_mounted(place), f"{run}")
        os.makedirs(f"{place}/proj/deep")
        with open(f"{place}/proj/deep/f", "w", encoding="utf-8") as f:
            f.write("here")
        require("mounted there already" in c.run("mount", place, code=None).error_text, "mounted twice")
        with open(f"{place}/proj/deep/f", encoding="utf-8"):
            busy = c.run("umount", place, code=None)
            require(busy.code != 0 and "in use" in busy.error_text and is_mounted(place), f"{busy}")
        c.run("umount", place)
        require(not is_mounted(place), "still mounted")
        again = c.run("umount", place, code=None)
        require(again.code != 0 and "no cluster is mounted there" in again.error_text, f"{again}")
        full = os.path.join(c.home, "full")
        os.makedirs(f"{full}/x")
        hidden = c.run("mount", full, code=None)
        require(hidden.code != 0 and "--nonempty" in hidden.error_text and not is_mounted(full), f"{hidden}")
        nothing = c.run("mount", place, "--path", "/nothing", code=None)
        require(nothing.code == 1 and "/nothing" in nothing.error_text and not is_mounted(place), f"{nothing}")

        # As mount(8) calls it for a line of /etc/fstab.
        namenodes = ",".join(n["address"] for n in c.status()["namenodes"])
        subprocess.run([os.path.join(BIN, "mount.dfs"), f"{namenodes}:/proj", place, "-o",
                        f"ro,_netdev,nofail,subdir=deep,x-systemd.automount,key_file={c.dir}/cluster.key"],
                       env=c.env, check=True, timeout=60 * PATIENCE)
        try:
            require(os.listdir(place) == ["f"] and os.stat(place).st_ino != 1, "the root of a subdirectory's mount")
            require(open(f"{place}/f", encoding="utf-8").read() == "here", "content")
            with open("/proc/self/mounts", encoding="utf-8") as mounts:
                line = next(m for m in mounts if f"{namenodes}:/proj" in m)
            require(" fuse.dfs ro," in line, line)
        finally:
            c.run("umount", place)


if __name__ == "__main__":
    check_machine("e2e_mount")
    run_some(test_copies, test_development, test_fio, test_posix, test_other_users, test_exerciser,
             test_random_operations, test_two_mounts, test_messages, test_verbs)
