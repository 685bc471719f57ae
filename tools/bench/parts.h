// The parts of dfs bench. Each cleans up after itself.
#pragma once

#include "tools/bench/report.h"

namespace dfs::bench {

/// create, stat, list, rename, delete, mkdir at 1, 8 and 64 callers.
void RunMetadata(const Bench& bench, Report& report);
/// put and get of 1 and 4 GiB beside three dd and a bare stream.
void RunThroughput(const Bench& bench, Report& report);
/// 10,000 files of 4 KiB and of 64 KiB in and out with 1 and 8 callers.
void RunSmallFiles(const Bench& bench, Report& report);
/// 4 KiB at random offsets of a 1 GiB file, with and without sync, 1 and 16 in flight.
void RunOverwrite(const Bench& bench, Report& report);
/// Time without service when the leader is killed.
void RunFailover(const Bench& bench, Report& report, int kills);
/// Memory, start-up and snapshot time with this many files.
void RunMillion(const Bench& bench, Report& report, uint64_t files);

/// A directory of this run, below /.
std::string BenchRoot();

}  // namespace dfs::bench
