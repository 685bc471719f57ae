#include "common/rpc/event_loop.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <list>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "common/base/check.h"
#include "common/rpc/timer_heap.h"

namespace dfs::rpc {

namespace {
constexpr int kMaxEvents = 256;
// What epoll reports for the loop's own descriptors; watched ones have a generation above 0.
constexpr uint64_t kWakeTag = 0;
constexpr uint64_t kTimerTag = 1;
// See Wait(). A round trip between two loops that sleep takes 50 to 60 us, between two that are
// awake 10.
constexpr int64_t kShortWaitNs = 60 * kMicrosecond;
constexpr int64_t kAwakeNs = 20 * kMicrosecond;
constexpr int kAwakePolls = 4;  // at least: between two of them others may have had their turn
}  // namespace

// What is under mu_ is shared by all threads. Everything else belongs to the driver: the thread
// that runs rounds at the moment. Driving passes on under mu_, so what one driver wrote the next
// one sees.
struct EventLoop::Impl {
  struct Watch {
    int fd = -1;
    uint32_t generation = 0;
    std::function<void(uint32_t)> on_events;
  };
  struct Waiter {
    const std::function<bool()>* done = nullptr;
    bool finished = false;
    bool may_drive = false;  // chosen as the next driver
    std::condition_variable wake;
  };
  struct Hook {
    HookId id;
    std::shared_ptr<std::function<void()>> call;
  };

  explicit Impl(const Clock& c) : clock(c) {
    epoll_fd = ::epoll_create1(EPOLL_CLOEXEC);
    wake_fd = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    timer_fd = ::timerfd_create(CLOCK_BOOTTIME, TFD_NONBLOCK | TFD_CLOEXEC);
    DFS_CHECK(epoll_fd >= 0 && wake_fd >= 0 && timer_fd >= 0);
    AddOwn(wake_fd, kWakeTag);
    AddOwn(timer_fd, kTimerTag);
  }

  ~Impl() {
    ::close(timer_fd);
    ::close(wake_fd);
    ::close(epoll_fd);
  }

  void AddOwn(int fd, uint64_t tag) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    DFS_CHECK(::epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
  }

  void Wake() const {
    uint64_t one = 1;
    [[maybe_unused]] ssize_t n = ::write(wake_fd, &one, sizeof(one));  // full means awake already
  }

  // ---- Driving ----

  bool Mine() const { return driver.load(std::memory_order_relaxed) == std::this_thread::get_id(); }

  void RunUntil(const std::function<bool()>& done) {
    DFS_CHECK(!Mine());  // a callback that waits for another would wait for itself
    std::unique_lock lock(mu);
    if (driving) {
      Waiter self;
      self.done = &done;
      waiters.push_back(&self);
      if (sleeping) Wake();  // it may be asleep although done() holds already
      self.wake.wait(lock, [&] { return self.finished || self.may_drive; });
      waiters.remove(&self);
      if (self.finished) return;
    }
    driving = true;
    driver.store(std::this_thread::get_id(), std::memory_order_relaxed);
    lock.unlock();
    while (true) {
      RunTasksAndTimers();
      RunHooks();
      if (done()) break;
      Poll();
    }
    lock.lock();
    FinishWaiters();
    driver.store(std::thread::id(), std::memory_order_relaxed);
    HandOver();
  }

  /// With mu_ held, by a thread that has ended driving.
  void HandOver() {
    driving = false;
    for (Waiter* waiter : waiters) {
      if (waiter->finished) continue;
      driving = true;  // no third thread gets in between
      waiter->may_drive = true;
      waiter->wake.notify_one();
      return;
    }
  }

  // ---- One round ----

  void RunTasksAndTimers() {
    {
      std::lock_guard lock(mu);
      running.swap(tasks);
    }
    for (Task& task : running) {
      Task now = std::move(task);
      now();
    }
    running.clear();
    if (timers.empty()) return;
    int64_t now_ns = clock.BootNs();
    // Timers that are set meanwhile wait for the next round, even with delay 0.
    for (size_t n = timers.size(); n > 0 && !timers.empty() && timers.next_deadline_ns() <= now_ns;
         --n) {
      timers.PopFirst()();
    }
  }

  void RunHooks() {
    for (size_t i = 0; i < hooks.size(); ++i) {
      std::shared_ptr<std::function<void()>> call = hooks[i].call;
      (*call)();
    }
  }

  /// Sleeps until something happens, and handles what descriptors report.
  void Poll() {
    int timeout_ms = -1;
    ArmTimer();
    if (!timers.empty() && timers.next_deadline_ns() <= clock.BootNs()) timeout_ms = 0;
    {
      std::lock_guard lock(mu);
      FinishWaiters();
      if (!tasks.empty()) timeout_ms = 0;
      sleeping = timeout_ms != 0;
    }
    epoll_event events[kMaxEvents];
    int count = timeout_ms == 0 ? ::epoll_wait(epoll_fd, events, kMaxEvents, 0) : Wait(events);
    if (timeout_ms != 0) {
      std::lock_guard lock(mu);
      sleeping = false;
    }
    DFS_CHECK(count >= 0 || errno == EINTR);
    for (int i = 0; i < count; ++i) Dispatch(events[i]);
  }

  /// Waits for events without limit. After a short wait the next is likely to be short, too: then the
  /// loop stays awake a moment and leaves the processor to whoever wants it. Sleeping would cost more
  /// than it saves: waking a sleeper on an idle processor takes the one who wakes several
  /// microseconds, and the woken one fifty on a virtual machine.
  int Wait(epoll_event* events) {
    const int64_t began_ns = clock.BootNs();
    for (int polls = 0;
         last_wait_short && (polls < kAwakePolls || clock.BootNs() - began_ns < kAwakeNs);
         ++polls) {
      ::sched_yield();
      const int count = ::epoll_wait(epoll_fd, events, kMaxEvents, 0);
      if (count != 0) return count;
    }
    const int count = ::epoll_wait(epoll_fd, events, kMaxEvents, -1);
    last_wait_short = clock.BootNs() - began_ns < kShortWaitNs;
    return count;
  }

  /// With mu_ held: lets go the threads whose condition holds.
  void FinishWaiters() {
    for (Waiter* waiter : waiters) {
      if (waiter->finished || !(*waiter->done)()) continue;
      waiter->finished = true;
      waiter->wake.notify_one();
    }
  }

  void Dispatch(const epoll_event& event) {
    uint64_t drained = 0;
    if (event.data.u64 == kWakeTag) {
      [[maybe_unused]] ssize_t n = ::read(wake_fd, &drained, sizeof(drained));
      return;
    }
    if (event.data.u64 == kTimerTag) {
      [[maybe_unused]] ssize_t n = ::read(timer_fd, &drained, sizeof(drained));
      armed_ns = kNotArmed;
      return;
    }
    uint32_t fd = static_cast<uint32_t>(event.data.u64);
    uint32_t generation = static_cast<uint32_t>(event.data.u64 >> 32);
    if (fd >= watches.size()) return;
    std::shared_ptr<Watch> watch = watches[fd];                       // it may unwatch itself
    if (watch == nullptr || watch->generation != generation) return;  // of a closed descriptor
    watch->on_events(event.events);
  }

  /// Programs the timer only for an earlier deadline than it is set to: a deadline that was
  /// cancelled or moved back costs a spurious round at most, and sleeping costs no timer call.
  void ArmTimer() {
    if (timers.empty() || timers.next_deadline_ns() >= armed_ns) return;
    armed_ns = timers.next_deadline_ns();
    int64_t delay_ns = std::max<int64_t>(armed_ns - clock.BootNs(), 1);
    itimerspec spec{};
    spec.it_value.tv_sec = delay_ns / kSecond;
    spec.it_value.tv_nsec = delay_ns % kSecond;
    DFS_CHECK(::timerfd_settime(timer_fd, 0, &spec, nullptr) == 0);
  }

  // ---- Descriptors ----

  static epoll_event EventOf(const Watch& watch, uint32_t events) {
    epoll_event event{};
    event.events = events;
    event.data.u64 =
        static_cast<uint64_t>(watch.generation) << 32 | static_cast<uint32_t>(watch.fd);
    return event;
  }

  void CheckConfined() const {
    // Before the loop runs there is no driver, and whoever sets it up may touch it.
    DFS_CHECK(driver.load(std::memory_order_relaxed) == std::thread::id() || Mine());
  }

  const Clock& clock;
  int epoll_fd = -1;
  int wake_fd = -1;
  int timer_fd = -1;

  std::mutex mu;
  std::vector<Task> tasks;
  std::list<Waiter*> waiters;
  bool sleeping = false;
  bool driving = false;

  std::atomic<std::thread::id> driver{};
  std::atomic<bool> stop{false};

  static constexpr int64_t kNotArmed = INT64_MAX;
  std::vector<Task> running;
  TimerHeap timers;
  int64_t armed_ns = kNotArmed;
  bool last_wait_short = false;
  std::vector<std::shared_ptr<Watch>> watches;  // by descriptor
  uint32_t next_generation = 1;
  std::vector<Hook> hooks;
  HookId next_hook = 1;
};

EventLoop::EventLoop(const Clock& clock) : impl_(std::make_unique<Impl>(clock)) {}

EventLoop::~EventLoop() {
  DFS_CHECK(!impl_->driving);
  // What tasks own may touch the loop as it goes: let it go while the loop is whole.
  while (!impl_->tasks.empty() || !impl_->timers.empty()) {
    std::vector<Task> dropped = std::exchange(impl_->tasks, {});
    dropped.clear();
    if (!impl_->timers.empty()) impl_->timers.PopFirst();
  }
}

void EventLoop::Run() {
  std::atomic<bool>& stop = impl_->stop;
  impl_->RunUntil([&stop] { return stop.load(std::memory_order_acquire); });
  stop.store(false, std::memory_order_relaxed);
}

void EventLoop::Stop() {
  impl_->stop.store(true, std::memory_order_release);
  impl_->Wake();
}

void EventLoop::RunUntil(const std::function<bool()>& done) {
  impl_->RunUntil(done);
}

void EventLoop::Post(Task task) {
  bool wake = false;
  {
    std::lock_guard lock(impl_->mu);
    impl_->tasks.push_back(std::move(task));
    wake = std::exchange(impl_->sleeping, false);  // one wake-up is enough for all that follow
  }
  if (wake) impl_->Wake();
}

Executor::TimerId EventLoop::RunAfter(int64_t delay_ns, Task task) {
  impl_->CheckConfined();
  int64_t now_ns = impl_->clock.BootNs();
  int64_t deadline_ns =
      delay_ns > INT64_MAX - now_ns ? INT64_MAX - 1 : now_ns + std::max<int64_t>(delay_ns, 0);
  return impl_->timers.Add(deadline_ns, std::move(task));
}

void EventLoop::Cancel(TimerId timer) {
  impl_->CheckConfined();
  impl_->timers.Cancel(timer);
}

bool EventLoop::InExecutor() const {
  return impl_->Mine();
}

const Clock& EventLoop::clock() const {
  return impl_->clock;
}

void EventLoop::WatchFd(int fd, uint32_t events, std::function<void(uint32_t)> on_events) {
  impl_->CheckConfined();
  DFS_CHECK(fd >= 0);
  if (impl_->watches.size() <= static_cast<size_t>(fd))
    impl_->watches.resize(static_cast<size_t>(fd) + 1);
  std::shared_ptr<Impl::Watch>& slot = impl_->watches[static_cast<size_t>(fd)];
  DFS_CHECK(slot == nullptr);
  slot = std::make_shared<Impl::Watch>();
  slot->fd = fd;
  slot->generation = impl_->next_generation++;
  if (impl_->next_generation == 0) impl_->next_generation = 1;  // 0 is the loop's own tags
  slot->on_events = std::move(on_events);
  epoll_event event = Impl::EventOf(*slot, events);
  DFS_CHECK(::epoll_ctl(impl_->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

void EventLoop::ChangeFd(int fd, uint32_t events) {
  impl_->CheckConfined();
  const std::shared_ptr<Impl::Watch>& watch = impl_->watches.at(static_cast<size_t>(fd));
  DFS_CHECK(watch != nullptr);
  epoll_event event = Impl::EventOf(*watch, events);
  DFS_CHECK(::epoll_ctl(impl_->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0);
}

void EventLoop::UnwatchFd(int fd) {
  impl_->CheckConfined();
  std::shared_ptr<Impl::Watch> watch = std::move(impl_->watches.at(static_cast<size_t>(fd)));
  DFS_CHECK(watch != nullptr);
  impl_->watches[static_cast<size_t>(fd)] = nullptr;
  ::epoll_ctl(impl_->epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
}

EventLoop::HookId EventLoop::AddRoundHook(std::function<void()> hook) {
  impl_->CheckConfined();
  HookId id = impl_->next_hook++;
  impl_->hooks.push_back({id, std::make_shared<std::function<void()>>(std::move(hook))});
  return id;
}

void EventLoop::RemoveRoundHook(HookId id) {
  impl_->CheckConfined();
  std::erase_if(impl_->hooks, [id](const Impl::Hook& hook) { return hook.id == id; });
}

uint64_t RaiseFileLimit(uint64_t wanted) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
  if (limit.rlim_cur >= wanted) return limit.rlim_cur;
  limit.rlim_cur = std::min<rlim_t>(wanted, limit.rlim_max);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) ::getrlimit(RLIMIT_NOFILE, &limit);
  return limit.rlim_cur;
}

}  // namespace dfs::rpc
