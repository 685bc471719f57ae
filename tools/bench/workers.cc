#include "tools/bench/workers.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>

#include "common/base/clock.h"

namespace dfs::bench {
namespace {

int64_t Now() {
  return SystemClock().BootNs();
}

struct Shared {
  std::atomic<int> ready;
  std::atomic<bool> go;
  std::atomic<bool> abort;
  int64_t started_ns;
  Recorder recorders[1];  // really as many as there are processes
};

void Nap(int64_t ns) {
  const timespec t{0, ns};
  nanosleep(&t, nullptr);
}

void Note(Recorder& r, const Status& status) {
  ++r.failed;
  if (r.first_error[0] == 0) {
    std::snprintf(r.first_error, sizeof(r.first_error), "%s", status.ToString().c_str());
  }
}

[[noreturn]] void RunChild(const WorkerPlan& plan, int index, Shared* shared) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  Recorder& recorder = shared->recorders[index];
  Status status;
  {
    const Result<Client> client = Client::connect(plan.client);
    status = client.status();
    if (status.ok() && plan.prepare) status = plan.prepare(*client, index);
    if (!status.ok()) Note(recorder, status);
    shared->ready.fetch_add(1);
    while (!shared->go && !shared->abort) Nap(100'000);
    recorder.started_ns = shared->started_ns;
    if (plan.seconds > 0) {
      recorder.deadline_ns = shared->started_ns + static_cast<int64_t>(plan.seconds * 1e9);
    }
    if (status.ok() && !shared->abort) plan.body(*client, index, recorder);
    recorder.ended_ns = Now();
    if (client) client->close();
  }
  std::fflush(nullptr);
  _exit(0);
}

// Waits until all are ready; false when one died before it was.
bool AwaitReady(const std::vector<pid_t>& children, Shared* shared) {
  while (shared->ready < static_cast<int>(children.size())) {
    for (const pid_t child : children) {
      siginfo_t info{};
      if (waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          info.si_pid == child) {
        return false;
      }
    }
    Nap(200'000);
  }
  return true;
}

}  // namespace

bool Recorder::TimeIsOver() const {
  return deadline_ns != 0 && Now() >= deadline_ns;
}

bool Recorder::Time(const std::function<Status()>& call) {
  const int64_t before = Now();
  if (deadline_ns != 0 && before >= deadline_ns) return false;
  const Status status = call();
  if (!status.ok()) {
    Note(*this, status);
    return false;
  }
  latency.Add(Now() - before);
  return true;
}

void Recorder::Add(int64_t ns, const Status& status) {
  static std::mutex mutex;  // of the worker's process
  const std::lock_guard<std::mutex> lock(mutex);
  if (status.ok()) {
    latency.Add(ns);
  } else {
    Note(*this, status);
  }
}

Result<WorkerTotals> RunWorkers(const WorkerPlan& plan) {
  const size_t bytes = sizeof(Shared) + sizeof(Recorder) * static_cast<size_t>(plan.processes);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Status::FromSystem(errno, "mmap");
  auto* shared = new (memory) Shared{};
  for (int i = 1; i < plan.processes; ++i) new (&shared->recorders[i]) Recorder;
  std::fflush(nullptr);
  std::vector<pid_t> children;
  Status status;
  for (int i = 0; i < plan.processes && status.ok(); ++i) {
    const pid_t pid = fork();
    if (pid == 0) RunChild(plan, i, shared);
    if (pid < 0) {
      status = Status::FromSystem(errno, "fork");
    } else {
      children.push_back(pid);
    }
  }
  if (status.ok() && !AwaitReady(children, shared)) {
    status = Status(Code::kInternal, "a client process of the benchmark died");
  }
  if (status.ok() && plan.on_start) plan.on_start();
  shared->started_ns = Now();
  if (!status.ok()) shared->abort = true;
  shared->go = true;
  int64_t ended_ns = shared->started_ns;
  for (const pid_t child : children) {
    int exit_status = 0;
    while (waitpid(child, &exit_status, 0) < 0 && errno == EINTR) {
    }
    if (exit_status != 0 && status.ok()) {
      status = Status(Code::kInternal, "a client process of the benchmark died");
    }
  }
  WorkerTotals totals;
  for (int i = 0; i < plan.processes; ++i) {
    const Recorder& r = shared->recorders[i];
    totals.latency.Merge(r.latency);
    totals.failed += r.failed;
    totals.notes.push_back(r.note);
    ended_ns = std::max(ended_ns, r.ended_ns);
    if (totals.first_error.empty()) totals.first_error = r.first_error;
  }
  totals.seconds = static_cast<double>(ended_ns - shared->started_ns) / 1e9;
  munmap(memory, bytes);
  if (!status.ok()) return status;
  return totals;
}

Status RunOnce(const Options& client, const std::function<Status(const Client&)>& body) {
  WorkerPlan plan;
  plan.client = client;
  plan.body = [&](const Client& c, int, Recorder& r) { (void)r.Time([&] { return body(c); }); };
  const Result<WorkerTotals> totals = RunWorkers(plan);
  if (!totals) return totals.error();
  if (totals->failed > 0) return Status(Code::kInternal, totals->first_error);
  return Status::Ok();
}

}  // namespace dfs::bench
