// dfs test: questions for scripts, answered by the exit code.
#include <algorithm>

#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// By the permission bits, as the namenode judges; it judges again when something is done.
bool MayAccess(const FileStatus& s, const Identity& who, uint32_t bit) {
  if (who.uid == 0) return bit != 1 || s.is_directory() || (s.mode & 0111) != 0;
  if (who.uid == s.uid) return (s.mode >> 6 & bit) != 0;
  const bool in_group = who.gid == s.gid ||
                        std::find(who.groups.begin(), who.groups.end(), s.gid) != who.groups.end();
  return ((in_group ? s.mode >> 3 : s.mode) & bit) != 0;
}

}  // namespace

int RunTest(const Arguments& arguments) {
  Verb verb("test", "Exit with 0 when all that is asked is so, 1 when not, another code on errors.",
            "  dfs test -e /done && echo ready\n  dfs test -fs /out/part-0");
  bool exists = false, file = false, directory = false, link = false, size = false, empty = false;
  bool readable = false, writable = false, executable = false;
  std::string typed;
  Args& args = verb.args();
  args.Flag("-e", &exists, "Exists");
  args.Flag("-f", &file, "Is a regular file");
  args.Flag("-d", &directory, "Is a directory");
  args.Flag("-L", &link, "Is a symbolic link");
  args.Flag("-s", &size, "Is not empty");
  args.Flag("-z", &empty, "Is empty");
  args.Flag("-r", &readable, "May be read by you");
  args.Flag("-w", &writable, "May be written by you");
  args.Flag("-x", &executable, "May be executed or entered by you");
  args.Positional("PATH", &typed, "The path");
  if (const auto code = args.Parse(arguments)) return *code;
  if (!(exists || file || directory || link || size || empty || readable || writable ||
        executable)) {
    return args.UsageError("ask something: -e -f -d -L -s -z -r -w -x");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const std::string path = ClusterPath(typed);
  const Result<FileStatus> status = link ? client->lstat(path) : client->stat(path);
  if (!status) {
    const bool absent =
        status.error().Is(Code::kNotFound) || status.error().Is(Code::kNotDirectory);
    if (!absent) verb.Failed("test", typed, status.error());
    return absent ? kExitFailed : verb.ExitCode();
  }
  const Identity me = Identity::OfProcess();
  const uint64_t length = status->is_directory() ? status->entries : status->size;
  const bool so = (!file || status->is_regular()) && (!directory || status->is_directory()) &&
                  (!link || status->is_symlink()) && (!size || length > 0) &&
                  (!empty || length == 0) && (!readable || MayAccess(*status, me, 4)) &&
                  (!writable || MayAccess(*status, me, 2)) &&
                  (!executable || MayAccess(*status, me, 1));
  return so ? kExitOk : kExitFailed;
}

}  // namespace dfs::cli
