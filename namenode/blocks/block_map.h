// BlockMap: which datanodes hold a replica of a block, as the datanodes reported it. Soft state: rebuilt
// from reports, never in the log. At most 48 bytes a block with up to three replicas; the unlucky blocks
// with more keep the rest in a side table. Thread-compatible; BlockManager confines it to its executor.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <unordered_map>
#include <vector>

#include "common/base/ids.h"

namespace dfs::nn {

/// A datanode's number in this process (DatanodeRegistry hands them out); never stored.
using NodeIndex = uint16_t;
inline constexpr NodeIndex kNoNode = 0x7FFF;

/// docs/blocks.md; the values travel in reports.
enum class ReplicaState : uint8_t {
  kFinalized = 1,
  kRbw = 2,
  kRwr = 3,
  kRur = 4,
  kTemporary = 5,
  /// Ours: finalized at the current stamp, but shorter than what was committed.
  kWrongLength = 6,
};

struct BlockReplica {
  NodeIndex node = kNoNode;
  ReplicaState state = ReplicaState::kFinalized;
  bool corrupt = false;
  Stamp stamp;
  friend bool operator==(const BlockReplica&, const BlockReplica&) = default;
};

class BlockMap {
 public:
  static constexpr size_t kShards = 1024;
  static constexpr size_t kMaxReplicas = 64;

  BlockMap();
  BlockMap(const BlockMap&) = delete;
  BlockMap& operator=(const BlockMap&) = delete;

  /// Adds the node's replica or replaces what was known of it. False when the block has kMaxReplicas.
  bool Set(BlockId block, const BlockReplica& replica);
  /// False when it was not there.
  bool Remove(BlockId block, NodeIndex node);
  bool Find(BlockId block, NodeIndex node, BlockReplica* replica) const;
  /// Appends to out, in no particular order.
  void Get(BlockId block, std::vector<BlockReplica>* out) const;
  bool Contains(BlockId block) const;

  /// A full report of the node begins: what Set does not confirm before FinishReport is gone.
  void BeginReport(NodeIndex node);
  /// Known, and confirmed since the node's last BeginReport.
  bool Confirmed(BlockId block, NodeIndex node) const;
  /// Removes the node's unconfirmed replicas and names them. Returns how many.
  size_t FinishReport(NodeIndex node, const std::function<void(BlockId)>& removed);

  /// Visits one shard's blocks; visitors must not change the map.
  void ForEachInShard(size_t shard, const std::function<void(BlockId)>& visit) const;
  /// Names the blocks of one shard that have a replica on the node.
  void ForEachOfNode(size_t shard, NodeIndex node, const std::function<void(BlockId)>& visit) const;

  size_t blocks() const { return blocks_; }
  size_t replicas() const { return replicas_; }
  size_t replicas_of(NodeIndex node) const { return node < per_node_.size() ? per_node_[node] : 0; }
  size_t memory_bytes() const;

 private:
  static constexpr size_t kInline = 3;
  struct Entry {
    uint64_t block = 0;  // 0: free
    std::array<uint64_t, kInline> words{};
  };
  static_assert(sizeof(Entry) == 32);
  struct Shard {
    std::unique_ptr<Entry[]> entries;
    uint32_t capacity = 0;
    uint32_t used = 0;
  };

  static uint64_t Hash(BlockId block);
  Shard& ShardOf(uint64_t hash) { return shards_[hash >> 54]; }
  const Shard& ShardOf(uint64_t hash) const { return shards_[hash >> 54]; }
  static uint32_t Home(const Shard& shard, uint64_t hash);
  static Entry* Lookup(const Shard& shard, uint64_t hash, BlockId block);
  static Entry* Insert(Shard& shard, uint64_t hash, uint64_t block);
  static void Grow(Shard& shard);
  void Erase(Shard& shard, Entry* entry);
  /// 0: none.
  uint64_t FindWord(BlockId block, NodeIndex node) const;
  void RemoveWord(Shard& shard, Entry* entry, NodeIndex node);
  void Count(NodeIndex node, int change);

  std::array<Shard, kShards> shards_;
  std::unordered_map<uint64_t, std::vector<uint64_t>> overflow_;
  std::vector<uint32_t> per_node_;
  size_t blocks_ = 0;
  size_t replicas_ = 0;
};

}  // namespace dfs::nn
