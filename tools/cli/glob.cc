#include "tools/cli/glob.h"

#include <fnmatch.h>

#include <algorithm>

namespace dfs::cli {
namespace {

std::vector<std::string> Components(const std::string& path) {
  std::vector<std::string> out;
  for (size_t at = 1; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    out.push_back(path.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

std::string WithoutBackslashes(const std::string& name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (name[i] == '\\' && i + 1 < name.size()) ++i;
    out += name[i];
  }
  return out;
}

// What pattern matches in directory. Directories that cannot be read match nothing, as in a shell.
void MatchIn(const Client& client, const std::string& directory, const std::string& pattern,
             bool last, std::vector<std::string>* out) {
  Result<Directory> listing = client.list(directory);
  if (!listing) return;
  for (const DirEntry& e : *listing) {
    const bool leads_on = e.type == FileType::kDirectory || e.type == FileType::kSymlink;
    if ((last || leads_on) && MatchesName(pattern, e.name)) {
      out->push_back(JoinPath(directory, e.name));
    }
  }
}

std::vector<std::string> Expand(const Client& client, const std::string& pattern) {
  const std::vector<std::string> components = Components(pattern);
  std::vector<std::string> found{"/"};
  bool certain = true;  // what is found is known to exist
  for (size_t i = 0; i < components.size(); ++i) {
    const bool wild = HasWildcards(components[i]);
    std::vector<std::string> next;
    for (const std::string& path : found) {
      if (wild) {
        MatchIn(client, path, components[i], i + 1 == components.size(), &next);
      } else {
        next.push_back(JoinPath(path, WithoutBackslashes(components[i])));
      }
    }
    certain = wild;
    found = std::move(next);
  }
  if (!certain) {
    std::erase_if(found, [&](const std::string& path) { return !client.lstat(path); });
  }
  std::sort(found.begin(), found.end());
  return found;
}

}  // namespace

bool HasWildcards(std::string_view path) {
  return path.find_first_of("*?[") != std::string_view::npos;
}

bool MatchesName(const std::string& pattern, const std::string& name) {
  return fnmatch(pattern.c_str(), name.c_str(), FNM_PERIOD) == 0;
}

std::vector<std::string> ExpandGlobs(Verb& verb, const Client& client,
                                     const std::vector<std::string>& typed) {
  std::vector<std::string> out;
  for (const std::string& path : typed) {
    std::vector<std::string> found;
    if (!verb.no_glob() && HasWildcards(path)) found = Expand(client, ClusterPath(path));
    if (found.empty()) found.push_back(path);
    out.insert(out.end(), found.begin(), found.end());
  }
  return out;
}

}  // namespace dfs::cli
