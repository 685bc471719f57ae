// Executor: where a component's code runs. In daemons an event loop's thread; in simulation the one
// seeded scheduler. A component "confined to its executor" is only ever touched from it.
#pragma once

#include <cstdint>

#include "common/base/clock.h"
#include "common/base/task.h"

namespace dfs {

class Executor {
 public:
  using TimerId = uint64_t;  // 0 is never a timer

  virtual ~Executor() = default;

  /// Runs the task on the executor, after everything posted before. Thread-safe.
  virtual void Post(Task task) = 0;
  /// Runs the task once after delay_ns (>= 0). Only from the executor itself.
  virtual TimerId RunAfter(int64_t delay_ns, Task task) = 0;
  /// No effect when the timer has run. Only from the executor itself.
  virtual void Cancel(TimerId timer) = 0;
  virtual bool InExecutor() const = 0;
  virtual const Clock& clock() const = 0;
};

}  // namespace dfs
