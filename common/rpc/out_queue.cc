#include "common/rpc/out_queue.h"

#include <sys/socket.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "common/base/check.h"
#include "common/rpc/frame.h"

namespace dfs::rpc {

namespace {
constexpr size_t kCopyBelow =
    8u << 10;  // copying this much costs less than an iovec and a reference
constexpr size_t kMaxTail = 128u << 10;  // then it becomes a segment
constexpr size_t kMaxPieces = 64;
constexpr size_t kKeepCapacity = 256u << 10;
}  // namespace

void OutQueue::AddFrame(const FrameHeader& header, std::span<const Buffer> parts) {
  size_t payload = 0;
  for (const Buffer& part : parts) payload += part.size();
  DFS_CHECK(payload <= kMaxPayload, "payload of {} bytes", payload);
  char encoded[kFrameHeaderSize];
  EncodeFrameHeader(header, static_cast<uint32_t>(payload), encoded);
  AddBytes({encoded, sizeof(encoded)});
  for (const Buffer& part : parts) {
    if (part.size() < kCopyBelow) {
      AddBytes(part.view());
    } else {
      AddBuffer(part);
    }
  }
}

void OutQueue::AddBytes(std::string_view bytes) {
  if (tail_.size() >= kMaxTail) SealTail();
  tail_.append(bytes);
  bytes_ += bytes.size();
}

void OutQueue::AddBuffer(Buffer buffer) {
  if (buffer.empty()) return;
  SealTail();
  bytes_ += buffer.size();
  segments_.push_back(std::move(buffer));
}

void OutQueue::SealTail() {
  if (tail_.empty()) return;
  segments_.emplace_back(std::move(tail_));
  tail_.clear();
}

ssize_t OutQueue::SendPieces(int fd) {
  SealTail();
  const bool with_file = !files_.empty() && files_.front().at == sent_;
  // A file goes with the first byte of its frame: what is behind the next one waits for the next call.
  size_t room = bytes_;
  if (files_.size() > (with_file ? 1 : 0)) room = files_[with_file ? 1 : 0].at - sent_;
  iovec pieces[kMaxPieces];
  size_t count = 0;
  size_t skip = written_;
  for (const Buffer& segment : segments_) {
    if (count == kMaxPieces || room == 0) break;
    const size_t size = std::min(segment.size() - skip, room);
    pieces[count].iov_base = const_cast<char*>(segment.data()) + skip;
    pieces[count].iov_len = size;
    room -= size;
    skip = 0;
    ++count;
  }
  msghdr message{};
  message.msg_iov = pieces;
  message.msg_iovlen = count;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (with_file) {
    message.msg_control = control;
    message.msg_controllen = sizeof(control);
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int));
    const int passed = files_.front().file->fd();
    std::memcpy(CMSG_DATA(head), &passed, sizeof(passed));
  }
  ssize_t n = ::sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (n < 0 && with_file &&
      errno == ETOOMANYREFS) {  // too many are on their way: it can do without
    files_.pop_front();
    return SendPieces(fd);
  }
  if (n > 0 && with_file) files_.pop_front();
  return n;
}

Status OutQueue::WriteTo(int fd) {
  while (bytes_ > 0) {
    ssize_t n = 0;
    if (segments_.empty() && files_.empty()) {
      n = ::send(fd, tail_.data() + written_, tail_.size() - written_, MSG_NOSIGNAL | MSG_DONTWAIT);
    } else {
      n = SendPieces(fd);
    }
    if (n >= 0) {
      Consume(static_cast<size_t>(n));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return Status();
    } else if (errno != EINTR) {
      return Status::FromSystem(errno, "send");
    }
  }
  return Status();
}

void OutQueue::Consume(size_t bytes) {
  bytes_ -= bytes;
  sent_ += bytes;
  written_ += bytes;
  while (!segments_.empty() && written_ >= segments_.front().size()) {
    written_ -= segments_.front().size();
    segments_.pop_front();
  }
  if (segments_.empty() && written_ == tail_.size()) {
    written_ = 0;
    tail_.clear();
    if (tail_.capacity() > kKeepCapacity) tail_.shrink_to_fit();
  }
}

}  // namespace dfs::rpc
