#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const MkdirCommand& command, std::string* payload) {
  Inode parent;
  std::string_view name = command.name;
  if (command.parents) {
    // As mkdir -p: what is made on the way must let its owner go on.
    DFS_ASSIGN_OR_RETURN(Walked walked,
                         WalkParents(txn, command.parent, command.name, command.mode | 0300));
    parent = std::move(walked.parent);
    name = walked.name;
  } else {
    DFS_ASSIGN_OR_RETURN(parent, LoadDirectory(txn, command.parent));
  }
  DFS_RETURN_IF_ERROR(CheckName(name));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, txn.FindDentry(parent.id, name));
  if (dentry) {
    if (!command.parents) return Status(Code::kAlreadyExists, "the name is taken");
    if (dentry->type == FileType::kSymlink)
      return Status(Code::kConflict, "the path changed meanwhile");
    if (dentry->type != FileType::kDirectory)
      return Status(Code::kAlreadyExists, "the name is taken by a file");
    DFS_ASSIGN_OR_RETURN(Inode existing, txn.MustGetInode(dentry->inode));
    *payload = EncodeResult(CreateResult{existing, false});
    return Status::Ok();
  }
  DFS_ASSIGN_OR_RETURN(Inode made, MakeDirectory(txn, &parent, name, command.mode));
  *payload = EncodeResult(CreateResult{made, true});
  return Status::Ok();
}

}  // namespace dfs::nn
