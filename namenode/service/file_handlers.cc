// Service: files - create, open, where their blocks are, inline data.
#include <algorithm>

#include "common/auth/block_token.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr size_t kSlotsAtOpen = 16;
constexpr size_t kMaxSlots = 1024;  // in one reply
constexpr int64_t kTokenLifeMs = 15 * 60 * 1000;

/// What is out of bounds whatever the state.
Status CheckBounds(const idl::CreateRequest& request, const NamespaceOptions& defaults) {
  if (request.inline_data.size() > defaults.inline_limit) {
    return Status(Code::kInvalidArgument, "inline data above the limit");
  }
  if (request.replication < 0 || request.replication > static_cast<int32_t>(kMaxReplication)) {
    return Status(Code::kInvalidArgument, "replication is 1 to 16");
  }
  const uint64_t block_size = Unsigned(request.block_size);
  if (block_size != 0 && (block_size < kMinBlockBytes || block_size > kMaxBlockBytes ||
                          block_size % kMinBlockBytes != 0)) {
    return Status(Code::kInvalidArgument, "a block size is 4 KiB to 2 GiB, in steps of 4 KiB");
  }
  if (request.type < 0 || request.type > idl::FileType::BLOCK_DEVICE) {
    return Status(Code::kInvalidArgument, "no such file type");
  }
  return Status();
}
}  // namespace

std::string Service::Token(BlockId block, Stamp stamp, bool write, SessionId session) const {
  BlockToken token;
  token.block = block;
  token.stamp = stamp;
  token.mode = write ? BlockToken::Mode::kWrite : BlockToken::Mode::kRead;
  token.session = session;
  token.expiry_wall_ms = executor_.clock().WallNs() / kMillisecond + kTokenLifeMs;
  return SignToken(token, token_key_);
}

Status Service::Create(idl::CreateRequest& request, std::unique_ptr<Op>& op) {
  SessionId opener = request.open_for_write ? SessionId(Unsigned(request.op.session)) : SessionId();
  const bool open_first = request.open_first_block && !request.has_inline_data && opener.valid() &&
                          Supports(kFeatureFirstBlock);
  op->finish = [this, opener, open_first](std::string_view payload,
                                          const Op& create) -> Result<Buffer> {
    idl::CreateReply reply;
    CreateResult result;
    if (open_first) {
      DFS_ASSIGN_OR_RETURN(CreateOpenResult opened, DecodeResult<CreateOpenResult>(payload));
      result = {std::move(opened.attr), opened.created};
      if (opened.opened) {
        reply.__isset.first_block = true;
        DFS_RETURN_IF_ERROR(FillWritable(opened.block, opener, &reply.first_block));
      }
    } else {
      DFS_ASSIGN_OR_RETURN(result, DecodeResult<CreateResult>(payload));
    }
    ToIdl(result.attr, &reply.attr);
    reply.lease_term = LeaseTerm(create, result.attr.id, result.attr.IsRegular());
    reply.directories_term = LeaseDirectories(create, &reply.directories);
    reply.created = result.created;
    if (!result.created && result.attr.has_inline) {
      DFS_ASSIGN_OR_RETURN(Inode inode, state_.GetInode(result.attr.id));
      reply.inline_data = std::move(inode.inline_data);
    }
    if (opener.valid()) DFS_RETURN_IF_ERROR(sessions_.Opened(opener, result.attr.id));
    return idl::Encode(reply);
  };
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  const NamespaceOptions& defaults = options_.name_space;
  DFS_RETURN_IF_ERROR(CheckBounds(request, defaults));
  CreateCommand command;
  command.block_size =
      request.block_size == 0 ? defaults.default_block_size : Unsigned(request.block_size);
  DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(request.ref, op->header.caller,
                                                  !request.exclusive, request.parents));
  if (path.must_be_directory) return Status(Code::kIsDirectory, "a directory's name");
  if (path.inode && path.inode->IsDirectory()) {
    return request.exclusive ? Status(Code::kAlreadyExists, "it exists")
                             : Status(Code::kIsDirectory, "is a directory");
  }
  command.parent = path.parent;
  command.name = path.missing_path.empty() ? std::move(path.name) : std::move(path.missing_path);
  if (command.name.empty()) return Status(Code::kIsDirectory, "the root directory");
  if (request.type != idl::FileType::UNKNOWN) {
    command.type = static_cast<FileType>(request.type);
    command.rdev = Unsigned(request.rdev);
  }
  command.mode = static_cast<uint32_t>(request.mode) & 07777;
  command.exclusive = request.exclusive;
  command.overwrite = request.overwrite;
  command.parents = request.parents;
  command.replication = request.replication == 0 ? defaults.default_replication
                                                 : static_cast<uint32_t>(request.replication);
  command.has_inline = request.has_inline_data;
  command.inline_data = std::move(request.inline_data);
  command.mtime_ns = request.mtime_ns;
  command.open_first = open_first;
  op->directories = {path.parent};
  if (open_first) {
    auto members =
        blocks_.PlaceNewBlock(command.replication, command.block_size, request.client_host_id, {});
    if (members) command.first_members = std::move(*members);
  }
  return Propose(op, command);
}

Status Service::WriteInline(idl::WriteInlineRequest& request, std::unique_ptr<Op>& op) {
  op->finish = AttrFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (request.data.size() > options_.name_space.inline_limit) {
    return Status(Code::kInvalidArgument, "inline data above the limit");
  }
  WriteInlineCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  command.data = std::move(request.data);
  command.data_version =
      request.data_version < 0 ? WriteInlineCommand::kAnyVersion : Unsigned(request.data_version);
  command.mtime_ns = request.mtime_ns;
  return Propose(op, command);
}

Status Service::OpenFile(idl::OpenFileRequest& request, std::unique_ptr<Op>& op) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(op->peer, request.caller));
  SessionId session(Unsigned(request.session));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(session, op->peer));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, true));
  if (inode.IsDirectory()) return Status(Code::kIsDirectory, "is a directory");
  if (!inode.IsRegular()) return Status(Code::kNotSupported, "not a regular file");
  uint32_t wanted = request.for_write ? kMayWrite : kMayRead;
  // By inode: its descriptor was opened before, with whatever permission was right then.
  bool has_it = request.ref.path.empty() && sessions_.HasOpen(session, inode.id);
  if (!has_it) DFS_RETURN_IF_ERROR(CheckAccess(who, OwnershipOf(inode), wanted));
  if (AwaitWriter(session, inode)) return Awaiting();
  if (request.truncate && (inode.size > 0 || inode.block_count > 0)) {
    op->finish = [this, id = inode.id, session,
                  host = request.client_host_id](std::string_view, const Op&) -> Result<Buffer> {
      DFS_RETURN_IF_ERROR(sessions_.Opened(session, id));
      DFS_ASSIGN_OR_RETURN(idl::OpenFileReply reply, OpenReply(id, host));
      reply.lease_term = LeaseTerm(session, id, true);
      return idl::Encode(reply);
    };
    DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
    SetAttrCommand command;
    command.inode = inode.id;
    command.mask = kSetSize;
    return Propose(op, command);
  }
  DFS_RETURN_IF_ERROR(sessions_.Opened(session, inode.id));
  DFS_ASSIGN_OR_RETURN(idl::OpenFileReply reply, OpenReply(inode.id, request.client_host_id));
  reply.lease_term = LeaseTerm(session, inode.id, true);
  Send(*op->responder, reply);
  op.reset();
  return Status();
}

Result<idl::OpenFileReply> Service::OpenReply(InodeId id, const std::string& client_host) {
  DFS_ASSIGN_OR_RETURN(Inode inode, state_.GetInode(id));
  idl::OpenFileReply reply;
  ToIdl(inode, &reply.attr);
  if (inode.block_count > 0) {
    // The first that there are, however far behind: no block named here means that there is none.
    DFS_RETURN_IF_ERROR(LocateSlots(inode, 0, UINT64_MAX, kSlotsAtOpen, client_host, &reply.blocks,
                                    &reply.attr.open_for_write));
  }
  reply.has_inline_data = inode.has_inline;
  if (inode.has_inline) reply.inline_data = std::move(inode.inline_data);
  return reply;
}

Result<idl::Empty> Service::CloseFile(const idl::CloseFileRequest& request, const PeerInfo& peer) {
  SessionId session(Unsigned(request.session));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(session, peer));
  sessions_.Closed(session, InodeId(Unsigned(request.inode)));
  return idl::Empty();
}

Result<idl::GetBlocksReply> Service::GetBlocks(const idl::GetBlocksRequest& request,
                                               const PeerInfo& peer) {
  if (request.offset < 0 || request.length < 0) {
    return Status(Code::kInvalidArgument, "a negative range");
  }
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  DFS_ASSIGN_OR_RETURN(Inode inode, state_.GetInode(InodeId(Unsigned(request.inode))));
  if (!inode.IsRegular()) return Status(Code::kInvalidArgument, "not a regular file");
  // A descriptor that is open for writing only may need locations, too (read, merge, write).
  Ownership ownership = OwnershipOf(inode);
  if (!MayAccess(who, ownership, kMayRead) && !MayAccess(who, ownership, kMayWrite) &&
      who.uid != inode.uid) {
    return Status(Code::kAccessDenied, "permission denied");
  }
  const SessionId session(Unsigned(request.session));
  if (AwaitWriter(session, inode)) return Awaiting();
  idl::GetBlocksReply reply;
  ToIdl(inode, &reply.attr);
  reply.lease_term = LeaseTerm(session, inode.id, true);
  reply.has_inline_data = inode.has_inline;
  if (inode.block_count > 0 && inode.block_size > 0) {
    uint64_t offset = Unsigned(request.offset);
    uint64_t end = offset + std::max<uint64_t>(1, Unsigned(request.length));
    DFS_RETURN_IF_ERROR(LocateSlots(inode, offset / inode.block_size, (end - 1) / inode.block_size,
                                    kMaxSlots, request.client_host_id, &reply.blocks,
                                    &reply.attr.open_for_write));
  }
  if (inode.has_inline) reply.inline_data = std::move(inode.inline_data);
  return reply;
}

Status Service::LocateSlots(const Inode& inode, uint64_t first, uint64_t last, size_t max,
                            const std::string& client_host, std::vector<idl::LocatedBlock>* out,
                            bool* open_for_write) {
  DFS_ASSIGN_OR_RETURN(std::vector<SlotBlock> slots, state_.ReadBlocks(inode.id, first, last, max));
  out->reserve(slots.size());
  std::vector<const Datanode*> replicas;
  std::vector<DatanodeId> corrupt;
  for (const SlotBlock& slot : slots) {
    const BlockRecord& record = slot.block;
    idl::LocatedBlock& b = out->emplace_back();
    b.block = Signed(slot.id.value);
    b.slot = Signed(slot.slot);
    b.offset = Signed(slot.slot * inode.block_size);
    b.length = Signed(record.length);
    b.stamp = Signed(record.stamp.value);
    b.state = static_cast<int32_t>(record.state);
    b.writer_session = Signed(record.writer.value);
    b.expected_replicas = static_cast<int32_t>(record.replication);
    b.repair_wanted = record.state == BlockState::kOpen && record.writer.valid() &&
                      blocks_.CouldHaveMore(slot.id, record);
    b.token = Token(slot.id, record.stamp, false, SessionId());
    corrupt.clear();
    blocks_.Locate(slot.id, record, client_host, &replicas, &corrupt);
    b.replicas.resize(replicas.size());
    for (size_t i = 0; i < replicas.size(); ++i) ToIdl(*replicas[i], &b.replicas[i]);
    for (DatanodeId id : corrupt) b.corrupt.push_back(Signed(id.value));
    b.lost = replicas.empty() && blocks_.Lost(slot.id, record);
    if (record.state != BlockState::kClosed) *open_for_write = true;
  }
  return Status();
}

}  // namespace dfs::nn
