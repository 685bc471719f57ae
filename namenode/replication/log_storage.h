// LogStorage: one member's Raft log and hard state on disk.
//
//   DIR/hard_state        two checksummed 512-byte slots, written in turn
//   DIR/<16 hex>.log      segments of a fixed size, preallocated, recycled; numbered without gaps
//   DIR/spare-<n>         segments waiting to be used again
//
// A segment begins with a header page (magic, format version, cluster id, owner id, storage id,
// number, a random nonce, checksum); batches follow, each on a 4 KiB page of its own, so that a
// write in flight never touches a page with durable records. A batch begins with a header record
// and holds entry, truncate and reset records; checksums are seeded with the segment's nonce, so
// what a former life of a recycled segment left behind is never taken for a record. A suffix is
// truncated by a record, never by cutting a file.
//
// At most one batch is being made durable at any time, so a valid batch proves that all before it
// were durable: recovery cuts damage at the very end (a torn write) and refuses damage before a
// valid batch (kCorrupt). After a second of idleness the writer adds an empty batch, which covers
// the last one in the same way.
//
// Thread-safety: writing calls from one thread at a time (the LogWriter's); Read and the counters
// from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/base/env.h"
#include "common/base/random.h"
#include "common/raft/log.h"
#include "common/raft/raft.h"
#include "common/raft/types.h"

namespace dfs::nn {

struct LogStorageOptions {
  uint64_t segment_bytes = 64u << 20;
  size_t max_spare_segments = 2;
  /// Write zeros when a segment is made, so that a sync in it never has to convert unwritten
  /// extents.
  bool write_zeros = true;
};

struct LogStorageMetrics {
  uint64_t syncs = 0;
  uint64_t batches = 0;
  uint64_t bytes_written = 0;
  uint64_t segments_made = 0;
  uint64_t segments_recycled = 0;
  uint64_t torn_tails_cut = 0;
};

/// What is on the disk after recovery.
struct RecoveredLog {
  raft::HardState hard_state;
  LogIndex prev_index = 0;
  Term prev_term = 0;
  LogIndex last_index = 0;
  std::vector<raft::TermRun> runs;
  bool torn_tail = false;
};

class LogStorage : public raft::LogReader {
 public:
  struct Owner {
    std::string cluster_id;
    NodeId node_id;
    uint64_t storage_id = 0;
  };

  LogStorage(Env& env, std::string directory, Owner owner, LogStorageOptions options,
             Random random);
  ~LogStorage() override;

  /// Makes the directory when it is absent. kCorrupt when acknowledged data is damaged;
  /// kWrongCluster or kInvalidArgument when a file belongs to somebody else.
  Result<RecoveredLog> Open();

  // --- one thread at a time ---
  /// Writes the requests in order as one batch with one sync (the hard state first, with its own).
  Status Write(const std::vector<const raft::PersistRequest*>& requests);
  Status Write(const raft::PersistRequest& request) { return Write({&request}); }
  /// Covers the last batch by an empty one; no effect when it already is.
  Status WriteMark();
  /// Lets go of whole segments that hold only entries up to index.
  Status TruncatePrefix(LogIndex index);

  // --- any thread ---
  /// Makes a spare segment when there is none and one will soon be needed.
  bool NeedsSpare() const;
  Status MakeSpare();
  Status Read(LogIndex from, LogIndex to, size_t max_bytes, std::vector<raft::Entry>* out) override;
  /// Bytes of segments between the entry and the end of the log: what keeping it costs.
  uint64_t BytesFrom(LogIndex index) const;
  /// The smallest index such that at least `bytes` of segments lie behind it; 0 when the log is
  /// shorter.
  LogIndex IndexKeeping(uint64_t bytes) const;
  LogStorageMetrics metrics() const;

 private:
  struct Segment;
  struct Scan;

  Env& env_;
  const std::string directory_;
  const Owner owner_;
  const LogStorageOptions options_;
  Random random_;

  Status LoadHardState(raft::HardState* out);
  Status SaveHardState(const raft::HardState& state);
  Status LoadSegments(RecoveredLog* out);
  Result<std::shared_ptr<Segment>> OpenSegment(uint64_t number);
  Status ScanSegment(Segment* segment, bool last, Scan* scan);
  Status StartSegment();
  Result<std::string> TakeSpare();
  Status MakeFile(const std::string& path);
  Status RetireSegment(const std::shared_ptr<Segment>& segment);
  void Note(Segment* segment, LogIndex index, uint64_t offset);
  std::string SegmentPath(uint64_t number) const;
  std::string SparePath(uint64_t number) const;

  std::unique_ptr<File> hard_state_file_;
  uint64_t hard_state_sequence_ = 0;
  raft::HardState hard_state_;

  mutable std::mutex mutex_;  // segments_ (the list and their indexes), last_index_, prev_, spares_
  std::deque<std::shared_ptr<Segment>> segments_;
  std::vector<std::string> spares_;
  uint64_t next_spare_ = 1;
  bool making_spare_ = false;
  LogIndex prev_index_ = 0;
  Term prev_term_ = 0;
  LogIndex last_index_ = 0;
  uint64_t next_batch_ = 1;
  bool marked_ = true;
  std::string buffer_;  // of the batch being built

  std::atomic<uint64_t> syncs_{0};
  std::atomic<uint64_t> batches_{0};
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> segments_made_{0};
  std::atomic<uint64_t> segments_recycled_{0};
  std::atomic<uint64_t> torn_tails_cut_{0};
};

}  // namespace dfs::nn
