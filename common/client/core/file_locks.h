// FileLocks: flock and POSIX record locks that hold between clients. They are the session's, by inode and owner, and
// kept by the namenodes; here is only who may hold any, so that a close that has nothing to release costs nothing.
//
// What holds:
// * A wait lasts as long as its caller waits: the namenodes hold a request for about a second and it is sent again; it
//   keeps its place. It ends early by Cancel.
// * Whoever was told anything but "granted" does not hold the lock for long: when the outcome of a request is not
//   known, or it was granted after its caller had left, what it may have taken is given back, and further requests of
//   that owner on that file wait for this. An interrupted conversion may lose what was to be converted.
// * An unlock that could not be sent is sent until it succeeds or the session has ended.
// * Locks end with the session. Where some were held then, every further request on the file fails with kIoError until
//   its last descriptor is closed: somebody else may have been there.
//
// Confined to the core's executor; owned by ClientCore.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <tuple>

#include "common/base/executor.h"
#include "common/base/status.h"
#include "common/client/core/namenode_link.h"
#include "common/idl/idl_fwd.h"

namespace dfs::client {

class ClientCore;

/// Numbers as in idl::LockRequest.
enum class LockKind : int32_t { kPosix = 1, kFlock = 2 };
enum class LockType : int32_t { kShared = 1, kExclusive = 2 };

struct FileLock {
  uint64_t inode = 0;
  LockKind kind = LockKind::kPosix;
  LockType type = LockType::kShared;
  uint64_t start = 0;
  uint64_t end = INT64_MAX;  // inclusive; flock: the whole file
  uint64_t owner = 0;        // within this client
  uint32_t pid = 0;
  const void* handle = nullptr;  // the open file that it is taken by (ReleaseHandle)
};

class FileLocks {
 public:
  /// Of a request under way; 0 is none.
  using Ticket = uint64_t;
  using Granted = UniqueFunction<void(Result<uint64_t>)>;  // the fencing token
  using Tested = UniqueFunction<void(Result<std::optional<FileLock>>)>;

  explicit FileLocks(ClientCore& core) : core_(core) {}

  /// kWouldBlock when somebody else is in the way and it does not wait; kDeadlock; kTooManyLocks; kInterrupted.
  Ticket Lock(const FileLock& lock, bool wait, Granted done);
  /// The caller no longer waits: kInterrupted is the answer within a moment, unless it is granted before.
  void Cancel(Ticket ticket);
  /// Of the range; type does not matter.
  void Unlock(const FileLock& lock, StatusDone done);
  /// What is in the way of the lock, if anything.
  void Test(const FileLock& lock, Tested done);

  /// close(2): whatever the owner has of the file.
  void ReleaseOwner(uint64_t inode, LockKind kind, uint64_t owner, StatusDone done);
  /// The last close of an open file: POSIX locks that were taken by it and that no close has released. Linux' "open
  /// file description" locks have the open file as their owner, which no close names.
  void ReleaseHandle(uint64_t inode, const void* handle);
  /// Nobody has the file open any more.
  void Closed(uint64_t inode);
  /// Ends all that is under way with kClosed.
  void Close();

 private:
  using Key = std::tuple<uint64_t, LockKind, uint64_t>;  // inode, kind, owner
  struct Owner {
    bool holds = false;  // or may
    int requests = 0;    // under way, that may take something
    int unresolved = 0;  // what may be held although nobody was told so, and is to be given back
    const void* handle = nullptr;
    std::deque<Task> queue;  // until all is resolved
  };
  struct Request {
    FileLock lock;
    bool wait = false;
    Granted done;  // null: answered
    uint64_t session = 0;
    uint64_t wait_id = 0;
    bool begun = false;
    bool cancelled = false;
    bool abandoned = false;  // counted in unresolved
    Executor::TimerId timer = 0;
  };
  struct File {
    uint64_t session = 0;  // in which locks were granted
    bool lost = false;
  };
  enum class Outcome { kGranted, kNot, kUnknown };

  static Key KeyOf(const FileLock& lock) { return {lock.inode, lock.kind, lock.owner}; }
  uint64_t FirstWait() const { return waits_.empty() ? next_wait_ : *waits_.begin(); }
  /// Runs it at once, or when what the owner may hold unknowingly was given back.
  void WhenResolved(const Key& key, Task task);
  /// kIoError when locks on the file were lost with an earlier session.
  Status CheckLost(uint64_t inode);
  void Begin(Ticket ticket);
  void Send(Ticket ticket);
  void OnReply(Ticket ticket, Result<idl::LockReply> reply);
  void Resolve(Ticket ticket, Outcome outcome, Result<uint64_t> answer);
  void Abandon(Ticket ticket);
  void SendUnlock(const FileLock& lock, uint64_t session, StatusDone done);
  /// Until it succeeds or the session ends; the owner is unresolved till then.
  void GiveBack(const FileLock& lock, uint64_t session);
  void EndUnresolved(const Key& key);
  void Tidy(const Key& key);
  void RunUnlock(const FileLock& lock, bool closing, StatusDone done);

  ClientCore& core_;
  std::map<Key, Owner> owners_;
  std::map<uint64_t, File> files_;  // by inode, of which something is or was held
  std::map<Ticket, std::shared_ptr<Request>> requests_;
  std::set<uint64_t> waits_;  // wait ids whose outcome is not known yet
  Ticket next_ticket_ = 1;
  uint64_t next_wait_ = 1;
};

}  // namespace dfs::client
