// Puts nn::StateMachine behind the driver's Applier.
#pragma once

#include <string>

#include "common/base/logging.h"
#include "namenode/replication/applier.h"
#include "namenode/state/state_machine.h"

namespace dfs::nn {

class StateMachineApplier final : public Applier {
 public:
  /// The machine is loaded and outlives the applier.
  explicit StateMachineApplier(StateMachine& machine) : machine_(machine) {}

  LogPosition applied() const override {
    return {machine_.applied_index(), machine_.applied_term()};
  }
  LogPosition flushed() const override {
    auto mark = machine_.store().FlushedMark();
    if (!mark) {
      LogWarning("reading the flushed mark: {}", mark.error().ToString());
      return {};
    }
    return {mark->index, mark->term};
  }
  Status Apply(LogIndex index, Term term, std::string_view command,
               Result<std::string>* reply) override {
    Result<std::string> applied = machine_.Apply(index, term, command);
    if (!applied) return applied.error();
    *reply = std::move(*applied);
    return Status();
  }
  Status Skip(LogIndex index, Term term) override {
    return machine_.Apply(index, term, {}).status();
  }
  Status Commit() override { return machine_.Commit(); }
  Status StartFlush() override { return machine_.store().StartFlush(); }
  Result<LogPosition> CreateCheckpoint(const std::string& directory) override {
    auto info = machine_.store().CreateCheckpoint(directory);
    if (!info) return info.error();
    return LogPosition{info->applied.index, info->applied.term};
  }
  Status InstallCheckpoint(const std::string& directory) override {
    return machine_.InstallFrom(directory);
  }

 private:
  StateMachine& machine_;
};

}  // namespace dfs::nn
