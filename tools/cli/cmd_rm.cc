#include <cstdio>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunRm(const Arguments& arguments) {
  Verb verb(
      "rm",
      "Remove files, with -r whole directories. A tree goes in one step, whatever its size; its "
      "space is given back in the background.",
      "  dfs rm /old.log\n  dfs rm -r /logs/2024");
  bool recursive = false;
  bool force = false;
  bool verbose = false;
  std::vector<std::string> paths;
  verb.args().Flag("-r,-R,--recursive", &recursive, "Directories and all that is in them");
  verb.args().Flag("-f,--force", &force, "No error when it does not exist");
  verb.args().Flag("-v,--verbose", &verbose, "Say what was removed");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "What to remove", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    const std::string path = ClusterPath(typed);
    if (path == "/") {
      verb.Failed("remove", typed, Status(Code::kNotPermitted, "it is the root"));
      continue;
    }
    Status removed;
    Usage usage{1, 0, 0};
    if (recursive) {
      const Result<Usage> result = client->remove_all(path);
      removed = result.status();
      if (result) usage = *result;
    } else {
      removed = client->unlink(path);
      if (removed.Is(Code::kIsDirectory)) {
        removed = Status(Code::kIsDirectory, "it is a directory (with -r it is removed)");
      }
    }
    if (!removed && !(force && removed.Is(Code::kNotFound))) {
      verb.Failed("remove", typed, removed);
      continue;
    }
    verb.Succeeded();
    if (verbose && removed.ok() && SpeaksHadoop()) {
      std::printf("Deleted %s\n", ShownName(path).c_str());
    } else if (verbose && removed.ok()) {
      std::printf("removed %s (%llu files, %llu directories, %s)\n", ShownName(path).c_str(),
                  static_cast<unsigned long long>(usage.files),
                  static_cast<unsigned long long>(usage.directories),
                  HumanSize(usage.bytes).c_str());
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
