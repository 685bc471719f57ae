#include <fmt/format.h>

#include "tools/bench/parts.h"

namespace dfs::bench {
namespace {

void RunSize(const Bench& bench, Report& report, const std::string& root, size_t bytes, int callers,
             uint64_t files) {
  const std::string content(bytes, 's');
  const uint64_t each = files / static_cast<uint64_t>(callers);
  const auto path = [&](int w, uint64_t i) { return fmt::format("{}/w{}/f{}", root, w, i); };
  WorkerPlan plan;
  plan.processes = callers;
  plan.client = bench.client;
  plan.prepare = [&](const Client& c, int w) {
    return c.create_directories(fmt::format("{}/w{}", root, w));
  };
  plan.body = [&](const Client& c, int w, Recorder& r) {
    CreateOptions create;
    create.exclusive = true;
    create.overwrite = false;
    for (uint64_t i = 0; i < each; ++i) {
      if (!r.Time([&] { return c.write_file(path(w, i), content, create); })) return;
    }
  };
  const std::string size = fmt::format("{} KiB", bytes >> 10);
  report.Begin();
  Result<WorkerTotals> totals = RunWorkers(plan);
  if (!totals) return report.Failed("in, " + size, totals.error());
  report.Calls("in, " + size, callers, *totals);
  const bool all_in = totals->failed == 0;
  plan.prepare = nullptr;
  plan.body = [&](const Client& c, int w, Recorder& r) {
    for (uint64_t i = 0; i < each; ++i) {
      if (!r.Time([&]() -> Status {
            DFS_ASSIGN_OR_RETURN(const std::string got, c.read_file(path(w, i)));
            return got == content ? Status::Ok() : Status(Code::kCorrupt, "read other bytes");
          })) {
        return;
      }
    }
  };
  if (all_in) {
    report.Begin();
    totals = RunWorkers(plan);
    if (!totals) return report.Failed("out, " + size, totals.error());
    report.Calls("out, " + size, callers, *totals);
  }
}

}  // namespace

void RunSmallFiles(const Bench& bench, Report& report) {
  const uint64_t files = bench.quick ? 1000 : 10'000;
  report.Section(fmt::format("Small files: {} of each size, synced, in and out", files));
  const std::string root = BenchRoot();
  for (const size_t bytes : {size_t{4} << 10, size_t{64} << 10}) {
    for (const int callers : {1, 8}) {
      RunSize(bench, report, fmt::format("{}/{}-{}", root, bytes, callers), bytes, callers, files);
    }
  }
  // At the end, as what is removed goes on being reclaimed in the background.
  const Status removed =
      RunOnce(bench.client, [&](const Client& c) { return c.remove_all(root).status(); });
  if (!removed) report.Failed("cleaning up", removed);
}

}  // namespace dfs::bench
