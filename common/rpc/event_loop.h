// EventLoop: the real Executor, an epoll loop. Runs on the thread that calls Run(), or in turns on
// whichever thread calls RunUntil(): a synchronous caller drives the loop itself and saves a
// hand-over.
#pragma once

#include <atomic>
#include <functional>
#include <memory>

#include "common/base/executor.h"

namespace dfs::rpc {

class EventLoop : public Executor {
 public:
  explicit EventLoop(const Clock& clock = SystemClock());
  ~EventLoop() override;

  /// Runs until Stop().
  void Run();
  /// Thread-safe.
  void Stop();
  /// Runs the loop on this thread until done() is true; when another thread is running it, waits
  /// for that thread (which then must make done() true on the loop). Several threads may wait: one
  /// drives, the others sleep, and the driver hands over when its own wait ends. done() is
  /// evaluated on the loop or under its lock.
  void RunUntil(const std::function<bool()>& done);

  void Post(Task task) override;
  TimerId RunAfter(int64_t delay_ns, Task task) override;
  void Cancel(TimerId timer) override;
  bool InExecutor() const override;
  const Clock& clock() const override;

  /// Calls on_events(EPOLL*) on the loop. Only from the loop (or before it runs).
  void WatchFd(int fd, uint32_t events, std::function<void(uint32_t)> on_events);
  void ChangeFd(int fd, uint32_t events);
  void UnwatchFd(int fd);
  /// Calls hook at the end of every round of the loop, before it sleeps: the place to send in one
  /// go what the round has produced. Only from the loop (or before it runs).
  using HookId = uint64_t;
  HookId AddRoundHook(std::function<void()> hook);
  void RemoveRoundHook(HookId id);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Raises the soft limit of open files to at least wanted, or as far as the hard limit lets it
/// (1,024, the usual default, is too little for a daemon). Returns the limit that holds now.
uint64_t RaiseFileLimit(uint64_t wanted = 65536);

}  // namespace dfs::rpc
