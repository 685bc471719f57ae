// The bare parts: what the machine does without us, measured in the same run.
#pragma once

#include "tools/bench/histogram.h"
#include "tools/bench/report.h"

namespace dfs::bench {

/// fdatasync after overwriting 4 KiB of a preallocated file, by three at once.
struct ThreeSyncs {
  Histogram second;  // when the second of the three was through: a majority
  Histogram third;
};
Result<ThreeSyncs> MeasureThreeSyncs(const std::string& directory, int rounds);
/// 64 bytes there and back between two processes.
Result<Histogram> MeasureRoundTrip(bool unix_socket, int rounds);
/// Seconds until three `dd conv=fsync` of this size are through, started at once.
Result<double> RunThreeDd(const std::string& directory, uint64_t bytes);
/// Seconds for a process to read that many bytes which another sends through a Unix socket.
Result<double> StreamThroughUnixSocket(uint64_t bytes);

void RunBare(const Bench& bench, Report& report);

}  // namespace dfs::bench
