// How long nobody is served when the leader is killed: a process makes files one after the other and notes
// the longest time between two answers; the leader is killed in between.
#include <fmt/format.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <new>

#include "common/base/clock.h"
#include "tools/bench/parts.h"

namespace dfs::bench {
namespace {

int64_t Now() {
  return SystemClock().BootNs();
}

void Nap(int64_t ms) {
  const timespec t{ms / 1000, (ms % 1000) * 1'000'000};
  nanosleep(&t, nullptr);
}

struct Probe {
  std::atomic<int64_t> last_answer_ns;
  std::atomic<int64_t> longest_gap_ns;  // reset by the parent before each kill
  std::atomic<uint64_t> answers;
  std::atomic<uint64_t> errors;
  std::atomic<bool> stop;
};

[[noreturn]] void RunProbe(const Options& options, const std::string& root, Probe* probe) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  {
    const Result<Client> client = Client::connect(options);
    if (!client || !client->create_directories(root).ok()) _exit(1);
    probe->last_answer_ns = Now();
    CreateOptions create;
    create.exclusive = true;
    create.overwrite = false;
    for (uint64_t i = 0; !probe->stop; ++i) {
      if (!client->write_file(fmt::format("{}/{}", root, i), "", create).ok()) ++probe->errors;
      const int64_t now = Now();
      const int64_t gap = now - probe->last_answer_ns;
      probe->last_answer_ns = now;
      if (gap > probe->longest_gap_ns) probe->longest_gap_ns = gap;
      ++probe->answers;
    }
    client->close();
  }
  _exit(0);
}

// Kills the leader once; the time without an answer.
Result<int64_t> KillOnce(dev::DevCluster& cluster, Probe* probe) {
  DFS_ASSIGN_OR_RETURN(const dev::Member leader, cluster.Resolve("leader"));
  probe->longest_gap_ns = 0;
  const uint64_t before = probe->answers;
  DFS_RETURN_IF_ERROR(cluster.Kill(leader));
  const int64_t killed_ns = Now();
  // Service is back when answers flow again, not at the first that was on its way already.
  while (probe->answers < before + 50 || probe->longest_gap_ns < 20 * kMillisecond) {
    if (Now() - killed_ns > 120 * kSecond) {
      return Status(Code::kTimedOut, "no service two minutes after the leader was killed");
    }
    Nap(5);
  }
  const int64_t gap = probe->longest_gap_ns;
  DFS_RETURN_IF_ERROR(cluster.Start({leader.name}, nullptr));
  DFS_RETURN_IF_ERROR(cluster.WaitUntilHealthy(120 * kSecond));
  // The member that came back catches up, so that the next kill leaves a majority in step.
  Nap(300);
  return gap;
}

}  // namespace

void RunFailover(const Bench& bench, Report& report, int kills) {
  report.Section(
      fmt::format("Fail-over: the leader is killed {} times under a writing client", kills));
  if (bench.cluster == nullptr || bench.cluster->layout().CountOf(true) < 3) {
    report.Failed(
        "fail-over",
        Status(Code::kNotSupported, "needs a development cluster of three namenodes (--dev DIR)"));
    return;
  }
  void* memory =
      mmap(nullptr, sizeof(Probe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return report.Failed("fail-over", Status::FromSystem(errno, "mmap"));
  auto* probe = new (memory) Probe{};
  const std::string root = BenchRoot();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) RunProbe(bench.client, root, probe);
  Histogram gaps;
  Status status;
  while (probe->answers < 50 && waitpid(child, nullptr, WNOHANG) == 0) Nap(5);
  for (int i = 0; i < kills && status.ok(); ++i) {
    const Result<int64_t> gap = KillOnce(*bench.cluster, probe);
    status = gap.status();
    if (gap) gaps.Add(*gap);
  }
  probe->stop = true;
  waitpid(child, nullptr, 0);
  const auto ms = [](int64_t ns) { return static_cast<double>(ns) / 1e6; };
  report.Number("time without service, median", ms(gaps.Percentile(0.5)), "ms",
                {{"kills", static_cast<double>(gaps.total)},
                 {"p90", ms(gaps.Percentile(0.9))},
                 {"p99", ms(gaps.Percentile(0.99))},
                 {"max", ms(gaps.max_ns)},
                 {"errors_seen_by_client", static_cast<double>(probe->errors)}});
  if (!status) report.Failed("fail-over", status);
  if (probe->errors > 0) {
    report.Failed("fail-over", Status(Code::kInternal, "the client saw errors"));
  }
  munmap(memory, sizeof(Probe));
  const Status removed =
      RunOnce(bench.client, [&](const Client& c) { return c.remove_all(root).status(); });
  if (!removed) report.Failed("cleaning up", removed);
}

}  // namespace dfs::bench
