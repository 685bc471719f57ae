#include <fmt/format.h>

#include <cstdio>

#include "common/auth/key_file.h"
#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunKeygen(const Arguments& arguments) {
  Args args(
      "keygen",
      "Make a cluster key: a new file, readable by its owner only. Every daemon, and every client "
      "that comes over TCP, needs a copy.",
      "  dfs keygen /etc/dfs/cluster.key && chown dfs:dfs /etc/dfs/cluster.key");
  bool if_missing = false;
  std::string path;
  args.Flag("--if-missing", &if_missing, "Leave a key that is there alone");
  args.Positional("FILE", &path, "The local file");
  if (const auto code = args.Parse(arguments)) return *code;
  const Result<std::string> made = if_missing ? LoadOrCreateKeyFile(path) : CreateKeyFile(path);
  if (made) return kExitOk;
  PrintError(false, "make the key", path, made.error());
  return ExitCodeOf(made.error());
}

}  // namespace dfs::cli
