// What closing a file means for its locks.
#pragma once

#include "fuse/kernel_call.h"

namespace dfs::fuse {

/// close(2): answers the call, with the outcome of the flush before it, when the caller's POSIX locks are gone.
void ReleaseAtClose(const CallPtr& call, uint64_t inode, uint64_t owner, const Status& flushed);
/// The last close of an open file: its flock goes, and the descriptor itself.
void ReleaseAtLastClose(const CallPtr& call, const fuse_file_info* info);

}  // namespace dfs::fuse
