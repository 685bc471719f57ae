// RaftInvariants: what must hold of a group of Raft members at any time, checked after every step on one of
// them from the members' cores:
//  * election safety: at most one leader in a term;
//  * leader completeness: a leader's log holds every entry committed in an earlier term;
//  * log matching: where two logs have the same term at an index, they are the same up to there;
//  * state machine safety: no two members commit entries of different terms at an index, and at the same
//    applied index they have the same state hash;
//  * a member's commit index never goes back, unless it crashed.
// A violation is reported by Fail, once.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "common/raft/raft.h"

namespace dfs::sim {

class RaftInvariants {
 public:
  /// null: the member is down.
  struct View {
    const raft::Raft* core = nullptr;
    LogIndex applied = 0;
    uint64_t state_hash = 0;  // at applied; 0: not told
  };

  explicit RaftInvariants(size_t members) : views_(members), commit_seen_(members, 0) {}

  /// After a step of the member.
  void Step(size_t member, const View& view);
  void Crashed(size_t member);
  /// All pairs; costs more.
  void CheckLogs();

  const std::string& violation() const { return violation_; }
  LogIndex committed() const { return committed_.empty() ? 0 : committed_.rbegin()->first; }
  uint64_t leaders_seen() const { return leaders_.size(); }

 private:
  struct Committed {
    Term term;       // of the entry
    Term seen_term;  // of the member that was first seen to have it committed
  };
  void Fail(std::string what);
  void CheckCommit(size_t member);
  void CheckLeader(size_t member);
  void CheckPair(size_t a, size_t b);

  std::vector<View> views_;
  std::vector<LogIndex> commit_seen_;
  std::map<Term, NodeId> leaders_;
  std::map<LogIndex, Committed> committed_;
  std::map<LogIndex, uint64_t> hashes_;
  std::string violation_;
  uint64_t steps_ = 0;
};

}  // namespace dfs::sim
