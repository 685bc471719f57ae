// The Raft core: a state machine without clock, thread, disk or socket. It is given messages, the
// time, proposals and completions; it gives back, in a Ready, what to write, send, apply and
// install. The same object runs in the daemon and in simulation.
//
// Rules for the driver:
//  * After any call take the Ready while HasReady(). Its messages may be sent at once: whatever
//  depends on
//    something durable is held back inside until OnPersisted says so.
//  * PersistRequests are made durable in the order of their sequence, each completely (truncate or
//  reset,
//    hard state, entries) before OnPersisted(sequence). Several may be under way; one sync may
//    cover many.
//  * Committed entries are taken with TakeCommitted when the state machine has room, and applied in
//  order.
//  * A snapshot to install is installed before that Ready's PersistRequest is begun and before
//  TakeCommitted.
//  * A call's now_ns is CLOCK_BOOTTIME and never goes back.
// Not thread-safe: confined to the driver's executor.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/raft/log.h"
#include "common/raft/message.h"
#include "common/raft/progress.h"
#include "common/raft/types.h"

namespace dfs::raft {

struct Options {
  NodeId id;
  int64_t heartbeat_interval_ns = 100 * kMillisecond;
  int64_t election_min_ns = 600 * kMillisecond;
  int64_t election_max_ns = 1200 * kMillisecond;
  /// Leader lease from the sending of a heartbeat; 0: no leases. At most half of election_min_ns.
  int64_t lease_ns = 300 * kMillisecond;
  /// No vote or pre-vote is granted for so long after the start: longer than any lease that this
  /// member may have supported before it crashed.
  int64_t startup_silence_ns = 400 * kMillisecond;
  /// An idle follower learns of a new commit index after this.
  int64_t commit_notice_ns = 20 * kMillisecond;
  size_t max_append_bytes = 1u << 20;
  size_t max_inflight_appends = 16;
  /// While an append is under way to a follower the next one waits until this much has gathered.
  size_t pipeline_min_bytes = 64u << 10;
  size_t max_uncommitted_bytes = 64u << 20;
  size_t log_cache_bytes = 32u << 20;
  size_t max_pending_reads = 16384;
};

/// What a member found on its disk.
struct InitialState {
  HardState hard_state;
  Configuration configuration;
  /// The log: entries (prev_index, last_index], all durable, and their terms.
  LogIndex prev_index = 0;
  Term prev_term = 0;
  LogIndex last_index = 0;
  std::vector<TermRun> runs;
  /// Applied, and so committed. At least prev_index, at most last_index.
  LogIndex applied = 0;
};

/// What to make durable, in this order.
struct PersistRequest {
  uint64_t sequence = 0;
  /// Drop the whole log; it then begins after this snapshot (which the driver installed before).
  std::optional<SnapshotMeta> reset;
  /// Drop entries from this index on; 0: none.
  LogIndex truncate_from = 0;
  Term truncate_term = 0;  // of the entry before truncate_from
  std::optional<HardState> hard_state;
  std::vector<Entry> entries;
};

struct ReadResult {
  uint64_t context = 0;
  Status status;  // kNotLeader, kOutcomeUnknown never; ok: read when applied >= index
  LogIndex index = 0;
};

struct Ready {
  /// Install the received snapshot into the state machine before anything else of this Ready.
  std::optional<SnapshotMeta> install_snapshot;
  std::optional<PersistRequest> persist;
  std::vector<Message> messages;
  std::vector<ReadResult> reads;
  /// Followers that need a snapshot; the driver reports each by OnSnapshotSent.
  std::vector<NodeId> send_snapshot_to;
  /// Reading the log failed, or a peer broke the protocol in a way that cannot be survived: stop.
  Status fatal;
};

struct ProposalId {
  Term term = 0;
  LogIndex index = 0;
};

class Raft {
 public:
  Raft(const Options& options, InitialState initial, LogReader* reader, Random random,
       int64_t now_ns);
  ~Raft();
  Raft(const Raft&) = delete;
  Raft& operator=(const Raft&) = delete;

  // --- inputs ---
  /// Messages that are not for this member, or malformed, have no effect.
  void Step(Message message, int64_t now_ns);
  void Tick(int64_t now_ns);
  /// kNotLeader; kOverloaded when too many uncommitted bytes wait; kInvalidArgument when too large.
  Result<ProposalId> Propose(Buffer command);
  /// Answered by a ReadResult, on any role. kOverloaded.
  Status ReadIndex(uint64_t context, int64_t now_ns);
  void OnPersisted(uint64_t sequence, int64_t now_ns);
  /// A snapshot transfer ended; index is the snapshot's.
  void OnSnapshotSent(NodeId follower, LogIndex index, bool ok);
  /// The link to a member broke: its appends in flight are lost; a lost leader is replaced earlier.
  void OnUnreachable(NodeId member, int64_t now_ns);
  /// Entries up to index are gone from the log storage. At most applied, and at most durable_index().
  void CompactTo(LogIndex index);

  // --- outputs ---
  bool HasReady() const;
  Ready TakeReady(int64_t now_ns);
  /// Committed entries in order, each once; empty when there are none.
  bool HasCommitted() const { return !install_ && log_.HasUnapplied(); }
  Status TakeCommitted(size_t max_entries, size_t max_bytes, std::vector<Entry>* out);
  /// When Tick must be called at the latest.
  int64_t NextDeadlineNs() const;

  // --- state ---
  NodeId id() const { return options_.id; }
  Role role() const { return role_; }
  bool is_leader() const { return role_ == Role::kLeader; }
  Term term() const { return hard_.term; }
  NodeId vote() const { return hard_.vote; }
  /// Invalid when unknown.
  NodeId leader() const { return leader_; }
  LogIndex commit_index() const { return log_.commit(); }
  LogIndex first_index() const { return log_.first_index(); }
  LogIndex last_index() const { return log_.last_index(); }
  LogIndex durable_index() const { return log_.durable(); }
  /// Of the no-op that began this leader's term; 0 when not leader.
  LogIndex term_start_index() const { return term_start_index_; }
  bool committed_in_term() const;
  /// Leader, has committed in its term, and a quorum acknowledged a heartbeat sent less than
  /// lease_ns ago: no other leader can exist.
  bool HasLease(int64_t now_ns) const;
  const Configuration& configuration() const { return configuration_; }
  const RaftLog& log() const { return log_; }
  /// Null when not leader or unknown.
  const Progress* progress(NodeId member) const;
  size_t uncommitted_bytes() const { return uncommitted_bytes_; }
  uint64_t elections_started() const { return elections_started_; }

 private:
  struct Held {
    uint64_t sequence;
    Message message;
  };
  struct PendingRead {
    NodeId asker;  // this member or a follower
    uint64_t context;
    LogIndex index;  // commit index when it arrived; 0: waits for the first commit of the term
    int64_t stamp;   // a quorum must acknowledge something sent after this
  };

  // raft.cc: time, terms, roles, elections
  void BecomeFollower(Term term, NodeId leader);
  void BecomePreCandidate();
  void BecomeCandidate();
  void BecomeLeader();
  void Campaign();
  void ResetElectionTimer();
  void RecordVote(NodeId from, bool granted);
  void HandleVoteRequest(const Message& m);
  bool PromisedToLeader() const;
  bool InStartupSilence() const;
  void HandleLowerTerm(const Message& m);
  void SetHardState(Term term, NodeId vote);
  bool SoleVoter() const;
  void Send(Message m);
  void SendWhenDurable(Message m);
  void SendWhenHardStateDurable(Message m);
  void HoldUntil(uint64_t sequence, Message m);
  Message Make(MessageType type, NodeId to) const;

  // follower.cc
  void HandleAppend(Message m);
  void HandleHeartbeat(const Message& m);
  void HandleInstallSnapshot(const Message& m);
  void HeardLeader(const Message& m);
  void RejectAppend(const Message& m);

  // leader.cc
  void HandleAppendReply(const Message& m);
  void HandleHeartbeatReply(const Message& m);
  void HandleReadIndex(const Message& m);
  void HandleReadIndexReply(const Message& m);
  void FailForwardedReads(Code code, const char* why, int64_t not_after_ns);
  void NoteAck(Progress* progress, const Message& m);
  void MaybeCommit();
  void AppendOwn(EntryType type, Buffer data);
  void BroadcastHeartbeat();
  void SendHeartbeat(NodeId to, Progress* progress);
  void SendAppends();
  bool CanAppend(const Progress& progress) const;
  bool SendAppend(NodeId to, Progress* progress, bool with_entries);
  void SendCommitNotices();
  void UpdateLease();
  void ServeReads();
  void AddRead(NodeId asker, uint64_t context);
  void FinishRead(const PendingRead& read);
  void StopLeading();
  int64_t NextStamp();

  const Options options_;
  LogReader* const reader_;
  Random random_;
  Configuration configuration_;
  RaftLog log_;

  int64_t now_ = 0;
  const int64_t started_ns_;
  Role role_ = Role::kFollower;
  HardState hard_;
  NodeId leader_;
  int64_t election_deadline_ns_ = 0;
  /// Since a leader was heard. Each waits longer for votes than the one before, up to this many times.
  static constexpr int kMostCandidacies = 4;
  int candidacies_ = 0;
  /// When a leader was last heard and answered. Survives changes of term: it is what leases rest
  /// on.
  int64_t heard_leader_ns_;
  std::map<NodeId, bool> votes_;
  uint64_t elections_started_ = 0;

  // Durability: what the Ready under construction will hold, and what waits for it.
  bool hard_dirty_ = false;
  uint64_t next_sequence_ = 1;  // of the PersistRequest under construction
  uint64_t persisted_sequence_ = 0;
  uint64_t hard_sequence_ = 0;  // of the request that holds the current hard state
  std::optional<SnapshotMeta> reset_;
  std::optional<SnapshotMeta> install_;
  std::vector<Held> held_;

  std::vector<Message> out_;
  std::vector<ReadResult> reads_out_;
  std::vector<NodeId> snapshots_out_;
  Status fatal_;

  // Leader only.
  std::map<NodeId, Progress> progress_;
  LogIndex term_start_index_ = 0;
  int64_t heartbeat_due_ns_ = 0;
  int64_t commit_notice_due_ns_ = 0;  // 0: none is due
  int64_t last_stamp_ = 0;
  int64_t quorum_stamp_ = kNever;  // a quorum acknowledged something sent then or later
  size_t uncommitted_bytes_ = 0;
  int64_t read_round_stamp_ = kNever;  // of the last round that was started for reads
  std::deque<PendingRead> pending_reads_;
  // Follower: reads forwarded to the leader, failed when it changes or after a while.
  struct ForwardedRead {
    uint64_t context;
    int64_t deadline_ns;
  };
  std::deque<ForwardedRead> forwarded_reads_;
};

}  // namespace dfs::raft
