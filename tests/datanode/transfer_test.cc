// Chains of datanodes on the simulated network: writing, failing, reading, copying, recovering.
#include "tests/datanode/transfer_testing.h"

#include "common/base/defects.h"
#include "common/idl/codec.h"

namespace dfs::dn {
namespace {

TEST_F(TransferTest, AChainOfThreeHoldsTheSameBytes) {
  const std::string data = WriteBlock(5, 10, 3'000'001, {0, 1, 2});
  for (auto& node : nodes_) {
    EXPECT_EQ(node->Content(5), data) << node->name;
    EXPECT_EQ(node->Info(5).state, ReplicaState::kFinalized);
    EXPECT_TRUE(node->Info(5).on_disk) << "closed with SYNC";
    ASSERT_EQ(node->finalized.size(), 1u);
    Random random(3);
    node->Kill();
    node->env.Crash(random, FaultEnv::CrashMode::kDropUnsynced);
    node->Restart();
    EXPECT_EQ(node->Content(5), data) << node->name << " after a power cut";
  }
}

TEST_F(TransferTest, SyncReachesEveryMembersDisk) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  const std::string data = RandomBytes(random_, 10'000);
  Add(writer, 0, data, wire::kPacketSync);
  Settle(writer);
  ASSERT_TRUE(writer.idle());
  for (auto& node : nodes_) EXPECT_EQ(node->Info(5).synced_length, data.size()) << node->name;
  Add(writer, data.size(), data, 0);
  Settle(writer);
  for (auto& node : nodes_) {
    EXPECT_EQ(node->Info(5).synced_length, data.size()) << "nothing more was asked for";
    EXPECT_EQ(node->Info(5).length, 2 * data.size());
  }
}

TEST_F(TransferTest, AMissingForwardOfSyncIsSeen) {
  SetDefect(Defect::kSyncNotForwarded, true);
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  Add(writer, 0, "abc", wire::kPacketSync);
  Settle(writer);
  SetDefect(Defect::kSyncNotForwarded, false);
  EXPECT_EQ(nodes_[0]->Info(5).synced_length, 3u);
  EXPECT_EQ(nodes_[2]->Info(5).synced_length, 0u);
}

TEST_F(TransferTest, SyncsOfTheMembersOverlap) {
  // Each member's fsync is counted on its own disk; one SYNC packet costs each the same, none twice.
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  Add(writer, 0, RandomBytes(random_, 65536), wire::kPacketSync | wire::kPacketLast);
  const auto before = nodes_[1]->env.counters();
  Settle(writer);
  ASSERT_TRUE(writer.idle());
  EXPECT_EQ(nodes_[1]->env.counters().syncs - before.syncs, 2u) << "data, sidecar";
}

TEST_F(TransferTest, OverwritesOfAClosedBlock) {
  std::string data = WriteBlock(5, 10, 2'500'000, {0, 1, 2});
  wire::ChainWriter& writer = NewWriter(data.size());
  OpenChain(writer, {2, 0, 1}, 5, 10, 11);
  for (int i = 0; i < 60; i++) {
    const std::string piece = RandomBytes(random_, 1 + random_.Uniform(9'000));
    const uint64_t offset = random_.Uniform(data.size() + 1);
    if (data.size() < offset + piece.size()) data.resize(offset + piece.size());
    data.replace(offset, piece.size(), piece);
    Add(writer, offset, piece, random_.OneIn(4) ? wire::kPacketSync : 0);
  }
  Add(writer, data.size(), "", wire::kPacketSync | wire::kPacketLast);
  Settle(writer);
  ASSERT_TRUE(writer.idle());
  for (auto& node : nodes_) {
    EXPECT_EQ(node->Content(5), data) << node->name;
    EXPECT_EQ(node->Info(5).stamp, Stamp(11));
  }
}

TEST_F(TransferTest, AFailedMemberIsNamedAndTheWriteGoesOn) {
  for (int victim = 0; victim < 3; victim++) {
    const uint64_t block = 100 + static_cast<uint64_t>(victim);
    const DatanodeId victim_id = nodes_[victim]->store->id();
    std::string data;
    wire::ChainWriter& writer = NewWriter(0);
    OpenChain(writer, {0, 1, 2}, block, 0, 10);
    for (int i = 0; i < 12; i++) {
      std::string piece = RandomBytes(random_, 200'000);
      data += piece;
      Add(writer, data.size() - piece.size(), piece, 0);
      if (i == 5) scheduler_.RunFor(2 * kMillisecond);
    }
    nodes_[victim]->Kill();
    Settle(writer);
    ASSERT_TRUE(writer.fault()) << "victim " << victim;
    EXPECT_EQ(writer.fault()->member, victim_id) << "victim " << victim;
    std::vector<int> survivors;
    for (int i = 0; i < 3; i++) {
      if (i != victim) survivors.push_back(i);
    }
    OpenChain(writer, survivors, block, 10, 20);
    Add(writer, data.size(), "", wire::kPacketSync | wire::kPacketLast);
    Settle(writer);
    ASSERT_TRUE(writer.idle()) << (writer.fault() ? writer.fault()->why : "");
    for (int i : survivors) EXPECT_EQ(nodes_[i]->Content(block), data);
    CloseStream();
    nodes_[victim]->Restart();
  }
}

TEST_F(TransferTest, ASilentMemberIsNamedByTheOneBeforeIt) {
  std::vector<uint64_t>
      left_open;  // the namenodes are told: who is excluded now has a replica in the way
  BlockStore::Events events;
  events.left_open = [&](BlockId block) { left_open.push_back(block.value); };
  nodes_[1]->store->SetEvents(std::move(events));
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  Add(writer, 0, "abc", 0);
  Settle(writer);
  ASSERT_TRUE(writer.idle());
  nodes_[2]->node.Pause(60 * kSecond);
  Add(writer, 3, "def", 0);
  Settle(writer, 10 * kSecond);
  ASSERT_TRUE(writer.fault());
  EXPECT_EQ(writer.fault()->member, nodes_[2]->store->id());
  CloseStream();
  EXPECT_EQ(left_open, std::vector<uint64_t>{5});
  scheduler_.RunFor(60 * kSecond);
  nodes_[1]->store->SetEvents({});
}

TEST_F(TransferTest, ADiskErrorNamesItsMember) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  nodes_[1]->env.AddFault({.op = FaultEnv::Op::kWrite,
                           .matches = [](const std::string& p) { return !p.ends_with(".meta"); },
                           .error = Code::kNoSpace});
  Add(writer, 0, "abc", 0);
  Settle(writer);
  ASSERT_TRUE(writer.fault());
  EXPECT_EQ(writer.fault()->member, nodes_[1]->store->id());
  EXPECT_EQ(writer.fault()->code, Code::kNoSpace);
}

TEST_F(TransferTest, AMemberThatCannotOpenIsNamed) {
  // The second has the block under a newer stamp; the third lost its replica.
  const std::string data = WriteBlock(5, 10, 1000, {0, 1, 2});
  ASSERT_TRUE(nodes_[2]->store->Delete(BlockId(5), Stamp(10)).ok());
  wire::ChainWriter& writer = NewWriter(data.size());
  OpenChain(writer, {0, 1, 2}, 5, 10, 11);
  Add(writer, 0, "x", 0);
  Settle(writer);
  ASSERT_TRUE(writer.fault());
  EXPECT_EQ(writer.fault()->member, nodes_[2]->store->id())
      << "made anew there it would have a hole";
  OpenChain(writer, {0, 1}, 5, 10, 12);
  Settle(writer);
  EXPECT_TRUE(writer.idle());
}

TEST_F(TransferTest, ADeadKeptConnectionIsNobodysFault) {
  // The first member keeps its connection to the second, which restarts without the first's noticing.
  WriteBlock(5, 10, 1000, {0, 1});
  nodes_[1]->node.Crash();
  net_.NodeDown(nodes_[1]->node, /*silent=*/true);
  nodes_[1]->Destroy();
  nodes_[1]->env.KillProcess();
  nodes_[1]->Restart();
  const std::string data = WriteBlock(6, 11, 700'000, {0, 1});
  EXPECT_EQ(nodes_[1]->Content(6), data);
}

TEST_F(TransferTest, AMissingFileIsReported) {
  WriteBlock(5, 10, 1000, {0, 1});
  ASSERT_TRUE(nodes_[1]->env.Remove("/v/blocks/05/blk_5").ok());
  EXPECT_FALSE(Read(1, 5, 10, 0, 0).status.ok());
  EXPECT_EQ(nodes_[1]->corrupt.size(), 1u);
}

TEST_F(TransferTest, AHigherStampKillsTheOlderStream) {
  wire::ChainWriter& old_writer = NewWriter(0);
  OpenChain(old_writer, {0, 1, 2}, 5, 0, 10);
  Add(old_writer, 0, "abc", 0);
  Settle(old_writer);
  auto old_stream = stream_;
  stream_ = nullptr;
  wire::ChainWriter& writer = NewWriter(3);
  OpenChain(writer, {1, 2}, 5, 10, 11);
  Add(writer, 3, "new", 0);
  Settle(writer);
  ASSERT_TRUE(writer.idle());
  client_.Run([&] {
    old_writer.Add(3, Buffer(std::string("old")), 0);
    old_stream->Pump();
  });
  Settle(old_writer);
  ASSERT_TRUE(old_writer.fault());
  EXPECT_TRUE(old_writer.fault()->fenced);
  EXPECT_EQ(nodes_[1]->Content(5), "abcnew");
  EXPECT_EQ(nodes_[2]->Content(5), "abcnew");
  client_.Run([&] { old_stream->Detach(); });
}

// ---- Reading --------------------------------------------------------------------------------------

TEST_F(TransferTest, ReadsWholeChunks) {
  const std::string data = WriteBlock(5, 10, 3'000'001, {0, 1, 2});
  auto all = Read(1, 5, 10, 0, 0);
  EXPECT_TRUE(all.status.ok());
  EXPECT_EQ(all.data, data);
  EXPECT_EQ(all.sums, ChunkSums(data));
  auto part = Read(1, 5, 10, 5'000, 100);
  EXPECT_EQ(part.first_offset, 4096u);
  EXPECT_EQ(part.data, data.substr(4096, 4096));
  auto end = Read(1, 5, 10, 2'999'999, 100);
  EXPECT_EQ(end.data, data.substr(2'999'999 / 4096 * 4096));
  auto sums = Read(1, 5, 10, 0, 0, false, true);
  EXPECT_EQ(sums.sums, ChunkSums(data));
  EXPECT_TRUE(Read(1, 5, 10, 3'000'002, 1).status.Is(Code::kInvalidArgument));
  EXPECT_TRUE(Read(1, 6, 10, 0, 1).status.Is(Code::kNotFound));
}

TEST_F(TransferTest, AStaleReplicaIsNotServed) {
  WriteBlock(5, 10, 1000, {0, 1, 2});
  EXPECT_TRUE(Read(0, 5, 11, 0, 0).status.Is(Code::kStaleStamp));
  SetDefect(Defect::kStaleReplicaServed, true);
  EXPECT_TRUE(Read(0, 5, 11, 0, 0).status.ok());
  SetDefect(Defect::kStaleReplicaServed, false);
}

TEST_F(TransferTest, OpenReplicasAreServedUnderTheLeaseOnly) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  const std::string data = RandomBytes(random_, 10'000);
  Add(writer, 0, data, 0);
  Settle(writer);
  EXPECT_TRUE(Read(2, 5, 10, 0, 0, true).status.Is(Code::kUnavailable)) << "no lease";
  GiveLease(2);
  EXPECT_TRUE(Read(2, 5, 10, 0, 0).status.Is(Code::kStaleStamp)) << "it is not closed";
  EXPECT_EQ(Read(2, 5, 10, 0, 0, true).data, data);
  scheduler_.RunFor(3 * kSecond);
  EXPECT_TRUE(Read(2, 5, 10, 0, 0, true).status.Is(Code::kUnavailable)) << "its term is over";
}

TEST_F(TransferTest, ReadersOfAnOpenBlockSeeWhatEveryMemberHas) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  const std::string data = RandomBytes(random_, 10'000);
  Add(writer, 0, data, 0);
  Settle(writer);
  nodes_[1]->node.Pause(2 * kSecond);
  Add(writer, data.size(), "not everywhere", 0);
  scheduler_.RunFor(500 * kMillisecond);
  EXPECT_GT(nodes_[0]->Info(5).length, data.size()) << "the first member has it";
  GiveLease(0);
  EXPECT_EQ(Read(0, 5, 10, 0, 0, true).data, data) << "but shows what all have";
}

TEST_F(TransferTest, AnOverwriteThatNotAllMembersHaveIsNotShown) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  std::string data = RandomBytes(random_, 20'000);
  Add(writer, 0, data, 0);
  Settle(writer);
  GiveLease(0, 3'600 * kSecond);
  GiveLease(1, 3'600 * kSecond);
  nodes_[2]->node.Pause(60 * kSecond);
  const std::string over = "seen nowhere yet";
  Add(writer, 5'000, over, 0);
  scheduler_.RunFor(500 * kMillisecond);
  for (int node : {0, 1}) {
    EXPECT_EQ(nodes_[node]->Content(5).substr(5'000, over.size()), over) << "it is stored";
    EXPECT_TRUE(Read(node, 5, 10, 4'096, 4'096, true).status.Is(Code::kUnavailable)) << node;
    EXPECT_EQ(Read(node, 5, 10, 8'192, 0, true).data, data.substr(8'192)) << "the rest is";
  }
  EXPECT_EQ(nodes_[0]->corrupt.size(), 0u);
  // The silent member is left out. Until the next one has the bytes again nothing changes.
  Settle(writer);
  ASSERT_TRUE(writer.fault());
  EXPECT_TRUE(Read(0, 5, 10, 4'096, 4'096, true).status.Is(Code::kUnavailable));
  OpenChain(writer, {0, 1}, 5, 10, 11);
  Settle(writer);
  ASSERT_TRUE(writer.idle()) << (writer.fault() ? writer.fault()->why : "");
  data.replace(5'000, over.size(), over);
  for (int node : {0, 1}) EXPECT_EQ(Read(node, 5, 11, 0, 0, true).data, data) << node;
}

TEST_F(TransferTest, RotIsReportedAndNotSent) {
  WriteBlock(5, 10, 100'000, {0, 1, 2});
  ASSERT_TRUE(nodes_[1]->env.FlipBit("/v/blocks/05/blk_5", 50'000, 1).ok());
  EXPECT_TRUE(Read(1, 5, 10, 0, 0).status.Is(Code::kCorrupt));
  ASSERT_EQ(nodes_[1]->corrupt.size(), 1u);
  EXPECT_TRUE(Read(0, 5, 10, 0, 0).status.ok());
}

// ---- Copies ---------------------------------------------------------------------------------------

class CopyTest : public TransferTest {
 protected:
  Status Copy(int from, std::vector<int> to, uint64_t block, uint64_t stamp,
              int64_t bytes_per_second = 0) {
    idl::ReplicateBlockRequest request;
    request.bytes_per_second = bytes_per_second;
    request.block.block = static_cast<int64_t>(block);
    request.block.stamp = static_cast<int64_t>(stamp);
    for (int t : to) request.targets.push_back(nodes_[t]->Location());
    bool done = false;
    Status result;
    nodes_[from]->node.Run([&] {
      nodes_[from]->replicator->Replicate(request, [&](Status status) {
        done = true;
        result = status;
      });
    });
    for (int i = 0; i < 60'000 && !done; i++) scheduler_.RunFor(kMillisecond);
    EXPECT_TRUE(done);
    return result;
  }
};

TEST_F(CopyTest, ReplicatesToOthers) {
  const std::string data = WriteBlock(5, 10, 2'000'003, {0});
  DFS_ASSERT_OK(Copy(0, {1, 2}, 5, 10));
  for (int i : {1, 2}) {
    EXPECT_EQ(nodes_[i]->Content(5), data);
    EXPECT_TRUE(nodes_[i]->Info(5).on_disk) << "a copy is synced before it counts";
    EXPECT_EQ(nodes_[i]->finalized.back().stamp, Stamp(10));
  }
  DFS_EXPECT_OK(Copy(0, {1}, 5, 10));
}

TEST_F(CopyTest, KeepsToItsRate) {
  const std::string data = WriteBlock(5, 10, 8 << 20, {0});
  const auto seconds = [&](int to, int64_t bytes_per_second) {
    const int64_t began = scheduler_.now_ns();
    DFS_EXPECT_OK(Copy(0, {to}, 5, 10, bytes_per_second));
    EXPECT_EQ(nodes_[to]->Content(5), data);
    return static_cast<double>(scheduler_.now_ns() - began) / kSecond;
  };
  EXPECT_LT(seconds(1, 0), 2.0);
  // The last piece is not followed by a pause.
  const double slow = seconds(2, 2 << 20);
  EXPECT_GT(slow, 3.5);
  EXPECT_LT(slow, 5.0);
}

// A target that is called copied is a member of the block from then on, and its bytes are believed.
TEST_F(CopyTest, WhatAnEarlierChainLeftOpenIsNotTakenForACopy) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1}, 5, 0, 10);
  Add(writer, 0, std::string(100'000, 'o'), wire::kPacketSync);
  Settle(writer);
  CloseStream();
  // Member 1 is left out; the block is overwritten and closed without it.
  wire::ChainWriter& alone = NewWriter(100'000);
  OpenChain(alone, {0}, 5, 10, 12);
  Add(alone, 0, std::string(100'000, 'n'), 0);
  Add(alone, 100'000, "", wire::kPacketSync | wire::kPacketLast);
  Settle(alone);
  CloseStream();
  ASSERT_EQ(nodes_[1]->Info(5).state, ReplicaState::kRbw);
  DFS_ASSERT_OK(Copy(0, {1}, 5, 12));
  EXPECT_EQ(nodes_[1]->Info(5).stamp, Stamp(12));
  EXPECT_EQ(nodes_[1]->Info(5).state, ReplicaState::kFinalized);
  EXPECT_EQ(nodes_[1]->Content(5), std::string(100'000, 'n'));
}

TEST_F(CopyTest, FailsWhereTheBlockIsFencedByALaterRecovery) {
  WriteBlock(5, 10, 1000, {0, 1});
  WriteBlock(6, 10, 1000, {0});
  ASSERT_TRUE((*nodes_[1]->store->Find(BlockId(5)))->InitRecovery(Stamp(14)).ok());
  EXPECT_TRUE(Copy(0, {1}, 5, 10).Is(Code::kStaleStamp));
}

TEST_F(CopyTest, DoesNotSpreadRot) {
  WriteBlock(5, 10, 2'000'000, {0});
  ASSERT_TRUE(nodes_[0]->env.FlipBit("/v/blocks/05/blk_5", 1'500'000, 1).ok());
  EXPECT_TRUE(Copy(0, {1}, 5, 10).Is(Code::kCorrupt));
  EXPECT_EQ(nodes_[0]->corrupt.size(), 1u);
  scheduler_.RunFor(kSecond);
  EXPECT_TRUE(nodes_[1]->store->Find(BlockId(5)).error().Is(Code::kNotFound));
  EXPECT_TRUE(nodes_[1]->env.List("/v/tmp")->empty()) << "the unfinished copy is gone";
}

TEST_F(CopyTest, RefusesAStampItDoesNotHave) {
  WriteBlock(5, 10, 1000, {0});
  EXPECT_TRUE(Copy(0, {1}, 5, 11).Is(Code::kStaleStamp));
  EXPECT_TRUE(Copy(0, {1}, 6, 11).Is(Code::kNotFound));
}

// ---- Recovery -------------------------------------------------------------------------------------

class RecoveryTest : public TransferTest {
 protected:
  idl::InitRecoveryReply Init(int node, uint64_t block, uint64_t stamp) {
    idl::InitRecoveryRequest request;
    request.block = static_cast<int64_t>(block);
    request.recovery_stamp = static_cast<int64_t>(stamp);
    auto reply = nodes_[node]->recovery->InitRecovery(request);
    EXPECT_TRUE(reply.ok()) << reply.error().ToString();
    return reply.ok() ? *reply : idl::InitRecoveryReply();
  }
  Status Finish(int node, uint64_t block, uint64_t stamp, uint64_t length, int source) {
    idl::FinishRecoveryRequest request;
    request.block = static_cast<int64_t>(block);
    request.recovery_stamp = static_cast<int64_t>(stamp);
    request.length = static_cast<int64_t>(length);
    if (source != node) request.__set_source(nodes_[source]->Location());
    bool done = false;
    Status result;
    nodes_[node]->node.Run([&] {
      nodes_[node]->recovery->FinishRecovery(request, [&](Result<idl::FinishRecoveryReply> reply) {
        done = true;
        result = reply.status();
      });
    });
    for (int i = 0; i < 60'000 && !done; i++) scheduler_.RunFor(kMillisecond);
    EXPECT_TRUE(done);
    return result;
  }
};

TEST_F(RecoveryTest, MembersBecomeEqualAfterTheWritersDeath) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  std::string data = RandomBytes(random_, 1'500'000);
  for (size_t at = 0; at < data.size(); at += 250'000) Add(writer, at, data.substr(at, 250'000), 0);
  Settle(writer);
  // The last packets reach the first member only, and one of them changes acknowledged bytes.
  nodes_[1]->node.Pause(2 * kSecond);
  Add(writer, 700'000, RandomBytes(random_, 10'000), 0);
  Add(writer, data.size(), RandomBytes(random_, 60'000), 0);
  scheduler_.RunFor(200 * kMillisecond);
  CloseStream();
  scheduler_.RunFor(5 * kSecond);
  uint64_t shortest = ~uint64_t{0};
  int source = -1;
  for (int i = 0; i < 3; i++) {
    auto reply = Init(i, 5, 20);
    EXPECT_TRUE(reply.found);
    EXPECT_EQ(reply.state, static_cast<int>(ReplicaState::kRbw));
    if (static_cast<uint64_t>(reply.length) < shortest) {
      shortest = static_cast<uint64_t>(reply.length);
      source = i;
    }
  }
  ASSERT_GE(shortest, data.size());
  DFS_ASSERT_OK(Finish(source, 5, 20, shortest, source));
  for (int i = 0; i < 3; i++) DFS_ASSERT_OK(Finish(i, 5, 20, shortest, source));
  const std::string expected = nodes_[source]->Content(5);
  EXPECT_EQ(expected.size(), shortest);
  EXPECT_EQ(expected.substr(0, 700'000), data.substr(0, 700'000));
  for (auto& node : nodes_) {
    EXPECT_EQ(node->Content(5), expected) << node->name;
    EXPECT_EQ(node->Info(5).stamp, Stamp(20));
    EXPECT_TRUE(node->Info(5).on_disk);
  }
}

TEST_F(RecoveryTest, AfterAPowerCutOfAllNothingSyncedIsLost) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1, 2}, 5, 0, 10);
  const std::string data = RandomBytes(random_, 300'001);
  Add(writer, 0, data, wire::kPacketSync);
  Settle(writer);
  Add(writer, data.size(), RandomBytes(random_, 200'000), 0);
  Add(writer, 1000, RandomBytes(random_, 50), 0);
  Settle(writer);
  CloseStream();
  for (auto& node : nodes_) {
    node->Kill();
    node->env.Crash(random_, FaultEnv::CrashMode::kKeepRandom);
  }
  for (auto& node : nodes_) node->Restart();
  uint64_t shortest = ~uint64_t{0};
  for (int i = 0; i < 3; i++) {
    auto reply = Init(i, 5, 20);
    EXPECT_EQ(reply.state, static_cast<int>(ReplicaState::kRwr));
    EXPECT_GE(reply.synced_length, 300'001);
    shortest = std::min(shortest, static_cast<uint64_t>(reply.length));
  }
  ASSERT_GE(shortest, data.size());
  for (int i : {2, 0, 1}) DFS_ASSERT_OK(Finish(i, 5, 20, shortest, 2));
  const std::string expected = nodes_[2]->Content(5);
  for (size_t at = 0; at < data.size(); at++) {
    if (at >= 1000 && at < 1050) continue;
    ASSERT_EQ(expected[at], data[at]) << at;
  }
  for (auto& node : nodes_) {
    EXPECT_EQ(node->Content(5), expected);
    EXPECT_TRUE(node->corrupt.empty());
  }
}

TEST_F(RecoveryTest, OrderAndRepetitionDoNotMatter) {
  wire::ChainWriter& writer = NewWriter(0);
  OpenChain(writer, {0, 1}, 5, 0, 10);
  Add(writer, 0, std::string(10'000, 'a'), 0);
  Settle(writer);
  CloseStream();
  Init(0, 5, 20);
  Init(1, 5, 20);
  DFS_ASSERT_OK(Finish(1, 5, 20, 9000, 0));  // before its source has finished
  DFS_ASSERT_OK(Finish(0, 5, 20, 9'000, 0));
  DFS_ASSERT_OK(Finish(0, 5, 20, 9'000, 0));
  DFS_ASSERT_OK(Finish(1, 5, 20, 9'000, 0));
  EXPECT_TRUE(Finish(1, 5, 20, 8'000, 0).Is(Code::kConflict));
  EXPECT_TRUE(Finish(1, 5, 19, 9'000, 0).Is(Code::kStaleStamp));
  EXPECT_EQ(nodes_[0]->Content(5), std::string(9'000, 'a'));
  EXPECT_EQ(nodes_[1]->Content(5), std::string(9'000, 'a'));
  EXPECT_FALSE(Init(2, 5, 20).found);
}

// ---- Garbage --------------------------------------------------------------------------------------

TEST_F(TransferTest, GarbageClosesItsConnectionAndNothingElse) {
  WriteBlock(5, 10, 1000, {0, 1, 2});
  struct Hostile : rpc::Connection::Handler {
    void OnFrame(const rpc::FrameHeader&, Buffer) override { frames++; }
    void OnClosed(const Status&) override { closed = true; }
    int frames = 0;
    bool closed = false;
  };
  for (int round = 0; round < 300; round++) {
    Hostile hostile;
    rpc::ConnectionPtr connection;
    client_.Run([&] {
      client_network_->Connect(*rpc::Address::Parse("dn1:9866"), {},
                               [&](Result<rpc::ConnectionPtr> made) {
                                 ASSERT_TRUE(made.ok());
                                 connection = std::move(*made);
                                 connection->Start(&hostile);
                               });
    });
    scheduler_.RunFor(10 * kMillisecond);
    ASSERT_TRUE(connection);
    client_.Run([&] {
      for (int i = 0; i < 6; i++) {
        rpc::FrameHeader header;
        header.type = static_cast<rpc::FrameType>(1 + random_.Uniform(5));
        const uint16_t methods[] = {idl::kOpenWriteStream, idl::kOpenReadStream, idl::kStat, 999};
        header.method = methods[random_.Uniform(4)];
        header.request_id = random_.Uniform(3);
        std::string payload = RandomBytes(random_, random_.Uniform(300));
        if (random_.OneIn(3)) {
          idl::OpenWriteStreamRequest open;
          open.block = random_.OneIn(2) ? 77 : static_cast<int64_t>(random_.Next());
          open.stamp = random_.Between(-3, 30);
          open.old_stamp = random_.Between(-3, 30);
          open.length = static_cast<int64_t>(random_.OneIn(2) ? 0 : random_.Next());
          payload = std::string(idl::Encode(open).view());
        } else if (random_.OneIn(2)) {
          wire::PacketHeader packet;
          packet.kind = static_cast<wire::PacketKind>(1 + random_.Uniform(5));
          packet.seq = random_.Uniform(3);
          packet.stamp = random_.Uniform(30);
          packet.offset = random_.OneIn(2) ? random_.Uniform(5000) : random_.Next();
          const std::string data = RandomBytes(random_, random_.Uniform(5000));
          auto sums = wire::RangeSums(packet.offset % (1u << 30), data);
          if (random_.OneIn(2) && !sums.empty()) sums[0]++;
          payload.clear();
          for (const Buffer& part : wire::BuildPacket(packet, sums, Buffer(data))) {
            payload.append(part.view());
          }
        }
        if (!hostile.closed) connection->Send(header, Buffer(payload));
      }
    });
    scheduler_.RunFor(20 * kMillisecond);
    client_.Run([&] { connection = nullptr; });
  }
  scheduler_.RunFor(kSecond);
  EXPECT_TRUE(Read(0, 5, 10, 0, 0).status.ok());
  EXPECT_EQ(nodes_[0]->context->active_streams.load(), 0) << "nothing is left open";
  EXPECT_TRUE(nodes_[0]->corrupt.empty());
}

}  // namespace
}  // namespace dfs::dn
