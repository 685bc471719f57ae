#include "common/wire/chain_stream.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/idl/codec.h"
#include "common/idl/methods.h"
#include "common/rpc/peer.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::wire {
namespace {

/// After a time-out the socket is looked at once more: whoever drives the loop may have been away, and
/// the acknowledgement may have been waiting all the time.
constexpr int64_t kLastChanceNs = 600 * kMillisecond;

idl::ReplicaLocation ToIdl(const Member& member) {
  idl::ReplicaLocation location;
  location.datanode = static_cast<int64_t>(member.datanode);
  location.tcp_address = member.tcp_address;
  location.unix_address = member.unix_address;
  location.host_id = member.host_id;
  location.rack = member.rack;
  return location;
}

}  // namespace

std::shared_ptr<ChainStream> ChainStream::Open(Executor& executor, std::shared_ptr<StreamPool> pool,
                                               ChainWriter& writer, ChainTarget target,
                                               std::function<void()> on_progress) {
  DFS_CHECK(!target.members.empty());
  std::vector<DatanodeId> ids;
  for (const Member& m : target.members) ids.emplace_back(m.datanode);
  writer.Start(std::move(ids), target.stamp, executor.clock().BootNs());
  std::shared_ptr<ChainStream> stream(new ChainStream(executor, std::move(pool), writer,
                                                      std::move(target), std::move(on_progress)));
  stream->Connect(false);
  return stream;
}

ChainStream::ChainStream(Executor& executor, std::shared_ptr<StreamPool> pool, ChainWriter& writer,
                         ChainTarget target, std::function<void()> on_progress)
    : executor_(executor),
      pool_(std::move(pool)),
      writer_(&writer),
      target_(std::move(target)),
      on_progress_(std::move(on_progress)) {}

ChainStream::~ChainStream() {
  Detach();
}

void ChainStream::Connect(bool fresh_only) {
  // Posted, so that nothing is called back from within the owner's call.
  executor_.Post([weak = weak_from_this(), fresh_only] {
    auto self = weak.lock();
    if (!self || self->writer_ == nullptr) return;
    self->pool_->Get(self->target_.members.front(), kConnectTimeoutNs,
                     fresh_only ? -1 : StreamPool::kMaxIdleNs,
                     [weak](Result<StreamConnectionPtr> connection) {
                       if (auto again = weak.lock()) again->OnConnected(std::move(connection));
                     });
  });
}

void ChainStream::OnConnected(Result<StreamConnectionPtr> connection) {
  if (writer_ == nullptr) return;
  if (!connection) {
    writer_->OnBroken(connection.error());
    Progress();
    return;
  }
  connection_ = std::move(*connection);
  connection_->SetUser(this);
  reused_ = !connection_->fresh();
  const int64_t idle_ns = executor_.clock().BootNs() - connection_->idle_since_ns;
  // A connection that the other side closed meanwhile must not be taken for a failed member, so on an old
  // one the member is heard first.
  may_send_ = !reused_ || idle_ns <= kTrustIdleNs;
  SendOpen();
  Pump();
}

void ChainStream::SendOpen() {
  idl::OpenWriteStreamRequest request;
  request.block = static_cast<int64_t>(target_.block);
  request.old_stamp = static_cast<int64_t>(target_.old_stamp);
  request.stamp = static_cast<int64_t>(target_.stamp);
  request.length = static_cast<int64_t>(target_.length);
  for (size_t i = 1; i < target_.members.size(); ++i) {
    request.rest_of_chain.push_back(ToIdl(target_.members[i]));
  }
  request.token = target_.token;
  request.session = static_cast<int64_t>(target_.session);
  request.is_copy = target_.is_copy;
  request.inode = static_cast<int64_t>(target_.inode);
  request.cut_stamp = static_cast<int64_t>(target_.cut_stamp);
  request.cut_length = static_cast<int64_t>(target_.cut_length);
  stream_ = connection_->NewStream();
  rpc::FrameHeader header;
  header.type = rpc::FrameType::kRequest;
  header.method = idl::kOpenWriteStream;
  header.request_id = stream_;
  connection_->connection().Send(header, idl::Encode(request));
  ArmTimer();
}

void ChainStream::Pump() {
  if (writer_ == nullptr || connection_ == nullptr || !may_send_ || pumping_) return;
  pumping_ = true;
  rpc::Connection& connection = connection_->connection();
  while (const ChainWriter::Packet* packet = writer_->Next()) {
    if (connection.queued_bytes() >= connection.send_window()) break;
    PacketHeader header;
    header.kind = PacketKind::kData;
    header.flags = packet->flags;
    header.seq = packet->seq;
    header.stamp = target_.stamp;
    header.offset = packet->offset;
    header.length = packet->length;
    rpc::FrameHeader frame;
    frame.type = rpc::FrameType::kPacket;
    frame.request_id = stream_;
    if (header.last()) last_sent_ = true;
    data_sent_ = true;
    writer_->OnSent(executor_.clock().BootNs());
    connection.Send(frame, BuildPacket(header, packet->sums, packet->data));
    if (connection_ == nullptr || connection_->closed()) break;
  }
  pumping_ = false;
  ArmTimer();
}

void ChainStream::OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) {
  if (writer_ == nullptr || header.request_id != stream_) return;
  reused_ = false;
  switch (header.type) {
    case rpc::FrameType::kReply:
      open_ = true;
      may_send_ = true;
      // The answer is a sign of life, as an acknowledgement of nothing is.
      writer_->OnAck(0, target_.stamp, Code::kOk, DatanodeId(), executor_.clock().BootNs());
      Pump();
      break;
    case rpc::FrameType::kError:
      writer_->OnRefused(rpc::DecodeError(payload.view()));
      Progress();
      break;
    case rpc::FrameType::kPacket:
      OnPacket(payload);
      break;
    default:
      break;
  }
}

void ChainStream::OnPacket(const Buffer& payload) {
  Result<Packet> packet = ParsePacket(payload);
  if (!packet) {
    writer_->OnBroken(packet.error());
    Progress();
    return;
  }
  const PacketHeader& header = packet->header;
  if (header.kind != PacketKind::kAck) return;
  last_chance_ = false;
  writer_->OnAck(header.seq, header.stamp, header.code, DatanodeId(header.detail),
                 executor_.clock().BootNs());
  Pump();
  Progress();
}

void ChainStream::OnStreamClosed(const Status& why) {
  executor_.Post([connection = std::exchange(connection_, nullptr)] {});
  if (writer_ == nullptr) return;
  if (reused_ && !data_sent_) {
    // The kept connection had died of age and carried nothing of this stream.
    reused_ = false;
    Connect(true);
    return;
  }
  if (writer_->idle() && !last_sent_) {
    // Nothing is under way, so nothing is lost and nobody is to blame: the owner opens another stream
    // when it has something to write.
    if (writer_->streaming()) writer_->Pause();
  } else {
    writer_->OnBroken(why);
  }
  Progress();
}

void ChainStream::ArmTimer() {
  if (timer_ != 0 || writer_ == nullptr) return;
  int64_t deadline = writer_->deadline_ns();
  const int64_t now = executor_.clock().BootNs();
  if (deadline == 0) {
    if (open_ || !writer_->streaming()) return;
    deadline = now + 5 * kSecond;  // the answer to the opening request
  }
  timer_ = executor_.RunAfter(std::max<int64_t>(deadline - now, 0), [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->OnTimer();
  });
}

void ChainStream::OnTimer() {
  timer_ = 0;
  if (writer_ == nullptr || writer_->fault() || !writer_->streaming()) return;
  const int64_t now = executor_.clock().BootNs();
  const int64_t deadline = writer_->deadline_ns();
  const bool no_answer = deadline == 0 && !open_ && connection_ != nullptr;
  if (!no_answer && (deadline == 0 || now < deadline)) {
    last_chance_ = false;
    ArmTimer();
    return;
  }
  if (!last_chance_) {
    last_chance_ = true;
    timer_ = executor_.RunAfter(kLastChanceNs, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->OnTimer();
    });
    return;
  }
  if (no_answer) {
    writer_->OnBroken(Status(Code::kTimedOut, "no answer to the opening of the stream"));
  } else {
    writer_->OnTick(now);
  }
  Progress();
}

void ChainStream::Progress() {
  if (on_progress_) {
    auto keep = shared_from_this();
    on_progress_();
  }
}

void ChainStream::Detach() {
  if (timer_ != 0) executor_.Cancel(timer_);
  timer_ = 0;
  on_progress_ = nullptr;
  ChainWriter* writer = std::exchange(writer_, nullptr);
  StreamConnectionPtr connection = std::exchange(connection_, nullptr);
  if (connection == nullptr) return;
  connection->SetUser(nullptr);
  if (last_sent_ && open_ && writer != nullptr && writer->idle() && !writer->fault()) {
    pool_->Release(std::move(connection));
  } else {
    connection->Close();
  }
  // This may run within one of the connection's own callbacks.
  executor_.Post([connection] {});
}

}  // namespace dfs::wire
