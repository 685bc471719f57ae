// StateMachine: the one deterministic Apply. Leader, follower, restart and snapshot catch-up all go
// through it. No clock, thread, randomness or configuration in here.
//
// Use: Apply() each committed entry in order, Commit() after a batch, then answer the clients.
// Confined to the namenode's loop.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "namenode/state/commands.h"
#include "namenode/state/store.h"

namespace dfs::nn {

class StateReader;

/// Told after Commit(), in the order things happened, on every member. For soft state.
/// Must not call back into the state machine; reading through StateReader is fine.
class StateObserver {
 public:
  virtual ~StateObserver() = default;
  /// Made, opened, members changed, closed, fenced, recovering, replication changed.
  virtual void OnBlockChanged(BlockId, const BlockRecord&) {}
  /// Deleted by a command: replicas of it may go.
  virtual void OnBlockRemoved(BlockId) {}
  virtual void OnSessionOpened(const Session&) {}
  virtual void OnSessionResumed(const Session&) {}
  virtual void OnSessionEnded(SessionId) {}
  /// The inode is gone for good.
  virtual void OnInodeRemoved(InodeId) {}
  /// There is something for ReclaimCommand.
  virtual void OnTodoAdded(InodeId) {}
  /// Somebody holds less of a file's locks than before.
  virtual void OnLocksReleased(InodeId) {}
  /// Taken out of service, or put back.
  virtual void OnDatanodeChanged(DatanodeId, const DatanodeRecord&) {}
  /// A checkpoint was installed: forget everything and read it again.
  virtual void OnStateReplaced() {}
};

class StateMachine {
 public:
  struct Options {
    /// Of the cache of committed records in front of the store.
    uint64_t cache_bytes = 48u << 20;
  };

  /// The store must outlive the machine.
  StateMachine(StateStore* store, const Options& options);
  explicit StateMachine(StateStore* store) : StateMachine(store, Options()) {}
  ~StateMachine();
  StateMachine(const StateMachine&) = delete;
  StateMachine& operator=(const StateMachine&) = delete;

  /// Reads the applied mark and counters; makes the root in an empty store. First of all, once.
  Status Load();

  /// Of the last command applied, committed or not.
  LogIndex applied_index() const;
  Term applied_term() const;
  /// The chain at applied_index(); equal on all members.
  uint64_t state_hash() const;

  /// Applies the entry after applied_index() and gives the encoded CommandReply; an empty command
  /// (a leader's first entry) only advances the index, and its reply is "". Nothing is visible to
  /// readers before Commit(). An error means that this member must stop: the store failed, or the
  /// command is of a type or version that is unknown here.
  Result<std::string> Apply(LogIndex index, Term term, std::string_view command);

  /// Writes what was applied since the last Commit, with mark and replies, in one store batch; then
  /// tells the observer. Not durable before the store's next flush. Ok when nothing was applied.
  Status Commit();
  /// Bytes waiting for Commit(): commit from time to time (a few MiB) when replaying.
  uint64_t pending_bytes() const;

  /// Committed state. Lives as long as the machine.
  StateReader& reader();

  void SetObserver(StateObserver* observer);

  /// Replaces everything by the checkpoint (StateStore::InstallCheckpoint), loads, and tells the
  /// observer. Whatever was applied and not committed is dropped.
  Status InstallFrom(const std::string& checkpoint_directory);

  StateStore& store();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

/// The highest command versions and feature level this build knows.
inline constexpr uint32_t kSupportedFeatureLevel = 3;
/// From here on: create that opens the first block, members chosen anew, release_blocks.
inline constexpr uint32_t kFeatureFirstBlock = 2;
/// From here on: sessions that say that they cache, blocks opened for a version of the file, locks, datanodes that are
/// decommissioned or in maintenance.
inline constexpr uint32_t kFeatureCaches = 3;

}  // namespace dfs::nn
