#include "common/client/core/local_block.h"

#include <algorithm>
#include <cstring>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/client/core/convert.h"
#include "common/idl/codec.h"
#include "common/idl/methods.h"
#include "common/rpc/idl_call.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr int64_t kConnectTimeoutNs = 2 * kSecond;
/// Read and verified at once: what was read is still in the processor's cache then.
constexpr size_t kPiece = 256u << 10;

uint64_t ChunkBegin(uint64_t offset) {
  return offset / kChunkSize * kChunkSize;
}
}  // namespace

// ---- Reading ------------------------------------------------------------------------------------

LocalBlock::LocalBlock(std::shared_ptr<const File> file, uint64_t begin, uint64_t end,
                       uint64_t replica_length, std::vector<uint64_t> sums)
    : file_(std::move(file)),
      begin_(begin),
      end_(end),
      replica_length_(replica_length),
      sums_(std::move(sums)) {
  DFS_CHECK(begin_ % kChunkSize == 0 && end_ <= replica_length_);
  DFS_CHECK(sums_.size() >= wire::SumsOfRange(begin_, end_ - begin_));
}

Status LocalBlock::ReadChunks(uint64_t offset, char* out, size_t size) const {
  DFS_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(offset, out, size));
  if (got != size) return Status(Code::kCorrupt, "the block file is shorter than the block");
  return wire::VerifyRangeSums(offset, {out, size}, sums_.data() + (offset - begin_) / kChunkSize,
                               ChunkCount(size));
}

Result<size_t> LocalBlock::ReadAt(uint64_t offset, char* out, size_t size) const {
  DFS_CHECK(offset >= begin_ && offset < end_);
  const uint64_t stop = offset + std::min<uint64_t>(size, end_ - offset);
  uint64_t at = offset;
  while (at < stop) {
    // Where the whole chunks end that fit in what is left.
    const uint64_t whole = stop == replica_length_ ? stop : ChunkBegin(stop);
    if (at % kChunkSize == 0 && whole > at) {
      const size_t piece = std::min<uint64_t>(whole - at, kPiece);
      DFS_RETURN_IF_ERROR(ReadChunks(at, out + (at - offset), piece));
      at += piece;
      continue;
    }
    char chunk[kChunkSize];
    const uint64_t first = ChunkBegin(at);
    const size_t chunk_size = std::min<uint64_t>(kChunkSize, replica_length_ - first);
    DFS_RETURN_IF_ERROR(ReadChunks(first, chunk, chunk_size));
    const size_t take = std::min(stop, first + chunk_size) - at;
    std::memcpy(out + (at - offset), chunk + (at - first), take);
    at += take;
  }
  return stop - offset;
}

// ---- Getting it ---------------------------------------------------------------------------------

const wire::Member* LocalBlockFetch::LocalReplica(ClientCore& core, const BlockPlace& place) {
  if (place.state != 2)
    return nullptr;  // of an open block the datanode knows how far it may be read
  for (const wire::Member& replica : place.replicas) {
    if (core.pool()->IsLocal(replica) && !replica.unix_address.empty() &&
        !core.IsSlow(replica.datanode)) {
      return &replica;
    }
  }
  return nullptr;
}

std::shared_ptr<LocalBlockFetch> LocalBlockFetch::Start(std::shared_ptr<ClientCore> core,
                                                        BlockPlace place, uint64_t offset,
                                                        Done<LocalBlockPtr> done) {
  std::shared_ptr<LocalBlockFetch> fetch(
      new LocalBlockFetch(std::move(core), std::move(place), offset, std::move(done)));
  fetch->core_->executor().Post([weak = fetch->weak_from_this()] {
    if (auto self = weak.lock()) self->Connect();
  });
  return fetch;
}

LocalBlockFetch::LocalBlockFetch(std::shared_ptr<ClientCore> core, BlockPlace place,
                                 uint64_t offset, Done<LocalBlockPtr> done)
    : core_(std::move(core)),
      place_(std::move(place)),
      begin_(ChunkBegin(offset)),
      done_(std::move(done)) {
  DFS_CHECK(offset < place_.length);
}

LocalBlockFetch::~LocalBlockFetch() {
  done_ = nullptr;
  Finish(Status(Code::kCancelled, ""), false);
}

void LocalBlockFetch::Connect() {
  const wire::Member* replica = LocalReplica(*core_, place_);
  if (replica == nullptr) return Fail(Status(Code::kNotFound, "no replica on this host"), false);
  replica_ = *replica;
  timer_ = core_->executor().RunAfter(core_->options().read_patience_ns, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->timer_ = 0;
    self->Fail(Status(Code::kTimedOut, "the datanode is silent"), true);
  });
  core_->pool()->Get(replica_, kConnectTimeoutNs, wire::StreamPool::kMaxIdleNs,
                     [weak = weak_from_this()](Result<wire::StreamConnectionPtr> connection) {
                       if (auto self = weak.lock()) self->OnConnected(std::move(connection));
                     });
}

void LocalBlockFetch::OnConnected(Result<wire::StreamConnectionPtr> connection) {
  if (!done_) return;
  if (!connection) return Fail(connection.error(), false);
  connection_ = std::move(*connection);
  connection_->SetUser(this);
  if (!connection_->connection().passes_files()) {
    return Finish(Status(Code::kNotSupported, "not a Unix socket"), true);
  }
  connection_->connection().AcceptFiles();
  idl::OpenReadStreamRequest request;
  request.block = static_cast<int64_t>(place_.block);
  request.stamp = static_cast<int64_t>(place_.stamp);
  request.offset = static_cast<int64_t>(begin_);
  request.length = static_cast<int64_t>(place_.length - begin_);
  request.token = place_.token;
  request.sums_only = true;
  request.pass_file = true;
  stream_ = connection_->NewStream();
  rpc::FrameHeader header;
  header.type = rpc::FrameType::kRequest;
  header.method = idl::kOpenReadStream;
  header.request_id = stream_;
  connection_->connection().Send(header, idl::Encode(request));
}

void LocalBlockFetch::OnStreamFrame(const rpc::FrameHeader& header, Buffer payload) {
  if (!done_ || header.request_id != stream_) return;
  auto keep = shared_from_this();
  Status status;
  switch (header.type) {
    case rpc::FrameType::kReply:
      status = OnReply(payload);
      break;
    case rpc::FrameType::kError:
      return Finish(rpc::DecodeError(payload.view()), true);
    case rpc::FrameType::kPacket:
      status = OnPacket(payload);
      break;
    default:
      break;
  }
  if (!status.ok()) Fail(status, false);
}

Status LocalBlockFetch::OnReply(const Buffer& payload) {
  idl::OpenReadStreamReply reply;
  DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &reply));
  file_ = connection_->connection().TakeFile();
  if (file_ == nullptr) return Status(Code::kNotSupported, "the datanode passed no file");
  replica_length_ = static_cast<uint64_t>(std::max<int64_t>(reply.replica_length, 0));
  if (replica_length_ < place_.length) {
    return Status(Code::kUnavailable, "the replica is shorter than the block");
  }
  return Status();
}

Status LocalBlockFetch::OnPacket(const Buffer& payload) {
  DFS_ASSIGN_OR_RETURN(const wire::Packet packet, wire::ParsePacket(payload));
  if (packet.header.kind == wire::PacketKind::kReadData) {
    if (packet.header.offset != begin_ + sums_.size() * kChunkSize || !packet.data.empty()) {
      return Status(Code::kProtocol, "sums out of order");
    }
    const std::vector<uint64_t> more = packet.SumVector();
    sums_.insert(sums_.end(), more.begin(), more.end());
    if (sums_.size() > wire::SumsOfRange(begin_, place_.length - begin_)) {
      return Status(Code::kProtocol, "more sums than chunks");
    }
    return Status();
  }
  if (packet.header.kind != wire::PacketKind::kReadEnd) return Status();
  if (packet.header.code != Code::kOk) return Status(packet.header.code, "the datanode gave up");
  if (file_ == nullptr || sums_.size() < wire::SumsOfRange(begin_, place_.length - begin_)) {
    return Status(Code::kProtocol, "sums are missing");
  }
  Finish(LocalBlockPtr(std::make_shared<LocalBlock>(std::move(file_), begin_, place_.length,
                                                    replica_length_, std::move(sums_))),
         true);
  return Status();
}

void LocalBlockFetch::OnStreamClosed(const Status& why) {
  core_->executor().Post([connection = std::exchange(connection_, nullptr)] {});
  auto keep = weak_from_this().lock();
  if (keep) Fail(why, false);
}

void LocalBlockFetch::Fail(const Status& why, bool slow) {
  if (slow) core_->MarkSlow(replica_.datanode);
  Finish(why, false);
}

void LocalBlockFetch::Finish(Result<LocalBlockPtr> result, bool reusable) {
  if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  if (wire::StreamConnectionPtr connection = std::exchange(connection_, nullptr)) {
    connection->SetUser(nullptr);
    if (reusable) {
      core_->pool()->Release(connection);
    } else {
      connection->Close();
    }
    core_->executor().Post([connection] {});  // this may run within its own callback
  }
  if (Done<LocalBlockPtr> done = std::move(done_)) {
    done_ = nullptr;
    done(std::move(result));
  }
}

}  // namespace dfs::client
