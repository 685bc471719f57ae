// Datanodes that an operator decommissions, or has away for maintenance.
#include <gtest/gtest.h>

#include "tests/blocks/block_world.h"

namespace dfs::nn {
namespace {

const DatanodeId A(11), B(12), C(13), D(14), E(15);

class TakenOutTest : public ::testing::Test {
 protected:
  void Join(std::vector<DatanodeId> ids) {
    for (DatanodeId id : ids) w_.Join(id);
  }
  std::vector<BlockId> Blocks(int count, std::vector<DatanodeId> members,
                              uint32_t replication = 3) {
    std::vector<BlockId> all;
    for (int n = 0; n < count; ++n) {
      all.push_back(w_.Closed("f" + std::to_string(next_name_++), members, replication).block);
    }
    return all;
  }
  void Set(DatanodeId id, NodeAdmin admin, int64_t for_ns = 0) {
    SetDatanodeCommand command{id, admin, 0};
    if (for_ns > 0) command.until_ns = w_.node.executor().clock().WallNs() + for_ns;
    w_.Must(command);
  }
  BlockManager::TakenOut Progress(DatanodeId id) {
    return w_.blocks->TakenOutOf(*w_.blocks->FindDatanode(id));
  }
  bool SettledWithin(DatanodeId id, int64_t ns) {
    for (int64_t waited = 0; waited < ns; waited += kSecond) {
      if (Progress(id).settled()) return true;
      w_.Run(kSecond);
    }
    return Progress(id).settled();
  }
  /// How many of these nodes have the block on their disks.
  size_t Copies(BlockId block, std::vector<DatanodeId> among) {
    size_t copies = 0;
    for (DatanodeId id : among) copies += w_.disks[id].contains(block) ? 1 : 0;
    return copies;
  }

  World w_;
  int next_name_ = 0;
};

TEST_F(TakenOutTest, WhatIsOnADecommissionedNodeIsCopiedAway) {
  Join({A, B, C, D, E});
  const auto blocks = Blocks(30, {A, B, C});
  Set(A, NodeAdmin::kDecommission);
  size_t most_moving = 0;
  for (int n = 0; n < 60 && !Progress(A).settled(); ++n) {
    w_.Run(500 * kMillisecond);
    const BlockStats stats = w_.blocks->stats();
    most_moving = std::max(most_moving, stats.moving);
    EXPECT_EQ(stats.under_replicated, 0u) << "none has lost anything";
    EXPECT_EQ(stats.missing, 0u);
    for (BlockId block : blocks) EXPECT_GE(w_.Readable(block).size(), 3u);
  }
  EXPECT_TRUE(Progress(A).settled());
  EXPECT_GT(most_moving, 0u);
  EXPECT_LE(w_.most_running, 2);
  for (BlockId block : blocks) EXPECT_EQ(Copies(block, {B, C, D, E}), 3u);
  w_.Run(60 * kSecond);
  EXPECT_TRUE(w_.deletions.empty()) << "what it has it keeps";
  // It takes nothing new, neither blocks nor copies.
  for (int n = 0; n < 50; ++n) {
    auto placed = w_.blocks->PlaceNewBlock(3, kBlockSize, "host-11", {});
    ASSERT_TRUE(placed.ok());
    EXPECT_EQ(std::count(placed->begin(), placed->end(), A), 0);
  }
  for (const auto& copy : w_.copies) EXPECT_NE(copy.to, A);
  // Gone for good, it is missed by nobody.
  w_.copies.clear();
  w_.up.erase(A);
  w_.Run(20 * kSecond);
  EXPECT_TRUE(w_.copies.empty());
  EXPECT_EQ(w_.blocks->stats().under_replicated, 0u);
}

TEST_F(TakenOutTest, WithoutANodeToTakeThemBlocksAreLeft) {
  Join({A, B, C});
  const auto blocks = Blocks(7, {A, B, C});
  Set(A, NodeAdmin::kDecommission);
  w_.Run(10 * kSecond);
  EXPECT_TRUE(Progress(A).counted);
  EXPECT_EQ(Progress(A).blocks_left, 7u);
  EXPECT_EQ(w_.blocks->stats().moving, 7u);
  w_.Join(D);
  EXPECT_TRUE(SettledWithin(A, 30 * kSecond));
  // Put back, it has one too many of each.
  Set(A, NodeAdmin::kInService);
  w_.Run(60 * kSecond);
  EXPECT_EQ(w_.deletions.size(), 7u);
  for (BlockId block : blocks) EXPECT_EQ(Copies(block, {A, B, C, D}), 3u);
  EXPECT_EQ(w_.blocks->stats().moving, 0u);
  auto placed = w_.blocks->PlaceNewBlock(4, kBlockSize, "", {});
  EXPECT_EQ(placed->size(), 4u);
}

TEST_F(TakenOutTest, PutBackInTheMiddleItStopsTheCopying) {
  w_.copy_ns = 2 * kSecond;
  Join({A, B, C, D});
  Blocks(20, {A, B, C});
  Set(A, NodeAdmin::kDecommission);
  w_.Run(3 * kSecond);
  Set(A, NodeAdmin::kInService);
  w_.Run(kSecond);
  const size_t begun = w_.copies.size();
  EXPECT_LT(begun, 20u);
  w_.Run(20 * kSecond);
  EXPECT_EQ(w_.copies.size(), begun);
  EXPECT_EQ(w_.blocks->stats().moving, 0u);
}

TEST_F(TakenOutTest, AnOpenBlockHoldsItUp) {
  Join({A, B, C, D});
  OpenBlockResult open = w_.OpenNew("open", {A, B, C});
  Set(A, NodeAdmin::kDecommission);
  w_.Run(10 * kSecond);
  EXPECT_EQ(Progress(A).blocks_left, 1u);
  EXPECT_TRUE(w_.blocks->CouldHaveMore(open.block, w_.Record(open.block)))
      << "its writer is told to have it moved";
  w_.Close(open, 1000, {A, B, C});
  EXPECT_TRUE(SettledWithin(A, 30 * kSecond));
  EXPECT_EQ(Copies(open.block, {B, C, D}), 3u);
  // Opened again, it stays away from there.
  auto members = w_.blocks->MembersToReopen(open.block, w_.Record(open.block), "", {});
  ASSERT_TRUE(members.ok());
  std::sort(members->begin(), members->end());
  EXPECT_EQ(*members, (std::vector<DatanodeId>{B, C, D}));
}

TEST_F(TakenOutTest, ANewLeaderSaysNothingBeforeEverybodyHasReported) {
  Join({A, B, C, D});
  Blocks(3, {B, C, D});
  Set(A, NodeAdmin::kDecommission);
  EXPECT_TRUE(SettledWithin(A, 10 * kSecond));
  w_.silent.insert(D);
  w_.In([&] {
    w_.blocks->OnLeadershipLost();
    w_.blocks->OnLeading(2);
  });
  w_.Run(10 * kSecond);
  EXPECT_FALSE(Progress(A).settled());
  w_.silent.erase(D);
  w_.In([&] {
    for (auto& done : w_.unanswered) done(Status());
  });
  EXPECT_TRUE(SettledWithin(A, 30 * kSecond));
}

TEST_F(TakenOutTest, ANodeInMaintenanceIsNotMissedUntilItsTime) {
  Join({A, B, C, D});
  const auto blocks = Blocks(10, {A, B, C});
  Set(A, NodeAdmin::kMaintenance, 300 * kSecond);
  EXPECT_TRUE(SettledWithin(A, 10 * kSecond)) << "each has replicas elsewhere";
  auto placed = w_.blocks->PlaceNewBlock(4, kBlockSize, "", {});
  EXPECT_EQ(placed->size(), 3u);
  w_.up.erase(A);
  w_.Run(100 * kSecond);
  EXPECT_TRUE(w_.copies.empty());
  EXPECT_EQ(w_.blocks->stats().under_replicated, 0u);
  for (BlockId block : blocks) EXPECT_EQ(w_.Readable(block), (std::vector<DatanodeId>{B, C}));
  // It comes back in time.
  w_.up.insert(A);
  w_.Run(10 * kSecond);
  for (BlockId block : blocks) EXPECT_EQ(w_.Readable(block).size(), 3u);
  w_.up.erase(A);
  w_.Run(100 * kSecond);
  EXPECT_TRUE(w_.copies.empty());
  // And it does not.
  w_.Run(200 * kSecond);
  EXPECT_EQ(w_.blocks->FindDatanode(A)->admin, NodeAdmin::kInService);
  EXPECT_EQ(w_.copies.size(), 10u);
  for (BlockId block : blocks) EXPECT_EQ(w_.Readable(block), (std::vector<DatanodeId>{B, C, D}));
}

TEST_F(TakenOutTest, OneReplicaMustStayElsewhere) {
  Join({A, B, C, D});
  const auto rare = Blocks(5, {A}, 1);
  const auto all = Blocks(5, {A, B, C});
  Set(A, NodeAdmin::kMaintenance, 3600 * kSecond);
  EXPECT_TRUE(SettledWithin(A, 20 * kSecond));
  for (BlockId block : rare) EXPECT_EQ(Copies(block, {B, C, D}), 1u);
  EXPECT_EQ(w_.copies.size(), 5u) << "and of the others none";
  Set(B, NodeAdmin::kMaintenance, 3600 * kSecond);
  Set(C, NodeAdmin::kMaintenance, 3600 * kSecond);
  w_.Run(20 * kSecond);
  for (BlockId block : all) EXPECT_EQ(Copies(block, {D}), 1u);
  w_.Run(60 * kSecond);
  EXPECT_TRUE(w_.deletions.empty()) << "there is no excess while nodes are to go away";
  for (DatanodeId id : {A, B, C}) Set(id, NodeAdmin::kInService);
  w_.Run(60 * kSecond);
  for (BlockId block : all) EXPECT_EQ(Copies(block, {A, B, C, D}), 3u);
  for (BlockId block : rare) EXPECT_EQ(Copies(block, {A, B, C, D}), 1u);
}

TEST_F(TakenOutTest, ANamenodeThatStartsKnowsWhoIsAway) {
  Join({A, B, C, D});
  Blocks(10, {A, B, C});
  Set(A, NodeAdmin::kMaintenance, 3600 * kSecond);
  w_.up.erase(A);
  w_.Run(kSecond);
  // Another process, which A never spoke to.
  w_.node.Run([&] {
    w_.blocks = std::make_unique<BlockManager>(World::Fast(), w_.node.executor(),
                                               w_.machine->reader(), w_, w_, Random(8));
    w_.blocks->Start();
    w_.blocks->OnLeading(1);
  });
  Join({B, C, D});
  w_.Run(60 * kSecond);
  EXPECT_TRUE(w_.copies.empty());
  Set(A, NodeAdmin::kInService);
  w_.Run(60 * kSecond);
  EXPECT_EQ(w_.copies.size(), 10u);
}

TEST_F(TakenOutTest, ADeadNodeCanBeDecommissioned) {
  Join({A, B, C, D});
  Blocks(5, {A, B, C});
  Set(A, NodeAdmin::kMaintenance, 3600 * kSecond);
  w_.up.erase(A);
  w_.Run(20 * kSecond);
  EXPECT_TRUE(w_.copies.empty());
  Set(A, NodeAdmin::kDecommission);
  w_.Run(20 * kSecond);
  EXPECT_EQ(w_.copies.size(), 5u);
  EXPECT_TRUE(Progress(A).settled());
}

}  // namespace
}  // namespace dfs::nn
