// StateStore: the ordered key-value store below the replicated state. Without a log of its own: the
// Raft log is the log, so what was written since the last flush is lost in a crash, always a suffix
// of whole batches. Two implementations behave alike (tests/state/store_conformance_test.cc):
// RocksStateStore for daemons, MemStateStore for the simulator.
//
// Confined to the namenode's loop. Any error is final: the member stops and recovers from its
// peers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"

namespace dfs::nn {

/// Point puts and deletes that become visible, and durable, together.
class WriteBatch {
 public:
  struct Entry {
    std::string_view key;
    std::string_view value;
    bool deleted;
  };
  /// The views must live until Write returned.
  void Put(std::string_view key, std::string_view value) {
    entries_.push_back({key, value, false});
  }
  void Delete(std::string_view key) { entries_.push_back({key, {}, true}); }
  void Clear() { entries_.clear(); }
  bool empty() const { return entries_.empty(); }
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  std::vector<Entry> entries_;
};

/// In key order over the keys with a prefix. The store must not be written, flushed or closed while
/// an iterator lives.
class StateIterator {
 public:
  virtual ~StateIterator() = default;
  virtual bool Valid() const = 0;
  virtual void Next() = 0;
  /// Valid until the next Next().
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  /// Not ok when iteration ended by an error. To be checked after the loop.
  virtual Status status() const = 0;
};

/// What of the log a state contains. Kept under one key in the same batch as the effects.
struct AppliedMark {
  LogIndex index = 0;
  Term term = 0;
  uint64_t state_hash = 0;  // chain over the effects of all commands up to index
};

struct CheckpointFile {
  std::string name;  // relative to the checkpoint's directory, no sub-directories
  uint64_t size = 0;
};

struct CheckpointInfo {
  AppliedMark applied;  // read from the checkpoint itself
  std::vector<CheckpointFile> files;
};

class StateStore {
 public:
  virtual ~StateStore() = default;

  /// False when absent; value is then unchanged.
  virtual Result<bool> Get(std::string_view key, std::string* value) = 0;
  /// Over the keys that begin with prefix and are >= start (start "" or shorter than the prefix:
  /// from the first).
  virtual std::unique_ptr<StateIterator> NewIterator(std::string_view prefix,
                                                     std::string_view start) = 0;
  std::unique_ptr<StateIterator> NewIterator(std::string_view prefix) {
    return NewIterator(prefix, {});
  }

  virtual Status Write(const WriteBatch& batch) = 0;

  /// Makes everything written so far durable; waits.
  virtual Status Flush() = 0;
  /// The same without waiting; flushed_index() tells when it is done. One at a time; a call while
  /// one is under way does nothing.
  virtual Status StartFlush() = 0;
  /// The applied mark among what is durable, read from the persisted data (never from memory): the
  /// log may be cut up to its index.
  virtual Result<AppliedMark> FlushedMark() = 0;
  Result<LogIndex> flushed_index() {
    auto mark = FlushedMark();
    if (!mark) return mark.error();
    return mark->index;
  }

  /// Makes `directory` (which must not exist; its parent must; same file system) a durable copy of
  /// everything written so far, flushing first. Cheap: files are shared by hard links. The files
  /// are immutable and can be streamed while the store goes on. No iterator may be alive: what a
  /// store has collected is written first.
  virtual Result<CheckpointInfo> CreateCheckpoint(const std::string& directory) = 0;
  virtual Status RemoveCheckpoint(const std::string& directory) = 0;
  /// Replaces the whole content by the checkpoint in `directory` (same file system), whose files
  /// were verified and synced by the caller. A switch: after a crash either the old or the new
  /// content is there, whole. Consumes the directory. No iterator may be alive.
  virtual Status InstallCheckpoint(const std::string& directory) = 0;

  struct Stats {
    uint64_t memory_bytes = 0;  // memtables, block cache
    uint64_t disk_bytes = 0;
    uint64_t unflushed_bytes = 0;
  };
  virtual Stats GetStats() = 0;
};

/// Hash over all keys and values in key order. Equal on all members at the same applied index,
/// whenever they flushed or compacted (protocols, section 9.2). Slow: reads everything.
Result<uint64_t> ContentHash(StateStore& store);

}  // namespace dfs::nn
