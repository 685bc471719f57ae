// What a power cut leaves of a member's log: everything that was acknowledged, in order, and nothing that was
// never written. Cut at every sync of small histories, and at 200 random ones of long histories.
#include <gtest/gtest.h>

#include <map>

#include "common/base/fault_env.h"
#include "tests/replication/log_test_util.h"

namespace dfs::nn {
namespace {

/// The log as it should be: after what was acknowledged, and after each request that was begun since.
struct Model {
  raft::HardState hard;
  LogIndex prev = 0;
  Term prev_term = 0;
  std::map<LogIndex, std::pair<Term, std::string>> entries;
  LogIndex last() const { return entries.empty() ? prev : entries.rbegin()->first; }
  Term last_term() const { return entries.empty() ? prev_term : entries.rbegin()->second.first; }

  void Apply(const raft::PersistRequest& r) {
    if (r.reset) {
      prev = r.reset->index;
      prev_term = r.reset->term;
      entries.clear();
    }
    if (r.truncate_from != 0) entries.erase(entries.lower_bound(r.truncate_from), entries.end());
    if (r.hard_state) hard = *r.hard_state;
    for (const raft::Entry& e : r.entries) {
      entries[e.index] = {e.term, std::string(e.data.view())};
    }
  }
};

class History {
 public:
  explicit History(uint64_t seed) : random_(seed) {}

  raft::PersistRequest Next(const Model& now) {
    raft::PersistRequest r;
    Term term = std::max<Term>(now.hard.term, 1);
    if (now.hard.term == 0 || random_.OneIn(6)) {
      ++term;
      r.hard_state = raft::HardState{term, NodeId(1 + random_.Uniform(3))};
    }
    LogIndex next = now.last() + 1;
    if (random_.OneIn(20)) {
      r.reset = raft::SnapshotMeta{now.last() + random_.Uniform(5) + 1, term, {}};
      next = r.reset->index + 1;
    } else if (!now.entries.empty() && random_.OneIn(5)) {
      LogIndex span = std::min<LogIndex>(now.entries.size(), 8);
      r.truncate_from = now.last() + 1 - (1 + random_.Uniform(span));
      auto before = now.entries.find(r.truncate_from - 1);
      r.truncate_term = before == now.entries.end() ? now.prev_term : before->second.first;
      next = r.truncate_from;
    }
    int count = static_cast<int>(random_.Uniform(6));
    size_t size = random_.OneIn(8) ? random_.Uniform(20'000) : random_.Uniform(200);
    raft::PersistRequest entries = Entries(next, term, count, size);
    r.entries = std::move(entries.entries);
    return r;
  }

 private:
  Random random_;
};

/// What a log may hold after a power cut.
struct Expectation {
  Model acknowledged;
  std::vector<Model> possible;  // after each request of the batch that was under way
};

/// Whether the power was cut.
bool Run(FaultEnv& env, uint64_t seed, int requests, uint64_t cut_at_sync, FaultEnv::CrashMode mode,
         Expectation* expected) {
  Random random(seed * 7919 + cut_at_sync);
  Model& acknowledged = expected->acknowledged;
  std::vector<Model>& possible = expected->possible;
  bool cut = false;
  OpenLog log(env, "/m/raft", SmallSegments(16u << 10), seed);
  EXPECT_TRUE(log.found);
  uint64_t syncs = 0;
  env.SetSyncHook([&](const std::string&) {
    if (++syncs == cut_at_sync) {
      env.Crash(random, mode);
      cut = true;
    }
  });
  History history(seed);
  for (int i = 0; i < requests && !cut; ++i) {
    Model next = acknowledged;
    std::vector<raft::PersistRequest> batch;
    size_t n = 1 + random.Uniform(3);
    possible = {acknowledged};
    for (size_t k = 0; k < n; ++k) {
      batch.push_back(history.Next(next));
      next.Apply(batch.back());
      possible.push_back(next);
    }
    std::vector<const raft::PersistRequest*> pointers;
    for (const auto& r : batch) pointers.push_back(&r);
    Status written = log.storage.Write(pointers);
    if (written) acknowledged = next;
    EXPECT_EQ(written.ok(), !cut) << written.ToString();
    if (!cut && random.OneIn(5)) {
      LogIndex to = acknowledged.last() - std::min<LogIndex>(acknowledged.last(), 10);
      Status s = log.storage.TruncatePrefix(to);
      if (!s && !cut) ADD_FAILURE() << s.ToString();
    }
    if (!cut && random.OneIn(6)) (void)log.storage.WriteMark().ok();
    if (cut && written) possible = {acknowledged};
  }
  env.SetSyncHook(nullptr);
  return cut;
}

/// Whether the log is one of the states between the requests, or within one.
bool Fits(const RecoveredLog& found, const std::vector<raft::Entry>& all,
          const std::vector<Model>& possible) {
  for (size_t i = 0; i < possible.size(); ++i) {
    const Model& m = possible[i];
    bool equal = true;
    bool prefix_of_next = i > 0;  // a split batch may end within a request
    for (const raft::Entry& e : all) {
      auto it = m.entries.find(e.index);
      if (it == m.entries.end() || it->second.first != e.term ||
          it->second.second != e.data.view()) {
        equal = false;
        prefix_of_next = false;
      }
    }
    bool whole = found.last_index == m.last() || (m.entries.empty() && all.empty());
    if ((equal && whole && found.prev_index <= std::max(m.prev, m.last())) ||
        (prefix_of_next && found.last_index <= m.last())) {
      return true;
    }
  }
  return false;
}

/// Runs the history until the sync with that number, where the power goes. Returns false when the history
/// ended before.
bool RunAndCut(uint64_t seed, int requests, uint64_t cut_at_sync, FaultEnv::CrashMode mode) {
  FaultEnv env(seed);
  EXPECT_TRUE(env.CreateDirs("/m"));
  EXPECT_TRUE(env.SyncDir("/"));
  EXPECT_TRUE(LogStorage::Create(env, "/m/raft", kOwner));
  EXPECT_TRUE(env.SyncDir("/m"));
  env.SetWritebackChance(seed % 3);
  Expectation expected;
  if (!Run(env, seed, requests, cut_at_sync, mode, &expected)) return false;

  OpenLog log(env, "/m/raft", SmallSegments(16u << 10), seed + 1);
  std::string where = "seed " + std::to_string(seed) + " sync " + std::to_string(cut_at_sync);
  if (!log.found) {
    ADD_FAILURE() << where << ": " << log.found.error().ToString();
    return true;
  }
  const RecoveredLog& found = *log.found;
  // Hard state: what was acknowledged, or one of the batch that was under way.
  bool hard_known = false;
  for (const Model& m : expected.possible) hard_known = hard_known || m.hard == found.hard_state;
  EXPECT_TRUE(hard_known) << where << ": term " << found.hard_state.term;
  EXPECT_GE(found.hard_state.term, expected.acknowledged.hard.term) << where;
  auto all = log.All();
  EXPECT_EQ(all.size(), found.last_index - found.prev_index) << where;
  EXPECT_TRUE(Fits(found, all, expected.possible))
      << where << ": found (" << found.prev_index << ", " << found.last_index
      << "], acknowledged up to " << expected.acknowledged.last();
  // And it goes on from there, over another restart.
  raft::PersistRequest more = Entries(found.last_index + 1, found.hard_state.term, 3);
  EXPECT_TRUE(log.storage.Write(more)) << where;
  return true;
}

TEST(LogCrashTest, AtEverySyncOfSmallHistories) {
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    for (auto mode : {FaultEnv::CrashMode::kDropUnsynced, FaultEnv::CrashMode::kKeepRandom}) {
      uint64_t sync = 1;
      while (RunAndCut(seed, 12, sync, mode)) ++sync;
      EXPECT_GT(sync, 20u);
    }
  }
}

TEST(LogCrashTest, At200RandomPointsOfLongHistories) {
  Random random(4711);
  int cuts = 0;
  for (uint64_t i = 0; cuts < 200; ++i) {
    ASSERT_LT(i, 1000u);
    cuts += RunAndCut(1000 + i, 150, 1 + random.Uniform(300), FaultEnv::CrashMode::kKeepRandom);
  }
}

/// A process that dies keeps what it wrote: recovery may believe it, but must sync it first.
TEST(LogCrashTest, WhatRecoveryBelievesIsDurable) {
  FaultEnv env(9);
  ASSERT_TRUE(env.CreateDirs("/m"));
  ASSERT_TRUE(env.SyncDir("/"));
  ASSERT_TRUE(LogStorage::Create(env, "/m/raft", kOwner));
  ASSERT_TRUE(env.SyncDir("/m"));
  {
    OpenLog log(env, "/m/raft");
    ASSERT_TRUE(log.storage.Write(HardState(1, 1)));
    ASSERT_TRUE(log.storage.Write(Entries(1, 1, 3)));
    FaultEnv::Fault fault;
    fault.op = FaultEnv::Op::kSync;
    fault.error = Code::kInterrupted;
    env.SetSyncHook([&](const std::string&) { env.KillProcess(); });
    EXPECT_FALSE(log.storage.Write(Entries(4, 1, 3)));
    env.SetSyncHook(nullptr);
  }
  LogIndex believed = 0;
  {
    OpenLog log(env, "/m/raft");
    ASSERT_TRUE(log.found) << log.found.error().ToString();
    believed = log.found->last_index;
    EXPECT_EQ(believed, 6u);
  }
  Random random(1);
  env.Crash(random, FaultEnv::CrashMode::kDropUnsynced);
  OpenLog log(env, "/m/raft");
  ASSERT_TRUE(log.found) << log.found.error().ToString();
  EXPECT_EQ(log.found->last_index, believed);
}

}  // namespace
}  // namespace dfs::nn
