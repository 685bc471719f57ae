// dfs fsck: asks for the replicas of every block of every file and names the files that have too few.
#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"
#include "tools/cli/worker_pool.h"

namespace dfs::cli {
namespace {

constexpr size_t kThreads = 8;

const char* StateName(BlockState state) {
  switch (state) {
    case BlockState::kOpen:
      return "open";
    case BlockState::kClosed:
      return "closed";
    case BlockState::kRecovering:
      return "recovering";
    case BlockState::kUnknown:
      return "unknown";
  }
  return "unknown";
}

/// "" when the block is well.
const char* ProblemOf(const BlockLocation& b) {
  if (b.block == 0 || (b.length == 0 && b.state != BlockState::kClosed)) return "";
  if (b.replicas.empty() && b.state != BlockState::kOpen) return "missing";
  if (!b.corrupt.empty()) return "corrupt";
  if (b.replicas.size() < b.expected_replicas) return "under_replicated";
  return "";
}

class Checker {
 public:
  Checker(Verb& verb, const Client& client, bool verbose)
      : verb_(verb), client_(client), verbose_(verbose) {}

  void CheckFile(const std::string& path);
  void Summarize();
  bool healthy() const { return missing_ + corrupt_ + under_replicated_ == 0; }
  uint64_t directories = 0;

 private:
  void Describe(const std::string& path, const FileLayout& layout);
  nlohmann::json BlockAsJson(const BlockLocation& b) const;
  void Count(std::string_view problem);

  Verb& verb_;
  const Client& client_;
  const bool verbose_;
  std::mutex mutex_;  // guards the rest
  uint64_t files_ = 0, bytes_ = 0, blocks_ = 0, inline_files_ = 0, open_files_ = 0;
  uint64_t missing_ = 0, corrupt_ = 0, under_replicated_ = 0;
  nlohmann::json found_ = nlohmann::json::array();
};

nlohmann::json Checker::BlockAsJson(const BlockLocation& b) const {
  nlohmann::json replicas = nlohmann::json::array();
  for (const ReplicaInfo& r : b.replicas) {
    replicas.push_back({{"datanode", fmt::format("{:016x}", r.datanode)},
                        {"address", r.address},
                        {"rack", r.rack}});
  }
  nlohmann::json corrupt = nlohmann::json::array();
  for (const uint64_t id : b.corrupt) corrupt.push_back(fmt::format("{:016x}", id));
  return {
      {"block", b.block},       {"slot", b.slot},     {"offset", b.offset},
      {"length", b.length},     {"stamp", b.stamp},   {"state", StateName(b.state)},
      {"replicas", replicas},   {"corrupt", corrupt}, {"expected_replicas", b.expected_replicas},
      {"problem", ProblemOf(b)}};
}

void Checker::Count(std::string_view problem) {
  if (problem == "missing") ++missing_;
  if (problem == "corrupt") ++corrupt_;
  if (problem == "under_replicated") ++under_replicated_;
}

void Checker::Describe(const std::string& path, const FileLayout& layout) {
  if (verb_.json()) {
    nlohmann::json blocks = nlohmann::json::array();
    bool problem = false;
    for (const BlockLocation& b : layout.blocks) {
      const bool bad = ProblemOf(b)[0] != 0;
      problem |= bad;
      if (bad || verbose_) blocks.push_back(BlockAsJson(b));
    }
    if (!problem && !verbose_) return;
    nlohmann::json file = {{"size", layout.status.size},
                           {"inline", layout.is_inline},
                           {"healthy", !problem},
                           {"blocks", blocks}};
    SetName(&file, "path", path);
    found_.push_back(std::move(file));
    return;
  }
  if (verbose_) {
    fmt::print("{}  {}{}{}\n", ShownName(path), HumanSize(layout.status.size),
               layout.is_inline ? "  inline" : "",
               layout.status.open_for_write ? "  open for writing" : "");
  }
  for (const BlockLocation& b : layout.blocks) {
    const std::string_view problem = ProblemOf(b);
    if (verbose_) {
      fmt::print("  block {} slot {} stamp {} {} {} replicas {}/{}{}\n", b.block, b.slot, b.stamp,
                 StateName(b.state), HumanSize(b.length), b.replicas.size(), b.expected_replicas,
                 problem.empty() ? "" : fmt::format("  {}", problem));
      for (const ReplicaInfo& r : b.replicas) {
        fmt::print("    {:016x} {} {}\n", r.datanode, r.address, r.rack);
      }
      for (const uint64_t id : b.corrupt) fmt::print("    {:016x} corrupt\n", id);
    } else if (problem == "missing") {
      fmt::print("{}: MISSING: block {} has no replica (of {})\n", ShownName(path), b.block,
                 b.expected_replicas);
    } else if (problem == "corrupt") {
      fmt::print("{}: CORRUPT: block {} has {} corrupt and {} good replicas\n", ShownName(path),
                 b.block, b.corrupt.size(), b.replicas.size());
    } else if (problem == "under_replicated") {
      fmt::print("{}: under-replicated: block {} has {} of {} replicas\n", ShownName(path), b.block,
                 b.replicas.size(), b.expected_replicas);
    }
  }
}

void Checker::CheckFile(const std::string& path) {
  const Result<FileLayout> layout = client_.locate(path);
  if (!layout) {
    if (!layout.error().Is(Code::kNotFound)) verb_.Failed("check", path, layout.error());
    return;  // removed since it was listed
  }
  const std::lock_guard<std::mutex> lock(mutex_);
  ++files_;
  bytes_ += layout->status.size;
  inline_files_ += layout->is_inline ? 1 : 0;
  open_files_ += layout->status.open_for_write ? 1 : 0;
  std::string_view worst;  // a file counts once
  for (const BlockLocation& b : layout->blocks) {
    if (b.block != 0) ++blocks_;
    const std::string_view problem = ProblemOf(b);
    if (worst.empty() || problem == "missing" || (problem == "corrupt" && worst != "missing")) {
      if (!problem.empty()) worst = problem;
    }
  }
  Count(worst);
  Describe(path, *layout);
  verb_.Succeeded();
}

void Checker::Summarize() {
  if (verb_.json()) {
    PrintJson({{"schema", "dfs.fsck/1"},
               {"healthy", healthy()},
               {"files", files_},
               {"inline_files", inline_files_},
               {"open_files", open_files_},
               {"directories", directories},
               {"bytes", bytes_},
               {"blocks", blocks_},
               {"missing_files", missing_},
               {"corrupt_files", corrupt_},
               {"under_replicated_files", under_replicated_},
               {"found", found_}});
    return;
  }
  fmt::print("Checked {} files ({} inline, {} open for writing), {} directories, {} blocks, {}: ",
             files_, inline_files_, open_files_, directories, blocks_, HumanSize(bytes_));
  if (healthy()) {
    fmt::print("healthy\n");
  } else {
    fmt::print("{} missing, {} corrupt, {} under-replicated\n", missing_, corrupt_,
               under_replicated_);
  }
}

}  // namespace

int RunFsck(const Arguments& arguments) {
  Verb verb(
      "fsck",
      "Name every file with missing, corrupt or too few replicas. Exit code 7 when there is one.",
      "  dfs fsck\n  dfs fsck -v /data/big.bin");
  bool verbose = false;
  std::vector<std::string> paths;
  verb.args().Flag("-v,--verbose", &verbose, "Every file, each block's replicas");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories (the root)", 0);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  if (paths.empty()) paths.push_back("/");
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  Checker checker(verb, *client, verbose);
  {
    WorkerPool pool(kThreads, 1024);
    for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
      WalkTree(verb, *client, typed, true, true, "check",
               [&](const std::string& path, const FileStatus& status) {
                 if (status.is_directory()) ++checker.directories;
                 if (status.is_regular())
                   pool.Submit([&checker, path] { checker.CheckFile(path); });
               });
    }
  }
  checker.Summarize();
  const int code = verb.ExitCode();
  return code == kExitOk && !checker.healthy() ? kExitData : code;
}

}  // namespace dfs::cli
