#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/json_out.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunCount(const Arguments& arguments) {
  Verb verb(
      "count",
      "How many directories, files and bytes there are below paths; one look-up each.",
      "  dfs count /data\n  dfs count -h '/home/*'");
  bool human = false;
  std::vector<std::string> paths;
  verb.args().Flag("-h,--human-readable", &human, "Sizes such as 1.5G");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  if (!verb.json()) fmt::print("{:>12} {:>12} {:>16}  PATH\n", "DIRECTORIES", "FILES", "BYTES");
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    const std::string path = ClusterPath(typed);
    const Result<Usage> usage = client->usage(path);
    if (!usage) {
      verb.Failed("count", typed, usage.error());
      continue;
    }
    verb.Succeeded();
    if (verb.json()) {
      nlohmann::json j = {{"schema", "dfs.count/1"},
                          {"files", usage->files},
                          {"directories", usage->directories},
                          {"bytes", usage->bytes}};
      SetName(&j, "path", path);
      PrintJson(j);
    } else {
      fmt::print("{:>12} {:>12} {:>16}  {}\n", usage->directories, usage->files,
                 human ? ShortSize(usage->bytes) : std::to_string(usage->bytes), ShownName(path));
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
