// The state on RocksDB through 200 power cuts at random file operations. After each: the applied mark
// is exactly that of its effects, nothing that was reported as flushed is lost, and replaying the log
// from there gives the same state as a member that never crashed.
#include "common/base/defects.h"
#include "namenode/state/consistency.h"
#include "tests/crash/fault_fs.h"
#include "tests/state/workload.h"

namespace dfs::nn {
namespace {

constexpr int kCommands = 500;
constexpr int kCuts = 200;

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

class CrashTest : public testing::Test {
 protected:
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

  Reference reference_ = MakeReference();
  Random random_{777};
  std::unique_ptr<TempDir> directory_;
  std::shared_ptr<FaultFileSystem> fs_;
  std::unique_ptr<StateStore> store_;
  std::unique_ptr<StateMachine> machine_;
  LogIndex flushed_ = 0;    // what the store said was durable
  LogIndex committed_ = 0;  // what was handed to it
};

TEST_F(CrashTest, PowerCutsAtRandomPoints) {
  int cuts = 0, ends = 0;
  uint64_t bytes = 0, names = 0, lost_commands = 0;
  Start();
  while (cuts < kCuts) {
    fs_->CutAfter(random_.Uniform(120));
    Work();
    if (HasFatalFailure()) return;
    if (!fs_->off()) {
      // The end of the log: equal to the member that never crashed.
      ASSERT_OK(machine_->Commit());
      ASSERT_EQ(machine_->state_hash(), reference_.hash[kCommands]);
      ASSERT_EQ(*ContentHash(*store_), reference_.content[kCommands]);
      ASSERT_OK(CheckConsistency(*store_));
      ++ends;
      Start();
      continue;
    }
    ++cuts;
    LogIndex before = committed_;
    FaultFileSystem::Losses losses = fs_->losses();
    CrashAndCheck();
    if (HasFatalFailure()) return;
    lost_commands += before - committed_;
    bytes += fs_->losses().bytes - losses.bytes;
    names += fs_->losses().names - losses.names;
  }
  Stop();
  // Cuts that lose nothing would show nothing.
  EXPECT_GT(bytes, 1000u);
  EXPECT_GT(names, 100u);
  EXPECT_GT(lost_commands, 100u);
  printf("%d cuts, %d runs to the end, %lu bytes, %lu names and %lu commands lost and replayed\n",
         cuts, ends, bytes, names, lost_commands);
}

TEST_F(CrashTest, TheModelLosesWhatWasNotFlushed) {
  Start();
  for (LogIndex i = 1; i <= 100; ++i) ASSERT_OK(machine_->Apply(i, 1, reference_.log[i - 1]));
  ASSERT_OK(machine_->Commit());
  ASSERT_OK(store_->Flush());
  for (LogIndex i = 101; i <= 200; ++i) ASSERT_OK(machine_->Apply(i, 1, reference_.log[i - 1]));
  ASSERT_OK(machine_->Commit());
  flushed_ = 100;
  committed_ = 200;
  fs_->CutAfter(0);
  CrashAndCheck();
  EXPECT_EQ(machine_->applied_index(), 100u);
  Stop();
}

TEST_F(CrashTest, DefectAppliedIndexNotInBatchIsSeen) {
  Start();
  SetDefect(Defect::kAppliedIndexNotInBatch, true);
  for (LogIndex i = 1; i <= 100; ++i) {
    ASSERT_OK(machine_->Apply(i, 1, reference_.log[i - 1]));
    if (i % 10 == 0) ASSERT_OK(machine_->Commit());
  }
  SetDefect(Defect::kAppliedIndexNotInBatch, false);
  ASSERT_OK(store_->Flush());
  machine_.reset();
  store_.reset();
  ASSERT_TRUE(Open());
  LogIndex index = machine_->applied_index();
  EXPECT_EQ(index, 90u);
  EXPECT_NE(*ContentHash(*store_), reference_.content[index]);
  Stop();
}

}  // namespace
}  // namespace dfs::nn
