#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

Status CheckArguments(const CreateCommand& c) {
  if (c.type == FileType::kUnknown || c.type == FileType::kDirectory ||
      c.type == FileType::kSymlink || c.type > FileType::kBlockDevice)
    return Status(Code::kInvalidArgument, "bad file type");
  if (c.type != FileType::kRegular && (c.has_inline || c.overwrite))
    return Status(Code::kInvalidArgument, "only regular files have data");
  if (c.replication < 1 || c.replication > kMaxReplication)
    return Status(Code::kInvalidArgument, "replication must be 1 to 16");
  if (c.block_size < kMinBlockBytes || c.block_size > kMaxBlockBytes ||
      c.block_size % kMinBlockBytes != 0)
    return Status(Code::kInvalidArgument, "bad block size");
  if (c.inline_data.size() > kMaxInlineBytes)
    return Status(Code::kInvalidArgument, "too long to be inline");
  return Status::Ok();
}

/// The reply, after the first block was opened when that was asked for; puts the inode.
Status Finish(Txn& txn, const CreateCommand& c, Inode inode, bool created, std::string* payload) {
  if (!c.open_first) {
    txn.PutInode(inode);
    *payload = EncodeResult(CreateResult{inode, created});
    return Status::Ok();
  }
  CreateOpenResult result;
  const bool empty = inode.IsRegular() && inode.size == 0 && inode.block_count == 0;
  if (empty && !c.first_members.empty() && txn.header().session.valid()) {
    Result<OpenBlockResult> opened = OpenNewBlock(txn, &inode, 0, c.first_members);
    // Too many are open: the writer is told when it opens the block itself.
    if (!opened && !opened.error().Is(Code::kOverloaded)) return opened.error();
    if (opened) result.block = std::move(*opened);
    result.opened = result.block.block.valid();
  }
  txn.PutInode(inode);
  result.attr = inode;
  result.created = created;
  *payload = EncodeResult(result);
  return Status::Ok();
}

Status OpenExisting(Txn& txn, const CreateCommand& c, const Dentry& dentry, std::string* payload) {
  if (c.exclusive) return Status(Code::kAlreadyExists, "the name is taken");
  if (dentry.type == FileType::kDirectory) return Status(Code::kIsDirectory, "is a directory");
  if (dentry.type == FileType::kSymlink)
    return Status(Code::kConflict, "a symlink: resolve the path first");
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(dentry.inode));
  if (c.overwrite) {
    if (!inode.IsRegular()) return Status(Code::kInvalidArgument, "not a regular file");
    DFS_RETURN_IF_ERROR(CheckTruncate(txn.caller(), OwnershipOf(inode)));
    DFS_RETURN_IF_ERROR(TruncateFile(txn, &inode, 0));
    if (c.has_inline) DFS_RETURN_IF_ERROR(ReplaceInline(txn, &inode, c.inline_data));
    if (c.mtime_ns != 0) inode.mtime_ns = c.mtime_ns;
    return Finish(txn, c, std::move(inode), false, payload);
  }
  // It is left alone.
  *payload = c.open_first ? EncodeResult(CreateOpenResult{inode, false, false, {}})
                          : EncodeResult(CreateResult{inode, false});
  return Status::Ok();
}

}  // namespace

Status ApplyOp(Txn& txn, const CreateCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(CheckArguments(command));
  Inode parent;
  std::string_view name = command.name;
  if (command.parents) {
    DFS_ASSIGN_OR_RETURN(Walked walked, WalkParents(txn, command.parent, command.name, 0755));
    parent = std::move(walked.parent);
    name = walked.name;
  } else {
    DFS_ASSIGN_OR_RETURN(parent, LoadDirectory(txn, command.parent));
  }
  DFS_RETURN_IF_ERROR(CheckName(name));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, txn.FindDentry(parent.id, name));
  if (dentry) return OpenExisting(txn, command, *dentry, payload);

  DFS_RETURN_IF_ERROR(CheckCreateIn(txn.caller(), OwnershipOf(parent)));
  bool device = command.type == FileType::kCharDevice || command.type == FileType::kBlockDevice;
  if (device && !txn.caller().IsRoot())
    return Status(Code::kNotPermitted, "only root makes devices");
  Inode inode = NewInode(txn, parent, name, command.type, command.mode);
  if (inode.IsRegular()) {
    inode.replication = command.replication;
    inode.block_size = command.block_size;
    inode.has_inline = !command.inline_data.empty();
    inode.inline_data = command.inline_data;
    inode.size = inode.allocated_bytes = inode.inline_data.size();
  } else if (device) {
    inode.rdev = command.rdev;
  }
  if (command.mtime_ns != 0) inode.mtime_ns = command.mtime_ns;
  AddEntry(txn, &parent, name, {inode.id, inode.type});
  txn.PutInode(parent);
  DFS_RETURN_IF_ERROR(
      Charge(txn, parent.id, {1, 0, static_cast<int64_t>(inode.size)}, ChargeMode::kMustBeLive));
  return Finish(txn, command, std::move(inode), true, payload);
}

}  // namespace dfs::nn
