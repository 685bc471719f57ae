// FaultFileSystem: RocksDB's file system with power cuts. Files really live in a directory; what was
// not synced is remembered, and Crash() takes it away: unsynced bytes (a random part of them stays),
// and names created, removed or renamed since their directory was synced.
#pragma once

#include <rocksdb/file_system.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/base/random.h"

namespace dfs::nn {

class FaultFileSystem final : public rocksdb::FileSystemWrapper {
 public:
  /// Only paths below root are tracked; graveyard is a directory beside it on the same disk.
  FaultFileSystem(std::string root, std::string graveyard);
  const char* Name() const override { return "FaultFileSystem"; }

  /// After this many operations that change something, everything fails: the power is off.
  void CutAfter(uint64_t operations);
  bool off() const;
  uint64_t operations() const;
  /// Leaves on disk what a power cut would leave, and turns the power on. No file may be open.
  void Crash(Random& random);
  struct Losses {
    uint64_t bytes = 0;
    uint64_t names = 0;
  };
  Losses losses() const { return losses_; }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* result,
                                       rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus ReuseWritableFile(const std::string& path, const std::string& old_path,
                                      const rocksdb::FileOptions& options,
                                      std::unique_ptr<rocksdb::FSWritableFile>* result,
                                      rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* result,
                                 rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus CreateDir(const std::string& path, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus CreateDirIfMissing(const std::string& path, const rocksdb::IOOptions& options,
                                       rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus DeleteDir(const std::string& path, const rocksdb::IOOptions& options,
                              rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* dbg) override;
  rocksdb::IOStatus LinkFile(const std::string& from, const std::string& to,
                             const rocksdb::IOOptions& options,
                             rocksdb::IODebugContext* dbg) override;

 private:
  friend class FaultWritableFile;
  friend class FaultDirectory;

  /// How to undo a change of a name that its directory's sync has not made durable yet.
  struct Change {
    enum Kind { kCreated, kRemoved, kRenamed, kDirectoryCreated, kDirectoryRemoved } kind;
    std::string path;
    std::string other;   // kRenamed: the old name
    std::string backup;  // in the graveyard: what was removed or replaced; "" when nothing was
  };
  /// Bytes of a file, by its inode number.
  struct Bytes {
    uint64_t synced = 0;
    uint64_t size = 0;
  };

  /// Counts; fails when the power is off.
  rocksdb::IOStatus Step();
  void Note(Change change);
  std::string Bury(const std::string& path);
  void Undo(const Change& change);
  void SyncNames(const std::string& directory);
  void Wrote(uint64_t inode, uint64_t size);
  void Synced(uint64_t inode);
  rocksdb::IOStatus Wrap(const std::string& path, bool existed,
                         std::unique_ptr<rocksdb::FSWritableFile>* result);

  const std::string root_;
  const std::string graveyard_;
  mutable std::mutex mutex_;
  uint64_t operations_ = 0;
  uint64_t cut_after_ = ~uint64_t{0};
  uint64_t buried_ = 0;
  std::vector<Change> changes_;
  std::map<uint64_t, Bytes> bytes_;
  Losses losses_;
};

}  // namespace dfs::nn
