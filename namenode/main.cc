// dfs-namenode: one member of the namenodes' group.
//
//   dfs-namenode --config namenode.toml --format      makes a new, empty member
//   dfs-namenode --config namenode.toml               runs it
//
// Exit codes: 0 stopped by SIGTERM or SIGINT, 1 could not start, 2 configuration error, 3 fail-stop (a sync
// that failed, damaged data).
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "common/auth/key_file.h"
#include "common/base/config.h"
#include "common/base/logging.h"
#include "common/base/service_manager.h"
#include "common/http/http_server.h"
#include "common/rpc/event_loop.h"
#include "common/rpc/socket_network.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/gateway/audit_log.h"
#include "namenode/gateway/http_gateway.h"
#include "namenode/replication/log_writer.h"
#include "namenode/service/namenode.h"
#include "namenode/service/rack_table_file.h"
#include "namenode/state/rocks_store.h"

namespace dfs::nn {
namespace {

constexpr int kExitStart = 1;
constexpr int kExitConfig = 2;
constexpr int kExitFailStop = 3;
constexpr size_t kMaxUnixPath = 107;

std::vector<ConfigKey> MemberKeys() {
  using T = ConfigType;
  return {
      {.key = "node.id",
       .type = T::kInt,
       .default_text = "0",
       .help = "This member's number, from 1."},
      {.key = "storage.directory", .help = "Where this member keeps its log and state."},
      {.key = "listen.client",
       .default_text = "127.0.0.1:9700",
       .help = "For clients, datanodes and admins."},
      {.key = "listen.client_unix", .help = "The same on a Unix socket: its path."},
      {.key = "listen.http",
       .default_text = "127.0.0.1:9870",
       .help = "For browsers and Prometheus: health, metrics, a status page. Empty: none."},
      {.key = "listen.raft", .default_text = "127.0.0.1:9701", .help = "For the other namenodes."},
      {.key = "raft.members",
       .type = T::kStringList,
       .help =
           "All members, this one too: \"ID=RAFT_ADDRESS,CLIENT_ADDRESS\". None: this one alone."},
      {.key = "raft.heartbeat_ms",
       .type = T::kMillis,
       .default_text = "100",
       .help = "Between the leader's heartbeats.",
       .min = 10,
       .max = 10'000},
      {.key = "raft.election_min_ms",
       .type = T::kMillis,
       .default_text = "600",
       .help = "Least election time-out.",
       .min = 50,
       .max = 60'000},
      {.key = "raft.election_max_ms",
       .type = T::kMillis,
       .default_text = "1200",
       .help = "Greatest election time-out.",
       .min = 50,
       .max = 120'000},
      {.key = "raft.read_mode",
       .default_text = "lease",
       .help = "Reads under the leader's lease, or each behind a quorum round.",
       .choices = {"lease", "readindex"}},
  };
}

std::vector<ConfigKey> ServiceKeys() {
  using T = ConfigType;
  return {
      {.key = "namespace.default_replication",
       .type = T::kInt,
       .default_text = "3",
       .help = "Replicas of a new file.",
       .min = 1,
       .max = 16},
      {.key = "namespace.default_block_size_bytes",
       .type = T::kBytes,
       .default_text = "134217728",
       .help = "Block size of a new file.",
       .min = 4096,
       .max = int64_t{2} << 30},
      {.key = "namespace.inline_limit_bytes",
       .type = T::kBytes,
       .default_text = "16384",
       .help = "Files up to this size live in the namenode.",
       .min = 0,
       .max = 65536},
      {.key = "blocks.stale_after_ms",
       .type = T::kMillis,
       .default_text = "5000",
       .help = "Without a heartbeat for so long a datanode is avoided.",
       .min = 100},
      {.key = "blocks.dead_after_ms",
       .type = T::kMillis,
       .default_text = "60000",
       .help = "Without a heartbeat for so long its replicas are made again.",
       .min = 200},
      {.key = "blocks.deletion_delay_ms",
       .type = T::kMillis,
       .default_text = "3600000",
       .help = "Between a delete and the removal of its replicas; less as space runs short."},
      {.key = "blocks.replication_streams_per_node",
       .type = T::kInt,
       .default_text = "2",
       .help = "Copies at a datanode at a time.",
       .min = 1,
       .max = 1000},
      {.key = "replication.bytes_per_second_per_node",
       .type = T::kBytes,
       .default_text = "0",
       .help = "All copies at a datanode together, in and out, are no faster; 0: as fast as they "
               "go."},
      {.key = "placement.rack_table",
       .help = "File that says where datanodes stand: lines of a host, an address or a network, "
               "and its rack. It comes before what datanodes say. Read again when it changes, and "
               "at SIGHUP."},
      {.key = "sessions.expiry_ms",
       .type = T::kMillis,
       .default_text = "30000",
       .help = "A client that is silent for so long is taken for dead.",
       .min = 1000},
      {.key = "trash.keep_ms",
       .type = T::kMillis,
       .default_text = "86400000",
       .help = "What dfs rm removed can be restored for so long; 0: it removes at once."},
      {.key = "audit.file",
       .help = "Every change is written there: a file, reopened on SIGHUP, or syslog. Empty: none."},
      {.key = "audit.refused",
       .type = T::kBool,
       .default_text = "true",
       .help = "Whether accesses that were refused are written there, too."},
  };
}

std::vector<ConfigKey> Table() {
  std::vector<ConfigKey> table = DaemonKeys();
  for (const auto& more : {MemberKeys(), ServiceKeys()}) {
    table.insert(table.end(), more.begin(), more.end());
  }
  return table;
}

Status Invalid(std::string message) {
  return Status(Code::kInvalidArgument, std::move(message));
}

/// "ID=RAFT_ADDRESS,CLIENT_ADDRESS"
Result<Member> ParseMember(const std::string& text) {
  size_t equals = text.find('='), comma = text.find(',');
  if (equals == std::string::npos || comma == std::string::npos || comma < equals) {
    return Invalid("raft.members: \"" + text + "\" is not ID=RAFT_ADDRESS,CLIENT_ADDRESS");
  }
  Member member;
  char* end = nullptr;
  std::string id = text.substr(0, equals);
  member.id = NodeId(std::strtoull(id.c_str(), &end, 10));
  if (!member.id.valid() || *end != '\0')
    return Invalid("raft.members: bad id in \"" + text + "\"");
  auto raft = rpc::Address::Parse(text.substr(equals + 1, comma - equals - 1));
  if (!raft) return raft.error().WithContext("raft.members");
  member.raft_address = *raft;
  member.client_address = text.substr(comma + 1);
  auto client = rpc::Address::Parse(member.client_address);
  if (!client) return client.error().WithContext("raft.members");
  return member;
}

Status FillMembers(const Config& config, NamenodeOptions* o) {
  bool self = false;
  for (const std::string& text : config.GetList("raft.members")) {
    DFS_ASSIGN_OR_RETURN(Member member, ParseMember(text));
    for (const Member& other : o->replica.members) {
      if (other.id == member.id) return Invalid("raft.members: an id twice");
    }
    self = self || member.id == o->id;
    o->replica.members.push_back(std::move(member));
  }
  if (o->replica.members.empty()) {
    o->replica.members.push_back({o->id, o->replica.listen, config.GetString("listen.client")});
    return Status();
  }
  if (!self) return Invalid("raft.members does not name node.id " + std::to_string(o->id.value));
  return Status();
}

Status FillAddresses(const Config& config, NamenodeOptions* o) {
  auto client = rpc::Address::Parse(config.GetString("listen.client"));
  if (!client) return client.error().WithContext("listen.client");
  o->listen_client = *client;
  auto raft = rpc::Address::Parse(config.GetString("listen.raft"));
  if (!raft) return raft.error().WithContext("listen.raft");
  o->replica.listen = *raft;
  const std::string& path = config.GetString("listen.client_unix");
  if (path.empty()) return Status();
  if (path.size() > kMaxUnixPath) {
    return Invalid("listen.client_unix: a socket's path may have 107 bytes, this one has " +
                   std::to_string(path.size()));
  }
  rpc::Address address;
  address.kind = rpc::Address::Kind::kUnix;
  address.host = path;
  o->listen_client_unix = address;
  return Status();
}

Result<NamenodeOptions> OptionsOf(const Config& config) {
  NamenodeOptions o;
  if (config.GetInt("node.id") < 1) return Invalid("node.id must be 1 or more");
  o.id = NodeId(static_cast<uint64_t>(config.GetInt("node.id")));
  o.cluster_id = config.GetString("cluster.id");
  if (o.cluster_id.size() != 36) return Invalid("cluster.id must be a UUID (36 characters)");
  o.directory = config.GetString("storage.directory");
  if (o.directory.empty()) return Invalid("storage.directory must be set");
  o.insecure = config.GetBool("cluster.insecure");
  DFS_RETURN_IF_ERROR(FillAddresses(config, &o));
  DFS_RETURN_IF_ERROR(FillMembers(config, &o));
  raft::Options& raft = o.replica.raft;
  raft.heartbeat_interval_ns = config.GetNanos("raft.heartbeat_ms");
  raft.election_min_ns = config.GetNanos("raft.election_min_ms");
  raft.election_max_ns = config.GetNanos("raft.election_max_ms");
  if (raft.election_max_ns < raft.election_min_ns ||
      raft.election_min_ns < 3 * raft.heartbeat_interval_ns) {
    return Invalid("raft: heartbeat_ms * 3 <= election_min_ms <= election_max_ms must hold");
  }
  bool lease = config.GetString("raft.read_mode") == "lease";
  raft.lease_ns = lease ? raft.election_min_ns / 2 : 0;
  raft.startup_silence_ns = std::max(400 * kMillisecond, raft.lease_ns + 100 * kMillisecond);
  o.name_space.default_replication =
      static_cast<uint32_t>(config.GetInt("namespace.default_replication"));
  o.name_space.default_block_size = config.GetBytes("namespace.default_block_size_bytes");
  if (o.name_space.default_block_size % 4096 != 0) {
    return Invalid("namespace.default_block_size_bytes must be a multiple of 4096");
  }
  o.name_space.inline_limit =
      static_cast<uint32_t>(config.GetBytes("namespace.inline_limit_bytes"));
  o.blocks.stale_after_ns = config.GetNanos("blocks.stale_after_ms");
  o.blocks.dead_after_ns = config.GetNanos("blocks.dead_after_ms");
  if (o.blocks.dead_after_ns <= o.blocks.stale_after_ns) {
    return Invalid("blocks.dead_after_ms must be more than blocks.stale_after_ms");
  }
  o.blocks.deletion_delay_ns = config.GetNanos("blocks.deletion_delay_ms");
  o.blocks.replication_streams_per_node =
      static_cast<int>(config.GetInt("blocks.replication_streams_per_node"));
  o.blocks.replication_bytes_per_second_per_node =
      config.GetBytes("replication.bytes_per_second_per_node");
  o.session_expiry_ns = config.GetNanos("sessions.expiry_ms");
  o.trash_keep_ns = config.GetNanos("trash.keep_ms");
  o.root_uid = ::geteuid();
  o.root_gid = ::getegid();
  return o;
}

Status LoadKey(const Config& config, NamenodeOptions* o) {
  const std::string& path = config.GetString("cluster.key_file");
  if (!path.empty()) {
    DFS_ASSIGN_OR_RETURN(o->cluster_key, LoadKeyFile(path));
  } else if (!o->insecure && o->replica.members.size() > 1) {
    return Invalid("cluster.key_file must be set for namenodes to know each other (or --insecure)");
  }
  return Status();
}

/// The socket's directory is made when it is missing, for this user only.
Status PrepareUnixSocket(const NamenodeOptions& o) {
  if (!o.listen_client_unix) return Status();
  const std::string& path = o.listen_client_unix->host;
  size_t slash = path.find_last_of('/');
  if (slash == std::string::npos || slash == 0) return Status();
  std::string parent = path.substr(0, slash);
  if (::mkdir(parent.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::FromSystem(errno, "listen.client_unix: " + parent);
  }
  return Status();
}

void RaiseFileLimit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, 65536);
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

int Fail(int code, const std::string& message) {
  std::fprintf(stderr, "dfs-namenode: %s\n", message.c_str());
  return code;
}

void PrintReady(const NamenodeOptions& o, Namenode& namenode) {
  nlohmann::ordered_json ready;
  ready["role"] = "namenode";
  ready["id"] = o.id.value;
  ready["client"] = namenode.client_address().ToString();
  ready["client_unix"] = o.listen_client_unix ? o.listen_client_unix->host : "";
  ready["raft"] = namenode.raft_address().ToString();
  std::string line = ready.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::printf("READY %s\n", line.c_str());
  std::fflush(stdout);
  NotifyServiceManager("READY=1");
}

/// The pages of a namenode that runs: requests come on the server's thread and are answered on the loop.
struct Pages {
  std::unique_ptr<HttpGateway> gateway;
  std::unique_ptr<HttpServer> server;

  Status Open(const std::string& address, Namenode& namenode, rpc::EventLoop& loop) {
    if (address.empty()) return Status();
    gateway = std::make_unique<HttpGateway>(namenode, loop);
    auto listening = HttpServer::Listen(
        address, [this, &loop](const HttpRequest& request, HttpServer::Reply reply) {
          loop.Post([this, request, reply = std::move(reply)] {
            if (gateway) reply(gateway->Handle(request));
          });
        });
    if (!listening) return listening.error().WithContext("listen.http");
    server = std::move(*listening);
    LogInfo("health, metrics and a status page on http://{}/", server->address());
    return Status();
  }
  /// On the loop.
  void Close() {
    server.reset();
    gateway.reset();
  }
};

struct DaemonFiles {
  std::string http_address;
  std::string rack_table;
  AuditLogOptions audit;
};

/// Before any thread is made, so that none of them takes the signals.
sigset_t BlockSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGHUP);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
  return signals;
}

std::shared_ptr<rpc::NetworkIdentity> IdentityOf(const NamenodeOptions& options) {
  auto identity = std::make_shared<rpc::NetworkIdentity>();
  identity->cluster_id = options.cluster_id;
  identity->role = rpc::Role::kNamenode;
  identity->node_id = options.id.value;
  identity->cluster_key = options.cluster_key;
  identity->insecure = options.insecure;
  return identity;
}

/// This machine's: files, threads, and what is random.
NamenodeWorld RealWorld(rpc::Network& network) {
  NamenodeWorld world;
  world.network = &network;
  world.env = &PosixEnv();
  world.seed = Random::FromSystem().Next();
  world.open_store = [](const std::string& directory) {
    RocksStoreOptions rocks;
    rocks.directory = directory;
    rocks.worker = NewThreadWorker("dfs-state");
    return OpenRocksStore(rocks);
  };
  world.log_writer = [](LogStorage& storage, Executor& executor) {
    return NewThreadedLogWriter(storage, executor);
  };
  return world;
}

/// Reads what came; true when it is to stop. SIGHUP: the files that others change are read or opened anew.
bool TakeSignals(int signal_fd, AuditLog* audit, RackTableFile* racks) {
  signalfd_siginfo info{};
  bool stop = false;
  while (::read(signal_fd, &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo != SIGHUP) {
      stop = true;
    } else {
      if (audit != nullptr) audit->Reopen();
      racks->Reload();
    }
  }
  return stop;
}

int Serve(NamenodeOptions options, const DaemonFiles& files) {
  const sigset_t signals = BlockSignals();
  RaiseFileLimit();

  rpc::EventLoop loop;
  rpc::SocketNetwork network(loop, IdentityOf(options));

  std::unique_ptr<AuditLog> audit;
  if (!files.audit.target.empty()) {
    auto opened = AuditLog::Open(files.audit);
    if (!opened) return Fail(kExitStart, "audit.file: " + opened.error().message());
    audit = std::move(*opened);
  }

  int exit_code = 0;
  NamenodeWorld world = RealWorld(network);
  if (audit != nullptr) {
    world.audit = [log = audit.get()](const AuditEvent& event) { log->Add(event); };
  }
  world.on_fatal = [&](const Status& why) {
    LogError("this member cannot go on: {}", why.ToString());
    exit_code = kExitFailStop;
    loop.Stop();
  };
  int signal_fd = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signal_fd < 0) return Fail(kExitStart, "signalfd failed");
  {
    Namenode namenode(options, world);
    Pages pages;
    RackTableFile racks(PosixEnv(), loop, files.rack_table, [&](RackTable table) {
      namenode.blocks().SetRackTable(std::move(table));
    });
    loop.WatchFd(signal_fd, EPOLLIN, [&](uint32_t) {
      if (!TakeSignals(signal_fd, audit.get(), &racks)) return;
      LogInfo("stopping on a signal");
      NotifyServiceManager("STOPPING=1");
      loop.Stop();
    });
    // On the loop, where everything of the namenode lives.
    loop.Post([&] {
      Status started = namenode.Start();
      if (started.ok()) started = racks.Start();
      if (started.ok()) started = pages.Open(files.http_address, namenode, loop);
      if (started.ok()) {
        LogInfo("namenode {} of cluster {} serves clients on {}", options.id.value,
                options.cluster_id, namenode.client_address().ToString());
        PrintReady(options, namenode);
        return;
      }
      exit_code = started.Is(Code::kCorrupt) ? kExitFailStop : kExitStart;
      Fail(exit_code, "cannot start: " + started.message());
      loop.Stop();
    });
    loop.Run();
    // What is left runs on this thread, which is the loop's until it returns.
    bool stopped = false;
    loop.Post([&] {
      pages.Close();
      racks.Stop();
      namenode.Stop();
      stopped = true;
    });
    loop.RunUntil([&] { return stopped; });
  }
  loop.UnwatchFd(signal_fd);
  ::close(signal_fd);
  return exit_code;
}

int Main(int argc, char** argv) {
  Config config(Table());
  auto line = config.LoadCommandLine({argv + 1, argv + argc}, {"format", "insecure"});
  if (!line) return Fail(kExitConfig, line.error().message());
  if (line->help) {
    std::printf("dfs-namenode --config FILE [--format] [--section.key=value ...]\n\n%s",
                config.HelpText().c_str());
    return 0;
  }
  if (line->sample) {
    std::printf("%s", config.SampleFile().c_str());
    return 0;
  }
  bool format = false;
  for (const std::string& s : line->switches) {
    if (s == "format") format = true;
    if (s == "insecure") {
      if (Status set = config.Set("cluster.insecure", "true"); !set.ok()) {
        return Fail(kExitConfig, set.message());
      }
    }
  }
  auto options = OptionsOf(config);
  if (!options) return Fail(kExitConfig, options.error().message());
  LogLevel level = LogLevel::kInfo;
  if (ParseLogLevel(config.GetString("log.level"), &level)) SetLogLevel(level);
  SetLogName("namenode-" + std::to_string(options->id.value));

  if (format) {
    Status made = Namenode::Format(*options, PosixEnv(), Random::FromSystem().Next());
    if (!made.ok()) return Fail(kExitStart, "cannot format: " + made.message());
    LogInfo("made a new, empty member {} of cluster {} in {}", options->id.value,
            options->cluster_id, options->directory);
    return 0;
  }
  Status key = LoadKey(config, &*options);
  if (!key.ok()) return Fail(kExitConfig, "cluster.key_file: " + key.message());
  Status socket = PrepareUnixSocket(*options);
  if (!socket.ok()) return Fail(kExitStart, socket.message());
  std::fprintf(stderr, "%s", config.Effective().c_str());
  if (options->insecure) {
    LogWarning("INSECURE: whoever reaches {} on TCP is believed to be whoever he says",
               config.GetString("listen.client"));
  } else if (options->cluster_key.empty()) {
    LogWarning("no cluster.key_file: only Unix sockets can be used");
  }
  DaemonFiles files;
  files.http_address = config.GetString("listen.http");
  files.rack_table = config.GetString("placement.rack_table");
  files.audit.target = config.GetString("audit.file");
  files.audit.refused = config.GetBool("audit.refused");
  return Serve(std::move(*options), files);
}

}  // namespace
}  // namespace dfs::nn

int main(int argc, char** argv) {
  return dfs::nn::Main(argc, argv);
}
