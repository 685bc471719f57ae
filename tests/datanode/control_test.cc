// A datanode against namenodes that say what the test wants.
#include <gtest/gtest.h>

#include <map>

#include "common/base/defects.h"
#include "common/rpc/idl_call.h"
#include "datanode/control/datanode.h"
#include "dfs_types.h"
#include "tests/datanode/store_testing.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"

namespace dfs::dn {
namespace {

class FakeNamenode : public rpc::RequestHandler {
 public:
  FakeNamenode(sim::SimScheduler& scheduler, sim::SimNet& net, const std::string& name)
      : node(scheduler.AddNode(name)) {
    rpc::PeerIdentity identity;
    identity.role = rpc::Role::kNamenode;
    network = &net.Join(node, identity);
    node.Run([this, name] {
      auto bound = network->Listen(
          *rpc::Address::Parse(name + ":9700"), [this](rpc::ConnectionPtr connection) {
            peers.push_back(rpc::RpcPeer::Create(std::move(connection), this));
          });
      ASSERT_TRUE(bound.ok());
      listener = std::move(*bound);
    });
  }
  void Destroy() {
    node.Run([this] {
      listener = nullptr;
      peers.clear();
    });
  }

  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext&,
                     rpc::ResponderPtr responder) override {
    if (!answer.ok()) return responder->Fail(answer);
    if (method == idl::kRegisterDatanode) {
      if (!rpc::DecodeRequest(request, &registration, responder)) return;
      registrations++;
      idl::RegisterDatanodeReply reply;
      reply.cluster_id = kTestCluster;
      return rpc::SendReply(*responder, reply);
    }
    if (method == idl::kHeartbeat) {
      if (!rpc::DecodeRequest(request, &heartbeat, responder)) return;
      heartbeats++;
      if (unknown) {
        unknown = false;
        return responder->Fail(Status(Code::kNotFound, "unknown datanode"));
      }
      idl::HeartbeatReply reply;
      reply.leader = leader;
      reply.lease = leader;
      reply.need_report = std::exchange(need_report, false);
      return rpc::SendReply(*responder, reply);
    }
    if (method == idl::kBlockReport) {
      idl::BlockReportRequest report;
      if (!rpc::DecodeRequest(request, &report, responder)) return;
      if (report.page == 0) paged.clear();
      pages++;
      for (const auto& replica : report.replicas) paged[replica.block] = replica;
      if (report.last) {
        known = paged;
        full_reports++;
      }
      idl::BlockReportReply reply;
      reply.accepted = true;
      return rpc::SendReply(*responder, reply);
    }
    if (method == idl::kIncrementalReport) {
      idl::IncrementalReportRequest report;
      if (!rpc::DecodeRequest(request, &report, responder)) return;
      for (const auto& replica : report.received) known[replica.block] = replica;
      for (const auto& replica : report.deleted) known.erase(replica.block);
      for (const auto& replica : report.corrupt) corrupt.push_back(replica.block);
      return rpc::SendReply(*responder, idl::Empty());
    }
    responder->Fail(Status(Code::kNotSupported, "fake"));
  }

  sim::SimNode& node;
  rpc::Network* network = nullptr;
  std::unique_ptr<rpc::Listener> listener;
  std::vector<std::shared_ptr<rpc::RpcPeer>> peers;
  Status answer;
  bool leader = false;
  bool need_report = false;
  bool unknown = false;
  int registrations = 0;
  int heartbeats = 0;
  int full_reports = 0;
  int pages = 0;
  idl::RegisterDatanodeRequest registration;
  idl::HeartbeatRequest heartbeat;
  std::map<int64_t, idl::ReplicaReport> known, paged;
  std::vector<int64_t> corrupt;
};

class ControlTest : public ::testing::Test {
 protected:
  ControlTest() : scheduler_(9), net_(scheduler_), random_(9), machine_(scheduler_.AddNode("dn1")) {
    rpc::PeerIdentity identity;
    identity.role = rpc::Role::kDatanode;
    network_ = &net_.Join(machine_, identity);
    EXPECT_TRUE(env_.CreateDirs("/v").ok());
    for (int i = 1; i <= 3; i++) {
      namenodes_.push_back(
          std::make_unique<FakeNamenode>(scheduler_, net_, "nn" + std::to_string(i)));
    }
  }
  ~ControlTest() override {
    machine_.Run([this] { datanode_ = nullptr; });
    for (auto& namenode : namenodes_) namenode->Destroy();
  }

  void Boot() {
    machine_.Run([this] {
      DatanodeOptions options;
      options.cluster_id = kTestCluster;
      options.volumes = {"/v"};
      options.listen_block = *rpc::Address::Parse("dn1:9866");
      for (int i = 1; i <= 3; i++) {
        options.namenodes.push_back(*rpc::Address::Parse("nn" + std::to_string(i) + ":9700"));
      }
      options.host_id = "dn1";
      options.report_page_replicas = 4;
      options.scanner = scanner_;
      auto opened =
          Datanode::Open(options, {env_, machine_.clock(), *network_, *network_, seed_++});
      ASSERT_TRUE(opened.ok()) << opened.error().ToString();
      datanode_ = std::move(*opened);
      datanode_->on_fatal = [this](const Status& why) { fatal_ = why; };
      datanode_->Start();
    });
  }
  void Kill() {
    machine_.Crash();
    net_.NodeDown(machine_, false);
    datanode_ = nullptr;
    env_.KillProcess();
  }
  void MakeBlock(uint64_t block, uint64_t stamp) {
    machine_.Run([&] {
      auto open = OpenWrite(datanode_->store(), block, 0, stamp, 0);
      ASSERT_TRUE(open.ok());
      ASSERT_TRUE(WriteBytes(*open, 0, "bytes").ok());
      ASSERT_TRUE(datanode_->store().Finalize(open->replica, open->ticket, false).ok());
    });
  }
  template <rpc::Method kMethod>
  Result<rpc::ReplyOf<kMethod>> Command(FakeNamenode& from,
                                        const rpc::RequestOf<kMethod>& request) {
    auto result = std::make_shared<std::optional<Result<rpc::ReplyOf<kMethod>>>>();
    from.node.Run([&] {
      rpc::Call<kMethod>(*from.peers.back(), request, 10 * kSecond, [result](auto reply) {
        if (reply.ok()) {
          *result = reply->value;
        } else {
          *result = Result<rpc::ReplyOf<kMethod>>(reply.error());
        }
      });
    });
    for (int i = 0; i < 11'000 && !*result; i++) scheduler_.RunFor(kMillisecond);
    EXPECT_TRUE(result->has_value());
    return **result;
  }

  sim::SimScheduler scheduler_;
  sim::SimNet net_;
  Random random_;
  sim::SimNode& machine_;
  rpc::Network* network_ = nullptr;
  FaultEnv env_;
  std::vector<std::unique_ptr<FakeNamenode>> namenodes_;
  std::unique_ptr<Datanode> datanode_;
  Status fatal_;
  uint64_t seed_ = 50;
  ScannerOptions scanner_;
};

TEST_F(ControlTest, RegistersAndBeatsWithEveryNamenode) {
  Boot();
  scheduler_.RunFor(10 * kSecond);
  for (auto& namenode : namenodes_) {
    EXPECT_EQ(namenode->registrations, 1);
    EXPECT_NEAR(namenode->heartbeats, 10, 2);
    EXPECT_EQ(namenode->full_reports, 1);
    EXPECT_EQ(namenode->registration.tcp_address, "dn1:9866");
    EXPECT_EQ(namenode->registration.volumes.size(), 1u);
    EXPECT_GT(namenode->heartbeat.volumes[0].available_bytes, 0);
  }
}

TEST_F(ControlTest, ReportsWhatComesAndGoes) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  for (uint64_t block = 1; block <= 10; block++) MakeBlock(block, 5);
  scheduler_.RunFor(100 * kMillisecond);
  for (auto& namenode : namenodes_) EXPECT_EQ(namenode->known.size(), 10u) << "promptly";
  machine_.Run([&] { DFS_EXPECT_OK(datanode_->store().Delete(BlockId(3), Stamp(5))); });
  scheduler_.RunFor(100 * kMillisecond);
  for (auto& namenode : namenodes_) EXPECT_EQ(namenode->known.size(), 9u);
  for (auto& namenode : namenodes_) {
    namenode->known.clear();
    namenode->need_report = true;
  }
  scheduler_.RunFor(2 * kSecond);
  for (auto& namenode : namenodes_) {
    EXPECT_EQ(namenode->known.size(), 9u) << "asked for again, in pages";
    EXPECT_EQ(namenode->full_reports, 2);
    EXPECT_GE(namenode->pages, 4);
  }
}

TEST_F(ControlTest, ReportsWhatAWriterLeftOpen) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  machine_.Run([&] {
    auto open = OpenWrite(datanode_->store(), 4, 0, 5, 0);
    ASSERT_TRUE(open.ok());
    ASSERT_TRUE(WriteBytes(*open, 0, "bytes").ok());
  });
  scheduler_.RunFor(100 * kMillisecond);
  for (auto& namenode : namenodes_) EXPECT_EQ(namenode->known.count(4), 0u) << "the chain knows";
  machine_.Run([&] { datanode_->store().LeftOpen(BlockId(4)); });
  scheduler_.RunFor(100 * kMillisecond);
  for (auto& namenode : namenodes_) {
    ASSERT_EQ(namenode->known.count(4), 1u);
    EXPECT_EQ(namenode->known[4].state, static_cast<int32_t>(ReplicaState::kRbw));
  }
  // A later writer that has finished before the news is told is not taken back.
  MakeBlock(6, 5);
  machine_.Run([&] { datanode_->store().LeftOpen(BlockId(6)); });
  scheduler_.RunFor(100 * kMillisecond);
  for (auto& namenode : namenodes_) {
    EXPECT_EQ(namenode->known[6].state, static_cast<int32_t>(ReplicaState::kFinalized));
  }
}

TEST_F(ControlTest, RegistersAgainWhenForgottenOrCutOff) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  namenodes_[0]->unknown = true;
  scheduler_.RunFor(3 * kSecond);
  EXPECT_EQ(namenodes_[0]->registrations, 2);
  net_.BreakConnections(&machine_, &namenodes_[1]->node);
  MakeBlock(7, 5);
  scheduler_.RunFor(10 * kSecond);
  EXPECT_GE(namenodes_[1]->registrations, 2);
  for (auto& namenode : namenodes_) EXPECT_EQ(namenode->known.count(7), 1u);
  net_.CutBoth(machine_, namenodes_[2]->node);
  MakeBlock(8, 5);
  scheduler_.RunFor(20 * kSecond);
  net_.HealAll();
  scheduler_.RunFor(10 * kSecond);
  EXPECT_EQ(namenodes_[2]->known.count(8), 1u);
}

TEST_F(ControlTest, BackgroundFinalizesWithinFiveSeconds) {
  Boot();
  scheduler_.RunFor(kSecond);
  MakeBlock(7, 5);
  scheduler_.RunFor(5 * kSecond);
  EXPECT_TRUE((*datanode_->store().Find(BlockId(7)))->info().on_disk);
}

TEST_F(ControlTest, TheScannerReportsWhatNobodyReads) {
  scanner_.bytes_per_second = 1 << 20;
  scanner_.period_ns = 10 * kSecond;
  Boot();
  scheduler_.RunFor(kSecond);
  MakeBlock(7, 5);
  MakeBlock(8, 5);
  scheduler_.RunFor(20 * kSecond);
  EXPECT_EQ(datanode_->status().scanner.corrupt_replicas, 0u);
  EXPECT_GE(datanode_->status().scanner.verified_replicas, 2u);
  ASSERT_TRUE(env_.FlipBit("/v/blocks/07/blk_7", 2, 5).ok());
  scheduler_.RunFor(20 * kSecond);
  EXPECT_EQ(datanode_->status().scanner.corrupt_replicas, 1u);
  for (auto& namenode : namenodes_) EXPECT_EQ(namenode->corrupt, std::vector<int64_t>{7});
  Kill();
  machine_.Restart();
  Boot();
  scheduler_.RunFor(20 * kSecond);
  EXPECT_EQ(datanode_->status().scanner.corrupt_replicas, 1u) << "found anew after a restart";
}

TEST_F(ControlTest, RefusesALowerTerm) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  MakeBlock(7, 5);
  idl::DeleteReplicasRequest remove;
  remove.term = 9;
  idl::BlockRef ref;
  ref.block = 1;
  ref.stamp = 100;
  remove.blocks = {ref};
  auto reply = Command<idl::kDeleteReplicas>(*namenodes_[0], remove);
  ASSERT_TRUE(reply.ok()) << reply.error().ToString();
  EXPECT_EQ(reply->deleted, std::vector<int64_t>{1}) << "what is not there is deleted";
  remove.term = 8;
  remove.blocks[0].block = 7;
  EXPECT_TRUE(Command<idl::kDeleteReplicas>(*namenodes_[1], remove).error().Is(Code::kStaleTerm));
  Kill();
  machine_.Restart();
  Boot();
  scheduler_.RunFor(2 * kSecond);
  EXPECT_EQ(namenodes_[0]->registration.highest_term, 9) << "kept over a restart";
  EXPECT_TRUE(Command<idl::kDeleteReplicas>(*namenodes_[1], remove).error().Is(Code::kStaleTerm));
  EXPECT_TRUE(datanode_->store().Find(BlockId(7)).ok());
  SetDefect(Defect::kStaleTermCommandAccepted, true);
  EXPECT_TRUE(Command<idl::kDeleteReplicas>(*namenodes_[1], remove).ok());
  SetDefect(Defect::kStaleTermCommandAccepted, false);
  EXPECT_FALSE(datanode_->store().Find(BlockId(7)).ok());
}

TEST_F(ControlTest, DeletesOnlyUpToTheStamp) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  MakeBlock(7, 5);
  idl::DeleteReplicasRequest remove;
  remove.term = 9;
  idl::BlockRef ref;
  ref.block = 7;
  ref.stamp = 4;
  remove.blocks = {ref};
  auto reply = Command<idl::kDeleteReplicas>(*namenodes_[0], remove);
  ASSERT_TRUE(reply.ok());
  EXPECT_TRUE(reply->deleted.empty());
  EXPECT_TRUE(datanode_->store().Find(BlockId(7)).ok());
}

TEST_F(ControlTest, RecoveryByCommand) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  machine_.Run([&] {
    auto open = OpenWrite(datanode_->store(), 7, 0, 5, 0);
    ASSERT_TRUE(WriteBytes(*open, 0, "written by one who died").ok());
  });
  idl::InitRecoveryRequest init;
  init.term = 9;
  init.block = 7;
  init.recovery_stamp = 6;
  auto view = Command<idl::kInitRecovery>(*namenodes_[0], init);
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(view->found);
  EXPECT_EQ(view->length, 23);
  idl::FinishRecoveryRequest finish;
  finish.term = 9;
  finish.block = 7;
  finish.recovery_stamp = 6;
  finish.length = 20;
  auto done = Command<idl::kFinishRecovery>(*namenodes_[0], finish);
  ASSERT_TRUE(done.ok()) << done.error().ToString();
  scheduler_.RunFor(100 * kMillisecond);
  EXPECT_EQ(namenodes_[2]->known[7].stamp, 6);
  EXPECT_EQ(namenodes_[2]->known[7].length, 20);
}

TEST_F(ControlTest, AnotherClusterIsFatal) {
  namenodes_[1]->answer = Status(Code::kWrongCluster, "this is cluster 2222");
  Boot();
  scheduler_.RunFor(3 * kSecond);
  EXPECT_TRUE(fatal_.Is(Code::kWrongCluster)) << fatal_.ToString();
}

TEST_F(ControlTest, LosingEveryVolumeIsFatal) {
  Boot();
  scheduler_.RunFor(2 * kSecond);
  env_.AddFault({.op = FaultEnv::Op::kSync});
  MakeBlock(7, 5);
  scheduler_.RunFor(10 * kSecond);
  EXPECT_TRUE(fatal_.Is(Code::kIoError)) << fatal_.ToString();
}

}  // namespace
}  // namespace dfs::dn
