// LogStorage: one member's Raft log and hard state on disk.
//
//   DIR/hard_state        two checksummed copies, written and synced one after the other
//   DIR/<16 hex>.log      segments of a fixed size, preallocated, recycled; numbered without gaps
//   DIR/spare-<n>         segments waiting to be used again
//
// A segment begins with a header page (magic, format version, cluster id, owner id, storage id, number, a
// random nonce, checksum); batches follow, each on 4 KiB pages of its own, so that a write in flight never
// touches a page with durable records. A batch begins with a header record and holds entry, truncate and
// reset records; checksums are seeded with the segment's nonce, so what a former life of a recycled segment
// left behind is never taken for a record. A suffix is truncated by a record, never by cutting a file.
//
// At most one batch is being made durable at any time, so a valid batch proves that all before it were
// durable: recovery cuts damage at the very end (a torn write) and refuses damage before a valid batch
// (kCorrupt). After a second of idleness the writer adds an empty batch, which covers the last one in the
// same way.
//
// Thread-safety: writing calls from one thread at a time (the LogWriter's); Read and the counters from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
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
  /// Write zeros when a segment is made, so that a sync in it never has to convert unwritten extents.
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

  /// Makes the directory of a new member's empty log, durably.
  static Status Create(Env& env, const std::string& directory, const Owner& owner);
  /// kCorrupt when durable data is damaged or missing; kWrongCluster or kInvalidArgument when a file belongs
  /// to somebody else.
  Result<RecoveredLog> Open();

  // --- one thread at a time ---
  /// Makes the requests durable in order, most often by one write and one sync (after the newest hard state,
  /// with syncs of its own). After an error nothing more may be written.
  Status Write(const std::vector<const raft::PersistRequest*>& requests);
  Status Write(const raft::PersistRequest& request) { return Write(std::vector{&request}); }
  /// Covers the last batch by an empty one; no effect when it already is.
  Status WriteMark();
  /// Lets go of whole segments that hold only entries up to index.
  Status TruncatePrefix(LogIndex index);

  // --- any thread ---
  /// One spare segment will be needed soon and there is none.
  bool NeedsSpare() const;
  Status MakeSpare();
  Status Read(LogIndex from, LogIndex to, size_t max_bytes, std::vector<raft::Entry>* out) override;
  /// Bytes of segments between the entry and the end of the log: what keeping it costs.
  uint64_t BytesFrom(LogIndex index) const;
  /// The largest index with at least `bytes` of segments behind it; 0 when the log is shorter.
  LogIndex IndexKeeping(uint64_t bytes) const;
  LogStorageMetrics metrics() const;

 private:
  struct Segment {
    uint64_t number = 0;
    uint64_t nonce = 0;
    uint64_t size = 0;
    uint64_t base = 0;  // of its offset 0 in one count over all segments
    uint64_t end = 0;   // where the next batch goes
    uint64_t first_batch = 0;
    LogIndex start_index = 0;  // last entry of the log when it was begun
    Term start_term = 0;
    std::unique_ptr<File> file;
  };
  using SegmentPtr = std::shared_ptr<Segment>;
  /// A run of consecutive entries, as it lies in a segment (perhaps over several batches).
  struct Extent {
    LogIndex first = 0;
    LogIndex last = 0;
    SegmentPtr segment;
    uint64_t offset = 0;  // of a record or a batch header
    uint64_t end = 0;
  };
  /// Effects of a batch on the index, collected while it is built or scanned.
  struct BatchIndex;

  Status LoadHardState(raft::HardState* out);
  Status SaveHardState(const raft::HardState& state);
  Status LoadSegments(RecoveredLog* out);
  Result<SegmentPtr> OpenSegment(uint64_t number);
  Status ScanSegment(const SegmentPtr& segment, bool last, RecoveredLog* out);
  bool ReadBatch(const Segment& segment, uint64_t offset, std::string* bytes) const;
  Result<bool> HasLaterBatch(const Segment& segment, uint64_t offset) const;
  Status ReplayBatch(const SegmentPtr& segment, std::string_view bytes, uint64_t offset,
                     RecoveredLog* out);

  Status WriteRequests(const std::vector<const raft::PersistRequest*>& requests);
  Status WriteBatch();
  Status AddRecord(uint64_t bytes);
  Status AddRequest(const raft::PersistRequest& request);
  Status StartSegment(uint64_t min_bytes);
  Result<std::string> TakeSpare();
  Status MakeFile(const std::string& path, uint64_t size, uint64_t zero_bytes);
  Status RetireFront();
  void IndexEntry(const SegmentPtr& segment, LogIndex index, uint64_t offset, uint64_t end,
                  bool first_of_batch);
  void IndexTruncate(LogIndex from);
  std::string SegmentPath(uint64_t number) const;

  Env& env_;
  const std::string directory_;
  const Owner owner_;
  const LogStorageOptions options_;
  Random random_;

  std::unique_ptr<File> hard_state_file_;
  uint64_t hard_state_sequence_ = 0;

  mutable std::mutex mutex_;  // what follows, up to the blank line, where other threads look
  std::deque<SegmentPtr> segments_;
  std::deque<Extent> extents_;
  std::vector<std::string> spares_;
  uint64_t next_spare_ = 1;
  bool making_spare_ = false;

  // The writing thread's.
  LogIndex last_index_ = 0;
  Term last_term_ = 0;
  uint64_t next_batch_ = 1;
  bool marked_ = true;
  std::string batch_;  // being built; empty: none
  bool no_merge_ = false;
  Status failed_;  // the first error: whatever is written after it proves nothing

  std::atomic<uint64_t> syncs_{0};
  std::atomic<uint64_t> batches_{0};
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> segments_made_{0};
  std::atomic<uint64_t> segments_recycled_{0};
  std::atomic<uint64_t> torn_tails_cut_{0};
};

}  // namespace dfs::nn
