// begin_block_recovery, exclude_from_recovery, finish_block_recovery (protocols, section 6).
#include <algorithm>

#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

Result<BlockRecord> LoadRecovering(Txn& txn, BlockId id, Stamp recovery_stamp) {
  DFS_ASSIGN_OR_RETURN(std::optional<BlockRecord> block, txn.FindBlock(id));
  if (!block) return Status(Code::kNotFound, "the block was removed");
  if (block->state != BlockState::kRecovering || block->recovery_stamp != recovery_stamp)
    return Status(Code::kStaleStamp, "another recovery took over");
  return std::move(*block);
}

/// Committed bytes are gone from every member: note it, and cut a file that ended there.
Status RecordLoss(Txn& txn, Inode* inode, BlockId id, const BlockRecord& block, uint64_t length) {
  ShortenedBlock loss{inode->id, block.slot, id, block.length, length, txn.now()};
  txn.Put(ShortenedKey(inode->id, block.slot), EncodeShortened(loss));
  inode->shortened = true;
  uint64_t start = block.slot * inode->block_size;
  if (inode->size != start + block.length) return Status::Ok();
  return SetFileSize(txn, inode, start + length);
}

}  // namespace

Status ApplyOp(Txn& txn, const BeginBlockRecoveryCommand& command, std::string* payload) {
  DFS_ASSIGN_OR_RETURN(std::optional<BlockRecord> found, txn.FindBlock(command.block));
  if (!found) return Status(Code::kNotFound, "the block was removed");
  BlockRecord block = std::move(*found);
  if (block.LatestStamp() != command.expected_stamp)
    return Status(Code::kStaleStamp,
                  "the block's stamp is " + std::to_string(block.LatestStamp().value));
  if (block.state == BlockState::kClosed && !command.closed_too)
    return Status(Code::kConflict, "the block is closed");
  if (block.state == BlockState::kOpen && block.writer.valid() && !command.fence_writer)
    return Status(Code::kBusy, "a live session writes the block");
  DFS_RETURN_IF_ERROR(
      SetBlockState(txn, command.block, &block, BlockState::kRecovering, SessionId()));
  block.recovery_stamp = Stamp(txn.mutable_counters().next_stamp++);
  txn.PutBlock(command.block, block);
  *payload = EncodeResult(ResultOf(command.block, block, block.stamp));
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const ExcludeFromRecoveryCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(CheckMembers(command.survivors));
  DFS_ASSIGN_OR_RETURN(BlockRecord block,
                       LoadRecovering(txn, command.block, command.recovery_stamp));
  if (!IsSubset(command.survivors, block.members))
    return Status(Code::kConflict, "a survivor is not a member");
  block.members = command.survivors;
  txn.PutBlock(command.block, block);
  *payload = EncodeResult(ResultOf(command.block, block, block.stamp));
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const FinishBlockRecoveryCommand& command, std::string*) {
  DFS_ASSIGN_OR_RETURN(BlockRecord block,
                       LoadRecovering(txn, command.block, command.recovery_stamp));
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(block.inode));
  if (command.length > inode.block_size)
    return Status(Code::kInvalidArgument, "longer than a block of this file");
  if (command.length < block.length && !command.allow_shorter)
    return Status(Code::kInvalidArgument, "shorter than the committed length");
  bool nothing = command.length == 0 && command.members.empty();
  if (!nothing) DFS_RETURN_IF_ERROR(CheckMembers(command.members));
  if (!IsSubset(command.members, block.members))
    return Status(Code::kConflict, "not a member of the block");
  if (command.length < block.length)
    DFS_RETURN_IF_ERROR(RecordLoss(txn, &inode, command.block, block, command.length));
  if (nothing) {
    DFS_RETURN_IF_ERROR(RemoveBlock(txn, &inode, block.slot, command.block, block));
    DataChanged(txn, &inode, 0);
    txn.PutInode(inode);
    return Status::Ok();
  }
  SetBlockLength(&inode, &block, command.length);
  uint64_t end = command.length == 0 ? 0 : block.slot * inode.block_size + command.length;
  DFS_RETURN_IF_ERROR(SetFileSize(txn, &inode, std::max(inode.size, end)));
  DataChanged(txn, &inode, 0);
  block.stamp = block.recovery_stamp;
  block.recovery_stamp = Stamp();
  block.members = command.members;
  block.cut_stamp = Stamp();
  block.cut_length = 0;
  DFS_RETURN_IF_ERROR(SetBlockState(txn, command.block, &block, BlockState::kClosed, SessionId()));
  txn.PutBlock(command.block, block);
  txn.PutInode(inode);
  return Status::Ok();
}

}  // namespace dfs::nn
