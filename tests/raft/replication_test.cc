#include <gtest/gtest.h>

#include "common/base/defects.h"
#include "tests/raft/script.h"

namespace dfs::raft {
namespace {

Message Append(Script* s, size_t from, size_t to, Term term, LogIndex prev, Term prev_term,
               const std::vector<Term>& terms, LogIndex commit) {
  Message m = s->Make(MessageType::kAppend, from, to, term);
  m.index = prev;
  m.log_term = prev_term;
  m.commit = commit;
  for (size_t i = 0; i < terms.size(); ++i) {
    m.entries.push_back(Script::MakeEntry(prev + 1 + i, terms[i]));
  }
  return m;
}

TEST(RaftReplicationTest, GoldenTranscriptOfACommand) {
  Script s(3);
  s.Elect(1);
  s.Advance(1, 200 * kMillisecond);
  Term t = s.at(1).term();
  auto id = s.at(1).Propose(Buffer(std::string("hello")));
  ASSERT_TRUE(id);
  EXPECT_EQ(id->index, 2u);
  s.Collect(1);
  // Sent before it is on the leader's own disk.
  ASSERT_EQ(s.held[1].size(), 1u);
  EXPECT_EQ(s.Wire(), (Lines{fmt::format("1>2 append t{} after 1/{} n1 commit 1", t, t),
                             fmt::format("1>3 append t{} after 1/{} n1 commit 1", t, t)}));
  s.Deliver();
  EXPECT_TRUE(s.Wire().empty());  // followers answer when it is durable
  s.Persist(2);
  EXPECT_EQ(s.Wire(), (Lines{fmt::format("2>1 append-reply t{} match 2", t)}));
  s.Deliver();
  EXPECT_EQ(s.at(1).commit_index(), 1u);  // the leader's own copy is not durable: one of three
  s.Persist(1);
  EXPECT_EQ(s.at(1).commit_index(), 2u);
  std::vector<Entry> committed;
  ASSERT_TRUE(s.at(1).TakeCommitted(10, 1000, &committed));
  ASSERT_EQ(committed.size(), 2u);
  EXPECT_EQ(committed[0].type, EntryType::kNoop);
  EXPECT_EQ(committed[1].data.view(), "hello");
}

/// Checklist 13: two followers suffice without the leader's own disk.
TEST(RaftReplicationTest, CommitsWithoutTheLeadersDisk) {
  Script s(3);
  s.Elect(1);
  ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
  s.Collect(1);
  s.Deliver();
  s.Persist(2);
  s.Persist(3);
  s.Deliver();
  EXPECT_EQ(s.at(1).commit_index(), 2u);
  EXPECT_EQ(s.at(1).durable_index(), 1u);
}

TEST(RaftReplicationTest, ProposalsOfOneTurnTravelTogether) {
  Script s(3);
  s.Elect(1);
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
  s.Collect(1);
  auto wire = s.TakeWire();
  ASSERT_EQ(wire.size(), 2u);
  EXPECT_EQ(wire[0].entries.size(), 100u);
  EXPECT_EQ(s.held[1].size(), 1u);
}

TEST(RaftReplicationTest, TheWindowIsBounded) {
  Options o;
  o.max_inflight_appends = 4;
  o.pipeline_min_bytes = 0;
  Script s(2, o);
  s.Elect(1);
  s.Advance(1, 200 * kMillisecond);
  size_t sent = 0;
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
    s.Collect(1);
    sent += s.wire.size();
    s.TakeWire();
  }
  EXPECT_EQ(sent, 4u);
  // What was lost is found out by the next heartbeat, and sent again.
  s.Advance(1, 400 * kMillisecond);
  EXPECT_EQ(s.at(1).commit_index(), s.at(1).last_index());
  EXPECT_EQ(s.at(2).last_index(), s.at(1).last_index());
}

TEST(RaftReplicationTest, SmallAppendsGatherWhileOneIsUnderWay) {
  Options o;
  o.pipeline_min_bytes = 1000;
  Script s(2, o);
  s.Elect(1);
  s.Advance(1, 200 * kMillisecond);
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
    s.Collect(1);
  }
  EXPECT_EQ(s.wire.size(), 1u);
  ASSERT_TRUE(s.at(1).Propose(Buffer(std::string(2000, 'x'))));
  s.Collect(1);
  ASSERT_EQ(s.wire.size(), 2u);
  EXPECT_EQ(s.wire[1].entries.size(), 5u);
}

/// Checklist 9, Raft's figure 8.
TEST(RaftReplicationTest, AnEntryOfAnOlderTermDoesNotCommitByCounting) {
  for (bool defect : {false, true}) {
    SetDefect(Defect::kCommitOldTermByCounting, defect);
    Script s(3);
    s.Start(1, {2, NodeId()}, {1, 2});
    s.Start(2, {2, NodeId()}, {1});
    s.Start(3, {2, NodeId()}, {1});
    s.now += kSecond;
    s.TimeOut(1);
    for (int i = 0; i < 10 && !s.at(1).is_leader(); ++i) {
      s.PersistAll();
      s.Deliver();
    }
    ASSERT_TRUE(s.at(1).is_leader());
    s.TakeWire();
    Term t = s.at(1).term();
    // 2 acknowledges entry 2 (of term 2), not yet the leader's own entry 3.
    Message ack = s.Make(MessageType::kAppendReply, 2, 1, t);
    ack.index = 2;
    s.Step(ack);
    EXPECT_EQ(s.at(1).commit_index(), defect ? 2u : 0u);
    ack.index = 3;
    s.Step(ack);
    s.Persist(1);
    s.Step(ack);
    EXPECT_EQ(s.at(1).commit_index(), 3u);
  }
  SetDefect(Defect::kCommitOldTermByCounting, false);
}

/// Checklist 10.
TEST(RaftReplicationTest, AFollowerCommitsOnlyWhatTheMessageVerified) {
  for (bool defect : {false, true}) {
    SetDefect(Defect::kCommitBeyondVerified, defect);
    Script s(3);
    s.Start(2, {2, NodeId()}, {1, 1, 2, 2});  // 3 and 4 are of a deposed leader
    s.now += kSecond;
    s.Step(Append(&s, 1, 2, 3, 2, 1, {}, 4));
    EXPECT_EQ(s.at(2).commit_index(), defect ? 4u : 2u);
  }
  SetDefect(Defect::kCommitBeyondVerified, false);
}

/// Checklist 11.
TEST(RaftReplicationTest, ALateDuplicateDoesNotTruncate) {
  Script s(3);
  s.now += kSecond;
  s.Step(Append(&s, 1, 2, 1, 0, 0, {1, 1, 1, 1}, 0));
  s.Step(Append(&s, 1, 2, 1, 0, 0, {1, 1}, 0));
  EXPECT_EQ(s.at(2).last_index(), 4u);
  s.Step(Append(&s, 1, 2, 1, 2, 1, {}, 0));
  EXPECT_EQ(s.at(2).last_index(), 4u);
}

TEST(RaftReplicationTest, AConflictReplacesTheSuffix) {
  Script s(3);
  s.Start(2, {2, NodeId()}, {1, 1, 2, 2}, 2);
  s.now += kSecond;
  s.Step(Append(&s, 1, 2, 3, 2, 1, {3}, 2));
  EXPECT_EQ(s.at(2).last_index(), 3u);
  ASSERT_EQ(s.held[2].size(), 1u);
  EXPECT_EQ(s.held[2][0].truncate_from, 3u);
  EXPECT_EQ(s.held[2][0].truncate_term, 1u);
  EXPECT_EQ(s.held[2][0].entries.size(), 1u);
}

/// Checklist 14: a completion for entries that were replaced says nothing about their successors.
TEST(RaftReplicationTest, AnOldCompletionDoesNotCoverNewEntries) {
  Script s(3);
  s.now += kSecond;
  s.Step(Append(&s, 1, 2, 1, 0, 0, {1, 1, 1}, 0));
  ASSERT_EQ(s.held[2].size(), 1u);
  uint64_t first = s.held[2].front().sequence;
  s.Step(Append(&s, 3, 2, 2, 0, 0, {2, 2, 2}, 0));  // replaces 1..3
  s.Step(Append(&s, 1, 2, 3, 0, 0, {3, 3, 3}, 0));  // and again
  ASSERT_EQ(s.held[2].size(), 3u);
  s.TakeWire();
  s.at(2).OnPersisted(first, s.now);
  s.Collect(2);
  EXPECT_EQ(s.at(2).durable_index(), 0u);
  for (const Message& m : s.wire) EXPECT_EQ(m.term, 1u);  // at most the answer to the first leader
  s.TakeWire();
  s.at(2).OnPersisted(first + 2, s.now);
  s.Collect(2);
  EXPECT_EQ(s.at(2).durable_index(), 3u);
  ASSERT_FALSE(s.wire.empty());
  EXPECT_EQ(Describe(s.wire.back()), "2>1 append-reply t3 match 3");
}

TEST(RaftReplicationTest, RejectionsSkipWholeTerms) {
  Script s(3);
  s.Start(1, {7, NodeId()}, {1, 1, 1, 4, 4, 5, 5, 6, 6, 6});
  s.Start(2, {7, NodeId()}, {1, 1, 1, 2, 2, 2, 3, 3, 3, 3});
  s.Start(3, {7, NodeId()}, {1, 1, 1, 4, 4, 5, 5, 6, 6, 6});
  s.Elect(1);
  ASSERT_TRUE(s.at(1).is_leader());
  EXPECT_EQ(s.at(2).last_index(), 11u);
  EXPECT_EQ(s.at(2).log().TermAt(4), 4u);
  EXPECT_EQ(s.at(1).progress(NodeId(2))->match, 11u);

  // One round trip a term, not one an entry.
  Script one(3);
  one.Start(2, {7, NodeId()}, {1, 1, 1, 2, 2, 2, 3, 3, 3, 3});
  one.now += kSecond;
  one.Step(Append(&one, 1, 2, 8, 10, 6, {}, 0));
  one.PersistAll();
  EXPECT_EQ(one.Wire(), (Lines{"2>1 append-reply t8 no 10 hint 10/3"}));
  one.TakeWire();
  one.Step(Append(&one, 1, 2, 8, 10, 1, {}, 0));
  EXPECT_EQ(one.Wire(), (Lines{"2>1 append-reply t8 no 10 hint 3/1"}));
}

/// Checklist 7.
TEST(RaftReplicationTest, RepliesOfEarlierTermsAreIgnored) {
  Script s(3);
  s.Elect(1);
  Term t = s.at(1).term();
  ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
  s.Persist(1);
  s.TakeWire();
  LogIndex before = s.at(1).commit_index();
  Message m = s.Make(MessageType::kAppendReply, 2, 1, t - 1);
  m.index = 2;
  s.Step(m);
  EXPECT_EQ(s.at(1).commit_index(), before);
  m.term = t;
  m.from = NodeId(9);  // no member
  s.Step(m);
  EXPECT_EQ(s.at(1).commit_index(), before);
  m.from = NodeId(2);
  m.index = 1000;  // what it cannot have
  s.Step(m);
  EXPECT_EQ(s.at(1).commit_index(), before);
}

/// Checklist 30.
TEST(RaftReplicationTest, AppendsMayReachBelowTheLogsBeginning) {
  Script s(3);
  s.Start(2, {2, NodeId()}, {1, 1, 1, 2, 2}, 4);
  s.at(2).CompactTo(4);
  s.now += kSecond;
  s.Step(Append(&s, 1, 2, 2, 1, 1, {1, 1, 2, 2, 2}, 5));
  s.PersistAll();
  EXPECT_EQ(s.Wire(), (Lines{"2>1 append-reply t2 match 6"}));
  EXPECT_EQ(s.at(2).commit_index(), 5u);
  s.TakeWire();
  s.Step(Append(&s, 1, 2, 2, 0, 0, {1, 1}, 5));
  s.PersistAll();
  EXPECT_EQ(s.Wire(), (Lines{"2>1 append-reply t2 match 5"}));  // what it surely has in common
}

TEST(RaftReplicationTest, MalformedAppendsChangeNothing) {
  Script s(3);
  s.now += kSecond;
  Message m = Append(&s, 1, 2, 3, 0, 0, {2, 1}, 0);  // terms go back
  s.Step(m);
  m = Append(&s, 1, 2, 3, 0, 0, {4}, 0);  // of a later term than its leader's
  s.Step(m);
  EXPECT_EQ(s.at(2).last_index(), 0u);
}

/// Checklist 40.
TEST(RaftReplicationTest, UncommittedBytesAreBounded) {
  Options o;
  o.max_uncommitted_bytes = 10'000;
  Script s(3, o);
  s.Elect(1);
  int accepted = 0;
  Status refused;
  for (int i = 0; i < 100; ++i) {
    auto id = s.at(1).Propose(Buffer(std::string(1000, 'x')));
    accepted += id.ok();
    if (!id) refused = id.error();
  }
  EXPECT_LE(accepted, 10);
  EXPECT_GE(accepted, 8);
  EXPECT_TRUE(refused.Is(Code::kOverloaded));
  s.Collect(1);
  s.Settle();
  EXPECT_EQ(s.at(1).uncommitted_bytes(), 0u);
  EXPECT_TRUE(s.at(1).Propose(Buffer(std::string(1000, 'x'))));
  EXPECT_TRUE(
      s.at(1).Propose(Buffer(std::string(9u << 20, 'x'))).error().Is(Code::kInvalidArgument));
}

TEST(RaftReplicationTest, IdleFollowersLearnTheCommitIndexSoon) {
  Script s(3);
  s.Elect(1);
  s.Advance(1, 150 * kMillisecond);
  ASSERT_TRUE(s.at(1).Propose(Buffer(std::string("x"))));
  s.Collect(1);
  s.Settle();
  s.Advance(1, 21 * kMillisecond);
  EXPECT_EQ(s.at(2).commit_index(), 2u);
}

// --- snapshots ---

TEST(RaftSnapshotTest, AFollowerBehindTheLogIsSentOne) {
  Script s(3);
  s.Start(1, {5, NodeId()}, {1, 1, 2, 2, 3}, 5);
  s.Start(3, {5, NodeId()}, {1, 1, 2, 2, 3}, 5);
  s.at(1).CompactTo(4);
  s.Elect(1);
  ASSERT_TRUE(s.at(1).is_leader());
  ASSERT_EQ(s.snapshots, (std::vector<NodeId>{NodeId(2)}));
  EXPECT_EQ(s.at(1).progress(NodeId(2))->state, Progress::State::kSnapshot);
  // A failed transfer is tried again when the follower answers; at most one at a time.
  s.at(1).OnSnapshotSent(NodeId(2), 5, false);
  s.Advance(1, 150 * kMillisecond);
  EXPECT_EQ(s.snapshots.size(), 2u);
  Message m = s.Make(MessageType::kInstallSnapshot, 1, 2, s.at(1).term());
  m.snapshot = {5, 3, s.at(1).configuration()};
  s.Step(m);
  s.at(1).OnSnapshotSent(NodeId(2), 5, true);
  s.Collect(1);
  s.Settle();
  s.Advance(1, 300 * kMillisecond);
  EXPECT_EQ(s.at(1).progress(NodeId(2))->match, s.at(1).last_index());
  EXPECT_EQ(s.at(2).commit_index(), s.at(1).commit_index());
  EXPECT_EQ(s.at(2).first_index(), 6u);
}

/// Checklist 29, its three cases.
TEST(RaftSnapshotTest, InstallsSkipsOrFastForwards) {
  Script s(3);
  s.Start(2, {4, NodeId()}, {1, 1, 2, 2}, 2);
  s.now += kSecond;
  Message m = s.Make(MessageType::kInstallSnapshot, 1, 2, 4);
  m.snapshot = {2, 1, {}};  // at the commit index: refused, but answered
  s.Step(m);
  EXPECT_EQ(s.Wire(), (Lines{"2>1 append-reply t4 match 2"}));
  EXPECT_EQ(s.at(2).last_index(), 4u);
  s.TakeWire();
  m.snapshot = {3, 2, {}};  // the log has it: only the commit index moves
  s.Step(m);
  EXPECT_EQ(s.at(2).commit_index(), 3u);
  EXPECT_EQ(s.at(2).last_index(), 4u);
  s.TakeWire();
  m.snapshot = {4, 3, {}};  // the log conflicts: all of it goes
  m.snapshot.configuration.voters = {NodeId(1), NodeId(2), NodeId(3)};
  s.at(2).Step(m, s.now);
  EXPECT_FALSE(s.at(2).HasCommitted());  // not before it is installed
  Ready ready = s.at(2).TakeReady(s.now);
  ASSERT_TRUE(ready.install_snapshot);
  ASSERT_TRUE(ready.persist && ready.persist->reset);
  EXPECT_TRUE(ready.messages.empty());  // the answer waits for the new log
  EXPECT_EQ(s.at(2).last_index(), 4u);
  EXPECT_EQ(s.at(2).first_index(), 5u);
  EXPECT_EQ(s.at(2).log().last_term(), 3u);
  s.at(2).OnPersisted(ready.persist->sequence, s.now);
  s.Collect(2);
  EXPECT_EQ(s.Wire(), (Lines{"2>1 append-reply t4 match 4"}));
}

TEST(RaftSnapshotTest, OfAnEarlierTermIsRefused) {
  Script s(3);
  s.Start(2, {4, NodeId()}, {1});
  s.now += kSecond;
  Message m = s.Make(MessageType::kInstallSnapshot, 1, 2, 3);
  m.snapshot = {9, 3, {}};
  s.Step(m);
  EXPECT_EQ(s.at(2).last_index(), 1u);
}

}  // namespace
}  // namespace dfs::raft
