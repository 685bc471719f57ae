#include "tools/cli/tree.h"

namespace dfs::cli {

void WalkTree(Verb& verb, const Client& client, const std::string& typed, bool recursive,
              bool follow, std::string_view action,
              const std::function<void(const std::string& path, const FileStatus& status)>& visit) {
  const std::string path = ClusterPath(typed);
  const Result<FileStatus> root = follow ? client.stat(path) : client.lstat(path);
  if (!root) {
    verb.Failed(action, typed, root.error());
    return;
  }
  visit(path, *root);
  if (!recursive || !root->is_directory()) return;
  ListOptions options;
  options.attributes = true;
  options.recursive = true;
  Result<Directory> directory = client.list(path, options);
  if (!directory) {
    verb.Failed(action, typed, directory.error());
    return;
  }
  for (const DirEntry& e : *directory) {
    if (Interrupted()) return;
    if (e.status) visit(JoinPath(path, e.path), *e.status);
  }
  if (!directory->error().ok()) verb.Failed(action, typed, directory->error());
}

std::optional<bool> TargetIsDirectory(Verb& verb, const Client& client, std::string_view action,
                                      const std::string& typed, bool must_be) {
  const Result<FileStatus> status = client.stat(ClusterPath(typed));
  if (status && status->is_directory()) return true;
  if (!status && !status.error().Is(Code::kNotFound)) {
    verb.Failed(action, typed, status.error());
    return std::nullopt;
  }
  if (!must_be) return false;
  verb.Failed(action, typed,
              Status(Code::kNotDirectory, status ? "it is no directory" : "no such directory"));
  return std::nullopt;
}

}  // namespace dfs::cli
