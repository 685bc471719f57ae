#include "common/rpc/socket_network.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>

#include "common/base/check.h"
#include "common/base/logging.h"
#include "common/rpc/socket_connection.h"
#include "common/rpc/stream_threads.h"

namespace dfs::rpc {

// ---- What the connections share ----

SocketNetworkImpl::SocketNetworkImpl(EventLoop& event_loop,
                                     std::shared_ptr<const NetworkIdentity> who,
                                     NetworkLimits how_much)
    : loop(event_loop),
      identity(std::move(who)),
      limits(how_much),
      scratch(std::make_unique_for_overwrite<char[]>(kScratchSize)) {}

SocketNetworkImpl::~SocketNetworkImpl() {
  DFS_CHECK(cores.empty());
}

void SocketNetworkImpl::Begin() {
  hook = loop.AddRoundHook([this] { FlushDirty(); });
  if (limits.idle_timeout_ns > 0) {
    sweep_interval_ns = std::min(sweep_interval_ns, limits.idle_timeout_ns / 4);
  }
  sweep_interval_ns =
      std::max(std::min(sweep_interval_ns, limits.stall_timeout_ns / 4), 5 * kMillisecond);
}

void SocketNetworkImpl::CloseAll(bool notify) {
  std::vector<std::shared_ptr<SocketCore>> all(cores.begin(), cores.end());
  for (const auto& core : all) {
    if (notify) {
      core->Fail(Status(Code::kClosed, "the process is shutting down"));
    } else {
      core->Close();
    }
  }
  dirty.clear();
  if (notify) return;
  shut_down = true;
  loop.Cancel(std::exchange(sweep_timer, 0));
  loop.RemoveRoundHook(hook);
}

void SocketNetworkImpl::Add(const std::shared_ptr<SocketCore>& core) {
  cores.insert(core);
  ArmSweep();
}

void SocketNetworkImpl::Remove(const std::shared_ptr<SocketCore>& core) {
  cores.erase(core);
}

void SocketNetworkImpl::FlushDirty() {
  // Callbacks may send on other connections, which then come into the list again.
  for (int pass = 0; pass < 16 && !dirty.empty(); ++pass) {
    std::vector<std::shared_ptr<SocketCore>> now;
    now.swap(dirty);
    for (const auto& core : now) core->Flush();
    now.clear();
    if (dirty.empty()) dirty.swap(now);  // keeps the capacity
  }
  if (!dirty.empty()) loop.Post([] {});  // another round
}

void SocketNetworkImpl::ArmSweep() {
  if (sweep_timer != 0 || cores.empty() || shut_down) return;
  sweep_timer = loop.RunAfter(sweep_interval_ns, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->Sweep();
  });
}

void SocketNetworkImpl::Sweep() {
  sweep_timer = 0;
  std::vector<std::shared_ptr<SocketCore>> all(cores.begin(), cores.end());
  for (const auto& core : all) core->Sweep(sweep_interval_ns);
  ArmSweep();
}

void SocketNetworkImpl::LogRefused(const std::string& who, const Status& why) {
  int64_t now_ns = loop.clock().BootNs();
  if (now_ns - last_refusal_logged_ns < kSecond) {
    ++refusals_not_logged;
    return;
  }
  last_refusal_logged_ns = now_ns;
  LogWarning("refused a connection from {}: {} ({} more since the last such line)", who,
             why.ToString(), std::exchange(refusals_not_logged, 0));
}

std::shared_ptr<SocketNetworkImpl> SocketNetworkImplOf(SocketNetwork& network) {
  return network.impl_;
}

// ---- Listening ----

namespace {

constexpr int kAcceptsPerEvent = 64;
constexpr int64_t kAcceptPauseNs = 100 * kMillisecond;

class SocketListener final : public Listener {
 public:
  /// take gets each accepted socket, and owns it.
  using Take = std::function<void(int fd)>;

  SocketListener(EventLoop& loop, int fd, Address address, Take take)
      : loop_(loop), fd_(fd), address_(std::move(address)), take_(std::move(take)) {
    struct stat st {};
    if (address_.kind == Address::Kind::kUnix && ::stat(address_.host.c_str(), &st) == 0)
      inode_ = st.st_ino;
    Watch();
  }
  ~SocketListener() override {
    if (watched_) loop_.UnwatchFd(fd_);
    loop_.Cancel(timer_);
    ::close(fd_);
    struct stat st {};
    if (inode_ != 0 && ::stat(address_.host.c_str(), &st) == 0 && st.st_ino == inode_) {
      ::unlink(address_.host.c_str());
    }
  }
  const Address& address() const override { return address_; }

 private:
  void Watch() {
    watched_ = true;
    loop_.WatchFd(fd_, EPOLLIN, [this](uint32_t) { OnReadable(); });
  }

  void OnReadable() {
    for (int i = 0; i < kAcceptsPerEvent; ++i) {
      int fd = ::accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        Take take = take_;  // the handler may destroy this listener
        std::weak_ptr<int> alive = alive_;
        take(fd);
        if (alive.expired()) return;
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        LogWarning("cannot accept on {}: {}", address_.ToString(),
                   Status::FromSystem(errno, "accept").message());
        Pause();
        return;
      } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
        return;
      }  // otherwise that client is gone already
    }
  }

  /// Without descriptors the loop would only spin.
  void Pause() {
    loop_.UnwatchFd(fd_);
    watched_ = false;
    timer_ = loop_.RunAfter(kAcceptPauseNs, [this] {
      timer_ = 0;
      Watch();
    });
  }

  EventLoop& loop_;
  const int fd_;
  const Address address_;
  const Take take_;
  ino_t inode_ = 0;
  bool watched_ = false;
  Executor::TimerId timer_ = 0;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

void RefuseOverloaded(SocketNetworkImpl& network, int fd) {
  Status why = Status(Code::kOverloaded, "too many connections").WithRetryAfter(1000);
  network.LogRefused("a client", why);
  std::string refusal = EncodeRefusal(why);
  [[maybe_unused]] ssize_t n =
      ::send(fd, refusal.data(), refusal.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(fd, SHUT_WR);
  // Its hello may be here already; unread, it would turn the close into a reset that overtakes the
  // refusal.
  char hello[kPreambleHeaderSize + kMaxPreambleBody];
  n = ::recv(fd, hello, sizeof(hello), MSG_DONTWAIT);
  ::close(fd);
}

}  // namespace

// ---- Looking up names ----

// getaddrinfo() blocks, so each look-up has a thread of its own, which outlives the network if it
// must.
struct SocketNetwork::Resolver {
  static constexpr int kMaxLookups = 16;
  std::mutex mu;
  EventLoop* loop = nullptr;  // null once the network is gone
  int lookups = 0;

  using Done = UniqueFunction<void(Result<std::vector<SocketAddress>>)>;
  static Status Start(const std::shared_ptr<Resolver>& self, const Address& address, Done done) {
    {
      std::lock_guard lock(self->mu);
      if (self->lookups >= kMaxLookups) return Status(Code::kOverloaded, "too many name look-ups");
      ++self->lookups;
    }
    std::thread([self, address, done = std::move(done)]() mutable {
      Result<std::vector<SocketAddress>> found = ResolveBlocking(address);
      std::lock_guard lock(self->mu);
      --self->lookups;
      if (self->loop == nullptr) return;
      self->loop->Post(
          [done = std::move(done), found = std::move(found)]() mutable { done(std::move(found)); });
    }).detach();
    return Status();
  }
};

// ---- SocketNetwork ----

SocketNetwork::SocketNetwork(EventLoop& loop, std::shared_ptr<const NetworkIdentity> identity,
                             NetworkLimits limits)
    : impl_(std::make_shared<SocketNetworkImpl>(loop, std::move(identity), limits)),
      resolver_(std::make_shared<Resolver>()) {
  resolver_->loop = &loop;
  impl_->Begin();
}

SocketNetwork::~SocketNetwork() {
  stream_threads_ = nullptr;
  {
    std::lock_guard lock(resolver_->mu);
    resolver_->loop = nullptr;
  }
  impl_->CloseAll(/*notify=*/false);
}

Executor& SocketNetwork::executor() {
  return impl_->loop;
}

size_t SocketNetwork::connection_count() const {
  return impl_->cores.size();
}

void SocketNetwork::Connect(const Address& address, const ConnectOptions& options,
                            ConnectDone done) {
  Result<std::vector<SocketAddress>> addresses = ToSocketAddresses(address);
  if (addresses) {
    SocketCore::Connect(impl_, std::move(*addresses), address.ToString(), options, std::move(done));
    return;
  }
  Status error = addresses.error();
  auto shared_done = std::make_shared<ConnectDone>(std::move(done));
  if (error.Is(Code::kNotFound)) {
    error = Resolver::Start(
        resolver_, address,
        [impl = impl_, address, options, shared_done](Result<std::vector<SocketAddress>> found) {
          if (impl->shut_down) return;
          if (!found) {
            (*shared_done)(found.error());
            return;
          }
          SocketCore::Connect(impl, std::move(*found), address.ToString(), options,
                              std::move(*shared_done));
        });
    if (error.ok()) return;
  }
  impl_->loop.Post([shared_done, error] { (*shared_done)(error); });
}

Result<std::unique_ptr<Listener>> SocketNetwork::Listen(const Address& address,
                                                        AcceptHandler accept) {
  Address bound;
  Result<int> fd = OpenListener(address, &bound);
  if (!fd) return fd.error();
  auto take = [impl = std::weak_ptr(impl_), accept = std::move(accept)](int socket) {
    std::shared_ptr<SocketNetworkImpl> network = impl.lock();
    if (network == nullptr || network->shut_down) {
      ::close(socket);
    } else if (network->cores.size() >= network->limits.max_connections) {
      RefuseOverloaded(*network, socket);
    } else {
      SocketCore::Accept(network, socket, [accept](Result<ConnectionPtr> connection) {
        if (connection) accept(std::move(*connection));
      });
    }
  };
  return std::unique_ptr<Listener>(
      std::make_unique<SocketListener>(impl_->loop, *fd, std::move(bound), std::move(take)));
}

Result<std::unique_ptr<Listener>> SocketNetwork::ListenForStreams(const Address& address,
                                                                  StreamAcceptHandler accept) {
  Address bound;
  Result<int> fd = OpenListener(address, &bound);
  if (!fd) return fd.error();
  if (stream_threads_ == nullptr) {
    stream_threads_ =
        std::make_unique<StreamThreads>(impl_->loop.clock(), impl_->identity, impl_->limits);
  }
  // The listener may outlive the network; the threads do not.
  auto take = [impl = std::weak_ptr(impl_), threads = stream_threads_.get(),
               accept = std::move(accept)](int socket) {
    std::shared_ptr<SocketNetworkImpl> network = impl.lock();
    if (network == nullptr || network->shut_down) {
      ::close(socket);
    } else if (!threads->Serve(socket, accept)) {
      RefuseOverloaded(*network, socket);
    }
  };
  return std::unique_ptr<Listener>(
      std::make_unique<SocketListener>(impl_->loop, *fd, std::move(bound), std::move(take)));
}

}  // namespace dfs::rpc
