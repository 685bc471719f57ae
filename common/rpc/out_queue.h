// OutQueue: what waits to be written to one socket. Small things are gathered in one piece of
// memory, large buffers are referenced; one system call writes as much of both as the socket takes.
// Thread-compatible.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <string_view>

#include "common/base/buffer.h"
#include "common/base/status.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

class OutQueue {
 public:
  /// Queues one frame whose payload is the parts in order.
  void AddFrame(const FrameHeader& header, std::span<const Buffer> parts);
  void AddBytes(std::string_view bytes);
  void AddBuffer(Buffer buffer);
  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }
  /// Writes until the queue is empty or the socket is full. An error is final.
  Status WriteTo(int fd);

 private:
  void SealTail();
  void Consume(size_t bytes);

  // Order on the wire: segments_, then tail_. written_ counts into the first of them.
  std::deque<Buffer> segments_;
  std::string tail_;
  size_t written_ = 0;
  size_t bytes_ = 0;
};

}  // namespace dfs::rpc
