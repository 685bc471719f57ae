#include <algorithm>

#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

struct Side {
  Inode* parent;
  std::string_view name;
  std::optional<Dentry> dentry;
  std::optional<Inode> inode;
};

Status LoadSide(Txn& txn, Inode* parent, std::string_view name, Side* side) {
  side->parent = parent;
  side->name = name;
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(*parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(side->dentry, txn.FindDentry(parent->id, name));
  if (!side->dentry) return Status::Ok();
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(side->dentry->inode));
  side->inode = std::move(inode);
  return Status::Ok();
}

bool Contains(const std::vector<InodeId>& chain, InodeId inode) {
  return std::find(chain.begin(), chain.end(), inode) != chain.end();
}

/// Takes usage off one chain of ancestors and puts it on another, without what they share.
Status MoveCharge(Txn& txn, std::vector<InodeId> from, std::vector<InodeId> to,
                  const Usage& usage) {
  while (!from.empty() && !to.empty() && from.back() == to.back()) {
    from.pop_back();
    to.pop_back();
  }
  auto add = [&txn](const std::vector<InodeId>& chain, const Usage& delta) -> Status {
    for (InodeId directory : chain) {
      DFS_ASSIGN_OR_RETURN(Usage sum, txn.GetUsage(directory));
      sum.files += delta.files;
      sum.directories += delta.directories;
      sum.bytes += delta.bytes;
      txn.Put(UsageKey(directory), EncodeUsage(sum));
    }
    return Status::Ok();
  };
  DFS_RETURN_IF_ERROR(add(from, Negated(usage)));
  return add(to, usage);
}

/// The inode behind side's entry now is `to`'s: home link, link records, charge, times.
Status MoveLink(Txn& txn, const Side& side, InodeId to, std::string_view to_name,
                const std::vector<InodeId>& from_chain, const std::vector<InodeId>& to_chain) {
  Inode inode = *side.inode;
  DFS_ASSIGN_OR_RETURN(bool home, IsHomeLink(txn, inode, side.parent->id, side.name));
  TouchAttributes(txn, &inode);
  if (home) {
    inode.parent = to;
    inode.name = to_name;
    if (side.parent->id != to) {
      DFS_ASSIGN_OR_RETURN(Usage usage, ChargeOf(txn, inode));
      DFS_RETURN_IF_ERROR(MoveCharge(txn, from_chain, to_chain, usage));
    }
  } else {
    txn.Delete(LinkKey(inode.id, side.parent->id, side.name));
    txn.Put(LinkKey(inode.id, to, to_name), {});
  }
  txn.PutInode(inode);
  return Status::Ok();
}

Status CheckKinds(const Inode& source, const Inode& target) {
  if (source.IsDirectory() && !target.IsDirectory())
    return Status(Code::kNotDirectory, "the target is not a directory");
  if (!source.IsDirectory() && target.IsDirectory())
    return Status(Code::kIsDirectory, "the target is a directory");
  if (target.IsDirectory() && target.entries > 0)
    return Status(Code::kNotEmpty, "the target directory is not empty");
  return Status::Ok();
}

/// Removes what the rename replaces; the entry itself is overwritten.
Status DropTarget(Txn& txn, const Side& target, const RenameArguments& a) {
  static const std::vector<SessionId> kNone;
  Inode gone = *target.inode;
  if (gone.IsDirectory()) {
    DFS_RETURN_IF_ERROR(Charge(txn, target.parent->id, {0, -1, 0}, ChargeMode::kAlways));
    return DropDirectory(txn, gone);
  }
  return DropLink(txn, &gone, target.parent->id, target.name,
                  a.open_sessions ? *a.open_sessions : kNone, true);
}

Status Exchange(Txn& txn, const Side& source, const Side& target,
                const std::vector<InodeId>& source_chain,
                const std::vector<InodeId>& target_chain) {
  DFS_RETURN_IF_ERROR(
      MoveLink(txn, source, target.parent->id, target.name, source_chain, target_chain));
  DFS_RETURN_IF_ERROR(
      MoveLink(txn, target, source.parent->id, source.name, target_chain, source_chain));
  txn.Put(DentryKey(source.parent->id, source.name), EncodeDentry(*target.dentry));
  txn.Put(DentryKey(target.parent->id, target.name), EncodeDentry(*source.dentry));
  int32_t moved = (source.inode->IsDirectory() ? 1 : 0) - (target.inode->IsDirectory() ? 1 : 0);
  source.parent->nlink = static_cast<uint32_t>(static_cast<int32_t>(source.parent->nlink) - moved);
  target.parent->nlink = static_cast<uint32_t>(static_cast<int32_t>(target.parent->nlink) + moved);
  return Status::Ok();
}

Status CheckPermissions(Txn& txn, const Side& source, const Side& target, bool exchange) {
  const Credentials& who = txn.caller();
  DFS_RETURN_IF_ERROR(CheckRemove(who, OwnershipOf(*source.parent), OwnershipOf(*source.inode)));
  if (target.inode) {
    DFS_RETURN_IF_ERROR(CheckRemove(who, OwnershipOf(*target.parent), OwnershipOf(*target.inode)));
  } else {
    DFS_RETURN_IF_ERROR(CheckCreateIn(who, OwnershipOf(*target.parent)));
  }
  if (source.parent->id == target.parent->id) return Status::Ok();
  if (source.inode->IsDirectory())
    DFS_RETURN_IF_ERROR(CheckMoveDirectory(who, OwnershipOf(*source.inode)));
  if (exchange && target.inode->IsDirectory())
    DFS_RETURN_IF_ERROR(CheckMoveDirectory(who, OwnershipOf(*target.inode)));
  return Status::Ok();
}

}  // namespace

Status RenameEntry(Txn& txn, const RenameArguments& a) {
  bool exchange = (a.flags & kRenameExchange) != 0;
  bool no_replace = (a.flags & kRenameNoReplace) != 0;
  if ((exchange && no_replace) || (a.flags & ~uint32_t{kRenameExchange | kRenameNoReplace}) != 0)
    return Status(Code::kInvalidArgument, "bad rename flags");
  DFS_RETURN_IF_ERROR(CheckName(a.source_name));
  DFS_RETURN_IF_ERROR(CheckName(a.target_name));
  DFS_ASSIGN_OR_RETURN(Inode source_parent, LoadDirectory(txn, a.source_parent));
  Inode other_parent;
  bool same_parent = a.source_parent == a.target_parent;
  if (!same_parent) {
    DFS_ASSIGN_OR_RETURN(other_parent, LoadDirectory(txn, a.target_parent));
  }
  Inode* target_parent = same_parent ? &source_parent : &other_parent;
  Side source, target;
  DFS_RETURN_IF_ERROR(LoadSide(txn, &source_parent, a.source_name, &source));
  DFS_RETURN_IF_ERROR(LoadSide(txn, target_parent, a.target_name, &target));
  if (!source.inode || (exchange && !target.inode))
    return Status(Code::kNotFound, "no such file or directory");
  if (target.inode && no_replace) return Status(Code::kAlreadyExists, "the target exists");

  std::vector<InodeId> source_chain, target_chain;
  if (!same_parent) {
    DFS_ASSIGN_OR_RETURN(source_chain, Ancestors(txn, a.source_parent));
    DFS_ASSIGN_OR_RETURN(target_chain, Ancestors(txn, a.target_parent));
    if (target_chain.back() != kRootInode)
      return Status(Code::kNotFound, "the target directory was removed");
    if (target_chain.size() > kMaxDepth)
      return Status(Code::kNameTooLong, "directories are nested too deeply");
    if (Contains(target_chain, source.inode->id))
      return Status(Code::kInvalidArgument, "a directory cannot move into itself");
    if (target.inode && Contains(source_chain, target.inode->id))
      return exchange ? Status(Code::kInvalidArgument, "a directory cannot move into itself")
                      : Status(Code::kNotEmpty, "the target directory is not empty");
  }
  DFS_RETURN_IF_ERROR(CheckPermissions(txn, source, target, exchange));
  // Two names of one file: POSIX wants nothing to happen.
  if (target.inode && target.inode->id == source.inode->id) return Status::Ok();

  if (exchange) {
    DFS_RETURN_IF_ERROR(Exchange(txn, source, target, source_chain, target_chain));
  } else {
    if (target.inode) {
      DFS_RETURN_IF_ERROR(CheckKinds(*source.inode, *target.inode));
      DFS_RETURN_IF_ERROR(DropTarget(txn, target, a));
      RemoveEntry(txn, target_parent, a.target_name, target.inode->type);
    }
    DFS_RETURN_IF_ERROR(
        MoveLink(txn, source, a.target_parent, a.target_name, source_chain, target_chain));
    RemoveEntry(txn, &source_parent, a.source_name, source.inode->type);
    AddEntry(txn, target_parent, a.target_name, *source.dentry);
  }
  TouchContent(txn, &source_parent);
  TouchContent(txn, target_parent);
  txn.PutInode(source_parent);
  if (!same_parent) txn.PutInode(other_parent);
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const RenameCommand& command, std::string*) {
  RenameArguments a{command.source_parent, command.source_name, command.target_parent,
                    command.target_name,   command.flags,       &command.open_sessions};
  return RenameEntry(txn, a);
}

}  // namespace dfs::nn
