// dfs-passthrough: a directory through FUSE, for measuring what FUSE costs. Each request is one system call; an
// inode is an O_PATH descriptor.
#define FUSE_USE_VERSION 35
#include <dirent.h>
#include <fcntl.h>
#include <fuse3/fuse_lowlevel.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

namespace {

constexpr double kKeepSeconds = 1.0;

struct Inode {
  int fd = -1;
  uint64_t lookups = 0;
  std::pair<dev_t, ino_t> key;
};

std::mutex g_mutex;  // guards the map and the counts
std::map<std::pair<dev_t, ino_t>, std::unique_ptr<Inode>> g_inodes;
Inode g_root;

Inode* Of(fuse_ino_t ino) {
  return ino == FUSE_ROOT_ID ? &g_root : reinterpret_cast<Inode*>(ino);
}

int FdOf(fuse_ino_t ino) {
  return Of(ino)->fd;
}

/// The path under which the kernel lets a descriptor be opened anew.
std::string ProcPath(int fd) {
  return "/proc/self/fd/" + std::to_string(fd);
}

/// Fills the entry of a name; an errno.
int Find(fuse_ino_t parent, const char* name, fuse_entry_param* entry) {
  const int fd = openat(FdOf(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  std::memset(entry, 0, sizeof(*entry));
  if (fstatat(fd, "", &entry->attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
    const int error = errno;
    close(fd);
    return error;
  }
  entry->attr_timeout = kKeepSeconds;
  entry->entry_timeout = kKeepSeconds;
  const std::lock_guard<std::mutex> lock(g_mutex);
  auto& inode = g_inodes[{entry->attr.st_dev, entry->attr.st_ino}];
  if (inode == nullptr) {
    inode = std::make_unique<Inode>();
    inode->fd = fd;
    inode->key = {entry->attr.st_dev, entry->attr.st_ino};
  } else {
    close(fd);
  }
  ++inode->lookups;
  entry->ino = reinterpret_cast<fuse_ino_t>(inode.get());
  return 0;
}

void ReplyEntry(fuse_req_t req, fuse_ino_t parent, const char* name, int result) {
  fuse_entry_param entry;
  const int error = result != 0 ? errno : Find(parent, name, &entry);
  error != 0 ? fuse_reply_err(req, error) : fuse_reply_entry(req, &entry);
}

void ReplyResult(fuse_req_t req, int result) {
  fuse_reply_err(req, result == 0 ? 0 : errno);
}

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  ReplyEntry(req, parent, name, 0);
}

void Forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups) {
  if (ino != FUSE_ROOT_ID) {
    const std::lock_guard<std::mutex> lock(g_mutex);
    Inode* inode = Of(ino);
    inode->lookups -= lookups;
    if (inode->lookups == 0) {
      close(inode->fd);
      g_inodes.erase(inode->key);
    }
  }
  fuse_reply_none(req);
}

void GetAttr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
  struct stat st {};
  if (fstatat(FdOf(ino), "", &st, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_attr(req, &st, kKeepSeconds);
}

void SetAttr(fuse_req_t req, fuse_ino_t ino, struct stat* attr, int to_set, fuse_file_info* info) {
  const std::string path = ProcPath(FdOf(ino));
  int result = 0;
  if (to_set & FUSE_SET_ATTR_MODE) result = chmod(path.c_str(), attr->st_mode);
  if (result == 0 && (to_set & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID))) {
    const uid_t uid = to_set & FUSE_SET_ATTR_UID ? attr->st_uid : static_cast<uid_t>(-1);
    const gid_t gid = to_set & FUSE_SET_ATTR_GID ? attr->st_gid : static_cast<gid_t>(-1);
    result = fchownat(FdOf(ino), "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW);
  }
  if (result == 0 && (to_set & FUSE_SET_ATTR_SIZE)) {
    result = info != nullptr ? ftruncate(static_cast<int>(info->fh), attr->st_size)
                             : truncate(path.c_str(), attr->st_size);
  }
  if (result == 0 && (to_set & (FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME))) {
    timespec times[2] = {{0, UTIME_OMIT}, {0, UTIME_OMIT}};
    if (to_set & FUSE_SET_ATTR_ATIME) times[0] = attr->st_atim;
    if (to_set & FUSE_SET_ATTR_MTIME) times[1] = attr->st_mtim;
    if (to_set & FUSE_SET_ATTR_ATIME_NOW) times[0].tv_nsec = UTIME_NOW;
    if (to_set & FUSE_SET_ATTR_MTIME_NOW) times[1].tv_nsec = UTIME_NOW;
    result = utimensat(AT_FDCWD, path.c_str(), times, 0);
  }
  if (result != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  GetAttr(req, ino, info);
}

void ReadLink(fuse_req_t req, fuse_ino_t ino) {
  char target[4097];
  const ssize_t n = readlinkat(FdOf(ino), "", target, sizeof(target) - 1);
  if (n < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  target[n] = '\0';
  fuse_reply_readlink(req, target);
}

void MkDir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  ReplyEntry(req, parent, name, mkdirat(FdOf(parent), name, mode));
}

void MkNod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  ReplyEntry(req, parent, name, mknodat(FdOf(parent), name, mode, rdev));
}

void SymLink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  ReplyEntry(req, parent, name, symlinkat(target, FdOf(parent), name));
}

void Link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char* name) {
  const std::string from = ProcPath(FdOf(ino));
  ReplyEntry(req, parent, name,
             linkat(AT_FDCWD, from.c_str(), FdOf(parent), name, AT_SYMLINK_FOLLOW));
}

void Unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  ReplyResult(req, unlinkat(FdOf(parent), name, 0));
}

void RmDir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  ReplyResult(req, unlinkat(FdOf(parent), name, AT_REMOVEDIR));
}

void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  ReplyResult(req, renameat2(FdOf(parent), name, FdOf(new_parent), new_name, flags));
}

void Open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  const int fd = open(ProcPath(FdOf(ino)).c_str(), (info->flags & ~O_NOFOLLOW) | O_CLOEXEC);
  if (fd < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  info->fh = static_cast<uint64_t>(fd);
  info->keep_cache = 1;
  fuse_reply_open(req, info);
}

void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
  const int fd =
      openat(FdOf(parent), name, (info->flags | O_CREAT | O_CLOEXEC) & ~O_NOFOLLOW, mode);
  if (fd < 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_entry_param entry;
  if (const int error = Find(parent, name, &entry); error != 0) {
    close(fd);
    fuse_reply_err(req, error);
    return;
  }
  info->fh = static_cast<uint64_t>(fd);
  fuse_reply_create(req, &entry, info);
}

void Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  fuse_bufvec source = FUSE_BUFVEC_INIT(size);
  source.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  source.buf[0].fd = static_cast<int>(info->fh);
  source.buf[0].pos = offset;
  fuse_reply_data(req, &source, FUSE_BUF_SPLICE_MOVE);
}

void WriteBuffer(fuse_req_t req, fuse_ino_t, fuse_bufvec* in, off_t offset, fuse_file_info* info) {
  fuse_bufvec target = FUSE_BUFVEC_INIT(fuse_buf_size(in));
  target.buf[0].flags = static_cast<fuse_buf_flags>(FUSE_BUF_IS_FD | FUSE_BUF_FD_SEEK);
  target.buf[0].fd = static_cast<int>(info->fh);
  target.buf[0].pos = offset;
  const ssize_t n = fuse_buf_copy(&target, in, static_cast<fuse_buf_copy_flags>(0));
  n < 0 ? fuse_reply_err(req, static_cast<int>(-n)) : fuse_reply_write(req, static_cast<size_t>(n));
}

void Release(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  close(static_cast<int>(info->fh));
  fuse_reply_err(req, 0);
}

void FSync(fuse_req_t req, fuse_ino_t, int data_only, fuse_file_info* info) {
  const int fd = static_cast<int>(info->fh);
  ReplyResult(req, data_only ? fdatasync(fd) : fsync(fd));
}

void OpenDir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  const int fd = openat(FdOf(ino), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR* dir = fd < 0 ? nullptr : fdopendir(fd);
  if (dir == nullptr) {
    fuse_reply_err(req, errno);
    return;
  }
  info->fh = reinterpret_cast<uint64_t>(dir);
  fuse_reply_open(req, info);
}

void ReadDirPlus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, fuse_file_info* info) {
  DIR* dir = reinterpret_cast<DIR*>(info->fh);
  seekdir(dir, offset);
  const std::unique_ptr<char[]> buffer(new char[size]);
  size_t used = 0;
  while (const dirent* found = readdir(dir)) {
    fuse_entry_param entry{};
    entry.attr.st_ino = found->d_ino;
    entry.attr.st_mode = static_cast<mode_t>(found->d_type) << 12;
    const bool dots = std::strcmp(found->d_name, ".") == 0 || std::strcmp(found->d_name, "..") == 0;
    if (!dots && Find(ino, found->d_name, &entry) != 0) continue;  // gone meanwhile
    const size_t need = fuse_add_direntry_plus(req, buffer.get() + used, size - used, found->d_name,
                                               &entry, found->d_off);
    if (need > size - used) {
      if (!dots) {  // not handed over, so not looked up
        const std::lock_guard<std::mutex> lock(g_mutex);
        Inode* inode = Of(entry.ino);
        if (--inode->lookups == 0) {
          close(inode->fd);
          g_inodes.erase(inode->key);
        }
      }
      break;
    }
    used += need;
  }
  fuse_reply_buf(req, buffer.get(), used);
}

void ReleaseDir(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  closedir(reinterpret_cast<DIR*>(info->fh));
  fuse_reply_err(req, 0);
}

void StatFs(fuse_req_t req, fuse_ino_t ino) {
  struct statvfs st {};
  if (fstatvfs(FdOf(ino), &st) != 0) {
    fuse_reply_err(req, errno);
    return;
  }
  fuse_reply_statfs(req, &st);
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops ops{};
  ops.lookup = Lookup;
  ops.forget = Forget;
  ops.getattr = GetAttr;
  ops.setattr = SetAttr;
  ops.readlink = ReadLink;
  ops.mkdir = MkDir;
  ops.mknod = MkNod;
  ops.symlink = SymLink;
  ops.link = Link;
  ops.unlink = Unlink;
  ops.rmdir = RmDir;
  ops.rename = Rename;
  ops.open = Open;
  ops.create = Create;
  ops.read = Read;
  ops.write_buf = WriteBuffer;
  ops.release = Release;
  ops.fsync = FSync;
  ops.opendir = OpenDir;
  ops.readdirplus = ReadDirPlus;
  ops.releasedir = ReleaseDir;
  ops.statfs = StatFs;
  return ops;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "Usage: dfs-passthrough SOURCE MOUNTPOINT     stays in the foreground\n");
    return 2;
  }
  umask(0);
  // A descriptor for each inode that the kernel knows.
  rlimit files{1u << 20, 1u << 20};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  g_root.fd = open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (g_root.fd < 0) {
    std::fprintf(stderr, "dfs-passthrough: %s: %s\n", argv[1], std::strerror(errno));
    return 1;
  }
  char* options[] = {argv[0], const_cast<char*>("-o"),
                     const_cast<char*>("fsname=passthrough,default_permissions")};
  fuse_args args = FUSE_ARGS_INIT(3, options);
  const fuse_lowlevel_ops ops = Operations();
  fuse_session* session = fuse_session_new(&args, &ops, sizeof(ops), nullptr);
  if (session == nullptr || fuse_set_signal_handlers(session) != 0 ||
      fuse_session_mount(session, argv[2]) != 0) {
    return 1;
  }
  fuse_loop_config config{};
  config.max_idle_threads = 10;
  const int result = fuse_session_loop_mt(session, &config);
  fuse_session_unmount(session);
  fuse_remove_signal_handlers(session);
  fuse_session_destroy(session);
  return result == 0 ? 0 : 1;
}
