// Replica: one block on one volume: its bytes, its sums, its state. Everything about what survives
// a crash is decided here; docs/blocks.md gives the rules and docs/durability.md every fsync.
//
// Thread-safe. Changes are serialised by one mutex that is held across disk calls; info() and reads
// of whole, unchanging chunks do not wait for it.
#pragma once

#include <atomic>
#include <condition_variable>
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
#include "datanode/store/writes_under_way.h"

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
  bool corrupt = false;  // known to have lost bytes
};

/// Whether a copy at this stamp may take the place of the replica. Copies are made of closed blocks: whatever was opened
/// or fenced under a stamp up to that is over, and all that counts is what is finalized at exactly that stamp.
bool GivesWayTo(const ReplicaInfo& here, Stamp stamp);

/// What a writer says when it opens (see idl::OpenWriteStreamRequest).
struct OpenForWriteRequest {
  Stamp old_stamp;  // at least this; 0: the block may be new
  Stamp stamp;      // to take on
  /// What the writer knows every member to have.
  uint64_t acked_length = 0;
  /// A replica of at most cut_stamp is cut to cut_length first: a truncation left garbage there.
  Stamp cut_stamp;
  uint64_t cut_length = 0;
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
  /// How an existing replica was found at start.
  struct Loaded {
    SidecarHeader header;
    ReplicaState state = ReplicaState::kNone;
    uint64_t length = 0;
  };

  /// A new replica; nothing is on disk before CreateFiles.
  Replica(Volume& volume, BlockId block, ReplicaState state, Stamp stamp);
  Replica(Volume& volume, BlockId block, const Loaded& loaded);

  BlockId block() const { return block_; }
  Volume& volume() const { return *volume_; }
  ReplicaInfo info() const;
  /// A good copy may take its place from now on.
  void MarkCorrupt() { corrupt_ = true; }

  /// As long as it lives no recovery fences the replica. Who passes a packet on before it is stored takes one first:
  /// otherwise the members behind could show bytes that no member before them will ever have.
  class Admission {
   public:
    Admission() = default;
    Admission(Admission&&) = default;
    Admission& operator=(Admission&&) = delete;
    ~Admission();

   private:
    friend class Replica;
    std::shared_ptr<Replica> replica_;
  };
  /// kStaleStamp when the ticket is void.
  static Result<Admission> Admit(const std::shared_ptr<Replica>& replica,
                                 const WriteTicket& ticket);
  WritesUnderWay& writes_under_way() { return writes_under_way_; }

  // ---- Writing. kStaleStamp when the ticket is void; kProtocol when sent sums do not match, kCorrupt
  // when a merged old chunk does not; kNoSpace leaves the replica as it was; any other failure of the disk makes it rwr.

  /// A gap between the length and offset becomes zeros. sums as wire::RangeSums.
  Status Write(const WriteTicket& ticket, uint64_t offset, std::string_view data,
               const uint64_t* sums, size_t sum_count);
  /// When it returns, what was written before it was called is on disk: data, sums and length.
  Status Sync(const WriteTicket& ticket);
  /// Readers of the open replica may see this much.
  void SetVisibleLength(uint64_t length);

  // ---- Reading

  /// From offset (a chunk boundary) to the chunk boundary at or after offset + length, or to the end of
  /// the replica; verified. kCorrupt names the offset.
  Result<ChunkData> Read(uint64_t offset, uint64_t length);
  /// Stored sums, unverified; 0 for chunks beyond the end.
  Result<std::vector<uint64_t>> ReadSums(uint64_t first_chunk, uint64_t count);
  /// The block file, opened anew and for reading only: for somebody who verifies what he reads of it.
  Result<std::shared_ptr<File>> OpenReadOnly() const;
  /// Keeps the files open as long as it is held: for a reader of many pieces.
  Result<std::shared_ptr<const void>> Pin();

  // ---- The scanner (replica_scrub.cc)

  /// Verifies that much from offset (a chunk boundary) on, on the disk and not in the page cache; at offset 0 the
  /// header, too. How much it was: less than asked for only at the end. kStaleStamp when the replica is not (or is no
  /// longer) finalized on disk under this stamp: then nothing is known of it. Any other error, unless its volume has
  /// failed, was found while nobody could change it, and the replica is marked corrupt.
  Result<uint64_t> Scrub(Stamp stamp, uint64_t offset, uint64_t length);

  // ---- Recovery (protocols, section 6; replica_recovery.cc)

  struct RecoveryView {
    Stamp stamp;
    uint64_t length = 0;
    uint64_t synced_length = 0;
    ReplicaState state_before = ReplicaState::kNone;
  };
  /// Fences, durably: from now on only this recovery (or a higher one) changes the replica.
  Result<RecoveryView> InitRecovery(Stamp recovery_stamp);
  /// The right to repair it. kStaleStamp unless fenced by exactly this stamp; kAlreadyExists when this
  /// recovery has finalized it.
  Result<WriteTicket> RecoveryTicket(Stamp recovery_stamp);
  /// What the bytes really sum to, for as many chunks as there are.
  Result<std::vector<uint64_t>> ActualSums(uint64_t first_chunk, uint64_t count);
  /// Makes the sums of torn chunks fit their bytes; kCorrupt on a mismatch that no write explains.
  Status ResumTornChunks(const WriteTicket& ticket);
  /// Overwrites whole chunks (the last may be the end) without believing what was there.
  Status ReplaceChunks(const WriteTicket& ticket, uint64_t offset, std::string_view data,
                       const uint64_t* sums, size_t sum_count);
  /// Shorter only; the cut chunk is summed anew.
  Status Truncate(const WriteTicket& ticket, uint64_t length);
  /// Syncs and finalizes at the recovery stamp.
  Status FinishRecovery(const WriteTicket& ticket);

 private:
  friend class BlockStore;
  struct Files {
    std::unique_ptr<File> data;
    std::unique_ptr<Sidecar> sidecar;
    SidecarHeader header;  // as last written
  };

  // For BlockStore. Each takes mutex_.
  Status CreateFiles();
  Result<WriteTicket> OpenForWrite(const OpenForWriteRequest& request);
  Result<WriteTicket> FirstTicket();
  Status Finalize(const WriteTicket& ticket, bool sync);
  Status FinalizeOnDisk();
  // replica_place.cc
  /// Out of tmp, in the place of a replica that is gone.
  Status MoveIntoPlace();
  /// Voids every ticket and removes the files. kStaleStamp when the stamp is above max_stamp.
  Status Destroy(Stamp max_stamp);
  /// The same if it gives way to a copy at this stamp at this very moment; else kStaleStamp.
  Status GiveWay(Stamp stamp);

  // All below: mutex_ held.
  Status Apply(ReplicaEvent event);
  Status CheckTicket(const WriteTicket& ticket) const;
  Status WriteLocked(uint64_t offset, std::string_view data, const uint64_t* sums,
                     bool believe_old);
  Result<uint64_t> MergedSum(uint64_t chunk, uint64_t offset, std::string_view piece,
                             bool believe_old);
  Status ZeroFill(uint64_t to);
  Status BeforeOverwrite(uint64_t offset, uint64_t end);
  Status Reserve(uint64_t end);
  void MaybeStartWriteback(uint64_t offset, uint64_t end);
  Status CutLocked(uint64_t length);
  Status SyncLocked(bool finalize);
  Status SettleLocked();
  Status PersistHeader(bool finalize);
  Status WriteAndSyncHeader(SidecarHeader header, bool finalize);
  /// Handles a failed disk call; changed: bytes below the length may differ from their sums.
  Status DiskFailed(const Status& why, bool changed);
  Result<std::shared_ptr<Files>> OpenFiles() const;
  Result<ChunkData> ReadVerified(const Files& files, uint64_t offset, uint64_t length,
                                 uint64_t replica_length) const;
  Status CheckHeader() const;
  void Publish();
  std::string DataPath() const;
  Status DestroyLocked();

  Volume* const volume_;
  const BlockId block_;

  std::mutex mutex_;  // serialises changes, across disk calls
  ReplicaInfo now_;   // published in info_
  uint64_t epoch_ = 0;
  int admitted_ = 0;
  std::condition_variable none_admitted_;
  bool gone_ = false;          // deleted or replaced
  bool header_dirty_ = false;  // stamp, state or fence are not in the durable header
  bool data_dirty_ = false;
  bool sums_dirty_ = false;
  bool dir_dirty_ = false;  // the directory entries are not durable
  uint64_t allocated_ = 0;
  uint64_t writeback_from_ = 0;
  uint64_t last_end_ = 0;  // of the last write: is the writer sequential?
  ReplicaState before_recovery_ = ReplicaState::kNone;
  std::shared_ptr<Files> pinned_;  // while it may be written

  mutable std::mutex files_mutex_;  // below mutex_
  mutable std::weak_ptr<Files> files_;
  bool in_tmp_ = false;  // a copy, in the volume's tmp directory

  WritesUnderWay writes_under_way_;
  std::atomic<bool> corrupt_{false};
  std::atomic<uint64_t> visible_{0};  // grows only
  mutable std::mutex info_mutex_;     // innermost
  ReplicaInfo info_;
};

using ReplicaPtr = std::shared_ptr<Replica>;

}  // namespace dfs::dn
