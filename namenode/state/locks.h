// File locks: what the state keeps of them, and the rules by which they exclude, merge and split each other. Pure.
//
// POSIX record locks (fcntl) are of byte ranges: what one owner locks replaces what it had there. flock's are of whole
// files. The two kinds know nothing of each other, as in Linux.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"

namespace dfs::nn {

/// Numbers as in idl::LockRequest.
enum class LockKind : uint8_t { kPosix = 1, kFlock = 2 };
enum class LockType : uint8_t { kShared = 1, kExclusive = 2 };

/// Of a range: to the end of the file, however long.
inline constexpr uint64_t kMaxLockEnd = INT64_MAX;
inline constexpr uint32_t kMaxLocksPerSession = 10'000;
/// Each is looked at by every request on the file.
inline constexpr uint32_t kMaxLocksPerInode = 4'096;

/// Who holds locks: a process or an open file of a session, by the number that its kernel gives it.
struct LockOwner {
  SessionId session;
  uint64_t owner = 0;
  friend auto operator<=>(const LockOwner&, const LockOwner&) = default;
};

struct Lock {
  LockKind kind = LockKind::kPosix;
  LockOwner owner;
  uint64_t start = 0;
  uint64_t end = kMaxLockEnd;  // inclusive
  LockType type = LockType::kShared;
  uint32_t pid = 0;    // for F_GETLK only
  LogIndex token = 0;  // of the grant: who holds a lock later has a larger one
  friend bool operator==(const Lock&, const Lock&) = default;
};

/// Whether the two cannot be held at the same time; those of one owner always can.
bool Conflict(const Lock& a, const Lock& b);
/// The first of held that is in the way; null when there is none.
const Lock* FindConflict(const std::vector<Lock>& held, const Lock& wanted);

/// The owner's locks of one kind on a file, after it has taken `wanted`, too. In the order of their ranges, like `own`.
std::vector<Lock> WithLock(const std::vector<Lock>& own, const Lock& wanted);
/// The same after it has let go of a range.
std::vector<Lock> WithoutRange(const std::vector<Lock>& own, uint64_t start, uint64_t end);

/// What the store has under the lock's key; the key has the rest.
std::string EncodeLock(const Lock& lock);
Result<Lock> DecodeLock(std::string_view key, std::string_view value);

/// A session's locks as a whole.
struct SessionLocks {
  uint64_t count = 0;
  /// No request that waited and was numbered below this may take effect any more (LockCommand).
  uint64_t first_wait = 0;
};
std::string EncodeSessionLocks(const SessionLocks& locks);
Result<SessionLocks> DecodeSessionLocks(std::string_view value);
std::string EncodeLockCount(uint64_t count);
Result<uint64_t> DecodeLockCount(std::string_view value);

// Keys (docs/state.md). Inode 0, which is none, has what is kept by session.
std::string LockCountKey(InodeId inode);
std::string LockPrefix(InodeId inode, LockKind kind);
std::string LockPrefix(InodeId inode, LockKind kind, LockOwner owner);
std::string LockKey(InodeId inode, const Lock& lock);
/// Also a prefix of every SessionLockKey of the session.
std::string SessionLocksKey(SessionId session);
std::string SessionLockKey(SessionId session, InodeId inode, const Lock& lock);
/// The inode and the key of the lock that a SessionLockKey stands for.
InodeId InodeOfSessionLock(std::string_view session_lock_key);
std::string LockKeyOfSessionLock(std::string_view session_lock_key);

}  // namespace dfs::nn
