#include <sys/stat.h>

#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunMkdir(const Arguments& arguments) {
  Verb verb("mkdir", "Make directories.", "  dfs mkdir -p /logs/2026/11");
  bool parents = false;
  bool verbose = false;
  std::string mode_text;
  std::vector<std::string> paths;
  verb.args().Flag("-p,--parents", &parents, "Missing parents too; no error when it exists");
  verb.args().Flag("-v,--verbose", &verbose, "Say what was made");
  verb.args().Option("-m,--mode", &mode_text, "Permissions, as chmod takes them");
  verb.args().Positionals("PATH", &paths, "Directories to make", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const mode_t mask = umask(0);
  umask(mask);
  uint32_t mode = 0777 & ~mask;
  if (!mode_text.empty() && !ParseMode(mode_text, mode, true, &mode)) {
    return verb.args().UsageError("'" + mode_text + "' is no mode such as 755 or u=rwx,go=rx");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : paths) {
    const std::string path = ClusterPath(typed);
    const Status made =
        parents ? client->create_directories(path, mode) : client->mkdir(path, mode);
    if (!made) {
      verb.Failed("make directory", typed, made);
      continue;
    }
    verb.Succeeded();
    if (verbose && !verb.json()) std::printf("made %s\n", ShownName(path).c_str());
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
