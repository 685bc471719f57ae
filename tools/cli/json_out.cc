#include "tools/cli/json_out.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/cluster_health.h"
#include "tools/cli/text.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

using nlohmann::json;

void SetName(json* object, const std::string& field, std::string_view name) {
  if (IsValidUtf8(name)) {
    (*object)[field] = std::string(name);
  } else {
    (*object)[field + "_b64"] = Base64(name);
  }
}

json StatusAsJson(const FileStatus& s) {
  char mode[8];
  std::snprintf(mode, sizeof(mode), "%04o", s.mode);
  json out = {{"type", TypeName(s.type)},
              {"inode", s.inode},
              {"mode", mode},
              {"uid", s.uid},
              {"gid", s.gid},
              {"links", s.nlink},
              {"size", s.size},
              {"allocated_bytes", s.allocated_bytes},
              {"block_size", s.block_size},
              {"replication", s.replication},
              {"atime", IsoTime(s.atime_ns)},
              {"mtime", IsoTime(s.mtime_ns)},
              {"ctime", IsoTime(s.ctime_ns)},
              {"open_for_write", s.open_for_write}};
  if (s.is_symlink()) SetName(&out, "target", s.symlink_target);
  if (s.is_directory()) out["entries"] = s.entries;
  return out;
}

json ClusterAsJson(const ClusterStatus& s) {
  json datanodes = json::array();
  for (const DatanodeInfo& d : s.datanodes) {
    char id[24];
    std::snprintf(id, sizeof(id), "%016llx", static_cast<unsigned long long>(d.datanode));
    datanodes.push_back({{"id", id},
                         {"address", d.address},
                         {"host_id", d.host_id},
                         {"rack", d.rack},
                         {"state", d.state},
                         {"capacity_bytes", d.capacity_bytes},
                         {"used_bytes", d.used_bytes},
                         {"available_bytes", d.available_bytes},
                         {"replicas", d.replicas},
                         {"last_heartbeat_ms", d.last_heartbeat_ms},
                         {"volumes", d.volumes},
                         {"failed_volumes", d.failed_volumes},
                         {"service", d.service},
                         {"blocks_left", d.blocks_left},
                         {"maintenance_ms", d.maintenance_ms}});
    if (d.clock_offset_ms) datanodes.back()["clock_offset_ms"] = *d.clock_offset_ms;
  }
  json members = json::array();
  for (const NamenodeMember& m : s.members) {
    members.push_back({{"id", m.node_id},
                       {"raft_address", m.raft_address},
                       {"client_address", m.client_address},
                       {"leader", m.leader},
                       {"reachable", m.reachable},
                       {"match_index", m.match_index}});
  }
  const std::optional<int64_t> left = RepairSecondsLeft(s);
  return {{"cluster_id", s.cluster_id},
          {"node_id", s.node_id},
          {"leader", s.leader},
          {"term", s.term},
          {"commit_index", s.commit_index},
          {"applied_index", s.applied_index},
          {"first_log_index", s.first_log_index},
          {"flushed_index", s.flushed_index},
          {"state_hash", s.state_hash},
          {"members", members},
          {"datanodes", datanodes},
          {"files", s.usage.files},
          {"directories", s.usage.directories},
          {"bytes", s.usage.bytes},
          {"blocks", s.blocks},
          {"under_replicated", s.under_replicated},
          {"missing", s.missing},
          {"corrupt_replicas", s.corrupt_replicas},
          {"pending_replications", s.pending_replications},
          {"pending_deletions", s.pending_deletions},
          {"moving", s.moving},
          {"repair_bytes_left", s.repair_bytes_left},
          {"repair_bytes_per_second", s.repair_bytes_per_second},
          {"repair_seconds_left", left ? json(*left) : json()},
          {"deletions_held", s.deletions_held},
          {"deletions_held_why", s.deletions_held_why},
          {"safe_mode", s.safe_mode},
          {"insecure", s.insecure},
          {"sessions", s.sessions},
          {"open_blocks", s.open_blocks},
          {"log_fsyncs", s.log_fsyncs},
          {"proposals", s.proposals},
          {"default_replication", s.default_replication},
          {"version", s.version},
          {"feature_level", s.feature_level},
          {"wall_clock", IsoTime(s.wall_clock_ns)},
          {"trash_keep_ms", s.trash_keep.count()}};
}

void PrintJson(const json& value) {
  const std::string text = value.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  std::fputs(text.c_str(), stdout);
}

std::string ErrorAsJson(std::string_view action, std::string_view object, const Status& why,
                        std::string_view hint) {
  json error = {{"schema", "dfs.error/1"},      {"action", action},
                {"code", CodeName(why.code())}, {"errno", why.posix_errno()},
                {"exit_code", ExitCodeOf(why)}, {"message", why.message()}};
  SetName(&error, "object", object);
  if (!hint.empty()) error["hint"] = hint;
  return error.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace dfs::cli
