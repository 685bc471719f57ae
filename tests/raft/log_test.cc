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
/// A log beside a list of terms that says what it must be like.
class NaiveComparison {
 public:
  explicit NaiveComparison(uint64_t seed)
      : random_(seed), log_(0, 0, 0, {}, 0, random_.Uniform(2000), &store_) {}

  /// Something happens to both.
  void Act() {
    switch (random_.Uniform(8)) {
      case 0:
      case 1:
      case 2:
        term_ += random_.OneIn(5);
        model_.push_back(term_);
        return log_.Append(Make(model_.size(), term_));
      case 3:
        return Truncate();
      case 4:
        return Emit();
      case 5:
        if (pending_.empty()) return;
        log_.OnPersisted(pending_[random_.Uniform(pending_.size())]);
        EXPECT_LE(log_.durable(), model_.size());
        return;
      case 6:
        if (model_.size() <= commit_) return;
        commit_ += random_.Uniform(model_.size() - commit_ + 1);
        return log_.CommitTo(commit_);
      default:
        return TakeAndCompact();
    }
  }

  void Compare() {
    ASSERT_EQ(log_.last_index(), model_.size());
    ASSERT_EQ(log_.prev_index(), prev_);
    for (LogIndex i = prev_; i <= model_.size() + 1; ++i) {
      Term expected = i == 0 || i > model_.size() ? 0 : model_[i - 1];
      ASSERT_EQ(log_.TermAt(i), expected) << "index " << i;
    }
    if (model_.size() == prev_) return;
    LogIndex from = prev_ + 1 + random_.Uniform(model_.size() - prev_);
    std::vector<Entry> out;
    ASSERT_TRUE(log_.Entries(from, model_.size(), 1 + random_.Uniform(300), &out));
    ASSERT_FALSE(out.empty());
    for (const Entry& e : out) {
      ASSERT_EQ(e.index, from++);
      ASSERT_EQ(e.term, model_[e.index - 1]);
    }
    Term t = random_.Uniform(term_ + 2);
    LogIndex limit = prev_ + random_.Uniform(model_.size() - prev_ + 2);
    LogIndex naive = std::min<LogIndex>(limit, model_.size());
    while (naive > prev_ && model_[naive - 1] > t) --naive;
    ASSERT_EQ(log_.LastIndexWithTermAtMost(limit, t), naive);
  }

 private:
  void Truncate() {
    if (model_.size() <= commit_ || !random_.OneIn(2)) return;
    LogIndex from = commit_ + 1 + random_.Uniform(model_.size() - commit_);
    model_.resize(from - 1);
    log_.TruncateFrom(from);
    ++term_;
  }
  void Emit() {
    if (!log_.HasUnemitted()) return;
    LogIndex truncate = 0;
    std::vector<Entry> entries;
    log_.Emit(++sequence_, &truncate, &entries);
    if (truncate != 0)
      store_.entries.erase(store_.entries.lower_bound(truncate), store_.entries.end());
    for (Entry& e : entries) store_.entries[e.index] = e;
    pending_.push_back(sequence_);
  }
  void TakeAndCompact() {
    std::vector<Entry> out;
    ASSERT_TRUE(log_.TakeCommitted(random_.Uniform(6), 100, &out));
    for (const Entry& e : out) {
      ASSERT_EQ(e.index, ++handed_);
      ASSERT_EQ(e.term, model_[e.index - 1]);
    }
    LogIndex safe = std::min(handed_, log_.durable());
    if (safe <= prev_ || !random_.OneIn(3)) return;
    prev_ += random_.Uniform(safe - prev_ + 1);
    log_.CompactTo(prev_);
  }

  Random random_;
  Store store_;
  RaftLog log_;
  std::vector<Term> model_;  // terms of entries 1..
  LogIndex prev_ = 0, commit_ = 0, handed_ = 0;
  Term term_ = 1;
  uint64_t sequence_ = 0;
  std::vector<uint64_t> pending_;
};

TEST(RaftLogTest, EqualsTheNaiveModel) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(seed);
    NaiveComparison both(seed);
    for (int step = 0; step < 400 && !testing::Test::HasFailure(); ++step) {
      both.Act();
      both.Compare();
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
