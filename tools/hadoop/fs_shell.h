// dfs fs: the file system shell of Hadoop.
#pragma once

#include "tools/cli/verb.h"

namespace dfs::hadoop {

/// arguments: "-ls", "-R", "/a". 0, 1 when something failed, 255 for errors of usage.
int RunFs(const cli::Arguments& arguments);

}  // namespace dfs::hadoop
