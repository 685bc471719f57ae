#include <fmt/format.h>
#include <unistd.h>

#include "common/base/random.h"
#include "tools/bench/bare.h"
#include "tools/bench/parts.h"

namespace dfs::bench {
namespace {

constexpr int kListed = 100;  // entries of a directory that is listed

std::string DirectoryOf(const std::string& root, int worker) {
  return fmt::format("{}/w{}", root, worker);
}

std::string FileOf(const std::string& root, int worker, uint64_t i, char kind = 'f') {
  return fmt::format("{}/w{}/{}{}", root, worker, kind, i);
}

struct Phase {
  std::string name;
  std::function<Status(const Client&, int)> prepare;
  std::function<void(const Client&, int, Recorder&)> body;
};

// The phases of one round; made[w] is how many files worker w has, which create notes and the others use.
std::vector<Phase> Phases(const std::string& root, std::vector<uint64_t>& made) {
  const auto own_directory = [root](const Client& c, int w) {
    return c.create_directories(DirectoryOf(root, w));
  };
  std::vector<Phase> out;
  out.push_back({"create", own_directory, [root](const Client& c, int w, Recorder& r) {
                   CreateOptions create;
                   create.exclusive = true;
                   create.overwrite = false;
                   while (
                       r.Time([&] { return c.write_file(FileOf(root, w, r.note), "", create); })) {
                     ++r.note;
                   }
                 }});
  out.push_back(
      {"stat", nullptr, [root, &made](const Client& c, int w, Recorder& r) {
         Random random(static_cast<uint64_t>(w) + 1);
         while (r.Time([&] { return c.stat(FileOf(root, w, random.Uniform(made[w]))).status(); })) {
         }
       }});
  out.push_back({fmt::format("list {} entries", kListed),
                 [root](const Client& c, int w) -> Status {
                   const std::string dir = fmt::format("{}/list{}", root, w);
                   DFS_RETURN_IF_ERROR(c.create_directories(dir));
                   for (int i = 0; i < kListed; ++i) {
                     DFS_RETURN_IF_ERROR(c.write_file(fmt::format("{}/file{}", dir, i), ""));
                   }
                   return Status::Ok();
                 },
                 [root](const Client& c, int w, Recorder& r) {
                   ListOptions options;
                   options.attributes = true;
                   while (r.Time([&]() -> Status {
                     DFS_ASSIGN_OR_RETURN(Directory d,
                                          c.list(fmt::format("{}/list{}", root, w), options));
                     int seen = 0;
                     for (const DirEntry& e : d) seen += e.status ? 1 : 0;
                     if (seen != kListed) return Status(Code::kInternal, "entries are missing");
                     return d.error();
                   })) {
                   }
                 }});
  out.push_back({"rename", nullptr, [root, &made](const Client& c, int w, Recorder& r) {
                   while (r.note < made[w] && r.Time([&] {
                     return c.rename(FileOf(root, w, r.note), FileOf(root, w, r.note, 'g'));
                   })) {
                     ++r.note;
                   }
                 }});
  // What was renamed is deleted; what was not stays for the cleaning up.
  out.push_back({"delete", nullptr, [root, &made](const Client& c, int w, Recorder& r) {
                   while (r.note < made[w] &&
                          r.Time([&] { return c.unlink(FileOf(root, w, r.note, 'g')); })) {
                     ++r.note;
                   }
                 }});
  out.push_back({"mkdir", nullptr, [root](const Client& c, int w, Recorder& r) {
                   while (r.Time([&] { return c.mkdir(FileOf(root, w, r.note, 'd')); })) ++r.note;
                 }});
  return out;
}

}  // namespace

std::string BenchRoot() {
  return fmt::format("/dfs-bench-{}", getpid());
}

void RunMetadata(const Bench& bench, Report& report) {
  RunBare(bench, report);
  report.Section("Metadata: empty files, each caller a process with a directory of its own");
  const std::string root = BenchRoot();
  for (const int callers : {1, 8, 64}) {
    std::vector<uint64_t> made(static_cast<size_t>(callers), 0);
    for (const Phase& phase : Phases(root, made)) {
      WorkerPlan plan;
      plan.processes = callers;
      plan.seconds = bench.seconds;
      plan.client = bench.client;
      plan.prepare = phase.prepare;
      plan.body = phase.body;
      plan.on_start = [&] { report.Begin(); };
      const Result<WorkerTotals> totals = RunWorkers(plan);
      if (!totals) {
        report.Failed(phase.name, totals.error());
        break;
      }
      report.Calls(phase.name, callers, *totals);
      if (phase.name == "create" || phase.name == "rename") made = totals->notes;
      if (totals->failed > 0) break;
    }
    const Status removed =
        RunOnce(bench.client, [&](const Client& c) { return c.remove_all(root).status(); });
    if (!removed) report.Failed("cleaning up", removed);
  }
}

}  // namespace dfs::bench
