#include "tools/cli/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <functional>

namespace dfs::cli {
namespace {

// A tree of tasks, each of which gives others: many more than the queue takes.
TEST(WorkerPool, TasksMayGiveTasks) {
  for (const size_t threads : {1u, 4u}) {
    std::atomic<int> ran{0};
    WorkerPool pool(threads, 8);
    std::function<void(int)> grow = [&](int depth) {
      ++ran;
      for (int i = 0; depth > 0 && i < 10; ++i) pool.SubmitOrRun([&, depth] { grow(depth - 1); });
    };
    pool.Submit([&] { grow(3); });
    pool.Finish();
    EXPECT_EQ(ran, 1 + 10 + 100 + 1'000);
  }
}

TEST(WorkerPool, FinishKeepsAllThreadsUntilNothingMoreCanCome) {
  for (int round = 0; round < 100; ++round) {
    std::mutex mutex;
    std::condition_variable changed;
    int inside = 0;
    WorkerPool pool(3, 100);
    std::atomic<bool> go{false};
    pool.Submit([&] {
      while (!go) std::this_thread::yield();
      for (int i = 0; i < 100; ++i) std::this_thread::yield();
      // Each waits for the others: they run at the same time, or this test does not end.
      for (int i = 0; i < 3; ++i) {
        pool.SubmitOrRun([&] {
          std::unique_lock<std::mutex> lock(mutex);
          ++inside;
          changed.notify_all();
          changed.wait(lock, [&] { return inside == 3; });
        });
      }
    });
    go = true;
    pool.Finish();
    EXPECT_EQ(inside, 3);
  }
}

}  // namespace
}  // namespace dfs::cli
