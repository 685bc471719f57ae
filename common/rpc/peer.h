// RpcPeer: requests and replies over one connection, in both directions, many in flight.
#pragma once

#include <functional>
#include <memory>
#include <unordered_map>

#include "common/rpc/transport.h"

namespace dfs::rpc {

/// Numbers of the methods; see common/idl/methods.h.
using Method = uint16_t;

struct Reply {
  Buffer payload;
  uint64_t applied_index = 0;
};
using ReplyCallback = UniqueFunction<void(Result<Reply>)>;

/// Answers one incoming request, exactly once, on the connection's executor; answering after the
/// connection closed has no effect. Destroying it unanswered answers kInternal.
class Responder {
 public:
  virtual ~Responder() = default;
  virtual void Send(Buffer payload, uint64_t applied_index) = 0;
  virtual void Fail(const Status& error) = 0;
};
using ResponderPtr = std::unique_ptr<Responder>;

struct CallContext {
  const PeerIdentity* peer = nullptr;  // valid during the call
  std::weak_ptr<class RpcPeer> connection;
  int64_t deadline_ns = 0;  // BootNs, 0 when none
  uint64_t min_applied_index = 0;
};

/// Serves the requests of many connections. One-way frames come with a null responder.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  virtual void HandleRequest(Method method, Buffer request, const CallContext& context,
                             ResponderPtr responder) = 0;
  /// The peer is gone; its RpcPeer is no longer usable.
  virtual void HandleDisconnect(RpcPeer& peer, const Status& why) {
    (void)peer;
    (void)why;
  }
  /// Block-stream packets; only endpoints that speak them override it.
  virtual void HandlePacket(RpcPeer& peer, const FrameHeader& header, Buffer payload) {
    (void)peer;
    (void)header;
    (void)payload;
  }
};

/// Confined to the connection's executor. Closes when the last reference goes.
class RpcPeer : public std::enable_shared_from_this<RpcPeer>, private Connection::Handler {
 public:
  /// In each direction; beyond it calls end with kOverloaded.
  static constexpr size_t kMaxInFlight = 1024;
  static constexpr size_t kMaxIncomingBytes = 64u << 20;

  /// handler may be null (a client that takes no requests); it must outlive the peer.
  static std::shared_ptr<RpcPeer> Create(ConnectionPtr connection, RequestHandler* handler);
  ~RpcPeer() override;

  /// done is called once: reply, the peer's error, kTimedOut, or kClosed. timeout_ns 0: no
  /// deadline.
  void Call(Method method, Buffer request, int64_t timeout_ns, ReplyCallback done,
            uint64_t min_applied_index = 0);
  void OneWay(Method method, Buffer message);
  /// A packet of a block stream; flow control by connection().
  void SendPacket(uint64_t stream, uint32_t flags, std::vector<Buffer> parts);
  void Close();
  bool closed() const { return closed_; }
  Connection& connection() { return *connection_; }
  const PeerIdentity& identity() const { return connection_->peer(); }
  /// Free for the handler's use: what this connection means to it.
  std::shared_ptr<void> user_state;
  /// Called when the connection can take bulk data again.
  std::function<void()> on_writable;
  /// Called after HandleDisconnect, for owners that are not the handler. Not called for one's own
  /// Close().
  std::function<void(const Status&)> on_closed;

 private:
  class ResponderImpl;
  struct Pending {
    ReplyCallback done;
    int64_t deadline_ns = 0;  // 0: none
  };
  RpcPeer(ConnectionPtr connection, RequestHandler* handler);
  void OnFrame(const FrameHeader& header, Buffer payload) override;
  void OnClosed(const Status& why) override;
  void OnWritable() override;
  void HandleIncoming(const FrameHeader& header, Buffer payload);
  void FinishCall(uint64_t request_id, Result<Reply> result);
  void FailAll(const Status& why);
  void ArmDeadlines(int64_t deadline_ns);
  void ExpireCalls();

  ConnectionPtr connection_;
  RequestHandler* handler_;
  std::unordered_map<uint64_t, Pending> pending_;
  uint64_t next_request_id_ = 1;
  size_t incoming_in_flight_ = 0;
  size_t incoming_bytes_ = 0;  // of requests that are not answered yet
  const Clock& clock_;
  Executor::TimerId timer_ = 0;
  int64_t timer_deadline_ns_ = 0;
  bool closed_ = false;
};

/// The error frame's payload, both ways (code, message, retry_after_ms, leader_hint).
Buffer EncodeError(const Status& error);
Status DecodeError(std::string_view payload);

}  // namespace dfs::rpc
