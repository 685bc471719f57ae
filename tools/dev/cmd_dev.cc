// dfs dev: a whole cluster of real processes on this machine.
#include "tools/dev/cmd_dev.h"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "tools/cli/args.h"
#include "tools/cli/cluster_health.h"
#include "tools/cli/json_out.h"
#include "tools/cli/text.h"
#include "tools/cli/verb.h"
#include "tools/dev/dev_cluster.h"

namespace dfs::dev {
namespace {

using cli::Args;
using cli::Arguments;
using nlohmann::json;

constexpr int64_t kHealthyTimeoutNs = 120 * kSecond;
constexpr int64_t kStopTimeoutNs = 60 * kSecond;

std::string Absolute(const std::string& directory) {
  std::error_code error;
  const std::filesystem::path path =
      std::filesystem::weakly_canonical(std::filesystem::absolute(directory), error);
  std::string out = error ? directory : path.string();
  while (out.size() > 1 && out.back() == '/') out.pop_back();
  return out;
}

int Fail(bool as_json, std::string_view action, std::string_view object, const Status& why) {
  cli::PrintError(as_json, action, object, why);
  return why.Is(Code::kInvalidArgument) ? cli::kExitUsage : cli::ExitCodeOf(why);
}

std::string RoleAddress(const Member& m) {
  return m.address;
}

json MemberAsJson(const Layout& layout, const Member& m) {
  json j = {{"name", m.name},
            {"role", m.is_namenode ? "namenode" : "datanode"},
            {"pid", m.process.pid},
            {"address", m.address},
            {"unix", m.unix_socket},
            {"http", m.http},
            {"config", layout.ConfigOf(m)},
            {"data", layout.DataOf(m)},
            {"log", layout.LogOf(m)}};
  if (m.is_namenode) {
    j["raft_address"] = m.raft;
    j["id"] = m.number;
  }
  return j;
}

const char* StateText(ProcessState state) {
  switch (state) {
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kPaused:
      return "paused";
    case ProcessState::kGone:
      return "stopped";
  }
  return "stopped";
}

struct StartOptions {
  std::string directory;
  int64_t namenodes = 1;
  int64_t datanodes = 3;
  int64_t port_base = 0;
  int64_t replication = 0;
  bool namenodes_given = false;
  bool datanodes_given = false;
  bool tcp = false;
  bool foreground = false;
  bool as_json = false;
  std::string log_level = "info";
  std::vector<std::string> namenode_settings;
  std::vector<std::string> datanode_settings;
};

Result<std::unique_ptr<DevCluster>> OpenOrCreate(const StartOptions& o) {
  if (IsDevDirectory(o.directory)) {
    DFS_ASSIGN_OR_RETURN(std::unique_ptr<DevCluster> cluster, DevCluster::Open(o.directory));
    if (o.port_base > 0) {
      return Status(Code::kInvalidArgument, "the ports of a cluster are chosen when it is made");
    }
    const auto have = static_cast<int64_t>(cluster->layout().CountOf(true));
    if (o.namenodes_given && o.namenodes != have) {
      return Status(
          Code::kInvalidArgument,
          fmt::format("this cluster has {} namenodes, which cannot be changed yet", have));
    }
    const auto nodes = static_cast<int64_t>(cluster->layout().CountOf(false));
    if (o.datanodes_given && o.datanodes < nodes) {
      return Status(
          Code::kInvalidArgument,
          fmt::format("this cluster has {} datanodes; they can be added to, not taken away",
                      nodes));
    }
    if (o.datanodes_given && o.datanodes > nodes) {
      DFS_RETURN_IF_ERROR(cluster->AddDatanodes(static_cast<int>(o.datanodes)));
    }
    return cluster;
  }
  CreateSpec spec;
  spec.namenodes = static_cast<int>(o.namenodes);
  spec.datanodes = static_cast<int>(o.datanodes);
  spec.port_base = static_cast<int>(o.port_base);
  spec.replication = static_cast<int>(o.replication);
  spec.tcp = o.tcp;
  spec.log_level = o.log_level;
  spec.namenode_settings = o.namenode_settings;
  spec.datanode_settings = o.datanode_settings;
  return DevCluster::Create(o.directory, spec);
}

void SayReady(const StartOptions& o, const DevCluster& cluster, int64_t elapsed_ns) {
  const DevStatus status = cluster.GetStatus(std::chrono::seconds(5));
  if (o.as_json) {
    json members = json::array();
    for (const MemberState& m : status.members) {
      json j = MemberAsJson(cluster.layout(), *m.member);
      j["leader"] = m.leader;
      j["state"] = StateText(m.state);
      members.push_back(std::move(j));
    }
    cli::PrintJson({{"schema", "dfs.dev.start/1"},
                    {"event", "ready"},
                    {"directory", o.directory},
                    {"cluster_id", cluster.layout().cluster_id},
                    {"key_file", cluster.layout().key_file()},
                    {"namenodes", cluster.layout().NamenodeAddresses()},
                    {"seconds", static_cast<double>(elapsed_ns) / 1e9},
                    {"processes", members}});
    std::fflush(stdout);
    return;
  }
  uint64_t free_bytes = 0;
  for (const DatanodeInfo& d : status.cluster.datanodes) {
    free_bytes = std::max(free_bytes, d.available_bytes);  // they share one disk
  }
  const Layout& layout = cluster.layout();
  const std::string page = layout.members[0].http;
  fmt::print(
      "\n  Cluster is healthy after {}: {} namenodes, {} datanodes, {} replicas, {} free.  Data: "
      "{}\n"
      "  Try:   dfs put README.md /     dfs ls -l /     dfs mount ~/dfs     dfs status\n",
      cli::HumanDuration(elapsed_ns), layout.CountOf(true), status.cluster.datanodes.size(),
      layout.replication, cli::HumanSize(free_bytes), o.directory);
  if (!page.empty()) fmt::print("  Look:  http://{}/\n", page);
  fmt::print("  Stop with: dfs dev stop {}   Files stay; start again with the same command.\n",
             o.directory);
  std::fflush(stdout);
}

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

/// The signals must be blocked already, since before anybody was told that the cluster is ready.
int RunInForeground(const std::string& directory) {
  const sigset_t signals = StopSignals();
  int got = 0;
  sigwait(&signals, &got);
  fmt::print(stderr, "Stopping.\n");
  Result<std::unique_ptr<DevCluster>> cluster = DevCluster::Open(directory);
  if (!cluster) return Fail(false, "stop", directory, cluster.error());
  const Status stopped = (*cluster)->Stop(kStopTimeoutNs);
  return stopped.ok() ? cli::kExitOk : Fail(false, "stop", directory, stopped);
}

int Start(const Arguments& arguments) {
  StartOptions o;
  Args args(
      "dev start",
      "Start a cluster on this machine: real processes on 127.0.0.1, no root needed. Data is kept "
      "in DIR over stop and start.",
      "  dfs dev start ~/dfs-data\n  dfs dev start ~/dfs-data --namenodes 3 --datanodes 3");
  int64_t namenodes = 0;
  int64_t datanodes = 0;
  args.Positional("DIR", &o.directory, "A new or empty directory, or one started before");
  args.Option("--namenodes", &namenodes, "1, 3 or 5 namenodes (1)", 1, 5);
  args.Option("--datanodes", &datanodes, "Datanodes (3); more may be added later", 1, 64);
  args.Option("--port-base", &o.port_base, "Ports from this one on", 1, 65535);
  args.Option("--replication", &o.replication, "Replicas of a file (the smaller of 3 and N)", 1,
              64);
  args.Flag("--tcp", &o.tcp, "TCP instead of Unix sockets on this machine, too");
  args.Option("--log-level", &o.log_level, "debug, info, warning or error");
  args.Options("--namenode-setting", &o.namenode_settings, "section.key=value for every namenode");
  args.Options("--datanode-setting", &o.datanode_settings, "section.key=value for every datanode");
  args.Flag("--foreground", &o.foreground, "Stay, and stop the cluster at Ctrl-C");
  args.Flag("--json", &o.as_json, "One line of JSON when it is ready");
  if (const auto code = args.Parse(arguments)) return *code;
  o.namenodes_given = namenodes != 0;
  o.datanodes_given = datanodes != 0;
  if (o.namenodes_given) o.namenodes = namenodes;
  if (o.datanodes_given) o.datanodes = datanodes;
  o.directory = Absolute(o.directory);

  const int64_t started_ns = SystemClock().BootNs();
  {
    Result<std::unique_ptr<DevCluster>> cluster = OpenOrCreate(o);
    if (!cluster) return Fail(o.as_json, "start", o.directory, cluster.error());
    const auto on_ready = [&](const Member& m, int64_t elapsed_ns) {
      if (o.as_json) return;
      fmt::print("  {:<13} ready  {:>5}   {}\n", m.name, cli::HumanDuration(elapsed_ns),
                 RoleAddress(m));
      std::fflush(stdout);
    };
    Status started = (*cluster)->Start({}, on_ready);
    if (started.ok()) started = (*cluster)->WaitUntilHealthy(kHealthyTimeoutNs);
    if (started.ok()) started = (*cluster)->Announce();
    if (!started) return Fail(o.as_json, "start", o.directory, started);
    if (o.foreground) {
      const sigset_t signals = StopSignals();
      sigprocmask(SIG_BLOCK, &signals, nullptr);
    }
    SayReady(o, **cluster, SystemClock().BootNs() - started_ns);
  }
  return o.foreground ? RunInForeground(o.directory) : cli::kExitOk;
}

int ShowStatus(const Arguments& arguments) {
  std::string directory;
  bool as_json = false;
  bool exit_code = false;
  Args args("dev status", "What the processes of a development cluster do.");
  args.Positional("DIR", &directory, "The cluster's directory");
  args.Flag("--json", &as_json, "Machine-readable output");
  args.Flag("--exit-code", &exit_code, "0 healthy, 1 warnings, 7 errors or not running");
  if (const auto code = args.Parse(arguments)) return *code;
  directory = Absolute(directory);
  Result<std::unique_ptr<DevCluster>> cluster = DevCluster::Open(directory);
  if (!cluster) return Fail(as_json, "get the status of", directory, cluster.error());
  const DevStatus status = (*cluster)->GetStatus(std::chrono::seconds(3));
  const std::vector<cli::Finding> findings =
      status.reachable ? cli::Examine(status.cluster, {}) : std::vector<cli::Finding>{};
  bool warning = !findings.empty();
  bool error = !status.reachable;
  for (const cli::Finding& f : findings) error |= f.is_error;
  for (const MemberState& m : status.members) warning |= m.state != ProcessState::kRunning;
  if (as_json) {
    json out = {{"schema", "dfs.dev.status/1"},
                {"directory", directory},
                {"cluster_id", (*cluster)->layout().cluster_id},
                {"namenodes", (*cluster)->layout().NamenodeAddresses()},
                {"key_file", (*cluster)->layout().key_file()},
                {"reachable", status.reachable},
                {"health", error     ? "error"
                           : warning ? "warning"
                                     : "healthy"},
                {"processes", json::array()}};
    for (const MemberState& m : status.members) {
      json j = MemberAsJson((*cluster)->layout(), *m.member);
      j["state"] = StateText(m.state);
      j["leader"] = m.leader;
      if (m.state == ProcessState::kGone) j["pid"] = nullptr;
      const ProcessUsage usage = UsageOf(m.member->process);
      j["resident_bytes"] = usage.resident_bytes;
      j["cpu_seconds"] = usage.cpu_seconds;
      out["processes"].push_back(std::move(j));
    }
    if (status.reachable) {
      out["under_replicated"] = status.cluster.under_replicated;
      out["missing"] = status.cluster.missing;
      out["cluster"] = cli::ClusterAsJson(status.cluster);
    } else {
      out["under_replicated"] = nullptr;
      out["missing"] = nullptr;
      out["why"] = status.why_not;
    }
    cli::PrintJson(out);
  } else {
    cli::Table table({"Name", "State", ">Pid", "Address", "", ">Memory", ">CPU"});
    for (const MemberState& m : status.members) {
      const bool gone = m.state == ProcessState::kGone;
      const ProcessUsage usage = UsageOf(m.member->process);
      table.Row({m.member->name, StateText(m.state),
                 gone ? "-" : std::to_string(m.member->process.pid), m.member->address,
                 m.leader ? "leader" : "", gone ? "-" : cli::HumanSize(usage.resident_bytes),
                 gone ? "-" : fmt::format("{:.1f}s", usage.cpu_seconds)});
    }
    std::fputs(table.ToString("  ").c_str(), stdout);
    if (!status.reachable) {
      fmt::print("\n  No leader answers: {}\n", status.why_not);
    } else {
      fmt::print("\n  {} blocks, {} under-replicated, {} missing\n", status.cluster.blocks,
                 status.cluster.under_replicated, status.cluster.missing);
    }
  }
  if (!exit_code) return cli::kExitOk;
  return error ? cli::kExitData : warning ? cli::kExitFailed : cli::kExitOk;
}

int Stop(const Arguments& arguments) {
  std::string directory;
  Args args("dev stop", "Stop a cluster. Its files stay.");
  args.Positional("DIR", &directory, "The cluster's directory");
  if (const auto code = args.Parse(arguments)) return *code;
  directory = Absolute(directory);
  Result<std::unique_ptr<DevCluster>> cluster = DevCluster::Open(directory);
  if (!cluster) return Fail(false, "stop", directory, cluster.error());
  const Status stopped = (*cluster)->Stop(kStopTimeoutNs);
  return stopped.ok() ? cli::kExitOk : Fail(false, "stop", directory, stopped);
}

int Destroy(const Arguments& arguments) {
  std::string directory;
  bool yes = false;
  Args args("dev destroy", "Stop a cluster and remove all of its files.");
  args.Positional("DIR", &directory, "The cluster's directory");
  args.Flag("--yes", &yes, "Do not ask");
  if (const auto code = args.Parse(arguments)) return *code;
  directory = Absolute(directory);
  Result<std::unique_ptr<DevCluster>> cluster = DevCluster::Open(directory);
  if (!cluster) return Fail(false, "destroy", directory, cluster.error());
  if (!yes) {
    if (isatty(0) != 1) return args.UsageError("without a terminal to ask on, --yes is needed");
    fmt::print(stderr, "This removes every file of the cluster in {}. Type 'destroy' to go on: ",
               directory);
    std::string answer;
    std::getline(std::cin, answer);
    if (answer != "destroy") {
      fmt::print(stderr, "Nothing was removed.\n");
      return cli::kExitFailed;
    }
  }
  const Status destroyed = (*cluster)->Destroy();
  return destroyed.ok() ? cli::kExitOk : Fail(false, "destroy", directory, destroyed);
}

// kill, pause, resume, revive: one or more members of a running cluster.
int ActOnMembers(const std::string& action, const std::string& summary,
                 const Arguments& arguments) {
  std::string directory;
  std::vector<std::string> names;
  bool verbose = false;
  Args args("dev " + action, summary,
            fmt::format("  dfs dev {0} DIR datanode-2\n  dfs dev {0} DIR leader", action));
  args.Positional("DIR", &directory, "The cluster's directory");
  args.Positionals("NAME", &names, "namenode-1, datanode-2, ...; leader is who leads now", 1);
  args.Flag("-v,--verbose", &verbose, "Say who it was");
  if (const auto code = args.Parse(arguments)) return *code;
  directory = Absolute(directory);
  Result<std::unique_ptr<DevCluster>> cluster = DevCluster::Open(directory);
  if (!cluster) return Fail(false, action, directory, cluster.error());
  int exit_code = cli::kExitOk;
  for (const std::string& name : names) {
    const Result<Member> member = (*cluster)->Resolve(name);
    Status done = member.status();
    if (member && action == "kill") {
      done = (*cluster)->Kill(*member);
    } else if (member && action == "pause") {
      done = (*cluster)->Pause(*member);
    } else if (member && action == "resume") {
      done = (*cluster)->Resume(*member);
    } else if (member) {  // revive: whatever state it is in, it runs afterwards
      done = (*cluster)->StateOfMember(*member) == ProcessState::kGone
                 ? (*cluster)->Start({member->name}, nullptr)
                 : (*cluster)->Resume(*member);
    }
    if (!done) {
      exit_code = Fail(false, action, name, done);
    } else if (verbose) {
      fmt::print("{} {}\n", action, member->name);
    }
  }
  return exit_code;
}

constexpr char kHelp[] =
    "Usage: dfs dev COMMAND DIR ...\n\n"
    "A whole cluster of real processes on this machine, to try things out.\n\n"
    "  start DIR         start it, make it when DIR is new (--namenodes N, --datanodes N)\n"
    "  status DIR        what its processes do\n"
    "  stop DIR          stop it; files stay\n"
    "  destroy DIR       stop it and remove its files\n"
    "  kill DIR NAME     kill -9 a process: datanode-2, namenode-1, leader\n"
    "  pause DIR NAME    stop a process as a hung machine would (resume DIR NAME)\n"
    "  revive DIR NAME   start a killed one again\n\n"
    "dfs dev COMMAND --help says more.\n";

}  // namespace

int RunDev(const Arguments& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  if (command.empty() || command == "--help" || command == "-h" || command == "help") {
    std::fputs(kHelp, command.empty() ? stderr : stdout);
    return command.empty() ? cli::kExitUsage : cli::kExitOk;
  }
  const Arguments rest(arguments.begin() + 1, arguments.end());
  if (command == "start") return Start(rest);
  if (command == "status") return ShowStatus(rest);
  if (command == "stop") return Stop(rest);
  if (command == "destroy") return Destroy(rest);
  if (command == "kill") return ActOnMembers(command, "Kill processes with -9.", rest);
  if (command == "pause") {
    return ActOnMembers(command, "Stop processes as a hung machine would.", rest);
  }
  if (command == "resume") return ActOnMembers(command, "Let paused processes go on.", rest);
  if (command == "revive") return ActOnMembers(command, "Start killed processes again.", rest);
  fmt::print(stderr, "dfs dev: there is no command '{}'\nTry: dfs dev --help\n", command);
  return cli::kExitUsage;
}

}  // namespace dfs::dev
