// Majorities, of simple and joint configurations. Pure functions.
#pragma once

#include <algorithm>
#include <array>
#include <cassert>
#include <limits>
#include <optional>
#include <vector>

#include "common/raft/types.h"

namespace dfs::raft {

inline constexpr size_t kMaxMembers = 64;

/// The largest value that a majority of the set has reached; the largest of all for an empty set.
template <class Value, class ValueOf>
Value MajorityValue(const std::vector<NodeId>& set, const ValueOf& value_of) {
  if (set.empty()) return std::numeric_limits<Value>::max();
  assert(set.size() <= kMaxMembers);
  std::array<Value, kMaxMembers> values;
  size_t n = 0;
  for (NodeId id : set) values[n++] = value_of(id);
  // With the values ascending, everybody from position (n-1)/2 on has reached the one there: a
  // majority.
  auto nth = values.begin() + static_cast<long>((n - 1) / 2);
  std::nth_element(values.begin(), nth, values.begin() + static_cast<long>(n));
  return *nth;
}

/// The largest value that a quorum of the configuration has reached. value_of(NodeId) -> Value.
template <class Value, class ValueOf>
Value QuorumValue(const Configuration& c, const ValueOf& value_of) {
  return std::min(MajorityValue<Value>(c.voters, value_of),
                  MajorityValue<Value>(c.old_voters, value_of));
}

enum class VoteOutcome { kPending, kWon, kLost };

/// vote_of(NodeId) -> optional<bool>.
template <class VoteOf>
VoteOutcome MajorityVote(const std::vector<NodeId>& set, const VoteOf& vote_of) {
  size_t yes = 0;
  size_t no = 0;
  for (NodeId id : set) {
    std::optional<bool> vote = vote_of(id);
    if (!vote) continue;
    ++(*vote ? yes : no);
  }
  size_t majority = set.size() / 2 + 1;
  if (set.empty() || yes >= majority) return VoteOutcome::kWon;
  return set.size() - no < majority ? VoteOutcome::kLost : VoteOutcome::kPending;
}

template <class VoteOf>
VoteOutcome CountVotes(const Configuration& c, const VoteOf& vote_of) {
  VoteOutcome a = MajorityVote(c.voters, vote_of);
  VoteOutcome b = MajorityVote(c.old_voters, vote_of);
  if (a == VoteOutcome::kLost || b == VoteOutcome::kLost) return VoteOutcome::kLost;
  return a == VoteOutcome::kWon && b == VoteOutcome::kWon ? VoteOutcome::kWon
                                                          : VoteOutcome::kPending;
}

}  // namespace dfs::raft
