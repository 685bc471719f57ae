#include "datanode/store/replica.h"

#include <algorithm>
#include <cstring>

#include "common/base/check.h"
#include "common/base/defects.h"
#include "common/base/logging.h"
#include "common/rpc/buffer_pool.h"
#include "common/wire/packet.h"
#include "datanode/store/volume.h"

namespace dfs::dn {
namespace {

constexpr uint64_t kAllocateStep = 8u << 20;
/// Small replicas are not preallocated: their first fsync writes the size anyway.
constexpr uint64_t kAllocateFrom = 1u << 20;
constexpr uint64_t kWritebackStep = 8u << 20;
/// A sequential overwrite declares its intent for so many regions at once.
constexpr size_t kIntentAhead = 8;

uint64_t ChunkOf(uint64_t offset) {
  return offset / kChunkSize;
}
uint64_t ChunkBegin(uint64_t chunk) {
  return chunk * kChunkSize;
}

const uint64_t kZeroChunkSum = ChunkSum(std::string(kChunkSize, '\0'));

}  // namespace

Replica::Replica(Volume& volume, BlockId block, ReplicaState state, Stamp stamp)
    : volume_(&volume), block_(block) {
  now_.block = block;
  now_.stamp = stamp;
  now_.state = state;
  now_.storage_id = volume.storage_id();
  dir_dirty_ = true;
  header_dirty_ = true;
  in_tmp_ = state == ReplicaState::kTemporary;
  Publish();
}

Replica::Replica(Volume& volume, BlockId block, const Loaded& loaded)
    : volume_(&volume), block_(block) {
  now_.block = block;
  now_.stamp = loaded.header.stamp;
  now_.recovery_stamp = loaded.header.recovery_stamp;
  now_.state = loaded.state;
  now_.length = loaded.length;
  now_.synced_length = loaded.header.length;
  now_.storage_id = volume.storage_id();
  now_.on_disk = loaded.state == ReplicaState::kFinalized;
  allocated_ = loaded.length;
  // What came back in the page cache after the process died was perhaps never synced.
  data_dirty_ = sums_dirty_ = loaded.state != ReplicaState::kFinalized;
  Publish();
}

ReplicaInfo Replica::info() const {
  std::lock_guard<std::mutex> hold(info_mutex_);
  ReplicaInfo info = info_;
  info.corrupt = corrupt_;
  info.visible_length = std::min(info.length, visible_.load(std::memory_order_relaxed));
  return info;
}

void Replica::Publish() {
  std::lock_guard<std::mutex> hold(info_mutex_);
  info_ = now_;
}

std::string Replica::DataPath() const {
  if (in_tmp_) return volume_->TmpDir() + "/blk_" + std::to_string(block_.value);
  return volume_->DataPath(block_);
}

Status Replica::Apply(ReplicaEvent event) {
  const auto next = Next(now_.state, event);
  if (!next) {
    LogWarning("block {}: '{}' refused in state {}", block_.value, EventName(event),
               StateName(now_.state));
    return Status(Code::kConflict, fmt::format("block {} is {}: {} is not possible", block_.value,
                                               StateName(now_.state), EventName(event)));
  }
  now_.state = *next;
  return Status::Ok();
}

Status Replica::CheckTicket(const WriteTicket& ticket) const {
  if (gone_) {
    return Status(Code::kStaleStamp, fmt::format("block {} was deleted here", block_.value));
  }
  if (ticket.epoch != epoch_) {
    const Stamp now = std::max(now_.stamp, now_.recovery_stamp);
    return Status(Code::kStaleStamp, fmt::format("block {} is at stamp {} now, not {}",
                                                 block_.value, now.value, ticket.stamp.value));
  }
  if (volume_->failed()) return Status(Code::kIoError, "its volume has failed");
  return Status::Ok();
}

// ---- Files ------------------------------------------------------------------------------------

Result<std::shared_ptr<Replica::Files>> Replica::OpenFiles() const {
  if (volume_->failed()) return Status(Code::kIoError, "its volume has failed");
  std::lock_guard<std::mutex> hold(files_mutex_);
  if (auto files = files_.lock()) return files;
  const std::string path = DataPath();
  auto data = volume_->env().Open(path, Env::OpenMode::kReadWrite);
  if (!data) return data.error();
  auto meta = volume_->env().Open(path + ".meta", Env::OpenMode::kReadWrite);
  if (!meta) return meta.error();
  auto files = std::make_shared<Files>();
  files->data = std::move(*data);
  files->sidecar = std::make_unique<Sidecar>(std::move(*meta), volume_->version().cluster_id);
  DFS_ASSIGN_OR_RETURN(files->header, files->sidecar->ReadHeader());
  files_ = files;
  return files;
}

Status Replica::CreateFiles() {
  std::lock_guard<std::mutex> hold(mutex_);
  const std::string path = DataPath();
  const auto create = [&](const std::string& name) -> Result<std::unique_ptr<File>> {
    // Not exclusive: a crash may have left a file of a block that was never synced.
    auto file = volume_->env().Open(name, Env::OpenMode::kTruncate);
    if (!file && !file.error().Is(Code::kNoSpace)) volume_->Fail(file.error());
    return file;
  };
  DFS_ASSIGN_OR_RETURN(auto meta, create(path + ".meta"));
  DFS_ASSIGN_OR_RETURN(auto data, create(path));
  auto files = std::make_shared<Files>();
  files->data = std::move(data);
  files->sidecar = std::make_unique<Sidecar>(std::move(meta), volume_->version().cluster_id);
  // Not synced: it lets the replica be found after the process alone has died.
  files->header.state = now_.state;
  files->header.block = block_;
  files->header.stamp = now_.stamp;
  DFS_RETURN_IF_ERROR(files->sidecar->WriteHeader(&files->header));
  std::lock_guard<std::mutex> files_hold(files_mutex_);
  files_ = files;
  pinned_ = std::move(files);
  return Status::Ok();
}

Result<WriteTicket> Replica::FirstTicket() {
  std::lock_guard<std::mutex> hold(mutex_);
  epoch_++;
  return WriteTicket{now_.stamp, epoch_};
}

Result<WriteTicket> Replica::OpenForWrite(const OpenForWriteRequest& request) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_) return Status(Code::kNotFound, "deleted here");
  if (request.stamp < now_.stamp || request.stamp <= now_.recovery_stamp) {
    return Status(
        Code::kStaleStamp,
        fmt::format("block {} is at stamp {} here, newer than {}", block_.value,
                    std::max(now_.stamp, now_.recovery_stamp).value, request.stamp.value));
  }
  if (now_.stamp < request.old_stamp) {
    return Status(Code::kStaleStamp,
                  fmt::format("block {} is stale here: stamp {}, wanted {}", block_.value,
                              now_.stamp.value, request.old_stamp.value));
  }
  if (now_.length < request.acked_length) {
    return Status(Code::kConflict, fmt::format("block {} has {} bytes here, {} were acknowledged",
                                               block_.value, now_.length, request.acked_length));
  }
  if (!Next(now_.state, ReplicaEvent::kOpenForWrite)) return Apply(ReplicaEvent::kOpenForWrite);
  DFS_ASSIGN_OR_RETURN(pinned_, OpenFiles());
  DFS_ASSIGN_OR_RETURN(uint64_t file_size, pinned_->data->Size());
  if (file_size < now_.length && now_.state == ReplicaState::kFinalized) {
    return Status(Code::kCorrupt, fmt::format("block {}: its file is too short", block_.value));
  }
  if (now_.stamp <= request.cut_stamp && now_.length > request.cut_length) {
    // Durably, while it still has the old stamp: under the new one the garbage must never come back.
    DFS_RETURN_IF_ERROR(CutLocked(request.cut_length));
    Status synced = pinned_->data->Sync();
    if (synced.ok()) synced = pinned_->sidecar->Sync();
    if (!synced) return DiskFailed(synced, true);
    file_size = now_.length;
  }
  const bool was_finalized = now_.state == ReplicaState::kFinalized;
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kOpenForWrite));
  if (file_size > now_.length) {
    // Beyond the length there are zeros only: gaps rely on it.
    if (Status cut = pinned_->data->Truncate(now_.length); !cut) return DiskFailed(cut, false);
  }
  if (was_finalized) visible_ = now_.length;
  if (now_.stamp != request.stamp || was_finalized) header_dirty_ = true;
  now_.stamp = request.stamp;
  now_.on_disk = false;
  allocated_ = now_.length;
  writeback_from_ = now_.length;
  epoch_++;
  Publish();
  return WriteTicket{now_.stamp, epoch_};
}

// ---- Writing ----------------------------------------------------------------------------------

Result<Replica::Admission> Replica::Admit(const std::shared_ptr<Replica>& replica,
                                          const WriteTicket& ticket) {
  std::lock_guard<std::mutex> hold(replica->mutex_);
  DFS_RETURN_IF_ERROR(replica->CheckTicket(ticket));
  ++replica->admitted_;
  Admission admission;
  admission.replica_ = replica;
  return admission;
}

Replica::Admission::~Admission() {
  if (replica_ == nullptr) return;
  std::lock_guard<std::mutex> hold(replica_->mutex_);
  if (--replica_->admitted_ == 0) replica_->none_admitted_.notify_all();
}

Status Replica::Write(const WriteTicket& ticket, uint64_t offset, std::string_view data,
                      const uint64_t* sums, size_t sum_count) {
  if (Status sent = wire::VerifyRangeSums(offset, data, sums, sum_count); !sent) {
    // Not kCorrupt: the replica is well, what came is not.
    return Status(Code::kProtocol, "sent bytes: " + sent.message());
  }
  if (offset > wire::kMaxBlockLength || data.size() > wire::kMaxBlockLength - offset) {
    return Status(Code::kFileTooBig, "beyond the largest block");
  }
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kWrite));
  return WriteLocked(offset, data, sums, true);
}

Status Replica::WriteLocked(uint64_t offset, std::string_view data, const uint64_t* sums,
                            bool believe_old) {
  if (data.empty()) return Status::Ok();
  const uint64_t end = offset + data.size();
  DFS_RETURN_IF_ERROR(Reserve(end));
  // Before the first changed byte of a block that a crash must not harm.
  DFS_RETURN_IF_ERROR(BeforeOverwrite(offset, end));
  if (offset > now_.length) DFS_RETURN_IF_ERROR(ZeroFill(offset));
  const bool overwrites = offset < now_.length;

  const uint64_t first = ChunkOf(offset), last = ChunkOf(end - 1);
  std::vector<uint64_t> stored(sums, sums + (last - first + 1));
  const size_t first_size = std::min<uint64_t>(data.size(), ChunkBegin(first + 1) - offset);
  DFS_ASSIGN_OR_RETURN(stored.front(),
                       MergedSum(first, offset, data.substr(0, first_size), believe_old));
  if (last != first) {
    DFS_ASSIGN_OR_RETURN(
        stored.back(),
        MergedSum(last, ChunkBegin(last), data.substr(ChunkBegin(last) - offset), believe_old));
  }
  Files& files = *pinned_;
  if (Status wrote = files.data->WriteAt(offset, data); !wrote)
    return DiskFailed(wrote, overwrites);
  data_dirty_ = true;
  if (Status wrote = files.sidecar->WriteSums(first, stored.data(), stored.size()); !wrote) {
    return DiskFailed(wrote, overwrites);
  }
  sums_dirty_ = true;
  if (end > now_.length) {
    volume_->AddUsed(static_cast<int64_t>(end - now_.length));
    now_.length = end;
  }
  last_end_ = end;
  MaybeStartWriteback(offset, end);
  Publish();
  return Status::Ok();
}

/// The sum of a chunk after the piece is written into it at offset; what stays of the old chunk is
/// verified first, so that rot is never summed over.
Result<uint64_t> Replica::MergedSum(uint64_t chunk, uint64_t offset, std::string_view piece,
                                    bool believe_old) {
  const uint64_t begin = ChunkBegin(chunk);
  const uint64_t old_size =
      now_.length > begin ? std::min<uint64_t>(now_.length - begin, kChunkSize) : 0;
  if (offset == begin && piece.size() >= old_size) return ChunkSum(piece);
  char merged[kChunkSize] = {};
  DFS_ASSIGN_OR_RETURN(const size_t got, pinned_->data->ReadAt(begin, merged, old_size));
  DFS_ASSIGN_OR_RETURN(const auto stored, pinned_->sidecar->ReadSums(chunk, 1));
  if (believe_old &&
      (got != old_size || ChunkSum(std::string_view(merged, old_size)) != stored[0])) {
    return Status(Code::kCorrupt,
                  fmt::format("block {}: chunk at {} differs from its sum", block_.value, begin));
  }
  std::memcpy(merged + (offset - begin), piece.data(), piece.size());
  const uint64_t size = std::max<uint64_t>(old_size, offset - begin + piece.size());
  return ChunkSum(std::string_view(merged, size));
}

/// Extends to an offset that a writer left a gap before. The file is zero beyond the length already.
Status Replica::ZeroFill(uint64_t to) {
  const uint64_t first = ChunkOf(now_.length);
  std::vector<uint64_t> sums(ChunkCount(to) - first, kZeroChunkSum);
  const auto zeros_in = [&](uint64_t chunk) {  // of the gap
    const uint64_t from = std::max(ChunkBegin(chunk), now_.length);
    return std::string(std::min(ChunkBegin(chunk + 1), to) - from, '\0');
  };
  DFS_ASSIGN_OR_RETURN(sums.front(), MergedSum(first, now_.length, zeros_in(first), true));
  if (sums.size() > 1) sums.back() = ChunkSum(zeros_in(first + sums.size() - 1));
  if (Status grown = pinned_->data->Truncate(to); !grown) return DiskFailed(grown, false);
  data_dirty_ = true;
  if (Status wrote = pinned_->sidecar->WriteSums(first, sums.data(), sums.size()); !wrote) {
    return DiskFailed(wrote, false);
  }
  sums_dirty_ = true;
  volume_->AddUsed(static_cast<int64_t>(to - now_.length));
  now_.length = to;
  return Status::Ok();
}

Status Replica::BeforeOverwrite(uint64_t offset, uint64_t end) {
  // A new block has nothing to lose before its first fsync.
  if (dir_dirty_) return Status::Ok();
  const SidecarHeader& header = pinned_->header;
  SidecarHeader next = header;
  bool write = header_dirty_;
  const uint64_t synced_end = std::min(end, header.length);
  if (offset < synced_end && !DefectOn(Defect::kNoWriteIntent)) {
    const size_t first = offset / kRegionSize, last = (synced_end - 1) / kRegionSize;
    bool missing = false;
    for (size_t r = first; r <= last; r++) missing |= !header.intent[r];
    if (missing) {
      const size_t ahead = offset == last_end_ ? kIntentAhead : 1;
      const size_t limit = (header.length - 1) / kRegionSize;
      for (size_t r = first; r <= std::min(last + ahead - 1, limit); r++) next.intent.set(r);
      write = true;
    }
  }
  if (!write) return Status::Ok();
  // The header vouches for what it vouched for before, so it brings no new sums with it.
  next.tail_first = next.tail_count = 0;
  return WriteAndSyncHeader(next, false);
}

Status Replica::Reserve(uint64_t end) {
  if (end <= allocated_) return Status::Ok();
  if (end <= kAllocateFrom) {
    DFS_RETURN_IF_ERROR(volume_->CheckSpace(end - allocated_));
    allocated_ = end;
    return Status::Ok();
  }
  const uint64_t target = (end + kAllocateStep - 1) / kAllocateStep * kAllocateStep;
  DFS_RETURN_IF_ERROR(volume_->CheckSpace(target - allocated_));
  if (Status done = pinned_->data->Allocate(target, /*keep_size=*/true); !done) {
    if (done.Is(Code::kNoSpace)) return done;
    // File systems without fallocate do without it.
    if (!done.Is(Code::kNotSupported)) return DiskFailed(done, false);
  }
  allocated_ = target;
  return Status::Ok();
}

/// Keeps the dirty part of a stream small, so that its fsync finds little to do.
void Replica::MaybeStartWriteback(uint64_t offset, uint64_t end) {
  if (offset < writeback_from_ || offset > writeback_from_ + kWritebackStep) {
    writeback_from_ = offset / kChunkSize * kChunkSize;
  }
  if (end - writeback_from_ < kWritebackStep) return;
  pinned_->data->StartWriteback(writeback_from_, end - writeback_from_);
  writeback_from_ = end / kChunkSize * kChunkSize;
}

void Replica::SetVisibleLength(uint64_t length) {
  uint64_t seen = visible_.load(std::memory_order_relaxed);
  while (seen < length && !visible_.compare_exchange_weak(seen, length)) {
  }
}

Status Replica::DiskFailed(const Status& why, bool changed) {
  LogError("block {} on {}: {}", block_.value, volume_->directory(), why.ToString());
  if (why.Is(Code::kNoSpace) && !changed) {
    // Part of the bytes may be there, beyond the length: out with them, then nothing has happened.
    if (pinned_->data->Truncate(now_.length).ok()) {
      allocated_ = now_.length;
      return why;
    }
  }
  if (!why.Is(Code::kNoSpace)) volume_->Fail(why);
  epoch_++;
  if (now_.state == ReplicaState::kTemporary) {
    gone_ = true;
  } else if (Next(now_.state, ReplicaEvent::kIoError)) {
    now_.state = *Next(now_.state, ReplicaEvent::kIoError);
  }
  Publish();
  return why;
}

// ---- Durability (docs/durability.md) -----------------------------------------------------------

Status Replica::Sync(const WriteTicket& ticket) {
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  return SyncLocked(false);
}

Status Replica::SyncLocked(bool finalize) {
  Files& files = *pinned_;
  if (data_dirty_) {
    // Data before the header that vouches for it.
    if (Status synced = files.data->Sync(); !synced) return DiskFailed(synced, true);
    data_dirty_ = false;
  }
  if (finalize || header_dirty_ || dir_dirty_ || now_.length != files.header.length) {
    DFS_RETURN_IF_ERROR(PersistHeader(finalize));
  } else if (sums_dirty_) {
    if (Status synced = files.sidecar->Sync(); !synced) return DiskFailed(synced, true);
  }
  sums_dirty_ = false;
  if (dir_dirty_) {
    // Both files are in the same directory; the directory itself is durable since the format.
    const std::string dir = in_tmp_ ? volume_->TmpDir() : volume_->BlockDir(block_);
    if (Status synced = volume_->env().SyncDir(dir); !synced) return DiskFailed(synced, true);
    dir_dirty_ = false;
  }
  now_.synced_length = now_.length;
  Publish();
  return Status::Ok();
}

Status Replica::PersistHeader(bool finalize) {
  Files& files = *pinned_;
  SidecarHeader next = files.header;
  next.length = now_.length;
  next.last_chunk_sum = 0;
  if (now_.length % kChunkSize != 0) {
    DFS_ASSIGN_OR_RETURN(const auto sum, files.sidecar->ReadSums(ChunkOf(now_.length), 1));
    next.last_chunk_sum = sum[0];
  }
  // Full chunks whose sums no durable header vouches for yet. The chunk that the length ends in is
  // left out: it has its sum in the header, and may change without another header.
  const uint64_t tail_first = ChunkOf(std::min(files.header.length, now_.length));
  const uint64_t tail_count = ChunkOf(now_.length) - tail_first;
  next.tail_first = next.tail_count = 0;
  if (tail_count > kMaxTailSums || (finalize && files.header.intent.any())) {
    if (Status synced = files.sidecar->Sync(); !synced) return DiskFailed(synced, true);
  } else {
    next.tail_first = static_cast<uint32_t>(tail_first);
    next.tail_count = static_cast<uint32_t>(tail_count);
  }
  if (finalize) next.intent.reset();
  return WriteAndSyncHeader(next, finalize);
}

Status Replica::WriteAndSyncHeader(SidecarHeader next, bool finalize) {
  next.state = now_.state;
  // In memory it is finalized; on disk it stays rbw until data and sums are synced and the intent is
  // gone.
  if (now_.state == ReplicaState::kFinalized && !finalize) next.state = ReplicaState::kRbw;
  next.stamp = now_.stamp;
  next.recovery_stamp = now_.recovery_stamp;
  Sidecar& sidecar = *pinned_->sidecar;
  Status done = sidecar.WriteHeader(&next);
  if (done.ok()) done = sidecar.Sync();
  if (!done) {
    // Which slot holds what is unknown now: nothing more is written here.
    volume_->Fail(done);
    return DiskFailed(done, true);
  }
  pinned_->header = next;
  header_dirty_ = false;
  return Status::Ok();
}

Status Replica::Finalize(const WriteTicket& ticket, bool sync) {
  std::lock_guard<std::mutex> hold(mutex_);
  DFS_RETURN_IF_ERROR(CheckTicket(ticket));
  DFS_RETURN_IF_ERROR(Apply(ReplicaEvent::kFinalize));
  epoch_++;
  visible_ = now_.length;
  if (sync) {
    DFS_RETURN_IF_ERROR(SettleLocked());
  } else if (!dir_dirty_ && header_dirty_) {
    // Reopened and closed without a byte: its new stamp is what makes it count from now on.
    SidecarHeader next = pinned_->header;
    next.tail_first = next.tail_count = 0;
    DFS_RETURN_IF_ERROR(WriteAndSyncHeader(next, false));
  } else if (now_.length > writeback_from_) {
    pinned_->data->StartWriteback(writeback_from_, now_.length - writeback_from_);
  }
  Publish();
  return Status::Ok();
}

Status Replica::FinalizeOnDisk() {
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_ || now_.state != ReplicaState::kFinalized || now_.on_disk) return Status::Ok();
  if (volume_->failed()) return Status(Code::kIoError, "its volume has failed");
  return SettleLocked();
}

/// Finalized in memory already: brings that to the disk.
Status Replica::SettleLocked() {
  DFS_RETURN_IF_ERROR(SyncLocked(true));
  if (allocated_ > now_.length) {
    // Gives back what was reserved beyond the end; the length does not change.
    if (Status cut = pinned_->data->Truncate(now_.length); !cut) return DiskFailed(cut, true);
    allocated_ = now_.length;
  }
  now_.on_disk = true;
  pinned_.reset();
  Publish();
  return Status::Ok();
}

// ---- Reading ----------------------------------------------------------------------------------

Result<ChunkData> Replica::ReadVerified(const Files& files, uint64_t offset, uint64_t length,
                                        uint64_t replica_length) const {
  const uint64_t end =
      std::min(replica_length, (offset + length + kChunkSize - 1) / kChunkSize * kChunkSize);
  ChunkData out;
  if (offset >= end) return out;
  const size_t size = end - offset;
  std::shared_ptr<char> bytes = rpc::AllocatePayload(size);
  DFS_ASSIGN_OR_RETURN(const size_t got, files.data->ReadAt(offset, bytes.get(), size));
  if (got != size) {
    return Status(Code::kCorrupt, fmt::format("block {}: file ends at {}, before its length {}",
                                              block_.value, offset + got, replica_length));
  }
  DFS_ASSIGN_OR_RETURN(out.sums, files.sidecar->ReadSums(ChunkOf(offset), ChunkCount(size)));
  Status verified = wire::VerifyRangeSums(offset, std::string_view(bytes.get(), size),
                                          out.sums.data(), out.sums.size());
  if (!verified) return verified.WithContext(fmt::format("block {}", block_.value));
  const char* data = bytes.get();
  out.data = Buffer::Wrap(std::move(bytes), data, size);
  return out;
}

Result<ChunkData> Replica::Read(uint64_t offset, uint64_t length) {
  if (offset % kChunkSize != 0) return Status(Code::kInvalidArgument, "not a chunk boundary");
  DFS_ASSIGN_OR_RETURN(const auto files, OpenFiles());
  auto data = ReadVerified(*files, offset, length, info().length);
  if (data.ok() || !data.error().Is(Code::kCorrupt)) return data;
  // Perhaps a writer was between bytes and sums, or grew the last chunk: look again while none can.
  std::lock_guard<std::mutex> hold(mutex_);
  return ReadVerified(*files, offset, length, now_.length);
}

Result<std::vector<uint64_t>> Replica::ReadSums(uint64_t first_chunk, uint64_t count) {
  DFS_ASSIGN_OR_RETURN(const auto files, OpenFiles());
  return files->sidecar->ReadSums(first_chunk, count);
}

Result<std::shared_ptr<File>> Replica::OpenReadOnly() const {
  if (volume_->failed()) return Status(Code::kIoError, "its volume has failed");
  DFS_ASSIGN_OR_RETURN(auto file,
                       volume_->env().Open(volume_->DataPath(block_), Env::OpenMode::kReadOnly));
  return std::shared_ptr<File>(std::move(file));
}

Result<std::shared_ptr<const void>> Replica::Pin() {
  DFS_ASSIGN_OR_RETURN(auto files, OpenFiles());
  return std::shared_ptr<const void>(std::move(files));
}

}  // namespace dfs::dn
