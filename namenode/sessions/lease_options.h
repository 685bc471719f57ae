// How long leases last and how many there may be.
#pragma once

#include <cstddef>
#include <cstdint>

#include "common/base/clock.h"

namespace dfs::nn {

struct LeaseOptions {
  /// A session's term, as the session counts it; here it ends a little later, as clocks are not equally fast.
  int64_t term_ns = 3 * kSecond;
  /// A session that leaves a recall unanswered for so long has its term no longer extended.
  int64_t recall_patience_ns = 1 * kSecond;
  size_t max_leases_per_session = 200'000;
  size_t max_leases = 2'000'000;
  size_t max_waiting = 10'000;  // changes, and requests for write leases
};

}  // namespace dfs::nn
