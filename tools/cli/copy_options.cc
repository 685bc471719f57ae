#include "tools/cli/copy_options.h"

#include <fmt/format.h>

#include <cstdio>
#include <nlohmann/json.hpp>

#include "tools/cli/json_out.h"
#include "tools/cli/progress.h"
#include "tools/cli/verb.h"

namespace dfs::cli {

void AddCopyOptions(Args& args, CopyOptions* o) {
  args.Flag("-r,-R,--recursive", &o->recursive, "Directories and all that is in them");
  args.Flag("-f,--force", &o->force, "Replace files that exist");
  args.Flag("-p,--preserve", &o->preserve,
            "Keep times and all permission bits (as root: the owner)");
  args.Flag("-v,--verbose", &o->verbose, "Name each file");
  args.Option("-j,--jobs", &o->jobs, "Files in flight at once (8)", 1, 256);
}

int EndCopy(Verb& verb, const Progress& progress, const std::string& schema) {
  if (verb.json() && !schema.empty()) {
    PrintJson({{"schema", schema},
               {"files", progress.files()},
               {"bytes", progress.bytes()},
               {"seconds", static_cast<double>(progress.elapsed_ns()) / 1e9},
               {"ok", !verb.any_failed() && !Interrupted()}});
  }
  if (Interrupted()) {
    fmt::print(stderr, "dfs: interrupted after {} files; none is there in part\n",
               progress.files());
  }
  return verb.ExitCode();
}

}  // namespace dfs::cli
