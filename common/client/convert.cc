#include "common/client/convert.h"

#include <fmt/format.h>

namespace dfs {
inline namespace v1 {
namespace internal {
namespace {
/// Counts and sizes are never negative; one that is came from a bug and shows as 0.
uint64_t U(int64_t value) {
  return value < 0 ? 0 : static_cast<uint64_t>(value);
}
uint32_t U32(int64_t value) {
  return static_cast<uint32_t>(U(value));
}
BlockState ToBlockState(int32_t state) {
  return state >= 1 && state <= 3 ? static_cast<BlockState>(state) : BlockState::kUnknown;
}
}  // namespace

FileStatus ToFileStatus(const idl::Attr& attr) {
  FileStatus s;
  s.inode = static_cast<uint64_t>(attr.inode);
  s.type = static_cast<FileType>(static_cast<int>(attr.type));
  s.mode = static_cast<uint32_t>(attr.mode) & 07777;
  s.uid = static_cast<uint32_t>(attr.uid);  // ids use all 32 bits
  s.gid = static_cast<uint32_t>(attr.gid);
  s.nlink = U32(attr.nlink);
  s.size = U(attr.size);
  s.allocated_bytes = U(attr.allocated_bytes);
  s.atime_ns = attr.atime_ns;
  s.mtime_ns = attr.mtime_ns;
  s.ctime_ns = attr.ctime_ns;
  s.rdev = static_cast<uint64_t>(attr.rdev);
  s.block_size = U(attr.block_size);
  s.replication = U32(attr.replication);
  s.parent = static_cast<uint64_t>(attr.parent);
  s.data_version = static_cast<uint64_t>(attr.data_version);
  s.entries = U(attr.entries);
  s.open_for_write = attr.open_for_write;
  return s;
}

Usage ToUsage(const idl::Usage& usage) {
  return {U(usage.files), U(usage.directories), U(usage.bytes)};
}

BlockLocation ToBlockLocation(const idl::LocatedBlock& block) {
  BlockLocation b;
  b.block = static_cast<uint64_t>(block.block);
  b.slot = U(block.slot);
  b.offset = U(block.offset);
  b.length = U(block.length);
  b.stamp = static_cast<uint64_t>(block.stamp);
  b.state = ToBlockState(block.state);
  for (const idl::ReplicaLocation& r : block.replicas) {
    b.replicas.push_back({static_cast<uint64_t>(r.datanode), r.tcp_address, r.host_id, r.rack});
  }
  for (int64_t node : block.corrupt) b.corrupt.push_back(static_cast<uint64_t>(node));
  b.expected_replicas = U32(block.expected_replicas);
  b.writer_session = static_cast<uint64_t>(block.writer_session);
  return b;
}

namespace {
BlockExplanation ToBlockExplanation(const idl::BlockExplanation& block) {
  BlockExplanation b;
  b.block = static_cast<uint64_t>(block.block);
  b.slot = U(block.slot);
  b.offset = U(block.offset);
  b.length = U(block.length);
  b.stamp = static_cast<uint64_t>(block.stamp);
  b.state = ToBlockState(block.state);
  b.expected_replicas = U32(block.expected_replicas);
  b.condition = block.condition;
  b.action = block.action;
  b.why = block.why;
  b.writer_session = static_cast<uint64_t>(block.writer_session);
  for (const idl::ReplicaExplanation& r : block.replicas) {
    ReplicaExplanation& out = b.replicas.emplace_back();
    out.datanode = static_cast<uint64_t>(r.datanode);
    out.address = r.address;
    out.host_id = r.host_id;
    out.rack = r.rack;
    out.node_state = r.node_state;
    out.last_heartbeat_ms = r.last_heartbeat_ms;
    out.replica_state = r.replica_state;
    out.stamp = static_cast<uint64_t>(r.stamp);
    if (r.__isset.verified_ns) out.verified_ns = r.verified_ns;
  }
  return b;
}
}  // namespace

FileExplanation ToFileExplanation(const idl::ExplainReply& reply) {
  FileExplanation f;
  f.status = ToFileStatus(reply.attr);
  f.path = reply.path;
  f.is_inline = reply.has_inline_data;
  for (const idl::BlockExplanation& b : reply.blocks) f.blocks.push_back(ToBlockExplanation(b));
  if (reply.next_slot >= 0) f.next_slot = U(reply.next_slot);
  for (const idl::SessionExplanation& s : reply.sessions) {
    f.sessions.push_back({static_cast<uint64_t>(s.session), s.client_name,
                          static_cast<uint32_t>(s.uid)});
  }
  return f;
}

ClusterStatus ToClusterStatus(const idl::ClusterStatusReply& reply) {
  ClusterStatus s;
  s.cluster_id = reply.cluster_id;
  s.node_id = U(reply.node_id);
  s.leader = reply.leader;
  s.term = U(reply.term);
  s.commit_index = U(reply.commit_index);
  s.applied_index = U(reply.applied_index);
  s.first_log_index = U(reply.first_log_index);
  s.flushed_index = U(reply.flushed_index);
  for (unsigned char byte : reply.state_hash) s.state_hash += fmt::format("{:02x}", byte);
  for (const idl::MemberStatus& m : reply.members) {
    s.members.push_back(
        {U(m.node_id), m.raft_address, m.client_address, m.leader, m.reachable, U(m.match_index)});
  }
  for (const idl::DatanodeStatus& d : reply.datanodes) {
    DatanodeInfo info;
    info.datanode = static_cast<uint64_t>(d.datanode);
    info.address = d.address;
    info.host_id = d.host_id;
    info.rack = d.rack;
    info.state = d.state;
    info.capacity_bytes = U(d.capacity_bytes);
    info.used_bytes = U(d.used_bytes);
    info.available_bytes = U(d.available_bytes);
    info.replicas = U(d.replicas);
    info.last_heartbeat_ms = d.last_heartbeat_ms;
    info.volumes = U32(d.volumes);
    info.failed_volumes = U32(d.failed_volumes);
    info.service = d.service_state;
    info.blocks_left = d.service_state.empty() ? -1 : d.blocks_left;  // from an older namenode
    info.maintenance_ms = d.maintenance_ms;
    if (d.__isset.clock_offset_ms) info.clock_offset_ms = d.clock_offset_ms;
    s.datanodes.push_back(std::move(info));
  }
  s.usage = {U(reply.files), U(reply.directories), U(reply.bytes)};
  s.blocks = U(reply.blocks);
  s.under_replicated = U(reply.under_replicated);
  s.missing = U(reply.missing);
  s.corrupt_replicas = U(reply.corrupt_replicas);
  s.pending_replications = U(reply.pending_replications);
  s.pending_deletions = U(reply.pending_deletions);
  s.safe_mode = reply.safe_mode;
  s.insecure = reply.insecure;
  s.leader_hint = reply.leader_hint;
  s.sessions = U(reply.sessions);
  s.open_blocks = U(reply.open_blocks);
  s.log_fsyncs = U(reply.log_fsyncs);
  s.proposals = U(reply.proposals);
  s.default_replication = U32(reply.default_replication);
  s.feature_level = U32(reply.feature_level);
  s.moving = U(reply.moving);
  s.repair_bytes_left = U(reply.repair_bytes_left);
  s.repair_bytes_per_second = U(reply.repair_bytes_per_second);
  s.deletions_held = reply.deletions_held;
  s.deletions_held_why = reply.deletions_held_why;
  s.version = reply.version;
  s.wall_clock_ns = reply.wall_clock_ns;
  s.trash_keep = std::chrono::milliseconds(reply.trash_keep_ms);
  return s;
}

}  // namespace internal
}  // namespace v1
}  // namespace dfs
