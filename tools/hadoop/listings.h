// The commands of the Hadoop shell that print: with Hadoop's columns, one connection each. All return exit
// codes as the verbs of tools/cli do.
#pragma once

#include <string>
#include <vector>

namespace dfs::hadoop {

struct ListingOptions {
  bool recursive = false;
  bool directory_itself = false;
  bool human = false;
  bool paths_only = false;
  bool by_time = false;
  bool by_size = false;
  bool reverse = false;
};

/// "Found 2 items", then mode, replication, owner, group, size, time and path.
int List(const ListingOptions& options, const std::vector<std::string>& paths);
/// Size, size times replication, path.
int DiskUsage(const std::vector<std::string>& paths, bool summarize, bool human, bool header);
int FreeSpace(bool human);
/// Directories, files, bytes, path.
int CountAll(const std::vector<std::string>& paths, bool human, bool header);
/// format with %a %A %b %F %g %n %o %r %u %x %X %y %Y.
int Describe(const std::string& format, const std::vector<std::string>& paths);
/// The files, or the files of the directories, one after the other into one local file.
int MergeTo(const std::vector<std::string>& sources, const std::string& local, bool newlines,
            bool skip_empty);
int RemoveDirectories(const std::vector<std::string>& paths, bool ignore_non_empty);

}  // namespace dfs::hadoop
