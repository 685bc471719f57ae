// set_xattr, remove_xattr.
#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

Result<Inode> Load(Txn& txn, InodeId id, std::string_view name) {
  if (name.empty() || name.size() > kMaxXattrNameBytes)
    return Status(Code::kResultTooLarge, "an attribute's name has 1 to 255 bytes");
  if (name.find('\0') != std::string_view::npos)
    return Status(Code::kInvalidArgument, "an attribute's name may not contain a zero byte");
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.GetInode(id));
  // Only files and directories have "user." attributes: for others the mode bits mean other things.
  if (name.starts_with("user.") && !inode.IsRegular() && !inode.IsDirectory())
    return Status(Code::kNotPermitted, "only files and directories have user attributes");
  if (inode.nlink == 0) {
    DFS_ASSIGN_OR_RETURN(bool going, txn.Has(TodoKey(id)));
    if (going) return Status(Code::kStaleHandle, "the inode was removed");
  }
  DFS_RETURN_IF_ERROR(CheckSetXattr(txn.caller(), OwnershipOf(inode), name));
  return inode;
}

}  // namespace

Status ApplyOp(Txn& txn, const SetXattrCommand& command, std::string*) {
  if (command.value.size() > kMaxXattrValueBytes)
    return Status(Code::kResultTooLarge, "an attribute's value has at most 64 KiB");
  if (command.flags > (kXattrCreate | kXattrReplace))
    return Status(Code::kInvalidArgument, "bad flags");
  DFS_ASSIGN_OR_RETURN(Inode inode, Load(txn, command.inode, command.name));
  std::string old;
  DFS_ASSIGN_OR_RETURN(bool exists, txn.Get(XattrKey(inode.id, command.name), &old));
  if (exists && (command.flags & kXattrCreate) != 0)
    return Status(Code::kAlreadyExists, "the attribute exists");
  if (!exists && (command.flags & kXattrReplace) != 0)
    return Status(Code::kNoAttribute, "no such attribute");
  if (exists) {
    inode.xattr_bytes -= command.name.size() + old.size();
  } else {
    inode.xattr_count += 1;
  }
  inode.xattr_bytes += command.name.size() + command.value.size();
  if (inode.xattr_count > kMaxXattrs || inode.xattr_bytes > kMaxXattrBytes)
    return Status(Code::kNoSpace, "too many attributes");
  TouchAttributes(txn, &inode);
  txn.PutInode(inode);
  txn.Put(XattrKey(inode.id, command.name), command.value);
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const RemoveXattrCommand& command, std::string*) {
  DFS_ASSIGN_OR_RETURN(Inode inode, Load(txn, command.inode, command.name));
  std::string old;
  DFS_ASSIGN_OR_RETURN(bool exists, txn.Get(XattrKey(inode.id, command.name), &old));
  if (!exists) return Status(Code::kNoAttribute, "no such attribute");
  inode.xattr_count -= 1;
  inode.xattr_bytes -= command.name.size() + old.size();
  TouchAttributes(txn, &inode);
  txn.PutInode(inode);
  txn.Delete(XattrKey(inode.id, command.name));
  return Status::Ok();
}

}  // namespace dfs::nn
