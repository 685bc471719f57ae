// dfs datanode: what an operator does about datanodes.
#include <fmt/format.h>
#include <time.h>

#include <chrono>
#include <cstdio>
#include <functional>
#include <nlohmann/json.hpp>

#include "common/base/clock.h"
#include "tools/cli/cluster_health.h"
#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

std::string IdText(uint64_t id) {
  return fmt::format("{:016x}", id);
}

/// By its address, its id, or the beginning of its id when there is no other like it.
Result<DatanodeInfo> FindDatanode(const ClusterStatus& status, const std::string& typed) {
  const DatanodeInfo* found = nullptr;
  for (const DatanodeInfo& d : status.datanodes) {
    const std::string id = IdText(d.datanode);
    if (d.address == typed || id == typed) return d;
    if (typed.size() < 4 || !id.starts_with(typed)) continue;
    if (found != nullptr) {
      return Status(Code::kInvalidArgument, "more than one datanode's id begins so");
    }
    found = &d;
  }
  if (found != nullptr) return *found;
  return Status(Code::kNotFound, "no datanode has this id or address: see dfs datanode list");
}

/// Whether it is where it was told to go.
bool HasArrived(const DatanodeInfo& d) {
  return d.service == "decommissioned" || d.service == "maintenance";
}

Status WaitFor(const Client& client, uint64_t datanode) {
  while (!Interrupted()) {
    DFS_ASSIGN_OR_RETURN(const ClusterStatus status, client.cluster_status());
    DFS_ASSIGN_OR_RETURN(const DatanodeInfo d, FindDatanode(status, IdText(datanode)));
    if (HasArrived(d)) return Status::Ok();
    if (d.service == "in_service") return Status(Code::kCancelled, "it was put back into service");
    const timespec pause{0, 200'000'000};
    nanosleep(&pause, nullptr);
  }
  return Status(Code::kCancelled, "interrupted");
}

/// What is to be done to each of the datanodes that are named.
using Act = std::function<Status(const Client&, const ClusterStatus&, const DatanodeInfo&)>;
int ForEach(Verb& verb, const char* action, const std::vector<std::string>& typed, bool wait,
            const Act& act) {
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  std::vector<std::pair<std::string, uint64_t>> waiting;
  for (const std::string& name : typed) {
    const Status done = [&]() -> Status {
      DFS_ASSIGN_OR_RETURN(const ClusterStatus status, client->cluster_status());
      DFS_ASSIGN_OR_RETURN(const DatanodeInfo d, FindDatanode(status, name));
      DFS_RETURN_IF_ERROR(act(*client, status, d));
      waiting.emplace_back(name, d.datanode);
      return Status::Ok();
    }();
    if (!done) {
      verb.Failed(action, name, done);
    } else {
      verb.Succeeded();
    }
  }
  for (const auto& [name, id] : waiting) {
    if (!wait || Interrupted()) break;
    if (Status done = WaitFor(*client, id); !done) verb.Failed("wait for", name, done);
  }
  return verb.ExitCode();
}

/// Datanodes in service besides this one must be as many as files have replicas, or blocks would stay on it for ever.
Status EnoughOthers(const ClusterStatus& status, const DatanodeInfo& leaving) {
  uint64_t others = 0;
  for (const DatanodeInfo& d : status.datanodes) {
    others += d.state == "live" && d.service == "in_service" && d.datanode != leaving.datanode;
  }
  if (others >= status.default_replication) return Status::Ok();
  return Status(Code::kInvalidArgument,
                fmt::format("only {} other datanodes are in service, and files have {} replicas: "
                            "blocks would stay on it (--yes does it all the same)",
                            others, status.default_replication));
}

int Decommission(const Arguments& arguments) {
  Verb verb("datanode decommission",
            "Have all blocks of datanodes copied elsewhere; they take no new ones. When dfs "
            "datanode list says decommissioned, a datanode can go for good.",
            "  dfs datanode decommission -w 10.0.0.11:9866\n  dfs datanode decommission 53efcd7e");
  bool wait = false, yes = false;
  std::vector<std::string> names;
  verb.args().Flag("-w,--wait", &wait, "Until no block depends on them");
  verb.args().Flag("--yes", &yes, "Although the others are too few for all replicas");
  verb.args().Positionals("DATANODE", &names, "Ids, beginnings of ids, or addresses", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  return ForEach(verb, "decommission", names, wait,
                 [&](const Client& client, const ClusterStatus& status, const DatanodeInfo& d) {
                   if (!yes) DFS_RETURN_IF_ERROR(EnoughOthers(status, d));
                   return client.decommission_datanode(d.datanode);
                 });
}

int Maintenance(const Arguments& arguments) {
  Verb verb("datanode maintenance",
            "Let datanodes be away for a time without their blocks being copied, but for those "
            "that are nowhere else. When dfs datanode list says maintenance, a datanode may stop.",
            "  dfs datanode maintenance --for 2h -w 10.0.0.11:9866");
  bool wait = false;
  std::string duration;
  std::vector<std::string> names;
  verb.args().Option("--for", &duration, "How long: 30m, 2h, 1d");
  verb.args().Flag("-w,--wait", &wait, "Until they may stop");
  verb.args().Positionals("DATANODE", &names, "Ids, beginnings of ids, or addresses", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  int64_t ns = 0;
  if (duration.empty()) return verb.args().UsageError("say for how long: --for 2h");
  if (!ParseDuration(duration, &ns) || ns < kMillisecond) {
    return verb.args().UsageError("'" + duration + "' is not a time such as 30m or 2h");
  }
  return ForEach(verb, "begin the maintenance of", names, wait,
                 [&](const Client& client, const ClusterStatus&, const DatanodeInfo& d) {
                   return client.begin_maintenance(d.datanode,
                                                   std::chrono::milliseconds(ns / kMillisecond));
                 });
}

int Recommission(const Arguments& arguments) {
  Verb verb("datanode recommission", "Put datanodes back into service.",
            "  dfs datanode recommission 10.0.0.11:9866");
  std::vector<std::string> names;
  verb.args().Positionals("DATANODE", &names, "Ids, beginnings of ids, or addresses", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  return ForEach(verb, "recommission", names, false,
                 [&](const Client& client, const ClusterStatus&, const DatanodeInfo& d) {
                   return client.recommission_datanode(d.datanode);
                 });
}

int List(const Arguments& arguments) {
  Verb verb("datanode list", "All datanodes, and what was said of them.");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const Result<ClusterStatus> status = client->cluster_status();
  if (!status) {
    verb.Failed("list the datanodes of", "the cluster", status.error());
    return verb.ExitCode();
  }
  if (verb.json()) {
    nlohmann::json cluster = ClusterAsJson(*status);
    for (nlohmann::json& d : cluster["datanodes"]) {
      d["schema"] = "dfs.datanode/1";
      PrintJson(d);
    }
    return verb.ExitCode();
  }
  Table table({"Datanode", "Address", "Rack", "State", "Service", ">Replicas", ">Volumes"});
  for (const DatanodeInfo& d : status->datanodes) {
    const std::string service = ServiceText(d);
    const std::string failed =
        d.failed_volumes > 0 ? fmt::format(" ({} failed)", d.failed_volumes) : "";
    table.Row({IdText(d.datanode), d.address, d.rack, d.state,
               service.empty() ? "in service" : service, std::to_string(d.replicas),
               std::to_string(d.volumes) + failed});
  }
  std::fputs(table.ToString("").c_str(), stdout);
  return verb.ExitCode();
}

int ReleaseDeletions(const Arguments& arguments) {
  Verb verb("datanode release-deletions",
            "Let replicas be deleted that a brake holds back (dfs status says why it does). Look "
            "into the cause first. For an hour nothing of the kind is held.");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  if (Status done = client->release_deletions(); !done) {
    verb.Failed("release the deletions of", "the cluster", done);
  }
  return verb.ExitCode();
}

constexpr const char* kUsage =
    "Usage: dfs datanode COMMAND ...\n\n"
    "  list               all datanodes, and what was said of them\n"
    "  decommission       have their blocks copied elsewhere, so that they can go for good\n"
    "  maintenance        let them be away for a time\n"
    "  recommission       put them back into service\n"
    "  release-deletions  let replicas be deleted that a brake holds back\n\n"
    "dfs datanode COMMAND --help says more about one of them. Changing anything takes root or the\n"
    "user that the namenodes run as.\n";

}  // namespace

int RunDatanode(const Arguments& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  const Arguments rest(arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end());
  if (command == "list") return List(rest);
  if (command == "decommission") return Decommission(rest);
  if (command == "maintenance") return Maintenance(rest);
  if (command == "recommission") return Recommission(rest);
  if (command == "release-deletions") return ReleaseDeletions(rest);
  if (command == "--help" || command == "-h") {
    std::fputs(kUsage, stdout);
    return kExitOk;
  }
  if (!command.empty()) fmt::print(stderr, "dfs datanode: there is no command '{}'\n", command);
  std::fputs(kUsage, stderr);
  return kExitUsage;
}

}  // namespace dfs::cli
