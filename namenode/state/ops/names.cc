#include "namenode/state/ops/names.h"

#include <algorithm>

#include "namenode/state/ops/locks.h"

namespace dfs::nn {

Ownership OwnershipOf(const InodeAttr& attr) {
  return {attr.uid, attr.gid, attr.mode, attr.IsDirectory()};
}

int64_t NowFor(const Txn& txn, const InodeAttr& attr) {
  return std::max(txn.now(), attr.ctime_ns);
}

void TouchContent(const Txn& txn, InodeAttr* attr) {
  attr->ctime_ns = NowFor(txn, *attr);
  attr->mtime_ns = attr->ctime_ns;
}

void TouchAttributes(const Txn& txn, InodeAttr* attr) {
  attr->ctime_ns = NowFor(txn, *attr);
}

Result<Inode> LoadDirectory(Txn& txn, InodeId id) {
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.GetInode(id));
  if (!inode.IsDirectory()) return Status(Code::kNotDirectory, "not a directory");
  if (inode.nlink == 0) return Status(Code::kNotFound, "the directory was removed");
  return inode;
}

Usage Negated(const Usage& usage) {
  return {-usage.files, -usage.directories, -usage.bytes};
}

Status Charge(Txn& txn, InodeId directory, const Usage& delta, ChargeMode mode) {
  InodeId at = directory;
  for (uint32_t depth = 0;; ++depth) {
    DFS_ASSIGN_OR_RETURN(InodeHead head, txn.MustGetHead(at));
    if (head.nlink == 0) {
      if (mode == ChargeMode::kAlways) return Status::Ok();
      return Status(Code::kNotFound, "the directory was removed");
    }
    if (depth > kMaxDepth && mode == ChargeMode::kMustBeLive)
      return Status(Code::kNameTooLong, "directories are nested too deeply");
    DFS_ASSIGN_OR_RETURN(Usage usage, txn.GetUsage(at));
    usage.files += delta.files;
    usage.directories += delta.directories;
    usage.bytes += delta.bytes;
    txn.Put(UsageKey(at), EncodeUsage(usage));
    if (at == kRootInode) return Status::Ok();
    at = head.parent;
  }
}

Status CheckLive(Txn& txn, InodeId directory) {
  for (InodeId at = directory; at != kRootInode;) {
    DFS_ASSIGN_OR_RETURN(InodeHead head, txn.MustGetHead(at));
    if (head.nlink == 0) return Status(Code::kNotFound, "the directory was removed");
    at = head.parent;
  }
  return Status::Ok();
}

Result<std::vector<InodeId>> Ancestors(Txn& txn, InodeId directory) {
  std::vector<InodeId> chain;
  for (InodeId at = directory;;) {
    chain.push_back(at);
    if (at == kRootInode) return chain;
    DFS_ASSIGN_OR_RETURN(InodeHead head, txn.MustGetHead(at));
    if (head.nlink == 0) return chain;
    at = head.parent;
  }
}

Result<Usage> ChargeOf(Txn& txn, const Inode& inode) {
  if (!inode.IsDirectory()) return Usage{1, 0, static_cast<int64_t>(inode.size)};
  DFS_ASSIGN_OR_RETURN(Usage usage, txn.GetUsage(inode.id));
  usage.directories += 1;
  return usage;
}

void AddEntry(Txn& txn, Inode* parent, std::string_view name, const Dentry& dentry) {
  txn.Put(DentryKey(parent->id, name), EncodeDentry(dentry));
  parent->entries += 1;
  if (dentry.type == FileType::kDirectory) parent->nlink += 1;
  TouchContent(txn, parent);
}

void RemoveEntry(Txn& txn, Inode* parent, std::string_view name, FileType type) {
  txn.Delete(DentryKey(parent->id, name));
  parent->entries -= 1;
  if (type == FileType::kDirectory) parent->nlink -= 1;
  TouchContent(txn, parent);
}

Inode NewInode(Txn& txn, const Inode& parent, std::string_view name, FileType type, uint32_t mode) {
  Inode inode;
  inode.id = InodeId(txn.mutable_counters().next_inode++);
  inode.type = type;
  Ownership owner =
      OwnershipOfNew(txn.caller(), OwnershipOf(parent), mode & 07777, type == FileType::kDirectory);
  inode.mode = owner.mode;
  inode.uid = owner.uid;
  inode.gid = owner.gid;
  inode.nlink = type == FileType::kDirectory ? 2 : 1;
  inode.parent = parent.id;
  inode.name = name;
  inode.ctime_ns = inode.mtime_ns = inode.atime_ns = txn.now();
  inode.data_version = 1;
  return inode;
}

Result<Inode> MakeDirectory(Txn& txn, Inode* parent, std::string_view name, uint32_t mode) {
  DFS_RETURN_IF_ERROR(CheckName(name));
  DFS_RETURN_IF_ERROR(CheckCreateIn(txn.caller(), OwnershipOf(*parent)));
  Inode inode = NewInode(txn, *parent, name, FileType::kDirectory, mode);
  AddEntry(txn, parent, name, {inode.id, inode.type});
  txn.PutInode(*parent);
  txn.PutInode(inode);
  DFS_RETURN_IF_ERROR(Charge(txn, parent->id, {0, 1, 0}, ChargeMode::kMustBeLive));
  return inode;
}

Result<Walked> WalkParents(Txn& txn, InodeId start, std::string_view path,
                           uint32_t directory_mode) {
  if (path.size() > kMaxPathBytes) return Status(Code::kNameTooLong, "path too long");
  DFS_ASSIGN_OR_RETURN(Inode at, LoadDirectory(txn, start));
  while (!path.empty() && path.back() == '/') path.remove_suffix(1);
  for (;;) {
    while (!path.empty() && path.front() == '/') path.remove_prefix(1);
    size_t slash = path.find('/');
    std::string_view name = path.substr(0, slash);
    if (slash == std::string_view::npos) return Walked{std::move(at), name};
    path.remove_prefix(slash);
    if (name == ".") continue;
    if (name == "..") return Status(Code::kConflict, "the path changed meanwhile");
    DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(at), kMayExecute));
    DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, txn.FindDentry(at.id, name));
    if (!dentry) {
      DFS_ASSIGN_OR_RETURN(at, MakeDirectory(txn, &at, name, directory_mode));
    } else if (dentry->type == FileType::kDirectory) {
      DFS_ASSIGN_OR_RETURN(at, txn.MustGetInode(dentry->inode));
    } else if (dentry->type == FileType::kSymlink) {
      return Status(Code::kConflict, "the path changed meanwhile");
    } else {
      return Status(Code::kNotDirectory, "a component of the path is not a directory");
    }
  }
}

Result<bool> IsHomeLink(Txn& txn, const Inode& inode, InodeId parent, std::string_view name) {
  if (!inode.IsDirectory() && inode.nlink > 1) {
    DFS_ASSIGN_OR_RETURN(bool further, txn.Has(LinkKey(inode.id, parent, name)));
    if (further) return false;
  }
  if (inode.parent != parent || inode.name != name)
    return txn.Latch(Status(Code::kCorrupt, "a directory entry does not match its inode " +
                                                std::to_string(inode.id.value)));
  return true;
}

Status DropLink(Txn& txn, Inode* inode, InodeId parent, std::string_view name,
                const std::vector<SessionId>& open_sessions, bool charged) {
  DFS_ASSIGN_OR_RETURN(bool home, IsHomeLink(txn, *inode, parent, name));
  TouchAttributes(txn, inode);
  inode->nlink -= 1;
  if (!home) {
    txn.Delete(LinkKey(inode->id, parent, name));
    txn.PutInode(*inode);
    return Status::Ok();
  }
  Usage usage{1, 0, static_cast<int64_t>(inode->size)};
  if (charged) DFS_RETURN_IF_ERROR(Charge(txn, parent, Negated(usage), ChargeMode::kAlways));
  if (inode->nlink > 0) {
    DFS_ASSIGN_OR_RETURN(auto links, txn.Collect(LinkPrefix(inode->id), {}, 1));
    if (links.empty() || links[0].first.size() <= 17)
      return txn.Latch(Status(Code::kCorrupt, "a hard link is not recorded"));
    const std::string& key = links[0].first;
    inode->parent = InodeId(KeyNumber(key, 9));
    inode->name = key.substr(17);
    txn.Delete(key);
    txn.PutInode(*inode);
    return Charge(txn, inode->parent, usage, ChargeMode::kAlways);
  }
  inode->parent = InodeId();
  inode->name.clear();
  bool open = false;
  for (SessionId session : open_sessions) {
    DFS_ASSIGN_OR_RETURN(bool alive, txn.Has(SessionKey(session)));
    if (!session.valid() || !alive) continue;
    txn.Put(OrphanKey(inode->id, session), {});
    txn.Put(SessionOrphanKey(session, inode->id), {});
    open = true;
  }
  if (!open) return FreeInode(txn, *inode);
  txn.PutInode(*inode);
  return Status::Ok();
}

Status DropDirectory(Txn& txn, const Inode& directory) {
  Inode gone = directory;
  gone.nlink = 0;
  gone.parent = InodeId();
  gone.name.clear();
  return FreeInode(txn, gone);
}

Status FreeInode(Txn& txn, const Inode& inode) {
  DFS_RETURN_IF_ERROR(DropInodeLocks(txn, inode.id));
  if (inode.block_count == 0 && inode.xattr_count == 0 && inode.entries == 0 && !inode.shortened) {
    txn.Delete(InodeKey(inode.id));
    if (inode.IsDirectory()) {
      DFS_ASSIGN_OR_RETURN(bool used, txn.Has(UsageKey(inode.id)));
      if (used) txn.Delete(UsageKey(inode.id));
    }
    txn.AddEvent(InodeRemoved{inode.id});
    return Status::Ok();
  }
  txn.PutInode(inode);
  Todo todo{inode.id, inode.IsDirectory() ? TodoKind::kDirectory : TodoKind::kFile};
  txn.Put(TodoKey(inode.id), EncodeTodo(todo));
  txn.AddEvent(TodoAdded{inode.id});
  return Status::Ok();
}

Status ReleaseOrphan(Txn& txn, InodeId inode, SessionId session) {
  DFS_ASSIGN_OR_RETURN(bool kept, txn.Has(OrphanKey(inode, session)));
  if (!kept) return Status::Ok();
  txn.Delete(OrphanKey(inode, session));
  txn.Delete(SessionOrphanKey(session, inode));
  DFS_ASSIGN_OR_RETURN(auto others, txn.Collect(OrphanPrefix(inode), {}, 1));
  if (!others.empty()) return Status::Ok();
  DFS_ASSIGN_OR_RETURN(Inode orphan, txn.MustGetInode(inode));
  return FreeInode(txn, orphan);
}

}  // namespace dfs::nn
