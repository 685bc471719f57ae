// SocketNetwork: the transport over TCP and Unix sockets on one event loop.
#pragma once

#include <memory>
#include <string>

#include "common/rpc/event_loop.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

/// What this process says of itself in every preamble, and demands of others. Immutable once in
/// use; shared by all loops of a process.
struct NetworkIdentity {
  std::string cluster_id;  // 36 characters (UUID); "" for a client that takes what it finds
  Role role = Role::kClient;
  uint64_t node_id = 0;
  std::string cluster_key;  // 32 bytes, "" when there is none
  bool insecure = false;    // accept and use `none` on TCP
};

struct NetworkLimits {
  size_t max_connections = 4096;
  size_t send_window_bytes = 8u << 20;  // polite senders stop here
  size_t max_queued_bytes = 64u << 20;  // the connection is closed here
  int64_t handshake_timeout_ns = 5 * kSecond;
  int64_t idle_timeout_ns = 600 * kSecond;  // of accepted connections, 0: never
};

class SocketNetwork : public Network {
 public:
  SocketNetwork(EventLoop& loop, std::shared_ptr<const NetworkIdentity> identity,
                NetworkLimits limits = {});
  ~SocketNetwork() override;

  Executor& executor() override;
  void Connect(const Address& address, const ConnectOptions& options, ConnectDone done) override;
  Result<std::unique_ptr<Listener>> Listen(const Address& address, AcceptHandler accept) override;
  Result<std::unique_ptr<Listener>> ListenForStreams(const Address& address,
                                                     StreamAcceptHandler accept) override;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dfs::rpc
