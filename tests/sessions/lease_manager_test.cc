// The leader's rules of leases (docs/leases.md; protocols, section 3), each with sessions that the test plays.
#include "namenode/sessions/lease_manager.h"

#include <gtest/gtest.h>

#include <optional>

#include "common/base/defects.h"
#include "tests/sessions/hand_executor.h"

namespace dfs::nn {
namespace {

constexpr SessionId kA{1}, kB{2}, kC{3}, kPlain{9};
constexpr InodeId kDir{10}, kFile{11}, kOther{12};
constexpr Term kTerm = 7;

Session Caching(SessionId id) {
  Session session;
  session.id = id;
  session.caches = true;
  return session;
}
Touch Name(InodeId directory, std::string name) {
  return {directory, TouchKind::kName, std::move(name)};
}
Touch Whole(InodeId inode) {
  return {inode, TouchKind::kInode, {}};
}

class LeaseManagerTest : public testing::Test {
 protected:
  struct Sent {
    SessionId session;
    std::vector<RecallOrder> orders;
    UniqueFunction<void(Status)> done;
  };

  LeaseManagerTest()
      : leases_({}, executor_,
                [this](SessionId session, std::vector<RecallOrder> orders,
                       UniqueFunction<void(Status)> done) {
                  sent_.push_back({session, std::move(orders), std::move(done)});
                }) {
    leases_.OnLeading(kTerm, {});
    for (SessionId id : {kA, kB, kC}) leases_.OnSessionOpened(Caching(id));
  }

  /// Time passes; every session named keeps itself alive each second.
  void Pass(int64_t ns, std::vector<SessionId> alive = {}) {
    for (int64_t left = ns; left > 0; left -= 500 * kMillisecond) {
      executor_.RunFor(std::min<int64_t>(left, 500 * kMillisecond));
      for (SessionId id : alive) leases_.KeepAlive(id, {});
    }
  }
  void AnswerAll(Status status = Status()) {
    for (Sent& one : std::exchange(sent_, {})) one.done(status);
  }
  /// Begins a change; true: it may go on at once.
  bool Begin(SessionId by, std::vector<Touch> touches) {
    return leases_.TryChange(by, touches, &change_, [this] { ++ready_; });
  }

  HandExecutor executor_;
  std::vector<Sent> sent_;
  LeaseManager leases_;
  LeaseManager::ChangePtr change_;
  int ready_ = 0;
};

TEST_F(LeaseManagerTest, AChangeWaitsForEveryHolderButTheOneThatMakesIt) {
  ASSERT_TRUE(leases_.GrantRead(kA, kFile));
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  ASSERT_TRUE(leases_.GrantRead(kC, kFile));
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  ASSERT_EQ(sent_.size(), 2u);
  EXPECT_EQ(sent_[0].session, kB);
  EXPECT_EQ(sent_[0].orders, (std::vector<RecallOrder>{{kFile, RecallKind::kInode, {}}}));
  sent_[0].done(Status());
  EXPECT_EQ(ready_, 0);
  sent_[1].done(Status());
  EXPECT_EQ(ready_, 1);
  EXPECT_TRUE(Begin(kA, {Whole(kFile)})) << "nobody else holds anything now";
  EXPECT_EQ(leases_.leases(), 1u);
}

TEST_F(LeaseManagerTest, NothingIsGrantedOnWhatIsBeingChanged) {
  EXPECT_TRUE(Begin(kA, {Name(kDir, "n"), Whole(kFile)}));
  EXPECT_FALSE(leases_.GrantRead(kB, kDir));
  EXPECT_FALSE(leases_.GrantRead(kB, kFile));
  EXPECT_TRUE(leases_.GrantRead(kB, kOther));
  change_.reset();  // applied
  EXPECT_TRUE(leases_.GrantRead(kB, kDir));
  EXPECT_TRUE(leases_.GrantRead(kB, kFile));
}

TEST_F(LeaseManagerTest, NothingIsGrantedWhileDirectoriesOnTheWayAreBeingMade) {
  EXPECT_TRUE(Begin(kA, {Name(kDir, "a"), Whole(kUnmadeDirectories)}));
  EXPECT_FALSE(leases_.GrantRead(kB, kOther)) << "it may be the one that is on the way";
  change_.reset();
  EXPECT_TRUE(leases_.GrantRead(kB, kOther));
}

TEST_F(LeaseManagerTest, ANameIsRecalledAndTheDirectorysLeaseStays) {
  ASSERT_TRUE(leases_.GrantRead(kB, kDir));
  EXPECT_FALSE(Begin(kA, {Name(kDir, "n")}));
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].orders, (std::vector<RecallOrder>{{kDir, RecallKind::kName, "n"}}));
  AnswerAll();
  EXPECT_EQ(ready_, 1);
  EXPECT_TRUE(Begin(kA, {Name(kDir, "n")})) << "who was told is not told again";
  EXPECT_TRUE(sent_.empty());
  change_.reset();
  EXPECT_EQ(leases_.leases(), 1u);
  EXPECT_FALSE(Begin(kA, {Name(kDir, "other")})) << "the lease is there for the next change";
}

TEST_F(LeaseManagerTest, ASilentHolderIsNotWaitedForBeyondItsTerm) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  Pass(2 * kSecond, {kB});
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  Pass(2500 * kMillisecond);
  EXPECT_EQ(ready_, 0) << "it may still be serving";
  Pass(1 * kSecond);
  EXPECT_EQ(ready_, 1);
  EXPECT_TRUE(Begin(kA, {Whole(kFile)}));
  // It comes back: it holds nothing, and has to say so.
  EXPECT_TRUE(leases_.KeepAlive(kB, {}).declare);
  EXPECT_EQ(leases_.Declare(kB, kTerm, std::vector{kFile}, {}, true).code(), Code::kConflict);
  change_.reset();
  EXPECT_FALSE(leases_.GrantRead(kB, kFile));
  ASSERT_TRUE(leases_.Declare(kB, kTerm, {}, {}, true).ok());
  EXPECT_TRUE(leases_.KeepAlive(kB, {}).extended);
  EXPECT_TRUE(leases_.GrantRead(kB, kFile));
}

TEST_F(LeaseManagerTest, AHolderThatKeepsAliveAndDoesNotAnswerIsNotWaitedForForEver) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  Pass(5 * kSecond, {kA, kB, kC});
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(leases_.lapses(), 1u);
  sent_[0].done(Status());  // too late, and without effect
  EXPECT_EQ(ready_, 1);
}

TEST_F(LeaseManagerTest, WhoCouldNotBeReachedIsToldAgain) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  AnswerAll(Status(Code::kUnavailable, "not connected"));
  EXPECT_EQ(ready_, 0);
  leases_.KeepAlive(kB, {});  // on its new connection
  ASSERT_EQ(sent_.size(), 1u);
  AnswerAll();
  EXPECT_EQ(ready_, 1);
}

TEST_F(LeaseManagerTest, AWriteLeaseIsAlone) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  std::optional<Status> mine, theirs;
  leases_.Acquire(kA, kFile, [&](Status s) { mine = std::move(s); });
  leases_.Acquire(kB, kFile, [&](Status s) { theirs = std::move(s); });
  EXPECT_FALSE(mine.has_value());
  EXPECT_FALSE(leases_.GrantRead(kC, kFile)) << "somebody waits to write";
  AnswerAll();
  ASSERT_TRUE(mine.has_value() && mine->ok());
  // B's turn: A is asked for all of it.
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].session, kA);
  EXPECT_EQ(sent_[0].orders[0].kind, RecallKind::kInode);
  EXPECT_FALSE(theirs.has_value());
  AnswerAll();
  ASSERT_TRUE(theirs.has_value() && theirs->ok());
  EXPECT_FALSE(leases_.GrantRead(kC, kFile)) << "there is a writer";
  EXPECT_TRUE(leases_.GrantRead(kB, kFile)) << "who may also read";
}

TEST_F(LeaseManagerTest, AReaderHasTheWriterElsewhereTell) {
  leases_.Acquire(kA, kFile, [](Status) {});
  EXPECT_TRUE(leases_.Unflushed(kB, kFile));
  EXPECT_TRUE(leases_.Unflushed(SessionId(), kFile)) << "also one without a session";
  EXPECT_FALSE(leases_.Unflushed(kA, kFile));
  bool told = false;
  leases_.Flush(kB, {kFile}, [&] { told = true; });
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].orders[0].kind, RecallKind::kWrite);
  EXPECT_FALSE(told);
  AnswerAll();
  EXPECT_TRUE(told);
  EXPECT_FALSE(leases_.Unflushed(kB, kFile));
  EXPECT_TRUE(leases_.GrantRead(kB, kFile));
  EXPECT_EQ(leases_.leases(), 2u) << "the writer can go on reading";
}

TEST_F(LeaseManagerTest, AWriteLeaseWaitsForChangesUnderWay) {
  EXPECT_TRUE(Begin(kB, {Whole(kFile)}));
  std::optional<Status> got;
  leases_.Acquire(kA, kFile, [&](Status s) { got = std::move(s); });
  EXPECT_FALSE(got.has_value());
  change_.reset();
  ASSERT_TRUE(got.has_value() && got->ok());
}

TEST_F(LeaseManagerTest, ANewLeaderWaitsUntilAllHaveSaidWhatTheyHold) {
  leases_.OnLeading(kTerm + 1, {Caching(kA), Caching(kB)});
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  EXPECT_TRUE(leases_.Unflushed(kA, kFile)) << "B may have written to it";
  EXPECT_FALSE(leases_.KeepAlive(kA, {}).extended);
  EXPECT_TRUE(leases_.KeepAlive(kA, {}).declare);
  EXPECT_EQ(leases_.Declare(kA, kTerm, {}, {}, true).code(), Code::kStaleTerm);
  ASSERT_TRUE(leases_.Declare(kA, kTerm + 1, {}, {}, true).ok());
  EXPECT_TRUE(leases_.KeepAlive(kA, {}).extended);
  ASSERT_TRUE(leases_.Declare(kB, kTerm + 1, std::vector{kOther}, {}, false).ok());
  EXPECT_EQ(ready_, 0) << "B has more to say";
  ASSERT_TRUE(leases_.Declare(kB, kTerm + 1, {}, std::vector{kFile}, true).ok());
  EXPECT_EQ(ready_, 1);
  EXPECT_FALSE(Begin(kA, {Whole(kFile)})) << "what was declared counts";
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].session, kB);
}

TEST_F(LeaseManagerTest, ANewLeaderDoesNotWaitForTheDeadForLongerThanATerm) {
  leases_.OnLeading(kTerm + 1, {Caching(kA)});
  EXPECT_FALSE(Begin(kB, {Whole(kFile)}));
  Pass(3 * kSecond);
  EXPECT_EQ(ready_, 0);
  Pass(500 * kMillisecond);
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(leases_.Declare(kA, kTerm + 1, std::vector{kFile}, {}, true).code(), Code::kConflict)
      << "what it held may have been changed";
}

TEST_F(LeaseManagerTest, NobodyIsWaitedForWhenNobodyCaches) {
  Session plain;
  plain.id = kPlain;
  leases_.OnLeading(kTerm + 1, {plain});
  EXPECT_TRUE(Begin(kPlain, {Whole(kFile)}));
  EXPECT_FALSE(leases_.GrantRead(kPlain, kOther));
}

TEST_F(LeaseManagerTest, ASessionThatEndsHoldsNothing) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  leases_.OnSessionEnded(kB);
  EXPECT_EQ(ready_, 1);
  EXPECT_EQ(leases_.leases(), 0u);
}

TEST_F(LeaseManagerTest, WhatIsGivenBackIsNotRecalled) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  leases_.KeepAlive(kB, std::vector{kFile});
  EXPECT_TRUE(Begin(kA, {Whole(kFile)}));
}

TEST_F(LeaseManagerTest, WhoWaitsWhenTheLeaderFallsIsWoken) {
  ASSERT_TRUE(leases_.GrantRead(kB, kFile));
  EXPECT_FALSE(Begin(kA, {Whole(kFile)}));
  std::optional<Status> got;
  leases_.Acquire(kC, kOther, [&](Status s) { got = std::move(s); });
  ASSERT_TRUE(got.has_value() && got->ok());
  got.reset();
  leases_.Acquire(kC, kFile, [&](Status s) { got = std::move(s); });
  leases_.OnLeadershipLost();
  EXPECT_EQ(ready_, 1);
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->code(), Code::kNotLeader);
}

}  // namespace
}  // namespace dfs::nn
