#include <sys/stat.h>

#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunTouch(const Arguments& arguments) {
  Verb verb("touch", "Make empty files; set the times of those that exist to now.");
  bool no_create = false;
  std::vector<std::string> paths;
  verb.args().Flag("-c,--no-create", &no_create, "Make no files");
  verb.args().Positionals("PATH", &paths, "Files", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const mode_t mask = umask(0);
  umask(mask);
  for (const std::string& typed : paths) {
    const std::string path = ClusterPath(typed);
    Status done(Code::kAlreadyExists, "");
    if (!no_create) {
      CreateOptions create;
      create.exclusive = true;
      create.overwrite = false;
      create.mode = 0666 & ~mask;
      done = client->write_file(path, "", create);
    }
    if (done.Is(Code::kAlreadyExists)) {
      TimeUpdate now;
      now.atime_now = true;
      now.mtime_now = true;
      done = client->set_times(path, now);
      if (no_create && done.Is(Code::kNotFound)) done = Status::Ok();
    }
    if (done.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed("touch", typed, done);
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
