// The command line of dfs-fuse and mount.dfs. docs/mount.md has the table of options.
#pragma once

#include <string>

#include "common/base/status.h"
#include "dfs/client.h"
#include "fuse/kernel.h"

namespace dfs::fuse {

struct MountOptions {
  Options client;
  KernelOptions kernel;
  std::string path = "/";    // the cluster's directory that becomes the root of the mount
  uint32_t replication = 0;  // of new files; 0: the cluster's default
  int64_t connect_timeout_ns = 30 * kSecond;
  bool foreground = false;
  bool leases = true;  // cache=leased; otherwise nothing is cached
  bool fake = false;  // mount(8)'s -f: everything but the mounting
};

/// Prints the help and answers with an empty message when it is asked for; else kInvalidArgument with the reason.
///   dfs-fuse [options] MOUNTPOINT
///   mount.dfs SOURCE MOUNTPOINT [-o OPTIONS]     SOURCE: a:9700,b:9700[:/path], or dfs[:/path] for the cluster that
///                                                DFS_NAMENODES or `dfs dev` names
Result<MountOptions> ParseCommandLine(int argc, char** argv);

}  // namespace dfs::fuse
