// Replica, continued: what block recovery does to it (protocols, section 6).
#include <algorithm>

#include "common/base/logging.h"
#include "datanode/store/replica.h"
#include "datanode/store/volume.h"

namespace dfs::dn {
namespace {

/// Bytes read at a time when a whole replica is looked at.
constexpr uint64_t kScanBytes = 1u << 20;
constexpr uint64_t kScanChunks = kScanBytes / kChunkSize;

}  // namespace

Result<Replica::RecoveryView> Replica::InitRecovery(Stamp recovery_stamp) {
  std::unique_lock<std::mutex> hold(mutex_);
  none_admitted_.wait(hold, [this] { return admitted_ == 0; });
  if (gone_) return Status(Code::kNotFound, "deleted here");
  RecoveryView view;
  view.stamp = now_.stamp;
  view.length = now_.length;
  view.synced_length = now_.synced_length;
  view.state_before = now_.state == ReplicaState::kRur ? before_recovery_ : now_.state;
  if (recovery_stamp == now_.stamp && now_.state == ReplicaState::kFinalized) return view;
  if (recovery_stamp <= now_.stamp || recovery_stamp < now_.recovery_stamp) {
    return Status(
        Code::kStaleStamp,
        fmt::format("block {} is at stamp {} here, recovery has {}", block_.value,
                    std::max(now_.stamp, now_.recovery_stamp).value, recovery_stamp.value));
  }
  if (now_.state == ReplicaState::kRur && recovery_stamp == now_.recovery_stamp) return view;
  DFS_ASSIGN_OR_RETURN(auto files, OpenFiles());
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kInitRecovery));
  pinned_ = std::move(files);
  before_recovery_ = view.state_before;
  now_.recovery_stamp = recovery_stamp;
  now_.on_disk = false;
  epoch_++;  // every stream of a lower stamp is dead from here on
  SidecarHeader next = pinned_->header;
  next.tail_first = next.tail_count = 0;
  DFS_RETURN_IF_ERROR(WriteAndSyncHeader(next, false));
  Publish();
  return view;
}

Result<WriteTicket> Replica::RecoveryTicket(Stamp recovery_stamp) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_) return Status(Code::kNotFound, "deleted here");
  if (now_.state == ReplicaState::kFinalized && now_.stamp == recovery_stamp) {
    // Perhaps by a process that died before the last fsync returned.
    DFS_ASSIGN_OR_RETURN(pinned_, OpenFiles());
    data_dirty_ = sums_dirty_ = true;
    DFS_RETURN_IF_ERROR(SettleLocked());
    return Status(Code::kAlreadyExists, "recovered already");
  }
  if (now_.state != ReplicaState::kRur || now_.recovery_stamp != recovery_stamp) {
    return Status(Code::kStaleStamp, fmt::format("block {} is {} and fenced by {}, not by {}",
                                                 block_.value, StateName(now_.state),
                                                 now_.recovery_stamp.value, recovery_stamp.value));
  }
  epoch_++;
  return WriteTicket{recovery_stamp, epoch_};
}

Result<std::vector<uint64_t>> Replica::ActualSums(uint64_t first_chunk, uint64_t count) {
  DFS_ASSIGN_OR_RETURN(const auto files, OpenFiles());
  const uint64_t length = info().length;
  std::vector<uint64_t> sums;
  std::string bytes;
  for (uint64_t at = first_chunk * kChunkSize;
       at < std::min(length, (first_chunk + count) * kChunkSize); at += kScanBytes) {
    const uint64_t end = std::min({length, (first_chunk + count) * kChunkSize, at + kScanBytes});
    bytes.resize(end - at);
    DFS_ASSIGN_OR_RETURN(const size_t got, files->data->ReadAt(at, bytes.data(), bytes.size()));
    bytes.resize(got);
    const auto piece = ChunkSums(bytes);
    sums.insert(sums.end(), piece.begin(), piece.end());
    if (got < end - at) break;
  }
  return sums;
}

Status Replica::ResumTornChunks(const WriteTicket& ticket) {
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  const uint64_t chunks = ChunkCount(now_.length);
  uint64_t torn = 0;
  for (uint64_t first = 0; first < chunks; first += kScanChunks) {
    const uint64_t count = std::min(kScanChunks, chunks - first);
    DFS_ASSIGN_OR_RETURN(const auto actual, ActualSums(first, count));
    DFS_ASSIGN_OR_RETURN(const auto stored, pinned_->sidecar->ReadSums(first, count));
    for (uint64_t i = 0; i < count; i++) {
      if (i < actual.size() && actual[i] == stored[i]) continue;
      const uint64_t chunk = first + i;
      if (i >= actual.size() || !pinned_->header.intent[chunk * kChunkSize / kRegionSize]) {
        return Status(Code::kCorrupt, fmt::format("block {}: chunk at {} differs from its sum",
                                                  block_.value, chunk * kChunkSize));
      }
      if (Status wrote = pinned_->sidecar->WriteSums(chunk, &actual[i], 1); !wrote) {
        return DiskFailed(wrote, true);
      }
      sums_dirty_ = true;
      torn++;
    }
  }
  if (torn > 0) LogInfo("block {}: {} torn chunks summed anew", block_.value, torn);
  return Status::Ok();
}

Status Replica::ReplaceChunks(const WriteTicket& ticket, uint64_t offset, std::string_view data,
                              const uint64_t* sums, size_t sum_count) {
  DFS_RETURN_IF_ERROR(wire::VerifyRangeSums(offset, data, sums, sum_count));
  if (offset % kChunkSize != 0) return Status(Code::kInvalidArgument, "not a chunk boundary");
  if (offset > wire::kMaxBlockLength || data.size() > wire::kMaxBlockLength - offset) {
    return Status(Code::kFileTooBig, "beyond the largest block");
  }
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kWrite));
  return WriteLocked(offset, data, sums, false);
}

Status Replica::Truncate(const WriteTicket& ticket, uint64_t length) {
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  if (length > now_.length) return Status(Code::kInvalidArgument, "longer than the replica");
  if (length == now_.length) return Status::Ok();
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kWrite));
  return CutLocked(length);
}

Status Replica::CutLocked(uint64_t length) {
  uint64_t last_sum = 0;
  if (length % kChunkSize != 0) {
    std::string bytes(length % kChunkSize, '\0');
    DFS_ASSIGN_OR_RETURN(const size_t got, pinned_->data->ReadAt(length / kChunkSize * kChunkSize,
                                                                 bytes.data(), bytes.size()));
    if (got != bytes.size()) return Status(Code::kCorrupt, "file shorter than its length");
    last_sum = ChunkSum(bytes);
  }
  if (length < pinned_->header.length) {
    // The header lets go of the bytes before they go, and says that it is not final: until the sums have followed, a
    // crash leaves a last chunk that only the header's sum fits (TailScan).
    SidecarHeader next = pinned_->header;
    next.length = length;
    next.last_chunk_sum = last_sum;
    next.tail_first = next.tail_count = 0;
    now_.on_disk = false;
    DFS_RETURN_IF_ERROR(WriteAndSyncHeader(next, false));
    now_.synced_length = length;
  }
  Status done = pinned_->data->Truncate(length);
  if (done.ok()) done = pinned_->sidecar->TruncateSums(ChunkCount(length));
  if (done.ok() && last_sum != 0) {
    done = pinned_->sidecar->WriteSums(length / kChunkSize, &last_sum, 1);
  }
  if (!done) return DiskFailed(done, true);
  data_dirty_ = sums_dirty_ = true;
  volume_->AddUsed(-static_cast<int64_t>(now_.length - length));
  now_.length = length;
  allocated_ = std::min(allocated_, length);
  writeback_from_ = std::min(writeback_from_, length);
  Publish();
  return Status::Ok();
}

Status Replica::FinishRecovery(const WriteTicket& ticket) {
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  const ReplicaInfo before = now_;
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kFinishRecovery));
  now_.stamp = ticket.stamp;
  now_.recovery_stamp = Stamp();
  data_dirty_ = sums_dirty_ = true;  // whoever wrote them, they are on disk after this
  if (Status synced = SettleLocked(); !synced) {
    if (now_.state == ReplicaState::kFinalized) now_ = before;
    return synced;
  }
  epoch_++;
  visible_ = now_.length;
  writes_under_way_.Clear();
  return Status::Ok();
}

}  // namespace dfs::dn
