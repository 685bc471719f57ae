// dfs-rpc-bench: our transport beside Thrift's TThreadedServer, in one run, on one call that looks like a stat.
//
// For each transport (loopback TCP, Unix socket) and number of callers a server process and a client process
// are forked for each contender; every caller is a thread with a connection of its own that makes one call
// after the other. Rounds are interleaved, the best of each is shown. Thrift's server is the stock one; only its input
// transport is reset per message, without which every connection dies after 100 MiB (THRIFT-5492).
#include <fcntl.h>
#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <thrift/TDispatchProcessor.h>
#include <thrift/protocol/TCompactProtocol.h>
#include <thrift/server/TThreadedServer.h>
#include <thrift/transport/TBufferTransports.h>
#include <thrift/transport/TServerSocket.h>
#include <thrift/transport/TSocket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "common/idl/methods.h"
#include "common/rpc/channel.h"
#include "common/rpc/event_loop.h"
#include "common/rpc/idl_call.h"
#include "common/rpc/socket_network.h"
#include "dfs_types.h"
#include "tools/rpc_bench_stream.h"

namespace {

using namespace dfs;       // NOLINT: a program
using namespace dfs::rpc;  // NOLINT
namespace thrift = apache::thrift;

struct Options {
  int64_t duration_ns = 2 * kSecond;
  int rounds = 3;
  std::vector<int> callers = {1, 16, 64};
  bool json = false;
  bool stream = false;
  std::string only;  // "dfs" or "thrift": one contender, for profiling
};

struct Outcome {
  double calls_per_second = 0;
  double cpu_seconds = 0;  // of both processes
  double p50_us = 0;
  double p99_us = 0;
};

/// What a server of either kind does: decode a StatRequest, answer a filled StatReply.
void FillReply(const idl::StatRequest& request, idl::StatReply* reply) {
  idl::Attr attr;
  attr.__set_inode(request.ref.inode + 1);
  attr.__set_type(idl::FileType::REGULAR);
  attr.__set_mode(0644);
  attr.__set_uid(1000);
  attr.__set_gid(1000);
  attr.__set_nlink(1);
  attr.__set_size(123456789);
  attr.__set_allocated_bytes(123456789);
  attr.__set_atime_ns(1'700'000'000'123'456'789);
  attr.__set_mtime_ns(1'700'000'000'123'456'789);
  attr.__set_ctime_ns(1'700'000'000'123'456'789);
  attr.__set_block_size(134217728);
  attr.__set_replication(3);
  reply->__set_attr(attr);
}

idl::StatRequest MakeRequest() {
  idl::Ref ref;
  ref.__set_inode(16390);
  ref.__set_path("usr/include/linux/file-17.h");
  idl::Caller caller;
  caller.__set_uid(1000);
  caller.__set_gid(1000);
  idl::StatRequest request;
  request.__set_ref(ref);
  request.__set_follow(true);
  request.__set_caller(caller);
  return request;
}

// ---- Ours -----------------------------------------------------------------------------------------------

class OurServer : public RequestHandler {
 public:
  void HandleRequest(Method, Buffer bytes, const CallContext&, ResponderPtr responder) override {
    idl::StatRequest request;
    if (!DecodeRequest(bytes, &request, responder)) return;
    idl::StatReply reply;
    FillReply(request, &reply);
    SendReply(*responder, reply, 1);
  }
  void HandleDisconnect(RpcPeer& peer, const Status&) override {
    std::erase_if(peers, [&](const auto& p) { return p.get() == &peer; });
  }
  std::vector<std::shared_ptr<RpcPeer>> peers;
};

std::shared_ptr<NetworkIdentity> BenchIdentity(Role role) {
  auto identity = std::make_shared<NetworkIdentity>();
  identity->cluster_id = "0a8a3b8e-5a0f-4f3a-9d5e-1f2e3d4c5b6a";
  identity->role = role;
  identity->cluster_key = std::string(32, 'k');
  return identity;
}

/// Calls ready(address) once it listens, then serves for ever.
void ServeOurs(const Address& address, const std::function<void(const std::string&)>& ready) {
  EventLoop loop;
  SocketNetwork network(loop, BenchIdentity(Role::kNamenode));
  OurServer server;
  auto listener = network.Listen(address, [&](ConnectionPtr connection) {
    server.peers.push_back(RpcPeer::Create(std::move(connection), &server));
  });
  if (!listener) {
    fmt::print(stderr, "{}\n", listener.error().ToString());
    std::exit(1);
  }
  ready((*listener)->address().ToString());
  loop.Run();
}

/// A synchronous caller of ours: drives its own loop while it waits.
class OurCaller {
 public:
  explicit OurCaller(const std::string& address)
      : network_(loop_, BenchIdentity(Role::kClient)),
        channel_(network_, *Address::Parse(address), nullptr, 1) {}
  ~OurCaller() { channel_.Reset(); }

  bool CallOnce(const idl::StatRequest& request) {
    bool done = false;
    bool ok = false;
    loop_.Post([&] {
      Call<idl::kStat>(channel_, request, 10 * kSecond, [&](Result<Typed<idl::StatReply>> reply) {
        done = true;
        ok = reply.ok() && reply->value.attr.inode == request.ref.inode + 1;
      });
    });
    loop_.RunUntil([&done] { return done; });
    return ok;
  }

 private:
  EventLoop loop_;
  SocketNetwork network_;
  Channel channel_;
};

// ---- Thrift's -------------------------------------------------------------------------------------------

using FramedBase = thrift::transport::TFramedTransport;
using thrift::protocol::TProtocol;
using thrift::transport::TTransport;

/// See the head of this file.
class Framed : public FramedBase {
 public:
  using FramedBase::FramedBase;

 protected:
  bool readFrame() override {
    resetConsumedMessageSize();
    return FramedBase::readFrame();
  }
};

class FramedFactory : public thrift::transport::TTransportFactory {
 public:
  std::shared_ptr<TTransport> getTransport(std::shared_ptr<TTransport> inner) override {
    return std::make_shared<Framed>(std::move(inner));
  }
};

/// What the generated processor does for `stat`, without its dispatch by name.
class StatProcessor : public thrift::TProcessor {
 public:
  bool process(std::shared_ptr<TProtocol> in, std::shared_ptr<TProtocol> out, void*) override {
    std::string name;
    thrift::protocol::TMessageType type;
    int32_t sequence = 0;
    in->readMessageBegin(name, type, sequence);
    idl::StatRequest request;
    std::string field_name;
    thrift::protocol::TType field_type;
    int16_t field = 0;
    in->readStructBegin(field_name);
    while (true) {
      in->readFieldBegin(field_name, field_type, field);
      if (field_type == thrift::protocol::T_STOP) break;
      request.read(in.get());
      in->readFieldEnd();
    }
    in->readStructEnd();
    in->readMessageEnd();
    in->getTransport()->readEnd();
    idl::StatReply reply;
    FillReply(request, &reply);
    out->writeMessageBegin(name, thrift::protocol::T_REPLY, sequence);
    out->writeStructBegin("result");
    out->writeFieldBegin("success", thrift::protocol::T_STRUCT, 0);
    reply.write(out.get());
    out->writeFieldEnd();
    out->writeFieldStop();
    out->writeStructEnd();
    out->writeMessageEnd();
    out->getTransport()->writeEnd();
    out->getTransport()->flush();
    return true;
  }
};

void ServeThrift(const Address& address, const std::function<void(const std::string&)>& ready) {
  std::shared_ptr<thrift::transport::TServerSocket> socket;
  if (address.kind == Address::Kind::kUnix) {
    socket = std::make_shared<thrift::transport::TServerSocket>(address.host);
  } else {
    socket = std::make_shared<thrift::transport::TServerSocket>("127.0.0.1", 0);
  }
  struct Announce : thrift::server::TServerEventHandler {
    std::function<void()> announce;
    void preServe() override { announce(); }
  };
  auto events = std::make_shared<Announce>();
  events->announce = [&] {
    ready(address.kind == Address::Kind::kUnix ? address.ToString()
                                               : fmt::format("127.0.0.1:{}", socket->getPort()));
  };
  thrift::server::TThreadedServer server(
      std::make_shared<StatProcessor>(), socket, std::make_shared<FramedFactory>(),
      std::make_shared<thrift::protocol::TCompactProtocolFactory>());
  server.setServerEventHandler(events);
  server.serve();
}

class ThriftCaller {
 public:
  explicit ThriftCaller(const std::string& text) {
    Address address = *Address::Parse(text);
    if (address.kind == Address::Kind::kUnix) {
      socket_ = std::make_shared<thrift::transport::TSocket>(address.host);
    } else {
      socket_ = std::make_shared<thrift::transport::TSocket>(address.host, address.port);
    }
    transport_ = std::make_shared<Framed>(socket_);
    protocol_ = std::make_shared<thrift::protocol::TCompactProtocol>(transport_);
    transport_->open();
  }

  bool CallOnce(const idl::StatRequest& request) {
    protocol_->writeMessageBegin("stat", thrift::protocol::T_CALL, 0);
    protocol_->writeStructBegin("args");
    protocol_->writeFieldBegin("request", thrift::protocol::T_STRUCT, 1);
    request.write(protocol_.get());
    protocol_->writeFieldEnd();
    protocol_->writeFieldStop();
    protocol_->writeStructEnd();
    protocol_->writeMessageEnd();
    transport_->writeEnd();
    transport_->flush();
    std::string name;
    thrift::protocol::TMessageType type;
    int32_t sequence = 0;
    protocol_->readMessageBegin(name, type, sequence);
    thrift::protocol::TType field_type;
    int16_t field = 0;
    idl::StatReply reply;
    protocol_->readStructBegin(name);
    while (true) {
      protocol_->readFieldBegin(name, field_type, field);
      if (field_type == thrift::protocol::T_STOP) break;
      reply.read(protocol_.get());
      protocol_->readFieldEnd();
    }
    protocol_->readStructEnd();
    protocol_->readMessageEnd();
    transport_->readEnd();
    return reply.attr.inode == request.ref.inode + 1;
  }

 private:
  std::shared_ptr<thrift::transport::TSocket> socket_;
  std::shared_ptr<Framed> transport_;
  std::shared_ptr<thrift::protocol::TCompactProtocol> protocol_;
};

// ---- Measuring ------------------------------------------------------------------------------------------

struct ClientReport {
  uint64_t calls;
  uint64_t failures;
  double seconds;
  double p50_us;
  double p99_us;
};

template <class Caller>
ClientReport RunCallers(const std::string& address, int callers, int64_t duration_ns) {
  const Clock& clock = SystemClock();
  std::atomic<int> connected{0};
  std::atomic<bool> go{false};
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> failures{0};
  std::vector<std::vector<uint32_t>> latencies(static_cast<size_t>(callers));
  std::vector<std::thread> threads;
  for (int i = 0; i < callers; ++i) {
    threads.emplace_back([&, i] {
      Caller caller(address);
      idl::StatRequest request = MakeRequest();
      std::vector<uint32_t>& mine = latencies[static_cast<size_t>(i)];
      mine.reserve(1u << 20);
      for (int warm = 0; warm < 200; ++warm) failures += caller.CallOnce(request) ? 0 : 1;
      ++connected;
      while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      int64_t before = clock.BootNs();
      while (!stop.load(std::memory_order_relaxed)) {
        failures += caller.CallOnce(request) ? 0 : 1;
        int64_t after = clock.BootNs();
        mine.push_back(static_cast<uint32_t>(std::min<int64_t>(after - before, UINT32_MAX)));
        before = after;
      }
    });
  }
  while (connected < callers) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  int64_t started = clock.BootNs();
  go = true;
  std::this_thread::sleep_for(std::chrono::nanoseconds(duration_ns));
  stop = true;
  int64_t ended = clock.BootNs();
  for (std::thread& thread : threads) thread.join();
  std::vector<uint32_t> all;
  for (const auto& one : latencies) all.insert(all.end(), one.begin(), one.end());
  ClientReport report{};
  report.calls = all.size();
  report.failures = failures;
  report.seconds = static_cast<double>(ended - started) / 1e9;
  if (!all.empty()) {
    auto at = [&all](double fraction) {
      size_t index = static_cast<size_t>(fraction * static_cast<double>(all.size() - 1));
      std::nth_element(all.begin(), all.begin() + static_cast<long>(index), all.end());
      return static_cast<double>(all[index]) / 1000;
    };
    report.p50_us = at(0.5);
    report.p99_us = at(0.99);
  }
  return report;
}

double CpuSeconds(const rusage& usage) {
  auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

/// Forks body with the write end of a pipe; returns the pid and the read end.
std::pair<pid_t, int> Fork(const std::function<void(int)>& body) {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) std::abort();
  pid_t pid = ::fork();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(fds[0]);
    body(fds[1]);
    std::fflush(nullptr);
    ::_exit(0);
  }
  ::close(fds[1]);
  return {pid, fds[0]};
}

Outcome Measure(const std::string& contender, const Address& address, int callers,
                const Options& options) {
  bool ours = contender == "dfs";
  if (address.kind == Address::Kind::kUnix) ::unlink(address.host.c_str());
  auto [server, from_server] = Fork([&](int out) {
    auto ready = [out](const std::string& where) {
      std::string line = where + "\n";
      [[maybe_unused]] ssize_t n = ::write(out, line.data(), line.size());
    };
    ours ? ServeOurs(address, ready) : ServeThrift(address, ready);
  });
  char where[256] = "";
  ssize_t n = ::read(from_server, where, sizeof(where) - 1);
  if (n <= 0) {
    fmt::print(stderr, "the {} server did not start\n", contender);
    std::exit(1);
  }
  std::string target(where, static_cast<size_t>(n - 1));
  auto [client, from_client] = Fork([&](int out) {
    ClientReport report = ours ? RunCallers<OurCaller>(target, callers, options.duration_ns)
                               : RunCallers<ThriftCaller>(target, callers, options.duration_ns);
    [[maybe_unused]] ssize_t written = ::write(out, &report, sizeof(report));
  });
  ClientReport report{};
  n = ::read(from_client, &report, sizeof(report));
  rusage client_usage{};
  rusage server_usage{};
  ::wait4(client, nullptr, 0, &client_usage);
  ::kill(server, SIGKILL);
  ::wait4(server, nullptr, 0, &server_usage);
  ::close(from_server);
  ::close(from_client);
  if (n != sizeof(report) || report.failures > 0 || report.calls == 0) {
    fmt::print(stderr, "{}: {} of {} calls failed\n", contender, report.failures, report.calls);
    std::exit(1);
  }
  Outcome outcome;
  outcome.calls_per_second = static_cast<double>(report.calls) / report.seconds;
  outcome.cpu_seconds = CpuSeconds(client_usage) + CpuSeconds(server_usage);
  outcome.p50_us = report.p50_us;
  outcome.p99_us = report.p99_us;
  return outcome;
}

void Print(const Options& options, const std::string& transport, int callers,
           const std::string& contender, const Outcome& o) {
  double us_per_call =
      o.cpu_seconds * 1e6 / (o.calls_per_second * static_cast<double>(options.duration_ns) / 1e9);
  if (options.json) {
    fmt::print(
        "{{\"transport\":\"{}\",\"callers\":{},\"contender\":\"{}\",\"calls_per_s\":{:.0f},"
        "\"cpu_s\":{:.2f},\"cpu_us_per_call\":{:.1f},\"p50_us\":{:.1f},\"p99_us\":{:.1f}}}\n",
        transport, callers, contender, o.calls_per_second, o.cpu_seconds, us_per_call, o.p50_us,
        o.p99_us);
  } else {
    fmt::print(
        "{:<5} {:>7}  {:<8} {:>9.0f} calls/s  {:>5.2f} CPU s ({:>4.1f} us/call)  p50 {:>7.1f} us  "
        "p99 {:>7.1f} us\n",
        transport, callers, contender, o.calls_per_second, o.cpu_seconds, us_per_call, o.p50_us,
        o.p99_us);
  }
  std::fflush(stdout);
}

bool Parse(int argc, char** argv, Options* options) {
  for (int i = 1; i < argc; ++i) {
    std::string arg = argv[i];
    bool has_value = i + 1 < argc;
    if (arg == "--json") {
      options->json = true;
    } else if (arg == "--stream") {
      options->stream = true;
    } else if (arg == "--seconds" && has_value) {
      options->duration_ns = static_cast<int64_t>(std::strtod(argv[++i], nullptr) * 1e9);
    } else if (arg == "--rounds" && has_value) {
      options->rounds = std::max(1, std::atoi(argv[++i]));
    } else if (arg == "--callers" && has_value) {
      options->callers = {std::max(1, std::atoi(argv[++i]))};
    } else if (arg == "--only" && has_value) {
      options->only = argv[++i];
    } else {
      return false;
    }
  }
  return options->duration_ns > 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, &options)) {
    fmt::print(stderr,
               "usage: dfs-rpc-bench [--seconds S] [--rounds N] [--callers N] [--only dfs|thrift] "
               "[--json]\n"
               "Compares the transport with Thrift's TThreadedServer on a stat-like call;\n"
               "with --stream: 512 KiB packets beside bare sockets.\n");
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  Address tcp;
  tcp.host = "127.0.0.1";
  Address local;
  local.kind = Address::Kind::kUnix;
  local.host = fmt::format("/tmp/dfs-rpc-bench.{}", ::getpid());
  if (options.stream) {
    BenchStreams(tcp, local, options.duration_ns, options.rounds, options.json);
    return 0;
  }
  for (const auto& [name, address] :
       {std::pair<std::string, Address>("tcp", tcp), {"unix", local}}) {
    for (int callers : options.callers) {
      Outcome best[2];
      const std::string contenders[2] = {"dfs", "thrift"};
      for (int round = 0; round < options.rounds; ++round) {
        for (int c = 0; c < 2; ++c) {
          if (!options.only.empty() && options.only != contenders[c]) continue;
          Outcome o = Measure(contenders[c], address, callers, options);
          if (o.calls_per_second > best[c].calls_per_second) best[c] = o;
        }
      }
      for (int c = 0; c < 2; ++c) {
        if (best[c].calls_per_second > 0) Print(options, name, callers, contenders[c], best[c]);
      }
      if (options.only.empty() && !options.json) {
        fmt::print("{:<5} {:>7}  ratio    {:>9.2f}\n", name, callers,
                   best[0].calls_per_second / best[1].calls_per_second);
        std::fflush(stdout);  // or the next fork prints it again
      }
    }
  }
  ::unlink(local.host.c_str());
  return 0;
}
