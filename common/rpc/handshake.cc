#include "common/rpc/handshake.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/auth/mac.h"
#include "common/base/codec.h"
#include "common/base/logging.h"

namespace dfs::rpc {

namespace {

enum Method : uint8_t { kNone = 0, kHmac = 1 };
constexpr size_t kMaxClusterId = 64;
constexpr size_t kMaxRefusalText = 400;

std::string Message(PreambleKind kind, std::string_view body) {
  std::string out(kPreambleMagic);
  Encoder e(&out);
  e.U8(static_cast<uint8_t>(kind));
  e.U8(0);
  e.U16(static_cast<uint16_t>(body.size()));
  out.append(body);
  return out;
}

bool IsRole(uint8_t role) {
  return role >= static_cast<uint8_t>(Role::kClient) && role <= static_cast<uint8_t>(Role::kAdmin);
}
bool IsNode(Role role) {
  return role == Role::kDatanode || role == Role::kNamenode;
}

/// The direction is part of what is signed: neither side's MAC can be sent back to it as the
/// other's.
std::string Mac(const NetworkIdentity& self, std::string_view direction,
                std::string_view transcript) {
  std::string text(direction);
  text.push_back('\0');
  text.append(transcript);
  return HmacSha256(DeriveKey(self.cluster_key, "dfs rpc handshake 1"), text);
}
constexpr std::string_view kFromClient = "client to server";
constexpr std::string_view kFromServer = "server to client";

HandshakeStep Fail(Status why) {
  HandshakeStep step;
  step.failure = std::move(why);
  return step;
}

HandshakeStep Refuse(Status why) {
  HandshakeStep step;
  step.send = EncodeRefusal(why);
  step.failure = std::move(why);
  return step;
}

Status Malformed(std::string_view what) {
  return Status(Code::kProtocol, fmt::format("malformed preamble ({})", what));
}

Status WrongCluster(std::string_view theirs, std::string_view ours) {
  return Status(
      Code::kWrongCluster,
      fmt::format("the peer belongs to cluster {}, this process to {}",
                  theirs.empty() ? "(none)" : Printable(theirs), ours.empty() ? "(none)" : ours));
}

PeerIdentity FromFacts(const TransportFacts& facts) {
  PeerIdentity peer;
  peer.is_unix = facts.is_unix;
  peer.uid = facts.uid;
  peer.gid = facts.gid;
  peer.address = facts.address;
  return peer;
}

bool Trusted(const TransportFacts& facts, bool key_authenticated, bool insecure) {
  if (key_authenticated) return true;
  if (facts.is_unix) return facts.uid == 0 || facts.uid == facts.own_uid;
  return insecure;
}

Status DecodeRefusal(std::string_view body) {
  Decoder d(body);
  uint16_t code = d.U16();
  uint32_t retry_after_ms = d.U32();
  std::string_view text = d.Bytes();
  if (!d.ok() || code == 0) return Malformed("refusal");
  Status status(static_cast<Code>(code), "the server refused: " + Printable(text));
  return retry_after_ms == 0 ? status : status.WithRetryAfter(static_cast<int>(retry_after_ms));
}

}  // namespace

Result<size_t> PreambleBodySize(std::string_view header) {
  Decoder d(header);
  if (d.Raw(4) != kPreambleMagic) {
    return Status(Code::kProtocol, "not a dfs connection (wrong magic)");
  }
  d.U16();
  uint16_t size = d.U16();
  if (!d.ok() || size > kMaxPreambleBody) return Malformed("length");
  return size_t{size};
}

std::string EncodeRefusal(const Status& why) {
  std::string body;
  Encoder e(&body);
  e.U16(static_cast<uint16_t>(why.code()));
  e.U32(static_cast<uint32_t>(std::max(why.retry_after_ms(), 0)));
  e.Bytes(std::string_view(why.message()).substr(0, kMaxRefusalText));
  return Message(PreambleKind::kRefusal, body);
}

// ---- Client ----

ClientHandshake::ClientHandshake(std::shared_ptr<const NetworkIdentity> self, TransportFacts facts,
                                 uint64_t session, std::string nonce)
    : self_(std::move(self)),
      facts_(std::move(facts)),
      session_(session),
      nonce_(std::move(nonce)) {
  peer_ = FromFacts(facts_);
}

Result<std::string> ClientHandshake::Start() {
  if (!facts_.is_unix) {
    hmac_ = !self_->cluster_key.empty();
    if (!hmac_ && !self_->insecure) {
      return Status(Code::kUnauthenticated,
                    "a cluster key is needed to connect over TCP (or insecure mode on both sides)");
    }
  }
  std::string body;
  Encoder e(&body);
  e.U16(kMinVersion);
  e.U16(kMaxVersion);
  e.U8(static_cast<uint8_t>(self_->role));
  e.U8(hmac_ ? kHmac : kNone);
  e.U64(self_->node_id);
  e.U64(session_);
  e.Bytes(self_->cluster_id);
  e.Raw(nonce_);
  transcript_ = Message(PreambleKind::kHello, body);
  return transcript_;
}

HandshakeStep ClientHandshake::OnMessage(std::string_view message) {
  std::string_view body = message.substr(kPreambleHeaderSize);
  switch (static_cast<PreambleKind>(message[4])) {
    case PreambleKind::kRefusal:
      return Fail(DecodeRefusal(body));
    case PreambleKind::kChallenge:
      return OnChallenge(message, body);
    case PreambleKind::kWelcome:
      return OnWelcome(body);
    default:
      return Fail(Malformed("unexpected message"));
  }
}

HandshakeStep ClientHandshake::OnChallenge(std::string_view message, std::string_view body) {
  if (!hmac_ || challenged_) return Fail(Malformed("unexpected challenge"));
  if (body.size() < kNonceSize) return Fail(Malformed("challenge"));
  challenged_ = true;
  transcript_.append(message);
  HandshakeStep step;
  step.send = Message(PreambleKind::kProof, Mac(*self_, kFromClient, transcript_));
  return step;
}

HandshakeStep ClientHandshake::OnWelcome(std::string_view body) {
  Decoder d(body);
  uint16_t version = d.U16();
  uint8_t role = d.U8();
  peer_.node_id = d.U64();
  std::string_view cluster_id = d.Bytes();
  std::string_view mac = d.Bytes();
  if (!d.ok() || !IsRole(role) || cluster_id.size() > kMaxClusterId)
    return Fail(Malformed("welcome"));
  if (version < kMinVersion || version > kMaxVersion) {
    return Fail(
        Status(Code::kVersionMismatch, fmt::format("the server chose version {}", version)));
  }
  // A server that skips the challenge has proved nothing, whatever it says.
  if (hmac_) {
    std::string_view signed_part = body.substr(0, body.size() - d.rest().size() - mac.size() - 1);
    std::string expected = Mac(*self_, kFromServer, transcript_ + std::string(signed_part));
    if (!challenged_ || !ConstantTimeEqual(mac, expected)) {
      return Fail(Status(Code::kUnauthenticated, "the server does not hold our cluster key"));
    }
    peer_.key_authenticated = true;
  }
  if (!self_->cluster_id.empty() && cluster_id != self_->cluster_id) {
    return Fail(WrongCluster(cluster_id, self_->cluster_id));
  }
  peer_.role = static_cast<Role>(role);
  peer_.cluster_id = std::string(cluster_id);
  peer_.trusted = Trusted(facts_, peer_.key_authenticated, self_->insecure);
  HandshakeStep step;
  step.complete = true;
  return step;
}

// ---- Server ----

ServerHandshake::ServerHandshake(std::shared_ptr<const NetworkIdentity> self, TransportFacts facts,
                                 std::string nonce)
    : self_(std::move(self)), facts_(std::move(facts)), nonce_(std::move(nonce)) {
  peer_ = FromFacts(facts_);
}

HandshakeStep ServerHandshake::OnMessage(std::string_view message) {
  std::string_view body = message.substr(kPreambleHeaderSize);
  switch (static_cast<PreambleKind>(message[4])) {
    case PreambleKind::kHello:
      return OnHello(message, body);
    case PreambleKind::kProof:
      return OnProof(body);
    default:
      return Refuse(Malformed("unexpected message"));
  }
}

Status ServerHandshake::CheckCluster(Role role, std::string_view cluster_id) const {
  // Clients may take what they find; a node must know where it belongs.
  if (cluster_id.empty() && !IsNode(role)) return Status();
  if (cluster_id == self_->cluster_id) return Status();
  return WrongCluster(cluster_id, self_->cluster_id);
}

HandshakeStep ServerHandshake::OnHello(std::string_view message, std::string_view body) {
  if (version_ != 0) return Refuse(Malformed("second hello"));
  Decoder d(body);
  uint16_t lowest = d.U16();
  uint16_t highest = d.U16();
  if (!d.ok() || lowest > highest) return Refuse(Malformed("versions"));
  // Before the rest is looked at: another version may have laid it out differently.
  if (highest < kMinVersion || lowest > kMaxVersion) {
    return Refuse(
        Status(Code::kVersionMismatch,
               fmt::format("the client speaks protocol versions {} to {}, the server {} to {}",
                           lowest, highest, kMinVersion, kMaxVersion)));
  }
  version_ = std::min(highest, kMaxVersion);
  uint8_t role = d.U8();
  uint8_t method = d.U8();
  peer_.node_id = d.U64();
  peer_.session = d.U64();
  std::string_view cluster_id = d.Bytes();
  d.Raw(kNonceSize);  // later versions may add fields after it
  if (!d.ok() || !IsRole(role) || cluster_id.size() > kMaxClusterId)
    return Refuse(Malformed("hello"));
  peer_.role = static_cast<Role>(role);
  peer_.cluster_id = std::string(cluster_id);
  Status cluster = CheckCluster(peer_.role, cluster_id);
  if (!cluster.ok()) return Refuse(cluster);

  if (method == kHmac) {
    if (self_->cluster_key.empty()) {
      return Refuse(Status(Code::kUnauthenticated, "the server has no cluster key"));
    }
    challenged_ = true;
    HandshakeStep step;
    step.send = Message(PreambleKind::kChallenge, nonce_);
    transcript_ = std::string(message) + step.send;
    return step;
  }
  if (method != kNone)
    return Refuse(Status(Code::kUnauthenticated, "unknown authentication method"));
  if (!facts_.is_unix && !self_->insecure) {
    return Refuse(Status(Code::kUnauthenticated, "the cluster key is needed to connect over TCP"));
  }
  peer_.trusted = Trusted(facts_, false, self_->insecure);
  if (IsNode(peer_.role) && !peer_.trusted) {
    return Refuse(
        Status(Code::kUnauthenticated,
               fmt::format("uid {} may not speak for a node of the cluster", facts_.uid)));
  }
  HandshakeStep step;
  step.send = Welcome({});
  step.complete = true;
  return step;
}

HandshakeStep ServerHandshake::OnProof(std::string_view body) {
  if (!challenged_) return Refuse(Malformed("unexpected proof"));
  if (!ConstantTimeEqual(body, Mac(*self_, kFromClient, transcript_))) {
    return Refuse(Status(Code::kUnauthenticated, "wrong cluster key"));
  }
  challenged_ = false;
  peer_.key_authenticated = true;
  peer_.trusted = true;
  HandshakeStep step;
  std::string welcome = Welcome({});  // what is signed is all of the body before the MAC
  std::string_view signed_part(welcome);
  signed_part.remove_prefix(kPreambleHeaderSize);
  signed_part.remove_suffix(1);
  step.send = Welcome(Mac(*self_, kFromServer, transcript_ + std::string(signed_part)));
  step.complete = true;
  return step;
}

std::string ServerHandshake::Welcome(std::string_view mac) const {
  std::string body;
  Encoder e(&body);
  e.U16(version_);
  e.U8(static_cast<uint8_t>(self_->role));
  e.U64(self_->node_id);
  e.Bytes(self_->cluster_id);
  e.Bytes(mac);
  return Message(PreambleKind::kWelcome, body);
}

Result<PeerIdentity> ServerHandshake::PlainThriftPeer() const {
  if (!facts_.is_unix && !self_->insecure) {
    return Status(Code::kUnauthenticated, "plain Thrift is for Unix sockets and insecure mode");
  }
  PeerIdentity peer = FromFacts(facts_);
  peer.plain_thrift = true;
  peer.trusted = Trusted(facts_, false, self_->insecure);
  return peer;
}

}  // namespace dfs::rpc
