// Join: one answer for several parts of a task.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "common/base/executor.h"
#include "common/base/status.h"

namespace dfs::client {

/// Calls done once, with the first error, when every part has called back.
class Join {
 public:
  explicit Join(StatusDone done) : state_(std::make_shared<State>()) {
    state_->done = std::move(done);
  }
  StatusDone Part() {
    ++state_->left;
    return [state = state_](Status status) { Finish(*state, status); };
  }
  /// After the last Part().
  void Start() { Finish(*state_, Status()); }

 private:
  struct State {
    size_t left = 1;
    Status first_error;
    StatusDone done;
  };
  static void Finish(State& state, const Status& status) {
    if (state.first_error.ok()) state.first_error = status;
    if (--state.left == 0) state.done(state.first_error);
  }
  std::shared_ptr<State> state_;
};

}  // namespace dfs::client
