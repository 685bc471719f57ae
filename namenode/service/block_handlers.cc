// Service: blocks for writing.
#include <algorithm>

#include "common/base/defects.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr int kRetryBusyMs = 1000;

std::vector<DatanodeId> Ids(const std::vector<int64_t>& ids) {
  std::vector<DatanodeId> out;
  out.reserve(ids.size());
  for (int64_t id : ids) out.push_back(DatanodeId(Unsigned(id)));
  return out;
}
}  // namespace

Service::Finish Service::WritableFinish(SessionId session) {
  return [this, session](std::string_view payload, const Op&) -> Result<Buffer> {
    DFS_ASSIGN_OR_RETURN(OpenBlockResult result, DecodeResult<OpenBlockResult>(payload));
    idl::OpenBlockReply reply;
    DFS_RETURN_IF_ERROR(FillWritable(result, session, &reply.block));
    return idl::Encode(reply);
  };
}

Status Service::FillWritable(const OpenBlockResult& result, SessionId session,
                             idl::WritableBlock* out) {
  out->block = Signed(result.block.value);
  out->old_stamp = Signed(result.old_stamp.value);
  out->stamp = Signed(result.stamp.value);
  out->slot = Signed(result.slot);
  out->length = Signed(result.length);
  out->cut_stamp = Signed(result.cut_stamp.value);
  out->cut_length = Signed(result.cut_length);
  if (auto record = state_.GetBlock(result.block)) {
    out->expected_replicas = static_cast<int32_t>(record->replication);
  }
  for (DatanodeId id : result.members) {
    idl::ReplicaLocation& location = out->members.emplace_back();
    location.datanode = Signed(id.value);
    const Datanode* node = blocks_.FindDatanode(id);
    if (node == nullptr) {
      // A stored reply, and this new leader has not met the datanode yet: the same sequence may ask again.
      return Status(Code::kUnavailable, "a member has not registered here yet").WithRetryAfter(500);
    }
    ToIdl(*node, &location);
  }
  out->token = Token(result.block, result.stamp, true, session);
  return Status();
}

bool Service::Supports(uint32_t feature_level) const {
  return state_.counters().feature_level >= feature_level;
}

Result<std::vector<DatanodeId>> Service::ChooseMembers(const idl::OpenBlockRequest& request,
                                                       SessionId session, const Inode& inode) {
  uint64_t slot = Unsigned(request.slot);
  Stamp expected(Unsigned(request.expected_stamp));
  std::vector<DatanodeId> exclude = Ids(request.exclude);
  DFS_ASSIGN_OR_RETURN(std::vector<SlotBlock> found, state_.ReadBlocks(inode.id, slot, slot, 1));
  if (found.empty()) {
    if (expected.valid()) return Status(Code::kStaleStamp, "the slot is a hole now");
    return blocks_.PlaceNewBlock(inode.replication, inode.block_size, request.client_host_id,
                                 exclude);
  }
  const SlotBlock& block = found[0];
  const BlockRecord& record = block.block;
  switch (record.state) {
    case BlockState::kClosed:
      if (record.stamp != expected) return Status(Code::kStaleStamp, "the block has changed");
      if (request.await_copies && blocks_.CouldHaveMore(block.id, record) &&
          !DefectOn(Defect::kReopenedBeforeCopied)) {
        return Status(Code::kBusy, "copies of the block are being made").WithRetryAfter(100);
      }
      return blocks_.MembersToReopen(block.id, record, request.client_host_id, exclude);
    case BlockState::kRecovering:
      return Status(Code::kBusy, "the block is being recovered").WithRetryAfter(kRetryBusyMs);
    case BlockState::kOpen:
      break;
  }
  if (!record.writer.valid()) {
    return Status(Code::kBusy, "the block waits for recovery").WithRetryAfter(kRetryBusyMs);
  }
  if (record.writer != session) {
    return Status(Code::kBusy, "another session writes the block").WithRetryAfter(kRetryBusyMs);
  }
  if (record.stamp != expected) return Status(Code::kStaleStamp, "the block has changed");
  if (request.nothing_acknowledged && record.length == 0 && Supports(kFeatureFirstBlock)) {
    // Nobody has anything of it: those that the writer could not reach are left out, if there are others.
    auto others = blocks_.PlaceNewBlock(record.replication, inode.block_size,
                                        request.client_host_id, exclude);
    return others ? std::move(others)
                  : blocks_.PlaceNewBlock(record.replication, inode.block_size,
                                          request.client_host_id, {});
  }
  // Its own open block once more: only members have what was acknowledged.
  std::vector<DatanodeId> members;
  for (DatanodeId id : record.members) {
    const Datanode* node = blocks_.FindDatanode(id);
    bool excluded = std::find(exclude.begin(), exclude.end(), id) != exclude.end();
    if (node != nullptr && node->state != NodeState::kDead && !excluded) members.push_back(id);
  }
  if (members.empty()) {
    return Status(Code::kUnavailable, "no member of the block that the writer can reach")
        .WithRetryAfter(kRetryBusyMs);
  }
  return members;
}

Status Service::OpenBlock(idl::OpenBlockRequest& request, std::unique_ptr<Op>& op) {
  op->finish = WritableFinish(SessionId(Unsigned(request.op.session)));
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (!op->header.session.valid()) {
    return Status(Code::kInvalidArgument, "writing blocks takes a session");
  }
  DFS_ASSIGN_OR_RETURN(Inode inode, state_.GetInode(InodeId(Unsigned(request.inode))));
  if (!inode.IsRegular()) return Status(Code::kInvalidArgument, "not a regular file");
  if (request.slot < 0 || Unsigned(request.slot) >= kMaxFileBytes / inode.block_size) {
    return Status(Code::kFileTooBig, "beyond the largest file");
  }
  OpenBlockCommand command;
  DFS_ASSIGN_OR_RETURN(command.members, ChooseMembers(request, op->header.session, inode));
  command.inode = inode.id;
  command.slot = Unsigned(request.slot);
  command.expected_stamp = Stamp(Unsigned(request.expected_stamp));
  command.members_anew = request.nothing_acknowledged && Supports(kFeatureFirstBlock);
  if (Supports(kFeatureCaches)) command.data_version = Unsigned(request.data_version);
  return Propose(op, command);
}

Status Service::ReleaseBlocks(idl::ReleaseBlocksRequest& request, std::unique_ptr<Op>& op) {
  op->finish = EmptyFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (request.slots.size() > kMaxOpenBlocksPerSession) {
    return Status(Code::kInvalidArgument, "too many slots");
  }
  if (!Supports(kFeatureFirstBlock)) return Status(Code::kNotSupported, "not all are upgraded");
  ReleaseBlocksCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  for (int64_t slot : request.slots) command.slots.push_back(Unsigned(slot));
  return Propose(op, command);
}

Status Service::ExcludeMembers(idl::ExcludeMembersRequest& request, std::unique_ptr<Op>& op) {
  op->finish = WritableFinish(SessionId(Unsigned(request.op.session)));
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (request.survivors.size() > kMaxReplication) {
    return Status(Code::kInvalidArgument, "too many survivors");
  }
  ExcludeMembersCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  command.slot = Unsigned(request.slot);
  command.block = BlockId(Unsigned(request.block));
  command.stamp = Stamp(Unsigned(request.stamp));
  command.survivors = Ids(request.survivors);
  return Propose(op, command);
}

Status Service::CloseBlock(idl::CloseBlockRequest& request, std::unique_ptr<Op>& op) {
  op->finish = AttrFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (request.members.size() > kMaxReplication) {
    return Status(Code::kInvalidArgument, "too many members");
  }
  if (request.length < 0 || request.file_size < 0) {
    return Status(Code::kInvalidArgument, "a negative length");
  }
  CloseBlockCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  command.slot = Unsigned(request.slot);
  command.block = BlockId(Unsigned(request.block));
  command.stamp = Stamp(Unsigned(request.stamp));
  command.length = Unsigned(request.length);
  command.members = Ids(request.members);
  command.file_size = Unsigned(request.file_size);
  command.mtime_ns = request.mtime_ns;
  command.drop_inline = request.drop_inline;
  if (!request.rename_to.empty()) {
    idl::Ref target;
    target.path = std::move(request.rename_to);
    DFS_ASSIGN_OR_RETURN(ResolvedPath path, Resolve(target, op->header.caller, false));
    if (path.name.empty() || path.must_be_directory) {
      return Status(Code::kIsDirectory, "the new name is a directory's");
    }
    command.rename_parent = path.parent;
    command.open_sessions = OpenersOf(path);
    command.rename_name = std::move(path.name);
    command.rename_replace = request.rename_replace;
  }
  return Propose(op, command);
}

Status Service::CommitLength(idl::CommitLengthRequest& request, std::unique_ptr<Op>& op) {
  op->finish = AttrFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (request.length < 0 || request.file_size < 0) {
    return Status(Code::kInvalidArgument, "a negative length");
  }
  CommitLengthCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  command.slot = Unsigned(request.slot);
  command.block = BlockId(Unsigned(request.block));
  command.stamp = Stamp(Unsigned(request.stamp));
  command.length = Unsigned(request.length);
  command.file_size = Unsigned(request.file_size);
  command.mtime_ns = request.mtime_ns;
  command.drop_inline = request.drop_inline;
  return Propose(op, command);
}

Result<idl::Empty> Service::ReportBadReplica(const idl::ReportBadReplicaRequest& request,
                                             const PeerInfo&) {
  blocks_.ReportBad(BlockId(Unsigned(request.block)), Stamp(Unsigned(request.stamp)),
                    DatanodeId(Unsigned(request.datanode)),
                    std::string_view(request.why).substr(0, 256));
  return idl::Empty();
}

}  // namespace dfs::nn
