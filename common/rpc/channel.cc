#include "common/rpc/channel.h"

#include <algorithm>
#include <deque>
#include <utility>

namespace dfs::rpc {

// Owned by the channel; the network, timers and peers know it weakly, so it may go at any time.
struct Channel::Impl : std::enable_shared_from_this<Channel::Impl> {
  struct Waiting {
    Method method;
    Buffer request;
    int64_t deadline_ns;  // 0: none
    uint64_t min_applied_index;
    ReplyCallback done;
  };

  Impl(Network& net, Address to, RequestHandler* h, uint64_t seed, BackoffPolicy p)
      : network(net), address(std::move(to)), handler(h), policy(p), random(seed) {}

  Executor& executor() { return network.executor(); }
  int64_t Now() { return executor().clock().BootNs(); }
  bool Connected() const { return peer != nullptr && !peer->closed(); }

  void Call(Method method, Buffer request, int64_t timeout_ns, ReplyCallback done,
            uint64_t min_applied) {
    if (Connected()) {
      peer->Call(method, std::move(request), timeout_ns, std::move(done), min_applied);
      return;
    }
    if (waiting.size() >= RpcPeer::kMaxInFlight) {
      executor().Post([done = std::move(done)]() mutable {
        done(Status(Code::kOverloaded, "too many calls wait for the connection"));
      });
      return;
    }
    int64_t deadline_ns = timeout_ns > 0 ? Now() + std::min(timeout_ns, INT64_MAX / 2) : 0;
    waiting.push_back({method, std::move(request), deadline_ns, min_applied, std::move(done)});
    if (deadline_ns != 0) ArmDeadline(deadline_ns);
    BeginConnecting();
  }

  /// Connects as soon as the back-off allows.
  void BeginConnecting() {
    if (closed || connecting || retry_timer != 0 || Connected()) return;
    int64_t wait_ns = std::max<int64_t>(not_before_ns - Now(), 0);
    if (wait_ns == 0) {
      Connect();
      return;
    }
    retry_timer = executor().RunAfter(wait_ns, [weak = weak_from_this()] {
      auto self = weak.lock();
      if (self == nullptr || self->closed) return;
      self->retry_timer = 0;
      self->Connect();
    });
  }

  void Connect() {
    connecting = true;
    uint64_t attempt = ++attempts;
    network.Connect(address, ConnectOptions(),
                    [weak = weak_from_this(), attempt](Result<ConnectionPtr> result) {
                      auto self = weak.lock();
                      // After a Reset or the channel's end the result is of no use; a connection
                      // closes as it is dropped.
                      if (self == nullptr || self->closed || self->attempts != attempt) return;
                      self->connecting = false;
                      if (result) {
                        self->OnConnected(std::move(*result));
                      } else {
                        self->OnConnectFailed(result.error());
                      }
                    });
  }

  void OnConnected(ConnectionPtr connection) {
    connected_at_ns = Now();
    peer = RpcPeer::Create(std::move(connection), handler);
    std::shared_ptr<RpcPeer> made = peer;
    made->on_closed = [weak = weak_from_this(), raw = made.get()](const Status&) {
      auto self = weak.lock();
      if (self == nullptr || self->closed || self->peer.get() != raw) return;
      self->OnDisconnected();
    };
    executor().Cancel(std::exchange(deadline_timer, 0));
    if (on_connected) {
      auto call = on_connected;  // it may be replaced meanwhile
      call(*made);
    }
    // What has waited goes out after what on_connected sent: it may be what introduces us.
    int64_t now_ns = Now();
    std::deque<Waiting> ready = std::exchange(waiting, {});
    for (Waiting& call : ready) {
      int64_t timeout_ns =
          call.deadline_ns == 0 ? 0 : std::max<int64_t>(call.deadline_ns - now_ns, 1);
      made->Call(call.method, std::move(call.request), timeout_ns, std::move(call.done),
                 call.min_applied_index);
    }
  }

  void OnConnectFailed(const Status& why) {
    Postpone();
    FailWaiting(why);
    if (keep_connected && !closed) BeginConnecting();
  }

  void OnDisconnected() {
    peer = nullptr;
    // A server that takes connections only to drop them is no better than one that refuses them.
    if (Now() - connected_at_ns >= policy.max_ns) backoff_ns = 0;
    Postpone();
    if (keep_connected || !waiting.empty()) BeginConnecting();
  }

  /// Sets the earliest time of the next attempt: back-off doubles, of which a random half is taken.
  void Postpone() {
    backoff_ns = backoff_ns == 0 ? policy.initial_ns : std::min(backoff_ns * 2, policy.max_ns);
    not_before_ns = Now() + random.Between(backoff_ns / 2, backoff_ns);
  }

  void FailWaiting(const Status& why) {
    executor().Cancel(std::exchange(deadline_timer, 0));
    std::deque<Waiting> failed = std::exchange(waiting, {});
    for (Waiting& call : failed) call.done(why);
  }

  void ArmDeadline(int64_t deadline_ns) {
    if (deadline_timer != 0 && deadline_timer_ns <= deadline_ns) return;
    executor().Cancel(deadline_timer);
    deadline_timer_ns = deadline_ns;
    deadline_timer =
        executor().RunAfter(std::max<int64_t>(deadline_ns - Now(), 0), [weak = weak_from_this()] {
          auto self = weak.lock();
          if (self == nullptr) return;
          self->deadline_timer = 0;
          self->ExpireWaiting();
        });
  }

  void ExpireWaiting() {
    int64_t now_ns = Now();
    std::deque<Waiting> all = std::exchange(waiting, {});
    std::vector<ReplyCallback> expired;
    for (Waiting& call : all) {
      if (call.deadline_ns != 0 && call.deadline_ns <= now_ns) {
        expired.push_back(std::move(call.done));
      } else {
        if (call.deadline_ns != 0) ArmDeadline(call.deadline_ns);
        waiting.push_back(std::move(call));
      }
    }
    for (ReplyCallback& done : expired) {
      done(Status(Code::kUnavailable, "no connection to " + address.ToString() + " in time"));
    }
  }

  void Reset() {
    ++attempts;  // of an attempt in progress nothing is heard any more
    connecting = false;
    std::shared_ptr<RpcPeer> dropped = std::exchange(peer, nullptr);
    if (dropped != nullptr) {
      dropped->on_closed = nullptr;
      dropped->Close();
    }
    if (!closed && (keep_connected || !waiting.empty())) BeginConnecting();
  }

  void Shutdown() {
    closed = true;
    executor().Cancel(std::exchange(retry_timer, 0));
    Reset();
    FailWaiting(Status(Code::kClosed, "the channel was closed"));
  }

  Network& network;
  const Address address;
  RequestHandler* const handler;
  const BackoffPolicy policy;
  Random random;
  std::shared_ptr<RpcPeer> peer;
  std::function<void(RpcPeer&)> on_connected;
  std::deque<Waiting> waiting;
  bool keep_connected = false;
  bool connecting = false;
  bool closed = false;
  uint64_t attempts = 0;
  int64_t connected_at_ns = 0;
  int64_t backoff_ns = 0;
  int64_t not_before_ns = 0;
  Executor::TimerId retry_timer = 0;
  Executor::TimerId deadline_timer = 0;
  int64_t deadline_timer_ns = 0;
};

Channel::Channel(Network& network, Address address, RequestHandler* handler, uint64_t jitter_seed,
                 BackoffPolicy policy)
    : impl_(std::make_shared<Impl>(network, std::move(address), handler, jitter_seed, policy)) {}

Channel::~Channel() {
  impl_->Shutdown();
}

void Channel::Call(Method method, Buffer request, int64_t timeout_ns, ReplyCallback done,
                   uint64_t min_applied_index) {
  std::shared_ptr<Impl> impl = impl_;  // a callback may destroy the channel
  impl->Call(method, std::move(request), timeout_ns, std::move(done), min_applied_index);
}

void Channel::OneWay(Method method, Buffer message) {
  if (impl_->Connected()) {
    impl_->peer->OneWay(method, std::move(message));
  } else {
    impl_->BeginConnecting();
  }
}

void Channel::KeepConnected(std::function<void(RpcPeer&)> on_connected) {
  impl_->on_connected = std::move(on_connected);
  impl_->keep_connected = true;
  if (impl_->Connected()) {
    std::shared_ptr<Impl> impl = impl_;
    if (impl->on_connected) impl->on_connected(*impl->peer);
  } else {
    impl_->BeginConnecting();
  }
}

bool Channel::connected() const {
  return impl_->Connected();
}

std::shared_ptr<RpcPeer> Channel::peer() const {
  return impl_->Connected() ? impl_->peer : nullptr;
}

const Address& Channel::address() const {
  return impl_->address;
}

void Channel::Reset() {
  std::shared_ptr<Impl> impl = impl_;
  impl->Reset();
}

}  // namespace dfs::rpc
