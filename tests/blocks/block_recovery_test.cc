// The recovery core, rule by rule of protocols section 6.
#include "namenode/blocks/block_recovery.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"
#include "common/base/defects.h"

namespace dfs::nn {
namespace {

using Action = BlockRecovery::Action;
using Kind = Action::Kind;
using Phase = BlockRecovery::Phase;

const DatanodeId A(1), B(2), C(3);
const Stamp kOld(10), kFence(20);

BlockRecovery::Target MakeTarget(std::vector<DatanodeId> members = {A, B, C},
                                 uint64_t committed = 0, bool closed = false) {
  BlockRecovery::Target t;
  t.block = BlockId(kFirstBlockCounter);
  t.stamp = kOld;
  t.committed_length = committed;
  t.was_closed = closed;
  t.members = std::move(members);
  return t;
}
BlockRecovery::Target Fenced(BlockRecovery::Target t) {
  t.stamp = kFence;
  return t;
}
RecoveryAnswer Has(uint64_t length, ReplicaState state = ReplicaState::kRbw, Stamp stamp = kOld) {
  return {true, stamp, length, state};
}
RecoveryAnswer HasNot() {
  return {};
}

/// A recovery that was fenced and has asked its members.
struct Recovery {
  explicit Recovery(BlockRecovery::Target t) : target(std::move(t)), core(target, {}) {
    auto first = core.Start(now);
    EXPECT_EQ(first.size(), 1u);
    EXPECT_EQ(first[0].kind, Kind::kProposeFence);
    EXPECT_EQ(first[0].stamp, kOld);
    auto asks = core.OnFenced(Fenced(target), now);
    EXPECT_EQ(asks.size(), target.members.size());
    for (const Action& a : asks) {
      EXPECT_EQ(a.kind, Kind::kSendInit);
      EXPECT_EQ(a.stamp, kFence);
    }
  }
  BlockRecovery::Actions Answer(DatanodeId who, const RecoveryAnswer& a) {
    return core.OnInit(who, kFence, a, now);
  }
  /// Time passes in ticks; what was done in them.
  BlockRecovery::Actions Wait(int64_t ns) {
    BlockRecovery::Actions all;
    for (int64_t end = now + ns; now < end;) {
      now += 200 * kMillisecond;
      for (Action& a : core.OnTick(now)) all.push_back(std::move(a));
    }
    return all;
  }
  int64_t now = 1000 * kSecond;
  BlockRecovery::Target target;
  BlockRecovery core;
};

TEST(BlockRecovery, FencesByCommitBeforeItAsksAnybody) {
  BlockRecovery core(MakeTarget(), {});
  auto actions = core.Start(0);
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kProposeFence);
  EXPECT_EQ(core.phase(), Phase::kFencing);
  // However long the commit takes, nobody is asked.
  for (int64_t t = 0; t < 60 * kSecond; t += kSecond) EXPECT_TRUE(core.OnTick(t).empty());
  // A failed proposal is made again, the same.
  core.OnProposalFailed(60 * kSecond);
  EXPECT_TRUE(core.OnTick(60 * kSecond).empty());
  auto again = core.OnTick(61 * kSecond);
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].kind, Kind::kProposeFence);
}

TEST(BlockRecovery, ShortestOfThoseThatDidNotRestart) {
  Recovery run(MakeTarget());
  EXPECT_TRUE(run.Answer(A, Has(1000)).empty());
  EXPECT_TRUE(run.Answer(B, Has(900)).empty());
  // C restarted; that it has less says nothing about what was acknowledged.
  auto finish = run.Answer(C, Has(500, ReplicaState::kRwr));
  ASSERT_EQ(finish.size(), 1u);  // the source first, alone
  EXPECT_EQ(finish[0].kind, Kind::kSendFinish);
  EXPECT_EQ(finish[0].to, B);
  EXPECT_FALSE(finish[0].source.valid());
  EXPECT_EQ(finish[0].length, 900u);
  auto others = run.core.OnFinish(B, kFence, 900, run.now);
  ASSERT_EQ(others.size(), 2u);
  for (const Action& a : others) {
    EXPECT_EQ(a.source, B);
    EXPECT_EQ(a.length, 900u);
    EXPECT_EQ(a.stamp, kFence);
  }
  EXPECT_TRUE(run.core.OnFinish(A, kFence, 900, run.now).empty());
  auto close = run.core.OnFinish(C, kFence, 900, run.now);
  ASSERT_EQ(close.size(), 1u);
  EXPECT_EQ(close[0].kind, Kind::kProposeClose);
  EXPECT_EQ(close[0].length, 900u);
  EXPECT_EQ(close[0].members, (std::vector<DatanodeId>{A, B, C}));
  EXPECT_FALSE(close[0].allow_shorter);
  run.core.OnClosed();
  EXPECT_TRUE(run.core.done());
}

TEST(BlockRecovery, WhenAllRestartedTheShortestOfThem) {
  Recovery run(MakeTarget());
  run.Answer(A, Has(1000, ReplicaState::kRwr));
  run.Answer(B, Has(700, ReplicaState::kRwr));
  auto finish = run.Answer(C, Has(800, ReplicaState::kRwr));
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].to, B);
  EXPECT_EQ(finish[0].length, 700u);
}

TEST(BlockRecovery, AReplicaTheWriterFinalizedCountsAsNotRestarted) {
  auto choice = ChooseRecovery({{A, Has(600, ReplicaState::kRwr)},
                                {B, Has(1000, ReplicaState::kFinalized)},
                                {C, Has(1200, ReplicaState::kRbw)}},
                               false, 0);
  ASSERT_TRUE(choice.has_value());
  EXPECT_EQ(choice->length, 1000u);
  EXPECT_EQ(choice->source, B);
}

TEST(BlockRecovery, TheSilentAreExcludedByCommitAndOnlyThen) {
  Recovery run(MakeTarget());
  run.Answer(A, Has(1000));
  run.Answer(B, Has(1000));
  run.core.OnInitFailed(C, kFence, run.now);
  // It is asked again while there is patience.
  auto waiting = run.Wait(4 * kSecond);
  ASSERT_FALSE(waiting.empty());
  EXPECT_EQ(waiting[0].kind, Kind::kSendInit);
  EXPECT_EQ(waiting[0].to, C);
  run.core.OnInitFailed(C, kFence, run.now);
  auto actions = run.Wait(3 * kSecond);
  ASSERT_FALSE(actions.empty());
  EXPECT_EQ(actions.back().kind, Kind::kProposeExclude);
  EXPECT_EQ(actions.back().members, (std::vector<DatanodeId>{A, B}));
  EXPECT_EQ(actions.back().stamp, kFence);
  EXPECT_TRUE(run.Wait(20 * kSecond).empty());  // nothing before the commit
  EXPECT_TRUE(run.Answer(C, Has(10)).empty());  // and too late for C
  auto finish = run.core.OnExcluded({A, B}, run.now);
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].kind, Kind::kSendFinish);
  EXPECT_EQ(finish[0].length, 1000u);
}

TEST(BlockRecovery, NeverDecidesBecauseNobodySpoke) {
  Recovery run(MakeTarget());
  for (int round = 0; round < 100; ++round) {
    for (DatanodeId id : {A, B, C}) run.core.OnInitFailed(id, kFence, run.now);
    for (const Action& a : run.Wait(10 * kSecond)) EXPECT_EQ(a.kind, Kind::kSendInit);
  }
  EXPECT_EQ(run.core.phase(), Phase::kAsking);
}

TEST(BlockRecovery, TheDefectDecidesOnSilence) {
  SetDefect(Defect::kRecoveryOnSilence, true);
  Recovery run(MakeTarget());
  for (DatanodeId id : {A, B, C}) run.core.OnInitFailed(id, kFence, run.now);
  auto actions = run.Wait(10 * kSecond);
  SetDefect(Defect::kRecoveryOnSilence, false);
  ASSERT_FALSE(actions.empty());
  EXPECT_EQ(actions.back().kind, Kind::kProposeClose);
  EXPECT_EQ(actions.back().length, 0u);
}

TEST(BlockRecovery, OneThatSaysItHasNothingIsNotSilenceButNoLengthEither) {
  Recovery run(MakeTarget());
  run.Answer(A, HasNot());
  run.Answer(B, HasNot());
  for (const Action& a : run.Wait(60 * kSecond)) EXPECT_EQ(a.kind, Kind::kSendInit);
  EXPECT_EQ(run.core.phase(), Phase::kAsking);  // C has not spoken, and may have it
  auto actions = run.Answer(C, Has(100));
  ASSERT_EQ(actions.size(), 1u);  // the others are left out, by commit
  EXPECT_EQ(actions[0].kind, Kind::kProposeExclude);
  EXPECT_EQ(actions[0].members, std::vector<DatanodeId>{C});
}

TEST(BlockRecovery, NothingWasEverStored) {
  Recovery run(MakeTarget());
  run.Answer(A, HasNot());
  run.Answer(B, HasNot());
  auto actions = run.Answer(C, HasNot());
  ASSERT_EQ(actions.size(), 1u);
  EXPECT_EQ(actions[0].kind, Kind::kProposeAbandon);
  // With bytes committed it is a loss to be waited out, not an empty block.
  Recovery committed(MakeTarget({A, B}, 100));
  committed.Answer(A, HasNot());
  EXPECT_TRUE(committed.Answer(B, HasNot()).empty());
  committed.Wait(60 * kSecond);
  EXPECT_EQ(committed.core.phase(), Phase::kAsking);
}

TEST(BlockRecovery, CommittedBytesAreGivenUpOnlyWhenEveryMemberHasSpoken) {
  Recovery run(MakeTarget({A, B}, 1000));
  run.Answer(A, Has(800, ReplicaState::kRwr));
  run.core.OnInitFailed(B, kFence, run.now);
  for (const Action& a : run.Wait(600 * kSecond)) {
    EXPECT_EQ(a.kind, Kind::kSendInit);
    run.core.OnInitFailed(B, kFence, run.now);
  }
  auto finish = run.Answer(B, Has(900, ReplicaState::kRwr));
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].length, 800u);
  auto other = run.core.OnFinish(A, kFence, 800, run.now);
  ASSERT_EQ(other.size(), 1u);
  auto close = run.core.OnFinish(B, kFence, 800, run.now);
  ASSERT_EQ(close.size(), 1u);
  EXPECT_TRUE(close[0].allow_shorter);
}

TEST(BlockRecovery, AClosedBlockKeepsItsLengthWhenOneReplicaHasIt) {
  Recovery run(MakeTarget({A, B}, 1000, true));
  run.Answer(A, Has(400, ReplicaState::kRwr));
  auto finish = run.Answer(B, Has(1100, ReplicaState::kRwr));
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].to, B);
  EXPECT_EQ(finish[0].length, 1000u);
}

TEST(BlockRecovery, GarbageThatATruncationLeftDoesNotCount) {
  BlockRecovery::Target target = MakeTarget({A, B});
  target.cut_stamp = kOld;
  target.cut_length = 300;
  Recovery run(target);
  run.Answer(A, Has(5000));
  auto finish = run.Answer(B, Has(400, ReplicaState::kRbw, Stamp(11)));
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].length, 300u);
  EXPECT_EQ(finish[0].to, A);
}

TEST(BlockRecovery, ASourceThatCannotFinishIsReplacedByCommit) {
  Recovery run(MakeTarget({A, B}));
  run.Answer(A, Has(900));
  auto finish = run.Answer(B, Has(1000));
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].to, A);
  BlockRecovery::Actions last;
  for (int n = 0; n < 40 && run.core.phase() == Phase::kFinishing; ++n) {
    run.core.OnFinishFailed(A, kFence, run.now);
    last = run.Wait(400 * kMillisecond);
  }
  ASSERT_EQ(run.core.phase(), Phase::kExcluding);
  ASSERT_FALSE(last.empty());
  EXPECT_EQ(last.back().members, std::vector<DatanodeId>{B});
  // A may yet finish under this stamp, with its own bytes: the block must not be closed with it.
  auto fence = run.core.OnExcluded({B}, run.now);
  ASSERT_EQ(fence.size(), 1u);
  EXPECT_EQ(fence[0].kind, Kind::kProposeFence);
  EXPECT_EQ(fence[0].stamp, kFence);
  BlockRecovery::Target again = MakeTarget({B});
  again.stamp = Stamp(30);
  auto ask = run.core.OnFenced(again, run.now);
  ASSERT_EQ(ask.size(), 1u);
  EXPECT_EQ(ask[0].kind, Kind::kSendInit);
  EXPECT_EQ(ask[0].to, B);
  EXPECT_EQ(ask[0].stamp, Stamp(30));
  EXPECT_TRUE(run.core.OnFinish(A, kFence, 900, run.now).empty());
  auto next = run.core.OnInit(B, Stamp(30), Has(1000), run.now);
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].to, B);
  EXPECT_EQ(next[0].length, 1000u);
  auto close = run.core.OnFinish(B, Stamp(30), 1000, run.now);
  ASSERT_EQ(close.size(), 1u);
  EXPECT_EQ(close[0].stamp, Stamp(30));
  EXPECT_EQ(close[0].members, std::vector<DatanodeId>{B});
}

// A leader that takes a recovery over does not know any more that the block was closed; the record's length tells.
TEST(BlockRecovery, WhenAllRestartedOneThatHasTheCommittedBytesIsTheSource) {
  Recovery run(MakeTarget({A, B, C}, 1000));
  run.Answer(A, Has(700, ReplicaState::kRwr));
  run.Answer(B, Has(1200, ReplicaState::kRwr));
  auto finish = run.Answer(C, Has(1100, ReplicaState::kRwr));
  ASSERT_EQ(finish.size(), 1u);
  EXPECT_EQ(finish[0].to, C);
  EXPECT_EQ(finish[0].length, 1100u);
}

TEST(BlockRecovery, TheLastMemberIsNeverGivenUp) {
  Recovery run(MakeTarget({A}));
  run.Answer(A, Has(900));
  for (int n = 0; n < 400; ++n) {
    run.core.OnFinishFailed(A, kFence, run.now);
    for (const Action& a : run.Wait(kSecond)) EXPECT_EQ(a.kind, Kind::kSendFinish);
  }
  EXPECT_EQ(run.core.phase(), Phase::kFinishing);
}

TEST(BlockRecovery, ACopyThatIsNotWhatWasAskedIsNoMember) {
  Recovery run(MakeTarget({A, B}));
  run.Answer(A, Has(900));
  run.Answer(B, Has(1000));
  EXPECT_TRUE(run.core.OnFinish(A, kFence, 850, run.now).empty());
  EXPECT_TRUE(run.core.OnFinish(A, Stamp(19), 900, run.now).empty());
  EXPECT_EQ(run.core.phase(), Phase::kFinishing);
}

}  // namespace
}  // namespace dfs::nn
