// BlockStore: all replicas of a datanode, over several volumes. Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "datanode/store/replica.h"
#include "datanode/store/volume.h"

namespace dfs::dn {

struct StoreOptions {
  std::string cluster_id;
  std::vector<std::string> volumes;
  uint64_t reserve_bytes = 0;  // on each volume
  DatanodeId id_if_new;        // to format with when no volume has an id; 0: a random one
};

struct OpenedReplica {
  ReplicaPtr replica;
  WriteTicket ticket;
};

struct VolumeInfo {
  uint64_t storage_id = 0;
  std::string path;
  uint64_t capacity_bytes = 0, available_bytes = 0, used_bytes = 0;
  bool failed = false;
};

class BlockStore {
 public:
  /// What others want to hear of. Called from any thread, with no lock held; set before use.
  struct Events {
    std::function<void(const ReplicaInfo&)>
        finalized;  // in memory for writes, on disk for copies and recovered
    std::function<void(const ReplicaInfo&)> deleted;
    std::function<void(const ReplicaInfo&)> corrupt;
    std::function<void(BlockId)> left_open;  // a writer went away without finishing
  };

  /// Opens or formats every volume and scans it. Fails when a volume belongs to another cluster or
  /// datanode or is in use; a volume that cannot be read is taken out, unless it is the only one.
  static Result<std::unique_ptr<BlockStore>> Open(StoreOptions options, Env& env,
                                                  const Clock& clock, uint64_t seed);
  ~BlockStore();

  DatanodeId id() const { return id_; }
  /// Also tells what the scan at start found to be corrupt.
  void SetEvents(Events events);

  /// A writer opens (docs/blocks.md, "Opening"). Without a replica here one is made new, unless the
  /// writer knows of acknowledged bytes. kNotFound, kStaleStamp, kConflict, kNoSpace.
  Result<OpenedReplica> OpenForWrite(BlockId block, const OpenForWriteRequest& request);
  /// A copy by re-replication; replaces an unfinished one. kAlreadyExists when a good replica is here,
  /// finalized at that very stamp; kStaleStamp when one is here that does not give way (GivesWayTo).
  /// What is here stays until the copy is complete.
  Result<OpenedReplica> CreateCopy(BlockId block, Stamp stamp);

  /// kNotFound; kIoError when its volume failed.
  Result<ReplicaPtr> Find(BlockId block) const;
  /// Finalizes (Replica::Finalize), puts a copy in its place and tells the events; a copy is always
  /// synced.
  Status Finalize(const ReplicaPtr& replica, const WriteTicket& ticket, bool sync);
  /// Tells the events that a recovery has finished at this replica.
  void Recovered(const ReplicaPtr& replica);
  /// Tells the events that a stream to this replica broke off: if its member is excluded now, nobody
  /// else would ever say that it is here and takes room.
  void LeftOpen(BlockId block);
  /// Removes an unfinished copy.
  void AbandonCopy(const ReplicaPtr& replica);
  /// Deletes a replica whose stamp is at most max_stamp, whatever its state. kNotFound is success
  /// for callers.
  Status Delete(BlockId block, Stamp max_stamp);
  /// A read failed: reported as corrupt if that is what it means (a mismatch, a bad sector, a
  /// missing file), and not when the whole volume has failed.
  void ReportUnreadable(const ReplicaPtr& replica, const Status& why);
  /// A reader or scanner found it so.
  void ReportCorrupt(const ReplicaPtr& replica, const Status& why);

  /// Brings replicas that were finalized at least min_age_ns ago to that state on disk. Blocks.
  /// Returns when the next is due (BootNs), 0 when none waits.
  int64_t FinalizePending(int64_t min_age_ns);

  std::vector<ReplicaInfo> List() const;
  size_t replicas() const;
  std::vector<VolumeInfo> Volumes() const;
  bool AllVolumesFailed() const;
  /// That is durable here.
  uint64_t highest_term() const;
  /// Durable on at least one volume when it returns ok.
  Status RecordTerm(uint64_t term);

 private:
  BlockStore(StoreOptions options, Env& env, const Clock& clock, uint64_t seed);
  Status OpenVolumes();
  Status Scan(Volume& volume);
  Result<Volume*> ChooseVolume();
  Result<OpenedReplica> CreateNew(BlockId block, Stamp stamp, ReplicaState state);
  void Quarantine(Volume& volume, BlockId block, const Status& why);
  void Forget(const ReplicaPtr& replica);
  Status PutInPlace(const ReplicaPtr& copy);

  const StoreOptions options_;
  Env& env_;
  const Clock& clock_;
  DatanodeId id_;
  Events events_;
  std::vector<std::unique_ptr<Volume>> volumes_;

  std::mutex place_mutex_;    // one copy begins or takes its place at a time; above mutex_
  mutable std::mutex mutex_;  // the maps; never held across disk calls
  std::unordered_map<BlockId, ReplicaPtr> replicas_;
  std::unordered_map<BlockId, ReplicaPtr> copies_;  // temporary
  struct Pending {
    ReplicaPtr replica;
    int64_t since_ns;
  };
  std::deque<Pending> pending_;
  Random random_;                    // mutex_ held
  std::vector<std::string> broken_;  // volumes that could not be opened
  std::vector<std::pair<ReplicaInfo, std::string>> corrupt_at_start_;
  uint64_t highest_term_ = 0;
};

}  // namespace dfs::dn
