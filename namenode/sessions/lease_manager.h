// LeaseManager: the leader's side of cache leases (docs/leases.md; protocols, section 3). Sessions are granted leases with
// the answers to what they read; a change that contradicts some goes out as recalls first, and is proposed when the last
// holder has answered or its term has run out. From a change's arrival until it is applied nothing that it touches is
// granted.
//
// All of it is soft state of one leader: a new one answers no change before each session that may hold leases has told
// what it holds, or a term has passed. It sends nothing and proposes nothing itself. Confined to the namenode's executor.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/executor.h"
#include "common/base/status.h"
#include "namenode/sessions/lease_options.h"
#include "namenode/sessions/lease_table.h"
#include "namenode/sessions/touches.h"
#include "namenode/state/records.h"

namespace dfs::nn {

/// Numbers as in idl::RecallKind.
enum class RecallKind : int32_t { kName = 1, kAttributes = 2, kInode = 3, kWrite = 4 };

struct RecallOrder {
  InodeId inode;
  RecallKind kind = RecallKind::kInode;
  std::string name;
  friend bool operator==(const RecallOrder&, const RecallOrder&) = default;
  friend auto operator<=>(const RecallOrder&, const RecallOrder&) = default;
};

class LeaseManager {
 public:
  /// Tells a session; done when it has answered, or with an error when it could not be reached. Never from within.
  using Recaller =
      std::function<void(SessionId, std::vector<RecallOrder>, UniqueFunction<void(Status)>)>;
  /// A change under way. While it lives nothing that it touches is granted: until the change was applied.
  class Change;
  using ChangePtr = std::shared_ptr<Change>;

  LeaseManager(LeaseOptions options, Executor& executor, Recaller recaller);
  ~LeaseManager();
  LeaseManager(const LeaseManager&) = delete;
  LeaseManager& operator=(const LeaseManager&) = delete;

  // ---- Leadership, and what the state machine applied
  /// sessions: all that there are. Those that cache are waited for.
  void OnLeading(Term term, const std::vector<Session>& sessions);
  void OnLeadershipLost();
  void OnSessionOpened(const Session& session);
  void OnSessionResumed(const Session& session);
  void OnSessionEnded(SessionId session);

  // ---- Sessions
  struct Kept {
    bool extended = false;  // the session's term runs from the sending of this keep-alive
    bool declare = false;   // it has to say what it holds
  };
  /// Under a valid leader lease, or after a round of the quorum. returned: leases it gives back.
  Kept KeepAlive(SessionId session, std::span<const InodeId> returned);
  /// Part of what the session holds; last: that was all. kConflict when its leases here have run out: it holds nothing.
  /// kStaleTerm.
  Status Declare(SessionId session, Term term, std::span<const InodeId> read,
                 std::span<const InodeId> write, bool last);
  bool Caches(SessionId session) const;

  // ---- Leases
  /// Whether what was just read of the inode (names included, of a directory) may be kept by the session.
  bool GrantRead(SessionId session, InodeId inode);
  /// The right to write ahead, when nobody else holds anything: done then, or with why not.
  void Acquire(SessionId session, InodeId inode, UniqueFunction<void(Status)> done);

  // ---- Changes and reads
  /// True: nobody but `by` may have cached what it touches; *change is to be held until it was applied. False: not yet;
  /// `ready` is called once, later, when it is worth trying again with the same *change.
  bool TryChange(SessionId by, const std::vector<Touch>& touches, ChangePtr* change, Task ready);
  /// Whether what another session wrote to the file may not have been told to the namenode.
  bool Unflushed(SessionId reader, InodeId inode) const;
  /// Has the writers of these files tell what they wrote.
  void Flush(SessionId reader, std::vector<InodeId> inodes, Task done);

  /// The term in which leases are granted; 0: this member does not lead.
  Term term() const { return term_; }
  size_t leases() const { return table_.size(); }
  uint64_t recalls() const { return recalls_sent_; }
  uint64_t lapses() const { return lapses_; }
  /// A new leader waits for sessions to say what they hold.
  bool in_grace() const { return grace_; }

 private:
  struct Entry {
    bool declared = false;
    bool lapsed = false;      // in this term of the leader: it holds nothing, whatever it says
    int64_t term_end_ns = 0;  // as counted here
  };
  /// One message to one session.
  struct Recall {
    SessionId session;
    std::vector<RecallOrder> orders;
    int64_t since_ns = 0;
    bool on_its_way = false;
    std::vector<std::shared_ptr<Task>> waiters;  // called when answered; each a share of a Gather
  };
  using RecallPtr = std::shared_ptr<Recall>;
  /// Calls back when the last of several recalls was answered.
  struct Gather {
    size_t left = 0;
    Task done;
  };
  struct Acquiring {
    SessionId session;
    bool recalling = false;
    UniqueFunction<void(Status)> done;
  };

  int64_t Now() const { return executor_.clock().BootNs(); }
  /// Clocks may differ in speed by a part in twenty.
  int64_t TermHere() const { return options_.term_ns + options_.term_ns / 20; }
  std::map<SessionId, std::vector<RecallOrder>> Contradicted(
      SessionId by, const std::vector<Touch>& touches, const Change& change) const;
  void Overtakes(SessionId by, const std::vector<Touch>& touches, const Change& change);
  void RecallAll(std::map<SessionId, std::vector<RecallOrder>> orders, Task done);
  void SendRecall(const RecallPtr& recall);
  void OnRecallAnswered(const RecallPtr& recall);
  void Forget(const Recall& recall);
  void Finish(Recall& recall);
  bool Recalled(SessionId session, InodeId inode) const;
  void Lapse(SessionId session);
  void ArmTimer();
  void OnTimer();
  void EndGraceIfDone();
  void Registered(InodeId inode);
  void Unregistered(InodeId inode);
  void Pump(InodeId inode);
  bool Blocked(InodeId inode) const;

  const LeaseOptions options_;
  Executor& executor_;
  const Recaller recaller_;
  LeaseTable table_;
  Term term_ = 0;
  bool grace_ = false;
  int64_t grace_end_ns_ = 0;
  std::map<SessionId, Entry> sessions_;  // those that cache
  std::map<SessionId, std::deque<RecallPtr>> outstanding_;
  std::set<Change*> changes_;                     // under way
  std::unordered_map<InodeId, size_t> changing_;  // changes under way, by what they touch
  std::map<InodeId, std::deque<Acquiring>> acquiring_;
  std::vector<Task> after_grace_;
  size_t waiting_ = 0;
  Executor::TimerId timer_ = 0;
  uint64_t recalls_sent_ = 0;
  uint64_t lapses_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
