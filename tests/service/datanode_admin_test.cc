// What an operator says of datanodes: who may, what survives a change of leaders, what status shows.
#include <gtest/gtest.h>

#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

Result<idl::Empty> Set(Client& c, int64_t datanode, int32_t state, int64_t maintenance_ms = 0) {
  idl::SetDatanodeRequest r;
  r.op = c.w.NextOp(c.session);
  r.datanode = datanode;
  r.state = state;
  r.maintenance_ms = maintenance_ms;
  r.caller = c.caller;
  return c.w.Call<idl::kSetDatanode>(r);
}

idl::DatanodeStatus StatusOf(ServiceWorld& w, int64_t datanode) {
  auto status = w.Call<idl::kClusterStatus>({});
  EXPECT_TRUE(status.ok());
  for (const idl::DatanodeStatus& d : status->datanodes) {
    if (d.datanode == datanode) return d;
  }
  ADD_FAILURE() << "no such datanode";
  return {};
}

TEST(DatanodeAdmin, SurvivesTheLeaderAndIsShown) {
  ServiceWorld w(3, 4);
  Client c(w, 1);
  ASSERT_TRUE(w.RunUntil([&] {
    auto status = w.Call<idl::kClusterStatus>({});
    return status.ok() && status->datanodes.size() == 4;
  }));
  const int64_t going = w.datanodes[0]->id, resting = w.datanodes[1]->id;
  EXPECT_EQ(StatusOf(w, going).service_state, "in_service");
  EXPECT_EQ(StatusOf(w, going).blocks_left, -1);
  ASSERT_OK(Set(c, going, 1));
  ASSERT_OK(Set(c, resting, 2, 3600'000));
  EXPECT_TRUE(w.RunUntil([&] { return StatusOf(w, going).service_state == "decommissioned"; }));
  EXPECT_EQ(StatusOf(w, going).blocks_left, 0);
  EXPECT_TRUE(w.RunUntil([&] { return StatusOf(w, resting).service_state == "maintenance"; }));
  EXPECT_GT(StatusOf(w, resting).maintenance_ms, 3500'000);
  w.Crash(w.Leader());
  EXPECT_TRUE(w.RunUntil([&] { return StatusOf(w, going).service_state == "decommissioned"; }));
  EXPECT_TRUE(w.RunUntil([&] { return StatusOf(w, resting).service_state == "maintenance"; }));
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto open = c.OpenBlock(file->attr.inode);
  ASSERT_OK(open);
  EXPECT_EQ(open->block.members.size(), 2u) << "the two that are in service";
  ASSERT_OK(Set(c, going, 0));
  ASSERT_OK(Set(c, resting, 0));
  EXPECT_EQ(StatusOf(w, going).service_state, "in_service");
  EXPECT_EQ(StatusOf(w, resting).maintenance_ms, 0);
}

TEST(DatanodeAdmin, OnlyForOperators) {
  ServiceWorld w(1, 1, [](NamenodeOptions& o) { o.root_uid = 77; });
  Client c(w, 1);
  const int64_t datanode = w.datanodes[0]->id;
  c.caller.uid = 1000;
  EXPECT_CODE(Set(c, datanode, 1), Code::kNotPermitted);
  idl::ReleaseDeletionsRequest release;
  release.caller = c.caller;
  EXPECT_CODE(w.Call<idl::kReleaseDeletions>(release), Code::kNotPermitted);
  c.caller.uid = release.caller.uid = 77;  // whom the namenodes run as
  ASSERT_OK(Set(c, datanode, 1));
  ASSERT_OK(w.Call<idl::kReleaseDeletions>(release));
  c.caller.uid = 0;
  ASSERT_OK(Set(c, datanode, 0));
  for (const auto& [state, ms] : std::vector<std::pair<int32_t, int64_t>>{
           {-1, 0}, {3, 0}, {2, 0}, {2, -5}, {2, INT64_MAX}}) {
    EXPECT_CODE(Set(c, datanode, state, ms), Code::kInvalidArgument);
  }
  EXPECT_CODE(Set(c, 0, 1), Code::kInvalidArgument);
}

TEST(DatanodeAdmin, NotBeforeEveryNamenodeKnowsTheCommand) {
  ServiceWorld w(3, 1, [](NamenodeOptions& o) { o.feature_level = 2; });
  Client c(w, 1);
  EXPECT_CODE(Set(c, w.datanodes[0]->id, 1), Code::kNotSupported);
}

}  // namespace
}  // namespace dfs::nn
