#include "tests/sim/scheduler.h"

#include <algorithm>
#include <deque>
#include <functional>
#include <utility>

#include "common/base/check.h"

namespace dfs::sim {

namespace {
// How long a posted task waits for its turn at most: the order between nodes comes from it.
constexpr int64_t kMaxPostDelayNs = 20 * kMicrosecond;
constexpr int64_t kWallEpochNs = int64_t{1'700'000'000} * kSecond;
}  // namespace

class SimNode::ClockImpl final : public Clock {
 public:
  explicit ClockImpl(SimNode& node) : node_(node) {}
  int64_t BootNs() const override {
    return kSecond + node_.scheduler_.now_ns_ + node_.boot_offset_ns_;
  }
  int64_t WallNs() const override {
    return kWallEpochNs + node_.scheduler_.now_ns_ + node_.wall_offset_ns_;
  }

 private:
  SimNode& node_;
};

class SimNode::ExecutorImpl final : public Executor {
 public:
  explicit ExecutorImpl(SimNode& node) : node_(node) {}

  void Post(Task task) override {
    if (!node_.up_) {
      Bury(std::move(task));
      return;
    }
    // One event per task, each running the oldest: the order of posting holds whatever the delays are.
    posted_.push_back(std::move(task));
    const auto delay = static_cast<int64_t>(node_.scheduler_.random_.Uniform(kMaxPostDelayNs));
    node_.At(node_.scheduler_.now_ns_ + delay, [this] {
      Task next = std::move(posted_.front());
      posted_.pop_front();
      next();
    });
  }

  TimerId RunAfter(int64_t delay_ns, Task task) override {
    DFS_CHECK(delay_ns >= 0);
    DFS_CHECK(!node_.up_ || InExecutor(), "a timer of {} set from elsewhere", node_.name_);
    const TimerId id = next_timer_++;
    if (!node_.up_) {
      Bury(std::move(task));
      return id;
    }
    timers_.emplace(id, std::move(task));
    node_.At(node_.scheduler_.now_ns_ + delay_ns, [this, id] {
      auto it = timers_.find(id);
      if (it == timers_.end()) return;
      Task run = std::move(it->second);
      timers_.erase(it);
      run();
    });
    return id;
  }

  void Cancel(TimerId timer) override {
    DFS_CHECK(!node_.up_ || InExecutor(), "a timer of {} cancelled from elsewhere", node_.name_);
    auto it = timers_.find(timer);
    if (it == timers_.end()) return;
    Task dead = std::move(it->second);  // its destructor may come back here
    timers_.erase(it);
  }

  bool InExecutor() const override { return node_.scheduler_.current_ == &node_; }
  const Clock& clock() const override { return *node_.clock_; }

  void DropAll() {
    for (Task& task : posted_) Bury(std::move(task));
    posted_.clear();
    for (auto& [id, task] : timers_) Bury(std::move(task));
    timers_.clear();
  }

 private:
  void Bury(Task task) { node_.scheduler_.graveyard_.push_back(std::move(task)); }

  SimNode& node_;
  std::deque<Task> posted_;
  std::map<TimerId, Task> timers_;
  TimerId next_timer_ = 1;
};

SimNode::SimNode(SimScheduler& scheduler, std::string name)
    : scheduler_(scheduler),
      name_(std::move(name)),
      clock_(std::make_unique<ClockImpl>(*this)),
      executor_(std::make_unique<ExecutorImpl>(*this)) {}

SimNode::~SimNode() = default;

Executor& SimNode::executor() {
  return *executor_;
}
const Clock& SimNode::clock() const {
  return *clock_;
}

void SimNode::Crash() {
  if (!up_) return;
  up_ = false;
  ++epoch_;
  paused_until_ns_ = 0;
  executor_->DropAll();
}

void SimNode::Restart() {
  DFS_CHECK(!up_);
  up_ = true;
}

void SimNode::Pause(int64_t duration_ns) {
  paused_until_ns_ = std::max(paused_until_ns_, scheduler_.now_ns_ + duration_ns);
}

bool SimNode::paused() const {
  return paused_until_ns_ > scheduler_.now_ns_;
}

void SimNode::SetClockOffsets(int64_t boot_ns, int64_t wall_ns) {
  DFS_CHECK(boot_ns >= 0);
  boot_offset_ns_ = boot_ns;
  wall_offset_ns_ = wall_ns;
}

void SimNode::Run(const std::function<void()>& function) {
  SimNode* before = std::exchange(scheduler_.current_, this);
  try {
    function();
  } catch (...) {
    scheduler_.current_ = before;
    throw;
  }
  scheduler_.current_ = before;
}

void SimNode::At(int64_t time_ns, Task task) {
  if (up_) {
    scheduler_.Push(time_ns, this, std::move(task));
  } else {
    scheduler_.graveyard_.push_back(std::move(task));
  }
}

SimScheduler::SimScheduler(uint64_t seed) : random_(seed) {}

SimScheduler::~SimScheduler() {
  Clear();
}

void SimScheduler::Clear() {
  // Destroying a task may destroy objects that post: nodes that are down bury those.
  for (auto& node : nodes_) node->Crash();
  while (!heap_.empty() || !graveyard_.empty()) {
    auto heap = std::exchange(heap_, {});
    auto graveyard = std::exchange(graveyard_, {});
    heap.clear();
    graveyard.clear();
  }
}

SimNode& SimScheduler::AddNode(const std::string& name) {
  nodes_.push_back(std::unique_ptr<SimNode>(new SimNode(*this, name)));
  return *nodes_.back();
}

void SimScheduler::After(int64_t delay_ns, Task task) {
  Push(now_ns_ + delay_ns, nullptr, std::move(task));
}

void SimScheduler::Push(int64_t time_ns, SimNode* node, Task task) {
  auto event = std::make_unique<Event>();
  event->time_ns = std::max(time_ns, now_ns_);
  event->node = node;
  event->epoch = node == nullptr ? 0 : node->epoch_;
  event->task = std::move(task);
  Push(std::move(event));
}

void SimScheduler::Push(std::unique_ptr<Event> event) {
  event->sequence = next_sequence_++;
  heap_.push_back(std::move(event));
  std::push_heap(heap_.begin(), heap_.end(), Later());
}

bool SimScheduler::Step() {
  if (heap_.empty()) return false;
  std::pop_heap(heap_.begin(), heap_.end(), Later());
  std::unique_ptr<Event> event = std::move(heap_.back());
  heap_.pop_back();
  DFS_CHECK(event->time_ns >= now_ns_);
  now_ns_ = event->time_ns;
  SimNode* node = event->node;
  if (node == nullptr) {
    ++events_;
    event->task();
  } else if (node->up_ && event->epoch == node->epoch_) {
    if (node->paused_until_ns_ > now_ns_) {
      // In the order they would have run: sequence numbers are handed out anew.
      event->time_ns = node->paused_until_ns_;
      Push(std::move(event));
      return true;
    }
    ++events_;
    node->Run([&] { event->task(); });
    if (after_step_) after_step_(*node);
  }
  event.reset();
  while (!graveyard_.empty()) {
    auto dead = std::exchange(graveyard_, {});
    dead.clear();
  }
  return true;
}

void SimScheduler::RunUntil(int64_t time_ns) {
  while (!heap_.empty() && heap_.front()->time_ns <= time_ns) Step();
  now_ns_ = std::max(now_ns_, time_ns);
}

}  // namespace dfs::sim
