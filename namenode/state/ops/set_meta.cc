#include "namenode/state/ops/ops.h"

#include "namenode/state/state_machine.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const SetMetaCommand& command, std::string*) {
  Counters& counters = txn.mutable_counters();
  if (command.cluster_id.size() > kMaxNameBytes)
    return Status(Code::kInvalidArgument, "cluster id too long");
  if (counters.initialized && !command.cluster_id.empty() &&
      command.cluster_id != counters.cluster_id)
    return Status(Code::kWrongCluster, "this is cluster " + counters.cluster_id);
  if (command.feature_level != 0) {
    if (command.feature_level < counters.feature_level)
      return Status(Code::kInvalidArgument, "the feature level only rises");
    // Every member must come to the same answer, so one that does not know the level has to stop.
    if (command.feature_level > kSupportedFeatureLevel)
      return txn.Latch(
          Status(Code::kVersionMismatch, "feature level " + std::to_string(command.feature_level) +
                                             " is unknown to this version: upgrade this namenode"));
    counters.feature_level = command.feature_level;
  }
  if (counters.initialized) return Status::Ok();
  counters.initialized = true;
  counters.cluster_id = command.cluster_id;
  DFS_ASSIGN_OR_RETURN(Inode root, txn.MustGetInode(kRootInode));
  root.uid = command.root_uid;
  root.gid = command.root_gid;
  root.mode = command.root_mode & 07777;
  root.atime_ns = root.mtime_ns = root.ctime_ns = txn.now();
  txn.PutInode(root);
  return Status::Ok();
}

}  // namespace dfs::nn
