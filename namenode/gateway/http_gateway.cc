#include "namenode/gateway/http_gateway.h"

#include <fmt/format.h>

#include <numeric>

#include "common/http/page.h"
#include "common/idl/methods.h"
#include "common/metrics/exposition.h"
#include "common/metrics/process_metrics.h"
#include "dfs_types.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/service/service.h"
#include "namenode/sessions/session_manager.h"

namespace dfs::nn {
namespace {

constexpr size_t kSamples = 11;  // ten seconds

double AsDouble(int64_t value) {
  return static_cast<double>(value);
}

uint64_t TotalRequests(const Service& service) {
  const auto& counts = service.requests();
  return std::accumulate(counts.begin(), counts.end(), uint64_t{0});
}

void AddRaft(const idl::ClusterStatusReply& s, const ReplicaMetrics& m, Exposition* page) {
  page->Gauge("dfs_namenode_is_leader", "1 on the leader.", s.leader ? 1 : 0);
  page->Gauge("dfs_namenode_term", "Raft term.", AsDouble(s.term));
  page->Gauge("dfs_namenode_commit_index", "Index of the last committed entry.",
              AsDouble(s.commit_index));
  page->Gauge("dfs_namenode_applied_index", "Index of the last applied entry.",
              AsDouble(s.applied_index));
  page->Gauge("dfs_namenode_flushed_index", "Index up to which the state is on the disk.",
              AsDouble(s.flushed_index));
  page->Gauge("dfs_namenode_log_first_index", "Index of the first entry that the log still has.",
              AsDouble(s.first_log_index));
  page->Counter("dfs_namenode_proposals_total", "Changes proposed by this member.",
                static_cast<double>(m.proposals));
  page->Counter("dfs_namenode_proposals_overloaded_total", "Changes refused for want of room.",
                static_cast<double>(m.proposals_overloaded));
  page->Counter("dfs_namenode_entries_applied_total", "Log entries applied.",
                static_cast<double>(m.entries_applied));
  page->Counter("dfs_namenode_elections_total", "Elections that this member stood in.",
                static_cast<double>(m.elections));
  page->Counter("dfs_namenode_terms_led_total", "Elections that it won.",
                static_cast<double>(m.terms_led));
  page->Counter("dfs_namenode_snapshots_sent_total", "Snapshots sent to followers.",
                static_cast<double>(m.snapshots_sent));
  page->Counter("dfs_namenode_snapshots_installed_total", "Snapshots installed here.",
                static_cast<double>(m.snapshots_installed));
  page->Counter("dfs_namenode_log_syncs_total", "Syncs of the log.",
                static_cast<double>(m.log.syncs));
  page->Counter("dfs_namenode_log_written_bytes_total", "Bytes written to the log.",
                static_cast<double>(m.log.bytes_written));
}

void AddNamespace(const idl::ClusterStatusReply& s, size_t sessions, Exposition* page) {
  page->Gauge("dfs_namespace_files", "Files.", AsDouble(s.files));
  page->Gauge("dfs_namespace_directories", "Directories.", AsDouble(s.directories));
  page->Gauge("dfs_namespace_bytes", "Bytes of all files, before replication.", AsDouble(s.bytes));
  page->Gauge("dfs_namespace_blocks", "Blocks.", AsDouble(s.blocks));
  page->Gauge("dfs_sessions", "Client sessions.", static_cast<double>(sessions));
}

void AddBlocks(const BlockStats& b, Exposition* page) {
  const auto gauge = [&](std::string_view name, std::string_view help, size_t value) {
    page->Gauge(name, help, static_cast<double>(value));
  };
  gauge("dfs_blocks_under_replicated", "Closed blocks with too few live replicas, but some.",
        b.under_replicated);
  gauge("dfs_blocks_moving", "Closed blocks of which replicas leave with their datanode.",
        b.moving);
  gauge("dfs_repair_bytes_left", "Bytes of copies that are to be made.", b.repair_bytes_left);
  gauge("dfs_blocks_missing", "Closed blocks without a live replica.", b.missing);
  gauge("dfs_blocks_open", "Blocks that are open for writing.", b.open_blocks);
  gauge("dfs_replicas_corrupt", "Replicas known to be corrupt.", b.corrupt_replicas);
  gauge("dfs_replications_pending", "Copies that are ordered.", b.pending_replications);
  gauge("dfs_deletions_pending", "Replicas that are to be deleted.", b.pending_deletions);
  gauge("dfs_safe_mode", "1 while repair and deletion are withheld.", b.safe_mode ? 1 : 0);
  gauge("dfs_deletion_alarm", "1 while a brake holds deletions back.", b.alarm ? 1 : 0);
  page->Counter("dfs_replications_done_total", "Copies made for repair.",
                static_cast<double>(b.copies_done));
  page->Counter("dfs_replications_failed_total", "Copies that failed.",
                static_cast<double>(b.copies_failed));
  page->Counter("dfs_replicas_deleted_total", "Replicas deleted.",
                static_cast<double>(b.replicas_deleted));
  page->Counter("dfs_block_recoveries_total", "Block recoveries finished.",
                static_cast<double>(b.recoveries_done));
}

void AddDatanodes(const idl::ClusterStatusReply& s, Exposition* page) {
  for (const std::string state : {"live", "stale", "dead"}) {
    double count = 0;
    for (const auto& d : s.datanodes) count += d.state == state;
    page->Gauge("dfs_datanodes", "Datanodes by state.", count, {{"state", state}});
  }
  const auto each = [&](std::string_view name, std::string_view help, auto field) {
    for (const auto& d : s.datanodes) {
      page->Gauge(name, help, AsDouble(d.*field),
                  {{"datanode", fmt::format("{:016x}", static_cast<uint64_t>(d.datanode))},
                   {"address", d.address}});
    }
  };
  each("dfs_datanode_capacity_bytes", "Space of the volumes.",
       &idl::DatanodeStatus::capacity_bytes);
  each("dfs_datanode_available_bytes", "Space for replicas.",
       &idl::DatanodeStatus::available_bytes);
  each("dfs_datanode_used_bytes", "Space that replicas take.", &idl::DatanodeStatus::used_bytes);
  each("dfs_datanode_replicas", "Replicas reported.", &idl::DatanodeStatus::replicas);
  each("dfs_datanode_blocks_left",
       "Blocks that need a datanode that is taken out of service; -1: not counted, or in service.",
       &idl::DatanodeStatus::blocks_left);
  for (const std::string service : {"in_service", "decommissioning", "decommissioned",
                                    "entering_maintenance", "maintenance"}) {
    double count = 0;
    for (const auto& d : s.datanodes) count += d.service_state == service;
    page->Gauge("dfs_datanodes_by_service", "Datanodes by what an operator said of them.", count,
                {{"service", service}});
  }
  for (const auto& d : s.datanodes) {
    page->Gauge("dfs_datanode_failed_volumes", "Volumes taken out.", d.failed_volumes,
                {{"datanode", fmt::format("{:016x}", static_cast<uint64_t>(d.datanode))},
                 {"address", d.address}});
  }
}

void AddRequests(const Service& service, Exposition* page) {
  const auto& counts = service.requests();
  for (size_t method = 0; method < counts.size(); ++method) {
    if (counts[method] == 0) continue;
    page->Counter("dfs_namenode_requests_total", "Requests by method.",
                  static_cast<double>(counts[method]),
                  {{"method", std::string(idl::MethodName(static_cast<uint16_t>(method)))}});
  }
}

// ---- The status page

std::string Plural(int64_t n, std::string_view one, std::string_view many) {
  return fmt::format("{} {}", n, n == 1 ? one : many);
}

void AddBanners(const idl::ClusterStatusReply& s, Page* page) {
  if (!s.leader) {
    page->Banner(Tone::kPlain,
                 s.leader_hint.empty()
                     ? "A follower that knows of no leader just now."
                     : "A follower; the leader serves clients on " + s.leader_hint + ".");
    return;
  }
  int64_t dead = 0, stale = 0, failed = 0, away = 0;
  for (const auto& d : s.datanodes) {
    const bool may_be_away = d.service_state == "decommissioned" || d.service_state == "maintenance";
    dead += d.state == "dead" && !may_be_away;
    stale += d.state == "stale" && !may_be_away;
    failed += d.failed_volumes;
  }
  for (const auto& m : s.members) away += !m.reachable;
  std::vector<std::pair<Tone, std::string>> found;
  if (s.missing > 0) {
    found.emplace_back(Tone::kBad, Plural(s.missing, "block is missing", "blocks are missing"));
  }
  if (dead > 0) {
    found.emplace_back(Tone::kBad, Plural(dead, "datanode is dead", "datanodes are dead"));
  }
  if (away > 0) {
    found.emplace_back(Tone::kWarning,
                       Plural(away, "namenode is not reachable", "namenodes are not reachable"));
  }
  if (failed > 0) {
    found.emplace_back(Tone::kWarning, Plural(failed, "volume has failed", "volumes have failed"));
  }
  if (stale > 0) {
    found.emplace_back(Tone::kWarning, Plural(stale, "datanode is silent", "datanodes are silent"));
  }
  if (s.under_replicated > 0) {
    found.emplace_back(Tone::kWarning, Plural(s.under_replicated, "block has too few replicas",
                                              "blocks have too few replicas"));
  }
  if (s.corrupt_replicas > 0) {
    found.emplace_back(Tone::kWarning,
                       Plural(s.corrupt_replicas, "replica is corrupt", "replicas are corrupt"));
  }
  if (s.moving > 0) {
    found.emplace_back(Tone::kPlain, Plural(s.moving, "block is moved off its datanode",
                                            "blocks are moved off their datanodes"));
  }
  if (s.deletions_held) {
    found.emplace_back(Tone::kWarning,
                       "Deletion of replicas is held back: " + s.deletions_held_why);
  }
  if (s.safe_mode) found.emplace_back(Tone::kWarning, "Safe mode: repair and deletion wait");
  if (s.insecure) found.emplace_back(Tone::kWarning, "INSECURE: TCP connections prove no key");
  if (found.empty()) found.emplace_back(Tone::kGood, "Healthy");
  for (const auto& [tone, text] : found) page->Banner(tone, text);
}

void AddNamenodes(const idl::ClusterStatusReply& s, Page* page) {
  page->Heading("Namenodes");
  std::vector<std::vector<Page::Cell>> rows;
  for (const auto& m : s.members) {
    const bool self = m.node_id == s.node_id;
    const char* role = m.leader ? "leader" : "follower";
    const bool known = self || s.leader;  // only the leader hears the others
    rows.push_back({{std::to_string(m.node_id) + (self ? " (this one)" : "")},
                    {m.client_address},
                    {role, m.leader ? Tone::kGood : Tone::kPlain},
                    {known ? (m.reachable || self ? "yes" : "no") : "",
                     known && !m.reachable && !self ? Tone::kBad : Tone::kPlain},
                    {s.leader ? std::to_string(m.match_index) : "", Tone::kPlain, true}});
  }
  page->Table({"Id", "Address", "Role", "Reachable", "Log up to"}, rows, "None.");
}

std::string ServiceText(const idl::DatanodeStatus& d) {
  std::string out = d.service_state;
  std::replace(out.begin(), out.end(), '_', ' ');
  if (d.service_state == "decommissioning" || d.service_state == "entering_maintenance") {
    out += d.blocks_left < 0 ? "" : fmt::format(", {} blocks left", d.blocks_left);
  }
  if (d.maintenance_ms > 0) out += ", for " + PageDuration(d.maintenance_ms);
  return out;
}

void AddDatanodeTable(const idl::ClusterStatusReply& s, Page* page) {
  page->Heading("Datanodes");
  std::vector<std::vector<Page::Cell>> rows;
  for (const auto& d : s.datanodes) {
    const Tone tone = d.state == "live"    ? Tone::kGood
                      : d.state == "stale" ? Tone::kWarning
                                           : Tone::kBad;
    rows.push_back(
        {{d.address},
         {d.state, tone},
         {ServiceText(d)},
         {d.rack},
         {std::to_string(d.replicas), Tone::kPlain, true},
         {PageSize(static_cast<uint64_t>(d.used_bytes)), Tone::kPlain, true},
         {PageSize(static_cast<uint64_t>(d.available_bytes)), Tone::kPlain, true},
         {fmt::format("{}{}", d.volumes,
                      d.failed_volumes > 0 ? fmt::format(" ({} failed)", d.failed_volumes) : ""),
          d.failed_volumes > 0 ? Tone::kBad : Tone::kPlain, true},
         {PageDuration(d.last_heartbeat_ms) + " ago", Tone::kPlain, true}});
  }
  page->Table(
      {"Address", "State", "Service", "Rack", "Replicas", "Used", "Available", "Volumes",
       "Heard from"},
      rows, "No datanode has registered.");
}

}  // namespace

HttpGateway::HttpGateway(Namenode& namenode, Executor& executor)
    : namenode_(namenode), executor_(executor) {
  TakeSample();
}

HttpGateway::~HttpGateway() {
  executor_.Cancel(timer_);
}

void HttpGateway::TakeSample() {
  const ReplicaMetrics metrics = namenode_.replica().metrics();
  samples_.push_back({executor_.clock().BootNs(), TotalRequests(namenode_.service()),
                      metrics.proposals, metrics.log.syncs});
  if (samples_.size() > kSamples) samples_.pop_front();
  timer_ = executor_.RunAfter(kSecond, [this] { TakeSample(); });
}

HttpResponse HttpGateway::Handle(const HttpRequest& request) const {
  if (request.path == "/") return StatusPage();
  if (request.path == "/metrics") return Metrics();
  if (request.path == "/healthz") return {.body = "ok\n"};
  if (request.path == "/readyz") return Ready();
  return {.status = 404, .body = "not found; there are: / /healthz /readyz /metrics\n"};
}

HttpResponse HttpGateway::Ready() const {
  const Replica& replica = namenode_.replica();
  if (replica.is_leader()) return {.body = "ready: leads\n"};
  const std::string leader = replica.leader_client_address();
  if (leader.empty()) return {.status = 503, .body = "not ready: knows of no leader\n"};
  return {.body = "ready: follows " + leader + "\n"};
}

HttpResponse HttpGateway::Metrics() const {
  const idl::ClusterStatusReply status = namenode_.service().ClusterStatus();
  Exposition page;
  page.Gauge("dfs_build_info", "1, with the version.", 1, {{"version", status.version}});
  AddRaft(status, namenode_.replica().metrics(), &page);
  AddRequests(namenode_.service(), &page);
  AddNamespace(status, static_cast<size_t>(status.sessions), &page);
  AddBlocks(namenode_.blocks().stats(), &page);
  AddDatanodes(status, &page);
  AddProcessMetrics(&page);
  return {.content_type = std::string(kExpositionType), .body = page.text()};
}

HttpResponse HttpGateway::StatusPage() const {
  const idl::ClusterStatusReply s = namenode_.service().ClusterStatus();
  const BlockStats blocks = namenode_.blocks().stats();
  Page page(fmt::format("Namenode {}", s.node_id),
            fmt::format("cluster {} - dfs {} - term {}", s.cluster_id, s.version, s.term));
  AddBanners(s, &page);

  const Sample& first = samples_.front();
  const Sample& last = samples_.back();
  const double seconds = static_cast<double>(last.at_ns - first.at_ns) / 1e9;
  const auto rate = [&](uint64_t Sample::*field) {
    if (seconds <= 0) return std::string("-");
    return fmt::format("{:.0f}/s", static_cast<double>(last.*field - first.*field) / seconds);
  };
  page.Heading("Namespace");
  page.Facts({{"Files", std::to_string(s.files)},
              {"Directories", std::to_string(s.directories)},
              {"Data, before replication", PageSize(static_cast<uint64_t>(s.bytes))},
              {"Blocks", std::to_string(s.blocks)},
              {"Sessions", std::to_string(s.sessions)},
              {"Requests here", rate(&Sample::requests)},
              {"Changes here", rate(&Sample::changes)},
              {"Log syncs here", rate(&Sample::syncs)}});

  page.Heading("Repair");
  const auto count = [](int64_t n, Tone tone) {
    return std::pair(std::to_string(n), n > 0 ? tone : Tone::kPlain);
  };
  const auto fact = [&](std::string name, int64_t n, Tone tone) {
    const auto [text, shown] = count(n, tone);
    return Page::Fact{std::move(name), text, shown};
  };
  page.Facts({fact("Under-replicated", s.under_replicated, Tone::kWarning),
              fact("Missing", s.missing, Tone::kBad),
              fact("Corrupt replicas", s.corrupt_replicas, Tone::kWarning),
              fact("Copies under way", s.pending_replications, Tone::kPlain),
              fact("Copies made", static_cast<int64_t>(blocks.copies_done), Tone::kPlain),
              fact("Deletions waiting", s.pending_deletions, Tone::kPlain),
              fact("Blocks open", s.open_blocks, Tone::kPlain)});

  int64_t capacity = 0, available = 0;
  for (const auto& d : s.datanodes) {
    if (d.state == "dead") continue;
    capacity += d.capacity_bytes;
    available += d.available_bytes;
  }
  page.Heading("Space");
  page.Bar(fmt::format("{} of {} available", PageSize(static_cast<uint64_t>(available)),
                       PageSize(static_cast<uint64_t>(capacity))),
           capacity == 0 ? 0 : 1 - AsDouble(available) / AsDouble(capacity));
  AddNamenodes(s, &page);
  AddDatanodeTable(s, &page);
  return {.content_type = "text/html; charset=utf-8", .body = page.Html()};
}

}  // namespace dfs::nn
