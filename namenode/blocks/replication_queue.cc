#include "namenode/blocks/replication_queue.h"

#include <algorithm>

namespace dfs::nn {

std::optional<CopyPlan> PlanCopy(const BlockFacts& facts, std::span<const ReplicaView> replicas,
                                 std::span<const NodeIndex> targets_under_way,
                                 std::span<const PlacementNode> nodes,
                                 std::span<const CopyLoad> loads, int streams_per_node,
                                 Random& random) {
  auto copies = [&](NodeIndex node) {
    for (const CopyLoad& l : loads) {
      if (l.node == node) return l.copies;
    }
    return 0;
  };
  BlockHealth health = EvaluateClosed(facts, replicas);
  if (health.live == 0 || targets_under_way.size() >= health.missing_copies) return {};

  CopyPlan plan;
  int best = streams_per_node;
  for (const ReplicaView& v : replicas) {
    bool good =
        std::find(health.good.begin(), health.good.end(), v.replica.node) != health.good.end();
    if (!good) continue;
    // A stale node may be gone: only when there is no better one.
    int cost = copies(v.replica.node) + (v.node == NodeState::kStale ? streams_per_node : 0);
    if (copies(v.replica.node) >= streams_per_node) continue;
    if (plan.source == kNoNode || cost < best) {
      best = cost;
      plan.source = v.replica.node;
    }
  }
  if (plan.source == kNoNode) return {};

  PlacementRequest request;
  request.block_bytes = facts.length;
  for (NodeIndex n : targets_under_way) request.existing.push_back(n);
  for (const ReplicaView& v : replicas) {
    // What leaves has no say in where the others stand.
    const bool good =
        std::find(health.good.begin(), health.good.end(), v.replica.node) != health.good.end();
    if (good && v.admin != NodeAdmin::kDecommission) {
      request.existing.push_back(v.replica.node);
      continue;
    }
    // A node with an outdated or unfinished replica may take the copy, which replaces it when it is complete.
    bool gives_way =
        v.replica.state != ReplicaState::kTemporary &&
        (v.replica.stamp < facts.stamp || (v.replica.stamp == facts.stamp && !v.replica.corrupt &&
                                           v.replica.state != ReplicaState::kFinalized &&
                                           v.replica.state != ReplicaState::kWrongLength));
    if (!gives_way) request.exclude.push_back(v.replica.node);
  }
  for (const CopyLoad& l : loads) {
    if (l.copies >= streams_per_node) request.exclude.push_back(l.node);
  }
  request.replicas = request.existing.size() + 1;
  std::vector<PlacementNode> candidates;
  for (const PlacementNode& n : nodes) {
    bool holds = std::find(request.existing.begin(), request.existing.end(), n.node) !=
                 request.existing.end();
    // A stale node is no target: it may be about to be dead, and another copy can wait for it to speak.
    const bool can_take =
        n.state == NodeState::kLive && n.takes_new && n.available_bytes > facts.length;
    if (holds || can_take) {
      candidates.push_back(n);
    }
  }
  std::vector<NodeIndex> chosen = ChooseTargets(candidates, request, random);
  if (chosen.empty()) return {};
  plan.target = chosen[0];
  return plan;
}

void ReplicationQueue::Want(BlockId block, const Need& need) {
  Need now = need;
  now.live = std::min(need.live, kLevels - 1);
  auto [it, added] = wanted_.try_emplace(block, now);
  if (!added) {
    Need& before = it->second;
    Count(before, false);
    if (before.live != now.live) levels_[before.live].erase(block);
    before = now;
  }
  Count(now, true);
  levels_[now.live].emplace(block, 0);
}

void ReplicationQueue::Count(const Need& need, bool add) {
  const uint64_t bytes = need.live > 0 ? need.bytes : 0;
  bytes_left_ = add ? bytes_left_ + bytes : bytes_left_ - bytes;
  if (need.moving) moving_ = add ? moving_ + 1 : moving_ - 1;
}

void ReplicationQueue::Drop(BlockId block) {
  auto it = wanted_.find(block);
  if (it == wanted_.end()) return;
  levels_[it->second.live].erase(block);
  Count(it->second, false);
  wanted_.erase(it);
}

std::vector<BlockId> ReplicationQueue::Next(size_t limit) {
  std::vector<BlockId> out;
  for (size_t level = 1; level < kLevels && out.size() < limit; ++level) {
    const auto& blocks = levels_[level];
    if (blocks.empty()) continue;
    auto it = blocks.upper_bound(cursor_[level]);
    for (size_t n = 0; n < blocks.size() && out.size() < limit; ++n, ++it) {
      if (it == blocks.end()) it = blocks.begin();
      out.push_back(it->first);
      cursor_[level] = it->first;
    }
  }
  return out;
}

void ReplicationQueue::Started(const Copy& copy) {
  running_[copy.block].push_back(copy);
  ++copies_;
}

bool ReplicationQueue::Finished(BlockId block, NodeIndex target) {
  auto it = running_.find(block);
  if (it == running_.end()) return false;
  size_t removed = std::erase_if(it->second, [&](const Copy& c) { return c.target == target; });
  copies_ -= removed;
  if (it->second.empty()) running_.erase(it);
  return removed > 0;
}

std::vector<ReplicationQueue::Copy> ReplicationQueue::Expire(int64_t now_ns) {
  std::vector<Copy> out;
  for (auto& [block, copies] : running_) {
    for (const Copy& c : copies) {
      if (c.deadline_ns <= now_ns) out.push_back(c);
    }
  }
  std::sort(out.begin(), out.end(), [](const Copy& a, const Copy& b) {
    return a.block != b.block ? a.block < b.block : a.target < b.target;
  });
  for (const Copy& c : out) Finished(c.block, c.target);
  return out;
}

std::vector<ReplicationQueue::Copy> ReplicationQueue::CancelNode(NodeIndex node) {
  std::vector<Copy> out;
  for (auto& [block, copies] : running_) {
    for (const Copy& c : copies) {
      if (c.source == node || c.target == node) out.push_back(c);
    }
  }
  std::sort(out.begin(), out.end(), [](const Copy& a, const Copy& b) {
    return a.block != b.block ? a.block < b.block : a.target < b.target;
  });
  for (const Copy& c : out) Finished(c.block, c.target);
  return out;
}

std::vector<NodeIndex> ReplicationQueue::TargetsOf(BlockId block) const {
  std::vector<NodeIndex> out;
  if (auto it = running_.find(block); it != running_.end()) {
    for (const Copy& c : it->second) out.push_back(c.target);
  }
  return out;
}

void ReplicationQueue::Clear() {
  wanted_.clear();
  moving_ = 0;
  bytes_left_ = 0;
  for (auto& level : levels_) level.clear();
  running_.clear();
  copies_ = 0;
}

}  // namespace dfs::nn
