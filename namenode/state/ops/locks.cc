#include "namenode/state/ops/locks.h"

#include <algorithm>
#include <map>

#include "namenode/state/ops/names.h"

namespace dfs::nn {
namespace {

Result<uint64_t> CountOf(Txn& txn, InodeId inode) {
  std::string value;
  DFS_ASSIGN_OR_RETURN(bool found, txn.Get(LockCountKey(inode), &value));
  if (!found) return uint64_t{0};
  auto count = DecodeLockCount(value);
  if (!count) return txn.Latch(count.error());
  return *count;
}

void PutCount(Txn& txn, InodeId inode, uint64_t count) {
  if (count == 0) {
    txn.Delete(LockCountKey(inode));
  } else {
    txn.Put(LockCountKey(inode), EncodeLockCount(count));
  }
}

Result<SessionLocks> LoadSessionLocks(Txn& txn, SessionId session) {
  std::string value;
  DFS_ASSIGN_OR_RETURN(bool found, txn.Get(SessionLocksKey(session), &value));
  if (!found) return SessionLocks();
  auto locks = DecodeSessionLocks(value);
  if (!locks) return txn.Latch(locks.error());
  return *locks;
}

/// The one of an owner's locks, in the order of their ranges, that begins last before the byte or at it.
const Lock* At(const std::vector<Lock>& locks, uint64_t byte) {
  auto it = std::upper_bound(locks.begin(), locks.end(), byte,
                             [](uint64_t b, const Lock& lock) { return b < lock.start; });
  return it == locks.begin() ? nullptr : &*--it;
}

bool Has(const std::vector<Lock>& locks, const Lock& lock) {
  const Lock* there = At(locks, lock.start);
  return there != nullptr && *there == lock;
}

/// Whether others may get now what they could not before; at times it says so though they cannot.
bool LetsGo(const std::vector<Lock>& before, const std::vector<Lock>& after) {
  return std::any_of(before.begin(), before.end(), [&](const Lock& lock) {
    const Lock* now = At(after, lock.start);
    return now == nullptr || now->end < lock.end ||
           (now->type != lock.type && now->type != LockType::kExclusive);
  });
}

}  // namespace

Result<Inode> LoadLockable(Txn& txn, InodeId id) {
  DFS_ASSIGN_OR_RETURN(Inode inode, txn.GetInode(id));
  if (inode.nlink == 0) {
    DFS_ASSIGN_OR_RETURN(bool going, txn.Has(TodoKey(id)));
    if (going) return Status(Code::kStaleHandle, "the inode was removed");
  }
  const Ownership ownership = OwnershipOf(inode);
  if (txn.caller().uid != inode.uid && !MayAccess(txn.caller(), ownership, kMayRead) &&
      !MayAccess(txn.caller(), ownership, kMayWrite))
    return Status(Code::kAccessDenied, "permission denied");
  return inode;
}

Result<std::vector<Lock>> LoadLocks(Txn& txn, InodeId inode, LockKind kind) {
  std::vector<Lock> locks;
  DFS_ASSIGN_OR_RETURN(uint64_t count, CountOf(txn, inode));
  if (count == 0) return locks;
  DFS_ASSIGN_OR_RETURN(auto found, txn.Collect(LockPrefix(inode, kind), {}, kMaxLocksPerInode + 1));
  locks.reserve(found.size());
  for (const auto& [key, value] : found) {
    auto lock = DecodeLock(key, value);
    if (!lock) return txn.Latch(lock.error());
    locks.push_back(*lock);
  }
  return locks;
}

Result<SessionLocks> AdvanceWaits(Txn& txn, SessionId session, uint64_t first_wait,
                                  uint64_t wait_id) {
  DFS_ASSIGN_OR_RETURN(SessionLocks locks, LoadSessionLocks(txn, session));
  if (wait_id != 0 && wait_id < locks.first_wait)
    return Status(Code::kStaleSequence, "the session is done with this request");
  if (first_wait > locks.first_wait) {
    locks.first_wait = first_wait;
    txn.Put(SessionLocksKey(session), EncodeSessionLocks(locks));
  }
  return locks;
}

Status ReplaceLocks(Txn& txn, InodeId inode, SessionLocks session_locks,
                    const std::vector<Lock>& before, const std::vector<Lock>& after,
                    SessionId session) {
  DFS_ASSIGN_OR_RETURN(uint64_t count, CountOf(txn, inode));
  const uint64_t new_count = count + after.size() - before.size();
  const uint64_t of_session = session_locks.count + after.size() - before.size();
  if (after.size() > before.size() &&
      (new_count > kMaxLocksPerInode || of_session > kMaxLocksPerSession))
    return Status(Code::kTooManyLocks, "too many locks");
  for (const Lock& lock : before) {
    if (Has(after, lock)) continue;
    txn.Delete(LockKey(inode, lock));
    txn.Delete(SessionLockKey(session, inode, lock));
  }
  for (const Lock& lock : after) {
    if (Has(before, lock)) continue;
    txn.Put(LockKey(inode, lock), EncodeLock(lock));
    txn.Put(SessionLockKey(session, inode, lock), {});
  }
  if (new_count != count) {
    PutCount(txn, inode, new_count);
    session_locks.count = of_session;
    txn.Put(SessionLocksKey(session), EncodeSessionLocks(session_locks));
  }
  if (LetsGo(before, after)) txn.AddEvent(LocksReleased{inode});
  return Status::Ok();
}

Status ReleaseSessionLocks(Txn& txn, SessionId session) {
  DFS_ASSIGN_OR_RETURN(auto keys,
                       txn.Collect(SessionLocksKey(session), {}, kMaxLocksPerSession + 16));
  std::map<InodeId, uint64_t> released;
  for (const auto& [key, value] : keys) {
    const InodeId inode = InodeOfSessionLock(key);
    if (inode.valid()) {
      txn.Delete(LockKeyOfSessionLock(key));
      released[inode] += 1;
    }
    txn.Delete(key);
  }
  for (const auto& [inode, locks] : released) {
    DFS_ASSIGN_OR_RETURN(uint64_t count, CountOf(txn, inode));
    PutCount(txn, inode, count - std::min(count, locks));
    txn.AddEvent(LocksReleased{inode});
  }
  return Status::Ok();
}

Status DropInodeLocks(Txn& txn, InodeId inode) {
  DFS_ASSIGN_OR_RETURN(uint64_t count, CountOf(txn, inode));
  if (count == 0) return Status::Ok();
  std::map<SessionId, uint64_t> released;
  for (LockKind kind : {LockKind::kPosix, LockKind::kFlock}) {
    DFS_ASSIGN_OR_RETURN(std::vector<Lock> locks, LoadLocks(txn, inode, kind));
    for (const Lock& lock : locks) {
      txn.Delete(LockKey(inode, lock));
      txn.Delete(SessionLockKey(lock.owner.session, inode, lock));
      released[lock.owner.session] += 1;
    }
  }
  txn.Delete(LockCountKey(inode));
  for (const auto& [session, locks] : released) {
    DFS_ASSIGN_OR_RETURN(SessionLocks rest, LoadSessionLocks(txn, session));
    rest.count -= std::min(rest.count, locks);
    txn.Put(SessionLocksKey(session), EncodeSessionLocks(rest));
  }
  txn.AddEvent(LocksReleased{inode});
  return Status::Ok();
}

}  // namespace dfs::nn
