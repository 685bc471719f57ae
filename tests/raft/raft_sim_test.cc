#include "tests/raft/raft_sim.h"

#include <gtest/gtest.h>

#include <iostream>

#include "common/base/defects.h"

namespace dfs::raft {
namespace {

constexpr int kSteps = 2500;

uint64_t Seeds() {
  const char* text = std::getenv("DFS_SIM_SEEDS");
  if (text != nullptr) return std::strtoull(text, nullptr, 10);
#ifdef DFS_SANITIZED
  return 40;
#elif defined(__OPTIMIZE__)
  return 1000;
#else
  return 100;
#endif
}

TEST(RaftSimTest, HoldsInEverySeed) {
  SimStats sum;
  for (uint64_t seed = 1; seed <= Seeds(); ++seed) {
    RaftSim sim(seed);
    ASSERT_EQ(sim.Run(kSteps), "");
    const SimStats& s = sim.stats();
    sum.steps += s.steps;
    sum.elections += s.elections;
    sum.leaders += s.leaders;
    sum.commits += s.commits;
    sum.crashes += s.crashes;
    sum.truncations += s.truncations;
    sum.snapshots += s.snapshots;
    sum.reads += s.reads;
    sum.leases += s.leases;
  }
  std::cout << "steps " << sum.steps << ", elections " << sum.elections << ", leaders "
            << sum.leaders << ", commits " << sum.commits << ", crashes " << sum.crashes
            << ", truncations " << sum.truncations << ", snapshots " << sum.snapshots << ", reads "
            << sum.reads << ", checks under a lease " << sum.leases << "\n";
  EXPECT_GT(sum.leaders, 2 * Seeds());
  EXPECT_GT(sum.truncations, Seeds() / 4);
  EXPECT_GT(sum.snapshots, Seeds() / 4);
  EXPECT_GT(sum.crashes, 5 * Seeds());
  EXPECT_GT(sum.reads, 10 * Seeds());
  EXPECT_GT(sum.leases, Seeds());
}

TEST(RaftSimTest, SameSeedSameRun) {
  RaftSim a(77);
  RaftSim b(77);
  EXPECT_EQ(a.Run(1000), b.Run(1000));
  EXPECT_EQ(a.stats().steps, b.stats().steps);
  EXPECT_EQ(a.stats().commits, b.stats().commits);
}

class RaftDefectTest : public testing::TestWithParam<Defect> {};

TEST_P(RaftDefectTest, IsCaught) {
  SetDefect(GetParam(), true);
  std::string failure;
  uint64_t seed = 1;
  for (; seed <= 1000 && failure.empty(); ++seed) {
    RaftSim sim(seed);
    failure = sim.Run(kSteps);
  }
  SetDefect(GetParam(), false);
  EXPECT_NE(failure, "") << DefectName(GetParam()) << " was not caught in 1000 seeds";
  std::cout << DefectName(GetParam()) << ": caught by " << failure << "\n";
}

INSTANTIATE_TEST_SUITE_P(All, RaftDefectTest,
                         testing::Values(Defect::kVoteNotSynced, Defect::kCommitOldTermByCounting,
                                         Defect::kCommitBeyondVerified,
                                         Defect::kTruncateWithoutConflict,
                                         Defect::kAckBeforeLogSync, Defect::kLeaseWithoutQuorum,
                                         Defect::kSnapshotKeepsOldLog),
                         [](const auto& test) { return std::string(DefectName(test.param)); });

}  // namespace
}  // namespace dfs::raft
