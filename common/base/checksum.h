// XXH3-64 (Yann Collet, xxHash 0.8): of records and files, and of 4 KiB chunks of block data.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace dfs {

/// Block data is summed in chunks of this many bytes; the last chunk of a block may be shorter.
inline constexpr uint32_t kChunkSize = 4096;

uint64_t Hash64(std::string_view data, uint64_t seed = 0);
/// XXH3-64, seed 0, of one chunk (1..kChunkSize bytes).
inline uint64_t ChunkSum(std::string_view chunk) { return Hash64(chunk, 0); }
/// Sums of data that begins at a chunk boundary; the last may cover a short chunk.
std::vector<uint64_t> ChunkSums(std::string_view data);
inline uint64_t ChunkCount(uint64_t bytes) { return (bytes + kChunkSize - 1) / kChunkSize; }

}  // namespace dfs
