#include "tests/sim/nemesis.h"

#include <fmt/core.h>

#include <utility>

#include "common/base/check.h"
#include "datanode/control/datanode.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/service/namenode.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"

namespace dfs::sim {

bool NemesisOptions::Focus(std::string_view action) {
  const std::pair<std::string_view, uint64_t NemesisOptions::*> names[] = {
      {"crash_one", &NemesisOptions::crash_one},
      {"crash_group", &NemesisOptions::crash_group},
      {"crash_at_sync", &NemesisOptions::crash_at_sync},
      {"partition", &NemesisOptions::partition},
      {"one_way", &NemesisOptions::one_way},
      {"isolate_leader", &NemesisOptions::isolate_leader},
      {"pause", &NemesisOptions::pause},
      {"break_connections", &NemesisOptions::break_connections},
      {"client_death", &NemesisOptions::client_death},
      {"message_faults", &NemesisOptions::message_faults},
      {"cut_chain", &NemesisOptions::cut_chain},
      {"forgotten_vote", &NemesisOptions::forgotten_vote},
      {"lost_ack", &NemesisOptions::lost_ack},
      {"disk_fault", &NemesisOptions::disk_fault},
      {"old_term_entry", &NemesisOptions::old_term_entry},
      {"take_out", &NemesisOptions::take_out},
  };
  for (const auto& [name, weight] : names) {
    if (name != action) continue;
    this->*weight = 200;
    return true;
  }
  return false;
}

Nemesis::Nemesis(Cluster& cluster, NemesisOptions options) : cluster_(cluster), options_(options) {}

void Nemesis::Start() {
  running_ = true;
  ScheduleNext();
  if (options_.long_silence) {
    cluster_.scheduler().After(cluster_.random().Between(0, 4 * kSecond), [this] {
      if (running_) LongSilence();
    });
  }
}

void Nemesis::Stop() {
  running_ = false;
  plan_ = 0;
  cluster_.on_namenode_step = nullptr;
  cluster_.net().HealAll();
  NetFaults& faults = cluster_.net().faults();
  faults = NetFaults();
  for (Host* host : cluster_.AllHosts()) {
    host->env().SetSyncHook(nullptr);
    if (!host->up()) {
      // Its process may just have fallen and be destroyed by the event after this one.
      cluster_.scheduler().After(kMillisecond, [host] {
        if (!host->up()) host->Start();
      });
    }
  }
  if (options_.take_out > 0) PutAllBack();
}

void Nemesis::ScheduleNext() {
  const int64_t delay = cluster_.random().Between(1, 2 * options_.mean_interval_ns);
  cluster_.scheduler().After(delay, [this] {
    if (!running_) return;
    Act();
    ScheduleNext();
  });
}

void Nemesis::Act() {
  const std::pair<uint64_t, void (Nemesis::*)()> actions[] = {
      {options_.crash_one, &Nemesis::CrashOne},
      {options_.crash_group, &Nemesis::CrashGroup},
      {options_.crash_at_sync, &Nemesis::ArmSyncCrash},
      {options_.partition, &Nemesis::Partition},
      {options_.one_way, &Nemesis::OneWay},
      {options_.isolate_leader, &Nemesis::IsolateLeader},
      {options_.pause, &Nemesis::Pause},
      {options_.break_connections, &Nemesis::BreakConnections},
      {options_.client_death, &Nemesis::ClientDeath},
      {options_.message_faults, &Nemesis::MessageFaults},
      {options_.cut_chain, &Nemesis::CutChain},
      {options_.forgotten_vote, &Nemesis::ForgottenVote},
      {options_.lost_ack, &Nemesis::LostAck},
      {options_.disk_fault, &Nemesis::DiskFault},
      {options_.old_term_entry, &Nemesis::OldTermEntry},
      {options_.take_out, &Nemesis::TakeOut},
  };
  uint64_t sum = 0;
  for (const auto& [weight, action] : actions) sum += weight;
  uint64_t dice = cluster_.random().Uniform(sum);
  for (const auto& [weight, action] : actions) {
    if (dice < weight) {
      (this->*action)();
      return;
    }
    dice -= weight;
  }
}

FallMode Nemesis::AnyMode() {
  switch (cluster_.random().Uniform(3)) {
    case 0:
      return FallMode::kKillProcess;
    case 1:
      return FallMode::kPowerDropAll;
    default:
      return FallMode::kPowerTear;
  }
}

int64_t Nemesis::DownTime() {
  // Mostly short; sometimes longer than it takes to be declared dead.
  return cluster_.random().OneIn(5)
             ? cluster_.random().Between(4 * kSecond, 12 * kSecond)
             : cluster_.random().Between(100 * kMillisecond, 2500 * kMillisecond);
}

Host& Nemesis::PickServer() {
  const uint64_t namenodes = cluster_.namenodes().size();
  const uint64_t n = cluster_.random().Uniform(namenodes + cluster_.datanodes().size());
  if (n < namenodes) return *cluster_.namenodes()[n];
  return *cluster_.datanodes()[n - namenodes];
}

void Nemesis::Fell(Host* host, int64_t down_ns) {
  cluster_.scheduler().After(down_ns, [host] {
    if (!host->up()) host->Start();
  });
}

void Nemesis::CrashOne() {
  Host& host = PickServer();
  if (!host.up()) return;
  host.Fall(AnyMode(), cluster_.random().OneIn(2));
  Fell(&host, DownTime());
}

void Nemesis::CrashGroup() {
  std::vector<Host*> group;
  const uint64_t what = cluster_.random().Uniform(3);
  if (what != 1) {
    for (auto& host : cluster_.namenodes()) group.push_back(host.get());
  }
  if (what != 0) {
    for (auto& host : cluster_.datanodes()) group.push_back(host.get());
  }
  const FallMode mode = AnyMode();
  for (Host* host : group) {
    if (!host->up()) continue;
    host->Fall(mode, cluster_.random().OneIn(2));
    Fell(host, cluster_.random().Between(100 * kMillisecond, 1500 * kMillisecond));
  }
}

void Nemesis::ArmSyncCrash() {
  Host& host = PickServer();
  if (!host.up()) return;
  const FallMode mode = cluster_.random().OneIn(3) ? FallMode::kPowerDropAll : FallMode::kPowerTear;
  host.ArmSyncCrash(1 + cluster_.random().Uniform(12), mode, cluster_.random().OneIn(2),
                    [this, &host] { Fell(&host, DownTime()); });
}

void Nemesis::HealLater(SimNode& from, SimNode& to, int64_t after_ns) {
  cluster_.scheduler().After(after_ns, [this, &from, &to] { cluster_.net().Heal(from, to); });
}

// Two sides that do not reach each other.
void Nemesis::Partition() {
  ++cluster_.stats().partitions;
  std::vector<Host*> hosts = cluster_.AllHosts();
  std::vector<bool> side(hosts.size());
  for (size_t i = 0; i < hosts.size(); ++i) side[i] = cluster_.random().OneIn(3);
  const int64_t heal_ns = cluster_.random().Between(300 * kMillisecond, 5 * kSecond);
  std::string names;
  for (size_t i = 0; i < hosts.size(); ++i) {
    if (side[i]) names += " " + hosts[i]->name();
    for (size_t k = 0; k < hosts.size(); ++k) {
      if (side[i] == side[k]) continue;
      cluster_.net().Cut(hosts[i]->node(), hosts[k]->node());
      HealLater(hosts[i]->node(), hosts[k]->node(), heal_ns);
    }
  }
  cluster_.Trace("partition of" + names);
}

void Nemesis::OneWay() {
  ++cluster_.stats().partitions;
  const int64_t heal_ns = cluster_.random().Between(300 * kMillisecond, 5 * kSecond);
  Host& host = PickServer();
  const bool out = cluster_.random().OneIn(2);
  for (Host* other : cluster_.AllHosts()) {
    if (other == &host || cluster_.random().OneIn(3)) continue;
    SimNode& from = out ? host.node() : other->node();
    SimNode& to = out ? other->node() : host.node();
    cluster_.net().Cut(from, to);
    HealLater(from, to, heal_ns);
  }
  cluster_.Trace(fmt::format("one-way cut {} {}", out ? "from" : "to", host.name()));
}

// The leader loses its peers and keeps some of its clients: it must not serve them for long.
void Nemesis::IsolateLeader() {
  nn::Namenode* leader = cluster_.Leader();
  if (leader == nullptr) return;
  ++cluster_.stats().partitions;
  const int64_t heal_ns = cluster_.random().Between(kSecond, 6 * kSecond);
  Host* leading = nullptr;
  for (auto& host : cluster_.namenodes()) {
    if (host->namenode() == leader) leading = host.get();
  }
  cluster_.Trace(leading->name() + " leads and is cut off");
  for (auto& host : cluster_.namenodes()) {
    if (host.get() == leading) continue;
    cluster_.net().CutBoth(leading->node(), host->node());
    HealLater(leading->node(), host->node(), heal_ns);
    HealLater(host->node(), leading->node(), heal_ns);
  }
  // Some clients see only the old leader, others only the new one.
  for (auto& client : cluster_.clients()) {
    const uint64_t dice = cluster_.random().Uniform(3);
    for (auto& host : cluster_.namenodes()) {
      const bool old_side = host.get() == leading;
      if (dice == 2 || (dice == 0) == old_side) continue;
      cluster_.net().CutBoth(client->node(), host->node());
      HealLater(client->node(), host->node(), heal_ns);
      HealLater(host->node(), client->node(), heal_ns);
    }
  }
}

void Nemesis::Pause() {
  ++cluster_.stats().pauses;
  Host& host =
      cluster_.random().OneIn(4) ? static_cast<Host&>(Pick(cluster_.clients())) : PickServer();
  if (!host.up()) return;
  const int64_t ns = cluster_.random().Between(100 * kMillisecond, 4 * kSecond);
  cluster_.Trace(fmt::format("{} stops for {} ms", host.name(), ns / kMillisecond));
  host.node().Pause(ns);
}

void Nemesis::BreakConnections() {
  auto hosts = cluster_.AllHosts();
  Host* host = hosts[cluster_.random().Uniform(hosts.size())];
  cluster_.Trace("connections of " + host->name() + " break");
  cluster_.net().BreakConnections(&host->node(), nullptr);
}

void Nemesis::ClientDeath() {
  Host& host = Pick(cluster_.clients());
  if (!host.up()) return;
  ++cluster_.stats().client_deaths;
  host.Fall(FallMode::kKillProcess, cluster_.random().OneIn(2));
  Fell(&host, cluster_.random().Between(50 * kMillisecond, 3 * kSecond));
}

void Nemesis::MessageFaults() {
  NetFaults& faults = cluster_.net().faults();
  Random& random = cluster_.random();
  if (random.OneIn(3)) {
    faults = NetFaults();
    cluster_.Trace("quiet network");
    return;
  }
  faults.drop_per_mille = random.Uniform(150);
  faults.double_per_mille = random.Uniform(100);
  faults.delay_per_mille = random.Uniform(200);
  faults.spike_one_in = random.OneIn(2) ? 20 + random.Uniform(200) : 0;
  faults.break_one_in = random.OneIn(2) ? 200 + random.Uniform(2000) : 0;
  faults.send_window_bytes = random.OneIn(3) ? 32u << 10 : 1u << 20;
  cluster_.Trace("rough network");
}

void Nemesis::CutChain() {
  const int64_t heal_ns = cluster_.random().Between(300 * kMillisecond, 4 * kSecond);
  Host& to = Pick(cluster_.datanodes());
  Host& from = cluster_.random().OneIn(2) ? static_cast<Host&>(Pick(cluster_.datanodes()))
                                          : static_cast<Host&>(Pick(cluster_.clients()));
  if (&from == &to) return;
  cluster_.Trace(fmt::format("{} and {} are cut", from.name(), to.name()));
  cluster_.net().Cut(from.node(), to.node());
  HealLater(from.node(), to.node(), heal_ns);
  if (cluster_.random().OneIn(2)) {
    cluster_.net().Cut(to.node(), from.node());
    HealLater(to.node(), from.node(), heal_ns);
  }
}

bool Nemesis::FindGroup(Host** leader, std::vector<Host*>* others) {
  nn::Namenode* leading = cluster_.Leader();
  for (auto& host : cluster_.namenodes()) {
    if (!host->up()) return false;
    if (host->namenode() == leading) {
      *leader = host.get();
    } else {
      others->push_back(host.get());
    }
  }
  return leading != nullptr;
}

void Nemesis::HealBoth(Host& a, Host& b) {
  cluster_.net().Heal(a.node(), b.node());
  cluster_.net().Heal(b.node(), a.node());
}

void Nemesis::CutFor(Host& a, Host& b, int64_t ns) {
  cluster_.net().CutBoth(a.node(), b.node());
  HealLater(a.node(), b.node(), ns);
  HealLater(b.node(), a.node(), ns);
}

// The leader reaches one follower only, so that this one's word commits. It falls before what it acknowledged is on disk;
// then it and the other one are left alone.
void Nemesis::LostAck() {
  Host* leader = nullptr;
  std::vector<Host*> others;
  if (!FindGroup(&leader, &others)) return;
  ++cluster_.stats().partitions;
  Host* follower = others[cluster_.random().Uniform(others.size())];
  const int64_t ns = cluster_.random().Between(3 * kSecond, 6 * kSecond);
  cluster_.Trace(follower->name() + " alone follows " + leader->name() +
                 " and falls as it appends");
  for (Host* other : others) {
    if (other != follower) CutFor(*leader, *other, ns);
  }
  follower->ArmSyncCrash(
      1 + cluster_.random().Uniform(4), FallMode::kPowerDropAll, true,
      [this, leader, follower, ns] {
        // What it had sent arrives before the cut.
        cluster_.scheduler().After(
            20 * kMillisecond, [this, leader, follower, ns] { CutFor(*leader, *follower, ns); });
        Fell(follower, cluster_.random().Between(50 * kMillisecond, 300 * kMillisecond));
      });
}

void Nemesis::DiskFault() {
  DatanodeHost& host = Pick(cluster_.datanodes());
  if (!host.up()) return;
  Random& random = cluster_.random();
  const int64_t ns = random.Between(500 * kMillisecond, 4 * kSecond);
  if (random.OneIn(3)) {
    cluster_.Trace(host.name() + ": no space");
    host.FillDisk(ns);
    return;
  }
  const FaultEnv::Op ops[] = {FaultEnv::Op::kSync, FaultEnv::Op::kWrite, FaultEnv::Op::kRead,
                              FaultEnv::Op::kRename, FaultEnv::Op::kSyncDir};
  FaultEnv::Fault fault;
  fault.op = ops[random.Uniform(std::size(ops))];
  fault.matches = [volume = random.OneIn(2) ? "/v0/" : "/v1/"](const std::string& path) {
    return path.starts_with(volume);
  };
  fault.skip = random.Uniform(20);
  cluster_.Trace(
      fmt::format("{}: i/o error to come (operation {})", host.name(), static_cast<int>(fault.op)));
  host.FailDisk(std::move(fault), ns);
}

namespace {
/// By whoever leads, if anybody does. Whether it comes to pass is left open, as to any client.
void Propose(Cluster& cluster, const nn::SetDatanodeCommand& command) {
  for (auto& host : cluster.namenodes()) {
    if (!host->up() || host->namenode() == nullptr) continue;
    nn::Replica& replica = host->namenode()->replica();
    if (!replica.is_leader()) continue;
    host->node().Run([&] {
      nn::CommandHeader header;
      header.now_ns = host->node().clock().WallNs();
      replica.Propose(nn::EncodeCommand(header, command), [](Result<std::string>) {});
    });
    return;
  }
}
}  // namespace

/// Decommissioned means that its disks are nobody's any more.
bool Nemesis::ReplaceDecommissioned() {
  nn::Namenode* leader = cluster_.Leader();
  if (leader == nullptr || !leader->replica().HasLease()) return false;
  for (auto& host : cluster_.datanodes()) {
    if (!host->up() || host->datanode() == nullptr) continue;
    const nn::Datanode* node = leader->blocks().FindDatanode(host->datanode()->id());
    if (node == nullptr || node->admin != nn::NodeAdmin::kDecommission ||
        !leader->blocks().TakenOutOf(*node).settled()) {
      continue;
    }
    cluster_.Trace(host->name() + " is decommissioned: its disks are replaced");
    host->Fall(FallMode::kPowerDropAll, false);
    cluster_.scheduler().After(DownTime(), [host = host.get()] {
      if (host->up()) return;
      host->env().SetOffline(false);
      for (const char* volume : {"/v0", "/v1"}) DFS_CHECK(host->env().RemoveTree(volume).ok());
      host->Start();
    });
    return true;
  }
  return false;
}

void Nemesis::TakeOut() {
  if (cluster_.random().OneIn(4) && ReplaceDecommissioned()) return;
  // Mostly one of them, so that there are places for what it has.
  Random& random = cluster_.random();
  DatanodeHost& host =
      random.OneIn(3) ? Pick(cluster_.datanodes()) : *cluster_.datanodes().front();
  if (!host.up() || host.datanode() == nullptr) return;
  nn::SetDatanodeCommand command;
  command.datanode = host.datanode()->id();
  command.admin = random.OneIn(2) ? nn::NodeAdmin::kDecommission
                                  : static_cast<nn::NodeAdmin>(random.Uniform(3));
  if (command.admin == nn::NodeAdmin::kMaintenance) {
    command.until_ns =
        host.node().clock().WallNs() + random.Between(kSecond, 20 * kSecond);
  }
  cluster_.Trace(fmt::format("{}: administrative state {}", host.name(),
                             static_cast<int>(command.admin)));
  Propose(cluster_, command);
}

/// Until no member that leads knows of one that is out of service.
void Nemesis::PutAllBack() {
  for (auto& host : cluster_.namenodes()) {
    if (!host->up() || host->namenode() == nullptr) continue;
    if (!host->namenode()->replica().is_leader()) continue;
    auto out = host->namenode()->state().ListDatanodes();
    if (!out || out->empty()) return;
    for (const auto& [id, record] : *out) Propose(cluster_, {id, nn::NodeAdmin::kInService, 0});
  }
  cluster_.scheduler().After(500 * kMillisecond, [this] { PutAllBack(); });
}

void Nemesis::LongSilence() {
  const int64_t ns = cluster_.random().Between(9'500, 11'500) * kMillisecond;
  cluster_.Trace("no namenode reaches any datanode");
  ClientDeath();
  for (auto& namenode : cluster_.namenodes()) {
    for (auto& datanode : cluster_.datanodes()) CutFor(*namenode, *datanode, ns);
  }
}

}  // namespace dfs::sim
