#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

constexpr uint32_t kAllBits = 511;

Status SetOwner(Txn& txn, const SetAttrCommand& c, Inode* inode) {
  uint32_t uid = (c.mask & kSetUid) != 0 ? c.uid : inode->uid;
  uint32_t gid = (c.mask & kSetGid) != 0 ? c.gid : inode->gid;
  DFS_RETURN_IF_ERROR(CheckChown(txn.caller(), OwnershipOf(*inode), uid, gid));
  inode->mode = ModeAfterChown(txn.caller(), OwnershipOf(*inode));
  inode->uid = uid;
  inode->gid = gid;
  return Status::Ok();
}

Status SetSize(Txn& txn, const SetAttrCommand& c, Inode* inode) {
  if (inode->IsDirectory()) return Status(Code::kIsDirectory, "is a directory");
  if (!inode->IsRegular()) return Status(Code::kInvalidArgument, "not a regular file");
  if (inode->nlink == 0) {
    DFS_ASSIGN_OR_RETURN(bool going, txn.Has(TodoKey(inode->id)));
    if (going) return Status(Code::kStaleHandle, "the file was removed");
  }
  DFS_RETURN_IF_ERROR(c.by_handle ? CheckDataAccess(txn, *inode)
                                  : CheckTruncate(txn.caller(), OwnershipOf(*inode)));
  return TruncateFile(txn, inode, c.size);
}

Status SetReplication(Txn& txn, const SetAttrCommand& c, Inode* inode) {
  DFS_RETURN_IF_ERROR(CheckOwner(txn.caller(), OwnershipOf(*inode)));
  if (!inode->IsRegular()) return Status(Code::kInvalidArgument, "not a regular file");
  if (c.replication < 1 || c.replication > kMaxReplication)
    return Status(Code::kInvalidArgument, "replication must be 1 to 16");
  if (c.replication == inode->replication) return Status::Ok();
  inode->replication = c.replication;
  // Blocks know it, too, so that the block map needs no inodes; about a microsecond for each.
  for (uint64_t next = 0;;) {
    DFS_ASSIGN_OR_RETURN(auto slots,
                         txn.Collect(SlotPrefix(inode->id), SlotKey(inode->id, next), 1000));
    for (const auto& [key, value] : slots) {
      auto slot = DecodeSlot(value);
      if (!slot) return txn.Latch(slot.error());
      DFS_ASSIGN_OR_RETURN(BlockRecord block, txn.MustGetBlock(slot->block));
      block.replication = c.replication;
      txn.PutBlock(slot->block, block);
      next = KeyNumber(key, 9) + 1;
    }
    if (slots.size() < 1000) return Status::Ok();
  }
}

Status SetTimes(Txn& txn, const SetAttrCommand& c, Inode* inode) {
  constexpr uint32_t kExplicit = kSetAtime | kSetMtime;
  DFS_RETURN_IF_ERROR(CheckSetTimes(txn.caller(), OwnershipOf(*inode), (c.mask & kExplicit) == 0));
  int64_t now = NowFor(txn, *inode);
  if ((c.mask & kSetAtime) != 0) inode->atime_ns = c.atime_ns;
  if ((c.mask & kSetAtimeNow) != 0) inode->atime_ns = now;
  if ((c.mask & kSetMtime) != 0) inode->mtime_ns = c.mtime_ns;
  if ((c.mask & kSetMtimeNow) != 0) inode->mtime_ns = now;
  return Status::Ok();
}

}  // namespace

Status ApplyOp(Txn& txn, const SetAttrCommand& c, std::string* payload) {
  if ((c.mask & ~kAllBits) != 0) return Status(Code::kInvalidArgument, "unknown attribute");
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.GetInode(c.inode));
  // Everything is checked against what the caller was allowed before this command.
  const Inode before = inode;
  if ((c.mask & (kSetUid | kSetGid)) != 0) DFS_RETURN_IF_ERROR(SetOwner(txn, c, &inode));
  if ((c.mask & kSetMode) != 0) {
    DFS_RETURN_IF_ERROR(CheckChmod(txn.caller(), OwnershipOf(before)));
    inode.mode = ModeAfterChmod(txn.caller(), c.mode & 07777, inode.gid);
  }
  if ((c.mask & kSetSize) != 0) {
    Inode checked = before;
    std::swap(checked.mode, inode.mode);
    std::swap(checked.uid, inode.uid);
    std::swap(checked.gid, inode.gid);
    DFS_RETURN_IF_ERROR(SetSize(txn, c, &inode));
    uint32_t cleared = before.mode & ~inode.mode;  // what writing takes away
    inode.mode = checked.mode & ~cleared;
    inode.uid = checked.uid;
    inode.gid = checked.gid;
  }
  if ((c.mask & kSetReplication) != 0) DFS_RETURN_IF_ERROR(SetReplication(txn, c, &inode));
  constexpr uint32_t kTimes = kSetAtime | kSetMtime | kSetAtimeNow | kSetMtimeNow;
  if ((c.mask & kTimes) != 0) DFS_RETURN_IF_ERROR(SetTimes(txn, c, &inode));
  TouchAttributes(txn, &inode);
  txn.PutInode(inode);
  *payload = EncodeResult(AttrResult{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
