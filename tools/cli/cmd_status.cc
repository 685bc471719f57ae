#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "tools/cli/cluster_health.h"
#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

std::string MembersText(const std::vector<MemberAnswer>& members) {
  Table table({"Namenode", "Address", "Role", ">Term", ">Applied", ">Log from", "State hash"});
  for (const MemberAnswer& m : members) {
    if (!m.status) {
      table.Row({"?", m.address, "down", "", "", "", m.status.error().message()});
      continue;
    }
    const ClusterStatus& s = *m.status;
    table.Row({std::to_string(s.node_id), m.address, s.leader ? "leader" : "follower",
               std::to_string(s.term), std::to_string(s.applied_index),
               std::to_string(s.first_log_index), s.state_hash});
  }
  return table.ToString("  ");
}

/// "live, decommissioning (12 blocks left), 1 of 2 volumes failed"
std::string StateText(const DatanodeInfo& d) {
  std::string out = d.state;
  if (const std::string service = ServiceText(d); !service.empty()) out += ", " + service;
  if (d.failed_volumes > 0) {
    out += fmt::format(", {} of {} volumes failed", d.failed_volumes, d.volumes);
  }
  return out;
}

std::string DatanodesText(const ClusterStatus& s) {
  Table table(
      {"Datanode", "Address", "State", "Rack", ">Replicas", ">Used", ">Available", ">Heard from"});
  for (const DatanodeInfo& d : s.datanodes) {
    table.Row({fmt::format("{:016x}", d.datanode), d.address, StateText(d), d.rack,
               std::to_string(d.replicas), HumanSize(d.used_bytes), HumanSize(d.available_bytes),
               fmt::format("{} ago", HumanDuration(d.last_heartbeat_ms * 1'000'000))});
  }
  return table.ToString("  ");
}

}  // namespace

std::string ServiceText(const DatanodeInfo& d) {
  if (d.service.empty() || d.service == "in_service") return "";
  const std::string left = d.blocks_left < 0 ? "blocks not counted yet"
                                             : fmt::format("{} blocks left", d.blocks_left);
  const std::string until =
      fmt::format("for another {}", HumanDuration(d.maintenance_ms * kMillisecond));
  if (d.service == "decommissioning") return fmt::format("decommissioning ({})", left);
  if (d.service == "entering_maintenance") {
    return fmt::format("entering maintenance ({}) {}", left, until);
  }
  if (d.service == "maintenance") return "maintenance " + until;
  return d.service;
}

std::optional<int64_t> RepairSecondsLeft(const ClusterStatus& s) {
  if (s.repair_bytes_per_second == 0) return std::nullopt;
  return static_cast<int64_t>(s.repair_bytes_left / s.repair_bytes_per_second) + 1;
}

namespace {
std::string RepairText(const ClusterStatus& s) {
  const uint64_t blocks = s.under_replicated + s.moving;
  if (blocks == 0) return "";
  std::string out = fmt::format("Copies to be made of {} block{}, {}", blocks,
                                blocks == 1 ? "" : "s", HumanSize(s.repair_bytes_left));
  if (s.moving > 0) out += fmt::format(" ({} of them to be moved)", s.moving);
  if (const auto left = RepairSecondsLeft(s)) {
    out += fmt::format("; at {}/s about {} left", HumanSize(s.repair_bytes_per_second),
                       HumanDuration(*left * kSecond));
  }
  return out + "\n";
}
}  // namespace

std::string StatusText(const ClusterStatus& s, const std::vector<MemberAnswer>& members,
                       const std::vector<Finding>& findings) {
  std::string out = fmt::format("Cluster {}  {}{}\n\n", s.cluster_id, s.version,
                                s.insecure ? "  INSECURE: TCP without a key" : "");
  out += MembersText(members) + "\n" + DatanodesText(s);
  out += fmt::format("\n{} files, {} directories, {}; {} blocks, {} of them open; {} sessions\n",
                     s.usage.files, s.usage.directories, HumanSize(s.usage.bytes), s.blocks,
                     s.open_blocks, s.sessions);
  out += fmt::format(
      "Blocks under-replicated {}, missing {}; corrupt replicas {}; copies under way {}, "
      "deletions waiting {}\n",
      s.under_replicated, s.missing, s.corrupt_replicas, s.pending_replications,
      s.pending_deletions);
  out += RepairText(s);
  if (findings.empty()) out += "Healthy.\n";
  for (const Finding& f : findings) {
    out += fmt::format("{}: {}\n", f.is_error ? "ERROR" : "Warning", f.text);
  }
  return out;
}

ClockVerdict JudgeClock(int64_t off_by_ms) {
  constexpr int64_t kNoticed = 2'000;
  // A token lives for 15 minutes: from here on it may have expired when it is a few minutes old.
  constexpr int64_t kTokens = 10 * 60 * 1000;
  return off_by_ms >= kTokens    ? ClockVerdict::kTokensFail
         : off_by_ms >= kNoticed ? ClockVerdict::kOff
                                 : ClockVerdict::kGood;
}

std::vector<Finding> Examine(const ClusterStatus& s, const std::vector<MemberAnswer>& members) {
  std::vector<Finding> out;
  const auto add = [&](uint64_t count, bool error, const char* one, const char* many) {
    if (count > 0) out.push_back({error, fmt::format("{} {}", count, count == 1 ? one : many)});
  };
  uint64_t dead = 0, stale = 0, failed_volumes = 0, silent = 0;
  for (const DatanodeInfo& d : s.datanodes) {
    // Who may be away is not missed.
    const bool may_be_away = d.service == "decommissioned" || d.service == "maintenance";
    dead += d.state == "dead" && !may_be_away ? 1 : 0;
    stale += d.state == "stale" && !may_be_away ? 1 : 0;
    failed_volumes += d.failed_volumes;
  }
  for (const MemberAnswer& m : members) silent += m.status.ok() ? 0 : 1;
  add(s.missing, true, "block is missing (dfs fsck names the file)",
      "blocks are missing (dfs fsck names the files)");
  add(s.corrupt_replicas, false, "replica is corrupt", "replicas are corrupt");
  add(s.under_replicated, false, "block has too few replicas", "blocks have too few replicas");
  add(dead, false, "datanode is dead", "datanodes are dead");
  add(stale, false, "datanode is silent", "datanodes are silent");
  add(failed_volumes, false, "volume has failed", "volumes have failed");
  add(silent, false, "namenode does not answer", "namenodes do not answer");
  if (s.deletions_held) {
    out.push_back({false, fmt::format("deletion of replicas is held back: {}. Look into it; then "
                                      "dfs datanode release-deletions lets them go",
                                      s.deletions_held_why)});
  }
  if (s.safe_mode) out.push_back({false, "re-replication and deletion are withheld (safe mode)"});
  if (s.insecure) out.push_back({false, "anyone who reaches a port can read and write"});
  return out;
}

int RunStatus(const Arguments& arguments) {
  Verb verb("status", "The state of the cluster.", "  dfs status --exit-code && echo healthy");
  bool exit_code = false;
  verb.args().Flag("--exit-code", &exit_code, "0 healthy, 1 warnings, 7 errors");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const Result<ClusterStatus> status = client->cluster_status();
  if (!status) {
    verb.Failed("get the status of", "the cluster", status.error());
    return verb.ExitCode();
  }
  const std::vector<MemberAnswer> members = client->member_status();
  const std::vector<Finding> findings = Examine(*status, members);
  bool error = false;
  for (const Finding& f : findings) error |= f.is_error;
  const char* health = error ? "error" : findings.empty() ? "healthy" : "warning";
  if (verb.json()) {
    nlohmann::json out = ClusterAsJson(*status);
    out["schema"] = "dfs.status/1";
    out["health"] = health;
    out["findings"] = nlohmann::json::array();
    for (const Finding& f : findings) {
      out["findings"].push_back({{"level", f.is_error ? "error" : "warning"}, {"text", f.text}});
    }
    out["namenodes"] = nlohmann::json::array();
    for (const MemberAnswer& m : members) {
      nlohmann::json j = {{"address", m.address}, {"answers", m.status.ok()}};
      if (m.status) {
        j.update({{"id", m.status->node_id},
                  {"leader", m.status->leader},
                  {"term", m.status->term},
                  {"commit_index", m.status->commit_index},
                  {"applied_index", m.status->applied_index},
                  {"first_log_index", m.status->first_log_index},
                  {"flushed_index", m.status->flushed_index},
                  {"log_fsyncs", m.status->log_fsyncs},
                  {"proposals", m.status->proposals},
                  {"state_hash", m.status->state_hash}});
      } else {
        j["error"] = m.status.error().message();
      }
      out["namenodes"].push_back(std::move(j));
    }
    PrintJson(out);
  } else {
    std::fputs(StatusText(*status, members, findings).c_str(), stdout);
  }
  const int code = verb.ExitCode();
  if (code != kExitOk || !exit_code) return code;
  return error ? kExitData : findings.empty() ? kExitOk : kExitFailed;
}

}  // namespace dfs::cli
