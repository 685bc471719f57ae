// The two clocks. Everything that decides by time takes a Clock; nothing else asks the system.
#pragma once

#include <cstdint>

namespace dfs {

inline constexpr int64_t kMicrosecond = 1'000;
inline constexpr int64_t kMillisecond = 1'000'000;
inline constexpr int64_t kSecond = 1'000'000'000;

/// Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  /// CLOCK_BOOTTIME in nanoseconds: leases, time-outs, elections. Counts suspend.
  virtual int64_t BootNs() const = 0;
  /// CLOCK_REALTIME in nanoseconds since the epoch: only for times that people see.
  virtual int64_t WallNs() const = 0;
};

/// The system's clocks; a process-wide immutable object.
const Clock& SystemClock();

}  // namespace dfs
