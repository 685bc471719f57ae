#include "common/rpc/buffer_pool.h"

#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <new>
#include <unordered_map>
#include <vector>

#include "common/base/check.h"

namespace dfs::rpc {

namespace {

#ifdef DFS_SANITIZED
constexpr bool kPooling = false;  // the sanitizers are to see every use after free
#else
constexpr bool kPooling = true;
#endif
constexpr size_t kSmallestPooled = 32u << 10;
constexpr size_t kLargestPooled = 4u << 20;
constexpr size_t kMaxCachedBytes = 32u << 20;

/// Rounds up to a quarter of a power of two: few classes, at most a quarter wasted.
size_t ClassOf(size_t size) {
  size_t step = std::bit_floor(size) / 4;
  return (size + step - 1) / step * step;
}

class Pool {
 public:
  char* Get(size_t size_class) {
    std::lock_guard lock(mu_);
    std::vector<char*>& list = free_[size_class];
    if (list.empty()) return nullptr;
    char* memory = list.back();
    list.pop_back();
    cached_bytes_ -= size_class;
    return memory;
  }
  /// False when the pool is full.
  bool Put(char* memory, size_t size_class) {
    std::lock_guard lock(mu_);
    if (cached_bytes_ + size_class > kMaxCachedBytes) return false;
    free_[size_class].push_back(memory);
    cached_bytes_ += size_class;
    return true;
  }

 private:
  std::mutex mu_;
  std::unordered_map<size_t, std::vector<char*>> free_;
  size_t cached_bytes_ = 0;
};

/// Never destroyed: buffers may go after main() has ended.
Pool& SharedPool() {
  static Pool* pool = new Pool;
  return *pool;
}

std::atomic<size_t> g_receiving_bytes{0};

}  // namespace

std::shared_ptr<char> AllocatePayload(size_t size) {
  if (kPooling && size >= kSmallestPooled && size <= kLargestPooled) {
    size_t size_class = ClassOf(size);
    char* memory = SharedPool().Get(size_class);
    if (memory == nullptr) memory = static_cast<char*>(std::malloc(size_class));
    if (memory == nullptr) throw std::bad_alloc();
    return std::shared_ptr<char>(memory, [size_class](char* p) {
      if (!SharedPool().Put(p, size_class)) std::free(p);
    });
  }
  std::shared_ptr<char[]> plain = std::make_shared_for_overwrite<char[]>(size);
  char* data = plain.get();
  return std::shared_ptr<char>(std::move(plain), data);
}

bool ReceiveBudget::TryTake(size_t bytes) {
  size_t before = g_receiving_bytes.fetch_add(bytes, std::memory_order_relaxed);
  if (before == 0 || before + bytes <= kLimitBytes) return true;
  g_receiving_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  return false;
}

void ReceiveBudget::Release(size_t bytes) {
  size_t before = g_receiving_bytes.fetch_sub(bytes, std::memory_order_relaxed);
  DFS_CHECK(before >= bytes);
}

size_t ReceiveBudget::used_bytes() {
  return g_receiving_bytes.load(std::memory_order_relaxed);
}

}  // namespace dfs::rpc
