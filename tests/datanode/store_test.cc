// The block store: writing, finalizing, restarts, copies, deletion, disks that fail.
#include <gtest/gtest.h>

#include "tests/datanode/store_testing.h"

namespace dfs::dn {
namespace {

TEST_F(StoreTest, WriteReadFinalizeRestart) {
  OpenStore();
  const std::string data = MakeFinalized(5, 10, 3'000'000);
  auto replica = store_->Find(BlockId(5));
  ASSERT_TRUE(replica.ok());
  EXPECT_EQ(*ReadAll(*replica), data);
  EXPECT_TRUE((*replica)->info().on_disk);
  Restart(true);
  replica = store_->Find(BlockId(5));
  ASSERT_TRUE(replica.ok());
  EXPECT_EQ((*replica)->info().state, ReplicaState::kFinalized);
  EXPECT_EQ((*replica)->info().stamp, Stamp(10));
  EXPECT_EQ(*ReadAll(*replica), data);
  EXPECT_TRUE(corrupt_.empty());
}

TEST_F(StoreTest, PartialChunksMerge) {
  OpenStore();
  auto open = New();
  std::string model;
  for (int i = 0; i < 300; i++) {
    const size_t offset = random_.Uniform(model.size() + 1);
    const std::string piece = RandomBytes(random_, 1 + random_.Uniform(9000));
    ASSERT_TRUE(WriteBytes(open, offset, piece).ok());
    if (model.size() < offset + piece.size()) model.resize(offset + piece.size());
    model.replace(offset, piece.size(), piece);
    ASSERT_EQ(open.replica->info().length, model.size());
  }
  EXPECT_EQ(*ReadAll(open.replica), model);
}

TEST_F(StoreTest, GapBecomesZeros) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "head").ok());
  ASSERT_TRUE(WriteBytes(open, 1'000'001, "tail").ok());
  std::string expected = "head" + std::string(1'000'001 - 4, '\0') + "tail";
  EXPECT_EQ(*ReadAll(open.replica), expected);
  ASSERT_TRUE(WriteBytes(open, expected.size() + 10, "x").ok());
  expected += std::string(10, '\0') + "x";
  EXPECT_EQ(*ReadAll(open.replica), expected);
}

TEST_F(StoreTest, SentSumsAreVerified) {
  OpenStore();
  auto open = New();
  const std::string data(5000, 'a');
  auto sums = wire::RangeSums(0, data);
  sums[1] ^= 1;
  EXPECT_TRUE(
      open.replica->Write(open.ticket, 0, data, sums.data(), sums.size()).Is(Code::kProtocol));
  EXPECT_EQ(open.replica->info().length, 0u);
}

TEST_F(StoreTest, RotUnderAPartialOverwriteIsFound) {
  OpenStore();
  MakeFinalized(5, 10, 10'000);
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/05/blk_5", 5000, 3).ok());
  auto open = OpenWrite(*store_, 5, 10, 11, 10'000);
  ASSERT_TRUE(open.ok());
  EXPECT_TRUE(WriteBytes(*open, 4100, "xyz").Is(Code::kCorrupt)) << "the old chunk is summed over";
  EXPECT_TRUE(WriteBytes(*open, 100, "xyz").ok());
}

TEST_F(StoreTest, ANewerTicketKillsTheOlder) {
  OpenStore();
  auto first = New(5, 10);
  ASSERT_TRUE(WriteBytes(first, 0, "one").ok());
  auto second = OpenWrite(*store_, 5, 10, 11, 3);
  ASSERT_TRUE(second.ok());
  EXPECT_TRUE(WriteBytes(first, 3, "two").Is(Code::kStaleStamp));
  EXPECT_TRUE(first.replica->Sync(first.ticket).Is(Code::kStaleStamp));
  EXPECT_TRUE(store_->Finalize(first.replica, first.ticket, true).Is(Code::kStaleStamp));
  EXPECT_TRUE(WriteBytes(*second, 3, "two").ok());
  auto same = OpenWrite(*store_, 5, 10, 11, 3);
  ASSERT_TRUE(same.ok()) << "the writer may connect again under its stamp";
  EXPECT_TRUE(WriteBytes(*second, 6, "old").Is(Code::kStaleStamp));
  EXPECT_TRUE(OpenWrite(*store_, 5, 9, 10, 3).error().Is(Code::kStaleStamp));
}

TEST_F(StoreTest, OpeningRefusesWhatCannotBeAMember) {
  OpenStore();
  MakeFinalized(5, 10, 100);
  EXPECT_TRUE(OpenWrite(*store_, 5, 11, 12, 100).error().Is(Code::kStaleStamp))
      << "a replica older than the block's last stamp";
  EXPECT_TRUE(OpenWrite(*store_, 5, 10, 12, 101).error().Is(Code::kConflict))
      << "a replica with fewer bytes than were acknowledged";
  EXPECT_TRUE(OpenWrite(*store_, 6, 10, 12, 1).error().Is(Code::kNotFound))
      << "made anew it would have a hole";
  EXPECT_TRUE(OpenWrite(*store_, 6, 10, 12, 0).ok());
  auto open = OpenWrite(*store_, 5, 10, 12, 100);
  ASSERT_TRUE(open.ok());
  Restart(false);
  EXPECT_EQ((*store_->Find(BlockId(5)))->info().state, ReplicaState::kFinalized)
      << "nothing had changed yet";
}

TEST_F(StoreTest, RestartedWriterReplicaWaitsForRecovery) {
  OpenStore();
  auto open = New();
  const std::string data = RandomBytes(random_, 700'000);
  ASSERT_TRUE(WriteBytes(open, 0, data).ok());
  Restart(false);
  auto replica = store_->Find(BlockId(5));
  ASSERT_TRUE(replica.ok());
  EXPECT_EQ((*replica)->info().state, ReplicaState::kRwr);
  EXPECT_EQ((*replica)->info().length, data.size()) << "the machine stayed up";
  EXPECT_TRUE(OpenWrite(*store_, 5, 10, 11, 0).error().Is(Code::kConflict));
}

TEST_F(StoreTest, UnsyncedNewBlockIsGoneAfterAPowerCut) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "bytes").ok());
  Restart(true);
  EXPECT_TRUE(store_->Find(BlockId(5)).error().Is(Code::kNotFound));
  EXPECT_TRUE(corrupt_.empty());
}

TEST_F(StoreTest, FsyncsOfASmallBlock) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, RandomBytes(random_, 65536)).ok());
  const auto before = env_.counters();
  EXPECT_EQ(before.syncs, env_.counters().syncs) << "no fsync before the first sync";
  ASSERT_TRUE(store_->Finalize(open.replica, open.ticket, true).ok());
  const auto after = env_.counters();
  EXPECT_EQ(after.syncs - before.syncs, 2u) << "data, then sums and header";
  EXPECT_EQ(after.dir_syncs - before.dir_syncs, 1u);
  EXPECT_EQ(store_->FinalizePending(0), 0);
  EXPECT_EQ(env_.counters().syncs, after.syncs) << "nothing is left for the background";
}

TEST_F(StoreTest, RepeatedSyncsOfAnAppendCostTwo) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "a").ok());
  ASSERT_TRUE(open.replica->Sync(open.ticket).ok());
  const auto before = env_.counters();
  ASSERT_TRUE(WriteBytes(open, 1, "b").ok());
  ASSERT_TRUE(open.replica->Sync(open.ticket).ok());
  EXPECT_EQ(env_.counters().syncs - before.syncs, 2u);
  EXPECT_EQ(env_.counters().dir_syncs, before.dir_syncs);
  ASSERT_TRUE(open.replica->Sync(open.ticket).ok());
  EXPECT_EQ(env_.counters().syncs - before.syncs, 2u) << "nothing to sync, nothing done";
}

TEST_F(StoreTest, FinalizedInTheBackground) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "bytes").ok());
  ASSERT_TRUE(store_->Finalize(open.replica, open.ticket, false).ok());
  EXPECT_EQ(open.replica->info().state, ReplicaState::kFinalized);
  EXPECT_FALSE(open.replica->info().on_disk);
  EXPECT_GT(store_->FinalizePending(2 * kSecond), 0);
  EXPECT_FALSE(open.replica->info().on_disk) << "not due yet";
  clock_.Advance(2 * kSecond);
  EXPECT_EQ(store_->FinalizePending(2 * kSecond), 0);
  EXPECT_TRUE(open.replica->info().on_disk);
  Restart(true);
  EXPECT_EQ((*store_->Find(BlockId(5)))->info().state, ReplicaState::kFinalized);
}

TEST_F(StoreTest, FinalizedInMemoryComesBackAsRwr) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "bytes").ok());
  ASSERT_TRUE(open.replica->Sync(open.ticket).ok());
  ASSERT_TRUE(store_->Finalize(open.replica, open.ticket, false).ok());
  Restart(true);
  auto info = (*store_->Find(BlockId(5)))->info();
  EXPECT_EQ(info.state, ReplicaState::kRwr);
  EXPECT_EQ(info.length, 5u);
}

TEST_F(StoreTest, ReopenedAndClosedWithoutAByteHasTheNewStamp) {
  OpenStore();
  MakeFinalized(5, 10, 100);
  auto open = OpenWrite(*store_, 5, 10, 11, 100);
  ASSERT_TRUE(open.ok());
  ASSERT_TRUE(store_->Finalize(open->replica, open->ticket, false).ok());
  Restart(true);
  EXPECT_EQ((*store_->Find(BlockId(5)))->info().stamp, Stamp(11));
}

TEST_F(StoreTest, BitFlipsAreFound) {
  OpenStore();
  const std::string data = MakeFinalized(5, 10, 50'000);
  for (const uint64_t at : {uint64_t{0}, uint64_t{4095}, uint64_t{30'000}, uint64_t{49'999}}) {
    ASSERT_TRUE(env_.FlipBit("/v1/blocks/05/blk_5", at, 2).ok());
    EXPECT_TRUE(ReadAll(*store_->Find(BlockId(5))).error().Is(Code::kCorrupt)) << at;
    ASSERT_TRUE(env_.FlipBit("/v1/blocks/05/blk_5", at, 2).ok());
  }
  EXPECT_EQ(*ReadAll(*store_->Find(BlockId(5))), data);
  ASSERT_TRUE(env_.FlipBit("/v1/blocks/05/blk_5.meta", kSumsOffset + 3, 2).ok());
  EXPECT_TRUE(ReadAll(*store_->Find(BlockId(5))).error().Is(Code::kCorrupt));
}

TEST_F(StoreTest, TruncatedFileIsReportedAtStart) {
  OpenStore();
  MakeFinalized(5, 10, 50'000);
  store_.reset();
  {
    auto file = env_.Open("/v1/blocks/05/blk_5", Env::OpenMode::kReadWrite);
    ASSERT_TRUE(file.ok());
    ASSERT_TRUE((*file)->Truncate(40'000).ok());
  }
  env_.KillProcess();
  OpenStore();
  ASSERT_EQ(corrupt_.size(), 1u);
  EXPECT_EQ(corrupt_[0].block, BlockId(5));
}

TEST_F(StoreTest, APowerCutWhileAReplicaIsCutLeavesWhatWasKept) {
  for (uint64_t n = 1; n <= 8; n++) {
    for (int round = 0; round < 20; round++) {
      const auto mode =
          round == 0 ? FaultEnv::CrashMode::kDropUnsynced : FaultEnv::CrashMode::kKeepRandom;
      OpenStore();
      const uint64_t block = 100 * n + static_cast<uint64_t>(round);
      const std::string data = MakeFinalized(block, 10, 30'000);
      uint64_t left = n;
      env_.SetSyncHook([&](const std::string&) {
        if (--left == 0) env_.Crash(random_, mode);
      });
      OpenForWriteRequest request;
      request.old_stamp = request.cut_stamp = Stamp(10);
      request.stamp = Stamp(12);
      request.acked_length = request.cut_length = 17'000;
      const bool opened = store_->OpenForWrite(BlockId(block), request).ok();
      env_.SetSyncHook(nullptr);
      store_.reset();
      if (opened) env_.Crash(random_, mode);
      OpenStore();
      auto replica = store_->Find(BlockId(block));
      ASSERT_TRUE(replica.ok());
      auto all = ReadAll(*replica);
      ASSERT_TRUE(all.ok()) << n << ": " << all.error().ToString();
      ASSERT_GE(all->size(), 17'000u);
      EXPECT_EQ(all->substr(0, 17'000), data.substr(0, 17'000));
      EXPECT_TRUE(corrupt_.empty());
      store_.reset();
      env_.KillProcess();
    }
  }
}

TEST_F(StoreTest, CopyReplacesTheStaleReplica) {
  OpenStore();
  MakeFinalized(5, 10, 50'000);
  EXPECT_TRUE(store_->CreateCopy(BlockId(5), Stamp(10)).error().Is(Code::kAlreadyExists));
  auto copy = store_->CreateCopy(BlockId(5), Stamp(12));
  ASSERT_TRUE(copy.ok());
  const std::string data = RandomBytes(random_, 60'000);
  ASSERT_TRUE(WriteBytes(*copy, 0, data).ok());
  EXPECT_EQ((*store_->Find(BlockId(5)))->info().stamp, Stamp(10)) << "until the copy is complete";
  ASSERT_TRUE(store_->Finalize(copy->replica, copy->ticket, false).ok());
  EXPECT_EQ(finalized_.back().stamp, Stamp(12));
  EXPECT_TRUE(finalized_.back().on_disk) << "a copy is synced before it is reported";
  Restart(true);
  auto replica = store_->Find(BlockId(5));
  EXPECT_EQ((*replica)->info().stamp, Stamp(12));
  EXPECT_EQ(*ReadAll(*replica), data);
}

TEST_F(StoreTest, CopyReplacesWhatIsCorruptOrWaitsForRecovery) {
  OpenStore();
  MakeFinalized(5, 10, 1000);
  auto open = New(6, 10);
  ASSERT_TRUE(WriteBytes(open, 0, "abc").ok());
  Restart(false);
  ASSERT_EQ((*store_->Find(BlockId(6)))->info().state, ReplicaState::kRwr);
  EXPECT_FALSE(store_->CreateCopy(BlockId(5), Stamp(10)).ok());
  store_->ReportCorrupt(*store_->Find(BlockId(5)), Status(Code::kCorrupt, "test"));
  for (const uint64_t block : {5, 6}) {
    auto copy = store_->CreateCopy(BlockId(block), Stamp(10));
    ASSERT_TRUE(copy.ok()) << copy.error().ToString();
    ASSERT_TRUE(WriteBytes(*copy, 0, "good").ok());
    ASSERT_TRUE(store_->Finalize(copy->replica, copy->ticket, true).ok());
    auto replica = store_->Find(BlockId(block));
    EXPECT_EQ(*ReadAll(*replica), "good");
    EXPECT_EQ((*replica)->info().state, ReplicaState::kFinalized);
    EXPECT_FALSE((*replica)->info().corrupt);
  }
}

TEST_F(StoreTest, CopyReplacesWhatAnEarlierChainLeftOpen) {
  OpenStore();
  auto excluded = New(5, 10);
  ASSERT_TRUE(WriteBytes(excluded, 0, "old").ok());
  // The block went on without this member and was closed at 12; it has not restarted, so this is still rbw.
  auto copy = store_->CreateCopy(BlockId(5), Stamp(12));
  ASSERT_TRUE(copy.ok()) << copy.error().ToString();
  ASSERT_TRUE(WriteBytes(*copy, 0, "good").ok());
  ASSERT_TRUE(WriteBytes(excluded, 3, "more").ok()) << "until the copy is complete";
  ASSERT_TRUE(store_->Finalize(copy->replica, copy->ticket, true).ok());
  EXPECT_TRUE(WriteBytes(excluded, 3, "late").Is(Code::kStaleStamp));
  EXPECT_EQ(*ReadAll(*store_->Find(BlockId(5))), "good");
  Restart(true);
  EXPECT_EQ(*ReadAll(*store_->Find(BlockId(5))), "good");
}

TEST_F(StoreTest, OnlyAGoodReplicaOfThatStampExistsAlready) {
  OpenStore();
  MakeFinalized(5, 10, 1000);
  EXPECT_TRUE(store_->CreateCopy(BlockId(5), Stamp(10)).error().Is(Code::kAlreadyExists));
  EXPECT_TRUE(store_->CreateCopy(BlockId(5), Stamp(9)).error().Is(Code::kStaleStamp));
  // Fenced by a recovery that is newer than the copy: a member of an open block.
  ASSERT_TRUE((*store_->Find(BlockId(5)))->InitRecovery(Stamp(14)).ok());
  EXPECT_TRUE(store_->CreateCopy(BlockId(5), Stamp(12)).error().Is(Code::kStaleStamp));
  // One that recovery 14 left out, when the block was closed without it.
  EXPECT_TRUE(store_->CreateCopy(BlockId(5), Stamp(14)).ok());
}

TEST_F(StoreTest, CopyIsGivenUpWhenItsPlaceIsFencedMeanwhile) {
  OpenStore();
  MakeFinalized(5, 10, 1000);
  auto copy = store_->CreateCopy(BlockId(5), Stamp(12));
  ASSERT_TRUE(WriteBytes(*copy, 0, "copy").ok());
  ASSERT_TRUE((*store_->Find(BlockId(5)))->InitRecovery(Stamp(14)).ok());
  EXPECT_TRUE(store_->Finalize(copy->replica, copy->ticket, true).Is(Code::kStaleStamp));
  EXPECT_EQ((*store_->Find(BlockId(5)))->info().state, ReplicaState::kRur);
  EXPECT_TRUE(env_.List("/v1/tmp")->empty());
}

TEST_F(StoreTest, UnfinishedCopyIsGoneAfterARestart) {
  OpenStore();
  auto copy = store_->CreateCopy(BlockId(5), Stamp(12));
  ASSERT_TRUE(WriteBytes(*copy, 0, "abc").ok());
  auto again = store_->CreateCopy(BlockId(5), Stamp(12));
  ASSERT_TRUE(again.ok()) << "a second attempt replaces the first";
  EXPECT_TRUE(WriteBytes(*copy, 3, "def").Is(Code::kStaleStamp));
  Restart(false);
  EXPECT_TRUE(store_->Find(BlockId(5)).error().Is(Code::kNotFound));
  EXPECT_TRUE(env_.List("/v1/tmp")->empty());
}

TEST_F(StoreTest, DeleteObeysTheStamp) {
  OpenStore();
  MakeFinalized(5, 10, 100);
  EXPECT_TRUE(store_->Delete(BlockId(5), Stamp(9)).Is(Code::kStaleStamp));
  EXPECT_TRUE(store_->Delete(BlockId(5), Stamp(10)).ok());
  EXPECT_TRUE(store_->Delete(BlockId(5), Stamp(10)).Is(Code::kNotFound));
  EXPECT_TRUE(env_.List("/v1/blocks/05")->empty());
}

TEST_F(StoreTest, NoSpaceLeavesTheReplicaAsItWas) {
  OpenStore();
  auto open = New();
  const std::string data = RandomBytes(random_, 100'000);
  ASSERT_TRUE(WriteBytes(open, 0, data).ok());
  FaultEnv::Fault full{.op = FaultEnv::Op::kWrite, .error = Code::kNoSpace};
  full.matches = [](const std::string& path) { return !path.ends_with(".meta"); };
  env_.AddFault(full);
  EXPECT_TRUE(WriteBytes(open, 100'000, data).Is(Code::kNoSpace));
  EXPECT_EQ(open.replica->info().length, 100'000u);
  EXPECT_EQ(open.replica->info().state, ReplicaState::kRbw);
  EXPECT_EQ(*ReadAll(open.replica), data);
  EXPECT_TRUE(WriteBytes(open, 100'000, data).ok()) << "space came back";
  EXPECT_EQ(*ReadAll(open.replica), data + data);
}

TEST_F(StoreTest, ADiskThatIsFullAtTheSyncLeavesNothingFinalized) {
  OpenStore();
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "bytes").ok());
  env_.AddFault({.op = FaultEnv::Op::kSync, .error = Code::kNoSpace});
  EXPECT_TRUE(store_->Finalize(open.replica, open.ticket, true).Is(Code::kNoSpace));
  EXPECT_EQ(open.replica->info().state, ReplicaState::kRwr);
  EXPECT_TRUE(finalized_.empty());
  EXPECT_TRUE(store_->Find(BlockId(5)).ok()) << "the volume goes on";
}

TEST_F(StoreTest, ReserveIsKept) {
  StoreOptions options = TestOptions({"/v1"});
  options.reserve_bytes = uint64_t{1} << 41;  // more than the disk has
  auto store = BlockStore::Open(options, env_, clock_, 3);
  ASSERT_TRUE(store.ok());
  auto open = OpenWrite(**store, 5, 0, 10, 0);
  EXPECT_TRUE(open.error().Is(Code::kNoSpace)) << open.error().ToString();
}

TEST_F(StoreTest, AFailedFsyncTakesTheVolumeOut) {
  ASSERT_TRUE(env_.CreateDirs("/v2").ok());
  OpenStore({"/v1", "/v2"});
  auto open = New();
  ASSERT_TRUE(WriteBytes(open, 0, "bytes").ok());
  env_.AddFault({.op = FaultEnv::Op::kSync});
  EXPECT_TRUE(open.replica->Sync(open.ticket).Is(Code::kIoError));
  EXPECT_TRUE(store_->Find(BlockId(5)).error().Is(Code::kIoError));
  EXPECT_FALSE(open.replica->Sync(open.ticket).ok()) << "never tried again";
  EXPECT_TRUE(store_->List().empty());
  int failed = 0;
  for (const auto& volume : store_->Volumes()) failed += volume.failed;
  EXPECT_EQ(failed, 1);
  EXPECT_FALSE(store_->AllVolumesFailed());
  auto other = OpenWrite(*store_, 6, 0, 11, 0);
  ASSERT_TRUE(other.ok()) << "the other volume goes on";
  EXPECT_TRUE(WriteBytes(*other, 0, "bytes").ok());
}

TEST_F(StoreTest, RefusesForeignAndBusyDirectories) {
  OpenStore();
  auto second = BlockStore::Open(TestOptions({"/v1"}), env_, clock_, 3);
  EXPECT_TRUE(second.error().Is(Code::kBusy)) << second.error().ToString();
  store_.reset();
  StoreOptions other = TestOptions({"/v1"});
  other.cluster_id = "99999999-2222-3333-4444-555555555555";
  EXPECT_TRUE(BlockStore::Open(other, env_, clock_, 3).error().Is(Code::kWrongCluster));
  EXPECT_TRUE(
      BlockStore::Open(TestOptions({"/none/x"}), env_, clock_, 3).error().Is(Code::kNotFound));
  ASSERT_TRUE(env_.CreateDirs("/home/user").ok());
  EXPECT_TRUE(BlockStore::Open(TestOptions({"/home"}), env_, clock_, 3).error().Is(Code::kNotEmpty))
      << "never formats somebody's files";
}

TEST_F(StoreTest, AMissingDirectoryIsMadeAtTheFirstStartOnly) {
  OpenStore({"/new"});
  EXPECT_TRUE(env_.Exists("/new/VERSION"));
  store_.reset();
  auto store = BlockStore::Open(TestOptions({"/new", "/unmounted"}), env_, clock_, 3);
  ASSERT_TRUE(store.ok());
  EXPECT_FALSE(env_.Exists("/unmounted"));
  EXPECT_TRUE((*store)->Volumes()[1].failed);
}

TEST_F(StoreTest, TermIsRemembered) {
  OpenStore();
  EXPECT_EQ(store_->highest_term(), 0u);
  ASSERT_TRUE(store_->RecordTerm(9).ok());
  ASSERT_TRUE(store_->RecordTerm(7).ok());
  Restart(true);
  EXPECT_EQ(store_->highest_term(), 9u);
}

}  // namespace
}  // namespace dfs::dn
