// Txn: what one command reads and changes. Reads see everything applied before it; writes go to the
// pending batch and into the bytes that the state hash chains. Used by the files in ops/. Confined.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "namenode/state/commands.h"
#include "namenode/state/pending.h"
#include "namenode/state/view.h"

namespace dfs::nn {

/// For the StateObserver, delivered after the commit.
struct BlockChanged {
  BlockId id;
  BlockRecord block;
};
struct BlockRemoved {
  BlockId id;
};
struct SessionOpened {
  Session session;
};
struct SessionResumed {
  Session session;
};
struct SessionEnded {
  SessionId id;
};
struct InodeRemoved {
  InodeId id;
};
struct TodoAdded {
  InodeId id;
};
struct LocksReleased {
  InodeId id;
};
struct DatanodeChanged {
  DatanodeId id;
  DatanodeRecord datanode;
};
using StateEvent = std::variant<BlockChanged, BlockRemoved, SessionOpened, SessionResumed,
                                SessionEnded, InodeRemoved, TodoAdded, LocksReleased,
                                DatanodeChanged>;

class Txn final : public StateView {
 public:
  explicit Txn(CommittedView* committed) : committed_(committed) {}

  // ---- Around a command (StateMachine)
  void Begin(const CommandHeader* header, LogIndex index) {
    header_ = header;
    index_ = index;
  }
  /// A failed operation is undone to here.
  void SetSavepoint();
  void Rollback();
  /// The effects of the command so far: every write in order, as hashed.
  std::string& effects() { return effects_; }
  PendingBatch& pending() { return pending_; }
  std::vector<StateEvent>& events() { return events_; }
  void set_counters(const Counters& counters) { counters_ = counters; }

  // ---- For operations
  const CommandHeader& header() const { return *header_; }
  /// Of the command in the log.
  LogIndex index() const { return index_; }
  const Credentials& caller() const { return header_->caller; }
  int64_t now() const { return header_->now_ns; }
  const Counters& counters() const override { return counters_; }
  Counters& mutable_counters() { return counters_; }
  /// Where the names of a removed directory begin that are still there. Only saves stepping over the
  /// tombstones of those before: results do not depend on it, so a member may forget it at any time.
  struct ReclaimHint {
    InodeId directory;
    std::string start;
  };
  ReclaimHint& reclaim_hint() { return reclaim_hint_; }

  void Put(std::string_view key, std::string_view value);
  void Delete(std::string_view key);
  void PutInode(const Inode& inode) { Put(InodeKey(inode.id), EncodeInode(inode)); }
  /// With the event.
  void PutBlock(BlockId id, const BlockRecord& block);
  void PutSession(const Session& session) { Put(SessionKey(session.id), EncodeSession(session)); }
  void AddEvent(StateEvent event) { events_.push_back(std::move(event)); }

  std::unique_ptr<StateIterator> Scan(std::string_view prefix, std::string_view start) override;
  using StateView::Scan;
  /// The keys a scan would give, at most max: for loops that write what they walk over.
  Result<std::vector<std::pair<std::string, std::string>>> Collect(std::string_view prefix,
                                                                   std::string_view start,
                                                                   size_t max);

 protected:
  Result<bool> GetRaw(std::string_view key, std::string* value) override;

 private:
  CommittedView* committed_;
  const CommandHeader* header_ = nullptr;
  LogIndex index_ = 0;
  PendingBatch pending_;
  std::string effects_;
  std::vector<StateEvent> events_;
  Counters counters_;
  size_t saved_effects_ = 0;
  size_t saved_events_ = 0;
  Counters saved_counters_;
  ReclaimHint reclaim_hint_;
};

}  // namespace dfs::nn
