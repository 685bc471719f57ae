// What operations on files and blocks share.
#pragma once

#include <vector>

#include "namenode/state/txn.h"

namespace dfs::nn {

/// A regular file whose data may be changed: kStaleHandle, kIsDirectory, kInvalidArgument.
Result<Inode> LoadFile(Txn& txn, InodeId id);
/// Of those who opened it: the owner (permission was decided at open), root, or who may write.
Status CheckDataAccess(const Txn& txn, const Inode& inode);
/// kUnknownSession for commands of nobody.
Status RequireSession(const Txn& txn);
/// 1 to kMaxReplication, valid, distinct.
Status CheckMembers(const std::vector<DatanodeId>& members);
bool IsSubset(const std::vector<DatanodeId>& some, const std::vector<DatanodeId>& all);

/// The block is there, open, at this stamp and this session's; kStaleStamp otherwise.
Result<BlockRecord> LoadOwnOpenBlock(Txn& txn, const Inode& inode, uint64_t slot, BlockId block,
                                     Stamp stamp);

/// Changes state and writer, with the index of open blocks and the sessions' counts. The caller puts
/// the block.
Status SetBlockState(Txn& txn, BlockId id, BlockRecord* block, BlockState state, SessionId writer);
/// Deletes a block's record, and its slot's.
Status RemoveBlock(Txn& txn, Inode* inode, uint64_t slot, BlockId id, const BlockRecord& block);

/// Changes the size and charges the difference.
Status SetFileSize(Txn& txn, Inode* inode, uint64_t size);
/// Sets a block's committed length and accounts for it in the inode.
void SetBlockLength(Inode* inode, BlockRecord* block, uint64_t length);
/// Data version, times (mtime_ns 0: now), and the mode bits that writing clears.
void DataChanged(const Txn& txn, Inode* inode, int64_t mtime_ns);
/// What CommitLength and CloseBlock have in common; the caller puts inode and block.
struct LengthChange {
  uint64_t length;
  uint64_t file_size;
  int64_t mtime_ns;
  bool drop_inline;
};
Status ApplyLength(Txn& txn, Inode* inode, BlockRecord* block, const LengthChange& change);
/// truncate; the caller puts the inode.
Status TruncateFile(Txn& txn, Inode* inode, uint64_t size);
/// Replaces the content of a file without blocks; the caller puts the inode.
Status ReplaceInline(Txn& txn, Inode* inode, const std::string& data);

/// Makes the block of a hole and opens it for the header's session, within the session's bound. Puts the
/// block; the caller puts the inode. kOverloaded: too many are open.
Result<OpenBlockResult> OpenNewBlock(Txn& txn, Inode* inode, uint64_t slot,
                                     const std::vector<DatanodeId>& members);

OpenBlockResult ResultOf(BlockId id, const BlockRecord& block, Stamp old_stamp);

/// Fences the session's open blocks: they have to be recovered.
Status FenceOpenBlocks(Txn& txn, SessionId session);
/// The end of a session, however it came.
Status EndSession(Txn& txn, const Session& session);
/// A stored session whose secret was checked elsewhere.
inline constexpr size_t kMaxSecretBytes = 64;

}  // namespace dfs::nn
