// One suite for every StateStore.
#include <map>

#include "namenode/state/buffered_store.h"
#include "namenode/state/keys.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

class StoreTest : public testing::TestWithParam<StoreKind> {
 protected:
  StateStore& store() { return *member_.store; }
  void Put(const std::string& key, const std::string& value) {
    WriteBatch batch;
    batch.Put(key, value);
    ASSERT_OK(store().Write(batch));
  }
  void Mark(LogIndex index) { Put(std::string(AppliedKey()), EncodeApplied({index, 2, 3})); }
  std::string Get(const std::string& key) {
    std::string value = "(unchanged)";
    auto found = store().Get(key, &value);
    EXPECT_OK(found);
    return *found ? value : "(absent) " + value;
  }
  std::string Keys(std::string_view prefix, std::string_view start = {}) {
    std::string all;
    auto it = store().NewIterator(prefix, start);
    for (; it->Valid(); it->Next()) all += std::string(it->key()) + " ";
    EXPECT_OK(it->status());
    return all;
  }

  Member member_{GetParam()};
};
INSTANTIATE_TEST_SUITE_P(Stores, StoreTest, testing::Values(StoreKind::kMemory, StoreKind::kRocks),
                         StoreName);

TEST_P(StoreTest, PutGetDelete) {
  EXPECT_EQ(Get("k"), "(absent) (unchanged)");
  Put("k", "v");
  Put("empty", "");
  EXPECT_EQ(Get("k"), "v");
  EXPECT_EQ(Get("empty"), "");
  WriteBatch batch;
  batch.Put("k", "w");
  batch.Delete("empty");
  batch.Delete("never was");
  ASSERT_OK(store().Write(batch));
  EXPECT_EQ(Get("k"), "w");
  EXPECT_EQ(Get("empty"), "(absent) (unchanged)");
  WriteBatch order;  // the last one counts
  order.Put("k", "1");
  order.Delete("k");
  order.Put("k", "2");
  ASSERT_OK(store().Write(order));
  EXPECT_EQ(Get("k"), "2");
}

TEST_P(StoreTest, IteratesByPrefixInOrder) {
  for (const char* key : {"Qa", "Qab", "Qb", "Qabc", "R", "Qb\xff", "P"}) Put(key, key);
  EXPECT_EQ(Keys("Qa"), "Qa Qab Qabc ");
  EXPECT_EQ(Keys("Q"), "Qa Qab Qabc Qb Qb\xff ");
  EXPECT_EQ(Keys("Q", "Qab"), "Qab Qabc Qb Qb\xff ");
  EXPECT_EQ(Keys("Q", "P"), "Qa Qab Qabc Qb Qb\xff ");
  EXPECT_EQ(Keys("Q", "Qzz"), "");
  EXPECT_EQ(Keys("nothing"), "");
  WriteBatch batch;
  batch.Delete("Qab");
  ASSERT_OK(store().Write(batch));
  EXPECT_EQ(Keys("Qa"), "Qa Qabc ");
}

TEST_P(StoreTest, IteratesLongPrefixes) {
  for (uint64_t inode : {1, 2, 255, 256})
    for (uint64_t slot : {0, 1, 300}) Put(SlotKey(InodeId(inode), slot), "x");
  auto count = [&](std::string_view prefix, std::string_view start) {
    int n = 0;
    auto it = store().NewIterator(prefix, start);
    for (; it->Valid(); it->Next()) {
      EXPECT_TRUE(it->key().starts_with(prefix));
      ++n;
    }
    return n;
  };
  EXPECT_EQ(count(SlotPrefix(InodeId(255)), {}), 3);
  EXPECT_EQ(count(SlotPrefix(InodeId(255)), SlotKey(InodeId(255), 1)), 2);
  EXPECT_EQ(count(SlotPrefix(InodeId(3)), {}), 0);
  EXPECT_EQ(count(TagPrefix(Tag::kSlot), {}), 12);
  EXPECT_EQ(count(TagPrefix(Tag::kSlot), SlotPrefix(InodeId(255))), 6);
  ASSERT_OK(store().Flush());
  EXPECT_EQ(count(SlotPrefix(InodeId(255)), {}), 3);
  EXPECT_EQ(count(TagPrefix(Tag::kSlot), {}), 12);
}

TEST_P(StoreTest, FlushedMarkIsThatOfWhatIsDurable) {
  Mark(5);
  ASSERT_OK(store().Flush());
  EXPECT_EQ(*store().flushed_index(), 5u);
  Mark(9);
  EXPECT_EQ(*store().flushed_index(), 5u);
  EXPECT_EQ(DecodeApplied(Get(std::string(AppliedKey())))->index, 9u);
  ASSERT_OK(store().StartFlush());
  for (int i = 0; i < 1'000'000 && *store().flushed_index() != 9; ++i) {
  }
  EXPECT_EQ(*store().flushed_index(), 9u);
  EXPECT_EQ(store().FlushedMark()->term, 2u);
}

TEST_P(StoreTest, ReopenKeepsWhatWasFlushed) {
  for (int i = 0; i < 1000; ++i) Put("key" + std::to_string(i), std::string(100, 'v'));
  ASSERT_OK(store().Flush());
  member_.Close();
  member_.Open();
  EXPECT_EQ(Get("key999"), std::string(100, 'v'));
  EXPECT_EQ(Get("key0"), std::string(100, 'v'));
}

TEST_P(StoreTest, CheckpointIsAFrozenCopy) {
  Put("a", "1");
  Mark(7);
  auto info = store().CreateCheckpoint(member_.Path("checkpoint"));
  ASSERT_OK(info);
  EXPECT_EQ(info->applied.index, 7u);
  EXPECT_EQ(info->applied.state_hash, 3u);
  EXPECT_FALSE(info->files.empty());
  for (const CheckpointFile& file : info->files) {
    EXPECT_EQ(file.name.find('/'), std::string::npos);
    EXPECT_GT(file.size, 0u) << file.name;
  }
  EXPECT_EQ(*store().flushed_index(), 7u);
  auto hash = ContentHash(store());
  EXPECT_FALSE(store().CreateCheckpoint(member_.Path("checkpoint")).ok());
  Put("a", "2");
  Put("b", "2");
  Mark(8);
  ASSERT_OK(store().Flush());
  EXPECT_NE(*ContentHash(store()), *hash);
  ASSERT_OK(store().InstallCheckpoint(member_.Path("checkpoint")));
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(Get("b"), "(absent) (unchanged)");
  EXPECT_EQ(*store().flushed_index(), 7u);
  EXPECT_EQ(*ContentHash(store()), *hash);
  Put("c", "3");
  ASSERT_OK(store().Flush());
  member_.Close();
  member_.Open();
  EXPECT_EQ(Get("a"), "1");
  EXPECT_EQ(Get("c"), "3");
}

TEST_P(StoreTest, DamagedCheckpointLeavesTheOldContent) {
  Put("a", "1");
  ASSERT_OK(store().Flush());
  EXPECT_FALSE(store().InstallCheckpoint(member_.Path("not there")).ok());
  EXPECT_EQ(Get("a"), "1");
}

TEST_P(StoreTest, RemoveCheckpoint) {
  ASSERT_OK(store().CreateCheckpoint(member_.Path("c")));
  ASSERT_OK(store().RemoveCheckpoint(member_.Path("c")));
  ASSERT_OK(store().RemoveCheckpoint(member_.Path("c")));
  ASSERT_OK(store().CreateCheckpoint(member_.Path("c")));
}

TEST_P(StoreTest, ContentHashSeesKeysAndValues) {
  uint64_t empty = *ContentHash(store());
  Put("a", "b");
  uint64_t one = *ContentHash(store());
  EXPECT_NE(empty, one);
  Put("a", "c");
  EXPECT_NE(*ContentHash(store()), one);
  Put("a", "b");
  EXPECT_EQ(*ContentHash(store()), one);
  ASSERT_OK(store().Flush());
  EXPECT_EQ(*ContentHash(store()), one);
}

TEST_P(StoreTest, StatsTellSomething) {
  Put("a", std::string(10'000, 'x'));
  EXPECT_GT(store().GetStats().memory_bytes, 0u);
  EXPECT_GT(store().GetStats().unflushed_bytes, 0u);
}

TEST(MemStoreTest, ACrashLosesWhatWasNotFlushed) {
  Member member(StoreKind::kMemory);
  Random random(7);
  WriteBatch batch;
  batch.Put("a", "1");
  ASSERT_OK(member.store->Write(batch));
  ASSERT_OK(member.store->Flush());
  batch.Clear();
  batch.Put("a", "2");
  batch.Put("b", "2");
  ASSERT_OK(member.store->Write(batch));
  member.Close();
  member.env().Crash(random, FaultEnv::CrashMode::kDropUnsynced);
  member.Open();
  std::string value;
  ASSERT_OK(member.store->Get("a", &value));
  EXPECT_EQ(value, "1");
  EXPECT_FALSE(*member.store->Get("b", &value));
}

TEST(MemStoreTest, DamageIsFound) {
  Member member(StoreKind::kMemory);
  ASSERT_OK(member.store->Flush());
  member.Close();
  ASSERT_OK(member.env().FlipBit("/data/state/flushed", 20, 3));
  EXPECT_CODE(OpenMemStore(&member.env(), "/data/state"), Code::kCorrupt);
}

/// Random commits through a small buffer against a map; scans and look-ups see what is in both layers.
void CheckAgainstAMap(std::unique_ptr<StateStore> store) {
  Random random(3);
  std::map<std::string, std::string> expected;
  for (int round = 0; round < 3'000; ++round) {
    std::vector<std::pair<std::string, std::string>> strings;
    for (uint64_t n = 1 + random.Uniform(4); n > 0; --n) {
      std::string key = std::string(1, static_cast<char>('A' + random.Uniform(3))) +
                        std::to_string(random.Uniform(40));
      // Often as long as before, at times empty.
      strings.emplace_back(key,
                           std::string(random.Uniform(3) * 5, static_cast<char>('a' + round % 26)));
    }
    WriteBatch batch;
    for (const auto& [key, value] : strings) {
      bool absent = !expected.contains(key);
      if (random.OneIn(3) || (key[0] == 'C' && !absent)) {
        batch.Delete(key);
        expected.erase(key);
      } else {
        batch.Put(key, value);
        expected[key] = value;
      }
    }
    ASSERT_OK(store->Write(batch));
    if (random.OneIn(50)) {
      ASSERT_OK(store->Flush());
    }
    std::string prefix(random.Uniform(2), static_cast<char>('A' + random.Uniform(3)));
    std::map<std::string, std::string> found, wanted;
    auto it = store->NewIterator(prefix);
    std::string last;
    for (; it->Valid(); it->Next()) {
      ASSERT_LT(last, it->key());
      last = it->key();
      found[last] = it->value();
    }
    ASSERT_OK(it->status());
    for (const auto& [key, value] : expected)
      if (key.starts_with(prefix)) wanted[key] = value;
    ASSERT_EQ(found, wanted) << "round " << round;
    std::string key = "A" + std::to_string(random.Uniform(40)), value;
    auto present = store->Get(key, &value);
    ASSERT_OK(present);
    ASSERT_EQ(*present, expected.contains(key));
    if (*present) {
      ASSERT_EQ(value, expected[key]);
    }
  }
}

TEST(BufferedStoreTest, BehavesAsTheStoreBelow) {
  FaultEnv env;
  ASSERT_OK(env.CreateDirs("/data"));
  auto base = OpenMemStore(&env, "/data/state");
  ASSERT_OK(base);
  BufferedStoreOptions options;
  options.max_entries = 20;
  options.max_bytes = 2'000;
  options.never_overwritten = [](std::string_view key) { return key.starts_with("C"); };
  CheckAgainstAMap(NewBufferedStore(std::move(*base), options));
}

TEST(BufferedStoreTest, TheSameInFrontOfRocksDbWithAThreadOfItsOwn) {
  TempDir directory;
  RocksStoreOptions options;
  options.directory = directory.path() + "/state";
  options.write_buffer_bytes = 1u << 20;
  options.buffered_entries = 20;
  options.worker = NewThreadWorker("dfs-state");
  auto store = OpenRocksStore(options);
  ASSERT_OK(store);
  CheckAgainstAMap(std::move(*store));
}

/// Does its task when somebody waits for it.
class LazyWorker final : public Worker {
 public:
  ~LazyWorker() override { Wait(); }
  void Start(Task task) override { task_ = std::move(task); }
  bool busy() override { return bool(task_); }
  void Wait() override {
    if (Task task = std::exchange(task_, nullptr)) task();
  }

 private:
  Task task_;
};

TEST(BufferedStoreTest, ReadsSeeWhatIsOnItsWayDown) {
  FaultEnv env;
  ASSERT_OK(env.CreateDirs("/data"));
  auto base = OpenMemStore(&env, "/data/state");
  ASSERT_OK(base);
  StateStore& below = **base;
  BufferedStoreOptions options;
  options.max_entries = 3;
  auto worker = std::make_shared<LazyWorker>();
  options.worker = worker;
  auto store = NewBufferedStore(std::move(*base), options);
  const auto put = [&](std::vector<std::pair<std::string, std::string>> entries) {
    WriteBatch batch;
    for (const auto& [key, value] : entries) {
      value.empty() ? batch.Delete(key) : batch.Put(key, value);
    }
    ASSERT_OK(store->Write(batch));
  };
  const auto all = [&] {
    std::string out;
    for (auto it = store->NewIterator(""); it->Valid(); it->Next())
      out += std::string(it->key()) + std::string(it->value()) + " ";
    return out;
  };
  put({{"a", "1"}, {"b", "1"}, {"c", "1"}});
  EXPECT_TRUE(worker->busy());
  put({{"b", "2"}, {"c", ""}});
  std::string value;
  EXPECT_FALSE(*below.Get("a", &value)) << "still on its way";
  EXPECT_TRUE(*store->Get("a", &value));
  EXPECT_TRUE(*store->Get("b", &value));
  EXPECT_EQ(value, "2");
  EXPECT_FALSE(*store->Get("c", &value));
  EXPECT_EQ(all(), "a1 b2 ");
  put({{"d", "3"}});  // full again: the first has to go down now
  EXPECT_TRUE(*below.Get("c", &value));
  EXPECT_TRUE(worker->busy());
  EXPECT_EQ(all(), "a1 b2 d3 ");
  ASSERT_OK(store->Flush());
  EXPECT_FALSE(worker->busy());
  EXPECT_FALSE(*below.Get("c", &value));
  EXPECT_EQ(all(), "a1 b2 d3 ");
}

TEST(BufferedStoreTest, FlushAndCheckpointHandOver) {
  Member member(StoreKind::kRocks);
  WriteBatch batch;
  batch.Put("a", "1");
  std::string mark = EncodeApplied({4, 2, 3});
  batch.Put(AppliedKey(), mark);
  ASSERT_OK(member.store->Write(batch));
  EXPECT_EQ(*member.store->flushed_index(), 0u);
  ASSERT_OK(member.store->Flush());
  EXPECT_EQ(*member.store->flushed_index(), 4u);
  std::string later = EncodeApplied({5, 2, 3});
  batch.Clear();
  batch.Put(AppliedKey(), later);
  ASSERT_OK(member.store->Write(batch));
  auto info = member.store->CreateCheckpoint(member.Path("c"));
  ASSERT_OK(info);
  EXPECT_EQ(info->applied.index, 5u);
}

}  // namespace
}  // namespace dfs::nn
