// Applier: the replicated state machine as the Raft driver sees it. nn::StateMachine is put behind
// it by state_machine_applier.h; tests use a trivial one.
#pragma once

#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "common/base/task.h"

namespace dfs::nn {

/// A place in the log: the entry and the term it has.
struct LogPosition {
  LogIndex index = 0;
  Term term = 0;
  friend bool operator==(const LogPosition&, const LogPosition&) = default;
};

/// Confined to the replica's executor.
class Applier {
 public:
  virtual ~Applier() = default;

  /// The last entry applied. Right after opening: the last one whose effects survived.
  virtual LogPosition applied() const = 0;
  /// The last entry whose effects survive a power cut, from the store's persisted tier.
  virtual LogPosition flushed() const = 0;

  /// Applies the next entry into the pending batch; *reply is what its proposer gets (the command's
  /// answer or the command's error). A status that is not ok means that this member must stop: the
  /// command is of an unknown version, or the store failed.
  virtual Status Apply(LogIndex index, Term term, std::string_view command,
                       Result<std::string>* reply) = 0;
  /// Moves the position over an entry that is not a command.
  virtual Status Skip(LogIndex index, Term term) = 0;
  /// Makes everything applied since the last Commit visible, atomically with the position.
  virtual Status Commit() = 0;

  /// Starts making what was committed durable, without waiting; flushed() moves when it is.
  virtual Status StartFlush() = 0;
  /// Writes a copy of the state into a new directory and says which position it holds (of the copy
  /// itself).
  virtual Result<LogPosition> CreateCheckpoint(const std::string& directory) = 0;
  /// Replaces the state by the checkpoint in the directory (received, verified and synced),
  /// atomically and durably: after a crash either the old or the new state is there. Consumes the
  /// directory.
  virtual Status InstallCheckpoint(const std::string& directory) = 0;
};

}  // namespace dfs::nn
