// WorkerPool: threads that take tasks from a bounded queue. Submit blocks while the queue is full, so a task gives
// others with SubmitOrRun. Thread-safe but for Finish.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace dfs::cli {

class WorkerPool {
 public:
  WorkerPool(size_t threads, size_t capacity) : capacity_(capacity) {
    for (size_t i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }
  ~WorkerPool() { Finish(); }
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  void Submit(std::function<void()> task) {
    std::unique_lock<std::mutex> lock(mutex_);
    room_.wait(lock, [this] { return queue_.size() < capacity_; });
    queue_.push_back(std::move(task));
    work_.notify_one();
  }
  /// Runs it at once, in the calling thread, while the queue is full.
  void SubmitOrRun(std::function<void()> task) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (queue_.size() < capacity_) {
        queue_.push_back(std::move(task));
        work_.notify_one();
        return;
      }
    }
    task();
  }
  /// Runs what is queued, and what that gives, and ends the threads.
  void Finish() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      finished_ = true;
    }
    work_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void Run() {
    while (true) {
      std::function<void()> task;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        work_.wait(lock, [this] { return !queue_.empty() || (finished_ && running_ == 0); });
        if (queue_.empty()) return;
        task = std::move(queue_.front());
        queue_.pop_front();
        ++running_;
      }
      room_.notify_one();
      task();
      task = nullptr;
      const std::lock_guard<std::mutex> lock(mutex_);
      if (--running_ == 0 && finished_ && queue_.empty()) work_.notify_all();
    }
  }

  const size_t capacity_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::condition_variable room_;
  std::deque<std::function<void()>> queue_;
  size_t running_ = 0;
  bool finished_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace dfs::cli
