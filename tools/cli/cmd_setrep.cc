#include <time.h>

#include <charconv>
#include <cstdio>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// Whether every block of the file has just as many replicas as the file is to have.
Result<bool> HasItsReplicas(const Client& client, const std::string& path) {
  DFS_ASSIGN_OR_RETURN(const FileLayout layout, client.locate(path));
  for (const BlockLocation& b : layout.blocks) {
    if (b.block == 0 || (b.length == 0 && b.state != BlockState::kClosed)) continue;
    if (b.replicas.size() != b.expected_replicas) return false;
  }
  return true;
}

Status WaitFor(const Client& client, const std::string& path) {
  while (true) {
    DFS_ASSIGN_OR_RETURN(const bool done, HasItsReplicas(client, path));
    if (done) return Status::Ok();
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
    const timespec pause{0, 200'000'000};
    nanosleep(&pause, nullptr);
  }
}

}  // namespace

int RunSetrep(const Arguments& arguments) {
  Verb verb(
      "setrep",
      "Set how many replicas files have; of a directory, all files in it. Copies are made and "
      "removed in the background.",
      "  dfs setrep 3 /important\n  dfs setrep -w 2 /data/big.bin");
  bool wait = false;
  bool recursive = false;
  int64_t replication = 0;
  std::string number;
  std::vector<std::string> paths;
  verb.args().Flag("-w,--wait", &wait, "Until every block has that many");
  verb.args().Flag("-R,--recursive", &recursive, "Taken for compatibility: always so");
  verb.TakesGlobs();
  verb.args().Positional("N", &number, "Replicas, 1 to 64");
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const auto [end, error] =
      std::from_chars(number.data(), number.data() + number.size(), replication);
  if (error != std::errc() || end != number.data() + number.size() || replication < 1 ||
      replication > 64) {
    return verb.args().UsageError("'" + number + "' is not a number of replicas from 1 to 64");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  std::vector<std::string> waiting;
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    WalkTree(verb, *client, typed, true, true, "set the replication of",
             [&](const std::string& path, const FileStatus& status) {
               if (!status.is_regular()) return;
               const Status done =
                   client->set_replication(path, static_cast<uint32_t>(replication));
               if (!done) {
                 verb.Failed("set the replication of", path, done);
                 return;
               }
               verb.Succeeded();
               if (wait) waiting.push_back(path);
             });
  }
  for (const std::string& path : waiting) {
    const Status done = WaitFor(*client, path);
    if (!done && !done.Is(Code::kNotFound)) verb.Failed("wait for the replicas of", path, done);
    if (Interrupted()) break;
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
