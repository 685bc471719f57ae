#include <gtest/gtest.h>

#include "common/base/defects.h"
#include "tests/raft/script.h"

namespace dfs::raft {
namespace {

Options NoLease() {
  Options o;
  o.lease_ns = 0;
  return o;
}

TEST(RaftReadTest, ALeaseCountsFromTheSendingOfTheHeartbeat) {
  Script s(3);
  s.Elect(1);
  s.Advance(1, 200 * kMillisecond);
  ASSERT_TRUE(s.at(1).HasLease(s.now));
  // Sent now, answered much later.
  s.now = s.at(1).NextDeadlineNs();
  int64_t sent = s.now;
  s.at(1).Tick(s.now);
  s.Collect(1);
  s.now += 250 * kMillisecond;
  s.Settle();
  EXPECT_TRUE(s.at(1).HasLease(sent + 299 * kMillisecond));
  EXPECT_FALSE(s.at(1).HasLease(sent + 300 * kMillisecond));
}

TEST(RaftReadTest, NoLeaseWithoutAQuorum) {
  Script s(3);
  s.Elect(1);
  s.Advance(1, 200 * kMillisecond);
  s.now += 301 * kMillisecond;
  EXPECT_FALSE(s.at(1).HasLease(s.now));
  SetDefect(Defect::kLeaseWithoutQuorum, true);
  EXPECT_TRUE(s.at(1).HasLease(s.now));
  SetDefect(Defect::kLeaseWithoutQuorum, false);
}

TEST(RaftReadTest, NoLeaseBeforeTheFirstCommitOfTheTerm) {
  Script s(3);
  s.now += 2 * kSecond;
  s.TimeOut(1);
  for (int i = 0; i < 10 && !s.at(1).is_leader(); ++i) {
    s.PersistAll();
    s.Deliver();
  }
  for (Message& m : s.TakeWire()) {
    if (m.type == MessageType::kHeartbeat) s.Step(m);  // acknowledged, but nothing is committed
  }
  s.Persist(2);
  s.Deliver();
  EXPECT_FALSE(s.at(1).committed_in_term());
  EXPECT_FALSE(s.at(1).HasLease(s.now));
}

/// A stamp that was never sent proves nothing.
TEST(RaftReadTest, InventedStampsAreIgnored) {
  Script s(3);
  s.Elect(1);
  s.now += kSecond;
  for (size_t from : {2, 3}) {
    Message m = s.Make(MessageType::kHeartbeatReply, from, 1, s.at(1).term());
    m.stamp = s.now + 100 * kSecond;
    s.Step(m);
  }
  EXPECT_FALSE(s.at(1).HasLease(s.now));
}

/// Checklist 20.
TEST(RaftReadTest, TheRoundStartsAfterTheReadArrived) {
  Script s(3, NoLease());
  s.Elect(1);
  s.Advance(1, 150 * kMillisecond);
  s.now = s.at(1).NextDeadlineNs();
  s.at(1).Tick(s.now);  // a heartbeat goes out first
  s.Collect(1);
  ASSERT_TRUE(s.at(1).ReadIndex(7, s.now));
  auto before = s.TakeWire();
  s.Collect(1);
  auto round = s.TakeWire();
  for (Message& m : before) s.Step(m);
  s.PersistAll();
  s.Deliver();  // its answers come back
  EXPECT_TRUE(s.reads[1].empty());
  s.TakeWire();
  if (round.empty()) {  // the read's own round goes out behind the one that was under way
    s.Settle();
  } else {
    for (Message& m : round) s.Step(m);
    s.Settle();
  }
  ASSERT_EQ(s.reads[1].size(), 1u);
  EXPECT_EQ(s.reads[1][0].context, 7u);
  EXPECT_EQ(s.reads[1][0].index, s.at(1).commit_index());
}

TEST(RaftReadTest, ReadsShareRounds) {
  Script s(3, NoLease());
  s.Elect(1);
  s.Advance(1, 150 * kMillisecond);
  size_t messages = 0;
  for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(s.at(1).ReadIndex(i, s.now));
  s.Collect(1);
  messages += s.wire.size();
  s.Settle();
  EXPECT_EQ(s.reads[1].size(), 100u);
  EXPECT_LE(messages, 4u);
}

/// Checklist 19.
TEST(RaftReadTest, ANewLeaderReadsOnlyBehindItsFirstCommit) {
  Script s(3, NoLease());
  s.Elect(1);
  s.Elect(1);
  s.now += 2 * kSecond;
  s.TimeOut(2);
  for (int i = 0; i < 10 && !s.at(2).is_leader(); ++i) {
    s.PersistAll();
    s.Deliver();
  }
  ASSERT_TRUE(s.at(2).is_leader());
  ASSERT_TRUE(s.at(2).ReadIndex(1, s.now));
  s.Collect(2);
  EXPECT_TRUE(s.reads[2].empty());
  s.Settle();
  ASSERT_EQ(s.reads[2].size(), 1u);
  EXPECT_TRUE(s.reads[2][0].status);
  EXPECT_GE(s.reads[2][0].index, s.at(2).term_start_index());
}

TEST(RaftReadTest, FollowersReadThroughTheLeader) {
  Script s(3, NoLease());
  s.Elect(1);
  s.Advance(1, 150 * kMillisecond);
  ASSERT_TRUE(s.at(3).ReadIndex(5, s.now));
  s.Collect(3);
  s.Settle();
  ASSERT_EQ(s.reads[3].size(), 1u);
  EXPECT_TRUE(s.reads[3][0].status);
  EXPECT_EQ(s.reads[3][0].index, s.at(1).commit_index());
}

TEST(RaftReadTest, ReadsFailWithLeadershipAndWithoutALeader) {
  Script s(3, NoLease());
  ASSERT_TRUE(s.at(2).ReadIndex(1, s.now));
  s.Collect(2);
  ASSERT_EQ(s.reads[2].size(), 1u);
  EXPECT_TRUE(s.reads[2][0].status.Is(Code::kUnavailable));
  s.Elect(1);
  ASSERT_TRUE(s.at(1).ReadIndex(2, s.now));
  ASSERT_TRUE(s.at(2).ReadIndex(3, s.now));
  s.Collect(1);
  s.Collect(2);
  s.TakeWire();
  s.Step(s.Make(MessageType::kHeartbeat, 3, 1, s.at(1).term() + 1));
  ASSERT_EQ(s.reads[1].size(), 1u);
  EXPECT_TRUE(s.reads[1][0].status.Is(Code::kNotLeader));
  s.now += 2 * kSecond;
  s.at(2).Tick(s.now);  // no answer from the leader
  s.Collect(2);
  ASSERT_EQ(s.reads[2].size(), 2u);
  EXPECT_FALSE(s.reads[2][1].status);
}

TEST(RaftReadTest, ASoleVoterNeedsNobody) {
  for (int64_t lease : {int64_t{0}, 300 * kMillisecond}) {
    Options o;
    o.lease_ns = lease;
    Script s(1, o);
    s.Elect(1);
    EXPECT_EQ(s.at(1).HasLease(s.now + 10 * kSecond), lease != 0);
    ASSERT_TRUE(s.at(1).ReadIndex(1, s.now));
    s.Collect(1);
    EXPECT_EQ(s.reads[1].size(), 1u);
  }
}

}  // namespace
}  // namespace dfs::raft
