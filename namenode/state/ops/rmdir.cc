#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const RmdirCommand& command, std::string*) {
  DFS_RETURN_IF_ERROR(CheckName(command.name));
  DFS_ASSIGN_OR_RETURN(Inode parent, LoadDirectory(txn, command.parent));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(Dentry dentry, txn.GetDentry(parent.id, command.name));
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(dentry.inode));
  DFS_RETURN_IF_ERROR(CheckRemove(txn.caller(), OwnershipOf(parent), OwnershipOf(inode)));
  if (!inode.IsDirectory()) return Status(Code::kNotDirectory, "not a directory");
  if (inode.entries > 0) return Status(Code::kNotEmpty, "the directory is not empty");
  RemoveEntry(txn, &parent, command.name, inode.type);
  txn.PutInode(parent);
  DFS_RETURN_IF_ERROR(Charge(txn, parent.id, {0, -1, 0}, ChargeMode::kAlways));
  return DropDirectory(txn, inode);
}

}  // namespace dfs::nn
