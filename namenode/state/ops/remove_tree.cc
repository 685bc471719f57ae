// remove_tree detaches in one command; reclaim takes what was detached apart, in bounded ones.
#include <algorithm>

#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

constexpr uint32_t kMaxReclaimSteps = 10'000;

const std::vector<SessionId>& SessionsOf(const ReclaimCommand& command, InodeId inode) {
  static const std::vector<SessionId> kNone;
  for (const OpenInode& open : command.open) {
    if (open.inode == inode) return open.sessions;
  }
  return kNone;
}

/// Up to limit entries of a removed directory; subdirectories become removed trees of their own.
Result<uint32_t> ReclaimEntries(Txn& txn, const ReclaimCommand& command, Inode* directory,
                                uint32_t limit) {
  // No name can be added to a removed directory, so nothing is before what was taken last.
  Txn::ReclaimHint& hint = txn.reclaim_hint();
  if (hint.directory != directory->id) hint = {directory->id, {}};
  DFS_ASSIGN_OR_RETURN(auto entries, txn.Collect(DentryPrefix(directory->id), hint.start, limit));
  if (!entries.empty()) hint.start = entries.back().first;
  for (const auto& [key, value] : entries) {
    txn.Delete(key);
    directory->entries -= 1;
    auto dentry = DecodeDentry(value);
    if (!dentry) return txn.Latch(dentry.error());
    DFS_ASSIGN_OR_RETURN(Inode child, txn.MustGetInode(dentry->inode));
    if (child.IsDirectory()) {
      DFS_RETURN_IF_ERROR(DropDirectory(txn, child));
    } else {
      // A copy: the child's home may be looked up by it.
      std::string name = key.substr(17);
      DFS_RETURN_IF_ERROR(
          DropLink(txn, &child, directory->id, name, SessionsOf(command, child.id), false));
    }
  }
  return static_cast<uint32_t>(entries.size());
}

Result<uint32_t> ReclaimBlocks(Txn& txn, Inode* file, uint32_t limit) {
  DFS_ASSIGN_OR_RETURN(auto slots, txn.Collect(SlotPrefix(file->id), {}, limit));
  for (const auto& [key, value] : slots) {
    auto slot = DecodeSlot(value);
    if (!slot) return txn.Latch(slot.error());
    DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(slot->block));
    DFS_RETURN_IF_ERROR(RemoveBlock(txn, file, KeyNumber(key, 9), slot->block, block));
  }
  return static_cast<uint32_t>(slots.size());
}

/// Keys that hang on the inode and need nothing but deleting.
Result<uint32_t> ReclaimKeys(Txn& txn, std::string_view prefix, uint32_t limit) {
  DFS_ASSIGN_OR_RETURN(auto keys, txn.Collect(prefix, {}, limit));
  for (const auto& [key, value] : keys) txn.Delete(key);
  return static_cast<uint32_t>(keys.size());
}

}  // namespace

Status ApplyOp(Txn& txn, const RemoveTreeCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(CheckName(command.name));
  DFS_ASSIGN_OR_RETURN(Inode parent, LoadDirectory(txn, command.parent));
  DFS_RETURN_IF_ERROR(CheckAccess(txn.caller(), OwnershipOf(parent), kMayExecute));
  DFS_ASSIGN_OR_RETURN(Dentry dentry, txn.GetDentry(parent.id, command.name));
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(dentry.inode));
  DFS_RETURN_IF_ERROR(CheckRemove(txn.caller(), OwnershipOf(parent), OwnershipOf(inode)));
  if (inode.IsDirectory() && inode.entries > 0 && !txn.caller().IsRoot()) {
    if (inode.uid != txn.caller().uid)
      return Status(Code::kAccessDenied, "a directory that is not empty is removed by its owner");
    DFS_RETURN_IF_ERROR(
        CheckAccess(txn.caller(), OwnershipOf(inode), kMayRead | kMayWrite | kMayExecute));
  }
  DFS_ASSIGN_OR_RETURN(bool home, IsHomeLink(txn, inode, parent.id, command.name));
  Usage removed;
  if (home) {
    DFS_ASSIGN_OR_RETURN(removed, ChargeOf(txn, inode));
  }
  RemoveEntry(txn, &parent, command.name, inode.type);
  txn.PutInode(parent);
  *payload = EncodeResult(RemoveTreeResult{removed});
  if (!inode.IsDirectory())
    return DropLink(txn, &inode, parent.id, command.name, command.open_sessions, true);
  DFS_RETURN_IF_ERROR(Charge(txn, parent.id, Negated(removed), ChargeMode::kAlways));
  return DropDirectory(txn, inode);
}

Status ApplyOp(Txn& txn, const ReclaimCommand& command, std::string* payload) {
  std::string value;
  DFS_ASSIGN_OR_RETURN(bool found, txn.Get(TodoKey(command.inode), &value));
  ReclaimResult result;
  if (!found) {
    result.done = true;
    *payload = EncodeResult(result);
    return Status::Ok();
  }
  uint32_t limit = std::clamp(command.limit, 1u, kMaxReclaimSteps);
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.MustGetInode(command.inode));
  if (inode.IsDirectory()) {
    DFS_ASSIGN_OR_RETURN(result.steps, ReclaimEntries(txn, command, &inode, limit));
  } else {
    DFS_ASSIGN_OR_RETURN(result.steps, ReclaimBlocks(txn, &inode, limit));
  }
  for (const std::string& prefix :
       {XattrPrefix(inode.id), ShortenedKey(inode.id, 0).substr(0, 9)}) {
    if (result.steps >= limit) break;
    DFS_ASSIGN_OR_RETURN(uint32_t steps, ReclaimKeys(txn, prefix, limit - result.steps));
    result.steps += steps;
  }
  if (result.steps < limit) {
    // Every scan came to its end, so nothing is left but the inode itself.
    inode.xattr_count = 0;
    inode.shortened = false;
    txn.Delete(TodoKey(inode.id));
    DFS_RETURN_IF_ERROR(FreeInode(txn, inode));
    result.done = true;
  } else {
    txn.PutInode(inode);
  }
  *payload = EncodeResult(result);
  return Status::Ok();
}

}  // namespace dfs::nn
