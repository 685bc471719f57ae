// Plain Thrift on our port: a stock TFramedTransport + TCompactProtocol client speaks to the same
// request handlers. Only the envelope is transcoded; the request and reply structs pass through as
// bytes, because our frames carry the same compact structs. No sockets here. Thread-compatible.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/buffer.h"
#include "common/base/status.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

class ThriftAdapter {
 public:
  /// Whether a connection's first 8 bytes are those of a plain Thrift client.
  static bool LooksLikeThrift(std::string_view first_bytes);

  /// Bytes from the client; kept until taken by Next(). At most one message and one read are kept
  /// when the caller does not read on while a call is in hand.
  void Feed(std::string_view bytes) { in_.append(bytes); }

  enum class Next {
    kNeedMore,  // read on
    kRequest,   // header and payload are a request frame to deliver
    kReply,     // *immediate answers without the handler (unknown method)
  };
  /// Takes the next message. Only when no call is in hand: stock clients expect replies in order.
  Result<Next> TakeNext(FrameHeader* header, Buffer* payload, std::string* immediate);
  bool call_in_hand() const { return call_in_hand_; }

  /// The reply or error frame for the call in hand as a Thrift message; "" for a frame that such a
  /// client cannot take (requests of ours, packets, another call's reply).
  std::string EncodeReply(const FrameHeader& header, const std::string& payload);

 private:
  Result<Next> ParseMessage(std::string_view message, FrameHeader* header, Buffer* payload,
                            std::string* immediate);

  std::string in_;
  bool call_in_hand_ = false;
  std::string method_name_;
  uint64_t sequence_ = 0;  // the client's, as a varint's value
  uint64_t request_id_ = 0;
};

}  // namespace dfs::rpc
