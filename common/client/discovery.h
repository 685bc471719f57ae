// The development cluster that this user runs (`dfs dev start`), for programs that name no cluster.
#pragma once

#include <string>
#include <vector>

#include "common/base/status.h"

namespace dfs::client {

struct DiscoveredCluster {
  std::vector<std::string> namenodes;
  std::string cluster_id;
  std::string key_file;
};

/// kNotFound when none runs. Reads dev.json in $XDG_RUNTIME_DIR/dfs, /run/user/UID/dfs or /tmp/dfs-UID, and
/// believes it only when it is this user's and nobody else may write it.
Result<DiscoveredCluster> DiscoverDevCluster();

}  // namespace dfs::client
