#include "tests/client/fake_cluster.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/idl/codec.h"
#include "common/rpc/idl_call.h"
#include "tests/client/fake_datanode.h"

namespace dfs::client {
namespace {
std::string NnName(int i) {
  return fmt::format("nn{}", i);
}
std::string DnName(uint64_t id) {
  return fmt::format("dn{}", id);
}
}  // namespace

rpc::Address FakeCluster::NamenodeAddress(int i) {
  return *rpc::Address::Parse(NnName(i) + ":9700");
}

rpc::Address FakeCluster::DatanodeAddress(uint64_t id) {
  return *rpc::Address::Parse(DnName(id) + ":9866");
}

// ---- Namenodes ----------------------------------------------------------------------------------

class FakeCluster::NamenodeImpl : public rpc::RequestHandler {
 public:
  NamenodeImpl(FakeCluster& cluster, int index, rpc::Network& network)
      : cluster_(cluster), index_(index) {
    auto listener = network.Listen(NamenodeAddress(index), [this](rpc::ConnectionPtr connection) {
      peers_.push_back(rpc::RpcPeer::Create(std::move(connection), this));
    });
    listener_ = std::move(*listener);
  }

  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override {
    if (auto delay = cluster_.delay_next_ns.find(method); delay != cluster_.delay_next_ns.end()) {
      sim::SimNode& node = *cluster_.nn_nodes_[static_cast<size_t>(index_)];
      const int64_t ns = delay->second;
      cluster_.delay_next_ns.erase(delay);
      node.executor().RunAfter(
          ns, [this, method, request, context, answer = std::move(responder)]() mutable {
            HandleRequest(method, request, context, std::move(answer));
          });
      return;
    }
    if (cluster_.leader != index_) {
      Status status(Code::kNotLeader, "not the leader");
      if (cluster_.leader >= 0) {
        status = status.WithLeaderHint(NamenodeAddress(cluster_.leader).ToString());
      }
      responder->Fail(status);
      return;
    }
    Result<Buffer> reply = cluster_.Handle(method, request);
    const bool change = method >= 30 && method < 60;
    if (change &&
        (cluster_.drop_replies > 0 ||
         (cluster_.drop_reply_one_in > 0 && cluster_.random_.OneIn(cluster_.drop_reply_one_in)))) {
      if (cluster_.drop_replies > 0) --cluster_.drop_replies;
      responder->Fail(Status(Code::kOutcomeUnknown, "leadership was lost"));
      if (auto peer = context.connection.lock()) {
        sim::SimNode& node = *cluster_.nn_nodes_[static_cast<size_t>(index_)];
        node.executor().Post([peer] { peer->Close(); });
      }
      return;
    }
    if (reply) {
      responder->Send(std::move(*reply), 1);
    } else {
      responder->Fail(reply.error());
    }
  }
  void HandleDisconnect(rpc::RpcPeer&, const Status&) override {}

 private:
  FakeCluster& cluster_;
  const int index_;
  std::unique_ptr<rpc::Listener> listener_;
  std::vector<std::shared_ptr<rpc::RpcPeer>> peers_;
};

// ---- The cluster --------------------------------------------------------------------------------

FakeCluster::FakeCluster(uint64_t seed, int namenodes, int datanodes)
    : scheduler(seed), net(scheduler), random_(seed + 1) {
  for (int i = 0; i < namenodes; ++i) {
    sim::SimNode& node = scheduler.AddNode(NnName(i));
    rpc::PeerIdentity identity;
    identity.role = rpc::Role::kNamenode;
    identity.node_id = static_cast<uint64_t>(i) + 1;
    rpc::Network& network = net.Join(node, identity);
    nn_nodes_.push_back(&node);
    node.Run([&] { namenodes_.push_back(std::make_unique<NamenodeImpl>(*this, i, network)); });
  }
  for (int i = 0; i < datanodes; ++i) {
    const uint64_t id = static_cast<uint64_t>(i) + 1;
    sim::SimNode& node = scheduler.AddNode(DnName(id));
    rpc::PeerIdentity identity;
    identity.role = rpc::Role::kDatanode;
    identity.node_id = id;
    rpc::Network& network = net.Join(node, identity);
    dn_nodes_[id] = &node;
    node.Run([&] { datanodes_[id] = std::make_unique<DatanodeImpl>(*this, id, network); });
  }
  client_node_ = &scheduler.AddNode("client");
  client_net_ = &net.Join(*client_node_, rpc::PeerIdentity());
}

FakeCluster::~FakeCluster() {
  OnClient([&] {
    for (auto& client : clients_) client->Shutdown();
  });
  scheduler.RunFor(10 * kMillisecond);
  OnClient([&] {
    adopted_.clear();
    clients_.clear();
  });
  scheduler.Clear();
  namenodes_.clear();
  datanodes_.clear();
}

std::shared_ptr<ClientCore> FakeCluster::MakeClient(int64_t timeout_ns) {
  CoreOptions options;
  for (size_t i = 0; i < nn_nodes_.size(); ++i) {
    options.namenodes.push_back(NamenodeAddress(static_cast<int>(i)));
  }
  options.client_name = "test";
  options.timeout_ns = timeout_ns;
  std::shared_ptr<ClientCore> core;
  OnClient([&] { core = ClientCore::Create(*client_net_, Random(random_.Next()), options); });
  clients_.push_back(core);
  return core;
}

bool FakeCluster::RunUntil(const std::function<bool()>& done, int64_t limit_ns) {
  const int64_t end = scheduler.now_ns() + limit_ns;
  while (!done()) {
    if (scheduler.now_ns() > end || !scheduler.Step()) return done();
  }
  return true;
}

Status FakeCluster::WaitStatus(std::function<void(StatusDone)> start) {
  auto answer = std::make_shared<std::optional<Status>>();
  OnClient([&] { start([answer](Status s) { answer->emplace(std::move(s)); }); });
  if (!RunUntil([&] { return answer->has_value(); })) return Status(Code::kInternal, "no answer");
  return **answer;
}

void FakeCluster::DatanodeDown(uint64_t id) {
  down_.insert(id);
  dn_nodes_[id]->Crash();
  net.NodeDown(*dn_nodes_[id], false);
  for (auto& [other, node] : dn_nodes_) {
    if (down_.count(other) == 0)
      node->Run([&, other = other] { datanodes_[other]->MemberDown(id); });
  }
}

void FakeCluster::CutClientFrom(int namenode) {
  net.CutBoth(*client_node_, *nn_nodes_[static_cast<size_t>(namenode)]);
}

std::string FakeCluster::Content(uint64_t inode) {
  const FakeFile& file = files.at(inode);
  const uint64_t size = static_cast<uint64_t>(file.attr.size);
  std::string content(size, '\0');
  const uint64_t block_size = static_cast<uint64_t>(file.attr.block_size);
  for (const auto& [slot, block] : file.slots) {
    std::optional<std::string> first;
    for (uint64_t m : block.members) {
      if (!DatanodeUp(m)) continue;
      const std::string data = replicas[m][block.id].data.substr(0, block.length);
      if (data.size() < block.length) violations.push_back("a member lacks committed bytes");
      if (!first) first = data;
      if (*first != data) violations.push_back("members differ");
    }
    if (!first) continue;
    const uint64_t at = slot * block_size;
    for (size_t i = 0; i < first->size() && at + i < size; ++i) content[at + i] = (*first)[i];
  }
  if (file.has_inline) {
    content.replace(0, std::min<size_t>(size, file.inline_data.size()), file.inline_data, 0, size);
  }
  return content;
}

// ---- The state ----------------------------------------------------------------------------------

idl::ReplicaLocation FakeCluster::LocationOf(uint64_t id) const {
  idl::ReplicaLocation location;
  location.datanode = static_cast<int64_t>(id);
  location.tcp_address = DatanodeAddress(id).ToString();
  location.host_id = DnName(id);
  return location;
}

std::vector<uint64_t> FakeCluster::ChooseMembers(const std::vector<int64_t>& exclude) {
  std::vector<uint64_t> chosen;
  // A namenode does not know at once who is down, so it may choose one that is.
  for (size_t i = 0; i < dn_nodes_.size() && chosen.size() < replication; ++i) {
    const uint64_t id = (static_cast<uint64_t>(next_member) + i) % dn_nodes_.size() + 1;
    if (std::find(exclude.begin(), exclude.end(), static_cast<int64_t>(id)) == exclude.end()) {
      chosen.push_back(id);
    }
  }
  ++next_member;
  return chosen;
}

idl::WritableBlock FakeCluster::Writable(const FakeBlock& block, uint64_t slot,
                                         uint64_t old_stamp) const {
  idl::WritableBlock w;
  w.block = static_cast<int64_t>(block.id);
  w.old_stamp = static_cast<int64_t>(old_stamp);
  w.stamp = static_cast<int64_t>(block.stamp);
  w.slot = static_cast<int64_t>(slot);
  w.length = static_cast<int64_t>(block.length);
  for (uint64_t m : block.members) w.members.push_back(LocationOf(m));
  return w;
}

std::vector<idl::LocatedBlock> FakeCluster::Located(const FakeFile& file) {
  std::vector<idl::LocatedBlock> blocks;
  for (const auto& [slot, b] : file.slots) {
    idl::LocatedBlock l;
    l.block = static_cast<int64_t>(b.id);
    l.slot = static_cast<int64_t>(slot);
    l.offset = static_cast<int64_t>(slot) * file.attr.block_size;
    l.length = static_cast<int64_t>(b.length);
    l.stamp = static_cast<int64_t>(b.stamp);
    l.state = b.open ? 1 : 2;
    l.writer_session = static_cast<int64_t>(b.writer);
    for (uint64_t m : b.members) l.replicas.push_back(LocationOf(m));
    blocks.push_back(std::move(l));
  }
  return blocks;
}

std::optional<uint64_t> FakeCluster::Inode(const idl::Ref& ref) const {
  if (ref.inode != 0) return static_cast<uint64_t>(ref.inode);
  auto it = names.find(ref.path);
  if (it == names.end()) return std::nullopt;
  return it->second;
}

FakeBlock* FakeCluster::FindBlock(uint64_t id) {
  for (auto& [inode, file] : files) {
    for (auto& [slot, block] : file.slots) {
      if (block.id == id) return &block;
    }
  }
  return nullptr;
}

void FakeCluster::Touch(FakeFile& file, int64_t mtime_ns) {
  ++file.attr.data_version;
  file.attr.mtime_ns = mtime_ns != 0 ? mtime_ns : scheduler.now_ns();
}

}  // namespace dfs::client
