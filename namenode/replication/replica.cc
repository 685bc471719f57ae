// Start, stop and the public face; the work is in replica_drive.cc and replica_snapshots.cc.
#include "namenode/replication/replica.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/logging.h"
#include "namenode/replication/replica_impl.h"

namespace dfs::nn {

// --- start ---

namespace {
Term TermAt(const RecoveredLog& log, LogIndex index) {
  if (index == log.prev_index) return log.prev_term;
  Term term = 0;
  if (index > log.last_index) return 0;
  for (const raft::TermRun& run : log.runs) {
    if (run.start > index) break;
    term = run.term;
  }
  return term;
}
}  // namespace

/// Brings log and state machine together. The state may be ahead of the log (a snapshot was installed and
/// the log not yet reset; or entries were committed by others and applied before they were on this disk):
/// then the log is begun again behind the state. It may never be behind the log's beginning.
Status Replica::Impl::Recover(raft::InitialState* initial) {
  LogStorage::Owner owner{directory.cluster_id(), directory.node_id(), directory.storage_id()};
  storage = std::make_unique<LogStorage>(env, directory.log_path(), owner, options.log,
                                         Random(random.Next()));
  DFS_ASSIGN_OR_RETURN(RecoveredLog log, storage->Open());
  applied = applier.applied();
  flushed = applied;  // what a store holds when it is opened is what survived
  if (applied.index < log.prev_index) {
    return Status(
        Code::kCorrupt,
        fmt::format(
            "the Raft log begins behind entry {}, but the state only holds entries up to {}",
            log.prev_index, applied.index));
  }
  bool in_log = applied.index <= log.last_index &&
                (TermAt(log, applied.index) == applied.term || applied.index == 0);
  if (!in_log) {
    LogInfo(
        "the state holds entries up to {}, which the Raft log up to {} does not lead to: the log "
        "begins anew",
        applied.index, log.last_index);
    raft::PersistRequest request;
    request.reset.emplace();
    request.reset->index = applied.index;
    request.reset->term = applied.term;
    if (log.hard_state.term < applied.term) {
      log.hard_state = {applied.term, NodeId()};
      request.hard_state = log.hard_state;
    }
    DFS_RETURN_IF_ERROR(storage->Write(request));
    log.prev_index = log.last_index = applied.index;
    log.prev_term = applied.term;
    log.runs.clear();
  }
  initial->hard_state = log.hard_state;
  initial->prev_index = log.prev_index;
  initial->prev_term = log.prev_term;
  initial->last_index = log.last_index;
  initial->runs = log.runs;
  initial->applied = applied.index;
  for (const Member& member : options.members) {
    initial->configuration.voters.push_back(member.id);
  }
  std::sort(initial->configuration.voters.begin(), initial->configuration.voters.end());
  return Status();
}

Status Replica::Impl::Start() {
  DFS_CHECK(!core && !stopped);
  NodeId self = directory.node_id();
  if (FindMember(self) == nullptr) {
    return Status(Code::kInvalidArgument,
                  fmt::format("namenode {} is not among raft.members", self.value));
  }
  const raft::Options& timing = options.raft;
  if (timing.election_min_ns <= 0 || timing.election_max_ns < timing.election_min_ns ||
      timing.lease_ns * 2 > timing.election_min_ns ||
      (timing.lease_ns > 0 && timing.startup_silence_ns < timing.lease_ns)) {
    return Status(
        Code::kInvalidArgument,
        "the leader lease may last at most half of the least election time-out, and a member must "
        "be silent after its start for longer than a lease");
  }
  raft::InitialState initial;
  DFS_RETURN_IF_ERROR(Recover(&initial));
  links = std::make_unique<PeerLinks>(network, directory, this, Random(random.Next()),
                                      options.feature_level);
  DFS_RETURN_IF_ERROR(links->Listen(options.listen));
  receiver = std::make_unique<SnapshotReceiver>(env, directory.receive_path());
  writer = log_writer_factory(*storage, executor);
  raft::Options core_options = options.raft;
  core_options.id = self;
  next_read = random.Next();
  core = std::make_unique<raft::Raft>(core_options, std::move(initial), storage.get(),
                                      Random(random.Next()), Now());
  for (const Member& member : options.members) {
    if (member.id != self) links->Connect(member.id, member.raft_address);
  }
  // Posted, so that Start may also be called before the loop runs.
  executor.Post([weak = weak_from_this()] {
    if (auto me = weak.lock()) me->Schedule();
  });
  return Status();
}

void Replica::Impl::Stop() {
  if (stopped) return;
  stopped = true;
  if (timer != 0) executor.Cancel(timer);
  timer = 0;
  if (writer) writer->Stop();
  senders.clear();
  links.reset();
  auto dropped = std::exchange(proposals, {});
  auto unanswered = std::exchange(answers, {});
  auto waiting = std::exchange(reads, {});
  auto confirmed = std::exchange(reads_to_apply, {});
  Status why(Code::kCancelled, "the namenode is stopping");
  for (Proposal& p : dropped) p.done(why);
  for (Answer& a : unanswered) a.done(why);
  for (auto& [context, done] : waiting) done(why);
  for (auto& [index, done] : confirmed) done(why);
}

void Replica::Impl::Fatal(const Status& why) {
  if (stopped) return;
  LogError("this namenode cannot go on: {}", why.ToString());
  stopped = true;
  if (timer != 0) executor.Cancel(timer);
  timer = 0;
  // Not from within whatever found it.
  executor.Post([weak = weak_from_this(), why] {
    auto self = weak.lock();
    if (!self) return;
    self->senders.clear();
    self->links.reset();
    if (self->on_fatal) self->on_fatal(why);
  });
}

const Member* Replica::Impl::FindMember(NodeId id) const {
  for (const Member& member : options.members) {
    if (member.id == id) return &member;
  }
  return nullptr;
}

bool Replica::Impl::HasLease() const {
  return running() && applied.index >= core->term_start_index() && core->HasLease(Now());
}

Status Replica::Impl::NotLeader() const {
  Status s(Code::kNotLeader, "this namenode does not lead");
  const Member* leader = running() ? FindMember(core->leader()) : nullptr;
  if (leader == nullptr || leader->id == directory.node_id()) return s;
  return s.WithLeaderHint(leader->client_address);
}

// --- the public face ---

Replica::Replica(ReplicaOptions options, MemberDirectory& directory, rpc::Network& network,
                 Env& env, Applier& applier, LogWriterFactory log_writer, Random random,
                 FatalHandler on_fatal)
    : impl_(std::make_shared<Impl>(std::move(options), directory, network, env, applier,
                                   std::move(log_writer), random, std::move(on_fatal))) {}

Replica::~Replica() {
  impl_->Stop();
}

Status Replica::Start() {
  return impl_->Start();
}
void Replica::Stop() {
  impl_->Stop();
}
void Replica::Propose(std::string command, ProposeDone done) {
  impl_->Propose(std::move(command), std::move(done));
}
void Replica::ReadBarrier(ReadDone done) {
  impl_->ReadBarrier(std::move(done));
}
bool Replica::HasLease() const {
  return impl_->HasLease();
}

bool Replica::is_leader() const {
  return impl_->running() && impl_->Leading() && impl_->core->is_leader() &&
         impl_->core->term() == impl_->leading_term;
}
Term Replica::term() const {
  return impl_->core ? impl_->core->term() : 0;
}
NodeId Replica::id() const {
  return impl_->directory.node_id();
}
NodeId Replica::leader_id() const {
  return impl_->running() ? impl_->core->leader() : NodeId();
}

std::string Replica::leader_client_address() const {
  const Member* leader = impl_->FindMember(leader_id());
  return leader == nullptr ? "" : leader->client_address;
}

LogIndex Replica::commit_index() const {
  return impl_->core ? impl_->core->commit_index() : 0;
}
LogIndex Replica::applied_index() const {
  return impl_->applied.index;
}
LogIndex Replica::flushed_index() const {
  return impl_->flushed.index;
}
LogIndex Replica::first_log_index() const {
  return impl_->core ? impl_->core->first_index() : 0;
}
LogIndex Replica::last_log_index() const {
  return impl_->core ? impl_->core->last_index() : 0;
}
Status Replica::NotLeader() const {
  return impl_->NotLeader();
}

const rpc::Address& Replica::raft_address() const {
  return impl_->links ? impl_->links->address() : impl_->options.listen;
}

std::vector<MemberStatus> Replica::members() const {
  std::vector<MemberStatus> out;
  for (const Member& member : impl_->options.members) {
    MemberStatus s;
    s.id = member.id;
    s.raft_address = member.raft_address.ToString();
    s.client_address = member.client_address;
    s.is_self = member.id == id();
    s.is_leader = member.id == leader_id();
    s.reachable = s.is_self;
    if (impl_->running()) {
      if (s.is_self) s.match_index = impl_->core->durable_index();
      if (const raft::Progress* p = impl_->core->progress(member.id)) {
        s.match_index = p->match;
        s.reachable = impl_->Now() - p->heard_ns < impl_->options.raft.election_max_ns;
      } else if (!s.is_self && impl_->links) {
        s.reachable = impl_->links->established(member.id);
      }
    }
    out.push_back(std::move(s));
  }
  return out;
}

uint32_t Replica::group_feature_level() const {
  if (!impl_->running()) return 0;
  uint32_t level = impl_->options.feature_level;
  for (const Member& member : impl_->options.members) {
    if (member.id != id()) level = std::min(level, impl_->links->feature_level(member.id));
  }
  return level;
}

ReplicaMetrics Replica::metrics() const {
  ReplicaMetrics m = impl_->metrics;
  if (impl_->core) m.elections = impl_->core->elections_started();
  if (impl_->storage) m.log = impl_->storage->metrics();
  return m;
}

const raft::Raft& Replica::core() const {
  DFS_CHECK(impl_->core != nullptr);
  return *impl_->core;
}

void Replica::AddListener(LeadershipListener* listener) {
  impl_->listeners.push_back(listener);
}
void Replica::RemoveListener(LeadershipListener* listener) {
  std::erase(impl_->listeners, listener);
}

}  // namespace dfs::nn
