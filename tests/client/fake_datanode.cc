#include "tests/client/fake_datanode.h"

#include <algorithm>

#include "common/idl/codec.h"
#include "common/rpc/idl_call.h"
#include "common/wire/packet.h"

namespace dfs::client {

struct FakeCluster::DatanodeImpl::Stream : rpc::Connection::Handler {
  Stream(DatanodeImpl& o, rpc::ConnectionPtr c) : owner(o), connection(std::move(c)) {
    connection->Start(this);
  }
  void OnFrame(const rpc::FrameHeader& header, Buffer payload) override;
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

  void OpenWrite(const Buffer& payload);
  void Ack(uint64_t seq, Code code, uint64_t detail);
  void OnPacket(const Buffer& payload);
  void OpenRead(const Buffer& payload);

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

FakeCluster::DatanodeImpl::DatanodeImpl(FakeCluster& cluster, uint64_t id, rpc::Network& network)
    : cluster_(cluster), id_(id) {
  auto listener = network.ListenForStreams(
      DatanodeAddress(id), [this](rpc::ConnectionPtr connection, rpc::Network&) {
        streams_.push_back(std::make_unique<Stream>(*this, std::move(connection)));
      });
  listener_ = std::move(*listener);
}

FakeCluster::DatanodeImpl::~DatanodeImpl() = default;

void FakeCluster::DatanodeImpl::MemberDown(uint64_t id) {
  for (auto& stream : streams_) {
    const auto& members = stream->members;
    if (stream->failed || stream->closed || id == id_ || !stream->writing) continue;
    if (std::find(members.begin(), members.end(), id) == members.end()) continue;
    stream->failed = true;
    stream->Ack(stream->next_seq - 1, Code::kUnavailable, id);
  }
}

void FakeCluster::DatanodeImpl::Stream::OnFrame(const rpc::FrameHeader& header, Buffer payload) {
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

void FakeCluster::DatanodeImpl::Stream::OpenWrite(const Buffer& payload) {
  failed = false;
  writing = true;
  if (Status s = idl::Decode(payload.view(), &request); !s.ok()) return Refuse(s);
  FakeCluster& cluster = owner.cluster_;
  members = {owner.id_};
  for (const auto& m : request.rest_of_chain) members.push_back(static_cast<uint64_t>(m.datanode));
  // The invariant a client must keep: stamp and members are committed before the first byte.
  FakeBlock* block = cluster.FindBlock(static_cast<uint64_t>(request.block));
  if (block == nullptr) return Refuse(Status(Code::kNotFound, "no such block"));
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

void FakeCluster::DatanodeImpl::Stream::Ack(uint64_t seq, Code code, uint64_t detail) {
  wire::PacketHeader header;
  header.kind = wire::PacketKind::kAck;
  header.seq = seq;
  header.stamp = static_cast<uint64_t>(request.stamp);
  header.code = code;
  header.detail = detail;
  SendPacket(header, {}, Buffer());
}

void FakeCluster::DatanodeImpl::Stream::OnPacket(const Buffer& payload) {
  FakeCluster& cluster = owner.cluster_;
  Result<wire::Packet> packet = wire::ParsePacket(payload);
  if (!packet) {
    cluster.violations.push_back("malformed packet: " + packet.error().message());
    return;
  }
  const wire::PacketHeader& h = packet->header;
  if (h.kind != wire::PacketKind::kData) return;
  if (h.seq != next_seq++) cluster.violations.push_back("packets out of order");
  if (h.stamp != static_cast<uint64_t>(request.stamp)) cluster.violations.push_back("wrong stamp");
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

void FakeCluster::DatanodeImpl::Stream::OpenRead(const Buffer& payload) {
  FakeCluster& cluster = owner.cluster_;
  idl::OpenReadStreamRequest read;
  failed = true;  // no data packets are expected
  if (Status s = idl::Decode(payload.view(), &read); !s.ok()) return Refuse(s);
  auto it = cluster.replicas[owner.id_].find(static_cast<uint64_t>(read.block));
  if (it == cluster.replicas[owner.id_].end()) return Refuse(Status(Code::kNotFound, "no replica"));
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

}  // namespace dfs::client
