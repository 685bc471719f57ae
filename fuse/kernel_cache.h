// What a mount tells the kernel to forget of what it was allowed to keep.
#pragma once

#include <cstdint>

namespace dfs::fuse {

/// None of these waits for a lock that a request under way may hold: they may be called from the thread that answers.
class KernelCache {
 public:
  virtual ~KernelCache() = default;
  /// Whether the kernel can forget all names at once, without locks. Otherwise it must not keep any.
  virtual bool ForgetsNames() const = 0;
  virtual void ForgetNames() = 0;
  /// The next use of the inode asks for its attributes; by them the kernel sees whether its pages are still good.
  virtual void ForgetAttributes(uint64_t inode) = 0;
};

}  // namespace dfs::fuse
