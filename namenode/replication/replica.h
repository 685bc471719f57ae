// Replica: one member of the namenodes' Raft group - the core (common/raft) driven on the
// namenode's executor, with its log, its links to the other members, its snapshots, and the
// application of committed entries to the state machine.
//
// Confined to the executor of its network. Callbacks run on it, never from within the call that
// took them, unless noted. After the destructor no callback runs.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/env.h"
#include "common/base/executor.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/raft/raft.h"
#include "common/rpc/transport.h"
#include "namenode/replication/applier.h"
#include "namenode/replication/log_storage.h"
#include "namenode/replication/log_writer.h"
#include "namenode/replication/member_directory.h"

namespace dfs::nn {

struct Member {
  NodeId id;
  rpc::Address raft_address;
  std::string client_address;  // told to clients as a leader hint
};

struct ReplicaOptions {
  std::vector<Member> members;  // all of them, this one included
  rpc::Address listen;          // for Raft; port 0 is allowed
  /// Timings and limits; id is filled in. raft.lease_ns = 0 is read_mode=readindex.
  raft::Options raft;

  uint32_t feature_level = 1;  // up to which this member understands commands

  LogStorageOptions log;
  uint64_t keep_log_bytes = 64u << 20;     // of log below the flushed index
  uint64_t flush_after_bytes = 16u << 20;  // of log since the last flush
  uint64_t flush_after_commands = 30'000;
  uint64_t abandon_snapshot_bytes = 1u << 30;  // of further log while one is being sent
  size_t snapshot_chunk_bytes = 512u << 10;
  int64_t snapshot_timeout_ns = 10 * kSecond;  // without an answer to a chunk

  size_t max_pending_proposals = 16'384;
  size_t max_apply_per_turn = 512;  // entries, then the loop gets its turn
  size_t max_apply_bytes_per_turn = 4u << 20;
};

/// Counters since the start; only ever grow.
struct ReplicaMetrics {
  uint64_t proposals = 0;
  uint64_t proposals_overloaded = 0;
  uint64_t entries_applied = 0;
  uint64_t elections = 0;  // campaigns of this member
  uint64_t terms_led = 0;
  uint64_t snapshots_sent = 0;
  uint64_t snapshots_installed = 0;
  uint64_t snapshots_abandoned = 0;
  uint64_t log_truncations = 0;  // of the prefix
  uint64_t suffix_truncations = 0;
  uint64_t reads_by_lease = 0;
  uint64_t reads_by_index = 0;
  LogStorageMetrics log;
};

struct MemberStatus {
  NodeId id;
  std::string raft_address;
  std::string client_address;
  bool is_self = false;
  bool is_leader = false;
  bool reachable = false;    // heard within the election time-out (known to the leader; self: true)
  LogIndex match_index = 0;  // leader only
};

class Replica {
 public:
  using ProposeDone = UniqueFunction<void(Result<std::string>)>;
  using ReadDone = UniqueFunction<void(Status)>;
  using LogWriterFactory = std::function<std::unique_ptr<LogWriter>(LogStorage&, Executor&)>;
  /// Called once when the member must stop: a failed sync, corruption, a state machine that cannot
  /// go on, or its own storage being refused by its peers. Nothing is answered afterwards.
  using FatalHandler = std::function<void(Status)>;

  class LeadershipListener {
   public:
    virtual ~LeadershipListener() = default;
    /// This member leads `term` and has applied its first entry: everything committed before is
    /// applied.
    virtual void OnLeading(Term term) = 0;
    /// It no longer does. Proposals that were under way have been answered kOutcomeUnknown.
    virtual void OnLeadershipLost(Term term) = 0;
  };

  /// The references must outlive the replica. directory is this member's, opened.
  Replica(ReplicaOptions options, MemberDirectory& directory, rpc::Network& network, Env& env,
          Applier& applier, LogWriterFactory log_writer, Random random, FatalHandler on_fatal);
  ~Replica();
  Replica(const Replica&) = delete;
  Replica& operator=(const Replica&) = delete;

  /// Recovers the log, checks it against the state machine's position, listens, and begins. The
  /// log's committed part is applied as soon as the group says what is committed. kCorrupt: damaged
  /// in the middle; kBusy: the port is in use.
  Status Start();
  /// Stops taking part; pending callbacks get kCancelled. Idempotent; the destructor calls it.
  void Stop();

  /// Appends the command to the log. done runs when it was applied here, with the state machine's
  /// reply; or kNotLeader (with leader_hint when known) and kOverloaded (retry_after_ms): certainly
  /// without effect; or kOutcomeUnknown: leadership was lost with the proposal under way. done
  /// never runs inside this call.
  void Propose(std::string command, ProposeDone done);

  /// When done gets ok, the state applied here contains everything that was acknowledged anywhere
  /// before this call. Under a leader lease done runs inside this call; else after a quorum round
  /// (also at followers, through the leader). kUnavailable, kTimedOut, kNotLeader: try again or
  /// elsewhere.
  void ReadBarrier(ReadDone done);
  /// Leader with a valid lease whose state contains everything acknowledged: read at once.
  bool HasLease() const;

  bool is_leader() const;  // and has applied the first entry of its term
  Term term() const;
  NodeId id() const;
  NodeId leader_id() const;                   // invalid when unknown
  std::string leader_client_address() const;  // "" when unknown
  LogIndex commit_index() const;
  LogIndex applied_index() const;
  LogIndex flushed_index() const;
  LogIndex first_log_index() const;
  LogIndex last_log_index() const;
  /// Up to which every member of the group understands commands; 0: not all are connected and have said.
  uint32_t group_feature_level() const;
  /// kNotLeader with the hint, for handlers.
  Status NotLeader() const;
  /// With the port really bound.
  const rpc::Address& raft_address() const;
  std::vector<MemberStatus> members() const;
  ReplicaMetrics metrics() const;
  /// The pure core, for the simulator's invariants.
  const raft::Raft& core() const;

  /// Not owned; removed before it dies.
  void AddListener(LeadershipListener* listener);
  void RemoveListener(LeadershipListener* listener);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dfs::nn
