// A recovery under way at the leader. Internal to BlockManager.
#pragma once

#include <optional>

#include "namenode/blocks/block_recovery.h"
#include "namenode/state/records.h"

namespace dfs::nn {

struct RunningRecovery {
  RunningRecovery(BlockRecovery::Target target, RecoveryOptions options)
      : core(std::move(target), options) {}
  BlockRecovery core;
  uint64_t run = 0;             // tells answers to this attempt from those to an earlier one
  std::vector<Stamp> accepted;  // that replicas may have
  bool was_closed = false;
  int64_t next_log_ns = 0;
  /// Defect::kRecoveryWithoutFence: the members were asked under a stamp that nobody committed.
  std::optional<BlockRecovery::Action> unfenced_close;
};

}  // namespace dfs::nn
