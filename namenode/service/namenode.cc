#include "namenode/service/namenode.h"

#include <unordered_set>

#include "common/auth/block_token.h"
#include "common/base/check.h"
#include "common/base/logging.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/replication/state_machine_applier.h"
#include "namenode/service/datanode_link.h"
#include "namenode/service/exporter.h"
#include "namenode/service/reclaimer.h"
#include "namenode/service/service.h"
#include "namenode/service/trash.h"
#include "namenode/sessions/lease_manager.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/state_machine.h"
#include "namenode/state/store.h"

namespace dfs::nn {

namespace {
constexpr int64_t kLevelCheckNs = 200 * kMillisecond;

BlockManagerOptions BlockManagerOptionsOf(const NamenodeOptions& o) {
  BlockManagerOptions out;
  out.stale_after_ns = o.blocks.stale_after_ns;
  out.dead_after_ns = o.blocks.dead_after_ns;
  out.recovery.patience_ns = o.blocks.recovery_patience_ns;
  out.deletion_delay_ns = o.blocks.deletion_delay_ns;
  out.replication_streams_per_node = o.blocks.replication_streams_per_node;
  out.replication_bytes_per_second_per_node = o.blocks.replication_bytes_per_second_per_node;
  return out;
}
SessionManagerOptions SessionOptionsOf(const NamenodeOptions& o) {
  SessionManagerOptions out;
  out.expiry_ns = o.session_expiry_ns;
  return out;
}
}  // namespace

/// Owns the parts and passes on what happens: leadership, and what the state machine applied.
struct Namenode::Impl : public StateObserver,
                        public Replica::LeadershipListener,
                        public BlockProposer,
                        public std::enable_shared_from_this<Namenode::Impl> {
  Impl(NamenodeOptions o, NamenodeWorld w)
      : options(std::move(o)),
        world(std::move(w)),
        executor(world.network->executor()),
        random(world.seed) {
    if (options.feature_level == 0) options.feature_level = kSupportedFeatureLevel;
    options.replica.feature_level = options.feature_level;
  }

  NamenodeOptions options;
  NamenodeWorld world;
  Executor& executor;
  Random random;
  bool started = false;
  Executor::TimerId level_timer = 0;  // while leading, and a higher feature level is supported here

  // In the order in which they may refer to each other; destroyed the other way round.
  std::unique_ptr<MemberDirectory> directory;
  std::unique_ptr<StateStore> store;
  std::unique_ptr<StateMachine> machine;
  std::unique_ptr<StateMachineApplier> applier;
  std::unique_ptr<Replica> replica;
  std::unique_ptr<DatanodeLink> link;
  std::unique_ptr<BlockManager> blocks;
  std::unique_ptr<SessionManager> sessions;
  std::unique_ptr<LeaseManager> leases;
  std::unique_ptr<Reclaimer> reclaimer;
  std::unique_ptr<Trash> trash;
  std::unique_ptr<Exporter> exporter;
  std::unique_ptr<Service> service;
  std::unordered_set<std::shared_ptr<rpc::RpcPeer>> peers;
  std::unique_ptr<rpc::Listener> listener;
  std::unique_ptr<rpc::Listener> unix_listener;

  Status Open();
  Status Listen();
  void Accept(rpc::ConnectionPtr connection);
  void Stop();
  void ProposeOwn(CommandBody body, UniqueFunction<void(Result<std::string>)> done,
                  Credentials caller = Credentials::Root(),
                  LeaseManager::ChangePtr change = nullptr);
  std::vector<Session> AllSessions();
  void InitializeCluster();
  void RaiseFeatureLevel();
  void ProposeMeta(uint32_t feature_level);

  // BlockProposer
  void Propose(CommandBody body, UniqueFunction<void(Result<std::string>)> done) override {
    ProposeOwn(std::move(body), std::move(done));
  }
  // StateObserver
  void OnBlockChanged(BlockId block, const BlockRecord& record) override {
    blocks->OnBlockChanged(block, record);
  }
  void OnBlockRemoved(BlockId block) override { blocks->OnBlockRemoved(block); }
  void OnSessionOpened(const Session& session) override {
    sessions->OnSessionOpened(session);
    leases->OnSessionOpened(session);
  }
  void OnSessionResumed(const Session& session) override {
    sessions->OnSessionResumed(session);
    leases->OnSessionResumed(session);
  }
  void OnSessionEnded(SessionId session) override {
    sessions->OnSessionEnded(session);
    leases->OnSessionEnded(session);
    service->OnSessionEnded(session);
  }
  void OnDatanodeChanged(DatanodeId datanode, const DatanodeRecord& record) override {
    blocks->OnDatanodeChanged(datanode, record);
  }
  void OnInodeRemoved(InodeId inode) override { sessions->OnInodeRemoved(inode); }
  void OnTodoAdded(InodeId) override { reclaimer->Kick(); }
  void OnLocksReleased(InodeId inode) override { service->OnLocksReleased(inode); }
  void OnStateReplaced() override { blocks->OnStateReplaced(); }
  // LeadershipListener
  void OnLeading(Term term) override {
    LogInfo("leading term {}", term);
    // Before anybody proposes.
    leases->OnLeading(term, AllSessions());
    InitializeCluster();
    RaiseFeatureLevel();
    blocks->OnLeading(term);
    sessions->OnLeading();
    reclaimer->OnLeading();
    trash->OnLeading();
    service->OnLeading(term);
  }
  void OnLeadershipLost(Term term) override {
    LogInfo("no longer leading (term {})", term);
    if (level_timer != 0) executor.Cancel(std::exchange(level_timer, 0));
    service->OnLeadershipLost(term);
    exporter->Drop();
    trash->OnLeadershipLost();
    leases->OnLeadershipLost();
    reclaimer->OnLeadershipLost();
    sessions->OnLeadershipLost();
    blocks->OnLeadershipLost();
  }
};

Status Namenode::Impl::Open() {
  DFS_ASSIGN_OR_RETURN(directory, MemberDirectory::Open(*world.env, options.directory,
                                                        options.cluster_id, options.id));
  DFS_ASSIGN_OR_RETURN(store, world.open_store(directory->state_path()));
  machine = std::make_unique<StateMachine>(store.get());
  DFS_RETURN_IF_ERROR(machine->Load());
  const std::string& owner = machine->reader().counters().cluster_id;
  if (!owner.empty() && owner != options.cluster_id) {
    return Status(Code::kWrongCluster, options.directory + " holds the state of cluster " + owner);
  }
  applier = std::make_unique<StateMachineApplier>(*machine);
  auto on_fatal = [weak = weak_from_this()](Status why) {
    if (auto impl = weak.lock()) {
      impl->executor.Post([impl, why] {
        if (impl->world.on_fatal) impl->world.on_fatal(why);
      });
    }
  };
  replica = std::make_unique<Replica>(options.replica, *directory, *world.network, *world.env,
                                      *applier, world.log_writer, Random(random.Next()), on_fatal);
  std::string token_key = TokenKeyFromClusterKey(options.cluster_key);
  link = std::make_unique<DatanodeLink>(executor, token_key);
  StateReader& reader = machine->reader();
  blocks = std::make_unique<BlockManager>(BlockManagerOptionsOf(options), executor, reader, *link,
                                          *this, Random(random.Next()));
  auto propose = [this](CommandBody body, UniqueFunction<void(Status)> done) {
    ProposeOwn(std::move(body),
               [done = std::move(done)](Result<std::string> reply) { done(reply.status()); });
  };
  sessions = std::make_unique<SessionManager>(SessionOptionsOf(options), executor, reader, propose);
  reclaimer = std::make_unique<Reclaimer>(executor, reader, *sessions, propose);
  leases = std::make_unique<LeaseManager>(
      options.leases, executor,
      [this](SessionId session, const std::vector<RecallOrder>& orders,
             UniqueFunction<void(Status)> done) {
        service->Recall(session, orders, std::move(done));
      });
  trash = std::make_unique<Trash>(
      options.trash_keep_ns, executor, reader,
      [this] {
        Trash::Space space;
        for (const auto& node : blocks->registry().nodes()) {
          if (node->state == NodeState::kDead) continue;
          space.capacity_bytes += node->capacity_bytes;
          space.available_bytes += node->available_bytes;
        }
        return space;
      },
      [this](Credentials who, CommandBody body, UniqueFunction<void(Result<std::string>)> done) {
        ProposeOwn(std::move(body), std::move(done), std::move(who));
      });
  exporter = std::make_unique<Exporter>(directory->export_path(), *world.env, world.open_store,
                                        *machine, executor);
  service = std::make_unique<Service>(Service::Parts{options, executor, *replica, *machine, *blocks,
                                                     *sessions, *leases, *trash, *exporter,
                                                     world.audit, token_key});
  service->on_disconnect = [this](rpc::RpcPeer& peer) {
    // Not while it is in a call of its own.
    executor.Post([weak = weak_from_this(), gone = peer.shared_from_this()] {
      if (auto impl = weak.lock()) impl->peers.erase(gone);
    });
  };
  machine->SetObserver(this);
  replica->AddListener(this);
  return Status();
}

Status Namenode::Impl::Listen() {
  auto accept = [weak = weak_from_this()](rpc::ConnectionPtr connection) {
    if (auto impl = weak.lock()) impl->Accept(std::move(connection));
  };
  DFS_ASSIGN_OR_RETURN(listener, world.network->Listen(options.listen_client, accept));
  if (options.listen_client_unix) {
    DFS_ASSIGN_OR_RETURN(unix_listener, world.network->Listen(*options.listen_client_unix, accept));
  }
  return Status();
}

void Namenode::Impl::Accept(rpc::ConnectionPtr connection) {
  if (!started) return;
  peers.insert(rpc::RpcPeer::Create(std::move(connection), service.get()));
}

void Namenode::Impl::ProposeOwn(CommandBody body, UniqueFunction<void(Result<std::string>)> done,
                                Credentials caller, LeaseManager::ChangePtr change) {
  struct Waiting {
    CommandBody body;
    UniqueFunction<void(Result<std::string>)> done;
    Credentials caller;
    LeaseManager::ChangePtr change;
  };
  auto waiting = std::make_shared<Waiting>();
  const bool alone = leases->TryChange(
      SessionId(), TouchedBy(body, machine->reader()), &change,
      [weak = weak_from_this(), waiting] {
        auto impl = weak.lock();
        if (!impl || !waiting->done) return;
        impl->ProposeOwn(std::move(waiting->body), std::move(waiting->done),
                         std::move(waiting->caller), waiting->change);
      });
  if (!alone) {
    *waiting = {std::move(body), std::move(done), std::move(caller), std::move(change)};
    return;
  }
  CommandHeader header;
  header.now_ns = executor.clock().WallNs();
  header.caller = std::move(caller);
  replica->Propose(EncodeCommand(header, body),
                   [change = std::move(change),
                    done = std::move(done)](Result<std::string> reply) mutable {
                     change.reset();
                     done(PayloadOf(std::move(reply)));
                   });
}

std::vector<Session> Namenode::Impl::AllSessions() {
  std::vector<Session> all;
  Status status = machine->reader().ForEachSession([&](const Session& s) { all.push_back(s); });
  if (!status.ok()) LogError("cannot list the sessions: {}", status.ToString());
  return all;
}

void Namenode::Impl::InitializeCluster() {
  if (machine->reader().counters().initialized) return;
  // A member of an older version may be down just now, and would have to stop.
  ProposeMeta(std::max<uint32_t>(replica->group_feature_level(), 1));
}

/// The replicated feature level follows what every member of the group says it supports. It never falls: a member of an
/// older version cannot come back once it has risen.
void Namenode::Impl::RaiseFeatureLevel() {
  level_timer = 0;
  const Counters& counters = machine->reader().counters();
  if (counters.feature_level >= options.feature_level) return;
  const uint32_t level = replica->group_feature_level();
  if (counters.initialized && level > counters.feature_level) {
    LogInfo("all namenodes support feature level {}: raising it from {}", level,
            counters.feature_level);
    ProposeMeta(level);
  }
  level_timer = executor.RunAfter(kLevelCheckNs, [weak = weak_from_this()] {
    if (auto impl = weak.lock()) impl->RaiseFeatureLevel();
  });
}

void Namenode::Impl::ProposeMeta(uint32_t feature_level) {
  SetMetaCommand meta;
  meta.feature_level = feature_level;
  meta.cluster_id = options.cluster_id;
  meta.root_uid = options.root_uid;
  meta.root_gid = options.root_gid;
  ProposeOwn(meta, [](Result<std::string> reply) {
    if (!reply) LogWarning("setting up the cluster: {}", reply.error().ToString());
  });
}

void Namenode::Impl::Stop() {
  started = false;
  if (level_timer != 0) executor.Cancel(std::exchange(level_timer, 0));
  listener.reset();
  unix_listener.reset();
  if (service != nullptr) service->Stop();
  // Closing a peer may call back; the set is taken out of reach first.
  auto closing = std::move(peers);
  peers.clear();
  for (const auto& peer : closing) peer->Close();
  if (machine != nullptr) machine->SetObserver(nullptr);
  if (replica != nullptr) {
    replica->RemoveListener(this);
    replica->Stop();
  }
  if (sessions != nullptr) sessions->Stop();
  if (blocks != nullptr) blocks->Stop();
  closing.clear();
  reclaimer.reset();
  service.reset();
  exporter.reset();
  trash.reset();
  leases.reset();
  sessions.reset();
  blocks.reset();
  link.reset();
  replica.reset();
  applier.reset();
  machine.reset();
  store.reset();
  directory.reset();
}

Namenode::Namenode(NamenodeOptions options, NamenodeWorld world)
    : impl_(std::make_shared<Impl>(std::move(options), std::move(world))) {}

Namenode::~Namenode() {
  Stop();
}

Status Namenode::Format(const NamenodeOptions& options, Env& env, uint64_t seed) {
  Random random(seed);
  return MemberDirectory::Format(env, options.directory, options.cluster_id, options.id, random);
}

Status Namenode::Start() {
  Status status = impl_->Open();
  // The client port first: when it is taken nothing has begun.
  if (status.ok()) status = impl_->Listen();
  if (status.ok()) {
    impl_->started = true;
    impl_->blocks->Start();
    impl_->sessions->Start();
    status = impl_->replica->Start();
  }
  if (!status.ok()) impl_->Stop();
  return status;
}

void Namenode::Stop() {
  if (impl_ != nullptr) impl_->Stop();
}

const rpc::Address& Namenode::client_address() const {
  return impl_->listener->address();
}
std::string Namenode::client_unix_address() const {
  return impl_->unix_listener == nullptr ? "" : impl_->unix_listener->address().ToString();
}
const rpc::Address& Namenode::raft_address() const {
  return impl_->replica->raft_address();
}
Replica& Namenode::replica() {
  return *impl_->replica;
}
StateReader& Namenode::state() {
  return impl_->machine->reader();
}
StateMachine& Namenode::state_machine() {
  return *impl_->machine;
}
BlockManager& Namenode::blocks() {
  return *impl_->blocks;
}
const Service& Namenode::service() const {
  return *impl_->service;
}
LeaseManager& Namenode::leases() {
  return *impl_->leases;
}
SessionManager& Namenode::sessions() {
  return *impl_->sessions;
}

}  // namespace dfs::nn
