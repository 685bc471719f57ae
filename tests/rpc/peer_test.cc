// RpcPeer and Channel over real sockets: calls in both directions, deadlines, limits, reconnecting.
#include "common/rpc/peer.h"

#include <gtest/gtest.h>

#include "common/rpc/idl_call.h"
#include "dfs_types.h"
#include "tests/rpc/rpc_fixture.h"

namespace dfs::rpc {
namespace {

class PeerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto listener = server_net_.Listen(dir_.Socket(), server_.acceptor());
    ASSERT_TRUE(listener) << listener.error().ToString();
    listener_ = std::move(*listener);
  }
  std::shared_ptr<RpcPeer> Connect(RequestHandler* handler = nullptr) {
    std::shared_ptr<RpcPeer> peer;
    Status failure;
    OnLoop(loop_, [&] {
      client_net_.Connect(listener_->address(), {}, [&](Result<ConnectionPtr> c) {
        if (c) {
          peer = RpcPeer::Create(std::move(*c), handler);
        } else {
          failure = c.error();
        }
      });
    });
    Drive(loop_, [&] { return peer != nullptr || !failure.ok(); });
    EXPECT_TRUE(failure.ok()) << failure.ToString();
    return peer;
  }
  template <class Target>
  Result<Reply> CallNow(Target& target, Method method, std::string_view text,
                        int64_t timeout_ns = kLong) {
    std::optional<Result<Reply>> result;
    OnLoop(loop_, [&] {
      target.Call(
          method, Buffer::Copy(text), timeout_ns, [&](Result<Reply> r) { result = std::move(r); },
          41);
    });
    Drive(loop_, [&] { return result.has_value(); });
    return *result;
  }

  TestDir dir_;
  EventLoop loop_;
  SocketNetwork server_net_{loop_, TestIdentity(Role::kNamenode, 3)};
  SocketNetwork client_net_{loop_, TestIdentity()};
  TestServer server_;
  std::unique_ptr<Listener> listener_;
};

TEST_F(PeerTest, AnswersACall) {
  auto peer = Connect();
  Result<Reply> reply = CallNow(*peer, kEcho, "hello");
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(reply->payload.view(), "hello");
  EXPECT_EQ(reply->applied_index, 42u);
  EXPECT_GT(server_.last_deadline_ns, loop_.clock().BootNs());
}

TEST_F(PeerTest, CarriesErrorsWhole) {
  auto peer = Connect();
  Result<Reply> reply = CallNow(*peer, kFail, "");
  ASSERT_FALSE(reply);
  EXPECT_EQ(reply.error().code(), Code::kNotLeader);
  EXPECT_EQ(reply.error().message(), "not here");
  EXPECT_EQ(reply.error().leader_hint(), "h:1");
  EXPECT_EQ(reply.error().retry_after_ms(), 7);
}

TEST_F(PeerTest, DroppedResponderAnswersInternal) {
  auto peer = Connect();
  EXPECT_EQ(CallNow(*peer, kDrop, "").error().code(), Code::kInternal);
}

TEST_F(PeerTest, ManyCallsInFlightAnswerOutOfOrder) {
  auto peer = Connect();
  std::vector<std::string> order;
  OnLoop(loop_, [&] {
    peer->Call(kNever, Buffer::Copy("slow"), kLong, [&](Result<Reply> r) {
      ASSERT_TRUE(r);
      order.emplace_back(r->payload.view());
    });
    for (int i = 0; i < 500; ++i) {
      peer->Call(kEcho, Buffer::Copy(std::to_string(i)), kLong, [&](Result<Reply> r) {
        ASSERT_TRUE(r);
        order.emplace_back(r->payload.view());
      });
    }
  });
  ASSERT_TRUE(Drive(loop_, [&] { return order.size() == 500; }));
  ASSERT_EQ(server_.kept.size(), 1u);
  OnLoop(loop_, [&] { server_.kept[0]->Send(Buffer::Copy("slow"), 0); });
  Drive(loop_, [&] { return order.size() == 501; });
  for (int i = 0; i < 500; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], std::to_string(i));
  EXPECT_EQ(order.back(), "slow");
}

TEST_F(PeerTest, ServerCallsTheClientBack) {
  TestServer client_side;
  auto peer = Connect(&client_side);
  Result<Reply> reply = CallNow(*peer, kCallBack, "round");
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(reply->payload.view(), "round");
  EXPECT_EQ(client_side.requests, 1);
  auto deaf = Connect(nullptr);
  EXPECT_EQ(CallNow(*deaf, kCallBack, "round").error().code(), Code::kNotSupported);
}

TEST_F(PeerTest, DeadlinePassesAndALateAnswerIsDropped) {
  auto peer = Connect();
  int64_t started = loop_.clock().BootNs();
  Result<Reply> reply = CallNow(*peer, kNever, "", 30 * kMillisecond);
  EXPECT_EQ(reply.error().code(), Code::kTimedOut);
  EXPECT_GE(loop_.clock().BootNs() - started, 30 * kMillisecond);
  OnLoop(loop_, [&] { server_.kept[0]->Send(Buffer::Copy("late"), 0); });
  EXPECT_TRUE(CallNow(*peer, kEcho, "still fine"));
}

TEST_F(PeerTest, ShorterDeadlineAfterALongOneIsKept) {
  auto peer = Connect();
  std::optional<Code> long_one;
  std::optional<Code> short_one;
  OnLoop(loop_, [&] {
    // So long that no machine is slow enough for both to pass at once.
    peer->Call(kNever, Buffer(), 600 * kSecond,
               [&](Result<Reply> r) { long_one = r.error().code(); });
    peer->Call(kNever, Buffer(), 20 * kMillisecond, [&](Result<Reply> r) {
      short_one = r.error().code();
      EXPECT_FALSE(long_one.has_value());
    });
  });
  Drive(loop_, [&] { return short_one.has_value(); });
  EXPECT_EQ(*short_one, Code::kTimedOut);
  EXPECT_FALSE(long_one.has_value());
  OnLoop(loop_, [&] { peer->Close(); });
  EXPECT_EQ(long_one, Code::kClosed);
}

TEST_F(PeerTest, LimitsCallsInFlightInBothDirections) {
  auto peer = Connect();
  int overloaded = 0;
  int waiting = 0;
  OnLoop(loop_, [&] {
    for (size_t i = 0; i < RpcPeer::kMaxInFlight + 10; ++i) {
      ++waiting;
      peer->Call(kNever, Buffer(), 0, [&](Result<Reply> r) {
        --waiting;
        if (r.status().Is(Code::kOverloaded)) ++overloaded;
      });
    }
  });
  Drive(loop_, [&] { return overloaded == 10; });
  EXPECT_EQ(waiting, static_cast<int>(RpcPeer::kMaxInFlight));
  // The server's own limit: a second peer on the same server is not affected.
  auto other = Connect();
  EXPECT_TRUE(CallNow(*other, kEcho, "x"));
  OnLoop(loop_, [&] { peer->Close(); });
  EXPECT_EQ(waiting, 0);
}

TEST_F(PeerTest, ServerRefusesWhatTooManyBytesAreInFlightFor) {
  auto peer = Connect();
  int overloaded = 0;
  OnLoop(loop_, [&] {
    for (int i = 0; i < 6; ++i) {
      peer->Call(kNever, Buffer(std::string(15u << 20, 'x')), 0, [&](Result<Reply> r) {
        if (r.status().Is(Code::kOverloaded)) ++overloaded;
      });
    }
  });
  // 64 MiB are queued at most, so the client stays below its own limit only by what was sent at once.
  Drive(loop_, [&] { return overloaded >= 1 || peer->closed(); });
  EXPECT_GE(overloaded + (peer->closed() ? 1 : 0), 1);
}

TEST_F(PeerTest, OversizeRequestsAndRepliesAreErrorsNotCrashes) {
  auto peer = Connect();
  std::string huge(kMaxPayload + 1, 'x');
  EXPECT_EQ(CallNow(*peer, kEcho, huge).error().code(), Code::kInvalidArgument);
  std::string largest(kMaxPayload, 'x');
  Result<Reply> reply = CallNow(*peer, kEcho, largest);
  ASSERT_TRUE(reply) << reply.error().ToString();
  EXPECT_EQ(reply->payload.size(), kMaxPayload);
}

TEST_F(PeerTest, CloseInsideCallbacksIsSafe) {
  auto peer = Connect();
  int called = 0;
  OnLoop(loop_, [&] {
    for (int i = 0; i < 50; ++i) {
      peer->Call(kEcho, Buffer::Copy("x"), kLong, [&](Result<Reply>) {
        ++called;
        peer = nullptr;  // the last reference, in the middle of the peer's own loop
      });
    }
  });
  Drive(loop_, [&] { return called == 50 && server_.disconnects == 1; });
}

TEST_F(PeerTest, CloseInsideTheHandlerIsSafe) {
  auto peer = Connect();
  server_.on_packet = [&](RpcPeer& p, const Buffer&) { p.Close(); };
  bool closed = false;
  peer->on_closed = [&](const Status& why) {
    closed = true;
    EXPECT_EQ(why.code(), Code::kClosed);
  };
  OnLoop(loop_, [&] {
    for (int i = 0; i < 5; ++i) peer->SendPacket(9, 2, {Buffer::Copy("p"), Buffer::Copy("q")});
  });
  Drive(loop_, [&] { return closed; });
  EXPECT_EQ(server_.packets, 1);
  EXPECT_EQ(server_.last_header.request_id, 9u);
  EXPECT_EQ(server_.last_header.flags, 2u);
}

TEST_F(PeerTest, BrokenConnectionFailsCallsWithClosed) {
  auto peer = Connect();
  std::optional<Code> code;
  OnLoop(loop_, [&] {
    peer->Call(kNever, Buffer(), 0, [&](Result<Reply> r) { code = r.error().code(); });
  });
  Drive(loop_, [&] { return server_.requests == 1; });
  OnLoop(loop_, [&] { server_.peers.clear(); });
  Drive(loop_, [&] { return code.has_value(); });
  EXPECT_EQ(*code, Code::kClosed);
  EXPECT_TRUE(peer->closed());
  EXPECT_EQ(CallNow(*peer, kEcho, "").error().code(), Code::kClosed);
}

TEST_F(PeerTest, TypedCalls) {
  class Handler : public RequestHandler {
   public:
    void HandleRequest(Method method, Buffer request, const CallContext&,
                       ResponderPtr responder) override {
      EXPECT_EQ(method, idl::kStat);
      idl::StatRequest stat;
      if (!DecodeRequest(request, &stat, responder)) return;
      idl::StatReply reply;
      reply.attr.inode = stat.ref.inode + 1;
      reply.__isset.attr = true;
      SendReply(*responder, reply, 17);
    }
  };
  Handler handler;
  auto listener = server_net_.Listen(dir_.Socket("typed"), [&](ConnectionPtr c) {
    server_.peers.push_back(RpcPeer::Create(std::move(c), &handler));
  });
  ASSERT_TRUE(listener);
  Channel channel(client_net_, (*listener)->address(), nullptr, 1);
  idl::StatRequest request;
  request.ref.inode = 41;
  request.__isset.ref = true;
  request.ref.__isset.inode = true;
  std::optional<Result<Typed<idl::StatReply>>> result;
  OnLoop(loop_, [&] {
    Call<idl::kStat>(channel, request, kLong,
                     [&](Result<Typed<idl::StatReply>> r) { result = std::move(r); });
  });
  Drive(loop_, [&] { return result.has_value(); });
  ASSERT_TRUE(*result) << result->error().ToString();
  EXPECT_EQ((*result)->value.attr.inode, 42);
  EXPECT_EQ((*result)->applied_index, 17u);
  // A request that is no struct at all.
  result.reset();
  std::optional<Code> code;
  OnLoop(loop_, [&] {
    channel.Call(idl::kStat, Buffer::Copy("\xff\xff\xff"), kLong,
                 [&](Result<Reply> r) { code = r.status().code(); });
  });
  Drive(loop_, [&] { return code.has_value(); });
  EXPECT_EQ(*code, Code::kProtocol);
  OnLoop(loop_, [&] { server_.peers.clear(); });
}

TEST_F(PeerTest, ChannelConnectsOnDemandAndAgain) {
  Channel channel(client_net_, listener_->address(), nullptr, 5);
  EXPECT_FALSE(channel.connected());
  EXPECT_TRUE(CallNow(channel, kEcho, "one"));
  EXPECT_TRUE(channel.connected());
  OnLoop(loop_, [&] { server_.peers.clear(); });
  Drive(loop_, [&] { return !channel.connected(); });
  EXPECT_TRUE(CallNow(channel, kEcho, "two"));
  EXPECT_EQ(server_.accepted, 2);
  OnLoop(loop_, [&] { channel.Reset(); });
  EXPECT_FALSE(channel.connected());
  EXPECT_TRUE(CallNow(channel, kEcho, "three"));
}

TEST_F(PeerTest, ChannelFailsFastAndBacksOff) {
  Channel channel(client_net_, dir_.Socket("nobody"), nullptr, 5,
                  {40 * kMillisecond, 160 * kMillisecond});
  int64_t started = loop_.clock().BootNs();
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(CallNow(channel, kEcho, "").error().code(), Code::kUnavailable);
  }
  // At once, then after at least 20, 40 and 80 ms.
  EXPECT_GE(loop_.clock().BootNs() - started, 140 * kMillisecond);
}

TEST_F(PeerTest, ACallWhoseDeadlineIsShorterThanTheBackOffDoesNotWaitForIt) {
  // Such a back-off that whoever waits for it fails the test.
  Channel channel(client_net_, dir_.Socket("nobody"), nullptr, 5, {4 * kLong, 4 * kLong});
  EXPECT_EQ(CallNow(channel, kEcho, "").error().code(), Code::kUnavailable);
  EXPECT_EQ(CallNow(channel, kEcho, "", 10 * kMillisecond).error().code(), Code::kUnavailable);
}

TEST_F(PeerTest, KeepConnectedComesBackWhenTheServerDoes) {
  Address address = listener_->address();
  listener_ = nullptr;
  Channel channel(client_net_, address, nullptr, 5, {5 * kMillisecond, 20 * kMillisecond});
  int connected = 0;
  OnLoop(loop_, [&] {
    channel.KeepConnected([&](RpcPeer& peer) {
      ++connected;
      peer.OneWay(kEcho, Buffer::Copy("I am here"));
    });
  });
  auto again = server_net_.Listen(address, server_.acceptor());
  ASSERT_TRUE(again);
  Drive(loop_, [&] { return connected == 1 && server_.requests == 1; });
  EXPECT_EQ(server_.last_request, "I am here");
  for (int i = 2; i < 5; ++i) {
    OnLoop(loop_, [&] { server_.peers.clear(); });
    Drive(loop_, [&] { return connected == i; });
  }
  OnLoop(loop_, [&] { *again = nullptr; });
}

TEST_F(PeerTest, ChannelDestroyedInsideItsCallback) {
  auto channel = std::make_unique<Channel>(client_net_, dir_.Socket("nobody"), nullptr, 5);
  int called = 0;
  OnLoop(loop_, [&] {
    for (int i = 0; i < 3; ++i) {
      channel->Call(kEcho, Buffer(), kLong, [&](Result<Reply> r) {
        EXPECT_FALSE(r);
        ++called;
        channel = nullptr;
      });
    }
  });
  Drive(loop_, [&] { return called == 3; });
}

}  // namespace
}  // namespace dfs::rpc
