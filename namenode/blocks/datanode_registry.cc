#include "namenode/blocks/datanode_registry.h"

namespace dfs::nn {

Datanode* DatanodeRegistry::Register(DatanodeId id, int64_t now_ns) {
  Datanode* node = Find(id);
  if (node == nullptr) {
    if (nodes_.size() >= kNoNode) return nullptr;
    nodes_.push_back(std::make_unique<Datanode>());
    node = nodes_.back().get();
    node->id = id;
    node->index = static_cast<NodeIndex>(nodes_.size() - 1);
    by_id_[id] = node->index;
  }
  node->state = NodeState::kLive;
  node->last_heartbeat_ns = now_ns;
  node->reported = false;
  node->reported_term = 0;
  node->need_report = true;
  node->report_id = 0;
  return node;
}

Datanode* DatanodeRegistry::Heartbeat(DatanodeId id, int64_t now_ns) {
  Datanode* node = Find(id);
  if (node == nullptr) return nullptr;
  // A dead node has been forgotten where it counted: it begins again with a registration.
  if (node->state == NodeState::kDead) return nullptr;
  node->state = NodeState::kLive;
  node->last_heartbeat_ns = now_ns;
  return node;
}

void DatanodeRegistry::SetVolumes(Datanode& node, std::vector<DatanodeVolume> volumes) {
  node.volumes = std::move(volumes);
  node.capacity_bytes = node.available_bytes = node.used_bytes = 0;
  node.failed_volumes = 0;
  for (const DatanodeVolume& v : node.volumes) {
    if (v.failed) {
      ++node.failed_volumes;
      continue;
    }
    node.capacity_bytes += v.capacity_bytes;
    node.available_bytes += v.available_bytes;
    node.used_bytes += v.used_bytes;
  }
}

DatanodeRegistry::Changes DatanodeRegistry::Tick(int64_t now_ns) {
  Changes changes;
  for (auto& node : nodes_) {
    if (node->state == NodeState::kDead) continue;
    int64_t silent_ns = now_ns - node->last_heartbeat_ns;
    if (silent_ns >= timeouts_.dead_after_ns) {
      node->state = NodeState::kDead;
      node->report_id = 0;
      changes.died.push_back(node->index);
    } else if (silent_ns >= timeouts_.stale_after_ns) {
      node->state = NodeState::kStale;
    }
  }
  return changes;
}

Datanode* DatanodeRegistry::Find(DatanodeId id) {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : nodes_[it->second].get();
}

const Datanode* DatanodeRegistry::Find(DatanodeId id) const {
  auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : nodes_[it->second].get();
}

size_t DatanodeRegistry::live_count() const {
  size_t live = 0;
  for (const auto& node : nodes_) live += node->state != NodeState::kDead ? 1 : 0;
  return live;
}

size_t DatanodeRegistry::in_service_count() const {
  size_t count = 0;
  for (const auto& node : nodes_) {
    count += node->state != NodeState::kDead && node->admin == NodeAdmin::kInService ? 1 : 0;
  }
  return count;
}

std::vector<PlacementNode> DatanodeRegistry::Snapshot() const {
  std::vector<PlacementNode> out;
  out.reserve(nodes_.size());
  for (const auto& n : nodes_) {
    PlacementNode p;
    p.node = n->index;
    // Without a connection it is as good as stale already: its process may have died a moment ago.
    p.state = n->connected || n->state == NodeState::kDead ? n->state : NodeState::kStale;
    p.host_id = n->host_id;
    p.rack = n->rack;
    p.capacity_bytes = n->capacity_bytes;
    p.available_bytes = n->available_bytes;
    p.load = static_cast<uint32_t>(n->active_streams + n->copies_in + n->copies_out);
    p.takes_new = n->admin == NodeAdmin::kInService;
    out.push_back(p);
  }
  return out;
}

}  // namespace dfs::nn
