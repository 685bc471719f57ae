// The state on RocksDB through 200 power cuts at random file operations. After each: the applied mark
// is exactly that of its effects, nothing that was reported as flushed is lost, and replaying the log
// from there gives the same state as a member that never crashed.
#include <rocksdb/env.h>

#include <atomic>
#include <thread>

#include "common/base/defects.h"
#include "namenode/state/consistency.h"
#include "tests/crash/fault_fs.h"
#include "tests/state/workload.h"

namespace dfs::nn {
namespace {

constexpr int kCommands = 500;
constexpr int kCuts = 200;
constexpr int kLanes = 8;

struct Reference {
  std::vector<std::string> log;
  std::vector<uint64_t> hash;     // by applied index
  std::vector<uint64_t> content;  // by applied index
};

Reference MakeReference() {
  Reference reference;
  Member member;
  Shell sh(&member);
  Workload workload(4242);
  reference.hash.push_back(member.machine->state_hash());
  reference.content.push_back(*ContentHash(*member.store));
  for (int i = 0; i < kCommands; ++i) {
    sh.RunEncoded(workload.Next(member.reader()));
    reference.hash.push_back(member.machine->state_hash());
    reference.content.push_back(*ContentHash(*member.store));
  }
  reference.log = sh.log;
  return reference;
}

/// One member and its disk.
class Lane {
 public:
  Lane(const Reference* reference, uint64_t seed) : reference_(*reference), random_(seed) {}

  void Start() {
    Stop();
    directory_ = std::make_unique<TempDir>();
    std::filesystem::create_directories(directory_->path() + "/disk/member");
    fs_ = std::make_shared<FaultFileSystem>(directory_->path() + "/disk",
                                            directory_->path() + "/graveyard");
    flushed_ = committed_ = 0;
    ASSERT_TRUE(Open());
  }
  void Stop() {
    machine_.reset();
    store_.reset();
    fs_.reset();
  }
  std::string Path(const std::string& name) { return directory_->path() + "/disk/member/" + name; }

  /// False when the power went off while opening.
  bool Open() {
    RocksStoreOptions options;
    options.directory = Path("state");
    options.write_buffer_bytes = 64 << 10;  // some flushes come by themselves
    options.block_cache_bytes = 1 << 20;
    options.file_system = fs_;
    options.worker = NewThreadWorker("dfs-state");
    auto store = OpenRocksStore(options);
    EXPECT_TRUE(store.ok() || fs_->off()) << store.error().ToString();
    if (!store) return false;
    store_ = std::move(*store);
    machine_ = std::make_unique<StateMachine>(store_.get());
    Status loaded = machine_->Load();
    EXPECT_TRUE(loaded.ok() || fs_->off()) << loaded.ToString();
    return loaded.ok();
  }

  void CrashAndCheck() {
    machine_.reset();
    store_.reset();
    fs_->Crash(random_);
    std::filesystem::remove_all(Path("checkpoint"));
    ASSERT_TRUE(Open());
    LogIndex index = machine_->applied_index();
    ASSERT_GE(index, flushed_);
    ASSERT_LE(index, committed_);
    ASSERT_EQ(machine_->state_hash(), reference_.hash[index]);
    ASSERT_EQ(*ContentHash(*store_), reference_.content[index]) << "at " << index;
    committed_ = flushed_ = index;
  }

  /// The end of the log: equal to the member that never crashed.
  void CheckEnd() {
    ASSERT_OK(machine_->Commit());
    ASSERT_EQ(machine_->state_hash(), reference_.hash[kCommands]);
    ASSERT_EQ(*ContentHash(*store_), reference_.content[kCommands]);
    ASSERT_OK(CheckConsistency(*store_));
  }

  /// Goes on with the log until the power goes off or the log ends.
  void Work() {
    while (machine_->applied_index() < kCommands && !fs_->off()) {
      LogIndex next = machine_->applied_index() + 1;
      if (!machine_->Apply(next, 1, reference_.log[next - 1]).ok()) break;
      if (!random_.OneIn(3)) continue;
      // Written before it is known to be: after an error either may be there.
      committed_ = next;
      if (!machine_->Commit().ok()) break;
      if (random_.OneIn(3) && !store_->Flush().ok()) break;
      if (random_.OneIn(8) && !store_->StartFlush().ok()) break;
      if (random_.OneIn(25)) {
        if (!store_->CreateCheckpoint(Path("checkpoint")).ok()) break;
        if (!machine_->InstallFrom(Path("checkpoint")).ok()) break;
      }
      auto mark = store_->flushed_index();
      if (!mark) break;
      ASSERT_GE(*mark, flushed_);
      ASSERT_LE(*mark, committed_);
      if (fs_->off()) break;
      flushed_ = *mark;
    }
    EXPECT_TRUE(fs_->off() || machine_->applied_index() == kCommands);
  }

  const Reference& reference_;
  Random random_;
  std::unique_ptr<TempDir> directory_;
  std::shared_ptr<FaultFileSystem> fs_;
  std::unique_ptr<StateStore> store_;
  std::unique_ptr<StateMachine> machine_;
  LogIndex flushed_ = 0;    // what the store said was durable
  LogIndex committed_ = 0;  // what was handed to it
};

/// What the cuts of all lanes took away.
struct Totals {
  std::atomic<uint64_t> cuts{0}, ends{0}, bytes{0}, names{0}, commands{0};
};

void CutRepeatedly(Lane& lane, int cuts, Totals& totals) {
  lane.Start();
  for (int done = 0; done < cuts && !testing::Test::HasFatalFailure();) {
    lane.fs_->CutAfter(lane.random_.Uniform(120));
    lane.Work();
    if (testing::Test::HasFatalFailure()) break;
    if (!lane.fs_->off()) {
      lane.CheckEnd();
      ++totals.ends;
      lane.Start();
      continue;
    }
    ++done;
    ++totals.cuts;
    LogIndex before = lane.committed_;
    FaultFileSystem::Losses losses = lane.fs_->losses();
    lane.CrashAndCheck();
    totals.commands += before - lane.committed_;
    totals.bytes += lane.fs_->losses().bytes - losses.bytes;
    totals.names += lane.fs_->losses().names - losses.names;
  }
  lane.Stop();
}

TEST(CrashTest, PowerCutsAtRandomPoints) {
  const Reference reference = MakeReference();
  Totals totals;
  // In parallel, with background threads enough, because RocksDB's sleep for a second when a flush
  // has failed.
  for (auto pool : {rocksdb::Env::HIGH, rocksdb::Env::LOW})
    rocksdb::Env::Default()->SetBackgroundThreads(2 * kLanes, pool);
  std::vector<std::thread> threads;
  for (int lane = 0; lane < kLanes; ++lane) {
    threads.emplace_back([&, lane] {
      Lane member(&reference, 777 + static_cast<uint64_t>(lane));
      CutRepeatedly(member, kCuts / kLanes, totals);
    });
  }
  for (std::thread& thread : threads) thread.join();
  if (testing::Test::HasFailure()) return;
  EXPECT_EQ(totals.cuts, static_cast<uint64_t>(kCuts));
  // Cuts that lose nothing would show nothing.
  EXPECT_GT(totals.bytes, 1000u);
  EXPECT_GT(totals.names, 100u);
  EXPECT_GT(totals.commands, 100u);
  printf("%lu cuts, %lu runs to the end, %lu bytes, %lu names and %lu commands lost and replayed\n",
         totals.cuts.load(), totals.ends.load(), totals.bytes.load(), totals.names.load(),
         totals.commands.load());
}

TEST(CrashTest, TheModelLosesWhatWasNotFlushed) {
  const Reference reference = MakeReference();
  Lane lane(&reference, 1);
  lane.Start();
  for (LogIndex i = 1; i <= 100; ++i) ASSERT_OK(lane.machine_->Apply(i, 1, reference.log[i - 1]));
  ASSERT_OK(lane.machine_->Commit());
  ASSERT_OK(lane.store_->Flush());
  for (LogIndex i = 101; i <= 200; ++i) ASSERT_OK(lane.machine_->Apply(i, 1, reference.log[i - 1]));
  ASSERT_OK(lane.machine_->Commit());
  lane.flushed_ = 100;
  lane.committed_ = 200;
  lane.fs_->CutAfter(0);
  lane.CrashAndCheck();
  EXPECT_EQ(lane.machine_->applied_index(), 100u);
  lane.Stop();
}

TEST(CrashTest, DefectAppliedIndexNotInBatchIsSeen) {
  const Reference reference = MakeReference();
  Lane lane(&reference, 1);
  lane.Start();
  SetDefect(Defect::kAppliedIndexNotInBatch, true);
  for (LogIndex i = 1; i <= 100; ++i) {
    ASSERT_OK(lane.machine_->Apply(i, 1, reference.log[i - 1]));
    if (i % 10 == 0) ASSERT_OK(lane.machine_->Commit());
  }
  SetDefect(Defect::kAppliedIndexNotInBatch, false);
  ASSERT_OK(lane.store_->Flush());
  lane.machine_.reset();
  lane.store_.reset();
  ASSERT_TRUE(lane.Open());
  LogIndex index = lane.machine_->applied_index();
  EXPECT_EQ(index, 90u);
  EXPECT_NE(*ContentHash(*lane.store_), reference.content[index]);
  lane.Stop();
}

}  // namespace
}  // namespace dfs::nn
