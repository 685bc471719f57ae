// Internal to the socket transport: the threads of ListenForStreams. Each serves one accepted
// connection at a time on a loop of its own, so its handler may block on the disk; threads are kept
// for a while for the next one. Thread-safe.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "common/rpc/socket_network.h"

namespace dfs::rpc {

class StreamThreads {
 public:
  StreamThreads(const Clock& clock, std::shared_ptr<const NetworkIdentity> identity,
                NetworkLimits limits);
  /// Ends all threads; their connections get OnClosed first.
  ~StreamThreads();

  /// Hands the socket over. False (and nothing is done) when all threads are taken.
  bool Serve(int fd, const Network::StreamAcceptHandler& accept);
  size_t thread_count() const;

 private:
  struct Worker;
  void Run(Worker* worker);
  void Accept(Worker* worker, int fd, const Network::StreamAcceptHandler& accept);
  void BecomeIdle(Worker* worker);
  void EndIfIdle(Worker* worker, uint64_t idle_round);
  void JoinFinished();

  const Clock& clock_;
  const std::shared_ptr<const NetworkIdentity> identity_;
  const NetworkLimits limits_;
  mutable std::mutex mu_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
  bool stopping_ = false;
  // A connection that its user keeps beyond OnClosed, and beyond us, must not give its thread back.
  const std::shared_ptr<std::atomic<bool>> alive_ = std::make_shared<std::atomic<bool>>(true);
};

}  // namespace dfs::rpc
