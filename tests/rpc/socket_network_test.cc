// The socket transport against peers that behave badly: raw sockets that lie, stall, flood or vanish.
#include "common/rpc/socket_network.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <set>
#include <thread>

#include "common/base/random.h"
#include "common/rpc/buffer_pool.h"
#include "common/rpc/frame.h"
#include "common/rpc/handshake.h"
#include "common/rpc/socket_util.h"
#include "tests/rpc/rpc_fixture.h"

namespace dfs::rpc {
namespace {

constexpr int kLongMs = static_cast<int>(kLong / kMillisecond);

/// Asks again and again, for things that tell nobody when they happen.
bool Poll(const std::function<bool()>& condition) {
  for (const int64_t until = SystemClock().BootNs() + kLong; SystemClock().BootNs() < until;) {
    if (condition()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return false;
}

/// A blocking socket without any of our code behind it.
class RawSocket {
 public:
  explicit RawSocket(const Address& address) {
    SocketAddress to = ToSocketAddresses(address)->front();
    fd_ = ::socket(to.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    connected_ = ::connect(fd_, reinterpret_cast<sockaddr*>(&to.storage), to.size) == 0;
  }
  ~RawSocket() { ::close(fd_); }
  bool connected() const { return connected_; }
  int fd() const { return fd_; }
  void Send(std::string_view bytes) {
    [[maybe_unused]] auto n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  }
  /// Up to the end of the stream or size bytes; gives up after the limit.
  std::string Receive(size_t size, int limit_ms = kLongMs) {
    std::string out;
    while (out.size() < size) {
      pollfd p{fd_, POLLIN, 0};
      if (::poll(&p, 1, limit_ms) <= 0) {
        timed_out_ = true;
        break;
      }
      char buffer[4096];
      ssize_t n = ::recv(fd_, buffer, std::min(sizeof(buffer), size - out.size()), 0);
      if (n <= 0) break;
      out.append(buffer, static_cast<size_t>(n));
    }
    return out;
  }
  /// Whether the other side closes within the limit.
  bool Closes(int limit_ms = kLongMs) {
    timed_out_ = false;
    Receive(SIZE_MAX, limit_ms);
    return !timed_out_;
  }
  /// The client's side of the preamble on a Unix socket.
  bool Greet() {
    TransportFacts facts;
    facts.is_unix = true;
    ClientHandshake handshake(TestIdentity(), facts, 0, std::string(kNonceSize, 'n'));
    Send(*handshake.Start());
    std::string header = Receive(kPreambleHeaderSize);
    Result<size_t> size = PreambleBodySize(header);
    return size && handshake.OnMessage(header + Receive(*size)).complete;
  }

 private:
  int fd_ = -1;
  bool connected_ = false;
  bool timed_out_ = false;
};

class SocketNetworkTest : public ::testing::Test {
 protected:
  void TearDown() override { StopServer(); }

  /// A server on a thread of its own, so that the test may block.
  void StartServer(const Address& address, NetworkLimits limits = {},
                   std::shared_ptr<NetworkIdentity> identity = nullptr) {
    if (identity == nullptr) identity = TestIdentity(Role::kNamenode, 1);
    network_ = std::make_unique<SocketNetwork>(loop_, identity, limits);
    server_ = std::make_unique<TestServer>();
    auto listener = network_->Listen(address, server_->acceptor());
    ASSERT_TRUE(listener) << listener.error().ToString();
    listener_ = std::move(*listener);
    thread_ = std::thread([this] { loop_.Run(); });
  }
  void StopServer() {
    if (!thread_.joinable()) return;
    loop_.Stop();
    thread_.join();
    server_ = nullptr;
    listener_ = nullptr;
    network_ = nullptr;
  }
  /// Reads the server's state on its loop.
  template <class T>
  T Ask(const std::function<T()>& question) {
    T answer{};
    bool done = false;
    loop_.Post([&] {
      answer = question();
      done = true;
    });
    loop_.RunUntil([&] { return done; });
    return answer;
  }
  bool Eventually(const std::function<bool()>& condition) {
    return Poll([&] { return Ask<bool>(condition); });
  }
  /// One connection with a client's network; the failure when there is none.
  Status TryConnect(const Address& address, std::shared_ptr<NetworkIdentity> identity,
                    ConnectOptions options = {}, PeerIdentity* sees = nullptr) {
    EventLoop loop;
    SocketNetwork network(loop, identity);
    std::optional<Status> outcome;
    loop.Post([&] {
      network.Connect(address, options, [&](Result<ConnectionPtr> c) {
        outcome = c.status();
        if (c && sees != nullptr) *sees = (*c)->peer();
      });
      EXPECT_FALSE(outcome.has_value()) << "the result came from within the call";
    });
    Drive(loop, [&] { return outcome.has_value(); });
    return outcome.value_or(Status(Code::kTimedOut, "test"));
  }
  bool ServerIsFine() {
    RawSocket probe(listener_->address());
    return listener_->address().kind == Address::Kind::kUnix
               ? probe.Greet()
               : TryConnect(listener_->address(), TestIdentity()).ok();
  }

  TestDir dir_;
  EventLoop loop_;
  std::unique_ptr<SocketNetwork> network_;
  std::unique_ptr<TestServer> server_;
  std::unique_ptr<Listener> listener_;
  std::thread thread_;
};

TEST(Address, ParsesAndPrints) {
  for (const char* text : {"127.0.0.1:9700", "node-1.example:1", "[::1]:80", "unix:/run/dfs/s"}) {
    Result<Address> address = Address::Parse(text);
    ASSERT_TRUE(address) << text;
    EXPECT_EQ(address->ToString(), text);
  }
  for (const char* text : {"", "host", ":1", "host:", "host:65536", "host:x", "host:1x", "::1:80",
                           "[::1:80", "[]:1", "unix:"}) {
    EXPECT_FALSE(Address::Parse(text)) << text;
  }
}

TEST_F(SocketNetworkTest, TcpWithTheKey) {
  StartServer(Loopback());
  EXPECT_NE(listener_->address().port, 0);
  PeerIdentity sees;
  Status status = TryConnect(listener_->address(), TestIdentity(), {}, &sees);
  ASSERT_TRUE(status.ok()) << status.ToString();
  EXPECT_TRUE(sees.key_authenticated);
  EXPECT_EQ(sees.role, Role::kNamenode);
  EXPECT_EQ(sees.node_id, 1u);
}

TEST_F(SocketNetworkTest, UnixCredentialsComeFromTheKernel) {
  StartServer(dir_.Socket());
  EventLoop loop;
  SocketNetwork network(loop, TestIdentity());
  Channel channel(network, listener_->address(), nullptr, 1);
  bool done = false;
  loop.Post([&] { channel.Call(kEcho, Buffer(), kLong, [&](Result<Reply> r) { done = r.ok(); }); });
  Drive(loop, [&] { return done; });
  PeerIdentity seen = Ask<PeerIdentity>([&] { return server_->last_identity; });
  EXPECT_TRUE(seen.is_unix);
  EXPECT_EQ(seen.uid, ::getuid());
  EXPECT_EQ(seen.gid, ::getgid());
  EXPECT_TRUE(seen.trusted);
  EXPECT_FALSE(seen.key_authenticated);
}

TEST_F(SocketNetworkTest, RefusalsSayWhyOnTheClient) {
  StartServer(Loopback());
  auto wrong_key = TestIdentity();
  wrong_key->cluster_key = std::string(32, 'w');
  auto wrong_cluster = TestIdentity();
  wrong_cluster->cluster_id = "ffffffff-0000-0000-0000-000000000000";
  auto insecure = TestIdentity();
  insecure->cluster_key.clear();
  insecure->insecure = true;
  Status status = TryConnect(listener_->address(), wrong_key);
  EXPECT_EQ(status.code(), Code::kUnauthenticated);
  EXPECT_NE(status.message().find("wrong cluster key"), std::string::npos) << status.ToString();
  status = TryConnect(listener_->address(), wrong_cluster);
  EXPECT_EQ(status.code(), Code::kWrongCluster) << status.ToString();
  status = TryConnect(listener_->address(), insecure);
  EXPECT_EQ(status.code(), Code::kUnauthenticated) << status.ToString();
  EXPECT_EQ(Ask<int>([&] { return server_->accepted; }), 0);
  EXPECT_TRUE(ServerIsFine());
}

TEST_F(SocketNetworkTest, NobodyThere) {
  Status status = TryConnect(dir_.Socket("nobody"), TestIdentity());
  EXPECT_EQ(status.code(), Code::kUnavailable);
  EXPECT_NE(status.message().find(dir_.File("nobody")), std::string::npos);
  StartServer(Loopback());
  Address gone = listener_->address();
  StopServer();
  EXPECT_EQ(TryConnect(gone, TestIdentity()).code(), Code::kUnavailable);
  Address no_such_host = Loopback(1);
  no_such_host.host = "no-such-host.invalid";
  EXPECT_EQ(TryConnect(no_such_host, TestIdentity()).code(), Code::kUnavailable);
}

TEST_F(SocketNetworkTest, ServerThatNeverAnswersTimesOut) {
  // Bound and listening, but nobody accepts.
  Address bound;
  Result<int> fd = OpenListener(Loopback(), &bound);
  ASSERT_TRUE(fd);
  Status status = TryConnect(bound, TestIdentity(), {.timeout_ns = 50 * kMillisecond});
  EXPECT_EQ(status.code(), Code::kTimedOut);
  ::close(*fd);
}

TEST_F(SocketNetworkTest, ServerThatIsNoneOfOurs) {
  Address bound;
  Result<int> fd = OpenListener(Loopback(), &bound);
  ASSERT_TRUE(fd);
  std::thread impostor([&] {
    pollfd p{*fd, POLLIN, 0};
    ::poll(&p, 1, kLongMs);
    int c = ::accept(*fd, nullptr, nullptr);
    std::string text = "HTTP/1.1 400 Bad Request\r\n\r\n";
    [[maybe_unused]] auto n = ::send(c, text.data(), text.size(), MSG_NOSIGNAL);
    char buffer[200];
    n = ::recv(c, buffer, sizeof(buffer), 0);
    ::close(c);
  });
  Status status = TryConnect(bound, TestIdentity());
  EXPECT_EQ(status.code(), Code::kProtocol) << status.ToString();
  impostor.join();
  ::close(*fd);
}

TEST_F(SocketNetworkTest, ListenErrorsNameThePortAndPath) {
  StartServer(Loopback());
  EventLoop loop;
  SocketNetwork other(loop, TestIdentity());
  auto busy = other.Listen(listener_->address(), [](ConnectionPtr) {});
  ASSERT_FALSE(busy);
  EXPECT_EQ(busy.error().code(), Code::kBusy);
  EXPECT_NE(busy.error().message().find(std::to_string(listener_->address().port)),
            std::string::npos);

  auto first = other.Listen(dir_.Socket("u"), [](ConnectionPtr) {});
  ASSERT_TRUE(first);
  EXPECT_EQ(other.Listen(dir_.Socket("u"), [](ConnectionPtr) {}).error().code(), Code::kBusy);
  *first = nullptr;
  EXPECT_NE(::access(dir_.File("u").c_str(), F_OK), 0)
      << "the socket's file goes with the listener";
  // A file left by a killed process is replaced, a file that is no socket is not.
  Address left = dir_.Socket("left");
  int fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  SocketAddress to = ToSocketAddresses(left)->front();
  ASSERT_EQ(::bind(fd, reinterpret_cast<sockaddr*>(&to.storage), to.size), 0);
  ::close(fd);
  EXPECT_TRUE(other.Listen(left, [](ConnectionPtr) {}));
  ::close(::creat(dir_.File("plain").c_str(), 0600));
  EXPECT_FALSE(other.Listen(dir_.Socket("plain"), [](ConnectionPtr) {}));
  EXPECT_EQ(other.Listen(dir_.Socket(std::string(120, 'x')), [](ConnectionPtr) {}).error().code(),
            Code::kInvalidArgument);
}

TEST_F(SocketNetworkTest, WrongMagicGetsATypedRefusal) {
  StartServer(dir_.Socket());
  for (const char* text : {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01",
                           "hrpc\x09\x00\x00\x00"}) {
    RawSocket raw(listener_->address());
    raw.Send(std::string_view(text, 8));
    std::string answer = raw.Receive(500);
    ASSERT_GE(answer.size(), kPreambleHeaderSize);
    EXPECT_EQ(answer.substr(0, 4), "DFS1");
    EXPECT_EQ(answer[4], static_cast<char>(PreambleKind::kRefusal));
  }
  EXPECT_TRUE(ServerIsFine());
}

TEST_F(SocketNetworkTest, SlowHandshakeIsCutOff) {
  NetworkLimits limits;
  limits.handshake_timeout_ns = 80 * kMillisecond;
  StartServer(dir_.Socket(), limits);
  RawSocket silent(listener_->address());
  RawSocket slow(listener_->address());
  RawSocket half(listener_->address());
  half.Send("DFS1\x01");
  std::thread drip([&] {
    for (char c : std::string("DFS1\x01\x00\x40\x00"
                              "aaaaaaaaaaaaaaaa",
                              24)) {
      slow.Send({&c, 1});
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
  });
  EXPECT_TRUE(silent.Closes());
  EXPECT_TRUE(half.Closes());
  EXPECT_TRUE(slow.Closes());
  drip.join();
  // Others have as little time; a busy machine may need several tries to be quick enough once.
  EXPECT_TRUE(Poll([&] { return ServerIsFine(); }));
}

TEST_F(SocketNetworkTest, BadFramesCloseTheConnectionOnly) {
  StartServer(dir_.Socket());
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    Random random(seed);
    RawSocket raw(listener_->address());
    ASSERT_TRUE(raw.Greet());
    std::string bytes;
    bool must_close = true;
    FrameHeader header;
    header.method = kEcho;
    char encoded[kFrameHeaderSize];
    switch (random.Uniform(4)) {
      case 0:  // random bytes
        bytes.resize(kFrameHeaderSize + random.Uniform(3000));
        for (char& c : bytes) c = static_cast<char>(random.Next());
        break;
      case 1:  // claims too much
        EncodeFrameHeader(header, kMaxPayload + 1 + static_cast<uint32_t>(random.Uniform(1u << 30)),
                          encoded);
        bytes.assign(encoded, sizeof(encoded));
        break;
      case 2:  // one bit wrong
        EncodeFrameHeader(header, 0, encoded);
        encoded[random.Uniform(kFrameHeaderSize)] ^= static_cast<char>(1 << random.Uniform(8));
        bytes.assign(encoded, sizeof(encoded));
        break;
      default:  // cut off in the middle
        EncodeFrameHeader(header, 1000, encoded);
        bytes.assign(encoded, sizeof(encoded));
        bytes.resize(1 + random.Uniform(kFrameHeaderSize + 999), 'x');
        must_close = false;
        break;
    }
    raw.Send(bytes);
    if (must_close) {
      ASSERT_TRUE(raw.Closes()) << "seed " << seed;
    }
  }
  EXPECT_TRUE(ServerIsFine());
  EXPECT_TRUE(Eventually([&] { return network_->connection_count() == 0; }));
  EXPECT_EQ(Ask<int>([&] { return server_->requests; }), 0);
  EXPECT_EQ(ReceiveBudget::used_bytes(), 0u);
}

TEST_F(SocketNetworkTest, HalfOpenAndStalledPeersAreDropped) {
  NetworkLimits limits;
  limits.stall_timeout_ns = 60 * kMillisecond;
  StartServer(dir_.Socket(), limits);
  RawSocket half(listener_->address());
  ASSERT_TRUE(half.Greet());
  ::shutdown(half.fd(), SHUT_WR);
  EXPECT_TRUE(half.Closes());
  RawSocket stalled(listener_->address());
  ASSERT_TRUE(stalled.Greet());
  char encoded[kFrameHeaderSize];
  EncodeFrameHeader(FrameHeader(), 500'000, encoded);
  stalled.Send({encoded, sizeof(encoded)});
  stalled.Send("a little");
  EXPECT_TRUE(stalled.Closes());
  EXPECT_EQ(Ask<Code>([&] { return server_->last_disconnect.code(); }), Code::kTimedOut);
}

TEST_F(SocketNetworkTest, IdleConnectionsEnd) {
  NetworkLimits limits;
  limits.idle_timeout_ns = 50 * kMillisecond;
  StartServer(dir_.Socket(), limits);
  RawSocket idle(listener_->address());
  ASSERT_TRUE(idle.Greet());
  EXPECT_TRUE(idle.Closes());
}

TEST_F(SocketNetworkTest, TooManyConnectionsAreTurnedAway) {
  NetworkLimits limits;
  limits.max_connections = 3;
  StartServer(dir_.Socket(), limits);
  RawSocket a(listener_->address());
  RawSocket b(listener_->address());
  RawSocket c(listener_->address());
  ASSERT_TRUE(a.Greet() && b.Greet() && c.Greet());
  Status status = TryConnect(listener_->address(), TestIdentity());
  EXPECT_EQ(status.code(), Code::kOverloaded) << status.ToString();
  EXPECT_EQ(status.retry_after_ms(), 1000);
}

TEST_F(SocketNetworkTest, SlowReaderBlocksPoliteSendersAndMemoryStaysBounded) {
  NetworkLimits limits;
  limits.send_window_bytes = 1u << 20;
  StartServer(dir_.Socket(), limits);
  RawSocket reader(listener_->address());
  ASSERT_TRUE(reader.Greet());
  ASSERT_TRUE(Eventually([&] { return server_->peers.size() == 1; }));
  constexpr uint64_t kTotal = 24u << 20;
  Buffer packet(std::string(256u << 10, 'd'));
  uint64_t sent = 0;
  size_t most_queued = 0;
  int resumed = 0;
  // A polite sender: stops at the window, goes on at on_writable.
  std::function<void()> pump = [&] {
    RpcPeer& peer = *server_->peers[0];
    while (sent < kTotal && peer.connection().queued_bytes() <= peer.connection().send_window()) {
      peer.SendPacket(1, 0, {packet});
      sent += packet.size();
      most_queued = std::max(most_queued, peer.connection().queued_bytes());
    }
  };
  Ask<bool>([&] {
    server_->peers[0]->on_writable = [&] {
      ++resumed;
      pump();
    };
    pump();
    return true;
  });
  // It stands still with more than the window queued, however often the loop comes round.
  ASSERT_TRUE(Eventually(
      [&] { return server_->peers[0]->connection().queued_bytes() > limits.send_window_bytes; }));
  for (int i = 0; i < 100; ++i) {
    EXPECT_LT(Ask<uint64_t>([&] { return sent; }), kTotal / 2) << "the reader has read nothing";
  }
  size_t expected = kTotal + (kTotal / packet.size()) * kFrameHeaderSize;
  EXPECT_EQ(reader.Receive(expected).size(), expected);
  EXPECT_EQ(Ask<uint64_t>([&] { return sent; }), kTotal);
  EXPECT_GT(Ask<int>([&] { return resumed; }), 3);
  EXPECT_LE(most_queued, (1u << 20) + packet.size() + kFrameHeaderSize);
}

TEST_F(SocketNetworkTest, ImpoliteSendersAreCutAtTheHardLimit) {
  NetworkLimits limits;
  limits.max_queued_bytes = 2u << 20;
  StartServer(dir_.Socket(), limits);
  RawSocket reader(listener_->address());
  ASSERT_TRUE(reader.Greet());
  ASSERT_TRUE(Eventually([&] { return server_->peers.size() == 1; }));
  Ask<bool>([&] {
    std::shared_ptr<RpcPeer> peer = server_->peers[0];
    for (int i = 0; i < 100; ++i) peer->SendPacket(1, 0, {Buffer(std::string(1u << 20, 'x'))});
    EXPECT_LE(peer->connection().queued_bytes(), 4u << 20);
    return true;
  });
  EXPECT_TRUE(Eventually([&] { return server_->disconnects == 1; }));
  EXPECT_EQ(Ask<Code>([&] { return server_->last_disconnect.code(); }), Code::kOverloaded);
}

TEST_F(SocketNetworkTest, PausedReadingDeliversNothingAndThenEverythingInOrder) {
  StartServer(dir_.Socket());
  RawSocket sender(listener_->address());
  ASSERT_TRUE(sender.Greet());
  std::vector<uint64_t> seen;
  Ask<bool>([&] {
    server_->on_packet = [&](RpcPeer& peer, const Buffer&) {
      seen.push_back(server_->last_header.request_id);
      peer.connection().PauseReading(true);  // after every single one
      peer.connection().executor().RunAfter(100 * kMicrosecond, [weak = peer.weak_from_this()] {
        if (auto p = weak.lock()) p->connection().PauseReading(false);
      });
    };
    return true;
  });
  for (uint64_t i = 1; i <= 200; ++i) {
    FrameHeader header;
    header.type = FrameType::kPacket;
    header.request_id = i;
    std::string payload(i % 7 == 0 ? 40'000 : 10, 'p');
    std::string frame(kFrameHeaderSize, '\0');
    EncodeFrameHeader(header, static_cast<uint32_t>(payload.size()), frame.data());
    sender.Send(frame + payload);
  }
  ASSERT_TRUE(Eventually([&] { return seen.size() == 200; }));
  for (uint64_t i = 0; i < 200; ++i) EXPECT_EQ(seen[i], i + 1);
}

TEST_F(SocketNetworkTest, ThousandConnections) {
  RaiseFileLimit(8192);
  StartServer(dir_.Socket());
  EventLoop loop;
  SocketNetwork network(loop, TestIdentity());
  constexpr int kCount = 1000;
  std::vector<std::unique_ptr<Channel>> channels;
  int answered = 0;
  loop.Post([&] {
    for (int i = 0; i < kCount; ++i) {
      channels.push_back(std::make_unique<Channel>(network, listener_->address(), nullptr,
                                                   static_cast<uint64_t>(i)));
      channels.back()->Call(kEcho, Buffer::Copy(std::to_string(i)), kLong, [&, i](Result<Reply> r) {
        ASSERT_TRUE(r) << r.error().ToString();
        EXPECT_EQ(r->payload.view(), std::to_string(i));
        ++answered;
      });
    }
  });
  Drive(loop, [&] { return answered == kCount; });
  EXPECT_EQ(Ask<size_t>([&] { return server_->peers.size(); }), static_cast<size_t>(kCount));
  channels.clear();
  EXPECT_TRUE(Eventually([&] { return server_->peers.empty(); }));
}

/// Echoes packets from its own thread; lives until its connection closes.
struct EchoStream : Connection::Handler {
  ConnectionPtr connection;
  std::atomic<int>* live = nullptr;
  void OnFrame(const FrameHeader& header, Buffer payload) override {
    EXPECT_TRUE(connection->executor().InExecutor());
    connection->Send(header, std::move(payload));
  }
  void OnClosed(const Status&) override {
    --*live;
    delete this;
  }
};

TEST_F(SocketNetworkTest, StreamsHaveThreadsOfTheirOwnWhichAreReused) {
  NetworkLimits limits;
  limits.max_connections = 4;
  limits.thread_idle_ns = 20 * kMillisecond;
  network_ = std::make_unique<SocketNetwork>(loop_, TestIdentity(Role::kDatanode, 9), limits);
  std::mutex mu;
  std::set<std::thread::id> threads;
  std::atomic<int> live{0};
  auto listener =
      network_->ListenForStreams(dir_.Socket(), [&](ConnectionPtr connection, Network& onward) {
        {
          std::lock_guard lock(mu);
          threads.insert(std::this_thread::get_id());
        }
        EXPECT_EQ(&onward.executor(), &connection->executor());
        ++live;
        auto* stream = new EchoStream;
        stream->live = &live;
        stream->connection = std::move(connection);
        stream->connection->Start(stream);
      });
  ASSERT_TRUE(listener) << listener.error().ToString();
  thread_ = std::thread([this] { loop_.Run(); });
  server_ = std::make_unique<TestServer>();
  listener_ = std::move(*listener);
  FrameHeader header;
  header.type = FrameType::kPacket;
  std::string frame(kFrameHeaderSize, '\0');
  EncodeFrameHeader(header, 5, frame.data());
  frame += "bytes";
  {
    std::vector<std::unique_ptr<RawSocket>> clients;
    for (int i = 0; i < 4; ++i) {
      clients.push_back(std::make_unique<RawSocket>(listener_->address()));
      ASSERT_TRUE(clients.back()->Greet());
      clients.back()->Send(frame);
      EXPECT_EQ(clients.back()->Receive(frame.size()), frame);
    }
    EXPECT_EQ(threads.size(), 4u);
    EXPECT_EQ(TryConnect(listener_->address(), TestIdentity()).code(), Code::kOverloaded);
  }
  auto wait_for_none = [&] { return Poll([&] { return live == 0; }); };
  EXPECT_TRUE(wait_for_none());
  for (int i = 0; i < 20; ++i) {
    // The thread of the one before may still be on its way back to the pool, which is not full then.
    RawSocket client(listener_->address());
    ASSERT_TRUE(client.Greet()) << i;
    client.Send(frame);
    EXPECT_EQ(client.Receive(frame.size()), frame);
    ::shutdown(client.fd(), SHUT_RDWR);
    EXPECT_TRUE(wait_for_none());
  }
  EXPECT_TRUE(wait_for_none());
  // Open connections at the end get OnClosed on their threads.
  RawSocket last(listener_->address());
  ASSERT_TRUE(last.Greet());
  last.Send(frame);
  EXPECT_EQ(last.Receive(frame.size()), frame);
  EXPECT_EQ(live, 1);
  StopServer();
  EXPECT_EQ(live, 0);
}

}  // namespace
}  // namespace dfs::rpc
