// PendingBatch: what was applied and not yet committed to the store. A hash table over entries in
// the order of their first write, with their bytes in an arena; sorted only when a scan asks. One
// command can be rolled back. Confined.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "namenode/state/store.h"

namespace dfs::nn {

class PendingBatch {
 public:
  enum class State : uint8_t { kUnknown, kPut, kDeleted };  // kUnknown: rolled back, ask the store
  struct Entry {
    std::string_view key;
    std::string_view value;
    uint64_t hash;
    State state;
    bool put_first = false;  // Overwrite only: the first write was a put
  };

  PendingBatch();

  /// Null when nothing is pending for the key.
  const Entry* Find(std::string_view key) const;
  void Put(std::string_view key, std::string_view value);
  void Delete(std::string_view key);

  /// Put or Delete that cannot be rolled back and reuses the bytes of the value before. Not to be mixed
  /// with the others.
  void Overwrite(std::string_view key, State state, std::string_view value);

  /// Everything written since the last SetSavepoint is undone.
  void SetSavepoint() { undo_.clear(); }
  void Rollback();

  /// Entries of a prefix with keys >= start, in key order; valid until the next write.
  std::vector<const Entry*> Sorted(std::string_view prefix, std::string_view start) const;
  /// In order of first write.
  const std::vector<Entry>& entries() const { return entries_; }
  bool empty() const { return entries_.empty(); }
  uint64_t bytes() const { return bytes_; }
  void Clear();

 private:
  struct Undo {
    uint32_t entry;
    State state;
    std::string_view value;
  };

  void Set(std::string_view key, State state, std::string_view value);
  std::string_view Store(std::string_view bytes);
  size_t Probe(std::string_view key, uint64_t hash) const;
  void Grow();

  static constexpr size_t kChunkBytes = 64 * 1024;

  std::vector<Entry> entries_;
  std::vector<uint32_t> table_;  // entry index + 1; 0: free. A power of two
  std::vector<Undo> undo_;
  std::vector<std::unique_ptr<char[]>> chunks_;
  char* free_ = nullptr;
  size_t free_bytes_ = 0;
  uint64_t bytes_ = 0;
};

/// The keys of base and pending (sorted, same range) as one sequence; a pending entry hides base's.
std::unique_ptr<StateIterator> NewMergedIterator(std::unique_ptr<StateIterator> base,
                                                 std::vector<const PendingBatch::Entry*> pending);

}  // namespace dfs::nn
