#include "common/base/trash_name.h"

#include <gtest/gtest.h>

#include "common/base/clock.h"

namespace dfs {
namespace {

TEST(TrashName, SaysWhenAndHowDeep) {
  const int64_t when = 1'796'069'820 * kSecond + 123'456'789;
  const std::string name = TrashEntryName({when, 2});
  EXPECT_EQ(name, "20261130T201700.123456789Z-2");
  TrashEntry entry;
  ASSERT_TRUE(ParseTrashEntryName(name, &entry));
  EXPECT_EQ(entry.removed_ns, when);
  EXPECT_EQ(entry.depth, 2u);
}

TEST(TrashName, GoesBothWays) {
  for (const int64_t when :
       {int64_t{0}, int64_t{1}, 951'782'400 * kSecond, 4'102'444'799 * kSecond}) {
    for (const size_t depth : {size_t{1}, size_t{9}, size_t{2048}}) {
      TrashEntry entry;
      ASSERT_TRUE(ParseTrashEntryName(TrashEntryName({when, depth}), &entry)) << when;
      EXPECT_EQ(entry.removed_ns, when);
      EXPECT_EQ(entry.depth, depth);
    }
  }
}

TEST(TrashName, NamesOfOthersAreNone) {
  TrashEntry entry;
  for (const char* bad :
       {"", "x", "20261130T201700.123456789Z", "20261130T201700.123456789Z-",
        "20261130T201700.123456789Z-0", "20261130T201700.123456789Z-x",
        "20261130T201700.123456789Z-123456", "20261330T201700.123456789Z-1",
        "20260231T201700.123456789Z-1", "20261130T241700.123456789Z-1",
        "20261130 201700.123456789Z-1", "99991130T201700.123456789Z-1",
        "20261130T201700.123456789Z--1", "2026113OT201700.123456789Z-1"}) {
    EXPECT_FALSE(ParseTrashEntryName(bad, &entry)) << bad;
  }
}

TEST(TrashName, KnowsItsPlace) {
  EXPECT_TRUE(IsInTrash("/.Trash"));
  EXPECT_TRUE(IsInTrash("/.Trash/0/x"));
  EXPECT_FALSE(IsInTrash("/.Trashy"));
  EXPECT_FALSE(IsInTrash("/a/.Trash"));
  EXPECT_FALSE(IsInTrash("/"));
}

}  // namespace
}  // namespace dfs
