// File locks between clients: the real client, on real namenodes in the simulated world.
#include "common/client/core/file_locks.h"

#include <gtest/gtest.h>

#include "common/client/core/client_core.h"
#include "namenode/service/service.h"
#include "namenode/sessions/session_manager.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

using client::FileLock;
using client::FileLocks;
using Kind = client::LockKind;
using Type = client::LockType;

/// A machine with a client on it.
class Machine {
 public:
  Machine(ServiceWorld& w, const std::string& name) : w_(w), node(w.scheduler.AddNode(name)) {
    rpc::PeerIdentity identity;
    identity.trusted = true;
    rpc::Network& network = w.net.Join(node, identity);
    client::CoreOptions options;
    for (int n = 0; n < 3; ++n)
      options.namenodes.push_back(*rpc::Address::Parse("nn" + std::to_string(n + 1) + ":9700"));
    options.client_name = name;
    options.timeout_ns = 30 * kSecond;
    node.Run([&] { core = client::ClientCore::Create(network, Random(name.size()), options); });
  }
  ~Machine() {
    node.Run([&] {
      if (core != nullptr) core->Shutdown();
      core.reset();
    });
  }
  FileLocks& locks() { return core->locks(); }

  /// A request under way.
  struct Wish {
    FileLocks::Ticket ticket = 0;
    std::optional<Result<uint64_t>> answer;
    int64_t answered_ns = 0;
    bool granted() const { return answer.has_value() && answer->ok(); }
    Code code() const { return answer ? answer->status().code() : Code::kInternal; }
  };
  std::shared_ptr<Wish> Start(const FileLock& lock, bool wait) {
    auto wish = std::make_shared<Wish>();
    node.Run([&] {
      wish->ticket = locks().Lock(lock, wait, [this, wish](Result<uint64_t> token) {
        wish->answered_ns = w_.scheduler.now_ns();
        wish->answer.emplace(std::move(token));
      });
    });
    return wish;
  }
  Code Lock(const FileLock& lock, bool wait = false) {
    auto wish = Start(lock, wait);
    EXPECT_TRUE(w_.RunUntil([&] { return wish->answer.has_value(); }));
    return wish->code();
  }
  Code Finish(const std::function<void(client::StatusDone)>& start) {
    auto answer = std::make_shared<std::optional<Status>>();
    node.Run([&] { start([answer](Status s) { *answer = std::move(s); }); });
    EXPECT_TRUE(w_.RunUntil([&] { return answer->has_value(); }));
    return answer->has_value() ? (*answer)->code() : Code::kInternal;
  }
  Code Unlock(const FileLock& lock) {
    return Finish([&](client::StatusDone done) { locks().Unlock(lock, std::move(done)); });
  }
  Code CloseFile(const FileLock& lock) {
    return Finish([&](client::StatusDone done) {
      locks().ReleaseOwner(lock.inode, lock.kind, lock.owner, std::move(done));
    });
  }
  void Cancel(const std::shared_ptr<Wish>& wish) {
    node.Run([&] { locks().Cancel(wish->ticket); });
  }

 private:
  ServiceWorld& w_;

 public:
  sim::SimNode& node;
  std::shared_ptr<client::ClientCore> core;
};

class LockServiceTest : public testing::Test {
 protected:
  LockServiceTest() {
    w.Leader();
    w.scheduler.RunFor(kSecond);
    for (const char* name : {"/f", "/g"}) {
      auto made = setup.Create(name, "x");
      EXPECT_TRUE(made.ok());
      (name[1] == 'f' ? f : g) = static_cast<uint64_t>(made->attr.inode);
    }
  }
  FileLock Posix(uint64_t inode, Type type, uint64_t owner = 1, uint64_t start = 0,
                 uint64_t end = INT64_MAX) {
    FileLock lock;
    lock.inode = inode;
    lock.type = type;
    lock.owner = owner;
    lock.start = start;
    lock.end = end;
    lock.pid = 77;
    return lock;
  }
  FileLock Flock(uint64_t inode, Type type, uint64_t owner = 1) {
    FileLock lock = Posix(inode, type, owner);
    lock.kind = Kind::kFlock;
    return lock;
  }
  size_t Held(uint64_t inode, LockKind kind = LockKind::kPosix) {
    auto locks = w.nn(w.Leader()).state().ListLocks(InodeId(inode), kind);
    EXPECT_TRUE(locks.ok());
    return locks.ok() ? locks->size() : 99;
  }
  bool Eventually(const std::function<bool()>& what) { return w.RunUntil(what, 60 * kSecond); }

  ServiceWorld w{3};
  Client setup{w, 99};
  uint64_t f = 0, g = 0;
  Machine a{w, "a"}, bb{w, "bb"}, ccc{w, "ccc"};
};

TEST_F(LockServiceTest, MachinesExcludeEachOther) {
  const FileLock mine = Posix(f, Type::kExclusive, 1, 0, 9);
  EXPECT_EQ(a.Lock(mine), Code::kOk);
  EXPECT_EQ(bb.Lock(mine), Code::kWouldBlock);
  EXPECT_EQ(bb.Lock(Posix(f, Type::kExclusive, 1, 10)), Code::kOk);
  EXPECT_EQ(bb.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  EXPECT_EQ(a.Lock(Flock(f, Type::kShared)), Code::kWouldBlock);
  std::optional<Result<std::optional<FileLock>>> tested;
  bb.node.Run([&] {
    bb.locks().Test(Posix(f, Type::kShared),
                    [&](Result<std::optional<FileLock>> held) { tested.emplace(std::move(held)); });
  });
  ASSERT_TRUE(Eventually([&] { return tested.has_value(); }));
  ASSERT_TRUE(tested->ok() && (*tested)->has_value());
  EXPECT_EQ((**tested)->end, 9u);
  EXPECT_EQ((**tested)->pid, 77u);
  EXPECT_EQ(a.Unlock(mine), Code::kOk);
  EXPECT_EQ(bb.Lock(mine), Code::kOk);
  EXPECT_EQ(bb.CloseFile(mine), Code::kOk);
  EXPECT_EQ(Held(f), 0u);
}

TEST_F(LockServiceTest, WhoWaitsIsWokenAtOnceAndInTurn) {
  EXPECT_EQ(a.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  auto first = bb.Start(Flock(f, Type::kExclusive), true);
  w.scheduler.RunFor(5 * kSecond);  // it was sent again a few times, and kept its place
  auto second = ccc.Start(Flock(f, Type::kExclusive), true);
  w.scheduler.RunFor(5 * kSecond);
  EXPECT_FALSE(first->answer.has_value());
  EXPECT_FALSE(second->answer.has_value());
  const int64_t released_ns = w.scheduler.now_ns();
  EXPECT_EQ(a.Unlock(Flock(f, Type::kExclusive)), Code::kOk);
  ASSERT_TRUE(Eventually([&] { return first->answer.has_value(); }));
  EXPECT_TRUE(first->granted());
  EXPECT_LT(first->answered_ns - released_ns, 100 * kMillisecond);  // simulated
  w.scheduler.RunFor(3 * kSecond);
  EXPECT_FALSE(second->answer.has_value());
  EXPECT_EQ(bb.CloseFile(Flock(f, Type::kExclusive)), Code::kOk);
  ASSERT_TRUE(Eventually([&] { return second->answer.has_value(); }));
  EXPECT_TRUE(second->granted());
  EXPECT_GT(**second->answer, **first->answer) << "the token";
}

TEST_F(LockServiceTest, ADowngradeWakesReadersAndAWriterWaitsForAllOfThem) {
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive)), Code::kOk);
  auto reader = bb.Start(Posix(f, Type::kShared), true);
  auto writer = ccc.Start(Posix(f, Type::kExclusive), true);
  w.scheduler.RunFor(kSecond / 2);
  EXPECT_EQ(a.Lock(Posix(f, Type::kShared)), Code::kOk);
  ASSERT_TRUE(Eventually([&] { return reader->granted(); }));
  EXPECT_EQ(a.Unlock(Posix(f, Type::kShared)), Code::kOk);
  w.scheduler.RunFor(3 * kSecond);
  EXPECT_FALSE(writer->answer.has_value());
  EXPECT_EQ(bb.Unlock(Posix(f, Type::kShared)), Code::kOk);
  EXPECT_TRUE(Eventually([&] { return writer->granted(); }));
}

TEST_F(LockServiceTest, AnInterruptedWaitTakesNothing) {
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive)), Code::kOk);
  auto wish = bb.Start(Posix(f, Type::kExclusive), true);
  w.scheduler.RunFor(2500 * kMillisecond);
  bb.Cancel(wish);
  ASSERT_TRUE(Eventually([&] { return wish->answer.has_value(); }));
  EXPECT_EQ(wish->code(), Code::kInterrupted);
  EXPECT_EQ(a.Unlock(Posix(f, Type::kExclusive)), Code::kOk);
  w.scheduler.RunFor(5 * kSecond);
  EXPECT_EQ(Held(f), 0u);
  EXPECT_EQ(bb.CloseFile(Posix(f, Type::kExclusive)), Code::kOk);
}

TEST_F(LockServiceTest, AnInterruptionWithoutALeaderIsAnsweredAndWhatItGetsIsGivenBack) {
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive)), Code::kOk);
  auto wish = bb.Start(Posix(f, Type::kExclusive), true);
  w.scheduler.RunFor(kSecond / 2);
  for (int n = 0; n < 3; ++n) w.net.CutBoth(bb.node, w.node(n));
  bb.Cancel(wish);
  const int64_t since = w.scheduler.now_ns();
  ASSERT_TRUE(Eventually([&] { return wish->answer.has_value(); }));
  EXPECT_EQ(wish->code(), Code::kInterrupted);
  EXPECT_LT(w.scheduler.now_ns() - since, kSecond);
  // The leader does not know, and grants it.
  EXPECT_EQ(a.Unlock(Posix(f, Type::kExclusive)), Code::kOk);
  w.net.HealAll();
  // The owner's next request comes after that was given back.
  EXPECT_EQ(bb.Lock(Posix(f, Type::kShared, 1, 5, 9)), Code::kOk);
  w.scheduler.RunFor(5 * kSecond);
  EXPECT_EQ(Held(f), 1u);
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive, 1, 0, 4)), Code::kOk);
}

TEST_F(LockServiceTest, LocksSurviveTheLeaderAndSoDoesWaiting) {
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive)), Code::kOk);
  auto wish = bb.Start(Posix(f, Type::kExclusive), true);
  w.scheduler.RunFor(2 * kSecond);
  for (int i = 0; i < 3; ++i) {
    const int leader = w.Leader();
    w.Crash(leader);
    w.scheduler.RunFor(4 * kSecond);
    EXPECT_FALSE(wish->answer.has_value());
    EXPECT_EQ(ccc.Lock(Posix(f, Type::kShared)), Code::kWouldBlock);
    w.Restart(leader);
    w.scheduler.RunFor(2 * kSecond);
  }
  EXPECT_EQ(a.Unlock(Posix(f, Type::kExclusive)), Code::kOk);
  EXPECT_TRUE(Eventually([&] { return wish->granted(); }));
}

TEST_F(LockServiceTest, TheLocksOfAClientThatIsGonePassOnWhenItsSessionExpires) {
  EXPECT_EQ(a.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  auto wish = bb.Start(Flock(f, Type::kExclusive), true);
  a.node.Crash();
  w.net.NodeDown(a.node, false);
  a.core.reset();
  w.scheduler.RunFor(5 * kSecond);
  EXPECT_FALSE(wish->answer.has_value()) << "it may come back";
  EXPECT_TRUE(Eventually([&] { return wish->granted(); }));
  a.node.Restart();
}

TEST_F(LockServiceTest, AClosedSessionsLocksPassOnAtOnce) {
  EXPECT_EQ(a.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  auto wish = bb.Start(Flock(f, Type::kExclusive), true);
  w.scheduler.RunFor(kSecond / 2);
  const int64_t closed_ns = w.scheduler.now_ns();
  a.node.Run([&] { a.core->session().Close(); });
  ASSERT_TRUE(Eventually([&] { return wish->granted(); }));
  EXPECT_LT(wish->answered_ns - closed_ns, 100 * kMillisecond);
}

TEST_F(LockServiceTest, AClientThatLostItsSessionIsToldAtItsNextRequest) {
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive)), Code::kOk);
  for (int n = 0; n < 3; ++n) w.net.CutBoth(a.node, w.node(n));
  EXPECT_EQ(bb.Lock(Posix(f, Type::kExclusive), true), Code::kOk);
  w.net.HealAll();
  EXPECT_TRUE(Eventually([&] { return a.core->session().id() == 0; }));
  EXPECT_EQ(a.Lock(Posix(f, Type::kShared, 1, 5, 6)), Code::kIoError);
  EXPECT_EQ(a.Unlock(Posix(f, Type::kExclusive)), Code::kIoError);
  EXPECT_EQ(a.Lock(Posix(g, Type::kExclusive)), Code::kOk) << "another file";
  EXPECT_EQ(a.CloseFile(Posix(f, Type::kExclusive)), Code::kOk);
  EXPECT_EQ(a.Lock(Posix(f, Type::kShared)), Code::kIoError) << "not opened again";
  a.node.Run([&] { a.locks().Closed(f); });
  EXPECT_EQ(a.Lock(Posix(f, Type::kShared)), Code::kWouldBlock);
  EXPECT_EQ(Held(f), 1u);
}

TEST_F(LockServiceTest, ACircleOfWaitingOwnersIsBroken) {
  EXPECT_EQ(a.Lock(Posix(f, Type::kExclusive, 1, 0, 0)), Code::kOk);
  EXPECT_EQ(bb.Lock(Posix(f, Type::kExclusive, 1, 1, 1)), Code::kOk);
  EXPECT_EQ(ccc.Lock(Posix(g, Type::kExclusive, 1)), Code::kOk);
  auto one = a.Start(Posix(f, Type::kExclusive, 1, 1, 1), true);
  auto two = bb.Start(Posix(g, Type::kShared, 1), true);
  w.scheduler.RunFor(2 * kSecond);
  EXPECT_FALSE(one->answer.has_value() || two->answer.has_value());
  EXPECT_EQ(ccc.Lock(Posix(f, Type::kExclusive, 1, 0, 0), true), Code::kDeadlock);
  EXPECT_EQ(ccc.Unlock(Posix(g, Type::kExclusive, 1)), Code::kOk);
  EXPECT_TRUE(Eventually([&] { return two->granted(); }));
  EXPECT_FALSE(one->answer.has_value());
  EXPECT_EQ(bb.Unlock(Posix(f, Type::kExclusive, 1)), Code::kOk);
  EXPECT_TRUE(Eventually([&] { return one->granted(); }));
}

TEST_F(LockServiceTest, TwoThatBothConvertTheirFlockDoNotWaitForEachOther) {
  EXPECT_EQ(a.Lock(Flock(f, Type::kShared)), Code::kOk);
  EXPECT_EQ(bb.Lock(Flock(f, Type::kShared)), Code::kOk);
  auto one = a.Start(Flock(f, Type::kExclusive), true);
  auto two = bb.Start(Flock(f, Type::kExclusive), true);
  ASSERT_TRUE(Eventually([&] { return one->granted() || two->granted(); }));
  EXPECT_FALSE(one->granted() && two->granted());
  Machine& winner = one->granted() ? a : bb;
  EXPECT_EQ(winner.Unlock(Flock(f, Type::kExclusive)), Code::kOk);
  EXPECT_TRUE(Eventually([&] { return one->granted() && two->granted(); }));
}

TEST_F(LockServiceTest, AWaitHoldsUpNoOtherChange) {
  // A change keeps its sequence outstanding until it is answered, and only so many may be under way.
  EXPECT_EQ(a.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  auto wish = bb.Start(Flock(f, Type::kExclusive), true);
  w.scheduler.RunFor(100 * kMillisecond);
  const int64_t before = w.scheduler.now_ns();
  for (int i = 0; i < 700; ++i) {
    EXPECT_EQ(bb.Lock(Posix(f, Type::kShared, 5, 0, static_cast<uint64_t>(i))), Code::kOk);
  }
  EXPECT_LT(w.scheduler.now_ns() - before, 20 * kSecond);
  EXPECT_FALSE(wish->answer.has_value());
}

TEST_F(LockServiceTest, TheLastCloseReleasesWhatNoCloseNames) {
  int open_file = 0, other = 0;
  FileLock lock = Posix(f, Type::kExclusive, 1, 0, 9);
  lock.handle = &open_file;
  EXPECT_EQ(a.Lock(lock), Code::kOk);
  FileLock kept = Posix(f, Type::kExclusive, 2, 10, 19);
  kept.handle = &other;
  EXPECT_EQ(a.Lock(kept), Code::kOk);
  a.node.Run([&] { a.locks().ReleaseHandle(f, &open_file); });
  EXPECT_TRUE(Eventually([&] { return Held(f) == 1; }));
  EXPECT_EQ(bb.Lock(Posix(f, Type::kShared, 1, 0, 9)), Code::kOk);
  EXPECT_EQ(bb.Lock(Posix(f, Type::kShared, 1, 10, 10)), Code::kWouldBlock);
}

// ---- What a client's link does: the same request again -------------------------------------------

class RawLocks : public LockServiceTest {
 protected:
  idl::LockRequest Waiting(int64_t session, int64_t wait_id) {
    idl::LockRequest r;
    r.op.session = session;
    r.op.incarnation = 1;
    r.inode = static_cast<int64_t>(f);
    r.kind = 2;
    r.type = 2;
    r.last = INT64_MAX;
    r.owner = 5;
    r.wait = true;
    r.wait_ms = 5000;
    r.wait_id = wait_id;
    r.first_wait = wait_id;
    return r;
  }
  std::shared_ptr<std::optional<Result<idl::LockReply>>> Send(const idl::LockRequest& request) {
    auto answer = std::make_shared<std::optional<Result<idl::LockReply>>>();
    const int leader = w.Leader();
    w.client.Run([&] {
      w.ChannelOf(leader).Call(idl::kLock, idl::Encode(request), 20 * kSecond,
                               [answer](Result<rpc::Reply> raw) {
                                 idl::LockReply reply;
                                 if (!raw) {
                                   answer->emplace(raw.error());
                                 } else if (idl::Decode(raw->payload.view(), &reply).ok()) {
                                   answer->emplace(std::move(reply));
                                 }
                               });
    });
    w.scheduler.RunFor(200 * kMillisecond);
    return answer;
  }
};

TEST_F(RawLocks, TheSameRequestAgainTakesThePlaceOfTheOneThatWaits) {
  EXPECT_EQ(a.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  Client c(w, 7);
  auto first = Send(Waiting(c.session, 1));
  EXPECT_FALSE(first->has_value());
  auto again = Send(Waiting(c.session, 1));
  ASSERT_TRUE(first->has_value());
  EXPECT_TRUE((*first)->status().Is(Code::kUnavailable)) << (*first)->status().ToString();
  EXPECT_EQ(a.Unlock(Flock(f, Type::kExclusive)), Code::kOk);
  ASSERT_TRUE(Eventually([&] { return again->has_value(); }));
  ASSERT_TRUE((*again)->ok() && (**again)->granted);
  // And once more, its answer was lost: held as before.
  auto third = Send(Waiting(c.session, 1));
  ASSERT_TRUE(third->has_value() && (*third)->ok());
  EXPECT_TRUE((**third)->granted);
  EXPECT_EQ(Held(f, LockKind::kFlock), 1u);
  // Now that the session says that it is done with it, a copy on the way has no effect.
  idl::UnlockRequest unlock;
  unlock.op = w.NextOp(c.session);
  unlock.inode = static_cast<int64_t>(f);
  unlock.kind = 2;
  unlock.last = INT64_MAX;
  unlock.owner = 5;
  unlock.first_wait = 2;
  ASSERT_OK(w.Call<idl::kUnlock>(unlock));
  auto copy = Send(Waiting(c.session, 1));
  ASSERT_TRUE(copy->has_value());
  EXPECT_TRUE((*copy)->status().Is(Code::kStaleSequence));
  EXPECT_EQ(Held(f, LockKind::kFlock), 0u);
}

TEST_F(RawLocks, AWaitEndsWhenItsTimeIsOverOrItIsCancelled) {
  EXPECT_EQ(a.Lock(Flock(f, Type::kExclusive)), Code::kOk);
  Client c(w, 7);
  idl::LockRequest request = Waiting(c.session, 1);
  request.wait_ms = 300;
  auto over = Send(request);
  ASSERT_TRUE(Eventually([&] { return over->has_value(); }));
  ASSERT_TRUE((*over)->ok());
  EXPECT_FALSE((**over)->granted);
  auto cancelled = Send(Waiting(c.session, 2));
  EXPECT_FALSE(cancelled->has_value());
  idl::CancelLockRequest cancel;
  cancel.session = c.session;
  cancel.wait_id = 2;
  ASSERT_OK(w.Call<idl::kCancelLock>(cancel));
  ASSERT_TRUE(Eventually([&] { return cancelled->has_value(); }));
  EXPECT_TRUE((*cancelled)->status().Is(Code::kCancelled));
  EXPECT_EQ(a.Unlock(Flock(f, Type::kExclusive)), Code::kOk);
  w.scheduler.RunFor(kSecond);
  EXPECT_EQ(Held(f, LockKind::kFlock), 0u);
}

TEST_F(RawLocks, NonsenseIsRefused) {
  Client c(w, 7);
  idl::LockRequest request = Waiting(c.session, 0);
  auto none = Send(request);
  ASSERT_TRUE(none->has_value());
  EXPECT_TRUE((*none)->status().Is(Code::kInvalidArgument));
  for (int64_t session : {int64_t{0}, int64_t{12345}}) {
    auto unknown = Send(Waiting(session, 1));
    ASSERT_TRUE(unknown->has_value());
    EXPECT_TRUE((*unknown)->status().Is(Code::kUnknownSession));
  }
  request = Waiting(c.session, 1);
  request.kind = 9;
  auto kind = Send(request);
  ASSERT_TRUE(kind->has_value());
  EXPECT_TRUE((*kind)->status().Is(Code::kInvalidArgument));
  request = Waiting(c.session, 2);
  request.first = 7;
  request.last = -1;
  auto range = Send(request);
  ASSERT_TRUE(range->has_value());
  EXPECT_TRUE((*range)->status().Is(Code::kInvalidArgument));
}

TEST(Locks, WaitForNamenodesOfOneVersion) {
  ServiceWorld w(3, 0, [](NamenodeOptions& o) { o.feature_level = kFeatureCaches - 1; });
  Client c(w, 1);
  auto file = c.Create("/f", "x");
  ASSERT_OK(file);
  idl::LockRequest request;
  request.op = w.NextOp(c.session);
  request.inode = file->attr.inode;
  request.kind = request.type = 1;
  EXPECT_CODE(w.Call<idl::kLock>(request), Code::kNotSupported);
  request.wait = true;
  EXPECT_CODE(w.Call<idl::kLock>(request), Code::kNotSupported);
  idl::UnlockRequest unlock;
  unlock.op = w.NextOp(c.session);
  EXPECT_CODE(w.Call<idl::kUnlock>(unlock), Code::kNotSupported);
}

}  // namespace
}  // namespace dfs::nn
