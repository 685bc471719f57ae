// The options that put and get share.
#pragma once

#include <cstdint>

#include "tools/cli/args.h"

namespace dfs::cli {

struct CopyOptions {
  bool recursive = false;
  bool force = false;
  bool preserve = false;
  bool verbose = false;
  int64_t jobs = 8;
};

inline void AddCopyOptions(Args& args, CopyOptions* o) {
  args.Flag("-r,-R,--recursive", &o->recursive, "Directories and all that is in them");
  args.Flag("-f,--force", &o->force, "Replace files that exist");
  args.Flag("-p,--preserve", &o->preserve,
            "Keep times and all permission bits (as root: the owner)");
  args.Flag("-v,--verbose", &o->verbose, "Name each file");
  args.Option("-j,--jobs", &o->jobs, "Files in flight at once (8)", 1, 256);
}

}  // namespace dfs::cli
