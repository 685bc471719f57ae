#include "datanode/store/block_store.h"

#include <algorithm>
#include <charconv>

#include "common/base/check.h"
#include "common/base/logging.h"
#include "datanode/store/replica_loader.h"

namespace dfs::dn {
namespace {

constexpr std::string_view kPrefix = "blk_";
constexpr std::string_view kMetaSuffix = ".meta";

/// The block of "blk_<id>" or "blk_<id>.meta"; 0 when it is another name.
BlockId ParseName(std::string_view name, bool* is_meta) {
  if (!name.starts_with(kPrefix)) return BlockId();
  name.remove_prefix(kPrefix.size());
  *is_meta = name.ends_with(kMetaSuffix);
  if (*is_meta) name.remove_suffix(kMetaSuffix.size());
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), value);
  if (error != std::errc() || end != name.data() + name.size()) return BlockId();
  return BlockId(value);
}

/// With one of several volumes in this state the datanode starts without it.
bool CanDoWithout(Code code) {
  switch (code) {
    case Code::kNotFound:
    case Code::kIoError:
    case Code::kReadOnly:
    case Code::kAccessDenied:
    case Code::kNotPermitted:
    case Code::kCorrupt:
    case Code::kNotDirectory:
    case Code::kNoSpace:
      return true;
    default:
      return false;
  }
}

}  // namespace

BlockStore::BlockStore(StoreOptions options, Env& env, const Clock& clock, uint64_t seed)
    : options_(std::move(options)), env_(env), clock_(clock), random_(seed) {}

BlockStore::~BlockStore() = default;

Result<std::unique_ptr<BlockStore>> BlockStore::Open(StoreOptions options, Env& env,
                                                     const Clock& clock, uint64_t seed) {
  if (options.volumes.empty()) {
    return Status(Code::kInvalidArgument, "storage.volumes names no directory");
  }
  std::unique_ptr<BlockStore> store(new BlockStore(std::move(options), env, clock, seed));
  DFS_RETURN_IF_ERROR(store->OpenVolumes());
  for (auto& volume : store->volumes_) {
    if (Status scanned = store->Scan(*volume); !scanned) volume->Fail(scanned);
  }
  if (store->AllVolumesFailed()) return Status(Code::kIoError, "no volume can be used");
  return store;
}

Status BlockStore::OpenVolumes() {
  for (const std::string& directory : options_.volumes) {
    auto version = Volume::Peek(env_, directory);
    if (version.ok() && !id_.valid()) id_ = version->datanode;
  }
  // At the very first start a missing directory is made; later it is a disk that is not mounted.
  for (const std::string& directory : options_.volumes) {
    if (id_.valid() || env_.Exists(directory)) continue;
    if (Status made = env_.CreateDir(directory); !made && !made.Is(Code::kAlreadyExists)) {
      return made.WithContext("volume " + directory);
    }
  }
  if (!id_.valid()) id_ = options_.id_if_new;
  if (!id_.valid()) id_ = DatanodeId(random_.Next() | 1);
  Status last_error;
  for (const std::string& directory : options_.volumes) {
    auto volume =
        Volume::Open(env_, directory, options_.cluster_id, id_, options_.reserve_bytes, random_);
    if (volume.ok()) {
      highest_term_ = std::max(highest_term_, (*volume)->version().highest_term);
      volumes_.push_back(std::move(*volume));
      continue;
    }
    last_error = volume.error();
    if (!CanDoWithout(last_error.code()) || options_.volumes.size() == 1) return last_error;
    LogError("starting without a volume: {}", last_error.ToString());
    broken_.push_back(directory);
  }
  return volumes_.empty() ? last_error : Status::Ok();
}

Status BlockStore::Scan(Volume& volume) {
  const std::string blocks = volume.directory() + "/blocks";
  DFS_ASSIGN_OR_RETURN(auto dirs, env_.List(blocks));
  std::sort(dirs.begin(), dirs.end());  // the same order in every run of a simulation
  size_t loaded = 0;
  for (const std::string& dir : dirs) {
    DFS_ASSIGN_OR_RETURN(auto names, env_.List(blocks + "/" + dir));
    std::sort(names.begin(), names.end());
    // The last process may have died between making a name and syncing it; whoever is told of these
    // replicas takes them for durable.
    if (!names.empty()) DFS_RETURN_IF_ERROR(env_.SyncDir(blocks + "/" + dir));
    for (const std::string& name : names) {
      bool is_meta = false;
      const BlockId block = ParseName(name, &is_meta);
      if (!block.valid()) continue;
      if (!is_meta) {
        // Its sidecar never became durable, so nothing of it was ever synced.
        if (!std::binary_search(names.begin(), names.end(), name + ".meta")) {
          Quarantine(volume, block, Status(Code::kNotFound, "no sidecar"));
        }
        continue;
      }
      auto found = LoadReplica(volume, block);
      if (!found) {
        if (found.error().Is(Code::kIoError)) return found.error();
        Quarantine(volume, block, found.error());
        continue;
      }
      auto replica = std::make_shared<Replica>(volume, block, found->loaded);
      if (found->corrupt) replica->MarkCorrupt();
      auto [other, inserted] = replicas_.emplace(block, replica);
      if (!inserted) {
        // The same block on two volumes: the newer one counts, or the one that is complete.
        const auto worth = [](const ReplicaInfo& info) {
          return std::pair(info.stamp, info.state == ReplicaState::kFinalized && !info.corrupt);
        };
        if (worth(other->second->info()) >= worth(replica->info())) {
          Quarantine(volume, block, Status(Code::kAlreadyExists, "also on another volume"));
          continue;
        }
        Quarantine(other->second->volume(), block, Status(Code::kStaleStamp, "older copy"));
        other->second = replica;
      }
      volume.AddUsed(static_cast<int64_t>(found->loaded.length));
      if (found->corrupt) corrupt_at_start_.emplace_back(replica->info(), found->why);
      loaded++;
    }
  }
  LogInfo("volume {}: {} replicas, {} bytes", volume.directory(), loaded, volume.used_bytes());
  return Status::Ok();
}

/// Out of the way but not destroyed: a human may want to look. Files that hold nothing are removed.
void BlockStore::Quarantine(Volume& volume, BlockId block, const Status& why) {
  const std::string data = volume.DataPath(block), meta = volume.MetaPath(block);
  const auto size = env_.FileSize(data);
  if (why.Is(Code::kNotFound) && (!size || *size == 0)) {
    (void)env_.Remove(data).ok();
    (void)env_.Remove(meta).ok();
    return;
  }
  LogWarning("block {} on {}: {}; its files go to quarantine", block.value, volume.directory(),
             why.ToString());
  if (Status made = env_.CreateDir(volume.QuarantineDir());
      !made && !made.Is(Code::kAlreadyExists)) {
    return;
  }
  const std::string to = volume.QuarantineDir() + "/blk_" + std::to_string(block.value);
  for (const char* suffix : {"", ".meta"}) {
    if (!env_.Exists(data + suffix)) continue;
    if (Status moved = env_.Rename(data + suffix, to + suffix); !moved) {
      LogWarning("{}: {}", data, moved.ToString());
    }
  }
}

void BlockStore::SetEvents(Events events) {
  events_ = std::move(events);
  for (const auto& [info, why] : corrupt_at_start_) {
    LogError("block {}: {}", info.block.value, why);
    if (events_.corrupt) events_.corrupt(info);
  }
  corrupt_at_start_.clear();
}

// ---- Opening ----------------------------------------------------------------------------------

/// By free space: a volume is chosen with a chance in proportion to what is free on it, so that disks of
/// different size fill evenly and a burst does not go to one of them.
Result<Volume*> BlockStore::ChooseVolume() {
  std::vector<std::pair<Volume*, uint64_t>> usable;
  uint64_t total = 0;
  for (const auto& volume : volumes_) {
    if (volume->failed()) continue;
    const uint64_t free = volumes_.size() == 1 ? 1 : volume->AvailableBytes() >> 20;
    if (free == 0) continue;
    usable.emplace_back(volume.get(), free);
    total += free;
  }
  if (usable.empty()) return Status(Code::kNoSpace, "no volume has space left");
  std::lock_guard<std::mutex> hold(mutex_);
  uint64_t at = random_.Uniform(total);
  for (const auto& [volume, free] : usable) {
    if (at < free) return volume;
    at -= free;
  }
  return usable.back().first;
}

Result<OpenedReplica> BlockStore::CreateNew(BlockId block, Stamp stamp, ReplicaState state) {
  DFS_ASSIGN_OR_RETURN(Volume* const volume, ChooseVolume());
  DFS_RETURN_IF_ERROR(volume->CheckSpace(kChunkSize));
  auto replica = std::make_shared<Replica>(*volume, block, state, stamp);
  const bool copy = state == ReplicaState::kTemporary;
  {
    std::lock_guard<std::mutex> hold(mutex_);
    auto& map = copy ? copies_ : replicas_;
    if (!map.emplace(block, replica).second) {
      return Status(Code::kBusy, "the block is being made here already");
    }
  }
  if (Status created = replica->CreateFiles(); !created) {
    Forget(replica);
    return created;
  }
  DFS_ASSIGN_OR_RETURN(const WriteTicket ticket, replica->FirstTicket());
  return OpenedReplica{std::move(replica), ticket};
}

Result<OpenedReplica> BlockStore::OpenForWrite(BlockId block, const OpenForWriteRequest& request) {
  if (!block.valid() || !request.stamp.valid() || request.old_stamp > request.stamp) {
    return Status(Code::kInvalidArgument, "block or stamp");
  }
  auto found = Find(block);
  if (found.ok()) {
    DFS_ASSIGN_OR_RETURN(const WriteTicket ticket, (*found)->OpenForWrite(request));
    return OpenedReplica{std::move(*found), ticket};
  }
  if (!found.error().Is(Code::kNotFound)) return found.error();
  if (request.acked_length > 0) {
    // Made anew here it would have a hole where the others have acknowledged bytes.
    return Status(Code::kNotFound, fmt::format("block {} is not here", block.value));
  }
  return CreateNew(block, request.stamp, ReplicaState::kRbw);
}

Result<OpenedReplica> BlockStore::CreateCopy(BlockId block, Stamp stamp) {
  if (!block.valid() || !stamp.valid()) return Status(Code::kInvalidArgument, "block or stamp");
  auto found = Find(block);
  if (found.ok()) {
    const ReplicaInfo info = (*found)->info();
    if (!GivesWayTo(info, stamp)) {
      // The namenode counts what exists already as copied: nothing else may be called so.
      const bool same = info.stamp == stamp && info.state == ReplicaState::kFinalized;
      return Status(
          same ? Code::kAlreadyExists : Code::kStaleStamp,
          fmt::format("block {} is here, {} at stamp {}", block.value, StateName(info.state),
                      std::max(info.stamp, info.recovery_stamp).value));
    }
  } else if (!found.error().Is(Code::kNotFound) && !found.error().Is(Code::kIoError)) {
    return found.error();
  }
  std::lock_guard<std::mutex> place(place_mutex_);
  ReplicaPtr unfinished;
  {
    std::lock_guard<std::mutex> hold(mutex_);
    auto it = copies_.find(block);
    if (it != copies_.end()) unfinished = it->second;
  }
  if (unfinished) {
    DFS_RETURN_IF_ERROR(unfinished->Destroy(unfinished->info().stamp));
    Forget(unfinished);
  }
  return CreateNew(block, stamp, ReplicaState::kTemporary);
}

Result<ReplicaPtr> BlockStore::Find(BlockId block) const {
  std::lock_guard<std::mutex> hold(mutex_);
  auto it = replicas_.find(block);
  if (it == replicas_.end()) {
    return Status(Code::kNotFound, fmt::format("block {} is not here", block.value));
  }
  if (it->second->volume().failed()) {
    return Status(Code::kIoError, fmt::format("block {}: volume {} has failed", block.value,
                                              it->second->volume().directory()));
  }
  return it->second;
}

void BlockStore::Forget(const ReplicaPtr& replica) {
  std::lock_guard<std::mutex> hold(mutex_);
  for (auto* map : {&replicas_, &copies_}) {
    auto it = map->find(replica->block());
    if (it != map->end() && it->second == replica) map->erase(it);
  }
}

// ---- Closing ----------------------------------------------------------------------------------

Status BlockStore::Finalize(const ReplicaPtr& replica, const WriteTicket& ticket, bool sync) {
  if (replica->info().state != ReplicaState::kTemporary) {
    DFS_RETURN_IF_ERROR(replica->Finalize(ticket, sync));
    if (!sync) {
      std::lock_guard<std::mutex> hold(mutex_);
      pending_.push_back({replica, clock_.BootNs()});
    }
    if (events_.finalized) events_.finalized(replica->info());
    return Status::Ok();
  }
  DFS_RETURN_IF_ERROR(replica->Finalize(ticket, true));
  if (Status placed = PutInPlace(replica); !placed) {
    Forget(replica);
    (void)replica->Destroy(replica->info().stamp).ok();
    return placed;
  }
  if (events_.finalized) events_.finalized(replica->info());
  return Status::Ok();
}

/// The complete copy becomes the replica. What is here gives way or not at this very moment, whoever opens or
/// fences it meanwhile.
Status BlockStore::PutInPlace(const ReplicaPtr& copy) {
  std::lock_guard<std::mutex> place(place_mutex_);
  ReplicaPtr stale;
  {
    std::lock_guard<std::mutex> hold(mutex_);
    auto it = replicas_.find(copy->block());
    if (it != replicas_.end()) stale = it->second;
  }
  // On a volume that has failed it is out of everybody's reach.
  if (stale && !stale->volume().failed()) {
    DFS_RETURN_IF_ERROR(stale->GiveWay(copy->info().stamp));
    Forget(stale);
    // Old bytes must not come back under the new name's sidecar.
    DFS_RETURN_IF_ERROR(env_.SyncDir(stale->volume().BlockDir(copy->block())));
  }
  DFS_RETURN_IF_ERROR(copy->MoveIntoPlace());
  std::lock_guard<std::mutex> hold(mutex_);
  auto it = copies_.find(copy->block());
  if (it != copies_.end() && it->second == copy) copies_.erase(it);
  replicas_[copy->block()] = copy;
  return Status::Ok();
}

void BlockStore::Recovered(const ReplicaPtr& replica) {
  if (events_.finalized) events_.finalized(replica->info());
}

void BlockStore::LeftOpen(BlockId block) {
  if (events_.left_open) events_.left_open(block);
}

void BlockStore::AbandonCopy(const ReplicaPtr& replica) {
  if (replica->info().state != ReplicaState::kTemporary) return;
  Forget(replica);
  if (Status gone = replica->Destroy(replica->info().stamp); !gone) {
    LogWarning("block {}: {}", replica->block().value, gone.ToString());
  }
}

Status BlockStore::Delete(BlockId block, Stamp max_stamp) {
  auto found = Find(block);
  if (!found) return found.error();
  const ReplicaInfo before = (*found)->info();
  DFS_RETURN_IF_ERROR((*found)->Destroy(max_stamp));
  Forget(*found);
  if (events_.deleted) events_.deleted(before);
  return Status::Ok();
}

void BlockStore::ReportUnreadable(const ReplicaPtr& replica, const Status& why) {
  const bool lost = why.Is(Code::kCorrupt) || why.Is(Code::kNotFound) || why.Is(Code::kIoError);
  if (lost && !replica->volume().failed()) ReportCorrupt(replica, why);
}

void BlockStore::ReportCorrupt(const ReplicaPtr& replica, const Status& why) {
  LogError("block {} on {}: {}", replica->block().value, replica->volume().directory(),
           why.ToString());
  replica->MarkCorrupt();
  if (events_.corrupt) events_.corrupt(replica->info());
}

int64_t BlockStore::FinalizePending(int64_t min_age_ns) {
  while (true) {
    ReplicaPtr replica;
    {
      std::lock_guard<std::mutex> hold(mutex_);
      if (pending_.empty()) return 0;
      const int64_t due = pending_.front().since_ns + min_age_ns;
      if (due > clock_.BootNs()) return due;
      replica = std::move(pending_.front().replica);
      pending_.pop_front();
    }
    if (Status done = replica->FinalizeOnDisk(); !done) {
      LogError("block {}: {}", replica->block().value, done.ToString());
    }
  }
}

// ---- Views ------------------------------------------------------------------------------------

size_t BlockStore::replicas() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return replicas_.size();
}

std::vector<ReplicaInfo> BlockStore::List() const {
  std::vector<ReplicaInfo> out;
  std::lock_guard<std::mutex> hold(mutex_);
  out.reserve(replicas_.size());
  for (const auto& [block, replica] : replicas_) {
    if (replica->volume().failed()) continue;
    ReplicaInfo info = replica->info();
    if (info.state != ReplicaState::kNone) out.push_back(info);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.block < b.block; });
  return out;
}

std::vector<VolumeInfo> BlockStore::Volumes() const {
  std::vector<VolumeInfo> out;
  for (const auto& volume : volumes_) {
    VolumeInfo info;
    info.storage_id = volume->storage_id();
    info.path = volume->directory();
    info.available_bytes = volume->AvailableBytes();
    info.capacity_bytes = volume->CapacityBytes();
    info.used_bytes = volume->used_bytes();
    info.failed = volume->failed();
    out.push_back(std::move(info));
  }
  for (const std::string& path : broken_) {
    VolumeInfo info;
    info.path = path;
    info.failed = true;
    out.push_back(std::move(info));
  }
  return out;
}

bool BlockStore::AllVolumesFailed() const {
  return std::all_of(volumes_.begin(), volumes_.end(), [](const auto& v) { return v->failed(); });
}

uint64_t BlockStore::highest_term() const {
  std::lock_guard<std::mutex> hold(mutex_);
  return highest_term_;
}

Status BlockStore::RecordTerm(uint64_t term) {
  {
    std::lock_guard<std::mutex> hold(mutex_);
    if (term <= highest_term_) return Status::Ok();
  }
  Status last(Code::kIoError, "no volume is left");
  bool recorded = false;
  for (const auto& volume : volumes_) {
    if (volume->failed()) continue;
    last = volume->RecordTerm(term);
    recorded |= last.ok();
  }
  if (!recorded) return last;
  std::lock_guard<std::mutex> hold(mutex_);
  highest_term_ = std::max(highest_term_, term);
  return Status::Ok();
}

}  // namespace dfs::dn
