// Reclaimer: drives the bounded steps of recursive deletion at the leader: one ReclaimCommand at a time while the
// state has anything to do. Confined to the namenode's executor.
#pragma once

#include <functional>
#include <memory>

#include "common/base/executor.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::nn {

class Reclaimer {
 public:
  using Proposer = std::function<void(CommandBody, UniqueFunction<void(Status)>)>;

  Reclaimer(Executor& executor, StateReader& state, SessionManager& sessions, Proposer proposer);
  ~Reclaimer();

  void OnLeading();
  void OnLeadershipLost();
  /// There is something to do.
  void Kick();

 private:
  void Step();
  void StepAfter(int64_t delay_ns);

  Executor& executor_;
  StateReader& state_;
  SessionManager& sessions_;
  Proposer proposer_;
  Executor::TimerId timer_ = 0;
  InodeId last_;  // of the last step
  uint64_t steps_ = 0;
  bool leading_ = false;
  bool busy_ = false;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
