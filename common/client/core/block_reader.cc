#include "common/client/core/block_reader.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/client/core/calls.h"
#include "common/client/core/convert.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr int64_t kConnectTimeoutNs = 2 * kSecond;
constexpr int64_t kLastChanceNs = 600 * kMillisecond;
}  // namespace

BlockPlace PlaceFromIdl(const idl::LocatedBlock& located) {
  BlockPlace place;
  place.block = static_cast<uint64_t>(located.block);
  place.slot = static_cast<uint64_t>(located.slot);
  place.offset = static_cast<uint64_t>(located.offset);
  place.length = static_cast<uint64_t>(located.length);
  place.stamp = static_cast<uint64_t>(located.stamp);
  place.state = located.state;
  place.writer_session = static_cast<uint64_t>(located.writer_session);
  for (const idl::ReplicaLocation& replica : located.replicas) {
    place.replicas.push_back(FromIdl(replica));
  }
  place.token = located.token;
  place.lost = located.lost;
  return place;
}

std::shared_ptr<BlockReader> BlockReader::Start(std::shared_ptr<ClientCore> core, BlockPlace place,
                                                uint64_t offset, uint64_t length, Sink sink,
                                                StatusDone done) {
  std::shared_ptr<BlockReader> reader(new BlockReader(std::move(core), std::move(place), offset,
                                                      length, std::move(sink), std::move(done)));
  reader->core_->executor().Post([weak = reader->weak_from_this()] {
    auto self = weak.lock();
    if (self && !self->finished_) self->NextReplica();
  });
  return reader;
}

BlockReader::BlockReader(std::shared_ptr<ClientCore> core, BlockPlace place, uint64_t offset,
                         uint64_t length, Sink sink, StatusDone done)
    : core_(std::move(core)),
      place_(std::move(place)),
      position_(offset),
      end_(offset + length),
      sink_(std::move(sink)),
      done_(std::move(done)) {
  DFS_CHECK(length > 0);
  // Those that just failed somebody come last.
  std::stable_sort(place_.replicas.begin(), place_.replicas.end(),
                   [this](const wire::Member& a, const wire::Member& b) {
                     return core_->IsSlow(a.datanode) < core_->IsSlow(b.datanode);
                   });
}

BlockReader::~BlockReader() {
  finished_ = true;
  DropConnection(false);
}

void BlockReader::NextReplica() {
  if (next_replica_ >= place_.replicas.size()) {
    if (last_error_.ok()) last_error_ = Status(Code::kMissingBlock, "no live replica is known");
    Finish(last_error_);
    return;
  }
  replica_ = place_.replicas[next_replica_++];
  heard_ = false;
  last_chance_ = false;
  core_->pool()->Get(replica_, kConnectTimeoutNs, wire::StreamPool::kMaxIdleNs,
                     [weak = weak_from_this()](Result<wire::StreamConnectionPtr> connection) {
                       auto self = weak.lock();
                       if (self && !self->finished_) self->OnConnected(std::move(connection));
                     });
}

void BlockReader::OnConnected(Result<wire::StreamConnectionPtr> connection) {
  if (!connection) {
    TryAnother(connection.error(), true);
    return;
  }
  connection_ = std::move(*connection);
  connection_->SetUser(this);
  reused_ = !connection_->fresh();
  if (paused_) connection_->connection().PauseReading(true);
  SendOpen();
}

void BlockReader::SendOpen() {
  idl::OpenReadStreamRequest request;
  request.block = static_cast<int64_t>(place_.block);
  request.stamp = static_cast<int64_t>(place_.stamp);
  request.offset = static_cast<int64_t>(position_);
  request.length = static_cast<int64_t>(end_ - position_);
  request.token = place_.token;
  request.open_block = place_.state != 2;
  stream_ = connection_->NewStream();
  rpc::FrameHeader header;
  header.type = rpc::FrameType::kRequest;
  header.method = idl::kOpenReadStream;
  header.request_id = stream_;
  connection_->connection().Send(header, idl::Encode(request));
  last_sign_ns_ = core_->Now();
  ArmTimer();
}

void BlockReader::OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) {
  if (finished_ || header.request_id != stream_) return;
  auto keep = shared_from_this();
  heard_ = true;
  last_chance_ = false;
  last_sign_ns_ = core_->Now();
  switch (header.type) {
    case rpc::FrameType::kReply:
      break;
    case rpc::FrameType::kError: {
      const Status error = rpc::DecodeError(payload.view());
      DropConnection(true);
      if (error.Is(Code::kCorrupt)) ReportBad(error);
      TryAnother(error, false);
      break;
    }
    case rpc::FrameType::kPacket:
      OnPacket(payload);
      break;
    default:
      break;
  }
}

void BlockReader::OnPacket(const Buffer& payload) {
  Result<wire::Packet> packet = wire::ParsePacket(payload);
  if (!packet) {
    DropConnection(false);
    TryAnother(packet.error(), false);
    return;
  }
  const wire::PacketHeader& header = packet->header;
  if (header.kind == wire::PacketKind::kReadEnd) {
    OnEnd(header.code);
    return;
  }
  if (header.kind != wire::PacketKind::kReadData) return;
  const uint64_t packet_end = header.offset + packet->data.size();
  if (header.offset > position_ || packet_end <= position_ || position_ >= end_) {
    // A read of whole chunks may begin before what was asked for; anything else is out of order.
    if (position_ >= end_) return;
    DropConnection(false);
    TryAnother(Status(Code::kProtocol, "read data out of order"), false);
    return;
  }
  const std::vector<uint64_t> sums = packet->SumVector();
  if (Status status =
          wire::VerifyRangeSums(header.offset, packet->data.view(), sums.data(), sums.size());
      !status.ok()) {
    DropConnection(false);
    ReportBad(status);
    TryAnother(status, false);
    return;
  }
  const uint64_t take_end = std::min(packet_end, end_);
  Buffer piece = packet->data.Slice(position_ - header.offset, take_end - position_);
  position_ = take_end;
  sink_(std::move(piece));
}

void BlockReader::OnEnd(Code code) {
  if (position_ >= end_) {
    DropConnection(code == Code::kOk);
    Finish(Status());
    return;
  }
  DropConnection(code == Code::kOk);
  if (code == Code::kCorrupt) ReportBad(Status(code, "the datanode found the replica corrupt"));
  TryAnother(Status(code == Code::kOk ? Code::kIoError : code, "the replica ended early"), false);
}

void BlockReader::OnStreamClosed(const Status& why) {
  core_->executor().Post([connection = std::exchange(connection_, nullptr)] {});
  if (finished_) return;
  auto keep = shared_from_this();
  if (position_ >= end_) {
    Finish(Status());
    return;
  }
  if (reused_ && !heard_) --next_replica_;  // it died of age: the same one on a new connection
  TryAnother(why, heard_ || !reused_);
}

void BlockReader::TryAnother(const Status& why, bool slow) {
  if (finished_) return;
  if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  // What a replica says of itself (not here, another stamp) is not what the file is: ENOENT would be a lie.
  const bool io = why.retryable() || why.Is(Code::kIoError) || why.Is(Code::kCorrupt);
  last_error_ = (io ? why : Status(Code::kMissingBlock, why.message()))
                    .WithContext("replica at " + replica_.tcp_address);
  if (slow) core_->MarkSlow(replica_.datanode);
  NextReplica();
}

void BlockReader::ReportBad(const Status& why) {
  idl::ReportBadReplicaRequest request;
  request.block = static_cast<int64_t>(place_.block);
  request.stamp = static_cast<int64_t>(place_.stamp);
  request.datanode = static_cast<int64_t>(replica_.datanode);
  request.why = why.message();
  Read<idl::kReportBadReplica>(*core_, request, core_->Deadline(), [](Result<idl::Empty>) {});
}

void BlockReader::ArmTimer() {
  if (timer_ != 0 || finished_ || paused_ || connection_ == nullptr) return;
  const int64_t wait = last_sign_ns_ + core_->options().read_patience_ns - core_->Now();
  timer_ = core_->executor().RunAfter(std::max<int64_t>(wait, 0), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->OnTimer();
  });
}

void BlockReader::OnTimer() {
  timer_ = 0;
  if (finished_ || paused_ || connection_ == nullptr) return;
  if (core_->Now() - last_sign_ns_ < core_->options().read_patience_ns) {
    ArmTimer();
    return;
  }
  if (!last_chance_) {
    // The loop may have stood still; look at the socket once more.
    last_chance_ = true;
    timer_ = core_->executor().RunAfter(kLastChanceNs, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->OnTimer();
    });
    return;
  }
  DropConnection(false);
  TryAnother(Status(Code::kTimedOut, "the datanode is silent"), true);
}

void BlockReader::Pause(bool paused) {
  if (paused_ == paused || finished_) return;
  paused_ = paused;
  if (connection_ != nullptr) connection_->connection().PauseReading(paused);
  last_sign_ns_ = core_->Now();
  if (paused) {
    if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  } else {
    ArmTimer();
  }
}

void BlockReader::DropConnection(bool reusable) {
  wire::StreamConnectionPtr connection = std::exchange(connection_, nullptr);
  if (connection == nullptr) return;
  connection->SetUser(nullptr);
  if (reusable) {
    core_->pool()->Release(connection);
  } else {
    connection->Close();
  }
  core_->executor().Post([connection] {});  // this may run within its own callback
}

void BlockReader::Cancel() {
  finished_ = true;
  sink_ = nullptr;
  done_ = nullptr;
  if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  DropConnection(false);
}

void BlockReader::Finish(Status status) {
  if (finished_) return;
  finished_ = true;
  if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  DropConnection(false);
  StatusDone done = std::move(done_);
  done_ = nullptr;
  if (done) done(std::move(status));
}

}  // namespace dfs::client
