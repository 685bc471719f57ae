#include "common/base/defects.h"
#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

/// Whether this session may open an existing block now.
Status CheckExisting(const Txn& txn, const OpenBlockCommand& command, const BlockRecord& block) {
  const CommandHeader& header = txn.header();
  if (block.NeedsRecovery())
    return Status(Code::kBusy, "the block is being recovered from a writer that ended")
        .WithRetryAfter(200);
  bool own = block.state == BlockState::kOpen && block.writer == header.session &&
             block.writer_incarnation == header.incarnation;
  if (block.state == BlockState::kOpen && !own)
    return Status(Code::kBusy, "another client is writing the block").WithRetryAfter(200);
  if (block.stamp != command.expected_stamp && !DefectOn(Defect::kOpenNotCompareAndSet))
    return Status(Code::kStaleStamp, "the block's stamp is " + std::to_string(block.stamp.value));
  // Nobody but the members of an open block has its acknowledged bytes, when there are any.
  const bool anew = command.members_anew && block.length == 0;
  if (own && !anew && !IsSubset(command.members, block.members))
    return Status(Code::kConflict, "not a member of the open block");
  return Status::Ok();
}

}  // namespace

Status ApplyOp(Txn& txn, const OpenBlockCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(RequireSession(txn));
  DFS_RETURN_IF_ERROR(CheckMembers(command.members));
  DFS_ASSIGN_OR_RETURN(Inode inode, LoadFile(txn, command.inode));
  DFS_RETURN_IF_ERROR(CheckDataAccess(txn, inode));
  if (command.slot >= kMaxFileBytes / inode.block_size)
    return Status(Code::kFileTooBig, "beyond the largest file");
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(txn.header().session));
  if (!session) return Status(Code::kUnknownSession, "no such session");
  DFS_ASSIGN_OR_RETURN(std::optional<SlotRecord> slot, txn.FindSlot(inode.id, command.slot));
  if (!slot) {
    if (command.expected_stamp.valid())
      return Status(Code::kStaleStamp, "the slot has no block (any more)");
    // Once it has blocks its content is theirs, and who writes those is told by their stamps.
    if (command.data_version != 0 && inode.block_count == 0 &&
        command.data_version != inode.data_version && !DefectOn(Defect::kGrowthNotCompared))
      return Status(Code::kConflict, "another client has written to the file");
    DFS_ASSIGN_OR_RETURN(OpenBlockResult result,
                         OpenNewBlock(txn, &inode, command.slot, command.members));
    txn.PutInode(inode);
    *payload = EncodeResult(result);
    return Status::Ok();
  }
  const BlockId id = slot->block;
  DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(id));
  DFS_RETURN_IF_ERROR(CheckExisting(txn, command, block));
  const Stamp old_stamp = block.stamp;
  if (block.state == BlockState::kClosed && session->open_blocks >= kMaxOpenBlocksPerSession)
    return Status(Code::kOverloaded, "too many open blocks: close some");
  block.stamp = Stamp(txn.mutable_counters().next_stamp++);
  block.members = command.members;
  DFS_RETURN_IF_ERROR(SetBlockState(txn, id, &block, BlockState::kOpen, txn.header().session));
  inode.data_version += 1;
  txn.PutBlock(id, block);
  txn.PutInode(inode);
  *payload = EncodeResult(ResultOf(id, block, old_stamp));
  return Status::Ok();
}

}  // namespace dfs::nn
