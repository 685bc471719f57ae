// LeaseNemesis: what goes wrong around mounts. No datanode falls: what a mount has told the cluster stays told, so that the
// histories can be exact.
#pragma once

#include <cstdint>
#include <string_view>

#include "tests/leasesim/lease_world.h"

namespace dfs::sim {

struct LeaseNemesisOptions {
  int64_t mean_interval_ns = 1500 * kMillisecond;
  /// Weights of what it does; 0: never.
  uint64_t leader_crash = 4;
  uint64_t leader_cut = 3;   // from its peers; each client reaches it, or the others, or all
  uint64_t mount_cut = 4;    // from the namenodes, both ways or one
  uint64_t daemon_stop = 4;  // its kernel goes on
  uint64_t machine_stop = 2;
  uint64_t mount_death = 2;
  uint64_t break_connections = 2;
  uint64_t slow_network = 2;
  /// Does this, one of the names above, nearly always. False: there is none of that name.
  bool Focus(std::string_view action);
};

class LeaseNemesis {
 public:
  LeaseNemesis(LeaseWorld& world, LeaseNemesisOptions options)
      : world_(world), cluster_(world.cluster()), options_(options) {}
  void Start();
  /// No more faults; everything is mended and every machine started.
  void Stop();

 private:
  void ScheduleNext();
  void Act();
  void LeaderCrash();
  void LeaderCut();
  void MountCut();
  void DaemonStop();
  void MachineStop();
  void MountDeath();
  void BreakConnections();
  void SlowNetwork();
  Mount& AnyMount();
  NamenodeHost* Leader();
  void Cut(Host& from, Host& to, int64_t for_ns);
  Random& random() { return cluster_.random(); }

  LeaseWorld& world_;
  Cluster& cluster_;
  const LeaseNemesisOptions options_;
  bool running_ = false;
};

}  // namespace dfs::sim
