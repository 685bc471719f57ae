#include "common/rpc/socket_util.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/core.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace dfs::rpc {

namespace {

constexpr std::string_view kUnixPrefix = "unix:";
constexpr size_t kMaxUnixPath = sizeof(sockaddr_un::sun_path) - 1;
constexpr int kBacklog = 4096;
constexpr unsigned kUnackedTimeoutMs = 20'000;

Result<std::vector<SocketAddress>> Lookup(const Address& address, int flags) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  int error =
      ::getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found);
  if (error == EAI_NONAME && (flags & AI_NUMERICHOST) != 0) {
    return Status(Code::kNotFound, address.host);
  }
  if (error != 0) {
    return Status(Code::kUnavailable,
                  fmt::format("cannot resolve {}: {}", address.host, ::gai_strerror(error)));
  }
  std::vector<SocketAddress> out;
  for (addrinfo* info = found; info != nullptr && out.size() < 16; info = info->ai_next) {
    SocketAddress one;
    std::memcpy(&one.storage, info->ai_addr, info->ai_addrlen);
    one.size = info->ai_addrlen;
    out.push_back(one);
  }
  ::freeaddrinfo(found);
  return out;
}

Result<SocketAddress> UnixAddress(const std::string& path) {
  if (path.empty() || path.size() > kMaxUnixPath) {
    return Status(Code::kInvalidArgument,
                  fmt::format("a Unix socket's path has 1 to {} bytes: {}", kMaxUnixPath, path));
  }
  SocketAddress out;
  auto* un = reinterpret_cast<sockaddr_un*>(&out.storage);
  un->sun_family = AF_UNIX;
  std::memcpy(un->sun_path, path.data(), path.size());
  out.size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
  return out;
}

void SetInt(int fd, int level, int option, int value) {
  ::setsockopt(fd, level, option, &value, sizeof(value));
}

std::string NameOf(const sockaddr_storage& storage, uint16_t* port) {
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    *port = ntohs(in->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
    *port = ntohs(in6->sin6_port);
  }
  return text;
}

bool IsLoopback(const sockaddr_storage& storage) {
  if (storage.ss_family == AF_INET) {
    return ntohl(reinterpret_cast<const sockaddr_in*>(&storage)->sin_addr.s_addr) >> 24 == 127;
  }
  return storage.ss_family == AF_INET6 &&
         IN6_IS_ADDR_LOOPBACK(&reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_addr);
}

/// Removes the file of a socket that nobody listens on any more.
Status ClearStaleSocket(const std::string& path, const SocketAddress& address) {
  struct stat st {};
  if (::lstat(path.c_str(), &st) != 0) return Status();
  if (!S_ISSOCK(st.st_mode)) {
    return Status(Code::kAlreadyExists, path + " exists and is not a socket");
  }
  Result<int> probe = OpenSocket(address);
  if (!probe) return probe.error();
  int error =
      ::connect(*probe, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0
          ? 0
          : errno;
  ::close(*probe);
  if (error != ECONNREFUSED) return Status(Code::kBusy, path + " is in use by another process");
  if (::unlink(path.c_str()) != 0) return Status::FromSystem(errno, path);
  return Status();
}

Status BindAndListen(int fd, const Address& address, const SocketAddress& socket_address) {
  std::string name = address.ToString();
  if (address.kind == Address::Kind::kTcp) SetInt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
  if (::bind(fd, reinterpret_cast<const sockaddr*>(&socket_address.storage), socket_address.size) !=
      0) {
    if (errno == EADDRINUSE) return Status(Code::kBusy, name + ": port or socket in use");
    return Status::FromSystem(errno, "bind " + name);
  }
  // Who connects is known by credentials, so everybody may.
  if (address.kind == Address::Kind::kUnix) ::chmod(address.host.c_str(), 0666);
  if (::listen(fd, kBacklog) != 0) {
    if (errno == EADDRINUSE) return Status(Code::kBusy, name + ": port in use");
    return Status::FromSystem(errno, "listen " + name);
  }
  return Status();
}

}  // namespace

Result<Address> Address::Parse(std::string_view text) {
  Address out;
  if (text.substr(0, kUnixPrefix.size()) == kUnixPrefix) {
    out.kind = Kind::kUnix;
    out.host = std::string(text.substr(kUnixPrefix.size()));
    if (out.host.empty()) return Status(Code::kInvalidArgument, "unix: without a path");
    return out;
  }
  auto bad = [text] {
    return Status(Code::kInvalidArgument,
                  fmt::format("'{}' is no address (host:port, [v6]:port or unix:/path)", text));
  };
  size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return bad();
  std::string_view host = text.substr(0, colon);
  std::string_view port = text.substr(colon + 1);
  if (!host.empty() && host.front() == '[') {
    if (host.size() < 3 || host.back() != ']') return bad();
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return bad();
  }
  unsigned value = 0;
  auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), value);
  if (host.empty() || error != std::errc() || end != port.data() + port.size() || value > 65535) {
    return bad();
  }
  out.host = std::string(host);
  out.port = static_cast<uint16_t>(value);
  return out;
}

std::string Address::ToString() const {
  if (kind == Kind::kUnix) return std::string(kUnixPrefix) + host;
  if (host.find(':') != std::string::npos) return fmt::format("[{}]:{}", host, port);
  return fmt::format("{}:{}", host, port);
}

Result<std::vector<SocketAddress>> ToSocketAddresses(const Address& address) {
  if (address.kind == Address::Kind::kUnix) {
    Result<SocketAddress> one = UnixAddress(address.host);
    if (!one) return one.error();
    return std::vector<SocketAddress>{*one};
  }
  if (address.host == "localhost") {
    std::vector<SocketAddress> both;
    for (const char* host : {"127.0.0.1", "::1"}) {
      Address numeric = address;
      numeric.host = host;
      Result<std::vector<SocketAddress>> one = Lookup(numeric, AI_NUMERICHOST);
      if (one) both.insert(both.end(), one->begin(), one->end());
    }
    return both;
  }
  return Lookup(address, AI_NUMERICHOST);
}

Result<std::vector<SocketAddress>> ResolveBlocking(const Address& address) {
  return Lookup(address, 0);
}

Result<int> OpenSocket(const SocketAddress& address) {
  int fd = ::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return Status::FromSystem(errno, "socket");
  return fd;
}

void SetConnectionOptions(int fd) {
  sockaddr_storage local{};
  socklen_t size = sizeof(local);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size) != 0) return;
  if (local.ss_family == AF_UNIX) {
    // The default of 208 KiB makes a block packet of 512 KiB take several turns.
    SetInt(fd, SOL_SOCKET, SO_SNDBUF, 1 << 20);
    return;
  }
  if (IsLoopback(local)) {
    // There is no path to probe. Where the system's default paces (BBR), that costs a timer for each send.
    constexpr char kPlain[] = "reno";
    ::setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, kPlain, sizeof(kPlain) - 1);
  }
  SetInt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  SetInt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  SetInt(fd, IPPROTO_TCP, TCP_KEEPIDLE, 15);
  SetInt(fd, IPPROTO_TCP, TCP_KEEPINTVL, 5);
  SetInt(fd, IPPROTO_TCP, TCP_KEEPCNT, 3);
  SetInt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(kUnackedTimeoutMs));
}

Result<int> OpenListener(const Address& address, Address* bound) {
  Result<std::vector<SocketAddress>> addresses = ToSocketAddresses(address);
  if (!addresses && addresses.error().Is(Code::kNotFound)) addresses = ResolveBlocking(address);
  if (!addresses) return addresses.error();
  const SocketAddress& first = addresses->front();
  if (address.kind == Address::Kind::kUnix) {
    DFS_RETURN_IF_ERROR(ClearStaleSocket(address.host, first));
  }
  Result<int> fd = OpenSocket(first);
  if (!fd) return fd;
  Status status = BindAndListen(*fd, address, first);
  if (!status.ok()) {
    ::close(*fd);
    return status;
  }
  *bound = address;
  if (address.kind == Address::Kind::kTcp && address.port == 0) {
    sockaddr_storage local{};
    socklen_t size = sizeof(local);
    ::getsockname(*fd, reinterpret_cast<sockaddr*>(&local), &size);
    NameOf(local, &bound->port);
  }
  return fd;
}

ssize_t ReceiveWithFiles(int fd, iovec* pieces, size_t count, std::vector<int>* files) {
  alignas(cmsghdr) char control[CMSG_SPACE(kMaxFilesAtOnce * sizeof(int))];
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  const ssize_t n = ::recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (n < 0) return n;
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr;
       head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const size_t bytes = head->cmsg_len - CMSG_LEN(0);
    for (size_t at = 0; at + sizeof(int) <= bytes; at += sizeof(int)) {
      int file = -1;
      std::memcpy(&file, CMSG_DATA(head) + at, sizeof(file));
      files->push_back(file);
    }
  }
  return n;
}

TransportFacts FactsOf(int fd, const std::string& fallback_address) {
  TransportFacts facts;
  facts.own_uid = ::geteuid();
  facts.address = fallback_address;
  sockaddr_storage local{};
  socklen_t size = sizeof(local);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&local), &size);
  if (local.ss_family == AF_UNIX) {
    facts.is_unix = true;
    ucred credentials{};
    size = sizeof(credentials);
    facts.uid = facts.gid = UINT32_MAX;  // nobody, should the kernel not say
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0) {
      facts.uid = credentials.uid;
      facts.gid = credentials.gid;
      if (facts.address.empty()) {
        facts.address = fmt::format("unix:pid={},uid={}", credentials.pid, credentials.uid);
      }
    }
    return facts;
  }
  if (facts.address.empty()) {
    sockaddr_storage remote{};
    size = sizeof(remote);
    if (::getpeername(fd, reinterpret_cast<sockaddr*>(&remote), &size) == 0) {
      Address peer;
      peer.host = NameOf(remote, &peer.port);
      facts.address = peer.ToString();
    }
  }
  return facts;
}

}  // namespace dfs::rpc
