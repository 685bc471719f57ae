// Nemesis: makes things go wrong, from the world's random numbers, until it is told to stop and mend.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/sim/cluster.h"

namespace dfs::sim {

struct NemesisOptions {
  int64_t mean_interval_ns = 900 * kMillisecond;
  /// Weights of what it does; 0: never.
  uint64_t crash_one = 6;
  uint64_t crash_group = 2;  // all namenodes, all datanodes, or everything at once
  uint64_t crash_at_sync = 5;
  uint64_t partition = 4;
  uint64_t one_way = 3;
  uint64_t isolate_leader = 3;
  uint64_t pause = 3;
  uint64_t break_connections = 3;
  uint64_t client_death = 3;
  uint64_t message_faults = 3;
  uint64_t cut_chain = 3;  // between two datanodes, or a client and a datanode
};

class Nemesis {
 public:
  Nemesis(Cluster& cluster, NemesisOptions options);

  /// Acts until Stop.
  void Start();
  /// No more faults; everything is mended and every machine started.
  void Stop();

 private:
  void ScheduleNext();
  void Act();
  void CrashOne();
  void CrashGroup();
  void ArmSyncCrash();
  void Partition();
  void OneWay();
  void IsolateLeader();
  void Pause();
  void BreakConnections();
  void ClientDeath();
  void MessageFaults();
  void CutChain();

  void Fell(Host* host, int64_t down_ns);
  void HealLater(SimNode& from, SimNode& to, int64_t after_ns);
  FallMode AnyMode();
  int64_t DownTime();
  template <class T>
  T& Pick(std::vector<std::unique_ptr<T>>& hosts) {
    return *hosts[cluster_.random().Uniform(hosts.size())];
  }
  Host& PickServer();

  Cluster& cluster_;
  const NemesisOptions options_;
  bool running_ = false;
};

}  // namespace dfs::sim
