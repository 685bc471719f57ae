#include "common/rpc/frame.h"

#include <fmt/core.h>

#include <algorithm>
#include <cstring>

#include "common/base/checksum.h"
#include "common/rpc/buffer_pool.h"

namespace dfs::rpc {

namespace {
constexpr size_t kSumOffset = kFrameHeaderSize - 4;

template <class T>
void Store(char* out, T value) {
  std::memcpy(out, &value,
              sizeof(T));  // little-endian machines only, checked in common/base/codec.cc
}
template <class T>
T Load(const char* in) {
  T value;
  std::memcpy(&value, in, sizeof(T));
  return value;
}
uint32_t HeaderSum(const char* bytes) {
  return static_cast<uint32_t>(Hash64({bytes, kSumOffset}));
}
}  // namespace

void EncodeFrameHeader(const FrameHeader& header, uint32_t payload_size, char* out) {
  Store<uint32_t>(out + 0, kFrameMagic);
  Store<uint8_t>(out + 4, kFrameVersion);
  Store<uint8_t>(out + 5, static_cast<uint8_t>(header.type));
  Store<uint16_t>(out + 6, header.method);
  Store<uint32_t>(out + 8, header.flags);
  Store<uint32_t>(out + 12, header.timeout_ms);
  Store<uint64_t>(out + 16, header.request_id);
  Store<uint64_t>(out + 24, header.applied_index);
  Store<uint32_t>(out + 32, payload_size);
  Store<uint32_t>(out + kSumOffset, HeaderSum(out));
}

Status DecodeFrameHeader(const char* bytes, FrameHeader* header, uint32_t* payload_size) {
  if (Load<uint32_t>(bytes) != kFrameMagic)
    return Status(Code::kProtocol, "not a frame (wrong magic)");
  if (Load<uint32_t>(bytes + kSumOffset) != HeaderSum(bytes)) {
    return Status(Code::kProtocol, "frame header with a wrong checksum");
  }
  uint8_t version = Load<uint8_t>(bytes + 4);
  if (version != kFrameVersion) {
    return Status(Code::kProtocol, fmt::format("frame of unknown version {}", version));
  }
  uint8_t type = Load<uint8_t>(bytes + 5);
  if (type < static_cast<uint8_t>(FrameType::kRequest) ||
      type > static_cast<uint8_t>(FrameType::kPacket)) {
    return Status(Code::kProtocol, fmt::format("frame of unknown type {}", type));
  }
  *payload_size = Load<uint32_t>(bytes + 32);
  if (*payload_size > kMaxPayload) {
    return Status(Code::kProtocol, fmt::format("frame with a payload of {} bytes", *payload_size));
  }
  header->type = static_cast<FrameType>(type);
  header->method = Load<uint16_t>(bytes + 6);
  header->flags = Load<uint32_t>(bytes + 8);
  header->timeout_ms = Load<uint32_t>(bytes + 12);
  header->request_id = Load<uint64_t>(bytes + 16);
  header->applied_index = Load<uint64_t>(bytes + 24);
  return Status();
}

Result<bool> FrameParser::FeedHeader(std::string_view* bytes) {
  const char* complete = nullptr;
  if (header_have_ == 0 && bytes->size() >= kFrameHeaderSize) {
    complete = bytes->data();
    bytes->remove_prefix(kFrameHeaderSize);
  } else {
    size_t take = std::min(bytes->size(), kFrameHeaderSize - header_have_);
    if (take > 0) std::memcpy(header_bytes_ + header_have_, bytes->data(), take);
    header_have_ += take;
    bytes->remove_prefix(take);
    if (header_have_ < kFrameHeaderSize) return false;
    complete = header_bytes_;
    header_have_ = 0;
  }
  uint32_t size = 0;
  DFS_RETURN_IF_ERROR(DecodeFrameHeader(complete, &header_, &size));
  have_header_ = true;
  payload_size_ = size;
  payload_have_ = 0;
  return true;
}

bool FrameParser::BeginPayload() {
  blocked_ = payload_size_ >= kLargePayload && !ReceiveBudget::TryTake(payload_size_);
  if (blocked_) return false;
  payload_ = AllocatePayload(std::max<size_t>(payload_size_, 1));
  return true;
}

void FrameParser::FeedPayload(std::string_view* bytes) {
  size_t take = std::min(bytes->size(), payload_size_ - payload_have_);
  if (take > 0) std::memcpy(payload_.get() + payload_have_, bytes->data(), take);
  payload_have_ += take;
  bytes->remove_prefix(take);
}

Buffer FrameParser::TakePayload() {
  if (payload_size_ >= kLargePayload) ReceiveBudget::Release(payload_size_);
  const char* data = payload_.get();
  return Buffer::Wrap(std::move(payload_), data, payload_size_);
}

void FrameParser::DropPayload() {
  if (payload_ != nullptr && payload_size_ >= kLargePayload) ReceiveBudget::Release(payload_size_);
  payload_ = nullptr;
}

}  // namespace dfs::rpc
