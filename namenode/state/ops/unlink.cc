#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const UnlinkCommand& command, std::string*) {
  DFS_RETURN_IF_ERROR(CheckName(command.name));
  DFS_ASSIGN_OR_RETURN(Inode parent, LoadDirectory(txn, command.parent));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(Dentry dentry, txn.GetDentry(parent.id, command.name));
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(dentry.inode));
  DFS_RETURN_IF_ERROR(CheckRemove(txn.caller(), OwnershipOf(parent), OwnershipOf(inode)));
  if (inode.IsDirectory()) return Status(Code::kIsDirectory, "is a directory");
  RemoveEntry(txn, &parent, command.name, inode.type);
  txn.PutInode(parent);
  return DropLink(txn, &inode, parent.id, command.name, command.open_sessions, true);
}

}  // namespace dfs::nn
