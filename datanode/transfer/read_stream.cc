#include "datanode/transfer/read_stream.h"

#include <algorithm>
#include <utility>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "common/idl/codec.h"
#include "dfs_types.h"

namespace dfs::dn {

ReadStream::ReadStream(StreamContext& context, StreamIo& io, uint64_t stream)
    : context_(context), io_(&io), stream_(stream) {
  context_.active_streams++;
}

ReadStream::~ReadStream() {
  MarkDone();
}

void ReadStream::MarkDone() {
  if (std::exchange(done_, true)) return;
  pin_.reset();
  context_.active_streams--;
}

void ReadStream::Open(const idl::OpenReadStreamRequest& request) {
  Status admitted = Admit(request);
  const auto offset = static_cast<uint64_t>(request.offset);
  if (admitted.ok() && offset > limit_) {
    admitted = Status(Code::kInvalidArgument,
                      fmt::format("offset {} is beyond {}, the end", offset, limit_));
  }
  if (admitted.ok()) {
    auto pin = replica_->Pin();
    if (pin.ok()) {
      pin_ = std::move(*pin);
    } else {
      admitted = pin.error();
      context_.store.ReportUnreadable(replica_, admitted);
    }
  }
  if (!admitted) {
    MarkDone();
    io_->ReplyError(stream_, admitted);
    return;
  }
  const uint64_t wanted =
      request.length == 0 ? limit_ - offset : static_cast<uint64_t>(request.length);
  const uint64_t length = std::min(wanted, limit_ - offset);
  next_ = offset / kChunkSize * kChunkSize;
  end_ = std::min(limit_, (offset + length + kChunkSize - 1) / kChunkSize * kChunkSize);
  if (length == 0) end_ = next_;
  sums_only_ = request.sums_only;
  open_block_ = request.open_block;
  idl::OpenReadStreamReply reply;
  reply.length = static_cast<int64_t>(length);
  reply.replica_length = static_cast<int64_t>(limit_);
  reply.stamp = static_cast<int64_t>(info_.stamp.value);
  io_->ReplyWithFile(stream_, idl::Encode(reply), FileToPass(request));
  SendSome();
}

/// Only of a closed block at its stamp: the bytes of an open one may be read as far as all members have them, and
/// under the leader's lease. What the reader makes of the file is verified against the sums that follow.
std::shared_ptr<File> ReadStream::FileToPass(const idl::OpenReadStreamRequest& request) {
  if (!request.pass_file || !request.sums_only || !io_->passes_files()) return nullptr;
  if (info_.state != ReplicaState::kFinalized || request.open_block) return nullptr;
  if (info_.stamp.value != static_cast<uint64_t>(request.stamp)) return nullptr;
  auto file = replica_->OpenReadOnly();
  if (!file) return nullptr;
  return std::move(*file);
}

Status ReadStream::Admit(const idl::OpenReadStreamRequest& request) {
  if (request.block <= 0 || request.stamp < 0 || request.offset < 0 || request.length < 0) {
    return Status(Code::kInvalidArgument, "open_read: fields out of bounds");
  }
  const Stamp stamp(static_cast<uint64_t>(request.stamp));
  DFS_RETURN_IF_ERROR(CheckStreamToken(context_, request.token,
                                       static_cast<uint64_t>(request.block), stamp.value, false));
  DFS_ASSIGN_OR_RETURN(replica_,
                       context_.store.Find(BlockId(static_cast<uint64_t>(request.block))));
  info_ = replica_->info();
  limit_ = info_.length;
  switch (info_.state) {
    case ReplicaState::kFinalized:
      // Once a block is closed the stamp decides who has its bytes.
      if (info_.stamp != stamp && !request.open_block && !DefectOn(Defect::kStaleReplicaServed)) {
        return Status(Code::kStaleStamp,
                      fmt::format("block {} has stamp {} here, not {}", request.block,
                                  info_.stamp.value, stamp.value));
      }
      if (info_.stamp != stamp && request.open_block) return AdmitOpen(info_);
      return Status::Ok();
    case ReplicaState::kRbw:
      if (!request.open_block) {
        return Status(Code::kStaleStamp, fmt::format("block {} is open", request.block));
      }
      return AdmitOpen(info_);
    case ReplicaState::kRur:
      // The source of a recovery, for the members that are made equal to it.
      if (info_.recovery_stamp == stamp) return Status::Ok();
      return Status(Code::kUnavailable, fmt::format("block {} is under recovery", request.block));
    default:
      return Status(Code::kUnavailable,
                    fmt::format("block {} is {} here", request.block, StateName(info_.state)));
  }
}

/// While a block is open its members are what the namenode says; a datanode that has lost touch with the
/// leader may be one no more, and serves nothing.
Status ReadStream::AdmitOpen(const ReplicaInfo& info) {
  if (context_.clock.BootNs() >= context_.lease_until_ns.load()) {
    return Status(Code::kUnavailable, "no lease of the leader: an open replica is not served");
  }
  limit_ = info.state == ReplicaState::kRbw ? info.visible_length : info.length;
  return Status::Ok();
}

void ReadStream::OnPacket(const wire::Packet& packet, const Buffer&) {
  if (packet.header.kind == wire::PacketKind::kCancel && !done_) {
    End(Status(Code::kCancelled, "by the reader"));
  }
}

void ReadStream::SendSome() {
  while (!done_ && io_ && io_->writable()) {
    if (next_ >= end_) return End(Status::Ok());
    if (Status sent = sums_only_ ? SendSums() : SendData(); !sent) {
      context_.store.ReportUnreadable(replica_, sent);
      return End(sent);
    }
  }
}

Status ReadStream::SendData() {
  const uint64_t size = std::min<uint64_t>(wire::kMaxPacketData, end_ - next_);
  DFS_ASSIGN_OR_RETURN(ChunkData chunk, replica_->Read(next_, size));
  if (chunk.data.size() < size) return Status(Code::kStaleStamp, "the replica was cut meanwhile");
  // After the read: a write is noted before it changes a byte.
  if (open_block_ && replica_->writes_under_way().Touches(next_, next_ + size)) {
    return Status(Code::kUnavailable, "an overwrite is under way that not all members have");
  }
  if (chunk.data.size() > size) {
    // An open replica has grown beyond what every member has: the last chunk is cut there.
    chunk.data = chunk.data.Slice(0, size);
    chunk.sums.resize(ChunkCount(size));
    if (size % kChunkSize != 0) {
      chunk.sums.back() = ChunkSum(chunk.data.view().substr(size / kChunkSize * kChunkSize));
    }
  }
  wire::PacketHeader header;
  header.kind = wire::PacketKind::kReadData;
  header.seq = ++seq_;
  header.stamp = info_.stamp.value;
  header.offset = next_;
  header.length = limit_;
  next_ += size;
  sent_ += size;
  context_.served_bytes.fetch_add(size, std::memory_order_relaxed);
  io_->SendPacket(stream_, wire::BuildPacket(header, chunk.sums, std::move(chunk.data)));
  return Status::Ok();
}

Status ReadStream::SendSums() {
  const uint64_t count = std::min<uint64_t>(wire::kMaxSumsOnly, ChunkCount(end_ - next_));
  DFS_ASSIGN_OR_RETURN(const auto sums, replica_->ReadSums(next_ / kChunkSize, count));
  wire::PacketHeader header;
  header.kind = wire::PacketKind::kReadData;
  header.seq = ++seq_;
  header.stamp = info_.stamp.value;
  header.offset = next_;
  header.length = std::min(count * kChunkSize, end_ - next_);
  next_ += count * kChunkSize;
  sent_ += header.length;
  context_.served_bytes.fetch_add(header.length, std::memory_order_relaxed);
  io_->SendPacket(stream_, wire::BuildPacket(header, sums, Buffer()));
  return Status::Ok();
}

void ReadStream::End(const Status& why) {
  if (done_) return;
  MarkDone();
  if (!io_) return;
  wire::PacketHeader header;
  header.kind = wire::PacketKind::kReadEnd;
  header.stamp = info_.stamp.value;
  header.length = sent_;
  header.code = why.code();
  io_->SendPacket(stream_, wire::BuildPacket(header, std::string_view(), Buffer()));
}

void ReadStream::Abort() {
  io_ = nullptr;
  MarkDone();
}

}  // namespace dfs::dn
