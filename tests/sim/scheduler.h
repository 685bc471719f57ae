// SimScheduler: virtual time and one queue of events for a whole simulated cluster, on one thread, from one
// seed. SimNode is a machine in it: an executor, a clock, and a process that can be killed or stopped.
//
// Two runs with the same seed and the same calls run the same events in the same order: nothing here depends on
// addresses, hashes or the real clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/executor.h"
#include "common/base/random.h"
#include "common/base/task.h"

namespace dfs::sim {

class SimNode;

class SimScheduler {
 public:
  explicit SimScheduler(uint64_t seed);
  ~SimScheduler();
  SimScheduler(const SimScheduler&) = delete;
  SimScheduler& operator=(const SimScheduler&) = delete;

  Random& random() { return random_; }
  /// True virtual time; the nodes' clocks differ from it by their offsets.
  int64_t now_ns() const { return now_ns_; }
  uint64_t events() const { return events_; }

  /// A new machine, up. Owned by the scheduler. Names are unique.
  SimNode& AddNode(const std::string& name);

  /// Runs the task of the world itself (the nemesis, the network): no node's, never dropped.
  void After(int64_t delay_ns, Task task);

  /// The end of the world: every node goes down, every event is dropped.
  void Clear();

  /// Runs the next event; false when there is none.
  bool Step();
  /// Runs everything due until that time, then the time is that time.
  void RunUntil(int64_t time_ns);
  void RunFor(int64_t duration_ns) { RunUntil(now_ns_ + duration_ns); }
  /// Called after every event that ran a node's code.
  void SetAfterStep(std::function<void(SimNode&)> check) { after_step_ = std::move(check); }

 private:
  friend class SimNode;
  struct Event {
    int64_t time_ns;
    uint64_t sequence;
    SimNode* node;   // null: the world's
    uint64_t epoch;  // of the node when it was scheduled
    Task task;
  };
  struct Later {
    bool operator()(const std::unique_ptr<Event>& a, const std::unique_ptr<Event>& b) const {
      if (a->time_ns != b->time_ns) return a->time_ns > b->time_ns;
      return a->sequence > b->sequence;
    }
  };

  void Push(int64_t time_ns, SimNode* node, Task task);
  void Push(std::unique_ptr<Event> event);

  Random random_;
  int64_t now_ns_ = 0;
  uint64_t events_ = 0;
  uint64_t next_sequence_ = 1;
  std::vector<std::unique_ptr<Event>> heap_;
  std::vector<std::unique_ptr<SimNode>> nodes_;
  std::vector<Task>
      graveyard_;  // tasks of crashed nodes, destroyed when no node's code is on the stack
  SimNode* current_ = nullptr;
  std::function<void(SimNode&)> after_step_;
};

/// A machine with one process on it. Crash() may be called from anywhere, also from the node's own code; the
/// process's objects are destroyed after that, by the world, before Restart().
class SimNode {
 public:
  ~SimNode();
  const std::string& name() const { return name_; }
  Executor& executor();
  const Clock& clock() const;
  SimScheduler& scheduler() { return scheduler_; }

  bool up() const { return up_; }
  /// Grows with every crash.
  uint64_t epoch() const { return epoch_; }
  /// Drops everything posted and every timer; what is posted while down is dropped as well.
  void Crash();
  void Restart();
  /// As SIGSTOP: nothing runs for so long, the clock goes on.
  void Pause(int64_t duration_ns);
  bool paused() const;
  /// Added to the boot and the wall clock. The boot clock must not go back while the node is up.
  void SetClockOffsets(int64_t boot_ns, int64_t wall_ns);

  /// Calls the function as the node's own code (InExecutor() holds).
  void Run(const std::function<void()>& function);
  /// Runs the task on the node at that time, unless it crashed meanwhile.
  void At(int64_t time_ns, Task task);

 private:
  friend class SimScheduler;
  class ExecutorImpl;
  class ClockImpl;
  SimNode(SimScheduler& scheduler, std::string name);

  SimScheduler& scheduler_;
  const std::string name_;
  std::unique_ptr<ClockImpl> clock_;
  std::unique_ptr<ExecutorImpl> executor_;
  bool up_ = true;
  uint64_t epoch_ = 1;
  int64_t paused_until_ns_ = 0;
  int64_t boot_offset_ns_ = 0;
  int64_t wall_offset_ns_ = 0;
};

}  // namespace dfs::sim
