#include "namenode/replication/member_directory.h"

#include <gtest/gtest.h>

#include "common/base/fault_env.h"

namespace dfs::nn {
namespace {

const std::string kCluster = "11111111-2222-3333-4444-555555555555";

class MemberDirectoryTest : public testing::Test {
 protected:
  FaultEnv env_{3};
  Random random_{5};
};

TEST_F(MemberDirectoryTest, FormatsAndOpens) {
  ASSERT_TRUE(MemberDirectory::Format(env_, "/d/m1", kCluster, NodeId(1), random_));
  auto dir = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  ASSERT_TRUE(dir) << dir.error().ToString();
  EXPECT_NE((*dir)->storage_id(), 0u);
  // A second process.
  auto again = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  ASSERT_FALSE(again);
  EXPECT_TRUE(again.error().Is(Code::kBusy));
}

TEST_F(MemberDirectoryTest, FormattingSurvivesAPowerCut) {
  ASSERT_TRUE(env_.CreateDirs("/d"));
  ASSERT_TRUE(env_.SyncDir("/"));
  ASSERT_TRUE(MemberDirectory::Format(env_, "/d/m1", kCluster, NodeId(1), random_));
  env_.Crash(random_, FaultEnv::CrashMode::kDropUnsynced);
  auto dir = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  EXPECT_TRUE(dir) << dir.error().ToString();
}

TEST_F(MemberDirectoryTest, RefusesWhatIsNotItsOwn) {
  auto missing = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().Is(Code::kNotFound));
  ASSERT_TRUE(env_.CreateDirs("/d/empty"));
  auto unformatted = MemberDirectory::Open(env_, "/d/empty", kCluster, NodeId(1));
  ASSERT_FALSE(unformatted);
  EXPECT_TRUE(unformatted.error().Is(Code::kNotFound));
  EXPECT_NE(unformatted.error().message().find("--format"), std::string::npos);

  ASSERT_TRUE(MemberDirectory::Format(env_, "/d/m1", kCluster, NodeId(1), random_));
  auto cluster = MemberDirectory::Open(env_, "/d/m1", "other", NodeId(1));
  ASSERT_FALSE(cluster);
  EXPECT_TRUE(cluster.error().Is(Code::kWrongCluster));
  auto node = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(2));
  ASSERT_FALSE(node);
  EXPECT_TRUE(node.error().Is(Code::kInvalidArgument));
  Status again = MemberDirectory::Format(env_, "/d/m1", kCluster, NodeId(1), random_);
  EXPECT_TRUE(again.Is(Code::kAlreadyExists));
  ASSERT_TRUE(env_.FlipBit("/d/m1/VERSION", 20, 1));
  auto damaged = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  ASSERT_FALSE(damaged);
  EXPECT_TRUE(damaged.error().Is(Code::kCorrupt));
}

TEST_F(MemberDirectoryTest, RemembersItsPeersStorage) {
  ASSERT_TRUE(MemberDirectory::Format(env_, "/d/m1", kCluster, NodeId(1), random_));
  {
    auto dir = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
    ASSERT_TRUE(dir);
    ASSERT_TRUE((*dir)->CheckPeer(NodeId(2), 22));
    ASSERT_TRUE((*dir)->CheckPeer(NodeId(3), 33));
  }
  env_.Crash(random_, FaultEnv::CrashMode::kDropUnsynced);
  auto dir = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  ASSERT_TRUE(dir) << dir.error().ToString();
  EXPECT_TRUE((*dir)->CheckPeer(NodeId(2), 22));
  Status wiped = (*dir)->CheckPeer(NodeId(3), 34);
  EXPECT_TRUE(wiped.Is(Code::kConflict));
  EXPECT_NE(wiped.message().find("new node id"), std::string::npos);
}

TEST_F(MemberDirectoryTest, LeftoversOfTransfersAreRemoved) {
  ASSERT_TRUE(MemberDirectory::Format(env_, "/d/m1", kCluster, NodeId(1), random_));
  ASSERT_TRUE(env_.CreateDirs("/d/m1/snapshot.receive"));
  ASSERT_TRUE(env_.CreateDirs("/d/m1/snapshot.send.2"));
  ASSERT_TRUE(env_.WriteFileAtomically("/d/m1/snapshot.send.2/x", "x"));
  auto dir = MemberDirectory::Open(env_, "/d/m1", kCluster, NodeId(1));
  ASSERT_TRUE(dir);
  EXPECT_FALSE(env_.Exists("/d/m1/snapshot.receive"));
  EXPECT_FALSE(env_.Exists("/d/m1/snapshot.send.2"));
}

}  // namespace
}  // namespace dfs::nn
