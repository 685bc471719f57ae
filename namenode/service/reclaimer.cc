#include "namenode/service/reclaimer.h"

#include "common/base/logging.h"

namespace dfs::nn {

namespace {
constexpr uint32_t kStepLimit =
    500;  // names or blocks in one command: well under a millisecond each way
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
  Result<std::vector<Todo>> todo = state_.ListTodo(1);
  if (!todo) {
    LogError("cannot list what is to be reclaimed: {}", todo.error().ToString());
    return;
  }
  if (todo->empty()) return;
  ReclaimCommand command;
  command.inode = (*todo)[0].inode;
  command.limit = kStepLimit;
  command.open = sessions_.AllOpen();
  busy_ = true;
  proposer_(std::move(command), [this, alive = std::weak_ptr<char>(alive_)](Status status) {
    if (alive.expired()) return;
    busy_ = false;
    if (!status.ok()) LogWarning("a step of reclaiming: {}", status.ToString());
    StepAfter(status.ok() ? 0 : kRetryNs);
  });
}

}  // namespace dfs::nn
