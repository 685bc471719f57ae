#include "common/base/worker.h"

#include <pthread.h>

#include <condition_variable>
#include <mutex>
#include <thread>
#include <utility>

#include "common/base/check.h"

namespace dfs {
namespace {

class ThreadWorker final : public Worker {
 public:
  explicit ThreadWorker(const std::string& name) : thread_([this] { Run(); }) {
    ::pthread_setname_np(thread_.native_handle(), name.c_str());
  }
  ~ThreadWorker() override {
    {
      std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Start(Task task) override {
    {
      std::lock_guard lock(mutex_);
      DFS_CHECK(!busy_);
      busy_ = true;
      task_ = std::move(task);
    }
    changed_.notify_all();
  }
  bool busy() override {
    std::lock_guard lock(mutex_);
    return busy_;
  }
  void Wait() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !busy_; });
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      changed_.wait(lock, [this] { return stop_ || task_; });
      if (!task_) return;
      Task task = std::exchange(task_, nullptr);
      lock.unlock();
      task();
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  Task task_;          // not begun
  bool busy_ = false;  // given, and not over
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Worker> NewThreadWorker(const std::string& name) {
  return std::make_unique<ThreadWorker>(name);
}

}  // namespace dfs
