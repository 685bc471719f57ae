#include "common/client/client_impl.h"

#include <grp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <fstream>

#include "common/auth/key_file.h"
#include "common/client/discovery.h"

namespace dfs {
inline namespace v1 {
namespace {

constexpr auto kBackgroundPeriod = std::chrono::milliseconds(250);
constexpr int64_t kConnectNs = 10 * kSecond;

std::string MachineId() {
  std::ifstream file("/etc/machine-id");
  std::string id;
  std::getline(file, id);
  if (!id.empty()) return id;
  char name[256] = {};
  if (::gethostname(name, sizeof(name) - 1) == 0) return name;
  return {};
}

std::string ProgramName() {
  std::string name = program_invocation_short_name != nullptr ? program_invocation_short_name : "";
  return (name.empty() ? "client" : name) + "." + std::to_string(::getpid());
}

/// What the caller did not say: the environment, then the development cluster that runs here.
Status FindCluster(Options* options) {
  if (!options->namenodes.empty()) return Status();
  if (const char* env = std::getenv("DFS_NAMENODES"); env != nullptr && *env != '\0') {
    options->namenodes.emplace_back(env);
    return Status();
  }
  Result<client::DiscoveredCluster> found = client::DiscoverDevCluster();
  if (!found) {
    if (!found.error().Is(Code::kNotFound)) return found.error();
    return Status(Code::kInvalidArgument,
                  "no namenode addresses: set Options::namenodes or DFS_NAMENODES");
  }
  options->namenodes = found->namenodes;
  if (options->cluster_id.empty()) options->cluster_id = found->cluster_id;
  if (options->key_file.empty() && options->cluster_key.empty())
    options->key_file = found->key_file;
  return Status();
}

Result<std::vector<rpc::Address>> ParseAddresses(const std::vector<std::string>& texts) {
  std::vector<rpc::Address> addresses;
  for (const std::string& list : texts) {
    for (size_t at = 0; at <= list.size();) {
      const size_t comma = std::min(list.find(',', at), list.size());
      const std::string text = list.substr(at, comma - at);
      at = comma + 1;
      if (text.empty()) continue;
      DFS_ASSIGN_OR_RETURN(rpc::Address address, rpc::Address::Parse(text));
      addresses.push_back(std::move(address));
    }
  }
  if (addresses.empty()) {
    return Status(Code::kInvalidArgument, "no namenode addresses in Options::namenodes");
  }
  return addresses;
}

Result<std::string> ClusterKey(const Options& options) {
  if (!options.cluster_key.empty()) {
    if (options.cluster_key.size() != 32) {
      return Status(Code::kInvalidArgument, "a cluster key has 32 bytes");
    }
    return options.cluster_key;
  }
  std::string path = options.key_file;
  if (path.empty()) {
    if (const char* env = std::getenv("DFS_KEY_FILE"); env != nullptr) path = env;
  }
  if (path.empty()) return std::string();
  return LoadKeyFile(path);
}

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
  DFS_RETURN_IF_ERROR(FindCluster(&options));
  client::CoreOptions core;
  DFS_ASSIGN_OR_RETURN(core.namenodes, ParseAddresses(options.namenodes));
  DFS_ASSIGN_OR_RETURN(std::string key, ClusterKey(options));
  if (!options.caller) options.caller = Identity::OfProcess();
  core.client_name = options.client_name.empty() ? ProgramName() : options.client_name;
  if (core.client_name.size() > 255) core.client_name.resize(255);
  core.host_id = options.host_id.empty() ? MachineId() : options.host_id;
  core.uid = options.caller->uid;
  core.gid = options.caller->gid;
  core.groups = options.caller->groups;
  core.timeout_ns = std::max<int64_t>(options.timeout.count(), 1) * kMillisecond;
  core.read_ahead_bytes = std::max<size_t>(options.read_ahead_bytes, 64u << 10);
  core.write_buffer_bytes = std::max<size_t>(options.write_buffer_bytes, 64u << 10);

  auto identity = std::make_shared<rpc::NetworkIdentity>();
  identity->cluster_id = options.cluster_id;
  identity->role = rpc::Role::kClient;
  identity->cluster_key = std::move(key);
  identity->insecure = options.insecure;

  // In a forked child everything is left as it is: closing would reach into the parent's connections.
  std::shared_ptr<Impl> impl(new Impl, [](Impl* raw) {
    if (!raw->in_child()) delete raw;
  });
  impl->options = std::move(options);
  impl->pid_ = ::getpid();
  impl->loop = std::make_unique<rpc::EventLoop>();
  impl->network = std::make_unique<rpc::SocketNetwork>(*impl->loop, std::move(identity));
  const int64_t patience = std::min(core.timeout_ns, kConnectNs);
  impl->core = client::ClientCore::Create(*impl->network, Random::FromSystem(), std::move(core));
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
