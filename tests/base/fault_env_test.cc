#include "common/base/fault_env.h"

#include <gtest/gtest.h>

#include <set>

namespace dfs {
namespace {

using Mode = FaultEnv::CrashMode;

class FaultEnvTest : public testing::Test {
 protected:
  FaultEnvTest() { EXPECT_TRUE(env_.CreateDirs("/d").ok()); }
  std::unique_ptr<File> Open(const std::string& path, Env::OpenMode mode = Env::OpenMode::kCreate) {
    auto file = env_.Open(path, mode);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file ? std::move(*file) : nullptr;
  }
  // Created, synced, name synced.
  std::unique_ptr<File> Durable(const std::string& path, std::string_view text) {
    auto file = Open(path);
    EXPECT_TRUE(file->WriteAt(0, text).ok());
    EXPECT_TRUE(file->Sync().ok());
    EXPECT_TRUE(env_.SyncDir(ParentDir(path)).ok());
    return file;
  }
  std::string Read(const std::string& path) {
    auto text = env_.ReadFile(path);
    return text ? *text : "<" + std::string(CodeName(text.error().code())) + ">";
  }

  FaultEnv env_;
  Random random_{42};
};

TEST_F(FaultEnvTest, SyncedStaysUnsyncedGoes) {
  auto file = Durable("/d/a", "durable");
  ASSERT_TRUE(file->WriteAt(0, "changed and longer").ok());
  EXPECT_EQ(Read("/d/a"), "changed and longer");
  EXPECT_GT(env_.dirty_bytes(), 0u);
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "durable");
  EXPECT_EQ(env_.dirty_bytes(), 0u);
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "durable");
}

TEST_F(FaultEnvTest, NameNeedsSyncDir) {
  auto file = Open("/d/a");
  ASSERT_TRUE(file->WriteAt(0, "x").ok());
  ASSERT_TRUE(file->Sync().ok());
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "<not_found>");
}

TEST_F(FaultEnvTest, RenameAndRemoveNeedSyncDir) {
  Durable("/d/a", "A");
  Durable("/d/b", "B");
  ASSERT_TRUE(env_.Rename("/d/a", "/d/b").ok());
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "A");
  EXPECT_EQ(Read("/d/b"), "B");
  ASSERT_TRUE(env_.Remove("/d/a").ok());
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "A");
  ASSERT_TRUE(env_.Rename("/d/a", "/d/b").ok());
  ASSERT_TRUE(env_.SyncDir("/d").ok());
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "<not_found>");
  EXPECT_EQ(Read("/d/b"), "A");
}

TEST_F(FaultEnvTest, RenameAcrossDirectoriesIsOne) {
  ASSERT_TRUE(env_.CreateDirs("/e").ok());
  Durable("/d/a", "A");
  for (const char* synced : {"/d", "/e"}) {
    ASSERT_TRUE(env_.Rename("/d/a", "/e/a").ok());
    ASSERT_TRUE(env_.SyncDir(synced).ok());
    env_.Crash(random_, Mode::kDropUnsynced);
    EXPECT_EQ(Read("/d/a"), "<not_found>");
    EXPECT_EQ(Read("/e/a"), "A");
    ASSERT_TRUE(env_.Rename("/e/a", "/d/a").ok());
    ASSERT_TRUE(env_.SyncDir("/d").ok());
  }
}

TEST_F(FaultEnvTest, UnsyncedTruncationComesBack) {
  auto file = Durable("/d/a", std::string(10'000, 'x'));
  ASSERT_TRUE(file->Truncate(0).ok());
  ASSERT_TRUE(file->WriteAt(0, "short").ok());
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), std::string(10'000, 'x'));
}

TEST_F(FaultEnvTest, HandlesAndLocksDieInACrash) {
  auto file = Durable("/d/a", "x");
  auto lock = env_.Lock("/d/LOCK");
  ASSERT_TRUE(lock.ok());
  env_.Crash(random_, Mode::kDropUnsynced);
  char c = 0;
  EXPECT_EQ(file->WriteAt(0, "y").code(), Code::kClosed);
  EXPECT_EQ(file->ReadAt(0, &c, 1).error().code(), Code::kClosed);
  EXPECT_EQ(file->Sync().code(), Code::kClosed);
  auto again = env_.Lock("/d/LOCK");
  EXPECT_TRUE(again.ok());
  lock->reset();  // the dead holder's release does not free the new one's
  EXPECT_FALSE(env_.Lock("/d/LOCK").ok());
}

TEST_F(FaultEnvTest, KillingTheProcessKeepsThePageCache) {
  auto file = Durable("/d/a", "old");
  ASSERT_TRUE(file->WriteAt(0, "new").ok());
  env_.KillProcess();
  EXPECT_EQ(file->WriteAt(0, "bad").code(), Code::kClosed);
  EXPECT_EQ(Read("/d/a"), "new");
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "old");
}

TEST_F(FaultEnvTest, NothingTouchesADiskThatIsOff) {
  auto file = Durable("/d/a", "x");
  env_.Crash(random_, Mode::kDropUnsynced);
  env_.SetOffline(true);
  EXPECT_EQ(env_.WriteFileAtomically("/d/b", "y").code(), Code::kClosed);
  EXPECT_EQ(env_.Remove("/d/a").code(), Code::kClosed);
  EXPECT_EQ(env_.RemoveTree("/d").code(), Code::kClosed);
  EXPECT_EQ(env_.SyncDir("/d").code(), Code::kClosed);
  env_.SetOffline(false);
  EXPECT_EQ(Read("/d/a"), "x");
}

TEST_F(FaultEnvTest, RandomCrashesReachOldNewAndTorn) {
  std::set<std::string> seen;
  for (int i = 0; i < 300; ++i) {
    auto file = Durable("/d/a", std::string(4096, 'o'));
    ASSERT_TRUE(file->WriteAt(0, std::string(4096, 'n')).ok());
    env_.Crash(random_, Mode::kKeepRandom);
    const std::string text = Read("/d/a");
    ASSERT_EQ(text.size(), 4096u);
    const bool has_old = text.find('o') != std::string::npos;
    const bool has_new = text.find('n') != std::string::npos;
    seen.insert(has_old ? (has_new ? "torn" : "old") : "new");
    for (size_t s = 0; s < 4096; s += 512) {
      ASSERT_EQ(text.substr(s, 512), std::string(512, text[s])) << "a sector is whole";
    }
    ASSERT_TRUE(env_.Remove("/d/a").ok());
    ASSERT_TRUE(env_.SyncDir("/d").ok());
  }
  EXPECT_EQ(seen.size(), 3u);
  EXPECT_GT(env_.counters().torn_pages, 0u);
}

TEST_F(FaultEnvTest, RandomCrashesKeepWhatWasSynced) {
  std::string expected(50'000, 's');
  Durable("/d/a", expected);
  for (int i = 0; i < 200; ++i) {
    auto file = Open("/d/a");
    const uint64_t at = random_.Uniform(40'000);
    const std::string fresh(1 + random_.Uniform(9'999), static_cast<char>('a' + i % 26));
    ASSERT_TRUE(file->WriteAt(at, fresh).ok());
    expected.replace(at, fresh.size(), fresh);
    ASSERT_TRUE(file->Sync().ok());
    ASSERT_TRUE(file->WriteAt(expected.size(), "unsynced tail").ok());
    env_.Crash(random_, Mode::kKeepRandom);
    const std::string got = Read("/d/a");
    ASSERT_GE(got.size(), expected.size());
    ASSERT_EQ(got.substr(0, expected.size()), expected);
    auto cut = Open("/d/a");
    ASSERT_TRUE(cut->Truncate(expected.size()).ok());
    ASSERT_TRUE(cut->Sync().ok());
  }
}

TEST_F(FaultEnvTest, UnsyncedNamesSurviveInAnyCombination) {
  std::set<std::pair<bool, bool>> seen;
  for (int i = 0; i < 200; ++i) {
    Open("/d/a")->Sync().ok();
    Open("/d/b")->Sync().ok();
    env_.Crash(random_, Mode::kKeepRandom);
    seen.insert({env_.Exists("/d/a"), env_.Exists("/d/b")});
    ASSERT_TRUE(env_.RemoveTree("/d").ok());
    ASSERT_TRUE(env_.CreateDirs("/d").ok());
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST_F(FaultEnvTest, SpontaneousWriteBackShowsIntermediateStates) {
  env_.SetWritebackChance(2);
  std::set<char> seen;
  for (int i = 0; i < 100; ++i) {
    auto file = Durable("/d/a", "1");
    ASSERT_TRUE(file->WriteAt(0, "2").ok());
    ASSERT_TRUE(file->WriteAt(0, "3").ok());
    env_.Crash(random_, Mode::kDropUnsynced);
    seen.insert(Read("/d/a")[0]);
  }
  EXPECT_EQ(seen, (std::set<char>{'1', '2'}));
}

TEST_F(FaultEnvTest, InjectedFaults) {
  auto a = Durable("/d/a", "x");
  auto b = Durable("/d/b", "x");
  env_.AddFault({.op = FaultEnv::Op::kWrite,
                 .matches = [](const std::string& path) { return path == "/d/a"; },
                 .skip = 1,
                 .count = 2});
  EXPECT_TRUE(a->WriteAt(0, "1").ok());
  EXPECT_TRUE(b->WriteAt(0, "1").ok());
  EXPECT_EQ(a->WriteAt(0, "2").code(), Code::kIoError);
  EXPECT_EQ(a->WriteAt(0, "2").code(), Code::kIoError);
  EXPECT_TRUE(a->WriteAt(0, "3").ok());
  EXPECT_EQ(env_.counters().faults, 2u);
  env_.AddFault({.op = FaultEnv::Op::kRead, .count = UINT64_MAX});
  char c = 0;
  EXPECT_FALSE(b->ReadAt(0, &c, 1).ok());
  env_.ClearFaults();
  EXPECT_TRUE(b->ReadAt(0, &c, 1).ok());
}

TEST_F(FaultEnvTest, FailedSyncLosesItsPagesForGood) {
  auto file = Durable("/d/a", std::string(8192, 'o'));
  ASSERT_TRUE(file->WriteAt(0, std::string(4096, 'n')).ok());
  env_.AddFault({.op = FaultEnv::Op::kSync});
  EXPECT_EQ(file->Sync().code(), Code::kIoError);
  EXPECT_EQ(file->Sync().code(), Code::kIoError) << "final for the handle";
  auto other = Open("/d/a");
  ASSERT_TRUE(other->WriteAt(4096, std::string(4096, 'p')).ok());
  EXPECT_TRUE(other->Sync().ok()) << "the kernel reports it once";
  EXPECT_EQ(Read("/d/a")[0], 'n') << "still cached";
  env_.Crash(random_, Mode::kKeepRandom);
  EXPECT_EQ(Read("/d/a"), std::string(4096, 'o') + std::string(4096, 'p'));
}

TEST_F(FaultEnvTest, FullDiskAndSpaceThatComesBack) {
  env_.SetCapacity(1 << 20);
  auto file = Open("/d/a");
  ASSERT_TRUE(file->WriteAt(0, std::string(1 << 19, 'x')).ok());
  EXPECT_EQ(env_.Space("/d")->available_bytes, uint64_t{1} << 19);
  EXPECT_EQ(file->WriteAt(1 << 19, std::string((1 << 19) + 1, 'x')).code(), Code::kNoSpace);
  EXPECT_TRUE(file->WriteAt(0, std::string(1 << 19, 'y')).ok()) << "overwriting needs none";
  EXPECT_EQ(file->Allocate(2 << 20, false).code(), Code::kNoSpace);
  ASSERT_TRUE(file->Allocate(1 << 20, true).ok());
  EXPECT_EQ(env_.Open("/d/b", Env::OpenMode::kCreate).error().code(), Code::kNoSpace);
  ASSERT_TRUE(file->WriteAt(1 << 19, std::string(1 << 19, 'x')).ok()) << "it was reserved";
  ASSERT_TRUE(env_.Remove("/d/a").ok());
  EXPECT_EQ(env_.Space("/d")->available_bytes, uint64_t{1} << 20);
}

TEST_F(FaultEnvTest, FlippedBitIsOnTheMedium) {
  auto file = Durable("/d/a", "abc");
  ASSERT_TRUE(env_.FlipBit("/d/a", 1, 0).ok());
  EXPECT_EQ(Read("/d/a"), "acc");
  env_.Crash(random_, Mode::kDropUnsynced);
  EXPECT_EQ(Read("/d/a"), "acc");
  EXPECT_FALSE(env_.FlipBit("/d/a", 3, 0).ok());
}

TEST_F(FaultEnvTest, CrashAtEverySyncPoint) {
  // A small atomic-replace protocol, crashed at each of its sync points: old or new, never else.
  for (int crash_at = 0;; ++crash_at) {
    FaultEnv env;
    ASSERT_TRUE(env.CreateDirs("/d").ok());
    ASSERT_TRUE(env.WriteFileAtomically("/d/f", "old").ok());
    int syncs = 0;
    env.SetSyncHook([&](const std::string&) {
      if (syncs++ == crash_at) env.Crash(random_, Mode::kKeepRandom);
    });
    const Status status = env.WriteFileAtomically("/d/f", "new");
    env.SetSyncHook(nullptr);
    const auto text = env.ReadFile("/d/f");
    ASSERT_TRUE(text.ok());
    if (status.ok()) {
      EXPECT_EQ(*text, "new");
      EXPECT_EQ(syncs, crash_at);
      EXPECT_EQ(syncs, 2);
      break;
    }
    EXPECT_TRUE(*text == "old" || *text == "new") << *text;
  }
}

}  // namespace
}  // namespace dfs
