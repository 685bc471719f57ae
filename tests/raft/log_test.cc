#include "common/raft/log.h"

#include <gtest/gtest.h>

#include <map>

#include "common/base/random.h"

namespace dfs::raft {
namespace {

Entry Make(LogIndex index, Term term) {
  Entry e;
  e.index = index;
  e.term = term;
  e.data = Buffer(std::to_string(index) + "/" + std::to_string(term));
  return e;
}

/// Everything that was ever written, as a disk has it.
struct Store : LogReader {
  std::map<LogIndex, Entry> entries;
  int reads = 0;
  Status Read(LogIndex from, LogIndex to, size_t max_bytes, std::vector<Entry>* out) override {
    ++reads;
    size_t bytes = 0;
    for (LogIndex i = from; i <= to; ++i) {
      auto it = entries.find(i);
      if (it == entries.end()) return Status(Code::kNotFound, "not stored");
      if (bytes > 0 && bytes + it->second.bytes() > max_bytes) break;
      bytes += it->second.bytes();
      out->push_back(it->second);
    }
    return Status();
  }
};

/// Against a plain vector.
TEST(RaftLogTest, EqualsTheNaiveModel) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    Store store;
    RaftLog log(0, 0, 0, {}, 0, random.Uniform(2000), &store);
    std::vector<Term> model;  // terms of entries 1..
    LogIndex prev = 0, commit = 0;
    Term term = 1;
    uint64_t sequence = 0;
    std::vector<uint64_t> pending;
    LogIndex handed = 0;
    for (int step = 0; step < 400; ++step) {
      switch (random.Uniform(8)) {
        case 0:
        case 1:
        case 2: {
          term += random.OneIn(5);
          model.push_back(term);
          log.Append(Make(model.size(), term));
          break;
        }
        case 3:
          if (model.size() > commit && random.OneIn(2)) {
            LogIndex from = commit + 1 + random.Uniform(model.size() - commit);
            model.resize(from - 1);
            log.TruncateFrom(from);
            ++term;
          }
          break;
        case 4:
          if (log.HasUnemitted()) {
            LogIndex truncate = 0;
            std::vector<Entry> entries;
            log.Emit(++sequence, &truncate, &entries);
            if (truncate != 0)
              store.entries.erase(store.entries.lower_bound(truncate), store.entries.end());
            for (Entry& e : entries) store.entries[e.index] = e;
            pending.push_back(sequence);
          }
          break;
        case 5:
          if (!pending.empty()) {
            log.OnPersisted(pending[random.Uniform(pending.size())]);
            EXPECT_LE(log.durable(), model.size());
          }
          break;
        case 6:
          if (model.size() > commit) {
            commit += random.Uniform(model.size() - commit + 1);
            log.CommitTo(commit);
          }
          break;
        default: {
          std::vector<Entry> out;
          ASSERT_TRUE(log.TakeCommitted(random.Uniform(6), 100, &out));
          for (const Entry& e : out) {
            ASSERT_EQ(e.index, ++handed);
            ASSERT_EQ(e.term, model[e.index - 1]);
          }
          LogIndex safe = std::min(handed, log.durable());
          if (safe > prev && random.OneIn(3)) {
            prev += random.Uniform(safe - prev + 1);
            log.CompactTo(prev);
          }
        }
      }
      ASSERT_EQ(log.last_index(), model.size());
      ASSERT_EQ(log.prev_index(), prev);
      for (LogIndex i = prev; i <= model.size() + 1; ++i) {
        Term expected = i == 0 || i > model.size() ? 0 : model[i - 1];
        ASSERT_EQ(log.TermAt(i), expected) << "seed " << seed << " index " << i;
      }
      if (model.size() > prev) {
        LogIndex from = prev + 1 + random.Uniform(model.size() - prev);
        std::vector<Entry> out;
        ASSERT_TRUE(log.Entries(from, model.size(), 1 + random.Uniform(300), &out));
        ASSERT_FALSE(out.empty());
        for (const Entry& e : out) {
          ASSERT_EQ(e.index, from++);
          ASSERT_EQ(e.term, model[e.index - 1]);
        }
        Term t = random.Uniform(term + 2);
        LogIndex limit = prev + random.Uniform(model.size() - prev + 2);
        LogIndex naive = std::min<LogIndex>(limit, model.size());
        while (naive > prev && model[naive - 1] > t) --naive;
        ASSERT_EQ(log.LastIndexWithTermAtMost(limit, t), naive);
      }
    }
  }
}

TEST(RaftLogTest, TheCacheIsBoundedByWhatIsDurableAndCommitted) {
  Store store;
  RaftLog log(0, 0, 0, {}, 0, 1000, &store);
  for (LogIndex i = 1; i <= 100; ++i) {
    log.Append(Make(i, 1));
    store.entries[i] = Make(i, 1);
  }
  EXPECT_EQ(log.cache_first(), 1u);
  LogIndex truncate = 0;
  std::vector<Entry> entries;
  log.Emit(1, &truncate, &entries);
  EXPECT_EQ(entries.size(), 100u);
  log.OnPersisted(1);
  EXPECT_EQ(log.cache_first(), 1u);  // not committed
  log.CommitTo(100);
  EXPECT_LE(log.cached_bytes(), 1000u);
  EXPECT_GT(log.cache_first(), 50u);
  entries.clear();
  ASSERT_TRUE(log.Entries(1, 100, 1u << 20, &entries));
  EXPECT_EQ(store.reads, 1);
  EXPECT_EQ(entries.front().index, 1u);
}

TEST(RaftLogTest, BytesAfterCountsWhatIsCached) {
  Store store;
  RaftLog log(0, 0, 0, {}, 0, 1u << 20, &store);
  size_t sum = 0;
  for (LogIndex i = 1; i <= 10; ++i) log.Append(Make(i, 1));
  for (LogIndex i = 10; i >= 1; --i) {
    EXPECT_EQ(log.BytesAfter(i), sum);
    sum += Make(i, 1).bytes();
  }
  EXPECT_EQ(log.BytesAfter(0), sum);
}

}  // namespace
}  // namespace dfs::raft
