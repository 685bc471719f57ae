// Internal to the socket transport: what the connections of one network share. Confined to its
// loop.
#pragma once

#include <memory>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/rpc/socket_network.h"

namespace dfs::rpc {

class SocketCore;
class StreamThreads;

struct SocketNetworkImpl : std::enable_shared_from_this<SocketNetworkImpl> {
  SocketNetworkImpl(EventLoop& event_loop, std::shared_ptr<const NetworkIdentity> who,
                    NetworkLimits how_much);

  ~SocketNetworkImpl();
  void Begin();
  /// At most one line a second: strangers must not fill the log.
  void LogRefused(const std::string& who, const Status& why);
  /// Connections end silently, or with OnClosed when notify.
  void CloseAll(bool notify);
  void Add(const std::shared_ptr<SocketCore>& core);
  void Remove(const std::shared_ptr<SocketCore>& core);
  void FlushDirty();
  void ArmSweep();
  void Sweep();

  static constexpr size_t kScratchSize = 256u << 10;

  EventLoop& loop;
  const std::shared_ptr<const NetworkIdentity> identity;
  const NetworkLimits limits;
  std::unordered_set<std::shared_ptr<SocketCore>> cores;
  std::vector<std::shared_ptr<SocketCore>> dirty;
  std::unique_ptr<char[]> scratch;  // what reads land in before it is cut into frames
  EventLoop::HookId hook = 0;
  Executor::TimerId sweep_timer = 0;
  int64_t sweep_interval_ns = kSecond;
  bool shut_down = false;
  int64_t last_refusal_logged_ns = INT64_MIN / 2;
  uint64_t refusals_not_logged = 0;
};

std::shared_ptr<SocketNetworkImpl> SocketNetworkImplOf(SocketNetwork& network);

}  // namespace dfs::rpc
