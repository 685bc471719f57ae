// The commands about file locks (commands.h), from kFeatureCaches on.
#pragma once

#include <cstdint>

#include "common/base/ids.h"
#include "namenode/state/command_header.h"
#include "namenode/state/locks.h"

namespace dfs::nn {

/// Takes a lock, or says what is in the way; changes nothing then, except that flock's conversion loses the lock that
/// was to be converted, as in Linux. An owner's own locks are never in its way: they are merged, split and converted.
/// kTooManyLocks. Result: LockResult.
///
/// A request that waited at the leader is proposed under no session of the header's, whose sequence it would keep
/// outstanding for as long as it waited; it names the session here. It needs no stored reply: taking the lock again
/// changes nothing. That a copy of it that was delayed takes no effect once the session is done with it is what wait_id
/// is for: each of the session's lock commands says up to where it is, and below that it is kStaleSequence.
struct LockCommand {
  static constexpr CommandType kType = CommandType::kLock;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  LockKind kind = LockKind::kPosix;
  LockType type = LockType::kShared;
  uint64_t start = 0;
  uint64_t end = kMaxLockEnd;  // inclusive; flock: of the whole file only
  uint64_t owner = 0;
  uint32_t pid = 0;
  uint64_t first_wait = 0;  // the session's requests below this are over
  SessionId session;        // of a request that waited; otherwise the header's
  uint64_t incarnation = 0;
  uint64_t wait_id = 0;  // from 1
  template <class A>
  void Fields(A& a) {
    a(inode, kind, type, start, end, owner, pid, first_wait, session, incarnation, wait_id);
  }
};

/// Lets go of a range. Ok when nothing of it was locked. kTooManyLocks: a lock would have become two. Result: none.
struct UnlockCommand {
  static constexpr CommandType kType = CommandType::kUnlock;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  LockKind kind = LockKind::kPosix;
  uint64_t start = 0;
  uint64_t end = kMaxLockEnd;
  uint64_t owner = 0;
  uint64_t first_wait = 0;
  template <class A>
  void Fields(A& a) {
    a(inode, kind, start, end, owner, first_wait);
  }
};

}  // namespace dfs::nn
