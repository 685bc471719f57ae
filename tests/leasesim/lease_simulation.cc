#include "tests/leasesim/lease_simulation.h"

#include <fmt/core.h>

#include <algorithm>
#include <stdexcept>

#include "common/base/check.h"
#include "common/base/defects.h"
#include "tests/leasesim/lease_nemesis.h"
#include "tests/leasesim/lease_world.h"

namespace dfs::sim {

namespace {

/// As a focus: any fault, and programs that work on names and attributes alone.
constexpr const char* kNames = "names";

struct CheckFailure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void ThrowCheckFailure(const char* file, int line, const std::string& message) {
  throw CheckFailure(fmt::format("{}:{}: {}", file, line, message));
}

ClusterOptions OptionsOf(uint64_t seed) {
  Random random(seed ^ 0x1ea5e);
  ClusterOptions options;
  options.datanodes = 3;
  options.clients = 3 + random.Uniform(2);  // the first has no leases
  options.read_index = random.OneIn(5);
  if (random.OneIn(5)) options.election_max_ns = 3 * kSecond;
  return options;
}

LeaseNemesisOptions NemesisOf(uint64_t seed, const std::string& focus) {
  Random random(seed ^ 0xbad);
  LeaseNemesisOptions options;
  // Each seed has its own character: some kinds of fault are absent, others frequent.
  for (uint64_t* weight :
       {&options.leader_crash, &options.leader_cut, &options.mount_cut, &options.daemon_stop,
        &options.machine_stop, &options.mount_death, &options.break_connections,
        &options.slow_network}) {
    if (random.OneIn(4)) *weight = 0;
    if (random.OneIn(4)) *weight *= 3;
  }
  options.mean_interval_ns = random.Between(500, 3000) * kMillisecond;
  if (!focus.empty()) DFS_CHECK(options.Focus(focus), "no such fault: {}", focus);
  return options;
}

class Run {
 public:
  Run(uint64_t seed, const SimulationOptions& options)
      : options_(options),
        cluster_(seed, OptionsOf(seed)),
        world_(cluster_),
        nemesis_(world_, NemesisOf(seed, options.focus == kNames ? "" : options.focus)) {
    cluster_.SetVerbose(options.verbose);
    if (options.focus == kNames) world_.LeaveFilesAlone();
  }

  void Go() {
    cluster_.Start();
    world_.Prepare();
    Await("the files to be made", [&] { return world_.prepared() ? "" : "unfinished"; });
    if (cluster_.failed()) return;
    world_.Start();
    RunFor(kSecond);
    nemesis_.Start();
    RunFor(options_.chaos_ns);
    cluster_.Trace("--- mended ---");
    nemesis_.Stop();
    RunFor(kSecond);
    world_.Drain();
    Await("the programs to end", [&] { return world_.Busy(); });
    if (!cluster_.failed()) world_.CheckHistories();
  }

  SimulationResult Result(uint64_t seed) {
    const SimStats before = cluster_.stats();
    for (Host* host : cluster_.AllHosts()) host->Fall(FallMode::kKillProcess, false);
    cluster_.scheduler().RunFor(0);  // their processes are destroyed
    SimulationResult result;
    result.seed = seed;
    result.failure = cluster_.failure();
    result.stats = cluster_.stats();
    result.stats.crashes = before.crashes;
    result.stats.events = cluster_.scheduler().events();
    return result;
  }
  Cluster& cluster() { return cluster_; }

 private:
  void RunFor(int64_t ns) {
    const int64_t until = cluster_.scheduler().now_ns() + ns;
    while (!cluster_.failed() && cluster_.scheduler().now_ns() < until) {
      cluster_.scheduler().RunFor(
          std::min<int64_t>(100 * kMillisecond, until - cluster_.scheduler().now_ns()));
    }
  }

  template <class F>
  void Await(const char* name, F what) {
    const int64_t limit = cluster_.scheduler().now_ns() + options_.heal_limit_ns;
    while (!cluster_.failed()) {
      const std::string missing = what();
      if (missing.empty()) return;
      if (cluster_.scheduler().now_ns() >= limit) {
        return cluster_.Fail(fmt::format("liveness: waited {} s for {}: {}",
                                         options_.heal_limit_ns / kSecond, name, missing));
      }
      RunFor(200 * kMillisecond);
    }
  }

  const SimulationOptions options_;
  Cluster cluster_;
  LeaseWorld world_;
  LeaseNemesis nemesis_;
};

}  // namespace

SimulationResult RunLeaseSeed(uint64_t seed, const SimulationOptions& options) {
  SetCheckFailureHandler(&ThrowCheckFailure);
  Run run(seed, options);
  try {
    run.Go();
  } catch (const CheckFailure& failure) {
    run.cluster().Fail(failure.what());
  }
  return run.Result(seed);
}

}  // namespace dfs::sim
