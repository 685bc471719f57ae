#include "common/client/core/file_locks.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/logging.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {

/// How long the namenodes hold a request that waits: less than the link's patience with one attempt.
constexpr int32_t kHeldMs = 1000;
/// An interrupted caller is answered after this, whatever the namenodes say.
constexpr int64_t kCancelPatienceNs = 200 * kMillisecond;
constexpr int64_t kCancelDeadlineNs = 5 * kSecond;
constexpr int64_t kRetryNs = 500 * kMillisecond;

bool SessionIsGone(Code code) {
  return code == Code::kUnknownSession || code == Code::kStaleIncarnation;
}

/// Whether the request may have taken effect, or may take it yet.
bool OutcomeUnknown(Code code) {
  switch (code) {
    case Code::kTimedOut:
    case Code::kUnavailable:
    case Code::kNotLeader:
    case Code::kOverloaded:
    case Code::kOutcomeUnknown:
    case Code::kStaleSequence:
    case Code::kClosed:
    case Code::kInternal:
      return true;
    default:
      return false;
  }
}

bool IsWhole(const FileLock& lock) {
  return lock.start == 0 && lock.end == INT64_MAX;
}

template <class Request>
void Put(const FileLock& lock, Request* out) {
  out->inode = static_cast<int64_t>(lock.inode);
  out->kind = static_cast<int32_t>(lock.kind);
  out->first = static_cast<int64_t>(lock.start);
  out->last = static_cast<int64_t>(lock.end);
  out->owner = static_cast<int64_t>(lock.owner);
}

}  // namespace

// ---- Locking ------------------------------------------------------------------------------------

FileLocks::Ticket FileLocks::Lock(const FileLock& lock, bool wait, Granted done) {
  const Ticket ticket = next_ticket_++;
  auto request = std::make_shared<Request>();
  request->lock = lock;
  request->wait = wait;
  request->done = std::move(done);
  requests_[ticket] = std::move(request);
  Owner& owner = owners_[KeyOf(lock)];
  ++owner.requests;
  owner.handle = lock.handle;
  WhenResolved(KeyOf(lock), [this, ticket] { Begin(ticket); });
  return ticket;
}

void FileLocks::WhenResolved(const Key& key, Task task) {
  auto it = owners_.find(key);
  if (it != owners_.end() && it->second.unresolved > 0) {
    it->second.queue.push_back(std::move(task));
  } else {
    task();
  }
}

Status FileLocks::CheckLost(uint64_t inode) {
  auto it = files_.find(inode);
  if (it == files_.end()) return Status();
  File& file = it->second;
  if (!file.lost && file.session != core_.session().id()) {
    file.lost = true;
    LogError("inode {}: its locks were lost with the session; open it again to lock it", inode);
  }
  return file.lost ? Status(Code::kIoError, "locks were lost with the session") : Status();
}

void FileLocks::Begin(Ticket ticket) {
  auto it = requests_.find(ticket);
  if (it == requests_.end()) return;
  if (it->second->cancelled) {
    Resolve(ticket, Outcome::kNot, Status(Code::kInterrupted, "interrupted"));
    return;
  }
  it->second->begun = true;
  core_.session().Ensure([weak = core_.weak_from_this(), ticket](Result<uint64_t> session) {
    auto core = weak.lock();
    if (!core) return;
    FileLocks& self = core->locks();
    auto found = self.requests_.find(ticket);
    if (found == self.requests_.end()) return;
    Status status = session.status();
    if (status.ok()) status = self.CheckLost(found->second->lock.inode);
    if (!status.ok()) {
      self.Resolve(ticket, Outcome::kNot, std::move(status));
      return;
    }
    Request& request = *found->second;
    request.session = *session;
    if (request.wait) {
      request.wait_id = self.next_wait_++;
      self.waits_.insert(request.wait_id);
    }
    self.Send(ticket);
  });
}

void FileLocks::Send(Ticket ticket) {
  const Request& request = *requests_.at(ticket);
  idl::LockRequest out;
  Put(request.lock, &out);
  out.type = static_cast<int32_t>(request.lock.type);
  out.pid = static_cast<int32_t>(request.lock.pid);
  out.first_wait = static_cast<int64_t>(FirstWait());
  // As root: permission was decided when the file was opened, and only the kernel knows of a descriptor's rights.
  auto done = [weak = core_.weak_from_this(), ticket](Result<idl::LockReply> reply) {
    if (auto core = weak.lock()) core->locks().OnReply(ticket, std::move(reply));
  };
  if (!request.wait) {
    Change<idl::kLock>(core_, std::move(out), request.session, core_.Deadline(), std::move(done));
    return;
  }
  if (request.session != core_.session().id()) {
    OnReply(ticket, Status(Code::kUnknownSession, "the session has ended"));
    return;
  }
  out.wait = true;
  out.wait_ms = kHeldMs;
  out.wait_id = static_cast<int64_t>(request.wait_id);
  out.op.session = static_cast<int64_t>(request.session);
  out.op.incarnation = static_cast<int64_t>(core_.session().incarnation());
  Read<idl::kLock>(core_, out, core_.Deadline(), std::move(done));
}

void FileLocks::OnReply(Ticket ticket, Result<idl::LockReply> reply) {
  auto it = requests_.find(ticket);
  if (it == requests_.end()) return;
  const Request& request = *it->second;
  if (!reply) {
    Status why = reply.error();
    if (why.Is(Code::kCancelled)) why = Status(Code::kInterrupted, "interrupted");
    Resolve(ticket, OutcomeUnknown(why.code()) ? Outcome::kUnknown : Outcome::kNot, why);
  } else if (reply->granted) {
    Resolve(ticket, Outcome::kGranted, static_cast<uint64_t>(reply->token));
  } else if (request.cancelled) {
    Resolve(ticket, Outcome::kNot, Status(Code::kInterrupted, "interrupted"));
  } else if (request.wait) {
    Send(ticket);
  } else {
    Resolve(ticket, Outcome::kNot, Status(Code::kWouldBlock, "somebody else holds the lock"));
  }
}

void FileLocks::Resolve(Ticket ticket, Outcome outcome, Result<uint64_t> answer) {
  auto it = requests_.find(ticket);
  if (it == requests_.end()) return;
  const std::shared_ptr<Request> request = std::move(it->second);
  requests_.erase(it);
  if (request->timer != 0) core_.executor().Cancel(std::exchange(request->timer, 0));
  // Before anything is given back: no copy of this request may take effect after that.
  waits_.erase(request->wait_id);
  const Key key = KeyOf(request->lock);
  Owner& owner = owners_[key];
  --owner.requests;
  const bool left = !request->done;
  if (outcome == Outcome::kGranted && !left) {
    owner.holds = true;
    files_[request->lock.inode].session = request->session;
  }
  if (outcome == Outcome::kUnknown || (outcome == Outcome::kGranted && left)) {
    if (!request->abandoned) ++owner.unresolved;
    LogWarning("inode {}: gives back a lock that nobody waits for any more", request->lock.inode);
    GiveBack(request->lock, request->session);
  } else if (request->abandoned) {
    EndUnresolved(key);
  } else {
    Tidy(key);
  }
  if (!left) request->done(std::move(answer));
}

void FileLocks::Cancel(Ticket ticket) {
  auto it = requests_.find(ticket);
  if (it == requests_.end() || std::exchange(it->second->cancelled, true)) return;
  Request& request = *it->second;
  request.timer = core_.executor().RunAfter(
      kCancelPatienceNs, [weak = core_.weak_from_this(), ticket] {
        if (auto core = weak.lock()) core->locks().Abandon(ticket);
      });
  if (request.wait_id == 0) return;
  // When this gets lost the request ends within kHeldMs all the same.
  idl::CancelLockRequest out;
  out.session = static_cast<int64_t>(request.session);
  out.wait_id = static_cast<int64_t>(request.wait_id);
  Read<idl::kCancelLock>(core_, out, core_.Now() + kCancelDeadlineNs,
                         [](Result<idl::Empty>) {});
}

void FileLocks::Abandon(Ticket ticket) {
  auto it = requests_.find(ticket);
  if (it == requests_.end()) return;
  Request& request = *it->second;
  request.timer = 0;
  if (request.begun) {
    request.abandoned = true;
    ++owners_[KeyOf(request.lock)].unresolved;
  }
  Granted done = std::exchange(request.done, nullptr);
  done(Status(Code::kInterrupted, "interrupted"));
}

// ---- Unlocking ----------------------------------------------------------------------------------

void FileLocks::SendUnlock(const FileLock& lock, uint64_t session, StatusDone done) {
  if (core_.session().id() != session) {
    done(Status(Code::kUnknownSession, "the session has ended"));
    return;
  }
  idl::UnlockRequest out;
  Put(lock, &out);
  out.first_wait = static_cast<int64_t>(FirstWait());
  Change<idl::kUnlock>(
      core_, std::move(out), session, core_.Deadline(),
      [done = std::move(done)](Result<idl::Empty> reply) { done(reply.status()); });
}

void FileLocks::GiveBack(const FileLock& lock, uint64_t session) {
  if (core_.closed()) return;
  SendUnlock(lock, session, [weak = core_.weak_from_this(), lock, session](const Status& status) {
    auto core = weak.lock();
    if (!core) return;
    if (status.ok() || !OutcomeUnknown(status.code())) {
      if (!status.ok() && !SessionIsGone(status.code())) {
        LogError("inode {}: unlock: {}", lock.inode, status.ToString());
      }
      core->locks().EndUnresolved(KeyOf(lock));
      return;
    }
    core->executor().RunAfter(kRetryNs, [weak, lock, session] {
      if (auto again = weak.lock()) again->locks().GiveBack(lock, session);
    });
  });
}

void FileLocks::EndUnresolved(const Key& key) {
  auto it = owners_.find(key);
  if (it == owners_.end() || --it->second.unresolved > 0) return;
  std::deque<Task> queue = std::exchange(it->second.queue, {});
  Tidy(key);
  while (!queue.empty()) {
    Task task = std::move(queue.front());
    queue.pop_front();
    // One of them may leave something unresolved in its turn.
    WhenResolved(key, std::move(task));
  }
}

void FileLocks::Tidy(const Key& key) {
  auto it = owners_.find(key);
  if (it == owners_.end()) return;
  const Owner& owner = it->second;
  if (owner.holds || owner.requests > 0 || owner.unresolved > 0 || !owner.queue.empty()) return;
  owners_.erase(it);
  const uint64_t inode = std::get<0>(key);
  auto other = owners_.lower_bound({inode, LockKind(), 0});
  if (other != owners_.end() && std::get<0>(other->first) == inode) return;
  auto file = files_.find(inode);
  if (file != files_.end() && !file->second.lost) files_.erase(file);
}

void FileLocks::Unlock(const FileLock& lock, StatusDone done) {
  WhenResolved(KeyOf(lock), [this, lock, done = std::move(done)]() mutable {
    RunUnlock(lock, false, std::move(done));
  });
}

void FileLocks::RunUnlock(const FileLock& lock, bool closing, StatusDone done) {
  const Key key = KeyOf(lock);
  Status lost = CheckLost(lock.inode);
  auto it = owners_.find(key);
  if (!lost.ok() || it == owners_.end()) {
    // Closing needs no namenode then: what was lost is gone.
    if (!lost.ok() && closing && it != owners_.end()) {
      it->second.holds = false;
      Tidy(key);
    }
    done(closing ? Status() : std::move(lost));
    return;
  }
  if (closing) it->second.handle = nullptr;
  // What is granted from here on is held again.
  if (closing || (IsWhole(lock) && it->second.requests == 0)) it->second.holds = false;
  ++it->second.requests;
  const uint64_t session = core_.session().id();
  SendUnlock(lock, session,
             [weak = core_.weak_from_this(), key, lock, session,
              done = std::move(done)](const Status& status) mutable {
               auto core = weak.lock();
               if (!core) return done(status);
               FileLocks& self = core->locks();
               Owner& owner = self.owners_[key];
               --owner.requests;
               if (!status.ok() && OutcomeUnknown(status.code())) {
                 ++owner.unresolved;
                 self.GiveBack(lock, session);
               } else {
                 self.Tidy(key);
               }
               done(status);
             });
}

void FileLocks::ReleaseOwner(uint64_t inode, LockKind kind, uint64_t owner, StatusDone done) {
  FileLock all;
  all.inode = inode;
  all.kind = kind;
  all.owner = owner;
  if (!owners_.contains(KeyOf(all))) {
    done(Status());
    return;
  }
  WhenResolved(KeyOf(all), [this, all, done = std::move(done)]() mutable {
    RunUnlock(all, true, std::move(done));
  });
}

void FileLocks::ReleaseHandle(uint64_t inode, const void* handle) {
  std::vector<uint64_t> owners;
  for (auto it = owners_.lower_bound({inode, LockKind::kPosix, 0});
       it != owners_.end() && std::get<0>(it->first) == inode &&
       std::get<1>(it->first) == LockKind::kPosix;
       ++it) {
    if (it->second.handle == handle) owners.push_back(std::get<2>(it->first));
  }
  for (uint64_t owner : owners) ReleaseOwner(inode, LockKind::kPosix, owner, [](const Status&) {});
}

void FileLocks::Closed(uint64_t inode) {
  auto file = files_.find(inode);
  if (file != files_.end() && file->second.lost) files_.erase(file);
}

// ---- The rest -----------------------------------------------------------------------------------

void FileLocks::Test(const FileLock& lock, Tested done) {
  if (Status lost = CheckLost(lock.inode); !lost.ok()) {
    done(std::move(lost));
    return;
  }
  idl::GetLockRequest out;
  Put(lock, &out);
  out.session = static_cast<int64_t>(core_.session().id());
  out.type = static_cast<int32_t>(lock.type);
  Read<idl::kGetLock>(core_, out, core_.Deadline(),
                      [lock, done = std::move(done)](Result<idl::GetLockReply> reply) {
                        if (!reply) return done(reply.error());
                        if (!reply->__isset.conflict) return done(std::optional<FileLock>());
                        FileLock held = lock;
                        held.type = static_cast<LockType>(reply->conflict.type);
                        held.start = static_cast<uint64_t>(reply->conflict.first);
                        held.end = static_cast<uint64_t>(reply->conflict.last);
                        held.owner = static_cast<uint64_t>(reply->conflict.owner);
                        held.pid = static_cast<uint32_t>(reply->conflict.pid);
                        done(std::optional<FileLock>(held));
                      });
}

void FileLocks::Close() {
  const auto requests = std::exchange(requests_, {});
  owners_.clear();
  files_.clear();
  waits_.clear();
  for (const auto& [ticket, request] : requests) {
    if (request->timer != 0) core_.executor().Cancel(request->timer);
    if (request->done) request->done(Status(Code::kClosed, "the client was closed"));
  }
}

}  // namespace dfs::client
