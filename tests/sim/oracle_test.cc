// The oracles of the cluster simulation: they accept what is right and refuse what is wrong.
#include <gtest/gtest.h>

#include "tests/sim/file_model.h"
#include "tests/sim/name_history.h"

namespace dfs::sim {
namespace {

using Kind = NameHistory::Kind;
using Outcome = NameHistory::Outcome;
using Verdict = NameHistory::Verdict;

struct Op {
  Kind kind;
  Outcome outcome;
  uint64_t inode;
  uint64_t from;
  uint64_t to;
};

Verdict Check(const std::vector<Op>& ops) {
  NameHistory history;
  for (const Op& op : ops) {
    const size_t n = history.Invoke(op.kind, op.from);
    history.Return(n, op.outcome, op.inode, op.to);
  }
  return history.Check();
}

TEST(NameHistory, Sequential) {
  EXPECT_EQ(Check({}), Verdict::kLinearizable);
  EXPECT_EQ(Check({{Kind::kStat, Outcome::kRefused, 0, 1, 2},
                   {Kind::kCreate, Outcome::kOk, 5, 3, 4},
                   {Kind::kStat, Outcome::kOk, 5, 5, 6},
                   {Kind::kCreate, Outcome::kRefused, 0, 7, 8},
                   {Kind::kUnlink, Outcome::kOk, 0, 9, 10},
                   {Kind::kStat, Outcome::kRefused, 0, 11, 12}}),
            Verdict::kLinearizable);
  EXPECT_EQ(
      Check({{Kind::kCreate, Outcome::kOk, 5, 3, 4}, {Kind::kStat, Outcome::kRefused, 0, 5, 6}}),
      Verdict::kViolation)
      << "a stale read, or a lost create";
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kOk, 5, 3, 4}, {Kind::kCreate, Outcome::kOk, 6, 5, 6}}),
            Verdict::kViolation);
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kOk, 5, 3, 4}, {Kind::kStat, Outcome::kOk, 6, 5, 6}}),
            Verdict::kViolation);
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kRefused, 0, 3, 4}}), Verdict::kViolation)
      << "applied twice: the retry met its own effect";
}

TEST(NameHistory, ConcurrentMayTakeEitherOrder) {
  EXPECT_EQ(
      Check({{Kind::kCreate, Outcome::kOk, 5, 1, 10}, {Kind::kStat, Outcome::kRefused, 0, 2, 3}}),
      Verdict::kLinearizable);
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kOk, 5, 1, 10},
                   {Kind::kStat, Outcome::kOk, 5, 2, 3},
                   {Kind::kStat, Outcome::kRefused, 0, 4, 5}}),
            Verdict::kViolation)
      << "reads may not go back";
  EXPECT_EQ(
      Check({{Kind::kCreate, Outcome::kOk, 5, 1, 10}, {Kind::kCreate, Outcome::kOk, 6, 1, 10}}),
      Verdict::kViolation);
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kOk, 5, 1, 10},
                   {Kind::kCreate, Outcome::kOk, 6, 1, 10},
                   {Kind::kUnlink, Outcome::kOk, 0, 2, 9}}),
            Verdict::kLinearizable);
}

TEST(NameHistory, UnknownMayHappenLateOrNever) {
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kUnknown, 0, 1, 0},
                   {Kind::kStat, Outcome::kRefused, 0, 5, 6},
                   {Kind::kStat, Outcome::kOk, 9, 7, 8},
                   {Kind::kStat, Outcome::kOk, 9, 9, 10}}),
            Verdict::kLinearizable);
  EXPECT_EQ(Check({{Kind::kCreate, Outcome::kUnknown, 0, 1, 0},
                   {Kind::kStat, Outcome::kOk, 9, 5, 6},
                   {Kind::kStat, Outcome::kRefused, 0, 7, 8}}),
            Verdict::kViolation)
      << "nobody unlinked it";
  EXPECT_EQ(Check({{Kind::kUnlink, Outcome::kUnknown, 0, 1, 0},
                   {Kind::kCreate, Outcome::kRefused, 0, 2, 3}}),
            Verdict::kViolation);
}

TEST(NameHistory, GivesUpRatherThanHang) {
  NameHistory history;
  for (int i = 0; i < 40; ++i) history.Invoke(i % 2 == 0 ? Kind::kCreate : Kind::kUnlink, 1);
  // More creates than there are unlinks to make room for them: impossible, but in very many ways.
  for (uint64_t i = 0; i < 30; ++i) {
    history.Return(history.Invoke(Kind::kCreate, 2 + 2 * i), Outcome::kOk, 100 + i, 3 + 2 * i);
  }
  EXPECT_EQ(history.Check(1000), Verdict::kTooHard);
}

TEST(FileModel, UnsyncedMayBeOldOrNew) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 256);
  file.SyncDone(0, file.last_write());
  const std::string two = file.BeginWrite(64, 64);
  const std::string mixed = one.substr(0, 64) + two + one.substr(128);
  EXPECT_EQ(file.Check(0, one, true, file.Now(), 0), "");
  EXPECT_EQ(file.Check(0, mixed, true, file.Now(), 0), "");
  file.SyncDone(0, file.last_write());
  EXPECT_EQ(file.Check(0, mixed, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, one, true, file.Now(), 0), "") << "a lost synced write";
  EXPECT_NE(file.Check(0, mixed.substr(0, 128), true, file.Now(), 0), "")
      << "cut below the synced length";
  EXPECT_EQ(file.Check(0, mixed.substr(0, 128), false, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, mixed + std::string(64, '\0'), true, file.Now(), 0), "")
      << "never written";
  std::string torn = mixed;
  torn[70] = static_cast<char>(torn[70] ^ 1);
  EXPECT_NE(file.Check(0, torn, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(64, one.substr(0, 64), false, file.Now(), 0), "") << "another place's bytes";
}

TEST(FileModel, AReadThatBeganBeforeTheSyncMaySeeTheOld) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 64);
  file.SyncDone(0, file.last_write());
  const uint64_t since = file.Now();
  file.BeginWrite(0, 64);
  file.SyncDone(0, file.last_write());
  EXPECT_EQ(file.Check(0, one, true, since, 0), "");
  EXPECT_NE(file.Check(0, one, true, file.Now(), 0), "");
}

TEST(FileModel, ASyncTellsEverybodyTheLength) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 128);
  const uint64_t before = file.Now();
  file.SyncDone(0, file.last_write());
  EXPECT_EQ(file.Check(0, "", true, before, 0), "");
  EXPECT_NE(file.Check(0, "", true, file.Now(), 0), "");
  EXPECT_EQ(file.Check(0, one, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, std::string(128, 0), true, file.Now(), 0), "");
  EXPECT_NE(file.OpenedAt(64, 0), "");
  EXPECT_EQ(file.OpenedAt(128, 0), "");
}

TEST(FileModel, FlushedHoldsUntilMemoryIsLost) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 128);
  file.SyncDone(0, file.last_write());
  const std::string two = file.BeginWrite(0, 192);
  file.FlushDone(0, file.last_write(), 3);
  EXPECT_EQ(file.Check(0, two, true, file.Now(), 3), "");
  EXPECT_NE(file.Check(0, one, true, file.Now(), 3), "");
  EXPECT_NE(file.Check(0, two.substr(0, 128), true, file.Now(), 3), "");
  EXPECT_EQ(file.Check(0, one, true, file.Now(), 4), "");
  EXPECT_EQ(file.Check(0, two.substr(0, 128), true, file.Now(), 4), "");
  EXPECT_NE(file.Check(0, two.substr(0, 64), true, file.Now(), 4), "");
}

TEST(FileModel, AGapIsZerosAndIsThereWithWhatFollows) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 64);
  file.SyncDone(0, file.last_write());
  const std::string two = file.BeginWrite(192, 64);
  EXPECT_EQ(file.size(), 256u);
  const std::string all = one + std::string(128, '\0') + two;
  EXPECT_EQ(file.Check(0, one, true, file.Now(), 0), "");
  EXPECT_EQ(file.Check(0, one + std::string(64, '\0'), true, file.Now(), 0), "");
  EXPECT_EQ(file.Check(0, all, true, file.Now(), 0), "");
  file.SyncDone(0, file.last_write());
  EXPECT_EQ(file.Check(0, all, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, one, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, one + one + std::string(64, '\0') + two, true, file.Now(), 0), "");
}

TEST(FileModel, ReadsDoNotGoBackUntilMemoryIsLost) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 128, 3);
  file.SyncDone(0, file.last_write());
  const std::string two = file.BeginWrite(64, 64, 3);
  const std::string mixed = one.substr(0, 64) + two;
  const uint64_t before = file.Now();
  EXPECT_EQ(file.Check(0, mixed, true, before, 3), "");
  file.Saw(0, mixed, 3);
  EXPECT_EQ(file.Check(0, one, true, before, 3), "") << "a read that began before";
  EXPECT_NE(file.Check(0, one, true, file.Now(), 3), "");
  EXPECT_EQ(file.Check(0, mixed, true, file.Now(), 3), "");
  EXPECT_EQ(file.Check(0, one, true, file.Now(), 4), "") << "a datanode lost its memory";
  const std::string three = file.BeginWrite(0, 64, 3);
  file.Saw(0, three, 4);
  EXPECT_EQ(file.Check(0, mixed, true, file.Now(), 4), "") << "lost before it was seen";
}

TEST(FileModel, ASyncCoversOnlyWhatCameBefore) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 64);
  const uint64_t covered = file.last_write();
  const std::string two = file.BeginWrite(0, 64);
  file.SyncDone(0, covered);
  EXPECT_EQ(file.Check(0, one, true, file.Now(), 0), "");
  EXPECT_EQ(file.Check(0, two, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, std::string(64, '\0'), true, file.Now(), 0), "");
}

TEST(FileModel, AHandleVouchesOnlyForWhatItWrote) {
  FileModel file(1);
  const std::string one = file.BeginWrite(0, 192);
  file.SyncDone(0, file.last_write());
  const std::string two = file.BeginWrite(0, 256);  // its handle dies
  const uint64_t after = file.last_write();
  EXPECT_EQ(file.OpenedAt(192, 0), "");
  EXPECT_EQ(file.size(), 192u);
  const std::string three = file.BeginWrite(192, 64);
  file.SyncDone(after, file.last_write());
  EXPECT_EQ(file.Check(0, one + three, true, file.Now(), 0), "");
  EXPECT_EQ(file.Check(0, two.substr(0, 192) + three, true, file.Now(), 0), "");
  EXPECT_NE(file.Check(0, two, true, file.Now(), 0), "") << "what was cut does not come back";
  EXPECT_NE(file.OpenedAt(192, 0), "");
  EXPECT_NE(file.OpenedAt(320, 0), "");
}

TEST(FileModel, WhatATruncationCutOffNeverComesBack) {
  FileModel model(1);
  const std::string first = model.BeginWrite(0, 256);
  model.SyncDone(0, model.last_write());
  const uint32_t cut = model.BeginTruncate(128);
  // Under way: either.
  EXPECT_EQ(model.Check(0, first, true, model.Now(), 0), "");
  EXPECT_EQ(model.Check(0, first.substr(0, 128), true, model.Now(), 0), "");
  const uint64_t before = model.Now();
  model.TruncateDone(cut);
  EXPECT_EQ(model.Check(0, first, true, before, 0), "") << "a read that began before";
  EXPECT_EQ(model.Check(0, first.substr(0, 128), true, model.Now(), 0), "");
  EXPECT_NE(model.Check(0, first, true, model.Now(), 0), "");
  EXPECT_NE(model.Check(0, first.substr(0, 64), true, model.Now(), 0), "");
  // The file grows again over the cut: zeros or the new bytes, never the old ones.
  const std::string more = model.BeginWrite(128, 64);
  model.SyncDone(0, model.last_write());
  EXPECT_EQ(model.Check(0, first.substr(0, 128) + more, true, model.Now(), 0), "");
  EXPECT_NE(model.Check(0, first.substr(0, 192), true, model.Now(), 0), "");
  EXPECT_EQ(model.Check(128, more + std::string(64, '\0'), true, model.Now(), 0), "");
}

TEST(FileModel, AnEndAmongBytesNeverSyncedIsNotPromised) {
  FileModel model(1);
  const std::string first = model.BeginWrite(0, 64);
  model.BeginWrite(640, 64);
  model.SyncDone(0, model.last_write());
  model.BeginWrite(128, 128);
  model.TruncateDone(model.BeginTruncate(192));
  EXPECT_EQ(model.Check(0, first, true, model.Now(), 1), "") << "all memory was lost";
  EXPECT_NE(model.Check(0, "", true, model.Now(), 1), "") << "what was synced stays";
}

TEST(FileModel, AnEndInAHoleIsPromised) {
  FileModel model(1);
  const std::string first = model.BeginWrite(0, 64);
  model.BeginWrite(640, 64);
  model.SyncDone(0, model.last_write());
  model.TruncateDone(model.BeginTruncate(192));
  EXPECT_NE(model.Check(0, first, true, model.Now(), 1), "");
  EXPECT_EQ(model.Check(0, first + std::string(128, '\0'), true, model.Now(), 1), "");
}

TEST(FileModel, ATruncationThatGrowsAddsZeros) {
  FileModel model(1);
  const std::string first = model.BeginWrite(0, 64);
  model.SyncDone(0, model.last_write());
  model.TruncateDone(model.BeginTruncate(192));
  EXPECT_EQ(model.size(), 192u);
  EXPECT_EQ(model.Check(0, first + std::string(128, '\0'), true, model.Now(), 0), "");
  EXPECT_NE(model.Check(64, first, true, model.Now(), 0), "");
  model.FlushDone(0, model.last_write(), 0);
  EXPECT_EQ(model.Check(0, first, true, model.Now(), 0), "");
  // Written and synced there: no reader that begins later sees the zeros.
  const std::string more = model.BeginWrite(128, 64);
  const std::string grown = first + std::string(64, '\0');
  EXPECT_EQ(model.Check(0, grown + std::string(64, '\0'), true, model.Now(), 0), "");
  model.SyncDone(0, model.last_write());
  EXPECT_EQ(model.Check(0, grown + more, true, model.Now(), 0), "");
  EXPECT_NE(model.Check(0, grown + std::string(64, '\0'), true, model.Now(), 0), "");
}

}  // namespace
}  // namespace dfs::sim
