// A simulated machine room of datanodes' stores and block ports, and a client that writes chains.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "common/wire/chain_stream.h"
#include "datanode/recovery/recovery.h"
#include "datanode/transfer/remote_reader.h"
#include "datanode/transfer/replicator.h"
#include "datanode/transfer/stream_server.h"
#include "dfs_types.h"
#include "tests/datanode/store_testing.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"

namespace dfs::dn {

/// One datanode without its control part.
struct TestDatanode {
  TestDatanode(sim::SimScheduler& scheduler, sim::SimNet& sim_net, int number)
      : name("dn" + std::to_string(number)), node(scheduler.AddNode(name)), net(sim_net) {
    EXPECT_TRUE(env.CreateDirs("/v").ok());
    rpc::PeerIdentity identity;
    identity.role = rpc::Role::kDatanode;
    network = &net.Join(node, identity);
    Boot();
  }
  ~TestDatanode() { Down(); }

  void Boot() {
    auto opened = BlockStore::Open(TestOptions({"/v"}), env, node.clock(), 77 + name.back());
    ASSERT_TRUE(opened.ok()) << opened.error().ToString();
    store = std::move(*opened);
    context = std::make_unique<StreamContext>(*store, node.clock());
    context->host_id = name;
    server = std::make_unique<BlockStreamServer>(*context);
    replicator = std::make_unique<Replicator>(*store, *network, name);
    recovery = std::make_unique<ReplicaRecovery>(*store, *network, name);
    BlockStore::Events events;
    events.corrupt = [this](const ReplicaInfo& info) { corrupt.push_back(info.block); };
    events.finalized = [this](const ReplicaInfo& info) { finalized.push_back(info); };
    store->SetEvents(std::move(events));
    node.Run([this] {
      auto bound =
          network->ListenForStreams(*rpc::Address::Parse(name + ":9866"),
                                    [this](rpc::ConnectionPtr connection, rpc::Network& on) {
                                      server->Accept(std::move(connection), on);
                                    });
      ASSERT_TRUE(bound.ok()) << bound.error().ToString();
      listener = std::move(*bound);
    });
  }
  void Down() {
    node.Run([this] { Destroy(); });
  }
  void Destroy() {
    listener = nullptr;
    recovery = nullptr;
    replicator = nullptr;
    server = nullptr;
    context = nullptr;
    store = nullptr;
  }
  /// kill -9.
  void Kill() {
    node.Crash();
    net.NodeDown(node, false);
    Destroy();
    env.KillProcess();
  }
  void Restart() {
    node.Restart();
    Boot();
  }

  idl::ReplicaLocation Location() const {
    idl::ReplicaLocation location;
    location.datanode = static_cast<int64_t>(store->id().value);
    location.tcp_address = name + ":9866";
    location.host_id = name;
    return location;
  }
  wire::Member Member() const {
    wire::Member member;
    member.datanode = store->id().value;
    member.tcp_address = name + ":9866";
    member.host_id = name;
    return member;
  }
  std::string Content(uint64_t block) {
    auto replica = store->Find(BlockId(block));
    if (!replica.ok()) return replica.error().ToString();
    auto all = ReadAll(*replica);
    return all.ok() ? *all : all.error().ToString();
  }
  ReplicaInfo Info(uint64_t block) {
    auto replica = store->Find(BlockId(block));
    return replica.ok() ? (*replica)->info() : ReplicaInfo();
  }

  const std::string name;
  sim::SimNode& node;
  sim::SimNet& net;
  FaultEnv env;
  rpc::Network* network = nullptr;
  std::unique_ptr<BlockStore> store;
  std::unique_ptr<StreamContext> context;
  std::unique_ptr<BlockStreamServer> server;
  std::unique_ptr<Replicator> replicator;
  std::unique_ptr<ReplicaRecovery> recovery;
  std::unique_ptr<rpc::Listener> listener;
  std::vector<BlockId> corrupt;
  std::vector<ReplicaInfo> finalized;
};

class TransferTest : public ::testing::Test {
 protected:
  explicit TransferTest(int datanodes = 3, uint64_t seed = 5)
      : scheduler_(seed), net_(scheduler_), random_(seed), client_(scheduler_.AddNode("client")) {
    rpc::PeerIdentity identity;
    client_network_ = &net_.Join(client_, identity);
    pool_ = wire::StreamPool::Create(*client_network_, "client");
    for (int i = 1; i <= datanodes; i++) {
      nodes_.push_back(std::make_unique<TestDatanode>(scheduler_, net_, i));
    }
  }
  ~TransferTest() override {
    client_.Run([this] {
      if (stream_) stream_->Detach();
      stream_ = nullptr;
      pool_->CloseAll();
    });
    nodes_.clear();
  }

  /// Lives as long as the fixture, which detaches the last stream from it.
  wire::ChainWriter& NewWriter(uint64_t length) { return writers_.emplace_back(length); }

  /// Opens a chain over these datanodes under the stamp; the writer sends what it has not acknowledged.
  void OpenChain(wire::ChainWriter& writer, std::vector<int> members, uint64_t block,
                 uint64_t old_stamp, uint64_t stamp) {
    wire::ChainTarget target;
    target.block = block;
    target.old_stamp = old_stamp;
    target.stamp = stamp;
    target.length = writer.acked_length();
    std::vector<DatanodeId> ids;
    for (int m : members) {
      target.members.push_back(nodes_[m]->Member());
      ids.push_back(nodes_[m]->store->id());
    }
    client_.Run([&] {
      if (stream_) stream_->Detach();
      writer.Start(ids, stamp, client_.clock().BootNs());
      stream_ =
          wire::ChainStream::Open(client_.executor(), pool_, writer, std::move(target), [] {});
      stream_->Pump();
    });
  }
  void Add(wire::ChainWriter& writer, uint64_t offset, std::string data, uint16_t flags) {
    client_.Run([&] {
      writer.Add(offset, Buffer(std::move(data)), flags);
      if (stream_) stream_->Pump();
    });
  }
  /// Runs until everything is acknowledged, the writer has a fault, or the time is over.
  void Settle(wire::ChainWriter& writer, int64_t limit_ns = 60 * kSecond) {
    const int64_t end = scheduler_.now_ns() + limit_ns;
    while (!writer.idle() && !writer.fault() && scheduler_.now_ns() < end) {
      scheduler_.RunFor(kMillisecond);
    }
  }
  /// A whole block through the chain of all datanodes, synced and closed.
  std::string WriteBlock(uint64_t block, uint64_t stamp, size_t size, std::vector<int> members) {
    const std::string data = RandomBytes(random_, size);
    wire::ChainWriter& writer = NewWriter(0);
    OpenChain(writer, members, block, 0, stamp);
    for (size_t at = 0; at < size; at += 256 << 10) {
      Add(writer, at, data.substr(at, 256 << 10), 0);
    }
    Add(writer, size, "", wire::kPacketSync | wire::kPacketLast);
    Settle(writer);
    EXPECT_TRUE(writer.idle()) << (writer.fault() ? writer.fault()->why : "not acknowledged");
    CloseStream();
    return data;
  }
  void CloseStream() {
    client_.Run([&] {
      if (stream_) stream_->Detach();
      stream_ = nullptr;
    });
  }

  struct ReadResult {
    bool done = false;
    Status status;
    std::string data;
    uint64_t first_offset = ~uint64_t{0};
    std::vector<uint64_t> sums;
  };
  /// Reads from a datanode as the client does.
  ReadResult Read(int from, uint64_t block, uint64_t stamp, uint64_t offset, uint64_t length,
                  bool open_block = false, bool sums_only = false) {
    auto result = std::make_shared<ReadResult>();
    client_.Run([&] {
      RemoteRange range;
      range.block = block;
      range.stamp = stamp;
      range.offset = offset;
      range.length = length;
      range.sums_only = sums_only;
      range.open_block = open_block;
      RemoteReader::Start(
          *client_network_, nodes_[from]->Location(), "client", range,
          [result](uint64_t at, const Buffer& data, std::vector<uint64_t> sums) {
            if (result->first_offset == ~uint64_t{0}) result->first_offset = at;
            result->data.append(data.view());
            result->sums.insert(result->sums.end(), sums.begin(), sums.end());
            return Status::Ok();
          },
          [result](Status status) {
            result->done = true;
            result->status = status;
          });
    });
    for (int i = 0; i < 30'000 && !result->done; i++) scheduler_.RunFor(kMillisecond);
    EXPECT_TRUE(result->done);
    return *result;
  }
  void GiveLease(int node, int64_t for_ns = 3 * kSecond) {
    nodes_[node]->context->lease_until_ns = nodes_[node]->node.clock().BootNs() + for_ns;
  }

  sim::SimScheduler scheduler_;
  sim::SimNet net_;
  Random random_;
  sim::SimNode& client_;
  rpc::Network* client_network_ = nullptr;
  std::shared_ptr<wire::StreamPool> pool_;
  std::deque<wire::ChainWriter> writers_;
  std::shared_ptr<wire::ChainStream> stream_;
  std::vector<std::unique_ptr<TestDatanode>> nodes_;
};

}  // namespace dfs::dn
