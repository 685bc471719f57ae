// What the leader says of a file's blocks, on real namenodes in the simulated world.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

Result<idl::ExplainReply> Explained(Client& c, const std::string& path, int64_t first_slot = 0,
                                    int32_t max = 0) {
  idl::ExplainRequest r;
  r.ref = At(path);
  r.first_slot = first_slot;
  r.max_blocks = max;
  r.caller = c.caller;
  return c.w.Call<idl::kExplain>(r);
}

/// A file of so many blocks that its members have in full.
int64_t MakeFile(ServiceWorld& w, Client& c, const std::string& path, int blocks) {
  auto made = c.Create(path);
  EXPECT_TRUE(made.ok());
  for (int slot = 0; slot < blocks; ++slot) {
    auto opened = c.OpenBlock(made->attr.inode, slot);
    EXPECT_TRUE(opened.ok()) << opened.status().ToString();
    const idl::WritableBlock& b = opened->block;
    for (auto& d : w.datanodes) {
      for (const auto& m : b.members) {
        if (m.datanode != d->id) continue;
        d->replicas[b.block] = {b.stamp, 1 << 20, 1};
        d->Received(b.block);
      }
    }
    EXPECT_TRUE(c.Close(made->attr.inode, b, 1 << 20).ok());
  }
  return made->attr.inode;
}

size_t CountOf(const idl::BlockExplanation& b, const std::string& state) {
  return static_cast<size_t>(
      std::count_if(b.replicas.begin(), b.replicas.end(),
                    [&](const idl::ReplicaExplanation& r) { return r.replica_state == state; }));
}

TEST(Explain, FilesWithoutBlocksAndDirectories) {
  ServiceWorld w(1, 1);
  Client c(w, 1);
  ASSERT_OK(c.Create("/small", "bytes"));
  auto small = Explained(c, "/small");
  ASSERT_OK(small);
  EXPECT_TRUE(small->has_inline_data);
  EXPECT_TRUE(small->blocks.empty());
  EXPECT_EQ(small->next_slot, -1);
  EXPECT_EQ(small->path, "/small");
  ASSERT_OK(Explained(c, "/"));
  EXPECT_CODE(Explained(c, "/none"), Code::kNotFound);
  // Who may not read it is told nothing.
  idl::SetAttrRequest chmod;
  chmod.op = w.NextOp(c.session);
  chmod.ref = At("/small");
  chmod.mask = 1;
  chmod.mode = 0600;
  ASSERT_OK(w.Call<idl::kSetAttr>(chmod));
  c.caller.uid = 1001;
  EXPECT_CODE(Explained(c, "/small"), Code::kAccessDenied);
}

TEST(Explain, AHealthyFileInPages) {
  ServiceWorld w(1, 3);
  Client c(w, 1);
  w.RunUntil([] { return false; }, 3 * kSecond);
  MakeFile(w, c, "/f", 5);
  std::vector<int64_t> slots;
  int64_t next = 0;
  while (next >= 0) {
    auto page = Explained(c, "/f", next, 2);
    ASSERT_OK(page);
    for (const auto& b : page->blocks) {
      slots.push_back(b.slot);
      EXPECT_EQ(b.condition, "healthy");
      EXPECT_EQ(b.action, "none");
      EXPECT_EQ(CountOf(b, "good"), 3u);
      EXPECT_EQ(b.replicas.size(), 3u);
      EXPECT_FALSE(b.replicas[0].__isset.verified_ns);
    }
    next = page->next_slot;
  }
  EXPECT_EQ(slots, (std::vector<int64_t>{0, 1, 2, 3, 4}));
}

TEST(Explain, SaysWhoWrites) {
  ServiceWorld w(1, 3);
  Client c(w, 1);
  w.RunUntil([] { return false; }, 3 * kSecond);
  auto made = c.Create("/f");
  ASSERT_OK(made);
  ASSERT_OK(c.OpenBlock(made->attr.inode, 0));
  auto explained = Explained(c, "/f");
  ASSERT_OK(explained);
  ASSERT_EQ(explained->blocks.size(), 1u);
  EXPECT_EQ(explained->blocks[0].condition, "open");
  EXPECT_EQ(explained->blocks[0].writer_session, c.session);
  EXPECT_TRUE(explained->attr.open_for_write);
  ASSERT_EQ(explained->sessions.size(), 1u);
  EXPECT_EQ(explained->sessions[0].session, c.session);
}

TEST(Explain, LossesAndWhatIsDone) {
  ServiceWorld w(1, 3, [](NamenodeOptions& o) { o.blocks.dead_after_ns = 10 * kSecond; });
  Client c(w, 1);
  w.RunUntil([] { return false; }, 3 * kSecond);
  const int64_t inode = MakeFile(w, c, "/f", 1);
  auto lost = [&] {
    auto blocks = c.Blocks(inode);
    EXPECT_TRUE(blocks.ok());
    return blocks.ok() && blocks->blocks[0].lost;
  };
  w.datanodes[0]->silent = true;
  auto one = [&]() -> idl::BlockExplanation {
    auto explained = Explained(c, "/f");
    EXPECT_TRUE(explained.ok());
    return explained->blocks.empty() ? idl::BlockExplanation() : explained->blocks[0];
  };
  // Two are left, and nowhere to put a third.
  ASSERT_TRUE(w.RunUntil([&] { return one().condition == "under_replicated"; }));
  ASSERT_TRUE(w.RunUntil([&] { return one().action == "no_target"; })) << one().action;
  EXPECT_FALSE(one().why.empty());
  EXPECT_EQ(CountOf(one(), "good"), 2u);
  EXPECT_FALSE(lost());
  // All gone: who had it last is told. A reader gives it up when they are given up, not before.
  w.datanodes[1]->silent = w.datanodes[2]->silent = true;
  w.RunUntil([] { return false; }, 8 * kSecond);
  EXPECT_FALSE(lost());
  ASSERT_TRUE(w.RunUntil([&] { return one().condition == "missing"; }));
  EXPECT_EQ(one().action, "no_source");
  ASSERT_TRUE(w.RunUntil([&] { return CountOf(one(), "not_reported") == 3; }));
  EXPECT_EQ(one().replicas[0].node_state, "dead");
  EXPECT_TRUE(w.RunUntil(lost));
  // They return, and all is well.
  for (auto& d : w.datanodes) d->silent = false;
  ASSERT_TRUE(w.RunUntil([&] { return one().condition == "healthy"; }));
  EXPECT_FALSE(lost());
}

TEST(ClusterStatus, TellsWhoseClockIsOff) {
  ServiceWorld w(1, 2);
  w.datanodes[1]->clock_offset_ns = -90 * kSecond;
  w.RunUntil([] { return false; }, 3 * kSecond);
  auto status = w.CallAt<idl::kClusterStatus>(0, {});
  ASSERT_OK(status);
  EXPECT_NE(status->wall_clock_ns, 0);
  ASSERT_EQ(status->datanodes.size(), 2u);
  for (const auto& d : status->datanodes) {
    ASSERT_TRUE(d.__isset.clock_offset_ms);
    const int64_t want = d.datanode == w.datanodes[1]->id ? -90'000 : 0;
    EXPECT_NEAR(static_cast<double>(d.clock_offset_ms), static_cast<double>(want), 1000);
  }
}

}  // namespace
}  // namespace dfs::nn
