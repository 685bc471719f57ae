#include "common/rpc/stream_threads.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>
#include <thread>
#include <utility>

#include "common/rpc/socket_connection.h"

namespace dfs::rpc {

namespace {

/// Forwards to the real connection, and keeps the thread taken as long as it lives.
class LeasedConnection final : public Connection {
 public:
  LeasedConnection(ConnectionPtr connection, std::shared_ptr<void> lease)
      : lease_(std::move(lease)), connection_(std::move(connection)) {}

  void Start(Handler* handler) override { connection_->Start(handler); }
  void Send(const FrameHeader& header, std::vector<Buffer> parts) override {
    connection_->Send(header, std::move(parts));
  }
  void Send(const FrameHeader& header, Buffer payload) override {
    connection_->Send(header, std::move(payload));
  }
  bool passes_files() const override { return connection_->passes_files(); }
  void SendWithFile(const FrameHeader& header, Buffer payload,
                    std::shared_ptr<File> file) override {
    connection_->SendWithFile(header, std::move(payload), std::move(file));
  }
  void AcceptFiles() override { connection_->AcceptFiles(); }
  std::shared_ptr<File> TakeFile() override { return connection_->TakeFile(); }
  size_t queued_bytes() const override { return connection_->queued_bytes(); }
  size_t send_window() const override { return connection_->send_window(); }
  void PauseReading(bool paused) override { connection_->PauseReading(paused); }
  void Close() override { connection_->Close(); }
  const PeerIdentity& peer() const override { return connection_->peer(); }
  Executor& executor() override { return connection_->executor(); }

 private:
  std::shared_ptr<void> lease_;  // released after the connection
  ConnectionPtr connection_;
};

}  // namespace

struct StreamThreads::Worker {
  explicit Worker(const Clock& clock) : loop(clock) {}
  EventLoop loop;
  std::shared_ptr<SocketNetworkImpl> connections;
  std::unique_ptr<SocketNetwork> network;
  std::thread thread;
  uint64_t idle_round = 0;  // confined to the loop
  bool finished = false;    // under mu_
};

StreamThreads::StreamThreads(const Clock& clock, std::shared_ptr<const NetworkIdentity> identity,
                             NetworkLimits limits)
    : clock_(clock), identity_(std::move(identity)), limits_(limits) {}

StreamThreads::~StreamThreads() {
  std::vector<std::unique_ptr<Worker>> workers;
  {
    std::lock_guard lock(mu_);
    stopping_ = true;
    idle_.clear();
    for (const auto& worker : workers_) worker->loop.Stop();
    workers.swap(workers_);
  }
  for (const auto& worker : workers) worker->thread.join();
  *alive_ = false;
}

size_t StreamThreads::thread_count() const {
  std::lock_guard lock(mu_);
  return workers_.size();
}

bool StreamThreads::Serve(int fd, const Network::StreamAcceptHandler& accept) {
  JoinFinished();
  Worker* worker = nullptr;
  {
    std::lock_guard lock(mu_);
    if (stopping_) return false;
    if (!idle_.empty()) {
      worker = idle_.back();  // the one that is warmest
      idle_.pop_back();
    } else if (workers_.size() < limits_.max_connections) {
      workers_.push_back(std::make_unique<Worker>(clock_));
      worker = workers_.back().get();
      try {
        worker->thread = std::thread([this, worker] { Run(worker); });
      } catch (const std::system_error&) {  // the system's limit is below ours
        workers_.pop_back();
        return false;
      }
    } else {
      return false;
    }
  }
  worker->loop.Post([this, worker, fd, accept] { Accept(worker, fd, accept); });
  return true;
}

void StreamThreads::Run(Worker* worker) {
  ::pthread_setname_np(::pthread_self(), "dfs-stream");
  worker->network = std::make_unique<SocketNetwork>(worker->loop, identity_, limits_);
  worker->connections = SocketNetworkImplOf(*worker->network);
  worker->loop.Run();
  worker->connections->CloseAll(/*notify=*/true);
  worker->loop.RunUntil(
      [] { return true; });  // what the handlers posted to release their connections
  worker->connections = nullptr;
  worker->network = nullptr;
}

void StreamThreads::Accept(Worker* worker, int fd, const Network::StreamAcceptHandler& accept) {
  ++worker->idle_round;
  // Goes with the connection, or with the callback when the handshake fails; both on the worker's
  // thread.
  std::shared_ptr<void> lease(static_cast<void*>(worker), [this, worker, alive = alive_](void*) {
    if (*alive) BecomeIdle(worker);
  });
  SocketCore::Accept(
      worker->connections, fd, [worker, accept, lease](Result<ConnectionPtr> connection) mutable {
        if (!connection) return;
        accept(std::make_unique<LeasedConnection>(std::move(*connection), std::move(lease)),
               *worker->network);
      });
}

void StreamThreads::BecomeIdle(Worker* worker) {
  {
    std::lock_guard lock(mu_);
    if (stopping_ || worker->finished) return;
    idle_.push_back(worker);
  }
  uint64_t round = ++worker->idle_round;
  worker->loop.RunAfter(limits_.thread_idle_ns,
                        [this, worker, round] { EndIfIdle(worker, round); });
}

void StreamThreads::EndIfIdle(Worker* worker, uint64_t idle_round) {
  if (worker->idle_round != idle_round) return;
  std::lock_guard lock(mu_);
  auto it = std::find(idle_.begin(), idle_.end(), worker);
  if (it == idle_.end()) return;  // a connection is on its way
  idle_.erase(it);
  worker->finished = true;
  worker->loop.Stop();
}

void StreamThreads::JoinFinished() {
  std::vector<std::unique_ptr<Worker>> finished;
  {
    std::lock_guard lock(mu_);
    for (auto& worker : workers_) {
      if (worker->finished) finished.push_back(std::move(worker));
    }
    std::erase(workers_, nullptr);
  }
  for (const auto& worker : finished) worker->thread.join();
}

}  // namespace dfs::rpc
