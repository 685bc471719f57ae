#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const LinkCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(CheckName(command.name));
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.GetInode(command.inode));
  if (inode.IsDirectory()) return Status(Code::kNotPermitted, "directories have no further links");
  if (inode.nlink == 0) return Status(Code::kNotFound, "the file was removed");
  DFS_ASSIGN_OR_RETURN(Inode parent, LoadDirectory(txn, command.parent));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, txn.FindDentry(parent.id, command.name));
  if (dentry) return Status(Code::kAlreadyExists, "the name is taken");
  DFS_RETURN_IF_ERROR(CheckCreateIn(txn.caller(), OwnershipOf(parent)));
  if (inode.nlink >= kMaxLinks) return Status(Code::kTooManyLinks, "too many links");
  DFS_RETURN_IF_ERROR(CheckLive(txn, parent.id));
  inode.nlink += 1;
  TouchAttributes(txn, &inode);
  txn.Put(LinkKey(inode.id, parent.id, command.name), {});
  txn.PutInode(inode);
  AddEntry(txn, &parent, command.name, {inode.id, inode.type});
  txn.PutInode(parent);
  *payload = EncodeResult(AttrResult{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
