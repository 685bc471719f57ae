#include "datanode/gateway/http_gateway.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/http/page.h"
#include "common/metrics/exposition.h"
#include "common/metrics/process_metrics.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

HttpResponse HttpGateway::Handle(const HttpRequest& request) const {
  if (request.path == "/") return StatusPage();
  if (request.path == "/metrics") return Metrics();
  if (request.path == "/healthz") return {.body = "ok\n"};
  if (request.path == "/readyz") return Ready();
  return {.status = 404, .body = "not found; there are: / /healthz /readyz /metrics\n"};
}

HttpResponse HttpGateway::Ready() const {
  const DatanodeStatus status = datanode_.status();
  if (status.lease) return {.body = "ready: the leader hears this datanode\n"};
  return {.status = 503, .body = "not ready: no leader has acknowledged a heartbeat lately\n"};
}

HttpResponse HttpGateway::Metrics() const {
  const DatanodeStatus s = datanode_.status();
  Exposition page;
  page.Gauge("dfs_build_info", "1, with the version.", 1, {{"version", s.version}});
  page.Gauge("dfs_datanode_has_lease", "1 while the leader acknowledges heartbeats.",
             s.lease ? 1 : 0);
  page.Gauge("dfs_datanode_highest_term", "Highest Raft term seen.",
             static_cast<double>(s.highest_term));
  for (const auto& n : s.namenodes) {
    page.Gauge("dfs_datanode_registered", "1 where it is registered.", n.registered ? 1 : 0,
               {{"namenode", n.address}});
  }
  page.Gauge("dfs_datanode_replicas", "Replicas, unfinished copies not counted.",
             static_cast<double>(s.replicas));
  page.Gauge("dfs_datanode_active_streams", "Block streams that are open.", s.active_streams);
  page.Counter("dfs_datanode_stored_bytes_total", "Bytes of blocks taken in.",
               static_cast<double>(s.stored_bytes));
  page.Counter("dfs_datanode_served_bytes_total",
               "Bytes of blocks read from here, those that readers took from a passed file too.",
               static_cast<double>(s.served_bytes));
  page.Counter("dfs_datanode_scanner_bytes_total", "Bytes of replicas that the scanner verified.",
               static_cast<double>(s.scanner.verified_bytes));
  page.Counter("dfs_datanode_scanner_replicas_total", "Replicas that the scanner verified.",
               static_cast<double>(s.scanner.verified_replicas));
  page.Counter("dfs_datanode_scanner_corrupt_total", "Corrupt replicas that the scanner found.",
               static_cast<double>(s.scanner.corrupt_replicas));
  page.Gauge("dfs_datanode_never_verified_replicas", "Replicas that the scanner has yet to verify.",
             static_cast<double>(s.scanner.never_verified));
  page.Gauge("dfs_datanode_oldest_verified_timestamp_seconds",
             "When the replica was verified that was verified longest ago.",
             static_cast<double>(s.scanner.oldest_verified_wall_s));
  const auto each = [&](std::string_view name, std::string_view help, auto value) {
    for (const VolumeInfo& v : s.volumes) {
      page.Gauge(name, help, static_cast<double>(value(v)), {{"volume", v.path}});
    }
  };
  each("dfs_volume_capacity_bytes", "Size of the volume's file system.",
       [](const VolumeInfo& v) { return v.capacity_bytes; });
  each("dfs_volume_available_bytes", "Left for replicas.",
       [](const VolumeInfo& v) { return v.available_bytes; });
  each("dfs_volume_used_bytes", "Taken by replicas.",
       [](const VolumeInfo& v) { return v.used_bytes; });
  each("dfs_volume_failed", "1 when the volume was taken out.",
       [](const VolumeInfo& v) { return v.failed ? 1 : 0; });
  AddProcessMetrics(&page);
  return {.content_type = std::string(kExpositionType), .body = page.text()};
}

HttpResponse HttpGateway::StatusPage() const {
  const DatanodeStatus s = datanode_.status();
  Page page("Datanode " + s.block_address,
            fmt::format("id {:016x} - cluster {} - rack {} - dfs {}", s.id.value, s.cluster_id,
                        s.rack, s.version));
  const auto failed = std::count_if(s.volumes.begin(), s.volumes.end(),
                                    [](const VolumeInfo& v) { return v.failed; });
  if (failed > 0)
    page.Banner(Tone::kBad, fmt::format("{} of {} volumes failed", failed, s.volumes.size()));
  if (!s.lease) page.Banner(Tone::kWarning, "No leader acknowledges heartbeats just now");
  if (failed == 0 && s.lease) page.Banner(Tone::kGood, "In service");
  page.Heading("Work");
  page.Facts({{"Replicas", std::to_string(s.replicas)},
              {"Open streams", std::to_string(s.active_streams)},
              {"Stored since the start", PageSize(s.stored_bytes)},
              {"Served since the start", PageSize(s.served_bytes)}});
  if (s.scanner.on) {
    page.Heading("Scanner");
    const bool found = s.scanner.corrupt_replicas > 0;
    page.Facts({{"Verified since the start",
                 fmt::format("{} replicas, {}", s.scanner.verified_replicas,
                             PageSize(s.scanner.verified_bytes))},
                {"Found corrupt", std::to_string(s.scanner.corrupt_replicas),
                 found ? Tone::kWarning : Tone::kPlain},
                {"Yet to be verified", fmt::format("{} replicas", s.scanner.never_verified)}});
  }
  page.Heading("Volumes");
  std::vector<std::vector<Page::Cell>> rows;
  for (const VolumeInfo& v : s.volumes) {
    rows.push_back({{v.path},
                    {v.failed ? "failed" : "in use", v.failed ? Tone::kBad : Tone::kGood},
                    {PageSize(v.used_bytes), Tone::kPlain, true},
                    {PageSize(v.available_bytes), Tone::kPlain, true},
                    {PageSize(v.capacity_bytes), Tone::kPlain, true}});
  }
  page.Table({"Directory", "State", "Used", "Available", "Size"}, rows, "None.");
  page.Heading("Namenodes");
  rows.clear();
  for (const auto& n : s.namenodes) {
    rows.push_back({{n.address},
                    {n.registered ? "registered" : "not registered",
                     n.registered ? Tone::kGood : Tone::kWarning}});
  }
  page.Table({"Address", "State"}, rows, "None.");
  return {.content_type = "text/html; charset=utf-8", .body = page.Html()};
}

}  // namespace dfs::dn
