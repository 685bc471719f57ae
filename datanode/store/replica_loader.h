// What a replica on disk is worth after a restart: its state, and how many of its bytes count.
#pragma once

#include "datanode/store/replica.h"
#include "datanode/store/volume.h"

namespace dfs::dn {

struct LoadedReplica {
  Replica::Loaded loaded;
  bool corrupt = false;  // bytes that were synced are not there, and no write explains it
  std::string why;
};

/// Reads the sidecar and looks at the tail of a replica that was open. kNotFound: nothing was ever synced
/// and nothing is known of it; other errors: the files cannot be understood.
Result<LoadedReplica> LoadReplica(Volume& volume, BlockId block);

}  // namespace dfs::dn
