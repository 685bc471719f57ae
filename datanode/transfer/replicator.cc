#include "datanode/transfer/replicator.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "common/base/logging.h"
#include "common/wire/chain_stream.h"
#include "common/wire/chain_writer.h"
#include "common/wire/packet.h"
#include "common/wire/stream_connection.h"
#include "dfs_types.h"

namespace dfs::dn {
namespace {

constexpr uint64_t kPieceBytes = wire::ChainWriter::kMaxPacketBytes;
/// Read ahead of what the chain has acknowledged.
constexpr uint64_t kAheadBytes = 8u << 20;
constexpr int64_t kPaceNs = 20 * kMillisecond;

wire::Member ToMember(const idl::ReplicaLocation& location) {
  wire::Member member;
  member.datanode = static_cast<uint64_t>(location.datanode);
  member.tcp_address = location.tcp_address;
  member.unix_address = location.unix_address;
  member.host_id = location.host_id;
  member.rack = location.rack;
  return member;
}

}  // namespace

struct Replicator::Shared {
  Shared(BlockStore& s, rpc::Network& n, const std::string& host_id)
      : store(s), network(n), pool(wire::StreamPool::Create(n, host_id)) {}
  BlockStore& store;
  rpc::Network& network;
  std::shared_ptr<wire::StreamPool> pool;
  std::map<uint64_t, std::shared_ptr<Copy>> copies;
  uint64_t next_id = 1;
  bool stopped = false;
};

/// One replica on its way to its targets: a chain of them, like a writer's.
struct Replicator::Copy : std::enable_shared_from_this<Replicator::Copy> {
  using Done = UniqueFunction<void(Status)>;

  Copy(std::shared_ptr<Shared> s, uint64_t id_in, Done d)
      : shared(std::move(s)), id(id_in), done(std::move(d)), writer(0) {}

  Status Begin(const idl::ReplicateBlockRequest& request) {
    if (request.targets.empty() || request.block.block <= 0) {
      return Status(Code::kInvalidArgument, "replicate_block: no block or no target");
    }
    const BlockId block(static_cast<uint64_t>(request.block.block));
    DFS_ASSIGN_OR_RETURN(replica, shared->store.Find(block));
    const ReplicaInfo info = replica->info();
    if (info.state != ReplicaState::kFinalized ||
        info.stamp.value != static_cast<uint64_t>(request.block.stamp)) {
      return Status(Code::kStaleStamp,
                    fmt::format("block {} is {} at stamp {} here, not finalized at {}", block.value,
                                StateName(info.state), info.stamp.value, request.block.stamp));
    }
    DFS_ASSIGN_OR_RETURN(pin, replica->Pin());
    length = info.length;
    stamp = info.stamp;
    bytes_per_second = request.bytes_per_second;
    wire::ChainTarget target;
    target.block = block.value;
    target.stamp = info.stamp.value;
    target.token = request.token;
    target.is_copy = true;
    std::vector<DatanodeId> members;
    for (const auto& location : request.targets) {
      target.members.push_back(ToMember(location));
      members.emplace_back(static_cast<uint64_t>(location.datanode));
    }
    targets = members.size();
    started_ns = Now();
    writer.Start(std::move(members), info.stamp.value, started_ns);
    stream = wire::ChainStream::Open(shared->network.executor(), shared->pool, writer,
                                     std::move(target), [weak = weak_from_this()] {
                                       if (auto self = weak.lock()) self->OnProgress();
                                     });
    Feed();
    return Status::Ok();
  }

  int64_t Now() const { return shared->network.executor().clock().BootNs(); }

  /// Reads (verifying the writer's sums) as far as the chain and the allowed rate let it.
  void Feed() {
    if (finished) return;
    while (read < length && writer.unacked_bytes() < kAheadBytes) {
      if (bytes_per_second > 0 && !WithinRate()) return;
      auto piece = replica->Read(read, std::min(kPieceBytes, length - read));
      if (!piece) {
        shared->store.ReportUnreadable(replica, piece.error());
        return Finish(piece.error());
      }
      if (piece->data.empty() || replica->info().stamp != stamp) {
        return Finish(Status(Code::kStaleStamp, "the replica changed while it was copied"));
      }
      const uint64_t offset = read;
      read += piece->data.size();
      // Summed again over the very bytes that were just held against the first writer's sums.
      writer.Add(offset, std::move(piece->data), 0);
    }
    if (read == length && !last_added) {
      last_added = true;
      last_ticket = writer.Add(length, Buffer(), wire::kPacketSync | wire::kPacketLast);
    }
    if (stream) stream->Pump();
  }

  bool WithinRate() {
    const int64_t due_ns = started_ns + static_cast<int64_t>(static_cast<double>(read) * 1e9 /
                                                             static_cast<double>(bytes_per_second));
    if (Now() >= due_ns) return true;
    if (!paced) {
      paced = true;
      shared->network.executor().RunAfter(std::max(kPaceNs, std::min(due_ns - Now(), kSecond)),
                                          [weak = weak_from_this()] {
                                            auto self = weak.lock();
                                            if (!self) return;
                                            self->paced = false;
                                            self->Feed();
                                          });
    }
    if (stream) stream->Pump();
    return false;
  }

  void OnProgress() {
    if (finished) return;
    if (const auto& fault = writer.fault()) {
      // A target that has it already is as good as copied.
      if (fault->code == Code::kAlreadyExists && targets == 1) return Finish(Status::Ok());
      return Finish(
          Status(fault->code, fmt::format("target {:016x}: {}", fault->member.value, fault->why)));
    }
    if (last_added && writer.acked() >= last_ticket) return Finish(Status::Ok());
    Feed();
  }

  void Finish(const Status& why) {
    if (finished) return;
    finished = true;
    if (stream) stream->Detach();
    // The stream may be what calls: it goes after it has returned.
    const auto self = shared_from_this();
    shared->network.executor().Post([self] { self->stream = nullptr; });
    shared->copies.erase(id);
    if (!why) {
      LogWarning("block {}: copy: {}", replica ? replica->block().value : 0, why.ToString());
    }
    if (Done d = std::move(done)) d(why);
  }

  const std::shared_ptr<Shared> shared;
  const uint64_t id;
  Done done;
  wire::ChainWriter writer;
  std::shared_ptr<wire::ChainStream> stream;
  ReplicaPtr replica;
  std::shared_ptr<const void> pin;
  Stamp stamp;
  uint64_t length = 0;
  uint64_t read = 0;
  size_t targets = 0;
  int64_t bytes_per_second = 0;
  int64_t started_ns = 0;
  bool paced = false;
  bool last_added = false;
  wire::ChainWriter::Ticket last_ticket = 0;
  bool finished = false;
};

Replicator::Replicator(BlockStore& store, rpc::Network& network, std::string host_id)
    : shared_(std::make_shared<Shared>(store, network, host_id)) {}

Replicator::~Replicator() {
  Stop();
}

void Replicator::Replicate(const idl::ReplicateBlockRequest& request,
                           UniqueFunction<void(Status)> done) {
  if (shared_->stopped) return done(Status(Code::kUnavailable, "the datanode is stopping"));
  auto copy = std::make_shared<Copy>(shared_, shared_->next_id++, std::move(done));
  shared_->copies[copy->id] = copy;
  if (Status begun = copy->Begin(request); !begun) copy->Finish(begun);
}

size_t Replicator::active() const {
  return shared_->copies.size();
}

void Replicator::Stop() {
  shared_->stopped = true;
  auto copies = std::exchange(shared_->copies, {});
  for (auto& [id, copy] : copies)
    copy->Finish(Status(Code::kCancelled, "the datanode is stopping"));
  shared_->pool->CloseAll();
}

}  // namespace dfs::dn
