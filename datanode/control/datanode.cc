#include "datanode/control/datanode.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "common/auth/block_token.h"
#include "common/base/check.h"
#include "common/base/defects.h"
#include "common/base/logging.h"
#include "common/rpc/idl_call.h"
#include "datanode/control/namenode_link.h"
#include "datanode/recovery/recovery.h"
#include "datanode/store/block_store.h"
#include "datanode/transfer/replicator.h"
#include "datanode/transfer/stream_server.h"
#include "dfs_types.h"

namespace dfs::dn {
namespace {

constexpr const char* kVersion = "0.1.0";
/// How long an open replica may be served after the sending of an accepted heartbeat.
constexpr int64_t kTermNs = 3 * kSecond;
constexpr int64_t kBackgroundTickNs = 500 * kMillisecond;
constexpr int64_t kMaxScanPauseNs = 10 * kSecond;
constexpr int kMaxCommandsUnderWay = 256;

}  // namespace

struct Datanode::Impl : public rpc::RequestHandler,
                        public NamenodeLink::Owner,
                        public std::enable_shared_from_this<Datanode::Impl> {
  Impl(DatanodeOptions o, DatanodeDeps d) : options(std::move(o)), deps(d), random(d.seed) {}

  Status Open();
  Status Listen(const rpc::Address& address);
  void Start();
  void Stop();

  // ---- The background executor's part
  void BackgroundTick();
  void ScanTick();
  bool DisksInUse();
  void OnVolumes(std::vector<VolumeInfo> now);
  void TellAll(NamenodeLink::Change change, const ReplicaInfo& info);
  void TellLeftOpen(BlockId block);

  // ---- NamenodeLink::Owner
  void FillRegistration(idl::RegisterDatanodeRequest* request) override;
  void FillHeartbeat(idl::HeartbeatRequest* request) override;
  void FillReport(idl::BlockReportRequest* request) override;
  void FillReport(idl::IncrementalReportRequest* request) override;
  std::vector<ReplicaInfo> ListReplicas() override { return store->List(); }
  void OnLease(int64_t sent_ns) override;
  void OnFatal(const Status& why) override;

  // ---- Commands
  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override;
  template <rpc::Method kMethod, class Execute>
  void Command(const Buffer& payload, rpc::ResponderPtr responder, Execute execute);
  bool AcceptTerm(int64_t term);

  Executor& control() { return deps.control.executor(); }
  Executor& background() { return deps.background.executor(); }

  DatanodeOptions options;
  DatanodeDeps deps;
  Random random;
  std::unique_ptr<BlockStore> store;
  std::unique_ptr<StreamContext> streams;
  std::unique_ptr<BlockStreamServer> server;
  std::unique_ptr<Replicator> replicator;     // background
  std::unique_ptr<ReplicaRecovery> recovery;  // background
  std::unique_ptr<Scanner> scanner;           // background, but for its stats
  uint64_t bytes_seen = 0;                    // of streams, by the scanner
  std::vector<std::unique_ptr<rpc::Listener>> listeners;
  std::vector<std::shared_ptr<NamenodeLink>> links;
  rpc::Address block_address;
  std::optional<rpc::Address> block_unix_address;
  std::vector<VolumeInfo> volumes;
  uint64_t highest_term = 0;
  int commands_under_way = 0;
  std::atomic<bool> stopped{false};
  bool fatal = false;
  std::function<void(const Status&)>* on_fatal = nullptr;
  std::function<void(uint64_t)>* on_order = nullptr;
};

// ---- Life -----------------------------------------------------------------------------------------

Status Datanode::Impl::Open() {
  StoreOptions store_options;
  store_options.cluster_id = options.cluster_id;
  store_options.volumes = options.volumes;
  store_options.reserve_bytes = options.reserve_bytes;
  store_options.id_if_new = options.id_if_new;
  DFS_ASSIGN_OR_RETURN(
      store, BlockStore::Open(std::move(store_options), deps.env, deps.clock, random.Next()));
  highest_term = store->highest_term();
  volumes = store->Volumes();
  streams = std::make_unique<StreamContext>(*store, deps.clock);
  streams->host_id = options.host_id;
  streams->token_key = TokenKeyFromClusterKey(options.cluster_key);
  server = std::make_unique<BlockStreamServer>(*streams);
  replicator = std::make_unique<Replicator>(*store, deps.background, options.host_id);
  recovery = std::make_unique<ReplicaRecovery>(*store, deps.background, options.host_id);
  scanner = std::make_unique<Scanner>(*store, deps.env, deps.clock, options.cluster_id,
                                      options.scanner, [this] { return DisksInUse(); });

  BlockStore::Events events;
  const auto tell = [weak = weak_from_this()](NamenodeLink::Change change,
                                              const ReplicaInfo& info) {
    auto self = weak.lock();
    if (!self || self->stopped) return;
    self->control().Post([weak, change, info] {
      auto alive = weak.lock();
      if (alive && !alive->stopped) alive->TellAll(change, info);
    });
  };
  events.finalized = [tell](const ReplicaInfo& i) { tell(NamenodeLink::Change::kReceived, i); };
  events.deleted = [tell](const ReplicaInfo& i) { tell(NamenodeLink::Change::kDeleted, i); };
  events.corrupt = [tell](const ReplicaInfo& i) { tell(NamenodeLink::Change::kCorrupt, i); };
  events.left_open = [weak = weak_from_this()](BlockId block) {
    auto self = weak.lock();
    if (!self || self->stopped) return;
    self->control().Post([weak, block] {
      auto alive = weak.lock();
      if (alive && !alive->stopped) alive->TellLeftOpen(block);
    });
  };

  NamenodeLink::Options link_options;
  link_options.heartbeat_interval_ns = options.heartbeat_interval_ns;
  link_options.full_report_interval_ns = options.full_report_interval_ns;
  link_options.page_replicas = options.report_page_replicas;
  for (const rpc::Address& address : options.namenodes) {
    links.push_back(std::make_shared<NamenodeLink>(deps.control, address, *this, *this,
                                                   link_options, random.Next()));
  }
  DFS_RETURN_IF_ERROR(Listen(options.listen_block));
  block_address = listeners.back()->address();
  if (options.listen_block_unix) {
    DFS_RETURN_IF_ERROR(Listen(*options.listen_block_unix));
    block_unix_address = listeners.back()->address();
  }
  store->SetEvents(std::move(events));
  return Status::Ok();
}

Status Datanode::Impl::Listen(const rpc::Address& address) {
  auto listener = deps.control.ListenForStreams(
      address, [weak = weak_from_this()](rpc::ConnectionPtr connection, rpc::Network& network) {
        auto self = weak.lock();
        if (self && !self->stopped) self->server->Accept(std::move(connection), network);
      });
  if (!listener) return listener.error();
  listeners.push_back(std::move(*listener));
  return Status::Ok();
}

void Datanode::Impl::Start() {
  for (const auto& link : links) link->Start();
  background().Post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->BackgroundTick();
    if (self->options.scanner.bytes_per_second > 0) self->ScanTick();
  });
}

void Datanode::Impl::Stop() {
  if (stopped.exchange(true)) return;
  for (const auto& link : links) link->Stop();
  links.clear();
  listeners.clear();
  server->Stop();
  background().Post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->store->FinalizePending(0);
    self->recovery->Stop();
    self->replicator->Stop();
  });
}

/// What may wait for the disk and nobody waits for.
void Datanode::Impl::BackgroundTick() {
  if (stopped) return;
  store->FinalizePending(options.finalize_delay_ns);
  control().Post([weak = weak_from_this(), now = store->Volumes()]() mutable {
    auto self = weak.lock();
    if (self && !self->stopped) self->OnVolumes(std::move(now));
  });
  background().RunAfter(kBackgroundTickNs, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->BackgroundTick();
  });
}

void Datanode::Impl::ScanTick() {
  if (stopped) return;
  const int64_t next_ns = scanner->Step();
  const int64_t wait_ns =
      std::clamp(next_ns - deps.clock.BootNs(), kMillisecond, kMaxScanPauseNs);
  background().RunAfter(wait_ns, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->ScanTick();
  });
}

/// Since the last time that it was asked.
bool Datanode::Impl::DisksInUse() {
  const uint64_t bytes = streams->stored_bytes.load() + streams->served_bytes.load();
  return bytes != std::exchange(bytes_seen, bytes) || replicator->active() > 0;
}

void Datanode::Impl::OnVolumes(std::vector<VolumeInfo> now) {
  const auto failed = [](const std::vector<VolumeInfo>& all) {
    return std::count_if(all.begin(), all.end(), [](const auto& v) { return v.failed; });
  };
  const bool worse = failed(now) > failed(volumes);
  volumes = std::move(now);
  if (store->AllVolumesFailed()) {
    return OnFatal(Status(Code::kIoError, "every volume has failed"));
  }
  if (!worse) return;
  // What was on it is gone; the rest of the cluster makes it good.
  for (const auto& link : links) link->WantFullReport();
}

void Datanode::Impl::TellAll(NamenodeLink::Change change, const ReplicaInfo& info) {
  for (const auto& link : links) link->Tell(change, info);
}

// As it is now, so that news of a later writer that has finished meanwhile is not taken back.
void Datanode::Impl::TellLeftOpen(BlockId block) {
  const auto replica = store->Find(block);
  if (!replica) return;
  const ReplicaInfo info = (*replica)->info();
  if (info.state == ReplicaState::kRbw || info.state == ReplicaState::kRwr) {
    TellAll(NamenodeLink::Change::kReceived, info);
  }
}

// ---- What namenodes are told -----------------------------------------------------------------------

namespace {

std::vector<idl::VolumeReport> ToReports(const std::vector<VolumeInfo>& volumes) {
  std::vector<idl::VolumeReport> reports;
  for (const VolumeInfo& volume : volumes) {
    idl::VolumeReport report;
    report.storage_id = static_cast<int64_t>(volume.storage_id);
    report.capacity_bytes = static_cast<int64_t>(volume.capacity_bytes);
    report.available_bytes = static_cast<int64_t>(volume.available_bytes);
    report.used_bytes = static_cast<int64_t>(volume.used_bytes);
    report.failed = volume.failed;
    report.path = volume.path;
    reports.push_back(std::move(report));
  }
  return reports;
}

}  // namespace

void Datanode::Impl::FillRegistration(idl::RegisterDatanodeRequest* request) {
  request->datanode = static_cast<int64_t>(store->id().value);
  rpc::Address told = block_address;
  if (!options.advertise_host.empty()) told.host = options.advertise_host;
  request->tcp_address = told.ToString();
  if (block_unix_address) request->unix_address = block_unix_address->ToString();
  request->host_id = options.host_id;
  request->rack = options.rack;
  request->volumes = ToReports(volumes);
  // Not what was only seen: whoever reads this may rely on it that what came before is done.
  request->highest_term = static_cast<int64_t>(store->highest_term());
  request->version = kVersion;
}

void Datanode::Impl::FillHeartbeat(idl::HeartbeatRequest* request) {
  request->datanode = static_cast<int64_t>(store->id().value);
  request->volumes = ToReports(volumes);
  request->active_streams = streams->active_streams.load();
  request->wall_clock_ns = control().clock().WallNs();
  // Not what was only seen: whoever reads this may rely on it that what came before is done.
  request->highest_term = static_cast<int64_t>(store->highest_term());
}

void Datanode::Impl::FillReport(idl::BlockReportRequest* request) {
  request->datanode = static_cast<int64_t>(store->id().value);
}

void Datanode::Impl::FillReport(idl::IncrementalReportRequest* request) {
  request->datanode = static_cast<int64_t>(store->id().value);
}

void Datanode::Impl::OnLease(int64_t sent_ns) {
  const int64_t until = sent_ns + kTermNs;
  if (until > streams->lease_until_ns.load()) streams->lease_until_ns = until;
}

void Datanode::Impl::OnFatal(const Status& why) {
  if (std::exchange(fatal, true) || stopped) return;
  LogError("the datanode cannot go on: {}", why.ToString());
  if (on_fatal && *on_fatal) (*on_fatal)(why);
}

// ---- Commands ---------------------------------------------------------------------------------------

/// Only the leader commands; one of a lower term than was seen is a deposed one's.
bool Datanode::Impl::AcceptTerm(int64_t term) {
  if (term < 0) return false;
  const auto value = static_cast<uint64_t>(term);
  if (value < highest_term) return DefectOn(Defect::kStaleTermCommandAccepted);
  highest_term = value;
  return true;
}

/// Decodes, checks the term, and executes on the background executor, which remembers the term first.
/// execute(request, done(Result<Reply>)).
template <rpc::Method kMethod, class Execute>
void Datanode::Impl::Command(const Buffer& payload, rpc::ResponderPtr responder, Execute execute) {
  using Reply = rpc::ReplyOf<kMethod>;
  rpc::RequestOf<kMethod> request;
  if (!rpc::DecodeRequest(payload, &request, responder)) return;
  if (!AcceptTerm(request.term)) {
    LogWarning("{} of term {} refused: term {} was seen", idl::MethodName(kMethod), request.term,
               highest_term);
    return responder->Fail(Status(Code::kStaleTerm, fmt::format("term {} was seen", highest_term)));
  }
  if (commands_under_way >= kMaxCommandsUnderWay) {
    return responder->Fail(
        Status(Code::kOverloaded, "too many commands are under way").WithRetryAfter(1000));
  }
  commands_under_way++;
  // Answered and destroyed on the control executor only.
  auto answer = std::make_shared<rpc::ResponderPtr>(std::move(responder));
  auto finish = [weak = weak_from_this(), answer](Result<Reply> result) {
    auto self = weak.lock();
    if (!self) return;
    auto shared = std::make_shared<Result<Reply>>(std::move(result));
    self->control().Post([weak, answer, shared] {
      auto alive = weak.lock();
      if (!alive) return;
      alive->commands_under_way--;
      auto to = std::exchange(*answer, nullptr);
      if (!to) return;
      if (shared->ok()) {
        rpc::SendReply(*to, **shared);
      } else {
        to->Fail(shared->error());
      }
    });
  };
  background().Post([weak = weak_from_this(), request = std::move(request),
                     execute = std::move(execute), finish = std::move(finish)]() mutable {
    auto self = weak.lock();
    if (!self || self->stopped) return;
    if (Status kept = self->store->RecordTerm(static_cast<uint64_t>(request.term)); !kept) {
      LogWarning("term {} is remembered in memory only: {}", request.term, kept.ToString());
    }
    if (self->on_order && *self->on_order) (*self->on_order)(static_cast<uint64_t>(request.term));
    execute(*self, request, std::move(finish));
  });
}

void Datanode::Impl::HandleRequest(rpc::Method method, Buffer request,
                                   const rpc::CallContext& context, rpc::ResponderPtr responder) {
  (void)context;
  if (!responder) return;
  switch (method) {
    case idl::kReplicateBlock:
      return Command<idl::kReplicateBlock>(
          request, std::move(responder), [](Impl& self, const auto& r, auto done) {
            self.replicator->Replicate(r, [done = std::move(done)](Status copied) mutable {
              done(copied.ok() ? Result<idl::Empty>(idl::Empty()) : Result<idl::Empty>(copied));
            });
          });
    case idl::kDeleteReplicas:
      return Command<idl::kDeleteReplicas>(
          request, std::move(responder), [](Impl& self, const auto& r, auto done) {
            idl::DeleteReplicasReply reply;
            for (const idl::BlockRef& ref : r.blocks) {
              if (ref.block <= 0 || ref.stamp < 0) continue;
              Status gone = self.store->Delete(BlockId(static_cast<uint64_t>(ref.block)),
                                               Stamp(static_cast<uint64_t>(ref.stamp)));
              if (gone.ok() || gone.Is(Code::kNotFound)) {
                reply.deleted.push_back(ref.block);
              } else {
                LogWarning("block {}: not deleted: {}", ref.block, gone.ToString());
              }
            }
            done(Result<idl::DeleteReplicasReply>(std::move(reply)));
          });
    case idl::kInitRecovery:
      return Command<idl::kInitRecovery>(
          request, std::move(responder),
          [](Impl& self, const auto& r, auto done) { done(self.recovery->InitRecovery(r)); });
    case idl::kFinishRecovery:
      return Command<idl::kFinishRecovery>(request, std::move(responder),
                                           [](Impl& self, const auto& r, auto done) {
                                             self.recovery->FinishRecovery(r, std::move(done));
                                           });
    default:
      return responder->Fail(Status(Code::kNotSupported, "not a command to a datanode"));
  }
}

// ---- Datanode ---------------------------------------------------------------------------------------

Datanode::Datanode(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {
  impl_->on_fatal = &on_fatal;
  impl_->on_order = &on_order;
}

Datanode::~Datanode() {
  impl_->Stop();
  impl_->on_fatal = nullptr;
  impl_->on_order = nullptr;
}

Result<std::unique_ptr<Datanode>> Datanode::Open(DatanodeOptions options, DatanodeDeps deps) {
  auto impl = std::make_shared<Impl>(std::move(options), deps);
  DFS_RETURN_IF_ERROR(impl->Open());
  return std::unique_ptr<Datanode>(new Datanode(std::move(impl)));
}

Result<DatanodeId> Datanode::PeekId(Env& env, const std::vector<std::string>& volumes) {
  for (const std::string& directory : volumes) {
    auto version = Volume::Peek(env, directory);
    if (version.ok()) return version->datanode;
    if (version.error().Is(Code::kVersionMismatch)) return version.error();
  }
  return DatanodeId();
}

void Datanode::Start() {
  impl_->Start();
}
void Datanode::Stop() {
  impl_->Stop();
}
DatanodeId Datanode::id() const {
  return impl_->store->id();
}
const rpc::Address& Datanode::block_address() const {
  return impl_->block_address;
}
std::optional<rpc::Address> Datanode::block_unix_address() const {
  return impl_->block_unix_address;
}
DatanodeStatus Datanode::status() const {
  const Impl& d = *impl_;
  DatanodeStatus out;
  out.id = d.store->id();
  out.cluster_id = d.options.cluster_id;
  out.version = kVersion;
  out.rack = d.options.rack;
  out.block_address = d.block_address.ToString();
  for (const auto& link : d.links) {
    out.namenodes.push_back({link->address().ToString(), link->registered()});
  }
  out.volumes = d.volumes;
  out.lease = d.deps.clock.BootNs() < d.streams->lease_until_ns.load();
  out.highest_term = d.highest_term;
  out.replicas = d.store->replicas();
  out.active_streams = d.streams->active_streams.load();
  out.stored_bytes = d.streams->stored_bytes.load();
  out.served_bytes = d.streams->served_bytes.load();
  out.scanner = d.scanner->stats();
  return out;
}

BlockStore& Datanode::store() {
  return *impl_->store;
}
uint64_t Datanode::highest_term() const {
  return impl_->highest_term;
}

}  // namespace dfs::dn
