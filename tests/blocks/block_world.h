// A block manager on a real state machine, with datanodes that are played by the test.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>

#include "common/base/defects.h"
#include "common/base/fault_env.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/state/mem_store.h"
#include "namenode/state/state_machine.h"
#include "tests/sim/scheduler.h"

namespace dfs::nn {

inline constexpr uint64_t kBlockSize = 1 << 20;

/// Applies commands to the state machine as a group of one would.
class World : public BlockProposer, public StateObserver, public DatanodeCommander {
 public:
  explicit World(BlockManagerOptions options = Fast()) : node(scheduler.AddNode("nn")) {
    auto opened = OpenMemStore(&env, "/state");
    EXPECT_TRUE(opened.ok());
    store = std::move(*opened);
    machine = std::make_unique<StateMachine>(store.get());
    EXPECT_TRUE(machine->Load().ok());
    blocks = std::make_unique<BlockManager>(options, node.executor(), machine->reader(), *this,
                                            *this, Random(7));
    machine->SetObserver(this);
    SetMetaCommand meta;
    meta.feature_level = kSupportedFeatureLevel;
    meta.cluster_id = "123e4567-e89b-12d3-a456-426614174000";
    Must(meta);
    node.Run([&] {
      blocks->Start();
      blocks->OnLeading(1);
    });
    session = DecodeResult<SessionResult>(Must([] {
                OpenSessionCommand c;
                c.secret = "secret";
                c.nonce = 1;
                return c;
              }()))
                  ->session;
  }
  ~World() override {
    machine->SetObserver(nullptr);
    node.Run([&] { blocks.reset(); });
  }

  static BlockManagerOptions Fast() {
    BlockManagerOptions o;
    o.stale_after_ns = 2 * kSecond;
    o.dead_after_ns = 5 * kSecond;
    o.deletion_delay_ns = 60 * kSecond;
    return o;
  }

  /// On the namenode's executor.
  template <class F>
  void In(F f) {
    if (node.executor().InExecutor()) {
      f();
    } else {
      node.Run(f);
    }
  }

  // ---- The replicated state
  Result<std::string> Apply(CommandBody body, SessionId as = SessionId()) {
    Result<std::string> out = std::string();
    In([&] { out = ApplyHere(std::move(body), as); });
    return out;
  }
  Result<std::string> ApplyHere(CommandBody body, SessionId as) {
    CommandHeader header;
    header.now_ns = 1'000'000 + scheduler.now_ns();
    if (as.valid()) {
      header.session = as;
      header.incarnation = 1;
      header.sequence = header.first_outstanding = ++sequence;
    }
    auto reply = machine->Apply(machine->applied_index() + 1, 1, EncodeCommand(header, body));
    EXPECT_TRUE(reply.ok()) << reply.status().ToString();
    EXPECT_TRUE(machine->Commit().ok());
    auto decoded = DecodeReply(*reply);
    if (decoded->code != Code::kOk) return decoded->status();
    return decoded->payload;
  }
  std::string Must(CommandBody body, SessionId as = SessionId()) {
    auto reply = Apply(std::move(body), as);
    EXPECT_TRUE(reply.ok()) << reply.status().ToString();
    return reply.ok() ? *reply : "";
  }
  OpenBlockResult OpenNew(const std::string& name, std::vector<DatanodeId> members,
                          uint32_t replication = 3) {
    CreateCommand create;
    create.parent = kRootInode;
    create.name = name;
    create.replication = replication;
    create.block_size = kBlockSize;
    auto made = DecodeResult<CreateResult>(Must(create, session));
    inode = made->attr.id;
    OpenBlockCommand open;
    open.inode = inode;
    open.members = std::move(members);
    return *DecodeResult<OpenBlockResult>(Must(open, session));
  }
  void Close(const OpenBlockResult& b, uint64_t length, std::vector<DatanodeId> members) {
    CloseBlockCommand close;
    close.inode = inode;
    close.slot = b.slot;
    close.block = b.block;
    close.stamp = b.stamp;
    close.length = length;
    close.file_size = length;
    close.members = members;
    Must(close, session);
    for (DatanodeId id : members) disks[id][b.block] = {b.stamp, length, ReplicaState::kFinalized};
  }
  OpenBlockResult Closed(const std::string& name, std::vector<DatanodeId> members,
                         uint32_t replication = 3) {
    OpenBlockResult b = OpenNew(name, members, replication);
    Close(b, 1000, members);
    return b;
  }
  BlockRecord Record(BlockId block) { return *machine->reader().GetBlock(block); }

  // ---- Datanodes
  struct Stored {
    Stamp stamp;
    uint64_t length = 0;
    ReplicaState state = ReplicaState::kFinalized;
  };
  void Join(DatanodeId id, const std::string& rack = "/r") {
    up.insert(id);
    BlockManager::Registration r;
    r.datanode = id;
    r.tcp_address = "host:" + std::to_string(id.value);
    r.host_id = "host-" + std::to_string(id.value);
    r.rack = rack;
    r.highest_term = highest_term[id] = std::max<Term>(highest_term[id], 1);
    r.volumes = {{1, uint64_t{1} << 40, uint64_t{1} << 39, 0, false}};
    In([&] { EXPECT_TRUE(blocks->Register(std::move(r)).ok()); });
    Report(id);
  }
  void Report(DatanodeId id) {
    std::vector<ReportedReplica> all;
    for (const auto& [block, s] : disks[id]) all.push_back({id, block, s.stamp, s.length, s.state});
    In([&] {
      auto taken = blocks->FullReport(id, ++report_id, 0, true, all);
      EXPECT_TRUE(taken.ok() && *taken);
    });
  }
  void Run(int64_t ns) {
    for (int64_t end = scheduler.now_ns() + ns; scheduler.now_ns() < end;) {
      node.Run([&] {
        for (DatanodeId id : up) {
          auto beat =
              blocks->Heartbeat(id, {{1, uint64_t{1} << 40, uint64_t{1} << 39, 0, false}}, 0, 1);
          if (!beat.ok()) {
            Join(id);
          } else if (beat->need_report) {
            Report(id);
          }
        }
      });
      scheduler.RunFor(std::min<int64_t>(500 * kMillisecond, end - scheduler.now_ns()));
    }
  }
  std::vector<DatanodeId> Readable(BlockId block) {
    std::vector<const Datanode*> nodes;
    blocks->Locate(block, Record(block), "", &nodes, nullptr);
    std::vector<DatanodeId> out;
    for (const Datanode* n : nodes) out.push_back(n->id);
    std::sort(out.begin(), out.end());
    return out;
  }

  // ---- BlockProposer
  void Propose(CommandBody body, UniqueFunction<void(Result<std::string>)> done) override {
    node.executor().Post([this, body = std::move(body), done = std::move(done)] {
      done(fail_proposals > 0 ? (--fail_proposals, Result<std::string>(Code::kOverloaded, "full"))
                              : Apply(body));
    });
  }
  // ---- DatanodeCommander: done a little later, on the disks above
  template <class F>
  void Later(F f) {
    node.executor().RunAfter(copy_ns, std::move(f));
  }
  void Fence(const Datanode& target, Term term, Done done) override {
    if (!up.contains(target.id)) {
      return node.executor().Post(
          [done = std::move(done)] { done(Status(Code::kUnavailable, "gone")); });
    }
    if (silent.contains(target.id)) return unanswered.push_back(std::move(done));
    highest_term[target.id] = std::max(highest_term[target.id], term);
    node.executor().Post([done = std::move(done)] { done(Status()); });
  }
  void Copy(const Datanode& source, Term term, BlockId block, const BlockRecord& record,
            const Datanode& target, const CopyLimits& limits, Done done) override {
    EXPECT_EQ(term, 1u);
    last_limits = limits;
    copies.push_back({block, source.id, target.id});
    ++running[source.id];
    ++running[target.id];
    most_running = std::max({most_running, running[source.id], running[target.id]});
    Later(
        [this, block, s = source.id, t = target.id, stamp = record.stamp, done = std::move(done)] {
          --running[s];
          --running[t];
          if (!up.contains(s) || !up.contains(t)) return done(Status(Code::kUnavailable, "gone"));
          EXPECT_EQ(disks[s][block].stamp, stamp);
          disks[t][block] = disks[s][block];
          done(Status());
        });
  }
  void Delete(const Datanode& target, Term, std::vector<DeleteOrder> orders, Done done) override {
    if (silent.contains(target.id)) return unanswered.push_back(std::move(done));
    for (const DeleteOrder& o : orders) {
      deletions.push_back({o.block, target.id});
      if (disks[target.id][o.block].stamp <= o.stamp) disks[target.id].erase(o.block);
    }
    Later([done = std::move(done)] { done(Status()); });
  }
  void InitRecovery(const Datanode& to, Term, BlockId block, std::vector<Stamp>, Stamp stamp,
                    UniqueFunction<void(Result<RecoveryAnswer>)> done) override {
    Later([this, id = to.id, block, stamp, done = std::move(done)] {
      if (!up.contains(id)) return done(Status(Code::kUnavailable, "gone"));
      auto it = disks[id].find(block);
      if (it == disks[id].end()) return done(RecoveryAnswer{});
      fences[id] = stamp;
      done(RecoveryAnswer{true, it->second.stamp, it->second.length, it->second.state});
    });
  }
  void FinishRecovery(const Datanode& to, Term, BlockId block, Stamp stamp, uint64_t length,
                      const Datanode* source,
                      UniqueFunction<void(Result<uint64_t>)> done) override {
    DatanodeId from = source == nullptr ? DatanodeId() : source->id;
    Later([this, id = to.id, block, stamp, length, from, done = std::move(done)] {
      if (!up.contains(id)) return done(Status(Code::kUnavailable, "gone"));
      EXPECT_EQ(fences[id], stamp);
      if (from.valid()) {
        EXPECT_EQ(disks[from][block].stamp, stamp);
      }
      disks[id][block] = {stamp, length, ReplicaState::kFinalized};
      done(length);
    });
  }
  // ---- StateObserver
  void OnBlockChanged(BlockId b, const BlockRecord& r) override {
    if (blocks) blocks->OnBlockChanged(b, r);
  }
  void OnBlockRemoved(BlockId b) override {
    if (blocks) blocks->OnBlockRemoved(b);
  }
  void OnDatanodeChanged(DatanodeId id, const DatanodeRecord& r) override {
    if (blocks) blocks->OnDatanodeChanged(id, r);
  }

  struct Order {
    BlockId block;
    DatanodeId from, to;
  };
  sim::SimScheduler scheduler{1};
  sim::SimNode& node;
  FaultEnv env;
  std::unique_ptr<StateStore> store;
  std::unique_ptr<StateMachine> machine;
  std::unique_ptr<BlockManager> blocks;
  SessionId session;
  uint64_t sequence = 0;
  InodeId inode;
  std::map<DatanodeId, std::map<BlockId, Stored>> disks;
  std::map<DatanodeId, Stamp> fences;
  std::map<DatanodeId, int> running;
  std::set<DatanodeId> up;
  std::set<DatanodeId> silent;  // take orders to fence and to delete, and do not answer
  std::vector<Done> unanswered;
  std::map<DatanodeId, Term> highest_term;
  uint64_t report_id = 0;
  int64_t copy_ns = 100 * kMillisecond;
  int fail_proposals = 0;
  int most_running = 0;
  CopyLimits last_limits;
  std::vector<Order> copies;
  std::vector<std::pair<BlockId, DatanodeId>> deletions;
};

}  // namespace dfs::nn
