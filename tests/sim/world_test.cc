// The simulated world itself: order, time, crashes, and what the network may and may not do.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"

namespace dfs::sim {
namespace {

using rpc::Address;
using rpc::ConnectionPtr;
using rpc::FrameHeader;
using rpc::FrameType;

TEST(Scheduler, PostKeepsOrderAndTimersTheirTime) {
  SimScheduler scheduler(1);
  SimNode& node = scheduler.AddNode("a");
  std::vector<int> order;
  for (int i = 0; i < 50; ++i) node.executor().Post([&order, i] { order.push_back(i); });
  Executor::TimerId cancelled = 0;
  node.Run([&] {
    EXPECT_TRUE(node.executor().InExecutor());
    node.executor().RunAfter(20 * kMillisecond, [&] { order.push_back(102); });
    node.executor().RunAfter(10 * kMillisecond, [&] { order.push_back(101); });
    cancelled = node.executor().RunAfter(15 * kMillisecond, [&] { order.push_back(999); });
    node.executor().Cancel(cancelled);
  });
  EXPECT_FALSE(node.executor().InExecutor());
  scheduler.RunFor(kSecond);
  ASSERT_EQ(order.size(), 52u);
  for (int i = 0; i < 50; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
  EXPECT_EQ(order[50], 101);
  EXPECT_EQ(order[51], 102);
  EXPECT_EQ(scheduler.now_ns(), kSecond);
}

TEST(Scheduler, CrashDropsTasksAndTimers) {
  SimScheduler scheduler(1);
  SimNode& node = scheduler.AddNode("a");
  int ran = 0;
  node.executor().Post([&] {
    ++ran;
    node.Crash();
    node.executor().Post([&] { ran += 100; });
  });
  node.executor().Post([&] { ran += 100; });
  node.Run([&] { node.executor().RunAfter(kMillisecond, [&] { ran += 100; }); });
  scheduler.RunFor(kSecond);
  EXPECT_EQ(ran, 1);
  node.Restart();
  node.executor().Post([&] { ++ran; });
  scheduler.RunFor(kSecond);
  EXPECT_EQ(ran, 2);
}

TEST(Scheduler, PausedNodeRunsLaterInOrder) {
  SimScheduler scheduler(1);
  SimNode& node = scheduler.AddNode("a");
  std::vector<int64_t> at;
  node.Run([&] {
    for (int i = 1; i <= 3; ++i) {
      node.executor().RunAfter(i * kMillisecond, [&, i] {
        at.push_back(scheduler.now_ns());
        EXPECT_EQ(at.size(), static_cast<size_t>(i));
      });
    }
  });
  node.Pause(2 * kSecond);
  scheduler.RunFor(kSecond);
  EXPECT_TRUE(at.empty());
  scheduler.RunFor(2 * kSecond);
  EXPECT_EQ(at, (std::vector<int64_t>(3, 2 * kSecond)));
}

TEST(Scheduler, ClocksHaveTheirOffsets) {
  SimScheduler scheduler(1);
  SimNode& a = scheduler.AddNode("a");
  SimNode& b = scheduler.AddNode("b");
  b.SetClockOffsets(kSecond, -kSecond);
  EXPECT_EQ(b.clock().BootNs() - a.clock().BootNs(), kSecond);
  EXPECT_EQ(a.clock().WallNs() - b.clock().WallNs(), kSecond);
  scheduler.RunFor(5 * kSecond);
  EXPECT_EQ(b.clock().BootNs() - a.clock().BootNs(), kSecond);
}

// Collects what comes in on one connection, and may answer.
struct Sink : rpc::Connection::Handler {
  void OnFrame(const FrameHeader& header, Buffer payload) override {
    got.emplace_back(payload.view());
    last = header;
    if (echo) connection->Send(header, payload);
  }
  void OnClosed(const Status& why) override {
    ++closed;
    closed_code = why.code();
  }
  void OnWritable() override { ++writable; }
  ConnectionPtr connection;
  std::vector<std::string> got;
  FrameHeader last;
  int closed = 0;
  int writable = 0;
  Code closed_code = Code::kOk;
  bool echo = false;
};

class NetTest : public testing::Test {
 protected:
  NetTest() {
    rpc::PeerIdentity client;
    client.role = rpc::Role::kClient;
    rpc::PeerIdentity server;
    server.role = rpc::Role::kNamenode;
    server.node_id = 7;
    server.trusted = true;
    net_a_ = &net_.Join(a_, client);
    net_b_ = &net_.Join(b_, server);
  }
  ~NetTest() override {
    a_.Crash();
    b_.Crash();
  }

  void Listen() {
    auto listener = net_b_->Listen(Address{Address::Kind::kTcp, "", 9700}, [this](ConnectionPtr c) {
      at_b_.connection = std::move(c);
      at_b_.connection->Start(&at_b_);
    });
    ASSERT_TRUE(listener.ok());
    listener_ = std::move(*listener);
    EXPECT_EQ(listener_->address().host, "b");
  }
  Code Connect() {
    Code code = Code::kInternal;
    net_a_->Connect(Address{Address::Kind::kTcp, "b", 9700}, {.timeout_ns = kSecond},
                    [&](Result<ConnectionPtr> c) {
                      code = c ? Code::kOk : c.error().code();
                      if (!c) return;
                      at_a_.connection = std::move(*c);
                      at_a_.connection->Start(&at_a_);
                    });
    EXPECT_EQ(code, Code::kInternal) << "never from within the call";
    scheduler_.RunFor(2 * kSecond);
    return code;
  }
  void Send(int i, FrameType type = FrameType::kRequest) {
    FrameHeader header;
    header.type = type;
    header.request_id = static_cast<uint64_t>(i);
    at_a_.connection->Send(header, Buffer(std::to_string(i)));
  }

  SimScheduler scheduler_{3};
  SimNet net_{scheduler_};
  SimNode& a_ = scheduler_.AddNode("a");
  SimNode& b_ = scheduler_.AddNode("b");
  rpc::Network* net_a_ = nullptr;
  rpc::Network* net_b_ = nullptr;
  std::unique_ptr<rpc::Listener> listener_;
  Sink at_a_;
  Sink at_b_;
};

TEST_F(NetTest, ConnectsTalksInOrderAndCloses) {
  Listen();
  net_.faults().spike_one_in = 5;
  ASSERT_EQ(Connect(), Code::kOk);
  EXPECT_EQ(at_a_.connection->peer().role, rpc::Role::kNamenode);
  EXPECT_EQ(at_a_.connection->peer().node_id, 7u);
  EXPECT_TRUE(at_a_.connection->peer().trusted);
  EXPECT_EQ(at_b_.connection->peer().role, rpc::Role::kClient);
  at_b_.echo = true;
  for (int i = 0; i < 100; ++i) Send(i);
  scheduler_.RunFor(10 * kSecond);
  ASSERT_EQ(at_b_.got.size(), 100u);
  ASSERT_EQ(at_a_.got.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(at_a_.got[static_cast<size_t>(i)], std::to_string(i));
  at_a_.connection->Close();
  scheduler_.RunFor(kSecond);
  EXPECT_EQ(at_b_.closed, 1);
  EXPECT_EQ(at_a_.closed, 0) << "not for one's own close";
}

TEST_F(NetTest, RefusedBusyAndTimedOut) {
  EXPECT_EQ(Connect(), Code::kUnavailable);
  Listen();
  auto second = net_b_->Listen(Address{Address::Kind::kTcp, "", 9700}, [](ConnectionPtr) {});
  EXPECT_EQ(second.status().code(), Code::kBusy);
  auto any = net_b_->Listen(Address{Address::Kind::kTcp, "", 0}, [](ConnectionPtr) {});
  ASSERT_TRUE(any.ok());
  EXPECT_NE((*any)->address().port, 0);
  net_.Cut(a_, b_);
  EXPECT_EQ(Connect(), Code::kTimedOut);
  net_.HealAll();
  EXPECT_EQ(Connect(), Code::kOk);
  listener_.reset();
  EXPECT_EQ(Connect(), Code::kUnavailable);
}

TEST_F(NetTest, ShortCutStallsLongCutBreaks) {
  Listen();
  ASSERT_EQ(Connect(), Code::kOk);
  net_.faults().break_after_min_ns = net_.faults().break_after_max_ns = 500 * kMillisecond;
  net_.Cut(a_, b_);
  for (int i = 0; i < 10; ++i) Send(i);
  scheduler_.RunFor(200 * kMillisecond);
  EXPECT_TRUE(at_b_.got.empty());
  net_.Heal(a_, b_);
  scheduler_.RunFor(200 * kMillisecond);
  ASSERT_EQ(at_b_.got.size(), 10u);
  for (int i = 0; i < 10; ++i) EXPECT_EQ(at_b_.got[static_cast<size_t>(i)], std::to_string(i));
  net_.Cut(a_, b_);
  at_b_.connection->Send(FrameHeader{}, Buffer(std::string("other way")));
  Send(10);
  scheduler_.RunFor(100 * kMillisecond);
  EXPECT_EQ(at_a_.got.size(), 1u) << "the other direction is open";
  scheduler_.RunFor(2 * kSecond);
  EXPECT_EQ(at_a_.closed, 1);
  EXPECT_EQ(at_a_.closed_code, Code::kUnavailable);
  EXPECT_EQ(at_b_.closed, 1);
  EXPECT_EQ(at_b_.got.size(), 10u);
}

TEST_F(NetTest, BrokenConnectionLosesATail) {
  Listen();
  ASSERT_EQ(Connect(), Code::kOk);
  net_.faults().break_one_in = 20;
  for (int i = 0; i < 200; ++i) Send(i);
  scheduler_.RunFor(kSecond);
  EXPECT_LT(at_b_.got.size(), 200u);
  for (size_t i = 0; i < at_b_.got.size(); ++i) EXPECT_EQ(at_b_.got[i], std::to_string(i));
  EXPECT_EQ(at_a_.closed, 1);
  EXPECT_EQ(at_b_.closed, 1);
}

TEST_F(NetTest, NodeDownIsNoticedSoonOrLate) {
  for (bool silent : {false, true}) {
    Listen();
    ASSERT_EQ(Connect(), Code::kOk);
    at_a_.closed = 0;
    net_.faults().break_after_min_ns = kSecond;
    b_.Crash();
    net_.NodeDown(b_, silent);
    listener_.reset();
    at_b_.connection.reset();
    scheduler_.RunFor(100 * kMillisecond);
    EXPECT_EQ(at_a_.closed, silent ? 0 : 1);
    scheduler_.RunFor(4 * kSecond);
    EXPECT_EQ(at_a_.closed, 1);
    EXPECT_EQ(Connect(), Code::kUnavailable);
    b_.Restart();
  }
}

TEST_F(NetTest, WindowAndBackPressure) {
  Listen();
  net_.faults().send_window_bytes = 4096;
  ASSERT_EQ(Connect(), Code::kOk);
  at_b_.connection->PauseReading(true);
  FrameHeader header;
  for (int i = 0; i < 10; ++i) at_a_.connection->Send(header, Buffer(std::string(1000, 'x')));
  scheduler_.RunFor(kSecond);
  EXPECT_GT(at_a_.connection->queued_bytes(), at_a_.connection->send_window());
  EXPECT_TRUE(at_b_.got.empty());
  EXPECT_EQ(at_a_.writable, 0);
  at_b_.connection->PauseReading(false);
  scheduler_.RunFor(kSecond);
  EXPECT_EQ(at_b_.got.size(), 10u);
  EXPECT_EQ(at_a_.connection->queued_bytes(), 0u);
  EXPECT_EQ(at_a_.writable, 1);
  net_.faults().max_queued_bytes = 5000;
  for (int i = 0; i < 10; ++i) at_a_.connection->Send(header, Buffer(std::string(1000, 'x')));
  scheduler_.RunFor(kSecond);
  EXPECT_EQ(at_a_.closed, 1);
  EXPECT_EQ(at_a_.closed_code, Code::kOverloaded);
}

TEST_F(NetTest, OneWayBetweenNamenodesIsADatagram) {
  rpc::PeerIdentity namenode;
  namenode.role = rpc::Role::kNamenode;
  net_.SetIdentity(a_, namenode);
  Listen();
  ASSERT_EQ(Connect(), Code::kOk);
  net_.faults().drop_per_mille = 100;
  net_.faults().double_per_mille = 100;
  net_.faults().delay_per_mille = 100;
  for (int i = 0; i < 1000; ++i) Send(i, FrameType::kOneWay);
  scheduler_.RunFor(5 * kSecond);
  EXPECT_GT(net_.counters().dropped, 50u);
  EXPECT_GT(net_.counters().doubled, 50u);
  EXPECT_EQ(at_b_.got.size(), 1000 - net_.counters().dropped + net_.counters().doubled);
  EXPECT_FALSE(std::is_sorted(at_b_.got.begin(), at_b_.got.end(), [](const auto& x, const auto& y) {
    return std::stoi(x) < std::stoi(y);
  }));
  at_b_.got.clear();
  for (int i = 0; i < 100; ++i) Send(i);
  scheduler_.RunFor(5 * kSecond);
  ASSERT_EQ(at_b_.got.size(), 100u) << "requests are a stream all the same";
  for (int i = 0; i < 100; ++i) EXPECT_EQ(at_b_.got[static_cast<size_t>(i)], std::to_string(i));
}

TEST_F(NetTest, StreamsGetTheNodesNetwork) {
  rpc::Network* seen = nullptr;
  auto listener = net_b_->ListenForStreams(Address{Address::Kind::kTcp, "", 9700},
                                           [&](ConnectionPtr c, rpc::Network& network) {
                                             seen = &network;
                                             at_b_.connection = std::move(c);
                                             at_b_.connection->Start(&at_b_);
                                           });
  ASSERT_TRUE(listener.ok());
  ASSERT_EQ(Connect(), Code::kOk);
  EXPECT_EQ(seen, net_b_);
}

TEST(World, SameSeedSameRun) {
  const auto run = [](uint64_t seed) {
    SimScheduler scheduler(seed);
    SimNet net(scheduler);
    SimNode& a = scheduler.AddNode("a");
    SimNode& b = scheduler.AddNode("b");
    rpc::Network& net_a = net.Join(a, {});
    rpc::Network& net_b = net.Join(b, {});
    Sink at_a;
    Sink at_b;
    at_b.echo = true;
    auto listener = net_b.Listen(Address{Address::Kind::kTcp, "", 1}, [&](ConnectionPtr c) {
      at_b.connection = std::move(c);
      at_b.connection->Start(&at_b);
    });
    net.faults().break_one_in = 500;
    net.faults().spike_one_in = 10;
    net_a.Connect(Address{Address::Kind::kTcp, "b", 1}, {}, [&](Result<ConnectionPtr> c) {
      at_a.connection = std::move(*c);
      at_a.connection->Start(&at_a);
      for (int i = 0; i < 300; ++i) at_a.connection->Send(FrameHeader{}, Buffer(std::to_string(i)));
    });
    std::string trace;
    for (int i = 0; i < 5000 && scheduler.Step(); ++i) {
      trace += std::to_string(scheduler.now_ns()) + ":" + std::to_string(at_b.got.size()) + " ";
    }
    a.Crash();
    b.Crash();
    return trace;
  };
  EXPECT_EQ(run(1), run(1));
  EXPECT_NE(run(1), run(2));
}

}  // namespace
}  // namespace dfs::sim
