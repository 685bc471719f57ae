// BlockManager on a real state machine, with datanodes that are played by the test.
#include "namenode/blocks/block_manager.h"

#include <gtest/gtest.h>

#include "common/base/defects.h"
#include "tests/blocks/block_world.h"

namespace dfs::nn {
namespace {

const DatanodeId A(11), B(12), C(13), D(14), E(15);

TEST(BlockManager, AClosedBlockIsReadableAtOnceWhereItsCloseSays) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  OpenBlockResult b = w.OpenNew("f", {A, B, C});
  // Open: the members, tail first.
  std::vector<const Datanode*> nodes;
  w.blocks->Locate(b.block, w.Record(b.block), "", &nodes, nullptr);
  ASSERT_EQ(nodes.size(), 3u);
  EXPECT_EQ(nodes[0]->id, C);
  w.Close(b, 1000, {A, C});
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, C}));
}

TEST(BlockManager, OnlyTheCurrentStampIsReadAndReopened) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  OpenBlockCommand open;
  open.inode = w.inode;
  open.expected_stamp = b.stamp;
  open.members = {A, B};
  OpenBlockResult again = *DecodeResult<OpenBlockResult>(w.Must(open, w.session));
  w.Close(again, 1000, {A, B});
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B}));
  auto members = w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {});
  ASSERT_TRUE(members.ok());
  EXPECT_EQ(members->size(), 2u);
  auto one = w.blocks->MembersToReopen(b.block, w.Record(b.block), "", std::vector<DatanodeId>{A});
  ASSERT_TRUE(one.ok());
  EXPECT_EQ(*one, std::vector<DatanodeId>{B});
  SetDefect(Defect::kStaleReplicaServed, true);
  EXPECT_EQ(w.Readable(b.block).size(), 3u);
  SetDefect(Defect::kStaleReplicaServed, false);
}

TEST(BlockManager, ADeadNodesBlocksAreCopiedFewestFirstAndBounded) {
  World w;
  for (DatanodeId id : {A, B, C, D, E}) w.Join(id);
  std::vector<BlockId> all;
  for (int n = 0; n < 30; ++n) all.push_back(w.Closed("f" + std::to_string(n), {A, B, C}).block);
  BlockId rare = w.Closed("rare", {A, B}, 3).block;
  w.Run(2 * kSecond);  // the rare one gets its third at once
  EXPECT_EQ(w.Readable(rare).size(), 3u);
  w.copies.clear();
  w.up.erase(A);
  w.up.erase(B);
  w.Run(20 * kSecond);
  EXPECT_EQ(w.blocks->stats().under_replicated, 0u);
  for (BlockId block : all) EXPECT_EQ(w.Readable(block), (std::vector<DatanodeId>{C, D, E}));
  EXPECT_LE(w.most_running, 2);
}

TEST(BlockManager, CopiesStopWhenTheNodeReturnsAndTheExcessIsTrimmedLater) {
  World w;
  w.copy_ns = 3 * kSecond;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  std::vector<BlockId> all;
  for (int n = 0; n < 20; ++n) all.push_back(w.Closed("f" + std::to_string(n), {A, B, C}).block);
  w.up.erase(A);
  w.Run(7 * kSecond);
  EXPECT_GT(w.blocks->stats().under_replicated, 0u);
  w.up.insert(A);  // registers and reports
  w.Run(2 * kSecond);
  size_t begun = w.copies.size();
  EXPECT_EQ(w.blocks->stats().under_replicated, 0u);
  w.Run(5 * kSecond);
  EXPECT_EQ(w.copies.size(), begun);  // what had begun ends, nothing more begins
  EXPECT_TRUE(w.deletions.empty());
  w.Run(20 * kSecond);
  EXPECT_EQ(w.deletions.size(), begun);
  for (BlockId block : all) EXPECT_EQ(w.Readable(block).size(), 3u);
}

TEST(BlockManager, ExcessIsKeptUntilEveryNodeReportedInThisTerm) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  w.disks[D][b.block] = w.disks[A][b.block];
  w.Report(D);
  // A new term; C's heartbeats come, but its report does not.
  w.node.Run([&] {
    w.blocks->OnLeadershipLost();
    w.blocks->OnLeading(2);
  });
  w.scheduler.RunFor(kSecond);  // fenced
  for (DatanodeId id : {A, B, D}) w.Report(id);
  auto wait = [&] {
    for (int n = 0; n < 60; ++n) {
      for (DatanodeId id : {A, B, C, D}) (void)w.blocks->Heartbeat(id, {}, 0, 1);
      w.scheduler.RunFor(500 * kMillisecond);
    }
  };
  wait();
  EXPECT_TRUE(w.deletions.empty());
  w.Report(C);
  wait();
  EXPECT_EQ(w.deletions.size(), 1u);
}

TEST(BlockManager, ANodeThatReturnsEmptyIsALoss) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  std::vector<BlockId> all;
  for (int n = 0; n < 10; ++n) all.push_back(w.Closed("f" + std::to_string(n), {A, B, C}).block);
  w.disks[A].clear();
  w.Join(A);
  w.Run(10 * kSecond);
  EXPECT_TRUE(w.deletions.empty());
  EXPECT_EQ(w.copies.size(), 10u);
  for (BlockId block : all) EXPECT_EQ(w.Readable(block).size(), 3u);
}

TEST(BlockManager, DeletedBlocksGoAfterTheDelayAndUnknownOnesNever) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  OpenBlockResult gone = w.Closed("gone", {A, B, C});
  OpenBlockResult kept = w.Closed("kept", {A, B, C});
  UnlinkCommand unlink;
  unlink.parent = kRootInode;
  unlink.name = "gone";
  w.Must(unlink, w.session);
  std::vector<Todo> todos = *w.machine->reader().ListTodo(10);
  for (const Todo& todo : todos) {
    ReclaimCommand reclaim;
    reclaim.inode = todo.inode;
    w.Must(reclaim);
  }
  ASSERT_TRUE(w.machine->reader().GetBlock(gone.block).error().Is(Code::kNotFound));
  // From another life of the cluster: an id, and a stamp, that were never given out.
  BlockId foreign(kept.block.value + 1000);
  w.disks[D][foreign] = {Stamp(5), 10, ReplicaState::kFinalized};
  w.Report(D);
  w.Run(50 * kSecond);
  EXPECT_TRUE(w.deletions.empty());
  EXPECT_EQ(w.blocks->stats().pending_deletions, 1u);
  // One that was away when it was deleted, and was heard of only now, is explained as well.
  w.disks[D][gone.block] = {gone.stamp, 1000, ReplicaState::kFinalized};
  w.Report(D);
  w.Run(30 * kSecond);
  ASSERT_EQ(w.deletions.size(), 4u);
  for (const auto& [block, id] : w.deletions) EXPECT_EQ(block, gone.block);
  EXPECT_TRUE(w.disks[D].contains(foreign));
  EXPECT_TRUE(w.blocks->stats().alarm);
  EXPECT_EQ(w.Readable(kept.block).size(), 3u);
  EXPECT_EQ(w.blocks->stats().pending_deletions, 0u);
}

TEST(BlockManager, OutdatedReplicasGoOnlyOnceTheBlockHasItsReplicasForAWhile) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C}, 2);
  OpenBlockCommand open;
  open.inode = w.inode;
  open.expected_stamp = b.stamp;
  open.members = {A, B};
  OpenBlockResult again = *DecodeResult<OpenBlockResult>(w.Must(open, w.session));
  w.Run(30 * kSecond);
  EXPECT_TRUE(w.deletions.empty());  // open: nothing of it is touched
  w.Close(again, 1000, {A, B});
  w.Run(9 * kSecond);  // not before the good ones are final on disk
  EXPECT_TRUE(w.deletions.empty());
  w.Run(10 * kSecond);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B}));
  ASSERT_EQ(w.deletions.size(), 1u);
  EXPECT_EQ(w.deletions[0].second, C);
}

TEST(BlockManager, ACorruptReplicaIsReplacedAndTheLastOneKept) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  w.In([&] { w.blocks->ReportBad(b.block, b.stamp, B, "checksum"); });
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, C}));
  w.Run(30 * kSecond);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, C, D}));
  ASSERT_EQ(w.deletions.size(), 1u);
  EXPECT_EQ(w.deletions[0].second, B);
  OpenBlockResult one = w.Closed("one", {A}, 1);
  w.In([&] { w.blocks->ReportBad(one.block, one.stamp, A, "a lie"); });
  EXPECT_EQ(w.Readable(one.block), std::vector<DatanodeId>{A});
  // The datanode's own word counts, but there is nothing else to read.
  w.node.Run([&] {
    std::vector<ReportedReplica> bad = {{A, one.block, one.stamp, 1000, ReplicaState::kFinalized}};
    EXPECT_TRUE(w.blocks->IncrementalReport(A, {}, {}, bad).ok());
  });
  w.Run(20 * kSecond);
  EXPECT_EQ(w.Readable(one.block), std::vector<DatanodeId>{A});
  EXPECT_EQ(w.deletions.size(), 1u);
  EXPECT_EQ(w.blocks->stats().missing, 1u);
}

// A read error of the only replica, and a datanode that comes back with a disk that can be read: without this the block
// would stay short of replicas for ever.
TEST(BlockManager, ADatanodeThatComesBackIsAskedAnewWhatIsCorrupt) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A});
  w.In([&] {
    EXPECT_TRUE(w.blocks
                    ->IncrementalReport(A, {}, {},
                                        std::vector<ReportedReplica>{
                                            {A, b.block, b.stamp, 1000, ReplicaState::kFinalized}})
                    .ok());
  });
  w.Run(5 * kSecond);
  EXPECT_EQ(w.blocks->stats().corrupt_replicas, 1u);
  EXPECT_TRUE(w.copies.empty());
  w.Join(A);
  w.Run(5 * kSecond);
  EXPECT_EQ(w.blocks->stats().corrupt_replicas, 0u);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B, C}));
}

TEST(BlockManager, AnExpiredWritersBlockIsRecovered) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.OpenNew("f", {A, B, C});
  w.disks[A][b.block] = {b.stamp, 5000, ReplicaState::kRbw};
  w.disks[B][b.block] = {b.stamp, 4000, ReplicaState::kRbw};
  w.disks[C][b.block] = {b.stamp, 3000, ReplicaState::kRwr};
  w.fail_proposals = 2;
  ExpireSessionCommand expire;
  expire.session = w.session;
  expire.incarnation = 1;
  w.Must(expire);
  EXPECT_TRUE(w.Record(b.block).NeedsRecovery());
  w.Run(5 * kSecond);
  BlockRecord record = w.Record(b.block);
  EXPECT_EQ(record.state, BlockState::kClosed);
  EXPECT_EQ(record.length, 4000u);
  EXPECT_GT(record.stamp, b.stamp);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B, C}));
  EXPECT_EQ(w.machine->reader().GetInode(w.inode)->size, 4000u);
  EXPECT_EQ(w.blocks->stats().recoveries_done, 1u);
}

TEST(BlockManager, RecoveryLeavesOutASilentMemberAndWaitsForTheLast) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.OpenNew("f", {A, B, C});
  w.disks[A][b.block] = {b.stamp, 5000, ReplicaState::kRbw};
  w.disks[B][b.block] = {b.stamp, 5000, ReplicaState::kRbw};
  w.up.clear();
  ExpireSessionCommand expire;
  expire.session = w.session;
  expire.incarnation = 1;
  w.Must(expire);
  w.Run(60 * kSecond);  // nobody speaks
  EXPECT_EQ(w.Record(b.block).state, BlockState::kRecovering);
  w.up = {B};
  w.Run(20 * kSecond);
  EXPECT_EQ(w.Record(b.block).state, BlockState::kClosed);
  EXPECT_EQ(w.Record(b.block).length, 5000u);
  EXPECT_EQ(w.Record(b.block).members, std::vector<DatanodeId>{B});
  // A returns with an old stamp: not read before a copy has replaced what it has.
  w.up.insert(A);
  for (int n = 0; n < 40; ++n) {
    w.Run(100 * kMillisecond);
    for (DatanodeId id : w.Readable(b.block)) {
      EXPECT_EQ(w.disks[id][b.block].stamp, w.Record(b.block).stamp);
    }
  }
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B}));
}

TEST(BlockManager, APowerCutAfterACloseWithoutSyncIsRecoveredOnce) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  for (DatanodeId id : {A, B, C}) {
    w.disks[id][b.block] = {b.stamp, id == A ? 400u : 300u, ReplicaState::kRwr};
    w.Join(id);
  }
  w.Run(10 * kSecond);
  BlockRecord record = w.Record(b.block);
  EXPECT_EQ(record.state, BlockState::kClosed);
  EXPECT_EQ(record.length, 300u);
  EXPECT_EQ(w.machine->reader().GetInode(w.inode)->size, 300u);
  EXPECT_EQ(w.machine->reader().ListShortened(10)->size(), 1u);
  EXPECT_EQ(w.Readable(b.block).size(), 3u);
}

TEST(BlockManager, OneUnfinishedReplicaIsReplacedWhereItIs) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  w.disks[C][b.block].state = ReplicaState::kRwr;
  w.Join(C);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B}));
  w.Run(30 * kSecond);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B, C}));
  EXPECT_EQ(w.Record(b.block).stamp, b.stamp);
}

TEST(BlockManager, TheOnlyOtherReplicaIsKeptUntilACopyReplacesIt) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B}, 2);
  w.disks[B][b.block].state = ReplicaState::kRwr;
  w.Join(B);
  w.Run(30 * kSecond);
  EXPECT_TRUE(w.deletions.empty());
  EXPECT_EQ(w.copies.size(), 1u);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B}));
  EXPECT_EQ(w.Record(b.block).stamp, b.stamp);
}

TEST(BlockManager, AWriterWithoutAnyMemberLeftIsHelpedByRecovery) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.OpenNew("f", {A, B}, 2);
  // One restarted: the writer goes on with the other.
  w.disks[A][b.block] = {b.stamp, 500, ReplicaState::kRwr};
  w.disks[B][b.block] = {b.stamp, 600, ReplicaState::kRbw};
  w.Join(A);
  w.Join(B);
  w.Run(20 * kSecond);
  EXPECT_EQ(w.Record(b.block).state, BlockState::kOpen);
  // The other one as well: there is nobody left that takes its bytes.
  w.disks[B][b.block] = {b.stamp, 600, ReplicaState::kRwr};
  w.Join(B);
  w.Run(5 * kSecond);
  EXPECT_EQ(w.Record(b.block).state, BlockState::kClosed);
  EXPECT_EQ(w.Record(b.block).length, 500u);
  EXPECT_EQ(w.Readable(b.block).size(), 2u);
}

TEST(BlockManager, ThreeNodesWithOneGoodReplicaBecomeWholeAgain) {
  World w;
  for (DatanodeId id : {A, B, C}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  OpenBlockCommand open;
  open.inode = w.inode;
  open.expected_stamp = b.stamp;
  open.members = {A};
  OpenBlockResult again = *DecodeResult<OpenBlockResult>(w.Must(open, w.session));
  w.Close(again, 1000, {A});
  w.disks[C][b.block] = {again.stamp, 1000, ReplicaState::kRwr};
  w.Report(C);
  w.Run(60 * kSecond);
  EXPECT_EQ(w.Readable(b.block), (std::vector<DatanodeId>{A, B, C}));
}

TEST(BlockManager, SafeModeWithholdsCopiesButNoWrites) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B, C});
  // A namenode that has just started: it knows of nobody.
  auto fresh = std::make_unique<BlockManager>(World::Fast(), w.node.executor(), w.machine->reader(),
                                              w, w, Random(3));
  std::swap(w.blocks, fresh);
  w.node.Run([&] {
    fresh.reset();
    w.blocks->Start();
    w.blocks->OnLeading(1);
  });
  w.up = {A, B, D};
  w.Run(2 * kSecond);
  EXPECT_TRUE(w.blocks->stats().safe_mode);
  EXPECT_TRUE(w.copies.empty());
  EXPECT_TRUE(w.blocks->PlaceNewBlock(3, kBlockSize, "", {}).ok());
  EXPECT_TRUE(w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {}).ok());
  w.Run(10 * kSecond);  // C would be dead by now
  EXPECT_FALSE(w.blocks->stats().safe_mode);
  EXPECT_EQ(w.copies.size(), 1u);
}

TEST(BlockManager, AFollowerCommandsNothing) {
  World w;
  for (DatanodeId id : {A, B, C, D}) w.Join(id);
  w.Closed("f", {A, B, C});
  w.node.Run([&] { w.blocks->OnLeadershipLost(); });
  w.up.erase(A);
  w.Run(30 * kSecond);
  EXPECT_TRUE(w.copies.empty());
  w.node.Run([&] { w.blocks->OnLeading(1); });
  w.Run(5 * kSecond);
  EXPECT_EQ(w.copies.size(), 1u);  // and is warm when it leads
}

TEST(BlockManager, ReportPagesMustFollowEachOther) {
  World w;
  w.Join(A);
  OpenBlockResult b = w.Closed("f", {A}, 1);
  std::vector<ReportedReplica> one = {{A, b.block, b.stamp, 1000, ReplicaState::kFinalized}};
  w.In([&] {
    EXPECT_TRUE(*w.blocks->FullReport(A, 100, 0, false, one));
    EXPECT_FALSE(*w.blocks->FullReport(A, 100, 2, true, {}));
    EXPECT_FALSE(*w.blocks->FullReport(A, 100, 1, true, {}));
    EXPECT_EQ(w.Readable(b.block),
              std::vector<DatanodeId>{A});  // an unfinished report takes nothing away
    EXPECT_FALSE(w.blocks->FullReport(A, 0, 0, true, {}).ok());
    EXPECT_FALSE(w.blocks->FullReport(B, 1, 0, true, {}).ok());
    // What is heard between the pages is newer than the pages.
    EXPECT_TRUE(*w.blocks->FullReport(A, 101, 0, false, {}));
    EXPECT_TRUE(w.blocks->IncrementalReport(A, one, {}, {}).ok());
    std::vector<ReportedReplica> old = {{A, b.block, b.stamp, 10, ReplicaState::kRbw}};
    EXPECT_TRUE(*w.blocks->FullReport(A, 101, 1, true, old));
    EXPECT_EQ(w.Readable(b.block), std::vector<DatanodeId>{A});
  });
}

TEST(BlockManager, NoNodeAndNoReplicaAreSaidApart) {
  World w;
  EXPECT_TRUE(w.blocks->PlaceNewBlock(3, kBlockSize, "", {}).error().Is(Code::kUnavailable));
  w.Join(A);
  w.Join(B);
  OpenBlockResult b = w.Closed("f", {A}, 1);
  EXPECT_EQ(w.blocks->PlaceNewBlock(3, kBlockSize, "", {})->size(), 2u);
  EXPECT_EQ(*w.blocks->PlaceNewBlock(3, kBlockSize, "", std::vector<DatanodeId>{A}),
            std::vector<DatanodeId>{B});
  w.up.erase(A);
  w.Run(20 * kSecond);
  EXPECT_TRUE(w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {})
                  .error()
                  .Is(Code::kMissingBlock));
  EXPECT_EQ(w.blocks->stats().missing, 1u);
}

}  // namespace
}  // namespace dfs::nn
