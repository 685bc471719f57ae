// Thin wrappers of the socket calls: addresses, options, errors as Status.
#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/rpc/handshake.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

/// Of a Unix path or a numeric host ("localhost" counts as one); kNotFound when the name must be
/// looked up.
Result<std::vector<SocketAddress>> ToSocketAddresses(const Address& address);
/// Asks the resolver, which may block for seconds.
Result<std::vector<SocketAddress>> ResolveBlocking(const Address& address);

/// A non-blocking, close-on-exec stream socket for the address, with the options that all our
/// connections have.
Result<int> OpenSocket(const SocketAddress& address);
void SetConnectionOptions(int fd);

/// Binds and listens. A Unix socket's file left by a dead process is replaced. kBusy when somebody
/// listens there.
Result<int> OpenListener(const Address& address, Address* bound);

/// recvmsg that keeps the open files that come along (at most kMaxFilesAtOnce; more are closed by the kernel).
inline constexpr size_t kMaxFilesAtOnce = 4;
ssize_t ReceiveWithFiles(int fd, iovec* pieces, size_t count, std::vector<int>* files);

/// What the kernel knows of the other end.
TransportFacts FactsOf(int fd, const std::string& fallback_address);

}  // namespace dfs::rpc
