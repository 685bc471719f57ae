// Packets of block streams: the fixed little-endian header in front of sums and data
// (docs/wire.md).
//
// A packet is the payload of one frame: 64 bytes of header, sum_count sums of 8 bytes, data_length
// bytes. Everything here is a pure function over bytes; nothing is believed before it was checked.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/checksum.h"
#include "common/base/status.h"

namespace dfs::wire {

inline constexpr uint32_t kPacketMagic = 0x314B5044;  // "DPK1"
inline constexpr size_t kPacketHeaderSize = 64;
/// Most data bytes in one packet.
inline constexpr uint32_t kMaxPacketData = 1u << 20;
/// What a writer sends when it has plenty.
inline constexpr uint32_t kDefaultPacketData = 512u << 10;
/// Most sums in a packet without data (an answer to open_read with sums_only): those of 128 MiB.
inline constexpr uint32_t kMaxSumsOnly = 32768;
/// A block may not be longer: its write intent (a bit per MiB) has to fit into a sidecar's header.
inline constexpr uint64_t kMaxBlockLength = uint64_t{2} << 30;
/// Packets of one write stream that a member holds unacknowledged; a writer stays below.
inline constexpr size_t kMaxPacketsInFlight = 64;

enum class PacketKind : uint16_t { kData = 1, kAck = 2, kReadData = 3, kReadEnd = 4, kCancel = 5 };

/// On the disk of every member before the acknowledgement.
inline constexpr uint16_t kPacketSync = 1;
/// Finalize the replica and end the stream.
inline constexpr uint16_t kPacketLast = 2;

struct PacketHeader {
  PacketKind kind = PacketKind::kData;
  uint16_t flags = 0;
  uint64_t seq = 0;
  uint64_t stamp = 0;
  uint64_t offset = 0;
  uint32_t data_length = 0;
  uint32_t sum_count = 0;
  /// data: the block's length after this packet, at least; ack: the member's replica length; read
  /// data: with sums only, the bytes that they cover; read end: bytes sent.
  uint64_t length = 0;
  /// ack with an error: the datanode that failed.
  uint64_t detail = 0;
  Code code = Code::kOk;

  bool sync() const { return (flags & kPacketSync) != 0; }
  bool last() const { return (flags & kPacketLast) != 0; }
  friend bool operator==(const PacketHeader&, const PacketHeader&) = default;
};

struct Packet {
  PacketHeader header;
  Buffer sums;  // sum_count little-endian 64-bit sums
  Buffer data;
  std::vector<uint64_t> SumVector() const;
};

/// Writes kPacketHeaderSize bytes.
void EncodePacketHeader(const PacketHeader& header, char* out);
/// Checks the header (magic, kind, flags, header sum, bounds) and that the payload is exactly as
/// long as it says; kProtocol otherwise. The result shares the payload's memory.
Result<Packet> ParsePacket(const Buffer& payload);

/// The parts of a frame's payload: header and sums in one buffer, then the data as it is.
/// Sets data_length and sum_count.
std::vector<Buffer> BuildPacket(PacketHeader header, const std::vector<uint64_t>& sums,
                                Buffer data);
/// The same with sums that are encoded already.
std::vector<Buffer> BuildPacket(PacketHeader header, std::string_view encoded_sums, Buffer data);

/// How many chunks [offset, offset + length) touches; 0 when length is 0.
uint32_t SumsOfRange(uint64_t offset, uint64_t length);
/// One sum for each chunk that the range touches, over those of its bytes that lie in that chunk.
std::vector<uint64_t> RangeSums(uint64_t offset, std::string_view data);
/// kCorrupt when a sum differs or their number is wrong.
Status VerifyRangeSums(uint64_t offset, std::string_view data, const uint64_t* sums, size_t count);

}  // namespace dfs::wire
