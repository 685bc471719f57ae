#include "tests/leasesim/lease_nemesis.h"

#include <fmt/core.h>

#include <utility>

namespace dfs::sim {

bool LeaseNemesisOptions::Focus(std::string_view action) {
  using Weight = uint64_t LeaseNemesisOptions::*;
  const std::pair<std::string_view, Weight> names[] = {
      {"leader_crash", &LeaseNemesisOptions::leader_crash},
      {"leader_cut", &LeaseNemesisOptions::leader_cut},
      {"mount_cut", &LeaseNemesisOptions::mount_cut},
      {"daemon_stop", &LeaseNemesisOptions::daemon_stop},
      {"machine_stop", &LeaseNemesisOptions::machine_stop},
      {"mount_death", &LeaseNemesisOptions::mount_death},
      {"break_connections", &LeaseNemesisOptions::break_connections},
      {"slow_network", &LeaseNemesisOptions::slow_network},
  };
  if (action == "none") {
    for (const auto& [name, weight] : names) this->*weight = 0;
    return true;
  }
  for (const auto& [name, weight] : names) {
    if (name != action) continue;
    this->*weight = 200;
    return true;
  }
  return false;
}

void LeaseNemesis::Start() {
  running_ = true;
  ScheduleNext();
}

void LeaseNemesis::Stop() {
  running_ = false;
  cluster_.net().HealAll();
  cluster_.net().faults() = NetFaults();
  for (Host* host : cluster_.AllHosts()) {
    if (host->up()) continue;
    cluster_.scheduler().After(kMillisecond, [host] {
      if (!host->up()) host->Start();
    });
  }
}

void LeaseNemesis::ScheduleNext() {
  cluster_.scheduler().After(random().Between(1, 2 * options_.mean_interval_ns), [this] {
    if (!running_) return;
    Act();
    ScheduleNext();
  });
}

void LeaseNemesis::Act() {
  const std::pair<uint64_t, void (LeaseNemesis::*)()> actions[] = {
      {options_.leader_crash, &LeaseNemesis::LeaderCrash},
      {options_.leader_cut, &LeaseNemesis::LeaderCut},
      {options_.mount_cut, &LeaseNemesis::MountCut},
      {options_.daemon_stop, &LeaseNemesis::DaemonStop},
      {options_.machine_stop, &LeaseNemesis::MachineStop},
      {options_.mount_death, &LeaseNemesis::MountDeath},
      {options_.break_connections, &LeaseNemesis::BreakConnections},
      {options_.slow_network, &LeaseNemesis::SlowNetwork},
  };
  uint64_t sum = 0;
  for (const auto& [weight, action] : actions) sum += weight;
  if (sum == 0) return;
  uint64_t dice = random().Uniform(sum);
  for (const auto& [weight, action] : actions) {
    if (dice < weight) return (this->*action)();
    dice -= weight;
  }
}

Mount& LeaseNemesis::AnyMount() {
  return *world_.mounts()[random().Uniform(world_.mounts().size())];
}

NamenodeHost* LeaseNemesis::Leader() {
  nn::Namenode* leader = cluster_.Leader();
  for (auto& host : cluster_.namenodes()) {
    if (leader != nullptr && host->namenode() == leader) return host.get();
  }
  return nullptr;
}

void LeaseNemesis::Cut(Host& from, Host& to, int64_t for_ns) {
  cluster_.net().Cut(from.node(), to.node());
  cluster_.scheduler().After(
      for_ns, [this, &from, &to] { cluster_.net().Heal(from.node(), to.node()); });
}

void LeaseNemesis::LeaderCrash() {
  NamenodeHost* leader = Leader();
  if (leader == nullptr) return;
  leader->Fall(FallMode::kKillProcess, random().OneIn(2));
  cluster_.scheduler().After(random().Between(100 * kMillisecond, 2500 * kMillisecond), [leader] {
    if (!leader->up()) leader->Start();
  });
}

void LeaseNemesis::LeaderCut() {
  NamenodeHost* leader = Leader();
  if (leader == nullptr) return;
  ++cluster_.stats().partitions;
  const int64_t ns = random().Between(kSecond, 6 * kSecond);
  cluster_.Trace(leader->name() + " leads and is cut off");
  for (auto& host : cluster_.namenodes()) {
    if (host.get() == leader) continue;
    Cut(*leader, *host, ns);
    Cut(*host, *leader, ns);
  }
  for (auto& client : cluster_.clients()) {
    const uint64_t dice = random().Uniform(3);
    for (auto& host : cluster_.namenodes()) {
      if (dice == 2 || (dice == 0) == (host.get() == leader)) continue;
      Cut(*client, *host, ns);
      Cut(*host, *client, ns);
    }
  }
}

void LeaseNemesis::MountCut() {
  Mount& mount = AnyMount();
  ++cluster_.stats().partitions;
  const int64_t ns = random().Between(300 * kMillisecond, 6 * kSecond);
  const uint64_t way = random().Uniform(4);
  cluster_.Trace(fmt::format("{} is cut from the namenodes ({}) for {} ms", mount.name(),
                             way == 0 ? "out" : way == 1 ? "in" : "both", ns / kMillisecond));
  for (auto& host : cluster_.namenodes()) {
    if (way != 1) Cut(mount.host(), *host, ns);
    if (way != 0) Cut(*host, mount.host(), ns);
  }
}

void LeaseNemesis::DaemonStop() {
  Mount& mount = AnyMount();
  if (!mount.host().up()) return;
  ++cluster_.stats().pauses;
  const int64_t ns = random().Between(100 * kMillisecond, 6 * kSecond);
  cluster_.Trace(fmt::format("the daemon of {} stops for {} ms", mount.name(), ns / kMillisecond));
  mount.host().node().Pause(ns);
}

void LeaseNemesis::MachineStop() {
  Mount& mount = AnyMount();
  if (!mount.host().up()) return;
  ++cluster_.stats().pauses;
  const int64_t ns = random().Between(100 * kMillisecond, 6 * kSecond);
  cluster_.Trace(fmt::format("{} stops for {} ms", mount.name(), ns / kMillisecond));
  mount.host().node().Pause(ns);
  mount.kernel_node().Pause(ns);
}

void LeaseNemesis::MountDeath() {
  Mount& mount = AnyMount();
  if (!mount.host().up()) return;
  ++cluster_.stats().client_deaths;
  mount.host().Fall(FallMode::kKillProcess, random().OneIn(2));
  cluster_.scheduler().After(random().Between(50 * kMillisecond, 3 * kSecond), [&mount] {
    if (!mount.host().up()) mount.host().Start();
  });
}

void LeaseNemesis::BreakConnections() {
  Mount& mount = AnyMount();
  cluster_.Trace("connections of " + mount.name() + " break");
  cluster_.net().BreakConnections(&mount.host().node(), nullptr);
}

void LeaseNemesis::SlowNetwork() {
  NetFaults& faults = cluster_.net().faults();
  faults = NetFaults();
  if (random().OneIn(2)) return;
  cluster_.Trace("slow network");
  faults.spike_one_in = 5 + random().Uniform(100);
  faults.spike_ns = random().OneIn(2) ? 50 * kMillisecond : 400 * kMillisecond;
}

}  // namespace dfs::sim
