// Whether file locks may hold between mounts.
#pragma once

#include "common/client/core/client_core.h"

namespace dfs::fuse {

/// Whether all namenodes are of a version that keeps locks. A cluster that has just begun finds that out within a
/// moment, which is waited for.
void FindLockSupport(client::ClientCore& core, int64_t deadline_ns, client::Done<bool> done);

}  // namespace dfs::fuse
