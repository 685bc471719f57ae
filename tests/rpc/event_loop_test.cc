#include "common/rpc/event_loop.h"

#include <gtest/gtest.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <thread>
#include <vector>

#include "common/base/random.h"
#include "common/rpc/timer_heap.h"

namespace dfs::rpc {
namespace {

TEST(TimerHeap, OrdersLikeASortedMapUnderRandomUse) {
  TimerHeap heap;
  std::map<std::pair<int64_t, uint64_t>, int> model;  // (deadline, order) -> value
  std::map<uint64_t, std::pair<int64_t, uint64_t>> ids;
  std::map<uint64_t, int> value_of;
  Random random(7);
  int ran = -1;
  uint64_t order = 0;
  for (int i = 0; i < 20000; ++i) {
    switch (random.Uniform(3)) {
      case 0:
      case 1: {
        int64_t deadline = random.Between(0, 500);
        uint64_t id = heap.Add(deadline, [&ran, i] { ran = i; });
        ASSERT_NE(id, 0u);
        ASSERT_TRUE(ids.emplace(id, std::pair(deadline, order)).second)
            << "id used again while alive";
        model[{deadline, order++}] = i;
        break;
      }
      default:
        if (model.empty()) break;
        if (random.OneIn(2)) {
          auto it = ids.begin();
          std::advance(it, static_cast<long>(random.Uniform(ids.size())));
          ASSERT_TRUE(heap.Cancel(it->first));
          ASSERT_FALSE(heap.Cancel(it->first));
          model.erase(it->second);
          ids.erase(it);
        } else {
          auto first = model.begin();
          ASSERT_EQ(heap.next_deadline_ns(), first->first.first);
          heap.PopFirst()();
          ASSERT_EQ(ran, first->second);
          std::erase_if(ids, [&](const auto& e) { return e.second == first->first; });
          model.erase(first);
        }
    }
    ASSERT_EQ(heap.size(), model.size());
  }
}

TEST(EventLoop, RunsTasksInOrder) {
  EventLoop loop;
  std::string log;
  loop.Post([&] {
    EXPECT_TRUE(loop.InExecutor());
    log += "a";
    loop.Post([&] { log += "c"; });
  });
  loop.Post([&] { log += "b"; });
  EXPECT_FALSE(loop.InExecutor());
  loop.RunUntil([&] { return log.size() == 3; });
  EXPECT_EQ(log, "abc");
}

TEST(EventLoop, RunsTimersByDeadline) {
  EventLoop loop;
  std::string log;
  bool held_up = true;  // between the two timers, so long that their deadlines changed places
  while (held_up) {
    log.clear();
    loop.Post([&] {
      const int64_t started = loop.clock().BootNs();
      loop.RunAfter(20 * kMillisecond, [&] { log += "2"; });
      loop.RunAfter(5 * kMillisecond, [&] { log += "1"; });
      held_up = loop.clock().BootNs() - started > 10 * kMillisecond;
      Executor::TimerId gone = loop.RunAfter(kMillisecond, [&] { log += "x"; });
      loop.Cancel(gone);
      loop.Cancel(gone);
    });
    loop.RunUntil([&] { return log.size() == 2; });
  }
  EXPECT_EQ(log, "12");
}

TEST(EventLoop, TimersAreNeverEarly) {
  EventLoop loop;
  const Clock& clock = loop.clock();
  for (int64_t delay : {int64_t{0}, 300 * kMicrosecond, 3 * kMillisecond}) {
    bool fired = false;
    int64_t started = clock.BootNs();
    loop.RunAfter(delay, [&] {
      fired = true;
      EXPECT_GE(clock.BootNs() - started, delay);
    });
    loop.RunUntil([&] { return fired; });
  }
}

TEST(EventLoop, WatchesDescriptorsAndForgetsThem) {
  EventLoop loop;
  int fds[2];
  ASSERT_EQ(::pipe(fds), 0);
  int events = 0;
  loop.WatchFd(fds[0], EPOLLIN, [&](uint32_t) {
    ++events;
    if (events == 3) loop.UnwatchFd(fds[0]);  // level-triggered until then
  });
  ASSERT_EQ(::write(fds[1], "x", 1), 1);
  loop.RunUntil([&] { return events == 3; });
  bool waited = false;
  loop.RunAfter(5 * kMillisecond, [&] { waited = true; });
  loop.RunUntil([&] { return waited; });
  EXPECT_EQ(events, 3);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(EventLoop, StopEndsRunFromAnotherThread) {
  EventLoop loop;
  std::atomic<bool> started{false};
  std::thread runner([&] { loop.Run(); });
  loop.Post([&] { started = true; });
  while (!started) std::this_thread::yield();
  loop.Stop();
  runner.join();
}

TEST(EventLoop, ManyThreadsWaitAndHandTheLoopOn) {
  EventLoop loop;
  constexpr int kThreads = 8;
  constexpr int kRounds = 300;
  std::atomic<int> finished{0};
  int on_loop = 0;  // confined: a race would show under TSan, and a lost increment in the sum
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kRounds; ++i) {
        bool done = false;
        loop.Post([&] {
          if ((i + t) % 16 == 0) {
            loop.RunAfter(100 * kMicrosecond, [&] { ++on_loop, done = true; });
          } else {
            ++on_loop;
            done = true;
          }
        });
        loop.RunUntil([&] { return done; });
      }
      ++finished;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(finished, kThreads);
  EXPECT_EQ(on_loop, kThreads * kRounds);
}

TEST(EventLoop, WaitersFinishWhileAnotherThreadRuns) {
  EventLoop loop;
  std::thread runner([&] { loop.Run(); });
  for (int i = 0; i < 200; ++i) {
    bool done = false;
    loop.Post([&] { done = true; });
    loop.RunUntil([&] { return done; });
  }
  loop.Stop();
  runner.join();
}

/// Sends each byte that comes back, without end.
void Echo(EventLoop& loop, int fd, std::atomic<int>* rounds) {
  loop.WatchFd(fd, EPOLLIN, [fd, rounds](uint32_t) {
    char byte = 0;
    if (::read(fd, &byte, 1) != 1 || ::write(fd, &byte, 1) != 1) return;
    ++*rounds;
  });
}

TEST(EventLoop, LoopsKeptAwakeByOneAnotherSeeTimersAndTasks) {
  int fds[2];
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
  EventLoop near;
  EventLoop far;
  std::atomic<int> rounds{0};
  Echo(near, fds[0], &rounds);
  Echo(far, fds[1], &rounds);
  int timers = 0;  // confined to near
  std::function<void()> again = [&] {
    if (++timers < 20) near.RunAfter(200 * kMicrosecond, again);
  };
  near.Post(again);
  std::thread near_runner([&] { near.Run(); });
  std::thread far_runner([&] { far.Run(); });
  ASSERT_EQ(::write(fds[0], "x", 1), 1);  // from now on a wait is short
  std::atomic<int> tasks{0};
  for (int i = 1; i <= 500; ++i) {
    near.Post([&] { ++tasks; });
    while (tasks < i) std::this_thread::yield();
  }
  near.RunUntil([&] { return timers == 20 && rounds > 1000; });
  near.Stop();
  far.Stop();
  near_runner.join();
  far_runner.join();
  EXPECT_EQ(tasks, 500);
  ::close(fds[0]);
  ::close(fds[1]);
}

TEST(EventLoop, TasksThatNeverRanMayTouchTheLoopAsTheyGo) {
  struct Posts {
    EventLoop* loop;
    ~Posts() {
      if (loop != nullptr) loop->Post([] {});
    }
    explicit Posts(EventLoop* l) : loop(l) {}
    Posts(Posts&& other) noexcept : loop(std::exchange(other.loop, nullptr)) {}
  };
  EventLoop loop;
  loop.Post([p = Posts(&loop)] {});
  loop.RunAfter(kSecond, [p = Posts(&loop)] {});
}

TEST(RaiseFileLimit, RaisesTheSoftLimit) {
  EXPECT_GE(RaiseFileLimit(2048), 2048u);
}

}  // namespace
}  // namespace dfs::rpc
