#include "tests/sim/cluster.h"

#include <fmt/core.h>

#include <utility>

#include "common/base/check.h"
#include "common/client/core/client_core.h"
#include "datanode/control/datanode.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/mem_store.h"
#include "namenode/state/state_machine.h"

namespace dfs::sim {

namespace {

constexpr uint16_t kClientPort = 9700;
constexpr uint16_t kRaftPort = 9701;
constexpr uint16_t kBlockPort = 9866;

rpc::Address Tcp(const std::string& host, uint16_t port) {
  rpc::Address address;
  address.host = host;
  address.port = port;
  return address;
}

rpc::PeerIdentity Identity(rpc::Role role, uint64_t id) {
  rpc::PeerIdentity identity;
  identity.role = role;
  identity.node_id = id;
  identity.key_authenticated = true;
  identity.trusted = true;
  return identity;
}

uint64_t DatanodeNumberToId(uint64_t number) {
  return 0xd000 + number;
}

std::vector<rpc::Address> NamenodeAddresses(Cluster& cluster) {
  std::vector<rpc::Address> addresses;
  for (size_t i = 1; i <= cluster.options().namenodes; ++i) {
    addresses.push_back(Tcp("nn" + std::to_string(i), kClientPort));
  }
  return addresses;
}

}  // namespace

void SimStats::Add(const SimStats& o) {
  events += o.events;
  elections += o.elections;
  terms_led += o.terms_led;
  log_truncations += o.log_truncations;
  suffix_truncations += o.suffix_truncations;
  snapshot_installs += o.snapshot_installs;
  chain_failures += o.chain_failures;
  chain_repairs += o.chain_repairs;
  block_recoveries += o.block_recoveries;
  session_expiries += o.session_expiries;
  crashes += o.crashes;
  sync_crashes += o.sync_crashes;
  partitions += o.partitions;
  pauses += o.pauses;
  client_deaths += o.client_deaths;
  ops_ok += o.ops_ok;
  ops_failed += o.ops_failed;
  ops_unknown += o.ops_unknown;
  syncs_ok += o.syncs_ok;
  reads_checked += o.reads_checked;
  torn_pages += o.torn_pages;
  histories_too_hard += o.histories_too_hard;
  locks_granted += o.locks_granted;
}

std::string SimStats::ToString() const {
  return fmt::format(
      "events {} | elections {} (terms led {}), log truncations {} (suffixes {}), snapshot "
      "installs {}, "
      "chain failures {} (repairs {}), block recoveries {}, session expiries {} | crashes {} (at a "
      "sync {}, "
      "torn pages "
      "{}), partitions {}, pauses {}, client deaths {} | operations ok {}, failed {}, unknown {}, "
      "syncs "
      "{}, reads checked {}, histories too hard {}, locks granted {}",
      events, elections, terms_led, log_truncations, suffix_truncations, snapshot_installs,
      chain_failures, chain_repairs, block_recoveries, session_expiries, crashes, sync_crashes,
      torn_pages, partitions, pauses, client_deaths, ops_ok, ops_failed, ops_unknown, syncs_ok,
      reads_checked, histories_too_hard, locks_granted);
}

Host::Host(Cluster& cluster, const std::string& name, const rpc::PeerIdentity& identity)
    : cluster_(cluster),
      node_(cluster.scheduler().AddNode(name)),
      env_(cluster.random().Next()),
      network_(cluster.net().Join(node_, identity)) {
  node_.Crash();  // off until Start
  env_.SetWritebackChance(8);
  node_.SetClockOffsets(cluster.random().Between(0, 1000 * kSecond),
                        cluster.random().Between(-2 * kSecond, 2 * kSecond));
}

void Host::Start() {
  DFS_CHECK(!up_);
  up_ = true;
  env_.SetOffline(false);
  node_.Restart();
  node_.Run([&] {
    if (Status status = StartProcess(); !status) {
      cluster_.Fail(fmt::format("{} does not start: {}", name(), status.ToString()));
    }
  });
}

void Host::Fall(FallMode mode, bool silent) {
  if (!up_) return;
  up_ = false;
  ++falls_;
  ++cluster_.stats().crashes;
  cluster_.Trace(fmt::format("{} falls ({})", name(),
                             mode == FallMode::kKillProcess    ? "killed"
                             : mode == FallMode::kPowerDropAll ? "power"
                                                               : "power, torn"));
  Harvest();
  env_.SetSyncHook(nullptr);
  const uint64_t torn = env_.counters().torn_pages;
  switch (mode) {
    case FallMode::kKillProcess:
      env_.KillProcess();
      break;
    case FallMode::kPowerDropAll:
      env_.Crash(cluster_.random(), FaultEnv::CrashMode::kDropUnsynced);
      break;
    case FallMode::kPowerTear:
      env_.Crash(cluster_.random(), FaultEnv::CrashMode::kKeepRandom);
      break;
  }
  cluster_.stats().torn_pages += env_.counters().torn_pages - torn;
  env_.SetOffline(true);
  node_.Crash();
  cluster_.net().NodeDown(node_, silent);
  // Its own code may be on the stack.
  cluster_.scheduler().After(0, [this] { DestroyProcess(); });
}

void Host::ArmSyncCrash(uint64_t n, FallMode mode, bool silent, std::function<void()> fell) {
  auto left = std::make_shared<uint64_t>(n);
  env_.SetSyncHook([this, left, mode, silent, fell = std::move(fell)](const std::string&) {
    if (!up_ || --*left > 0) return;
    auto told = fell;  // the hook is taken down by Fall
    ++cluster_.stats().sync_crashes;
    Fall(mode, silent);
    told();
  });
}

// --- namenodes ---

NamenodeHost::NamenodeHost(Cluster& cluster, uint64_t number)
    : Host(cluster, "nn" + std::to_string(number), Identity(rpc::Role::kNamenode, number)),
      number_(number) {
  const ClusterOptions& o = cluster.options();
  options_.id = NodeId(number);
  options_.cluster_id = cluster.cluster_id();
  options_.cluster_key = cluster.cluster_key();
  options_.directory = "/nn";
  options_.listen_client = Tcp(name(), kClientPort);
  options_.replica.listen = Tcp(name(), kRaftPort);
  for (uint64_t i = 1; i <= o.namenodes; ++i) {
    const std::string host = "nn" + std::to_string(i);
    nn::Member member;
    member.id = NodeId(i);
    member.raft_address = Tcp(host, kRaftPort);
    member.client_address = host + ":" + std::to_string(kClientPort);
    options_.replica.members.push_back(member);
  }
  if (o.read_index) options_.replica.raft.lease_ns = 0;
  options_.replica.raft.election_max_ns = o.election_max_ns;
  options_.replica.raft.max_append_bytes = o.max_append_bytes;
  options_.replica.log.segment_bytes = 256u << 10;
  options_.replica.log.write_zeros = false;
  options_.replica.keep_log_bytes = 8u << 10;
  options_.replica.flush_after_bytes = 64u << 10;
  options_.replica.flush_after_commands = 60;
  options_.replica.snapshot_chunk_bytes = 16u << 10;
  options_.replica.snapshot_timeout_ns = 2 * kSecond;
  options_.name_space.default_block_size = o.block_size;
  options_.name_space.inline_limit = o.inline_limit;
  options_.blocks.stale_after_ns = 2 * kSecond;
  options_.blocks.dead_after_ns = 6 * kSecond;
  options_.blocks.deletion_delay_ns = 3 * kSecond;
  options_.blocks.recovery_patience_ns = 2 * kSecond;
  options_.session_expiry_ns = o.session_expiry_ns;
  options_.leadership_wait_ns = kSecond;
}

Status NamenodeHost::Format() {
  env_.SetOffline(false);
  return nn::Namenode::Format(options_, env_, cluster_.random().Next());
}

Status NamenodeHost::StartProcess() {
  nn::NamenodeWorld world;
  world.network = &network_;
  world.env = &env_;
  world.seed = cluster_.random().Next();
  world.open_store = [this](const std::string& directory) {
    return nn::OpenMemStore(&env_, directory);
  };
  world.log_writer = [](nn::LogStorage& storage, Executor& executor) {
    return nn::NewInlineLogWriter(storage, executor);
  };
  world.on_fatal = [this](const Status& why) {
    if (up()) cluster_.Fail(fmt::format("{} stopped: {}", name(), why.ToString()));
  };
  namenode_ = std::make_unique<nn::Namenode>(options_, std::move(world));
  return namenode_->Start();
}

void NamenodeHost::DestroyProcess() {
  namenode_.reset();
}

void NamenodeHost::Harvest() {
  cluster_.invariants().Crashed(number_ - 1);
  if (!namenode_) return;
  const nn::ReplicaMetrics m = namenode_->replica().metrics();
  SimStats& stats = cluster_.stats();
  stats.elections += m.elections;
  stats.terms_led += m.terms_led;
  stats.log_truncations += m.log_truncations;
  stats.suffix_truncations += m.suffix_truncations;
  stats.snapshot_installs += m.snapshots_installed;
  stats.block_recoveries += namenode_->blocks().stats().recoveries_done;
  stats.session_expiries += namenode_->sessions().expiries();
}

// --- datanodes ---

DatanodeHost::DatanodeHost(Cluster& cluster, uint64_t number)
    : Host(cluster, "dn" + std::to_string(number),
           Identity(rpc::Role::kDatanode, DatanodeNumberToId(number))),
      number_(number) {}

DatanodeHost::~DatanodeHost() = default;

Status DatanodeHost::StartProcess() {
  dn::DatanodeOptions options;
  options.cluster_id = cluster_.cluster_id();
  options.cluster_key = cluster_.cluster_key();
  options.volumes = {"/v0", "/v1"};
  for (const std::string& volume : options.volumes) {
    DFS_RETURN_IF_ERROR(env_.CreateDirs(volume));
  }
  options.listen_block = Tcp(name(), kBlockPort);
  options.namenodes = NamenodeAddresses(cluster_);
  options.host_id = "host-" + name();
  options.rack = number_ % 2 == 0 ? "/r0" : "/r1";
  options.id_if_new = DatanodeId(DatanodeNumberToId(number_));
  options.heartbeat_interval_ns = 500 * kMillisecond;
  options.finalize_delay_ns = 500 * kMillisecond;
  options.full_report_interval_ns = 10 * kSecond;
  options.scanner = {4u << 20, 4 * kSecond};
  dn::DatanodeDeps deps{env_, node_.clock(), network_, network_, cluster_.random().Next()};
  DFS_ASSIGN_OR_RETURN(datanode_, dn::Datanode::Open(options, deps));
  datanode_->on_fatal = [this](const Status& why) {
    if (!up()) return;
    if (disk_failed_) return PowerCycle();
    cluster_.Fail(fmt::format("{} stopped: {}", name(), why.ToString()));
  };
  // Protocols, section 4 and docs/blocks.md: what it has done for one leader it does for no earlier one.
  datanode_->on_order = [this, highest = uint64_t{0}](uint64_t term) mutable {
    if (term < highest) {
      cluster_.Fail(fmt::format("{} carried out an order of term {} after one of term {}", name(),
                                term, highest));
    }
    highest = std::max(highest, term);
  };
  datanode_->Start();
  return Status::Ok();
}

void DatanodeHost::FailDisk(FaultEnv::Fault fault, int64_t for_ns) {
  disk_failed_ = disk_ever_failed_ = true;
  env_.AddFault(std::move(fault));
  cluster_.scheduler().After(for_ns, [this] { PowerCycle(); });
}

void DatanodeHost::FillDisk(int64_t for_ns) {
  disk_ever_failed_ = true;
  env_.SetCapacity(64u << 10);
  cluster_.scheduler().After(for_ns, [this] { env_.SetCapacity(uint64_t{1} << 40); });
}

void DatanodeHost::PowerCycle() {
  if (!disk_failed_) return;
  disk_failed_ = false;
  Fall(FallMode::kPowerDropAll, false);
  env_.ClearFaults();
  cluster_.scheduler().After(cluster_.random().Between(100 * kMillisecond, kSecond), [this] {
    if (!up()) Start();
  });
}

void DatanodeHost::DestroyProcess() {
  datanode_.reset();
}

void DatanodeHost::Harvest() {
  cluster_.NoteMemoryLoss();
}

// --- clients ---

ClientHost::ClientHost(Cluster& cluster, uint64_t number)
    : Host(cluster, "client" + std::to_string(number), Identity(rpc::Role::kClient, 0)),
      number_(number) {}

ClientHost::~ClientHost() = default;

Status ClientHost::StartProcess() {
  client::CoreOptions options;
  options.namenodes = NamenodeAddresses(cluster_);
  options.client_name = name();
  options.host_id =
      cluster_.random().OneIn(2) ? "host-dn" + std::to_string(number_) : "host-" + name();
  options.timeout_ns = cluster_.options().client_timeout_ns;
  options.write_buffer_bytes = 256u << 10;
  options.read_ahead_bytes = 64u << 10;
  options.repair_after_ns = kSecond;
  core_ = client::ClientCore::Create(network_, Random(cluster_.random().Next()), options);
  if (on_start) on_start();
  return Status::Ok();
}

void ClientHost::Exit() {
  if (!up()) return;
  Fall(FallMode::kKillProcess, false);
  cluster_.scheduler().After(cluster_.random().Between(10 * kMillisecond, kSecond), [this] {
    if (!up()) Start();
  });
}

void ClientHost::Harvest() {
  if (core_) cluster_.stats().chain_repairs += core_->repairs();
}

void ClientHost::DestroyProcess() {
  if (on_fall) on_fall();
  core_.reset();
}

// --- the cluster ---

Cluster::Cluster(uint64_t seed, ClusterOptions options)
    : options_(options),
      random_(seed * 2 + 1),
      scheduler_(seed * 2),
      net_(scheduler_),
      invariants_(options.namenodes) {
  for (uint64_t i = 1; i <= options_.namenodes; ++i) {
    namenodes_.push_back(std::make_unique<NamenodeHost>(*this, i));
  }
  for (uint64_t i = 1; i <= options_.datanodes; ++i) {
    datanodes_.push_back(std::make_unique<DatanodeHost>(*this, i));
  }
  for (uint64_t i = 1; i <= options_.clients; ++i) {
    clients_.push_back(std::make_unique<ClientHost>(*this, i));
  }
  scheduler_.SetAfterStep([this](SimNode& node) { AfterStep(node); });
}

Cluster::~Cluster() {
  scheduler_.SetAfterStep(nullptr);
  for (Host* host : AllHosts()) host->Fall(FallMode::kKillProcess, false);
  scheduler_.RunFor(0);  // their processes are destroyed
  scheduler_.Clear();
}

std::vector<Host*> Cluster::AllHosts() {
  std::vector<Host*> hosts;
  for (auto& host : namenodes_) hosts.push_back(host.get());
  for (auto& host : datanodes_) hosts.push_back(host.get());
  for (auto& host : clients_) hosts.push_back(host.get());
  return hosts;
}

void Cluster::Start() {
  for (auto& host : namenodes_) {
    if (Status status = host->Format(); !status) Fail("format: " + status.ToString());
  }
  for (Host* host : AllHosts()) host->Start();
}

nn::Namenode* Cluster::Leader() {
  nn::Namenode* best = nullptr;
  for (auto& host : namenodes_) {
    if (!host->up() || host->namenode() == nullptr) continue;
    nn::Replica& replica = host->namenode()->replica();
    if (replica.is_leader() && (best == nullptr || replica.term() > best->replica().term())) {
      best = host->namenode();
    }
  }
  return best;
}

void Cluster::AfterStep(SimNode& node) {
  // A usual seed has a hundred thousand.
  DFS_CHECK(scheduler_.events() < 1'500'000, "liveness: something spins without getting anywhere");
  for (size_t i = 0; i < namenodes_.size(); ++i) {
    NamenodeHost& host = *namenodes_[i];
    if (&host.node() != &node) continue;
    if (!host.up() || host.namenode() == nullptr) {
      invariants_.Crashed(i);
      return;
    }
    RaftInvariants::View view;
    view.core = &host.namenode()->replica().core();
    view.applied = host.namenode()->state_machine().applied_index();
    view.state_hash = host.namenode()->state_machine().state_hash();
    invariants_.Step(i, view);
    if (!invariants_.violation().empty()) Fail("invariant: " + invariants_.violation());
    if (const std::function<void()> look = on_namenode_step) look();
    return;
  }
}

void Cluster::Fail(const std::string& why) {
  if (!failure_.empty()) return;
  failure_ = fmt::format("at {:.3f} s: {}", static_cast<double>(scheduler_.now_ns()) / 1e9, why);
  Trace("FAILURE: " + why);
}

void Cluster::Trace(const std::string& what) {
  if (!verbose_) return;
  fmt::print(stderr, "{:9.4f} {}\n", static_cast<double>(scheduler_.now_ns()) / 1e9, what);
}

}  // namespace dfs::sim
