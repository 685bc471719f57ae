// Random writers against a model: overwrites, appends, truncations, flushes, syncs and reads at random
// offsets, while connections break, leaders change, replies are lost and a datanode dies.
#include <gtest/gtest.h>

#include "tests/client/client_fixture.h"

namespace dfs::client {
namespace {

struct Run {
  FakeCluster c;
  Core core;
  Random random;
  std::string model;
  Ptr file;
  bool fault_free = false;

  explicit Run(uint64_t seed) : c(seed), random(seed * 77 + 1) {}

  std::string Bytes(size_t n) {
    std::string s(n, static_cast<char>('a' + random.Uniform(26)));
    for (size_t i = 0; i < n; i += 1 + random.Uniform(50)) s[i] = static_cast<char>(random.Next());
    return s;
  }
  void WriteAt(uint64_t offset, size_t n) {
    const std::string data = Bytes(n);
    if (model.size() < offset + n) model.resize(offset + n, '\0');
    model.replace(offset, n, data);
    Write(c, file, offset, data);
  }
  void Step() {
    switch (random.Uniform(10)) {
      case 0:
      case 1:
        WriteAt(model.size(), 1 + random.Uniform(random.OneIn(5) ? 300'000 : 3000));
        break;
      case 2:
      case 3:
      case 4:
        WriteAt(random.Uniform(model.size() + 1), 1 + random.Uniform(5000));
        break;
      case 5: {
        if (!random.OneIn(3)) break;
        const uint64_t size = random.Uniform(model.size() + 20'000);
        const Status s = c.WaitStatus([&](StatusDone d) { file->Truncate(size, std::move(d)); });
        ASSERT_TRUE(s.ok()) << s.ToString();
        model.resize(size, '\0');
        break;
      }
      case 6: {
        const Status s = Flush(c, file);
        ASSERT_TRUE(s.ok()) << s.ToString();
        ASSERT_TRUE(c.Content(file->inode()) == model) << "after a flush everybody sees it";
        break;
      }
      case 7: {
        const Status s = Sync(c, file);
        ASSERT_TRUE(s.ok()) << s.ToString();
        CheckSynced();
        break;
      }
      default:
        ReadSomewhere();
        break;
    }
  }
  void ReadSomewhere() {
    const uint64_t offset = random.Uniform(model.size() + 1);
    const size_t n = 1 + random.Uniform(20'000);
    std::string out(n, '\xee');
    auto got = c.Wait<size_t>([&](Done<size_t> d) {
      file->ReadAt(offset, out.data(), n, std::make_shared<FileReader::Guard>(), std::move(d));
    });
    ASSERT_TRUE(got.ok()) << got.error().ToString();
    out.resize(*got);
    ASSERT_TRUE(out == model.substr(offset, n))
        << "got " << out.size() << " of " << n << "at " << offset;
  }
  /// Every byte is on the disk of every live member, or inline.
  void CheckSynced() {
    FakeFile& f = c.files[file->inode()];
    if (f.has_inline && f.slots.empty()) {
      ASSERT_TRUE(f.inline_data == model.substr(0, f.inline_data.size()));
      return;
    }
    const uint64_t bs = static_cast<uint64_t>(f.attr.block_size);
    for (auto& [slot, block] : f.slots) {
      const uint64_t start = slot * bs;
      if (start >= model.size()) continue;
      for (uint64_t m : block.members) {
        if (!c.DatanodeUp(m)) continue;
        const std::string& synced = c.replicas[m][block.id].synced;
        const size_t n = std::min<size_t>({synced.size(), bs, model.size() - start});
        ASSERT_TRUE(synced.substr(0, n) == model.substr(start, n))
            << "slot " << slot << " member " << m;
        if (block.open) {
          // What lies behind the replica's end in the slot are zeros of a truncation upwards.
          ASSERT_EQ(model.substr(start + n, bs - n).find_first_not_of('\0'), std::string::npos);
        }
      }
    }
  }
};

void RunSeed(uint64_t seed) {
  SCOPED_TRACE(::testing::Message() << "seed " << seed);
  Run run(seed);
  FakeCluster& c = run.c;
  run.core = c.MakeClient(60 * kSecond);
  c.net.faults().send_window_bytes = 256u << 10;
  if (seed % 2 == 0) {
    c.drop_reply_one_in = 15;
    c.net.faults().spike_one_in = 50;
  }
  auto file = Create(c, run.core, "f", 64u << 10, 1 + seed % 4);
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  run.file = *file;
  const int kill_at = seed % 3 == 0 ? 20 + static_cast<int>(run.random.Uniform(40)) : -1;
  for (int step = 0; step < 80; ++step) {
    if (seed % 2 == 0 && run.random.OneIn(15)) c.leader = static_cast<int>(run.random.Uniform(3));
    if (step == kill_at) c.DatanodeDown(1 + run.random.Uniform(3));
    run.Step();
    if (::testing::Test::HasFatalFailure()) return;
    if (run.random.OneIn(3))
      c.scheduler.RunFor(static_cast<int64_t>(run.random.Uniform(3)) * kMillisecond);
  }
  const Status closed = Close(c, run.file);
  ASSERT_TRUE(closed.ok()) << closed.ToString();
  ASSERT_TRUE(c.Content(run.file->inode()) == run.model);
  for (auto& [slot, block] : c.files[run.file->inode()].slots) EXPECT_FALSE(block.open);
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

TEST(ClientRandom, Seeds) {
  for (uint64_t seed = 1; seed <= 24; ++seed) {
    RunSeed(seed);
    if (HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace dfs::client
