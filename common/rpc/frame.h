// Frames on the wire: the header's codec, and an incremental parser that believes nothing before it
// is checked. No sockets here. The layout is in docs/rpc.md.
#pragma once

#include <memory>
#include <string_view>
#include <utility>

#include "common/base/buffer.h"
#include "common/base/status.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

inline constexpr size_t kFrameHeaderSize = 40;
inline constexpr uint32_t kFrameMagic = 0x31465244;  // "DRF1"
inline constexpr uint8_t kFrameVersion = 1;

/// Writes kFrameHeaderSize bytes.
void EncodeFrameHeader(const FrameHeader& header, uint32_t payload_size, char* out);
/// Of kFrameHeaderSize bytes. kProtocol says what is wrong; nothing else of the stream can be
/// trusted then.
Status DecodeFrameHeader(const char* bytes, FrameHeader* header, uint32_t* payload_size);

/// Cuts a byte stream into frames. Small payloads are copied out of the caller's read buffer; of a
/// larger one the rest may be read straight into its place (direct_space()). Thread-compatible.
class FrameParser {
 public:
  /// Payloads from this size on count against the process's budget and offer direct space.
  static constexpr size_t kLargePayload = 16u << 10;

  FrameParser() = default;
  ~FrameParser() { DropPayload(); }
  FrameParser(const FrameParser&) = delete;
  FrameParser& operator=(const FrameParser&) = delete;

  /// Takes bytes in and calls on_frame(const FrameHeader&, Buffer) for each frame that is complete,
  /// until it returns false. Returns how many bytes were taken: all, unless on_frame said stop or
  /// the budget is used up (blocked()); the caller feeds the rest later. A failure is final.
  template <class OnFrame>
  Result<size_t> Feed(std::string_view bytes, OnFrame&& on_frame);

  /// Where the rest of a large payload goes; size 0 when none is in progress. After n bytes were
  /// put there, DirectDone(n) tells, and Feed({}) delivers the frame when it is complete.
  std::pair<char*, size_t> direct_space() {
    if (payload_ == nullptr || payload_size_ < kLargePayload) return {nullptr, 0};
    return {payload_.get() + payload_have_, payload_size_ - payload_have_};
  }
  void DirectDone(size_t bytes) { payload_have_ += bytes; }
  /// Waits for the process's budget: Feed again later.
  bool blocked() const { return blocked_; }
  /// In the middle of a frame.
  bool partial() const { return have_header_ || header_have_ > 0; }

 private:
  /// Takes bytes for the header; true when it is complete.
  Result<bool> FeedHeader(std::string_view* bytes);
  /// Makes room for the payload; false when the budget does not allow it now.
  bool BeginPayload();
  void FeedPayload(std::string_view* bytes);
  Buffer TakePayload();
  void DropPayload();

  char header_bytes_[kFrameHeaderSize];
  size_t header_have_ = 0;
  bool have_header_ = false;  // header_ and payload_size_ are valid
  bool blocked_ = false;
  FrameHeader header_;
  size_t payload_size_ = 0;
  size_t payload_have_ = 0;
  std::shared_ptr<char> payload_;
};

template <class OnFrame>
Result<size_t> FrameParser::Feed(std::string_view bytes, OnFrame&& on_frame) {
  const size_t offered = bytes.size();
  while (true) {
    if (!have_header_) {
      Result<bool> complete = FeedHeader(&bytes);
      if (!complete) return complete.error();
      if (!*complete) break;
    }
    // The common case: the whole of a small payload is there already.
    if (payload_ == nullptr && payload_size_ < kLargePayload && bytes.size() >= payload_size_) {
      Buffer payload = Buffer::Copy(bytes.substr(0, payload_size_));
      bytes.remove_prefix(payload_size_);
      have_header_ = false;
      if (!on_frame(header_, std::move(payload))) break;
      continue;
    }
    if (payload_ == nullptr && !BeginPayload()) break;
    FeedPayload(&bytes);
    if (payload_have_ < payload_size_) break;
    have_header_ = false;
    if (!on_frame(header_, TakePayload())) break;
  }
  return offered - bytes.size();
}

}  // namespace dfs::rpc
