// OutQueue: what waits to be written to one socket. Small things are gathered in one piece of
// memory, large buffers are referenced; one system call writes as much of both as the socket takes.
// Thread-compatible.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "common/base/buffer.h"
#include "common/base/env.h"
#include "common/base/status.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

class OutQueue {
 public:
  /// Queues one frame whose payload is the parts in order.
  void AddFrame(const FrameHeader& header, std::span<const Buffer> parts);
  void AddBytes(std::string_view bytes);
  void AddBuffer(Buffer buffer);
  /// The open file leaves with the next byte that is added; on Unix sockets only.
  void AddFile(std::shared_ptr<File> file) { files_.push_back({sent_ + bytes_, std::move(file)}); }
  size_t bytes() const { return bytes_; }
  bool empty() const { return bytes_ == 0; }
  /// Writes until the queue is empty or the socket is full. An error is final.
  Status WriteTo(int fd);

 private:
  void SealTail();
  /// One system call for all that is queued, up to the next file.
  ssize_t SendPieces(int fd);
  void Consume(size_t bytes);

  // Order on the wire: segments_, then tail_. written_ counts into the first of them.
  std::deque<Buffer> segments_;
  std::string tail_;
  size_t written_ = 0;
  size_t bytes_ = 0;
  uint64_t sent_ = 0;  // ever
  struct PassedFile {
    uint64_t at;  // in the stream of bytes
    std::shared_ptr<File> file;
  };
  std::deque<PassedFile> files_;
};

}  // namespace dfs::rpc
