#include <cstdio>

#include "tools/cli/commands.h"
#include "tools/cli/verb.h"
#include "tools/completion/scripts.h"

namespace dfs::cli {

int RunCompletion(const Arguments& arguments) {
  Args args("completion", "Print what makes a shell complete commands, options and paths.",
            "  source <(dfs completion bash)\n  dfs completion fish | source");
  std::string shell;
  args.Positional("SHELL", &shell, "bash, zsh or fish");
  if (const auto code = args.Parse(arguments)) return *code;
  const char* script = shell == "bash"   ? kBashCompletion
                       : shell == "zsh"  ? kZshCompletion
                       : shell == "fish" ? kFishCompletion
                                         : nullptr;
  if (script == nullptr) return args.UsageError("'" + shell + "' is not bash, zsh or fish");
  std::fputs(script, stdout);
  return std::fflush(stdout) == 0 ? kExitOk : kExitFailed;
}

}  // namespace dfs::cli
