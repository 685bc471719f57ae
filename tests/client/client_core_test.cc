// The link, the session and plain calls against fake namenodes.
#include <gtest/gtest.h>

#include "common/client/core/calls.h"
#include "tests/client/fake_cluster.h"

namespace dfs::client {
namespace {

Status Mkdir(FakeCluster& c, ClientCore& core, const std::string& path) {
  return c
      .Wait<idl::AttrReply>([&](Done<idl::AttrReply> done) {
        idl::MkdirRequest request;
        request.ref.path = path;
        Change<idl::kMkdir>(core, request, 0, core.Deadline(), std::move(done));
      })
      .status();
}

TEST(ClientCore, FindsTheLeaderByItsHint) {
  for (int leader = 0; leader < 3; ++leader) {
    FakeCluster c(1);
    c.leader = leader;
    auto core = c.MakeClient();
    EXPECT_TRUE(Mkdir(c, *core, "a").ok());
    EXPECT_EQ(c.names.count("a"), 1u);
  }
}

TEST(ClientCore, WaitsForAnElection) {
  FakeCluster c(2);
  c.leader = -1;
  auto core = c.MakeClient();
  c.scheduler.After(2 * kSecond, [&] { c.leader = 2; });
  EXPECT_TRUE(Mkdir(c, *core, "a").ok());
  EXPECT_GE(c.scheduler.now_ns(), 2 * kSecond);
  EXPECT_LT(c.scheduler.now_ns(), 3 * kSecond) << "a new leader is found quickly";
}

TEST(ClientCore, GivesUpAtTheDeadlineWithTheReason) {
  FakeCluster c(3);
  c.leader = -1;
  auto core = c.MakeClient(3 * kSecond);
  const Status status = Mkdir(c, *core, "a");
  EXPECT_EQ(status.code(), Code::kTimedOut);
  EXPECT_NE(status.message().find("not the leader"), std::string::npos) << status.ToString();
}

TEST(ClientCore, ARetriedChangeIsAppliedOnce) {
  FakeCluster c(4);
  auto core = c.MakeClient();
  ASSERT_TRUE(Mkdir(c, *core, "first").ok());
  c.drop_replies = 3;
  const Status status = Mkdir(c, *core, "a");
  EXPECT_TRUE(status.ok()) << status.ToString();
  EXPECT_EQ(c.applied[idl::kMkdir], 2) << "applied once each, answered from the stored reply";
  EXPECT_EQ(Mkdir(c, *core, "a").code(), Code::kAlreadyExists);
}

TEST(ClientCore, ManyChangesInFlightOverALeaderChange) {
  FakeCluster c(5);
  auto core = c.MakeClient();
  int done = 0, ok = 0;
  c.OnClient([&] {
    for (int i = 0; i < 1500; ++i) {
      idl::MkdirRequest request;
      request.ref.path = "d" + std::to_string(i);
      Change<idl::kMkdir>(*core, request, 0, core->Deadline(), [&](Result<idl::AttrReply> reply) {
        ++done;
        if (reply) ++ok;
      });
    }
  });
  c.drop_reply_one_in = 20;
  c.scheduler.After(3 * kMillisecond, [&] { c.leader = 1; });
  ASSERT_TRUE(c.RunUntil([&] { return done == 1500; }));
  EXPECT_EQ(ok, 1500);
  EXPECT_EQ(c.applied[idl::kMkdir], 1500);
  EXPECT_TRUE(c.violations.empty());
}

TEST(ClientCore, ALostSessionIsAnErrorOnceAndANewOneServesNewWork) {
  FakeCluster c(6);
  auto core = c.MakeClient();
  ASSERT_TRUE(Mkdir(c, *core, "a").ok());
  c.unknown_sessions.insert(core->session().id());
  EXPECT_EQ(Mkdir(c, *core, "b").code(), Code::kUnknownSession);
  EXPECT_TRUE(Mkdir(c, *core, "b").ok());
}

TEST(ClientCore, AKeepAliveFindsOutThatTheSessionIsGone) {
  FakeCluster c(7);
  auto core = c.MakeClient();
  ASSERT_TRUE(Mkdir(c, *core, "a").ok());
  const uint64_t before = core->session().id();
  c.unknown_sessions.insert(before);
  c.scheduler.RunFor(3 * kSecond);
  EXPECT_FALSE(core->session().open());
  EXPECT_TRUE(Mkdir(c, *core, "b").ok()) << "new work gets a new session without an error";
}

TEST(ClientCore, AStoppedLeaderCostsATimeOutNotTheDeadline) {
  FakeCluster c(8);
  auto core = c.MakeClient();
  ASSERT_TRUE(Mkdir(c, *core, "a").ok());
  // Requests to it go nowhere and the connection stays; the others elect.
  c.CutClientFrom(0);
  c.leader = 1;
  const int64_t start = c.scheduler.now_ns();
  EXPECT_TRUE(Mkdir(c, *core, "b").ok());
  EXPECT_LT(c.scheduler.now_ns() - start, 4 * kSecond);
  EXPECT_EQ(c.applied[idl::kMkdir], 2);
}

TEST(ClientCore, ReadsNeedNoSession) {
  FakeCluster c(9);
  c.names["f"] = 50;
  c.files[50].attr.inode = 50;
  auto core = c.MakeClient();
  auto reply = c.Wait<idl::StatReply>([&](Done<idl::StatReply> done) {
    idl::StatRequest request;
    request.ref.path = "f";
    Read<idl::kStat>(*core, request, core->Deadline(), std::move(done));
  });
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->attr.inode, 50);
  EXPECT_FALSE(core->session().open());
}

TEST(ClientCore, StatusComesFromTheLeader) {
  FakeCluster c(10);
  c.leader = 2;
  auto core = c.MakeClient();
  auto reply = c.Wait<idl::ClusterStatusReply>([&](Done<idl::ClusterStatusReply> done) {
    core->ClusterStatus(core->Deadline(), std::move(done));
  });
  ASSERT_TRUE(reply.ok()) << reply.error().ToString();
  EXPECT_EQ(reply->node_id, 3);
}

TEST(ClientCore, ShutdownFailsWhatIsUnderWay) {
  FakeCluster c(11);
  c.leader = -1;
  auto core = c.MakeClient();
  Status status;
  bool done = false;
  c.OnClient([&] {
    idl::StatRequest request;
    Read<idl::kStat>(*core, request, core->Deadline(), [&](Result<idl::StatReply> reply) {
      status = reply.status();
      done = true;
    });
  });
  c.scheduler.RunFor(100 * kMillisecond);
  EXPECT_FALSE(done);
  c.OnClient([&] { core->Shutdown(); });
  EXPECT_TRUE(done);
  EXPECT_EQ(status.code(), Code::kClosed);
}

}  // namespace
}  // namespace dfs::client
