// PeerLinks: the connections to the other members. Each member keeps one connection to every other and sends
// everything on it; what others send comes on the connections they made. A connection counts after a hello
// in which both sides checked node id and storage id: a wiped or foreign member is never listened to. After it the other
// is asked up to which feature level it understands commands; a member from before that question says it has no such method.
// Confined to the network's executor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "common/base/random.h"
#include "common/raft/message.h"
#include "common/rpc/channel.h"
#include "common/rpc/peer.h"
#include "namenode/replication/member_directory.h"

namespace dfs::nn {

class PeerLinks final : private rpc::RequestHandler {
 public:
  class Handler {
   public:
    virtual ~Handler() = default;
    virtual void OnRaftMessage(raft::Message message) = 0;
    virtual void OnSnapshotRequest(NodeId from, Buffer request, rpc::ResponderPtr responder) = 0;
    /// The connection to it broke.
    virtual void OnPeerDown(NodeId peer) = 0;
    /// Another member knows this one's node id with another storage: this member must stop.
    virtual void OnRefused(const Status& why) = 0;
  };

  /// feature_level: what this member supports.
  PeerLinks(rpc::Network& network, MemberDirectory& directory, Handler* handler, Random random,
            uint32_t feature_level);
  ~PeerLinks() override;

  Status Listen(const rpc::Address& address);
  const rpc::Address& address() const;
  void Connect(NodeId member, const rpc::Address& address);

  /// Dropped when there is no link, or too much is queued on it: Raft repeats itself.
  void Send(const raft::Message& message);
  /// Over the established link; fails with kUnavailable when there is none.
  void CallSnapshot(NodeId member, Buffer request, int64_t timeout_ns, rpc::ReplyCallback done);
  bool established(NodeId member) const;
  /// What the member supports; 0: there is no link, or it has not said yet.
  uint32_t feature_level(NodeId member) const;

 private:
  struct Link {
    NodeId id;
    std::unique_ptr<rpc::Channel> channel;
    std::shared_ptr<rpc::RpcPeer> peer;  // null until the hello was answered
    bool checking = false;               // a further hello is under way, to see whether it lives
    int down_checks = 0;                 // in a row
    uint32_t feature_level = 0;          // of the process at the other end of peer; 0: not known
  };

  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override;
  void HandleDisconnect(rpc::RpcPeer& peer, const Status& why) override;
  void OnConnected(NodeId member, rpc::RpcPeer& peer);
  void OnHelloReply(NodeId member, const std::shared_ptr<rpc::RpcPeer>& peer,
                    const Result<rpc::Reply>& reply);
  void AskLevel(Link* link);
  void CheckLinks();
  void Drop(Link* link);
  void HandleHello(const Buffer& request, rpc::RpcPeer& peer, rpc::Responder& responder);
  Buffer Hello() const;

  rpc::Network& network_;
  MemberDirectory& directory_;
  Handler* const handler_;
  Random random_;
  const uint32_t feature_level_;
  std::map<NodeId, Link> links_;
  std::unique_ptr<rpc::Listener> listener_;
  std::vector<std::shared_ptr<rpc::RpcPeer>> incoming_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dfs::nn
