#include "namenode/sessions/lock_waiters.h"

#include <algorithm>

#include "common/base/logging.h"

namespace dfs::nn {
namespace {

/// Owners that are followed from one to the next when looking for a circle.
constexpr size_t kMaxCircle = 100;
constexpr int kRetryOverloadedMs = 200;

LockOwner OwnerOf(const LockCommand& c) {
  return {c.session, c.owner};
}

Lock WantedBy(const LockCommand& c) {
  return {c.kind, OwnerOf(c), c.start, c.end, c.type, c.pid, 0};
}

}  // namespace

struct LockWaiters::Held {
  explicit Held(StateReader& reader) : state(reader) {}
  const std::vector<Lock>& Of(InodeId inode, LockKind kind) {
    auto [it, fresh] = known.try_emplace({inode, kind});
    if (fresh) {
      auto locks = state.ListLocks(inode, kind);
      if (locks) {
        it->second = std::move(*locks);
      } else {
        LogError("cannot list the locks of inode {}: {}", inode.value, locks.error().ToString());
      }
    }
    return it->second;
  }

  StateReader& state;
  std::map<std::pair<InodeId, LockKind>, std::vector<Lock>> known;
};

LockWaiters::LockWaiters(LockWaitersOptions options, Executor& executor, StateReader& state,
                         Proposer proposer)
    : options_(options), executor_(executor), state_(state), proposer_(std::move(proposer)) {}

LockWaiters::~LockWaiters() {
  alive_.reset();
  if (timer_ != 0) executor_.Cancel(timer_);
}

void LockWaiters::Wait(const LockCommand& command, const Credentials& who, const void* connection,
                       int64_t wait_ns, Done done) {
  const Id id{command.session, command.wait_id};
  const int64_t until_ns = Now() + std::clamp<int64_t>(wait_ns, 0, options_.longest_wait_ns);
  auto known = entries_.find(id);
  if (known != entries_.end() && known->second.command.inode == command.inode &&
      known->second.command.owner == command.owner) {
    Entry& entry = known->second;
    // An error that the client's link does not take for the answer to its newer attempt.
    Done before = std::exchange(entry.done, std::move(done));
    entry.connection = connection;
    entry.until_ns = until_ns;
    if (before) before(Status(Code::kUnavailable, "the request was sent again"));
  } else {
    if (known != entries_.end()) Answer(id, Status(Code::kCancelled, "another request took over"));
    const auto first = entries_.lower_bound({command.session, 0});
    const auto last = entries_.upper_bound({command.session, UINT64_MAX});
    if (entries_.size() >= options_.max_waiting ||
        std::distance(first, last) >= static_cast<long>(options_.max_of_session)) {
      done(Status(Code::kOverloaded, "too many wait for locks").WithRetryAfter(kRetryOverloadedMs));
      return;
    }
    Entry entry;
    entry.command = command;
    entry.who = who;
    entry.connection = connection;
    entry.until_ns = until_ns;
    entry.done = std::move(done);
    Add(id, std::move(entry));
  }
  Held held(state_);
  Try(id, held);
}

void LockWaiters::Add(const Id& id, Entry entry) {
  entry.place = next_place_++;
  queues_[entry.command.inode][entry.place] = id;
  if (entry.command.kind == LockKind::kPosix) posix_waits_[OwnerOf(entry.command)].insert(id);
  entries_[id] = std::move(entry);
  ArmTimer();
}

void LockWaiters::SetProposed(const Id& id, bool proposed) {
  Entry& entry = entries_.at(id);
  entry.proposed = proposed;
  auto& of_file = proposed_[entry.command.inode];
  if (proposed) {
    of_file.insert(id);
  } else {
    of_file.erase(id);
  }
  if (of_file.empty()) proposed_.erase(entry.command.inode);
}

void LockWaiters::Remove(const Id& id) {
  auto it = entries_.find(id);
  if (it == entries_.end()) return;
  SetProposed(id, false);
  const LockCommand& command = it->second.command;
  auto queue = queues_.find(command.inode);
  queue->second.erase(it->second.place);
  if (queue->second.empty()) queues_.erase(queue);
  auto waits = posix_waits_.find(OwnerOf(command));
  if (waits != posix_waits_.end()) {
    waits->second.erase(id);
    if (waits->second.empty()) posix_waits_.erase(waits);
  }
  entries_.erase(it);
}

void LockWaiters::Answer(const Id& id, Result<LockResult> result) {
  auto it = entries_.find(id);
  if (it == entries_.end()) return;
  Done done = std::move(it->second.done);
  Remove(id);
  if (done) done(std::move(result));
}

bool LockWaiters::InTheWay(const Entry& entry, const std::vector<Lock>& held) const {
  const Lock wanted = WantedBy(entry.command);
  if (FindConflict(held, wanted) != nullptr) return true;
  // What is on its way into the log will be held when this gets there.
  auto proposed = proposed_.find(entry.command.inode);
  if (proposed == proposed_.end()) return false;
  return std::any_of(proposed->second.begin(), proposed->second.end(), [&](const Id& id) {
    return Conflict(WantedBy(entries_.at(id).command), wanted);
  });
}

void LockWaiters::Try(const Id& id, Held& held) {
  auto it = entries_.find(id);
  if (it == entries_.end() || it->second.proposed || !it->second.done) return;
  const Entry& entry = it->second;
  const std::vector<Lock>& locks = held.Of(entry.command.inode, entry.command.kind);
  if (!InTheWay(entry, locks)) return Propose(id);
  if (entry.command.kind == LockKind::kFlock) {
    // It gives up what it has before it waits for another: Apply does that when it refuses.
    const bool has_one = std::any_of(locks.begin(), locks.end(), [&](const Lock& lock) {
      return lock.owner == OwnerOf(entry.command);
    });
    if (has_one) Propose(id);
  } else if (ClosesCircle(entry, held)) {
    Answer(id, Status(Code::kDeadlock, "its holder waits for this owner"));
  }
}

bool LockWaiters::ClosesCircle(const Entry& waiter, Held& held) const {
  const LockOwner self = OwnerOf(waiter.command);
  std::set<LockOwner> seen;
  std::vector<LockOwner> next;
  const auto add_holders = [&](const Entry& entry) {
    const Lock wanted = WantedBy(entry.command);
    for (const Lock& lock : held.Of(entry.command.inode, LockKind::kPosix)) {
      if (Conflict(lock, wanted)) next.push_back(lock.owner);
    }
  };
  add_holders(waiter);
  while (!next.empty() && seen.size() < kMaxCircle) {
    const LockOwner owner = next.back();
    next.pop_back();
    if (owner == self) return true;
    if (!seen.insert(owner).second) continue;
    auto waits = posix_waits_.find(owner);
    if (waits == posix_waits_.end()) continue;
    for (const Id& id : waits->second) {
      const Entry& entry = entries_.at(id);
      if (!entry.proposed) add_holders(entry);
    }
  }
  return false;
}

void LockWaiters::Propose(const Id& id) {
  SetProposed(id, true);
  const Entry& entry = entries_.at(id);
  proposer_(entry.who, entry.command,
            [this, alive = std::weak_ptr<char>(alive_), id](Result<LockResult> result) {
              if (!alive.expired()) OnProposed(id, std::move(result));
            });
}

void LockWaiters::OnProposed(const Id& id, Result<LockResult> result) {
  auto it = entries_.find(id);
  if (it == entries_.end() || !it->second.proposed) return;
  const InodeId inode = it->second.command.inode;
  SetProposed(id, false);
  if (result && !result->granted && it->second.done) {
    Held held(state_);
    Try(id, held);
  } else {
    Answer(id, std::move(result));
  }
  // Others may have been held back by it alone.
  OnLocksReleased(inode);
}

void LockWaiters::Cancel(SessionId session, uint64_t wait_id) {
  const Id id{session, wait_id};
  auto it = entries_.find(id);
  if (it == entries_.end() || it->second.proposed) return;
  Answer(id, Status(Code::kCancelled, "the wait was given up"));
}

void LockWaiters::ConnectionClosed(const void* connection) {
  std::vector<Id> gone;
  for (auto& [id, entry] : entries_) {
    if (entry.connection != connection) continue;
    entry.connection = nullptr;
    entry.done = nullptr;
    if (!entry.proposed) gone.push_back(id);
  }
  for (const Id& id : gone) Remove(id);
}

void LockWaiters::OnLocksReleased(InodeId inode) {
  if (!queues_.contains(inode)) return;
  to_look_at_.insert(inode);
  // After the commit that this may be a part of.
  if (std::exchange(looking_posted_, true)) return;
  executor_.Post([this, alive = std::weak_ptr<char>(alive_)] {
    if (!alive.expired()) LookAtAll();
  });
}

void LockWaiters::LookAtAll() {
  looking_posted_ = false;
  for (InodeId inode : std::exchange(to_look_at_, {})) LookAgain(inode);
}

void LockWaiters::LookAgain(InodeId inode) {
  auto queue = queues_.find(inode);
  if (queue == queues_.end()) return;
  std::vector<Id> in_order;
  for (const auto& [place, id] : queue->second) in_order.push_back(id);
  Held held(state_);
  for (const Id& id : in_order) Try(id, held);
}

void LockWaiters::Clear(const Status& why) {
  std::map<Id, Entry> entries = std::exchange(entries_, {});
  queues_.clear();
  proposed_.clear();
  posix_waits_.clear();
  to_look_at_.clear();
  for (auto& [id, entry] : entries) {
    if (entry.done) entry.done(why);
  }
}

void LockWaiters::ArmTimer() {
  if (timer_ != 0 || entries_.empty()) return;
  timer_ = executor_.RunAfter(options_.tick_ns, [this] {
    timer_ = 0;
    Tick();
    ArmTimer();
  });
}

void LockWaiters::Tick() {
  const int64_t now = Now();
  std::vector<Id> over;
  for (const auto& [id, entry] : entries_) {
    if (now >= entry.until_ns && !entry.proposed) over.push_back(id);
  }
  for (const Id& id : over) {
    auto it = entries_.find(id);
    if (it == entries_.end()) continue;
    Entry& entry = it->second;
    if (!entry.done) {
      Remove(id);
      continue;
    }
    entry.connection = nullptr;
    entry.until_ns = now + options_.place_kept_ns;
    Done done = std::exchange(entry.done, nullptr);
    done(LockResult());
  }
}

}  // namespace dfs::nn
