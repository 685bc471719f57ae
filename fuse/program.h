// The process of a mount: its command line, the background, the cluster, the kernel, the end.
#pragma once

namespace dfs::fuse {

/// All of dfs-fuse; returns its exit code.
int RunProgram(int argc, char** argv);

}  // namespace dfs::fuse
