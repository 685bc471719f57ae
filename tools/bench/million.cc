// A namespace of a million files: memory, start-up, and how long a member that was away takes to catch up
// by a snapshot.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>

#include "common/base/clock.h"
#include "tools/bench/parts.h"

namespace dfs::bench {
namespace {

constexpr uint64_t kFilesPerDirectory = 1000;
constexpr int kCallers = 16;

int64_t Now() {
  return SystemClock().BootNs();
}

void Nap() {
  const timespec t{0, 5'000'000};
  nanosleep(&t, nullptr);
}

double Seconds(int64_t ns) {
  return static_cast<double>(ns) / 1e9;
}

void ReportMemory(const Bench& bench, Report& report, const std::string& when, uint64_t files) {
  for (const dev::Member& m : bench.cluster->layout().members) {
    const uint64_t bytes = dev::UsageOf(m.process).resident_bytes;
    if (!m.is_namenode || bytes == 0) continue;
    report.Number(fmt::format("memory of {}, {}", m.name, when), static_cast<double>(bytes >> 20),
                  "MiB",
                  {{"bytes_per_file",
                    files == 0 ? 0.0 : static_cast<double>(bytes) / static_cast<double>(files)}});
  }
}

Status CreateFiles(const Bench& bench, Report& report, const std::string& root, uint64_t files) {
  const uint64_t each = files / kCallers;
  WorkerPlan plan;
  plan.processes = kCallers;
  plan.client = bench.client;
  plan.body = [&](const Client& c, int w, Recorder& r) {
    CreateOptions create;
    create.exclusive = true;
    create.overwrite = false;
    for (uint64_t i = 0; i < each; ++i) {
      const std::string directory = fmt::format("{}/{}/{}", root, w, i / kFilesPerDirectory);
      if (i % kFilesPerDirectory == 0) {
        const Status made = c.create_directories(directory);
        if (!made.ok()) return r.Add(0, made);
      }
      if (!r.Time([&] {
            return c.write_file(fmt::format("{}/file-{:07}", directory, i), "", create);
          })) {
        return;
      }
    }
  };
  report.Begin();
  DFS_ASSIGN_OR_RETURN(const WorkerTotals totals, RunWorkers(plan));
  report.Calls(fmt::format("create {} files", files), kCallers, totals);
  return totals.failed == 0 ? Status::Ok() : Status(Code::kInternal, totals.first_error);
}

// Until the member has applied what the leader had applied at the start.
Result<double> AwaitCaughtUp(const Bench& bench, int number, uint64_t* snapshot_gap) {
  DFS_ASSIGN_OR_RETURN(const Client client, Client::connect(bench.client));
  DFS_ASSIGN_OR_RETURN(const ClusterStatus leader, client.cluster_status());
  *snapshot_gap = leader.first_log_index;
  const int64_t started = Now();
  while (Now() - started < 120 * kSecond) {
    for (const MemberAnswer& m : client.member_status(std::chrono::milliseconds(500))) {
      if (m.status && m.status->node_id == static_cast<uint64_t>(number) &&
          m.status->applied_index >= leader.applied_index) {
        return Seconds(Now() - started);
      }
    }
    Nap();
  }
  return Status(Code::kTimedOut, "the member did not catch up within two minutes");
}

// Everything is killed and started: the time to the daemons' being ready, and to the first answer.
Status MeasureRestart(const Bench& bench, Report& report, const std::string& root) {
  dev::DevCluster& cluster = *bench.cluster;
  std::vector<std::string> names;
  for (const dev::Member& m : cluster.layout().members) {
    if (!m.is_namenode) continue;
    DFS_RETURN_IF_ERROR(cluster.Kill(m));
    names.push_back(m.name);
  }
  const int64_t started = Now();
  int64_t slowest = 0;
  DFS_RETURN_IF_ERROR(cluster.Start(
      names, [&](const dev::Member&, int64_t elapsed) { slowest = std::max(slowest, elapsed); }));
  DFS_ASSIGN_OR_RETURN(const Client client, Client::connect(bench.client));
  DFS_RETURN_IF_ERROR(client.stat(root).status());
  report.Number("all namenodes killed and started: ready", Seconds(slowest), "s");
  report.Number("all namenodes killed and started: first answer", Seconds(Now() - started), "s",
                {{"election_included", 1}});
  return Status::Ok();
}

Status Run(const Bench& bench, Report& report, uint64_t files) {
  dev::DevCluster& cluster = *bench.cluster;
  const std::string root = BenchRoot();
  ReportMemory(bench, report, "before", 0);
  // A follower is away meanwhile, so that it needs a snapshot afterwards.
  DFS_ASSIGN_OR_RETURN(const dev::Member leader, cluster.Resolve("leader"));
  const dev::Member* away = nullptr;
  for (const dev::Member& m : cluster.layout().members) {
    if (m.is_namenode && m.name != leader.name) away = &m;
  }
  uint64_t applied_before = 0;
  {
    DFS_ASSIGN_OR_RETURN(const Client client, Client::connect(bench.client));
    DFS_ASSIGN_OR_RETURN(const ClusterStatus status, client.cluster_status());
    applied_before = status.applied_index;
  }
  if (away != nullptr) DFS_RETURN_IF_ERROR(cluster.Kill(*away));
  DFS_RETURN_IF_ERROR(CreateFiles(bench, report, root, files));
  ReportMemory(bench, report, "after", files);
  if (away != nullptr) {
    DFS_RETURN_IF_ERROR(cluster.Start({away->name}, nullptr));
    uint64_t first_index = 0;
    DFS_ASSIGN_OR_RETURN(const double seconds, AwaitCaughtUp(bench, away->number, &first_index));
    report.Number(first_index > applied_before + 1
                      ? "a member that was away: caught up by a snapshot in"
                      : "a member that was away: caught up by the log in",
                  seconds, "s", {{"leader_log_begins_at", static_cast<double>(first_index)}});
  }
  DFS_RETURN_IF_ERROR(MeasureRestart(bench, report, root));
  ReportMemory(bench, report, "after the restart", files);
  report.Begin();
  return RunOnce(bench.client, [&](const Client& c) { return c.remove_all(root).status(); });
}

}  // namespace

void RunMillion(const Bench& bench, Report& report, uint64_t files) {
  report.Section(fmt::format("{} files", files));
  if (bench.cluster == nullptr) {
    report.Failed("million",
                  Status(Code::kNotSupported, "needs a development cluster (--dev DIR)"));
    return;
  }
  const Status done = Run(bench, report, files);
  if (!done) report.Failed("million", done);
}

}  // namespace dfs::bench
