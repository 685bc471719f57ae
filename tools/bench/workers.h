// Workers: client processes that do the same at once. Each connects, prepares, waits for the others, and
// then counts and times its calls in memory that the parent shares.
#pragma once

#include <dfs/client.h>

#include <atomic>
#include <functional>
#include <string>

#include "tools/bench/histogram.h"

namespace dfs::bench {

/// Of one worker; lives in shared memory.
class Recorder {
 public:
  /// Times one call. False when the time is over or the call failed: the worker then ends.
  bool Time(const std::function<Status()>& call);
  /// For calls timed by hand, from several threads.
  void Add(int64_t ns, const Status& status);
  bool TimeIsOver() const;
  int64_t deadline_ns = 0;  // 0: none
  Histogram latency;
  uint64_t failed = 0;
  int64_t started_ns = 0;
  int64_t ended_ns = 0;
  uint64_t note = 0;  // free for the body, e.g. how many files it made
  char first_error[240] = {};
};

struct WorkerTotals {
  Histogram latency;
  uint64_t failed = 0;
  double seconds = 0;  // from the common start to the end of the last
  std::vector<uint64_t> notes;
  std::string first_error;
  double per_second() const {
    return seconds > 0 ? static_cast<double>(latency.total) / seconds : 0;
  }
};

struct WorkerPlan {
  int processes = 1;
  double seconds = 0;  // 0: until the body is through
  Options client;
  /// Before the common start; not timed.
  std::function<Status(const Client&, int worker)> prepare;
  /// In the parent, when all are prepared.
  std::function<void()> on_start;
  std::function<void(const Client&, int worker, Recorder&)> body;
};

/// The parent must not have made changes through a client of its own before (it would have a thread).
Result<WorkerTotals> RunWorkers(const WorkerPlan& plan);

/// One process, not timed, for setting up and cleaning up.
Status RunOnce(const Options& client, const std::function<Status(const Client&)>& body);

}  // namespace dfs::bench
