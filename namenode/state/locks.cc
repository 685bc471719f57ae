#include "namenode/state/locks.h"

#include <algorithm>

#include "common/base/codec.h"
#include "namenode/state/archive.h"
#include "namenode/state/keys.h"

namespace dfs::nn {
namespace {

constexpr uint8_t kLockVersion = 1;
// Of the keys, by which their kinds are told apart.
constexpr size_t kLockKeyBytes = 34;
constexpr size_t kSessionLocksKeyBytes = 17;
constexpr size_t kSessionLockKeyBytes = 42;

Status Malformed() {
  return Status(Code::kCorrupt, "malformed lock record");
}

bool Overlap(const Lock& a, uint64_t start, uint64_t end) {
  return a.start <= end && start <= a.end;
}

/// Overlaps it, or ends where it begins: together they are one range.
bool Touch(const Lock& a, const Lock& b) {
  return a.start <= b.end + 1 && b.start <= a.end + 1;
}

void SortByRange(std::vector<Lock>& locks) {
  std::sort(locks.begin(), locks.end(),
            [](const Lock& a, const Lock& b) { return a.start < b.start; });
}

/// What is left of a lock outside the range.
void AddRest(const Lock& lock, uint64_t start, uint64_t end, std::vector<Lock>* out) {
  if (lock.start < start) {
    out->push_back(lock);
    out->back().end = start - 1;
  }
  if (lock.end > end) {
    out->push_back(lock);
    out->back().start = end + 1;
  }
}

std::string KindKey(InodeId inode, LockKind kind) {
  std::string key(1, static_cast<char>(Tag::kLock));
  AppendBigEndian64(&key, inode.value);
  key.push_back(static_cast<char>(kind));
  return key;
}

}  // namespace

bool Conflict(const Lock& a, const Lock& b) {
  return a.kind == b.kind && a.owner != b.owner && Overlap(a, b.start, b.end) &&
         (a.type == LockType::kExclusive || b.type == LockType::kExclusive);
}

const Lock* FindConflict(const std::vector<Lock>& held, const Lock& wanted) {
  for (const Lock& lock : held) {
    if (Conflict(lock, wanted)) return &lock;
  }
  return nullptr;
}

std::vector<Lock> WithLock(const std::vector<Lock>& own, const Lock& wanted) {
  Lock grown = wanted;
  std::vector<Lock> after;
  for (const Lock& lock : own) {
    if (lock.type == wanted.type && Touch(lock, wanted)) {
      grown.start = std::min(grown.start, lock.start);
      grown.end = std::max(grown.end, lock.end);
    } else if (Overlap(lock, wanted.start, wanted.end)) {
      AddRest(lock, wanted.start, wanted.end, &after);
    } else {
      after.push_back(lock);
    }
  }
  after.push_back(grown);
  SortByRange(after);
  return after;
}

std::vector<Lock> WithoutRange(const std::vector<Lock>& own, uint64_t start, uint64_t end) {
  std::vector<Lock> after;
  for (const Lock& lock : own) {
    if (Overlap(lock, start, end)) {
      AddRest(lock, start, end, &after);
    } else {
      after.push_back(lock);
    }
  }
  return after;
}

std::string EncodeLock(const Lock& lock) {
  std::string out;
  Encoder e(&out);
  e.U8(kLockVersion);
  e.U8(static_cast<uint8_t>(lock.type));
  e.Varint(lock.end);
  e.Varint(lock.pid);
  e.Varint(lock.token);
  return out;
}

Result<Lock> DecodeLock(std::string_view key, std::string_view value) {
  if (key.size() != kLockKeyBytes) return Malformed();
  Lock lock;
  lock.kind = static_cast<LockKind>(key[9]);
  lock.owner = {SessionId(KeyNumber(key, 10)), KeyNumber(key, 18)};
  lock.start = KeyNumber(key, 26);
  Decoder in(value);
  if (in.U8() != kLockVersion) return Malformed();
  lock.type = static_cast<LockType>(in.U8());
  lock.end = in.Varint();
  const uint64_t pid = in.Varint();
  lock.pid = static_cast<uint32_t>(pid);
  lock.token = in.Varint();
  const bool known = (lock.kind == LockKind::kPosix || lock.kind == LockKind::kFlock) &&
                     (lock.type == LockType::kShared || lock.type == LockType::kExclusive);
  if (!in.done() || !known || pid > UINT32_MAX || lock.end < lock.start || lock.end > kMaxLockEnd)
    return Malformed();
  return lock;
}

std::string EncodeSessionLocks(const SessionLocks& locks) {
  std::string out;
  Encoder e(&out);
  e.U8(kLockVersion);
  e.Varint(locks.count);
  e.Varint(locks.first_wait);
  return out;
}

Result<SessionLocks> DecodeSessionLocks(std::string_view value) {
  Decoder in(value);
  SessionLocks locks;
  if (in.U8() != kLockVersion) return Malformed();
  locks.count = in.Varint();
  locks.first_wait = in.Varint();
  if (!in.done()) return Malformed();
  return locks;
}

std::string EncodeLockCount(uint64_t count) {
  std::string out;
  Encoder e(&out);
  e.U8(kLockVersion);
  e.Varint(count);
  return out;
}

Result<uint64_t> DecodeLockCount(std::string_view value) {
  Decoder in(value);
  if (in.U8() != kLockVersion) return Malformed();
  const uint64_t count = in.Varint();
  if (!in.done()) return Malformed();
  return count;
}

std::string LockCountKey(InodeId inode) {
  std::string key(1, static_cast<char>(Tag::kLock));
  AppendBigEndian64(&key, inode.value);
  return key;
}

std::string LockPrefix(InodeId inode, LockKind kind) {
  return KindKey(inode, kind);
}

std::string LockPrefix(InodeId inode, LockKind kind, LockOwner owner) {
  std::string key = KindKey(inode, kind);
  AppendBigEndian64(&key, owner.session.value);
  AppendBigEndian64(&key, owner.owner);
  return key;
}

std::string LockKey(InodeId inode, const Lock& lock) {
  std::string key = LockPrefix(inode, lock.kind, lock.owner);
  AppendBigEndian64(&key, lock.start);
  return key;
}

std::string SessionLocksKey(SessionId session) {
  std::string key = LockCountKey(InodeId());
  AppendBigEndian64(&key, session.value);
  return key;
}

std::string SessionLockKey(SessionId session, InodeId inode, const Lock& lock) {
  std::string key = SessionLocksKey(session);
  AppendBigEndian64(&key, inode.value);
  key.push_back(static_cast<char>(lock.kind));
  AppendBigEndian64(&key, lock.owner.owner);
  AppendBigEndian64(&key, lock.start);
  return key;
}

InodeId InodeOfSessionLock(std::string_view key) {
  return key.size() == kSessionLockKeyBytes ? InodeId(KeyNumber(key, kSessionLocksKeyBytes))
                                            : InodeId();
}

std::string LockKeyOfSessionLock(std::string_view key) {
  if (key.size() != kSessionLockKeyBytes) return {};
  Lock lock;
  lock.kind = static_cast<LockKind>(key[25]);
  lock.owner = {SessionId(KeyNumber(key, 9)), KeyNumber(key, 26)};
  lock.start = KeyNumber(key, 34);
  return LockKey(InodeId(KeyNumber(key, 17)), lock);
}

}  // namespace dfs::nn
