// FileModel: what one file may contain. Content comes in units of 64 bytes, each telling by itself which write
// made it; the model keeps for each unit which writes it may show:
//  * after a sync was acknowledged, what was last written before it, or something later;
//  * after a flush was acknowledged, the same, as long as no datanode has lost its memory since;
//  * otherwise anything written since;
//  * and nothing older than what a reader has seen, as long as no datanode has lost its memory since that was written.
// One writer at a time; any number of readers.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dfs::sim {

class FileModel {
 public:
  static constexpr uint64_t kUnit = 64;

  explicit FileModel(uint64_t id) : id_(id) {}

  uint64_t id() const { return id_; }
  /// Grows with every event of the model; reads remember it.
  uint64_t Now() const { return clock_; }

  /// A write of whole units begins: from now on it may be seen. Returns its bytes. A gap up to offset becomes zeros.
  std::string BeginWrite(uint64_t offset, uint64_t size, uint64_t loss_epoch = 0);
  /// A truncation begins: from now on what lies beyond size may be gone, and what the file grows by is zeros. Returns its
  /// number, which is in the order of the writes.
  uint32_t BeginTruncate(uint64_t size);
  /// It was acknowledged: what it cut off is never seen again. It promises nothing else.
  void TruncateDone(uint32_t number);
  /// Writes that were acknowledged to the caller so far, to be given to SyncDone or FlushDone later.
  uint64_t last_write() const { return next_write_ - 1; }
  /// A handle whose writes are those after `after` learned that they are durable up to `up_to`: where it wrote,
  /// nothing older may be seen any more, and the file is at least that long. What earlier handles left open stays
  /// open.
  void SyncDone(uint64_t after, uint64_t up_to);
  /// The same in memory; loss_epoch is the number of times datanodes lost memory so far.
  void FlushDone(uint64_t after, uint64_t up_to, uint64_t loss_epoch);
  /// The only writer opened the file and found this size: what was written behind it and not synced is gone.
  /// "" or what is wrong with that size.
  std::string OpenedAt(uint64_t size, uint64_t loss_epoch);

  /// Where the next append goes, as far as the writer knows.
  uint64_t size() const { return live_units_ * kUnit; }
  /// Length of what was ever written.
  uint64_t max_size() const { return units_.size() * kUnit; }
  uint64_t synced_size() const { return synced_units_ * kUnit; }

  /// Whether the range holds bytes that were synced and so must be readable for ever.
  bool MustExist(uint64_t offset, uint64_t size) const;

  /// Checks bytes read at an offset by a read that began at Now() == since. "" when they are allowed.
  /// at_end: the read met the end of the file behind them.
  std::string Check(uint64_t offset, std::string_view data, bool at_end, uint64_t since,
                    uint64_t loss_epoch) const;
  /// A read has seen these bytes, which Check allowed: no read that begins later may see older ones.
  void Saw(uint64_t offset, std::string_view data, uint64_t loss_epoch);

 private:
  struct Version {
    uint32_t write;
    uint64_t gone_at = UINT64_MAX;  // from then on it may not be seen
    bool absent = false;            // cut off by a truncation, or added by one: not there, or zeros
    uint64_t epoch = 0;             // of the loss of memory, when it was written
  };
  struct Unit {
    std::vector<Version> versions;  // oldest first; write 0: not there, or zeros
    uint32_t flushed_write = 0;     // at least this one, while nothing was lost
    uint64_t flushed_epoch = 0;
    uint64_t flushed_at = 0;
    uint32_t seen_write = 0;  // by a reader: the same
    uint64_t seen_epoch = 0;
    uint64_t seen_at = 0;
  };

  static bool Absent(const Version& v) { return v.write == 0 || v.absent; }
  std::string UnitBytes(uint64_t unit, const Version& version) const;
  /// What stays of a file that ends there when all memory is lost: an end among bytes that were never synced goes
  /// back with them to what was (protocols, 6.4); a hole stays.
  uint64_t CertainSize(uint64_t units) const;
  uint64_t LeastSize(uint64_t since, uint64_t loss_epoch) const;

  const uint64_t id_;
  uint64_t clock_ = 1;
  uint32_t next_write_ = 1;
  std::vector<Unit> units_;
  uint64_t live_units_ = 0;
  uint64_t synced_units_ = 0;
  std::vector<std::pair<uint64_t, uint64_t>>
      visible_sizes_;  // synced and committed: (since when, units)
  uint64_t flushed_units_ = 0;
  uint64_t flushed_epoch_ = 0;
  uint64_t flushed_at_ = 0;
};

}  // namespace dfs::sim
