// An executor whose time a test moves by hand.
#pragma once

#include <deque>
#include <map>
#include <utility>

#include "common/base/executor.h"

namespace dfs::nn {

class HandExecutor final : public Executor, public Clock {
 public:
  void Post(Task task) override { tasks_.push_back(std::move(task)); }
  TimerId RunAfter(int64_t delay_ns, Task task) override {
    const TimerId id = ++last_timer_;
    timers_.emplace(std::pair(now_ns_ + delay_ns, id), std::move(task));
    return id;
  }
  void Cancel(TimerId timer) override {
    std::erase_if(timers_, [&](const auto& t) { return t.first.second == timer; });
  }
  bool InExecutor() const override { return true; }
  const Clock& clock() const override { return *this; }
  int64_t BootNs() const override { return now_ns_; }
  int64_t WallNs() const override { return now_ns_; }

  void RunFor(int64_t duration_ns) {
    const int64_t end_ns = now_ns_ + duration_ns;
    RunPosted();
    while (!timers_.empty() && timers_.begin()->first.first <= end_ns) {
      auto first = timers_.extract(timers_.begin());
      now_ns_ = first.key().first;
      first.mapped()();
      RunPosted();
    }
    now_ns_ = end_ns;
  }

 private:
  void RunPosted() {
    while (!tasks_.empty()) {
      Task task = std::move(tasks_.front());
      tasks_.pop_front();
      task();
    }
  }

  int64_t now_ns_ = kSecond;
  TimerId last_timer_ = 0;
  std::deque<Task> tasks_;
  std::map<std::pair<int64_t, TimerId>, Task> timers_;
};

}  // namespace dfs::nn
