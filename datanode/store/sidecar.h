// The sidecar `blk_<id>.meta` of a block file: two header slots of 512 bytes, written in turn, then
// a sum of 8 bytes for each 4 KiB chunk. What holds, and why, is in docs/blocks.md.
// Thread-compatible.
#pragma once

#include <bitset>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/base/checksum.h"
#include "common/base/env.h"
#include "common/base/ids.h"
#include "common/wire/packet.h"
#include "datanode/store/replica_state.h"

namespace dfs::dn {

inline constexpr uint64_t kRegionSize = 1u << 20;
inline constexpr size_t kMaxRegions = wire::kMaxBlockLength / kRegionSize;
inline constexpr uint64_t kHeaderSlotSize = 512;
inline constexpr uint64_t kSumsOffset = 2 * kHeaderSlotSize;
/// A header vouches for so many sums that were written with it; more are synced before the header.
inline constexpr uint32_t kMaxTailSums = 512;

/// The regions whose bytes may differ from their sums after a crash.
using RegionSet = std::bitset<kMaxRegions>;

/// What a header slot says.
struct SidecarHeader {
  uint64_t sequence = 0;  // of header writes; the higher valid slot is the current one
  ReplicaState state = ReplicaState::kNone;
  BlockId block;
  Stamp stamp;
  Stamp recovery_stamp;         // 0, or the fence of a recovery that has not finished
  uint64_t length = 0;          // bytes that were on disk before this header was written
  uint64_t last_chunk_sum = 0;  // of the chunk that length ends in, when it ends within one
  uint32_t tail_first = 0;  // the sums [tail_first, tail_first + tail_count) were written with this
  uint32_t tail_count = 0;  // header and not synced before it;
  uint64_t tail_hash =
      0;  // it is valid only together with them (those in intended regions excepted)
  RegionSet intent;
};

/// One open sidecar.
class Sidecar {
 public:
  Sidecar(std::unique_ptr<File> file, std::string cluster_id);

  /// The current header: the valid slot of the highest sequence whose tail holds. kNotFound when
  /// none was ever written (an empty or all-zero file), kCorrupt when none can be read, kWrongCluster,
  /// kVersionMismatch. Needed once before WriteHeader, unless the file is new.
  Result<SidecarHeader> ReadHeader();

  /// Writes the header into the slot that is not current; sequence and tail_hash are set here. Not
  /// synced, except that an unsynced header before it is.
  Status WriteHeader(SidecarHeader* header);
  Status WriteSums(uint64_t first_chunk, const uint64_t* sums, size_t count);
  /// Sums beyond the end of the file are 0.
  Result<std::vector<uint64_t>> ReadSums(uint64_t first_chunk, uint64_t count) const;
  Status TruncateSums(uint64_t chunk_count);
  Status Sync();

 private:
  std::string EncodeSlot(const SidecarHeader& header) const;
  Result<SidecarHeader> DecodeSlot(std::string_view slot) const;
  Result<uint64_t> TailHash(const SidecarHeader& header) const;

  std::unique_ptr<File> file_;
  std::string cluster_id_;
  uint64_t sequence_ = 0;
  bool header_unsynced_ = false;
};

}  // namespace dfs::dn
