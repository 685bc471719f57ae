#include "common/rpc/socket_connection.h"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/base/check.h"

namespace dfs::rpc {

namespace {

constexpr size_t kReadPerEvent = 1u << 20;  // then other connections have their turn
constexpr size_t kLargeFrame = 64u << 10;
constexpr size_t kReadBeforeLarge =
    4u << 10;  // enough for a header; the rest goes straight to its place
constexpr size_t kWriteAtOnce = 16u
                                << 10;  // bulk is on its way before the handler goes on to the disk
constexpr int64_t kBudgetRetryNs = 5 * kMillisecond;

/// What users hold. Dropping it closes.
class SocketConnection final : public Connection {
 public:
  explicit SocketConnection(std::shared_ptr<SocketCore> core) : core_(std::move(core)) {}
  ~SocketConnection() override { core_->Close(); }

  void Start(Handler* handler) override { core_->Start(handler); }
  void Send(const FrameHeader& header, std::vector<Buffer> parts) override {
    core_->Send(header, parts);
  }
  void Send(const FrameHeader& header, Buffer payload) override {
    core_->Send(header, {&payload, 1});
  }
  bool passes_files() const override { return core_->peer().is_unix; }
  void SendWithFile(const FrameHeader& header, Buffer payload,
                    std::shared_ptr<File> file) override {
    core_->SendWithFile(header, std::move(payload), std::move(file));
  }
  void AcceptFiles() override { core_->AcceptFiles(); }
  std::shared_ptr<File> TakeFile() override { return core_->TakeFile(); }
  size_t queued_bytes() const override { return core_->queued_bytes(); }
  size_t send_window() const override { return core_->network().limits.send_window_bytes; }
  void PauseReading(bool paused) override { core_->PauseReading(paused); }
  void Close() override { core_->Close(); }
  const PeerIdentity& peer() const override { return core_->peer(); }
  Executor& executor() override { return core_->network().loop; }

 private:
  std::shared_ptr<SocketCore> core_;
};

}  // namespace

SocketCore::SocketCore(const std::shared_ptr<SocketNetworkImpl>& network) : network_(network) {}

SocketCore::~SocketCore() {
  DFS_CHECK(fd_ < 0);
}

// ---- Open ----

void SocketCore::BecomeOpen(PeerIdentity peer) {
  network_->loop.Cancel(std::exchange(handshake_timer_, 0));
  peer_ = std::move(peer);
  state_ = State::kOpen;
  client_ = nullptr;
  server_ = nullptr;
  UpdateInterest();
  Ready ready = std::exchange(ready_, nullptr);
  ready(ConnectionPtr(std::make_unique<SocketConnection>(shared_from_this())));
}

void SocketCore::Start(Connection::Handler* handler) {
  if (state_ != State::kOpen) return;
  handler_ = handler;
  if (thrift_ != nullptr) ScheduleDelivery();
  UpdateInterest();
}

void SocketCore::Send(const FrameHeader& header, std::span<const Buffer> parts) {
  if (state_ != State::kOpen || !fail_later_.ok()) return;
  size_t before = out_.bytes();
  if (thrift_ != nullptr) {
    std::string payload;
    for (const Buffer& part : parts) payload.append(part.view());
    out_.AddBytes(thrift_->EncodeReply(header, payload));
    ScheduleDelivery();  // of the client's next call
  } else {
    out_.AddFrame(header, parts);
  }
  // Packets: a chain member forwards before it stores, which may block in this very callback.
  bool at_once = header.type == FrameType::kPacket || out_.bytes() - before >= kWriteAtOnce;
  if (at_once && !write_blocked_) {
    Status status = out_.WriteTo(fd_);
    write_progress_ = true;
    write_blocked_ = status.ok() && !out_.empty();
    if (write_blocked_) UpdateInterest();
    if (!status.ok()) FailLater(Status(Code::kClosed, status.message()));
  }
  const NetworkLimits& limits = network_->limits;
  if (out_.bytes() > limits.max_queued_bytes) {
    FailLater(Status(Code::kOverloaded, peer_.address + " does not read: send queue is full"));
  }
  if (out_.bytes() > limits.send_window_bytes) above_window_ = true;
  MarkDirty();
}

void SocketCore::SendWithFile(FrameHeader header, Buffer payload, std::shared_ptr<File> file) {
  if (state_ != State::kOpen || !fail_later_.ok()) return;
  if (peer_.is_unix && thrift_ == nullptr && file != nullptr && file->fd() >= 0) {
    header.flags |= kFlagWithFile;
    out_.AddFile(std::move(file));
  }
  Send(header, {&payload, 1});
}

void SocketCore::MarkDirty() {
  if (dirty_) return;
  dirty_ = true;
  network_->dirty.push_back(shared_from_this());
}

void SocketCore::FailLater(Status why) {
  if (fail_later_.ok()) fail_later_ = std::move(why);
  MarkDirty();
}

void SocketCore::Flush() {
  dirty_ = false;
  if (state_ != State::kOpen) return;
  if (!fail_later_.ok()) {
    Fail(fail_later_);
    return;
  }
  if (!WriteQueued()) return;
  if (above_window_ && out_.bytes() < network_->limits.send_window_bytes / 2) {
    above_window_ = false;
    if (handler_ != nullptr) handler_->OnWritable();
  }
}

bool SocketCore::WriteQueued() {
  if (out_.empty() || write_blocked_) return true;
  write_progress_ = true;
  Status status = out_.WriteTo(fd_);
  if (!status.ok()) {
    Fail(Status(Code::kClosed, status.message()));
    return false;
  }
  write_blocked_ = !out_.empty();
  if (write_blocked_) UpdateInterest();
  return true;
}

void SocketCore::OnEvents(uint32_t events) {
  if (state_ == State::kConnecting) {
    OnConnectEvent();
    return;
  }
  if ((events & EPOLLOUT) != 0 && write_blocked_) {
    write_blocked_ = false;
    if (state_ == State::kOpen) {
      Flush();
      UpdateInterest();
    } else if (out_.WriteTo(fd_).ok()) {
      write_blocked_ = !out_.empty();
      UpdateInterest();
    }
  }
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) == 0) return;
  if (state_ == State::kHandshake) {
    OnHandshakeReadable();
  } else if (state_ == State::kLinger) {
    ssize_t n = ::recv(fd_, network_->scratch.get(), SocketNetworkImpl::kScratchSize, MSG_DONTWAIT);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) Close();
  } else if (state_ == State::kOpen) {
    OnReadable();
  }
}

bool SocketCore::WantsRead() const {
  if (handler_ == nullptr || paused_ || !held_.empty() || parser_.blocked()) return false;
  return thrift_ == nullptr || !thrift_->call_in_hand();
}

void SocketCore::OnReadable() {
  size_t total = 0;
  while (state_ == State::kOpen && WantsRead() && total < kReadPerEvent) {
    if (!ReadOnce(&total)) break;
  }
  // Answers to what was just read leave now, in one piece: the peer works on while others are read. What comes
  // from elsewhere leaves at the end of the round.
  if (state_ == State::kOpen && dirty_ && fail_later_.ok()) WriteQueued();
}

bool SocketCore::ReadOnce(size_t* total) {
  char* scratch = network_->scratch.get();
  auto [direct, direct_size] = parser_.direct_space();
  size_t scratch_size =
      large_frames_ || direct_size > 0 ? kReadBeforeLarge : SocketNetworkImpl::kScratchSize;
  ssize_t n = 0;
  if (direct_size > 0 || accept_files_) {
    iovec pieces[2] = {{direct, direct_size}, {scratch, scratch_size}};
    n = accept_files_ ? ReceivePieces(pieces) : ::readv(fd_, pieces, 2);
  } else {
    n = ::recv(fd_, scratch, scratch_size, MSG_DONTWAIT);
  }
  if (n < 0) {
    if (errno == EINTR) return true;
    if (errno != EAGAIN && errno != EWOULDBLOCK) {
      Fail(Status(Code::kClosed,
                  Status::FromSystem(errno, "connection to " + peer_.address).message()));
    }
    return false;
  }
  if (n == 0) {
    Fail(Status(Code::kClosed, "connection closed by " + peer_.address));
    return false;
  }
  read_progress_ = true;
  size_t got = static_cast<size_t>(n);
  *total += got;
  size_t to_direct = std::min(got, direct_size);
  if (to_direct > 0) parser_.DirectDone(to_direct);
  if (!Deliver({scratch, got - to_direct})) return false;
  return got == direct_size + scratch_size;  // less: the socket is empty
}

ssize_t SocketCore::ReceivePieces(iovec* pieces) {
  std::vector<int> files;
  const ssize_t n = ReceiveWithFiles(fd_, pieces, 2, &files);
  for (const int file : files) {
    files_in_.push_back(AdoptDescriptor(file, "file passed by " + peer_.address));
  }
  // Each belongs to a reply that was asked for, one at a time.
  if (files_in_.size() > kMaxFilesAtOnce)
    FailLater(Status(Code::kProtocol, "files nobody asked for"));
  return n;
}

std::shared_ptr<File> SocketCore::TakeFile() {
  return std::exchange(file_of_frame_, nullptr);
}

void SocketCore::DeliverFrame(const FrameHeader& header, Buffer payload) {
  if (accept_files_ && header.type == FrameType::kReply && (header.flags & kFlagWithFile) != 0 &&
      !files_in_.empty()) {
    file_of_frame_ = std::move(files_in_.front());
    files_in_.pop_front();
  }
  handler_->OnFrame(header, std::move(payload));
  file_of_frame_ = nullptr;
}

bool SocketCore::Deliver(std::string_view bytes) {
  if (thrift_ != nullptr) {
    thrift_->Feed(bytes);
    DeliverThrift();
    return state_ == State::kOpen;
  }
  Result<size_t> taken = parser_.Feed(bytes, [this](const FrameHeader& header, Buffer payload) {
    large_frames_ = payload.size() >= kLargeFrame;
    DeliverFrame(header, std::move(payload));
    return state_ == State::kOpen && !paused_;
  });
  if (state_ != State::kOpen) return false;
  if (!taken) {
    Fail(taken.error().WithContext(peer_.address));
    return false;
  }
  if (*taken < bytes.size()) held_.assign(bytes.substr(*taken));
  if (parser_.blocked()) {
    network_->loop.RunAfter(kBudgetRetryNs, [weak = weak_from_this()] {
      if (auto self = weak.lock()) self->DeliverHeld();
    });
  }
  UpdateInterest();
  return WantsRead();
}

void SocketCore::DeliverHeld() {
  delivery_scheduled_ = false;
  if (state_ != State::kOpen || handler_ == nullptr || paused_) return;
  if (thrift_ != nullptr) {
    DeliverThrift();
    return;
  }
  if (held_.empty() && !parser_.blocked()) return;
  std::string bytes = std::exchange(held_, {});
  Deliver(bytes);
}

void SocketCore::DeliverThrift() {
  while (state_ == State::kOpen && handler_ != nullptr && !paused_) {
    FrameHeader header;
    Buffer payload;
    std::string immediate;
    Result<ThriftAdapter::Next> next = thrift_->TakeNext(&header, &payload, &immediate);
    if (!next) {
      Fail(next.error().WithContext(peer_.address));
      return;
    }
    if (*next == ThriftAdapter::Next::kNeedMore) break;
    if (*next == ThriftAdapter::Next::kReply) {
      out_.AddBytes(immediate);
      MarkDirty();
    } else {
      handler_->OnFrame(header, std::move(payload));
    }
  }
  if (state_ == State::kOpen) UpdateInterest();
}

void SocketCore::ScheduleDelivery() {
  if (delivery_scheduled_) return;
  delivery_scheduled_ = true;
  network_->loop.Post([self = shared_from_this()] { self->DeliverHeld(); });
}

void SocketCore::PauseReading(bool paused) {
  if (paused_ == paused || state_ != State::kOpen) return;
  paused_ = paused;
  if (!paused && (!held_.empty() || parser_.blocked() || thrift_ != nullptr)) ScheduleDelivery();
  UpdateInterest();
}

// ---- Ending ----

void SocketCore::Sweep(int64_t interval_ns) {
  if (state_ != State::kOpen) return;
  bool waits_for_peer = parser_.partial() && WantsRead();
  bool stalled = (waits_for_peer && !read_progress_) || (write_blocked_ && !write_progress_);
  bool idle = !read_progress_ && !write_progress_;
  stalled_ns_ = stalled ? stalled_ns_ + interval_ns : 0;
  idle_ns_ = idle ? idle_ns_ + interval_ns : 0;
  read_progress_ = false;
  write_progress_ = false;
  const NetworkLimits& limits = network_->limits;
  if (stalled_ns_ > limits.stall_timeout_ns) {
    Fail(Status(Code::kTimedOut, peer_.address + " stopped in the middle of a frame"));
  } else if (accepted_ && limits.idle_timeout_ns > 0 && idle_ns_ > limits.idle_timeout_ns) {
    Fail(Status(Code::kClosed, peer_.address + " was idle for too long"));
  }
}

void SocketCore::Fail(const Status& why) {
  if (state_ == State::kClosed) return;
  Status reason = why;  // why may be a member
  auto self = shared_from_this();
  bool connecting = state_ == State::kConnecting || (state_ == State::kHandshake && !accepted_);
  Connection::Handler* handler = std::exchange(handler_, nullptr);
  Ready ready = std::exchange(ready_, nullptr);
  Release();
  if (handler != nullptr) handler->OnClosed(reason);
  if (connecting && ready) {
    // Never from within Connect(), which may be where we are.
    network_->loop.Post([ready = std::move(ready), reason]() mutable { ready(reason); });
  }
}

void SocketCore::Close() {
  if (state_ == State::kClosed) return;
  auto self = shared_from_this();
  handler_ = nullptr;
  // What was sent just before is worth one try.
  if (state_ == State::kOpen && !out_.empty() && !write_blocked_) {
    [[maybe_unused]] Status ignored = out_.WriteTo(fd_);
  }
  Ready dropped = std::exchange(ready_, nullptr);
  Release();
}

void SocketCore::Release() {
  state_ = State::kClosed;
  network_->loop.Cancel(std::exchange(handshake_timer_, 0));
  network_->loop.Cancel(std::exchange(retry_timer_, 0));
  CloseFd();
  out_ = OutQueue();
  files_in_.clear();
  held_ = std::string();
  network_->Remove(shared_from_this());
}

void SocketCore::CloseFd() {
  if (fd_ < 0) return;
  if (interest_ != 0) network_->loop.UnwatchFd(fd_);
  interest_ = 0;
  ::close(fd_);
  fd_ = -1;
}

void SocketCore::UpdateInterest() {
  uint32_t wanted = 0;
  switch (state_) {
    case State::kConnecting:
      wanted = EPOLLOUT;
      break;
    case State::kHandshake:
    case State::kLinger:
      wanted = EPOLLIN;
      break;
    case State::kOpen:
      wanted = WantsRead() ? uint32_t{EPOLLIN} : 0;
      break;
    case State::kClosed:
      return;
  }
  if (write_blocked_) wanted |= EPOLLOUT;
  if (wanted == interest_) return;
  // With nothing to wait for the descriptor is not watched at all: epoll would report a hang-up
  // again and again.
  if (interest_ == 0) {
    network_->loop.WatchFd(fd_, wanted,
                           [self = shared_from_this()](uint32_t e) { self->OnEvents(e); });
  } else if (wanted == 0) {
    network_->loop.UnwatchFd(fd_);
  } else {
    network_->loop.ChangeFd(fd_, wanted);
  }
  interest_ = wanted;
}

}  // namespace dfs::rpc
