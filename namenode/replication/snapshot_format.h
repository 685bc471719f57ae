// The requests of a snapshot transfer. Internal to this folder.
//   begin   what follows: the snapshot's place in the log, and its files
//   chunk   bytes of one file, in order
//   finish  everything was sent; the receiver has it on disk when it answers
// Each file's hash is a chain: h = XXH3(chunk, seed h), so both sides compute it as the bytes pass.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/status.h"
#include "common/raft/types.h"

namespace dfs::nn {

enum class SnapshotOp : uint8_t { kBegin = 1, kChunk = 2, kFinish = 3 };

struct SnapshotFile {
  std::string name;
  uint64_t size = 0;
};

inline constexpr size_t kMaxSnapshotFiles = 100'000;
inline constexpr size_t kMaxSnapshotChunk = 4u << 20;

struct SnapshotRequest {
  SnapshotOp op = SnapshotOp::kChunk;
  uint64_t transfer = 0;  // random; a new begin replaces an older transfer
  Term term = 0;          // of the leader that sends
  // kBegin
  raft::SnapshotMeta meta;
  std::vector<SnapshotFile> files;
  // kChunk
  uint32_t file = 0;
  uint64_t offset = 0;
  std::string_view data;
  // kFinish: one for each file
  std::vector<uint64_t> hashes;
};

Buffer EncodeSnapshotRequest(const SnapshotRequest& request);
/// data points into the input. kProtocol when malformed; names are plain file names.
Result<SnapshotRequest> DecodeSnapshotRequest(std::string_view in);

}  // namespace dfs::nn
