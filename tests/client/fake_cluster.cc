#include "tests/client/fake_cluster.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/idl/codec.h"
#include "common/rpc/idl_call.h"
#include "common/wire/packet.h"

namespace dfs::client {
namespace {
constexpr uint64_t kDefaultBlockSize = 1u << 20;

std::string NnName(int i) {
  return fmt::format("nn{}", i);
}
std::string DnName(uint64_t id) {
  return fmt::format("dn{}", id);
}

rpc::Address At(const std::string& host, uint16_t port) {
  rpc::Address address;
  address.host = host;
  address.port = port;
  return address;
}
}  // namespace

// ---- Namenodes ----------------------------------------------------------------------------------

class FakeCluster::NamenodeImpl : public rpc::RequestHandler {
 public:
  NamenodeImpl(FakeCluster& cluster, int index, rpc::Network& network)
      : cluster_(cluster), index_(index) {
    auto listener = network.Listen(At(NnName(index), 9700), [this](rpc::ConnectionPtr connection) {
      peers_.push_back(rpc::RpcPeer::Create(std::move(connection), this));
    });
    listener_ = std::move(*listener);
  }

  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override {
    if (cluster_.leader != index_) {
      Status status(Code::kNotLeader, "not the leader");
      if (cluster_.leader >= 0) {
        status = status.WithLeaderHint(At(NnName(cluster_.leader), 9700).ToString());
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

// ---- Datanodes ----------------------------------------------------------------------------------

class FakeCluster::DatanodeImpl {
 public:
  DatanodeImpl(FakeCluster& cluster, uint64_t id, rpc::Network& network)
      : cluster_(cluster), id_(id) {
    auto listener = network.ListenForStreams(
        At(DnName(id), 9866), [this](rpc::ConnectionPtr connection, rpc::Network&) {
          streams_.push_back(std::make_unique<Stream>(*this, std::move(connection)));
        });
    listener_ = std::move(*listener);
  }

  /// Streams that go on to that member break, as the chain's members find out.
  void MemberDown(uint64_t id) {
    for (auto& stream : streams_) {
      const auto& members = stream->members;
      if (stream->failed || stream->closed || id == id_ || !stream->writing) continue;
      if (std::find(members.begin(), members.end(), id) == members.end()) continue;
      stream->failed = true;
      stream->Ack(stream->next_seq - 1, Code::kUnavailable, id);
    }
  }

 private:
  struct Stream : rpc::Connection::Handler {
    Stream(DatanodeImpl& o, rpc::ConnectionPtr c) : owner(o), connection(std::move(c)) {
      connection->Start(this);
    }
    void OnFrame(const rpc::FrameHeader& header, Buffer payload) override {
      FakeCluster& cluster = owner.cluster_;
      if (cluster.silent.count(owner.id_)) return;
      if (header.type == rpc::FrameType::kRequest && header.method == idl::kOpenWriteStream) {
        stream = header.request_id;
        OpenWrite(payload);
      } else if (header.type == rpc::FrameType::kRequest && header.method == idl::kOpenReadStream) {
        stream = header.request_id;
        OpenRead(payload);
      } else if (header.type == rpc::FrameType::kPacket && header.request_id == stream && !failed) {
        OnPacket(payload);
      }
    }
    void OnClosed(const Status&) override { closed = true; }

    void Reply(Buffer payload) {
      rpc::FrameHeader header;
      header.type = rpc::FrameType::kReply;
      header.request_id = stream;
      connection->Send(header, std::move(payload));
    }
    void Refuse(const Status& status) {
      failed = true;
      rpc::FrameHeader header;
      header.type = rpc::FrameType::kError;
      header.request_id = stream;
      connection->Send(header, rpc::EncodeError(status));
    }
    void SendPacket(wire::PacketHeader header, const std::vector<uint64_t>& sums, Buffer data) {
      rpc::FrameHeader frame;
      frame.type = rpc::FrameType::kPacket;
      frame.request_id = stream;
      connection->Send(frame, wire::BuildPacket(header, sums, std::move(data)));
    }

    void OpenWrite(const Buffer& payload) {
      failed = false;
      writing = true;
      if (Status s = idl::Decode(payload.view(), &request); !s.ok()) return Refuse(s);
      FakeCluster& cluster = owner.cluster_;
      members = {owner.id_};
      for (const auto& m : request.rest_of_chain)
        members.push_back(static_cast<uint64_t>(m.datanode));
      // The invariant a client must keep: stamp and members are committed before the first byte.
      FakeFile* file = nullptr;
      FakeBlock* block = nullptr;
      for (auto& [inode, f] : cluster.files) {
        for (auto& [slot, b] : f.slots) {
          if (b.id == static_cast<uint64_t>(request.block)) {
            file = &f;
            block = &b;
          }
        }
      }
      if (block == nullptr || file == nullptr)
        return Refuse(Status(Code::kNotFound, "no such block"));
      const uint64_t stamp = static_cast<uint64_t>(request.stamp);
      if (stamp > block->stamp)
        cluster.violations.push_back("a stream under a stamp that is not committed");
      if (stamp == block->stamp) {
        for (uint64_t m : members) {
          if (std::find(block->members.begin(), block->members.end(), m) == block->members.end()) {
            cluster.violations.push_back("a stream to a member that is not committed");
          }
        }
        if (members.size() != block->members.size()) {
          cluster.violations.push_back("a chain without a committed member");
        }
      }
      for (uint64_t m : members) {
        if (!cluster.DatanodeUp(m)) {
          Ack(0, Code::kUnavailable, m);
          failed = true;
          return;
        }
        FakeReplica& r = cluster.replicas[m][block->id];
        const bool stale = r.stamp < static_cast<uint64_t>(request.old_stamp);
        if (r.stamp > stamp || stale) {
          if (stale) cluster.violations.push_back("a member asked for a stamp it was never told");
          return Refuse(Status(Code::kStaleStamp, "another stamp is here"));
        }
        if (r.data.size() < static_cast<uint64_t>(request.length)) {
          cluster.violations.push_back("a member has less than the writer believes");
        }
        r.stamp = stamp;
        r.finalized = false;
      }
      next_seq = 1;
      Reply(idl::Encode(idl::OpenWriteStreamReply()));
    }

    void Ack(uint64_t seq, Code code, uint64_t detail) {
      wire::PacketHeader header;
      header.kind = wire::PacketKind::kAck;
      header.seq = seq;
      header.stamp = static_cast<uint64_t>(request.stamp);
      header.code = code;
      header.detail = detail;
      SendPacket(header, {}, Buffer());
    }

    void OnPacket(const Buffer& payload) {
      FakeCluster& cluster = owner.cluster_;
      Result<wire::Packet> packet = wire::ParsePacket(payload);
      if (!packet) {
        cluster.violations.push_back("malformed packet: " + packet.error().message());
        return;
      }
      const wire::PacketHeader& h = packet->header;
      if (h.kind != wire::PacketKind::kData) return;
      if (h.seq != next_seq++) cluster.violations.push_back("packets out of order");
      if (h.stamp != static_cast<uint64_t>(request.stamp))
        cluster.violations.push_back("wrong stamp");
      const std::vector<uint64_t> sums = packet->SumVector();
      if (!wire::VerifyRangeSums(h.offset, packet->data.view(), sums.data(), sums.size()).ok()) {
        cluster.violations.push_back("wrong sums");
      }
      const uint64_t block = static_cast<uint64_t>(request.block);
      for (uint64_t m : members) {
        if (!cluster.DatanodeUp(m)) {
          failed = true;
          Ack(h.seq, Code::kUnavailable, m);
          return;
        }
        FakeReplica& r = cluster.replicas[m][block];
        if (r.stamp != h.stamp) {
          failed = true;
          Ack(h.seq, Code::kStaleStamp, m);
          return;
        }
        const uint64_t end = h.offset + packet->data.size();
        if (h.offset > r.data.size()) cluster.violations.push_back("a gap");
        if (end > r.data.size()) r.data.resize(end);
        r.data.replace(h.offset, packet->data.size(), packet->data.view());
        if (h.sync()) r.synced = r.data;
        if (h.last()) r.finalized = true;
      }
      if (h.last()) writing = false;
      Ack(h.seq, Code::kOk, 0);
    }

    void OpenRead(const Buffer& payload) {
      FakeCluster& cluster = owner.cluster_;
      idl::OpenReadStreamRequest read;
      failed = true;  // no data packets are expected
      if (Status s = idl::Decode(payload.view(), &read); !s.ok()) return Refuse(s);
      auto it = cluster.replicas[owner.id_].find(static_cast<uint64_t>(read.block));
      if (it == cluster.replicas[owner.id_].end())
        return Refuse(Status(Code::kNotFound, "no replica"));
      // Of an open block membership decides, not the stamp.
      const bool open = read.open_block && !it->second.finalized;
      if (it->second.stamp != static_cast<uint64_t>(read.stamp) && !open) {
        return Refuse(Status(Code::kStaleStamp, "another stamp"));
      }
      const std::string& data = it->second.data;
      Reply(idl::Encode(idl::OpenReadStreamReply()));
      uint64_t at = static_cast<uint64_t>(read.offset) / kChunkSize * kChunkSize;
      const uint64_t end = std::min<uint64_t>(
          data.size(), (static_cast<uint64_t>(read.offset + read.length) + kChunkSize - 1) /
                           kChunkSize * kChunkSize);
      wire::PacketHeader header;
      header.stamp = it->second.stamp;
      while (at < end) {
        const size_t n = std::min<uint64_t>(end - at, 64u << 10);
        std::string piece = data.substr(at, n);
        const std::vector<uint64_t> sums = wire::RangeSums(at, piece);
        if (cluster.corrupt.count(owner.id_)) piece[n / 2] ^= 1;
        header.kind = wire::PacketKind::kReadData;
        header.offset = at;
        ++header.seq;
        SendPacket(header, sums, Buffer(std::move(piece)));
        at += n;
      }
      header.kind = wire::PacketKind::kReadEnd;
      header.data_length = 0;
      SendPacket(header, {}, Buffer());
    }

    DatanodeImpl& owner;
    rpc::ConnectionPtr connection;
    uint64_t stream = 0;
    idl::OpenWriteStreamRequest request;
    std::vector<uint64_t> members;
    uint64_t next_seq = 1;
    bool writing = false;
    bool failed = false;
    bool closed = false;
  };

  FakeCluster& cluster_;
  const uint64_t id_;
  std::unique_ptr<rpc::Listener> listener_;
  std::vector<std::unique_ptr<Stream>> streams_;
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
    options.namenodes.push_back(At(NnName(static_cast<int>(i)), 9700));
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
  location.tcp_address = At(DnName(id), 9866).ToString();
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

void FakeCluster::Touch(FakeFile& file) {
  ++file.attr.data_version;
}

template <rpc::Method kMethod, class Apply>
Result<Buffer> FakeCluster::Change(const Buffer& payload, Apply apply) {
  rpc::RequestOf<kMethod> request;
  DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &request));
  if (forget_sessions || request.op.session <= 0 ||
      unknown_sessions.count(static_cast<uint64_t>(request.op.session)) ||
      static_cast<uint64_t>(request.op.session) >= next_session_) {
    return Status(Code::kUnknownSession, "unknown session");
  }
  const auto key = std::make_pair(request.op.session, request.op.sequence);
  if (auto it = replies_.find(key); it != replies_.end()) return it->second;
  if (request.op.sequence < request.op.first_outstanding)
    violations.push_back("bad first_outstanding");
  ++applied[kMethod];
  Result<rpc::ReplyOf<kMethod>> reply = apply(request);
  Result<Buffer> encoded =
      reply ? Result<Buffer>(idl::Encode(*reply)) : Result<Buffer>(reply.error());
  replies_.emplace(key, encoded);
  return encoded;
}

Result<Buffer> FakeCluster::Handle(rpc::Method method, const Buffer& request) {
  switch (method) {
    case idl::kOpenSession: {
      idl::OpenSessionReply reply;
      forget_sessions = false;
      reply.session = static_cast<int64_t>(next_session_++);
      reply.incarnation = 1;
      reply.expiry_ms = 30000;
      return idl::Encode(reply);
    }
    case idl::kKeepAlive: {
      idl::KeepAliveRequest keep;
      DFS_RETURN_IF_ERROR(idl::Decode(request.view(), &keep));
      if (forget_sessions || unknown_sessions.count(static_cast<uint64_t>(keep.session))) {
        return Status(Code::kUnknownSession, "unknown session");
      }
      idl::KeepAliveReply reply;
      reply.expiry_ms = 30000;
      return idl::Encode(reply);
    }
    case idl::kStatFs: {
      idl::StatFsReply reply;
      reply.inline_limit = static_cast<int32_t>(inline_limit);
      return idl::Encode(reply);
    }
    case idl::kCreate:
      return Create(request);
    case idl::kOpenBlock:
      return OpenBlock(request);
    case idl::kExcludeMembers:
      return Exclude(request);
    case idl::kCloseBlock:
      return CloseBlock(request);
    default:
      return Rest(method, request);
  }
}

Result<Buffer> FakeCluster::Create(const Buffer& payload) {
  return Change<idl::kCreate>(
      payload, [&](const idl::CreateRequest& r) -> Result<idl::CreateReply> {
        idl::CreateReply reply;
        auto it = names.find(r.ref.path);
        if (it != names.end()) {
          if (r.exclusive) return Status(Code::kAlreadyExists, "exists");
          FakeFile& file = files[it->second];
          if (r.overwrite) {
            file.slots.clear();
            file.has_inline = r.has_inline_data;
            file.inline_data = r.inline_data;
            file.attr.size = static_cast<int64_t>(r.inline_data.size());
            Touch(file);
          }
          reply.attr = file.attr;
          reply.inline_data = file.inline_data;
          return reply;
        }
        const uint64_t inode = next_inode_++;
        names[r.ref.path] = inode;
        FakeFile& file = files[inode];
        file.attr.inode = static_cast<int64_t>(inode);
        file.attr.type = idl::FileType::REGULAR;
        file.attr.block_size =
            r.block_size > 0 ? r.block_size : static_cast<int64_t>(kDefaultBlockSize);
        file.has_inline = r.has_inline_data;
        file.inline_data = r.inline_data;
        file.attr.size = static_cast<int64_t>(r.inline_data.size());
        reply.attr = file.attr;
        reply.created = true;
        return reply;
      });
}

Result<Buffer> FakeCluster::OpenBlock(const Buffer& payload) {
  return Change<idl::kOpenBlock>(
      payload, [&](const idl::OpenBlockRequest& r) -> Result<idl::OpenBlockReply> {
        FakeFile& file = files[static_cast<uint64_t>(r.inode)];
        const uint64_t session = static_cast<uint64_t>(r.op.session);
        FakeBlock& b = file.slots[static_cast<uint64_t>(r.slot)];
        if (b.stamp != static_cast<uint64_t>(r.expected_stamp)) {
          return Status(Code::kStaleStamp, "the block has another stamp");
        }
        if (b.open && b.writer != session) return Status(Code::kBusy, "another session writes");
        const uint64_t old = b.stamp;
        if (b.id == 0) {
          b.id = next_block_++;
          b.members = ChooseMembers(r.exclude);
          if (b.members.empty()) return Status(Code::kUnavailable, "no datanode");
        } else {
          std::erase_if(b.members, [&](uint64_t m) { return !DatanodeUp(m); });
        }
        b.stamp = next_stamp++;
        b.open = true;
        b.writer = session;
        idl::OpenBlockReply reply;
        reply.block = Writable(b, static_cast<uint64_t>(r.slot), old);
        return reply;
      });
}

Result<Buffer> FakeCluster::Exclude(const Buffer& payload) {
  return Change<idl::kExcludeMembers>(
      payload, [&](const idl::ExcludeMembersRequest& r) -> Result<idl::OpenBlockReply> {
        FakeBlock& b = files[static_cast<uint64_t>(r.inode)].slots[static_cast<uint64_t>(r.slot)];
        if (b.stamp != static_cast<uint64_t>(r.stamp) || !b.open ||
            b.writer != static_cast<uint64_t>(r.op.session)) {
          return Status(Code::kStaleStamp, "not the writer's stamp");
        }
        std::vector<uint64_t> survivors;
        for (int64_t m : r.survivors) {
          const uint64_t id = static_cast<uint64_t>(m);
          if (std::find(b.members.begin(), b.members.end(), id) == b.members.end()) {
            return Status(Code::kInvalidArgument, "not a member");
          }
          survivors.push_back(id);
        }
        if (survivors.empty()) return Status(Code::kInvalidArgument, "no survivor");
        b.members = survivors;
        const uint64_t old = b.stamp;
        b.stamp = next_stamp++;
        idl::OpenBlockReply reply;
        reply.block = Writable(b, static_cast<uint64_t>(r.slot), old);
        return reply;
      });
}

Result<Buffer> FakeCluster::CloseBlock(const Buffer& payload) {
  return Change<idl::kCloseBlock>(
      payload, [&](const idl::CloseBlockRequest& r) -> Result<idl::AttrReply> {
        const uint64_t inode = static_cast<uint64_t>(r.inode);
        FakeFile& file = files[inode];
        FakeBlock& b = file.slots[static_cast<uint64_t>(r.slot)];
        if (b.stamp != static_cast<uint64_t>(r.stamp) || !b.open) {
          return Status(Code::kStaleStamp, "not the block's stamp");
        }
        const uint64_t length = static_cast<uint64_t>(r.length);
        for (int64_t m : r.members) {
          const FakeReplica& replica = replicas[static_cast<uint64_t>(m)][b.id];
          if (replica.stamp != b.stamp || replica.data.size() < length || !replica.finalized) {
            violations.push_back("a member named in a close did not confirm it");
          }
          if (r.drop_inline && replica.synced.substr(0, length) != replica.data.substr(0, length)) {
            violations.push_back("inline bytes dropped before the block is synced");
          }
        }
        if (r.file_size > file.attr.size) {
          // The file grows in order: everything below must be there.
          const uint64_t bs = static_cast<uint64_t>(file.attr.block_size);
          for (uint64_t s = 0; s < static_cast<uint64_t>(r.slot); ++s) {
            auto it = file.slots.find(s);
            if (it != file.slots.end() && it->second.open && it->second.length == 0 &&
                static_cast<uint64_t>(file.attr.size) <= s * bs) {
              violations.push_back("a later block was committed before an earlier one");
            }
          }
        }
        b.open = false;
        b.writer = 0;
        b.length = length;
        b.members.clear();
        for (int64_t m : r.members) b.members.push_back(static_cast<uint64_t>(m));
        file.attr.size = std::max(file.attr.size, r.file_size);
        if (r.drop_inline) {
          file.has_inline = false;
          file.inline_data.clear();
        }
        Touch(file);
        if (!r.rename_to.empty()) {
          if (names.count(r.rename_to) && !r.rename_replace) {
            return Status(Code::kAlreadyExists, "exists");
          }
          for (auto it = names.begin(); it != names.end(); ++it) {
            if (it->second == inode) {
              names.erase(it);
              break;
            }
          }
          names[r.rename_to] = inode;
        }
        idl::AttrReply reply;
        reply.attr = file.attr;
        return reply;
      });
}

Result<Buffer> FakeCluster::Rest(rpc::Method method, const Buffer& payload) {
  switch (method) {
    case idl::kMkdir:
      return Change<idl::kMkdir>(payload,
                                 [&](const idl::MkdirRequest& r) -> Result<idl::AttrReply> {
                                   if (names.count(r.ref.path))
                                     return Status(Code::kAlreadyExists, "exists");
                                   names[r.ref.path] = next_inode_;
                                   idl::AttrReply reply;
                                   reply.attr.inode = static_cast<int64_t>(next_inode_++);
                                   return reply;
                                 });
    case idl::kUnlink:
      return Change<idl::kUnlink>(payload, [&](const idl::UnlinkRequest& r) -> Result<idl::Empty> {
        if (names.erase(r.ref.path) == 0) return Status(Code::kNotFound, "not found");
        return idl::Empty();
      });
    case idl::kStat: {
      idl::StatRequest r;
      DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
      const auto inode = Inode(r.ref);
      if (!inode) return Status(Code::kNotFound, "not found");
      idl::StatReply reply;
      reply.attr = files[*inode].attr;
      return idl::Encode(reply);
    }
    case idl::kOpenFile: {
      idl::OpenFileRequest r;
      DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
      const auto inode = Inode(r.ref);
      if (!inode) return Status(Code::kNotFound, "not found");
      const FakeFile& file = files[*inode];
      idl::OpenFileReply reply;
      reply.attr = file.attr;
      reply.has_inline_data = file.has_inline;
      reply.inline_data = file.inline_data;
      reply.blocks = Located(file);
      if (reply.blocks.size() > 16) reply.blocks.resize(16);
      return idl::Encode(reply);
    }
    case idl::kGetBlocks: {
      idl::GetBlocksRequest r;
      DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
      const FakeFile& file = files[static_cast<uint64_t>(r.inode)];
      idl::GetBlocksReply reply;
      reply.attr = file.attr;
      reply.has_inline_data = file.has_inline;
      reply.inline_data = file.inline_data;
      for (idl::LocatedBlock& b : Located(file)) {
        if (b.offset + file.attr.block_size > r.offset && b.offset < r.offset + r.length) {
          reply.blocks.push_back(b);
        }
      }
      return idl::Encode(reply);
    }
    case idl::kCommitLength:
      return Change<idl::kCommitLength>(
          payload, [&](const idl::CommitLengthRequest& r) -> Result<idl::AttrReply> {
            FakeFile& file = files[static_cast<uint64_t>(r.inode)];
            FakeBlock& b = file.slots[static_cast<uint64_t>(r.slot)];
            if (b.stamp != static_cast<uint64_t>(r.stamp) || !b.open) {
              return Status(Code::kStaleStamp, "not the block's stamp");
            }
            for (uint64_t m : b.members) {
              if (replicas[m][b.id].data.size() < static_cast<uint64_t>(r.length)) {
                violations.push_back("a length was committed that a member does not have");
              }
            }
            b.length = std::max(b.length, static_cast<uint64_t>(r.length));
            file.attr.size = std::max(file.attr.size, r.file_size);
            Touch(file);
            idl::AttrReply reply;
            reply.attr = file.attr;
            return reply;
          });
    case idl::kWriteInline:
      return Change<idl::kWriteInline>(
          payload, [&](const idl::WriteInlineRequest& r) -> Result<idl::AttrReply> {
            FakeFile& file = files[static_cast<uint64_t>(r.inode)];
            if (!file.slots.empty()) return Status(Code::kInvalidArgument, "the file has blocks");
            if (r.data.size() > inline_limit) return Status(Code::kFileTooBig, "too long");
            file.has_inline = true;
            file.inline_data = r.data;
            file.attr.size = static_cast<int64_t>(r.data.size());
            Touch(file);
            idl::AttrReply reply;
            reply.attr = file.attr;
            return reply;
          });
    case idl::kSetAttr:
      return Change<idl::kSetAttr>(
          payload, [&](const idl::SetAttrRequest& r) -> Result<idl::AttrReply> {
            FakeFile& file = files[static_cast<uint64_t>(r.ref.inode)];
            const uint64_t bs = static_cast<uint64_t>(file.attr.block_size);
            const uint64_t size = static_cast<uint64_t>(r.size);
            for (auto it = file.slots.begin(); it != file.slots.end();) {
              const uint64_t start = it->first * bs;
              if (it->second.open) return Status(Code::kBusy, "a block is open");
              if (start >= size) {
                it = file.slots.erase(it);
                continue;
              }
              it->second.length = std::min(it->second.length, size - start);
              ++it;
            }
            if (file.has_inline && file.inline_data.size() > size) file.inline_data.resize(size);
            file.attr.size = r.size;
            Touch(file);
            idl::AttrReply reply;
            reply.attr = file.attr;
            return reply;
          });
    case idl::kReportBadReplica: {
      idl::ReportBadReplicaRequest r;
      DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
      bad_reports.emplace_back(static_cast<uint64_t>(r.block), static_cast<uint64_t>(r.datanode));
      return idl::Encode(idl::Empty());
    }
    case idl::kCloseFile:
    case idl::kCloseSession:
      return idl::Encode(idl::Empty());
    case idl::kClusterStatus: {
      idl::ClusterStatusReply reply;
      reply.leader = true;
      reply.node_id = leader + 1;
      return idl::Encode(reply);
    }
    default:
      return Status(Code::kNotSupported, fmt::format("method {}", method));
  }
}

}  // namespace dfs::client
