// BlockManager: datanodes that an operator has taken out of service.
#include <algorithm>

#include "common/base/logging.h"
#include "namenode/blocks/block_manager.h"

namespace dfs::nn {

namespace {
constexpr int64_t kScanAgainNs = 1 * kSecond;
constexpr int64_t kScanSettledNs = 3 * kSecond;

const char* Describe(NodeAdmin admin) {
  switch (admin) {
    case NodeAdmin::kInService:
      return "in service";
    case NodeAdmin::kDecommission:
      return "being decommissioned";
    case NodeAdmin::kMaintenance:
      return "in maintenance";
  }
  return "?";
}
}  // namespace

void BlockManager::LoadDatanodes() {
  taken_out_.clear();
  auto records = state_.ListDatanodes();
  if (!records) {
    LogError("cannot list the datanodes out of service: {}", records.error().ToString());
    return;
  }
  taken_out_.insert(records->begin(), records->end());
  for (const auto& node : registry_.nodes()) ApplyAdmin(*node);
}

void BlockManager::OnDatanodeChanged(DatanodeId datanode, const DatanodeRecord& record) {
  if (record.admin == NodeAdmin::kInService) {
    taken_out_.erase(datanode);
  } else {
    taken_out_[datanode] = record;
  }
  if (Datanode* node = registry_.Find(datanode)) ApplyAdmin(*node);
}

void BlockManager::ApplyAdmin(Datanode& node) {
  DatanodeRecord now;
  auto it = taken_out_.find(node.id);
  if (it != taken_out_.end()) now = it->second;
  const bool over = now.admin == NodeAdmin::kMaintenance &&
                    executor_.clock().WallNs() >= now.until_ns;
  if (over) now = DatanodeRecord();
  node.admin_until_ns = now.until_ns;
  if (now.admin == node.admin) return;
  LogInfo("datanode {:016x} at {} is {}{}", node.id.value, node.tcp_address, Describe(now.admin),
          over ? ": its maintenance is over" : "");
  node.admin = now.admin;
  if (node.state == NodeState::kDead) {
    if (now.admin == NodeAdmin::kMaintenance) {
      purges_.erase(node.index);
    } else {
      purges_[node.index] = 0;
    }
  }
  if (term_ != 0) node_scans_[node.index] = {};
}

/// In maintenance, and this process has not heard of it: what it has of closed blocks the records say, but for copies
/// that were made since.
bool BlockManager::AwayForMaintenance(DatanodeId datanode) const {
  auto it = taken_out_.find(datanode);
  return it != taken_out_.end() && it->second.admin == NodeAdmin::kMaintenance &&
         executor_.clock().WallNs() < it->second.until_ns && registry_.Find(datanode) == nullptr;
}

void BlockManager::TickAdmin() {
  for (const auto& node : registry_.nodes()) {
    if (node->admin == NodeAdmin::kMaintenance) ApplyAdmin(*node);
  }
}

/// Whoever has not may be about to carry out an earlier leader's order to delete.
bool BlockManager::EverybodyHasReported() const {
  return std::all_of(registry_.nodes().begin(), registry_.nodes().end(), [this](const auto& node) {
    return node->state == NodeState::kDead || node->reported_term == term_;
  });
}

/// Also queues what has to be done about the block.
bool BlockManager::DependsOn(BlockId block, NodeIndex node) {
  Result<BlockRecord> record = state_.GetBlock(block);
  if (!record) return false;
  CheckRecord(block, *record);
  if (record->state != BlockState::kClosed) return false;  // its members count, see below
  const BlockHealth health = EvaluateClosed(FactsOf(block, *record), ViewsOf(block));
  return health.missing_copies > 0 &&
         std::find(health.good.begin(), health.good.end(), node) != health.good.end();
}

void BlockManager::ScanTakenOut() {
  if (node_scans_.empty() || SafeMode()) return;
  size_t budget = options_.scan_per_tick;
  for (auto it = node_scans_.begin(); it != node_scans_.end() && budget > 0;) {
    const NodeIndex index = it->first;
    NodeScan& scan = it->second;
    const Datanode& node = *registry_.At(index);
    if (Now() < scan.next_ns || (!node.reported && node.state != NodeState::kDead)) {
      ++it;
      continue;
    }
    if (scan.shard == 0) {
      scan.found = 0;
      scan.trusted = EverybodyHasReported();
    }
    for (; budget > 0 && scan.shard < BlockMap::kShards; ++scan.shard) {
      std::vector<BlockId> blocks;
      map_.ForEachOfNode(scan.shard, index, [&](BlockId block) { blocks.push_back(block); });
      for (BlockId block : blocks) scan.found += DependsOn(block, index) ? 1 : 0;
      budget -= std::min(budget, blocks.size() + 1);
    }
    if (scan.shard < BlockMap::kShards) return;
    for (const auto& [block, members] : open_) {
      scan.found += std::find(members.begin(), members.end(), node.id) != members.end() ? 1 : 0;
    }
    if (node.admin == NodeAdmin::kInService) {
      it = node_scans_.erase(it);
      continue;
    }
    const bool was_settled = scan.result.settled();
    scan.result = {scan.trusted, scan.found};
    if (scan.result.settled() && !was_settled) {
      LogInfo("datanode {:016x} at {} is {}, and no block depends on it", node.id.value,
              node.tcp_address, Describe(node.admin));
    }
    scan.shard = 0;
    scan.next_ns = Now() + (scan.result.settled() ? kScanSettledNs : kScanAgainNs);
    ++it;
  }
}

BlockManager::TakenOut BlockManager::TakenOutOf(const Datanode& node) const {
  auto it = node_scans_.find(node.index);
  return it == node_scans_.end() ? TakenOut() : it->second.result;
}

}  // namespace dfs::nn
