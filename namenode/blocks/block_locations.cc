// BlockManager: where to read and where to write.
#include <algorithm>

#include "common/base/defects.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/blocks/running_recovery.h"

namespace dfs::nn {

void BlockManager::SetRackTable(RackTable table) {
  racks_ = std::move(table);
  for (const auto& node : registry_.nodes()) ApplyRack(*node);
}

void BlockManager::ApplyRack(Datanode& node) const {
  const std::string_view rack = racks_.Find(node.tcp_address, node.host_id);
  node.rack = rack.empty() ? node.told_rack : std::string(rack);
}

void BlockManager::Locate(BlockId block, const BlockRecord& record, std::string_view client_host,
                          std::vector<const Datanode*>* replicas,
                          std::vector<DatanodeId>* corrupt) {
  replicas->clear();
  if (record.state != BlockState::kClosed) {
    // The tail of the chain first: what it has, all have.
    for (auto it = record.members.rbegin(); it != record.members.rend(); ++it) {
      const Datanode* node = registry_.Find(*it);
      if (node != nullptr && node->state != NodeState::kDead) replicas->push_back(node);
    }
    return;
  }
  std::vector<BlockReplica> known;
  map_.Get(block, &known);
  std::vector<NodeIndex> good, bad;
  for (const BlockReplica& r : known) {
    const Datanode* node = registry_.At(r.node);
    if (node == nullptr || node->state == NodeState::kDead) continue;
    bool current = r.stamp == record.stamp || DefectOn(Defect::kStaleReplicaServed);
    if (!current || r.state != ReplicaState::kFinalized) continue;
    (r.corrupt ? bad : good).push_back(r.node);
    if (r.corrupt && corrupt != nullptr) corrupt->push_back(node->id);
  }
  std::vector<NodeIndex>& order = good.empty() ? bad : good;
  if (order.size() > 1) {
    OrderForReading(registry_.Snapshot(), client_host, random_, &order);
  }
  for (NodeIndex index : order) replicas->push_back(registry_.At(index));
}

Result<std::vector<DatanodeId>> BlockManager::PlaceNewBlock(uint32_t replication,
                                                            uint64_t block_bytes,
                                                            std::string_view client_host,
                                                            std::span<const DatanodeId> exclude) {
  PlacementRequest request;
  request.replicas = replication;
  request.block_bytes = block_bytes;
  request.writer_host = client_host;
  for (DatanodeId id : exclude) {
    if (const Datanode* node = registry_.Find(id)) request.exclude.push_back(node->index);
  }
  std::vector<NodeIndex> chosen = ChooseTargets(registry_.Snapshot(), request, random_);
  if (chosen.empty()) {
    bool none = registry_.live_count() == 0;
    return Status(Code::kUnavailable, none ? "no datanode is alive"
                                           : "no datanode with space that the writer can reach")
        .WithRetryAfter(500);
  }
  std::vector<DatanodeId> out;
  for (NodeIndex index : chosen) out.push_back(registry_.At(index)->id);
  return out;
}

bool BlockManager::CouldHaveMore(BlockId block, const BlockRecord& record) const {
  if (term_ == 0 || SafeMode()) return false;
  std::vector<NodeIndex> have;
  size_t lacking = 0;
  if (record.state == BlockState::kClosed) {
    BlockHealth health = EvaluateClosed(FactsOf(block, record), ViewsOf(block));
    have = std::move(health.good);
    lacking = health.missing_copies;
  } else {
    size_t staying = 0;
    for (DatanodeId id : record.members) {
      const Datanode* node = registry_.Find(id);
      if (node == nullptr || node->state == NodeState::kDead) continue;
      have.push_back(node->index);
      staying += node->admin != NodeAdmin::kDecommission ? 1 : 0;
    }
    lacking = staying < record.replication ? record.replication - staying : 0;
  }
  // None at all is nothing that a copy could help.
  if (have.empty() || lacking == 0) return false;
  if (!queue_.TargetsOf(block).empty()) return true;
  for (const auto& node : registry_.nodes()) {
    if (node->state == NodeState::kLive && node->admin == NodeAdmin::kInService &&
        node->connected && Fenced(*node) && node->available_bytes > record.length &&
        !doomed_.contains({block, node->index}) &&
        std::find(have.begin(), have.end(), node->index) == have.end()) {
      return true;
    }
  }
  return false;
}

Result<std::vector<DatanodeId>> BlockManager::MembersToReopen(BlockId block,
                                                              const BlockRecord& record,
                                                              std::string_view client_host,
                                                              std::span<const DatanodeId> exclude) {
  std::vector<NodeIndex> live, leaving, stale;
  bool awaited = false;
  BlockHealth health = EvaluateClosed(FactsOf(block, record), ViewsOf(block));
  for (NodeIndex index : health.good) {
    const Datanode* node = registry_.At(index);
    if (std::find(exclude.begin(), exclude.end(), node->id) != exclude.end()) continue;
    if (!Fenced(*node)) {
      // It may yet carry out an older order to delete this very replica, which membership would make the block's bytes.
      awaited = awaited || AwaitsFence(*node);
      continue;
    }
    const bool is_live = node->state == NodeState::kLive && node->connected;
    const bool leaves = node->admin == NodeAdmin::kDecommission;
    // Somebody may be about to pull its disks.
    if (leaves && TakenOutOf(*node).settled()) continue;
    (!is_live ? stale : leaves ? leaving : live).push_back(index);
  }
  // Those that leave are members again only when the block has too few replicas without them.
  if (live.size() < record.replication) live.insert(live.end(), leaving.begin(), leaving.end());
  if (awaited) {
    return Status(Code::kUnavailable, "datanodes have yet to acknowledge this leader")
        .WithRetryAfter(50);
  }
  std::vector<NodeIndex>& chosen = live.empty() ? stale : live;
  if (chosen.empty()) {
    if (SafeMode()) {
      return Status(Code::kUnavailable, "datanodes are still reporting").WithRetryAfter(500);
    }
    if (!health.good.empty() || !health.unfinished.empty()) {
      return Status(Code::kUnavailable, "no replica that the writer can reach")
          .WithRetryAfter(1000);
    }
    return Status(Code::kMissingBlock, "no live replica of block " + std::to_string(block.value));
  }
  OrderForReading(registry_.Snapshot(), client_host, random_, &chosen);
  std::vector<DatanodeId> out;
  for (NodeIndex index : chosen) {
    if (out.size() == kMaxReplication) break;
    out.push_back(registry_.At(index)->id);
  }
  return out;
}

}  // namespace dfs::nn
