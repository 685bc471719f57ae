// What the kernel knows of this process.
#pragma once

#include "common/metrics/exposition.h"

namespace dfs {

/// Adds process_cpu_seconds_total, process_resident_memory_bytes, process_open_fds, process_max_fds and
/// process_start_time_seconds, under the names that all Prometheus clients use.
void AddProcessMetrics(Exposition* page);

}  // namespace dfs
