// Walks over trees of the cluster.
#pragma once

#include <dfs/client.h>

#include <functional>
#include <string>

#include "tools/cli/verb.h"

namespace dfs::cli {

/// Calls visit for path and, when it is a directory and recursive is set, for all below it (a directory
/// before what it holds). Symlinks are not followed, except path itself with follow. What cannot be
/// read is reported to the verb, and the walk goes on.
void WalkTree(Verb& verb, const Client& client, const std::string& typed, bool recursive,
              bool follow, std::string_view action,
              const std::function<void(const std::string& path, const FileStatus& status)>& visit);

}  // namespace dfs::cli
