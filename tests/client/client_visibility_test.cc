// What others see of a file that is being written: lengths in the order of the writes, and what was synced.
#include <gtest/gtest.h>

#include "tests/client/client_fixture.h"

namespace dfs::client {
namespace {

constexpr uint64_t kBlock = 40'960;

/// Runs until done(), and looks after each step whether the file is seen up to `told` while slot `before` is
/// shorter than `length`.
bool SeenOutOfOrder(FakeCluster& c, const std::string& path, int64_t told, uint64_t before,
                    uint64_t length, const std::function<bool()>& done) {
  bool bad = false;
  const bool ended = c.RunUntil([&] {
    const FakeFile& file = File(c, path);
    auto slot = file.slots.find(before);
    bad |= file.attr.size > told && (slot == file.slots.end() || slot->second.length < length);
    return done();
  });
  EXPECT_TRUE(ended);
  return bad;
}

// One block may stay open at a time. The first one takes long to close and is written again meanwhile; by then the
// third is ready to be closed.
TEST(ClientVisibility, ABlockThatWaitsToBeOpenedAgainIsToldBeforeLaterOnes) {
  constexpr uint64_t kMiB = 1u << 20, kFirst = 900'000;
  FakeCluster c(100);
  c.net.faults().send_window_bytes = 64u << 10;
  auto core = c.MakeClient();
  auto file = Create(c, core, "f", kMiB);
  ASSERT_TRUE(file.ok());
  const std::string data = Pattern(4 * kMiB, 1);
  std::string expected(3 * kMiB + 100, '\0');
  c.OnClient([&] {
    const auto write = [&](uint64_t offset, size_t size) {
      (*file)->Write(offset, Buffer(data.substr(offset, size)));
      expected.replace(offset, size, data, offset, size);
    };
    write(0, kFirst);
    write(kMiB, 100);
    write(kFirst, 1'000);  // waits for the close
    write(2 * kMiB, 100);
    write(3 * kMiB, 100);
    (*file)->WhenBelow(1, [](Status) {});  // sends the last one, too
  });
  EXPECT_FALSE(SeenOutOfOrder(c, "f", 2 * kMiB, 0, kFirst + 1'000, [&] {
    return File(c, "f").attr.size > static_cast<int64_t>(2 * kMiB);
  }));
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_TRUE(Content(c, "f") == expected);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

// The same while it is being asked where the earlier block is.
TEST(ClientVisibility, ABlockThatIsBeingLocatedIsToldBeforeLaterOnes) {
  FakeCluster c(101);
  auto core = c.MakeClient();
  const std::string data = Pattern(6 * kBlock, 2);
  {
    auto file = Create(c, core, "f", kBlock, 8);
    ASSERT_TRUE(file.ok());
    Write(c, *file, kBlock, data.substr(kBlock, 100));
    Write(c, *file, 3 * kBlock, data.substr(3 * kBlock, 100));
    ASSERT_TRUE(Close(c, *file).ok());
  }
  auto file = Open(c, core, "f");
  ASSERT_TRUE(file.ok());
  // A foreign writer holds the slot for a while, so that locating it takes longer than all the rest.
  FakeBlock& held = File(c, "f").slots[1];
  held.open = true;
  held.writer = 0;
  c.scheduler.After(2 * kSecond, [&] { c.Recover(c.names["f"], 1); });
  std::optional<Status> acked;
  c.OnClient([&] {
    (*file)->Write(kBlock + 100, Buffer(data.substr(kBlock + 100, 100)));
    (*file)->Write(4 * kBlock, Buffer(data.substr(4 * kBlock, kBlock)));
    (*file)->Write(5 * kBlock, Buffer(data.substr(5 * kBlock, kBlock)));
    (*file)->WhenBelow(1, [&](Status status) { acked = status; });
  });
  EXPECT_FALSE(SeenOutOfOrder(c, "f", static_cast<int64_t>(4 * kBlock), 1, 200, [&] {
    return acked.has_value() && File(c, "f").attr.size >= static_cast<int64_t>(5 * kBlock);
  }));
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_EQ(Content(c, "f").substr(kBlock, 200), data.substr(kBlock, 200));
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

// Who waits for such a block hears of the end of the file, too.
TEST(ClientVisibility, AWaitForABlockThatIsNeverLocatedEnds) {
  FakeCluster c(102);
  auto core = c.MakeClient(5 * kSecond);
  auto file = Create(c, core, "f", kBlock, 8);
  ASSERT_TRUE(file.ok());
  Write(c, *file, kBlock, "one");
  Write(c, *file, 3 * kBlock, "three");
  ASSERT_TRUE(Close(c, *file).ok());
  auto again = Open(c, core, "f");
  ASSERT_TRUE(again.ok());
  File(c, "f").slots[1].open = true;
  File(c, "f").slots[1].writer = 0;
  Write(c, *again, kBlock, "ONE");
  Write(c, *again, 4 * kBlock, "four");
  Write(c, *again, 5 * kBlock, "five");
  EXPECT_EQ(Flush(c, *again).code(), Code::kBusy);
  EXPECT_FALSE(Close(c, *again).ok());
  EXPECT_LE(File(c, "f").attr.size, static_cast<int64_t>(4 * kBlock)) << "nothing behind is told";
}

// ---- Flush and sync -----------------------------------------------------------------------------

TEST(ClientVisibility, WhatIsFlushedOrSyncedIsReadElsewhere) {
  FakeCluster c(103);
  auto core = c.MakeClient();
  auto elsewhere = c.MakeClient();
  const std::string data = Pattern(200'000, 3);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data.substr(0, 100'000));
  ASSERT_TRUE(Flush(c, *file).ok());
  EXPECT_EQ(File(c, "f").attr.size, 100'000);
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == data.substr(0, 100'000))
      << "an open block is readable up to there";
  Write(c, *file, 100'000, data.substr(100'000));
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_EQ(File(c, "f").attr.size, 200'000);
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == data);
  const FakeBlock& block = File(c, "f").slots[0];
  EXPECT_TRUE(block.open);
  for (uint64_t m : block.members) EXPECT_TRUE(c.replicas[m][block.id].synced == data);
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == data);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

// The file's size says nothing of it: only the block's length does.
TEST(ClientVisibility, WhatIsSyncedInAHoleIsReadElsewhere) {
  FakeCluster c(104);
  auto core = c.MakeClient();
  auto elsewhere = c.MakeClient();
  auto file = Create(c, core, "f", kBlock, 8);
  ASSERT_TRUE(file.ok());
  std::string expected(5 * kBlock, '\0');
  const auto write = [&](uint64_t offset, const std::string& data) {
    expected.replace(offset, data.size(), data);
    Write(c, *file, offset, data);
  };
  write(5 * kBlock - 10, Pattern(10, 1));
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == expected);
  write(kBlock + 7, Pattern(1'000, 2));
  write(3 * kBlock, Pattern(kBlock, 3));
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == expected);
  write(kBlock + 2'000, Pattern(500, 4));  // within the block's slot, behind its end
  write(kBlock + 8, Pattern(100, 5));
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == expected);
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientVisibility, ASyncOfOverwrittenBytesNeedsNoCommitAndIsReadElsewhere) {
  FakeCluster c(105);
  auto core = c.MakeClient();
  auto elsewhere = c.MakeClient();
  auto file = Create(c, core, "f", 100'000, 4);
  ASSERT_TRUE(file.ok());
  std::string expected = Pattern(300'000, 6);
  Write(c, *file, 0, expected);
  ASSERT_TRUE(Sync(c, *file).ok());
  const int commits = Commits(c);
  for (uint64_t i = 0; i < 20; ++i) {
    const std::string over = Pattern(4'096, i);
    const uint64_t offset = i * 14'000 % 290'000;
    expected.replace(offset, over.size(), over);
    Write(c, *file, offset, over);
    ASSERT_TRUE(Sync(c, *file).ok());
    ASSERT_TRUE(ReadAll(c, elsewhere, "f") == expected) << i;
  }
  EXPECT_EQ(Commits(c), commits);
  Append(c, *file, "longer");
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_EQ(Commits(c), commits + 2) << "the block that the file grows into, and its length";
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_EQ(Commits(c), commits + 2) << "nothing was written";
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientVisibility, WhatADeadWriterSyncedIsReadElsewhereBeforeAndAfterRecovery) {
  FakeCluster c(106);
  auto core = c.MakeClient();
  auto elsewhere = c.MakeClient();
  auto file = Create(c, core, "f", kBlock, 8);
  ASSERT_TRUE(file.ok());
  const std::string data = Pattern(2 * kBlock + 500, 7);
  Write(c, *file, 0, data);
  ASSERT_TRUE(Sync(c, *file).ok());
  Append(c, *file, "never flushed");
  ASSERT_TRUE(Acked(c, *file).ok());
  c.unknown_sessions.insert(core->session().id());
  EXPECT_TRUE(ReadAll(c, elsewhere, "f") == data);
  for (uint64_t slot = 0; slot < 3; ++slot) c.Recover(c.names["f"], slot);
  EXPECT_EQ(ReadAll(c, elsewhere, "f").substr(0, data.size()), data);
}

}  // namespace
}  // namespace dfs::client
