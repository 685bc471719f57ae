#include "namenode/replication/log_writer.h"

#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "common/base/logging.h"
#include "namenode/replication/log_storage.h"

namespace dfs::nn {

namespace {

constexpr int64_t kMarkAfterNs = 1 * kSecond;  // of idleness, protocols 9.3
/// A disk whose last write took longer is not waited for on the loop, where heartbeats have to be answered.
constexpr auto kSlowWrite = std::chrono::milliseconds(50);

class InlineLogWriter final : public LogWriter {
 public:
  InlineLogWriter(LogStorage& storage, Executor& executor)
      : storage_(storage), executor_(executor) {}
  ~InlineLogWriter() override { Stop(); }

  void Append(raft::PersistRequest batch, bool, Done done) override {
    Status written = storage_.Write(batch);
    executor_.Post([alive = std::weak_ptr<bool>(alive_), written, done = std::move(done)] {
      if (alive.lock()) done(written);
    });
    if (mark_timer_ == 0) {
      mark_timer_ = executor_.RunAfter(kMarkAfterNs, [this, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.lock()) return;
        mark_timer_ = 0;
        if (Status s = storage_.WriteMark(); !s) LogWarning("Raft log: {}", s.ToString());
      });
    }
  }
  void TruncatePrefix(LogIndex index) override {
    if (Status s = storage_.TruncatePrefix(index); !s) LogWarning("Raft log: {}", s.ToString());
  }
  void Stop() override {
    if (mark_timer_ != 0) executor_.Cancel(mark_timer_);
    mark_timer_ = 0;
    alive_.reset();
  }

 private:
  LogStorage& storage_;
  Executor& executor_;
  Executor::TimerId mark_timer_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

/// Two threads: one writes and syncs; the other makes the next segment while there is time.
class ThreadedLogWriter final : public LogWriter {
 public:
  ThreadedLogWriter(LogStorage& storage, Executor& executor, ThreadedLogWriterOptions options)
      : storage_(storage), executor_(executor), options_(options) {
    writer_ = std::thread([this] { RunWriter(); });
    preparer_ = std::thread([this] { RunPreparer(); });
  }
  ~ThreadedLogWriter() override { Stop(); }

  void Append(raft::PersistRequest batch, bool on_caller, Done done) override {
    {
      std::unique_lock lock(mutex_);
      // Completions keep their order: nothing may be under way, nor posted and not yet delivered.
      bool inline_now = on_caller && options_.inline_when_idle && queue_.empty() && !busy_ &&
                        !slow_ && state_->undelivered == 0 && truncate_to_ == 0;
      if (!inline_now) {
        queue_.push_back({std::move(batch), std::move(done)});
        lock.unlock();
        wake_writer_.notify_one();
        return;
      }
      busy_ = true;
    }
    const auto began = std::chrono::steady_clock::now();
    Status written = storage_.Write(batch);
    bool spare = storage_.NeedsSpare();
    {
      std::lock_guard lock(mutex_);
      busy_ = false;
      NoteWrite(began);
      want_spare_ = want_spare_ || spare;
    }
    if (spare) wake_preparer_.notify_one();
    done(written);
  }

  void TruncatePrefix(LogIndex index) override {
    {
      std::lock_guard lock(mutex_);
      truncate_to_ = std::max(truncate_to_, index);
    }
    wake_writer_.notify_one();
  }

  void Stop() override {
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      stopping_ = true;
      queue_.clear();
    }
    wake_writer_.notify_one();
    wake_preparer_.notify_one();
    writer_.join();
    preparer_.join();
    state_->stopped = true;
  }

 private:
  struct Item {
    raft::PersistRequest batch;
    Done done;
  };
  /// Shared with what was posted; undelivered is guarded by mutex_... of the executor: see Deliver.
  struct State {
    bool stopped = false;             // executor only
    std::atomic<int> undelivered{0};  // completions posted and not yet run
  };

  void Deliver(std::vector<Done> done, const Status& status) {
    ++state_->undelivered;
    executor_.Post([state = state_, done = std::move(done), status]() mutable {
      --state->undelivered;
      for (Done& d : done) {
        if (state->stopped) return;
        d(status);
      }
    });
  }

  /// mutex_ held.
  void NoteWrite(std::chrono::steady_clock::time_point began) {
    unmarked_ = true;
    last_write_ = std::chrono::steady_clock::now();
    slow_ = last_write_ - began > kSlowWrite;
  }

  void RunWriter() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (busy_) {  // the caller is writing; it takes microseconds
        wake_writer_.wait_for(lock, std::chrono::milliseconds(1));
        continue;
      }
      if (!queue_.empty()) {
        WriteQueued(&lock);
        continue;
      }
      if (truncate_to_ != 0) {
        LogIndex to = std::exchange(truncate_to_, 0);
        Unlocked(&lock, [&] { return storage_.TruncatePrefix(to); });
        continue;
      }
      auto idle_at = last_write_ + std::chrono::nanoseconds(kMarkAfterNs);
      if (!unmarked_) {
        wake_writer_.wait(lock);
      } else if (wake_writer_.wait_until(lock, idle_at) == std::cv_status::timeout && !busy_ &&
                 queue_.empty() && !stopping_ &&
                 std::chrono::steady_clock::now() >=
                     last_write_ + std::chrono::nanoseconds(kMarkAfterNs)) {
        unmarked_ = false;
        Unlocked(&lock, [&] { return storage_.WriteMark(); });
      }
    }
  }

  template <class Work>
  void Unlocked(std::unique_lock<std::mutex>* lock, const Work& work) {
    busy_ = true;
    lock->unlock();
    Status s = work();
    if (!s) LogWarning("Raft log: {}", s.ToString());
    lock->lock();
    busy_ = false;
  }

  void WriteQueued(std::unique_lock<std::mutex>* lock) {
    std::deque<Item> items;
    items.swap(queue_);
    busy_ = true;
    lock->unlock();
    std::vector<const raft::PersistRequest*> requests;
    std::vector<Done> done;
    requests.reserve(items.size());
    done.reserve(items.size());
    for (Item& item : items) {
      requests.push_back(&item.batch);
      done.push_back(std::move(item.done));
    }
    const auto began = std::chrono::steady_clock::now();
    Status written = storage_.Write(requests);
    bool spare = storage_.NeedsSpare();
    Deliver(std::move(done), written);
    lock->lock();
    busy_ = false;
    NoteWrite(began);
    if (spare) {
      want_spare_ = true;
      wake_preparer_.notify_one();
    }
  }

  void RunPreparer() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      if (!std::exchange(want_spare_, false)) {
        wake_preparer_.wait(lock);
        continue;
      }
      lock.unlock();
      if (Status s = storage_.MakeSpare(); !s) {
        LogWarning("Raft log: making a segment ahead: {}", s.ToString());
      }
      lock.lock();
    }
  }

  LogStorage& storage_;
  Executor& executor_;
  const ThreadedLogWriterOptions options_;
  std::shared_ptr<State> state_ = std::make_shared<State>();

  std::mutex mutex_;
  std::condition_variable wake_writer_;
  std::condition_variable wake_preparer_;
  std::deque<Item> queue_;
  bool busy_ = false;  // somebody uses the storage's writing side
  bool stopping_ = false;
  bool unmarked_ = false;
  bool slow_ = false;  // the last write was
  bool want_spare_ = false;
  LogIndex truncate_to_ = 0;
  // Only for the pause before a mark, and which thread writes: no decision of the protocol rests on it.
  std::chrono::steady_clock::time_point last_write_{};
  std::thread writer_;
  std::thread preparer_;
};

}  // namespace

std::unique_ptr<LogWriter> NewInlineLogWriter(LogStorage& storage, Executor& executor) {
  return std::make_unique<InlineLogWriter>(storage, executor);
}

std::unique_ptr<LogWriter> NewThreadedLogWriter(LogStorage& storage, Executor& executor,
                                                ThreadedLogWriterOptions options) {
  return std::make_unique<ThreadedLogWriter>(storage, executor, options);
}

}  // namespace dfs::nn
