// The scanner: what it finds, what it must not take for damage, its order, its pace, what it remembers.
#include <gtest/gtest.h>

#include <map>

#include "datanode/store/scan_log.h"
#include "datanode/store/scanner.h"
#include "tests/datanode/store_testing.h"

namespace dfs::dn {
namespace {

constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kPeriod = 21 * 24 * kHour;

class ScannerTest : public StoreTest {
 protected:
  void OpenScanner(uint64_t bytes_per_second = 64u << 20, int64_t period_ns = kPeriod) {
    ScannerOptions options;
    options.bytes_per_second = bytes_per_second;
    options.period_ns = period_ns;
    scanner_ = std::make_unique<Scanner>(*store_, env_, clock_, kTestCluster, options,
                                         [this] { return busy_; });
  }

  void Run(int64_t duration_ns) {
    const int64_t until = clock_.BootNs() + duration_ns;
    while (clock_.BootNs() < until) {
      const int64_t next = std::min(scanner_->Step(), until);
      clock_.Advance(std::max<int64_t>(next - clock_.BootNs(), 1));
    }
  }

  /// Runs until so many replicas were verified since the scanner began; how long that took.
  int64_t RunUntilVerified(uint64_t replicas) {
    const int64_t began = clock_.BootNs();
    for (int i = 0; i < 1'000'000 && scanner_->stats().verified_replicas < replicas; ++i) {
      clock_.Advance(std::max<int64_t>(scanner_->Step() - clock_.BootNs(), 1));
    }
    EXPECT_EQ(scanner_->stats().verified_replicas, replicas);
    return clock_.BootNs() - began;
  }

  std::map<uint64_t, int64_t> Logged(const std::string& directory = "/v1") {
    auto version = Volume::Peek(env_, directory);
    ScanLog log(env_, directory, {kTestCluster, version->datanode, version->storage_id});
    std::map<uint64_t, int64_t> out;
    for (const VerifiedAt& v : log.Load()) out[v.block.value] = v.wall_s;
    return out;
  }

  void Reopen(bool power_cut = true) {
    scanner_ = nullptr;
    Restart(power_cut);
  }

  std::unique_ptr<Scanner> scanner_;
  bool busy_ = false;
};

TEST_F(ScannerTest, FindsWhatRotsAndNothingElse) {
  OpenStore();
  for (uint64_t block = 1; block <= 8; ++block) MakeFinalized(block, 10, 3'000'000 + block);
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/02/blk_2", 2'999'999, 7).ok());  // data
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/04/blk_4.meta", 1024 + 8 * 700, 0).ok());  // a sum
  ASSERT_TRUE(env_.Remove("/v1/blocks/05/blk_5").ok());
  auto cut = env_.Open("/v1/blocks/07/blk_7", Env::OpenMode::kReadWrite);
  ASSERT_TRUE((*cut)->Truncate(2'000'000).ok());
  OpenScanner();
  Run(kHour);
  std::vector<uint64_t> found;
  for (const ReplicaInfo& info : corrupt_) found.push_back(info.block.value);
  EXPECT_EQ(found, (std::vector<uint64_t>{2, 4, 5, 7}));
  EXPECT_EQ(scanner_->stats().corrupt_replicas, 4u);
  EXPECT_EQ(scanner_->stats().verified_replicas, 4u);
  EXPECT_TRUE((*store_->Find(BlockId(2)))->info().corrupt) << "a copy may take its place";
  EXPECT_FALSE((*store_->Find(BlockId(1)))->info().corrupt);
  Run(2 * kPeriod);
  EXPECT_EQ(corrupt_.size(), 4u) << "once is enough";
  EXPECT_EQ(scanner_->stats().verified_replicas, 12u) << "and the others again, every period";
}

TEST_F(ScannerTest, FindsADamagedHeader) {
  OpenStore();
  MakeFinalized(1, 10, 10'000);
  MakeFinalized(2, 10, 10'000);
  // Either slot is flipped, in either replica: only the current one matters.
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/01/blk_1.meta", 20, 1).ok());
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/02/blk_2.meta", 512 + 20, 1).ok());
  OpenScanner();
  Run(kHour);
  ASSERT_EQ(corrupt_.size(), 1u);
  EXPECT_EQ(scanner_->stats().verified_replicas, 1u);
  Reopen();
  const BlockId lost = store_->Find(BlockId(1)).ok() &&
                               (*store_->Find(BlockId(1)))->info().state == ReplicaState::kFinalized
                           ? BlockId(2)
                           : BlockId(1);
  auto found = store_->Find(lost);
  EXPECT_TRUE(!found.ok() || (*found)->info().state != ReplicaState::kFinalized)
      << "at the next start it would have been an unfinished replica";
}

TEST_F(ScannerTest, ABadSectorIsFoundAndAFailedVolumeIsLeftAlone) {
  OpenStore();
  MakeFinalized(1, 10, 3'000'000);
  MakeFinalized(2, 10, 3'000'000);
  FaultEnv::Fault fault;
  fault.op = FaultEnv::Op::kRead;
  fault.matches = [](const std::string& path) { return path == "/v1/blocks/01/blk_1"; };
  fault.count = 1'000'000;
  env_.AddFault(fault);
  OpenScanner();
  Run(kHour);
  ASSERT_EQ(corrupt_.size(), 1u);
  EXPECT_EQ(corrupt_[0].block, BlockId(1));
  env_.ClearFaults();
  (*store_->Find(BlockId(2)))->volume().Fail(Status(Code::kIoError, "test"));
  Run(2 * kPeriod);
  EXPECT_EQ(corrupt_.size(), 1u);
  EXPECT_EQ(scanner_->stats().verified_replicas, 1u);
}

TEST_F(ScannerTest, WhatIsOverwrittenMeanwhileIsNoDamage) {
  OpenStore();
  MakeFinalized(5, 10, 4'000'000);
  OpenScanner(1u << 20);
  scanner_->Step();  // the first piece is verified
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/05/blk_5", 3'000'000, 3).ok());
  // It is opened for writing while the scanner is in the middle of it, and the damage is written over.
  auto open = OpenWrite(*store_, 5, 10, 11, 4'000'000);
  ASSERT_TRUE(open.ok());
  Run(kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 0u);
  const std::string page(8192, 'x');
  const size_t at = 3'000'000 / 4096 * 4096;
  ASSERT_TRUE(WriteBytes(*open, at, page).ok());
  Run(kHour);
  ASSERT_TRUE(store_->Finalize(open->replica, open->ticket, false).ok());
  Run(kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 0u) << "not on the disk yet";
  store_->FinalizePending(0);
  Run(2 * kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 1u);
  EXPECT_TRUE(corrupt_.empty());
}

TEST_F(ScannerTest, WhatIsDeletedOrReplacedMeanwhileIsNoDamage) {
  OpenStore();
  MakeFinalized(5, 10, 4'000'000);
  MakeFinalized(6, 10, 4'000'000);
  OpenScanner(1u << 20);
  scanner_->Step();
  ASSERT_TRUE(store_->Delete(BlockId(5), Stamp(10)).ok());
  auto copy = store_->CreateCopy(BlockId(6), Stamp(11));
  ASSERT_TRUE(copy.ok());
  ASSERT_TRUE(WriteBytes(*copy, 0, "shorter").ok());
  ASSERT_TRUE(store_->Finalize(copy->replica, copy->ticket, true).ok());
  Run(kHour);
  EXPECT_TRUE(corrupt_.empty());
  EXPECT_EQ(scanner_->stats().verified_replicas, 1u) << "the copy";
}

TEST_F(ScannerTest, LooksAtEveryWayToBecomeFinal) {
  OpenStore();
  MakeFinalized(1, 10, 10'000);
  // Reopened and closed without a byte; appended to; recovered at a shorter length; empty.
  auto same = OpenWrite(*store_, 1, 10, 12, 10'000);
  ASSERT_TRUE(store_->Finalize(same->replica, same->ticket, false).ok());
  MakeFinalized(2, 10, 10'000);
  auto more = OpenWrite(*store_, 2, 10, 12, 10'000);
  ASSERT_TRUE(WriteBytes(*more, 10'000, std::string(2'000'000, 'm')).ok());
  ASSERT_TRUE(store_->Finalize(more->replica, more->ticket, false).ok());
  MakeFinalized(3, 10, 10'000);
  auto third = store_->Find(BlockId(3));
  ASSERT_TRUE((*third)->InitRecovery(Stamp(13)).ok());
  auto ticket = (*third)->RecoveryTicket(Stamp(13));
  ASSERT_TRUE((*third)->Truncate(*ticket, 5'000).ok());
  ASSERT_TRUE((*third)->FinishRecovery(*ticket).ok());
  MakeFinalized(4, 10, 0);
  store_->FinalizePending(0);
  OpenScanner();
  Run(kHour);
  EXPECT_TRUE(corrupt_.empty());
  EXPECT_EQ(scanner_->stats().verified_replicas, 4u);
  Reopen();
  OpenScanner(64u << 20, kSecond);
  Run(kHour);
  EXPECT_TRUE(corrupt_.empty());
}

TEST_F(ScannerTest, KeepsItsPace) {
  OpenStore();
  MakeFinalized(1, 10, 64u << 20);
  OpenScanner(8u << 20);
  EXPECT_NEAR(static_cast<double>(RunUntilVerified(1)) / kSecond, 8.0, 0.2);
  // Others use the disk: slower, but never not at all.
  clock_.Advance(kPeriod);
  busy_ = true;
  EXPECT_NEAR(static_cast<double>(RunUntilVerified(2)) / kSecond, 32.0, 0.8);
  // Small ones count for more than their bytes: each costs the disk a few seeks.
  busy_ = false;
  Reopen();
  for (uint64_t block = 100; block < 200; ++block) MakeFinalized(block, 10, 100);
  OpenScanner(1u << 20);
  EXPECT_GE(RunUntilVerified(100), 5 * kSecond);
}

TEST_F(ScannerTest, ZeroIsOff) {
  OpenStore();
  MakeFinalized(1, 10, 1000);
  OpenScanner(0);
  EXPECT_GT(scanner_->Step(), clock_.BootNs() + kPeriod);
  EXPECT_FALSE(scanner_->stats().on);
  EXPECT_FALSE(env_.Exists("/v1/SCANNED"));
}

TEST_F(ScannerTest, TheOldestFirstAlsoAfterARestart) {
  OpenStore();
  MakeFinalized(9, 10, 1000);
  OpenScanner();
  RunUntilVerified(1);
  clock_.Advance(kHour);
  scanner_ = nullptr;
  MakeFinalized(3, 10, 1000);
  OpenScanner();
  RunUntilVerified(1);
  EXPECT_LT(Logged().at(9), Logged().at(3));
  Reopen(false);
  OpenScanner();
  EXPECT_TRUE(scanner_->Step() <= clock_.BootNs() + kSecond);
  EXPECT_EQ(scanner_->stats().never_verified, 0u);
  EXPECT_EQ(scanner_->stats().oldest_verified_wall_s, Logged().at(9));
  Run(kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 0u) << "verified lately: not due";
  const int64_t verified_at = Logged().at(9);
  Run(kPeriod - 3 * kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 0u);
  // Its period is over an hour before that of the other.
  clock_.Advance(verified_at * kSecond + kPeriod + kHour / 2 - clock_.WallNs());
  RunUntilVerified(1);
  EXPECT_GT(Logged().at(9), Logged().at(3));
  Run(2 * kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 2u);
  Reopen(true);
  EXPECT_EQ(Logged().size(), 2u) << "it is synced every hour";
}

TEST_F(ScannerTest, ANewReplicaIsDueADayAfterItCame) {
  OpenStore();
  MakeFinalized(1, 10, 1000);
  OpenScanner();
  RunUntilVerified(1);
  MakeFinalized(2, 10, 1000);
  Run(23 * kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 1u);
  EXPECT_EQ(scanner_->stats().never_verified, 1u);
  Run(3 * kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 2u);
  EXPECT_EQ(Logged().size(), 2u);
}

TEST_F(ScannerTest, EachVolumeHasItsOwnLog) {
  ASSERT_TRUE(env_.CreateDirs("/v2").ok());
  OpenStore({"/v1", "/v2"});
  for (uint64_t block = 1; block <= 30; ++block) MakeFinalized(block, 10, 1000);
  OpenScanner();
  RunUntilVerified(30);
  EXPECT_GT(Logged("/v1").size(), 0u);
  EXPECT_GT(Logged("/v2").size(), 0u);
  EXPECT_EQ(Logged("/v1").size() + Logged("/v2").size(), 30u);
}

TEST_F(ScannerTest, ALogThatGrowsIsMadeAnew) {
  OpenStore();
  MakeFinalized(1, 10, 100);
  OpenScanner(64u << 20, kSecond);
  RunUntilVerified(6000);
  auto size = env_.FileSize("/v1/SCANNED");
  ASSERT_TRUE(size.ok());
  EXPECT_LE(*size, ScanLog::kHeaderSize + 4200 * ScanLog::kRecordSize);
  EXPECT_EQ(Logged().size(), 1u);
}

TEST_F(ScannerTest, DamageToTheLogCostsNothingButTime) {
  OpenStore();
  for (uint64_t block = 1; block <= 5; ++block) MakeFinalized(block, 10, 1000);
  OpenScanner();
  RunUntilVerified(5);
  // A record: that replica is verified anew. Bytes of a record that was torn are written over.
  ASSERT_TRUE(env_.FlipBit("/v1/SCANNED", ScanLog::kHeaderSize + ScanLog::kRecordSize, 0).ok());
  {
    auto file = env_.Open("/v1/SCANNED", Env::OpenMode::kReadWrite);
    ASSERT_TRUE((*file)->WriteAt(ScanLog::kHeaderSize + 5 * ScanLog::kRecordSize, "torn").ok());
    ASSERT_TRUE((*file)->Sync().ok());
  }
  EXPECT_EQ(Logged().size(), 4u);
  scanner_ = nullptr;
  OpenScanner();
  Run(kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 1u);
  EXPECT_EQ(Logged().size(), 5u);
  // The header: all of them.
  scanner_ = nullptr;
  ASSERT_TRUE(env_.FlipBit("/v1/SCANNED", 10, 0).ok());
  OpenScanner();
  Run(kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 5u);
  EXPECT_EQ(Logged().size(), 5u);
  // A disk that refuses the log does not stop the scanner.
  FaultEnv::Fault fault;
  fault.op = FaultEnv::Op::kWrite;
  fault.matches = [](const std::string& path) { return path.find("SCANNED") != path.npos; };
  fault.count = 1'000'000;
  env_.AddFault(fault);
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/04/blk_4", 500, 0).ok());
  Run(kPeriod + kHour);
  EXPECT_EQ(scanner_->stats().verified_replicas, 9u);
  EXPECT_EQ(corrupt_.size(), 1u);
}

}  // namespace
}  // namespace dfs::dn
