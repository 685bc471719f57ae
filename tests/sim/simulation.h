// One seed: a cluster, a nemesis, a workload, the end, and the verdict.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/cluster.h"

namespace dfs::sim {

struct SimulationOptions {
  std::string focus;  // what the nemesis does nearly always; "": each seed has its own mix
  int64_t chaos_ns = 20 * kSecond;
  int64_t heal_limit_ns = 120 * kSecond;
  bool verbose = false;
};

struct SimulationResult {
  uint64_t seed = 0;
  std::string failure;  // "" when all went well
  SimStats stats;
};

SimulationResult RunSeed(uint64_t seed, const SimulationOptions& options = {});

}  // namespace dfs::sim
