// Replica, continued: how a copy takes the place of another replica, and how a replica goes.
#include "common/base/check.h"
#include "common/base/logging.h"
#include "datanode/store/replica.h"
#include "datanode/store/volume.h"

namespace dfs::dn {

bool GivesWayTo(const ReplicaInfo& here, Stamp stamp) {
  if (here.stamp > stamp || here.recovery_stamp > stamp) return false;
  return here.stamp < stamp || here.corrupt || here.state != ReplicaState::kFinalized;
}

Status Replica::MoveIntoPlace() {
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_) return Status(Code::kStaleStamp, "the copy was given up");
  Env& env = volume_->env();
  const std::string from = DataPath(), to = volume_->DataPath(block_);
  std::lock_guard<std::mutex> files_hold(files_mutex_);
  for (const char* suffix : {"", ".meta"}) {
    if (Status moved = env.Rename(from + suffix, to + suffix); !moved) {
      volume_->Fail(moved);
      return moved;
    }
  }
  in_tmp_ = false;
  if (Status synced = env.SyncDir(volume_->BlockDir(block_)); !synced) {
    volume_->Fail(synced);
    return synced;
  }
  return Status::Ok();
}

Status Replica::Destroy(Stamp max_stamp) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_) return Status::Ok();
  if (now_.stamp > max_stamp) {
    return Status(Code::kStaleStamp, fmt::format("block {} has stamp {} here, above {}",
                                                 block_.value, now_.stamp.value, max_stamp.value));
  }
  return DestroyLocked();
}

Status Replica::GiveWay(Stamp stamp) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (gone_) return Status::Ok();
  ReplicaInfo here = now_;
  here.corrupt = corrupt_;
  if (!GivesWayTo(here, stamp)) {
    return Status(
        Code::kStaleStamp,
        fmt::format("block {} is {} at stamp {} here, which a copy at {} does not replace",
                    block_.value, StateName(here.state),
                    std::max(here.stamp, here.recovery_stamp).value, stamp.value));
  }
  LogInfo("block {}: the copy at stamp {} replaces the {} replica at {}", block_.value, stamp.value,
          here.corrupt ? "corrupt" : StateName(here.state), here.stamp.value);
  return DestroyLocked();
}

Status Replica::DestroyLocked() {
  gone_ = true;
  epoch_++;
  now_.state = ReplicaState::kNone;
  volume_->AddUsed(-static_cast<int64_t>(now_.length));
  Publish();
  const std::string path = DataPath();
  pinned_.reset();
  Env& env = volume_->env();
  // Readers that have the files open go on; a crash in between leaves a sidecar that says nothing.
  Status data = env.Remove(path);
  Status meta = env.Remove(path + ".meta");
  if (!data && !data.Is(Code::kNotFound)) return data;
  if (!meta && !meta.Is(Code::kNotFound)) return meta;
  return Status::Ok();
}

}  // namespace dfs::dn
