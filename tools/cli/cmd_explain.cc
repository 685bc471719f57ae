// dfs explain: where a file's blocks are, what is wrong with them, and what the cluster does about it; of a directory
// how many files and blocks are in which condition.
#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"
#include "tools/cli/worker_pool.h"

namespace dfs::cli {
namespace {

constexpr size_t kThreads = 8;
constexpr const char* kSchema = "dfs.explain/1";

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

std::string NodeName(uint64_t datanode) {
  return fmt::format("{:016x}", datanode);
}

// The worse of two conditions of blocks is that of the file.
int Badness(std::string_view condition) {
  if (condition == "missing") return 5;
  if (condition == "corrupt") return 4;
  if (condition == "under_replicated") return 3;
  if (condition == "recovering") return 2;
  if (condition == "open") return 1;
  return 0;
}

bool IsProblem(std::string_view condition) {
  return Badness(condition) >= 3;
}

size_t CountGood(const BlockExplanation& b) {
  size_t good = 0;
  for (const ReplicaExplanation& r : b.replicas) {
    good += (r.replica_state == "good" || r.replica_state == "member") && r.node_state != "dead";
  }
  return good;
}

nlohmann::json BlockAsJson(const BlockExplanation& b) {
  nlohmann::json replicas = nlohmann::json::array();
  for (const ReplicaExplanation& r : b.replicas) {
    nlohmann::json out = {{"datanode", NodeName(r.datanode)},
                          {"address", r.address},
                          {"host_id", r.host_id},
                          {"rack", r.rack},
                          {"node_state", r.node_state},
                          {"last_heartbeat_ms", r.last_heartbeat_ms},
                          {"replica_state", r.replica_state}};
    if (r.stamp != 0) out["stamp"] = r.stamp;
    if (r.verified_ns) out["verified"] = IsoTime(*r.verified_ns);
    replicas.push_back(std::move(out));
  }
  nlohmann::json out = {{"schema", kSchema},
                        {"kind", "block"},
                        {"block", b.block},
                        {"slot", b.slot},
                        {"offset", b.offset},
                        {"length", b.length},
                        {"stamp", b.stamp},
                        {"state", StateName(b.state)},
                        {"expected_replicas", b.expected_replicas},
                        {"good_replicas", CountGood(b)},
                        {"condition", b.condition},
                        {"action", b.action},
                        {"why", b.why},
                        {"replicas", replicas}};
  if (b.writer_session != 0) out["writer_session"] = b.writer_session;
  return out;
}

void PrintFile(const Verb& verb, const FileExplanation& f, const std::string& path) {
  const FileStatus& s = f.status;
  if (verb.json()) {
    nlohmann::json sessions = nlohmann::json::array();
    for (const SessionInfo& session : f.sessions) {
      sessions.push_back({{"session", session.session},
                          {"client", session.client_name},
                          {"uid", session.uid}});
    }
    nlohmann::json out = StatusAsJson(s);
    out["schema"] = kSchema;
    out["kind"] = "file";
    out["inline"] = f.is_inline;
    out["sessions"] = sessions;
    SetName(&out, "path", path);
    PrintJson(out);
    return;
  }
  fmt::print("{}: inode {}, {}, {}\n", ShownName(path), s.inode, HumanSize(s.size),
             f.is_inline         ? "kept in the namenodes, no blocks"
             : f.blocks.empty()  ? "no blocks"
             : s.open_for_write  ? fmt::format("{} replicas wanted, being written", s.replication)
                                 : fmt::format("{} replicas wanted", s.replication));
  for (const SessionInfo& session : f.sessions) {
    fmt::print("  open in session {}: {}, user {}\n", session.session,
               QuoteName(session.client_name), UserName(session.uid));
  }
}

void PrintBlock(const Verb& verb, const BlockExplanation& b) {
  if (verb.json()) return PrintJson(BlockAsJson(b));
  fmt::print("  block {}, slot {} at byte {}: {}, stamp {}, {}; {} of {} replicas: {}\n", b.block,
             b.slot, b.offset, HumanSize(b.length), b.stamp, StateName(b.state), CountGood(b),
             b.expected_replicas, b.condition);
  if (b.action != "none") fmt::print("    -> {}{}{}\n", b.action, b.why.empty() ? "" : ": ", b.why);
  Table table({"", "", "", "", "", ""});
  for (const ReplicaExplanation& r : b.replicas) {
    const std::string heard =
        r.node_state == "unknown"
            ? "never heard of"
            : fmt::format("heard {} ago", HumanDuration(r.last_heartbeat_ms * 1'000'000));
    table.Row({r.replica_state, NodeName(r.datanode), r.address, r.rack, r.node_state,
               r.verified_ns ? heard + ", verified " + IsoTime(*r.verified_ns) : heard});
  }
  if (!table.empty()) std::fputs(table.ToString("    ").c_str(), stdout);
}

// A file's condition is the worst of its blocks'.
struct Counts {
  uint64_t files = 0, inline_files = 0, other = 0, directories = 0, blocks = 0, bytes = 0;
  std::map<std::string, uint64_t> files_by, blocks_by, actions;
  bool all = true;
};

class Summary {
 public:
  Summary(Verb& verb, const Client& client, bool verbose)
      : verb_(verb), client_(client), verbose_(verbose) {}

  void Walk(const std::string& path, uint64_t limit);
  void Print(const std::string& path);
  bool healthy() const;

 private:
  void CountFile(const std::string& path);

  Verb& verb_;
  const Client& client_;
  const bool verbose_;
  std::mutex mutex_;
  Counts counts_;
};

void Summary::CountFile(const std::string& path) {
  Counts mine;
  std::string worst;
  std::optional<uint64_t> slot = 0;
  bool is_inline = false;
  uint64_t size = 0;
  while (slot) {
    const Result<FileExplanation> page = client_.explain(path, *slot);
    if (!page) {
      if (!page.error().Is(Code::kNotFound)) verb_.Failed("explain", path, page.error());
      return;
    }
    is_inline = page->is_inline;
    size = page->status.size;
    for (const BlockExplanation& b : page->blocks) {
      ++mine.blocks;
      ++mine.blocks_by[b.condition];
      if (b.action != "none") ++mine.actions[b.action];
      if (worst.empty() || Badness(b.condition) > Badness(worst)) worst = b.condition;
    }
    slot = page->next_slot;
  }
  if (worst.empty()) worst = "healthy";
  const std::lock_guard<std::mutex> lock(mutex_);
  ++counts_.files;
  counts_.inline_files += is_inline ? 1 : 0;
  counts_.bytes += size;
  counts_.blocks += mine.blocks;
  ++counts_.files_by[worst];
  for (const auto& [name, n] : mine.blocks_by) counts_.blocks_by[name] += n;
  for (const auto& [name, n] : mine.actions) counts_.actions[name] += n;
  if (verbose_ && IsProblem(worst) && !verb_.json()) {
    fmt::print("{}: {}\n", ShownName(path), worst);
  }
}

void Summary::Walk(const std::string& path, uint64_t limit) {
  ListOptions options;
  options.recursive = true;
  Result<Directory> names = client_.list(path, options);
  if (!names) return verb_.Failed("list", path, names.error());
  uint64_t seen = 0;
  WorkerPool pool(kThreads, 1024);
  for (const DirEntry& e : *names) {
    if (Interrupted()) break;
    if (e.type == FileType::kRegular && ++seen > limit) {
      counts_.all = false;
      break;
    }
    if (e.type == FileType::kRegular) {
      pool.Submit([this, file = JoinPath(path, e.path)] { CountFile(file); });
    } else {
      ++(e.type == FileType::kDirectory ? counts_.directories : counts_.other);
    }
  }
  if (!names->error().ok()) verb_.Failed("list", path, names->error());
}

bool Summary::healthy() const {
  for (const auto& [condition, n] : counts_.files_by) {
    if (n > 0 && IsProblem(condition)) return false;
  }
  return true;
}

void Summary::Print(const std::string& path) {
  if (verb_.json()) {
    nlohmann::json out = {{"schema", kSchema},
                          {"kind", "directory"},
                          {"complete", counts_.all},
                          {"files", counts_.files},
                          {"inline_files", counts_.inline_files},
                          {"directories", counts_.directories},
                          {"others", counts_.other},
                          {"bytes", counts_.bytes},
                          {"blocks", counts_.blocks},
                          {"files_by_condition", counts_.files_by},
                          {"blocks_by_condition", counts_.blocks_by},
                          {"blocks_by_action", counts_.actions}};
    SetName(&out, "path", path);
    PrintJson(out);
    return;
  }
  fmt::print("{}: {} files ({} of them without blocks), {} directories, {} blocks, {}{}\n",
             ShownName(path), counts_.files, counts_.inline_files, counts_.directories,
             counts_.blocks, HumanSize(counts_.bytes),
             counts_.all ? "" : "; stopped there (--limit)");
  Table table({"", ">Files", ">Blocks"});
  for (const char* condition :
       {"healthy", "open", "recovering", "under_replicated", "corrupt", "missing"}) {
    const uint64_t files = counts_.files_by[condition], blocks = counts_.blocks_by[condition];
    if (files + blocks > 0) {
      table.Row({condition, std::to_string(files), std::to_string(blocks)});
    }
  }
  if (!table.empty()) std::fputs(table.ToString("  ").c_str(), stdout);
  for (const auto& [action, n] : counts_.actions) {
    fmt::print("  -> {} blocks: {}\n", n, action);
  }
}

/// False when something is wrong with it.
bool ExplainFile(Verb& verb, const Client& client, const std::string& path,
                 FileExplanation explained) {
  bool healthy = true;
  PrintFile(verb, explained, path);
  for (;;) {
    for (const BlockExplanation& b : explained.blocks) {
      PrintBlock(verb, b);
      healthy = healthy && !IsProblem(b.condition);
    }
    if (!explained.next_slot || Interrupted()) break;
    Result<FileExplanation> page = client.explain(path, *explained.next_slot);
    if (!page) {
      verb.Failed("explain", path, page.error());
      break;
    }
    explained = std::move(*page);
  }
  return healthy;
}

}  // namespace

int RunExplain(const Arguments& arguments) {
  Verb verb("explain",
            "Say of each block of a file where it is, what is wrong with it, and what the cluster "
            "does about that; of a directory, how many files and blocks are in which condition. "
            "Exit code 7 when something is missing, corrupt or under-replicated.",
            "  dfs explain /data/big.bin\n  dfs explain -v /data\n  dfs explain --json / | jq .");
  bool verbose = false;
  int64_t limit = 1'000'000;
  std::vector<std::string> paths;
  verb.args().Flag("-v,--verbose", &verbose, "Of a directory: name the files with problems");
  verb.args().Option("--limit", &limit, "Files to look at below a directory (1000000)", 1,
                     INT64_MAX);
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  bool healthy = true;
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    const std::string path = ClusterPath(typed);
    Result<FileExplanation> explained = client->explain(path);
    if (!explained) {
      verb.Failed("explain", typed, explained.error());
      continue;
    }
    verb.Succeeded();
    if (explained->status.is_directory()) {
      Summary summary(verb, *client, verbose);
      summary.Walk(path, static_cast<uint64_t>(limit));
      summary.Print(path);
      healthy = healthy && summary.healthy();
    } else {
      healthy = ExplainFile(verb, *client, path, std::move(*explained)) && healthy;
    }
  }
  const int code = verb.ExitCode();
  return code == kExitOk && !healthy ? kExitData : code;
}

}  // namespace dfs::cli
