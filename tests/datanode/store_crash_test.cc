// Power cuts at random points of random histories. Held against a model: every byte that a sync had
// acknowledged is there (or what was written over it since), and no crash is taken for corruption.
#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "common/base/defects.h"
#include "tests/datanode/store_testing.h"

namespace dfs::dn {
namespace {

struct PendingWrite {
  uint64_t offset;
  std::string data;
};

/// What a client knows of one block.
struct Model {
  std::string synced;                 // as of the last acknowledged sync
  bool exists = false;                // ever synced
  std::vector<PendingWrite> pending;  // since then
  std::string now;
  uint64_t stamp = 0;
  bool open = false;
  OpenedReplica handle;

  void Apply(uint64_t offset, const std::string& data) {
    pending.push_back({offset, data});
    if (now.size() < offset) now.resize(offset);
    if (now.size() < offset + data.size()) now.resize(offset + data.size());
    now.replace(offset, data.size(), data);
  }
  void Acknowledge() {
    synced = now;
    pending.clear();
    exists = true;
  }
  /// Whether this byte may be at this place after a crash.
  bool Explains(uint64_t at, char byte) const {
    if (at < synced.size() && synced[at] == byte) return true;
    if (at >= synced.size() && byte == 0) return true;  // a gap
    for (const PendingWrite& w : pending) {
      if (at >= w.offset && at < w.offset + w.data.size() && w.data[at - w.offset] == byte)
        return true;
    }
    return false;
  }
};

bool Same(const std::string& a, const std::string& b, uint64_t at) {
  return at < a.size() && at < b.size() &&
         std::string_view(a).substr(at, kChunkSize) == std::string_view(b).substr(at, kChunkSize);
}

class History {
 public:
  explicit History(uint64_t seed) : random_(seed), env_(seed), dir_("/v") {
    EXPECT_TRUE(env_.CreateDirs(dir_).ok());
    env_.SetWritebackChance(random_.OneIn(2) ? 3 : 0);
  }

  /// "" or what went wrong.
  std::string Run(int lives) {
    for (int life = 0; life < lives && failure_.empty(); life++) {
      OpenStore();
      if (life > 0) CheckAndRecover();
      if (failure_.empty()) Live();
      store_.reset();
      for (auto& [id, model] : models_) model.handle = {};
      if (killed_) {
        env_.KillProcess();
      } else if (!crashed_) {
        env_.Crash(random_, Mode());
      }
    }
    if (failure_.empty()) {
      OpenStore();
      CheckAndRecover();
    }
    store_.reset();
    return failure_;
  }

  uint64_t crashes() const { return env_.counters().crashes; }

 private:
  FaultEnv::CrashMode Mode() {
    return random_.OneIn(3) ? FaultEnv::CrashMode::kDropUnsynced : FaultEnv::CrashMode::kKeepRandom;
  }
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = what;
  }

  void OpenStore() {
    crashed_ = killed_ = false;
    env_.SetSyncHook(nullptr);
    auto store = BlockStore::Open(TestOptions({dir_}), env_, clock_, 3);
    ASSERT_TRUE(store.ok()) << store.error().ToString();
    store_ = std::move(*store);
    BlockStore::Events events;
    events.corrupt = [this](const ReplicaInfo& info) {
      Fail("block " + std::to_string(info.block.value) + " reported corrupt");
    };
    store_->SetEvents(std::move(events));
  }

  void Live() {
    uint64_t syncs_left = 1 + random_.Uniform(40);
    env_.SetSyncHook([this, syncs_left](const std::string&) mutable {
      if (!crashed_ && --syncs_left == 0) {
        crashed_ = true;
        env_.Crash(random_, Mode());
      }
    });
    const int steps = static_cast<int>(5 + random_.Uniform(60));
    for (int i = 0; i < steps && !crashed_ && failure_.empty(); i++) {
      const uint64_t id = 100 + random_.Uniform(3);
      Step(id, models_[id]);
    }
    if (!crashed_ && random_.OneIn(5)) killed_ = true;
  }

  void Step(uint64_t id, Model& m) {
    if (!m.open) {
      const uint64_t stamp = next_stamp_++;
      auto open = OpenWrite(*store_, id, m.stamp, stamp, m.now.size());
      if (!open.ok()) return Check(crashed_, "open: " + open.error().ToString());
      m.handle = *open;
      m.open = true;
      m.stamp = stamp;
      return;
    }
    switch (random_.Uniform(8)) {
      case 0:
      case 1:
        return Sync(m);
      case 2:
        return Close(m);
      default:
        return Write(m);
    }
  }

  void Write(Model& m) {
    const uint64_t limit = 2'600'000;
    uint64_t offset = m.now.size();
    const uint64_t where = random_.Uniform(10);
    if (where < 5 && !m.now.empty()) {
      offset = random_.Uniform(m.now.size());
    } else if (where == 9) {
      offset += random_.Uniform(50'000);
    }
    const uint64_t size =
        random_.OneIn(4) ? 1 + random_.Uniform(400'000) : 1 + random_.Uniform(9'000);
    if (offset + size > limit) return;
    const std::string data = RandomBytes(random_, size);
    const Status wrote = WriteBytes(m.handle, offset, data);
    m.Apply(offset, data);  // a failed one may have changed bytes
    if (!wrote.ok()) Check(crashed_, "write: " + wrote.ToString());
  }

  void Sync(Model& m) {
    const Status synced = m.handle.replica->Sync(m.handle.ticket);
    if (synced.ok()) {
      m.Acknowledge();
    } else {
      Check(crashed_, "sync: " + synced.ToString());
    }
  }

  void Close(Model& m) {
    const bool sync = random_.OneIn(2);
    const Status closed = store_->Finalize(m.handle.replica, m.handle.ticket, sync);
    m.open = false;
    if (!closed.ok()) return Check(crashed_, "close: " + closed.ToString());
    if (sync) m.Acknowledge();
    if (!sync && random_.OneIn(2)) {
      clock_.Advance(10 * kSecond);
      store_->FinalizePending(kSecond);
      for (auto& [id, other] : models_) {
        auto replica = store_->Find(BlockId(id));
        if (!other.open && replica.ok() && (*replica)->info().on_disk && !crashed_) {
          other.Acknowledge();
        }
      }
    }
  }

  void Check(bool fine, const std::string& what) {
    if (!fine) Fail(what);
  }

  void CheckAndRecover() {
    for (auto& [id, m] : models_) {
      if (failure_.empty()) CheckBlock(id, m);
    }
  }

  void CheckBlock(uint64_t id, Model& m) {
    const std::string name = "block " + std::to_string(id) + ": ";
    auto found = store_->Find(BlockId(id));
    m.open = false;
    if (!found.ok()) {
      if (m.exists) Fail(name + "synced, now " + found.error().ToString());
      m = Model();
      return;
    }
    const ReplicaPtr replica = *found;
    const ReplicaInfo info = replica->info();
    if (info.length < m.synced.size()) {
      return Fail(name + "length " + std::to_string(info.length) + " of " +
                  std::to_string(m.synced.size()) + " synced");
    }
    if (info.state == ReplicaState::kRwr) {
      const uint64_t stamp = next_stamp_++;
      auto view = replica->InitRecovery(Stamp(stamp));
      if (!view.ok()) return Fail(name + view.error().ToString());
      auto ticket = replica->RecoveryTicket(Stamp(stamp));
      Status done = replica->ResumTornChunks(*ticket);
      if (done.ok() && random_.OneIn(3)) done = replica->Truncate(*ticket, m.synced.size());
      if (done.ok()) done = replica->FinishRecovery(*ticket);
      if (!done.ok()) return Fail(name + "recovery: " + done.ToString());
      m.stamp = stamp;
    } else {
      m.stamp = info.stamp.value;
    }
    auto content = ReadAll(replica);
    if (!content.ok()) return Fail(name + content.error().ToString());
    for (uint64_t at = 0; at < content->size(); at++) {
      // Fast over what is as it was last written, or last synced.
      if (at % kChunkSize == 0 && (Same(*content, m.now, at) || Same(*content, m.synced, at))) {
        at += kChunkSize - 1;
        continue;
      }
      if (!m.Explains(at, (*content)[at]))
        return Fail(name + "unexplained byte at " + std::to_string(at));
    }
    m.now = *content;
    m.Acknowledge();
  }

  Random random_;
  FaultEnv env_;
  ManualClock clock_;
  const std::string dir_;
  std::unique_ptr<BlockStore> store_;
  std::map<uint64_t, Model> models_;
  uint64_t next_stamp_ = 10;
  bool crashed_ = false;
  bool killed_ = false;
  std::string failure_;
};

TEST(StoreCrashTest, RandomHistories) {
  uint64_t crashes = 0;
  for (uint64_t seed = 1; seed <= 85; seed++) {
    History history(seed);
    const std::string failure = history.Run(3);
    ASSERT_EQ(failure, "") << "seed " << seed;
    crashes += history.crashes();
  }
  EXPECT_GE(crashes, 200u);
}

// The test can fail: without the rule the same histories break it.
TEST(StoreCrashTest, CatchesAMissingWriteIntent) {
  SetDefect(Defect::kNoWriteIntent, true);
  int caught = 0;
  for (uint64_t seed = 1; seed <= 25; seed++) caught += !History(seed).Run(3).empty();
  SetDefect(Defect::kNoWriteIntent, false);
  EXPECT_GT(caught, 0);
}

}  // namespace
}  // namespace dfs::dn
