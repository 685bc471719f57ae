#include "namenode/service/reclaimer.h"

#include <algorithm>

#include "common/base/logging.h"

namespace dfs::nn {

namespace {
// Names or blocks in one command. Whoever else calls waits behind it on every member, so: a millisecond.
constexpr uint32_t kStepLimit = 100;
// Between steps, in durations of the last one: others get most of the time, and more when it is short.
constexpr int64_t kPauseFactor = 2;
constexpr int64_t kMaxPauseNs = 20 * kMillisecond;
constexpr uint64_t kStepsOnward = 256;
constexpr int64_t kRetryNs = 200 * kMillisecond;
}  // namespace

Reclaimer::Reclaimer(Executor& executor, StateReader& state, SessionManager& sessions,
                     Proposer proposer)
    : executor_(executor), state_(state), sessions_(sessions), proposer_(std::move(proposer)) {}

Reclaimer::~Reclaimer() {
  OnLeadershipLost();
}

void Reclaimer::OnLeading() {
  leading_ = true;
  busy_ = false;
  Kick();
}

void Reclaimer::OnLeadershipLost() {
  leading_ = busy_ = false;
  if (timer_ != 0) executor_.Cancel(timer_);
  timer_ = 0;
}

void Reclaimer::Kick() {
  StepAfter(0);
}

void Reclaimer::StepAfter(int64_t delay_ns) {
  if (!leading_ || busy_ || timer_ != 0) return;
  timer_ = executor_.RunAfter(delay_ns, [this] {
    timer_ = 0;
    Step();
  });
}

void Reclaimer::Step() {
  if (!leading_ || busy_) return;
  // Which files are open is not known until every session has said so; there is no hurry.
  if (sessions_.has_undeclared()) return StepAfter(kRetryNs);
  // Goes on where the last step was: what lies before are mostly tombstones. From the beginning every now and then.
  if (++steps_ % kStepsOnward == 0) last_ = InodeId();
  Result<std::vector<Todo>> todo = state_.ListTodo(1, last_);
  if (todo && todo->empty() && last_.valid()) {
    last_ = InodeId();
    todo = state_.ListTodo(1);
  }
  if (!todo) {
    LogError("cannot list what is to be reclaimed: {}", todo.error().ToString());
    return;
  }
  if (todo->empty()) return;
  ReclaimCommand command;
  command.inode = last_ = (*todo)[0].inode;
  command.limit = kStepLimit;
  command.open = sessions_.AllOpen();
  busy_ = true;
  int64_t began_ns = executor_.clock().BootNs();
  proposer_(std::move(command),
            [this, began_ns, alive = std::weak_ptr<char>(alive_)](Status status) {
              if (alive.expired()) return;
              busy_ = false;
              if (!status.ok()) LogWarning("a step of reclaiming: {}", status.ToString());
              int64_t pause_ns = kPauseFactor * (executor_.clock().BootNs() - began_ns);
              StepAfter(status.ok() ? std::min(pause_ns, kMaxPauseNs) : kRetryNs);
            });
}

}  // namespace dfs::nn
