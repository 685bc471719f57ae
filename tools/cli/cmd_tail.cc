#include <time.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/stdio_copy.h"
#include "tools/cli/verb.h"

namespace dfs::cli {
namespace {

// Where the last `lines` lines begin.
Result<uint64_t> StartOfLastLines(const Reader& reader, uint64_t size, int64_t lines) {
  if (lines == 0) return size;
  constexpr uint64_t kStep = 64 << 10;
  const std::unique_ptr<std::byte[]> buffer(new std::byte[kStep]);
  int64_t newlines = 0;
  for (uint64_t end = size; end > 0;) {
    const uint64_t start = end > kStep ? end - kStep : 0;
    size_t have = 0;
    while (have < end - start) {
      DFS_ASSIGN_OR_RETURN(const size_t n,
                           reader.read_at(start + have, {buffer.get() + have, end - start - have}));
      if (n == 0) return Status(Code::kIoError, "the file became shorter while it was read");
      have += n;
    }
    for (uint64_t at = end; at > start; --at) {
      // The newline that ends the last line does not begin another.
      if (buffer[at - 1 - start] != std::byte{'\n'} || at == size) continue;
      if (++newlines == lines) return at;
    }
    end = start;
  }
  return 0;
}

Status Tail(const Client& client, const std::string& path, int64_t lines, uint64_t bytes,
            bool by_bytes, bool follow) {
  DFS_ASSIGN_OR_RETURN(Reader reader, client.open(path));
  uint64_t start = 0;
  if (by_bytes) {
    start = reader.size() - std::min(bytes, reader.size());
  } else {
    DFS_ASSIGN_OR_RETURN(start, StartOfLastLines(reader, reader.size(), lines));
  }
  reader.seek(start);
  DFS_RETURN_IF_ERROR(CopyToStdout(reader));
  while (follow && !Interrupted()) {
    const timespec pause{0, 500'000'000};
    nanosleep(&pause, nullptr);
    // Opened anew: a reader may lag by some seconds behind a growing file.
    const uint64_t position = reader.position();
    DFS_ASSIGN_OR_RETURN(reader, client.open(path));
    reader.seek(std::min(position, reader.size()));
    DFS_RETURN_IF_ERROR(CopyToStdout(reader));
  }
  return Status::Ok();
}

}  // namespace

int RunTail(const Arguments& arguments) {
  Verb verb("tail", "The end of a file.",
            "  dfs tail -n 100 /logs/app.log\n  dfs tail -f /logs/app.log");
  int64_t lines = 10;
  uint64_t bytes = UINT64_MAX;
  bool follow = false;
  std::string typed;
  verb.args().Option("-n,--lines", &lines, "How many lines (10)", 0, INT64_MAX);
  verb.args().Size("-c,--bytes", &bytes, "How many bytes, instead of lines");
  verb.args().Flag("-f,--follow", &follow, "Go on with what is appended, until Ctrl-C");
  verb.args().Positional("PATH", &typed, "The file");
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  const Status done = Tail(*client, ClusterPath(typed), lines, bytes, bytes != UINT64_MAX, follow);
  if (!done) verb.Failed("read", typed, done);
  return verb.ExitCode();
}

}  // namespace dfs::cli
