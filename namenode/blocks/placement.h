// Where replicas go. Pure: a snapshot of the datanodes and a seed decide, so a choice can be tested in a
// table and printed by a dry run.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/random.h"
#include "namenode/blocks/block_map.h"

namespace dfs::nn {

enum class NodeState : uint8_t { kLive, kStale, kDead };

/// What placement sees of one datanode. The views point into the registry.
struct PlacementNode {
  NodeIndex node = kNoNode;
  NodeState state = NodeState::kLive;
  std::string_view host_id;
  std::string_view rack;
  uint64_t capacity_bytes = 0;
  uint64_t available_bytes = 0;
  uint32_t load = 0;  // active streams and copies
  bool takes_new = true;  // false: an operator has taken it out of service
};

struct PlacementRequest {
  size_t replicas = 3;  // in all, with those in `existing`
  uint64_t block_bytes = 0;
  std::string_view writer_host;     // "" when none: the first replica is nobody's neighbour
  std::vector<NodeIndex> existing;  // hold a replica already: count for racks, are not chosen again
  std::vector<NodeIndex> exclude;   // must not be chosen
};

/// The targets, in chain order: writer's host, another rack, the same rack as the second, then anywhere;
/// distinct hosts before distinct processes of one host; of two random candidates the one with less load and
/// more space. Fewer than asked only when there are no more nodes that are not dead, not excluded, in service and
/// have any space: a busy, stale or nearly full node is taken before none (protocols 4.5).
std::vector<NodeIndex> ChooseTargets(std::span<const PlacementNode> nodes,
                                     const PlacementRequest& request, Random& random);

/// The same snapshot, for reading: sorts replicas best first for a reader on reader_host (its own host, its rack,
/// then least loaded; those taken out of service later, stale nodes last). The reader's rack is that of any datanode on its host.
void OrderForReading(std::span<const PlacementNode> nodes, std::string_view reader_host,
                     Random& random, std::vector<NodeIndex>* replicas);

}  // namespace dfs::nn
