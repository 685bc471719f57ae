#include "tools/rpc_bench_stream.h"

#include <fmt/core.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "common/rpc/event_loop.h"
#include "common/rpc/peer.h"
#include "common/rpc/socket_network.h"
#include "common/rpc/socket_util.h"

namespace dfs::rpc {

namespace {

constexpr size_t kDataSize = 512u << 10;
constexpr size_t kHeaderSize = 64 + kDataSize / 4096 * 8;  // a packet's header and sums

std::shared_ptr<NetworkIdentity> StreamIdentity() {
  auto identity = std::make_shared<NetworkIdentity>();
  identity->cluster_id = "0a8a3b8e-5a0f-4f3a-9d5e-1f2e3d4c5b6a";
  identity->cluster_key = std::string(32, 'k');
  return identity;
}

/// Receives packets for ever; looks at each as little as a forwarding member does.
void ReceiveOurs(const Address& address, const std::function<void(const std::string&)>& ready) {
  class Sink : public RequestHandler {
   public:
    void HandleRequest(Method, Buffer, const CallContext&, ResponderPtr) override {}
    void HandlePacket(RpcPeer&, const FrameHeader&, Buffer payload) override {
      bytes += payload.size();
    }
    uint64_t bytes = 0;
  };
  EventLoop loop;
  SocketNetwork network(loop, StreamIdentity());
  Sink sink;
  std::vector<std::shared_ptr<RpcPeer>> peers;
  auto listener = network.Listen(address, [&](ConnectionPtr connection) {
    peers.push_back(RpcPeer::Create(std::move(connection), &sink));
  });
  if (!listener) std::exit(1);
  ready((*listener)->address().ToString());
  loop.Run();
}

/// Bytes of data handed to the kernel in the time.
uint64_t SendOurs(const Address& address, int64_t duration_ns) {
  EventLoop loop;
  SocketNetwork network(loop, StreamIdentity());
  std::shared_ptr<RpcPeer> peer;
  loop.Post([&] {
    network.Connect(address, {}, [&](Result<ConnectionPtr> connection) {
      if (!connection) std::exit(1);
      peer = RpcPeer::Create(std::move(*connection), nullptr);
    });
  });
  loop.RunUntil([&] { return peer != nullptr; });
  Buffer header(std::string(kHeaderSize, 'h'));
  Buffer data(std::string(kDataSize, 'd'));
  uint64_t sent = 0;
  bool over = false;
  std::function<void()> pump = [&] {
    while (!over && peer->connection().queued_bytes() < peer->connection().send_window()) {
      peer->SendPacket(1, 0, {header, data});
      sent += kDataSize;
      over = loop.clock().BootNs() >= duration_ns;
    }
  };
  duration_ns += loop.clock().BootNs();
  loop.Post([&] {
    peer->on_writable = pump;
    pump();
  });
  loop.RunUntil([&] { return over; });
  sent -= peer->connection().queued_bytes();
  return sent;
}

void ReceiveBare(const Address& address, const std::function<void(const std::string&)>& ready) {
  Address bound;
  Result<int> listener = OpenListener(address, &bound);
  if (!listener) std::exit(1);
  ready(bound.ToString());
  int fd = -1;
  while ((fd = ::accept(*listener, nullptr, nullptr)) < 0) ::usleep(1000);
  std::vector<char> buffer(kDataSize);
  while (::recv(fd, buffer.data(), buffer.size(), 0) > 0) {
  }
  ::pause();
}

uint64_t SendBare(const Address& address, int64_t duration_ns) {
  SocketAddress to = ToSocketAddresses(address)->front();
  int fd = ::socket(to.storage.ss_family, SOCK_STREAM, 0);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&to.storage), to.size) != 0) std::exit(1);
  SetConnectionOptions(fd);
  std::vector<char> buffer(kDataSize, 'd');
  uint64_t sent = 0;
  const Clock& clock = SystemClock();
  for (int64_t end = clock.BootNs() + duration_ns; clock.BootNs() < end;) {
    ssize_t n = ::send(fd, buffer.data(), buffer.size(), MSG_NOSIGNAL);
    if (n <= 0) std::exit(1);
    sent += static_cast<uint64_t>(n);
  }
  return sent;
}

struct StreamOutcome {
  double gib_per_second = 0;
  double cpu_per_gib = 0;
};

double Cpu(const rusage& u) {
  return static_cast<double>(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
         static_cast<double>(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

pid_t ForkWriter(int fds[2], const std::function<void(int)>& body) {
  if (::pipe(fds) != 0) std::abort();
  pid_t pid = ::fork();
  if (pid != 0) {
    ::close(fds[1]);
    return pid;
  }
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  body(fds[1]);
  ::_exit(0);
}

StreamOutcome MeasureStream(bool ours, const Address& address, int64_t duration_ns) {
  if (address.kind == Address::Kind::kUnix) ::unlink(address.host.c_str());
  int from_receiver[2];
  pid_t receiver = ForkWriter(from_receiver, [&](int out) {
    auto ready = [out](const std::string& where) {
      [[maybe_unused]] ssize_t n = ::write(out, where.data(), where.size());
    };
    ours ? ReceiveOurs(address, ready) : ReceiveBare(address, ready);
  });
  char where[256];
  ssize_t n = ::read(from_receiver[0], where, sizeof(where));
  if (n <= 0) std::exit(1);
  Address target = *Address::Parse({where, static_cast<size_t>(n)});
  int from_sender[2];
  pid_t sender = ForkWriter(from_sender, [&](int out) {
    uint64_t bytes = ours ? SendOurs(target, duration_ns) : SendBare(target, duration_ns);
    [[maybe_unused]] ssize_t written = ::write(out, &bytes, sizeof(bytes));
  });
  uint64_t bytes = 0;
  n = ::read(from_sender[0], &bytes, sizeof(bytes));
  rusage sender_usage{};
  rusage receiver_usage{};
  ::wait4(sender, nullptr, 0, &sender_usage);
  ::kill(receiver, SIGKILL);
  ::wait4(receiver, nullptr, 0, &receiver_usage);
  ::close(from_receiver[0]);
  ::close(from_sender[0]);
  StreamOutcome outcome;
  double gib = static_cast<double>(bytes) / (1u << 30);
  outcome.gib_per_second = gib / (static_cast<double>(duration_ns) / 1e9);
  outcome.cpu_per_gib = (Cpu(sender_usage) + Cpu(receiver_usage)) / std::max(gib, 1e-9);
  return outcome;
}

}  // namespace

void BenchStreams(const Address& tcp, const Address& local, int64_t duration_ns, int rounds,
                  bool json) {
  for (const Address* address : {&tcp, &local}) {
    StreamOutcome best[2];
    for (int round = 0; round < rounds; ++round) {
      for (int bare = 0; bare < 2; ++bare) {
        StreamOutcome o = MeasureStream(bare == 0, *address, duration_ns);
        if (o.gib_per_second > best[bare].gib_per_second) best[bare] = o;
      }
    }
    const char* transport = address == &tcp ? "tcp" : "unix";
    for (int bare = 0; bare < 2; ++bare) {
      const char* who = bare == 0 ? "dfs" : "bare";
      if (json) {
        fmt::print(
            "{{\"transport\":\"{}\",\"stream\":\"{}\",\"gib_per_s\":{:.2f},\"cpu_s_per_gib\":{:.3f}"
            "}}\n",
            transport, who, best[bare].gib_per_second, best[bare].cpu_per_gib);
      } else {
        fmt::print("{:<5} stream  {:<5} {:>6.2f} GiB/s  {:.3f} CPU s/GiB\n", transport, who,
                   best[bare].gib_per_second, best[bare].cpu_per_gib);
      }
    }
    std::fflush(stdout);
  }
}

}  // namespace dfs::rpc
