#include <fmt/format.h>

#include <algorithm>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "tools/bench/bare.h"
#include "tools/bench/parts.h"

namespace dfs::bench {
namespace {

constexpr size_t kWriteBytes = 4096;

void Overwrite(const Client& client, const std::string& path, uint64_t file_bytes, int in_flight,
               bool sync, Recorder& recorder) {
  Result<FileHandle> file = client.open_rw(path);
  if (!file) return recorder.Add(0, file.error());
  const auto work = [&](int thread) {
    Random random(static_cast<uint64_t>(thread) + 7);
    const std::string data(kWriteBytes, static_cast<char>('a' + thread % 26));
    while (!recorder.TimeIsOver()) {
      const uint64_t offset = random.Uniform(file_bytes / kWriteBytes) * kWriteBytes;
      const int64_t before = SystemClock().BootNs();
      Status done = file->write_at(offset, data);
      if (done.ok()) done = sync ? file->sync() : file->flush();
      recorder.Add(SystemClock().BootNs() - before, done);
      if (!done.ok()) return;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 1; i < in_flight; ++i) threads.emplace_back(work, i);
  work(0);
  for (std::thread& t : threads) t.join();
  if (const Status closed = file->close(); !closed.ok()) recorder.Add(0, closed);
}

}  // namespace

void RunOverwrite(const Bench& bench, Report& report) {
  const uint64_t file_bytes = bench.quick ? uint64_t{128} << 20 : uint64_t{1} << 30;
  report.Section(fmt::format(
      "4 KiB overwrites at random offsets of a {} MiB file; without sync: in every member's memory",
      file_bytes >> 20));
  const std::string path = BenchRoot() + "-overwrite";
  const Status made = RunOnce(bench.client, [&](const Client& c) -> Status {
    uint64_t left = file_bytes;
    return c
        .write_file_atomically(path,
                               [&left](std::span<std::byte> out) -> Result<size_t> {
                                 const size_t n = std::min<uint64_t>(left, out.size());
                                 std::fill_n(out.begin(), n, std::byte{'0'});
                                 left -= n;
                                 return n;
                               })
        .status();
  });
  if (!made) return report.Failed("making the file", made);
  const Result<ThreeSyncs> bare = MeasureThreeSyncs(bench.scratch, bench.quick ? 100 : 500);
  if (bare) {
    report.Number("bare fsync of 4 KiB, third of three at once",
                  static_cast<double>(bare->third.Percentile(0.5)) / 1e3, "us p50");
  }
  for (const bool sync : {false, true}) {
    for (const int in_flight : {1, 16}) {
      WorkerPlan plan;
      plan.client = bench.client;
      plan.seconds = bench.seconds;
      plan.body = [&](const Client& c, int, Recorder& r) {
        Overwrite(c, path, file_bytes, in_flight, sync, r);
      };
      const std::string name =
          fmt::format("{}, {} in flight", sync ? "sync" : "no sync", in_flight);
      report.Begin();
      const Result<WorkerTotals> totals = RunWorkers(plan);
      if (totals) {
        report.Calls(name, 1, *totals);
      } else {
        report.Failed(name, totals.error());
      }
    }
  }
  const Status removed = RunOnce(bench.client, [&](const Client& c) { return c.unlink(path); });
  if (!removed) report.Failed("cleaning up", removed);
}

}  // namespace dfs::bench
