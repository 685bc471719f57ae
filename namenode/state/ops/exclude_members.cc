#include "common/base/defects.h"
#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const ExcludeMembersCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(RequireSession(txn));
  DFS_RETURN_IF_ERROR(CheckMembers(command.survivors));
  DFS_ASSIGN_OR_RETURN(Inode inode, LoadFile(txn, command.inode));
  DFS_ASSIGN_OR_RETURN(BlockRecord block,
                       LoadOwnOpenBlock(txn, inode, command.slot, command.block, command.stamp));
  if (!IsSubset(command.survivors, block.members))
    return Status(Code::kConflict, "a survivor is not a member");
  Stamp old_stamp = block.stamp;
  block.stamp = Stamp(txn.mutable_counters().next_stamp++);
  std::vector<DatanodeId> before = block.members;
  block.members = command.survivors;
  *payload = EncodeResult(ResultOf(command.block, block, old_stamp));
  if (DefectOn(Defect::kExclusionNotCommitted)) block.members = before;
  txn.PutBlock(command.block, block);
  return Status::Ok();
}

}  // namespace dfs::nn
