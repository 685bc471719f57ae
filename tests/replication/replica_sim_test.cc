#include <gtest/gtest.h>

#include <iostream>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "tests/replication/sim_group.h"

namespace dfs::nn {
namespace {

class ReplicaSimTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { SetLogLevel(LogLevel::kError); }
};

TEST_F(ReplicaSimTest, ASingleMemberServesAtOnce) {
  SimGroup group(1, 1);
  group.StartAll();
  ASSERT_TRUE(group.RunUntil([&] { return group.Leader() == 1; }, 100 * kMillisecond));
  EXPECT_TRUE(group.at(1).replica->HasLease());
  EXPECT_TRUE(group.Commit("a"));
  group.Crash(1, FaultEnv::CrashMode::kDropUnsynced);
  ASSERT_TRUE(group.Start(1));
  ASSERT_TRUE(group.WaitForLeader());
  EXPECT_TRUE(group.at(1).applier->commands().contains("a"));
}

TEST_F(ReplicaSimTest, UnsafeTimingsAreRefused) {
  SimGroup group(1, 1);
  group.options.raft.lease_ns = 400 * kMillisecond;
  EXPECT_TRUE(group.Start(1).Is(Code::kInvalidArgument));
  group.options.raft.lease_ns = 300 * kMillisecond;
  group.options.raft.startup_silence_ns = 200 * kMillisecond;
  EXPECT_TRUE(group.Start(1).Is(Code::kInvalidArgument));
  group.options.raft.startup_silence_ns = 400 * kMillisecond;
  EXPECT_TRUE(group.Start(1));
}

TEST_F(ReplicaSimTest, ElectsReplicatesAndAnswers) {
  SimGroup group(2, 3);
  group.StartAll();
  size_t leader = group.WaitForLeader();
  ASSERT_NE(leader, 0u);
  for (int i = 0; i < 500; ++i) group.Propose(leader, "c" + std::to_string(i));
  ASSERT_TRUE(group.RunUntil([&] { return group.acknowledged.size() == 500; }));
  ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); }, 2 * kSecond));
  EXPECT_EQ(group.at(leader).applier->count(), 500u);
  // Proposals of one turn go out together: far fewer syncs than commands.
  EXPECT_LT(group.at(leader).replica->metrics().log.batches, 60u);
  EXPECT_TRUE(group.failures.empty());
}

TEST_F(ReplicaSimTest, FollowersNameTheLeader) {
  SimGroup group(3, 3);
  group.StartAll();
  size_t leader = group.WaitForLeader();
  ASSERT_TRUE(group.Commit("a"));
  size_t follower = leader == 1 ? 2 : 1;
  group.Propose(follower, "b");
  EXPECT_TRUE(group.refused.empty());  // never within the call
  group.RunUntil([&] { return !group.refused.empty(); });
  ASSERT_EQ(group.refused.size(), 1u);
  EXPECT_TRUE(group.refused[0].second.Is(Code::kNotLeader));
  EXPECT_EQ(group.refused[0].second.leader_hint(), "n" + std::to_string(leader) + ":9700");
}

TEST_F(ReplicaSimTest, FailoverKeepsEverythingAcknowledged) {
  SimGroup group(4, 3);
  group.StartAll();
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 20; ++i) {
      ASSERT_TRUE(group.Commit(std::to_string(round) + "/" + std::to_string(i)));
    }
    size_t leader = group.Leader();
    int64_t before = group.scheduler.now_ns();
    group.Crash(leader, FaultEnv::CrashMode::kDropUnsynced);
    ASSERT_TRUE(group.RunUntil([&] { return group.Leader() != 0; }, 5 * kSecond));
    EXPECT_LT(group.scheduler.now_ns() - before, 4 * kSecond);
    ASSERT_TRUE(group.Start(leader));
  }
  ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); }));
  for (const std::string& command : group.acknowledged) {
    EXPECT_TRUE(group.at(1).applier->commands().contains(command));
  }
}

TEST_F(ReplicaSimTest, AllLosePowerAtOnce) {
  SimGroup group(5, 3);
  group.StartAll();
  size_t leader = group.WaitForLeader();
  for (int i = 0; i < 300; ++i) group.Propose(leader, "c" + std::to_string(i));
  group.RunUntil([&] { return group.acknowledged.size() > 100; });
  for (size_t i = 1; i <= 3; ++i) group.Crash(i, FaultEnv::CrashMode::kDropUnsynced);
  group.StartAll();
  ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); }));
  for (const std::string& command : group.acknowledged) {
    EXPECT_TRUE(group.at(1).applier->commands().contains(command)) << command;
  }
}

TEST_F(ReplicaSimTest, ADeposedLeaderDoesNotKnowWhatBecameOfItsProposals) {
  SimGroup group(6, 3);
  group.StartAll();
  size_t leader = group.WaitForLeader();
  ASSERT_TRUE(group.Commit("a"));
  for (size_t i = 1; i <= 3; ++i) {
    if (i != leader) group.net.CutBoth(*group.at(leader).node, *group.at(i).node);
  }
  group.Propose(leader, "lost");
  ASSERT_TRUE(group.RunUntil([&] { return !group.refused.empty(); }, 5 * kSecond));
  EXPECT_TRUE(group.refused[0].second.Is(Code::kOutcomeUnknown));
  EXPECT_FALSE(group.at(leader).replica->is_leader());
  EXPECT_FALSE(group.at(leader).replica->HasLease());
  ASSERT_TRUE(group.RunUntil([&] { return group.Leader() != 0; }));
  group.net.HealAll();
  ASSERT_TRUE(group.Commit("b"));
  ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); }));
  EXPECT_FALSE(group.at(1).applier->commands().contains("lost"));
}

TEST_F(ReplicaSimTest, ReadsUnderALeaseAndWithout) {
  for (bool lease : {true, false}) {
    SimGroup group(7, 3);
    if (!lease) group.options.raft.lease_ns = 0;
    group.StartAll();
    size_t leader = group.WaitForLeader();
    ASSERT_TRUE(group.Commit("a"));
    group.scheduler.RunFor(300 * kMillisecond);
    EXPECT_EQ(group.at(leader).replica->HasLease(), lease);
    for (size_t id = 1; id <= 3; ++id) {
      bool done = false;
      group.at(id).node->Run([&] {
        group.at(id).replica->ReadBarrier([&](Status s) {
          EXPECT_TRUE(s) << s.ToString();
          done = true;
        });
      });
      EXPECT_EQ(done, lease && id == leader);  // at once, or after a round
      ASSERT_TRUE(group.RunUntil([&] { return done; }, kSecond));
      EXPECT_TRUE(group.at(id).applier->commands().contains("a"));
    }
    EXPECT_EQ(group.at(leader).replica->metrics().reads_by_lease, lease ? 1u : 0u);
  }
}

TEST_F(ReplicaSimTest, APartitionedLeaderServesNoReads) {
  for (bool lease : {true, false}) {
    SimGroup group(8, 3);
    if (!lease) group.options.raft.lease_ns = 0;
    group.StartAll();
    size_t old = group.WaitForLeader();
    ASSERT_TRUE(group.Commit("a"));
    for (size_t i = 1; i <= 3; ++i) {
      if (i != old) group.net.CutBoth(*group.at(old).node, *group.at(i).node);
    }
    ASSERT_TRUE(group.RunUntil([&] { return group.Leader() != old && group.Leader() != 0; }));
    Status result;
    bool done = false;
    group.at(old).node->Run([&] {
      group.at(old).replica->ReadBarrier([&](Status s) {
        result = s;
        done = true;
      });
    });
    ASSERT_TRUE(group.RunUntil([&] { return done; }, 5 * kSecond));
    EXPECT_FALSE(result);
  }
}

TEST_F(ReplicaSimTest, AFollowerBehindTheLogCatchesUpBySnapshot) {
  SimGroup group(9, 3);
  group.StartAll();
  size_t leader = group.WaitForLeader();
  size_t away = leader == 3 ? 2 : 3;
  ASSERT_TRUE(group.Commit("first"));
  group.Crash(away);
  for (int i = 0; i < 60; ++i) {
    for (int k = 0; k < 30; ++k) {
      group.Propose(leader, std::to_string(i) + "/" + std::to_string(k) + std::string(100, 'x'));
    }
    group.scheduler.RunFor(20 * kMillisecond);
  }
  ASSERT_TRUE(group.RunUntil([&] { return group.acknowledged.size() == 1801; }));
  group.scheduler.RunFor(kSecond);
  EXPECT_GT(group.at(leader).replica->first_log_index(), 2u);  // what is missing there is gone here
  EXPECT_GT(group.at(leader).replica->metrics().log_truncations, 0u);
  ASSERT_TRUE(group.Start(away));
  ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); }));
  EXPECT_EQ(group.at(away).replica->metrics().snapshots_installed, 1u);
  EXPECT_EQ(group.at(away).applier->count(), 1801u);
  // What it installed is durable, and its log goes on from there.
  ASSERT_TRUE(group.Commit("after"));
  group.Crash(away, FaultEnv::CrashMode::kDropUnsynced);
  ASSERT_TRUE(group.Start(away));
  ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); }));
  EXPECT_EQ(group.at(away).replica->metrics().snapshots_installed, 0u);
  EXPECT_FALSE(group.at(away).env->Exists("/data/m/snapshot.receive"));
  EXPECT_FALSE(group.at(leader).env->Exists("/data/m/snapshot.send." + std::to_string(away)));
}

/// The receiver loses power at every sync of the transfer and the installation.
TEST_F(ReplicaSimTest, AnInstallationInterruptedAnywhereIsStartedAgain) {
  for (uint64_t cut = 1;; ++cut) {
    SimGroup group(100 + cut, 3);
    group.StartAll();
    size_t leader = group.WaitForLeader();
    size_t away = leader == 3 ? 2 : 3;
    group.Crash(away);
    for (int i = 0; i < 60; ++i) {
      for (int k = 0; k < 20; ++k) {
        group.Propose(leader, std::to_string(i) + "/" + std::to_string(k) + std::string(100, 'x'));
      }
      group.scheduler.RunFor(10 * kMillisecond);
    }
    group.scheduler.RunFor(kSecond);
    ASSERT_GT(group.at(leader).replica->first_log_index(), 2u);
    ASSERT_TRUE(group.Start(away));
    uint64_t syncs = 0;
    bool crashed = false;
    SimGroup::Machine& m = group.at(away);
    m.env->SetSyncHook([&](const std::string&) {
      if (++syncs != cut) return;
      crashed = true;
      m.node->Crash();
      m.env->Crash(group.scheduler.random(), FaultEnv::CrashMode::kKeepRandom);
    });
    group.RunUntil([&] { return crashed || group.Converged(); });
    m.env->SetSyncHook(nullptr);
    if (crashed) {
      group.net.NodeDown(*m.node, false);
      m.replica.reset();
      m.applier.reset();
      m.directory.reset();
      Status s = group.Start(away);
      ASSERT_TRUE(s) << "cut at sync " << cut << ": " << s.ToString();
    }
    ASSERT_TRUE(group.RunUntil([&] { return group.Converged(); })) << "cut at sync " << cut;
    ASSERT_EQ(m.fatal.ToString(), "ok");
    if (!crashed) {
      EXPECT_GT(cut, 5u);
      break;
    }
  }
}

TEST_F(ReplicaSimTest, AWipedMemberIsRefusedAndLearnsWhy) {
  SimGroup group(10, 3);
  group.StartAll();
  ASSERT_TRUE(group.Commit("a"));
  group.scheduler.RunFor(2 * kSecond);  // everybody has met
  size_t wiped = group.Leader() == 3 ? 2 : 3;
  group.Crash(wiped);
  ASSERT_TRUE(group.at(wiped).env->RemoveTree("/data/m"));
  group.Format(wiped);
  ASSERT_TRUE(group.Start(wiped));
  ASSERT_TRUE(group.RunUntil([&] { return !group.at(wiped).fatal.ok(); }, 5 * kSecond));
  EXPECT_TRUE(group.at(wiped).fatal.Is(Code::kConflict));
  EXPECT_NE(group.at(wiped).fatal.message().find("new node id"), std::string::npos);
  EXPECT_TRUE(group.Commit("b"));
  EXPECT_EQ(group.at(wiped).applier->count(), 0u);
}

TEST_F(ReplicaSimTest, AFailedSyncStopsTheMember) {
  SimGroup group(11, 3);
  group.StartAll();
  ASSERT_TRUE(group.Commit("a"));
  size_t leader = group.Leader();
  FaultEnv::Fault fault;
  fault.op = FaultEnv::Op::kSync;
  fault.matches = [](const std::string& path) { return path.find("/raft/") != std::string::npos; };
  group.at(leader).env->AddFault(std::move(fault));
  group.Propose(leader, "b");
  ASSERT_TRUE(group.RunUntil([&] { return !group.at(leader).fatal.ok(); }, kSecond));
  EXPECT_TRUE(group.at(leader).fatal.Is(Code::kIoError));
  EXPECT_FALSE(group.at(leader).replica->is_leader());
  ASSERT_TRUE(group.RunUntil([&] { return group.Leader() != 0 && group.Leader() != leader; }));
  EXPECT_TRUE(group.Commit("c"));
}

TEST_F(ReplicaSimTest, AnUnknownCommandStopsApplying) {
  SimGroup group(12, 1);
  group.StartAll();
  ASSERT_TRUE(group.Commit("a"));
  group.Propose(1, "poison");
  ASSERT_TRUE(group.RunUntil([&] { return !group.at(1).fatal.ok(); }, kSecond));
  EXPECT_TRUE(group.at(1).fatal.Is(Code::kVersionMismatch));
}

TEST_F(ReplicaSimTest, PendingProposalsAreBounded) {
  SimGroup group(13, 3);
  group.options.max_pending_proposals = 50;
  group.StartAll();
  size_t leader = group.WaitForLeader();
  for (int i = 0; i < 80; ++i) group.Propose(leader, "c" + std::to_string(i));
  group.RunUntil([&] { return group.acknowledged.size() + group.refused.size() == 80; });
  EXPECT_EQ(group.acknowledged.size(), 50u);
  for (auto& [command, status] : group.refused) {
    EXPECT_TRUE(status.Is(Code::kOverloaded));
    EXPECT_GT(status.retry_after_ms(), 0);
  }
}

struct Listener final : Replica::LeadershipListener {
  void OnLeading(Term term) override {
    EXPECT_EQ(leading, 0u);
    leading = term;
    ++times;
  }
  void OnLeadershipLost(Term term) override {
    EXPECT_EQ(leading, term);
    leading = 0;
  }
  Term leading = 0;
  int times = 0;
};

TEST_F(ReplicaSimTest, ListenersHearOfLeadership) {
  SimGroup group(14, 3);
  group.StartAll();
  std::vector<Listener> listeners(3);
  for (size_t i = 1; i <= 3; ++i) group.at(i).replica->AddListener(&listeners[i - 1]);
  size_t leader = group.WaitForLeader();
  EXPECT_EQ(listeners[leader - 1].leading, group.at(leader).replica->term());
  group.at(leader).node->Pause(3 * kSecond);
  group.scheduler.RunFor(3500 * kMillisecond);
  EXPECT_EQ(listeners[leader - 1].leading, 0u);
  size_t next = group.Leader();
  EXPECT_NE(next, leader);
  EXPECT_EQ(listeners[next - 1].times, 1);
}

/// Crashes, partitions, loss, with commands all the while; at the end everything acknowledged is everywhere.
std::string Storm(uint64_t seed, ReplicaMetrics* sum) {
  SimGroup group(seed, 3);
  Random random(seed);
  group.flush_delay_polls = static_cast<int>(random.Between(1, 6));
  group.net.faults().drop_per_mille = random.Uniform(40);
  group.net.faults().double_per_mille = random.Uniform(20);
  group.net.faults().delay_per_mille = random.Uniform(40);
  group.net.faults().spike_one_in = 100;
  group.StartAll();
  uint64_t next = 0;
  std::vector<int64_t> down(4, 0);
  for (int step = 0; step < 400; ++step) {
    group.scheduler.RunFor(random.Between(1, 60) * kMillisecond);
    for (size_t i = 1; i <= 3; ++i) {
      if (!group.at(i).up()) {
        if (group.scheduler.now_ns() < down[i]) continue;
        Status s = group.Start(i);
        if (!s) return "seed " + std::to_string(seed) + ": start: " + s.ToString();
      } else if (!group.at(i).fatal.ok()) {
        return "seed " + std::to_string(seed) + ": " + group.at(i).fatal.ToString();
      }
    }
    if (random.OneIn(25)) {
      size_t victim = 1 + random.Uniform(3);
      if (group.at(victim).up()) {
        group.Crash(victim);
        down[victim] = group.scheduler.now_ns() + random.Between(10, 4000) * kMillisecond;
      }
    }
    if (random.OneIn(30)) {
      group.net.Cut(*group.at(1 + random.Uniform(3)).node, *group.at(1 + random.Uniform(3)).node);
    }
    if (random.OneIn(20)) group.net.HealAll();
    for (size_t i = 1; i <= 3; ++i) {
      if (!group.at(i).up() || !group.at(i).replica->is_leader()) continue;
      for (uint64_t n = random.Uniform(30); n > 0; --n) {
        group.Propose(i, "c" + std::to_string(next++) + std::string(random.Uniform(300), 'x'));
      }
    }
    if (!group.failures.empty()) return "seed " + std::to_string(seed) + ": " + group.failures[0];
  }
  group.net.HealAll();
  group.net.faults().drop_per_mille = 0;
  for (size_t i = 1; i <= 3; ++i) {
    if (group.at(i).up()) continue;
    Status s = group.Start(i);
    if (!s) return "seed " + std::to_string(seed) + ": start: " + s.ToString();
  }
  if (!group.RunUntil([&] { return group.Converged(); })) {
    return "seed " + std::to_string(seed) + ": the members do not become equal";
  }
  for (const std::string& command : group.acknowledged) {
    if (!group.at(2).applier->commands().contains(command)) {
      return "seed " + std::to_string(seed) + ": lost " + command.substr(0, 10);
    }
  }
  sum->proposals += group.acknowledged.size();
  for (size_t i = 1; i <= 3; ++i) {
    ReplicaMetrics m = group.at(i).replica->metrics();
    sum->snapshots_installed += m.snapshots_installed;
    sum->log_truncations += m.log_truncations;
    sum->suffix_truncations += m.suffix_truncations;
    sum->elections += m.elections;
  }
  return "";
}

TEST_F(ReplicaSimTest, Storms) {
  ReplicaMetrics sum;
#ifdef __OPTIMIZE__
  uint64_t seeds = 40;
#else
  uint64_t seeds = 8;
#endif
  for (uint64_t seed = 1; seed <= seeds; ++seed) ASSERT_EQ(Storm(seed, &sum), "");
  EXPECT_GT(sum.proposals, 300 * seeds) << "hardly anything done";
  std::cout << "since the last restarts: elections " << sum.elections << ", snapshots installed "
            << sum.snapshots_installed << ", prefix truncations " << sum.log_truncations
            << ", suffix truncations " << sum.suffix_truncations << "\n";
}

TEST_F(ReplicaSimTest, CuttingTheLogBeforeTheFlushIsCaught) {
  SetDefect(Defect::kLogCutBeforeFlush, true);
  std::string failure;
  ReplicaMetrics sum;
  for (uint64_t seed = 1; seed <= 1000 && failure.empty(); ++seed) failure = Storm(seed, &sum);
  SetDefect(Defect::kLogCutBeforeFlush, false);
  EXPECT_NE(failure, "");
  std::cout << failure << "\n";
}

}  // namespace
}  // namespace dfs::nn
