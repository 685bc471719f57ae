// Writing and reading files against fake namenodes and datanodes.
#include <gtest/gtest.h>

#include "tests/client/client_fixture.h"

namespace dfs::client {
namespace {

class Sizes : public ::testing::TestWithParam<size_t> {};

TEST_P(Sizes, WhatIsWrittenIsRead) {
  FakeCluster c(GetParam() + 1);
  auto core = c.MakeClient();
  const std::string data = Pattern(GetParam(), 7);
  auto file = Create(c, core, "f", 300'000);
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  for (size_t at = 0; at < data.size(); at += 70'001) Write(c, *file, at, data.substr(at, 70'001));
  const Status closed = Close(c, *file);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  EXPECT_TRUE(Content(c, "f") == data);
  EXPECT_TRUE(ReadAll(c, core, "f") == data);
  for (auto& [slot, block] : File(c, "f").slots) {
    EXPECT_FALSE(block.open);
    EXPECT_EQ(block.members.size(), 3u);
    for (uint64_t m : block.members) {
      EXPECT_TRUE(c.replicas[m][block.id].synced == c.replicas[m][block.id].data) << "close syncs";
    }
  }
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

INSTANTIATE_TEST_SUITE_P(All, Sizes,
                         ::testing::Values(0, 1, 4096, 16384, 16385, 100'000, 300'000, 300'001,
                                           900'000, 2'345'678));

TEST(ClientFiles, ASmallFileIsTwoCommitsAndNoBlock) {
  FakeCluster c(20);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, "hello");
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_EQ(c.applied[idl::kCreate], 1);
  EXPECT_EQ(c.applied[idl::kWriteInline], 1);
  EXPECT_EQ(c.applied[idl::kOpenBlock], 0);
  EXPECT_TRUE(ReadAll(c, core, "f") == "hello");
}

TEST(ClientFiles, AnInlineFileGrowsIntoABlockAndDropsItsBytesOnlyWhenSynced) {
  FakeCluster c(21);
  auto core = c.MakeClient();
  const std::string small = Pattern(10'000, 1), more = Pattern(50'000, 2);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, small);
  ASSERT_TRUE(Flush(c, *file).ok());
  EXPECT_TRUE(File(c, "f").has_inline);
  Write(c, *file, small.size(), more);
  ASSERT_TRUE(Sync(c, *file).ok());
  EXPECT_FALSE(File(c, "f").has_inline);
  EXPECT_TRUE(Content(c, "f") == small + more);
  Write(c, *file, 5, "xyz");
  ASSERT_TRUE(Close(c, *file).ok());
  std::string expected = small + more;
  expected.replace(5, 3, "xyz");
  EXPECT_TRUE(ReadAll(c, core, "f") == expected);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientFiles, AMemberThatDiesIsExcludedAndTheWriteGoesOn) {
  for (uint64_t victim = 1; victim <= 3; ++victim) {
    FakeCluster c(30 + victim);
    auto core = c.MakeClient();
    const std::string data = Pattern(1'500'000, victim);
    auto file = Create(c, core, "f");
    ASSERT_TRUE(file.ok());
    Write(c, *file, 0, data.substr(0, 700'000));
    c.scheduler.RunFor(20 * kMillisecond);
    c.DatanodeDown(victim);
    Write(c, *file, 700'000, data.substr(700'000));
    const Status closed = Close(c, *file);
    ASSERT_TRUE(closed.ok()) << closed.ToString();
    EXPECT_GE((*file)->exclusions(), 1u);
    EXPECT_TRUE(Content(c, "f") == data);
    EXPECT_TRUE(ReadAll(c, core, "f") == data);
    EXPECT_EQ(c.violations, std::vector<std::string>());
  }
}

TEST(ClientFiles, AMemberLostWhileNothingIsUnderWayHoldsUpNoFlush) {
  for (uint64_t which = 0; which < 3; ++which) {
    FakeCluster c(36 + which);
    auto core = c.MakeClient();
    const std::string data = Pattern(100'000, which);
    auto file = Create(c, core, "f");
    ASSERT_TRUE(file.ok());
    Write(c, *file, 0, data);
    ASSERT_TRUE(Sync(c, *file).ok());
    c.DatanodeDown(File(c, "f").slots[0].members[which]);
    c.scheduler.RunFor(kSecond);
    const Status flushed = Flush(c, *file);
    EXPECT_TRUE(flushed.ok()) << flushed.ToString();
    EXPECT_EQ(File(c, "f").slots[0].length, data.size());
    Write(c, *file, data.size(), data);
    ASSERT_TRUE(Close(c, *file).ok());
    EXPECT_TRUE(ReadAll(c, core, "f") == data + data);
    EXPECT_EQ(c.violations, std::vector<std::string>());
  }
}

TEST(ClientFiles, TheLastMemberSuffices) {
  FakeCluster c(40);
  auto core = c.MakeClient();
  const std::string data = Pattern(900'000, 5);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data.substr(0, 300'000));
  c.scheduler.RunFor(20 * kMillisecond);
  c.DatanodeDown(1);
  c.DatanodeDown(3);
  Write(c, *file, 300'000, data.substr(300'000));
  const Status closed = Close(c, *file);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  EXPECT_TRUE(Content(c, "f") == data);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientFiles, ASilentMemberCostsFiveSeconds) {
  FakeCluster c(41);
  auto core = c.MakeClient();
  const std::string data = Pattern(600'000, 5);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data.substr(0, 524'288));
  c.scheduler.RunFor(20 * kMillisecond);
  const uint64_t first = File(c, "f").slots[0].members[0];
  c.silent.insert(first);
  const int64_t start = c.scheduler.now_ns();
  Write(c, *file, 524'288, data.substr(524'288));
  ASSERT_TRUE(Flush(c, *file).ok());
  EXPECT_GE(c.scheduler.now_ns() - start, 5 * kSecond);
  EXPECT_LT(c.scheduler.now_ns() - start, 8 * kSecond);
  ASSERT_TRUE(Close(c, *file).ok());
  EXPECT_TRUE(Content(c, "f") == data);
}

TEST(ClientFiles, AReaderContinuesAtAnotherReplica) {
  FakeCluster c(50);
  auto core = c.MakeClient();
  const std::string data = Pattern(3'000'000, 6);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Close(c, *file).ok());
  c.scheduler.After(3 * kMillisecond, [&] { c.DatanodeDown(1); });
  c.scheduler.After(6 * kMillisecond, [&] { c.DatanodeDown(2); });
  EXPECT_TRUE(ReadAll(c, core, "f") == data);
}

TEST(ClientFiles, ACorruptReplicaIsReportedAndNotReturned) {
  FakeCluster c(51);
  auto core = c.MakeClient();
  const std::string data = Pattern(500'000, 6);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Close(c, *file).ok());
  const FakeBlock& block = File(c, "f").slots[0];
  c.corrupt.insert(block.members[0]);
  EXPECT_TRUE(ReadAll(c, core, "f") == data);
  c.scheduler.RunFor(kSecond);
  ASSERT_EQ(c.bad_reports.size(), 1u);
  EXPECT_EQ(c.bad_reports[0], std::make_pair(block.id, block.members[0]));
}

TEST(ClientFiles, ASilentReplicaIsLeftAfterItsPatience) {
  FakeCluster c(52);
  auto core = c.MakeClient();
  const std::string data = Pattern(100'000, 6);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Close(c, *file).ok());
  c.silent.insert(File(c, "f").slots[0].members[0]);
  const int64_t start = c.scheduler.now_ns();
  EXPECT_TRUE(ReadAll(c, core, "f") == data);
  EXPECT_LT(c.scheduler.now_ns() - start, 5 * kSecond);
  const int64_t again = c.scheduler.now_ns();
  EXPECT_TRUE(ReadAll(c, core, "f") == data);
  EXPECT_LT(c.scheduler.now_ns() - again, kSecond) << "it comes last for a while";
}

TEST(ClientFiles, NoReplicaIsAnErrorWhenTheTimeOfAnOperationIsOver) {
  for (const int64_t seconds : {5, 40}) {
    SCOPED_TRACE(seconds);
    FakeCluster c(53);
    auto core = c.MakeClient(seconds * kSecond);
    auto file = Create(c, core, "f");
    ASSERT_TRUE(file.ok());
    Write(c, *file, 0, Pattern(100'000, 6));
    ASSERT_TRUE(Close(c, *file).ok());
    for (uint64_t d = 1; d <= 3; ++d) c.DatanodeDown(d);
    auto reader = OpenReader(c, core, "f");
    ASSERT_TRUE(reader.ok());
    const auto took = [&](const std::function<std::string()>& read) {
      const int64_t start = c.scheduler.now_ns();
      const std::string said = read();
      const int64_t ns = c.scheduler.now_ns() - start;
      EXPECT_GE(ns, (seconds - 1) * kSecond);
      EXPECT_LE(ns, (seconds + 1) * kSecond);
      EXPECT_NE(said.find("timed_out"), std::string::npos) << said;
      EXPECT_NE(said.find("/f: no replica could be read for"), std::string::npos) << said;
      EXPECT_NE(said.find("replica at dn"), std::string::npos) << "which, and why: " << said;
    };
    took([&] { return ReadAt(c, *reader, 0, 10); });
    took([&] { return ReadAll(c, core, "f"); });
  }
}

TEST(ClientFiles, AReadGoesOnWhenAReplicaIsBackInTime) {
  FakeCluster c(60);
  auto core = c.MakeClient(60 * kSecond);
  const std::string data = Pattern(100'000, 6);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Close(c, *file).ok());
  for (uint64_t d = 1; d <= 3; ++d) c.silent.insert(d);
  c.scheduler.After(45 * kSecond, [&] { c.silent.clear(); });
  EXPECT_TRUE(ReadAll(c, core, "f") == data);
}

TEST(ClientFiles, ReadsAtOffsetsSeeHolesAsZeros) {
  FakeCluster c(54);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f", 100'000, 8);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 250'000, "tail");
  Write(c, *file, 10, "head");
  ASSERT_TRUE(Close(c, *file).ok());
  std::string expected(250'004, '\0');
  expected.replace(250'000, 4, "tail");
  expected.replace(10, 4, "head");
  EXPECT_TRUE(ReadAll(c, core, "f") == expected);
  auto reader = OpenReader(c, core, "f");
  ASSERT_TRUE(reader.ok());
  EXPECT_TRUE(ReadAt(c, *reader, 249'998, 100) == expected.substr(249'998));
  EXPECT_TRUE(ReadAt(c, *reader, 99'990, 100'020) == expected.substr(99'990, 100'020));
  EXPECT_TRUE(ReadAt(c, *reader, 250'004, 10) == "");
}

TEST(ClientFiles, CloseRenamesInTheLastCommit) {
  FakeCluster c(55);
  auto core = c.MakeClient();
  const std::string data = Pattern(700'000, 9);
  auto file = Create(c, core, ".tmp", 300'000);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  FileClose how;
  how.rename_to = "final";
  ASSERT_TRUE(Close(c, *file, how).ok());
  EXPECT_EQ(c.names.count(".tmp"), 0u);
  ASSERT_EQ(c.names.count("final"), 1u);
  EXPECT_EQ(c.applied[idl::kRename], 0);
  EXPECT_TRUE(ReadAll(c, core, "final") == data);
}

TEST(ClientFiles, AnAbandonedFileDoesNotStayOpen) {
  FakeCluster c(56);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f", 300'000);
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(500'000, 1));
  c.scheduler.RunFor(5 * kMillisecond);
  c.OnClient([&] {
    (*file)->Abandon();
    file->reset();
  });
  c.scheduler.RunFor(2 * kSecond);
  for (auto& [slot, block] : File(c, "f").slots) EXPECT_FALSE(block.open) << slot;
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientFiles, AnAppendWaitsForADeadWritersBlock) {
  FakeCluster c(57);
  auto core = c.MakeClient();
  const std::string data = Pattern(50'000, 1);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Flush(c, *file).ok());
  auto other = c.MakeClient();
  c.scheduler.After(3 * kSecond, [&] { c.Recover(c.names["f"], 0); });
  auto again = Open(c, other, "f");
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_GE(c.scheduler.now_ns(), 3 * kSecond);
  Append(c, *again, "more");
  const Status closed = Close(c, *again);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  EXPECT_TRUE(ReadAll(c, other, "f") == data + "more");
  // The old writer is fenced: it is told, and its bytes go nowhere.
  Write(c, *file, 0, Pattern(600'000, 2));
  EXPECT_FALSE(Close(c, *file).ok());
  EXPECT_TRUE(ReadAll(c, other, "f") == data + "more");
}

// A dead writer never told the length: the file has 0 bytes, and some in a block that is still open.
TEST(ClientFiles, ACreateOfAFileThatIsThereWaitsForADeadWritersBlock) {
  FakeCluster c(58);
  auto core = c.MakeClient();
  const std::string data = Pattern(50'000, 1);
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, data);
  ASSERT_TRUE(Acked(c, *file).ok());
  ASSERT_EQ(File(c, "f").attr.size, 0);
  auto other = c.MakeClient();
  c.scheduler.After(3 * kSecond, [&] { c.Recover(c.names["f"], 0); });
  FileCreate how;
  how.path = "f";
  how.overwrite = false;
  auto again = Create(c, other, how);
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_EQ((*again)->size(), data.size());
  Append(c, *again, "more");
  const Status closed = Close(c, *again);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  EXPECT_TRUE(ReadAll(c, other, "f") == data + "more");
}

TEST(ClientFiles, ALostSessionFailsTheFileForGood) {
  FakeCluster c(58);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(50'000, 1));
  ASSERT_TRUE(Flush(c, *file).ok());
  c.unknown_sessions.insert(core->session().id());
  Write(c, *file, 50'000, Pattern(50'000, 1));
  EXPECT_EQ(Close(c, *file).code(), Code::kUnknownSession);
}

TEST(ClientFiles, BackPressureLetsGoWhenBytesAreAcknowledged) {
  FakeCluster c(59);
  auto core = c.MakeClient();
  auto file = Create(c, core, "f");
  ASSERT_TRUE(file.ok());
  Write(c, *file, 0, Pattern(4 << 20, 1));
  EXPECT_GT((*file)->unacked_bytes(), 1u << 20);
  ASSERT_TRUE(c.WaitStatus([&](StatusDone d) { (*file)->WhenBelow(1 << 20, std::move(d)); }).ok());
  EXPECT_LT((*file)->unacked_bytes(), 1u << 20);
  ASSERT_TRUE(Close(c, *file).ok());
}

}  // namespace
}  // namespace dfs::client
