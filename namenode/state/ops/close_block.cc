#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const CloseBlockCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(RequireSession(txn));
  DFS_RETURN_IF_ERROR(CheckMembers(command.members));
  DFS_ASSIGN_OR_RETURN(Inode inode, LoadFile(txn, command.inode));
  DFS_ASSIGN_OR_RETURN(BlockRecord block,
                       LoadOwnOpenBlock(txn, inode, command.slot, command.block, command.stamp));
  if (!IsSubset(command.members, block.members))
    return Status(Code::kConflict, "a closing member is not a member");
  DFS_RETURN_IF_ERROR(
      ApplyLength(txn, &inode, &block,
                  {command.length, command.file_size, command.mtime_ns, command.drop_inline}));
  block.members = command.members;
  // All of them took on a stamp above the cut, and were cut then.
  block.cut_stamp = Stamp();
  block.cut_length = 0;
  DFS_RETURN_IF_ERROR(SetBlockState(txn, command.block, &block, BlockState::kClosed, SessionId()));
  txn.PutBlock(command.block, block);
  txn.PutInode(inode);
  if (command.rename_parent.valid()) {
    if (inode.nlink == 0) return Status(Code::kNotFound, "the file was removed");
    // Copies: the rename rewrites the inode.
    InodeId source_parent = inode.parent;
    std::string source_name = inode.name;
    RenameArguments a{source_parent,
                      source_name,
                      command.rename_parent,
                      command.rename_name,
                      command.rename_replace ? 0u : uint32_t{kRenameNoReplace},
                      &command.open_sessions};
    DFS_RETURN_IF_ERROR(RenameEntry(txn, a));
    DFS_ASSIGN_OR_RETURN(inode, txn.MustGetInode(inode.id));
  }
  *payload = EncodeResult(AttrResult{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
