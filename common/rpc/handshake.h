// The preamble of a connection as two pure state machines: no sockets, no clock; nonces come in.
// The messages and the reasoning about attacks are in docs/rpc.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "common/base/status.h"
#include "common/rpc/socket_network.h"
#include "common/rpc/transport.h"

namespace dfs::rpc {

inline constexpr std::string_view kPreambleMagic = "DFS1";
inline constexpr size_t kPreambleHeaderSize = 8;  // magic, kind, 0, length of the body
inline constexpr size_t kMaxPreambleBody = 1024;
inline constexpr size_t kNonceSize = 32;
inline constexpr uint16_t kMinVersion = 1;
inline constexpr uint16_t kMaxVersion = 1;

enum class PreambleKind : uint8_t {
  kHello = 1,      // client: who it is, versions, method, nonce
  kChallenge = 2,  // server: its nonce (method hmac only)
  kProof = 3,      // client: its MAC
  kWelcome = 4,    // server: accepted; its MAC
  kRefusal = 5,    // server: a Status; then it closes
};

/// Size of the message's body from its first kPreambleHeaderSize bytes, checked; kProtocol
/// otherwise.
Result<size_t> PreambleBodySize(std::string_view header);
/// The last word of a server that does not accept.
std::string EncodeRefusal(const Status& why);

/// What one message led to.
struct HandshakeStep {
  std::string send;  // to the other side, may be empty
  bool complete = false;
  Status failure;  // not ok: after sending, close and report this
};

/// How the connection reaches the other process; what the kernel says about it.
struct TransportFacts {
  bool is_unix = false;
  uint32_t uid = 0;  // SO_PEERCRED of Unix sockets
  uint32_t gid = 0;
  uint32_t own_uid = 0;
  std::string address;
};

class ClientHandshake {
 public:
  /// nonce: kNonceSize random bytes.
  ClientHandshake(std::shared_ptr<const NetworkIdentity> self, TransportFacts facts,
                  uint64_t session, std::string nonce);
  /// The hello; a failure when this client may not even ask (no key and not --insecure).
  Result<std::string> Start();
  /// One whole message, header included.
  HandshakeStep OnMessage(std::string_view message);
  /// After completion.
  const PeerIdentity& peer() const { return peer_; }

 private:
  HandshakeStep OnChallenge(std::string_view message, std::string_view body);
  HandshakeStep OnWelcome(std::string_view body);

  std::shared_ptr<const NetworkIdentity> self_;
  TransportFacts facts_;
  uint64_t session_;
  std::string nonce_;
  bool hmac_ = false;
  std::string transcript_;  // hello and challenge as they travelled; what both MACs cover
  bool challenged_ = false;
  PeerIdentity peer_;
};

class ServerHandshake {
 public:
  ServerHandshake(std::shared_ptr<const NetworkIdentity> self, TransportFacts facts,
                  std::string nonce);
  HandshakeStep OnMessage(std::string_view message);
  const PeerIdentity& peer() const { return peer_; }
  /// The hello has come.
  bool began() const { return version_ != 0; }
  /// A plain Thrift client has no preamble: what it is then. kUnauthenticated where method none is
  /// not allowed.
  Result<PeerIdentity> PlainThriftPeer() const;

 private:
  HandshakeStep OnHello(std::string_view message, std::string_view body);
  HandshakeStep OnProof(std::string_view body);
  std::string Welcome(std::string_view mac) const;
  Status CheckCluster(Role role, std::string_view cluster_id) const;

  std::shared_ptr<const NetworkIdentity> self_;
  TransportFacts facts_;
  std::string nonce_;
  uint16_t version_ = 0;
  std::string transcript_;
  bool challenged_ = false;
  PeerIdentity peer_;
};

}  // namespace dfs::rpc
