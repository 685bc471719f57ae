#include "datanode/store/writes_under_way.h"

#include <gtest/gtest.h>

namespace dfs::dn {
namespace {

TEST(WritesUnderWay, UntilTheyAreAcknowledged) {
  WritesUnderWay writes;
  writes.Begin(1, false);
  writes.Add(1, 1, 100, 200);
  writes.Add(1, 2, 300, 300);
  writes.Add(1, 3, 150, 250);
  EXPECT_TRUE(writes.Touches(0, 101));
  EXPECT_FALSE(writes.Touches(0, 100));
  EXPECT_FALSE(writes.Touches(250, 1'000));
  writes.Acked(1, 2);
  EXPECT_FALSE(writes.Touches(0, 150));
  EXPECT_TRUE(writes.Touches(0, 151));
  writes.Acked(1, 3);
  EXPECT_FALSE(writes.Touches(0, 1'000));
}

TEST(WritesUnderWay, WhatAnEarlierStreamLeftStaysUntilItIsSentAgain) {
  WritesUnderWay writes;
  writes.Begin(1, false);
  writes.Add(1, 1, 100, 200);
  writes.Add(1, 2, 500, 600);
  writes.Begin(2, false);
  writes.Acked(1, 2);  // comes too late to count
  writes.Add(1, 3, 800, 900);
  EXPECT_TRUE(writes.Touches(100, 200));
  EXPECT_FALSE(writes.Touches(800, 900));
  writes.Add(2, 1, 100, 200);
  writes.Acked(2, 1);
  EXPECT_FALSE(writes.Touches(100, 200));
  EXPECT_TRUE(writes.Touches(500, 600));
  writes.Begin(3, true);
  EXPECT_FALSE(writes.Touches(0, 1'000)) << "nobody is behind the tail";
}

TEST(WritesUnderWay, AreBoundedOverManyBrokenStreams) {
  WritesUnderWay writes;
  for (uint64_t epoch = 1; epoch < 1'000; epoch++) {
    writes.Begin(epoch, false);
    writes.Add(epoch, 1, epoch * 10, epoch * 10 + 1);
  }
  EXPECT_TRUE(writes.Touches(10, 11));
  EXPECT_TRUE(writes.Touches(9'990, 9'991));
  EXPECT_FALSE(writes.Touches(9'991, 20'000));
  writes.Clear();
  EXPECT_FALSE(writes.Touches(0, 20'000));
}

}  // namespace
}  // namespace dfs::dn
