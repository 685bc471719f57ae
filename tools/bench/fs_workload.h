// FsWorkload: what `dfs bench fs` does in one mounted directory. Only system calls, so that any file system can be
// measured; it makes a directory of its own in it and removes it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "tools/bench/histogram.h"

namespace dfs::bench {

/// One row's result. rate is in the row's unit (calls, entries or MiB per second).
struct FsResult {
  double rate = 0;
  double p50_us = 0;  // 0: the row is not made of single calls
  double p99_us = 0;
};

struct FsRow {
  std::string name;
  std::string unit;  // "calls/s", "entries/s", "MiB/s"
  std::function<Result<FsResult>()> run;
};

class FsWorkload {
 public:
  struct Options {
    std::string directory;
    double seconds = 5;  // of each timed row, at least
    int callers = 4;     // of rows that are run in parallel
    uint64_t file_bytes = uint64_t{1} << 30;
    int entries = 10'000;  // of the cold directory
    std::string tree;      // a source tree for tar, rm and git
  };
  explicit FsWorkload(Options options);
  /// Removes what it made.
  ~FsWorkload();
  FsWorkload(const FsWorkload&) = delete;
  FsWorkload& operator=(const FsWorkload&) = delete;

  Status Prepare();
  /// In this order; later rows use what earlier ones made.
  std::vector<FsRow> Rows();

 private:
  /// Calls `call(caller, number)` from all callers until the time is over.
  using Call = std::function<Status(int caller, uint64_t number)>;
  Result<FsResult> Timed(int callers, const Call& call, uint64_t limit = UINT64_MAX);
  std::string Dir(int caller) const;
  std::string Name(int caller, const char* prefix, uint64_t number) const;

  Result<FsResult> WriteSequentially();
  Result<FsResult> ReadSequentially(bool cold);
  Result<FsResult> ReadRandomly(int callers);
  Result<FsResult> WriteRandomly(bool sync);
  Result<FsResult> Create();
  Result<FsResult> Stat(bool cold);
  Result<FsResult> ListCold();
  Result<FsResult> Rename();
  Result<FsResult> Unlink();
  Result<FsResult> WriteSmall();
  Result<FsResult> ReadSmall();
  Result<FsResult> Untar();
  Result<FsResult> RemoveTrees();
  Result<FsResult> GitStatus();

  const Options o_;
  std::string root_;
  std::string archive_;  // on the local disk
  uint64_t tree_files_ = 0;
  uint64_t trees_ = 0;             // unpacked so far
  std::vector<uint64_t> created_;  // by caller
  std::vector<uint64_t> small_;    // by caller
};

/// Runs the rows in every directory and prints them side by side. Exit code.
int RunFsBench(const std::vector<std::string>& arguments);

}  // namespace dfs::bench
