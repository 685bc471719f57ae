// What put, get and cp share: their options and their last words.
#pragma once

#include <cstdint>
#include <string>

#include "tools/cli/args.h"

namespace dfs::cli {

class Progress;
class Verb;

struct CopyOptions {
  bool recursive = false;
  bool force = false;
  bool preserve = false;
  bool verbose = false;
  int64_t jobs = 8;
};

void AddCopyOptions(Args& args, CopyOptions* o);

/// What was copied, as JSON of this schema when that was asked for ("": not), and that it was interrupted.
/// The exit code.
int EndCopy(Verb& verb, const Progress& progress, const std::string& schema);

}  // namespace dfs::cli
