// BlockMap against a model, its memory bound, reports.
#include "namenode/blocks/block_map.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "common/base/random.h"

namespace dfs::nn {
namespace {

using Model = std::map<uint64_t, std::map<NodeIndex, BlockReplica>>;

void ExpectEqual(const BlockMap& map, const Model& model) {
  size_t replicas = 0;
  for (const auto& [block, nodes] : model) {
    std::vector<BlockReplica> got;
    map.Get(BlockId(block), &got);
    ASSERT_EQ(got.size(), nodes.size()) << "block " << block;
    for (const BlockReplica& r : got) {
      ASSERT_TRUE(nodes.contains(r.node));
      ASSERT_EQ(r, nodes.at(r.node));
    }
    replicas += nodes.size();
  }
  ASSERT_EQ(map.blocks(), model.size());
  ASSERT_EQ(map.replicas(), replicas);
}

TEST(BlockMap, AgreesWithAModel) {
  for (uint64_t seed = 1; seed <= 5; ++seed) {
    Random random(seed);
    BlockMap map;
    Model model;
    for (int step = 0; step < 40'000; ++step) {
      BlockId block(kFirstBlockCounter + random.Uniform(3000));
      BlockReplica r;
      r.node = static_cast<NodeIndex>(random.Uniform(8));
      r.state = static_cast<ReplicaState>(1 + random.Uniform(6));
      r.corrupt = random.OneIn(10);
      r.stamp = Stamp(random.Uniform(uint64_t{1} << 44));
      if (random.Chance(3, 5)) {
        ASSERT_TRUE(map.Set(block, r));
        model[block.value][r.node] = r;
      } else {
        bool had = model.contains(block.value) && model[block.value].erase(r.node) > 0;
        if (model.contains(block.value) && model[block.value].empty()) model.erase(block.value);
        ASSERT_EQ(map.Remove(block, r.node), had);
      }
      if (step % 10'000 == 9'999) ExpectEqual(map, model);
    }
    ExpectEqual(map, model);
    // By node: the shards together name exactly the node's blocks.
    for (NodeIndex node = 0; node < 8; ++node) {
      size_t named = 0;
      for (size_t shard = 0; shard < BlockMap::kShards; ++shard) {
        map.ForEachOfNode(shard, node, [&](BlockId block) {
          ++named;
          EXPECT_TRUE(model.at(block.value).contains(node));
        });
      }
      EXPECT_EQ(named, map.replicas_of(node));
    }
  }
}

TEST(BlockMap, AtMost48BytesABlockWithThreeReplicas) {
  BlockMap map;
  size_t blocks = 0;
  for (size_t target : {200'000, 270'000, 340'000, 500'000}) {
    for (; blocks < target; ++blocks) {
      for (NodeIndex node = 0; node < 3; ++node) {
        BlockReplica r;
        r.node = static_cast<NodeIndex>((blocks + node) % 50);
        r.stamp = Stamp(blocks);
        map.Set(BlockId(kFirstBlockCounter + blocks), r);
      }
    }
    EXPECT_LE(static_cast<double>(map.memory_bytes()) / static_cast<double>(blocks), 48.0)
        << blocks;
  }
}

TEST(BlockMap, BlocksWithManyReplicasAreBounded) {
  BlockMap map;
  BlockReplica r;
  r.stamp = Stamp(7);
  BlockId block(kFirstBlockCounter);
  for (size_t n = 0; n < BlockMap::kMaxReplicas; ++n) {
    r.node = static_cast<NodeIndex>(n);
    EXPECT_TRUE(map.Set(block, r));
  }
  r.node = 1000;
  EXPECT_FALSE(map.Set(block, r));
  EXPECT_EQ(map.replicas(), BlockMap::kMaxReplicas);
  for (size_t n = 0; n < BlockMap::kMaxReplicas; ++n) {
    EXPECT_TRUE(map.Remove(block, static_cast<NodeIndex>(n)));
  }
  EXPECT_FALSE(map.Contains(block));
  EXPECT_EQ(map.replicas(), 0u);
}

TEST(BlockMap, AFullReportForgetsWhatItDoesNotName) {
  BlockMap map;
  auto set = [&](uint64_t n, NodeIndex node) {
    BlockReplica r;
    r.node = node;
    r.stamp = Stamp(1);
    map.Set(BlockId(kFirstBlockCounter + n), r);
  };
  for (uint64_t n = 0; n < 100; ++n) {
    for (NodeIndex node = 0; node < 5; ++node) set(n, node);  // two of them in the overflow
  }
  map.BeginReport(4);
  for (uint64_t n = 0; n < 100; n += 2) set(n, 4);
  set(200, 4);
  std::vector<uint64_t> gone;
  EXPECT_EQ(map.FinishReport(4, [&](BlockId b) { gone.push_back(b.value - kFirstBlockCounter); }),
            50u);
  std::sort(gone.begin(), gone.end());
  for (size_t i = 0; i < gone.size(); ++i) EXPECT_EQ(gone[i], 2 * i + 1);
  EXPECT_EQ(map.replicas_of(4), 51u);
  EXPECT_EQ(map.replicas_of(0), 100u);
}

}  // namespace
}  // namespace dfs::nn
