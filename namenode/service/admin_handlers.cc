// Service: cluster status, answered by every member, about itself and what it knows; exports, by the leader.
#include <algorithm>

#include "common/base/codec.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
const char* ServiceName(NodeAdmin admin, bool settled) {
  switch (admin) {
    case NodeAdmin::kInService:
      return "in_service";
    case NodeAdmin::kDecommission:
      return settled ? "decommissioned" : "decommissioning";
    case NodeAdmin::kMaintenance:
      return settled ? "maintenance" : "entering_maintenance";
  }
  return "?";
}

void FillService(const Datanode& node, const BlockManager::TakenOut& progress, int64_t wall_ns,
                 idl::DatanodeStatus* out) {
  out->service_state = ServiceName(node.admin, progress.settled());
  out->blocks_left = progress.counted ? Signed(progress.blocks_left) : -1;
  if (node.admin == NodeAdmin::kMaintenance) {
    out->maintenance_ms = std::max<int64_t>(node.admin_until_ns - wall_ns, 0) / kMillisecond;
  }
}
}  // namespace

const char* NodeStateName(NodeState state) {
  switch (state) {
    case NodeState::kLive:
      return "live";
    case NodeState::kStale:
      return "stale";
    case NodeState::kDead:
      return "dead";
  }
  return "?";
}

idl::ClusterStatusReply Service::ClusterStatus() const {
  idl::ClusterStatusReply reply;
  reply.cluster_id = options_.cluster_id;
  reply.node_id = Signed(options_.id.value);
  reply.leader = replica_.is_leader();
  reply.term = Signed(replica_.term());
  reply.commit_index = Signed(replica_.commit_index());
  reply.applied_index = Signed(replica_.applied_index());
  reply.first_log_index = Signed(replica_.first_log_index());
  reply.flushed_index = Signed(replica_.flushed_index());
  AppendBigEndian64(&reply.state_hash, machine_.state_hash());
  for (const MemberStatus& m : replica_.members()) {
    idl::MemberStatus& out = reply.members.emplace_back();
    out.node_id = Signed(m.id.value);
    out.raft_address = m.raft_address;
    out.client_address = m.client_address;
    out.leader = m.is_leader;
    out.reachable = m.reachable;
    out.match_index = Signed(m.match_index);
  }
  int64_t now = executor_.clock().BootNs();
  for (const auto& node : blocks_.registry().nodes()) {
    idl::DatanodeStatus& out = reply.datanodes.emplace_back();
    out.datanode = Signed(node->id.value);
    out.address = node->tcp_address;
    out.host_id = node->host_id;
    out.rack = node->rack;
    out.state = NodeStateName(node->state);
    out.capacity_bytes = Signed(node->capacity_bytes);
    out.used_bytes = Signed(node->used_bytes);
    out.available_bytes = Signed(node->available_bytes);
    out.replicas = Signed(blocks_.map().replicas_of(node->index));
    out.last_heartbeat_ms = (now - node->last_heartbeat_ns) / kMillisecond;
    out.volumes = static_cast<int32_t>(node->volumes.size());
    out.failed_volumes = node->failed_volumes;
    FillService(*node, blocks_.TakenOutOf(*node), executor_.clock().WallNs(), &out);
    if (auto offset = clock_offsets_ns_.find(node->id); offset != clock_offsets_ns_.end()) {
      out.__set_clock_offset_ms(offset->second / kMillisecond);
    }
  }
  if (auto usage = state_.TotalUsage()) {
    reply.files = usage->files;
    reply.directories = usage->directories;
    reply.bytes = usage->bytes;
  }
  const Counters& counters = state_.counters();
  reply.blocks = Signed(counters.blocks);
  reply.sessions = Signed(counters.sessions);
  BlockStats stats = blocks_.stats();
  reply.under_replicated = Signed(stats.under_replicated);
  reply.missing = Signed(stats.missing);
  reply.corrupt_replicas = Signed(stats.corrupt_replicas);
  reply.pending_replications = Signed(stats.pending_replications);
  reply.pending_deletions = Signed(stats.pending_deletions);
  reply.open_blocks = Signed(stats.open_blocks);
  reply.moving = Signed(stats.moving);
  reply.repair_bytes_left = Signed(stats.repair_bytes_left);
  reply.repair_bytes_per_second = Signed(stats.repair_bytes_per_second);
  reply.deletions_held = !stats.deletions_held_why.empty();
  reply.deletions_held_why = stats.deletions_held_why;
  reply.safe_mode = stats.safe_mode;
  reply.insecure = options_.insecure;
  reply.leader_hint = replica_.leader_client_address();
  ReplicaMetrics metrics = replica_.metrics();
  reply.log_fsyncs = Signed(metrics.log.syncs);
  reply.proposals = Signed(metrics.proposals);
  reply.default_replication = static_cast<int32_t>(options_.name_space.default_replication);
  reply.version = options_.version;
  reply.feature_level = static_cast<int32_t>(counters.feature_level);
  reply.wall_clock_ns = executor_.clock().WallNs();
  reply.trash_keep_ms = trash_.effective_keep_ns() / kMillisecond;
  return reply;
}

Result<idl::ExportReply> Service::Export(const idl::ExportRequest& request, const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  // Everybody's names and small files are in it.
  if (!IsSuperuser(who)) return Status(Code::kNotPermitted, "an export is for superusers");
  return exporter_.Page(request);
}

}  // namespace dfs::nn
