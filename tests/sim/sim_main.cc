#include "tests/sim/sim_main.h"

#include <fmt/core.h>

#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>

#include "common/base/defects.h"
#include "common/base/logging.h"

namespace dfs::sim {
namespace {

struct Flags {
  uint64_t first = 1;
  uint64_t last = 100;
  std::string defect;
  std::string focus;
  bool verbose = false;
  bool until_failure = false;
  bool expect_failure = false;  // and stop at the first one
  bool safety_only = false;     // liveness failures are told, and count for nothing
  bool log = false;
};

bool ParseNumber(std::string_view text, uint64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

bool Parse(int argc, char** argv, Flags* flags) {
  for (int i = 1; i < argc; ++i) {
    std::string_view arg = argv[i];
    const auto value = [&]() -> std::string_view { return i + 1 < argc ? argv[++i] : ""; };
    if (arg == "--seeds") {
      const std::string_view range = value();
      const size_t dots = range.find("..");
      if (!ParseNumber(range.substr(0, dots), &flags->first)) return false;
      flags->last = flags->first;
      if (dots != std::string_view::npos && !ParseNumber(range.substr(dots + 2), &flags->last))
        return false;
    } else if (arg == "--defect") {
      flags->defect = value();
    } else if (arg == "--focus") {
      flags->focus = value();
    } else if (arg == "--verbose") {
      flags->verbose = true;
    } else if (arg == "--log") {
      flags->log = true;
    } else if (arg == "--safety-only") {
      flags->safety_only = true;
    } else if (arg == "--until-failure") {
      flags->until_failure = true;
    } else if (arg == "--expect-failure") {
      flags->until_failure = flags->expect_failure = true;
    } else {
      return false;
    }
  }
  return flags->first <= flags->last;
}

bool SwitchOn(const char* program, const std::string& name) {
  for (int i = 0; i < static_cast<int>(Defect::kCount); ++i) {
    if (name != DefectName(static_cast<Defect>(i))) continue;
    SetDefect(static_cast<Defect>(i), true);
    return true;
  }
  fmt::print(stderr, "{}: no defect {}; there are:\n", program, name);
  for (int i = 0; i < static_cast<int>(Defect::kCount); ++i) {
    fmt::print(stderr, "  {}\n", DefectName(static_cast<Defect>(i)));
  }
  return false;
}

// In a process of its own: a seed that crashes is a seed that failed, and the next one starts clean.
SimulationResult RunApart(RunSeedFn run, uint64_t seed, const SimulationOptions& options) {
  static_assert(std::is_trivially_copyable_v<SimStats>);
  SimulationResult result;
  result.seed = seed;
  int fds[2];
  if (::pipe(fds) != 0) return run(seed, options);
  std::fflush(stdout);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(fds[0]);
    const SimulationResult mine = run(seed, options);
    std::string bytes(reinterpret_cast<const char*>(&mine.stats), sizeof(mine.stats));
    bytes += mine.failure;
    size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t n = ::write(fds[1], bytes.data() + done, bytes.size() - done);
      if (n <= 0) break;
      done += static_cast<size_t>(n);
    }
    std::fflush(stdout);
    ::_exit(0);
  }
  ::close(fds[1]);
  std::string bytes;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(fds[0], buffer, sizeof(buffer))) > 0;) {
    bytes.append(buffer, static_cast<size_t>(n));
  }
  ::close(fds[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (bytes.size() < sizeof(result.stats) || !WIFEXITED(status)) {
    result.failure = fmt::format("the simulation crashed (signal {})", WTERMSIG(status));
    return result;
  }
  std::memcpy(&result.stats, bytes.data(), sizeof(result.stats));
  result.failure = bytes.substr(sizeof(result.stats));
  return result;
}

}  // namespace

int Main(int argc, char** argv, const char* program, RunSeedFn run) {
  Flags flags;
  if (!Parse(argc, argv, &flags)) {
    fmt::print(stderr,
               "usage: {} --seeds A..B [--defect NAME] [--focus FAULT] [--until-failure] "
               "[--expect-failure] "
               "[--safety-only] "
               "[--verbose] [--log]\n",
               program);
    return 2;
  }
  if (!flags.defect.empty() && !SwitchOn(program, flags.defect)) return 2;
  SetLogLevel(flags.log ? LogLevel::kDebug : LogLevel::kError);
  // What crashed machines complain of is no news.
  if (!flags.log && !flags.verbose && std::freopen("/dev/null", "w", stderr) == nullptr) return 2;
  SimulationOptions options;
  options.verbose = flags.verbose;
  options.focus = flags.focus;
  SimStats total;
  uint64_t failures = 0;
  uint64_t stuck = 0;
  uint64_t runs = 0;
  uint64_t with[6] = {};
  for (uint64_t seed = flags.first; seed <= flags.last; ++seed) {
    const SimulationResult result = RunApart(run, seed, options);
    ++runs;
    total.Add(result.stats);
    const SimStats& s = result.stats;
    const uint64_t counts[6] = {s.elections,      s.log_truncations,  s.snapshot_installs,
                                s.chain_failures, s.block_recoveries, s.session_expiries};
    for (size_t i = 0; i < 6; ++i) with[i] += counts[i] > 0 ? 1 : 0;
    if (flags.first == flags.last) fmt::print("seed {}: {}\n", seed, s.ToString());
    if (result.failure.empty()) continue;
    if (flags.safety_only && result.failure.find("liveness: ") != std::string::npos) {
      ++stuck;
      fmt::print("stuck seed {}: {}\n", seed, result.failure);
      continue;
    }
    ++failures;
    fmt::print("FAILED seed {}: {}\n  again: {} --seeds {}..{}{} --verbose\n", seed,
               result.failure, program, seed, seed,
               (flags.focus.empty() ? "" : " --focus " + flags.focus) +
                   (flags.defect.empty() ? "" : " --defect " + flags.defect));
    std::fflush(stdout);
    if (flags.until_failure) break;
  }
  fmt::print("{} seeds, {} failed, {} stuck\ntotals: {}\n", runs, failures, stuck,
             total.ToString());
  fmt::print(
      "seeds with elections {}, log truncations {}, snapshot installs {}, chain failures {}, block "
      "recoveries {}, session expiries {}\n",
      with[0], with[1], with[2], with[3], with[4], with[5]);
  return (failures > 0) == flags.expect_failure ? 0 : 1;
}

}  // namespace dfs::sim
