// Channel: an RpcPeer to one address that is made on demand and made again after it broke, with
// exponential back-off and jitter. Confined to its executor.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "common/rpc/peer.h"

namespace dfs::rpc {

struct BackoffPolicy {
  int64_t initial_ns = 20 * kMillisecond;
  int64_t max_ns = 1 * kSecond;
};

class Channel {
 public:
  /// handler (may be null) takes the requests the other side sends. It and the network must outlive the channel.
  Channel(Network& network, Address address, RequestHandler* handler, uint64_t jitter_seed,
          BackoffPolicy policy = {});
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// Waits for the connection within the deadline, then calls. When the attempt to connect that it
  /// waits for fails, the call fails at once with that error (kUnavailable: never sent), so that a
  /// caller with a choice of servers tries the next; attempts are spaced by the back-off. kClosed:
  /// it may have been sent.
  void Call(Method method, Buffer request, int64_t timeout_ns, ReplyCallback done,
            uint64_t min_applied_index = 0);
  /// Dropped when not connected: for protocols that repeat themselves (Raft, heartbeats).
  void OneWay(Method method, Buffer message);
  /// Connects now and stays connected: reconnects by itself until destroyed.
  void KeepConnected(std::function<void(RpcPeer&)> on_connected);
  bool connected() const;
  /// Null when not connected.
  std::shared_ptr<RpcPeer> peer() const;
  const Address& address() const;
  /// Drops the connection, e.g. after a time-out.
  void Reset();

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dfs::rpc
