// Volume: one directory of a datanode. VERSION says whose it is, LOCK keeps it for one process.
//
//   VERSION, LOCK, blocks/00..ff/blk_<id>, blocks/00..ff/blk_<id>.meta, tmp/ (copies under way,
//   emptied at start), quarantine/ (files that cannot be read, kept for a human)
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status.h"

namespace dfs::dn {

/// The content of VERSION.
struct VolumeVersion {
  std::string cluster_id;
  DatanodeId datanode;
  uint64_t storage_id = 0;
  uint64_t highest_term = 0;  // of commands accepted
};

class Volume {
 public:
  /// Locks and reads, or formats an empty directory (for `datanode`, or a new id when that is 0).
  /// kBusy, kWrongCluster, kNotFound, kReadOnly, kNotEmpty (something else lives there), kCorrupt.
  static Result<std::unique_ptr<Volume>> Open(Env& env, const std::string& directory,
                                              const std::string& cluster_id, DatanodeId datanode,
                                              uint64_t reserve_bytes, Random& random);
  /// The datanode id in the directory's VERSION; kNotFound when it is not formatted.
  static Result<VolumeVersion> Peek(Env& env, const std::string& directory);

  Env& env() const { return env_; }
  const std::string& directory() const { return directory_; }
  const VolumeVersion& version() const { return version_; }
  uint64_t storage_id() const { return version_.storage_id; }
  std::string BlockDir(BlockId block) const;
  std::string DataPath(BlockId block) const;
  std::string MetaPath(BlockId block) const;
  std::string TmpDir() const { return directory_ + "/tmp"; }
  std::string QuarantineDir() const { return directory_ + "/quarantine"; }

  /// Free for blocks: what the file system has, less the reserve; cached for a second's worth of
  /// calls.
  uint64_t AvailableBytes();
  uint64_t CapacityBytes();
  uint64_t used_bytes() const { return used_bytes_.load(std::memory_order_relaxed); }
  void AddUsed(int64_t bytes) { used_bytes_.fetch_add(static_cast<uint64_t>(bytes)); }
  /// kNoSpace when so many more bytes would touch the reserve.
  Status CheckSpace(uint64_t bytes);

  bool failed() const { return failed_.load(std::memory_order_acquire); }
  /// Takes it out for good: an fsync failed or the directory is gone. Logs once.
  void Fail(const Status& why);
  Status RecordTerm(uint64_t term);

 private:
  Volume(Env& env, std::string directory, uint64_t reserve_bytes)
      : env_(env), directory_(std::move(directory)), reserve_bytes_(reserve_bytes) {}
  Status Format(const std::string& cluster_id, DatanodeId datanode, Random& random);

  Env& env_;
  const std::string directory_;
  const uint64_t reserve_bytes_;
  VolumeVersion version_;
  std::mutex version_mutex_;
  std::unique_ptr<FileLock> lock_;
  std::atomic<uint64_t> used_bytes_{0};
  std::atomic<bool> failed_{false};
  std::mutex space_mutex_;
  SpaceInfo space_;
  uint64_t unseen_bytes_ = 0;  // granted since space_ was read
  bool space_valid_ = false;
};

}  // namespace dfs::dn
