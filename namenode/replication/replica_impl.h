// The inside of Replica. Internal to this folder.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <unordered_map>

#include "namenode/replication/peer_links.h"
#include "namenode/replication/replica.h"
#include "namenode/replication/snapshot_receiver.h"
#include "namenode/replication/snapshot_sender.h"

namespace dfs::nn {

struct Replica::Impl final : std::enable_shared_from_this<Replica::Impl>, PeerLinks::Handler {
  Impl(ReplicaOptions opts, MemberDirectory& dir, rpc::Network& net, Env& e, Applier& a,
       LogWriterFactory factory, Random rnd, FatalHandler fatal)
      : options(std::move(opts)),
        directory(dir),
        network(net),
        executor(net.executor()),
        env(e),
        applier(a),
        log_writer_factory(std::move(factory)),
        random(rnd),
        on_fatal(std::move(fatal)) {}

  // replica.cc
  Status Start();
  Status Recover(raft::InitialState* initial);
  void Stop();
  void Fatal(const Status& why);
  const Member* FindMember(NodeId id) const;
  int64_t Now() const { return executor.clock().BootNs(); }
  bool running() const { return core != nullptr && !stopped; }
  bool Leading() const { return leading_term != 0; }
  bool HasLease() const;
  Status NotLeader() const;

  // replica_drive.cc: one turn = everything the core has to say, a bounded amount of applying, the timer
  void Schedule();
  void Turn();
  bool Drive();  // whether anything was sent
  void Handle(raft::Ready ready);
  void Install(const raft::SnapshotMeta& meta);
  void OnPersisted(uint64_t sequence, const Status& status);
  void ApplySome();
  bool ApplyEntry(const raft::Entry& entry);
  void AnswerApplied();
  void ServeWaitingReads();
  void OnReadResult(const raft::ReadResult& result);
  void CheckLeadership();
  void LoseLeadership();
  void ArmTimer();
  void RunTimerAfter(int64_t delay_ns);
  void OnTimer();
  void Propose(std::string command, ProposeDone done);
  void ReadBarrier(ReadDone done);
  template <class Callback, class Argument>
  void Later(Callback callback, Argument argument);

  // replica_snapshots.cc: flushing, truncation, transfers
  void FlushIfDue();
  void PollFlush();
  void TruncateLog();
  void StartSnapshot(NodeId to);
  void OnSnapshotDone(NodeId to, LogIndex index, const Status& status);
  void CheckTransfers();

  void OnRaftMessage(raft::Message message) override;
  void OnSnapshotRequest(NodeId from, Buffer request, rpc::ResponderPtr responder) override;
  void OnPeerDown(NodeId peer) override;
  void OnRefused(const Status& why) override;

  const ReplicaOptions options;
  MemberDirectory& directory;
  rpc::Network& network;
  Executor& executor;
  Env& env;
  Applier& applier;
  LogWriterFactory log_writer_factory;
  Random random;
  FatalHandler on_fatal;

  std::unique_ptr<LogStorage> storage;
  std::unique_ptr<LogWriter> writer;
  std::unique_ptr<raft::Raft> core;
  std::unique_ptr<PeerLinks> links;
  std::unique_ptr<SnapshotReceiver> receiver;
  std::map<NodeId, std::unique_ptr<SnapshotSender>> senders;

  bool stopped = false;
  bool turn_scheduled = false;
  bool apply_deferred = false;  // to the next turn, by the last one
  Executor::TimerId timer = 0;
  int64_t timer_deadline_ns = 0;
  bool looks_first = false;  // the timer came late, and fires once more

  LogPosition applied;
  LogPosition flushed;
  struct Proposal {
    raft::ProposalId id;
    ProposeDone done;
  };
  std::deque<Proposal> proposals;  // by index
  struct Answer {
    ProposeDone done;
    Result<std::string> reply;
  };
  std::vector<Answer> answers;  // of what was applied and not yet committed
  uint64_t next_read = 0;
  std::unordered_map<uint64_t, ReadDone> reads;      // by the core's context
  std::multimap<LogIndex, ReadDone> reads_to_apply;  // confirmed, waiting for the index

  Term leading_term = 0;   // the listeners were told
  Term core_led_term = 0;  // the core leads, or led when last looked at
  std::vector<LeadershipListener*> listeners;

  uint64_t bytes_since_flush = 0;
  uint64_t commands_since_flush = 0;
  bool flushing = false;
  LogIndex flush_wanted = 0;
  uint64_t flush_polls = 0;
  ReplicaMetrics metrics;
};

template <class Callback, class Argument>
void Replica::Impl::Later(Callback callback, Argument argument) {
  executor.Post([weak = weak_from_this(), callback = std::move(callback),
                 argument = std::move(argument)]() mutable {
    auto self = weak.lock();
    if (self && !self->stopped) callback(std::move(argument));
  });
}

}  // namespace dfs::nn
