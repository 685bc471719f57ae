// What state a block is in, judged from its record and its reported replicas. Pure functions; every decision to
// copy, delete or serve a replica goes through them. Protocols 4.2 is their law: while a block is open,
// membership decides; once it is closed, the stamp decides.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "namenode/blocks/block_map.h"
#include "namenode/blocks/placement.h"
#include "namenode/state/records.h"

namespace dfs::nn {

/// What the judgements need of a block's committed record.
struct BlockFacts {
  BlockId block;
  Stamp stamp;
  bool open = false;  // or under recovery
  uint64_t length = 0;
  size_t expected = 0;
  std::span<const DatanodeId>
      members;  // open: who holds the bytes; closed: who confirmed the close
  /// Closed: those of the members that are away for maintenance and were never heard of by this process.
  size_t away = 0;
};

/// A replica as a datanode reports it.
struct ReportedReplica {
  DatanodeId datanode;
  BlockId block;
  Stamp stamp;
  uint64_t length = 0;
  ReplicaState state = ReplicaState::kFinalized;
};

/// The replicated counters: the next id and stamp that will be given out.
struct BlockCounters {
  uint64_t next_block = 0;
  uint64_t next_stamp = 0;
};

enum class ReplicaVerdict {
  kGood,         // closed block, finalized, current stamp, at least the committed length
  kMember,       // of an open block
  kUnfinished,   // closed block, current stamp, not finalized on disk (the datanode restarted)
  kWrongLength,  // closed block, current stamp, finalized, shorter than what was committed
  kOutdated,     // an older stamp of a closed block, or not a member of an open one
  kAhead,        // a newer stamp than this namenode's record, below the counter: it lags, or a bug
  kCopying,      // temporary: a copy on its way
  kDeleted,      // no record and an id that was given out: a committed delete explains it
  kUnknownFuture,  // id or stamp above the counters: evidence of a lost namespace; never deleted
};
const char* VerdictName(ReplicaVerdict verdict);

/// facts null: no record.
ReplicaVerdict JudgeReplica(const ReportedReplica& replica, const BlockFacts* facts,
                            const BlockCounters& counters);

/// One replica of the map with what is known of its node.
struct ReplicaView {
  BlockReplica replica;
  NodeState node = NodeState::kLive;
  bool reported_in_term = false;  // its node sent a full report since this leader's term began
  std::string_view rack;
  uint64_t available_bytes = 0;
  NodeAdmin admin = NodeAdmin::kInService;
};

/// A replica on a node that is being decommissioned can be read and copied, but counts for none. One on a node in
/// maintenance counts, while the node is away, too; but not alone.
struct BlockHealth {
  std::vector<NodeIndex> good;  // finalized, current stamp, not corrupt, node not dead
  std::vector<NodeIndex>
      unfinished;  // current stamp, not finalized or of a wrong length; node not dead
  std::vector<NodeIndex> outdated;  // older stamp; node not dead
  std::vector<NodeIndex> corrupt;   // marked corrupt; node not dead
  size_t live = 0;                  // good.size()
  size_t in_service = 0;            // of those, on nodes in service
  size_t counted = 0;               // that count: in service, in maintenance
  size_t missing_copies = 0;        // expected - counted; at least one when none is in service
  size_t excess = 0;                // in_service - expected
  bool missing = false;             // nothing readable at all
};
/// Of a closed block.
BlockHealth EvaluateClosed(const BlockFacts& facts, std::span<const ReplicaView> replicas);

/// Which good replicas in service to drop when there are more than expected; empty unless every node that is known to hold
/// a replica has reported in full in this term. Keeps racks apart, then drops where space is shortest.
std::vector<NodeIndex> ChooseExcess(const BlockFacts& facts, std::span<const ReplicaView> replicas);

/// Which outdated, unfinished and corrupt replicas may be deleted: none before the block has all its expected
/// replicas good, but for one that occupies the only node left for a missing copy and that no copy replaces, or only
/// with room that the node does not have; and never anything while none is good. nodes: that take new replicas.
std::vector<NodeIndex> ChooseObsolete(const BlockFacts& facts,
                                      std::span<const ReplicaView> replicas, size_t nodes);

}  // namespace dfs::nn
