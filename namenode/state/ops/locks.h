// What lock, unlock and the ends of sessions and inodes share. All keep these invariants: a lock is recorded by its
// inode and by its session; both are counted.
#pragma once

#include <vector>

#include "namenode/state/locks.h"
#include "namenode/state/txn.h"

namespace dfs::nn {

/// An inode that can be locked: kStaleHandle when it is gone or going, kAccessDenied.
Result<Inode> LoadLockable(Txn& txn, InodeId id);
/// All of one kind that are held on the inode, in the order of their owners and ranges.
Result<std::vector<Lock>> LoadLocks(Txn& txn, InodeId inode, LockKind kind);
/// Notes up to where the session is with its requests that wait, and refuses one that it is done with (kStaleSequence).
/// wait_id 0: it is none of these.
Result<SessionLocks> AdvanceWaits(Txn& txn, SessionId session, uint64_t first_wait,
                                  uint64_t wait_id);
/// Puts `after` in the place of one owner's locks `before`, both in the order of their ranges, and counts.
/// kTooManyLocks.
Status ReplaceLocks(Txn& txn, InodeId inode, SessionLocks session_locks,
                    const std::vector<Lock>& before, const std::vector<Lock>& after,
                    SessionId session);
/// The session has ended, or belongs to another process now.
Status ReleaseSessionLocks(Txn& txn, SessionId session);
/// The inode is gone for good.
Status DropInodeLocks(Txn& txn, InodeId inode);

}  // namespace dfs::nn
