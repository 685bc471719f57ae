#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const WriteInlineCommand& command, std::string* payload) {
  DFS_ASSIGN_OR_RETURN(Inode inode, LoadFile(txn, command.inode));
  DFS_RETURN_IF_ERROR(CheckDataAccess(txn, inode));
  if (command.data_version != WriteInlineCommand::kAnyVersion &&
      command.data_version != inode.data_version)
    return Status(Code::kConflict, "the file changed meanwhile");
  DFS_RETURN_IF_ERROR(ReplaceInline(txn, &inode, command.data));
  DataChanged(txn, &inode, command.mtime_ns);
  txn.PutInode(inode);
  *payload = EncodeResult(AttrResult{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
