// Handles on files: two of one client, handles that failed, blocks that recovery closed under a living writer, and
// how many commits a file costs.
#include <gtest/gtest.h>

#include "tests/client/client_fixture.h"

namespace dfs::client {
namespace {

// ---- Commits ------------------------------------------------------------------------------------

TEST(ClientHandles, AFileOfBlocksIsTwoCommitsWhenItsWriterSaysSo) {
  FakeCluster c(70);
  auto core = c.MakeClient();
  const std::string data = Pattern(65'536, 1);
  FileCreate how;
  how.path = ".tmp";
  how.expected_size = 65'536;
  auto file = Create(c, core, how);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  FileClose close;
  close.rename_to = "f";
  ASSERT_TRUE(Close(c, *file, close).ok());
  EXPECT_TRUE(Content(c, "f") == data);
  EXPECT_EQ(Commits(c), 2);
  EXPECT_EQ(c.applied[idl::kOpenBlock], 0);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientHandles, AFirstBlockThatIsNotUsedIsClosed) {
  FakeCluster c(71);
  auto core = c.MakeClient();
  FileCreate how;
  how.path = "f";
  how.expected_size = 65'536;
  auto file = Create(c, core, how);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_FALSE(File(c, "f").slots[0].open);
  EXPECT_EQ(File(c, "f").attr.size, 0);
}

// ---- New blocks ---------------------------------------------------------------------------------

TEST(ClientHandles, ANewBlockGoesToOthersWhenItsMembersAreUnreachable) {
  FakeCluster c(72, 3, 6);
  auto core = c.MakeClient();
  const std::string data = Pattern(300'000, 2);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  for (uint64_t d = 1; d <= 3; ++d) c.DatanodeDown(d);
  c.next_member = 0;  // the ones that are down
  const int64_t start = c.scheduler.now_ns();
  Write(c, *file, 0, data);
  const Status closed = Close(c, *file);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  EXPECT_LT(c.scheduler.now_ns() - start, 15 * kSecond);
  EXPECT_EQ(File(c, "f").slots[0].members.size(), 3u) << "as many as it should have";
  EXPECT_TRUE(Content(c, "f") == data);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientHandles, WhatWasAcknowledgedKeepsItsMembers) {
  FakeCluster c(73, 3, 6);
  auto core = c.MakeClient(8 * kSecond);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  c.next_member = 0;
  Write(c, *file, 0, Pattern(100'000, 1));
  ASSERT_TRUE(Sync(c, *file).ok());
  for (uint64_t d = 1; d <= 3; ++d) c.DatanodeDown(d);
  Write(c, *file, 100'000, Pattern(100'000, 1));
  EXPECT_EQ(Close(c, *file).code(), Code::kTimedOut) << "nobody else has the acknowledged bytes";
  EXPECT_LE(File(c, "f").slots[0].members.front(), 3u);
}

// ---- Handles that failed ------------------------------------------------------------------------

TEST(ClientHandles, AFailedWriterGivesItsBlocksUpAndTheNextOneSeesWhatWasSynced) {
  FakeCluster c(74);
  auto core = c.MakeClient();
  const std::string data = Pattern(60'000, 3), more = Pattern(30'000, 4);
  auto file = Create(c, core, "f", 40'960, 4);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_EQ(File(c, "f").attr.size, 60'000);
  Write(c, *file, 60'000, more);
  ASSERT_TRUE(Acked(c, *file).ok());
  // Recovery closes one block under the writer, which had not synced all of it.
  c.Recover(c.names["f"], 1);
  Append(c, *file, "x");
  EXPECT_EQ(Flush(c, *file).code(), Code::kIoError);
  EXPECT_EQ(Sync(c, *file).code(), Code::kIoError) << "for good";
  auto again = Open(c, core, "f");
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_NE(again->get(), file->get());
  EXPECT_GE((*again)->size(), 90'000u);
  EXPECT_LE((*again)->size(), 90'001u);
  for (auto& [slot, block] : File(c, "f").slots) EXPECT_FALSE(block.open) << slot;
  c.OnClient([&] { (*again)->Write(90'000, Buffer(std::string("tail"))); });
  ASSERT_TRUE(Close(c, *again).ok());
  EXPECT_TRUE(Content(c, "f") == data + more + "tail");
  EXPECT_FALSE(Close(c, *file).ok());
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientHandles, AnotherClientNeedNotWaitForTheSessionOfAFailedWriter) {
  FakeCluster c(75);
  auto core = c.MakeClient(5 * kSecond);
  auto file = Create(c, core, "f", 40'960, 4);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(40'960, 3));
  ASSERT_TRUE(Sync(c, *file).ok());
  Write(c, *file, 40'960, Pattern(30'000, 3));
  ASSERT_TRUE(Acked(c, *file).ok());
  c.Recover(c.names["f"], 1);
  EXPECT_FALSE(Flush(c, *file).ok());
  auto other = c.MakeClient();
  auto again = Open(c, other, "f");
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  Write(c, *again, 0, "mine");
  EXPECT_TRUE(Close(c, *again).ok());
  EXPECT_EQ(Content(c, "f").substr(0, 4), "mine");
}

TEST(ClientHandles, AWriterThatIsDroppedGivesItsBlocksUp) {
  FakeCluster c(76);
  auto core = c.MakeClient();
  {
    std::optional<Result<Ptr>> file;
    c.OnClient([&] {
      FileCreate how;
      how.path = "f";
      FileWriter::Create(core, how, 1, [&](Result<Ptr> r) { file.emplace(std::move(r)); });
    });
    ASSERT_TRUE(c.RunUntil([&] { return file.has_value(); }));
    Write(c, **file, 0, Pattern(100'000, 1));
    ASSERT_TRUE(Sync(c, **file).ok());
    c.OnClient([&] { file.reset(); });
  }
  auto again = Open(c, core, "f");
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ((*again)->size(), 100'000u);
}

TEST(ClientHandles, EveryWaitEndsWithTheSession) {
  FakeCluster c(77);
  auto core = c.MakeClient(20 * kSecond);
  auto file = Create(c, core, "f", 40'960, 4);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(160'000, 1));
  ASSERT_TRUE(Sync(c, *file).ok());
  for (uint64_t d = 1; d <= 3; ++d) c.silent.insert(d);
  for (uint64_t slot = 0; slot < 4; ++slot) Write(c, *file, slot * 40'960 + 5, "abc");
  int ended = 0;
  c.OnClient([&] {
    const auto count = [&ended](Status) { ++ended; };
    (*file)->Flush(count);
    (*file)->Sync(count);
    (*file)->WhenBelow(1, count);
    (*file)->Close(FileClose(), count);
  });
  c.unknown_sessions.insert(core->session().id());
  EXPECT_TRUE(c.RunUntil([&] { return ended == 4; })) << ended;
}

TEST(ClientHandles, AWriteIntoANewSlotAfterTheSessionIsAnErrorOnly) {
  FakeCluster c(83);
  auto core = c.MakeClient(20 * kSecond);
  auto file = Create(c, core, "f", 40'960, 4);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(160'000, 1));
  ASSERT_TRUE(Sync(c, *file).ok());
  c.unknown_sessions.insert(core->session().id());
  ASSERT_TRUE(c.RunUntil([&] { return core->session().id() == 0; }));
  // Opening the slots fails before anything is sent.
  Write(c, *file, 200'000, Pattern(160'000, 1));
  EXPECT_EQ(Flush(c, *file).code(), Code::kUnknownSession);
  EXPECT_EQ(Close(c, *file).code(), Code::kUnknownSession);
}

TEST(ClientHandles, AnAbandonedFileAnswersWhoWaits) {
  FakeCluster c(78);
  auto core = c.MakeClient(20 * kSecond);
  auto file = Create(c, core, "f", 40'960, 4);
  ASSERT_TRUE(file.ok());
  for (uint64_t d = 1; d <= 3; ++d) c.silent.insert(d);
  Write(c, *file, 0, Pattern(160'000, 1));
  int ended = 0;
  c.OnClient([&] {
    const auto count = [&ended](Status) { ++ended; };
    (*file)->Flush(count);
    (*file)->Sync(count);
    (*file)->WhenBelow(1, count);
    (*file)->Abandon();
  });
  EXPECT_TRUE(c.RunUntil([&] { return ended == 3; })) << ended;
}

// ---- A block closed under its writer --------------------------------------------------------------

TEST(ClientHandles, AWriterGoesOnAfterARecoveryThatCannotHaveLostAnything) {
  FakeCluster c(79);
  auto core = c.MakeClient();
  const std::string data = Pattern(100'000, 5), more = Pattern(200'000, 6);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Sync(c, *file).ok());
  c.Recover(c.names["f"], 0);
  Write(c, *file, data.size(), more);
  EXPECT_TRUE(Flush(c, *file).ok());
  Write(c, *file, 3, "xyz");
  ASSERT_TRUE(Sync(c, *file).ok());
  c.Recover(c.names["f"], 0);
  const Status closed = Close(c, *file);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  std::string expected = data + more;
  expected.replace(3, 3, "xyz");
  EXPECT_TRUE(Content(c, "f") == expected);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

// ---- What a dead writer left behind --------------------------------------------------------------

// Its block lies several slots behind the end, and nobody was ever told of it. An open that went on before it is
// recovered would later find bytes of a write that nobody flushed behind its own end of the file.
TEST(ClientHandles, AnOpenWaitsForADeadWritersBlockFarBehindTheEnd) {
  for (uint64_t slot : {1u, 2u, 5u, 40u}) {
    SCOPED_TRACE(slot);
    FakeCluster c(84 + slot);
    auto dead = c.MakeClient();
    auto file = Create(c, dead, "f", 40'960, 4);
    ASSERT_TRUE(file.ok());
    const std::string head = Pattern(20'000, 1), lost = Pattern(5'000, 2);
    Write(c, *file, 0, head);
    ASSERT_TRUE(Flush(c, *file).ok());
    c.Recover(c.names["f"], 0);  // what the namenode was told of is closed
    Write(c, *file, slot * 40'960, lost);
    ASSERT_TRUE(Acked(c, *file).ok());
    ASSERT_EQ(File(c, "f").attr.size, 20'000);
    ASSERT_TRUE(File(c, "f").slots[slot].open);
    c.unknown_sessions.insert(dead->session().id());
    const int64_t recovered_at = c.scheduler.now_ns() + 3 * kSecond;
    c.scheduler.After(3 * kSecond, [&] { c.Recover(c.names["f"], slot); });
    auto other = c.MakeClient();
    auto again = Open(c, other, "f", 4);
    ASSERT_TRUE(again.ok()) << again.error().ToString();
    EXPECT_GE(c.scheduler.now_ns(), recovered_at);
    const uint64_t size = (*again)->size();
    EXPECT_EQ(size, slot * 40'960 + lost.size());
    c.scheduler.RunFor(10 * kSecond);
    EXPECT_EQ(static_cast<uint64_t>(File(c, "f").attr.size), size)
        << "no byte comes after the open";
    Append(c, *again, "mine");
    ASSERT_TRUE(Close(c, *again).ok());
    std::string expected(slot * 40'960, '\0');
    expected.replace(0, head.size(), head);
    EXPECT_TRUE(Content(c, "f") == expected + lost + "mine");
    EXPECT_EQ(c.violations, std::vector<std::string>());
  }
}

// ---- Two handles of one client ------------------------------------------------------------------

TEST(ClientHandles, TwoHandlesOfOneClientShareOneFile) {
  FakeCluster c(80);
  auto core = c.MakeClient();
  const std::string data = Pattern(100'000, 7);
  auto first = Create(c, core, "f");
  ASSERT_TRUE(first.ok());
  Write(c, *first, 0, data);
  ASSERT_TRUE(Sync(c, *first).ok());
  auto second = Open(c, core, "f");
  ASSERT_TRUE(second.ok()) << second.error().ToString();
  EXPECT_EQ((*second)->size(), data.size());
  Append(c, *second, "two");
  Append(c, *first, "one");
  ASSERT_TRUE(Close(c, *second).ok());
  EXPECT_EQ(File(c, "f").attr.size, 100'006) << "what a close promises";
  Append(c, *first, "more");
  ASSERT_TRUE(Close(c, *first).ok());
  EXPECT_TRUE(Content(c, "f") == data + "twoonemore");
  EXPECT_FALSE(File(c, "f").slots[0].open);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientHandles, CreatingAnewCutsTheFileForAllHandlesOfTheClient) {
  FakeCluster c(81);
  auto core = c.MakeClient();
  auto first = Create(c, core, "f");
  ASSERT_TRUE(first.ok());
  Write(c, *first, 0, Pattern(100'000, 7));
  ASSERT_TRUE(Sync(c, *first).ok());
  auto second = Create(c, core, "f");
  ASSERT_TRUE(second.ok()) << second.error().ToString();
  EXPECT_EQ((*second)->size(), 0u);
  Append(c, *second, "new");
  ASSERT_TRUE(Close(c, *second).ok());
  Append(c, *first, " old");
  const Status closed = Close(c, *first);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  EXPECT_EQ(Content(c, "f"), "new old");
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

// The first one's request comes to the namenode when the second one would have written already.
TEST(ClientHandles, AnOverwritingOpenThatIsAppliedLateTakesNothingFromALaterOne) {
  for (const bool create : {true, false}) {
    SCOPED_TRACE(create ? "create" : "open");
    FakeCluster c(86);
    auto core = c.MakeClient();
    auto before = Create(c, core, "f");
    ASSERT_TRUE(before.ok());
    Write(c, *before, 0, Pattern(100'000, 7));
    ASSERT_TRUE(Close(c, *before).ok());
    std::optional<Result<Ptr>> first, second;
    const auto open = [&](std::optional<Result<Ptr>>* file) {
      const auto done = [file](Result<Ptr> r) { file->emplace(std::move(r)); };
      if (create) {
        FileCreate how;
        how.path = "f";
        FileWriter::Create(core, how, 1, done);
      } else {
        FileOpen how;
        how.path = "f";
        how.truncate = true;
        FileWriter::Open(core, how, 1, done);
      }
    };
    c.delay_next_ns[create ? idl::kCreate : idl::kOpenFile] = 500 * kMillisecond;
    c.OnClient([&] {
      open(&first);
      open(&second);
    });
    ASSERT_TRUE(c.RunUntil([&] { return second.has_value(); }));
    ASSERT_TRUE(second->ok()) << second->error().ToString();
    const std::string data = Pattern(50'000, 8);
    Write(c, **second, 0, data);
    ASSERT_TRUE(Sync(c, **second).ok());
    ASSERT_TRUE(c.RunUntil([&] { return first.has_value(); }));
    ASSERT_TRUE(first->ok()) << first->error().ToString();
    c.scheduler.RunFor(kSecond);
    Write(c, **second, data.size(), "more");
    Status closed = Close(c, **second);
    EXPECT_TRUE(closed.ok()) << closed.ToString();
    closed = Close(c, **first);
    EXPECT_TRUE(closed.ok()) << closed.ToString();
    EXPECT_TRUE(Content(c, "f") == data + "more");
    EXPECT_EQ(c.violations, std::vector<std::string>());
  }
}

TEST(ClientHandles, AFlushOfOverwrittenBytesGivesTheFileANewVersion) {
  FakeCluster c(83);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(100'000, 7));
  ASSERT_TRUE(Flush(c, *file).ok());
  const int64_t version = File(c, "f").attr.data_version;
  ASSERT_TRUE(Flush(c, *file).ok());
  EXPECT_EQ(File(c, "f").attr.data_version, version) << "nothing was written";
  Write(c, *file, 500, "over");
  char back[4];
  auto read = c.Wait<size_t>([&](Done<size_t> done) {
    (*file)->ReadAt(500, back, 4, std::make_shared<FileReader::Guard>(), std::move(done));
  });
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(std::string(back, 4), "over");
  EXPECT_EQ(File(c, "f").attr.data_version, version) << "a reader of this client needs no commit";
  ASSERT_TRUE(Flush(c, *file).ok());
  EXPECT_GT(File(c, "f").attr.data_version, version);
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientHandles, TheTimeOfWritingIsWhatItsWriterSays) {
  FakeCluster c(84);
  auto core = c.MakeClient();
  for (const size_t size : {100u, 100'000u}) {
    const std::string name = "f" + std::to_string(size);
    auto file = Create(c, core, name);
    ASSERT_TRUE(file.ok());
    c.OnClient([&] { (*file)->SetWriteTime(1'234); });
    Write(c, *file, 0, Pattern(size, 7));
    ASSERT_TRUE(Flush(c, *file).ok());
    EXPECT_EQ(File(c, name).attr.mtime_ns, 1'234);
    c.OnClient([&] { (*file)->SetWriteTime(5'678); });
    Append(c, *file, "more");
    ASSERT_TRUE(Close(c, *file).ok());
    EXPECT_EQ(File(c, name).attr.mtime_ns, 5'678);
  }
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientHandles, AFileIsOpenedByItsInode) {
  FakeCluster c(85);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  const uint64_t inode = (*file)->inode();
  Write(c, *file, 0, "one");
  ASSERT_TRUE(Close(c, *file).ok());
  c.names["moved"] = inode;
  c.names.erase("f");
  auto again = c.Wait<Ptr>([&](Done<Ptr> done) {
    FileOpen how;
    how.inode = inode;
    FileWriter::Open(core, how, 1, std::move(done));
  });
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  Append(c, *again, "two");
  ASSERT_TRUE(Close(c, *again).ok());
  EXPECT_EQ(Content(c, "moved"), "onetwo");
}

TEST(ClientHandles, ASmallFileThatAnotherSessionWroteIsNotOverwrittenWhole) {
  FakeCluster c(86);
  auto core = c.MakeClient();
  auto other = c.MakeClient();
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  auto theirs = Open(c, other, "f");
  ASSERT_TRUE(theirs.ok());
  Write(c, *file, 0, "mine");
  ASSERT_TRUE(Sync(c, *file).ok());
  Write(c, *file, 4, " too");
  ASSERT_TRUE(Sync(c, *file).ok()) << "its own writes are no conflict";
  Write(c, *theirs, 10, "theirs");
  EXPECT_EQ(Sync(c, *theirs).code(), Code::kConflict);
  EXPECT_EQ(Content(c, "f"), "mine too");
  ASSERT_TRUE(Close(c, *file).ok());
}

TEST(ClientHandles, AnOpenWaitsForTheCloseUnderWay) {
  FakeCluster c(82);
  auto core = c.MakeClient();
  const std::string data = Pattern(1'000'000, 7);
  auto first = Create(c, core, "f");
  ASSERT_TRUE(first.ok());
  Write(c, *first, 0, data);
  std::optional<Status> closed;
  c.OnClient([&] { (*first)->Close(FileClose(), [&](Status s) { closed = s; }); });
  auto second = Open(c, core, "f");
  ASSERT_TRUE(second.ok()) << second.error().ToString();
  EXPECT_TRUE(closed.has_value());
  EXPECT_EQ((*second)->size(), data.size());
  Append(c, *second, "more");
  ASSERT_TRUE(Close(c, *second).ok());
  EXPECT_TRUE(Content(c, "f") == data + "more");
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

}  // namespace
}  // namespace dfs::client
