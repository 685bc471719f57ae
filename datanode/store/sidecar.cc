#include "datanode/store/sidecar.h"

#include <algorithm>
#include <cstring>

#include "common/base/check.h"
#include "common/base/codec.h"

namespace dfs::dn {
namespace {

constexpr uint32_t kMagic = 0x314D4244;  // "DBM1"
constexpr uint16_t kFormatVersion = 1;
constexpr size_t kClusterIdSize = 36;
constexpr size_t kSumAt = kHeaderSlotSize - sizeof(uint64_t);
constexpr uint64_t kChunksPerRegion = kRegionSize / kChunkSize;

std::string PaddedClusterId(const std::string& id) {
  std::string padded = id.substr(0, kClusterIdSize);
  padded.resize(kClusterIdSize, '\0');
  return padded;
}

void AppendRegions(const RegionSet& regions, Encoder* encoder) {
  for (size_t byte = 0; byte < kMaxRegions / 8; byte++) {
    uint8_t bits = 0;
    for (size_t bit = 0; bit < 8; bit++)
      bits |= static_cast<uint8_t>(regions[byte * 8 + bit] << bit);
    encoder->U8(bits);
  }
}

RegionSet ReadRegions(Decoder* decoder) {
  RegionSet regions;
  for (size_t byte = 0; byte < kMaxRegions / 8; byte++) {
    const uint8_t bits = decoder->U8();
    for (size_t bit = 0; bit < 8; bit++) regions[byte * 8 + bit] = ((bits >> bit) & 1) != 0;
  }
  return regions;
}

bool AllZero(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](char c) { return c == 0; });
}

}  // namespace

Sidecar::Sidecar(std::unique_ptr<File> file, std::string cluster_id)
    : file_(std::move(file)), cluster_id_(PaddedClusterId(cluster_id)) {}

std::string Sidecar::EncodeSlot(const SidecarHeader& h) const {
  std::string slot;
  slot.reserve(kHeaderSlotSize);
  Encoder e(&slot);
  e.U32(kMagic);
  e.U16(kFormatVersion);
  e.U8(static_cast<uint8_t>(h.state));
  e.U8(0);
  e.U64(h.sequence);
  e.Id(h.block);
  e.Id(h.stamp);
  e.Id(h.recovery_stamp);
  e.U64(h.length);
  e.U64(h.last_chunk_sum);
  e.U32(h.tail_first);
  e.U32(h.tail_count);
  e.U64(h.tail_hash);
  e.Raw(cluster_id_);
  AppendRegions(h.intent, &e);
  DFS_CHECK(slot.size() <= kSumAt);
  slot.resize(kSumAt, '\0');
  e.U64(Hash64(slot));
  return slot;
}

Result<SidecarHeader> Sidecar::DecodeSlot(std::string_view slot) const {
  if (slot.size() != kHeaderSlotSize) return Status(Code::kCorrupt, "short header slot");
  Decoder sum(slot.substr(kSumAt));
  if (sum.U64() != Hash64(slot.substr(0, kSumAt))) {
    return Status(Code::kCorrupt, "header slot's checksum differs");
  }
  Decoder d(slot.substr(0, kSumAt));
  if (d.U32() != kMagic) return Status(Code::kCorrupt, "header slot's magic differs");
  if (d.U16() != kFormatVersion) return Status(Code::kVersionMismatch, "sidecar of another format");
  SidecarHeader h;
  h.state = static_cast<ReplicaState>(d.U8());
  d.U8();
  h.sequence = d.U64();
  h.block = d.Id<BlockId>();
  h.stamp = d.Id<Stamp>();
  h.recovery_stamp = d.Id<Stamp>();
  h.length = d.U64();
  h.last_chunk_sum = d.U64();
  h.tail_first = d.U32();
  h.tail_count = d.U32();
  h.tail_hash = d.U64();
  if (d.Raw(kClusterIdSize) != cluster_id_) {
    return Status(Code::kWrongCluster, "sidecar of another cluster");
  }
  h.intent = ReadRegions(&d);
  if (!d.ok() || h.length > wire::kMaxBlockLength || h.tail_count > kMaxTailSums ||
      h.state > ReplicaState::kTemporary || h.state == ReplicaState::kNone) {
    return Status(Code::kCorrupt, "header slot's fields are out of bounds");
  }
  return h;
}

Result<uint64_t> Sidecar::TailHash(const SidecarHeader& header) const {
  if (header.tail_count == 0) return uint64_t{0};
  DFS_ASSIGN_OR_RETURN(const auto sums, ReadSums(header.tail_first, header.tail_count));
  std::string bytes;
  Encoder e(&bytes);
  for (size_t i = 0; i < sums.size(); i++) {
    // Those may change under the same header, once their bytes are overwritten again.
    if (header.intent[(header.tail_first + i) / kChunksPerRegion]) continue;
    e.U64(sums[i]);
  }
  return Hash64(bytes);
}

Result<SidecarHeader> Sidecar::ReadHeader() {
  std::string both(2 * kHeaderSlotSize, '\0');
  DFS_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(0, both.data(), both.size()));
  (void)got;  // what is missing stays zero
  if (AllZero(both)) return Status(Code::kNotFound, "sidecar without a header");
  std::vector<SidecarHeader> valid;
  Status why(Code::kCorrupt, "no valid header slot");
  for (int slot = 0; slot < 2; slot++) {
    auto header =
        DecodeSlot(std::string_view(both).substr(slot * kHeaderSlotSize, kHeaderSlotSize));
    if (header.ok()) {
      valid.push_back(*header);
    } else if (!header.error().Is(Code::kCorrupt)) {
      why = header.error();
    }
  }
  std::sort(valid.begin(), valid.end(),
            [](const auto& a, const auto& b) { return a.sequence > b.sequence; });
  for (const SidecarHeader& header : valid) {
    DFS_ASSIGN_OR_RETURN(const uint64_t hash, TailHash(header));
    if (header.tail_count != 0 && hash != header.tail_hash) {
      // Its fsync never returned, so nobody was told; the slot before it is the one that counts.
      why = Status(Code::kCorrupt, "header whose sums never reached the disk");
      continue;
    }
    sequence_ = header.sequence;
    return header;
  }
  return why;
}

Status Sidecar::WriteHeader(SidecarHeader* header) {
  // Never two headers in flight: the one being replaced must not be the only one on disk.
  if (header_unsynced_ && sequence_ > 1) DFS_RETURN_IF_ERROR(Sync());
  header->sequence = ++sequence_;
  DFS_ASSIGN_OR_RETURN(header->tail_hash, TailHash(*header));
  header_unsynced_ = true;
  return file_->WriteAt(header->sequence % 2 * kHeaderSlotSize, EncodeSlot(*header));
}

Status Sidecar::Sync() {
  DFS_RETURN_IF_ERROR(file_->Sync());
  header_unsynced_ = false;
  return Status::Ok();
}

Status Sidecar::WriteSums(uint64_t first_chunk, const uint64_t* sums, size_t count) {
  return file_->WriteAt(
      kSumsOffset + first_chunk * sizeof(uint64_t),
      std::string_view(reinterpret_cast<const char*>(sums), count * sizeof(uint64_t)));
}

Result<std::vector<uint64_t>> Sidecar::ReadSums(uint64_t first_chunk, uint64_t count) const {
  std::vector<uint64_t> sums(count, 0);
  if (count == 0) return sums;
  DFS_ASSIGN_OR_RETURN(const size_t got, file_->ReadAt(kSumsOffset + first_chunk * sizeof(uint64_t),
                                                       reinterpret_cast<char*>(sums.data()),
                                                       count * sizeof(uint64_t)));
  // A sum that is there only in part is none.
  std::fill(sums.begin() + static_cast<ptrdiff_t>(got / sizeof(uint64_t)), sums.end(), 0);
  return sums;
}

Status Sidecar::TruncateSums(uint64_t chunk_count) {
  return file_->Truncate(kSumsOffset + chunk_count * sizeof(uint64_t));
}

}  // namespace dfs::dn
