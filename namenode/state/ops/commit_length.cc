#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const CommitLengthCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(RequireSession(txn));
  DFS_ASSIGN_OR_RETURN(Inode inode, LoadFile(txn, command.inode));
  DFS_ASSIGN_OR_RETURN(BlockRecord block,
                       LoadOwnOpenBlock(txn, inode, command.slot, command.block, command.stamp));
  DFS_RETURN_IF_ERROR(
      ApplyLength(txn, &inode, &block,
                  {command.length, command.file_size, command.mtime_ns, command.drop_inline}));
  txn.PutBlock(command.block, block);
  txn.PutInode(inode);
  *payload = EncodeResult(AttrResult{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
