// Scanner: reads every finalized replica again in the background and holds it against its writer's sums, those that
// were verified longest ago first, so that what rots is found while there are other replicas, and not when it is read.
//
//   Scanner scanner(store, env, clock, options, busy);
//   for (;;) { int64_t next = scanner.Step(); ... wait until then ... }
//
// Each volume has a pace of its own. A replica is due a period after it was last verified, a new one a day after it
// came; one of which nothing is known, at once. What is found corrupt is reported as a reader would (BlockStore).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "common/base/clock.h"
#include "common/base/env.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

struct ScannerOptions {
  uint64_t bytes_per_second = 0;  // on each volume; 0: no scanner
  int64_t period_ns = int64_t{21} * 24 * 3600 * kSecond;
};

struct ScannerStats {
  bool on = false;
  uint64_t verified_bytes = 0;     // since the start
  uint64_t verified_replicas = 0;  // since the start
  uint64_t corrupt_replicas = 0;   // found since the start
  // As of the last look at what there is.
  uint64_t never_verified = 0;        // replicas
  int64_t oldest_verified_wall_s = 0;  // when the one was that is longest ago; 0: none was ever
};

/// Step is confined to one executor, which may block on the disk; stats() is thread-safe.
class Scanner {
 public:
  /// busy: whether others have used the disks since it was last asked. The scanner is slower then, but goes on: the
  /// replicas of a busy datanode rot, too.
  Scanner(BlockStore& store, Env& env, const Clock& clock, const std::string& cluster_id,
          ScannerOptions options, std::function<bool()> busy);
  ~Scanner();

  /// At most a piece on each volume; when to call it again (BootNs).
  int64_t Step();
  ScannerStats stats() const;

 private:
  class VolumeScan;
  void Refresh();

  BlockStore& store_;
  const Clock& clock_;
  const ScannerOptions options_;
  const std::function<bool()> busy_;
  std::vector<std::unique_ptr<VolumeScan>> volumes_;
  int64_t refresh_at_ns_ = 0;
  mutable std::mutex mutex_;  // stats_
  ScannerStats stats_;
};

}  // namespace dfs::dn
