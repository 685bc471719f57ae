// dfs-datanode: keeps replicas of blocks on local directories.
//
//   dfs-datanode --config datanode.toml [--section.key=value ...]
#include <fmt/core.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "common/auth/key_file.h"
#include "common/base/config.h"
#include "common/base/env.h"
#include "common/base/logging.h"
#include "common/base/random.h"
#include "common/base/service_manager.h"
#include "common/http/http_server.h"
#include "common/rpc/event_loop.h"
#include "common/rpc/socket_network.h"
#include "datanode/control/datanode.h"
#include "datanode/gateway/http_gateway.h"

namespace dfs::dn {
namespace {

constexpr int kExitStart = 1;
constexpr int kExitConfig = 2;
constexpr int kExitFailStop = 3;

std::vector<ConfigKey> Table() {
  std::vector<ConfigKey> table = DaemonKeys();
  const std::vector<ConfigKey> own = {
      {.key = "storage.volumes",
       .type = ConfigType::kStringList,
       .help = "Directories for replicas, one for each disk; an empty one is formatted."},
      {.key = "storage.reserve_bytes",
       .type = ConfigType::kBytes,
       .default_text = "1GiB",
       .help = "Left free on each volume."},
      {.key = "listen.block",
       .default_text = "127.0.0.1:9866",
       .help = "Where block streams are served."},
      {.key = "listen.block_unix",
       .help = "Path of a Unix socket for block streams on this host; empty: none."},
      {.key = "listen.http",
       .default_text = "127.0.0.1:9864",
       .help = "For browsers and Prometheus: health, metrics, a status page. Empty: none."},
      {.key = "namenodes.addresses",
       .type = ConfigType::kStringList,
       .help = "Client addresses of all namenodes."},
      {.key = "node.rack", .default_text = "/default", .help = "Where this machine stands."},
      {.key = "node.host_id", .help = "Names this machine; empty: the machine id."},
      {.key = "heartbeat.interval_ms",
       .type = ConfigType::kMillis,
       .default_text = "1000",
       .help = "Between heartbeats to each namenode.",
       .min = 10,
       .max = 60'000},
      {.key = "scanner.bytes_per_second",
       .type = ConfigType::kBytes,
       .default_text = "8MiB",
       .help = "How fast replicas are read in the background, on each volume, to find what has "
               "rotted; 0: not at all. A quarter of it while the disks are in use."},
      {.key = "scanner.period_ms",
       .type = ConfigType::kMillis,
       .default_text = "504h",
       .help = "After so long a replica is verified again.",
       .min = 1000},
  };
  table.insert(table.end(), own.begin(), own.end());
  return table;
}

int Complain(int exit_code, const Status& why) {
  std::fflush(stdout);
  fmt::print(stderr, "dfs-datanode: {}\n", why.message());
  return exit_code;
}

std::string MachineId() {
  auto id = PosixEnv().ReadFile("/etc/machine-id", 4096);
  if (id.ok()) {
    std::string text = *id;
    text.erase(std::find_if(text.begin(), text.end(), [](char c) { return c == '\n'; }),
               text.end());
    if (!text.empty()) return text;
  }
  char name[256] = {};
  ::gethostname(name, sizeof(name) - 1);
  return name;
}

Result<rpc::Address> ParseKey(const std::string& key, const std::string& text) {
  auto address = rpc::Address::Parse(text);
  if (!address) return address.error().WithContext(key);
  return address;
}

struct Setup {
  DatanodeOptions options;
  std::string listen_http;
  std::shared_ptr<rpc::NetworkIdentity> identity = std::make_shared<rpc::NetworkIdentity>();
};

Result<Setup> FromConfig(const Config& config) {
  Setup setup;
  DatanodeOptions& o = setup.options;
  o.cluster_id = config.GetString("cluster.id");
  if (o.cluster_id.size() != 36) {
    return Status(Code::kInvalidArgument, "cluster.id must be a UUID of 36 characters");
  }
  o.volumes = config.GetList("storage.volumes");
  if (o.volumes.empty()) {
    return Status(Code::kInvalidArgument, "storage.volumes names no directory");
  }
  auto sorted = o.volumes;
  std::sort(sorted.begin(), sorted.end());
  if (std::adjacent_find(sorted.begin(), sorted.end()) != sorted.end()) {
    return Status(Code::kInvalidArgument, "storage.volumes names a directory twice");
  }
  o.reserve_bytes = config.GetBytes("storage.reserve_bytes");
  DFS_ASSIGN_OR_RETURN(o.listen_block, ParseKey("listen.block", config.GetString("listen.block")));
  std::string unix_path = config.GetString("listen.block_unix");
  if (!unix_path.empty()) {
    if (!unix_path.starts_with("unix:")) unix_path = "unix:" + unix_path;
    DFS_ASSIGN_OR_RETURN(auto address, ParseKey("listen.block_unix", unix_path));
    o.listen_block_unix = address;
  }
  for (const std::string& text : config.GetList("namenodes.addresses")) {
    DFS_ASSIGN_OR_RETURN(auto address, ParseKey("namenodes.addresses", text));
    o.namenodes.push_back(std::move(address));
  }
  if (o.namenodes.empty()) {
    return Status(Code::kInvalidArgument, "namenodes.addresses names no namenode");
  }
  setup.listen_http = config.GetString("listen.http");
  o.rack = config.GetString("node.rack");
  o.host_id = config.GetString("node.host_id");
  if (o.host_id.empty()) o.host_id = MachineId();
  if (o.listen_block.host == "0.0.0.0" || o.listen_block.host == "::") {
    char name[256] = {};
    ::gethostname(name, sizeof(name) - 1);
    o.advertise_host = name;
  }
  o.heartbeat_interval_ns = config.GetNanos("heartbeat.interval_ms");
  o.scanner.bytes_per_second = config.GetBytes("scanner.bytes_per_second");
  o.scanner.period_ns = config.GetNanos("scanner.period_ms");
  const std::string& key_file = config.GetString("cluster.key_file");
  if (!key_file.empty()) {
    auto key = LoadKeyFile(key_file);
    if (!key) return key.error().WithContext("cluster.key_file");
    o.cluster_key = *key;
  }
  setup.identity->cluster_id = o.cluster_id;
  setup.identity->role = rpc::Role::kDatanode;
  setup.identity->cluster_key = o.cluster_key;
  setup.identity->insecure = config.GetBool("cluster.insecure");
  return setup;
}

std::string ReadyLine(const Datanode& datanode) {
  nlohmann::json ready = {{"role", "datanode"},
                          {"id", fmt::format("{:016x}", datanode.id().value)},
                          {"block", datanode.block_address().ToString()}};
  const auto unix_address = datanode.block_unix_address();
  ready["block_unix"] = unix_address ? unix_address->ToString() : "";
  return "READY " + ready.dump();
}

/// Answers on the loop what comes on the server's thread; null with an empty address.
Result<std::unique_ptr<HttpServer>> OpenPages(const std::string& address, Datanode& datanode,
                                              rpc::EventLoop& loop) {
  if (address.empty()) return std::unique_ptr<HttpServer>();
  auto server = HttpServer::Listen(
      address, [&datanode, &loop](const HttpRequest& request, HttpServer::Reply reply) {
        loop.Post([&datanode, request, reply = std::move(reply)] {
          reply(HttpGateway(datanode).Handle(request));
        });
      });
  if (!server) return server.error().WithContext("listen.http");
  LogInfo("health, metrics and a status page on http://{}/", (*server)->address());
  return server;
}

/// Runs until a signal or a fatal error; the exit code.
int Run(Setup setup) {
  // The id is part of every preamble, so it is known before the networks are.
  auto peeked = Datanode::PeekId(PosixEnv(), setup.options.volumes);
  if (!peeked) return Complain(kExitStart, peeked.error());
  Random random = Random::FromSystem();
  setup.options.id_if_new = peeked->valid() ? *peeked : DatanodeId(random.Next() | 1);
  setup.identity->node_id = setup.options.id_if_new.value;

  rpc::EventLoop background_loop;
  rpc::EventLoop loop;
  auto background = std::make_unique<rpc::SocketNetwork>(background_loop, setup.identity);
  auto control = std::make_unique<rpc::SocketNetwork>(loop, setup.identity);
  auto opened = Datanode::Open(setup.options,
                               {PosixEnv(), SystemClock(), *control, *background, random.Next()});
  if (!opened) return Complain(kExitStart, opened.error());
  std::unique_ptr<Datanode> datanode = std::move(*opened);

  auto pages = OpenPages(setup.listen_http, *datanode, loop);
  if (!pages) return Complain(kExitStart, pages.error());

  int exit_code = 0;
  datanode->on_fatal = [&](const Status& why) {
    fmt::print(stderr, "dfs-datanode: {}\n", why.message());
    exit_code = why.Is(Code::kWrongCluster) ? kExitStart : kExitFailStop;
    loop.Stop();
  };
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  const int signal_fd = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  loop.WatchFd(signal_fd, 1 /* EPOLLIN */, [&](uint32_t) { loop.Stop(); });

  std::thread background_thread([&] {
    ::pthread_setname_np(::pthread_self(), "dfs-background");
    background_loop.Run();
  });
  loop.Post([&] {
    datanode->Start();
    fmt::print("{}\n", ReadyLine(*datanode));
    std::fflush(stdout);
    NotifyServiceManager("READY=1");
  });
  loop.Run();
  LogInfo("stopping");
  NotifyServiceManager("STOPPING=1");
  pages->reset();  // what it has posted is never run: the loop has ended
  datanode->Stop();
  background_loop.Post([&] { background_loop.Stop(); });  // after what Stop posted there
  background_thread.join();
  loop.UnwatchFd(signal_fd);
  ::close(signal_fd);
  // The stream threads, which use the datanode, end with the network.
  control = nullptr;
  background = nullptr;
  datanode = nullptr;
  return exit_code;
}

int Main(const std::vector<std::string>& arguments) {
  Config config(Table());
  auto line = config.LoadCommandLine(arguments);
  if (!line) return Complain(kExitConfig, line.error());
  if (line->help) {
    fmt::print("Usage: dfs-datanode --config FILE [--section.key=value ...]\n\n{}",
               config.HelpText());
    return 0;
  }
  if (line->sample) {
    fmt::print("{}", config.SampleFile());
    return 0;
  }
  LogLevel level = LogLevel::kInfo;
  ParseLogLevel(config.GetString("log.level"), &level);
  SetLogLevel(level);
  SetLogName("datanode");
  auto setup = FromConfig(config);
  if (!setup) return Complain(kExitConfig, setup.error());
  fmt::print(stderr, "{}", config.Effective());
  if (setup->identity->insecure) {
    LogWarning("cluster.insecure is set: TCP connections are not authenticated");
  }
  rpc::RaiseFileLimit();
  // Before any thread: all of them inherit it.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  return Run(std::move(*setup));
}

}  // namespace
}  // namespace dfs::dn

int main(int argc, char** argv) {
  return dfs::dn::Main(std::vector<std::string>(argv + 1, argv + argc));
}
