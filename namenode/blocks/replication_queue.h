// What has to be copied, in which order, and by whom. Decisions are pure; the queue is confined to its executor.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/base/random.h"
#include "namenode/blocks/block_health.h"
#include "namenode/blocks/placement.h"

namespace dfs::nn {

/// One copy from a datanode that has a good replica to one that has none.
struct CopyPlan {
  NodeIndex source = kNoNode;
  NodeIndex target = kNoNode;
};

/// Copies under way at a node, both ways together.
struct CopyLoad {
  NodeIndex node = kNoNode;
  int copies = 0;
};

/// The next copy for a closed block, none when every node that could give or take one has streams_per_node copies
/// under way, or there is no node left. targets_under_way: of copies of this block that run.
std::optional<CopyPlan> PlanCopy(const BlockFacts& facts, std::span<const ReplicaView> replicas,
                                 std::span<const NodeIndex> targets_under_way,
                                 std::span<const PlacementNode> nodes,
                                 std::span<const CopyLoad> loads, int streams_per_node,
                                 Random& random);

class ReplicationQueue {
 public:
  struct Copy {
    BlockId block;
    NodeIndex source = kNoNode;
    NodeIndex target = kNoNode;
    int64_t deadline_ns = 0;
  };
  /// Live copies from which on blocks are treated alike.
  static constexpr size_t kLevels = 4;

  struct Need {
    size_t live = 0;      // good replicas: fewest first. 0: it waits for one to turn up and is not handed out
    bool moving = false;  // it has as many as it is to have, but some of them leave
    uint64_t bytes = 0;   // of the copies that are to be made
  };
  /// The block lacks copies.
  void Want(BlockId block, const Need& need);
  void Want(BlockId block, size_t live) { Want(block, {live, false, 0}); }
  /// It has its replicas again, or is gone.
  void Drop(BlockId block);
  /// Up to `limit` blocks to look at now, fewest live copies first, round robin among equals.
  std::vector<BlockId> Next(size_t limit);

  void Started(const Copy& copy);
  /// False when it was not (or is no longer) under way.
  bool Finished(BlockId block, NodeIndex target);
  /// Forgets and returns the copies whose time is over.
  std::vector<Copy> Expire(int64_t now_ns);
  /// Forgets and returns the copies that involve a node which died.
  std::vector<Copy> CancelNode(NodeIndex node);
  std::vector<NodeIndex> TargetsOf(BlockId block) const;

  bool Wants(BlockId block) const { return wanted_.contains(block); }
  size_t waiting() const { return wanted_.size(); }
  size_t under_way() const { return copies_; }
  /// Wanted with no live copy at all.
  size_t missing() const { return levels_[0].size(); }
  size_t moving() const { return moving_; }
  /// Of what can be copied.
  uint64_t bytes_left() const { return bytes_left_; }
  void Clear();

 private:
  void Count(const Need& need, bool add);

  std::unordered_map<BlockId, Need> wanted_;
  std::map<BlockId, char> levels_[kLevels];
  BlockId cursor_[kLevels];
  std::unordered_map<BlockId, std::vector<Copy>> running_;
  size_t copies_ = 0;
  size_t moving_ = 0;
  uint64_t bytes_left_ = 0;
};

}  // namespace dfs::nn
