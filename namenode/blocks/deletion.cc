#include "namenode/blocks/deletion.h"

#include <algorithm>

namespace dfs::nn {

int64_t EffectiveDeletionDelay(int64_t delay_ns, uint64_t available_bytes,
                               uint64_t capacity_bytes) {
  if (capacity_bytes == 0) return delay_ns;
  double free = static_cast<double>(available_bytes) / static_cast<double>(capacity_bytes);
  double part = std::clamp((free - 0.05) / 0.15, 0.0, 1.0);
  return static_cast<int64_t>(static_cast<double>(delay_ns) * part);
}

void DeletionQueue::Schedule(BlockId block, int64_t now_ns) {
  if (queued_.insert(block).second) order_.push_back({block, now_ns});
}

std::vector<BlockId> DeletionQueue::TakeDue(int64_t now_ns, int64_t delay_ns, size_t limit) {
  std::vector<BlockId> out;
  while (!order_.empty() && out.size() < limit && now_ns - order_.front().since_ns >= delay_ns) {
    out.push_back(order_.front().block);
    queued_.erase(order_.front().block);
    order_.pop_front();
  }
  return out;
}

bool DeletionBrake::Allow(size_t count, size_t total_replicas, int64_t now_ns) {
  if (holds_) return false;
  if (now_ns < released_until_ns_) return true;
  if (now_ns - window_began_ns_ >= kWindowNs) {
    window_began_ns_ = now_ns;
    in_window_ = 0;
  }
  size_t after = in_window_ + count;
  if (after > kFloor && after * 100 > total_replicas * kPercent) {
    holds_ = true;
    return false;
  }
  in_window_ = after;
  return true;
}

bool DeletionBrake::OnLoss(size_t lost, size_t known_before) {
  if (lost <= kFloor || lost * 100 <= known_before * kPercent) return false;
  holds_ = true;
  released_until_ns_ = 0;
  return true;
}

void DeletionBrake::Release(int64_t now_ns) {
  holds_ = false;
  in_window_ = 0;
  released_until_ns_ = now_ns + kWindowNs;
}

bool InSafeMode(const SafeModeInput& in) {
  if (in.blocks == 0) return false;
  // Somebody is in the middle of telling what it has.
  if (in.live_nodes == 0 || in.live_nodes_reported < in.live_nodes) return true;
  // A datanode that has not come back within the time after which it would be dead is dead.
  if (in.since_start_ns >= in.dead_after_ns) {
    // Hardly anything was found at all: more likely the machines are still off than their disks gone.
    return in.blocks_with_replica * 2 < in.blocks && in.since_start_ns < 10 * in.dead_after_ns;
  }
  return true;
}

}  // namespace dfs::nn
