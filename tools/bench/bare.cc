#include "tools/bench/bare.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <barrier>
#include <cerrno>
#include <thread>
#include <vector>

#include "common/base/clock.h"

namespace dfs::bench {
namespace {

int64_t Now() {
  return SystemClock().BootNs();
}

// A connected pair of stream sockets.
Status MakePair(bool unix_socket, int (&out)[2]) {
  if (unix_socket) {
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, out) != 0) {
      return Status::FromSystem(errno, "socketpair");
    }
    return Status::Ok();
  }
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  Status status;
  out[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (bind(listener, generic, sizeof(address)) != 0 || listen(listener, 1) != 0 ||
      getsockname(listener, generic, &length) != 0 ||
      connect(out[0], generic, sizeof(address)) != 0 ||
      (out[1] = accept(listener, nullptr, nullptr)) < 0) {
    status = Status::FromSystem(errno, "loopback connection");
  }
  close(listener);
  const int on = 1;
  for (const int fd : {out[0], out[1]}) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return status;
}

bool ReadFully(int fd, char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = read(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

bool WriteFully(int fd, const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n <= 0) return false;
    data += n;
    size -= static_cast<size_t>(n);
  }
  return true;
}

pid_t ForkChild() {
  const pid_t pid = fork();
  if (pid == 0) prctl(PR_SET_PDEATHSIG, SIGKILL);
  return pid;
}

}  // namespace

Result<ThreeSyncs> MeasureThreeSyncs(const std::string& directory, int rounds) {
  constexpr uint64_t kFileBytes = 16 << 20;
  std::array<int, 3> fds{};
  for (int i = 0; i < 3; ++i) {
    const std::string path = fmt::format("{}/bare-sync-{}", directory, i);
    fds[i] = open(path.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fds[i] < 0) return Status::FromSystem(errno, path);
    unlink(path.c_str());
    const std::vector<char> zeros(1 << 20);
    for (uint64_t at = 0; at < kFileBytes; at += zeros.size()) {
      if (pwrite(fds[i], zeros.data(), zeros.size(), static_cast<off_t>(at)) < 0) {
        return Status::FromSystem(errno, path);
      }
    }
    fsync(fds[i]);
  }
  ThreeSyncs out;
  std::array<int64_t, 3> ended{};
  std::atomic<bool> failed{false};
  int64_t started = 0;
  int round = 0;
  std::barrier before(3, [&]() noexcept { started = Now(); });
  std::barrier after(3, [&]() noexcept {
    std::sort(ended.begin(), ended.end());
    if (round++ >= 10) {  // the first ones warm up
      out.second.Add(ended[1] - started);
      out.third.Add(ended[2] - started);
    }
  });
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] {
      char record[4096] = {1};
      for (int r = 0; r < rounds + 10; ++r) {
        before.arrive_and_wait();
        const auto at = static_cast<off_t>((r * sizeof(record)) % kFileBytes);
        if (pwrite(fds[i], record, sizeof(record), at) < 0 || fdatasync(fds[i]) != 0) failed = true;
        ended[i] = Now();
        after.arrive_and_wait();
      }
    });
  }
  for (std::thread& t : threads) t.join();
  for (const int fd : fds) close(fd);
  if (failed) return Status(Code::kIoError, "fdatasync failed in " + directory);
  return out;
}

Result<Histogram> MeasureRoundTrip(bool unix_socket, int rounds) {
  int pair[2] = {-1, -1};
  DFS_RETURN_IF_ERROR(MakePair(unix_socket, pair));
  char data[64] = {};
  const pid_t child = ForkChild();
  if (child < 0) return Status::FromSystem(errno, "fork");
  if (child == 0) {
    close(pair[0]);
    while (ReadFully(pair[1], data, sizeof(data)) && WriteFully(pair[1], data, sizeof(data))) {
    }
    _exit(0);
  }
  close(pair[1]);
  Histogram out;
  for (int i = 0; i < rounds + 100; ++i) {
    const int64_t before = Now();
    if (!WriteFully(pair[0], data, sizeof(data)) || !ReadFully(pair[0], data, sizeof(data))) break;
    if (i >= 100) out.Add(Now() - before);
  }
  close(pair[0]);
  waitpid(child, nullptr, 0);
  return out;
}

Result<double> RunThreeDd(const std::string& directory, uint64_t bytes) {
  std::vector<std::string> paths;
  std::vector<pid_t> children;
  const int64_t started = Now();
  for (int i = 0; i < 3; ++i) {
    paths.push_back(fmt::format("{}/bare-dd-{}", directory, i));
    const std::string to = "of=" + paths.back();
    const std::string count = fmt::format("count={}", bytes >> 20);
    const pid_t child = ForkChild();
    if (child == 0) {
      execlp("dd", "dd", "if=/dev/zero", to.c_str(), "bs=1M", count.c_str(), "conv=fsync",
             "status=none", nullptr);
      _exit(127);
    }
    if (child > 0) children.push_back(child);
  }
  bool ok = children.size() == 3;
  for (const pid_t child : children) {
    int status = 0;
    waitpid(child, &status, 0);
    ok = ok && status == 0;
  }
  const double seconds = static_cast<double>(Now() - started) / 1e9;
  for (const std::string& path : paths) unlink(path.c_str());
  if (!ok) return Status(Code::kIoError, "dd failed in " + directory);
  return seconds;
}

Result<double> StreamThroughUnixSocket(uint64_t bytes) {
  int pair[2] = {-1, -1};
  DFS_RETURN_IF_ERROR(MakePair(true, pair));
  const int size = 1 << 20;
  for (const int fd : pair) {
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
  }
  std::vector<char> buffer(size, 'x');
  const pid_t child = ForkChild();
  if (child < 0) return Status::FromSystem(errno, "fork");
  if (child == 0) {
    close(pair[0]);
    for (uint64_t sent = 0; sent < bytes; sent += buffer.size()) {
      if (!WriteFully(pair[1], buffer.data(), buffer.size())) _exit(1);
    }
    _exit(0);
  }
  close(pair[1]);
  const int64_t started = Now();
  uint64_t got = 0;
  while (got < bytes) {
    const ssize_t n = read(pair[0], buffer.data(), buffer.size());
    if (n <= 0) break;
    got += static_cast<uint64_t>(n);
  }
  const double seconds = static_cast<double>(Now() - started) / 1e9;
  close(pair[0]);
  waitpid(child, nullptr, 0);
  if (got < bytes) return Status(Code::kIoError, "the Unix socket broke");
  return seconds;
}

void RunBare(const Bench& bench, Report& report) {
  report.Section("Bare parts");
  const auto us = [](int64_t ns) { return static_cast<double>(ns) / 1e3; };
  const int rounds = bench.quick ? 200 : 1000;
  const Result<ThreeSyncs> syncs = MeasureThreeSyncs(bench.scratch, rounds);
  if (syncs) {
    report.Number("fsync of 4 KiB, second of three at once", us(syncs->second.Percentile(0.5)),
                  "us p50", {{"p99", us(syncs->second.Percentile(0.99))}});
    report.Number("fsync of 4 KiB, third of three at once", us(syncs->third.Percentile(0.5)),
                  "us p50", {{"p99", us(syncs->third.Percentile(0.99))}});
  } else {
    report.Failed("fsync", syncs.error());
  }
  for (const bool unix_socket : {true, false}) {
    const Result<Histogram> trip = MeasureRoundTrip(unix_socket, rounds * 10);
    const std::string name =
        fmt::format("round trip of 64 bytes, {}", unix_socket ? "Unix socket" : "TCP loopback");
    if (trip) {
      report.Number(name, us(trip->Percentile(0.5)), "us p50",
                    {{"p99", us(trip->Percentile(0.99))}});
    } else {
      report.Failed(name, trip.error());
    }
  }
}

}  // namespace dfs::bench
