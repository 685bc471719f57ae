// LockWaiters: the leader's soft state of requests that wait for file locks. What is held is replicated; who waits for
// it is not: a client asks again after a fail-over, and every second or so anyway.
//
// First come, first served: when a file's locks become fewer, those that wait for it are looked at in the order in
// which they came, and each that nothing is in the way of any more is proposed. As in Linux a request that nobody is
// in the way of does not queue behind others that wait. A request that waited is proposed under no sequence of its
// session's (LockCommand says why that is safe), so a refusal, when a request that does not wait was faster in the log,
// only means that it waits on.
//
// POSIX locks: a wait that would close a circle of owners that wait for each other ends with kDeadlock. flock's do not
// look, as in Linux.
//
// Confined to the namenode's executor.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "common/base/executor.h"
#include "common/base/status.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::nn {

struct LockWaitersOptions {
  size_t max_waiting = 16'384;
  size_t max_of_session = 256;  // of the 1,024 requests that a connection may have under way
  int64_t longest_wait_ns = 10 * kSecond;
  /// A request that was told to ask again keeps its place so long.
  int64_t place_kept_ns = 2 * kSecond;
  int64_t tick_ns = 100 * kMillisecond;
};

class LockWaiters {
 public:
  using Done = UniqueFunction<void(Result<LockResult>)>;
  /// On behalf of somebody; done with the outcome, never from within the call.
  using Proposer = std::function<void(const Credentials&, const LockCommand&, Done)>;

  LockWaiters(LockWaitersOptions options, Executor& executor, StateReader& state,
              Proposer proposer);
  ~LockWaiters();
  LockWaiters(const LockWaiters&) = delete;
  LockWaiters& operator=(const LockWaiters&) = delete;

  /// A request that waits: command has a session and a wait_id, by which the same request is known when it is sent
  /// again; then it keeps its place, and whoever asked before is told kUnavailable. connection: whose end also ends the
  /// waiting. done: granted; or not, when wait_ns are over: ask again; or kDeadlock, kCancelled, kOverloaded, and what
  /// Apply says.
  void Wait(const LockCommand& command, const Credentials& who, const void* connection,
            int64_t wait_ns, Done done);
  /// Without effect when it is proposed already: its outcome is the answer then.
  void Cancel(SessionId session, uint64_t wait_id);
  void ConnectionClosed(const void* connection);
  /// What the state machine applied; may be called in the middle of a commit.
  void OnLocksReleased(InodeId inode);
  /// Answers all who wait.
  void Clear(const Status& why);

  size_t waiting() const { return entries_.size(); }

 private:
  using Id = std::pair<SessionId, uint64_t>;  // session, wait_id
  struct Entry {
    LockCommand command;
    Credentials who;
    const void* connection = nullptr;
    uint64_t place = 0;
    int64_t until_ns = 0;   // answered by then; without done: forgotten
    bool proposed = false;  // its outcome is on the way
    Done done;              // null: only the place is kept
  };
  struct Held;  // the locks of files, read once

  int64_t Now() const { return executor_.clock().BootNs(); }
  void Add(const Id& id, Entry entry);
  void Remove(const Id& id);
  void SetProposed(const Id& id, bool proposed);
  void Answer(const Id& id, Result<LockResult> result);
  /// Proposes it when nothing is in the way, ends it when it would wait for ever, or lets it wait.
  void Try(const Id& id, Held& held);
  bool InTheWay(const Entry& entry, const std::vector<Lock>& held) const;
  bool ClosesCircle(const Entry& waiter, Held& held) const;
  void Propose(const Id& id);
  void OnProposed(const Id& id, Result<LockResult> result);
  void LookAgain(InodeId inode);
  void LookAtAll();
  void ArmTimer();
  void Tick();

  const LockWaitersOptions options_;
  Executor& executor_;
  StateReader& state_;
  const Proposer proposer_;
  std::map<Id, Entry> entries_;
  std::map<InodeId, std::map<uint64_t, Id>> queues_;  // by place
  std::map<InodeId, std::set<Id>> proposed_;          // of these, what is on its way into the log
  std::map<LockOwner, std::set<Id>> posix_waits_;
  uint64_t next_place_ = 1;
  std::set<InodeId> to_look_at_;
  bool looking_posted_ = false;
  Executor::TimerId timer_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
