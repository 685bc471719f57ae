// A message-level simulator of the Raft core alone: members, a lossy network, disks that lose what was not
// synced, clocks that drift, and an invariant checker after every step. One seed is one run.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/raft/raft.h"

namespace dfs::raft {

struct SimStats {
  uint64_t steps = 0;
  uint64_t elections = 0;
  uint64_t leaders = 0;
  uint64_t commits = 0;
  uint64_t crashes = 0;
  uint64_t truncations = 0;
  uint64_t snapshots = 0;
  uint64_t reads = 0;
  uint64_t leases = 0;
};

class RaftSim {
 public:
  explicit RaftSim(uint64_t seed);
  ~RaftSim();

  /// Runs the seed; "" or the violated invariant.
  std::string Run(int steps);
  const SimStats& stats() const { return stats_; }

 private:
  struct Disk : LogReader {
    HardState hard;
    LogIndex prev_index = 0;
    Term prev_term = 0;
    std::vector<Entry> entries;  // (prev_index, ...]
    LogIndex applied = 0;        // of the state machine, as durable as its last flush
    Term applied_term = 0;
    uint64_t state_hash = 0;
    Status Read(LogIndex from, LogIndex to, size_t max_bytes, std::vector<Entry>* out) override;
    void Apply(const PersistRequest& request);
    LogIndex last() const { return prev_index + entries.size(); }
  };
  struct Member {
    NodeId id;
    bool up = false;
    std::unique_ptr<Raft> core;
    Disk disk;   // survives crashes
    Disk cache;  // what a reader in this process sees: disk and what is written
    std::deque<PersistRequest> writes;  // not yet synced
    LogIndex applied = 0;
    Term applied_term = 0;
    uint64_t state_hash = 0;
    LogIndex commit_seen = 0;
    int64_t clock_offset = 0;
    int drift_percent = 0;
    int64_t restart_at = 0;
    std::map<uint64_t, LogIndex>
        reads;  // context -> highest index acknowledged anywhere when it began
  };
  struct Flight {
    int64_t at;
    uint64_t order;
    Message message;
  };

  void Start(Member* m);
  void Crash(Member* m);
  int64_t Clock(const Member& m) const;
  void Drive(Member* m);
  void Persist(Member* m, bool all);
  void ApplyCommitted(Member* m);
  void Send(Message message);
  void Act(Member* m);
  void Network();
  void Check(Member* m);
  void CheckLog(Member* m);
  void Fail(const std::string& what);
  Member* Find(NodeId id);
  bool HasLeader() const;

  uint64_t seed_;
  Random random_;
  Options options_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<Flight> flights_;
  uint64_t order_ = 0;
  int64_t now_ = 1'000'000'000;
  std::map<std::pair<NodeId, NodeId>, bool> cut_;
  uint64_t next_command_ = 1;
  uint64_t next_read_ = 1;
  bool stormy_ = true;
  bool assassin_ = false;
  uint64_t loss_ = 0;
  uint64_t long_delay_ = 0;
  uint64_t crash_one_in_ = 0;

  // What is known of the group as a whole.
  struct Committed {
    Term term;
    uint64_t hash;
  };
  std::map<LogIndex, Committed> committed_;
  std::map<std::pair<LogIndex, Term>, std::pair<Term, uint64_t>>
      seen_;  // -> term before, data hash
  std::map<Term, NodeId> leaders_;
  std::map<LogIndex, uint64_t> applied_hash_;
  std::map<uint64_t, ProposalId> proposed_;
  LogIndex acknowledged_ = 0;  // applied by a leader that proposed it
  std::string failure_;
  SimStats stats_;
};

}  // namespace dfs::raft
