#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunChmod(const Arguments& arguments) {
  Verb verb("chmod", "Set permissions.", "  dfs chmod 640 /a\n  dfs chmod -R u+rwX,go-w /data");
  bool recursive = false;
  std::string mode_text;
  std::vector<std::string> paths;
  verb.args().Flag("-R,--recursive", &recursive, "All that is in a directory, too");
  verb.args().Positional("MODE", &mode_text, "Octal, or as u+x,go-w");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files and directories", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  uint32_t ignored = 0;
  if (!ParseMode(mode_text, 0, false, &ignored)) {
    return verb.args().UsageError("'" + mode_text + "' is no mode such as 644 or u+x,go-w");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  for (const std::string& typed : ExpandGlobs(verb, *client, paths)) {
    WalkTree(verb, *client, typed, recursive, true, "change the mode of",
             [&](const std::string& path, const FileStatus& status) {
               if (status.is_symlink()) return;
               uint32_t mode = 0;
               ParseMode(mode_text, status.mode, status.is_directory(), &mode);
               const Status done = client->chmod(path, mode);
               if (done.ok()) {
                 verb.Succeeded();
               } else {
                 verb.Failed("change the mode of", path, done);
               }
             });
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
