#include "common/base/env.h"

namespace dfs {

std::string ParentDir(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Status Env::WriteFileAtomically(const std::string& path, std::string_view data) {
  const std::string temporary = path + ".tmp";
  {
    DFS_ASSIGN_OR_RETURN(auto file, Open(temporary, OpenMode::kTruncate));
    DFS_RETURN_IF_ERROR(file->WriteAt(0, data));
    DFS_RETURN_IF_ERROR(file->Sync());
  }
  DFS_RETURN_IF_ERROR(Rename(temporary, path));
  return SyncDir(ParentDir(path));
}

Result<std::string> Env::ReadFile(const std::string& path, uint64_t limit) {
  DFS_ASSIGN_OR_RETURN(auto file, Open(path, OpenMode::kReadOnly));
  DFS_ASSIGN_OR_RETURN(const uint64_t size, file->Size());
  if (size > limit) {
    return Status(Code::kCorrupt, path + " is larger than " + std::to_string(limit) + " bytes");
  }
  std::string data(size, '\0');
  DFS_ASSIGN_OR_RETURN(const size_t got, file->ReadAt(0, data.data(), data.size()));
  data.resize(got);
  return data;
}

}  // namespace dfs
