// CheckConsistency: reads a whole state and checks that its records agree with each other. For tests,
// the simulator and offline inspection; needs memory in proportion to the state.
#pragma once

#include "common/base/status.h"
#include "namenode/state/store.h"

namespace dfs::nn {

/// kCorrupt naming the first disagreement: link and entry counts, usage of every directory, homes of
/// hard links, slots and blocks, sizes, the index of open blocks, orphans, to-do, counters.
Status CheckConsistency(StateStore& store);

}  // namespace dfs::nn
