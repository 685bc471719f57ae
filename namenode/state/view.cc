#include "namenode/state/view.h"

namespace dfs::nn {
namespace {

Status Dangling(const char* what, uint64_t id) {
  return Status(Code::kCorrupt, std::string("the state refers to ") + what + " " +
                                    std::to_string(id) + ", which is not there");
}

}  // namespace

Result<std::optional<Inode>> StateView::FindInode(InodeId inode) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(InodeKey(inode), &scratch_));
  if (!found) return std::optional<Inode>();
  DFS_ASSIGN_OR_RETURN(Inode decoded, Latched(DecodeInode(inode, scratch_)));
  return std::optional<Inode>(std::move(decoded));
}

Result<Inode> StateView::GetInode(InodeId inode) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(InodeKey(inode), &scratch_));
  if (!found) return Status(Code::kStaleHandle, "the inode is gone");
  return Latched(DecodeInode(inode, scratch_));
}

Result<Inode> StateView::MustGetInode(InodeId inode) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(InodeKey(inode), &scratch_));
  if (!found) return Latch(Dangling("inode", inode.value));
  return Latched(DecodeInode(inode, scratch_));
}

Result<InodeHead> StateView::MustGetHead(InodeId inode) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(InodeKey(inode), &scratch_));
  if (!found) return Latch(Dangling("inode", inode.value));
  return Latched(DecodeInodeHead(scratch_));
}

Result<std::optional<Dentry>> StateView::FindDentry(InodeId directory, std::string_view name) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(DentryKey(directory, name), &scratch_));
  if (!found) return std::optional<Dentry>();
  DFS_ASSIGN_OR_RETURN(Dentry dentry, Latched(DecodeDentry(scratch_)));
  return std::optional<Dentry>(dentry);
}

Result<Dentry> StateView::GetDentry(InodeId directory, std::string_view name) {
  DFS_ASSIGN_OR_RETURN(std::optional<Dentry> dentry, FindDentry(directory, name));
  if (!dentry) return Status(Code::kNotFound, "no such file or directory");
  return *dentry;
}

Result<Usage> StateView::GetUsage(InodeId directory) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(UsageKey(directory), &scratch_));
  if (!found) return Usage();
  return Latched(DecodeUsage(scratch_));
}

Result<std::optional<SlotRecord>> StateView::FindSlot(InodeId inode, uint64_t slot) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(SlotKey(inode, slot), &scratch_));
  if (!found) return std::optional<SlotRecord>();
  DFS_ASSIGN_OR_RETURN(SlotRecord record, Latched(DecodeSlot(scratch_)));
  return std::optional<SlotRecord>(record);
}

Result<std::optional<BlockRecord>> StateView::FindBlock(BlockId block) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(BlockKey(block), &scratch_));
  if (!found) return std::optional<BlockRecord>();
  DFS_ASSIGN_OR_RETURN(BlockRecord record, Latched(DecodeBlock(scratch_)));
  return std::optional<BlockRecord>(std::move(record));
}

Result<BlockRecord> StateView::MustGetBlock(BlockId block) {
  DFS_ASSIGN_OR_RETURN(std::optional<BlockRecord> record, FindBlock(block));
  if (!record) return Latch(Dangling("block", block.value));
  return std::move(*record);
}

Result<std::optional<Session>> StateView::FindSession(SessionId session) {
  DFS_ASSIGN_OR_RETURN(bool found, Get(SessionKey(session), &scratch_));
  if (!found) return std::optional<Session>();
  DFS_ASSIGN_OR_RETURN(Session decoded, Latched(DecodeSession(session, scratch_)));
  return std::optional<Session>(std::move(decoded));
}

Result<bool> StateView::Has(std::string_view key) {
  return Get(key, &scratch_);
}

Result<bool> CommittedView::GetRaw(std::string_view key, std::string* value) {
  return Lookup(key, value, true);
}

Result<bool> CommittedView::Lookup(std::string_view key, std::string* value, bool keep_absent) {
  std::string_view cached;
  switch (cache_.Get(key, &cached)) {
    case KvCache::Answer::kPresent:
      value->assign(cached);
      return true;
    case KvCache::Answer::kAbsent:
      return false;
    case KvCache::Answer::kUnknown:
      break;
  }
  DFS_ASSIGN_OR_RETURN(bool found, store_->Get(key, value));
  if (found) {
    cache_.Put(key, *value);
  } else if (keep_absent && !key.empty() && key[0] == static_cast<char>(Tag::kDentry)) {
    cache_.PutAbsent(key);
  }
  return found;
}

}  // namespace dfs::nn
