#include "tools/dev/dev_cluster.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstring>

#include "common/auth/key_file.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "tools/dev/ports.h"

namespace dfs::dev {
namespace {

// Long, for a busy machine or a slow disk: a daemon that fails to start ends, and that is noticed at once.
constexpr int64_t kReadyTimeoutNs = 120 * kSecond;
constexpr int64_t kLockTimeoutNs = 120 * kSecond;
constexpr int64_t kLeaderTimeoutNs = 30 * kSecond;
// After SIGKILL: the kernel gives back memory and files first.
constexpr int64_t kKilledTimeoutNs = 60 * kSecond;
constexpr int kUsualNamenodePort = 9700;  // 9700 and 9701, 9710 and 9711, ...
constexpr int kUsualBlockPort = 9866;        // to 9869, which is next to the namenodes' pages
constexpr int kUsualBlockPortsTogether = 4;
constexpr int kUsualMoreBlockPorts = 9950;   // behind the datanodes' pages
constexpr int kUsualNamenodeHttpPort = 9870;
constexpr int kUsualDatanodeHttpPort = 9880;

int UsualBlockPort(int number) {
  return number <= kUsualBlockPortsTogether ? kUsualBlockPort + number - 1
                                            : kUsualMoreBlockPorts + number;
}

int64_t Now() {
  return SystemClock().BootNs();
}

void ShortPause() {
  const timespec pause{0, 4'000'000};
  nanosleep(&pause, nullptr);
}

std::string NewUuid() {
  unsigned char b[16];
  FillSecureRandom(b, sizeof(b));
  b[6] = static_cast<unsigned char>((b[6] & 0x0F) | 0x40);
  b[8] = static_cast<unsigned char>((b[8] & 0x3F) | 0x80);
  std::string out;
  for (int i = 0; i < 16; ++i) {
    if (i == 4 || i == 6 || i == 8 || i == 10) out += '-';
    out += fmt::format("{:02x}", b[i]);
  }
  return out;
}

// Another `dfs dev` at work on the same directory is waited for; one that hangs is not.
Result<std::unique_ptr<FileLock>> LockDirectory(const std::string& directory) {
  const int64_t until = Now() + kLockTimeoutNs;
  while (true) {
    Result<std::unique_ptr<FileLock>> lock = PosixEnv().Lock(directory + "/dev.lock");
    if (lock || !lock.error().Is(Code::kBusy) || Now() > until) return lock;
    ShortPause();
  }
}

uint16_t PortOf(const std::string& address) {
  return static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1)));
}

std::string Loopback(int port) {
  return fmt::format("127.0.0.1:{}", port);
}

Member NewMember(bool namenode, int number, const std::string& socket_directory) {
  Member m;
  m.is_namenode = namenode;
  m.number = number;
  m.name = fmt::format("{}-{}", namenode ? "namenode" : "datanode", number);
  m.unix_socket = fmt::format("{}/{}{}.sock", socket_directory, namenode ? "nn" : "dn", number);
  return m;
}

Status CheckSpec(const CreateSpec& spec) {
  if (spec.namenodes != 1 && spec.namenodes != 3 && spec.namenodes != 5) {
    return Status(Code::kInvalidArgument, "the number of namenodes is 1, 3 or 5");
  }
  if (spec.datanodes < 1 || spec.datanodes > 64) {
    return Status(Code::kInvalidArgument, "the number of datanodes is 1 to 64");
  }
  return Status::Ok();
}

}  // namespace

Result<std::unique_ptr<DevCluster>> DevCluster::Open(const std::string& directory) {
  if (!IsDevDirectory(directory)) return LoadLayout(directory).error();
  DFS_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, LockDirectory(directory));
  DFS_ASSIGN_OR_RETURN(Layout layout, LoadLayout(directory));
  return std::unique_ptr<DevCluster>(new DevCluster(std::move(layout), std::move(lock)));
}

Result<std::unique_ptr<DevCluster>> DevCluster::Create(const std::string& directory,
                                                       const CreateSpec& spec) {
  DFS_RETURN_IF_ERROR(CheckSpec(spec));
  Env& env = PosixEnv();
  DFS_RETURN_IF_ERROR(env.CreateDirs(directory).WithContext("cannot make the directory"));
  if (access(directory.c_str(), W_OK) != 0) return Status::FromSystem(errno, directory);
  DFS_ASSIGN_OR_RETURN(const std::vector<std::string> names, env.List(directory));
  for (const std::string& name : names) {
    if (name == "dev.lock") continue;
    return Status(Code::kNotEmpty,
                  fmt::format("'{}' is not empty and holds no development cluster; give a new or "
                              "empty directory",
                              directory));
  }
  chmod(directory.c_str(), 0700);
  DFS_ASSIGN_OR_RETURN(std::unique_ptr<FileLock> lock, LockDirectory(directory));
  Layout layout;
  layout.directory = directory;
  layout.cluster_id = NewUuid();
  layout.tcp = spec.tcp;
  layout.log_level = spec.log_level;
  layout.namenode_settings = spec.namenode_settings;
  layout.datanode_settings = spec.datanode_settings;
  layout.replication = spec.replication > 0 ? spec.replication : std::min(3, spec.datanodes);
  DFS_ASSIGN_OR_RETURN(const std::string runtime, RuntimeDirectory());
  layout.socket_directory = runtime + "/dev-" + layout.cluster_id.substr(0, 8);
  for (int i = 1; i <= spec.namenodes; ++i) {
    layout.members.push_back(NewMember(true, i, layout.socket_directory));
  }
  for (int i = 1; i <= spec.datanodes; ++i) {
    layout.members.push_back(NewMember(false, i, layout.socket_directory));
  }
  std::unique_ptr<DevCluster> out(new DevCluster(std::move(layout), std::move(lock)));
  DFS_RETURN_IF_ERROR(out->AssignPorts(spec.port_base));
  DFS_RETURN_IF_ERROR(MakePrivateDirectory(directory + "/log"));
  DFS_RETURN_IF_ERROR(LoadOrCreateKeyFile(out->layout_.key_file()).status());
  DFS_RETURN_IF_ERROR(out->WriteConfigs());
  for (const Member& m : out->layout_.members) {
    if (!m.is_namenode) DFS_RETURN_IF_ERROR(out->MakeVolume(m));
  }
  // Last: from here on the directory is a cluster.
  DFS_RETURN_IF_ERROR(SaveLayout(out->layout_));
  return out;
}

Status DevCluster::AssignPorts(int port_base) {
  std::vector<int> ports;
  if (port_base > 0) {
    const int count = static_cast<int>(2 * layout_.members.size() + layout_.CountOf(true));
    for (int i = 0; i < count; ++i) ports.push_back(port_base + i);
    for (const int port : ports) {
      if (port > 65535) return Status(Code::kInvalidArgument, "the ports would pass 65535");
      if (!PortIsFree(static_cast<uint16_t>(port))) {
        return Status(Code::kBusy, fmt::format("port {} is taken by {}; choose another --port-base",
                                               port, PortOwner(static_cast<uint16_t>(port))));
      }
    }
  } else {
    for (const Member& m : layout_.members) {
      const int base =
          m.is_namenode ? kUsualNamenodePort + 10 * (m.number - 1) : UsualBlockPort(m.number);
      ports.push_back(base);
      if (m.is_namenode) ports.push_back(base + 1);
    }
    for (const Member& m : layout_.members) {
      ports.push_back((m.is_namenode ? kUsualNamenodeHttpPort : kUsualDatanodeHttpPort) + m.number -
                      1);
    }
    const bool all_free = std::all_of(ports.begin(), ports.end(), [](int port) {
      return PortIsFree(static_cast<uint16_t>(port));
    });
    if (!all_free) {
      Random random = Random::FromSystem();
      DFS_ASSIGN_OR_RETURN(const auto picked, PickFreePorts(ports.size(), random));
      ports.assign(picked.begin(), picked.end());
    }
  }
  size_t next = 0;
  for (Member& m : layout_.members) {
    m.address = Loopback(ports[next++]);
    if (m.is_namenode) m.raft = Loopback(ports[next++]);
  }
  // Behind the others, so that these are where they were before there were any pages.
  for (Member& m : layout_.members) m.http = Loopback(ports[next++]);
  return Status::Ok();
}

// A datanode takes an absent volume for a disk that is missing, so its directory is made here, once.
Status DevCluster::MakeVolume(const Member& member) {
  DFS_RETURN_IF_ERROR(MakePrivateDirectory(layout_.FolderOf(member)));
  return MakePrivateDirectory(layout_.DataOf(member));
}

Status DevCluster::WriteConfigs() {
  for (const Member& m : layout_.members) {
    DFS_RETURN_IF_ERROR(MakePrivateDirectory(layout_.FolderOf(m)));
    DFS_RETURN_IF_ERROR(WritePrivateFile(layout_.ConfigOf(m), ConfigText(layout_, m)));
  }
  return Status::Ok();
}

Status DevCluster::AddDatanodes(int total) {
  if (total > 64) return Status(Code::kInvalidArgument, "the number of datanodes is 1 to 64");
  Random random = Random::FromSystem();
  const int have = static_cast<int>(layout_.CountOf(false));
  for (int i = have + 1; i <= total; ++i) {
    Member m = NewMember(false, i, layout_.socket_directory);
    DFS_ASSIGN_OR_RETURN(const auto ports, PickFreePorts(2, random));
    m.address = Loopback(ports[0]);
    m.http = Loopback(ports[1]);
    DFS_RETURN_IF_ERROR(MakeVolume(m));
    layout_.members.push_back(std::move(m));
  }
  DFS_RETURN_IF_ERROR(WriteConfigs());
  return SaveLayout(layout_);
}

// A process that was just killed may hold its port for a moment after it is gone from sight.
static bool PortBecomesFree(uint16_t port) {
  for (int tries = 0; tries < 50; ++tries) {
    if (PortIsFree(port)) return true;
    if (PortOwner(port) != "another process") return false;  // somebody alive has it
    usleep(20'000);
  }
  return false;
}

// Nothing of the cluster runs: its ports may be changed. Otherwise the one in the way is named.
Status DevCluster::CheckPorts(const std::vector<Member*>& starting) {
  for (const Member* m : starting) {
    for (const std::string& address : {m->address, m->raft, m->http}) {
      if (address.empty() || PortBecomesFree(PortOf(address))) continue;
      if (!AnyRunning()) {
        DFS_RETURN_IF_ERROR(AssignPorts(0));
        DFS_RETURN_IF_ERROR(WriteConfigs());
        return SaveLayout(layout_);
      }
      return Status(Code::kBusy, fmt::format("port {} of {} is taken by {}", PortOf(address),
                                             m->name, PortOwner(PortOf(address))));
    }
  }
  return Status::Ok();
}

Status DevCluster::Format(const std::vector<Member*>& starting) {
  std::vector<std::pair<Member*, ProcessId>> children;
  Status result;
  for (Member* m : starting) {
    if (!m->is_namenode || PosixEnv().Exists(layout_.DataOf(*m))) continue;
    const Result<ProcessId> child =
        Spawn({{ProgramDirectory() + "/dfs-namenode", "--config", layout_.ConfigOf(*m), "--format"},
               layout_.ReadyFileOf(*m),
               layout_.LogOf(*m)});
    if (!child) return child.error();
    children.emplace_back(m, *child);
  }
  for (auto& [member, child] : children) {
    const Result<int> exit_code = WaitForExit(child);
    if (!exit_code) return exit_code.error();
    if (*exit_code != 0 && result.ok()) {
      result = Status(Code::kIoError, fmt::format("cannot format {} (exit code {}):\n{}",
                                                  member->name, *exit_code, EndOfLog(*member)));
    }
  }
  return result;
}

Status DevCluster::Start(const std::vector<std::string>& names, const OnReady& on_ready) {
  const int64_t started_ns = Now();
  for (const char* program : {"/dfs-namenode", "/dfs-datanode"}) {
    if (access((ProgramDirectory() + program).c_str(), X_OK) != 0) {
      return Status::FromSystem(errno, ProgramDirectory() + program + " is needed beside dfs");
    }
  }
  std::vector<Member*> starting;
  for (Member& m : layout_.members) {
    const bool named =
        names.empty() || std::find(names.begin(), names.end(), m.name) != names.end();
    if (named && StateOf(m.process) == ProcessState::kGone) starting.push_back(&m);
  }
  DFS_RETURN_IF_ERROR(RuntimeDirectory().status());
  DFS_RETURN_IF_ERROR(MakePrivateDirectory(layout_.socket_directory));
  DFS_RETURN_IF_ERROR(CheckPorts(starting));
  DFS_RETURN_IF_ERROR(Format(starting));
  Status result;
  for (Member* m : starting) {
    unlink(layout_.ReadyFileOf(*m).c_str());
    const std::string program = m->is_namenode ? "/dfs-namenode" : "/dfs-datanode";
    Result<ProcessId> child =
        Spawn({{ProgramDirectory() + program, "--config", layout_.ConfigOf(*m)},
               layout_.ReadyFileOf(*m),
               layout_.LogOf(*m)});
    if (!child) {
      result = child.error();
      break;
    }
    m->process = *child;
  }
  // The pids are on record before anything can go wrong with us.
  const Status saved = SaveLayout(layout_);
  if (result.ok()) result = saved;
  if (result.ok()) result = AwaitReady(starting, started_ns, on_ready);
  if (!result.ok()) {
    for (Member* m : starting) (void)SendSignal(m->process, SIGTERM);
    for (Member* m : starting) {
      if (!WaitUntilGone(m->process, 5 * kSecond)) (void)SendSignal(m->process, SIGKILL);
    }
  }
  return result;
}

Status DevCluster::AwaitReady(std::vector<Member*> waiting, int64_t started_ns,
                              const OnReady& on_ready) {
  while (!waiting.empty()) {
    for (size_t i = 0; i < waiting.size();) {
      Member* m = waiting[i];
      // Asked before the file is read, so that a daemon that was ready and ended is told from one that
      // ended before.
      const bool gone = StateOf(m->process) == ProcessState::kGone;
      const Result<std::string> printed = PosixEnv().ReadFile(layout_.ReadyFileOf(*m));
      const bool ready = printed && (printed->rfind("READY ", 0) == 0 ||
                                     printed->find("\nREADY ") != std::string::npos);
      if (gone) {
        return Status(Code::kInternal, fmt::format("{} did not start:\n{}", m->name, EndOfLog(*m)));
      }
      if (!ready || printed->back() != '\n') {
        ++i;
        continue;
      }
      if (on_ready) on_ready(*m, Now() - started_ns);
      waiting.erase(waiting.begin() + static_cast<std::ptrdiff_t>(i));
    }
    if (waiting.empty()) break;
    if (Now() - started_ns > kReadyTimeoutNs) {
      return Status(Code::kTimedOut,
                    fmt::format("{} is not ready after {} s; see {}", waiting[0]->name,
                                kReadyTimeoutNs / kSecond, layout_.LogOf(*waiting[0])));
    }
    ShortPause();
  }
  return Status::Ok();
}

std::string DevCluster::EndOfLog(const Member& member) const {
  const std::string path = layout_.LogOf(member);
  const Result<std::string> text = PosixEnv().ReadFile(path);
  std::string out = text ? *text : "";
  while (!out.empty() && out.back() == '\n') out.pop_back();
  size_t from = out.size();
  for (int lines = 0; lines < 6 && from != std::string::npos && from > 0; ++lines) {
    from = out.rfind('\n', from - 1);
  }
  if (from != std::string::npos && from > 0) out = out.substr(from + 1);
  return fmt::format("{}\n(the whole log: {})", out, path);
}

Options DevCluster::ClientOptions() const {
  Options options;
  options.namenodes = layout_.NamenodeAddresses();
  options.cluster_id = layout_.cluster_id;
  options.key_file = layout_.key_file();
  return options;
}

Status DevCluster::WaitUntilHealthy(int64_t timeout_ns) {
  const int64_t until = Now() + timeout_ns;
  Options options = ClientOptions();
  options.timeout = std::chrono::milliseconds(timeout_ns / kMillisecond);
  DFS_ASSIGN_OR_RETURN(const Client client, Client::connect(options));
  size_t running = 0;
  for (const Member& m : layout_.members) {
    if (!m.is_namenode && StateOf(m.process) == ProcessState::kRunning) ++running;
  }
  while (true) {
    const Result<ClusterStatus> status = client.cluster_status();
    size_t live = 0;
    if (status) {
      for (const DatanodeInfo& d : status->datanodes) live += d.state == "live" ? 1 : 0;
      if (live >= running) return Status::Ok();
    }
    if (Now() > until) {
      if (!status) return status.error();
      return Status(Code::kTimedOut,
                    fmt::format("only {} of {} datanodes are registered", live, running));
    }
    ShortPause();
  }
}

bool DevCluster::AnyRunning() const {
  return std::any_of(layout_.members.begin(), layout_.members.end(),
                     [](const Member& m) { return StateOf(m.process) != ProcessState::kGone; });
}

Status DevCluster::Stop(int64_t timeout_ns) {
  RemoveDiscovery(layout_);
  const int64_t until = Now() + timeout_ns;
  for (const Member& m : layout_.members) {
    (void)SendSignal(m.process, SIGTERM);
    (void)SendSignal(m.process, SIGCONT);  // a paused one cannot end
  }
  std::string killed;
  for (const Member& m : layout_.members) {
    if (WaitUntilGone(m.process, std::max<int64_t>(until - Now(), 0))) continue;
    (void)SendSignal(m.process, SIGKILL);
    WaitUntilGone(m.process, kKilledTimeoutNs);
    killed += (killed.empty() ? "" : ", ") + m.name;
  }
  for (Member& m : layout_.members) {
    m.process = {};
    unlink(m.unix_socket.c_str());
  }
  rmdir(layout_.socket_directory.c_str());
  DFS_RETURN_IF_ERROR(SaveLayout(layout_));
  if (killed.empty()) return Status::Ok();
  return Status(Code::kTimedOut, "did not end in time and was killed: " + killed);
}

Status DevCluster::Destroy() {
  for (const Member& m : layout_.members) (void)SendSignal(m.process, SIGKILL);
  for (const Member& m : layout_.members) WaitUntilGone(m.process, kKilledTimeoutNs);
  DFS_RETURN_IF_ERROR(Stop(kSecond));
  Env& env = PosixEnv();
  const std::string& d = layout_.directory;
  for (const Member& m : layout_.members) {
    if (env.Exists(layout_.FolderOf(m))) DFS_RETURN_IF_ERROR(env.RemoveTree(layout_.FolderOf(m)));
  }
  if (env.Exists(d + "/log")) DFS_RETURN_IF_ERROR(env.RemoveTree(d + "/log"));
  for (const char* name : {"/cluster.key", "/dev.json", "/dev.lock"}) unlink((d + name).c_str());
  // What somebody else put there stays.
  if (rmdir(d.c_str()) != 0 && errno != ENOTEMPTY && errno != EEXIST && errno != EBUSY) {
    return Status::FromSystem(errno, d);
  }
  return Status::Ok();
}

Result<Member> DevCluster::Resolve(const std::string& name) {
  if (name == "leader") {
    for (const int64_t until = Now() + kLeaderTimeoutNs;;) {
      const DevStatus status = GetStatus(std::chrono::milliseconds(5000));
      for (const MemberState& m : status.members) {
        if (m.leader) return *m.member;
      }
      if (!AnyRunning() || Now() > until) break;
      ShortPause();
    }
    return Status(Code::kUnavailable, "no namenode leads at the moment; try again");
  }
  if (const Member* found = layout_.Find(name)) return *found;
  std::string names = "leader";
  for (const Member& m : layout_.members) names += ", " + m.name;
  return Status(Code::kInvalidArgument, fmt::format("'{}' is none of: {}", name, names));
}

Status DevCluster::Kill(const Member& member) {
  DFS_RETURN_IF_ERROR(SendSignal(member.process, SIGKILL).WithContext(member.name));
  if (!WaitUntilGone(member.process, kKilledTimeoutNs)) {
    return Status(Code::kTimedOut, member.name + " does not end even when killed");
  }
  return Status::Ok();
}

Status DevCluster::Pause(const Member& member) {
  return SendSignal(member.process, SIGSTOP).WithContext(member.name);
}

Status DevCluster::Resume(const Member& member) {
  return SendSignal(member.process, SIGCONT).WithContext(member.name);
}

DevStatus DevCluster::GetStatus(std::chrono::milliseconds timeout) const {
  DevStatus out;
  for (const Member& m : layout_.members) out.members.push_back({&m, StateOf(m.process), false});
  if (!AnyRunning()) {
    out.why_not = "the cluster is stopped";
    return out;
  }
  Options options = ClientOptions();
  options.timeout = timeout;
  const Result<Client> client = Client::connect(options);
  if (!client) {
    out.why_not = client.error().message();
    return out;
  }
  Result<ClusterStatus> status = client->cluster_status();
  if (!status) {
    out.why_not = status.error().message();
    return out;
  }
  out.reachable = true;
  out.cluster = std::move(*status);
  for (MemberState& m : out.members) {
    m.leader = m.member->is_namenode &&
               static_cast<uint64_t>(m.member->number) == out.cluster.node_id && out.cluster.leader;
  }
  return out;
}

}  // namespace dfs::dev
