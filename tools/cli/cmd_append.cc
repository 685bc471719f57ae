#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

Status CopyInto(Writer& writer, int fd) {
  constexpr size_t kBytes = 1 << 20;
  const std::unique_ptr<std::byte[]> buffer(new std::byte[kBytes]);
  while (!Interrupted()) {
    const ssize_t n = read(fd, buffer.get(), kBytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return Status::FromSystem(errno, "read");
    if (n == 0) return Status::Ok();
    DFS_RETURN_IF_ERROR(
        writer.write(std::span<const std::byte>(buffer.get(), static_cast<size_t>(n))));
  }
  return Status(Code::kCancelled, "interrupted");
}

}  // namespace

int RunAppend(const Arguments& arguments) {
  Verb verb(
      "append",
      "Append local files ('-': standard input) to a file of the cluster, which is created when "
      "absent. On disk on every replica when it returns.",
      "  tail -f app.log | dfs append - /logs/app.log");
  std::vector<std::string> paths;
  verb.args().Positionals("SOURCE... TARGET", &paths, "Local files, and the file they go to", 2);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::string typed = paths.back();
  paths.pop_back();
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  const std::string target = ClusterPath(typed);
  Result<Writer> writer = client->append(target);
  if (!writer && writer.error().Is(Code::kNotFound)) {
    const mode_t mask = umask(0);
    umask(mask);
    CreateOptions create;
    create.exclusive = true;
    create.mode = 0666 & ~mask;
    writer = client->create(target, create);
  }
  if (!writer) {
    verb.Failed("append to", typed, writer.error());
    return verb.ExitCode();
  }
  for (const std::string& source : paths) {
    const int fd = source == "-" ? 0 : open(source.c_str(), O_RDONLY | O_CLOEXEC);
    const Status copied = fd < 0 ? Status::FromSystem(errno, "open") : CopyInto(*writer, fd);
    if (fd > 0) close(fd);
    if (copied.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed("append", source, copied);
    }
  }
  // What came before an interruption or a bad source is kept: it is appended as if nothing had followed.
  Status closed = writer->sync();
  if (const Status s = writer->close(); closed.ok()) closed = s;
  if (!closed) verb.Failed("append to", typed, closed);
  return verb.ExitCode();
}

}  // namespace dfs::cli
