#include "tests/sim/workload.h"

#include <fmt/core.h>

#include "common/base/check.h"
#include "tests/sim/fiber.h"

namespace dfs::sim {

namespace {
constexpr size_t kFiles = 6;
constexpr size_t kNames = 4;
}  // namespace

bool OutcomeUnknown(const Status& status) {
  switch (status.code()) {
    case Code::kTimedOut:
    case Code::kUnavailable:
    case Code::kNotLeader:
    case Code::kOverloaded:
    case Code::kOutcomeUnknown:
    case Code::kClosed:
    case Code::kCancelled:
    case Code::kUnknownSession:
    case Code::kStaleSequence:
      return true;
    default:
      return false;
  }
}

void Fiber::Note(const Status& status) {
  SimStats& stats = workload_.cluster().stats();
  if (status.ok()) {
    ++stats.ops_ok;
  } else if (OutcomeUnknown(status)) {
    ++stats.ops_unknown;
  } else {
    ++stats.ops_failed;
  }
  workload_.cluster().Trace(name_ + " " + doing_ + " -> " + status.ToString());
}

Workload::Workload(Cluster& cluster) : cluster_(cluster) {
  for (size_t i = 0; i < kFiles; ++i) {
    files_.push_back(std::make_unique<SharedFile>(i + 1));
    files_.back()->path = "/file" + std::to_string(i + 1);
  }
  locked_ = {{"/lock1", 0, {}}, {"/lock2", 0, {}}};
  contested_.resize(2);
  contested_[0] = {"/contest1", 64, {}};    // inline
  contested_[1] = {"/contest2", 3000, {}};  // a block
  for (size_t i = 0; i < kNames; ++i) names_["/name" + std::to_string(i + 1)];
  for (size_t i = 0; i < cluster.clients().size(); ++i) {
    trees_.push_back(std::make_unique<TreeModel>());
    trees_.back()->root = "/tree" + std::to_string(i + 1);
  }
  fibers_.resize(cluster.clients().size());
}

Workload::~Workload() {
  for (auto& host : cluster_.clients()) host->on_start = host->on_fall = nullptr;
}

void Workload::Start() {
  for (size_t i = 0; i < cluster_.clients().size(); ++i) {
    ClientHost& host = *cluster_.clients()[i];
    host.on_start = [this, i] { OnClientStart(i); };
    host.on_fall = [this, i] { OnClientFall(i); };
    if (host.up()) host.node().Run([&] { OnClientStart(i); });
  }
}

void Workload::OnClientStart(size_t client) {
  ClientHost& host = *cluster_.clients()[client];
  auto& fibers = fibers_[client];
  DFS_CHECK(fibers.empty());
  fibers.push_back(MakeNameFiber(*this, host));
  fibers.push_back(MakeTreeFiber(*this, host, *trees_[client]));
  fibers.push_back(MakeWriteFiber(*this, host));
  fibers.push_back(MakeReadFiber(*this, host));
  fibers.push_back(MakeContestFiber(*this, host, /*verify=*/false));
  fibers.push_back(MakeSessionFiber(*this, host));
  fibers.push_back(MakeOpenFiber(*this, host));
  fibers.push_back(MakeLockFiber(*this, host));
  for (auto& fiber : fibers) fiber->Start();
}

void Workload::OnClientFall(size_t client) {
  for (auto& fiber : fibers_[client]) fiber->OnDeath();
  fibers_[client].clear();
}

bool Workload::Idle() const {
  return BusyFibers().empty();
}

std::string Workload::BusyFibers() const {
  std::string busy;
  for (const auto& fibers : fibers_) {
    for (const auto& fiber : fibers) {
      if (!fiber->idle()) busy += fmt::format(" [{}: {}]", fiber->name(), fiber->doing());
    }
  }
  return busy;
}

void Workload::Verify() {
  ClientHost& host = *cluster_.clients()[0];
  std::vector<TreeModel*> trees;
  for (auto& tree : trees_) trees.push_back(tree.get());
  host.node().Run([&] {
    verifiers_.push_back(MakeVerifyFiber(*this, host, trees));
    verifiers_.push_back(MakeContestFiber(*this, host, /*verify=*/true));
    for (auto& verifier : verifiers_) verifier->Start();
  });
}

bool Workload::Verified() const {
  for (const auto& fiber : verifiers_) {
    if (!fiber->idle()) return false;
  }
  return !verifiers_.empty();
}

void Workload::CheckHistories() {
  for (auto& [name, history] : names_) {
    switch (history.Check()) {
      case NameHistory::Verdict::kLinearizable:
        break;
      case NameHistory::Verdict::kTooHard:
        ++cluster_.stats().histories_too_hard;
        break;
      case NameHistory::Verdict::kViolation:
        cluster_.Fail(
            fmt::format("the history of {} is not linearizable:\n{}", name, history.Describe()));
        return;
    }
  }
}

}  // namespace dfs::sim
