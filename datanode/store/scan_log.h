// ScanLog: `SCANNED` of a volume, when each replica on it was last verified by the scanner. It is appended to, synced
// now and then, and made anew in one step when it has grown: what a power cut takes from it is verified once more, and
// a record that was torn is dropped by its own sum. Thread-compatible.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace dfs::dn {

struct VerifiedAt {
  BlockId block;
  int64_t wall_s = 0;  // seconds since the epoch
};

class ScanLog {
 public:
  /// Whose it is; a log of anybody else counts for nothing.
  struct Owner {
    std::string cluster_id;
    DatanodeId datanode;
    uint64_t storage_id = 0;
  };
  static constexpr uint64_t kHeaderSize = 128;
  static constexpr uint64_t kRecordSize = 24;

  ScanLog(Env& env, const std::string& directory, Owner owner);

  /// The latest time of each block, in the order of the blocks; nothing when there is no log or it cannot be used.
  std::vector<VerifiedAt> Load();
  Status Append(const VerifiedAt& verified);
  /// What was appended survives a power cut when it returns ok.
  Status Sync();
  /// In one step, durably: these and nothing else.
  Status Rewrite(std::span<const VerifiedAt> all);
  /// In the file, those of blocks that were verified again since among them.
  uint64_t records() const { return records_; }

 private:
  std::string Header() const;
  Status OpenForAppend();

  Env& env_;
  const std::string path_;
  const Owner owner_;
  std::unique_ptr<File> file_;
  uint64_t records_ = 0;
  bool dirty_ = false;
  bool usable_ = false;  // the file is there, and begins with our header
};

}  // namespace dfs::dn
