#include "tools/bench/cmd_bench.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "common/base/clock.h"
#include "tools/bench/bare.h"
#include "tools/bench/fs_workload.h"
#include "tools/bench/parts.h"
#include "tools/bench/report.h"
#include "tools/cli/args.h"
#include "tools/cli/client_config.h"
#include "tools/cli/verb.h"

namespace dfs::bench {
namespace {

struct BenchOptions {
  std::vector<std::string> parts;
  std::string dev_directory;
  std::string scratch;
  std::string namenodes;
  std::string key_file;
  int64_t kills = 50;
  int64_t files = 1'000'000;
  int64_t tenths = 0;
};

bool Wants(const BenchOptions& o, const std::string& part) {
  for (const std::string& p : o.parts) {
    if (p == part || p == "all") return true;
  }
  return false;
}

// The cluster to measure: one that dfs dev runs (its daemons can then be looked at and killed), or any.
Status FindOrStart(const BenchOptions& o, Bench* bench, std::unique_ptr<dev::DevCluster>* cluster,
                   bool* made) {
  *made = false;
  std::string directory = o.dev_directory;
  if (directory.empty() && o.namenodes.empty() && std::getenv("DFS_NAMENODES") == nullptr) {
    const Result<dev::Discovery> found = dev::ReadDiscovery();
    if (found) directory = found->directory;
  }
  if (directory.empty()) {
    cli::ClientConfigFlags flags;
    flags.namenodes = o.namenodes;
    flags.key_file = o.key_file;
    DFS_ASSIGN_OR_RETURN(bench->client, cli::FindCluster(flags));
    return Status::Ok();
  }
  directory = std::filesystem::absolute(directory).string();
  if (dev::IsDevDirectory(directory)) {
    DFS_ASSIGN_OR_RETURN(*cluster, dev::DevCluster::Open(directory));
  } else {
    dev::CreateSpec spec;
    spec.namenodes = 3;
    spec.log_level = "warning";
    DFS_ASSIGN_OR_RETURN(*cluster, dev::DevCluster::Create(directory, spec));
    *made = true;
  }
  DFS_RETURN_IF_ERROR((*cluster)->Start({}, nullptr));
  DFS_RETURN_IF_ERROR((*cluster)->WaitUntilHealthy(120 * kSecond));
  bench->cluster = cluster->get();
  bench->client = (*cluster)->ClientOptions();
  bench->scratch = directory;
  return Status::Ok();
}

void Run(const BenchOptions& o, const Bench& bench, Report& report) {
  utsname name{};
  uname(&name);
  Say(bench, fmt::format("dfs bench: {} cores, Linux {}, scratch {}", sysconf(_SC_NPROCESSORS_ONLN),
                         name.release, bench.scratch));
  if (Wants(o, "bare") && !Wants(o, "metadata")) RunBare(bench, report);
  if (Wants(o, "metadata")) RunMetadata(bench, report);
  if (Wants(o, "small-files")) RunSmallFiles(bench, report);
  if (Wants(o, "throughput")) RunThroughput(bench, report);
  if (Wants(o, "overwrite")) RunOverwrite(bench, report);
  if (Wants(o, "failover")) RunFailover(bench, report, static_cast<int>(o.kills));
  if (Wants(o, "million")) RunMillion(bench, report, static_cast<uint64_t>(o.files));
}

}  // namespace

int RunBench(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] == "fs") {
    return RunFsBench({arguments.begin() + 1, arguments.end()});
  }
  cli::Args args(
      "bench",
      "Measure a cluster. PART: bare, metadata, small-files, throughput, overwrite, failover, "
      "million, or all; or fs: mounted directories (dfs bench fs --help). Without options it takes "
      "the "
      "development cluster that runs here.",
      "  dfs bench metadata\n  dfs bench all --dev /tmp/bench --json > result.json");
  BenchOptions o;
  Bench bench;
  args.Positionals("PART", &o.parts, "What to measure", 1);
  args.Option("--dev", &o.dev_directory,
              "Use the development cluster in this directory; when new, make one of 3 + 3, "
              "destroyed after");
  args.Option("--scratch", &o.scratch, "Directory on the datanodes' disk for the bare parts");
  args.Option("--namenodes", &o.namenodes, "Measure the cluster of these namenodes");
  args.Option("--key-file", &o.key_file, "The cluster key's file");
  args.Option("--kills", &o.kills, "How often to kill the leader (50)", 1, 10'000);
  args.Option("--files", &o.files, "Files of the part million (1000000)", 16, 1'000'000'000);
  args.Option("--tenths", &o.tenths, "Tenths of a second of each timed measurement (30)", 1, 6000);
  args.Flag("--quick", &bench.quick, "Small sizes and short times");
  args.Flag("--json", &bench.as_json, "The result as one JSON document on stdout");
  if (const auto code = args.Parse(arguments)) return *code;
  static constexpr const char* kParts[] = {"all",        "bare",      "metadata", "small-files",
                                           "throughput", "overwrite", "failover", "million"};
  for (const std::string& part : o.parts) {
    bool known = false;
    for (const char* p : kParts) known |= part == p;
    if (!known) return args.UsageError("there is no part '" + part + "'");
  }
  if (bench.quick) bench.seconds = 1;
  if (o.tenths > 0) bench.seconds = static_cast<double>(o.tenths) / 10;

  std::unique_ptr<dev::DevCluster> cluster;
  bool made = false;
  Status status = FindOrStart(o, &bench, &cluster, &made);
  if (!o.scratch.empty()) bench.scratch = o.scratch;
  if (bench.scratch.empty()) bench.scratch = "/var/tmp";
  if (status.ok()) {
    bench.scratch += fmt::format("/bench-scratch-{}", getpid());
    if (mkdir(bench.scratch.c_str(), 0700) != 0) {
      status = Status::FromSystem(errno, bench.scratch);
    }
  }
  bool failed = false;
  if (status.ok()) {
    Report report(bench);
    Run(o, bench, report);
    report.PrintJson();
    failed = report.any_failed();
    rmdir(bench.scratch.c_str());
  }
  if (made && cluster != nullptr) {
    const Status destroyed = cluster->Destroy();
    if (status.ok()) status = destroyed;
  }
  if (!status) {
    cli::PrintError(bench.as_json, "measure", "the cluster", status);
    return cli::ExitCodeOf(status);
  }
  return failed ? cli::kExitFailed : cli::kExitOk;
}

}  // namespace dfs::bench
