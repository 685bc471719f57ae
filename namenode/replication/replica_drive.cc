// One turn of the replica: what the core wants done, a bounded amount of applying, the timer. Everything that
// came in since the last turn - messages, proposals, completions - goes out together.
#include "common/base/check.h"
#include "common/base/logging.h"
#include "namenode/replication/replica_impl.h"

namespace dfs::nn {

namespace {
constexpr int64_t kStoodStillNs = 100 * kMillisecond;
constexpr int64_t kLookFirstNs = 20 * kMillisecond;
}  // namespace

void Replica::Impl::Schedule() {
  if (turn_scheduled || stopped) return;
  turn_scheduled = true;
  executor.Post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->turn_scheduled = false;
    self->Turn();
  });
}

void Replica::Impl::Turn() {
  if (!running()) return;
  bool sent = Drive();
  // What was sent leaves when the loop ends its round: nobody waits there for this member's applying, but
  // the applying waits once at most.
  apply_deferred = sent && !apply_deferred && core->HasCommitted();
  if (!stopped && !apply_deferred) ApplySome();
  if (stopped) return;
  CheckLeadership();
  CheckTransfers();
  if (core->HasReady() || core->HasCommitted()) Schedule();
  ArmTimer();
}

void Replica::Impl::ArmTimer() {
  int64_t deadline = core->NextDeadlineNs();
  if (timer != 0 && timer_deadline_ns <= deadline) return;  // it looks again when it fires
  if (timer != 0) executor.Cancel(timer);
  timer_deadline_ns = deadline;
  RunTimerAfter(std::max<int64_t>(deadline - Now(), 0));
}

void Replica::Impl::RunTimerAfter(int64_t delay_ns) {
  timer = executor.RunAfter(delay_ns, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (self && !self->stopped) self->OnTimer();
  });
}

void Replica::Impl::OnTimer() {
  timer = 0;
  // The loop stood still (a slow sync on it, a stopped process): what came meanwhile, a leader's heartbeat perhaps, is
  // looked at before it counts as missing.
  const bool late = Now() - timer_deadline_ns > kStoodStillNs;
  if (late && !core->is_leader() && !std::exchange(looks_first, true)) {
    return RunTimerAfter(kLookFirstNs);
  }
  looks_first = false;
  core->Tick(Now());
  Turn();
}

bool Replica::Impl::Drive() {
  bool sent = false;
  while (core->HasReady() && !stopped) {
    raft::Ready ready = core->TakeReady(Now());
    sent = sent || !ready.messages.empty();
    Handle(std::move(ready));
  }
  return sent;
}

void Replica::Impl::Handle(raft::Ready ready) {
  if (!ready.fatal) return Fatal(ready.fatal);
  if (ready.install_snapshot) Install(*ready.install_snapshot);
  if (stopped) return;
  // A leader's appends are on their way while its own disk writes.
  for (const raft::Message& message : ready.messages) links->Send(message);
  if (ready.persist) {
    if (ready.persist->truncate_from != 0) ++metrics.suffix_truncations;
    uint64_t sequence = ready.persist->sequence;
    // A follower has nothing to do until its answer is durable; a leader takes the next proposals, unless it is
    // alone with a single caller.
    bool on_caller = !core->is_leader() || (options.members.size() == 1 && proposals.size() <= 1);
    writer->Append(std::move(*ready.persist), on_caller,
                   [this, sequence](Status status) { OnPersisted(sequence, status); });
  }
  for (const raft::ReadResult& result : ready.reads) OnReadResult(result);
  for (NodeId to : ready.send_snapshot_to) StartSnapshot(to);
}

/// From the writer, at times from within Append.
void Replica::Impl::OnPersisted(uint64_t sequence, const Status& status) {
  if (stopped) return;
  if (!status) return Fatal(status.WithContext("writing the Raft log"));
  core->OnPersisted(sequence, Now());
  Schedule();
}

void Replica::Impl::OnRaftMessage(raft::Message message) {
  if (!running()) return;
  // Snapshots are handed to the core by this member itself, when they are complete.
  if (message.type == raft::MessageType::kInstallSnapshot) return;
  core->Step(std::move(message), Now());
  Schedule();
}

void Replica::Impl::OnPeerDown(NodeId peer) {
  if (!running()) return;
  core->OnUnreachable(peer, Now());
  Schedule();
}

void Replica::Impl::OnRefused(const Status& why) {
  Fatal(Status(Code::kConflict, "refused by the other namenodes: " + why.message()));
}

// --- proposals and applying ---

void Replica::Impl::Propose(std::string command, ProposeDone done) {
  if (!running()) {
    return executor.Post([done = std::move(done)] {
      done(Status(Code::kUnavailable, "the namenode is not running"));
    });
  }
  if (!core->is_leader()) return Later(std::move(done), Result<std::string>(NotLeader()));
  if (proposals.size() >= options.max_pending_proposals) {
    ++metrics.proposals_overloaded;
    Status s(Code::kOverloaded, "too many operations are under way");
    return Later(std::move(done), Result<std::string>(s.WithRetryAfter(20)));
  }
  auto id = core->Propose(Buffer(std::move(command)));
  if (!id) {
    if (id.error().Is(Code::kOverloaded)) ++metrics.proposals_overloaded;
    return Later(std::move(done), Result<std::string>(id.error()));
  }
  ++metrics.proposals;
  proposals.push_back({*id, std::move(done)});
  Schedule();
}

void Replica::Impl::ApplySome() {
  if (!core->HasCommitted()) return;
  std::vector<raft::Entry> entries;
  Status taken =
      core->TakeCommitted(options.max_apply_per_turn, options.max_apply_bytes_per_turn, &entries);
  if (!taken) return Fatal(taken.WithContext("reading committed entries"));
  for (const raft::Entry& entry : entries) {
    if (!ApplyEntry(entry)) return;
  }
  if (Status s = applier.Commit(); !s) return Fatal(s.WithContext("committing applied entries"));
  applied = {entries.back().index, entries.back().term};
  AnswerApplied();
  if (stopped) return;
  FlushIfDue();
}

bool Replica::Impl::ApplyEntry(const raft::Entry& entry) {
  ++metrics.entries_applied;
  bytes_since_flush += entry.bytes();
  ++commands_since_flush;
  Result<std::string> reply{std::string()};
  Status s = entry.type == raft::EntryType::kCommand
                 ? applier.Apply(entry.index, entry.term, entry.data.view(), &reply)
                 : applier.Skip(entry.index, entry.term);
  if (!s) {
    Fatal(s.WithContext("applying entry " + std::to_string(entry.index)));
    return false;
  }
  while (!proposals.empty() && proposals.front().id.index <= entry.index) {
    Proposal p = std::move(proposals.front());
    proposals.pop_front();
    // The outcome belongs to (term, index): in another term's entry the proposal was lost.
    if (p.id.index == entry.index && p.id.term == entry.term) {
      answers.push_back({std::move(p.done), std::move(reply)});
    } else {
      answers.push_back({std::move(p.done), Status(Code::kOutcomeUnknown, "leadership was lost")});
    }
  }
  return true;
}

void Replica::Impl::AnswerApplied() {
  auto keep = shared_from_this();  // a callback may drop the replica
  CheckLeadership();               // listeners know before the first answer of the term
  for (Answer& answer : std::exchange(answers, {})) {
    if (stopped) return;
    answer.done(std::move(answer.reply));
  }
  ServeWaitingReads();
}

// --- reads ---

void Replica::Impl::ReadBarrier(ReadDone done) {
  if (!running()) {
    return executor.Post([done = std::move(done)] {
      done(Status(Code::kUnavailable, "the namenode is not running"));
    });
  }
  if (HasLease()) {
    ++metrics.reads_by_lease;
    return done(Status());
  }
  uint64_t context = next_read++;
  Status asked = core->ReadIndex(context, Now());
  if (!asked) return Later(std::move(done), asked);
  ++metrics.reads_by_index;
  reads.emplace(context, std::move(done));
  Schedule();
}

void Replica::Impl::OnReadResult(const raft::ReadResult& result) {
  auto it = reads.find(result.context);
  if (it == reads.end()) return;
  ReadDone done = std::move(it->second);
  reads.erase(it);
  if (!result.status.ok()) {
    Status why = result.status.Is(Code::kNotLeader) ? NotLeader() : result.status;
    return Later(std::move(done), why);
  }
  if (result.index <= applied.index) return Later(std::move(done), Status());
  reads_to_apply.emplace(result.index, std::move(done));
}

void Replica::Impl::ServeWaitingReads() {
  while (!stopped && !reads_to_apply.empty() && reads_to_apply.begin()->first <= applied.index) {
    ReadDone done = std::move(reads_to_apply.begin()->second);
    reads_to_apply.erase(reads_to_apply.begin());
    done(Status());
  }
}

// --- leadership ---

void Replica::Impl::CheckLeadership() {
  Term led = core->is_leader() ? core->term() : 0;
  if (core_led_term != 0 && led != core_led_term) LoseLeadership();
  core_led_term = led;
  if (led == 0 || leading_term == led || applied.index < core->term_start_index()) return;
  leading_term = led;
  ++metrics.terms_led;
  LogInfo("namenode {} leads term {}", directory.node_id().value, led);
  for (LeadershipListener* listener : std::vector(listeners)) listener->OnLeading(led);
}

void Replica::Impl::LoseLeadership() {
  Term lost = std::exchange(leading_term, 0);
  senders.clear();
  auto unknown = std::exchange(proposals, {});
  for (Proposal& p : unknown) {
    Later(std::move(p.done),
          Result<std::string>(
              Status(Code::kOutcomeUnknown, "leadership was lost while it was under way")));
  }
  if (lost == 0) return;
  LogInfo("namenode {} no longer leads term {}", directory.node_id().value, lost);
  for (LeadershipListener* listener : std::vector(listeners)) listener->OnLeadershipLost(lost);
}

}  // namespace dfs::nn
