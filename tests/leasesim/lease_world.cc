#include "tests/leasesim/lease_world.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/client/core/calls.h"
#include "common/client/core/client_core.h"
#include "common/idl/methods.h"
#include "tests/leasesim/effects.h"

namespace dfs::sim {

namespace {
constexpr int64_t kWatchNs = 5 * kMillisecond;
constexpr size_t kProgramsOnMount = 2;
}  // namespace

// ---- A mount ------------------------------------------------------------------------------------

Mount::Mount(LeaseWorld& world, ClientHost& host)
    : world_(world),
      host_(host),
      kernel_node_(world.cluster().scheduler().AddNode("kernel-" + host.name())) {
  host_.on_start = [this] { OnStart(); };
  host_.on_fall = [this] { OnFall(); };
  host_.node().Run([this] { OnStart(); });
  WatchTerm();
}

void Mount::OnStart() {
  ++life_;
  in_term_ = false;
  files_ = std::make_unique<fuse::FileSystem>(host_.core(), fuse::FileSystemOptions());
  kernel_ = std::make_shared<KernelModel>(kernel_node_, host_.node(), *files_,
                                          Random(world_.random().Next()));
  files_->SetKernelCache(kernel_.get());
  world_.StartPrograms(*this);
}

void Mount::OnFall() {
  world_.EndPrograms(*this);
  NoteLost();
  kernel_->Kill();
  kernel_node_.Crash();
  files_->SetKernelCache(nullptr);
  files_.reset();
  kernel_.reset();
  kernel_node_.Restart();
}

/// Nobody tells when a term ends.
void Mount::WatchTerm() {
  if (host_.up() && host_.core() != nullptr) {
    const bool now = host_.core()->leases().TermLeftNs() > 0;
    if (std::exchange(in_term_, now) && !now) {
      world_.cluster().Trace("the term of " + name() + " has ended");
      NoteLost();
    }
  }
  world_.cluster().scheduler().After(kWatchNs, [this] { WatchTerm(); });
}

void Mount::NoteSynced(uint64_t file, uint64_t when) {
  std::erase_if(unsynced_, [&](const Written& w) { return w.file == file && w.when < when; });
}

void Mount::NoteLost() {
  ++losses_;
  for (const Written& written : std::exchange(unsynced_, {})) {
    for (const std::string& thing : {written.cell, written.size}) {
      // Gone at some time, and back at some other.
      for (int i = 0; i < 2; ++i) {
        world_.Of(thing).Invoke(name() + " loses what was not synced", world_.Tick(), Set(kAny));
      }
    }
  }
}

// ---- The world ----------------------------------------------------------------------------------

LeaseWorld::LeaseWorld(Cluster& cluster) : cluster_(cluster) {}

LeaseWorld::~LeaseWorld() {
  for (auto& host : cluster_.clients()) host->on_start = host->on_fall = nullptr;
}

void LeaseWorld::Prepare() {
  plain().node().Run([this] { PrepareNext(0); });
}

void LeaseWorld::PrepareNext(size_t step) {
  client::ClientCore& core = *plain().core();
  const auto then = [this, step](const Status& status) {
    if (!status.ok() && !status.Is(Code::kAlreadyExists)) {
      cluster_.Fail("liveness: prepare: " + status.ToString());
    } else {
      PrepareNext(step + 1);
    }
  };
  static const char* const kDirectories[] = {"d1", "d2"};
  static const char* const kMade[] = {"d1/f1", "d2/f2", "d1/u"};
  if (step < 2) {
    idl::MkdirRequest request;
    request.ref.path = kDirectories[step];
    request.mode = 0755;
    core.FillCaller(&request.caller);
    client::Change<idl::kMkdir>(core, request, 0, core.Deadline(),
                                [then](const Result<idl::AttrReply>& r) { then(r.status()); });
  } else if (step < 5) {
    idl::CreateRequest request;
    request.ref.path = kMade[step - 2];
    request.mode = 0644;
    core.FillCaller(&request.caller);
    client::Change<idl::kCreate>(core, request, 0, core.Deadline(),
                                 [then](const Result<idl::CreateReply>& r) { then(r.status()); });
  } else {
    prepared_ = true;
  }
}

void LeaseWorld::Start() {
  Of("pair", History::State(std::size(kPair), kAbsent));
  Of("mode d1", {0755});
  Of("mode f1", {0644});
  Of("mtime u", {kAny});
  started_ = true;
  for (size_t i = 1; i < cluster_.clients().size(); ++i) {
    mounts_.push_back(std::make_unique<Mount>(*this, *cluster_.clients()[i]));
  }
  programs_.push_back(MakePlainProgram(*this));
  programs_.back()->Start();
}

void LeaseWorld::StartPrograms(Mount& mount) {
  for (size_t i = 0; i < kProgramsOnMount; ++i) {
    programs_.push_back(MakeMountProgram(*this, mount, i + 1));
    programs_.back()->Start();
  }
}

void LeaseWorld::EndPrograms(const Mount& mount) {
  std::erase_if(programs_, [&](const auto& program) { return program->mount() == &mount; });
}

std::string LeaseWorld::Busy() const {
  std::string busy;
  for (const auto& program : programs_) {
    if (!program->idle()) busy += " [" + program->doing() + "]";
  }
  return busy;
}

History& LeaseWorld::Of(const std::string& thing, const History::State& initial) {
  return histories_.try_emplace(thing, initial).first->second;
}

void LeaseWorld::CheckHistories() {
  for (auto& [thing, history] : histories_) {
    switch (history.Check()) {
      case History::Verdict::kLinearizable:
        break;
      case History::Verdict::kTooHard:
        ++cluster_.stats().histories_too_hard;
        break;
      case History::Verdict::kViolation:
        return cluster_.Fail(
            fmt::format("the history of {} has no order:\n{}", thing, history.Describe()));
    }
  }
}

// ---- Programs -----------------------------------------------------------------------------------

void Program::Next() {
  doing_ = "";
  const int64_t pause = random().OneIn(3) ? random().Between(0, kMillisecond)
                                          : random().Between(kMillisecond, 60 * kMillisecond);
  node_.At(node_.scheduler().now_ns() + pause, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (self == nullptr || self->world_.cluster().failed()) return;
    if (!self->world_.draining()) {
      self->Act();
    } else if (!self->Finish()) {
      self->idle_ = true;
    }
  });
}

void Program::Doing(std::string what) {
  doing_ = std::move(what);
  world_.cluster().Trace(name_ + " " + doing_);
}

void Program::Note(const Status& status) {
  SimStats& stats = world_.cluster().stats();
  ++(status.ok() ? stats.ops_ok : stats.ops_failed);
  world_.cluster().Trace(name_ + " " + doing_ + " -> " + status.ToString());
}

}  // namespace dfs::sim
