#include <gtest/gtest.h>

#include "tests/raft/script.h"

namespace dfs::raft {
namespace {

TEST(RaftElectionTest, GoldenTranscriptOfAnElection) {
  Script s(3);
  s.now += 2 * kSecond;
  s.TimeOut(1);
  EXPECT_EQ(s.Wire(), (Lines{"1>2 pre-vote t1 last 0/0", "1>3 pre-vote t1 last 0/0"}));
  EXPECT_EQ(s.at(1).term(), 0u);
  s.Deliver();
  EXPECT_EQ(s.Wire(), (Lines{"2>1 pre-vote-reply t1 yes", "3>1 pre-vote-reply t1 yes"}));
  EXPECT_EQ(s.at(2).term(), 0u);  // nothing changed at the voter
  s.Deliver();
  EXPECT_EQ(s.at(1).role(), Role::kCandidate);
  EXPECT_TRUE(s.Wire().empty());  // the vote requests wait for the candidate's own term and vote
  s.Persist(1);
  EXPECT_EQ(s.Wire(), (Lines{"1>2 vote t1 last 0/0", "1>3 vote t1 last 0/0"}));
  s.Deliver();
  EXPECT_TRUE(s.Wire().empty());  // so do the votes (checklist 1)
  s.Persist(2);
  EXPECT_EQ(s.Wire(), (Lines{"2>1 vote-reply t1 yes"}));
  s.Deliver();
  EXPECT_TRUE(s.at(1).is_leader());
  EXPECT_EQ(s.Wire(),
            (Lines{"1>2 heartbeat t1 commit 0", "1>3 heartbeat t1 commit 0",
                   "1>2 append t1 after 0/0 n1 commit 0", "1>3 append t1 after 0/0 n1 commit 0"}));
}

TEST(RaftElectionTest, ACandidateDoesNotCountItsOwnVoteBeforeItIsDurable) {
  Script s(1);
  s.now += 2 * kSecond;
  s.TimeOut(1);
  EXPECT_EQ(s.at(1).role(), Role::kCandidate);
  s.Persist(1);
  EXPECT_TRUE(s.at(1).is_leader());
  EXPECT_EQ(s.at(1).commit_index(), 1u);  // the no-op, once durable
}

// With fsyncs that take longer than the election time-out a candidate that began anew each time, and a voter that did,
// would never come to an end.
TEST(RaftElectionTest, ASlowDiskDoesNotMakeACandidateBeginAnew) {
  Script s(3);
  s.now += 2 * kSecond;
  s.TimeOut(1);
  s.Deliver();
  s.Deliver();
  ASSERT_EQ(s.at(1).role(), Role::kCandidate);
  for (int i = 0; i < 5; ++i) s.TimeOut(1);
  EXPECT_EQ(s.at(1).role(), Role::kCandidate);
  EXPECT_TRUE(s.Wire().empty());
  s.Persist(1);
  EXPECT_EQ(s.Wire(), (Lines{"1>2 vote t1 last 0/0", "1>3 vote t1 last 0/0"}));
  EXPECT_GE(s.at(1).NextDeadlineNs() - s.now, s.base.election_min_ns) << "it waits from now on";
  s.Deliver();
  for (int i = 0; i < 5; ++i) s.TimeOut(2);  // its vote is on its way to the disk
  EXPECT_TRUE(s.Wire().empty());
  s.Persist(2);
  EXPECT_GE(s.at(2).NextDeadlineNs() - s.now, s.base.election_min_ns);
  s.Deliver();
  EXPECT_TRUE(s.at(1).is_leader());
  EXPECT_EQ(s.at(1).term(), 1u);
}

TEST(RaftElectionTest, EachCandidacyWaitsLongerForVotes) {
  Script s(3);
  s.now += 2 * kSecond;
  for (int n = 1; n <= 6; ++n) {
    s.TimeOut(1);
    s.Deliver();  // the others would vote for it
    s.Deliver();
    ASSERT_EQ(s.at(1).role(), Role::kCandidate) << n;
    s.Persist(1);
    s.TakeWire();  // and do not get to
    const int64_t wait = s.at(1).NextDeadlineNs() - s.now;
    EXPECT_GE(wait, std::min(n, 4) * s.base.election_min_ns);
    EXPECT_LE(wait, std::min(n, 4) * s.base.election_max_ns);
  }
  s.TimeOut(1);
  s.Settle();
  ASSERT_TRUE(s.at(1).is_leader());
}

TEST(RaftElectionTest, VoteIsGivenOnceATerm) {
  Script s(3);
  Message a = s.Make(MessageType::kVote, 1, 3, 5);
  Message b = s.Make(MessageType::kVote, 2, 3, 5);
  s.now += 2 * kSecond;
  s.Step(a);
  s.Step(b);
  s.Step(a);
  s.Persist(3);
  EXPECT_EQ(s.Wire(),
            (Lines{"3>1 vote-reply t5 yes", "3>2 vote-reply t5 no", "3>1 vote-reply t5 yes"}));
  EXPECT_EQ(s.at(3).vote(), NodeId(1));
}

TEST(RaftElectionTest, AVoteSurvivesARestart) {
  Script s(3);
  s.Start(3, {5, NodeId(1)}, {});
  s.now += 2 * kSecond;
  s.Step(s.Make(MessageType::kVote, 2, 3, 5));
  EXPECT_EQ(s.Wire(), (Lines{"3>2 vote-reply t5 no"}));
}

TEST(RaftElectionTest, AnOlderLogGetsNoVote) {
  Script s(3);
  s.Start(3, {4, NodeId()}, {1, 1, 4});
  s.now += 2 * kSecond;
  for (auto [index, term, granted] :
       {std::tuple<LogIndex, Term, bool>{9, 3, false}, {2, 4, false}, {3, 4, true}, {1, 5, true}}) {
    Message m = s.Make(MessageType::kPreVote, 1, 3, 6);
    m.index = index;
    m.log_term = term;
    s.Step(m);
    ASSERT_EQ(s.wire.size(), 1u);
    EXPECT_EQ(s.TakeWire()[0].reject, !granted) << index << "/" << term;
  }
}

/// Checklist 3: whoever asks with a lower term is answered, and catches up.
TEST(RaftElectionTest, APreCandidateOfAnOlderTermLearnsTheNewOne) {
  Script s(3);
  s.Start(2, {9, NodeId()}, {1});
  s.Start(3, {9, NodeId()}, {1});
  s.Start(1, {4, NodeId()}, {1, 1});
  s.now += 2 * kSecond;
  s.TimeOut(1);
  s.Deliver();
  EXPECT_EQ(s.Wire(), (Lines{"2>1 pre-vote-reply t9 no", "3>1 pre-vote-reply t9 no"}));
  s.Settle();
  EXPECT_EQ(s.at(1).term(), 9u);
  s.TimeOut(1);
  s.Settle();
  EXPECT_TRUE(s.at(1).is_leader());
  EXPECT_EQ(s.at(1).term(), 10u);
}

/// Checklist 4: the recency rule.
TEST(RaftElectionTest, NobodyVotesAgainstALeaderItHearsFrom) {
  Script s(3);
  s.Elect(1);
  Term term = s.at(1).term();
  for (MessageType type : {MessageType::kPreVote, MessageType::kVote}) {
    Message m = s.Make(type, 3, 2, term + 5);
    m.index = 100;
    m.log_term = term;
    s.Step(m);
    m.to = NodeId(1);
    s.Step(m);
    s.PersistAll();
    EXPECT_TRUE(s.Wire().empty());
    EXPECT_EQ(s.at(2).term(), term);
    EXPECT_TRUE(s.at(1).is_leader());
  }
  s.now += s.base.election_min_ns;
  Message m = s.Make(MessageType::kVote, 3, 2, term + 5);
  m.index = 100;
  m.log_term = term;
  s.Step(m);
  s.Persist(2);
  EXPECT_EQ(s.Wire(), (Lines{fmt::format("2>3 vote-reply t{} yes", term + 5)}));
}

/// The promise to a leader is one of time; a change of term does not end it.
TEST(RaftElectionTest, APromiseOutlivesTheTerm) {
  Script s(3);
  s.Elect(1);
  Term term = s.at(1).term();
  s.Step(s.Make(MessageType::kAppendReply, 3, 2, term + 1));  // makes 2 forget its leader
  EXPECT_EQ(s.at(2).term(), term + 1);
  s.Persist(2);
  s.TakeWire();
  Message m = s.Make(MessageType::kVote, 3, 2, term + 2);
  m.index = 100;
  m.log_term = term;
  s.Step(m);
  s.Persist(2);
  EXPECT_TRUE(s.Wire().empty());
}

/// Protocols 2.2.
TEST(RaftElectionTest, NoVoteRightAfterAStart) {
  Script s(3);
  s.Start(3, {1, NodeId()}, {1});
  Message pre = s.Make(MessageType::kPreVote, 1, 3, 2);
  pre.index = 5;
  pre.log_term = 1;
  Message vote = pre;
  vote.type = MessageType::kVote;
  s.now += 399 * kMillisecond;
  s.Step(pre);
  s.Step(vote);
  s.Persist(3);
  EXPECT_EQ(s.Wire(), (Lines{"3>1 pre-vote-reply t1 no"}));
  EXPECT_EQ(s.at(3).term(), 1u);
  s.TakeWire();
  s.now += 2 * kMillisecond;
  s.Step(vote);
  s.Persist(3);
  EXPECT_EQ(s.Wire(), (Lines{"3>1 vote-reply t2 yes"}));
}

TEST(RaftElectionTest, ALeaderThatNobodyAnswersStepsDown) {
  Script s(3);
  s.Elect(1);
  int64_t begin = s.now;
  while (s.at(1).is_leader() && s.now < begin + 10 * kSecond) {
    s.now = std::max(s.now + kMillisecond, s.at(1).NextDeadlineNs());
    s.at(1).Tick(s.now);
    s.Collect(1);
    s.TakeWire();
  }
  EXPECT_FALSE(s.at(1).is_leader());
  EXPECT_LE(s.now - begin, s.base.election_max_ns + 2 * s.base.heartbeat_interval_ns);
  EXPECT_TRUE(s.at(1).Propose(Buffer()).error().Is(Code::kNotLeader));
}

TEST(RaftElectionTest, ADeposedLeaderIsToldByWhoeverItWritesTo) {
  Script s(3);
  s.Elect(1);
  s.Start(2, {20, NodeId()}, {1});
  s.now += 50 * kMillisecond;
  ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
  s.Collect(1);
  s.Settle();
  EXPECT_FALSE(s.at(1).is_leader());
  EXPECT_EQ(s.at(1).term(), 20u);
}

TEST(RaftElectionTest, AFollowerWhoseLeaderIsGoneDoesNotWaitTheWholeTimeOut) {
  Script s(3);
  s.Elect(1);
  int64_t heard = s.now;
  s.at(2).OnUnreachable(NodeId(1), s.now);
  EXPECT_LE(s.at(2).NextDeadlineNs(), heard + 800 * kMillisecond);
  EXPECT_GE(s.at(2).NextDeadlineNs(), heard + 600 * kMillisecond);
  s.now = heard + 100 * kMillisecond;
  s.at(2).OnUnreachable(NodeId(3), s.now);  // somebody else: no matter
}

TEST(RaftElectionTest, TimeOutsAreRandom) {
  std::set<int64_t> seen;
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    Options o;
    o.id = NodeId(1);
    InitialState initial;
    initial.configuration.voters = {NodeId(1), NodeId(2), NodeId(3)};
    Raft raft(o, initial, nullptr, Random(seed), 0);
    EXPECT_GE(raft.NextDeadlineNs(), o.election_min_ns);
    EXPECT_LE(raft.NextDeadlineNs(), o.election_max_ns);
    seen.insert(raft.NextDeadlineNs());
  }
  EXPECT_GT(seen.size(), 40u);
}

/// Checklist 25: answers do not depend on one's own configuration.
TEST(RaftElectionTest, UnknownMembersAreAnswered) {
  Script s(3);
  s.now += 2 * kSecond;
  s.Step(s.Make(MessageType::kVote, 9, 2, 3));
  s.Persist(2);
  EXPECT_EQ(s.Wire(), (Lines{"2>9 vote-reply t3 yes"}));
  s.TakeWire();
  Message m = s.Make(MessageType::kAppend, 9, 3, 3);
  m.entries.push_back(Script::MakeEntry(1, 3));
  s.Step(m);
  s.Persist(3);
  EXPECT_EQ(s.Wire(), (Lines{"3>9 append-reply t3 match 1"}));
}

/// Checklist 27: a learner answers when asked, and never campaigns.
TEST(RaftElectionTest, ALearnerVotesButDoesNotCampaign) {
  Options o;
  o.id = NodeId(4);
  InitialState initial;
  initial.configuration.voters = {NodeId(1), NodeId(2), NodeId(3)};
  initial.configuration.learners = {NodeId(4)};
  Raft raft(o, initial, nullptr, Random(1), 0);
  int64_t now = 10 * kSecond;
  raft.Tick(now);
  EXPECT_EQ(raft.role(), Role::kFollower);
  EXPECT_FALSE(raft.HasReady());
  Message m;
  m.type = MessageType::kVote;
  m.from = NodeId(1);
  m.to = NodeId(4);
  m.term = 2;
  raft.Step(m, now);
  Ready ready = raft.TakeReady(now);
  ASSERT_TRUE(ready.persist);
  raft.OnPersisted(ready.persist->sequence, now);
  ready = raft.TakeReady(now);
  ASSERT_EQ(ready.messages.size(), 1u);
  EXPECT_FALSE(ready.messages[0].reject);
}

}  // namespace
}  // namespace dfs::raft
