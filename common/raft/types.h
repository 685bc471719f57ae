// The values Raft is about: entries, hard state, configurations, snapshots. All are plain values.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/ids.h"

namespace dfs::raft {

enum class EntryType : uint8_t {
  kNoop = 1,           // a leader's first entry of its term
  kCommand = 2,        // data is a state machine command
  kConfiguration = 3,  // data is a Configuration; reserved for membership change
};

/// One entry of the log, with the term of the leader that made it. Copying shares the data.
struct Entry {
  Term term = 0;
  LogIndex index = 0;
  EntryType type = EntryType::kCommand;
  Buffer data;

  /// What the entry counts for in every byte limit.
  size_t bytes() const { return data.size() + 32; }
};

/// What must be durable before any message that depends on it.
struct HardState {
  Term term = 0;
  NodeId vote;
  friend bool operator==(const HardState&, const HardState&) = default;
};

/// Who votes. While old_voters is not empty the configuration is joint: elections and commits need
/// a majority of both sets. Learners get the log and count nowhere. All three are sorted.
struct Configuration {
  std::vector<NodeId> voters;
  std::vector<NodeId> old_voters;
  std::vector<NodeId> learners;

  bool joint() const { return !old_voters.empty(); }
  bool IsVoter(NodeId id) const { return In(voters, id) || In(old_voters, id); }
  bool Contains(NodeId id) const { return IsVoter(id) || In(learners, id); }
  /// Everybody once, sorted.
  std::vector<NodeId> All() const;
  friend bool operator==(const Configuration&, const Configuration&) = default;

 private:
  static bool In(const std::vector<NodeId>& set, NodeId id) {
    return std::find(set.begin(), set.end(), id) != set.end();
  }
};

/// A state machine snapshot stands for the log up to index, whose entry had this term.
struct SnapshotMeta {
  LogIndex index = 0;
  Term term = 0;
  Configuration configuration;
};

/// A stretch of consecutive entries of one term, from start to the next run.
struct TermRun {
  LogIndex start = 0;
  Term term = 0;
};

enum class Role : uint8_t { kFollower, kPreCandidate, kCandidate, kLeader };
const char* RoleName(Role role);

}  // namespace dfs::raft
