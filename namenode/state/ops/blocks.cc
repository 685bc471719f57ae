#include "namenode/state/ops/blocks.h"

#include <algorithm>

#include "common/auth/permissions.h"
#include "namenode/state/ops/locks.h"
#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Result<Inode> LoadFile(Txn& txn, InodeId id) {
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.GetInode(id));
  if (inode.IsDirectory()) return Status(Code::kIsDirectory, "is a directory");
  if (!inode.IsRegular()) return Status(Code::kInvalidArgument, "not a regular file");
  if (inode.nlink == 0) {
    DFS_ASSIGN_OR_RETURN(bool going, txn.Has(TodoKey(id)));
    if (going) return Status(Code::kStaleHandle, "the file was removed");
  }
  return inode;
}

Status CheckDataAccess(const Txn& txn, const Inode& inode) {
  if (txn.caller().uid == inode.uid) return Status::Ok();
  return CheckAccess(txn.caller(), OwnershipOf(inode), kMayWrite);
}

Status RequireSession(const Txn& txn) {
  if (txn.header().session.valid()) return Status::Ok();
  return Status(Code::kUnknownSession, "writing blocks needs a session");
}

Status CheckMembers(const std::vector<DatanodeId>& members) {
  if (members.empty() || members.size() > kMaxReplication)
    return Status(Code::kInvalidArgument, "a block has 1 to 16 members");
  for (size_t i = 0; i < members.size(); ++i) {
    if (!members[i].valid() || std::count(members.begin(), members.end(), members[i]) != 1)
      return Status(Code::kInvalidArgument, "members must be valid and distinct");
  }
  return Status::Ok();
}

bool IsSubset(const std::vector<DatanodeId>& some, const std::vector<DatanodeId>& all) {
  return std::all_of(some.begin(), some.end(), [&](DatanodeId d) {
    return std::find(all.begin(), all.end(), d) != all.end();
  });
}

Result<BlockRecord> LoadOwnOpenBlock(Txn& txn, const Inode& inode, uint64_t slot, BlockId block,
                                     Stamp stamp) {
  DFS_ASSIGN_OR_RETURN(std::optional<BlockRecord> record, txn.FindBlock(block));
  if (!record || record->inode != inode.id || record->slot != slot)
    return Status(Code::kStaleStamp, "the block was removed");
  if (record->state != BlockState::kOpen || record->writer != txn.header().session ||
      record->writer_incarnation != txn.header().incarnation)
    return Status(Code::kStaleStamp, "the block is not open for this session (any more)");
  if (record->stamp != stamp)
    return Status(Code::kStaleStamp, "the block's stamp is " + std::to_string(record->stamp.value) +
                                         ", not " + std::to_string(stamp.value));
  return std::move(*record);
}

namespace {

Status AdjustOpenBlocks(Txn& txn, SessionId id, int32_t by) {
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(id));
  if (!session) return Status::Ok();
  session->open_blocks = static_cast<uint32_t>(static_cast<int32_t>(session->open_blocks) + by);
  txn.PutSession(*session);
  return Status::Ok();
}

}  // namespace

Status SetBlockState(Txn& txn, BlockId id, BlockRecord* block, BlockState state, SessionId writer) {
  bool was_listed = block->state != BlockState::kClosed;
  bool is_listed = state != BlockState::kClosed;
  if (was_listed != is_listed || block->writer != writer) {
    if (was_listed) {
      txn.Delete(OpenBlockKey(block->writer, id));
      if (block->writer.valid()) DFS_RETURN_IF_ERROR(AdjustOpenBlocks(txn, block->writer, -1));
    }
    if (is_listed) {
      txn.Put(OpenBlockKey(writer, id), {});
      if (writer.valid()) DFS_RETURN_IF_ERROR(AdjustOpenBlocks(txn, writer, 1));
    }
  }
  block->state = state;
  block->writer = writer;
  block->writer_incarnation = writer.valid() ? txn.header().incarnation : 0;
  return Status::Ok();
}

Status RemoveBlock(Txn& txn, Inode* inode, uint64_t slot, BlockId id, const BlockRecord& block) {
  BlockRecord closing = block;
  DFS_RETURN_IF_ERROR(SetBlockState(txn, id, &closing, BlockState::kClosed, SessionId()));
  txn.Delete(BlockKey(id));
  txn.Delete(SlotKey(inode->id, slot));
  inode->block_count -= 1;
  inode->allocated_bytes -= block.length;
  txn.mutable_counters().blocks -= 1;
  txn.AddEvent(BlockRemoved{id});
  return Status::Ok();
}

Status SetFileSize(Txn& txn, Inode* inode, uint64_t size) {
  if (size == inode->size) return Status::Ok();
  Usage delta{0, 0, static_cast<int64_t>(size) - static_cast<int64_t>(inode->size)};
  inode->size = size;
  // An unlinked file is charged to nobody.
  if (inode->nlink == 0) return Status::Ok();
  return Charge(txn, inode->parent, delta, ChargeMode::kAlways);
}

void SetBlockLength(Inode* inode, BlockRecord* block, uint64_t length) {
  inode->allocated_bytes += length - block->length;
  block->length = length;
}

void DataChanged(const Txn& txn, Inode* inode, int64_t mtime_ns) {
  inode->data_version += 1;
  inode->mode = ModeAfterWrite(txn.caller(), OwnershipOf(*inode));
  TouchContent(txn, inode);
  if (mtime_ns != 0) inode->mtime_ns = mtime_ns;
}

Status ApplyLength(Txn& txn, Inode* inode, BlockRecord* block, const LengthChange& change) {
  if (change.length > inode->block_size)
    return Status(Code::kInvalidArgument, "longer than a block of this file");
  if (change.length < block->length)
    return Status(Code::kInvalidArgument, "shorter than the committed length");
  if (change.file_size > kMaxFileBytes) return Status(Code::kFileTooBig, "file too big");
  SetBlockLength(inode, block, change.length);
  uint64_t end = change.length == 0 ? 0 : block->slot * inode->block_size + change.length;
  if (change.drop_inline && inode->has_inline) {
    inode->allocated_bytes -= inode->inline_data.size();
    inode->has_inline = false;
    inode->inline_data.clear();
  }
  DFS_RETURN_IF_ERROR(SetFileSize(txn, inode, std::max({inode->size, change.file_size, end})));
  DataChanged(txn, inode, change.mtime_ns);
  return Status::Ok();
}

Status TruncateFile(Txn& txn, Inode* inode, uint64_t size) {
  if (size > kMaxFileBytes) return Status(Code::kFileTooBig, "file too big");
  if (inode->has_inline && inode->inline_data.size() > size) {
    inode->allocated_bytes -= inode->inline_data.size() - size;
    inode->inline_data.resize(size);
    inode->has_inline = size > 0;
  }
  if (size < inode->size && inode->block_count > 0) {
    uint64_t slot = size / inode->block_size;
    uint64_t within = size % inode->block_size;
    if (within != 0) {
      DFS_ASSIGN_OR_RETURN(std::optional<SlotRecord> record, txn.FindSlot(inode->id, slot));
      if (record) {
        DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(record->block));
        if (block.state != BlockState::kClosed)
          return Status(Code::kBusy, "the block at the new end is being written")
              .WithRetryAfter(100);
        if (block.length > within) {
          // Replicas keep what lay behind: see BlockRecord.
          block.cut_stamp = block.stamp;
          block.cut_length = within;
          SetBlockLength(inode, &block, within);
          txn.PutBlock(record->block, block);
        }
      }
      ++slot;
    }
    for (;;) {
      DFS_ASSIGN_OR_RETURN(auto slots,
                           txn.Collect(SlotPrefix(inode->id), SlotKey(inode->id, slot), 1000));
      for (const auto& [key, value] : slots) {
        auto record = DecodeSlot(value);
        if (!record) return txn.Latch(record.error());
        DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(record->block));
        DFS_RETURN_IF_ERROR(RemoveBlock(txn, inode, KeyNumber(key, 9), record->block, block));
      }
      if (slots.size() < 1000) break;
    }
  }
  DFS_RETURN_IF_ERROR(SetFileSize(txn, inode, size));
  DataChanged(txn, inode, 0);
  return Status::Ok();
}

Status ReplaceInline(Txn& txn, Inode* inode, const std::string& data) {
  if (data.size() > kMaxInlineBytes) return Status(Code::kInvalidArgument, "too long to be inline");
  if (inode->block_count > 0) return Status(Code::kInvalidArgument, "the file has blocks");
  inode->allocated_bytes = data.size();
  inode->inline_data = data;
  inode->has_inline = !data.empty();
  return SetFileSize(txn, inode, data.size());
}

Result<OpenBlockResult> OpenNewBlock(Txn& txn, Inode* inode, uint64_t slot,
                                     const std::vector<DatanodeId>& members) {
  DFS_RETURN_IF_ERROR(CheckMembers(members));
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(txn.header().session));
  if (!session) return Status(Code::kUnknownSession, "no such session");
  if (session->open_blocks >= kMaxOpenBlocksPerSession)
    return Status(Code::kOverloaded, "too many open blocks: close some");
  Counters& counters = txn.mutable_counters();
  const BlockId id(counters.next_block++);
  counters.blocks += 1;
  BlockRecord block;
  block.inode = inode->id;
  block.slot = slot;
  block.replication = inode->replication;
  block.stamp = Stamp(counters.next_stamp++);
  block.members = members;
  inode->block_count += 1;
  inode->data_version += 1;
  txn.Put(SlotKey(inode->id, slot), EncodeSlot({id}));
  DFS_RETURN_IF_ERROR(SetBlockState(txn, id, &block, BlockState::kOpen, txn.header().session));
  txn.PutBlock(id, block);
  return ResultOf(id, block, Stamp());
}

OpenBlockResult ResultOf(BlockId id, const BlockRecord& block, Stamp old_stamp) {
  OpenBlockResult result;
  result.block = id;
  result.slot = block.slot;
  result.old_stamp = old_stamp;
  result.stamp = block.LatestStamp();
  result.length = block.length;
  result.members = block.members;
  result.cut_stamp = block.cut_stamp;
  result.cut_length = block.cut_length;
  return result;
}

Status FenceOpenBlocks(Txn& txn, SessionId session) {
  DFS_ASSIGN_OR_RETURN(auto open,
                       txn.Collect(OpenBlockPrefix(session), {}, kMaxOpenBlocksPerSession + 1));
  for (const auto& [key, value] : open) {
    BlockId id(KeyNumber(key, 9));
    DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(id));
    DFS_RETURN_IF_ERROR(SetBlockState(txn, id, &block, BlockState::kOpen, SessionId()));
    txn.PutBlock(id, block);
  }
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const ReleaseBlocksCommand& command, std::string*) {
  DFS_RETURN_IF_ERROR(RequireSession(txn));
  const SessionId session = txn.header().session;
  DFS_ASSIGN_OR_RETURN(auto open,
                       txn.Collect(OpenBlockPrefix(session), {}, kMaxOpenBlocksPerSession + 1));
  for (const auto& [key, value] : open) {
    BlockId id(KeyNumber(key, 9));
    DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(id));
    if (block.inode != command.inode) continue;
    const std::vector<uint64_t>& slots = command.slots;
    if (!slots.empty() && std::find(slots.begin(), slots.end(), block.slot) == slots.end())
      continue;
    DFS_RETURN_IF_ERROR(SetBlockState(txn, id, &block, BlockState::kOpen, SessionId()));
    txn.PutBlock(id, block);
  }
  return Status::Ok();
}

Status EndSession(Txn& txn, const Session& session) {
  // In one command: nobody gets a lock of the session's before its open blocks are fenced (protocols 1.4).
  DFS_RETURN_IF_ERROR(FenceOpenBlocks(txn, session.id));
  DFS_RETURN_IF_ERROR(ReleaseSessionLocks(txn, session.id));
  for (;;) {
    DFS_ASSIGN_OR_RETURN(auto orphans, txn.Collect(SessionOrphanPrefix(session.id), {}, 1000));
    for (const auto& [key, value] : orphans)
      DFS_RETURN_IF_ERROR(ReleaseOrphan(txn, InodeId(KeyNumber(key, 9)), session.id));
    if (orphans.size() < 1000) break;
  }
  // The record itself and all stored replies.
  DFS_ASSIGN_OR_RETURN(auto keys, txn.Collect(SessionKey(session.id), {}, kMaxStoredReplies + 16));
  for (const auto& [key, value] : keys) txn.Delete(key);
  txn.Delete(NonceKey(session.nonce));
  txn.mutable_counters().sessions -= 1;
  txn.AddEvent(SessionEnded{session.id});
  return Status::Ok();
}

}  // namespace dfs::nn
