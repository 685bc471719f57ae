// MemStateStore: an ordered map for the simulator and for tests. Flush writes the whole content to
// one file through the Env, synced; after a crash only flushed content is there. Deterministic, no
// thread.
#pragma once

#include <memory>
#include <string>

#include "common/base/env.h"
#include "namenode/state/store.h"

namespace dfs::nn {

/// The env must outlive the store. kCorrupt when the flushed file is damaged.
Result<std::unique_ptr<StateStore>> OpenMemStore(Env* env, const std::string& directory);

}  // namespace dfs::nn
