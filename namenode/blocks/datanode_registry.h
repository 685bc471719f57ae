// DatanodeRegistry: every datanode that registered with this namenode since it started, with its last
// heartbeat, volumes and report progress. Soft state. Confined to the namenode's executor; it reads no
// clock, times are arguments (BootNs).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/base/ids.h"
#include "namenode/blocks/block_map.h"
#include "namenode/blocks/placement.h"
#include "namenode/state/records.h"

namespace dfs::nn {

struct DatanodeVolume {
  uint64_t storage_id = 0;
  uint64_t capacity_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t used_bytes = 0;
  bool failed = false;
};

struct Datanode {
  DatanodeId id;
  NodeIndex index = kNoNode;
  std::string tcp_address;
  std::string unix_address;
  std::string host_id;
  std::string rack;       // by the table, or what it says
  std::string told_rack;  // what it says
  std::string version;
  std::vector<DatanodeVolume> volumes;
  uint64_t capacity_bytes = 0;  // sums of the volumes that work
  uint64_t available_bytes = 0;
  uint64_t used_bytes = 0;
  int failed_volumes = 0;
  NodeState state = NodeState::kLive;
  int64_t last_heartbeat_ns = 0;
  Term highest_term = 0;
  int active_streams = 0;
  /// As of now: maintenance that is over is none.
  NodeAdmin admin = NodeAdmin::kInService;
  int64_t admin_until_ns = 0;  // of maintenance, by the wall clock
  /// The connection its commands go over; empty when it is gone. What it is, the service knows.
  std::weak_ptr<void> connection;
  bool connected = true;  // to this namenode
  // The fence (block_fences.cc): orders of earlier terms, and of this one that nobody knows the outcome of, are carried
  // out by now or never will be.
  Term fenced_term = 0;           // since when: the leader's own term, or it is not fenced
  int64_t unfenced_since_ns = 0;  // when that was last asked of it for the first time
  bool fencing = false;           // the order to do so is under way
  bool order_uncertain = false;   // an order of this term failed, and may be carried out yet
  uint64_t fence_round = 0;       // what is answered to an earlier one says nothing
  // Reports.
  bool reported = false;        // in full, since it registered
  Term reported_term = 0;       // its last full report was begun when it was fenced in this term
  bool need_report = false;     // asked for in the next heartbeat's reply
  int64_t report_asked_ns = 0;  // when it was last asked to, 0: not
  uint64_t report_id = 0;       // of the report in progress, 0 when none
  int next_page = 0;
  Term report_term = 0;  // reported_term when it is complete
  size_t replicas_before_report = 0;
  /// Deleted while the report was under way, which may still name them.
  std::unordered_set<BlockId> deleted_in_report;
  // Copies and deletions under way, for bounds.
  int copies_out = 0;
  int copies_in = 0;
  bool deleting = false;
};

struct DatanodeTimeouts {
  int64_t stale_after_ns = 0;
  int64_t dead_after_ns = 0;
};

class DatanodeRegistry {
 public:
  explicit DatanodeRegistry(DatanodeTimeouts timeouts) : timeouts_(timeouts) {}

  /// Adds or refreshes; the node is live and owes a full report. Null when there are too many (32,766).
  Datanode* Register(DatanodeId id, int64_t now_ns);
  /// Null when it never registered here: it must.
  Datanode* Heartbeat(DatanodeId id, int64_t now_ns);
  static void SetVolumes(Datanode& node, std::vector<DatanodeVolume> volumes);

  struct Changes {
    std::vector<NodeIndex> died;
  };
  /// Moves nodes to stale and dead by their last heartbeat.
  Changes Tick(int64_t now_ns);

  Datanode* Find(DatanodeId id);
  const Datanode* Find(DatanodeId id) const;
  Datanode* At(NodeIndex index) { return index < nodes_.size() ? nodes_[index].get() : nullptr; }
  const Datanode* At(NodeIndex index) const {
    return index < nodes_.size() ? nodes_[index].get() : nullptr;
  }
  const std::vector<std::unique_ptr<Datanode>>& nodes() const { return nodes_; }
  /// Not dead.
  size_t live_count() const;
  /// Of those the ones that take new replicas.
  size_t in_service_count() const;
  /// For placement and read order. The views live until the next change of the registry.
  std::vector<PlacementNode> Snapshot() const;

 private:
  DatanodeTimeouts timeouts_;
  std::vector<std::unique_ptr<Datanode>> nodes_;
  std::unordered_map<DatanodeId, NodeIndex> by_id_;
};

}  // namespace dfs::nn
