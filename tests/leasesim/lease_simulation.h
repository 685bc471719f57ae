// One seed of the lease simulation: a cluster with mounts, a nemesis, the end, and the verdict.
#pragma once

#include "tests/sim/simulation.h"

namespace dfs::sim {

SimulationResult RunLeaseSeed(uint64_t seed, const SimulationOptions& options);

}  // namespace dfs::sim
