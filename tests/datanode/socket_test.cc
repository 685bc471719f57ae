// Chains over real sockets, threads and files: what the simulation cannot show.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "common/rpc/event_loop.h"
#include "common/rpc/socket_network.h"
#include "common/wire/chain_stream.h"
#include "datanode/transfer/remote_reader.h"
#include "datanode/transfer/stream_server.h"
#include "dfs_types.h"
#include "tests/datanode/store_testing.h"

namespace dfs::dn {
namespace {

// Nobody is slow here, however busy the machine: whoever blames a member has found a defect.
constexpr int64_t kLong = 240 * kSecond;
constexpr wire::ChainWriterLimits kPatient = {.ack_timeout_ns = kLong, .sync_timeout_ns = kLong};

std::shared_ptr<rpc::NetworkIdentity> Identity() {
  auto identity = std::make_shared<rpc::NetworkIdentity>();
  identity->cluster_id = kTestCluster;
  identity->role = rpc::Role::kDatanode;
  identity->insecure = true;
  return identity;
}

class RealDatanode {
 public:
  explicit RealDatanode(const std::string& directory) {
    EXPECT_TRUE(PosixEnv().CreateDirs(directory).ok());
    auto opened = BlockStore::Open(TestOptions({directory}), PosixEnv(), SystemClock(),
                                   Random::FromSystem().Next());
    EXPECT_TRUE(opened.ok()) << opened.error().ToString();
    store = std::move(*opened);
    context = std::make_unique<StreamContext>(*store, SystemClock());
    context->host_id = "here";
    context->next_ack_timeout_ns = kLong;
    server = std::make_unique<BlockStreamServer>(*context);
    network = std::make_unique<rpc::SocketNetwork>(loop, Identity());
    const auto accept = [this](rpc::ConnectionPtr connection, rpc::Network& on) {
      server->Accept(std::move(connection), on);
    };
    tcp = std::move(*network->ListenForStreams(*rpc::Address::Parse("127.0.0.1:0"), accept));
    local = std::move(
        *network->ListenForStreams(*rpc::Address::Parse("unix:" + directory + "/s"), accept));
    thread = std::thread([this] { loop.Run(); });
  }
  ~RealDatanode() {
    loop.Stop();
    thread.join();
    tcp = nullptr;
    local = nullptr;
    network = nullptr;  // joins the stream threads
    server = nullptr;
  }

  rpc::EventLoop loop;
  std::unique_ptr<BlockStore> store;
  std::unique_ptr<StreamContext> context;
  std::unique_ptr<BlockStreamServer> server;
  std::unique_ptr<rpc::SocketNetwork> network;
  std::unique_ptr<rpc::Listener> tcp, local;
  std::thread thread;
};

class SocketTest : public ::testing::Test {
 protected:
  SocketTest() : random_(4) {
    char name[] = "/tmp/dnXXXXXX";
    directory_ = ::mkdtemp(name);
    for (int i = 0; i < 3; i++) {
      nodes_.push_back(std::make_unique<RealDatanode>(directory_ + "/" + std::to_string(i)));
    }
    network_ = std::make_unique<rpc::SocketNetwork>(loop_, Identity());
  }
  ~SocketTest() override {
    nodes_.clear();
    network_ = nullptr;
    EXPECT_TRUE(PosixEnv().RemoveTree(directory_).ok());
  }

  /// A whole block; host "here" goes by Unix sockets, another by TCP.
  std::string WriteBlock(uint64_t block, uint64_t stamp, size_t size, const std::string& host) {
    const std::string data = RandomBytes(random_, size);
    auto pool = wire::StreamPool::Create(*network_, host);
    wire::ChainWriter writer(0, kPatient);
    wire::ChainTarget target;
    target.block = block;
    target.stamp = stamp;
    std::vector<DatanodeId> ids;
    for (auto& node : nodes_) {
      wire::Member member;
      member.datanode = node->store->id().value;
      member.tcp_address = node->tcp->address().ToString();
      member.unix_address = node->local->address().ToString();
      member.host_id = "here";
      target.members.push_back(member);
      ids.push_back(node->store->id());
    }
    for (size_t at = 0; at < size; at += 512 << 10) {
      writer.Add(at, Buffer(data.substr(at, 512 << 10)), 0);
    }
    writer.Add(size, Buffer(), wire::kPacketSync | wire::kPacketLast);
    writer.Start(ids, stamp, SystemClock().BootNs());
    std::shared_ptr<wire::ChainStream> stream;
    loop_.Post([&] {
      stream = wire::ChainStream::Open(loop_, pool, writer, target, [] {});
      stream->Pump();
    });
    loop_.RunUntil([&] { return writer.idle() || writer.fault().has_value(); });
    EXPECT_FALSE(writer.fault()) << writer.fault()->why;
    loop_.Post([&] { std::exchange(stream, nullptr)->Detach(); });
    loop_.RunUntil([&] { return stream == nullptr; });
    pool->CloseAll();
    return data;
  }
  std::string Read(int from, uint64_t block, uint64_t stamp) {
    std::string all;
    bool done = false;
    idl::ReplicaLocation location;
    location.tcp_address = nodes_[from]->tcp->address().ToString();
    RemoteRange range;
    range.block = block;
    range.stamp = stamp;
    loop_.Post([&] {
      RemoteReader::Start(
          *network_, location, "client", range,
          [&](uint64_t, const Buffer& data, std::vector<uint64_t>) {
            all.append(data.view());
            return Status::Ok();
          },
          [&](Status status) {
            DFS_EXPECT_OK(status);
            done = true;
          });
    });
    loop_.RunUntil([&] { return done; });
    return all;
  }

  Random random_;
  std::string directory_;
  std::vector<std::unique_ptr<RealDatanode>> nodes_;
  rpc::EventLoop loop_;
  std::unique_ptr<rpc::SocketNetwork> network_;
};

TEST_F(SocketTest, WritesAndReadsOverUnixAndTcp) {
  for (const char* host : {"here", "elsewhere"}) {
    const uint64_t block = host[0];
    const std::string data = WriteBlock(block, 10, 20'000'001, host);
    for (int i = 0; i < 3; i++) EXPECT_TRUE(Read(i, block, 10) == data) << host << i;
  }
}

TEST_F(SocketTest, RandomBytesOnThePortHarmNobody) {
  const std::string data = WriteBlock(5, 10, 100'000, "here");
  for (int round = 0; round < 30; round++) {
    const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(nodes_[0]->tcp->address().port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    ASSERT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    std::string bytes = RandomBytes(random_, 1 + random_.Uniform(5000));
    if (round % 2 == 0) bytes.replace(0, 4, "DFS1");
    (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    ::close(fd);
  }
  EXPECT_TRUE(Read(0, 5, 10) == data);
}

// A writer whose process dies leaves nothing behind but an open replica.
TEST_F(SocketTest, ShutDownInTheMiddleOfAStream) {
  auto pool = wire::StreamPool::Create(*network_, "here");
  wire::ChainWriter writer(0, kPatient);
  wire::ChainTarget target;
  target.block = 9;
  target.stamp = 10;
  wire::Member member;
  member.datanode = nodes_[0]->store->id().value;
  member.tcp_address = nodes_[0]->tcp->address().ToString();
  target.members.push_back(member);
  writer.Add(0, Buffer(std::string(100'000, 'a')), 0);
  writer.Start({nodes_[0]->store->id()}, 10, SystemClock().BootNs());
  std::shared_ptr<wire::ChainStream> stream;
  loop_.Post([&] {
    stream = wire::ChainStream::Open(loop_, pool, writer, target, [] {});
    stream->Pump();
  });
  loop_.RunUntil([&] { return writer.idle() || writer.fault().has_value(); });
  EXPECT_FALSE(writer.fault());
  EXPECT_EQ((*nodes_[0]->store->Find(BlockId(9)))->info().state, ReplicaState::kRbw);
  nodes_[0] = nullptr;  // with the stream still open
  loop_.Post([&] { std::exchange(stream, nullptr)->Detach(); });
  loop_.RunUntil([&] { return stream == nullptr; });
  pool->CloseAll();
}

}  // namespace
}  // namespace dfs::dn
