// What the fake cluster's namenodes answer.
#include <fmt/format.h>

#include <algorithm>

#include "common/idl/codec.h"
#include "common/rpc/idl_call.h"
#include "tests/client/fake_cluster.h"

namespace dfs::client {
namespace {
constexpr uint64_t kDefaultBlockSize = 1u << 20;
}  // namespace

template <rpc::Method kMethod, class Apply>
Result<Buffer> FakeCluster::Change(const Buffer& payload, Apply apply) {
  rpc::RequestOf<kMethod> request;
  DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &request));
  if (forget_sessions || request.op.session <= 0 ||
      unknown_sessions.count(static_cast<uint64_t>(request.op.session)) ||
      static_cast<uint64_t>(request.op.session) >= next_session_) {
    return Status(Code::kUnknownSession, "unknown session");
  }
  const auto key = std::make_pair(request.op.session, request.op.sequence);
  if (auto it = replies_.find(key); it != replies_.end()) return it->second;
  if (request.op.sequence < request.op.first_outstanding)
    violations.push_back("bad first_outstanding");
  ++applied[kMethod];
  Result<rpc::ReplyOf<kMethod>> reply = apply(request);
  Result<Buffer> encoded =
      reply ? Result<Buffer>(idl::Encode(*reply)) : Result<Buffer>(reply.error());
  replies_.emplace(key, encoded);
  return encoded;
}

Result<Buffer> FakeCluster::Handle(rpc::Method method, const Buffer& request) {
  switch (method) {
    case idl::kOpenSession: {
      idl::OpenSessionReply reply;
      forget_sessions = false;
      reply.session = static_cast<int64_t>(next_session_++);
      reply.incarnation = 1;
      reply.expiry_ms = 30000;
      return idl::Encode(reply);
    }
    case idl::kKeepAlive: {
      idl::KeepAliveRequest keep;
      DFS_RETURN_IF_ERROR(idl::Decode(request.view(), &keep));
      if (forget_sessions || unknown_sessions.count(static_cast<uint64_t>(keep.session))) {
        return Status(Code::kUnknownSession, "unknown session");
      }
      idl::KeepAliveReply reply;
      reply.expiry_ms = 30000;
      return idl::Encode(reply);
    }
    case idl::kStatFs: {
      idl::StatFsReply reply;
      reply.inline_limit = static_cast<int32_t>(inline_limit);
      return idl::Encode(reply);
    }
    case idl::kCreate:
      return Create(request);
    case idl::kOpenBlock:
      return OpenBlock(request);
    case idl::kExcludeMembers:
      return Exclude(request);
    case idl::kCloseBlock:
      return CloseBlock(request);
    case idl::kReleaseBlocks:
      return Release(request);
    default:
      return Rest(method, request);
  }
}

Result<Buffer> FakeCluster::Create(const Buffer& payload) {
  const auto apply = [&](const idl::CreateRequest& r) -> Result<idl::CreateReply> {
    idl::CreateReply reply;
    auto it = names.find(r.ref.path);
    if (it != names.end()) {
      if (r.exclusive) return Status(Code::kAlreadyExists, "exists");
      FakeFile& file = files[it->second];
      if (r.overwrite) {
        file.slots.clear();
        file.has_inline = r.has_inline_data;
        file.inline_data = r.inline_data;
        file.attr.size = static_cast<int64_t>(r.inline_data.size());
        Touch(file);
      }
      reply.attr = file.attr;
      reply.inline_data = file.inline_data;
      return reply;
    }
    const uint64_t inode = next_inode_++;
    names[r.ref.path] = inode;
    FakeFile& file = files[inode];
    file.attr.inode = static_cast<int64_t>(inode);
    file.attr.type = idl::FileType::REGULAR;
    file.attr.block_size =
        r.block_size > 0 ? r.block_size : static_cast<int64_t>(kDefaultBlockSize);
    file.has_inline = r.has_inline_data;
    file.inline_data = r.inline_data;
    file.attr.size = static_cast<int64_t>(r.inline_data.size());
    reply.attr = file.attr;
    reply.created = true;
    if (r.open_first_block) {
      FakeBlock& b = file.slots[0];
      OpenNew(b, static_cast<uint64_t>(r.op.session), {});
      reply.first_block = Writable(b, 0, 0);
      reply.__isset.first_block = true;
    }
    return reply;
  };
  return Change<idl::kCreate>(payload, apply);
}

uint64_t FakeCluster::OpenNew(FakeBlock& b, uint64_t session, const std::vector<int64_t>& exclude) {
  const uint64_t old = b.stamp;
  if (b.id == 0) b.id = next_block_++;
  b.members = ChooseMembers(exclude);
  if (b.members.empty()) b.members = ChooseMembers({});
  b.stamp = next_stamp++;
  b.open = true;
  b.writer = session;
  return old;
}

void FakeCluster::Recover(uint64_t inode, uint64_t slot) {
  FakeFile& file = files[inode];
  auto it = file.slots.find(slot);
  if (it == file.slots.end() || !it->second.open) return;
  FakeBlock& b = it->second;
  std::erase_if(b.members, [&](uint64_t m) { return !DatanodeUp(m); });
  if (b.members.empty()) return;
  uint64_t length = UINT64_MAX;
  for (uint64_t m : b.members) length = std::min(length, replicas[m][b.id].data.size());
  b.stamp = next_stamp++;
  for (uint64_t m : b.members) {
    FakeReplica& r = replicas[m][b.id];
    r.data = replicas[b.members[0]][b.id].data.substr(0, length);
    r.synced = r.data;
    r.stamp = b.stamp;
    r.finalized = true;
  }
  b.length = length;
  b.open = false;
  b.writer = 0;
  file.attr.size = std::max(file.attr.size, static_cast<int64_t>(slot) * file.attr.block_size +
                                                static_cast<int64_t>(length));
  Touch(file);
}

Result<Buffer> FakeCluster::Release(const Buffer& payload) {
  return Change<idl::kReleaseBlocks>(
      payload, [&](const idl::ReleaseBlocksRequest& r) -> Result<idl::Empty> {
        const uint64_t inode = static_cast<uint64_t>(r.inode);
        for (auto& [slot, b] : files[inode].slots) {
          const bool named =
              r.slots.empty() || std::find(r.slots.begin(), r.slots.end(),
                                           static_cast<int64_t>(slot)) != r.slots.end();
          if (!named || !b.open || b.writer != static_cast<uint64_t>(r.op.session)) continue;
          b.writer = 0;
          scheduler.After(recovery_ns, [this, inode, slot = slot] { Recover(inode, slot); });
        }
        return idl::Empty();
      });
}

Result<Buffer> FakeCluster::OpenBlock(const Buffer& payload) {
  const auto apply = [&](const idl::OpenBlockRequest& r) -> Result<idl::OpenBlockReply> {
    FakeFile& file = files[static_cast<uint64_t>(r.inode)];
    const uint64_t session = static_cast<uint64_t>(r.op.session);
    FakeBlock& b = file.slots[static_cast<uint64_t>(r.slot)];
    if (b.stamp != static_cast<uint64_t>(r.expected_stamp)) {
      return Status(Code::kStaleStamp, "the block has another stamp");
    }
    if (b.open && b.writer != session) return Status(Code::kBusy, "another session writes");
    const uint64_t old = b.stamp;
    if (b.id == 0 || (r.nothing_acknowledged && b.open && b.length == 0)) {
      OpenNew(b, session, r.exclude);
    } else {
      std::erase_if(b.members, [&](uint64_t m) { return !DatanodeUp(m); });
      b.stamp = next_stamp++;
      b.open = true;
      b.writer = session;
    }
    idl::OpenBlockReply reply;
    reply.block = Writable(b, static_cast<uint64_t>(r.slot), old);
    return reply;
  };
  return Change<idl::kOpenBlock>(payload, apply);
}

Result<Buffer> FakeCluster::Exclude(const Buffer& payload) {
  const auto apply = [&](const idl::ExcludeMembersRequest& r) -> Result<idl::OpenBlockReply> {
    FakeBlock& b = files[static_cast<uint64_t>(r.inode)].slots[static_cast<uint64_t>(r.slot)];
    if (b.stamp != static_cast<uint64_t>(r.stamp) || !b.open ||
        b.writer != static_cast<uint64_t>(r.op.session)) {
      return Status(Code::kStaleStamp, "not the writer's stamp");
    }
    std::vector<uint64_t> survivors;
    for (int64_t m : r.survivors) {
      const uint64_t id = static_cast<uint64_t>(m);
      if (std::find(b.members.begin(), b.members.end(), id) == b.members.end()) {
        return Status(Code::kInvalidArgument, "not a member");
      }
      survivors.push_back(id);
    }
    if (survivors.empty()) return Status(Code::kInvalidArgument, "no survivor");
    b.members = survivors;
    const uint64_t old = b.stamp;
    b.stamp = next_stamp++;
    idl::OpenBlockReply reply;
    reply.block = Writable(b, static_cast<uint64_t>(r.slot), old);
    return reply;
  };
  return Change<idl::kExcludeMembers>(payload, apply);
}

// What a client may not say when it closes a block.
void FakeCluster::CheckClose(const idl::CloseBlockRequest& r, const FakeFile& file,
                             const FakeBlock& b) {
  const uint64_t length = static_cast<uint64_t>(r.length);
  for (int64_t m : r.members) {
    const FakeReplica& replica = replicas[static_cast<uint64_t>(m)][b.id];
    if (replica.stamp != b.stamp || replica.data.size() < length || !replica.finalized) {
      violations.push_back("a member named in a close did not confirm it");
    }
    if (r.drop_inline && replica.synced.substr(0, length) != replica.data.substr(0, length)) {
      violations.push_back("inline bytes dropped before the block is synced");
    }
  }
  if (r.file_size > file.attr.size) {
    // The file grows in order: everything below must be there.
    const uint64_t bs = static_cast<uint64_t>(file.attr.block_size);
    for (uint64_t s = 0; s < static_cast<uint64_t>(r.slot); ++s) {
      auto it = file.slots.find(s);
      if (it != file.slots.end() && it->second.open && it->second.length == 0 &&
          static_cast<uint64_t>(file.attr.size) <= s * bs) {
        violations.push_back("a later block was committed before an earlier one");
      }
    }
  }
}

Result<Buffer> FakeCluster::CloseBlock(const Buffer& payload) {
  const auto apply = [&](const idl::CloseBlockRequest& r) -> Result<idl::AttrReply> {
    const uint64_t inode = static_cast<uint64_t>(r.inode);
    FakeFile& file = files[inode];
    FakeBlock& b = file.slots[static_cast<uint64_t>(r.slot)];
    if (b.stamp != static_cast<uint64_t>(r.stamp) || !b.open) {
      return Status(Code::kStaleStamp, "not the block's stamp");
    }
    const uint64_t length = static_cast<uint64_t>(r.length);
    CheckClose(r, file, b);
    b.open = false;
    b.writer = 0;
    b.length = length;
    b.members.clear();
    for (int64_t m : r.members) b.members.push_back(static_cast<uint64_t>(m));
    file.attr.size = std::max(file.attr.size, r.file_size);
    if (r.drop_inline) {
      file.has_inline = false;
      file.inline_data.clear();
    }
    Touch(file, r.mtime_ns);
    if (!r.rename_to.empty()) {
      if (names.count(r.rename_to) && !r.rename_replace) {
        return Status(Code::kAlreadyExists, "exists");
      }
      for (auto it = names.begin(); it != names.end(); ++it) {
        if (it->second == inode) {
          names.erase(it);
          break;
        }
      }
      names[r.rename_to] = inode;
    }
    idl::AttrReply reply;
    reply.attr = file.attr;
    return reply;
  };
  return Change<idl::kCloseBlock>(payload, apply);
}

Result<Buffer> FakeCluster::Mkdir(const Buffer& payload) {
  const auto apply = [&](const idl::MkdirRequest& r) -> Result<idl::AttrReply> {
    if (names.count(r.ref.path)) return Status(Code::kAlreadyExists, "exists");
    names[r.ref.path] = next_inode_;
    idl::AttrReply reply;
    reply.attr.inode = static_cast<int64_t>(next_inode_++);
    return reply;
  };
  return Change<idl::kMkdir>(payload, apply);
}

Result<Buffer> FakeCluster::Stat(const Buffer& payload) {
  idl::StatRequest r;
  DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
  const auto inode = Inode(r.ref);
  if (!inode) return Status(Code::kNotFound, "not found");
  idl::StatReply reply;
  reply.attr = files[*inode].attr;
  return idl::Encode(reply);
}

Result<Buffer> FakeCluster::OpenFile(const Buffer& payload) {
  idl::OpenFileRequest r;
  DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
  const auto inode = Inode(r.ref);
  if (!inode) return Status(Code::kNotFound, "not found");
  FakeFile& file = files[*inode];
  if (r.truncate) {
    file.slots.clear();
    file.has_inline = false;
    file.inline_data.clear();
    file.attr.size = 0;
    Touch(file);
  }
  idl::OpenFileReply reply;
  reply.attr = file.attr;
  reply.has_inline_data = file.has_inline;
  reply.inline_data = file.inline_data;
  reply.blocks = Located(file);
  if (reply.blocks.size() > 16) reply.blocks.resize(16);
  return idl::Encode(reply);
}

Result<Buffer> FakeCluster::GetBlocks(const Buffer& payload) {
  idl::GetBlocksRequest r;
  DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
  const FakeFile& file = files[static_cast<uint64_t>(r.inode)];
  idl::GetBlocksReply reply;
  reply.attr = file.attr;
  reply.has_inline_data = file.has_inline;
  reply.inline_data = file.inline_data;
  for (idl::LocatedBlock& b : Located(file)) {
    if (b.offset + file.attr.block_size > r.offset && b.offset < r.offset + r.length) {
      reply.blocks.push_back(b);
    }
  }
  return idl::Encode(reply);
}

Result<Buffer> FakeCluster::CommitLength(const Buffer& payload) {
  const auto apply = [&](const idl::CommitLengthRequest& r) -> Result<idl::AttrReply> {
    FakeFile& file = files[static_cast<uint64_t>(r.inode)];
    FakeBlock& b = file.slots[static_cast<uint64_t>(r.slot)];
    if (b.stamp != static_cast<uint64_t>(r.stamp) || !b.open) {
      return Status(Code::kStaleStamp, "not the block's stamp");
    }
    for (uint64_t m : b.members) {
      if (replicas[m][b.id].data.size() < static_cast<uint64_t>(r.length)) {
        violations.push_back("a length was committed that a member does not have");
      }
    }
    b.length = std::max(b.length, static_cast<uint64_t>(r.length));
    file.attr.size = std::max(file.attr.size, r.file_size);
    Touch(file, r.mtime_ns);
    idl::AttrReply reply;
    reply.attr = file.attr;
    return reply;
  };
  return Change<idl::kCommitLength>(payload, apply);
}

Result<Buffer> FakeCluster::WriteInline(const Buffer& payload) {
  const auto apply = [&](const idl::WriteInlineRequest& r) -> Result<idl::AttrReply> {
    FakeFile& file = files[static_cast<uint64_t>(r.inode)];
    if (!file.slots.empty()) return Status(Code::kInvalidArgument, "the file has blocks");
    if (r.data.size() > inline_limit) return Status(Code::kFileTooBig, "too long");
    if (r.data_version >= 0 && r.data_version != file.attr.data_version) {
      return Status(Code::kConflict, "the file changed meanwhile");
    }
    file.has_inline = true;
    file.inline_data = r.data;
    file.attr.size = static_cast<int64_t>(r.data.size());
    Touch(file, r.mtime_ns);
    idl::AttrReply reply;
    reply.attr = file.attr;
    return reply;
  };
  return Change<idl::kWriteInline>(payload, apply);
}

Result<Buffer> FakeCluster::SetAttr(const Buffer& payload) {
  const auto apply = [&](const idl::SetAttrRequest& r) -> Result<idl::AttrReply> {
    FakeFile& file = files[static_cast<uint64_t>(r.ref.inode)];
    const uint64_t bs = static_cast<uint64_t>(file.attr.block_size);
    const bool cut = (r.mask & 8) != 0;
    const uint64_t size = cut ? static_cast<uint64_t>(r.size) : UINT64_MAX;
    for (auto it = file.slots.begin(); cut && it != file.slots.end();) {
      const uint64_t start = it->first * bs;
      if (it->second.open) return Status(Code::kBusy, "a block is open");
      if (start >= size) {
        it = file.slots.erase(it);
        continue;
      }
      it->second.length = std::min(it->second.length, size - start);
      ++it;
    }
    if (file.has_inline && file.inline_data.size() > size) file.inline_data.resize(size);
    if (cut) file.attr.size = r.size;
    if (cut || (r.mask & 32) != 0) Touch(file, cut ? 0 : r.mtime_ns);
    idl::AttrReply reply;
    reply.attr = file.attr;
    return reply;
  };
  return Change<idl::kSetAttr>(payload, apply);
}

Result<Buffer> FakeCluster::Rest(rpc::Method method, const Buffer& payload) {
  switch (method) {
    case idl::kMkdir:
      return Mkdir(payload);
    case idl::kUnlink:
      return Change<idl::kUnlink>(payload, [&](const idl::UnlinkRequest& r) -> Result<idl::NamesReply> {
        if (names.erase(r.ref.path) == 0) return Status(Code::kNotFound, "not found");
        return idl::NamesReply();
      });
    case idl::kStat:
      return Stat(payload);
    case idl::kOpenFile:
      return OpenFile(payload);
    case idl::kGetBlocks:
      return GetBlocks(payload);
    case idl::kCommitLength:
      return CommitLength(payload);
    case idl::kWriteInline:
      return WriteInline(payload);
    case idl::kSetAttr:
      return SetAttr(payload);
    case idl::kReportBadReplica: {
      idl::ReportBadReplicaRequest r;
      DFS_RETURN_IF_ERROR(idl::Decode(payload.view(), &r));
      bad_reports.emplace_back(static_cast<uint64_t>(r.block), static_cast<uint64_t>(r.datanode));
      return idl::Encode(idl::Empty());
    }
    case idl::kCloseFile:
    case idl::kCloseSession:
      return idl::Encode(idl::Empty());
    case idl::kClusterStatus: {
      idl::ClusterStatusReply reply;
      reply.leader = true;
      reply.node_id = leader + 1;
      return idl::Encode(reply);
    }
    default:
      return Status(Code::kNotSupported, fmt::format("method {}", method));
  }
}

}  // namespace dfs::client
