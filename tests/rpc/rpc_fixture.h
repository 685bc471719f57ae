// What the transport's tests share: a loop that the test's thread drives, a server on it, and waiting with a limit.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/rpc/channel.h"
#include "common/rpc/event_loop.h"
#include "common/rpc/peer.h"
#include "common/rpc/socket_network.h"

namespace dfs::rpc {

/// Removed at the end. Short, because a Unix socket's path is.
class TestDir {
 public:
  TestDir() {
    char name[] = "/tmp/dfsrpc.XXXXXX";
    path_ = ::mkdtemp(name);
  }
  ~TestDir() { std::filesystem::remove_all(path_); }
  std::string File(const std::string& name) const { return path_ + "/" + name; }
  Address Socket(const std::string& name = "s") const {
    Address address;
    address.kind = Address::Kind::kUnix;
    address.host = File(name);
    return address;
  }

 private:
  std::string path_;
};

inline Address Loopback(uint16_t port = 0) {
  Address address;
  address.host = "127.0.0.1";
  address.port = port;
  return address;
}

inline constexpr char kTestCluster[] = "0a8a3b8e-5a0f-4f3a-9d5e-1f2e3d4c5b6a";

inline std::shared_ptr<NetworkIdentity> TestIdentity(Role role = Role::kClient,
                                                     uint64_t node_id = 0) {
  auto identity = std::make_shared<NetworkIdentity>();
  identity->cluster_id = kTestCluster;
  identity->role = role;
  identity->node_id = node_id;
  identity->cluster_key = std::string(32, 'k');
  return identity;
}

/// Longer than anything takes on any machine: what waits this long has failed.
inline constexpr int64_t kLong = 240 * kSecond;

/// Drives the loop until condition holds; a test failure when it never does.
inline bool Drive(EventLoop& loop, const std::function<bool()>& condition) {
  bool late = false;
  Executor::TimerId timer = 0;
  loop.Post([&] { timer = loop.RunAfter(kLong, [&] { late = true; }); });
  loop.RunUntil([&] { return condition() || late; });
  loop.Post([&] { loop.Cancel(timer); });
  loop.RunUntil([] { return true; });
  EXPECT_FALSE(late) << "waited in vain";
  return !late;
}

/// Runs task on the loop and returns when it has run.
inline void OnLoop(EventLoop& loop, Task task) {
  bool ran = false;
  loop.Post([&] {
    task();
    ran = true;
  });
  loop.RunUntil([&] { return ran; });
}

/// Methods of the test server.
enum TestMethod : Method {
  kEcho = 1000,
  kFail = 1001,
  kNever = 1002,
  kDrop = 1003,
  kCallBack = 1004
};

/// Echoes, fails, keeps silent; remembers what it saw.
class TestServer : public RequestHandler {
 public:
  Network::AcceptHandler acceptor() {
    return [this](ConnectionPtr connection) {
      peers.push_back(RpcPeer::Create(std::move(connection), this));
      ++accepted;
    };
  }

  void HandleRequest(Method method, Buffer request, const CallContext& context,
                     ResponderPtr responder) override {
    ++requests;
    last_identity = *context.peer;
    last_deadline_ns = context.deadline_ns;
    last_request = std::string(request.view());
    if (responder == nullptr) return;
    switch (method) {
      case kEcho:
        responder->Send(request, context.min_applied_index + 1);
        return;
      case kFail:
        responder->Fail(
            Status(Code::kNotLeader, "not here").WithLeaderHint("h:1").WithRetryAfter(7));
        return;
      case kNever:
        kept.push_back(std::move(responder));
        return;
      case kDrop:
        return;
      case kCallBack: {
        std::shared_ptr<RpcPeer> peer = context.connection.lock();
        auto shared = std::shared_ptr<Responder>(std::move(responder));
        peer->Call(kEcho, request, kLong, [shared](Result<Reply> reply) {
          if (reply) {
            shared->Send(reply->payload, 0);
          } else {
            shared->Fail(reply.error());
          }
        });
        return;
      }
      default:
        responder->Fail(Status(Code::kNotSupported, "unknown"));
        return;
    }
  }
  void HandleDisconnect(RpcPeer& peer, const Status& why) override {
    ++disconnects;
    last_disconnect = why;
    std::erase_if(peers, [&peer](const std::shared_ptr<RpcPeer>& p) { return p.get() == &peer; });
  }
  void HandlePacket(RpcPeer& peer, const FrameHeader& header, Buffer payload) override {
    (void)peer;
    ++packets;
    packet_bytes += payload.size();
    last_header = header;
    if (on_packet) on_packet(peer, payload);
  }

  std::vector<std::shared_ptr<RpcPeer>> peers;
  std::vector<ResponderPtr> kept;
  int accepted = 0;
  int requests = 0;
  int disconnects = 0;
  int packets = 0;
  uint64_t packet_bytes = 0;
  int64_t last_deadline_ns = 0;
  std::string last_request;
  PeerIdentity last_identity;
  Status last_disconnect;
  FrameHeader last_header;
  std::function<void(RpcPeer&, const Buffer&)> on_packet;
};

}  // namespace dfs::rpc
