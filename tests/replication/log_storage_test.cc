#include "namenode/replication/log_storage.h"

#include <gtest/gtest.h>

#include "common/base/fault_env.h"
#include "namenode/replication/log_format.h"
#include "tests/replication/log_test_util.h"

namespace dfs::nn {
namespace {

class LogStorageTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(env_.CreateDirs("/m"));
    ASSERT_TRUE(LogStorage::Create(env_, "/m/raft", kOwner));
  }
  std::string Segment(int n) {
    char name[64];
    snprintf(name, sizeof(name), "/m/raft/%016x.log", n);
    return name;
  }
  FaultEnv env_{7};
};

TEST_F(LogStorageTest, EmptyLogOpens) {
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->last_index, 0u);
  EXPECT_EQ(log.found->hard_state.term, 0u);
}

TEST_F(LogStorageTest, KeepsEntriesHardStateAndTerms) {
  {
    OpenLog log(env_, "/m/raft");
    raft::PersistRequest r = Entries(1, 3, 5);
    r.hard_state = raft::HardState{3, NodeId(2)};
    ASSERT_TRUE(log.storage.Write(r));
    raft::PersistRequest s = Entries(6, 4, 2);
    s.hard_state = raft::HardState{4, NodeId(1)};
    ASSERT_TRUE(log.storage.Write(s));
  }
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->hard_state, (raft::HardState{4, NodeId(1)}));
  EXPECT_EQ(log.found->prev_index, 0u);
  EXPECT_EQ(log.found->last_index, 7u);
  ASSERT_EQ(log.found->runs.size(), 2u);
  EXPECT_EQ(log.found->runs[1].start, 6u);
  auto all = log.All();
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(all[6].term, 4u);
  EXPECT_EQ(all[2].data.view().substr(0, 4), "3/3/");
}

TEST_F(LogStorageTest, OneSyncForABatchOfRequests) {
  OpenLog log(env_, "/m/raft");
  raft::PersistRequest a = Entries(1, 1, 3);
  a.hard_state = raft::HardState{1, NodeId(1)};
  raft::PersistRequest b = Entries(4, 1, 3);
  ASSERT_TRUE(log.storage.Write(a));
  uint64_t before = log.storage.metrics().syncs;
  raft::PersistRequest c = Entries(7, 1, 3);
  ASSERT_TRUE(log.storage.Write(std::vector<const raft::PersistRequest*>{&b, &c}));
  EXPECT_EQ(log.storage.metrics().syncs, before + 1);
}

TEST_F(LogStorageTest, SuffixTruncationSurvivesARestart) {
  {
    OpenLog log(env_, "/m/raft");
    raft::PersistRequest first = Entries(1, 1, 10);
    first.hard_state = raft::HardState{1, NodeId()};
    ASSERT_TRUE(log.storage.Write(first));
    raft::PersistRequest r = Entries(5, 2, 2);
    r.truncate_from = 5;
    r.truncate_term = 1;
    r.hard_state = raft::HardState{2, NodeId()};
    ASSERT_TRUE(log.storage.Write(r));
    std::vector<raft::Entry> read;
    ASSERT_TRUE(log.storage.Read(4, 6, 1000, &read));
    ASSERT_EQ(read.size(), 3u);
    EXPECT_EQ(read[1].term, 2u);
  }
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->last_index, 6u);
  auto all = log.All();
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[3].term, 1u);
  EXPECT_EQ(all[4].term, 2u);
  EXPECT_EQ(all[4].data.view().substr(0, 4), "5/2/");
}

TEST_F(LogStorageTest, TruncationWithoutNewEntriesSurvives) {
  {
    OpenLog log(env_, "/m/raft");
    raft::PersistRequest first = Entries(1, 1, 10);
    first.hard_state = raft::HardState{1, NodeId()};
    ASSERT_TRUE(log.storage.Write(first));
    raft::PersistRequest r;
    r.truncate_from = 3;
    r.truncate_term = 1;
    ASSERT_TRUE(log.storage.Write(r));
  }
  OpenLog log(env_, "/m/raft");
  EXPECT_EQ(log.found->last_index, 2u);
  EXPECT_EQ(log.All().size(), 2u);
}

TEST_F(LogStorageTest, SegmentsAreRecycledAndOldRecordsNeverBelieved) {
  LogIndex next = 1;
  LogIndex cut = 0;
  {
    OpenLog log(env_, "/m/raft");
    raft::PersistRequest h = HardState(1, 1);
    ASSERT_TRUE(log.storage.Write(h));
    for (int i = 0; i < 120; ++i) {
      ASSERT_TRUE(log.storage.Write(Entries(next, 1, 10, 100)));
      next += 10;
      if (i % 10 == 9) {
        cut = next - 60;
        ASSERT_TRUE(log.storage.TruncatePrefix(cut));
      }
    }
    EXPECT_GT(log.storage.metrics().segments_recycled, 5u);
    EXPECT_LT(log.storage.metrics().segments_made, 20u);
    std::vector<raft::Entry> read;
    ASSERT_TRUE(log.storage.Read(cut + 1, next - 1, 1u << 30, &read));
    EXPECT_EQ(read.size(), next - 1 - cut);
  }
  auto names = env_.List("/m/raft");
  EXPECT_LE(names->size(), 14u);
  OpenLog log(env_, "/m/raft", SmallSegments(), 99);
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->last_index, next - 1);
  EXPECT_LE(log.found->prev_index, cut);
  EXPECT_GT(log.found->prev_index, 0u);
  auto all = log.All();
  ASSERT_EQ(all.size(), log.found->last_index - log.found->prev_index);
}

TEST_F(LogStorageTest, TruncationBelowTheStartOfALaterSegment) {
  LogIndex last = 0;
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(5, 1)));
    while (!env_.Exists(Segment(2))) {
      ASSERT_TRUE(log.storage.Write(Entries(last + 1, 1, 10, 100)));
      last += 10;
    }
    raft::PersistRequest r = Entries(last - 19, 5, 3);
    r.truncate_from = last - 19;
    r.truncate_term = 1;
    ASSERT_TRUE(log.storage.Write(r));
    last -= 17;
    ASSERT_TRUE(log.storage.TruncatePrefix(last));  // keeps segment 1: it has entries behind
    ASSERT_TRUE(log.storage.Write(Entries(last + 1, 5, 40, 100)));
    last += 40;
    ASSERT_TRUE(log.storage.TruncatePrefix(last));
    EXPECT_FALSE(env_.Exists(Segment(1)));
  }
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->last_index, last);
  EXPECT_EQ(log.All().size(), log.found->last_index - log.found->prev_index);
}

TEST_F(LogStorageTest, ResetBeginsAnew) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(9, 1)));
    ASSERT_TRUE(log.storage.Write(Entries(1, 1, 300, 200)));
    raft::PersistRequest r = Entries(1001, 8, 2);
    r.reset = raft::SnapshotMeta{1000, 7, {}};
    ASSERT_TRUE(log.storage.Write(r));
    EXPECT_FALSE(env_.Exists(Segment(1)));
  }
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->prev_index, 1000u);
  EXPECT_EQ(log.found->prev_term, 7u);
  EXPECT_EQ(log.found->last_index, 1002u);
  EXPECT_EQ(log.All().size(), 2u);
}

TEST_F(LogStorageTest, EntryLargerThanASegment) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    raft::PersistRequest r = Entries(1, 1, 1, 100'000);
    r.entries.push_back(MakeEntry(2, 1, "small"));
    r.entries.push_back(MakeEntry(3, 1, std::string(70'000, 'z')));
    ASSERT_TRUE(log.storage.Write(r));
    ASSERT_TRUE(log.storage.Write(Entries(4, 1, 3)));
  }
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  auto all = log.All();
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].data.size(), 100'000u);
  EXPECT_EQ(all[2].data.size(), 70'000u);
}

TEST_F(LogStorageTest, ReadIsBoundedAndGivesAtLeastOne) {
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
  ASSERT_TRUE(log.storage.Write(Entries(1, 1, 50, 100)));
  std::vector<raft::Entry> out;
  ASSERT_TRUE(log.storage.Read(10, 50, 1, &out));
  ASSERT_EQ(out.size(), 1u);
  EXPECT_EQ(out[0].index, 10u);
  out.clear();
  ASSERT_TRUE(log.storage.Read(10, 50, 700, &out));
  EXPECT_EQ(out.size(), 5u);
  out.clear();
  EXPECT_TRUE(log.storage.Read(51, 51, 1, &out).Is(Code::kNotFound));
}

// --- torn tail or corruption (checklist 18, protocols 9.3) ---

TEST_F(LogStorageTest, DamageInTheLastBatchIsATornWrite) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    ASSERT_TRUE(log.storage.Write(Entries(1, 1, 3)));
    ASSERT_TRUE(log.storage.Write(Entries(4, 1, 3)));
  }
  ASSERT_TRUE(env_.FlipBit(Segment(1), 2 * 4096 + 100, 3));
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.found) << log.found.error().ToString();
    EXPECT_TRUE(log.found->torn_tail);
    EXPECT_EQ(log.found->last_index, 3u);
    ASSERT_TRUE(log.storage.Write(Entries(4, 1, 2)));
  }
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->last_index, 5u);
}

TEST_F(LogStorageTest, DamageBeforeAValidBatchIsCorruption) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    for (LogIndex i = 0; i < 4; ++i) ASSERT_TRUE(log.storage.Write(Entries(i * 3 + 1, 1, 3)));
  }
  for (uint64_t page : {1, 2, 3}) {
    ASSERT_TRUE(env_.FlipBit(Segment(1), page * 4096 + 60, 1));
    OpenLog log(env_, "/m/raft");
    ASSERT_FALSE(log.found);
    EXPECT_TRUE(log.found.error().Is(Code::kCorrupt)) << log.found.error().ToString();
    ASSERT_TRUE(env_.FlipBit(Segment(1), page * 4096 + 60, 1));
  }
  OpenLog log(env_, "/m/raft");
  EXPECT_TRUE(log.found);
}

TEST_F(LogStorageTest, AMarkMakesDamageOfTheLastBatchCorruption) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    ASSERT_TRUE(log.storage.Write(Entries(1, 1, 3)));
    ASSERT_TRUE(log.storage.WriteMark());
    uint64_t syncs = log.storage.metrics().syncs;
    ASSERT_TRUE(log.storage.WriteMark());  // already covered
    EXPECT_EQ(log.storage.metrics().syncs, syncs);
  }
  ASSERT_TRUE(env_.FlipBit(Segment(1), 4096 + 60, 1));
  OpenLog log(env_, "/m/raft");
  ASSERT_FALSE(log.found);
  EXPECT_TRUE(log.found.error().Is(Code::kCorrupt));
}

TEST_F(LogStorageTest, DamageInAnEarlierSegmentIsCorruption) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    LogIndex next = 1;
    while (!env_.Exists(Segment(3))) {
      ASSERT_TRUE(log.storage.Write(Entries(next, 1, 10, 100)));
      next += 10;
    }
  }
  for (uint64_t offset : {uint64_t{20}, uint64_t{4096 + 40}, uint64_t{28 * 1024 + 50}}) {
    ASSERT_TRUE(env_.FlipBit(Segment(1), offset, 1));
    OpenLog log(env_, "/m/raft");
    EXPECT_FALSE(log.found) << offset;
    if (!log.found) {
      EXPECT_TRUE(log.found.error().Is(Code::kCorrupt));
    }
    ASSERT_TRUE(env_.FlipBit(Segment(1), offset, 1));
  }
  ASSERT_TRUE(env_.Remove(Segment(2)));
  OpenLog log(env_, "/m/raft");
  ASSERT_FALSE(log.found);
  EXPECT_TRUE(log.found.error().Is(Code::kCorrupt));
}

TEST_F(LogStorageTest, OneDamagedHardStateCopyIsRepaired) {
  {
    OpenLog log(env_, "/m/raft");
    for (Term t = 1; t <= 5; ++t) ASSERT_TRUE(log.storage.Write(HardState(t, t % 3 + 1)));
  }
  for (uint64_t slot : {0, 1}) {
    ASSERT_TRUE(env_.FlipBit("/m/raft/hard_state", slot * 4096 + 50, 2));
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.found) << log.found.error().ToString();
    EXPECT_EQ(log.found->hard_state, (raft::HardState{5, NodeId(3)}));
  }
  ASSERT_TRUE(env_.FlipBit("/m/raft/hard_state", 50, 2));
  ASSERT_TRUE(env_.FlipBit("/m/raft/hard_state", 4096 + 50, 2));
  OpenLog log(env_, "/m/raft");
  ASSERT_FALSE(log.found);
  EXPECT_TRUE(log.found.error().Is(Code::kCorrupt));
}

TEST_F(LogStorageTest, FilesOfOthersAreRefused) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    ASSERT_TRUE(log.storage.Write(Entries(1, 1, 3)));
  }
  LogStorage::Owner other = kOwner;
  other.cluster_id[0] = '9';
  OpenLog a(env_, "/m/raft", SmallSegments(), 1, other);
  ASSERT_FALSE(a.found);
  EXPECT_TRUE(a.found.error().Is(Code::kWrongCluster));
  other = kOwner;
  other.node_id = NodeId(3);
  OpenLog b(env_, "/m/raft", SmallSegments(), 1, other);
  ASSERT_FALSE(b.found);
  EXPECT_TRUE(b.found.error().Is(Code::kInvalidArgument));
}

TEST_F(LogStorageTest, MissingLogIsNotAnEmptyLog) {
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(4, 1)));
    ASSERT_TRUE(log.storage.Write(Entries(1, 4, 3)));
  }
  ASSERT_TRUE(env_.Remove(Segment(1)));
  {
    OpenLog log(env_, "/m/raft");
    ASSERT_FALSE(log.found);
    EXPECT_TRUE(log.found.error().Is(Code::kCorrupt));
  }
  ASSERT_TRUE(env_.Remove("/m/raft/hard_state"));
  OpenLog log(env_, "/m/raft");
  ASSERT_FALSE(log.found);
  EXPECT_TRUE(log.found.error().Is(Code::kCorrupt));
}

TEST_F(LogStorageTest, AFailedSyncIsFinal) {
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
  FaultEnv::Fault fault;
  fault.op = FaultEnv::Op::kSync;
  env_.AddFault(std::move(fault));
  EXPECT_FALSE(log.storage.Write(Entries(1, 1, 3)));
  // The next sync would succeed and prove nothing.
  EXPECT_FALSE(log.storage.Write(Entries(4, 1, 3)));
  EXPECT_FALSE(log.storage.WriteMark());
}

TEST_F(LogStorageTest, KeepingIsCountedInBytes) {
  OpenLog log(env_, "/m/raft");
  ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
  EXPECT_EQ(log.storage.IndexKeeping(1u << 20), 0u);
  LogIndex next = 1;
  for (int i = 0; i < 64; ++i) {  // a page each
    ASSERT_TRUE(log.storage.Write(Entries(next, 1, 5)));
    next += 5;
  }
  LogIndex keep = log.storage.IndexKeeping(16 * 4096);
  EXPECT_GE(log.storage.BytesFrom(keep + 1), 16u * 4096);
  EXPECT_LE(log.storage.BytesFrom(keep + 1), 40u * 4096);
  EXPECT_EQ(log.storage.IndexKeeping(100u << 20), 0u);
}

}  // namespace
}  // namespace dfs::nn
