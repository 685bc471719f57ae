// What the programs that run seeds have in common.
//   PROGRAM --seeds A..B [--defect NAME] [--focus FAULT] [--until-failure] [--expect-failure] [--safety-only] [--verbose] [--log]
// Exit code 0: every seed went well (with --expect-failure: one failed); 1: otherwise; 2: wrong usage.
#pragma once

#include "tests/sim/simulation.h"

namespace dfs::sim {

using RunSeedFn = SimulationResult (*)(uint64_t seed, const SimulationOptions& options);

int Main(int argc, char** argv, const char* program, RunSeedFn run);

}  // namespace dfs::sim
