// SessionManager: the leader's soft state of sessions - keep-alives, when each session's time is over, which files
// it has open. It decides by time and can only propose: a session ends by a replicated command.
//
// Confined to the namenode's executor.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/base/executor.h"
#include "common/base/status.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::nn {

struct SessionManagerOptions {
  int64_t expiry_ns = 30 * kSecond;
  int64_t tick_ns = 500 * kMillisecond;
  /// A file that keep-alives no longer name counts as closed after this: longer than an open's request may
  /// have been under way.
  int64_t undeclared_ns = 10 * kSecond;
  size_t max_open_files = 100'000;  // per session
  size_t max_proposals = 64;        // under way
};

class SessionManager {
 public:
  /// Proposes a command of the leader's own; done with the outcome, never from within the call.
  using Proposer = std::function<void(CommandBody, UniqueFunction<void(Status)>)>;

  SessionManager(SessionManagerOptions options, Executor& executor, StateReader& state,
                 Proposer proposer);
  ~SessionManager();
  SessionManager(const SessionManager&) = delete;
  SessionManager& operator=(const SessionManager&) = delete;

  void Start();
  void Stop();
  /// Every session gets a full term from now: nobody knows when it was last heard of.
  void OnLeading();
  void OnLeadershipLost();

  // What the state machine applied.
  void OnSessionOpened(const Session& session);
  void OnSessionResumed(const Session& session);
  void OnSessionEnded(SessionId session);
  void OnInodeRemoved(InodeId inode);

  /// kUnknownSession, kStaleIncarnation. open_inodes: every file the session has open.
  Status KeepAlive(SessionId session, uint64_t incarnation, bool holds_state,
                   std::span<const InodeId> open_inodes);

  // ---- Open files (soft; re-declared by keep-alives after a fail-over)
  /// kOverloaded when the session has too many. Unknown sessions are ignored: their files are nobody's.
  Status Opened(SessionId session, InodeId inode);
  void Closed(SessionId session, InodeId inode);
  /// Who must be taken to have it open. A live session that has not declared its files to this leader yet
  /// counts as having every file open.
  std::vector<SessionId> OpenSessions(InodeId inode) const;
  /// The same for all files that are open anywhere; bounded by the table.
  std::vector<OpenInode> AllOpen() const;
  bool HasOpen(SessionId session, InodeId inode) const;
  /// Whether a session other than this one, of those that `ignored` does not name, may have it open.
  bool OpenElsewhere(InodeId inode, SessionId session,
                     const std::function<bool(SessionId)>& ignored) const;

  /// Some live session has not said what it has open.
  bool has_undeclared() const { return !undeclared_.empty(); }

  size_t sessions() const { return sessions_.size(); }
  uint64_t expiries() const { return expiries_; }
  const SessionManagerOptions& options() const { return options_; }

 private:
  struct Entry {
    uint64_t incarnation = 0;
    int64_t heard_ns = 0;
    bool declared = false;  // its open files, to this leader
    bool holds_state = false;
    bool ending = false;                        // an expiry is proposed
    std::unordered_map<InodeId, int64_t> open;  // when it was last named
  };

  int64_t Now() const { return executor_.clock().BootNs(); }
  void ScheduleTick();
  void Tick();
  void Forget(Entry& entry, SessionId session, InodeId inode);
  void ReleaseOrphan(SessionId session, InodeId inode);
  void ReleaseStrayOrphans();

  const SessionManagerOptions options_;
  Executor& executor_;
  StateReader& state_;
  Proposer proposer_;
  Executor::TimerId timer_ = 0;
  int64_t last_tick_ns_ = 0;
  bool leading_ = false;
  std::unordered_map<SessionId, Entry> sessions_;
  std::unordered_map<InodeId, std::set<SessionId>> openers_;
  std::set<SessionId> undeclared_;
  /// Unlinked files that are kept for a session: to be let go when it closes them.
  std::set<std::pair<SessionId, InodeId>> orphans_;
  int64_t next_orphan_scan_ns_ = 0;
  size_t proposals_ = 0;
  uint64_t expiries_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
