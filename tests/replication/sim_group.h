// A Raft group of real replicas in the simulated world: network, disks, time.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/base/fault_env.h"
#include "namenode/replication/replica.h"
#include "tests/replication/test_applier.h"
#include "tests/sim/network.h"
#include "tests/sim/scheduler.h"

namespace dfs::nn {

inline const std::string kGroupCluster = "11111111-2222-3333-4444-555555555555";

class SimGroup {
 public:
  struct Machine {
    NodeId id;
    sim::SimNode* node = nullptr;
    rpc::Network* network = nullptr;
    std::unique_ptr<FaultEnv> env;
    std::unique_ptr<MemberDirectory> directory;
    std::unique_ptr<TestApplier> applier;
    std::unique_ptr<Replica> replica;
    Status fatal;
    bool up() const { return replica != nullptr; }
  };

  SimGroup(uint64_t seed, size_t members) : scheduler(seed), net(scheduler) {
    options.log.segment_bytes = 64u << 10;
    options.log.write_zeros = false;
    options.keep_log_bytes = 64u << 10;
    options.flush_after_bytes = 16u << 10;
    options.flush_after_commands = 200;
    options.snapshot_chunk_bytes = 16u << 10;
    for (size_t i = 1; i <= members; ++i) {
      auto m = std::make_unique<Machine>();
      m->id = NodeId(i);
      m->node = &scheduler.AddNode("n" + std::to_string(i));
      rpc::PeerIdentity identity;
      identity.role = rpc::Role::kNamenode;
      identity.node_id = i;
      identity.trusted = true;
      m->network = &net.Join(*m->node, identity);
      m->env = std::make_unique<FaultEnv>(seed + i);
      machines.push_back(std::move(m));
      Format(i);
    }
  }
  ~SimGroup() {
    for (auto& m : machines) Destroy(*m);
    scheduler.Clear();
  }

  Machine& at(size_t id) { return *machines[id - 1]; }

  void Format(size_t id) {
    Machine& m = at(id);
    Random random(scheduler.random().Next());
    Status s = m.env->CreateDirs("/data");
    if (s) s = m.env->SyncDir("/");
    if (s) s = MemberDirectory::Format(*m.env, "/data/m", kGroupCluster, m.id, random);
    if (!s) failures.push_back(s.ToString());
  }

  Status Start(size_t id) {
    Machine& m = at(id);
    if (!m.node->up()) m.node->Restart();
    auto directory = MemberDirectory::Open(*m.env, "/data/m", kGroupCluster, m.id);
    if (!directory) return directory.error();
    m.directory = std::move(*directory);
    m.applier = std::make_unique<TestApplier>(*m.env, m.directory->state_path());
    m.applier->flush_delay_polls = flush_delay_polls;
    m.fatal = Status();
    ReplicaOptions o = options;
    for (auto& other : machines) {
      Member member;
      member.id = other->id;
      member.raft_address.host = other->node->name();
      member.raft_address.port = 9701;
      member.client_address = other->node->name() + ":9700";
      o.members.push_back(member);
    }
    o.listen = o.members[id - 1].raft_address;
    Status started;
    m.node->Run([&] {
      m.replica = std::make_unique<Replica>(
          o, *m.directory, *m.network, *m.env, *m.applier,
          [](LogStorage& storage, Executor& executor) {
            return NewInlineLogWriter(storage, executor);
          },
          Random(scheduler.random().Next()), [&m](Status why) { m.fatal = why; });
      started = m.replica->Start();
    });
    if (!started) Destroy(m);
    return started;
  }
  void StartAll() {
    for (size_t i = 1; i <= machines.size(); ++i) {
      Status s = Start(i);
      if (!s) failures.push_back(s.ToString());
    }
  }

  void Destroy(Machine& m) {
    m.node->Run([&] {
      m.replica.reset();
      m.applier.reset();
      m.directory.reset();
    });
  }
  /// Power cut: what was not synced is gone, or partly.
  void Crash(size_t id, FaultEnv::CrashMode mode = FaultEnv::CrashMode::kKeepRandom) {
    Machine& m = at(id);
    m.node->Crash();
    m.env->Crash(scheduler.random(), mode);
    net.NodeDown(*m.node, scheduler.random().OneIn(2));
    m.replica.reset();
    m.applier.reset();
    m.directory.reset();
  }

  /// Runs until the condition holds; false after that long.
  bool RunUntil(const std::function<bool()>& done, int64_t limit_ns = 30 * kSecond) {
    int64_t end = scheduler.now_ns() + limit_ns;
    while (!done()) {
      if (scheduler.now_ns() >= end) return false;
      scheduler.RunFor(kMillisecond);
    }
    return true;
  }
  /// 0 when there is none.
  size_t Leader() {
    size_t found = 0;
    Term term = 0;
    for (auto& m : machines) {
      if (m->up() && m->replica->is_leader() && m->replica->term() > term) {
        found = m->id.value;
        term = m->replica->term();
      }
    }
    return found;
  }
  size_t WaitForLeader() {
    RunUntil([&] { return Leader() != 0; });
    return Leader();
  }
  /// Proposes at the member; outcome by code.
  void Propose(size_t id, const std::string& command) {
    Machine& m = at(id);
    ++proposed;
    m.node->Run([&] {
      m.replica->Propose(command, [this, command](Result<std::string> reply) {
        if (reply) {
          acknowledged.insert(command);
          if (reply->substr(0, command.size()) != command) failures.push_back("wrong reply");
        } else {
          refused.emplace_back(command, reply.error());
        }
      });
    });
  }
  /// Proposes and waits for the acknowledgement, wherever the leader is.
  bool Commit(const std::string& command) {
    size_t leader = WaitForLeader();
    if (leader == 0) return false;
    Propose(leader, command);
    return RunUntil([&] { return acknowledged.contains(command); }, 5 * kSecond);
  }
  /// All members up to date and equal.
  bool Converged() {
    size_t leader = Leader();
    if (leader == 0) return false;
    for (auto& m : machines) {
      if (!m->up() || m->replica->applied_index() != at(leader).replica->last_log_index() ||
          m->applier->hash() != at(leader).applier->hash()) {
        return false;
      }
    }
    return true;
  }

  sim::SimScheduler scheduler;
  sim::SimNet net;
  ReplicaOptions options;
  int flush_delay_polls = 1;
  std::vector<std::unique_ptr<Machine>> machines;
  std::set<std::string> acknowledged;
  std::vector<std::pair<std::string, Status>> refused;
  std::vector<std::string> failures;
  uint64_t proposed = 0;
};

}  // namespace dfs::nn
