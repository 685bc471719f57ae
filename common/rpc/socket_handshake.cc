// The first part of a connection's life: connecting, accepting, the preamble.
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "common/base/random.h"
#include "common/rpc/socket_connection.h"

namespace dfs::rpc {

namespace {

constexpr int64_t kConnectRetryNs = 2 * kMillisecond;
constexpr int64_t kLingerNs = kSecond;

std::string Nonce() {
  std::string nonce(kNonceSize, '\0');
  FillSecureRandom(nonce.data(), nonce.size());
  return nonce;
}

Status ConnectError(int error, const std::string& name) {
  std::string context = "cannot connect to " + name;
  if (error == EACCES || error == EPERM) return Status::FromSystem(error, context);
  return Status(Code::kUnavailable, Status::FromSystem(error, context).message());
}

}  // namespace

// ---- Connecting ----

void SocketCore::Connect(const std::shared_ptr<SocketNetworkImpl>& network,
                         std::vector<SocketAddress> addresses, std::string name,
                         ConnectOptions options, Ready ready) {
  auto core = std::make_shared<SocketCore>(network);
  core->addresses_ = std::move(addresses);
  core->name_ = std::move(name);
  core->options_ = options;
  core->ready_ = std::move(ready);
  network->Add(core);
  core->ArmHandshakeTimer(options.timeout_ns);
  core->TryNextAddress(Status(Code::kUnavailable, "no address for " + core->name_));
}

void SocketCore::TryNextAddress(Status last_error) {
  while (next_address_ < addresses_.size()) {
    const SocketAddress& address = addresses_[next_address_++];
    Result<int> fd = OpenSocket(address);
    if (!fd) {
      last_error = Status(Code::kUnavailable, fd.error().message());
      continue;
    }
    fd_ = *fd;
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&address.storage), address.size) == 0) {
      BeginClientHandshake();
      return;
    }
    int error = errno;
    if (error == EINPROGRESS) {
      UpdateInterest();
      return;
    }
    CloseFd();
    if (error == EAGAIN) {  // a Unix socket whose backlog is full
      --next_address_;
      retry_timer_ = network_->loop.RunAfter(kConnectRetryNs, [weak = weak_from_this()] {
        auto self = weak.lock();
        if (self == nullptr || self->state_ != State::kConnecting) return;
        self->retry_timer_ = 0;
        self->TryNextAddress(Status());
      });
      return;
    }
    last_error = ConnectError(error, name_);
  }
  Fail(last_error);
}

void SocketCore::OnConnectEvent() {
  int error = 0;
  socklen_t size = sizeof(error);
  if (::getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
  if (error != 0) {
    CloseFd();
    TryNextAddress(ConnectError(error, name_));
    return;
  }
  BeginClientHandshake();
}

void SocketCore::BeginClientHandshake() {
  SetConnectionOptions(fd_);
  state_ = State::kHandshake;
  client_ = std::make_unique<ClientHandshake>(network_->identity, FactsOf(fd_, name_),
                                              options_.session, Nonce());
  Result<std::string> hello = client_->Start();
  if (!hello) {
    Fail(hello.error());
    return;
  }
  HandshakeStep step;
  step.send = std::move(*hello);
  RunHandshakeStep(std::move(step));
}

void SocketCore::ArmHandshakeTimer(int64_t timeout_ns) {
  handshake_timer_ = network_->loop.RunAfter(timeout_ns, [weak = weak_from_this(), timeout_ns] {
    auto self = weak.lock();
    if (self == nullptr) return;
    self->handshake_timer_ = 0;
    const char* what =
        self->state_ == State::kConnecting ? "no connection to " : "no handshake with ";
    self->Fail(Status(Code::kTimedOut, what + self->name_ + " within " +
                                           std::to_string(timeout_ns / kMillisecond) + " ms"));
  });
}

void SocketCore::Accept(const std::shared_ptr<SocketNetworkImpl>& network, int fd, Ready ready) {
  auto core = std::make_shared<SocketCore>(network);
  core->fd_ = fd;
  core->accepted_ = true;
  core->state_ = State::kHandshake;
  core->ready_ = std::move(ready);
  SetConnectionOptions(fd);
  TransportFacts facts = FactsOf(fd, "");
  core->name_ = facts.address;
  core->server_ = std::make_unique<ServerHandshake>(network->identity, std::move(facts), Nonce());
  network->Add(core);
  core->ArmHandshakeTimer(network->limits.handshake_timeout_ns);
  core->UpdateInterest();
}

// ---- Preamble ----

bool SocketCore::ReadHandshakeMessage() {
  while (true) {
    size_t wanted = kPreambleHeaderSize;
    if (preamble_in_.size() >= kPreambleHeaderSize) {
      bool first = server_ != nullptr && !server_->began();
      if (first && ThriftAdapter::LooksLikeThrift(preamble_in_)) {
        BecomeThrift();
        return false;
      }
      Result<size_t> body = PreambleBodySize(preamble_in_);
      if (!body) {
        HandshakeStep step;
        if (server_ != nullptr) step.send = EncodeRefusal(body.error());
        step.failure = body.error().WithContext(name_);
        RunHandshakeStep(std::move(step));
        return false;
      }
      wanted += *body;
      if (preamble_in_.size() == wanted) return true;
    }
    // Exactly what belongs to the message: what follows it is for the frame parser.
    char buffer[kPreambleHeaderSize + kMaxPreambleBody];
    ssize_t n = ::recv(fd_, buffer, wanted - preamble_in_.size(), MSG_DONTWAIT);
    if (n > 0) {
      preamble_in_.append(buffer, static_cast<size_t>(n));
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return false;
    } else {
      Fail(Status(Code::kUnavailable,
                  "connection to " + name_ + " was closed during the handshake"));
      return false;
    }
  }
}

void SocketCore::OnHandshakeReadable() {
  while (state_ == State::kHandshake && ReadHandshakeMessage()) {
    std::string message = std::exchange(preamble_in_, {});
    RunHandshakeStep(client_ != nullptr ? client_->OnMessage(message)
                                        : server_->OnMessage(message));
  }
}

void SocketCore::RunHandshakeStep(HandshakeStep step) {
  if (!step.send.empty()) {
    out_.AddBytes(step.send);
    Status sent = out_.WriteTo(fd_);
    if (!sent.ok() && step.failure.ok()) {
      // A server that is full refuses before it has read our hello, and is gone: its refusal is what to report.
      if (client_ != nullptr && ReadHandshakeMessage()) {
        step = client_->OnMessage(std::exchange(preamble_in_, {}));
      }
      if (state_ != State::kHandshake) return;
      if (step.failure.ok()) step.failure = Status(Code::kUnavailable, sent.message());
    }
    write_blocked_ = sent.ok() && !out_.empty();
  }
  if (!step.failure.ok()) {
    if (server_ != nullptr) {
      network_->LogRefused(name_, step.failure);
      Linger();
    } else {
      Fail(step.failure.WithContext(name_));
    }
    return;
  }
  if (step.complete) {
    BecomeOpen(client_ != nullptr ? client_->peer() : server_->peer());
  } else {
    UpdateInterest();
  }
}

void SocketCore::Linger() {
  // Closing with unread input resets the connection, and the refusal might never be read.
  ready_ = nullptr;
  state_ = State::kLinger;
  ::shutdown(fd_, SHUT_WR);
  network_->loop.Cancel(handshake_timer_);
  ArmHandshakeTimer(kLingerNs);
  UpdateInterest();
}

void SocketCore::BecomeThrift() {
  Result<PeerIdentity> peer = server_->PlainThriftPeer();
  if (!peer) {
    network_->LogRefused(name_, peer.error());
    Linger();
    return;
  }
  thrift_ = std::make_unique<ThriftAdapter>();
  thrift_->Feed(std::exchange(preamble_in_, {}));
  BecomeOpen(std::move(*peer));
}

}  // namespace dfs::rpc
