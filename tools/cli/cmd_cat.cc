#include <unistd.h>

#include <cerrno>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/stdio_copy.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunCat(const Arguments& arguments) {
  Verb verb("cat", "Write files to standard output, one after the other.");
  std::vector<std::string> paths;
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    Result<Reader> reader = client->open(ClusterPath(typed));
    Status done = reader.status();
    if (reader) done = CopyToStdout(*reader);
    if (done.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed("read", typed, done);
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
