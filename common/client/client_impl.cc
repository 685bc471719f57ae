#include "common/client/client_impl.h"

#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "common/client/core_setup.h"

namespace dfs {
inline namespace v1 {
namespace {

constexpr auto kBackgroundPeriod = std::chrono::milliseconds(250);
constexpr int64_t kConnectNs = 10 * kSecond;

}  // namespace

Identity Identity::OfProcess() {
  Identity identity;
  identity.uid = ::geteuid();
  identity.gid = ::getegid();
  const int count = ::getgroups(0, nullptr);
  if (count > 0) {
    std::vector<gid_t> groups(static_cast<size_t>(count));
    const int got = ::getgroups(count, groups.data());
    if (got > 0) identity.groups.assign(groups.begin(), groups.begin() + got);
  }
  return identity;
}

Result<std::shared_ptr<Client::Impl>> Client::Impl::Create(Options options) {
  DFS_ASSIGN_OR_RETURN(client::CoreSetup setup, client::SetUpCore(&options));
  // In a forked child everything is left as it is: closing would reach into the parent's connections.
  std::shared_ptr<Impl> impl(new Impl, [](Impl* raw) {
    if (!raw->in_child()) delete raw;
  });
  impl->options = std::move(options);
  impl->pid_ = ::getpid();
  impl->loop = std::make_unique<rpc::EventLoop>();
  impl->network = std::make_unique<rpc::SocketNetwork>(*impl->loop, std::move(setup.identity));
  const int64_t patience = std::min(setup.core.timeout_ns, kConnectNs);
  impl->core =
      client::ClientCore::Create(*impl->network, Random::FromSystem(), std::move(setup.core));
  Impl* raw = impl.get();
  impl->core->session().SetObserver([raw] { raw->OnSessionChange(); });
  Status connected = impl->RunStatus([raw, patience](client::StatusDone done) {
    raw->core->link().Connect(raw->core->Now() + patience, std::move(done));
  });
  if (!connected.ok()) return connected;
  return impl;
}

Client::Impl::~Impl() {
  Close();
  RunOnce();
  core.reset();
  network.reset();
}

void Client::Impl::Close() {
  if (closed_.exchange(true)) return;
  {
    std::lock_guard lock(mu_);
    stop_ = true;
  }
  wake_.notify_all();
  if (background_.joinable()) background_.join();
  // The goodbye goes out with the round; nobody waits for an answer.
  loop->Post([c = core] { c->session().Close(); });
  RunOnce();
  loop->Post([c = core] { c->Shutdown(); });
  RunOnce();
}

bool Client::Impl::in_child() const {
  return ::getpid() != pid_;
}

Status Client::Impl::Usable() const {
  if (in_child()) {
    return Status(Code::kClosed, "this client was made before fork(); connect again in the child");
  }
  if (closed_.load(std::memory_order_relaxed))
    return Status(Code::kClosed, "the client was closed");
  return Status();
}

Status Client::Impl::RunStatus(std::function<void(client::StatusDone)> start, bool poll) {
  Result<bool> result = Run<bool>(
      [start = std::move(start)](client::Done<bool> done) {
        start([done = std::move(done)](Status status) {
          if (status.ok()) {
            done(true);
          } else {
            done(std::move(status));
          }
        });
      },
      poll);
  return result.status();
}

void Client::Impl::PostPoll(std::shared_ptr<bool> polled) {
  // The second task runs in the round after the first, and between two rounds the sockets are read. (Posting
  // from within RunUntil's condition would not do: that is evaluated under the loop's own lock.)
  loop->Post([this, polled = std::move(polled)]() mutable {
    loop->Post([polled = std::move(polled)] { *polled = true; });
  });
}

void Client::Impl::RunOnce() {
  auto polled = std::make_shared<bool>(false);
  PostPoll(polled);
  loop->RunUntil([&] { return *polled; });
}

void Client::Impl::OnSessionChange() {
  std::lock_guard lock(mu_);
  session_open_ = core->session().open();
  if (session_open_ && !background_.joinable() && !stop_) {
    background_ = std::thread([this] { Background(); });
  }
  wake_.notify_all();
}

void Client::Impl::Background() {
  std::unique_lock lock(mu_);
  while (!stop_) {
    if (!session_open_) {
      wake_.wait(lock, [this] { return stop_ || session_open_; });
      continue;
    }
    if (wake_.wait_for(lock, kBackgroundPeriod, [this] { return stop_ || !session_open_; }))
      continue;
    lock.unlock();
    RunOnce();
    lock.lock();
  }
}

namespace internal {
std::string FromRoot(std::string_view path) {
  while (!path.empty() && path.front() == '/') path.remove_prefix(1);
  return std::string(path);
}
}  // namespace internal

}  // namespace v1
}  // namespace dfs
