// SessionManager: terms, expiry, open files. The state machine is real, time is simulated.
#include <gtest/gtest.h>

#include "common/base/fault_env.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/mem_store.h"
#include "namenode/state/state_machine.h"
#include "tests/sim/scheduler.h"

namespace dfs::nn {
namespace {

class SessionsTest : public testing::Test, public StateObserver {
 protected:
  SessionsTest() : node(scheduler.AddNode("nn")) {
    store = *OpenMemStore(&env, "/s");
    machine = std::make_unique<StateMachine>(store.get());
    EXPECT_TRUE(machine->Load().ok());
    sessions = std::make_unique<SessionManager>(
        SessionManagerOptions{}, node.executor(), machine->reader(),
        [this](CommandBody body, UniqueFunction<void(Status)> done) {
          node.executor().Post([this, body = std::move(body), done = std::move(done)] {
            proposed.push_back(TypeOf(body));
            done(fail ? Status(Code::kNotLeader, "") : Apply(body).status());
          });
        });
    machine->SetObserver(this);
    node.Run([&] {
      sessions->Start();
      sessions->OnLeading();
    });
  }
  ~SessionsTest() override {
    machine->SetObserver(nullptr);
    node.Run([&] { sessions.reset(); });
  }
  Result<std::string> Apply(const CommandBody& body) {
    CommandHeader header;
    header.now_ns = 1;
    auto reply = machine->Apply(machine->applied_index() + 1, 1, EncodeCommand(header, body));
    EXPECT_TRUE(machine->Commit().ok());
    auto decoded = DecodeReply(*reply);
    if (decoded->code != Code::kOk) return decoded->status();
    return decoded->payload;
  }
  SessionId Open(uint64_t nonce) {
    OpenSessionCommand c;
    c.secret = "s";
    c.nonce = nonce;
    return DecodeResult<SessionResult>(*Apply(c))->session;
  }
  Status KeepAlive(SessionId id, std::vector<InodeId> open = {}, uint64_t incarnation = 1) {
    Status out;
    node.Run([&] { out = sessions->KeepAlive(id, incarnation, false, open); });
    return out;
  }
  bool Alive(SessionId id) { return machine->reader().GetSession(id).ok(); }
  void OnSessionOpened(const Session& s) override { sessions->OnSessionOpened(s); }
  void OnSessionResumed(const Session& s) override { sessions->OnSessionResumed(s); }
  void OnSessionEnded(SessionId s) override { sessions->OnSessionEnded(s); }

  sim::SimScheduler scheduler{1};
  sim::SimNode& node;
  FaultEnv env;
  std::unique_ptr<StateStore> store;
  std::unique_ptr<StateMachine> machine;
  std::unique_ptr<SessionManager> sessions;
  std::vector<CommandType> proposed;
  bool fail = false;
};

TEST_F(SessionsTest, ExpiresAfterTheTermSinceTheLastKeepAlive) {
  SessionId a = Open(1), b = Open(2);
  for (int s = 0; s < 29; ++s) {
    scheduler.RunFor(kSecond);
    EXPECT_TRUE(KeepAlive(a).ok());
  }
  EXPECT_TRUE(Alive(b));
  scheduler.RunFor(3 * kSecond);
  EXPECT_TRUE(Alive(a));
  EXPECT_FALSE(Alive(b));
  EXPECT_TRUE(KeepAlive(b).Is(Code::kUnknownSession));
  EXPECT_EQ(sessions->expiries(), 1u);
}

TEST_F(SessionsTest, ANewLeaderGivesAFullTerm) {
  SessionId a = Open(1);
  scheduler.RunFor(25 * kSecond);
  node.Run([&] {
    sessions->OnLeadershipLost();
    sessions->OnLeading();
  });
  scheduler.RunFor(29 * kSecond);
  EXPECT_TRUE(Alive(a));
  scheduler.RunFor(2 * kSecond);
  EXPECT_FALSE(Alive(a));
}

TEST_F(SessionsTest, AFollowerExpiresNobody) {
  SessionId a = Open(1);
  node.Run([&] { sessions->OnLeadershipLost(); });
  scheduler.RunFor(120 * kSecond);
  EXPECT_TRUE(Alive(a));
  EXPECT_TRUE(proposed.empty());
}

TEST_F(SessionsTest, TimeInWhichTheLeaderItselfStoodStillDoesNotCount) {
  SessionId a = Open(1);
  node.Pause(60 * kSecond);
  scheduler.RunFor(62 * kSecond);
  EXPECT_TRUE(Alive(a));
  scheduler.RunFor(32 * kSecond);
  EXPECT_FALSE(Alive(a));
}

TEST_F(SessionsTest, AFailedExpiryIsProposedAgain) {
  SessionId a = Open(1);
  fail = true;
  scheduler.RunFor(35 * kSecond);
  EXPECT_TRUE(Alive(a));
  EXPECT_GT(proposed.size(), 1u);
  fail = false;
  scheduler.RunFor(2 * kSecond);
  EXPECT_FALSE(Alive(a));
}

TEST_F(SessionsTest, AnOlderProcessIsToldSo) {
  SessionId a = Open(1);
  ResumeSessionCommand resume;
  resume.session = a;
  resume.secret = "s";
  ASSERT_TRUE(Apply(resume).ok());
  EXPECT_TRUE(KeepAlive(a, {}, 1).Is(Code::kStaleIncarnation));
  EXPECT_TRUE(KeepAlive(a, {}, 2).ok());
}

TEST_F(SessionsTest, OpenFilesAreKnownDeclaredAndForgotten) {
  SessionId a = Open(1), b = Open(2);
  InodeId f(20'000), g(20'001);
  node.Run([&] {
    EXPECT_TRUE(sessions->Opened(a, f).ok());
    EXPECT_TRUE(sessions->Opened(b, f).ok());
  });
  EXPECT_EQ(sessions->OpenSessions(f).size(), 2u);
  EXPECT_TRUE(sessions->OpenSessions(g).empty());
  node.Run([&] { sessions->Closed(b, f); });
  EXPECT_EQ(sessions->OpenSessions(f), std::vector<SessionId>{a});
  // A close that got lost: keep-alives that do not name it make it forgotten, but not at once.
  EXPECT_TRUE(KeepAlive(a, {g}).ok());
  EXPECT_TRUE(sessions->HasOpen(a, f));
  for (int s = 0; s < 12; ++s) {
    scheduler.RunFor(kSecond);
    EXPECT_TRUE(KeepAlive(a, {g}).ok());
  }
  EXPECT_FALSE(sessions->HasOpen(a, f));
  EXPECT_TRUE(sessions->HasOpen(a, g));
  // After a fail-over who has not spoken has everything open.
  node.Run([&] {
    sessions->OnLeadershipLost();
    sessions->OnLeading();
  });
  EXPECT_EQ(sessions->OpenSessions(f).size(), 2u);
  EXPECT_TRUE(KeepAlive(a, {g}).ok());
  EXPECT_EQ(sessions->OpenSessions(f), std::vector<SessionId>{b});
  EXPECT_EQ(sessions->OpenSessions(g).size(), 2u);
  EXPECT_TRUE(sessions->has_undeclared());
}

}  // namespace
}  // namespace dfs::nn
