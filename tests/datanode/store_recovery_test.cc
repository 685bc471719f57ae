// The block store: what is cut, fenced and made equal when a block is opened anew or recovered.
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "tests/datanode/store_testing.h"

namespace dfs::dn {
namespace {

TEST_F(StoreTest, GarbageOfATruncationIsCutBeforeTheNewStamp) {
  OpenStore();
  const std::string data = MakeFinalized(5, 10, 50'000);
  OpenForWriteRequest request;
  request.old_stamp = Stamp(10);
  request.stamp = Stamp(12);
  request.acked_length = 20'001;
  request.cut_stamp = Stamp(10);
  request.cut_length = 20'001;
  auto open = store_->OpenForWrite(BlockId(5), request);
  ASSERT_TRUE(open.ok());
  EXPECT_EQ(open->replica->info().length, 20'001u);
  ASSERT_TRUE(WriteBytes(*open, 30'000, "x").ok());
  std::string expected = data.substr(0, 20'001) + std::string(9'999, '\0') + "x";
  EXPECT_EQ(*ReadAll(open->replica), expected);
  ASSERT_TRUE(open->replica->Sync(open->ticket).ok());
  Restart(true);
  auto replica = store_->Find(BlockId(5));
  EXPECT_EQ((*replica)->info().length, expected.size());
  EXPECT_EQ(*ReadAll(*replica), expected);
}

// ---- Recovery -----------------------------------------------------------------------------------

// A packet that was passed on before the fence is stored before it.
TEST_F(StoreTest, AFenceWaitsForWhatWasAdmitted) {
  OpenStore();
  for (uint64_t block = 1; block <= 50; block++) {
    auto open = New(block, 10);
    ASSERT_TRUE(WriteBytes(open, 0, "before").ok());
    std::atomic<bool> began{false};
    Result<Replica::RecoveryView> view = Status(Code::kInternal, "not asked");
    std::thread recovery;
    {
      auto admission = Replica::Admit(open.replica, open.ticket);
      ASSERT_TRUE(admission.ok());
      recovery = std::thread([&] {
        began = true;
        view = open.replica->InitRecovery(Stamp(20));
      });
      while (!began) std::this_thread::yield();
      for (int i = 0; i < 100; i++) std::this_thread::yield();
      EXPECT_TRUE(WriteBytes(open, 6, " and after").ok());
    }
    recovery.join();
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(view->length, 16u);
    EXPECT_TRUE(Replica::Admit(open.replica, open.ticket).status().Is(Code::kStaleStamp));
  }
}

TEST_F(StoreTest, RecoveryFencesTheWriterAndRepeats) {
  OpenStore();
  auto open = New(5, 10);
  const std::string data = RandomBytes(random_, 10'000);
  ASSERT_TRUE(WriteBytes(open, 0, data).ok());
  ASSERT_TRUE(open.replica->Sync(open.ticket).ok());
  ASSERT_TRUE(WriteBytes(open, 10'000, "more").ok());
  for (int i = 0; i < 2; i++) {
    auto view = open.replica->InitRecovery(Stamp(20));
    ASSERT_TRUE(view.ok());
    EXPECT_EQ(view->stamp, Stamp(10));
    EXPECT_EQ(view->length, 10'004u);
    EXPECT_EQ(view->synced_length, 10'000u);
    EXPECT_EQ(view->state_before, ReplicaState::kRbw);
  }
  EXPECT_TRUE(WriteBytes(open, 10'004, "late").Is(Code::kStaleStamp));
  EXPECT_TRUE(OpenWrite(*store_, 5, 10, 15, 0).error().Is(Code::kStaleStamp));
  EXPECT_TRUE(open.replica->InitRecovery(Stamp(19)).error().Is(Code::kStaleStamp));
  EXPECT_TRUE(open.replica->RecoveryTicket(Stamp(19)).error().Is(Code::kStaleStamp));
  auto ticket = open.replica->RecoveryTicket(Stamp(20));
  ASSERT_TRUE(ticket.ok());
  ASSERT_TRUE(open.replica->ResumTornChunks(*ticket).ok());
  ASSERT_TRUE(open.replica->Truncate(*ticket, 9'001).ok());
  ASSERT_TRUE(open.replica->FinishRecovery(*ticket).ok());
  EXPECT_TRUE(open.replica->RecoveryTicket(Stamp(20)).error().Is(Code::kAlreadyExists));
  EXPECT_EQ(open.replica->InitRecovery(Stamp(20))->state_before, ReplicaState::kFinalized);
  EXPECT_EQ(*ReadAll(open.replica), data.substr(0, 9'001));
  Restart(true);
  auto replica = store_->Find(BlockId(5));
  EXPECT_EQ((*replica)->info().stamp, Stamp(20));
  EXPECT_EQ((*replica)->info().state, ReplicaState::kFinalized);
  EXPECT_EQ(*ReadAll(*replica), data.substr(0, 9'001));
}

TEST_F(StoreTest, TheFenceSurvivesARestart) {
  OpenStore();
  MakeFinalized(5, 10, 100);
  ASSERT_TRUE((*store_->Find(BlockId(5)))->InitRecovery(Stamp(20)).ok());
  Restart(true);
  EXPECT_EQ((*store_->Find(BlockId(5)))->info().state, ReplicaState::kRwr);
  EXPECT_FALSE(OpenWrite(*store_, 5, 10, 15, 0).ok());
  EXPECT_TRUE((*store_->Find(BlockId(5)))->InitRecovery(Stamp(19)).error().Is(Code::kStaleStamp));
  EXPECT_TRUE((*store_->Find(BlockId(5)))->InitRecovery(Stamp(21)).ok());
}

TEST_F(StoreTest, DivergedReplicaIsMadeEqual) {
  OpenStore();
  auto open = New(5, 10);
  std::string data = RandomBytes(random_, 40'000);
  ASSERT_TRUE(WriteBytes(open, 0, data).ok());
  ASSERT_TRUE(open.replica->InitRecovery(Stamp(20)).ok());
  auto ticket = open.replica->RecoveryTicket(Stamp(20));
  const std::string chunk = RandomBytes(random_, 2 * kChunkSize);
  const auto sums = ChunkSums(chunk);
  ASSERT_TRUE(open.replica->ReplaceChunks(*ticket, kChunkSize, chunk, sums.data(), 2).ok());
  ASSERT_TRUE(open.replica->FinishRecovery(*ticket).ok());
  data.replace(kChunkSize, chunk.size(), chunk);
  EXPECT_EQ(*ReadAll(open.replica), data);
}

}  // namespace
}  // namespace dfs::dn
