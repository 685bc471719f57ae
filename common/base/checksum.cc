#include "common/base/checksum.h"

#include <xxhash.h>

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
