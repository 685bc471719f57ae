// Memory for large received payloads. Getting fresh pages from the kernel costs more than filling
// them, so a bounded amount is kept for the next payload. Process-wide, thread-safe.
#pragma once

#include <cstddef>
#include <memory>

namespace dfs::rpc {

/// Uninitialised memory of at least size bytes that returns to the pool when the last reference
/// goes.
std::shared_ptr<char> AllocatePayload(size_t size);

/// Bytes of payloads that have been announced by peers and are not complete yet, over the whole
/// process. A connection that cannot get its share stops reading until others are done.
class ReceiveBudget {
 public:
  static constexpr size_t kLimitBytes = 512u << 20;
  /// A payload of at most kMaxPayload always gets in when nothing else is in progress.
  static bool TryTake(size_t bytes);
  static void Release(size_t bytes);
  static size_t used_bytes();
};

}  // namespace dfs::rpc
