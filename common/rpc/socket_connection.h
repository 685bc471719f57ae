// Internal to the socket transport: one socket with its preamble, parser and queue. Confined to the
// loop of its network. Lives as long as the loop watches it, the network lists it, or its user
// holds it.
#pragma once

#include <sys/uio.h>

#include <deque>
#include <memory>
#include <span>
#include <string>

#include "common/rpc/frame.h"
#include "common/rpc/handshake.h"
#include "common/rpc/out_queue.h"
#include "common/rpc/socket_network_impl.h"
#include "common/rpc/socket_util.h"
#include "common/rpc/thrift_adapter.h"

namespace dfs::rpc {

class SocketCore : public std::enable_shared_from_this<SocketCore> {
 public:
  using Ready = UniqueFunction<void(Result<ConnectionPtr>)>;

  /// Goes through the addresses until one answers, then through the preamble. ready is called once,
  /// never from within.
  static void Connect(const std::shared_ptr<SocketNetworkImpl>& network,
                      std::vector<SocketAddress> addresses, std::string name,
                      ConnectOptions options, Ready ready);
  /// Takes an accepted socket through the server's side of the preamble. ready is called only on
  /// success (a refused client is the server's log's business).
  static void Accept(const std::shared_ptr<SocketNetworkImpl>& network, int fd, Ready ready);

  explicit SocketCore(const std::shared_ptr<SocketNetworkImpl>& network);
  ~SocketCore();

  // What the Connection in front of it does.
  void Start(Connection::Handler* handler);
  void Send(const FrameHeader& header, std::span<const Buffer> parts);
  void SendWithFile(FrameHeader header, Buffer payload, std::shared_ptr<File> file);
  void AcceptFiles() { accept_files_ = peer_.is_unix; }
  std::shared_ptr<File> TakeFile();
  void PauseReading(bool paused);
  void Close();
  size_t queued_bytes() const { return out_.bytes(); }
  const PeerIdentity& peer() const { return peer_; }
  SocketNetworkImpl& network() { return *network_; }

  // What the network does.
  /// Writes what is queued; once a round.
  void Flush();
  /// Every so often: looks for connections on which nothing has moved for too long.
  void Sweep(int64_t interval_ns);
  /// Ends with OnClosed.
  void Fail(const Status& why);

 private:
  enum class State { kConnecting, kHandshake, kOpen, kLinger, kClosed };

  // Connecting.
  void TryNextAddress(Status last_error);
  void OnConnectEvent();
  void BeginClientHandshake();
  void ArmHandshakeTimer(int64_t timeout_ns);
  // Preamble.
  void OnHandshakeReadable();
  bool ReadHandshakeMessage();
  void RunHandshakeStep(HandshakeStep step);
  void BecomeOpen(PeerIdentity peer);
  void BecomeThrift();
  void Linger();
  // Open.
  void OnEvents(uint32_t events);
  void OnReadable();
  /// One system call; false when there is no more for now or the connection ended.
  bool ReadOnce(size_t* total);
  /// recvmsg, which may bring files.
  ssize_t ReceivePieces(iovec* pieces);
  bool Deliver(std::string_view bytes);
  void DeliverFrame(const FrameHeader& header, Buffer payload);
  void DeliverHeld();
  void DeliverThrift();
  void ScheduleDelivery();
  void MarkDirty();
  /// False when the connection ended.
  bool WriteQueued();
  void FailLater(Status why);
  // Common.
  void UpdateInterest();
  bool WantsRead() const;
  void Release();
  void CloseFd();

  std::shared_ptr<SocketNetworkImpl> network_;
  State state_ = State::kConnecting;
  int fd_ = -1;
  uint32_t interest_ = 0;  // what the loop watches, 0: not at all

  // Until open.
  Ready ready_;
  std::vector<SocketAddress> addresses_;
  size_t next_address_ = 0;
  std::string name_;
  ConnectOptions options_;
  Executor::TimerId handshake_timer_ = 0;
  Executor::TimerId retry_timer_ = 0;
  std::unique_ptr<ClientHandshake> client_;
  std::unique_ptr<ServerHandshake> server_;
  std::string preamble_in_;

  // Open.
  PeerIdentity peer_;
  Connection::Handler* handler_ = nullptr;
  FrameParser parser_;
  std::unique_ptr<ThriftAdapter> thrift_;
  OutQueue out_;
  std::string held_;  // read, but not yet delivered: paused or out of budget
  bool accept_files_ = false;
  std::deque<std::shared_ptr<File>> files_in_;  // not claimed by a frame yet
  std::shared_ptr<File> file_of_frame_;         // while it is delivered
  bool paused_ = false;
  bool large_frames_ = false;  // what comes is bulk: read headers alone
  bool delivery_scheduled_ = false;
  bool write_blocked_ = false;
  bool above_window_ = false;
  bool dirty_ = false;
  Status fail_later_;
  bool read_progress_ = false;
  bool write_progress_ = false;
  int64_t idle_ns_ = 0;
  int64_t stalled_ns_ = 0;
  bool accepted_ = false;
};

}  // namespace dfs::rpc
