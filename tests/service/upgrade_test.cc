// Namenodes of an older version among others, and what a group does when the last of them is gone.
#include <gtest/gtest.h>

#include "namenode/state/keys.h"
#include "namenode/state/mem_store.h"
#include "namenode/state/reader.h"
#include "namenode/state/state_machine.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

uint32_t Level(ServiceWorld& w, int n) {
  return w.nn(n).state().counters().feature_level;
}

void Upgrade(ServiceWorld& w, int n) {
  w.Crash(n);
  w.options(n).feature_level = 0;
  w.Restart(n);
  w.scheduler.RunFor(3 * kSecond);
}

TEST(Upgrade, ANewClusterHasTheLevelOfItsVersionAtOnce) {
  ServiceWorld w(3);
  w.Leader();
  w.scheduler.RunFor(kSecond);
  for (int n = 0; n < 3; ++n) EXPECT_EQ(Level(w, n), kSupportedFeatureLevel);
}

TEST(Upgrade, TheLevelRisesWhenTheLastMemberIsUpgraded) {
  ServiceWorld w(3, 3, [](NamenodeOptions& o) { o.feature_level = 1; });
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  EXPECT_EQ(Level(w, 0), 1u);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  ASSERT_OK(c.OpenBlock(file->attr.inode));
  idl::ReleaseBlocksRequest release;
  release.op = w.NextOp(c.session);
  release.inode = file->attr.inode;
  release.caller = c.caller;
  EXPECT_CODE(w.Call<idl::kReleaseBlocks>(release), Code::kNotSupported);
  Upgrade(w, 0);
  Upgrade(w, 1);
  for (int n = 0; n < 3; ++n) EXPECT_EQ(Level(w, n), 1u) << "namenode " << n;
  // Nor does it rise while the old one is merely away: it would have to stop when it is back.
  w.Crash(2);
  w.scheduler.RunFor(5 * kSecond);
  EXPECT_EQ(Level(w, w.Leader()), 1u);
  w.Restart(2);
  w.scheduler.RunFor(3 * kSecond);
  EXPECT_EQ(Level(w, w.Leader()), 1u);
  Upgrade(w, 2);
  for (int n = 0; n < 3; ++n) EXPECT_EQ(Level(w, n), kSupportedFeatureLevel) << "namenode " << n;
  Client d(w, 2);
  release.op = w.NextOp(d.session);
  ASSERT_OK(w.Call<idl::kReleaseBlocks>(release));
  auto status = w.Call<idl::kClusterStatus>({});
  ASSERT_OK(status);
  EXPECT_EQ(status->feature_level, static_cast<int32_t>(kSupportedFeatureLevel));
}

TEST(Upgrade, AStateOfALaterVersionIsNotOpened) {
  FaultEnv env;
  ASSERT_TRUE(env.CreateDirs("/nn").ok());
  auto store = OpenMemStore(&env, "/nn/state");
  ASSERT_OK(store);
  {
    StateMachine machine(store->get());
    ASSERT_TRUE(machine.Load().ok());
    Counters counters = machine.reader().counters();
    counters.feature_level = kSupportedFeatureLevel + 1;
    WriteBatch batch;
    const std::string value = EncodeCounters(counters), mark = EncodeApplied({1, 1, 1});
    batch.Put(CountersKey(), value);
    batch.Put(AppliedKey(), mark);
    ASSERT_TRUE((*store)->Write(batch).ok());
  }
  StateMachine machine(store->get());
  EXPECT_TRUE(machine.Load().Is(Code::kVersionMismatch));
}

}  // namespace
}  // namespace dfs::nn
