// Worker: does one task at a time, somewhere else than its owner, who looks in or waits. For work in the background of
// a class that is confined to an executor and makes no threads itself; what the task touches nobody else touches
// until it is over. Confined to its owner.
#pragma once

#include <memory>
#include <string>

#include "common/base/task.h"

namespace dfs {

class Worker {
 public:
  /// Waits for the task.
  virtual ~Worker() = default;
  /// Only when none is under way.
  virtual void Start(Task task) = 0;
  virtual bool busy() = 0;
  /// Until none is under way; what it wrote is then seen here.
  virtual void Wait() = 0;
};

/// A thread of its own; name: at most 15 characters.
std::unique_ptr<Worker> NewThreadWorker(const std::string& name);

}  // namespace dfs
