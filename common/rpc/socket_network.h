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
  int64_t stall_timeout_ns =
      60 * kSecond;  // a peer that stops in a frame, or takes nothing of what is queued
  int64_t thread_idle_ns = 10 * kSecond;  // of ListenForStreams: a thread without a connection ends
};

struct SocketNetworkImpl;

/// Confined to its loop; made and destroyed before and after the loop runs, or on it. Its
/// destruction closes all its connections, silently, and ends and joins the threads of
/// ListenForStreams, whose connections get OnClosed there. The handler of ListenForStreams is
/// called on several threads at once. The Network it gets is valid until the connection it came
/// with is released.
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

  size_t connection_count() const;

 private:
  friend std::shared_ptr<SocketNetworkImpl> SocketNetworkImplOf(SocketNetwork& network);
  struct Resolver;
  std::shared_ptr<SocketNetworkImpl> impl_;
  std::shared_ptr<Resolver> resolver_;
  std::unique_ptr<class StreamThreads> stream_threads_;
};

}  // namespace dfs::rpc
