#include "namenode/replication/log_writer.h"

#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>

#include "common/base/check.h"
#include "common/base/fault_env.h"
#include "tests/replication/log_test_util.h"

namespace dfs::nn {
namespace {

/// An executor that a test runs by hand on its own thread; Post from any.
class ManualExecutor final : public Executor {
 public:
  void Post(Task task) override {
    std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    ready_.notify_one();
  }
  TimerId RunAfter(int64_t, Task) override { return 1; }
  void Cancel(TimerId) override {}
  bool InExecutor() const override { return true; }
  const Clock& clock() const override { return SystemClock(); }
  void RunUntil(const std::function<bool()>& done) {
    while (!done()) {
      Task task;
      {
        std::unique_lock lock(mutex_);
        ASSERT_TRUE(
            ready_.wait_for(lock, std::chrono::seconds(240), [&] { return !tasks_.empty(); }));
        task = std::move(tasks_.front());
        tasks_.pop_front();
      }
      task();
    }
  }

 private:
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<Task> tasks_;
};

class LogWriterTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(env_.CreateDirs("/m"));
    ASSERT_TRUE(LogStorage::Create(env_, "/m/raft", kOwner));
    log_ = std::make_unique<OpenLog>(env_, "/m/raft");
    ASSERT_TRUE(log_->found);
    ASSERT_TRUE(log_->storage.Write(HardState(1, 1)));
  }
  FaultEnv env_{7};
  std::unique_ptr<OpenLog> log_;
  ManualExecutor executor_;
};

TEST_F(LogWriterTest, CompletesInOrderAndCoalesces) {
  std::mutex gate;
  gate.lock();
  bool first = true;
  env_.SetSyncHook([&](const std::string&) {
    if (!std::exchange(first, false)) return;
    std::lock_guard wait(gate);  // the first sync takes as long as the rest needs to gather
  });
  auto writer = NewThreadedLogWriter(log_->storage, executor_);
  std::vector<int> done;
  uint64_t syncs = log_->storage.metrics().syncs;
  for (int i = 0; i < 50; ++i) {
    writer->Append(Entries(static_cast<LogIndex>(i) + 1, 1, 1), false, [&done, i](Status s) {
      EXPECT_TRUE(s);
      done.push_back(i);
    });
  }
  gate.unlock();
  executor_.RunUntil([&] { return done.size() == 50; });
  for (int i = 0; i < 50; ++i) EXPECT_EQ(done[static_cast<size_t>(i)], i);
  EXPECT_LE(log_->storage.metrics().syncs - syncs, 12u);
  writer->Stop();
  env_.SetSyncHook(nullptr);
}

TEST_F(LogWriterTest, WritesOnTheCallersThreadWhenIdle) {
  auto writer = NewThreadedLogWriter(log_->storage, executor_);
  bool done = false;
  writer->Append(Entries(1, 1, 2), true, [&](Status s) {
    EXPECT_TRUE(s);
    done = true;
  });
  EXPECT_TRUE(done);  // before Append returned
  // Behind something that is under way it keeps its place.
  std::vector<int> order;
  writer->Append(Entries(3, 1, 1), false, [&](Status) { order.push_back(1); });
  writer->Append(Entries(4, 1, 1), true, [&](Status) { order.push_back(2); });
  executor_.RunUntil([&] { return order.size() == 2; });
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  writer->Stop();
}

// The loop of a follower must not stand still with a disk that does.
TEST_F(LogWriterTest, ASlowDiskIsNotWaitedForByTheCaller) {
  auto writer = NewThreadedLogWriter(log_->storage, executor_);
  env_.SetSyncHook([](const std::string&) {
    const int64_t until = SystemClock().BootNs() + 60 * kMillisecond;
    while (SystemClock().BootNs() < until) std::this_thread::yield();
  });
  bool done = false;
  writer->Append(Entries(1, 1, 1), true, [&](Status) { done = true; });
  EXPECT_TRUE(done);  // nobody could know
  std::mutex gate;
  gate.lock();
  env_.SetSyncHook([&](const std::string&) { std::lock_guard wait(gate); });
  done = false;
  writer->Append(Entries(2, 1, 1), true, [&](Status) { done = true; });
  EXPECT_FALSE(done);  // or this would never return
  gate.unlock();
  executor_.RunUntil([&] { return done; });
  writer->Stop();
  env_.SetSyncHook(nullptr);
}

TEST_F(LogWriterTest, ReportsAFailedSyncToAllThatFollows) {
  FaultEnv::Fault fault;
  fault.op = FaultEnv::Op::kSync;
  env_.AddFault(std::move(fault));
  auto writer = NewThreadedLogWriter(log_->storage, executor_);
  std::vector<bool> results;
  for (LogIndex i = 1; i <= 3; ++i) {
    writer->Append(Entries(i, 1, 1), false, [&](Status s) { results.push_back(s.ok()); });
  }
  executor_.RunUntil([&] { return results.size() == 3; });
  EXPECT_EQ(results, (std::vector<bool>{false, false, false}));
  writer->Stop();
}

TEST_F(LogWriterTest, NoCallbackAfterStop) {
  auto writer = NewThreadedLogWriter(log_->storage, executor_);
  bool called = false;
  for (LogIndex i = 1; i <= 20; ++i) {
    writer->Append(Entries(i, 1, 1), false, [&](Status) { called = true; });
  }
  writer->Stop();
  writer.reset();
  bool drained = false;
  executor_.Post([&] { drained = true; });
  executor_.RunUntil([&] { return drained; });
  EXPECT_FALSE(called);
}

TEST_F(LogWriterTest, MakesAMarkAndASpareInTheBackground) {
  auto writer = NewThreadedLogWriter(log_->storage, executor_);
  bool done = false;
  const uint64_t before = log_->storage.metrics().batches;
  writer->Append(Entries(1, 1, 100, 100), false, [&](Status) { done = true; });
  executor_.RunUntil([&] { return done; });
  // After a second the mark. Neither it nor the spare segment says that it has happened, but both sync.
  bool mark = false, spare = !log_->storage.NeedsSpare();
  env_.SetSyncHook([&](const std::string& path) {
    if (path == "/m/raft") return;  // the directory, for the spare
    const bool is_spare = path.find("/spare-") != std::string::npos;
    executor_.Post([&mark, &spare, is_spare] { (is_spare ? spare : mark) = true; });
  });
  executor_.RunUntil([&] { return mark && (spare || !log_->storage.NeedsSpare()); });
  writer->Stop();  // when what has begun is done
  env_.SetSyncHook(nullptr);
  EXPECT_EQ(log_->storage.metrics().batches, before + 2);
  EXPECT_FALSE(log_->storage.NeedsSpare());
}

}  // namespace
}  // namespace dfs::nn
