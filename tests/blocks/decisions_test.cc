// The pure decisions: what a replica is worth, placement, the next copy, what may be deleted, safe mode.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "common/base/clock.h"

#include "namenode/blocks/block_health.h"
#include "namenode/blocks/datanode_registry.h"
#include "namenode/blocks/deletion.h"
#include "namenode/blocks/placement.h"
#include "namenode/blocks/replication_queue.h"

namespace dfs::nn {
namespace {

constexpr int64_t kHour = 3600 * kSecond;

// ---- Reported replicas

struct JudgeCase {
  const char* what;
  uint64_t block, stamp, length;
  ReplicaState state;
  uint64_t datanode;
  bool record, open;
  ReplicaVerdict want;
};

TEST(JudgeReplica, Table) {
  using S = ReplicaState;
  using V = ReplicaVerdict;
  const uint64_t b = kFirstBlockCounter + 5;
  const BlockCounters counters{kFirstBlockCounter + 10, 100};
  const std::vector<DatanodeId> members = {DatanodeId(1), DatanodeId(2)};
  // The record: stamp 50, length 1000.
  const JudgeCase cases[] = {
      {"as committed", b, 50, 1000, S::kFinalized, 1, true, false, V::kGood},
      {"longer: truncated in the record only", b, 50, 2000, S::kFinalized, 3, true, false,
       V::kGood},
      {"shorter", b, 50, 999, S::kFinalized, 1, true, false, V::kWrongLength},
      {"came back before it was final", b, 50, 1000, S::kRwr, 1, true, false, V::kUnfinished},
      {"older stamp, even when finalized", b, 49, 1000, S::kFinalized, 1, true, false,
       V::kOutdated},
      {"newer stamp: this namenode lags", b, 51, 1000, S::kFinalized, 1, true, false, V::kAhead},
      {"open, member", b, 50, 10, S::kRbw, 1, true, true, V::kMember},
      {"open, member that was not told the stamp", b, 40, 10, S::kRbw, 2, true, true, V::kMember},
      {"open, no member, right stamp", b, 50, 10, S::kRbw, 3, true, true, V::kOutdated},
      {"a copy on its way", b, 50, 10, S::kTemporary, 3, true, false, V::kCopying},
      {"no record: deleted by a command", b, 50, 10, S::kFinalized, 1, false, false, V::kDeleted},
      {"id never given out", kFirstBlockCounter + 10, 50, 10, S::kFinalized, 1, false, false,
       V::kUnknownFuture},
      {"stamp never given out", b, 100, 10, S::kFinalized, 1, true, false, V::kUnknownFuture},
      {"no record and such a stamp: not deleted", b, 100, 10, S::kFinalized, 1, false, false,
       V::kUnknownFuture},
  };
  for (const JudgeCase& c : cases) {
    BlockFacts facts;
    facts.block = BlockId(c.block);
    facts.stamp = Stamp(50);
    facts.open = c.open;
    facts.length = 1000;
    facts.expected = 3;
    facts.members = members;
    ReportedReplica r{DatanodeId(c.datanode), BlockId(c.block), Stamp(c.stamp), c.length, c.state};
    EXPECT_EQ(JudgeReplica(r, c.record ? &facts : nullptr, counters), c.want) << c.what;
  }
}

// ---- Health, excess, obsolete

ReplicaView View(NodeIndex node, uint64_t stamp, ReplicaState state = ReplicaState::kFinalized) {
  ReplicaView v;
  v.replica.node = node;
  v.replica.stamp = Stamp(stamp);
  v.replica.state = state;
  v.reported_in_term = true;
  v.rack = "/r";
  v.available_bytes = 2000;
  return v;
}
BlockFacts Closed(size_t expected = 3) {
  BlockFacts f;
  f.block = BlockId(kFirstBlockCounter);
  f.stamp = Stamp(50);
  f.length = 1000;
  f.expected = expected;
  return f;
}

TEST(BlockHealth, CountsOnlyTheCurrentStampOnNodesThatAreNotDead) {
  std::vector<ReplicaView> views = {
      View(1, 50), View(2, 49), View(3, 50, ReplicaState::kRwr),
      View(4, 50), View(5, 51), View(6, 50, ReplicaState::kTemporary)};
  views[3].node = NodeState::kDead;
  ReplicaView corrupt = View(7, 50);
  corrupt.replica.corrupt = true;
  views.push_back(corrupt);
  BlockHealth h = EvaluateClosed(Closed(), views);
  EXPECT_EQ(h.good, std::vector<NodeIndex>{1});
  EXPECT_EQ(h.outdated, std::vector<NodeIndex>{2});
  EXPECT_EQ(h.unfinished, std::vector<NodeIndex>{3});
  EXPECT_EQ(h.corrupt, std::vector<NodeIndex>{7});
  EXPECT_EQ(h.missing_copies, 2u);
  EXPECT_FALSE(h.missing);
}

TEST(BlockHealth, ExcessWaitsForEveryNodeInvolvedToReportInThisTerm) {
  std::vector<ReplicaView> views = {View(1, 50), View(2, 50), View(3, 50), View(4, 50)};
  EXPECT_EQ(ChooseExcess(Closed(), views).size(), 1u);
  views[2].reported_in_term = false;
  EXPECT_TRUE(ChooseExcess(Closed(), views).empty());
  views[2].reported_in_term = true;
  views[2].node = NodeState::kStale;
  EXPECT_TRUE(ChooseExcess(Closed(), views).empty());
}

TEST(BlockHealth, ExcessKeepsRacksApartThenFreesTheFullest) {
  std::vector<ReplicaView> views = {View(1, 50), View(2, 50), View(3, 50), View(4, 50)};
  views[0].rack = "/other";
  views[0].available_bytes = 1;  // the fullest, but alone in its rack
  views[2].available_bytes = 10;
  EXPECT_EQ(ChooseExcess(Closed(), views), std::vector<NodeIndex>{3});
  EXPECT_EQ(ChooseExcess(Closed(2), views), (std::vector<NodeIndex>{3, 2}));
}

TEST(BlockHealth, ObsoleteGoesOnlyWhenAllCopiesAreThere) {
  std::vector<ReplicaView> views = {View(1, 50), View(2, 50), View(9, 49)};
  EXPECT_TRUE(ChooseObsolete(Closed(), views, 5).empty());  // a third can still be made elsewhere
  views.push_back(View(3, 50));
  EXPECT_EQ(ChooseObsolete(Closed(), views, 5), std::vector<NodeIndex>{9});
}

TEST(BlockHealth, ObsoleteMakesRoomWhenItsNodeIsTheOnlyPlaceLeft) {
  std::vector<ReplicaView> views = {View(1, 50), View(2, 50),
                                    View(3, 50, ReplicaState::kWrongLength)};
  EXPECT_EQ(ChooseObsolete(Closed(), views, 3), std::vector<NodeIndex>{3});
  EXPECT_TRUE(ChooseObsolete(Closed(), views, 4).empty());
  views[2] = View(3, 50);
  views[1].replica.corrupt = views[2].replica.corrupt = true;
  EXPECT_EQ(ChooseObsolete(Closed(), views, 3), std::vector<NodeIndex>{2}) << "one at a time";
  // Outdated and unfinished ones are in nobody's way (a copy replaces them), and with none good nothing is deleted.
  std::vector<ReplicaView> unfinished = {View(1, 50), View(2, 50), View(3, 50, ReplicaState::kRwr)};
  EXPECT_TRUE(ChooseObsolete(Closed(), unfinished, 3).empty());
  std::vector<ReplicaView> one = {View(1, 50), View(2, 49), View(3, 49)};
  EXPECT_TRUE(ChooseObsolete(Closed(), one, 3).empty());
  // But for an outdated one that leaves no room for the copy beside it.
  one[2].available_bytes = Closed().length;
  EXPECT_TRUE(ChooseObsolete(Closed(), one, 3).empty()) << "the other node has room";
  one[1].available_bytes = Closed().length;
  EXPECT_EQ(ChooseObsolete(Closed(), one, 3), std::vector<NodeIndex>{2}) << "one at a time";
  EXPECT_TRUE(ChooseObsolete(Closed(), one, 4).empty()) << "a fourth node has none";
  std::vector<ReplicaView> none = {View(1, 49), View(2, 49), View(3, 49)};
  EXPECT_TRUE(ChooseObsolete(Closed(), none, 3).empty());
}

// ---- Placement

PlacementNode Node(NodeIndex n, const char* host, const char* rack, uint64_t free = 1000,
                   NodeState state = NodeState::kLive, uint32_t load = 0) {
  PlacementNode p;
  p.node = n;
  p.host_id = host;
  p.rack = rack;
  p.capacity_bytes = 1000;
  p.available_bytes = free;
  p.state = state;
  p.load = load;
  return p;
}

TEST(Placement, WriterLocalThenOtherRackThenTheSameRackAsTheSecond) {
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1"), Node(1, "b", "/1"), Node(2, "c", "/2"),
                                      Node(3, "d", "/2"), Node(4, "e", "/3"), Node(5, "f", "/3")};
  for (uint64_t seed = 1; seed <= 200; ++seed) {
    Random random(seed);
    PlacementRequest request;
    request.replicas = 3;
    request.block_bytes = 100;
    request.writer_host = "b";
    auto chosen = ChooseTargets(nodes, request, random);
    ASSERT_EQ(chosen.size(), 3u);
    EXPECT_EQ(chosen[0], 1);
    EXPECT_NE(nodes[chosen[1]].rack, "/1");
    EXPECT_EQ(nodes[chosen[1]].rack, nodes[chosen[2]].rack);
    EXPECT_NE(chosen[1], chosen[2]);
  }
}

TEST(Placement, NeverFewerThanAskedWhileThereAreNodes) {
  // Busy, stale, nearly full, all on one host: taken before none. Dead, full and excluded ones are not.
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1", 1000, NodeState::kLive, 500),
                                      Node(1, "a", "/1", 1000, NodeState::kStale),
                                      Node(2, "a", "/1", 5),
                                      Node(3, "a", "/1", 1000, NodeState::kDead),
                                      Node(4, "a", "/1", 0),
                                      Node(5, "a", "/1")};
  Random random(1);
  PlacementRequest request;
  request.replicas = 5;
  request.block_bytes = 100;
  request.exclude = {5};
  auto chosen = ChooseTargets(nodes, request, random);
  EXPECT_EQ(chosen, (std::vector<NodeIndex>{0, 1, 2}));  // in the order of their worth
}

TEST(Placement, DistinctHostsBeforeASecondProcessOfOne) {
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1"), Node(1, "a", "/1"), Node(2, "b", "/1"),
                                      Node(3, "c", "/1")};
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    Random random(seed);
    PlacementRequest request;
    request.writer_host = "a";
    auto chosen = ChooseTargets(nodes, request, random);
    std::set<std::string_view> hosts;
    for (NodeIndex n : chosen) hosts.insert(nodes[n].host_id);
    EXPECT_EQ(hosts.size(), 3u);
  }
}

TEST(Placement, SpreadsByLoadAndSpace) {
  std::vector<PlacementNode> nodes;
  std::vector<std::string> hosts;
  for (int i = 0; i < 10; ++i) hosts.push_back("h" + std::to_string(i));
  for (NodeIndex i = 0; i < 10; ++i) {
    nodes.push_back(
        Node(i, hosts[i].c_str(), "/1", i == 9 ? 200 : 1000, NodeState::kLive, i == 8 ? 20 : 0));
  }
  std::vector<int> chosen(10, 0);
  Random random(7);
  for (int n = 0; n < 5000; ++n) {
    PlacementRequest request;
    request.replicas = 1;
    request.block_bytes = 100;
    ++chosen[ChooseTargets(nodes, request, random)[0]];
  }
  for (int i = 0; i < 8; ++i) EXPECT_GT(chosen[static_cast<size_t>(i)], 400);
  EXPECT_LT(chosen[8], 100);  // busy: only when it is drawn twice
  EXPECT_LT(chosen[9], 200);  // little space
  EXPECT_GT(chosen[8] + chosen[9], 0);
}

TEST(Placement, ReadersAreSentToTheirHostThenRackThenTheIdle) {
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1"), Node(1, "b", "/1"), Node(2, "c", "/2"),
                                      Node(3, "d", "/2", 1000, NodeState::kLive, 40)};
  Random random(3);
  std::vector<NodeIndex> replicas = {3, 2, 1, 0};
  OrderForReading(nodes, "a", random, &replicas);
  EXPECT_EQ(replicas, (std::vector<NodeIndex>{0, 1, 2, 3}));
  nodes[0].state = NodeState::kStale;
  OrderForReading(nodes, "a", random, &replicas);
  EXPECT_EQ(replicas.back(), 0);
}

// ---- The next copy

TEST(PlanCopy, TakesTheIdleSourceAndKeepsBothEndsBounded) {
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1", 10'000), Node(1, "b", "/1", 10'000),
                                      Node(2, "c", "/2", 10'000), Node(3, "d", "/2", 10'000)};
  std::vector<ReplicaView> views = {View(0, 50), View(1, 50)};
  Random random(1);
  auto plan = PlanCopy(Closed(), views, {}, nodes, std::vector<CopyLoad>{{0, 1}}, 2, random);
  ASSERT_TRUE(plan.has_value());
  EXPECT_EQ(plan->source, 1);
  EXPECT_GE(plan->target, 2);
  // Both sources busy: wait. All targets busy: wait. Enough under way: done.
  EXPECT_FALSE(
      PlanCopy(Closed(), views, {}, nodes, std::vector<CopyLoad>{{0, 2}, {1, 2}}, 2, random));
  EXPECT_FALSE(
      PlanCopy(Closed(), views, {}, nodes, std::vector<CopyLoad>{{2, 2}, {3, 2}}, 2, random));
  EXPECT_FALSE(PlanCopy(Closed(), views, std::vector<NodeIndex>{2}, nodes, {}, 2, random));
  auto other = PlanCopy(Closed(4), views, std::vector<NodeIndex>{2}, nodes, {}, 2, random);
  ASSERT_TRUE(other.has_value());
  EXPECT_EQ(other->target, 3);
}

TEST(PlanCopy, OutdatedAndUnfinishedReplicasAreReplacedButNoOthersAre) {
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1", 10'000), Node(1, "b", "/1", 10'000),
                                      Node(2, "c", "/1", 10'000)};
  Random random(1);
  std::vector<ReplicaView> views = {View(0, 50), View(1, 50), View(2, 49)};
  for (const ReplicaView& gives_way :
       {View(2, 49), View(2, 49, ReplicaState::kRbw), View(2, 50, ReplicaState::kRwr),
        View(2, 50, ReplicaState::kRbw)}) {
    views[2] = gives_way;
    auto plan = PlanCopy(Closed(), views, {}, nodes, {}, 2, random);
    ASSERT_TRUE(plan.has_value());
    EXPECT_LT(plan->source, 2);
    EXPECT_EQ(plan->target, 2);
  }
  for (const ReplicaView& stays : {View(2, 51), View(2, 50, ReplicaState::kWrongLength),
                                   View(2, 49, ReplicaState::kTemporary)}) {
    views[2] = stays;
    EXPECT_FALSE(PlanCopy(Closed(), views, {}, nodes, {}, 2, random));
  }
  views[2] = View(2, 50);
  views[2].replica.corrupt = true;
  EXPECT_FALSE(PlanCopy(Closed(), views, {}, nodes, {}, 2, random));
}

TEST(PlanCopy, NeverFromAnOutdatedCorruptOrUnfinishedReplica) {
  std::vector<PlacementNode> nodes = {Node(0, "a", "/1", 10'000), Node(1, "b", "/1", 10'000),
                                      Node(2, "c", "/1", 10'000), Node(3, "d", "/1", 10'000)};
  std::vector<ReplicaView> views = {View(0, 49), View(1, 50, ReplicaState::kRwr), View(2, 50)};
  views[2].replica.corrupt = true;
  Random random(1);
  EXPECT_FALSE(PlanCopy(Closed(), views, {}, nodes, {}, 2, random));
}

TEST(ReplicationQueue, FewestLiveCopiesFirst) {
  ReplicationQueue queue;
  auto block = [](uint64_t n) { return BlockId(kFirstBlockCounter + n); };
  queue.Want(block(1), 2);
  queue.Want(block(2), 1);
  queue.Want(block(3), 0);
  queue.Want(block(4), 1);
  EXPECT_EQ(queue.missing(), 1u);
  EXPECT_EQ(queue.waiting(), 4u);
  EXPECT_EQ(queue.Next(10), (std::vector<BlockId>{block(2), block(4), block(1)}));
  EXPECT_EQ(queue.Next(1), std::vector<BlockId>{block(2)});
  EXPECT_EQ(queue.Next(1), std::vector<BlockId>{block(4)});  // goes round
  queue.Want(block(1), 0);
  queue.Drop(block(2));
  EXPECT_EQ(queue.Next(10), std::vector<BlockId>{block(4)});
  EXPECT_EQ(queue.missing(), 2u);
}

TEST(ReplicationQueue, CopiesExpireAndGoWithTheirNode) {
  ReplicationQueue queue;
  BlockId a(kFirstBlockCounter), b(kFirstBlockCounter + 1);
  queue.Started({a, 1, 2, 100});
  queue.Started({a, 1, 3, 200});
  queue.Started({b, 4, 1, 300});
  EXPECT_EQ(queue.Expire(100).size(), 1u);
  EXPECT_FALSE(queue.Finished(a, 2));
  EXPECT_EQ(queue.CancelNode(1).size(), 2u);
  EXPECT_EQ(queue.under_way(), 0u);
}

// ---- Deletion and safe mode

TEST(Deletion, DelayShrinksAsSpaceRunsShort) {
  EXPECT_EQ(EffectiveDeletionDelay(kHour, 500, 1000), kHour);
  EXPECT_EQ(EffectiveDeletionDelay(kHour, 200, 1000), kHour);
  EXPECT_NEAR(static_cast<double>(EffectiveDeletionDelay(kHour, 125, 1000)), kHour / 2.0, 1e6);
  EXPECT_EQ(EffectiveDeletionDelay(kHour, 50, 1000), 0);
  EXPECT_EQ(EffectiveDeletionDelay(kHour, 0, 1000), 0);
}

TEST(Deletion, QueueKeepsTheFirstTime) {
  DeletionQueue queue;
  BlockId a(1), b(2);
  queue.Schedule(a, 0);
  queue.Schedule(b, 50);
  queue.Schedule(a, 90);
  EXPECT_TRUE(queue.TakeDue(99, 100, 10).empty());
  EXPECT_EQ(queue.TakeDue(100, 100, 10), std::vector<BlockId>{a});
  EXPECT_EQ(queue.TakeDue(1000, 100, 10), std::vector<BlockId>{b});
  EXPECT_EQ(queue.size(), 0u);
}

TEST(Deletion, BrakeHoldsAboveFivePercentAndAThousand) {
  DeletionBrake small;  // a thousand may always go
  EXPECT_TRUE(small.Allow(1000, 2000, kSecond));
  EXPECT_TRUE(small.Allow(1000, 2000, kSecond + kHour)) << "in every hour";
  EXPECT_FALSE(small.Allow(1, 2000, kSecond + kHour));
  EXPECT_TRUE(small.holds());
  EXPECT_FALSE(small.Allow(1, 2000, 100 * kHour)) << "until somebody has looked";
  DeletionBrake large;  // and 5% of many
  EXPECT_TRUE(large.Allow(5000, 100'000, kSecond));
  EXPECT_FALSE(large.Allow(1, 100'000, kSecond));
  large.Release(2 * kSecond);
  EXPECT_FALSE(large.holds());
  EXPECT_TRUE(large.Allow(90'000, 100'000, 3 * kSecond)) << "they were told to go";
  EXPECT_TRUE(large.Allow(1000, 10'000, 3 * kSecond + kHour));
  EXPECT_FALSE(large.Allow(1000, 10'000, 3 * kSecond + kHour)) << "but not for ever";
}

TEST(Deletion, BrakeHoldsAfterALoss) {
  DeletionBrake loss;
  EXPECT_FALSE(loss.OnLoss(1000, 1000));
  EXPECT_FALSE(loss.OnLoss(1001, 100'000));
  EXPECT_FALSE(loss.holds());
  EXPECT_TRUE(loss.OnLoss(6000, 100'000));
  EXPECT_TRUE(loss.holds());
  EXPECT_FALSE(loss.Allow(1, 1'000'000, 2 * kSecond));
  loss.Release(3 * kSecond);
  EXPECT_TRUE(loss.Allow(1, 1'000'000, 4 * kSecond));
  EXPECT_TRUE(loss.OnLoss(6000, 100'000)) << "another";
  EXPECT_FALSE(loss.Allow(1, 1'000'000, 5 * kSecond));
}

TEST(SafeMode, LastsUntilEverybodyWhoIsThereHasReported) {
  SafeModeInput in;
  in.dead_after_ns = 60 * kSecond;
  EXPECT_FALSE(InSafeMode(in));  // a new cluster: nothing to wait for
  in.blocks = 100;
  in.since_start_ns = 120 * kSecond;
  EXPECT_TRUE(InSafeMode(in));  // nobody there
  in.live_nodes = 3;
  in.live_nodes_reported = 2;
  in.blocks_with_replica = 100;
  EXPECT_TRUE(InSafeMode(in));
  in.live_nodes_reported = 3;
  EXPECT_FALSE(InSafeMode(in));
  in.since_start_ns = 30 * kSecond;  // somebody may still be booting
  EXPECT_TRUE(InSafeMode(in));
  in.since_start_ns = 61 * kSecond;
  in.blocks_with_replica = 10;  // most of the cluster is not there
  EXPECT_TRUE(InSafeMode(in));
  in.since_start_ns = 601 * kSecond;
  EXPECT_FALSE(InSafeMode(in));
}

// ---- Registry

TEST(DatanodeRegistry, StaleThenDeadThenMustRegisterAgain) {
  DatanodeRegistry registry(DatanodeTimeouts{5 * kSecond, 60 * kSecond});
  EXPECT_EQ(registry.Heartbeat(DatanodeId(1), 0), nullptr);
  Datanode* node = registry.Register(DatanodeId(1), 0);
  ASSERT_NE(node, nullptr);
  node->need_report = false;
  node->reported = true;
  EXPECT_TRUE(registry.Tick(4 * kSecond).died.empty());
  EXPECT_EQ(node->state, NodeState::kLive);
  registry.Tick(5 * kSecond);
  EXPECT_EQ(node->state, NodeState::kStale);
  EXPECT_NE(registry.Heartbeat(DatanodeId(1), 6 * kSecond), nullptr);
  EXPECT_EQ(node->state, NodeState::kLive);
  EXPECT_EQ(registry.Tick(66 * kSecond).died, std::vector<NodeIndex>{0});
  EXPECT_TRUE(registry.Tick(67 * kSecond).died.empty());
  EXPECT_EQ(registry.Heartbeat(DatanodeId(1), 68 * kSecond), nullptr);
  EXPECT_EQ(registry.Register(DatanodeId(1), 69 * kSecond), node);
  EXPECT_FALSE(node->reported);
  EXPECT_TRUE(node->need_report);
}

TEST(DatanodeRegistry, FailedVolumesDoNotCount) {
  Datanode node;
  DatanodeRegistry::SetVolumes(node, {{1, 100, 50, 50, false}, {2, 100, 100, 0, true}});
  EXPECT_EQ(node.capacity_bytes, 100u);
  EXPECT_EQ(node.available_bytes, 50u);
  EXPECT_EQ(node.failed_volumes, 1);
}

}  // namespace
}  // namespace dfs::nn
