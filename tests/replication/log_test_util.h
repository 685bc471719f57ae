#pragma once

#include <string>
#include <vector>

#include "common/base/env.h"
#include "namenode/replication/log_storage.h"

namespace dfs::nn {

inline const LogStorage::Owner kOwner{"11111111-2222-3333-4444-555555555555", NodeId(2), 77};

inline LogStorageOptions SmallSegments(uint64_t bytes = 32u << 10) {
  LogStorageOptions options;
  options.segment_bytes = bytes;
  options.write_zeros = false;
  return options;
}

inline raft::Entry MakeEntry(LogIndex index, Term term, std::string data) {
  raft::Entry e;
  e.index = index;
  e.term = term;
  e.data = Buffer(std::move(data));
  return e;
}

inline raft::PersistRequest Entries(LogIndex first, Term term, int count, size_t size = 20) {
  raft::PersistRequest r;
  for (int i = 0; i < count; ++i) {
    LogIndex index = first + static_cast<LogIndex>(i);
    std::string data = std::to_string(index) + "/" + std::to_string(term) + "/";
    data.resize(std::max(size, data.size()), 'x');
    r.entries.push_back(MakeEntry(index, term, std::move(data)));
  }
  return r;
}

inline raft::PersistRequest HardState(Term term, uint64_t vote) {
  raft::PersistRequest r;
  r.hard_state = raft::HardState{term, NodeId(vote)};
  return r;
}

/// A log opened in an Env, and what it found.
struct OpenLog {
  OpenLog(Env& env, const std::string& dir, LogStorageOptions options = SmallSegments(),
          uint64_t seed = 1, LogStorage::Owner owner = kOwner)
      : storage(env, dir, owner, options, Random(seed)), found(storage.Open()) {}
  LogStorage storage;
  Result<RecoveredLog> found;

  std::vector<raft::Entry> All() {
    std::vector<raft::Entry> out;
    if (found->last_index == found->prev_index) return out;
    Status s = storage.Read(found->prev_index + 1, found->last_index, 1u << 30, &out);
    if (!s) out.clear();
    return out;
  }
};

}  // namespace dfs::nn
