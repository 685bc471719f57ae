#include <sys/stat.h>

#include <algorithm>

#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// "1G" absolute, "+1M" longer by, "-1M" shorter by.
bool ParseChange(const std::string& text, char* sign, uint64_t* bytes) {
  *sign = !text.empty() && (text[0] == '+' || text[0] == '-') ? text[0] : '=';
  return ParseSize(std::string_view(text).substr(*sign == '=' ? 0 : 1), bytes);
}

}  // namespace

int RunTruncate(const Arguments& arguments) {
  Verb verb("truncate", "Set the size of files; what is added reads as zeros and takes no space.",
            "  dfs truncate -s 0 /log\n  dfs truncate -s +1G /image");
  std::string size;
  bool no_create = false;
  std::vector<std::string> paths;
  verb.args().Option("-s,--size", &size, "The size; with + or - in front: relative");
  verb.args().Flag("-c,--no-create", &no_create, "Make no files");
  verb.args().Positionals("PATH", &paths, "Files; those that do not exist are made", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  char sign = '=';
  uint64_t bytes = 0;
  if (size.empty()) return verb.args().UsageError("-s SIZE is missing");
  if (!ParseChange(size, &sign, &bytes)) {
    return verb.args().UsageError("'" + size + "' is not a size such as 64K or +1.5G");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const mode_t mask = umask(0);
  umask(mask);
  for (const std::string& typed : paths) {
    const std::string path = ClusterPath(typed);
    Result<FileStatus> status = client->stat(path);
    if (!status && status.error().Is(Code::kNotFound)) {
      if (no_create) {
        verb.Succeeded();
        continue;
      }
      CreateOptions create;
      create.mode = 0666 & ~mask;
      create.overwrite = false;
      create.exclusive = true;
      const Status made = client->write_file(path, "", create);
      status = made.ok() || made.Is(Code::kAlreadyExists) ? client->stat(path) : made;
    }
    Status done = status.status();
    if (status) {
      const uint64_t now = status->size;
      const uint64_t to = sign == '+'   ? now + bytes
                          : sign == '-' ? now - std::min(now, bytes)
                                        : bytes;
      done = to < now && sign == '+' ? Status(Code::kFileTooBig, "the size is out of range")
                                     : client->truncate(path, to);
    }
    if (done.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed("truncate", typed, done);
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
