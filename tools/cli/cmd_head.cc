#include <algorithm>
#include <cstdio>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/glob.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// Up to `lines` lines or `bytes` bytes, whichever ends first.
Status Head(const Client& client, const std::string& path, int64_t lines, uint64_t bytes) {
  DFS_ASSIGN_OR_RETURN(Reader reader, client.open(path));
  constexpr uint64_t kStep = 64 << 10;
  const std::unique_ptr<char[]> buffer(new char[kStep]);
  while (lines > 0 && bytes > 0) {
    const size_t want = static_cast<size_t>(std::min(kStep, bytes));
    DFS_ASSIGN_OR_RETURN(const size_t n,
                         reader.read(std::as_writable_bytes(std::span(buffer.get(), want))));
    if (n == 0) break;
    size_t end = 0;
    while (end < n && lines > 0) lines -= buffer[end++] == '\n';
    if (std::fwrite(buffer.get(), 1, end, stdout) != end) break;  // ExitCode() says why
    bytes -= end;
  }
  return Status::Ok();
}

}  // namespace

int RunHead(const Arguments& arguments) {
  Verb verb("head", "The beginning of files.",
            "  dfs head -n 3 /logs/app.log\n  dfs head -c 4K /a");
  int64_t lines = 10;
  uint64_t bytes = UINT64_MAX;
  std::vector<std::string> paths;
  verb.args().Option("-n,--lines", &lines, "How many lines (10)", 0, INT64_MAX);
  verb.args().Size("-c,--bytes", &bytes, "How many bytes, instead of lines");
  verb.TakesGlobs();
  verb.args().Positionals("PATH", &paths, "Files", 1);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  paths = ExpandGlobs(verb, *client, paths);
  if (bytes != UINT64_MAX) lines = INT64_MAX;
  for (const std::string& typed : paths) {
    if (paths.size() > 1) {
      std::printf("%s==> %s <==\n", &typed == paths.data() ? "" : "\n", ShownName(typed).c_str());
    }
    const Status done = Head(*client, ClusterPath(typed), lines, bytes);
    if (done.ok()) {
      verb.Succeeded();
    } else {
      verb.Failed("read", typed, done);
    }
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
