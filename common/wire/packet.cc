#include "common/wire/packet.h"

#include <algorithm>
#include <cstring>
#include <string>

namespace dfs::wire {
namespace {

constexpr size_t kSumOffset = 60;

template <class T>
void Put(char* out, size_t at, T value) {
  std::memcpy(out + at, &value, sizeof(T));
}

template <class T>
T Get(const char* in, size_t at) {
  T value;
  std::memcpy(&value, in + at, sizeof(T));
  return value;
}

uint32_t HeaderSum(const char* header) {
  return static_cast<uint32_t>(Hash64(std::string_view(header, kSumOffset)));
}

Status Bad(const char* what) {
  return Status(Code::kProtocol, std::string("packet: ") + what);
}

/// What a header may say, by kind.
Status CheckFields(const PacketHeader& h) {
  if (h.data_length > kMaxPacketData) return Bad("too much data");
  if (h.offset > kMaxBlockLength || h.data_length > kMaxBlockLength - h.offset) {
    return Bad("offset beyond the largest block");
  }
  if (h.length > kMaxBlockLength) return Bad("length beyond the largest block");
  const uint32_t expected_sums = SumsOfRange(h.offset, h.data_length);
  switch (h.kind) {
    case PacketKind::kData:
      if ((h.flags & ~(kPacketSync | kPacketLast)) != 0) return Bad("unknown flags");
      if (h.seq == 0) return Bad("sequence 0");
      if (h.sum_count != expected_sums) return Bad("number of sums does not fit the range");
      if (h.data_length == 0 && h.flags == 0) return Bad("empty");
      return Status::Ok();
    case PacketKind::kReadData:
      if (h.flags != 0) return Bad("unknown flags");
      if (h.data_length != 0) {
        if (h.sum_count != expected_sums) return Bad("number of sums does not fit the range");
        return Status::Ok();
      }
      if (h.sum_count == 0 || h.sum_count > kMaxSumsOnly) return Bad("number of sums");
      return Status::Ok();
    case PacketKind::kAck:
    case PacketKind::kReadEnd:
    case PacketKind::kCancel:
      if (h.flags != 0) return Bad("unknown flags");
      if (h.data_length != 0 || h.sum_count != 0) return Bad("data where none belongs");
      return Status::Ok();
  }
  return Bad("unknown kind");
}

}  // namespace

std::vector<uint64_t> Packet::SumVector() const {
  std::vector<uint64_t> out(sums.size() / sizeof(uint64_t));
  if (!out.empty()) std::memcpy(out.data(), sums.data(), out.size() * sizeof(uint64_t));
  return out;
}

void EncodePacketHeader(const PacketHeader& h, char* out) {
  Put<uint32_t>(out, 0, kPacketMagic);
  Put<uint16_t>(out, 4, static_cast<uint16_t>(h.kind));
  Put<uint16_t>(out, 6, h.flags);
  Put<uint64_t>(out, 8, h.seq);
  Put<uint64_t>(out, 16, h.stamp);
  Put<uint64_t>(out, 24, h.offset);
  Put<uint32_t>(out, 32, h.data_length);
  Put<uint32_t>(out, 36, h.sum_count);
  Put<uint64_t>(out, 40, h.length);
  Put<uint64_t>(out, 48, h.detail);
  Put<uint16_t>(out, 56, static_cast<uint16_t>(h.code));
  Put<uint16_t>(out, 58, 0);
  Put<uint32_t>(out, kSumOffset, HeaderSum(out));
}

Result<Packet> ParsePacket(const Buffer& payload) {
  if (payload.size() < kPacketHeaderSize) return Bad("shorter than its header");
  const char* p = payload.data();
  if (Get<uint32_t>(p, 0) != kPacketMagic) return Bad("wrong magic");
  if (Get<uint32_t>(p, kSumOffset) != HeaderSum(p)) return Bad("header sum differs");
  if (Get<uint16_t>(p, 58) != 0) return Bad("reserved field");
  Packet packet;
  PacketHeader& h = packet.header;
  h.kind = static_cast<PacketKind>(Get<uint16_t>(p, 4));
  h.flags = Get<uint16_t>(p, 6);
  h.seq = Get<uint64_t>(p, 8);
  h.stamp = Get<uint64_t>(p, 16);
  h.offset = Get<uint64_t>(p, 24);
  h.data_length = Get<uint32_t>(p, 32);
  h.sum_count = Get<uint32_t>(p, 36);
  h.length = Get<uint64_t>(p, 40);
  h.detail = Get<uint64_t>(p, 48);
  h.code = static_cast<Code>(Get<uint16_t>(p, 56));
  DFS_RETURN_IF_ERROR(CheckFields(h));
  // Both are bounded by now, so this cannot overflow.
  const size_t sums_size = size_t{h.sum_count} * sizeof(uint64_t);
  if (payload.size() != kPacketHeaderSize + sums_size + h.data_length) {
    return Bad("size differs from what its header says");
  }
  packet.sums = payload.Slice(kPacketHeaderSize, sums_size);
  packet.data = payload.Slice(kPacketHeaderSize + sums_size, h.data_length);
  return packet;
}

std::vector<Buffer> BuildPacket(PacketHeader header, std::string_view encoded_sums, Buffer data) {
  header.data_length = static_cast<uint32_t>(data.size());
  header.sum_count = static_cast<uint32_t>(encoded_sums.size() / sizeof(uint64_t));
  std::string head(kPacketHeaderSize + encoded_sums.size(), '\0');
  EncodePacketHeader(header, head.data());
  if (!encoded_sums.empty()) {
    std::memcpy(head.data() + kPacketHeaderSize, encoded_sums.data(), encoded_sums.size());
  }
  std::vector<Buffer> parts;
  parts.reserve(2);
  parts.emplace_back(std::move(head));
  if (!data.empty()) parts.push_back(std::move(data));
  return parts;
}

std::vector<Buffer> BuildPacket(PacketHeader header, const std::vector<uint64_t>& sums,
                                Buffer data) {
  return BuildPacket(
      header,
      std::string_view(reinterpret_cast<const char*>(sums.data()), sums.size() * sizeof(uint64_t)),
      std::move(data));
}

uint32_t SumsOfRange(uint64_t offset, uint64_t length) {
  if (length == 0) return 0;
  return static_cast<uint32_t>((offset + length - 1) / kChunkSize - offset / kChunkSize + 1);
}

std::vector<uint64_t> RangeSums(uint64_t offset, std::string_view data) {
  std::vector<uint64_t> sums;
  sums.reserve(SumsOfRange(offset, data.size()));
  while (!data.empty()) {
    const size_t size = std::min<size_t>(data.size(), kChunkSize - offset % kChunkSize);
    sums.push_back(ChunkSum(data.substr(0, size)));
    data.remove_prefix(size);
    offset += size;
  }
  return sums;
}

Status VerifyRangeSums(uint64_t offset, std::string_view data, const uint64_t* sums, size_t count) {
  if (count != SumsOfRange(offset, data.size())) {
    return Status(Code::kCorrupt, "number of sums does not fit the data");
  }
  for (size_t i = 0; !data.empty(); i++) {
    const size_t size = std::min<size_t>(data.size(), kChunkSize - offset % kChunkSize);
    if (ChunkSum(data.substr(0, size)) != sums[i]) {
      return Status(Code::kCorrupt, "sum differs at offset " + std::to_string(offset));
    }
    data.remove_prefix(size);
    offset += size;
  }
  return Status::Ok();
}

}  // namespace dfs::wire
