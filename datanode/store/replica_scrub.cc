// Replica, continued: what the scanner asks of it.
#include "common/base/logging.h"
#include "datanode/store/replica.h"
#include "datanode/store/volume.h"

namespace dfs::dn {

/// mutex_ held, and the replica finalized on disk: then its header says what is in memory. The other slot is older,
/// so damage to the current one would make it an unfinished replica at the next start.
Status Replica::CheckHeader() const {
  DFS_ASSIGN_OR_RETURN(auto meta,
                       volume_->env().Open(DataPath() + ".meta", Env::OpenMode::kReadOnly));
  Sidecar sidecar(std::move(meta), volume_->version().cluster_id);
  DFS_ASSIGN_OR_RETURN(const SidecarHeader header, sidecar.ReadHeader());
  if (header.block != block_ || header.state != ReplicaState::kFinalized ||
      header.stamp != now_.stamp || header.length != now_.length) {
    return Status(Code::kCorrupt, fmt::format("block {}: its header says {} at stamp {} with {} "
                                              "bytes, not finalized at {} with {}",
                                              block_.value, StateName(header.state),
                                              header.stamp.value, header.length, now_.stamp.value,
                                              now_.length));
  }
  return Status::Ok();
}

Result<uint64_t> Replica::Scrub(Stamp stamp, uint64_t offset, uint64_t length) {
  const auto scannable = [stamp](const ReplicaInfo& info) {
    return info.state == ReplicaState::kFinalized && info.on_disk && info.stamp == stamp;
  };
  const auto changed = [this] {
    return Status(Code::kStaleStamp, fmt::format("block {} has changed", block_.value));
  };
  const auto verify = [&](const ReplicaInfo& info) -> Result<uint64_t> {
    if (offset >= info.length || length == 0) return uint64_t{0};
    DFS_ASSIGN_OR_RETURN(const auto files, OpenFiles());
    // What is in the page cache may be well when the disk is not; and what was read here only to be verified is not
    // worth the room of what readers want.
    files->data->DropCache(offset, length);
    auto data = ReadVerified(*files, offset, length, info.length);
    files->data->DropCache(offset, length);
    if (!data) return data.error();
    return uint64_t{data->data.size()};
  };
  const auto found_bad = [this](Status why) {
    if (!volume_->failed()) corrupt_ = true;
    return why;
  };
  if (offset == 0) {
    std::lock_guard<std::mutex> hold(mutex_);
    if (gone_ || !scannable(now_)) return changed();
    if (Status header = CheckHeader(); !header) return found_bad(header);
  }
  const ReplicaInfo before = info();
  if (!scannable(before)) return changed();
  if (auto verified = verify(before); verified.ok()) return verified;
  // A second look, while nobody can open, replace or delete the replica.
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_ || !scannable(now_)) return changed();
  auto verified = verify(now_);
  if (!verified) return found_bad(verified.error());
  return verified;
}

}  // namespace dfs::dn
