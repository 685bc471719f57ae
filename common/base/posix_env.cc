// The operating system's files. Every call survives EINTR; every descriptor is close-on-exec.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <utility>

#include "common/base/env.h"

namespace dfs {

namespace {

// Linux moves at most 0x7ffff000 bytes in one call.
constexpr size_t kMaxTransfer = 1u << 30;

template <class F>
auto RetryEintr(F call) {
  decltype(call()) r;
  do {
    r = call();
  } while (r < 0 && errno == EINTR);
  return r;
}

Status SystemError(std::string_view call, const std::string& path) {
  const int error = errno;
  return Status::FromSystem(error, std::string(call) + " " + path);
}

// An error of fsync is kIoError whatever the errno: the pages are lost, and no caller may take it
// for something that passes (ENOSPC and EDQUOT can be reported here, too).
Status SyncError(std::string_view call, const std::string& path) {
  return Status(Code::kIoError, std::string(call) + " " + path + ": " + ::strerror(errno));
}

class PosixFile final : public File {
 public:
  PosixFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~PosixFile() override { ::close(fd_); }

  Result<size_t> ReadAt(uint64_t offset, char* data, size_t size) const override {
    size_t done = 0;
    while (done < size) {
      const ssize_t n = RetryEintr([&] {
        return ::pread(fd_, data + done, std::min(size - done, kMaxTransfer),
                       static_cast<off_t>(offset + done));
      });
      if (n < 0) return SystemError("read", path_);
      if (n == 0) break;
      done += static_cast<size_t>(n);
    }
    return done;
  }

  Status WriteAt(uint64_t offset, std::string_view data) override {
    while (!data.empty()) {
      const ssize_t n = RetryEintr([&] {
        return ::pwrite(fd_, data.data(), std::min(data.size(), kMaxTransfer),
                        static_cast<off_t>(offset));
      });
      if (n < 0) return SystemError("write", path_);
      data.remove_prefix(static_cast<size_t>(n));
      offset += static_cast<uint64_t>(n);
    }
    return Status::Ok();
  }

  Status Truncate(uint64_t size) override {
    if (RetryEintr([&] { return ::ftruncate(fd_, static_cast<off_t>(size)); }) < 0) {
      return SystemError("truncate", path_);
    }
    return Status::Ok();
  }

  Status Allocate(uint64_t size, bool keep_size) override {
    if (size == 0) return Status::Ok();
    const int mode = keep_size ? FALLOC_FL_KEEP_SIZE : 0;
    const auto length = static_cast<off_t>(size);
    if (RetryEintr([&] { return ::fallocate(fd_, mode, 0, length); }) == 0) return Status::Ok();
    if (errno != EOPNOTSUPP) return SystemError("fallocate", path_);
    // A file system without extents: space cannot be kept beyond the end, but the size can be set.
    if (keep_size) return Status::Ok();
    if (const int error = ::posix_fallocate(fd_, 0, length); error != 0) {
      return Status::FromSystem(error, "fallocate " + path_);
    }
    return Status::Ok();
  }

  Status Sync() override {
    // The kernel reports a lost write-back once and marks the pages clean: a later success proves
    // nothing.
    if (sync_failed_.load(std::memory_order_acquire)) {
      return Status(Code::kIoError, "fdatasync " + path_ + ": failed before");
    }
    if (RetryEintr([&] { return ::fdatasync(fd_); }) < 0) {
      sync_failed_.store(true, std::memory_order_release);
      return SyncError("fdatasync", path_);
    }
    return Status::Ok();
  }

  void StartWriteback(uint64_t offset, uint64_t size) override {
    ::sync_file_range(fd_, static_cast<off_t>(offset), static_cast<off_t>(size),
                      SYNC_FILE_RANGE_WRITE);
  }

  void DropCache(uint64_t offset, uint64_t size) override {
    ::posix_fadvise(fd_, static_cast<off_t>(offset), static_cast<off_t>(size), POSIX_FADV_DONTNEED);
  }

  Result<uint64_t> Size() const override {
    struct stat st {};
    if (::fstat(fd_, &st) < 0) return SystemError("stat", path_);
    return static_cast<uint64_t>(st.st_size);
  }

  int fd() const override { return fd_; }

 private:
  const int fd_;
  const std::string path_;
  std::atomic<bool> sync_failed_{false};
};

class PosixLock final : public FileLock {
 public:
  explicit PosixLock(int fd) : fd_(fd) {}
  ~PosixLock() override { ::close(fd_); }  // the lock goes with the description

 private:
  const int fd_;
};

class PosixEnvImpl final : public Env {
 public:
  Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC;
    switch (mode) {
      case OpenMode::kReadOnly:
        flags |= O_RDONLY;
        break;
      case OpenMode::kReadWrite:
        flags |= O_RDWR;
        break;
      case OpenMode::kCreate:
        flags |= O_RDWR | O_CREAT;
        break;
      case OpenMode::kCreateExclusive:
        flags |= O_RDWR | O_CREAT | O_EXCL;
        break;
      case OpenMode::kTruncate:
        flags |= O_RDWR | O_CREAT | O_TRUNC;
        break;
    }
    const int fd = RetryEintr([&] { return ::open(path.c_str(), flags, 0640); });
    if (fd < 0) return SystemError("open", path);
    return std::unique_ptr<File>(std::make_unique<PosixFile>(fd, path));
  }

  bool Exists(const std::string& path) override { return ::access(path.c_str(), F_OK) == 0; }

  Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) < 0) return SystemError("remove", path);
    return Status::Ok();
  }

  Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) < 0) {
      return SystemError("rename", from + " to " + to);
    }
    return Status::Ok();
  }

  Status Link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) < 0) return SystemError("link", from + " to " + to);
    return Status::Ok();
  }

  Status CreateDir(const std::string& path) override {
    if (::mkdir(path.c_str(), 0750) < 0) return SystemError("mkdir", path);
    return Status::Ok();
  }

  Status CreateDirs(const std::string& path) override {
    for (size_t at = 1; at <= path.size(); ++at) {
      if (at != path.size() && path[at] != '/') continue;
      const std::string prefix = path.substr(0, at);
      if (::mkdir(prefix.c_str(), 0750) == 0) {
        DFS_RETURN_IF_ERROR(SyncDir(ParentDir(prefix)));
        continue;
      }
      // A parent that is there may answer other errors than EEXIST (EROFS, EACCES).
      struct stat st {};
      const int error = errno;
      if (::stat(prefix.c_str(), &st) < 0) return Status::FromSystem(error, "mkdir " + prefix);
      if (!S_ISDIR(st.st_mode)) return Status::FromSystem(ENOTDIR, "mkdir " + prefix);
    }
    return Status::Ok();
  }

  Status RemoveDir(const std::string& path) override {
    if (::rmdir(path.c_str()) < 0) return SystemError("rmdir", path);
    return Status::Ok();
  }

  Status RemoveTree(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (error) return Status::FromSystem(error.value(), "remove tree " + path);
    return Status::Ok();
  }

  Result<std::vector<std::string>> List(const std::string& path) override {
    DIR* dir = ::opendir(path.c_str());
    if (dir == nullptr) return SystemError("list", path);
    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(dir);
      if (entry == nullptr) break;
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    ::closedir(dir);
    if (error != 0) return Status::FromSystem(error, "list " + path);
    return names;
  }

  Status SyncDir(const std::string& path) override {
    const int fd =
        RetryEintr([&] { return ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); });
    if (fd < 0) return SystemError("open directory", path);
    Status status;
    if (RetryEintr([&] { return ::fsync(fd); }) < 0) status = SyncError("fsync directory", path);
    ::close(fd);
    return status;
  }

  Result<uint64_t> FileSize(const std::string& path) override {
    struct stat st {};
    if (::stat(path.c_str(), &st) < 0) return SystemError("stat", path);
    return static_cast<uint64_t>(st.st_size);
  }

  Result<std::unique_ptr<FileLock>> Lock(const std::string& path) override {
    const int fd =
        RetryEintr([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640); });
    if (fd < 0) return SystemError("open lock", path);
    // flock belongs to the open file description: it also excludes a second holder in this process.
    if (RetryEintr([&] { return ::flock(fd, LOCK_EX | LOCK_NB); }) < 0) {
      const int error = errno;
      char pid[32] = {};
      const ssize_t n = RetryEintr([&] { return ::pread(fd, pid, sizeof(pid) - 1, 0); });
      ::close(fd);
      if (error != EWOULDBLOCK) return Status::FromSystem(error, "lock " + path);
      std::string holder(pid, n > 0 ? static_cast<size_t>(n) : 0);
      while (!holder.empty() && holder.back() == '\n') holder.pop_back();
      return Status(Code::kBusy, path + " is locked by " +
                                     (holder.empty() ? "another process" : "process " + holder));
    }
    const std::string pid = std::to_string(::getpid()) + "\n";
    auto lock = std::make_unique<PosixLock>(fd);
    if (RetryEintr([&] { return ::ftruncate(fd, 0); }) < 0 ||
        RetryEintr([&] { return ::pwrite(fd, pid.data(), pid.size(), 0); }) < 0) {
      return SystemError("write lock", path);
    }
    return std::unique_ptr<FileLock>(std::move(lock));
  }

  Result<SpaceInfo> Space(const std::string& path) override {
    struct statvfs st {};
    if (RetryEintr([&] { return ::statvfs(path.c_str(), &st); }) < 0) {
      return SystemError("statvfs", path);
    }
    SpaceInfo info;
    info.capacity_bytes = static_cast<uint64_t>(st.f_blocks) * st.f_frsize;
    info.available_bytes = static_cast<uint64_t>(st.f_bavail) * st.f_frsize;
    return info;
  }
};

}  // namespace

Env& PosixEnv() {
  static PosixEnvImpl env;
  return env;
}

std::unique_ptr<File> AdoptDescriptor(int fd, std::string name) {
  return std::make_unique<PosixFile>(fd, std::move(name));
}

}  // namespace dfs
