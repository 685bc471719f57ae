// Wildcards in paths of the cluster. The shell does not expand them, since it does not see the cluster.
#pragma once

#include <dfs/client.h>

#include <string>
#include <string_view>
#include <vector>

#include "tools/cli/verb.h"

namespace dfs::cli {

/// Has one of * ? [. In such a path a backslash takes the meaning from the character behind it; in
/// others it is a character as any.
bool HasWildcards(std::string_view path);
/// Of one name, as the shell's: a dot in front is matched by a dot only.
bool MatchesName(const std::string& pattern, const std::string& name);

/// Replaces each path with wildcards by the paths that it matches, sorted by name. One that matches nothing
/// stays as it is, so that the verb says that there is no such file. With --no-glob: as typed.
std::vector<std::string> ExpandGlobs(Verb& verb, const Client& client,
                                     const std::vector<std::string>& typed);

}  // namespace dfs::cli
