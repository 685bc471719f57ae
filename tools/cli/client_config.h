// Which cluster a command means: flags, then DFS_* variables, then client.toml, then the development
// cluster that runs on this machine.
#pragma once

#include <dfs/types.h>

#include <string>

namespace dfs::cli {

struct ClientConfigFlags {
  std::string namenodes;
  std::string cluster;
  std::string key_file;
  std::string timeout;
};

/// kUnavailable when nothing names a cluster; kInvalidArgument, kCorrupt for bad settings.
Result<Options> FindCluster(const ClientConfigFlags& flags);
/// For messages: the namenodes' addresses.
std::string DescribeCluster(const Options& options);

}  // namespace dfs::cli
