// LogWriter: makes batches of Raft state durable, in order, off the executor or on it.
#pragma once

#include <functional>
#include <memory>

#include "common/base/executor.h"
#include "common/base/status.h"
#include "common/raft/raft.h"

namespace dfs::nn {

class LogStorage;

class LogWriter {
 public:
  /// Called on the executor, in the order of the batches, when the batch is durable. A failure is
  /// final: the member must stop (a sync that failed and then succeeds proves nothing).
  using Done = UniqueFunction<void(Status)>;

  virtual ~LogWriter() = default;
  /// Only from the executor. With on_caller the caller has nothing better to do than to wait: when
  /// the writer is idle it may then write and sync inside this call, and done runs before it
  /// returns.
  virtual void Append(raft::PersistRequest batch, bool on_caller, Done done) = 0;
  /// Drops whole segments below index; lazily, at no particular time.
  virtual void TruncatePrefix(LogIndex index) = 0;
  /// Drops the callbacks and waits for what is under way. No Append afterwards.
  virtual void Stop() = 0;
};

/// Writes inside Append and posts done: for the simulator.
std::unique_ptr<LogWriter> NewInlineLogWriter(LogStorage& storage, Executor& executor);

struct ThreadedLogWriterOptions {
  /// Obey on_caller. A follower then answers without a hand-over between threads.
  bool inline_when_idle = true;
};

/// One thread with at most one sync in flight; a sync covers everything that waited for it.
std::unique_ptr<LogWriter> NewThreadedLogWriter(LogStorage& storage, Executor& executor,
                                                ThreadedLogWriterOptions options = {});

}  // namespace dfs::nn
