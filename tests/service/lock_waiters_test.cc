// LockWaiters: who waits, in which order, for how long. The state machine is real, time is simulated, and the test is the
// log: what is proposed is applied when it says so.
#include "namenode/sessions/lock_waiters.h"

#include <gtest/gtest.h>

#include <deque>

#include "common/base/fault_env.h"
#include "namenode/state/mem_store.h"
#include "namenode/state/state_machine.h"
#include "tests/sim/scheduler.h"

namespace dfs::nn {
namespace {

class LockWaitersTest : public testing::Test, public StateObserver {
 protected:
  LockWaitersTest() : node(scheduler.AddNode("nn")) {
    store = *OpenMemStore(&env, "/s");
    machine = std::make_unique<StateMachine>(store.get());
    EXPECT_TRUE(machine->Load().ok());
    machine->SetObserver(this);
    waiters = std::make_unique<LockWaiters>(
        LockWaitersOptions(), node.executor(), machine->reader(),
        [this](const Credentials&, const LockCommand& command, LockWaiters::Done done) {
          proposals.push_back({command, std::move(done)});
        });
    CreateCommand create;
    create.parent = kRootInode;
    create.name = "f";
    file = DecodeResult<CreateResult>(*Apply(create))->attr.id;
    for (uint64_t i = 1; i <= 3; ++i) {
      OpenSessionCommand open;
      open.secret = "s";
      open.nonce = i;
      sessions.push_back(DecodeResult<SessionResult>(*Apply(open))->session);
    }
  }
  ~LockWaitersTest() override {
    machine->SetObserver(nullptr);
    node.Run([&] { waiters.reset(); });
  }
  void OnLocksReleased(InodeId inode) override {
    node.Run([&] { waiters->OnLocksReleased(inode); });
  }

  Result<std::string> Apply(const CommandBody& body, SessionId session = SessionId()) {
    CommandHeader header;
    header.session = session;
    header.incarnation = 1;
    header.sequence = header.first_outstanding = ++sequence_;
    auto reply = machine->Apply(machine->applied_index() + 1, 1, EncodeCommand(header, body));
    EXPECT_TRUE(machine->Commit().ok());
    auto decoded = DecodeReply(*reply);
    if (decoded->code != Code::kOk) return decoded->status();
    return decoded->payload;
  }
  LockCommand Exclusive(size_t session, uint64_t wait_id = 0) {
    LockCommand c;
    c.inode = file;
    c.type = LockType::kExclusive;
    c.owner = 1;
    if (wait_id == 0) return c;
    c.session = sessions[session];
    c.incarnation = 1;
    c.wait_id = wait_id;
    return c;
  }
  /// Takes it without waiting.
  bool Take(size_t session) {
    return DecodeResult<LockResult>(*Apply(Exclusive(session), sessions[session]))->granted;
  }
  void Release(size_t session) {
    UnlockCommand c;
    c.inode = file;
    c.owner = 1;
    EXPECT_TRUE(Apply(c, sessions[session]).ok());
    scheduler.RunFor(kMillisecond);
  }

  struct Waiter {
    std::optional<Result<LockResult>> answer;
    bool granted() const { return answer && answer->ok() && (*answer)->granted; }
    Code code() const { return answer ? answer->status().code() : Code::kInternal; }
  };
  std::shared_ptr<Waiter> Wait(const LockCommand& command, const void* connection = nullptr,
                               int64_t wait_ns = kSecond) {
    auto waiter = std::make_shared<Waiter>();
    node.Run([&] {
      waiters->Wait(command, Credentials(), connection, wait_ns,
                    [waiter](Result<LockResult> r) { waiter->answer.emplace(std::move(r)); });
    });
    return waiter;
  }
  /// The oldest proposal comes through the log.
  void ApplyOne() {
    ASSERT_FALSE(proposals.empty());
    auto [command, done] = std::move(proposals.front());
    proposals.pop_front();
    auto payload = Apply(command);
    node.Run([&] {
      done(payload ? DecodeResult<LockResult>(*payload) : Result<LockResult>(payload.error()));
    });
    scheduler.RunFor(kMillisecond);
  }

  sim::SimScheduler scheduler{1};
  sim::SimNode& node;
  FaultEnv env;
  std::unique_ptr<StateStore> store;
  std::unique_ptr<StateMachine> machine;
  struct Proposal {
    LockCommand command;
    LockWaiters::Done done;
  };
  std::deque<Proposal> proposals;
  std::unique_ptr<LockWaiters> waiters;
  std::vector<SessionId> sessions;
  InodeId file;

 private:
  uint64_t sequence_ = 0;
};

TEST_F(LockWaitersTest, ARequestThatNothingIsInTheWayOfIsProposedAtOnce) {
  auto waiter = Wait(Exclusive(0, 1));
  ASSERT_EQ(proposals.size(), 1u);
  ApplyOne();
  EXPECT_TRUE(waiter->granted());
  EXPECT_EQ(waiters->waiting(), 0u);
}

TEST_F(LockWaitersTest, OnlyTheFirstIsProposedAndTheOthersInTheirTurn) {
  EXPECT_TRUE(Take(0));
  auto first = Wait(Exclusive(1, 1)), second = Wait(Exclusive(2, 1));
  EXPECT_TRUE(proposals.empty());
  Release(0);
  ASSERT_EQ(proposals.size(), 1u);
  ApplyOne();
  EXPECT_TRUE(first->granted());
  EXPECT_TRUE(proposals.empty());
  EXPECT_FALSE(second->answer.has_value());
  Release(1);
  ASSERT_EQ(proposals.size(), 1u);
  ApplyOne();
  EXPECT_TRUE(second->granted());
}

TEST_F(LockWaitersTest, WhoWasRefusedInTheLogWaitsOn) {
  auto waiter = Wait(Exclusive(1, 1));
  EXPECT_TRUE(Take(0));  // faster
  ApplyOne();
  EXPECT_FALSE(waiter->answer.has_value());
  EXPECT_TRUE(proposals.empty());
  Release(0);
  ApplyOne();
  EXPECT_TRUE(waiter->granted());
}

TEST_F(LockWaitersTest, WhatWasReleasedBeforeTheRefusalCameIsNotMissed) {
  auto waiter = Wait(Exclusive(1, 1));
  EXPECT_TRUE(Take(0));
  auto [command, done] = std::move(proposals.front());
  proposals.pop_front();
  auto payload = Apply(command);
  Release(0);  // while it is still known as proposed
  node.Run([&] { done(*DecodeResult<LockResult>(*payload)); });
  scheduler.RunFor(kMillisecond);
  ApplyOne();
  EXPECT_TRUE(waiter->granted());
}

TEST_F(LockWaitersTest, WhoIsHeldBackByAProposalThatFailsGoesOn) {
  auto first = Wait(Exclusive(1, 1)), second = Wait(Exclusive(2, 1));
  ASSERT_EQ(proposals.size(), 1u);
  auto done = std::move(proposals.front().done);
  proposals.pop_front();
  node.Run([&] { done(Status(Code::kUnknownSession, "ended")); });
  scheduler.RunFor(kMillisecond);
  EXPECT_EQ(first->code(), Code::kUnknownSession);
  ApplyOne();
  EXPECT_TRUE(second->granted());
}

TEST_F(LockWaitersTest, TimeAndConnectionsEndAWaitAndAPlaceIsKeptForAWhile) {
  EXPECT_TRUE(Take(0));
  int one = 0, other = 0;
  auto first = Wait(Exclusive(1, 1), &one);
  auto second = Wait(Exclusive(2, 1), &other, 60 * kSecond);
  scheduler.RunFor(1500 * kMillisecond);
  ASSERT_TRUE(first->answer.has_value());
  EXPECT_TRUE(first->answer->ok() && !first->granted());
  EXPECT_FALSE(second->answer.has_value());
  auto again = Wait(Exclusive(1, 1), &one);
  Release(0);
  ASSERT_EQ(proposals.size(), 1u);
  EXPECT_EQ(proposals.front().command.session, sessions[1]) << "it had kept its place";
  ApplyOne();
  EXPECT_TRUE(again->granted());
  node.Run([&] { waiters->ConnectionClosed(&other); });
  EXPECT_EQ(waiters->waiting(), 0u);
  Release(1);
  EXPECT_TRUE(proposals.empty());
  // Nobody came back for this one.
  EXPECT_TRUE(Take(0));
  Wait(Exclusive(1, 2), &one, 100 * kMillisecond);
  scheduler.RunFor(4 * kSecond);
  EXPECT_EQ(waiters->waiting(), 0u);
}

TEST_F(LockWaitersTest, WhoWaitsIsBounded) {
  EXPECT_TRUE(Take(0));
  std::vector<std::shared_ptr<Waiter>> many;
  for (uint64_t i = 1; i <= 256; ++i) many.push_back(Wait(Exclusive(1, i)));
  EXPECT_FALSE(many.back()->answer.has_value());
  EXPECT_EQ(Wait(Exclusive(1, 257))->code(), Code::kOverloaded);
  EXPECT_FALSE(Wait(Exclusive(2, 1))->answer.has_value()) << "another session";
  node.Run([&] { waiters->Clear(Status(Code::kNotLeader, "deposed")); });
  EXPECT_EQ(many.back()->code(), Code::kNotLeader);
  EXPECT_EQ(waiters->waiting(), 0u);
}

}  // namespace
}  // namespace dfs::nn
