// dfs doctor: looks for what keeps a cluster from working for you, from this machine, and says what to do.
#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "common/auth/key_file.h"
#include "common/base/clock.h"
#include "tools/cli/client_config.h"
#include "tools/cli/cluster_health.h"
#include "tools/cli/commands.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

enum class Level { kOk, kWarning, kError };

struct Check {
  Level level = Level::kOk;
  std::string what;    // what was looked at, and what was found
  std::string advice;  // what to do; "" when all is well
};

constexpr auto kPatience = std::chrono::milliseconds(4000);  // of each namenode and port

class Doctor {
 public:
  /// In the order in which one thing needs the other; ends at what makes the rest pointless.
  void Examine(const ClientConfigFlags& flags);
  const std::vector<Check>& checks() const { return checks_; }

 private:
  void Add(Level level, std::string what, std::string advice = "") {
    checks_.push_back({level, std::move(what), std::move(advice)});
  }
  bool ExamineConfiguration(const ClientConfigFlags& flags);
  bool ExamineKey();
  void ExamineNamenodes();
  void ExamineOne(const std::string& address);
  void ExamineAddresses();
  void ExamineClock(const std::string& whose, int64_t offset_ms, int64_t uncertain_ms = 0);
  void ExamineClocks(const ClusterStatus& s);
  void ExamineGroup(const ClusterStatus& s);
  void ExamineDatanodes(const ClusterStatus& s);
  void ExaminePorts(const ClusterStatus& s);
  void ExamineBlocks(const ClusterStatus& s);
  void ExamineMount();

  Options options_;
  std::vector<Check> checks_;
  std::vector<ClusterStatus> answers_;  // of the namenodes that answer
};

// Whether something listens at "host:port", "" or what happened instead.
std::string TryTcp(const std::string& address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string::npos) return "it is no address";
  std::string host = address.substr(0, colon);
  if (host.size() > 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = getaddrinfo(host.c_str(), address.c_str() + colon + 1, &hints, &found)) {
    return fmt::format("'{}' cannot be resolved: {}", host, gai_strerror(error));
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int error = 0;
  if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen) != 0) error = errno;
  freeaddrinfo(found);
  if (error == EINPROGRESS) {
    pollfd out{fd, POLLOUT, 0};
    socklen_t size = sizeof(error);
    if (poll(&out, 1, static_cast<int>(kPatience.count())) <= 0) {
      error = ETIMEDOUT;
    } else {
      getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    }
  }
  if (fd >= 0) close(fd);
  return error == 0 ? "" : Status::FromSystem(error, "connect").message();
}

bool Doctor::ExamineConfiguration(const ClientConfigFlags& flags) {
  const Result<Options> options = FindCluster(flags);
  if (!options) {
    Add(Level::kError, options.error().message(),
        options.error().Is(Code::kInvalidArgument) ? "Correct the setting that is named" : "");
    return false;
  }
  options_ = *options;
  Add(Level::kOk, fmt::format("the cluster's namenodes are {}", DescribeCluster(options_)));
  return true;
}

bool Doctor::ExamineKey() {
  if (options_.key_file.empty()) {
    const bool tcp = std::any_of(options_.namenodes.begin(), options_.namenodes.end(),
                                 [](const std::string& a) { return a.rfind("unix:", 0) != 0; });
    if (tcp) {
      Add(Level::kWarning, "no key file is configured, and a namenode is reached over TCP",
          "Name the cluster key's file: --key-file, $DFS_KEY_FILE or key_file in client.toml");
    }
    return true;
  }
  const Result<std::string> key = LoadKeyFile(options_.key_file);
  if (key) {
    Add(Level::kOk, fmt::format("the key file {} can be read", options_.key_file));
    return true;
  }
  Add(Level::kError, fmt::format("the key file: {}", key.error().message()),
      "It must be the cluster's own key, of mode 600, and yours (or root's)");
  return false;
}

void Doctor::ExamineOne(const std::string& address) {
  Options only = options_;
  only.namenodes = {address};
  only.timeout = kPatience;
  const Result<Client> client = Client::connect(only);
  if (client) {
    const int64_t asked_ns = SystemClock().WallNs();
    const std::vector<MemberAnswer> said = client->member_status(kPatience);
    const int64_t took_ms = (SystemClock().WallNs() - asked_ns) / kMillisecond;
    Add(Level::kOk, fmt::format("namenode {} answers", address));
    for (const MemberAnswer& m : said) {
      if (m.address != address || !m.status) continue;
      answers_.push_back(*m.status);
      if (m.status->wall_clock_ns != 0) {
        // It read its clock between asking and answer.
        const int64_t then_ms = asked_ns / kMillisecond + took_ms / 2;
        ExamineClock(fmt::format("namenode {}", m.status->node_id),
                     m.status->wall_clock_ns / kMillisecond - then_ms, took_ms / 2);
      }
    }
    return;
  }
  const Status& why = client.error();
  std::string advice = "Is it running there? See its log; systemctl status dfs-namenode";
  if (why.Is(Code::kUnauthenticated))
    advice = "The key is not this cluster's: copy the key of its namenodes";
  if (why.Is(Code::kWrongCluster))
    advice = "The address belongs to another cluster: correct it, or cluster_id";
  if (why.Is(Code::kVersionMismatch))
    advice = "This dfs and the namenode are of versions that do not speak with each other";
  Add(Level::kError, fmt::format("namenode {}: {}", address, why.message()), advice);
}

void Doctor::ExamineNamenodes() {
  for (const std::string& address : options_.namenodes) ExamineOne(address);
  ExamineAddresses();
  const auto leader = std::find_if(answers_.begin(), answers_.end(),
                                   [](const ClusterStatus& s) { return s.leader; });
  if (leader != answers_.end()) {
    Add(Level::kOk, fmt::format("namenode {} leads term {}", leader->node_id, leader->term));
    ExamineGroup(*leader);
    ExamineClocks(*leader);
    ExamineDatanodes(*leader);
    ExaminePorts(*leader);
    ExamineBlocks(*leader);
  } else if (!answers_.empty()) {
    Add(Level::kError,
        fmt::format("no namenode leads: {} of {} members answer", answers_.size(),
                    answers_[0].members.size()),
        "A majority must run and reach each other on their Raft ports (9701): start the others");
  }
}

// What this machine was told of the namenodes, against what they say of themselves.
void Doctor::ExamineAddresses() {
  if (answers_.empty()) return;
  const ClusterStatus& first = answers_[0];
  for (const ClusterStatus& other : answers_) {
    if (other.cluster_id == first.cluster_id) continue;
    Add(Level::kError,
        fmt::format("the addresses belong to different clusters: {} and {}", first.cluster_id,
                    other.cluster_id),
        "Which of them a command meets is chance: name those of one cluster, and set cluster_id in "
        "client.toml");
    return;
  }
  for (const ClusterStatus& other : answers_) {
    if (other.version == first.version) continue;
    Add(Level::kWarning,
        fmt::format("namenode {} is of version {}, namenode {} of version {}", first.node_id,
                    first.version, other.node_id, other.version),
        "What is new begins when all are of the new version: finish the upgrade");
    break;
  }
  if (options_.namenodes.size() < first.members.size()) {
    Add(Level::kWarning,
        fmt::format("this machine is told {} of the {} namenodes", options_.namenodes.size(),
                    first.members.size()),
        "When those are down it cannot find the others: name all of them");
  }
}

void Doctor::ExamineClock(const std::string& whose, int64_t offset_ms, int64_t uncertain_ms) {
  const int64_t sure_ms = std::max<int64_t>(std::abs(offset_ms) - uncertain_ms, 0);
  const ClockVerdict verdict = JudgeClock(sure_ms);
  if (verdict == ClockVerdict::kGood) return;
  const std::string what = fmt::format("the clock of {} is {} {}", whose,
                                       HumanDuration(sure_ms * kMillisecond),
                                       offset_ms > 0 ? "ahead" : "behind");
  if (verdict == ClockVerdict::kTokensFail) {
    Add(Level::kError, what,
        "Datanodes refuse what they take for expired tokens: let NTP set the clock (chronyc "
        "tracking, timedatectl)");
  } else {
    Add(Level::kWarning, what,
        "Times of files are the leading namenode's: let NTP set the clock (chronyc tracking, "
        "timedatectl)");
  }
}

// What each datanode's heartbeat said, against the leader's own clock.
void Doctor::ExamineClocks(const ClusterStatus& s) {
  for (const DatanodeInfo& d : s.datanodes) {
    // Of one that is silent it is an old story.
    if (d.clock_offset_ms && d.state == "live") {
      ExamineClock(fmt::format("datanode {}, against the leading namenode's,", d.address),
                   *d.clock_offset_ms);
    }
  }
}

void Doctor::ExamineGroup(const ClusterStatus& s) {
  for (const NamenodeMember& m : s.members) {
    if (m.reachable || m.leader) continue;
    Add(Level::kWarning,
        fmt::format("the leader does not hear namenode {} at {}", m.node_id, m.raft_address),
        s.members.size() < 4 ? "One more failure stops the cluster: start it, or see whether its "
                               "Raft port can be reached"
                             : "Start it, or see whether its Raft port can be reached");
  }
  if (s.members.size() == 1) {
    Add(Level::kWarning, "there is one namenode: its disk is the only place of all names",
        "Three keep the namespace when one is lost");
  }
  constexpr uint64_t kFarBehind = 100'000;
  for (const ClusterStatus& other : answers_) {
    if (other.applied_index + kFarBehind < s.commit_index) {
      Add(Level::kWarning,
          fmt::format("namenode {} is {} changes behind", other.node_id,
                      s.commit_index - other.applied_index),
          "It catches up by itself; if it does not, see whether its disk is slow or full");
    }
  }
  if (s.insecure) {
    Add(Level::kWarning,
        "the cluster runs with --insecure: whoever reaches a port reads and writes",
        "Give the daemons a key (dfs keygen) and take cluster.insecure away");
  }
}

void Doctor::ExamineDatanodes(const ClusterStatus& s) {
  uint64_t live = 0;
  for (const DatanodeInfo& d : s.datanodes) {
    live += d.state == "live";
    const bool may_be_away = d.service == "decommissioned" || d.service == "maintenance";
    if ((d.state == "dead" || d.state == "stale") && !may_be_away) {
      Add(d.state == "dead" ? Level::kError : Level::kWarning,
          fmt::format("datanode {} is {}: not heard for {}", d.address, d.state,
                      HumanDuration(d.last_heartbeat_ms * 1'000'000)),
          "Is it running, and does it reach the namenodes? See its log; systemctl status "
          "dfs-datanode");
    }
    if (d.failed_volumes > 0) {
      Add(Level::kError,
          fmt::format("datanode {}: {} of {} volumes have failed", d.address, d.failed_volumes,
                      d.volumes),
          "Replace the disk; its log says which one and why. The replicas are made again "
          "elsewhere");
    }
    if (d.state == "live" && d.available_bytes < d.capacity_bytes / 20) {
      Add(Level::kWarning,
          fmt::format("datanode {} is nearly full: {} left", d.address,
                      HumanSize(d.available_bytes)),
          "Add a datanode or a volume, or remove files");
    }
  }
  if (live < s.default_replication) {
    Add(Level::kError,
        fmt::format("{} of the {} datanodes that the default replication needs are live", live,
                    s.default_replication),
        "New blocks have fewer replicas than they should: start datanodes, or lower "
        "namespace.default_replication");
  } else {
    Add(Level::kOk, fmt::format("{} datanodes are live", live));
  }
}

void Doctor::ExaminePorts(const ClusterStatus& s) {
  for (const DatanodeInfo& d : s.datanodes) {
    if (d.state == "dead") continue;
    const std::string why = TryTcp(d.address);
    if (why.empty()) continue;
    Add(Level::kError, fmt::format("this machine cannot reach datanode {} ({})", d.address, why),
        "Clients write to and read from datanodes directly: open its block port (9866), or set "
        "listen.block to an "
        "address that clients can reach");
  }
}

void Doctor::ExamineBlocks(const ClusterStatus& s) {
  if (s.missing > 0) {
    Add(Level::kError, fmt::format("{} blocks are on no live datanode", s.missing),
        "dfs fsck names the files; bring back the datanodes that had them");
  }
  if (s.corrupt_replicas > 0) {
    Add(Level::kWarning, fmt::format("{} replicas are corrupt", s.corrupt_replicas),
        "They are replaced by themselves while a good one is left; look at the disks");
  }
  if (s.under_replicated > 0) {
    Add(Level::kWarning, fmt::format("{} blocks have too few replicas", s.under_replicated),
        s.pending_replications > 0 ? "Copies are under way"
                                   : "There must be as many live datanodes with room as replicas");
  }
  if (s.safe_mode) {
    Add(Level::kWarning, "safe mode: repair and deletion wait until enough datanodes have reported",
        "Start the datanodes that are away");
  }
  if (s.missing + s.corrupt_replicas + s.under_replicated == 0) {
    Add(Level::kOk, fmt::format("all {} blocks have their replicas", s.blocks));
  }
}

void Doctor::ExamineMount() {
  if (access("/dev/fuse", R_OK | W_OK) != 0) {
    Add(Level::kWarning, fmt::format("/dev/fuse: {}", Status::FromSystem(errno, "open").message()),
        "For dfs mount only: modprobe fuse; in a container --device /dev/fuse --cap-add SYS_ADMIN");
  } else if (geteuid() != 0 && access("/usr/bin/fusermount3", X_OK) != 0) {
    Add(Level::kWarning, "fusermount3 is not installed", "For dfs mount only: apt install fuse3");
  }
}

void Doctor::Examine(const ClientConfigFlags& flags) {
  if (ExamineConfiguration(flags) && ExamineKey()) ExamineNamenodes();
  ExamineMount();
}

}  // namespace

int RunDoctor(const Arguments& arguments) {
  Verb verb("doctor",
            "Look from this machine for what keeps the cluster from working, and say what to do. "
            "0 nothing, 1 warnings, 7 errors.",
            "  dfs doctor\n  dfs doctor --namenodes a:9700,b:9700,c:9700 --json");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  Doctor doctor;
  doctor.Examine(verb.config_flags());
  Level worst = Level::kOk;
  for (const Check& check : doctor.checks()) {
    worst = std::max(worst, check.level);
    static constexpr const char* kNames[] = {"ok", "warning", "error"};
    const char* level = kNames[static_cast<int>(check.level)];
    if (verb.json()) {
      PrintJson({{"schema", "dfs.doctor/1"},
                 {"level", level},
                 {"what", check.what},
                 {"advice", check.advice}});
    } else {
      fmt::print("{:<8} {}\n", level, check.what);
      if (!check.advice.empty()) fmt::print("{:<8} -> {}\n", "", check.advice);
    }
  }
  const int code = verb.ExitCode();
  if (code != kExitOk) return code;
  return worst == Level::kError ? kExitData : worst == Level::kWarning ? kExitFailed : kExitOk;
}

}  // namespace dfs::cli
