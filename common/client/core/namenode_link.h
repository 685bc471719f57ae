// NamenodeLink: calls to whichever namenode leads. It finds the leader among the addresses, follows
// leader hints, and retries inside the caller's deadline what may be retried, with back-off and jitter.
// Every call handed to it must be safe to repeat: reads, soft-state calls, and changes that carry an OpId.
// Confined to the network's executor; owned by shared_ptr.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/base/task.h"
#include "common/rpc/peer.h"
#include "common/rpc/transport.h"

namespace dfs::client {

using StatusDone = UniqueFunction<void(Status)>;

class NamenodeLink : public std::enable_shared_from_this<NamenodeLink> {
 public:
  /// addresses: at least one.
  static std::shared_ptr<NamenodeLink> Create(rpc::Network& network, Random random,
                                              std::vector<rpc::Address> addresses);
  ~NamenodeLink();

  /// Ok as soon as one namenode is connected; the most telling error when none can be by the deadline.
  void Connect(int64_t deadline_ns, StatusDone done);
  /// deadline_ns: BootNs. done gets the reply, an error that a retry does not help, or kTimedOut with the
  /// last error's text. Not called when the link is destroyed before.
  void Call(rpc::Method method, Buffer request, int64_t deadline_ns, rpc::ReplyCallback done);
  /// One attempt at one namenode.
  void CallMember(const rpc::Address& address, rpc::Method method, Buffer request,
                  int64_t timeout_ns, rpc::ReplyCallback done);
  /// Sends without waiting, when a namenode is connected at all.
  void Tell(rpc::Method method, Buffer request);
  /// Fails everything with kClosed.
  void Close();
  /// For what namenodes ask of this client; before the first call, and to outlive the link's connections.
  void SetHandler(rpc::RequestHandler* handler) { handler_ = handler; }
  /// Called when another namenode than before has answered.
  void SetLeaderObserver(std::function<void()> observer) { leader_observer_ = std::move(observer); }

  /// Configured addresses first, then those learned from hints.
  std::vector<rpc::Address> addresses() const;

 private:
  struct Endpoint;
  struct PendingCall;
  using CallPtr = std::shared_ptr<PendingCall>;
  using ConnectedDone = UniqueFunction<void(Status)>;

  NamenodeLink(rpc::Network& network, Random random, std::vector<rpc::Address> addresses);
  int64_t Now() const;
  size_t FindOrAdd(const rpc::Address& address);
  /// The next endpoint to try for the call; npos when all were tried in this round.
  size_t Pick(const PendingCall& call) const;
  void EnsureConnected(size_t endpoint, ConnectedDone done);
  void OnConnected(size_t endpoint, Result<rpc::ConnectionPtr> connection);
  void Attempt(const CallPtr& call);
  void SendTo(const CallPtr& call, size_t endpoint, uint64_t attempt);
  void OnReply(const CallPtr& call, size_t endpoint, uint64_t attempt, Result<rpc::Reply> reply);
  void OnFailure(const CallPtr& call, size_t endpoint, const Status& error, bool connected);
  void FollowHint(const CallPtr& call, const std::string& hint);
  void Backoff(const CallPtr& call, int64_t at_least_ns);
  void Finish(const CallPtr& call, Result<rpc::Reply> result);
  void FinishTimedOut(const CallPtr& call);

  rpc::Network& network_;
  Random random_;
  std::vector<std::unique_ptr<Endpoint>> endpoints_;
  size_t configured_ = 0;
  size_t leader_;  // npos: unknown
  size_t last_leader_ = static_cast<size_t>(-1);
  rpc::RequestHandler* handler_ = nullptr;
  std::function<void()> leader_observer_;
  std::vector<CallPtr> calls_;
  bool closed_ = false;
};

}  // namespace dfs::client
