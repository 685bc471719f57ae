#include "common/rpc/thrift_adapter.h"

#include <fmt/core.h>

#include "common/base/codec.h"
#include "common/base/logging.h"
#include "common/idl/methods.h"

namespace dfs::rpc {

namespace {

// The compact protocol's envelope: 0x82, type << 5 | version 1, varint sequence, name; then a
// struct.
constexpr uint8_t kCompactId = 0x82;
constexpr uint8_t kCompactVersion = 1;
enum MessageType : uint8_t { kCall = 1, kReplyMessage = 2, kException = 3, kOneWayCall = 4 };
// Field headers: id delta << 4 | type. Structs are type 12, strings 8, i32 5.
constexpr char kFirstFieldIsStruct = 0x1C;
constexpr char kFirstFieldIsString = 0x18;
constexpr char kNextFieldIsI32 = 0x15;
constexpr char kStop = 0;
constexpr int kUnknownMethod = 1;  // TApplicationException
constexpr size_t kLengthSize = 4;
constexpr size_t kMaxName = 128;

uint32_t BigEndian32(std::string_view bytes) {
  uint32_t v = 0;
  for (size_t i = 0; i < kLengthSize; ++i) v = v << 8 | static_cast<uint8_t>(bytes[i]);
  return v;
}

std::string Framed(MessageType type, uint64_t sequence, std::string_view name,
                   std::string_view body) {
  std::string out(kLengthSize, '\0');
  Encoder e(&out);
  e.U8(kCompactId);
  e.U8(static_cast<uint8_t>(type << 5 | kCompactVersion));
  e.Varint(sequence);
  e.Bytes(name);
  e.Raw(body);
  uint32_t size = static_cast<uint32_t>(out.size() - kLengthSize);
  for (size_t i = 0; i < kLengthSize; ++i) out[i] = static_cast<char>(size >> (24 - 8 * i));
  return out;
}

std::string ApplicationException(uint64_t sequence, std::string_view name, std::string_view text,
                                 int kind) {
  std::string body;
  Encoder e(&body);
  e.U8(static_cast<uint8_t>(kFirstFieldIsString));
  e.Bytes(text);
  e.U8(static_cast<uint8_t>(kNextFieldIsI32));
  e.Varint(static_cast<uint64_t>(kind) << 1);  // zigzag
  e.U8(kStop);
  return Framed(kException, sequence, name, body);
}

Status Malformed(std::string_view what) {
  return Status(Code::kProtocol, fmt::format("malformed Thrift message ({})", what));
}

}  // namespace

bool ThriftAdapter::LooksLikeThrift(std::string_view first) {
  return first.size() > kLengthSize && BigEndian32(first) <= kMaxPayload &&
         static_cast<uint8_t>(first[kLengthSize]) == kCompactId;
}

Result<ThriftAdapter::Next> ThriftAdapter::TakeNext(FrameHeader* header, Buffer* payload,
                                                    std::string* immediate) {
  if (call_in_hand_ || in_.size() < kLengthSize) return Next::kNeedMore;
  size_t size = BigEndian32(in_);
  if (size > kMaxPayload) return Malformed("length");
  if (in_.size() - kLengthSize < size) return Next::kNeedMore;
  std::string message = in_.substr(kLengthSize, size);
  in_.erase(0, kLengthSize + size);
  return ParseMessage(message, header, payload, immediate);
}

Result<ThriftAdapter::Next> ThriftAdapter::ParseMessage(std::string_view message,
                                                        FrameHeader* header, Buffer* payload,
                                                        std::string* immediate) {
  Decoder d(message);
  uint8_t id = d.U8();
  uint8_t version_and_type = d.U8();
  uint64_t sequence = d.Varint();
  std::string_view name = d.Bytes();
  uint8_t type = version_and_type >> 5;
  if (!d.ok() || id != kCompactId || (version_and_type & 0x1f) != kCompactVersion) {
    return Malformed("envelope");
  }
  if ((type != kCall && type != kOneWayCall) || name.size() > kMaxName || sequence > UINT32_MAX) {
    return Malformed("call");
  }
  uint16_t method = idl::ClientMethodByName(name);
  if (method == 0) {
    if (type == kOneWayCall) return Next::kNeedMore;
    *immediate =
        ApplicationException(sequence, name, "unknown method " + Printable(name), kUnknownMethod);
    return Next::kReply;
  }
  // The arguments are a struct of one field, 1: the request. Without it the request is empty.
  std::string_view arguments = d.rest();
  std::string_view request = arguments;
  if (arguments.size() > 2 && arguments.front() == kFirstFieldIsStruct &&
      arguments.back() == kStop) {
    request = arguments.substr(1, arguments.size() - 2);
  } else if (arguments != std::string_view(&kStop, 1)) {
    return Malformed("arguments");
  }
  *header = FrameHeader();
  header->type = type == kCall ? FrameType::kRequest : FrameType::kOneWay;
  header->method = method;
  header->request_id = ++request_id_;
  *payload = Buffer::Copy(request);
  if (type == kCall) {
    call_in_hand_ = true;
    method_name_ = std::string(name);
    sequence_ = sequence;
  }
  return Next::kRequest;
}

std::string ThriftAdapter::EncodeReply(const FrameHeader& header, const std::string& payload) {
  bool is_reply = header.type == FrameType::kReply;
  if (!is_reply && header.type != FrameType::kError) return {};
  if (!call_in_hand_ || header.request_id != request_id_) return {};
  call_in_hand_ = false;
  std::string body;
  if (is_reply) {
    body.push_back(0x0C);  // field 0 cannot be written as a delta: type, then id 0
    body.push_back(0);
  } else {
    body.push_back(kFirstFieldIsStruct);  // field 1: DfsError, which is what error frames carry
  }
  body += payload;
  body.push_back(kStop);
  return Framed(kReplyMessage, sequence_, method_name_, body);
}

}  // namespace dfs::rpc
