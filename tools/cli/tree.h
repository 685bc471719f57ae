// Walks over trees of the cluster, and targets of copies.
#pragma once

#include <dfs/client.h>

#include <functional>
#include <optional>
#include <string>

#include "tools/cli/verb.h"

namespace dfs::cli {

/// Calls visit for path and, when it is a directory and recursive is set, for all below it (a directory
/// before what it holds). Symlinks are not followed, except path itself with follow. What cannot be
/// read is reported to the verb, and the walk goes on.
void WalkTree(Verb& verb, const Client& client, const std::string& typed, bool recursive,
              bool follow, std::string_view action,
              const std::function<void(const std::string& path, const FileStatus& status)>& visit);

/// Whether what was typed is a directory of the cluster to copy things into; nothing, and reported as
/// action, when it cannot be told or must be one and is not.
std::optional<bool> TargetIsDirectory(Verb& verb, const Client& client, std::string_view action,
                                      const std::string& typed, bool must_be);

}  // namespace dfs::cli
