// Replica: one block on one volume: its bytes, its sums, its state. Everything about what survives
// a crash is decided here; docs/blocks.md gives the rules and docs/durability.md every fsync.
//
// Thread-safe. Changes are serialised by one mutex that is held across disk calls; info() and reads
// of whole, unchanging chunks do not wait for it.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "datanode/store/replica_state.h"
#include "datanode/store/sidecar.h"

namespace dfs::dn {

class Volume;

/// A consistent view of a replica.
struct ReplicaInfo {
  BlockId block;
  Stamp stamp;
  Stamp recovery_stamp;
  ReplicaState state = ReplicaState::kNone;
  uint64_t length = 0;
  uint64_t synced_length = 0;   // known to be on disk
  uint64_t visible_length = 0;  // of an open replica: what every member has
  uint64_t storage_id = 0;
  bool on_disk = false;  // finalized on disk as well
};

/// The right to change a replica: void as soon as somebody else gets one (a newer writer, a
/// recovery).
struct WriteTicket {
  Stamp stamp;
  uint64_t epoch = 0;
};

struct ChunkData {
  Buffer data;                 // from a chunk boundary; its end is the range's or the replica's
  std::vector<uint64_t> sums;  // one for each chunk of data
};

class Replica {
 public:
  /// Not yet on disk when new; otherwise as the startup scan found it.
  Replica(Volume& volume, BlockId block, ReplicaState state, Stamp stamp);

  BlockId block() const { return block_; }
  Volume& volume() const { return *volume_; }
  ReplicaInfo info() const;

  // ---- Writing. kStaleStamp when the ticket is void; kCorrupt when sent sums or a merged old
  // chunk do not match; kNoSpace leaves the replica as it was; any other failure of the disk makes
  // it rwr.

  /// A gap between the length and offset becomes zeros. sums as wire::RangeSums.
  Status Write(const WriteTicket& ticket, uint64_t offset, std::string_view data,
               const uint64_t* sums, size_t sum_count);
  /// When it returns, what was written before it was called is on disk: data, sums and length.
  Status Sync(const WriteTicket& ticket);
  /// Finalized in memory; on disk too when sync, otherwise when FinalizeOnDisk runs.
  Status Finalize(const WriteTicket& ticket, bool sync);
  /// Background part of Finalize; nothing to do when it was reopened or is on disk already.
  Status FinalizeOnDisk();
  /// Readers of the open replica may see this much.
  void SetVisibleLength(const WriteTicket& ticket, uint64_t length);

  // ---- Reading

  /// [offset, offset + length) within the replica's length, from a chunk boundary to one or to the
  /// length; verified. kCorrupt names the offset.
  Result<ChunkData> Read(uint64_t offset, uint64_t length);
  /// The stored sums of the chunks that cover [0, length of the replica), unverified.
  Result<std::vector<uint64_t>> ReadSums(uint64_t first_chunk, uint64_t count);

  // ---- Recovery (protocols, section 6)

  struct RecoveryView {
    Stamp stamp;
    uint64_t length = 0;
    uint64_t synced_length = 0;
    ReplicaState state_before = ReplicaState::kNone;
  };
  /// Fences: from now on only this recovery (or a higher one) changes the replica. Durable.
  Result<RecoveryView> InitRecovery(Stamp recovery_stamp);
  /// The right to repair it. kStaleStamp unless fenced by exactly this stamp; a replica that this
  /// recovery finalized already is kAlreadyExists.
  Result<WriteTicket> RecoveryTicket(Stamp recovery_stamp);
  /// What the bytes really sum to; chunks beyond the length are not returned.
  Result<std::vector<uint64_t>> ActualSums(uint64_t first_chunk, uint64_t count);
  /// Makes the sums of torn chunks fit their bytes; kCorrupt on a mismatch that no write explains.
  Status ResumTornChunks(const WriteTicket& ticket, uint64_t length);
  /// Overwrites whole chunks whose old content is not to be believed.
  Status ReplaceChunks(const WriteTicket& ticket, uint64_t offset, std::string_view data,
                       const uint64_t* sums, size_t sum_count);
  /// Shorter only.
  Status Truncate(const WriteTicket& ticket, uint64_t length);
  /// Syncs and finalizes at the recovery stamp.
  Status FinishRecovery(const WriteTicket& ticket);

 private:
  friend class BlockStore;
  friend class ReplicaLoader;
  struct Files {
    std::unique_ptr<File> data;
    std::unique_ptr<Sidecar> sidecar;
  };

  // All below: mutex_ held.
  Status Apply(ReplicaEvent event);
  Status CheckTicket(const WriteTicket& ticket) const;
  Status WriteLocked(uint64_t offset, std::string_view data, const uint64_t* sums,
                     bool believe_old);
  Status MergeEdge(uint64_t chunk, uint64_t offset, std::string_view piece, bool believe_old,
                   uint64_t* sum);
  Status ZeroFill(uint64_t to);
  Status PrepareOverwrite(uint64_t offset, uint64_t end);
  Status Reserve(uint64_t end);
  Status SyncLocked(bool finalized);
  Status PersistHeader(bool finalized);
  Status SyncDirOnce();
  Status TruncateLocked(uint64_t length);
  Status Failed(Status why, uint64_t changed_from);
  Result<uint64_t> StoredSum(uint64_t chunk);
  Result<std::shared_ptr<Files>> OpenFiles() const;
  Result<ChunkData> ReadVerified(Files& files, uint64_t offset, uint64_t length) const;
  void ReleaseFiles();
  void Publish();
  std::string DataPath() const;

  Volume* const volume_;
  const BlockId block_;

  std::mutex mutex_;  // serialises changes, across disk calls
  uint64_t epoch_ = 0;
  bool gone_ = false;          // deleted or replaced
  bool header_dirty_ = false;  // stamp or state in memory are not in the durable header
  bool data_dirty_ = false;    // written since the last sync
  bool sums_dirty_ = false;
  bool dir_dirty_ = false;  // the directory entries are not durable yet
  bool in_tmp_ = false;     // a copy, in the volume's tmp directory
  uint64_t allocated_ = 0;
  uint64_t writeback_from_ = 0;
  SidecarHeader header_;  // as last written
  RegionSet resummed_;    // intended regions stay intended until finalized on disk
  ReplicaState state_before_recovery_ = ReplicaState::kNone;
  mutable std::mutex files_mutex_;
  mutable std::weak_ptr<Files> files_;
  std::shared_ptr<Files> pinned_;  // while open for writing

  mutable std::mutex info_mutex_;
  ReplicaInfo info_;
};

using ReplicaPtr = std::shared_ptr<Replica>;

}  // namespace dfs::dn
