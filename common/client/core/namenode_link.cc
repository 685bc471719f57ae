#include "common/client/core/namenode_link.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"

namespace dfs::client {
namespace {

constexpr size_t kNone = static_cast<size_t>(-1);
constexpr size_t kMaxEndpoints = 32;
constexpr int64_t kConnectTimeoutNs = 5 * kSecond;
/// How long a call waits for one connection while others could be tried.
constexpr int64_t kConnectPatienceNs = 500 * kMillisecond;
constexpr int64_t kFirstAttemptNs = 1500 * kMillisecond;
constexpr int64_t kLongestAttemptNs = 12 * kSecond;
constexpr int64_t kFirstBackoffNs = 10 * kMillisecond;
constexpr int64_t kLongestBackoffNs = 150 * kMillisecond;
constexpr int64_t kLongestDownNs = 1 * kSecond;

/// Errors of the server or the connection after which the same call may succeed.
bool WorthRetry(Code code) {
  switch (code) {
    case Code::kNotLeader:
    case Code::kUnavailable:
    case Code::kTimedOut:
    case Code::kOutcomeUnknown:
    case Code::kOverloaded:
    case Code::kClosed:
      return true;
    default:
      return false;
  }
}

/// Errors of connecting that waiting does not cure.
bool IsRefusal(Code code) {
  return code == Code::kUnauthenticated || code == Code::kWrongCluster ||
         code == Code::kVersionMismatch || code == Code::kAccessDenied;
}

}  // namespace

struct NamenodeLink::Endpoint {
  rpc::Address address;
  std::shared_ptr<rpc::RpcPeer> peer;
  bool connecting = false;
  std::vector<ConnectedDone> waiting;
  int64_t down_until_ns = 0;
  int64_t backoff_ns = 0;

  bool usable() const { return peer != nullptr && !peer->closed(); }
};

struct NamenodeLink::PendingCall {
  rpc::Method method = 0;
  Buffer request;
  int64_t deadline_ns = 0;
  rpc::ReplyCallback done;
  std::vector<size_t> tried;  // in this round
  uint64_t attempt = 0;       // replies of older attempts still count, failures do not
  int64_t attempt_ns = kFirstAttemptNs;
  int64_t backoff_ns = kFirstBackoffNs;
  size_t hinted = kNone;
  Status last_error;
  size_t refusals = 0;  // in this round
  Executor::TimerId timer = 0;
  bool finished = false;
  bool only_connect = false;
};

std::shared_ptr<NamenodeLink> NamenodeLink::Create(rpc::Network& network, Random random,
                                                   std::vector<rpc::Address> addresses) {
  return std::shared_ptr<NamenodeLink>(new NamenodeLink(network, random, std::move(addresses)));
}

NamenodeLink::NamenodeLink(rpc::Network& network, Random random,
                           std::vector<rpc::Address> addresses)
    : network_(network), random_(random), leader_(kNone) {
  DFS_CHECK(!addresses.empty());
  // Unix sockets first: they cost a third of the CPU.
  std::stable_sort(addresses.begin(), addresses.end(), [](const auto& a, const auto& b) {
    return (a.kind == rpc::Address::Kind::kUnix) > (b.kind == rpc::Address::Kind::kUnix);
  });
  for (rpc::Address& address : addresses) FindOrAdd(address);
  configured_ = endpoints_.size();
}

NamenodeLink::~NamenodeLink() {
  for (const CallPtr& call : calls_) {
    if (call->timer != 0) network_.executor().Cancel(call->timer);
  }
}

int64_t NamenodeLink::Now() const {
  return network_.executor().clock().BootNs();
}

std::vector<rpc::Address> NamenodeLink::addresses() const {
  std::vector<rpc::Address> all;
  for (const auto& endpoint : endpoints_) all.push_back(endpoint->address);
  return all;
}

size_t NamenodeLink::FindOrAdd(const rpc::Address& address) {
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    if (endpoints_[i]->address == address) return i;
  }
  if (endpoints_.size() >= kMaxEndpoints) return kNone;
  endpoints_.push_back(std::make_unique<Endpoint>());
  endpoints_.back()->address = address;
  return endpoints_.size() - 1;
}

size_t NamenodeLink::Pick(const PendingCall& call) const {
  auto untried = [&](size_t i) {
    return std::find(call.tried.begin(), call.tried.end(), i) == call.tried.end();
  };
  const bool have_unix = endpoints_[0]->address.kind == rpc::Address::Kind::kUnix;
  if (call.hinted != kNone && untried(call.hinted) && (call.hinted < configured_ || !have_unix)) {
    return call.hinted;
  }
  if (leader_ != kNone && untried(leader_)) return leader_;
  const int64_t now = Now();
  size_t best = kNone;
  int best_rank = 100;
  for (size_t i = 0; i < endpoints_.size(); ++i) {
    if (!untried(i)) continue;
    const Endpoint& endpoint = *endpoints_[i];
    const bool down = !endpoint.usable() && endpoint.down_until_ns > now;
    int rank = down ? 8 : 0;
    if (endpoint.address.kind != rpc::Address::Kind::kUnix) rank += 2;
    if (i >= configured_) rank += i == call.hinted ? 0 : 4;
    if (!endpoint.usable()) rank += 1;
    if (rank < best_rank) {
      best = i;
      best_rank = rank;
    }
  }
  return best;
}

void NamenodeLink::EnsureConnected(size_t index, ConnectedDone done) {
  Endpoint& endpoint = *endpoints_[index];
  if (endpoint.usable()) {
    done(Status());
    return;
  }
  endpoint.waiting.push_back(std::move(done));
  if (endpoint.connecting) return;
  endpoint.connecting = true;
  rpc::ConnectOptions options;
  options.timeout_ns = kConnectTimeoutNs;
  network_.Connect(endpoint.address, options,
                   [weak = weak_from_this(), index](Result<rpc::ConnectionPtr> connection) {
                     auto self = weak.lock();
                     if (self && !self->closed_) self->OnConnected(index, std::move(connection));
                   });
}

void NamenodeLink::OnConnected(size_t index, Result<rpc::ConnectionPtr> connection) {
  Endpoint& endpoint = *endpoints_[index];
  endpoint.connecting = false;
  Status status = connection.status();
  if (connection) {
    endpoint.peer = rpc::RpcPeer::Create(std::move(*connection), handler_);
    endpoint.down_until_ns = 0;
    endpoint.backoff_ns = 0;
  } else {
    endpoint.backoff_ns =
        std::clamp<int64_t>(endpoint.backoff_ns * 2, 20 * kMillisecond, kLongestDownNs);
    endpoint.down_until_ns = Now() + random_.Between(endpoint.backoff_ns / 2, endpoint.backoff_ns);
  }
  std::vector<ConnectedDone> waiting = std::move(endpoint.waiting);
  endpoint.waiting.clear();
  for (ConnectedDone& done : waiting) done(status);
}

void NamenodeLink::Connect(int64_t deadline_ns, StatusDone done) {
  auto call = std::make_shared<PendingCall>();
  call->deadline_ns = deadline_ns;
  call->only_connect = true;
  call->done = [done = std::move(done)](Result<rpc::Reply> reply) { done(reply.status()); };
  calls_.push_back(call);
  Attempt(call);
}

void NamenodeLink::Call(rpc::Method method, Buffer request, int64_t deadline_ns,
                        rpc::ReplyCallback done) {
  if (closed_) {
    done(Status(Code::kClosed, "the client was closed"));
    return;
  }
  auto call = std::make_shared<PendingCall>();
  call->method = method;
  call->request = std::move(request);
  call->deadline_ns = deadline_ns;
  call->done = std::move(done);
  calls_.push_back(call);
  Attempt(call);
}

void NamenodeLink::Attempt(const CallPtr& call) {
  if (call->finished) return;
  if (call->timer != 0) network_.executor().Cancel(std::exchange(call->timer, 0));
  const int64_t now = Now();
  if (now >= call->deadline_ns) {
    FinishTimedOut(call);
    return;
  }
  const size_t index = Pick(*call);
  if (index == kNone) {
    if (call->refusals == call->tried.size()) {
      Finish(call, call->last_error);  // nobody lets us in, and nobody will
      return;
    }
    Backoff(call, 0);
    return;
  }
  const uint64_t attempt = ++call->attempt;
  call->tried.push_back(index);
  if (endpoints_[index]->usable()) {
    SendTo(call, index, attempt);
    return;
  }
  // Waiting for a connection has its own patience: the connecting goes on behind our back.
  const bool last_hope = Pick(*call) == kNone;
  const int64_t patience =
      std::min(last_hope ? kConnectTimeoutNs : kConnectPatienceNs, call->deadline_ns - now);
  call->timer =
      network_.executor().RunAfter(patience, [weak = weak_from_this(), call, index, attempt] {
        auto self = weak.lock();
        if (!self || call->finished || call->attempt != attempt) return;
        call->timer = 0;
        self->OnFailure(call, index, Status(Code::kTimedOut, "connecting takes too long"), false);
      });
  EnsureConnected(index, [weak = weak_from_this(), call, index, attempt](Status status) {
    auto self = weak.lock();
    if (!self || call->finished || call->attempt != attempt) return;
    if (call->timer != 0) self->network_.executor().Cancel(std::exchange(call->timer, 0));
    if (status.ok()) {
      self->SendTo(call, index, attempt);
    } else {
      self->OnFailure(call, index, status, false);
    }
  });
}

void NamenodeLink::SendTo(const CallPtr& call, size_t index, uint64_t attempt) {
  if (call->only_connect) {
    Finish(call, rpc::Reply{});
    return;
  }
  const int64_t timeout = std::min(call->attempt_ns, call->deadline_ns - Now());
  endpoints_[index]->peer->Call(
      call->method, call->request, std::max<int64_t>(timeout, kMillisecond),
      [weak = weak_from_this(), call, index, attempt](Result<rpc::Reply> reply) {
        auto self = weak.lock();
        if (self && !call->finished) self->OnReply(call, index, attempt, std::move(reply));
      });
}

void NamenodeLink::OnReply(const CallPtr& call, size_t index, uint64_t attempt,
                           Result<rpc::Reply> reply) {
  if (reply.ok()) {
    leader_ = index;
    Finish(call, std::move(reply));
    if (std::exchange(last_leader_, index) != index && leader_observer_) leader_observer_();
    return;
  }
  if (!WorthRetry(reply.error().code())) {
    Finish(call, std::move(reply));
    return;
  }
  if (call->attempt == attempt) OnFailure(call, index, reply.error(), true);
}

void NamenodeLink::OnFailure(const CallPtr& call, size_t index, const Status& error,
                             bool connected) {
  if (call->last_error.ok() || !error.Is(Code::kTimedOut)) {
    call->last_error = error.WithContext(endpoints_[index]->address.ToString());
  }
  if (leader_ == index && !error.Is(Code::kOverloaded)) leader_ = kNone;
  if (!connected) {
    if (IsRefusal(error.code())) ++call->refusals;
    Attempt(call);
    return;
  }
  switch (error.code()) {
    case Code::kNotLeader:
      FollowHint(call, error.leader_hint());
      break;
    case Code::kTimedOut:
      call->attempt_ns = std::min(call->attempt_ns * 2, kLongestAttemptNs);
      Attempt(call);
      break;
    case Code::kOverloaded:
      Backoff(call, error.retry_after_ms() * kMillisecond);
      break;
    case Code::kClosed:
    case Code::kOutcomeUnknown:
      Attempt(call);
      break;
    default:  // kUnavailable: the leader itself cannot do it now
      if (error.retry_after_ms() > 0) {
        Backoff(call, error.retry_after_ms() * kMillisecond);
      } else {
        Attempt(call);
      }
      break;
  }
}

void NamenodeLink::FollowHint(const CallPtr& call, const std::string& hint) {
  if (!hint.empty()) {
    Result<rpc::Address> address = rpc::Address::Parse(hint);
    if (address) {
      call->hinted = FindOrAdd(*address);
      // A member that was asked before it knew may lead now, but only one more look a round.
      auto it = std::find(call->tried.begin(), call->tried.end(), call->hinted);
      if (it != call->tried.end()) {
        Backoff(call, 0);
        return;
      }
    }
  }
  Attempt(call);
}

void NamenodeLink::Backoff(const CallPtr& call, int64_t at_least_ns) {
  call->tried.clear();
  call->refusals = 0;
  ++call->attempt;
  int64_t delay = random_.Between(call->backoff_ns / 2, call->backoff_ns);
  call->backoff_ns = std::min(call->backoff_ns * 2, kLongestBackoffNs);
  delay = std::min(std::max(delay, at_least_ns), std::max<int64_t>(call->deadline_ns - Now(), 0));
  if (call->timer != 0) network_.executor().Cancel(std::exchange(call->timer, 0));
  call->timer = network_.executor().RunAfter(delay, [weak = weak_from_this(), call] {
    auto self = weak.lock();
    if (!self || call->finished) return;
    call->timer = 0;
    self->Attempt(call);
  });
}

void NamenodeLink::FinishTimedOut(const CallPtr& call) {
  std::string why = "no namenode answered in time";
  if (!call->last_error.ok()) why += " (" + call->last_error.ToString() + ")";
  const bool never_reached = call->only_connect;
  Finish(call, Status(never_reached ? Code::kUnavailable : Code::kTimedOut, why));
}

void NamenodeLink::Finish(const CallPtr& call, Result<rpc::Reply> result) {
  if (call->finished) return;
  call->finished = true;
  if (call->timer != 0) network_.executor().Cancel(std::exchange(call->timer, 0));
  auto it = std::find(calls_.begin(), calls_.end(), call);
  if (it != calls_.end()) {
    *it = std::move(calls_.back());
    calls_.pop_back();
  }
  rpc::ReplyCallback done = std::move(call->done);
  call->request = Buffer();
  done(std::move(result));
}

void NamenodeLink::CallMember(const rpc::Address& address, rpc::Method method, Buffer request,
                              int64_t timeout_ns, rpc::ReplyCallback done) {
  const size_t index = closed_ ? kNone : FindOrAdd(address);
  if (index == kNone) {
    done(Status(Code::kClosed, "the client was closed, or knows too many namenodes"));
    return;
  }
  struct OneCall {
    rpc::ReplyCallback done;
    Executor::TimerId timer = 0;
  };
  auto one = std::make_shared<OneCall>();
  one->done = std::move(done);
  const int64_t deadline = Now() + timeout_ns;
  auto finish = [weak = weak_from_this(), one](Result<rpc::Reply> reply) {
    if (!one->done) return;
    auto self = weak.lock();
    if (self && one->timer != 0) self->network_.executor().Cancel(one->timer);
    rpc::ReplyCallback call_done = std::move(one->done);
    one->done = nullptr;
    call_done(std::move(reply));
  };
  one->timer = network_.executor().RunAfter(timeout_ns, [one, finish] {
    one->timer = 0;
    finish(Status(Code::kTimedOut, "the namenode did not answer in time"));
  });
  EnsureConnected(index, [weak = weak_from_this(), one, finish, index, method, deadline,
                          request = std::move(request)](Status status) mutable {
    auto self = weak.lock();
    if (!self || !one->done) return;
    if (!status.ok()) {
      finish(status);
      return;
    }
    self->endpoints_[index]->peer->Call(method, std::move(request),
                                        std::max<int64_t>(deadline - self->Now(), kMillisecond),
                                        finish);
  });
}

void NamenodeLink::Tell(rpc::Method method, Buffer request) {
  if (closed_ || leader_ == kNone || !endpoints_[leader_]->usable()) return;
  endpoints_[leader_]->peer->Call(method, std::move(request), 5 * kSecond,
                                  [](Result<rpc::Reply>) {});
}

void NamenodeLink::Close() {
  if (closed_) return;
  closed_ = true;
  std::vector<CallPtr> calls = calls_;
  for (const CallPtr& call : calls) Finish(call, Status(Code::kClosed, "the client was closed"));
  for (auto& endpoint : endpoints_) {
    endpoint->waiting.clear();
    if (endpoint->peer != nullptr) endpoint->peer->Close();
  }
}

}  // namespace dfs::client
