// Racks from a table, and what they do to placement.
#include <gtest/gtest.h>

#include <set>

#include "namenode/blocks/rack_table.h"
#include "tests/blocks/block_world.h"

namespace dfs::nn {
namespace {

TEST(RackTable, NamesBeforeNetworksAndSmallNetworksBeforeLarge) {
  auto table = RackTable::Parse(
      "# where they stand\n"
      "10.0.0.0/8      /far\n"
      "10.0.1.0/24\t/r1   # a comment\r\n"
      "10.0.1.128/25   /r1b\n"
      "\n"
      "10.0.1.200      /special\n"
      "10.0.1.201:9867 /second\n"
      "fd00:2::/32     /six\n"
      "disk-17.example /named\n"
      "machine-id-1    /by-id");
  ASSERT_TRUE(table.ok()) << table.error().ToString();
  EXPECT_EQ(table->size(), 8u);
  EXPECT_EQ(table->Find("10.9.9.9:9866", ""), "/far");
  EXPECT_EQ(table->Find("10.0.1.5:9866", ""), "/r1");
  EXPECT_EQ(table->Find("10.0.1.129:9866", ""), "/r1b");
  EXPECT_EQ(table->Find("10.0.1.200:9866", ""), "/special");
  EXPECT_EQ(table->Find("10.0.1.201:9866", ""), "/r1b");
  EXPECT_EQ(table->Find("10.0.1.201:9867", ""), "/second");
  EXPECT_EQ(table->Find("[fd00:2::17]:9866", ""), "/six");
  EXPECT_EQ(table->Find("[fd00:3::17]:9866", ""), "");
  EXPECT_EQ(table->Find("disk-17.example:9866", ""), "/named");
  EXPECT_EQ(table->Find("elsewhere:9866", "machine-id-1"), "/by-id");
  EXPECT_EQ(table->Find("elsewhere:9866", ""), "");
  EXPECT_EQ(table->Find("", ""), "");
  EXPECT_EQ(RackTable::Parse("")->size(), 0u);
  auto all = RackTable::Parse("0.0.0.0/0 /all\n10.0.0.1/32 /one");
  EXPECT_EQ(all->Find("1.2.3.4:1", ""), "/all");
  EXPECT_EQ(all->Find("10.0.0.1:1", ""), "/one");
}

TEST(RackTable, NamesTheLineThatIsWrong) {
  for (const char* bad :
       {"a /r\nb", "a /r\nb r", "a /r\nb /", "a /r\nb /r /s", "a /r\na /s", "a /r\n10.0.0.0/33 /r",
        "a /r\n10.0.0/8 /r", "a /r\n10.0.0.0/x /r", "a /r\n10.0.0.0/ /r", "a /r\nname/8 /r",
        "a /r\n10.0.0.0/-1 /r"}) {
    auto table = RackTable::Parse(bad);
    ASSERT_FALSE(table.ok()) << bad;
    EXPECT_NE(table.error().message().find("line 2"), std::string::npos) << table.error().message();
  }
}

TEST(RackTable, WinsOverWhatTheDatanodeSays) {
  World w;
  const auto set = [&](const char* text) {
    w.In([&] { w.blocks->SetRackTable(*RackTable::Parse(text)); });
  };
  set("host:11 /r1\nhost:12 /r1\nhost:13 /r2\n");
  for (uint64_t id = 11; id <= 14; ++id) w.Join(DatanodeId(id), "/said");
  const auto rack = [&](uint64_t id) { return w.blocks->FindDatanode(DatanodeId(id))->rack; };
  EXPECT_EQ(rack(11), "/r1");
  EXPECT_EQ(rack(13), "/r2");
  EXPECT_EQ(rack(14), "/said");
  set("host:11 /r1\nhost:12 /r1\nhost:13 /r1\nhost-14 /r3\n");
  EXPECT_EQ(rack(13), "/r1");
  EXPECT_EQ(rack(14), "/r3");
  // The one rack that is another always has a replica.
  for (int n = 0; n < 50; ++n) {
    auto placed = w.blocks->PlaceNewBlock(3, kBlockSize, "", {});
    ASSERT_TRUE(placed.ok());
    std::set<std::string> racks;
    for (DatanodeId id : *placed) racks.insert(rack(id.value));
    EXPECT_EQ(racks.size(), 2u);
  }
  set("");
  EXPECT_EQ(rack(11), "/said") << "the table no longer knows it";
}

}  // namespace
}  // namespace dfs::nn
