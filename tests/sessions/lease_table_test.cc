#include "namenode/sessions/lease_table.h"

#include <gtest/gtest.h>

namespace dfs::nn {
namespace {

constexpr SessionId kA{1}, kB{2};
constexpr InodeId kX{10}, kY{11}, kZ{12};

TEST(LeaseTable, HoldersOfAnInode) {
  LeaseTable table(10, 100);
  ASSERT_TRUE(table.Grant(kX, kA, LeaseMode::kRead));
  ASSERT_TRUE(table.Grant(kX, kB, LeaseMode::kRead));
  EXPECT_EQ(table.Holders(kX).size(), 2u);
  EXPECT_FALSE(table.Writer(kX).has_value());
  table.Drop(kX, kA);
  EXPECT_FALSE(table.Holds(kX, kA));
  EXPECT_TRUE(table.Holds(kX, kB));
  ASSERT_TRUE(table.Grant(kX, kB, LeaseMode::kWrite));
  EXPECT_EQ(table.Holders(kX).size(), 1u) << "the same lease in another mode";
  EXPECT_EQ(table.Writer(kX), kB);
  table.Downgrade(kX, kB);
  EXPECT_FALSE(table.Writer(kX).has_value());
  EXPECT_TRUE(table.Holds(kX, kB));
  table.Downgrade(kY, kB);
  EXPECT_FALSE(table.Holds(kY, kB)) << "nothing is granted by a downgrade";
}

TEST(LeaseTable, IsBoundedPerSessionAndInAll) {
  LeaseTable table(2, 3);
  EXPECT_TRUE(table.Grant(kX, kA, LeaseMode::kRead));
  EXPECT_TRUE(table.Grant(kY, kA, LeaseMode::kRead));
  EXPECT_FALSE(table.Grant(kZ, kA, LeaseMode::kRead));
  EXPECT_TRUE(table.Grant(kY, kA, LeaseMode::kWrite)) << "it has that one";
  EXPECT_TRUE(table.Grant(kX, kB, LeaseMode::kRead));
  EXPECT_FALSE(table.Grant(kZ, kB, LeaseMode::kRead));
  table.DropAll(kA);
  EXPECT_EQ(table.size(), 1u);
  EXPECT_EQ(table.SizeOf(kA), 0u);
  EXPECT_TRUE(table.Grant(kZ, kB, LeaseMode::kRead));
  table.Clear();
  EXPECT_EQ(table.size(), 0u);
  EXPECT_TRUE(table.Holders(kX).empty());
}

}  // namespace
}  // namespace dfs::nn
