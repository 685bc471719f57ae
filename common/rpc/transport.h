// Transport: connections that carry frames, between executors. Two implementations: sockets on an
// event loop (socket_network.h), and the simulator's network (tests/sim). Everything above - RPC,
// Raft links, block streams - is written against this file only and runs in both worlds.
//
// A connection begins with the preamble (magic "DFS1", version range, cluster id, role, ids,
// authentication; see docs/rpc.md) which the implementation completes before it hands the
// connection over.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/buffer.h"
#include "common/base/env.h"
#include "common/base/executor.h"
#include "common/base/ids.h"
#include "common/base/status.h"

namespace dfs::rpc {

/// "host:port", "[v6]:port" or "unix:/path".
struct Address {
  enum class Kind { kTcp, kUnix };
  Kind kind = Kind::kTcp;
  std::string host;  // or the socket's path
  uint16_t port = 0;

  static Result<Address> Parse(std::string_view text);
  std::string ToString() const;
  friend bool operator==(const Address&, const Address&) = default;
};

enum class Role : uint8_t { kClient = 1, kDatanode = 2, kNamenode = 3, kAdmin = 4 };

/// Who is at the other end, as the preamble established it.
struct PeerIdentity {
  Role role = Role::kClient;
  uint64_t node_id = 0;  // namenode or datanode id, 0 for clients
  bool is_unix = false;  // then uid and gid are the kernel's word (SO_PEERCRED)
  uint32_t uid = 0;
  uint32_t gid = 0;
  bool key_authenticated = false;  // HMAC with the cluster key
  bool plain_thrift = false;       // a stock framed Thrift client
  std::string address;             // for logs
  /// May assert the uid of those it speaks for: the key's holder, root or the daemon's own user on
  /// a Unix socket, anyone under --insecure.
  bool trusted = false;
  std::string cluster_id;  // what the other side says, "" when it does not know one
  uint64_t session =
      0;  // the session a client says it connects for, 0 none; a hint, proves nothing
};

enum class FrameType : uint8_t { kRequest = 1, kReply = 2, kError = 3, kOneWay = 4, kPacket = 5 };

struct FrameHeader {
  FrameType type = FrameType::kRequest;
  uint16_t method = 0;
  uint32_t flags = 0;
  uint64_t request_id = 0;
  /// Milliseconds the sender still waits, 0 when it does not say. Relative, as clocks differ.
  uint32_t timeout_ms = 0;
  /// Requests: min_applied_index; replies: applied_index. 0 when it does not say.
  uint64_t applied_index = 0;
};

/// In the flags of a reply: an open file comes with it.
inline constexpr uint32_t kFlagWithFile = 1u << 31;

/// A frame's payload may not be longer.
inline constexpr size_t kMaxPayload = 16u << 20;

/// One bidirectional, ordered connection. Confined to its executor, except where said.
/// Closing is idempotent; after OnClosed no handler method is called.
class Connection {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnFrame(const FrameHeader& header, Buffer payload) = 0;
    /// The peer closed, the connection broke, or a limit was passed. Last call. The connection may
    /// be released here.
    virtual void OnClosed(const Status& why) = 0;
    /// queued_bytes() fell below the low-water mark after it had been above the high one.
    virtual void OnWritable() {}
  };

  virtual ~Connection() = default;
  /// Starts delivery. The handler must outlive the connection or call Close() first.
  virtual void Start(Handler* handler) = 0;
  /// Queues one frame whose payload is the parts in order. Never blocks. The connection closes
  /// itself with kOverloaded when its queue passes the hard limit; a sender of bulk data stops at
  /// send_window() and goes on at OnWritable().
  virtual void Send(const FrameHeader& header, std::vector<Buffer> parts) = 0;
  /// The same for one part; implementations may save the vector.
  virtual void Send(const FrameHeader& header, Buffer payload) {
    std::vector<Buffer> parts;
    parts.push_back(std::move(payload));
    Send(header, std::move(parts));
  }
  /// Whether open files can go along with replies: between processes of one host, on a Unix socket.
  virtual bool passes_files() const { return false; }
  /// A reply and an open file; the other side may do with it what it was opened for. Without the file when
  /// passes_files() is false.
  virtual void SendWithFile(const FrameHeader& header, Buffer payload, std::shared_ptr<File> file) {
    (void)file;
    Send(header, std::move(payload));
  }
  /// Files that come are kept for TakeFile(); otherwise they are closed unseen.
  virtual void AcceptFiles() {}
  /// Within OnFrame: the file that came with this frame, once. Null: none did, or it was lost on the way
  /// (a process may have no descriptor left).
  virtual std::shared_ptr<File> TakeFile() { return nullptr; }
  virtual size_t queued_bytes() const = 0;
  /// High-water mark of queued_bytes() for polite senders.
  virtual size_t send_window() const = 0;
  /// Stops reading from the peer (back-pressure) until resumed.
  virtual void PauseReading(bool paused) = 0;
  /// Closes now; OnClosed is not called for one's own Close.
  virtual void Close() = 0;
  virtual const PeerIdentity& peer() const = 0;
  virtual Executor& executor() = 0;
};
using ConnectionPtr = std::unique_ptr<Connection>;

class Listener {
 public:
  virtual ~Listener() = default;  // stops accepting; accepted connections live on
  /// With the port that was really bound.
  virtual const Address& address() const = 0;
};

struct ConnectOptions {
  int64_t timeout_ns = 5 * kSecond;
  uint64_t session = 0;  // told to the other side in the preamble
};

/// Makes connections whose handlers run on one executor. Confined to that executor.
class Network {
 public:
  using ConnectDone = UniqueFunction<void(Result<ConnectionPtr>)>;
  /// Called on the connection's executor.
  using AcceptHandler = std::function<void(ConnectionPtr)>;

  virtual ~Network() = default;
  virtual Executor& executor() = 0;
  /// Connects and completes the preamble. kUnavailable, kTimedOut, kUnauthenticated, kWrongCluster,
  /// kVersionMismatch. The result arrives on the executor, never from within the call.
  virtual void Connect(const Address& address, const ConnectOptions& options, ConnectDone done) = 0;
  /// Accepts on this network's executor.
  virtual Result<std::unique_ptr<Listener>> Listen(const Address& address,
                                                   AcceptHandler accept) = 0;
  /// Accepts, and gives each connection an executor of its own: a thread that may block on the disk
  /// (block streams). In simulation the same executor. The handler gets the Network of that
  /// executor too, for onward connections.
  using StreamAcceptHandler = std::function<void(ConnectionPtr, Network&)>;
  virtual Result<std::unique_ptr<Listener>> ListenForStreams(const Address& address,
                                                             StreamAcceptHandler accept) = 0;
};

}  // namespace dfs::rpc
