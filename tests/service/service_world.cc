#include "tests/service/service_world.h"

#include <gtest/gtest.h>

#include "namenode/state/mem_store.h"

namespace dfs::nn {

namespace {
std::string HostName(int n) {
  return "nn" + std::to_string(n + 1);
}
}  // namespace

// ---- FakeDatanode

FakeDatanode::FakeDatanode(sim::SimScheduler& scheduler, sim::SimNet& net, int number,
                           int namenodes)
    : id(1000 + number),
      node(scheduler.AddNode("dn" + std::to_string(number))),
      network_([&]() -> rpc::Network& {
        rpc::PeerIdentity identity;
        identity.role = rpc::Role::kDatanode;
        identity.node_id = static_cast<uint64_t>(id);
        identity.trusted = true;
        return net.Join(node, identity);
      }()) {
  last_reply.resize(static_cast<size_t>(namenodes));
  registered_.resize(static_cast<size_t>(namenodes));
  node.Run([&] {
    for (int n = 0; n < namenodes; ++n) {
      auto address = rpc::Address::Parse(HostName(n) + ":9700");
      channels_.push_back(std::make_unique<rpc::Channel>(network_, *address, this, 7));
      channels_.back()->KeepConnected(
          [this, n](rpc::RpcPeer&) { Register(static_cast<size_t>(n)); });
    }
    node.executor().RunAfter(300 * kMillisecond, [this] { Beat(); });
  });
}

FakeDatanode::~FakeDatanode() {
  node.Run([&] { channels_.clear(); });
}

void FakeDatanode::Register(size_t n) {
  registered_[n] = false;
  idl::RegisterDatanodeRequest request;
  request.datanode = id;
  request.tcp_address = node.name() + ":9866";
  request.host_id = node.name();
  request.rack = "/r";
  idl::VolumeReport volume;
  volume.capacity_bytes = int64_t{1} << 40;
  volume.available_bytes = available_bytes;
  request.volumes.push_back(volume);
  rpc::Call<idl::kRegisterDatanode>(
      *channels_[n], request, kSecond,
      [this, n](Result<rpc::Typed<idl::RegisterDatanodeReply>> r) { registered_[n] = r.ok(); });
}

void FakeDatanode::Beat() {
  node.executor().RunAfter(300 * kMillisecond, [this] { Beat(); });
  if (silent) return;
  for (size_t n = 0; n < channels_.size(); ++n) {
    if (!channels_[n]->connected() || !registered_[n]) continue;
    idl::HeartbeatRequest request;
    request.datanode = id;
    request.wall_clock_ns = node.executor().clock().WallNs() + clock_offset_ns;
    idl::VolumeReport volume;
    volume.capacity_bytes = int64_t{1} << 40;
    volume.available_bytes = available_bytes;
    request.volumes.push_back(volume);
    rpc::Call<idl::kHeartbeat>(*channels_[n], request, kSecond,
                               [this, n](Result<rpc::Typed<idl::HeartbeatReply>> r) {
                                 if (!r) {
                                   if (r.error().Is(Code::kNotFound)) Register(n);
                                   return;
                                 }
                                 last_reply[n] = r->value;
                                 if (r->value.need_report) Report(n);
                               });
  }
}

void FakeDatanode::Report(size_t n) {
  idl::BlockReportRequest request;
  request.datanode = id;
  request.report_id = next_report_++;
  request.last = true;
  for (const auto& [block, s] : replicas) {
    idl::ReplicaReport r;
    r.block = block;
    r.stamp = s.stamp;
    r.length = s.length;
    r.state = s.state;
    request.replicas.push_back(r);
  }
  rpc::Call<idl::kBlockReport>(*channels_[n], request, kSecond,
                               [](Result<rpc::Typed<idl::BlockReportReply>>) {});
}

void FakeDatanode::Received(int64_t block) {
  idl::IncrementalReportRequest request;
  request.datanode = id;
  idl::ReplicaReport r;
  r.block = block;
  r.stamp = replicas[block].stamp;
  r.length = replicas[block].length;
  r.state = replicas[block].state;
  request.received.push_back(r);
  node.Run([&] {
    for (auto& channel : channels_) {
      rpc::Call<idl::kIncrementalReport>(*channel, request, kSecond,
                                         [](Result<rpc::Typed<idl::Empty>>) {});
    }
  });
}

void FakeDatanode::HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext&,
                                 rpc::ResponderPtr responder) {
  if (silent) {
    // Answering later is as good as never here.
    node.executor().RunAfter(60 * kSecond,
                             [r = std::shared_ptr<rpc::Responder>(std::move(responder))] {});
    return;
  }
  ++commands;
  switch (method) {
    case idl::kInitRecovery: {
      idl::InitRecoveryRequest r;
      ASSERT_TRUE(rpc::DecodeRequest(request, &r, responder));
      idl::InitRecoveryReply reply;
      if (auto it = replicas.find(r.block); it != replicas.end()) {
        reply.found = true;
        reply.stamp = it->second.stamp;
        reply.length = it->second.length;
        reply.state = it->second.state;
      }
      return rpc::SendReply(*responder, reply);
    }
    case idl::kFinishRecovery: {
      idl::FinishRecoveryRequest r;
      ASSERT_TRUE(rpc::DecodeRequest(request, &r, responder));
      replicas[r.block] = {r.recovery_stamp, r.length, 1};
      idl::FinishRecoveryReply reply;
      reply.length = r.length;
      reply.stamp = r.recovery_stamp;
      return rpc::SendReply(*responder, reply);
    }
    case idl::kDeleteReplicas: {
      idl::DeleteReplicasRequest r;
      ASSERT_TRUE(rpc::DecodeRequest(request, &r, responder));
      idl::DeleteReplicasReply reply;
      for (const idl::BlockRef& b : r.blocks) {
        replicas.erase(b.block);
        reply.deleted.push_back(b.block);
      }
      return rpc::SendReply(*responder, reply);
    }
    default:
      responder->Fail(Status(Code::kNotSupported, "not played here"));
  }
}

// ---- ServiceWorld

ServiceWorld::ServiceWorld(int namenodes, int datanode_count,
                           std::function<void(NamenodeOptions&)> adjust, AuditSink audit)
    : client(scheduler.AddNode("client")), audit_(std::move(audit)) {
  std::vector<Member> members;
  for (int n = 0; n < namenodes; ++n) {
    Member m;
    m.id = NodeId(static_cast<uint64_t>(n + 1));
    m.raft_address = *rpc::Address::Parse(HostName(n) + ":9701");
    m.client_address = HostName(n) + ":9700";
    members.push_back(m);
  }
  hosts_.resize(static_cast<size_t>(namenodes));
  for (int n = 0; n < namenodes; ++n) {
    Host& host = hosts_[static_cast<size_t>(n)];
    host.node = &scheduler.AddNode(HostName(n));
    rpc::PeerIdentity identity;
    identity.role = rpc::Role::kNamenode;
    identity.node_id = static_cast<uint64_t>(n + 1);
    identity.trusted = true;
    host.network = &net.Join(*host.node, identity);
    host.env = std::make_unique<FaultEnv>();
    NamenodeOptions& o = host.options;
    o.id = NodeId(static_cast<uint64_t>(n + 1));
    o.cluster_id = kClusterId;
    o.directory = "/nn";
    o.listen_client = *rpc::Address::Parse(HostName(n) + ":9700");
    o.replica.listen = *rpc::Address::Parse(HostName(n) + ":9701");
    o.replica.members = members;
    o.replica.log.segment_bytes = 1 << 20;
    o.replica.log.write_zeros = false;
    o.blocks.stale_after_ns = 2 * kSecond;
    o.blocks.dead_after_ns = 5 * kSecond;
    o.blocks.deletion_delay_ns = 20 * kSecond;
    o.session_expiry_ns = 10 * kSecond;
    if (adjust) adjust(o);
    EXPECT_TRUE(Namenode::Format(o, *host.env, static_cast<uint64_t>(n + 1)).ok());
    Start(host);
  }
  client_identity.trusted = true;
  rpc::Network& network = net.Join(client, client_identity);
  client.Run([&] {
    for (int n = 0; n < namenodes; ++n) {
      channels_.push_back(std::make_unique<rpc::Channel>(
          network, *rpc::Address::Parse(HostName(n) + ":9700"), nullptr, 3));
    }
  });
  for (int n = 0; n < datanode_count; ++n) {
    datanodes.push_back(std::make_unique<FakeDatanode>(scheduler, net, n, namenodes));
  }
}

ServiceWorld::~ServiceWorld() {
  datanodes.clear();
  client.Run([&] { channels_.clear(); });
  for (Host& host : hosts_) {
    if (host.namenode) host.node->Run([&] { host.namenode.reset(); });
  }
  scheduler.Clear();
}

void ServiceWorld::Start(Host& host) {
  host.node->Run([&] {
    NamenodeWorld world;
    world.network = host.network;
    world.env = host.env.get();
    world.seed = host.options.id.value + scheduler.events();
    FaultEnv* env = host.env.get();
    world.open_store = [env](const std::string& directory) { return OpenMemStore(env, directory); };
    world.log_writer = [](LogStorage& storage, Executor& executor) {
      return NewInlineLogWriter(storage, executor);
    };
    world.audit = audit_;
    world.on_fatal = [](const Status& why) { ADD_FAILURE() << "stopped: " << why.ToString(); };
    host.namenode = std::make_unique<Namenode>(host.options, world);
    Status started = host.namenode->Start();
    EXPECT_TRUE(started.ok()) << started.ToString();
  });
}

void ServiceWorld::Crash(int n) {
  Host& host = hosts_[static_cast<size_t>(n)];
  host.node->Crash();
  net.NodeDown(*host.node, false);
  host.namenode.reset();
  Random unused(1);
  host.env->Crash(unused, FaultEnv::CrashMode::kDropUnsynced);
}

void ServiceWorld::Restart(int n) {
  Host& host = hosts_[static_cast<size_t>(n)];
  host.node->Restart();
  Start(host);
}

bool ServiceWorld::RunUntil(const std::function<bool()>& done, int64_t limit_ns) {
  int64_t end = scheduler.now_ns() + limit_ns;
  bool reached = done();
  while (!reached && scheduler.now_ns() < end && scheduler.Step()) reached = done();
  return reached;
}

int ServiceWorld::Leader() {
  int leader = -1;
  RunUntil([&] {
    for (size_t n = 0; n < hosts_.size(); ++n) {
      if (hosts_[n].namenode && hosts_[n].namenode->replica().HasLease()) {
        leader = static_cast<int>(n);
        return true;
      }
    }
    return false;
  });
  EXPECT_GE(leader, 0) << "no leader";
  return leader < 0 ? 0 : leader;
}

Status ServiceWorld::CallRaw(int n, rpc::Method method, Buffer payload) {
  std::optional<Status> out;
  client.Run([&] {
    channels_[static_cast<size_t>(n)]->Call(method, std::move(payload), 10 * kSecond,
                                            [&](Result<rpc::Reply> r) { out = r.status(); });
  });
  RunUntil([&] { return out.has_value(); });
  return out ? *out : Status(Code::kTimedOut, "the simulation ended");
}

int64_t ServiceWorld::OpenSession(int64_t nonce) {
  idl::OpenSessionRequest request;
  request.client_name = "test";
  request.secret = "secret";
  request.nonce = nonce;
  auto reply = Call<idl::kOpenSession>(request);
  EXPECT_TRUE(reply.ok()) << reply.status().ToString();
  return reply.ok() ? reply->session : 0;
}

idl::OpId ServiceWorld::NextOp(int64_t session) {
  idl::OpId op;
  op.session = session;
  op.incarnation = 1;
  op.sequence = ++sequences_[session];
  op.first_outstanding =
      std::max<int64_t>(1, op.sequence - 100);  // the last hundred may be retried
  return op;
}

}  // namespace dfs::nn
