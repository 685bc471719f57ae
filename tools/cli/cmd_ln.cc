#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

int RunLn(const Arguments& arguments) {
  Verb verb("ln", "Make another name of a file, with -s a symbolic link.",
            "  dfs ln /a/big /b/big\n  dfs ln -s ../current/data /latest");
  bool symbolic = false;
  bool force = false;
  std::string target;
  std::string typed_name;
  verb.args().Flag("-s,--symbolic", &symbolic, "A symbolic link; TARGET is kept as it is typed");
  verb.args().Flag("-f,--force", &force, "Replace a file that has the name");
  verb.args().Positional("TARGET", &target, "What the link is to lead to");
  verb.args().Positional("NAME", &typed_name, "The new name, or a directory for it");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  std::string name = ClusterPath(typed_name);
  const Result<FileStatus> there = client->stat(name);
  if (there && there->is_directory()) name = JoinPath(name, BaseName(target));
  const auto make = [&] {
    return symbolic ? client->symlink(target, name) : client->link(ClusterPath(target), name);
  };
  Status made = make();
  if (made.Is(Code::kAlreadyExists) && force) {
    made = client->unlink(name);
    if (made.ok()) made = make();
  }
  if (made.ok()) {
    verb.Succeeded();
  } else {
    verb.Failed("link", name, made);
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
