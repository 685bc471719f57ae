#include "datanode/store/volume.h"

#include <algorithm>
#include <cstdio>

#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "common/base/logging.h"

namespace dfs::dn {
namespace {

constexpr uint32_t kMagic = 0x3156'4E44;  // "DNV1"
constexpr uint16_t kFormatVersion = 1;
constexpr int kFanOut = 256;
/// The file system is asked again after so many bytes were granted.
constexpr uint64_t kSpaceRefreshBytes = 32u << 20;

std::string VersionPath(const std::string& directory) {
  return directory + "/VERSION";
}

std::string EncodeVersion(const VolumeVersion& v) {
  std::string out;
  Encoder e(&out);
  e.U32(kMagic);
  e.U16(kFormatVersion);
  e.Bytes(v.cluster_id);
  e.Id(v.datanode);
  e.U64(v.storage_id);
  e.U64(v.highest_term);
  e.U64(Hash64(out));
  return out;
}

Result<VolumeVersion> DecodeVersion(const std::string& directory, std::string_view bytes) {
  const auto bad = [&](const char* what) {
    return Status(Code::kCorrupt, VersionPath(directory) + ": " + what);
  };
  if (bytes.size() < sizeof(uint64_t)) return bad("too short");
  const std::string_view body = bytes.substr(0, bytes.size() - sizeof(uint64_t));
  Decoder sum(bytes.substr(body.size()));
  if (sum.U64() != Hash64(body)) return bad("checksum differs");
  Decoder d(body);
  if (d.U32() != kMagic) return bad("not a datanode's VERSION file");
  if (d.U16() != kFormatVersion) {
    return Status(Code::kVersionMismatch, VersionPath(directory) + ": unknown format version");
  }
  VolumeVersion v;
  v.cluster_id = std::string(d.Bytes());
  v.datanode = d.Id<DatanodeId>();
  v.storage_id = d.U64();
  v.highest_term = d.U64();
  if (!d.done() || !v.datanode.valid() || v.storage_id == 0) return bad("malformed");
  return v;
}

std::string Hex2(uint64_t byte) {
  char text[3];
  std::snprintf(text, sizeof(text), "%02x", static_cast<unsigned>(byte & 0xFF));
  return text;
}

}  // namespace

Result<VolumeVersion> Volume::Peek(Env& env, const std::string& directory) {
  if (!env.Exists(VersionPath(directory))) {
    return Status(Code::kNotFound, directory + " is not formatted");
  }
  DFS_ASSIGN_OR_RETURN(const std::string bytes, env.ReadFile(VersionPath(directory), 4096));
  return DecodeVersion(directory, bytes);
}

Result<std::unique_ptr<Volume>> Volume::Open(Env& env, const std::string& directory,
                                             const std::string& cluster_id, DatanodeId datanode,
                                             uint64_t reserve_bytes, Random& random) {
  if (!env.Exists(directory)) {
    return Status(Code::kNotFound, "volume " + directory + " does not exist (make it first)");
  }
  std::unique_ptr<Volume> volume(new Volume(env, directory, reserve_bytes));
  auto lock = env.Lock(directory + "/LOCK");
  if (!lock) return lock.error().WithContext("volume " + directory);
  volume->lock_ = std::move(*lock);
  auto version = Peek(env, directory);
  if (version.ok()) {
    volume->version_ = *version;
  } else if (version.error().Is(Code::kNotFound)) {
    DFS_RETURN_IF_ERROR(volume->Format(cluster_id, datanode, random));
  } else {
    return version.error();
  }
  if (volume->version_.cluster_id != cluster_id) {
    return Status(Code::kWrongCluster, "volume " + directory + " belongs to cluster " +
                                           volume->version_.cluster_id + ", not to " + cluster_id);
  }
  if (datanode.valid() && volume->version_.datanode != datanode) {
    return Status(Code::kInvalidArgument, "volume " + directory + " belongs to another datanode");
  }
  if (Status gone = env.RemoveTree(volume->TmpDir()); !gone && !gone.Is(Code::kNotFound)) {
    return gone.WithContext("volume " + directory);
  }
  DFS_RETURN_IF_ERROR(env.CreateDir(volume->TmpDir()));
  return volume;
}

Status Volume::Format(const std::string& cluster_id, DatanodeId datanode, Random& random) {
  DFS_ASSIGN_OR_RETURN(const auto names, env_.List(directory_));
  for (const std::string& name : names) {
    // What a formatting that was interrupted may have left.
    const bool ours = name == "LOCK" || name == "blocks" || name == "tmp" || name == "quarantine" ||
                      name == "VERSION.tmp" || name == "lost+found";
    if (!ours) {
      return Status(Code::kNotEmpty, "volume " + directory_ + " has no VERSION file but holds '" +
                                         Printable(name) + "': refusing to format it");
    }
  }
  const auto make = [this](const std::string& path) {
    Status status = env_.CreateDir(path);
    return status.Is(Code::kAlreadyExists) ? Status::Ok() : status;
  };
  const std::string blocks = directory_ + "/blocks";
  DFS_RETURN_IF_ERROR(make(blocks));
  for (int i = 0; i < kFanOut; i++) {
    const std::string dir = blocks + "/" + Hex2(static_cast<uint64_t>(i));
    DFS_RETURN_IF_ERROR(make(dir));
    DFS_ASSIGN_OR_RETURN(const auto found, env_.List(dir));
    if (!found.empty()) {
      return Status(Code::kCorrupt, "volume " + directory_ + " holds blocks but no VERSION file");
    }
  }
  DFS_RETURN_IF_ERROR(make(TmpDir()));
  DFS_RETURN_IF_ERROR(make(QuarantineDir()));
  DFS_RETURN_IF_ERROR(env_.SyncDir(blocks));
  version_.cluster_id = cluster_id;
  version_.datanode = datanode.valid() ? datanode : DatanodeId(random.Next() | 1);
  version_.storage_id = random.Next() | 1;
  DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(VersionPath(directory_), EncodeVersion(version_)));
  LogInfo("formatted volume {} for datanode {:016x}", directory_, version_.datanode.value);
  return Status::Ok();
}

std::string Volume::BlockDir(BlockId block) const {
  return directory_ + "/blocks/" + Hex2(block.value);
}

std::string Volume::DataPath(BlockId block) const {
  return BlockDir(block) + "/blk_" + std::to_string(block.value);
}

std::string Volume::MetaPath(BlockId block) const {
  return DataPath(block) + ".meta";
}

uint64_t Volume::AvailableBytes() {
  if (failed()) return 0;
  auto space = env_.Space(directory_);
  if (!space) {
    Fail(space.error());
    return 0;
  }
  std::lock_guard<std::mutex> hold(space_mutex_);
  space_ = *space;
  space_valid_ = true;
  unseen_bytes_ = 0;
  return space_.available_bytes > reserve_bytes_ ? space_.available_bytes - reserve_bytes_ : 0;
}

uint64_t Volume::CapacityBytes() {
  std::unique_lock<std::mutex> hold(space_mutex_);
  if (!space_valid_) {
    hold.unlock();
    AvailableBytes();
    hold.lock();
  }
  return space_.capacity_bytes > reserve_bytes_ ? space_.capacity_bytes - reserve_bytes_ : 0;
}

Status Volume::CheckSpace(uint64_t bytes) {
  bool refresh;
  {
    std::lock_guard<std::mutex> hold(space_mutex_);
    refresh = !space_valid_ || unseen_bytes_ + bytes > kSpaceRefreshBytes;
  }
  if (refresh) AvailableBytes();
  std::lock_guard<std::mutex> hold(space_mutex_);
  if (space_.available_bytes < reserve_bytes_ + unseen_bytes_ + bytes) {
    space_valid_ = false;
    return Status(Code::kNoSpace, "volume " + directory_ + " is full (" +
                                      std::to_string(reserve_bytes_) + " bytes are reserved)");
  }
  unseen_bytes_ += bytes;
  return Status::Ok();
}

void Volume::Fail(const Status& why) {
  if (failed_.exchange(true)) return;
  LogError("volume {} is taken out: {}", directory_, why.ToString());
}

Status Volume::RecordTerm(uint64_t term) {
  std::lock_guard<std::mutex> hold(version_mutex_);
  if (term <= version_.highest_term) return Status::Ok();
  VolumeVersion next = version_;
  next.highest_term = term;
  DFS_RETURN_IF_ERROR(env_.WriteFileAtomically(VersionPath(directory_), EncodeVersion(next)));
  version_ = next;
  return Status::Ok();
}

}  // namespace dfs::dn
