#include <cstdio>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunMv(const Arguments& arguments) {
  Verb verb("mv", "Rename, or move into a directory. Each move is one atomic step on the server.",
            "  dfs mv /a/draft.txt /a/final.txt\n  dfs mv /in/1 /in/2 /done/");
  bool no_clobber = false;
  bool no_target_directory = false;
  bool force = false;
  bool verbose = false;
  std::vector<std::string> paths;
  verb.args().Flag("-f,--force", &force, "Replace what exists (the default)");
  verb.args().Flag("-n,--no-clobber", &no_clobber, "Fail when the target exists");
  verb.args().Flag("-T,--no-target-directory", &no_target_directory,
                   "Take the target as the new name even when it is a directory");
  verb.args().Flag("-v,--verbose", &verbose, "Say what was moved");
  verb.TakesGlobs();
  verb.args().Positionals("SOURCE... TARGET", &paths, "What to move, and where to", 2);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  if (no_target_directory && paths.size() != 2) {
    return verb.args().UsageError("-T takes one source and one target");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const std::string typed_target = paths.back();
  paths.pop_back();
  paths = ExpandGlobs(verb, *client, paths);
  const std::string target = ClusterPath(typed_target);
  bool into = false;
  if (!no_target_directory) {
    const Result<FileStatus> status = client->stat(target);
    into = status && status->is_directory();
    if (!into && (paths.size() > 1 || (NamesDirectory(typed_target) && paths.size() == 1))) {
      const Status why = status || status.error().Is(Code::kNotFound)
                             ? Status(Code::kNotDirectory, "it is not a directory")
                             : status.error();
      // A new name with a slash at its end is fine for a directory.
      const Result<FileStatus> source = paths.size() == 1 && !status
                                            ? client->lstat(ClusterPath(paths[0]))
                                            : Result<FileStatus>(why);
      if (!source || !source->is_directory()) {
        verb.Failed("move to", typed_target, why);
        return verb.ExitCode();
      }
    }
  }
  for (const std::string& typed : paths) {
    const std::string from = ClusterPath(typed);
    const std::string to = into ? JoinPath(target, BaseName(from)) : target;
    const Status moved =
        client->rename(from, to, no_clobber ? RenameMode::kNoReplace : RenameMode::kReplace);
    if (!moved) {
      verb.Failed("move", typed, moved);
      continue;
    }
    verb.Succeeded();
    if (verbose && !verb.json()) {
      std::printf("%s -> %s\n", ShownName(from).c_str(), ShownName(to).c_str());
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
