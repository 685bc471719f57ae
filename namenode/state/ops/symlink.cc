#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const SymlinkCommand& command, std::string* payload) {
  if (command.target.empty()) return Status(Code::kNotFound, "empty target");
  if (command.target.size() >= kMaxPathBytes)
    return Status(Code::kNameTooLong, "a target may have 4095 bytes");
  if (command.target.find('\0') != std::string::npos)
    return Status(Code::kInvalidArgument, "a target may not contain a zero byte");
  DFS_RETURN_IF_ERROR(CheckName(command.name));
  DFS_ASSIGN_OR_RETURN(Inode parent, LoadDirectory(txn, command.parent));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, txn.FindDentry(parent.id, command.name));
  if (dentry) return Status(Code::kAlreadyExists, "the name is taken");
  DFS_RETURN_IF_ERROR(CheckCreateIn(txn.caller(), OwnershipOf(parent)));
  Inode inode = NewInode(txn, parent, command.name, FileType::kSymlink, 0777);
  inode.inline_data = command.target;
  inode.size = command.target.size();
  AddEntry(txn, &parent, command.name, {inode.id, inode.type});
  txn.PutInode(parent);
  txn.PutInode(inode);
  DFS_RETURN_IF_ERROR(
      Charge(txn, parent.id, {1, 0, static_cast<int64_t>(inode.size)}, ChargeMode::kMustBeLive));
  *payload = EncodeResult(AttrResult{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
