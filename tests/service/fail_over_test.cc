// What a change of leaders keeps and forgets, on real namenodes in the simulated world.
#include <gtest/gtest.h>

#include <algorithm>

#include "namenode/blocks/block_manager.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/reader.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

TEST(FailOver, FailOverAnswersARetryOnceMore) {
  ServiceWorld w(3);
  Client c(w, 1);
  int first = w.Leader();
  idl::MkdirRequest mkdir;
  mkdir.op = w.NextOp(c.session);
  mkdir.ref = At("/once");
  auto made = w.CallAt<idl::kMkdir>(first, mkdir);
  ASSERT_OK(made);
  idl::UnlinkRequest unlink;
  ASSERT_OK(c.Create("/gone", "x"));
  unlink.op = w.NextOp(c.session);
  unlink.ref = At("/gone");
  ASSERT_OK(w.CallAt<idl::kUnlink>(first, unlink));
  // Followers send one to the leader.
  for (int n = 0; n < 3; ++n) {
    if (n == first) continue;
    auto refused = w.CallAt<idl::kStat>(n, idl::StatRequest());
    EXPECT_CODE(refused, Code::kNotLeader);
    EXPECT_EQ(refused.error().leader_hint(), "nn" + std::to_string(first + 1) + ":9700");
  }
  w.Crash(first);
  int second = w.Leader();
  ASSERT_NE(second, first);
  auto again = w.CallAt<idl::kMkdir>(second, mkdir);
  ASSERT_OK(again);
  EXPECT_EQ(again->attr.inode, made->attr.inode);
  // The name is gone; the check before proposing must not say so to who removed it.
  ASSERT_OK(w.CallAt<idl::kUnlink>(second, unlink));
  unlink.op = w.NextOp(c.session);
  EXPECT_CODE(w.CallAt<idl::kUnlink>(second, unlink), Code::kNotFound);
  ASSERT_OK(c.Stat(At("/once")));
  // All three agree in the end.
  w.Restart(first);
  ASSERT_TRUE(w.RunUntil([&] {
    return w.nn(0).replica().applied_index() == w.nn(1).replica().applied_index() &&
           w.nn(1).replica().applied_index() == w.nn(2).replica().applied_index();
  }));
  auto s0 = w.CallAt<idl::kClusterStatus>(0, {}), s1 = w.CallAt<idl::kClusterStatus>(1, {}),
       s2 = w.CallAt<idl::kClusterStatus>(2, {});
  ASSERT_OK(s0);
  EXPECT_EQ(s0->state_hash, s1->state_hash);
  EXPECT_EQ(s1->state_hash, s2->state_hash);
  EXPECT_EQ(s0->leader + s1->leader + s2->leader, 1);
  EXPECT_EQ(s0->members.size(), 3u);
}

TEST(FailOver, ARetryAfterItsSessionEndedIsNotToldHowItWouldGoNow) {
  ServiceWorld w(3);
  const int64_t session = w.OpenSession(1);
  idl::MkdirRequest mkdir;
  mkdir.op = w.NextOp(session);
  mkdir.ref = At("/once");
  ASSERT_OK(w.Call<idl::kMkdir>(mkdir));
  idl::CloseSessionRequest close;
  close.session = session;
  close.incarnation = 1;
  ASSERT_OK(w.Call<idl::kCloseSession>(close));
  EXPECT_CODE(w.Call<idl::kMkdir>(mkdir), Code::kUnknownSession);  // and not kAlreadyExists
  idl::UnlinkRequest missing;
  missing.op = w.NextOp(session);
  missing.ref = At("/never");
  EXPECT_CODE(w.Call<idl::kUnlink>(missing), Code::kUnknownSession);
}

TEST(FailOver, ANewLeaderIsWarm) {
  ServiceWorld w(3, 3);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) dn->replicas[b->block.block] = {b->block.stamp, 1000, 1};
  ASSERT_OK(c.Close(file->attr.inode, b->block, 1000));
  w.scheduler.RunFor(kSecond);
  w.Crash(w.Leader());
  w.Leader();
  auto located = c.Blocks(file->attr.inode);
  ASSERT_OK(located);
  EXPECT_EQ(located->blocks[0].replicas.size(), 3u);
  ASSERT_OK(c.OpenBlock(file->attr.inode, 0, b->block.stamp));
}

TEST(FailOver, TheLeaseFlagIsTheLeadersAndOnlyUnderAQuorum) {
  ServiceWorld w(3, 1);
  int leader = w.Leader();
  w.scheduler.RunFor(2 * kSecond);
  FakeDatanode& dn = *w.datanodes[0];
  for (int n = 0; n < 3; ++n) {
    EXPECT_EQ(dn.last_reply[static_cast<size_t>(n)].lease, n == leader);
    EXPECT_EQ(dn.last_reply[static_cast<size_t>(n)].leader, n == leader);
  }
  for (int n = 0; n < 3; ++n) {
    if (n != leader) w.net.CutBoth(w.node(leader), w.node(n));
  }
  // Cut off, it may think for a while that it leads; but from the end of its lease it says so to nobody.
  w.scheduler.RunFor(400 * kMillisecond);
  dn.last_reply[static_cast<size_t>(leader)].lease = false;
  for (int n = 0; n < 100; ++n) {
    w.scheduler.RunFor(100 * kMillisecond);
    EXPECT_FALSE(dn.last_reply[static_cast<size_t>(leader)].lease);
  }
  idl::StatRequest stat;
  stat.ref = At("/");
  EXPECT_FALSE(w.CallAt<idl::kStat>(leader, stat).ok());
}

TEST(FailOver, ADeposedLeaderRefusesNoChangeByItsOldState) {
  ServiceWorld w(3);
  Client c(w, 1);
  const int leader = w.Leader();
  idl::MkdirRequest mkdir;
  mkdir.op = w.NextOp(c.session);
  mkdir.ref = At("/absent/directory");
  EXPECT_CODE(w.CallAt<idl::kMkdir>(leader, mkdir), Code::kNotFound);
  for (int n = 0; n < 3; ++n) {
    if (n != leader) w.net.CutBoth(w.node(leader), w.node(n));
  }
  // Its lease is over, and it does not know yet that it is alone: the others may have made the parent since.
  w.scheduler.RunFor(400 * kMillisecond);
  ASSERT_TRUE(w.nn(leader).replica().is_leader());
  mkdir.op = w.NextOp(c.session);
  EXPECT_CODE(w.CallAt<idl::kMkdir>(leader, mkdir), Code::kNotLeader);
  // Nor does it know which sessions there are.
  mkdir.op.session += 1'000'000;
  EXPECT_CODE(w.CallAt<idl::kMkdir>(leader, mkdir), Code::kNotLeader);
}

TEST(FailOver, AnOpenFileOutlivesItsNameAlsoOverAFailOver) {
  ServiceWorld w(3);
  Client c(w, 1), other(w, 2);
  auto file = c.Create("/f", "bytes");
  ASSERT_OK(file);
  ASSERT_OK(c.KeepAlive({file->attr.inode}));
  w.Crash(w.Leader());
  w.Leader();
  // The new leader has not heard yet who has what open: it takes everybody to have everything.
  ASSERT_OK(other.Unlink("/f"));
  auto orphan = other.Stat(At(file->attr.inode));
  ASSERT_OK(orphan);
  EXPECT_EQ(orphan->attr.nlink, 0);
  ASSERT_OK(other.KeepAlive());  // does not have it
  w.scheduler.RunFor(kSecond);
  ASSERT_OK(c.Stat(At(file->attr.inode)));
  ASSERT_OK(c.KeepAlive({file->attr.inode}));
  w.scheduler.RunFor(kSecond);
  ASSERT_OK(c.Stat(At(file->attr.inode)));
  idl::CloseFileRequest close;
  close.inode = file->attr.inode;
  close.session = c.session;
  ASSERT_OK(w.Call<idl::kCloseFile>(close));
  ASSERT_TRUE(
      w.RunUntil([&] { return c.Stat(At(file->attr.inode)).status().Is(Code::kStaleHandle); }));
}

// A new leader takes everybody to have everything open; the orphan that it makes on that account must not live as long as
// a session that never had the file.
TEST(FailOver, AnOrphanThatNobodyHasOpenIsLetGoAfterAFailOver) {
  ServiceWorld w(3);
  Client c(w, 1), other(w, 2);
  auto file = c.Create("/f", "bytes");
  ASSERT_OK(file);
  w.Crash(w.Leader());
  w.Leader();
  ASSERT_OK(c.Unlink("/f"));
  for (int n = 0; n < 20; ++n) {
    ASSERT_OK(c.KeepAlive());
    ASSERT_OK(other.KeepAlive());
    w.scheduler.RunFor(500 * kMillisecond);
  }
  EXPECT_CODE(c.Stat(At(file->attr.inode)), Code::kStaleHandle);
}

}  // namespace
}  // namespace dfs::nn
