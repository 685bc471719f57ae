// Service: names and attributes.
#include "common/base/trash_name.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr size_t kMaxListEntries = 10'000;
constexpr size_t kMaxListBytes = 256 << 10;

Status NoSuchName() {
  return Status(Code::kNotFound, "no such file or directory");
}
/// A name to be made or removed: the root has none.
Status CheckHasName(const ResolvedPath& path, Code code) {
  if (!path.name.empty()) return Status();
  return Status(code, "the root directory");
}
/// Others than root may not list it, and could only trip over it: each goes to his own by its name. cookie: behind the
/// page.
void HideTrash(DirectoryPage* page, uint64_t* cookie) {
  if (!page->entries.empty()) *cookie = page->entries.back().cookie;
  std::erase_if(page->entries, [](const DirectoryEntry& e) { return e.name == kTrashName; });
}
}  // namespace

Result<ResolvedPath> Service::Resolve(const idl::Ref& ref, const Credentials& who, bool follow,
                                      bool allow_missing) {
  ResolveOptions options;
  options.follow_final = follow;
  options.allow_missing = allow_missing;
  return state_.ResolvePath(InodeId(Unsigned(ref.inode)), ref.path, who, options);
}

Result<Inode> Service::ResolveInode(const idl::Ref& ref, const Credentials& who, bool follow) {
  if (ref.path.empty()) {
    return state_.GetInode(ref.inode == 0 ? kRootInode : InodeId(Unsigned(ref.inode)));
  }
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(ref, who, follow));
  if (!path.inode) return NoSuchName();
  if (path.must_be_directory && !path.inode->IsDirectory()) {
    return Status(Code::kNotDirectory, "not a directory");
  }
  return std::move(*path.inode);
}

std::vector<SessionId> Service::OpenersOf(const ResolvedPath& path) const {
  if (!path.inode || path.inode->IsDirectory()) return {};
  return sessions_.OpenSessions(path.inode->id);
}

Result<idl::StatReply> Service::Stat(const idl::StatRequest& request, const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  const SessionId session(Unsigned(request.session));
  idl::StatReply reply;
  const bool one_name = session.valid() && !request.follow && !request.ref.path.empty() &&
                        request.ref.path.find('/') == std::string::npos;
  if (one_name) {
    DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, who, false));
    reply.name_lease_term = LeaseTerm(session, path.parent, false);
    if (!path.inode) {
      reply.absent = true;
      return reply;
    }
  }
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, request.follow));
  if (AwaitWriter(session, inode)) return Awaiting();
  ToIdl(inode, &reply.attr);
  reply.lease_term = LeaseTerm(session, inode.id, inode.IsRegular());
  if (inode.IsSymlink()) reply.symlink_target = std::move(inode.inline_data);
  return reply;
}

Result<idl::ListDirectoryReply> Service::ListDirectory(const idl::ListDirectoryRequest& request,
                                                       const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, true));
  if (!inode.IsDirectory()) return Status(Code::kNotDirectory, "not a directory");
  Ownership ownership = OwnershipOf(inode);
  DFS_RETURN_IF_ERROR(CheckAccess(who, ownership, kMayRead));
  // Attributes of what is in it take search permission, as stat would.
  bool with_attributes = request.with_attributes && MayAccess(who, ownership, kMayExecute);
  size_t max = request.max_entries <= 0
                   ? kMaxListEntries
                   : std::min<size_t>(kMaxListEntries, static_cast<size_t>(request.max_entries));
  DirectoryPage page;
  uint64_t cookie = Unsigned(request.cookie);
  do {
    DFS_ASSIGN_OR_RETURN(
        page, state_.ReadDirectory(inode.id, cookie, max, kMaxListBytes, with_attributes));
    if (inode.id == kRootInode && !who.IsRoot()) HideTrash(&page, &cookie);
  } while (page.entries.empty() && !page.done);
  idl::ListDirectoryReply reply;
  reply.directory = Signed(inode.id.value);
  reply.parent = Signed(inode.parent.value);
  reply.done = page.done;
  const SessionId session(Unsigned(request.session));
  reply.lease_term = Signed(leases_.term());
  reply.names_lease = LeaseTerm(session, inode.id, false) != 0;
  reply.entries.reserve(page.entries.size());
  for (DirectoryEntry& e : page.entries) {
    idl::DirectoryEntry& out = reply.entries.emplace_back();
    out.name = std::move(e.name);
    out.inode = Signed(e.dentry.inode.value);
    out.type = static_cast<idl::FileType::type>(e.dentry.type);
    out.cookie = Signed(e.cookie);
    if (!e.inode) continue;
    out.__isset.attr = true;
    AwaitWriter(session, *e.inode);
    ToIdl(*e.inode, &out.attr);
    out.lease = LeaseTerm(session, e.inode->id, e.inode->IsRegular()) != 0;
    if (e.inode->IsSymlink()) out.__set_symlink_target(std::move(e.inode->inline_data));
  }
  return reply;
}

Result<idl::GetXattrReply> Service::GetXattr(const idl::GetXattrRequest& request,
                                             const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, false));
  DFS_RETURN_IF_ERROR(CheckGetXattr(who, OwnershipOf(inode), request.name));
  idl::GetXattrReply reply;
  DFS_ASSIGN_OR_RETURN(reply.value, state_.GetXattr(inode.id, request.name));
  return reply;
}

Result<idl::ListXattrsReply> Service::ListXattrs(const idl::ListXattrsRequest& request,
                                                 const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, false));
  DFS_ASSIGN_OR_RETURN(std::vector<std::string> names, state_.ListXattrs(inode.id));
  idl::ListXattrsReply reply;
  for (std::string& name : names) {
    if (XattrVisible(who, name)) reply.names.push_back(std::move(name));
  }
  return reply;
}

Result<idl::StatFsReply> Service::StatFs(const idl::StatFsRequest&, const PeerInfo&) {
  idl::StatFsReply reply;
  for (const auto& node : blocks_.registry().nodes()) {
    if (node->state == NodeState::kDead) continue;
    reply.capacity_bytes += Signed(node->capacity_bytes);
    reply.available_bytes += Signed(node->available_bytes);
  }
  DFS_ASSIGN_OR_RETURN(Usage usage, state_.TotalUsage());
  reply.files = usage.files;
  reply.directories = usage.directories;
  reply.bytes = usage.bytes;
  reply.default_replication = static_cast<int32_t>(options_.name_space.default_replication);
  reply.default_block_size = Signed(options_.name_space.default_block_size);
  reply.inline_limit = static_cast<int32_t>(options_.name_space.inline_limit);
  reply.cluster_id = options_.cluster_id;
  return reply;
}

Result<idl::UsageReply> Service::GetUsage(const idl::UsageRequest& request, const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, true));
  idl::UsageReply reply;
  ToIdl(inode, &reply.attr);
  if (inode.IsDirectory()) {
    DFS_ASSIGN_OR_RETURN(Usage usage, state_.GetUsage(inode.id));
    ToIdl(usage, &reply.usage);
  } else {
    reply.usage.files = 1;
    reply.usage.bytes = Signed(inode.size);
  }
  return reply;
}

Status Service::Mkdir(idl::MkdirRequest& request, std::unique_ptr<Op>& op) {
  op->finish = [this](std::string_view payload, const Op& mkdir) -> Result<Buffer> {
    DFS_ASSIGN_OR_RETURN(CreateResult result, DecodeResult<CreateResult>(payload));
    idl::AttrReply reply;
    ToIdl(result.attr, &reply.attr);
    reply.lease_term = LeaseTerm(mkdir, result.attr.id, false);
    reply.directories_term = LeaseDirectories(mkdir, &reply.directories);
    return idl::Encode(reply);
  };
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(ResolvedPath path,
                       Resolve(request.ref, op->header.caller, request.parents, request.parents));
  if (request.parents && path.inode) {
    // As mkdir -p: it is there (and a retry of what made it finds the same).
    if (!path.inode->IsDirectory()) return Status(Code::kAlreadyExists, "not a directory");
    idl::AttrReply reply;
    ToIdl(*path.inode, &reply.attr);
    Send(*op->responder, reply);
    op.reset();
    return Status();
  }
  MkdirCommand command;
  command.parent = path.parent;
  command.name = path.missing_path.empty() ? path.name : path.missing_path;
  if (command.name.empty()) return Status(Code::kAlreadyExists, "the root directory");
  command.mode = static_cast<uint32_t>(request.mode) & 07777;
  command.parents = request.parents;
  op->directories = {path.parent};
  return Propose(op, command);
}

Status Service::Symlink(idl::SymlinkRequest& request, std::unique_ptr<Op>& op) {
  op->finish = AttrFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, op->header.caller, false));
  DFS_RETURN_IF_ERROR(CheckHasName(path, Code::kAlreadyExists));
  SymlinkCommand command;
  command.parent = path.parent;
  command.name = std::move(path.name);
  command.target = std::move(request.target);
  op->directories = {path.parent};
  return Propose(op, command);
}

Status Service::Link(idl::LinkRequest& request, std::unique_ptr<Op>& op) {
  op->finish = AttrFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(Inode existing, ResolveInode(request.existing, op->header.caller, false));
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, op->header.caller, false));
  DFS_RETURN_IF_ERROR(CheckHasName(path, Code::kAlreadyExists));
  LinkCommand command;
  command.inode = existing.id;
  command.parent = path.parent;
  command.name = std::move(path.name);
  op->directories = {path.parent};
  return Propose(op, command);
}

Status Service::Unlink(idl::UnlinkRequest& request, std::unique_ptr<Op>& op) {
  op->finish = NamesFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, op->header.caller, false));
  DFS_RETURN_IF_ERROR(CheckHasName(path, Code::kIsDirectory));
  if (path.must_be_directory && path.inode && !path.inode->IsDirectory()) {
    return Status(Code::kNotDirectory, "not a directory");
  }
  UnlinkCommand command;
  command.parent = path.parent;
  command.open_sessions = OpenersOf(path);
  command.name = std::move(path.name);
  op->directories = {path.parent};
  return Propose(op, command);
}

Status Service::Rmdir(idl::RmdirRequest& request, std::unique_ptr<Op>& op) {
  op->finish = NamesFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, op->header.caller, false));
  DFS_RETURN_IF_ERROR(CheckHasName(path, Code::kBusy));
  RmdirCommand command;
  command.parent = path.parent;
  command.name = std::move(path.name);
  op->directories = {path.parent};
  return Propose(op, command);
}

Status Service::RemoveTree(idl::RemoveTreeRequest& request, std::unique_ptr<Op>& op) {
  op->finish = [](std::string_view payload, const Op&) -> Result<Buffer> {
    DFS_ASSIGN_OR_RETURN(RemoveTreeResult result, DecodeResult<RemoveTreeResult>(payload));
    idl::RemoveTreeReply reply;
    ToIdl(result.removed, &reply.removed);
    return idl::Encode(reply);
  };
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, op->header.caller, false));
  DFS_RETURN_IF_ERROR(CheckHasName(path, Code::kBusy));
  if (path.must_be_directory && path.inode && !path.inode->IsDirectory()) {
    return Status(Code::kNotDirectory, "not a directory");
  }
  RemoveTreeCommand command;
  command.parent = path.parent;
  command.open_sessions = OpenersOf(path);
  command.name = std::move(path.name);
  return Propose(op, command);
}

Status Service::Rename(idl::RenameRequest& request, std::unique_ptr<Op>& op) {
  op->finish = NamesFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  const Credentials& who = op->header.caller;
  DFS_ASSIGN_OR_RETURN(ResolvedPath source, Resolve(request.source, who, false));
  DFS_ASSIGN_OR_RETURN(ResolvedPath target, Resolve(request.target, who, false));
  DFS_RETURN_IF_ERROR(CheckHasName(source, Code::kBusy));
  DFS_RETURN_IF_ERROR(CheckHasName(target, Code::kBusy));
  if (!source.inode) return NoSuchName();
  bool slash = source.must_be_directory || target.must_be_directory;
  if (slash && !source.inode->IsDirectory()) {
    return Status(Code::kNotDirectory, "not a directory");
  }
  RenameCommand command;
  command.source_parent = source.parent;
  command.source_name = std::move(source.name);
  command.target_parent = target.parent;
  command.open_sessions = OpenersOf(target);
  command.target_name = std::move(target.name);
  command.flags = static_cast<uint32_t>(request.flags);
  op->directories = {source.parent};
  if (target.parent != source.parent) op->directories.push_back(target.parent);
  return Propose(op, command);
}

Status Service::SetAttr(idl::SetAttrRequest& request, std::unique_ptr<Op>& op) {
  op->finish = AttrFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, op->header.caller, request.follow));
  if (request.size < 0) return Status(Code::kInvalidArgument, "a negative size");
  SetAttrCommand command;
  command.inode = inode.id;
  command.mask = static_cast<uint32_t>(request.mask);
  command.mode = static_cast<uint32_t>(request.mode) & 07777;
  command.uid = static_cast<uint32_t>(request.uid);
  command.gid = static_cast<uint32_t>(request.gid);
  command.size = Unsigned(request.size);
  command.atime_ns = request.atime_ns;
  command.mtime_ns = request.mtime_ns;
  command.replication = static_cast<uint32_t>(request.replication);
  command.by_handle = request.ref.path.empty() && sessions_.HasOpen(op->header.session, inode.id);
  return Propose(op, command);
}

Status Service::SetXattr(idl::SetXattrRequest& request, std::unique_ptr<Op>& op) {
  op->finish = EmptyFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, op->header.caller, false));
  SetXattrCommand command;
  command.inode = inode.id;
  command.name = std::move(request.name);
  command.value = std::move(request.value);
  command.flags = static_cast<uint32_t>(request.flags);
  return Propose(op, command);
}

Status Service::RemoveXattr(idl::RemoveXattrRequest& request, std::unique_ptr<Op>& op) {
  op->finish = EmptyFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, op->header.caller, false));
  RemoveXattrCommand command;
  command.inode = inode.id;
  command.name = std::move(request.name);
  return Propose(op, command);
}

}  // namespace dfs::nn
