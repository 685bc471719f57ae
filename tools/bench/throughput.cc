#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "common/base/clock.h"
#include "tools/bench/bare.h"
#include "tools/bench/parts.h"

namespace dfs::bench {
namespace {

constexpr size_t kPieceBytes = 1 << 20;

// Bytes that differ from one MiB to the next, at the price of a copy, as from a file in the page cache.
Source Pattern(uint64_t bytes, std::shared_ptr<std::vector<std::byte>> pattern) {
  auto left = std::make_shared<uint64_t>(bytes);
  return [left, pattern](std::span<std::byte> out) -> Result<size_t> {
    const size_t n = static_cast<size_t>(std::min<uint64_t>(*left, out.size()));
    const size_t shift = static_cast<size_t>(*left >> 20) * 61 % kPieceBytes;
    for (size_t done = 0; done < n;) {
      const size_t at = (shift + done) % pattern->size();
      const size_t piece = std::min(n - done, pattern->size() - at);
      std::copy_n(pattern->begin() + static_cast<std::ptrdiff_t>(at), piece,
                  out.begin() + static_cast<std::ptrdiff_t>(done));
      done += piece;
    }
    *left -= n;
    return n;
  };
}

Status Put(const Client& client, const std::string& path, uint64_t bytes) {
  auto pattern = std::make_shared<std::vector<std::byte>>(2 * kPieceBytes);
  uint64_t x = 0x9E3779B97F4A7C15ull;
  for (std::byte& b : *pattern) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    b = static_cast<std::byte>(x);
  }
  DFS_ASSIGN_OR_RETURN(const uint64_t put,
                       client.write_file_atomically(path, Pattern(bytes, pattern)));
  return put == bytes ? Status::Ok() : Status(Code::kInternal, "put a wrong number of bytes");
}

Status Get(const Client& client, const std::string& path, uint64_t bytes) {
  DFS_ASSIGN_OR_RETURN(Reader reader, client.open(path));
  std::vector<std::byte> buffer(kPieceBytes);
  uint64_t got = 0;
  while (true) {
    DFS_ASSIGN_OR_RETURN(const size_t n, reader.read(buffer));
    if (n == 0) break;
    got += n;
  }
  return got == bytes ? Status::Ok() : Status(Code::kInternal, "got a wrong number of bytes");
}

// Seconds of one call in a process of its own.
Result<double> TimeInProcess(const Bench& bench, const std::function<Status(const Client&)>& call) {
  WorkerPlan plan;
  plan.client = bench.client;
  plan.body = [&](const Client& c, int, Recorder& r) { (void)r.Time([&] { return call(c); }); };
  DFS_ASSIGN_OR_RETURN(const WorkerTotals totals, RunWorkers(plan));
  if (totals.failed > 0) return Status(Code::kInternal, totals.first_error);
  return static_cast<double>(totals.latency.max_ns) / 1e9;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

void RunSize(const Bench& bench, Report& report, uint64_t bytes, int rounds) {
  const std::string size = fmt::format("{} MiB", bytes >> 20);
  const std::string path = BenchRoot() + "-stream";
  std::vector<double> dd_times, put_times, get_times, stream_times;
  // Interleaved, so that what the machine does meanwhile falls on all alike. The first round also touches
  // memory that the hypervisor has not mapped yet, and counts like the others.
  for (int round = 0; round < rounds; ++round) {
    report.Begin();
    const Result<double> dd = RunThreeDd(bench.scratch, bytes);
    if (!dd) return report.Failed("three dd", dd.error());
    dd_times.push_back(*dd);
    const Result<double> put =
        TimeInProcess(bench, [&](const Client& c) { return Put(c, path, bytes); });
    if (!put) return report.Failed("put " + size, put.error());
    put_times.push_back(*put);
    report.Throughput(fmt::format("put {}, round {}", size, round + 1), bytes, *put,
                      {{"of_three_dd", *dd / *put}});
    report.Begin();
    const Result<double> stream = StreamThroughUnixSocket(bytes);
    if (!stream) return report.Failed("bare Unix-socket stream", stream.error());
    stream_times.push_back(*stream);
    const Result<double> get =
        TimeInProcess(bench, [&](const Client& c) { return Get(c, path, bytes); });
    if (!get) return report.Failed("get " + size, get.error());
    get_times.push_back(*get);
    report.Throughput(fmt::format("get {}, round {}", size, round + 1), bytes, *get,
                      {{"of_bare_stream", *stream / *get}});
    const Status removed = RunOnce(bench.client, [&](const Client& c) { return c.unlink(path); });
    if (!removed) return report.Failed("cleaning up", removed);
  }
  report.Begin();
  report.Throughput("three dd conv=fsync, " + size + " each (median)", bytes, Median(dd_times));
  report.Throughput("put " + size + " (median)", bytes, Median(put_times),
                    {{"of_three_dd", Median(dd_times) / Median(put_times)}});
  report.Throughput("bare Unix-socket stream (median)", bytes, Median(stream_times));
  report.Throughput("get " + size + " (median)", bytes, Median(get_times),
                    {{"of_bare_stream", Median(stream_times) / Median(get_times)}});
}

}  // namespace

void RunThroughput(const Bench& bench, Report& report) {
  report.Section("Throughput: one file, synced on every replica at the end");
  if (bench.quick) return RunSize(bench, report, uint64_t{256} << 20, 2);
  RunSize(bench, report, uint64_t{1} << 30, 5);
  RunSize(bench, report, uint64_t{4} << 30, 3);
}

}  // namespace dfs::bench
