#include "common/base/checksum.h"

// The plain functions of a distribution's library use SSE2; the dispatching ones give the same sums with what the
// processor has, AVX2 or AVX-512, two to three times as fast.
#if defined(__x86_64__) && __has_include(<xxh_x86dispatch.h>)
#include <xxh_x86dispatch.h>
#else
#include <xxhash.h>
#endif

namespace dfs {

uint64_t Hash64(std::string_view data, uint64_t seed) {
  return XXH3_64bits_withSeed(data.data(), data.size(), seed);
}

std::vector<uint64_t> ChunkSums(std::string_view data) {
  std::vector<uint64_t> sums;
  sums.reserve(ChunkCount(data.size()));
  for (size_t at = 0; at < data.size(); at += kChunkSize) {
    sums.push_back(ChunkSum(data.substr(at, kChunkSize)));
  }
  return sums;
}

}  // namespace dfs
