// dfs bench fs: the same rows in several mounted directories, side by side.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/bench/fs_workload.h"
#include "tools/cli/args.h"
#include "tools/cli/text.h"

namespace dfs::bench {
namespace {

std::string Number(double value) {
  return value >= 100 ? fmt::format("{:.0f}", value) : fmt::format("{:.3g}", value);
}

}  // namespace

int RunFsBench(const std::vector<std::string>& arguments) {
  cli::Args args(
      "bench fs",
      "Measure mounted directories by system calls, side by side: a mount of dfs, the local disk, "
      "others. Cold rows need root.",
      "  dfs bench fs /mnt/dfs /var/tmp --tree ~/src/linux\n  dfs bench fs /mnt/dfs --json");
  FsWorkload::Options o;
  std::vector<std::string> directories;
  int64_t callers = o.callers;
  int64_t tenths = 50;
  bool quick = false;
  bool as_json = false;
  args.Positionals("DIRECTORY", &directories, "Where to measure; all is removed after", 1);
  args.Option("--callers", &callers, "Callers of the rows about many files (4)", 1, 256);
  args.Option("--tenths", &tenths, "Tenths of a second of each row, at least (50)", 1, 6000);
  args.Option("--tree", &o.tree,
              "A local source tree, for tar, git and rm (rows left out without)");
  args.Size("--file-size", &o.file_bytes, "Of the large file (1G)");
  args.Flag("--quick", &quick, "Small sizes and short times");
  args.Flag("--json", &as_json, "The result as one JSON document on stdout");
  if (const auto code = args.Parse(arguments)) return *code;
  o.callers = static_cast<int>(callers);
  o.seconds = static_cast<double>(tenths) / 10;
  if (quick) {
    o.seconds = 0.3;
    o.file_bytes = uint64_t{32} << 20;
    o.entries = 500;
  }
  o.file_bytes = std::max<uint64_t>(o.file_bytes >> 20, 1) << 20;

  std::FILE* out = as_json ? stderr : stdout;
  nlohmann::json rows = nlohmann::json::array();
  bool failed = false;
  // A directory is measured whole before the next: what one leaves in the background does not disturb it long.
  for (const std::string& directory : directories) {
    o.directory = directory;
    FsWorkload workload(o);
    if (const Status ready = workload.Prepare(); !ready) {
      fmt::print(stderr, "dfs: cannot measure '{}': {}\n", directory, ready.message());
      failed = true;
      continue;
    }
    fmt::print(out, "\n{}\n", directory);
    for (const FsRow& row : workload.Rows()) {
      const Result<FsResult> result = row.run();
      if (!result) {
        fmt::print(out, "  {:<40} failed: {}\n", row.name, result.error().message());
        failed = true;
        continue;
      }
      fmt::print(out, "  {:<40} {:>10} {:<10}", row.name, Number(result->rate), row.unit);
      if (result->p50_us > 0) {
        fmt::print(out, " p50 {} us  p99 {} us", Number(result->p50_us), Number(result->p99_us));
      }
      fmt::print(out, "\n");
      std::fflush(out);
      rows.push_back({{"directory", directory},
                      {"name", row.name},
                      {"unit", row.unit},
                      {"rate", result->rate},
                      {"p50_us", result->p50_us},
                      {"p99_us", result->p99_us}});
    }
  }
  if (as_json) {
    const nlohmann::json all = {{"schema", "dfs.bench.fs/1"}, {"rows", rows}};
    fmt::print("{}\n", all.dump());
  }
  return failed ? cli::kExitFailed : cli::kExitOk;
}

}  // namespace dfs::bench
