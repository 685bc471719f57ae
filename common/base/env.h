// Env: the file system as the daemons see it. PosixEnv is the real one; FaultEnv (in memory) models
// what survives a crash: it drops bytes, truncations and directory entries that were not synced, tears
// the last write, and injects ENOSPC and EIO. Everything durable in this project goes through an Env,
// except RocksDB, which goes through a FileSystemWrapper with the same faults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"

namespace dfs {

/// An open file. Thread-compatible; concurrent ReadAt is safe. Closing is the destructor and
/// reports nothing: what must be durable was synced.
class File {
 public:
  virtual ~File() = default;
  /// Reads up to size bytes; fewer only at end of file.
  virtual Result<size_t> ReadAt(uint64_t offset, char* data, size_t size) const = 0;
  /// Writes all bytes or fails.
  virtual Status WriteAt(uint64_t offset, std::string_view data) = 0;
  virtual Status Truncate(uint64_t size) = 0;
  /// Reserves and zeroes space up to size (posix_fallocate); extends the file when keep_size is false.
  virtual Status Allocate(uint64_t size, bool keep_size) = 0;
  /// fdatasync: data and the size needed to read it. An error is final for the file: the caller
  /// must not retry, the pages are lost.
  virtual Status Sync() = 0;
  /// Starts write-back without waiting (sync_file_range); a hint, never durability.
  virtual void StartWriteback(uint64_t offset, uint64_t size) = 0;
  /// Lets the page cache drop the range (POSIX_FADV_DONTNEED); a hint.
  virtual void DropCache(uint64_t offset, uint64_t size) = 0;
  virtual Result<uint64_t> Size() const = 0;
  /// The descriptor, for sendfile and passing; -1 when there is none.
  virtual int fd() const { return -1; }
};

/// Keeps a directory for one process; released by the destructor.
class FileLock {
 public:
  virtual ~FileLock() = default;
};

struct SpaceInfo {
  uint64_t capacity_bytes = 0;
  uint64_t available_bytes = 0;
};

/// Thread-safe.
class Env {
 public:
  enum class OpenMode {
    kReadOnly,         // must exist
    kReadWrite,        // must exist
    kCreate,           // read-write, created when absent
    kCreateExclusive,  // read-write, must not exist
    kTruncate,         // read-write, created or emptied
  };
  virtual ~Env() = default;

  virtual Result<std::unique_ptr<File>> Open(const std::string& path, OpenMode mode) = 0;
  virtual bool Exists(const std::string& path) = 0;
  virtual Status Remove(const std::string& path) = 0;
  virtual Status Rename(const std::string& from, const std::string& to) = 0;
  virtual Status Link(const std::string& from, const std::string& to) = 0;
  virtual Status CreateDir(const std::string& path) = 0;  // kAlreadyExists when it is there
  /// Creates what is missing of the path, durably (each parent of a new directory is synced).
  virtual Status CreateDirs(const std::string& path) = 0;
  virtual Status RemoveDir(const std::string& path) = 0;  // empty only
  virtual Status RemoveTree(const std::string& path) = 0;
  /// Names without "." and "..", unordered.
  virtual Result<std::vector<std::string>> List(const std::string& path) = 0;
  /// Makes entries created, renamed or removed in the directory durable.
  virtual Status SyncDir(const std::string& path) = 0;
  virtual Result<uint64_t> FileSize(const std::string& path) = 0;
  /// kBusy when another holder has it; the message names the holder's pid when known.
  virtual Result<std::unique_ptr<FileLock>> Lock(const std::string& path) = 0;
  virtual Result<SpaceInfo> Space(const std::string& path) = 0;

  /// Writes a small file as temp, sync, rename, sync directory.
  Status WriteFileAtomically(const std::string& path, std::string_view data);
  /// Whole file; kCorrupt when larger than limit.
  Result<std::string> ReadFile(const std::string& path, uint64_t limit = 64u << 20);
};

/// The directory that holds a path: "." when it has no slash.
std::string ParentDir(const std::string& path);

/// The operating system's files; a process-wide object.
Env& PosixEnv();
/// Takes over an open descriptor, such as one that another process passed; name is for messages.
std::unique_ptr<File> AdoptDescriptor(int fd, std::string name);

}  // namespace dfs
