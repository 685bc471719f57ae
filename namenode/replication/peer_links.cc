#include "namenode/replication/peer_links.h"

#include <algorithm>

#include "common/base/codec.h"
#include "common/base/logging.h"
#include "common/idl/methods.h"

namespace dfs::nn {

namespace {

constexpr uint32_t kHelloVersion = 1;
constexpr int64_t kHelloTimeoutNs = 2 * kSecond;
constexpr size_t kMaxIncoming = 64;
constexpr int64_t kCheckIntervalNs = 1 * kSecond;
constexpr int kMaxDownChecks = 2;  // then an attempt to connect is given up for a new one

struct HelloFields {
  NodeId node_id;
  uint64_t storage_id = 0;
};

Result<HelloFields> DecodeHello(std::string_view in) {
  Decoder d(in);
  uint32_t version = d.U32();
  HelloFields hello;
  hello.node_id = d.Id<NodeId>();
  hello.storage_id = d.U64();
  if (!d.done() || !hello.node_id.valid() || hello.storage_id == 0) {
    return Status(Code::kProtocol, "malformed hello of a namenode");
  }
  if (version != kHelloVersion) return Status(Code::kVersionMismatch, "unknown version of hello");
  return hello;
}

/// What an accepted connection is known as after its hello.
NodeId KnownAs(const rpc::RpcPeer& peer) {
  return peer.user_state ? *static_cast<const NodeId*>(peer.user_state.get()) : NodeId();
}

}  // namespace

PeerLinks::PeerLinks(rpc::Network& network, MemberDirectory& directory, Handler* handler,
                     Random random, uint32_t feature_level)
    : network_(network),
      directory_(directory),
      handler_(handler),
      random_(random),
      feature_level_(feature_level) {}

PeerLinks::~PeerLinks() {
  alive_.reset();
  listener_.reset();
  links_.clear();
  for (const auto& peer : std::exchange(incoming_, {})) peer->Close();
}

Status PeerLinks::Listen(const rpc::Address& address) {
  auto listener = network_.Listen(address, [this](rpc::ConnectionPtr connection) {
    if (connection->peer().role != rpc::Role::kNamenode || incoming_.size() >= kMaxIncoming) {
      connection->Close();
      return;
    }
    incoming_.push_back(rpc::RpcPeer::Create(std::move(connection), this));
  });
  if (!listener) return listener.error().WithContext("listening for Raft on " + address.ToString());
  listener_ = std::move(*listener);
  network_.executor().Post([this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock()) CheckLinks();
  });
  return Status();
}

/// Connections die without a word, and attempts to connect hang while a network is cut: neither may keep a
/// member away longer than a few seconds.
void PeerLinks::CheckLinks() {
  network_.executor().RunAfter(kCheckIntervalNs, [this, alive = std::weak_ptr<bool>(alive_)] {
    if (alive.lock()) CheckLinks();
  });
  for (auto& [id, link] : links_) {
    if (!established(id)) {
      if (++link.down_checks <= kMaxDownChecks) continue;
      link.down_checks = 0;
      link.channel->Reset();
      continue;
    }
    link.down_checks = 0;
    if (link.feature_level == 0) AskLevel(&link);
    if (std::exchange(link.checking, true)) continue;
    link.peer->Call(idl::kRaftHello, Hello(), kHelloTimeoutNs,
                    [this, alive = std::weak_ptr<bool>(alive_), member = id,
                     peer = std::weak_ptr<rpc::RpcPeer>(link.peer)](Result<rpc::Reply> reply) {
                      auto strong = peer.lock();
                      if (!alive.lock() || !strong) return;
                      Link& checked = links_[member];
                      if (checked.peer != strong) return;
                      checked.checking = false;
                      if (!reply && reply.error().Is(Code::kTimedOut)) Drop(&checked);
                    });
  }
}

void PeerLinks::AskLevel(Link* link) {
  link->peer->Call(idl::kRaftLevel, Buffer(), kHelloTimeoutNs,
                   [this, alive = std::weak_ptr<bool>(alive_), member = link->id,
                    peer = std::weak_ptr<rpc::RpcPeer>(link->peer)](Result<rpc::Reply> reply) {
                     auto strong = peer.lock();
                     if (!alive.lock() || !strong) return;
                     Link& asked = links_[member];
                     if (asked.peer != strong) return;
                     if (!reply) {
                       if (reply.error().Is(Code::kNotSupported)) asked.feature_level = 1;
                       return;  // otherwise again with the next check
                     }
                     Decoder d(reply->payload.view());
                     const uint32_t level = d.U32();
                     if (d.ok()) asked.feature_level = level;
                   });
}

uint32_t PeerLinks::feature_level(NodeId member) const {
  return established(member) ? links_.at(member).feature_level : 0;
}

void PeerLinks::Drop(Link* link) {
  if (link->peer == nullptr) return;
  LogDebug("Raft link to namenode {} is down", link->id.value);
  std::shared_ptr<rpc::RpcPeer> keep = std::exchange(link->peer, nullptr);
  link->checking = false;
  link->channel->Reset();
  handler_->OnPeerDown(link->id);
}

const rpc::Address& PeerLinks::address() const {
  static const rpc::Address kNone;
  return listener_ ? listener_->address() : kNone;
}

Buffer PeerLinks::Hello() const {
  std::string out;
  Encoder e(&out);
  e.U32(kHelloVersion);
  e.Id(directory_.node_id());
  e.U64(directory_.storage_id());
  return Buffer(std::move(out));
}

void PeerLinks::Connect(NodeId member, const rpc::Address& address) {
  Link& link = links_[member];
  link.id = member;
  rpc::BackoffPolicy backoff;
  backoff.max_ns = 200 * kMillisecond;
  rpc::RequestHandler* handler = this;
  link.channel =
      std::make_unique<rpc::Channel>(network_, address, handler, random_.Next(), backoff);
  link.channel->KeepConnected([this, member](rpc::RpcPeer& peer) { OnConnected(member, peer); });
}

void PeerLinks::OnConnected(NodeId member, rpc::RpcPeer& peer) {
  std::weak_ptr<rpc::RpcPeer> weak = peer.weak_from_this();
  peer.Call(idl::kRaftHello, Hello(), kHelloTimeoutNs,
            [this, alive = std::weak_ptr<bool>(alive_), member, weak](Result<rpc::Reply> reply) {
              auto strong = weak.lock();
              if (alive.lock() && strong) OnHelloReply(member, strong, reply);
            });
}

void PeerLinks::OnHelloReply(NodeId member, const std::shared_ptr<rpc::RpcPeer>& peer,
                             const Result<rpc::Reply>& reply) {
  auto it = links_.find(member);
  if (it == links_.end() || it->second.channel->peer() != peer) return;
  Status refused;
  if (!reply) {
    if (reply.error().Is(Code::kConflict)) return handler_->OnRefused(reply.error());
    refused = reply.error();
  } else if (auto hello = DecodeHello(reply->payload.view()); !hello) {
    refused = hello.error();
  } else if (hello->node_id != member) {
    refused = Status(Code::kConflict, "another namenode answers at its address");
  } else {
    refused = directory_.CheckPeer(member, hello->storage_id);
  }
  if (refused.ok()) {
    it->second.peer = peer;
    it->second.feature_level = 0;
    AskLevel(&it->second);
    LogDebug("Raft link to namenode {} is up", member.value);
    return;
  }
  if (!refused.Is(Code::kClosed) && !refused.Is(Code::kTimedOut)) {
    LogWarning("Raft link to namenode {}: {}", member.value, refused.ToString());
  }
  if (!peer->closed()) it->second.channel->Reset();
}

bool PeerLinks::established(NodeId member) const {
  auto it = links_.find(member);
  return it != links_.end() && it->second.peer != nullptr && !it->second.peer->closed();
}

void PeerLinks::Send(const raft::Message& message) {
  if (!established(message.to)) return;
  rpc::RpcPeer& peer = *links_[message.to].peer;
  bool bulk = message.type == raft::MessageType::kAppend && !message.entries.empty();
  if (bulk && peer.connection().queued_bytes() > peer.connection().send_window()) return;
  peer.OneWay(idl::kRaftMessage, raft::EncodeMessage(message));
}

void PeerLinks::CallSnapshot(NodeId member, Buffer request, int64_t timeout_ns,
                             rpc::ReplyCallback done) {
  if (!established(member)) {
    network_.executor().Post(
        [done = std::move(done)] { done(Status(Code::kUnavailable, "no link to the member")); });
    return;
  }
  links_[member].peer->Call(idl::kSnapshotChunk, std::move(request), timeout_ns, std::move(done));
}

// --- what others send ---

void PeerLinks::HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                              rpc::ResponderPtr responder) {
  std::shared_ptr<rpc::RpcPeer> peer = context.connection.lock();
  if (!peer) return;
  if (method == idl::kRaftHello && responder) return HandleHello(request, *peer, *responder);
  NodeId from = KnownAs(*peer);
  if (!from.valid()) {
    if (responder) responder->Fail(Status(Code::kUnauthenticated, "no hello yet"));
    return;
  }
  if (method == idl::kRaftMessage) {
    auto message = raft::DecodeMessage(request);
    if (!message || message->from != from || message->to != directory_.node_id()) {
      LogWarning("malformed Raft message from namenode {}: closing the connection", from.value);
      HandleDisconnect(*peer, Status());
      peer->Close();
      return;
    }
    handler_->OnRaftMessage(std::move(*message));
  } else if (method == idl::kRaftLevel && responder) {
    std::string out;
    Encoder(&out).U32(feature_level_);
    responder->Send(Buffer(std::move(out)), 0);
  } else if (method == idl::kSnapshotChunk && responder) {
    handler_->OnSnapshotRequest(from, std::move(request), std::move(responder));
  } else if (responder) {
    responder->Fail(Status(Code::kNotSupported, "not served on the Raft port"));
  }
}

void PeerLinks::HandleHello(const Buffer& request, rpc::RpcPeer& peer, rpc::Responder& responder) {
  auto hello = DecodeHello(request.view());
  if (!hello) return responder.Fail(hello.error());
  if (hello->node_id != NodeId(peer.identity().node_id) || !links_.contains(hello->node_id)) {
    return responder.Fail(Status(Code::kInvalidArgument, "not a member of this group"));
  }
  Status checked = directory_.CheckPeer(hello->node_id, hello->storage_id);
  if (!checked) {
    LogWarning("refusing namenode {}: {}", hello->node_id.value, checked.ToString());
    return responder.Fail(checked);
  }
  peer.user_state = std::make_shared<NodeId>(hello->node_id);
  responder.Send(Hello(), 0);
}

void PeerLinks::HandleDisconnect(rpc::RpcPeer& peer, const Status&) {
  for (auto& [id, link] : links_) {
    if (link.peer.get() != &peer) continue;
    std::shared_ptr<rpc::RpcPeer> keep = std::exchange(link.peer, nullptr);
    link.checking = false;
    LogDebug("Raft link to namenode {} is down", id.value);
    return handler_->OnPeerDown(id);
  }
  std::erase_if(incoming_, [&](const auto& p) { return p.get() == &peer; });
}

}  // namespace dfs::nn
