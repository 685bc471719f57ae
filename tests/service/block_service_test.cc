// Blocks: the handlers, on real namenodes in the simulated world.
#include <gtest/gtest.h>

#include <algorithm>

#include "common/auth/block_token.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/reader.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

TEST(NamenodeBlocks, ABlockIsWrittenReadReopenedAndGuarded) {
  ServiceWorld w(1, 3);
  Client c(w, 1), other(w, 2);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  int64_t inode = file->attr.inode;
  auto opened = c.OpenBlock(inode);
  ASSERT_OK(opened);
  const idl::WritableBlock& b = opened->block;
  ASSERT_EQ(b.members.size(), 3u);
  std::set<int64_t> distinct;
  for (const auto& m : b.members) {
    distinct.insert(m.datanode);
    EXPECT_FALSE(m.tcp_address.empty());
  }
  EXPECT_EQ(distinct.size(), 3u);
  auto token = VerifyToken(b.token, "", w.client.clock().WallNs() / kMillisecond);
  ASSERT_OK(token);
  EXPECT_TRUE(CheckToken(*token, BlockId(static_cast<uint64_t>(b.block)),
                         Stamp(static_cast<uint64_t>(b.stamp)), BlockToken::Mode::kWrite)
                  .ok());
  auto while_open = c.Blocks(inode);
  ASSERT_OK(while_open);
  ASSERT_EQ(while_open->blocks.size(), 1u);
  EXPECT_EQ(while_open->blocks[0].state, 1);
  EXPECT_TRUE(while_open->attr.open_for_write);
  ASSERT_EQ(while_open->blocks[0].replicas.size(), 3u);
  EXPECT_EQ(while_open->blocks[0].replicas[0].datanode, b.members.back().datanode);  // the tail
  auto busy = other.OpenBlock(inode, 0, b.stamp);
  EXPECT_CODE(busy, Code::kBusy);
  EXPECT_GT(busy.error().retry_after_ms(), 0);

  // A member fails: the survivors go on under a new stamp; the old one is void.
  idl::ExcludeMembersRequest exclude;
  exclude.op = w.NextOp(c.session);
  exclude.inode = inode;
  exclude.block = b.block;
  exclude.stamp = b.stamp;
  exclude.survivors = {b.members[0].datanode, b.members[1].datanode};
  auto survivors = w.Call<idl::kExcludeMembers>(exclude);
  ASSERT_OK(survivors);
  EXPECT_GT(survivors->block.stamp, b.stamp);
  EXPECT_EQ(survivors->block.members.size(), 2u);
  EXPECT_CODE(c.Close(inode, b, 1000), Code::kStaleStamp);
  auto closed = c.Close(inode, survivors->block, 1000);
  ASSERT_OK(closed);
  EXPECT_EQ(closed->attr.size, 1000);
  auto located = c.Blocks(inode);
  ASSERT_OK(located);
  EXPECT_EQ(located->blocks[0].replicas.size(), 2u);
  EXPECT_FALSE(located->attr.open_for_write);

  EXPECT_CODE(other.OpenBlock(inode, 0, b.stamp), Code::kStaleStamp);
  auto reopened = other.OpenBlock(inode, 0, survivors->block.stamp);
  ASSERT_OK(reopened);
  EXPECT_EQ(reopened->block.old_stamp, survivors->block.stamp);
  EXPECT_EQ(reopened->block.length, 1000);
  EXPECT_EQ(reopened->block.members.size(), 2u);
}

TEST(NamenodeBlocks, AWriterThatDiesIsFencedAndItsBlockClosed) {
  ServiceWorld w(1, 3);
  Client c(w, 1), other(w, 2);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) {
    dn->replicas[b->block.block] = {b->block.stamp, 700 + (dn->id - 1000) * 100, 2};
  }
  int64_t died = w.scheduler.now_ns();
  Result<idl::OpenBlockReply> taken = Status(Code::kBusy, "");
  ASSERT_TRUE(w.RunUntil(
      [&] {
        (void)other.KeepAlive();
        auto blocks = other.Blocks(file->attr.inode);
        if (!blocks || blocks->blocks[0].state != 2) return false;
        taken = other.OpenBlock(file->attr.inode, 0, blocks->blocks[0].stamp);
        return true;
      },
      40 * kSecond));
  EXPECT_LT(w.scheduler.now_ns() - died, 15 * kSecond);  // expiry is 10 s here
  ASSERT_OK(taken);
  EXPECT_EQ(taken->block.length, 700);  // the shortest that did not restart
  EXPECT_EQ(taken->block.members.size(), 3u);
  EXPECT_EQ(w.nn(0).sessions().expiries(), 1u);
  EXPECT_CODE(c.Close(file->attr.inode, b->block, 900), Code::kUnknownSession);
  EXPECT_CODE(c.KeepAlive(), Code::kUnknownSession);
}

TEST(NamenodeBlocks, ABlockThatItsWriterGivesUpIsClosedAtOnce) {
  ServiceWorld w(1, 3);
  Client c(w, 1), other(w, 2);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) dn->replicas[b->block.block] = {b->block.stamp, 700, 2};
  const int64_t began = w.scheduler.now_ns();
  idl::ReleaseBlocksRequest release;
  release.op = w.NextOp(c.session);
  release.inode = file->attr.inode;
  release.slots = {0};
  release.caller = c.caller;
  ASSERT_OK(w.Call<idl::kReleaseBlocks>(release));
  ASSERT_TRUE(w.RunUntil([&] {
    (void)c.KeepAlive();
    auto blocks = other.Blocks(file->attr.inode);
    return blocks && blocks->blocks[0].state == 2;
  }));
  EXPECT_LT(w.scheduler.now_ns() - began, 3 * kSecond) << "not when the session ends";
  auto blocks = other.Blocks(file->attr.inode);
  EXPECT_EQ(blocks->blocks[0].length, 700);
  EXPECT_EQ(blocks->attr.size, 700);
  EXPECT_CODE(c.Close(file->attr.inode, b->block, 900), Code::kStaleStamp);
  ASSERT_OK(c.KeepAlive());
}

TEST(NamenodeBlocks, CreateBringsTheFirstBlockAndOthersForAnUnreachableOne) {
  ServiceWorld w(3, 6);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  idl::CreateRequest r;
  r.op = w.NextOp(c.session);
  r.ref = At("/f");
  r.mode = 0644;
  r.caller = c.caller;
  r.exclusive = true;
  r.open_for_write = true;
  r.open_first_block = true;
  auto made = w.Call<idl::kCreate>(r);
  ASSERT_OK(made);
  ASSERT_TRUE(made->__isset.first_block);
  const idl::WritableBlock b = made->first_block;
  EXPECT_EQ(b.members.size(), 3u);
  EXPECT_FALSE(b.members[0].tcp_address.empty());
  EXPECT_FALSE(b.token.empty());
  // The retry gets the same, also from a new leader.
  w.Crash(w.Leader());
  auto again = w.Call<idl::kCreate>(r);
  ASSERT_OK(again);
  EXPECT_TRUE(again->created);
  EXPECT_EQ(again->first_block.block, b.block);
  EXPECT_EQ(again->first_block.stamp, b.stamp);

  idl::OpenBlockRequest anew;
  anew.op = w.NextOp(c.session);
  anew.inode = made->attr.inode;
  anew.expected_stamp = b.stamp;
  anew.caller = c.caller;
  anew.nothing_acknowledged = true;
  for (const auto& m : b.members) anew.exclude.push_back(m.datanode);
  auto moved = w.Call<idl::kOpenBlock>(anew);
  ASSERT_OK(moved);
  EXPECT_EQ(moved->block.block, b.block);
  EXPECT_EQ(moved->block.members.size(), 3u);
  for (const auto& m : moved->block.members) {
    for (const auto& old : b.members) EXPECT_NE(m.datanode, old.datanode);
  }
  ASSERT_OK(c.Close(made->attr.inode, moved->block, 10));
}

// Who opens a file for writing waits for what another left open behind its end, so it has to hear of it.
TEST(NamenodeBlocks, AnOpenNamesABlockFarBehindTheEnd) {
  ServiceWorld w(1, 3);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f", "inline");
  ASSERT_OK(file);
  auto opened = c.OpenFile("/f");
  ASSERT_OK(opened);
  EXPECT_TRUE(opened->blocks.empty());
  EXPECT_FALSE(opened->attr.open_for_write);
  ASSERT_OK(c.OpenBlock(file->attr.inode, 40));
  opened = c.OpenFile("/f");
  ASSERT_OK(opened);
  ASSERT_EQ(opened->blocks.size(), 1u);
  EXPECT_EQ(opened->blocks[0].slot, 40);
  EXPECT_TRUE(opened->attr.open_for_write);
}

TEST(NamenodeBlocks, ARemovedTreeIsReclaimedInStepsAndItsReplicasDeleted) {
  ServiceWorld w(1, 3);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  ASSERT_OK(c.Mkdir("/t/a/b", true));
  for (int n = 0; n < 1200; ++n) ASSERT_OK(c.Create("/t/a/f" + std::to_string(n), "x"));
  auto file = c.Create("/t/a/b/big");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) dn->replicas[b->block.block] = {b->block.stamp, 1000, 1};
  ASSERT_OK(c.Close(file->attr.inode, b->block, 1000));
  // Nobody has them open any more.
  ASSERT_OK(c.KeepAlive());
  w.scheduler.RunFor(11 * kSecond);
  Client d(w, 2);
  idl::RemoveTreeRequest remove;
  remove.op = w.NextOp(d.session);
  remove.ref = At("/t");
  auto removed = w.Call<idl::kRemoveTree>(remove);
  ASSERT_OK(removed);
  EXPECT_EQ(removed->removed.files, 1201);
  EXPECT_CODE(d.Stat(At("/t")), Code::kNotFound);
  ASSERT_TRUE(w.RunUntil([&] { return w.nn(0).state().ListTodo(1)->empty(); }));
  EXPECT_EQ(w.nn(0).state().counters().blocks, 0u);
  for (auto& dn : w.datanodes) EXPECT_TRUE(dn->replicas.contains(b->block.block));
  ASSERT_TRUE(w.RunUntil(
      [&] {
        return std::all_of(w.datanodes.begin(), w.datanodes.end(),
                           [](const auto& dn) { return dn->replicas.empty(); });
      },
      40 * kSecond));
}

}  // namespace
}  // namespace dfs::nn
