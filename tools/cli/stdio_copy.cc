#include "tools/cli/stdio_copy.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

#include "tools/cli/verb.h"

namespace dfs::cli {

Status CopyToStdout(Reader& reader) {
  constexpr size_t kBytes = 1 << 20;
  const std::unique_ptr<std::byte[]> buffer(new std::byte[kBytes]);
  while (!Interrupted()) {
    DFS_ASSIGN_OR_RETURN(const size_t n, reader.read({buffer.get(), kBytes}));
    if (n == 0) return Status::Ok();
    for (size_t done = 0; done < n;) {
      const ssize_t written = write(1, buffer.get() + done, n - done);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0 && errno == EPIPE) _exit(kExitPipe);  // quietly
      if (written <= 0) return Status::FromSystem(errno, "write to standard output");
      done += static_cast<size_t>(written);
    }
  }
  return Status(Code::kCancelled, "interrupted");
}

}  // namespace dfs::cli
