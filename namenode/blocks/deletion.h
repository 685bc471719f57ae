// When replicas may be deleted: the delay that lets an operator undo, the brake against mass deletion, and safe
// mode. Pure decisions and a queue without a clock.
#pragma once

#include <cstdint>
#include <deque>
#include <unordered_set>
#include <vector>

#include "common/base/ids.h"

namespace dfs::nn {

/// The delay shrinks as space runs short, so that deletes always free space: full while more than 20% is free,
/// none from 5% down, in proportion between.
int64_t EffectiveDeletionDelay(int64_t delay_ns, uint64_t available_bytes, uint64_t capacity_bytes);

/// Blocks whose delete was committed, in the order in which that became known here.
class DeletionQueue {
 public:
  /// Keeps the first time when it is queued already.
  void Schedule(BlockId block, int64_t now_ns);
  /// Takes up to limit blocks that were queued at or before now - delay.
  std::vector<BlockId> TakeDue(int64_t now_ns, int64_t delay_ns, size_t limit);
  size_t size() const { return queued_.size(); }

 private:
  struct Entry {
    BlockId block;
    int64_t since_ns;
  };
  std::deque<Entry> order_;
  std::unordered_set<BlockId> queued_;
};

/// Deletions and losses that no committed delete explains. Above 5% of all replicas and 1,000 within an hour
/// something is wrong with the cluster or with us: nothing more of the kind until an operator has looked.
class DeletionBrake {
 public:
  static constexpr size_t kFloor = 1000;
  static constexpr size_t kPercent = 5;
  static constexpr int64_t kWindowNs = int64_t{3600} * 1'000'000'000;

  /// Whether `count` more may be deleted; counts them when so. Holds when it would be above both limits.
  bool Allow(size_t count, size_t total_replicas, int64_t now_ns);
  /// A node's report lacks replicas that were known: a loss. Whether that is above both limits; then it holds.
  bool OnLoss(size_t lost, size_t known_before);
  /// Lets go, and counts nothing for an hour.
  void Release(int64_t now_ns);
  bool holds() const { return holds_; }

 private:
  int64_t window_began_ns_ = 0;
  size_t in_window_ = 0;
  bool holds_ = false;
  int64_t released_until_ns_ = 0;
};

/// Whether re-replication and deletion are withheld. Never asked for anything else: the namespace and writes
/// are served from the first moment.
struct SafeModeInput {
  int64_t since_start_ns = 0;  // of this process: how long it has been listening to datanodes
  int64_t dead_after_ns = 0;
  size_t blocks = 0;               // with a record
  size_t blocks_with_replica = 0;  // of those, with a replica reported
  size_t live_nodes = 0;
  size_t live_nodes_reported = 0;  // in full, since they registered
};
bool InSafeMode(const SafeModeInput& input);

}  // namespace dfs::nn
