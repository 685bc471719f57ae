// Fiber: a sequence of operations of one client process. Confined to the client's node; dies with it.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "common/client/core/client_core.h"
#include "tests/sim/workload.h"

namespace dfs::sim {

class Fiber : public std::enable_shared_from_this<Fiber> {
 public:
  Fiber(Workload& workload, ClientHost& host, std::string name)
      : workload_(workload), host_(host), core_(host.core()), name_(std::move(name)) {}
  virtual ~Fiber() = default;

  void Start() { Next(0, kSecond); }
  bool idle() const { return idle_; }
  const std::string& name() const { return name_; }
  const std::string& doing() const { return doing_; }
  /// The process is gone: what was under way has an unknown outcome. Called by the world.
  virtual void OnDeath() {}

 protected:
  /// Begins one operation, which calls Next when it has ended.
  virtual void Act() = 0;
  /// While draining: ends what is open. False: nothing is left to do.
  virtual bool Finish() { return false; }

  /// Goes on after a random pause.
  void Next(int64_t least_ns = kMillisecond, int64_t most_ns = 60 * kMillisecond) {
    doing_ = "";
    auto self = weak_from_this();
    core_->executor().RunAfter(random().Between(least_ns, most_ns), [self] {
      if (auto fiber = self.lock()) fiber->Turn();
    });
  }
  void Fail(const std::string& what) { workload_.cluster().Fail(name_ + ": " + what); }
  void Doing(std::string what) {
    doing_ = std::move(what);
    workload_.cluster().Trace(name_ + " " + doing_);
  }
  /// Counts the outcome, and traces it.
  void Note(const Status& status);
  Random& random() { return workload_.cluster().random(); }

  Workload& workload_;
  ClientHost& host_;
  const std::shared_ptr<client::ClientCore> core_;

 private:
  void Turn() {
    if (idle_ || workload_.cluster().failed()) return;
    if (!workload_.draining()) {
      Act();
    } else if (!Finish()) {
      idle_ = true;
    }
  }
  const std::string name_;
  std::string doing_;
  bool idle_ = false;
};

std::shared_ptr<Fiber> MakeNameFiber(Workload& workload, ClientHost& host);
std::shared_ptr<Fiber> MakeTreeFiber(Workload& workload, ClientHost& host, TreeModel& tree);
std::shared_ptr<Fiber> MakeWriteFiber(Workload& workload, ClientHost& host);
std::shared_ptr<Fiber> MakeReadFiber(Workload& workload, ClientHost& host);
/// verify: reads each contested file once, with patience.
std::shared_ptr<Fiber> MakeContestFiber(Workload& workload, ClientHost& host, bool verify);
std::shared_ptr<Fiber> MakeSessionFiber(Workload& workload, ClientHost& host);
std::shared_ptr<Fiber> MakeOpenFiber(Workload& workload, ClientHost& host);
std::shared_ptr<Fiber> MakeLockFiber(Workload& workload, ClientHost& host);
/// Reads every file and lists every tree once, with patience, then is idle.
std::shared_ptr<Fiber> MakeVerifyFiber(Workload& workload, ClientHost& host,
                                       std::vector<TreeModel*> trees);

}  // namespace dfs::sim
