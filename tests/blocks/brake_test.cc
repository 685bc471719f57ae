// The brakes: a node that comes back empty, and deletions that nothing explains.
#include <gtest/gtest.h>

#include "tests/blocks/block_world.h"

namespace dfs::nn {
namespace {

const DatanodeId A(11), B(12), C(13), D(14);

TEST(Brake, ANodeThatComesBackEmptyIsALossAndNoInstruction) {
  World w;
  w.copy_ns = kMillisecond;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  std::vector<BlockId> all;
  for (int n = 0; n < 1200; ++n) all.push_back(w.Closed("f" + std::to_string(n), {A, B, C}).block);
  w.Run(10 * kSecond);
  w.disks[A].clear();
  w.Join(A);
  const std::string why = w.blocks->stats().deletions_held_why;
  EXPECT_NE(why.find("lost 1200 of its 1200 replicas"), why.npos) << why;
  EXPECT_TRUE(w.blocks->stats().alarm);
  // Its blocks are made again, on it as there is nowhere else; nothing is deleted anywhere.
  for (int n = 0; n < 600 && w.disks[A].size() < all.size(); ++n) w.Run(kSecond);
  EXPECT_EQ(w.disks[A].size(), all.size());
  EXPECT_TRUE(w.deletions.empty());
  // What is too much on the others stays until somebody has looked.
  w.Join(D);
  for (int n = 0; n < 20; ++n) {
    w.disks[D][all[static_cast<size_t>(n)]] = w.disks[A][all[static_cast<size_t>(n)]];
  }
  w.Report(D);
  w.Run(4000 * kSecond);
  EXPECT_TRUE(w.deletions.empty());
  w.In([&] { w.blocks->ReleaseBrake(); });
  EXPECT_EQ(w.blocks->stats().deletions_held_why, "");
  EXPECT_FALSE(w.blocks->stats().alarm);
  w.Run(30 * kSecond);
  EXPECT_EQ(w.deletions.size(), 20u);
  for (BlockId block : all) EXPECT_EQ(w.Readable(block).size(), 3u);
}

TEST(Brake, DeletionsThatNoDeleteExplainsStopAndAsk) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  // One replica too many of each: as after a node was put back into service, or by a bug.
  std::vector<BlockId> all;
  for (int n = 0; n < 2500; ++n) {
    const BlockId block = w.Closed("f" + std::to_string(n), {A, B, C}).block;
    w.disks[D][block] = w.disks[A][block];
    all.push_back(block);
  }
  w.Report(D);
  w.Run(600 * kSecond);
  EXPECT_GT(w.deletions.size(), 0u);
  EXPECT_LE(w.deletions.size(), DeletionBrake::kFloor);
  const std::string why = w.blocks->stats().deletions_held_why;
  EXPECT_NE(why.find("more than 1,000 replicas"), why.npos) << why;
  const size_t before = w.deletions.size();
  w.Run(4000 * kSecond);
  EXPECT_EQ(w.deletions.size(), before) << "time is no answer";
  w.In([&] { w.blocks->ReleaseBrake(); });
  w.Run(600 * kSecond);
  EXPECT_EQ(w.deletions.size(), all.size());
  for (BlockId block : all) EXPECT_EQ(w.Readable(block).size(), 3u);
}

/// By committed deletes; f0 and so on are reclaimed in steps.
void RemoveFiles(World& w, int files) {
  for (int n = 0; n < files; ++n) {
    UnlinkCommand unlink;
    unlink.parent = kRootInode;
    unlink.name = "f" + std::to_string(n);
    w.Must(unlink, w.session);
  }
  const auto todos = w.machine->reader().ListTodo(10'000);
  ASSERT_TRUE(todos.ok());
  for (const Todo& todo : *todos) {
    ReclaimCommand reclaim;
    reclaim.inode = todo.inode;
    reclaim.limit = 100;
    w.Must(reclaim);
  }
}

TEST(Brake, WhatACommittedDeleteExplainsIsNotHeld) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  for (int n = 0; n < 1500; ++n) w.Closed("f" + std::to_string(n), {A, B, C});
  w.Run(10 * kSecond);
  ASSERT_NO_FATAL_FAILURE(RemoveFiles(w, 1500));
  w.Run(300 * kSecond);
  EXPECT_EQ(w.deletions.size(), 4500u);
  EXPECT_EQ(w.blocks->stats().deletions_held_why, "");
  EXPECT_EQ(w.blocks->map().replicas(), 0u);
}

TEST(Brake, ANodeThatReturnsWithDeletedBlocksIsToldToDeleteThem) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  for (int n = 0; n < 1200; ++n) w.Closed("f" + std::to_string(n), {A, B, C});
  w.up.erase(A);
  w.Run(10 * kSecond);
  ASSERT_NO_FATAL_FAILURE(RemoveFiles(w, 1200));
  w.Run(300 * kSecond);
  w.up.insert(A);
  w.Run(300 * kSecond);
  EXPECT_TRUE(w.disks[A].empty());
  EXPECT_EQ(w.blocks->stats().deletions_held_why, "");
}

TEST(Repair, WhatIsLeftAndHowFastItGoes) {
  World w;
  w.copy_ns = kSecond;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  for (int n = 0; n < 40; ++n) w.Closed("f" + std::to_string(n), {A, B, C});
  EXPECT_EQ(w.blocks->stats().repair_bytes_left, 0u);
  w.up.erase(A);
  uint64_t most = 0, rate = 0;
  for (int n = 0; n < 60; ++n) {
    w.Run(kSecond);
    const BlockStats stats = w.blocks->stats();
    most = std::max(most, stats.repair_bytes_left);
    rate = std::max(rate, stats.repair_bytes_per_second);
    EXPECT_EQ(stats.repair_bytes_left, 1000 * stats.under_replicated);
  }
  EXPECT_GT(most, 30'000u);
  EXPECT_GT(rate, 1000u);  // two copies of 1,000 bytes a second at D
  EXPECT_LT(rate, 4000u);
  EXPECT_EQ(w.blocks->stats().repair_bytes_left, 0u);
  w.Run(70 * kSecond);
  EXPECT_EQ(w.blocks->stats().repair_bytes_per_second, 0u);
}

TEST(Repair, CopiesShareTheLimitOfTheirNode) {
  for (const auto& [limit, streams, rate] : std::vector<std::tuple<uint64_t, int, uint64_t>>{
           {0, 2, 0}, {20 << 20, 2, 10 << 20}, {20 << 20, 4, 5 << 20}, {1, 2, 1}}) {
    BlockManagerOptions options = World::Fast();
    options.replication_bytes_per_second_per_node = limit;
    options.replication_streams_per_node = streams;
    World w(options);
    for (DatanodeId id : {A, B, C}) w.Join(id);
    OpenBlockResult b = w.OpenNew("f", {A, B});
    w.Close(b, kBlockSize, {A, B});
    w.Run(2 * kSecond);
    ASSERT_EQ(w.copies.size(), 1u);
    EXPECT_EQ(w.last_limits.bytes_per_second, rate);
    EXPECT_GE(w.last_limits.timeout_ns, 60 * kSecond);
    if (rate > 0) {
      EXPECT_GE(w.last_limits.timeout_ns / kSecond, 2 * static_cast<int64_t>(kBlockSize / rate));
    }
  }
}

}  // namespace
}  // namespace dfs::nn
