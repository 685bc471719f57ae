// Leases: the client's side of cache leases (docs/leases.md; protocols, sections 2 and 3). What is granted may be served
// from a cache until it is recalled, and only while the session's term runs: 3 s from the sending of the last keep-alive
// that a leader acknowledged. What is held, and what giving it up means, is the holder's business (the mount).
//
// Confined to the core's executor; owned by ClientCore. Without a holder nothing is ever granted.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <utility>
#include <vector>

#include "common/base/executor.h"
#include "common/base/status.h"
#include "common/base/task.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/peer.h"

namespace dfs::client {

class ClientCore;
template <class T>
using Done = UniqueFunction<void(Result<T>)>;

class LeaseHolder {
 public:
  virtual ~LeaseHolder() = default;
  /// done when nothing of it is served any more and, where that is asked for, what was written has been told.
  virtual void OnRecall(const idl::RecallRequest& recalls, Task done) = 0;
  /// Everything that was granted is void.
  virtual void OnTermEnded() = 0;
  /// What is held, for a new leader.
  virtual void ListHeld(std::vector<int64_t>* read, std::vector<int64_t>* write) const = 0;
};

class Leases : public rpc::RequestHandler {
 public:
  static constexpr int64_t kTermNs = 3 * kSecond;

  explicit Leases(ClientCore& core) : core_(core) {}
  ~Leases() override;

  /// Before the session opens. Null ends all leases.
  void SetHolder(LeaseHolder* holder);
  bool enabled() const { return holder_ != nullptr; }

  /// How long what is held may still be served; 0: it may not.
  int64_t TermLeftNs() const;
  /// Whether what came with this lease_term may be kept.
  bool Granted(int64_t lease_term) const {
    return lease_term != 0 && lease_term == declared_term_ && TermLeftNs() > 0;
  }
  /// The holder has dropped it. The leader is told when the kernel has forgotten it, too.
  void Return(uint64_t inode);
  /// The right to write ahead; Granted(reply.lease_term) is to be checked.
  void Acquire(uint64_t inode, Done<idl::AcquireLeaseReply> done);

  // ---- For Session
  void AddReturned(std::vector<int64_t>* returned);
  /// sent_ns: BootNs when the keep-alive that this answers was sent.
  void OnKeptAlive(const idl::KeepAliveReply& reply, int64_t sent_ns);
  void OnSessionLost();

  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override;

 private:
  void EndTerm();
  void ArmTimer();
  void Tell(int64_t term);
  void TellPart(int64_t term, std::vector<int64_t> read, std::vector<int64_t> write);

  ClientCore& core_;
  LeaseHolder* holder_ = nullptr;
  int64_t term_end_ns_ = 0;
  int64_t declared_term_ = 0;  // of the leader that knows what is held
  bool telling_ = false;
  std::deque<std::pair<int64_t, uint64_t>> returned_;  // when, what
  Executor::TimerId timer_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::client
