// Nemesis: makes things go wrong, from the world's random numbers, until it is told to stop and mend.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
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
  uint64_t forgotten_vote =
      2;  // a voter loses its power as it votes, and the old leader is elected again
  uint64_t lost_ack = 2;    // a follower loses its power as it appends, and elects another leader
  uint64_t disk_fault = 3;  // a datanode's: i/o errors, or no space
  uint64_t old_term_entry =
      2;  // a leader's last entry reaches a majority two terms later, and its rival is elected
  uint64_t take_out = 0;  // a datanode is decommissioned, sent into maintenance, put back, or replaced when it may be
  /// Does this, one of the names above, nearly always. False: there is none of that name.
  bool Focus(std::string_view action);
  /// Once: a client dies, and no namenode reaches any datanode until after its session has ended.
  bool long_silence = false;
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
  void ForgottenVote();
  void LostAck();
  void DiskFault();
  void OldTermEntry();
  void TakeOut();
  bool ReplaceDecommissioned();
  void PutAllBack();
  void LongSilence();

  void Fell(Host* host, int64_t down_ns);
  void HealLater(SimNode& from, SimNode& to, int64_t after_ns);
  FallMode AnyMode();
  int64_t DownTime();
  template <class T>
  T& Pick(std::vector<std::unique_ptr<T>>& hosts) {
    return *hosts[cluster_.random().Uniform(hosts.size())];
  }
  Host& PickServer();
  /// The leader and the others, if all namenodes are up.
  bool FindGroup(Host** leader, std::vector<Host*>* others);
  void CutFor(Host& a, Host& b, int64_t ns);
  void HealBoth(Host& a, Host& b);
  // nemesis_raft.cc
  void VoterFalls(Host* leader, Host* candidate, Host* voter);
  void RivalElected(Host* leader, Host* rival, Host* third);
  void LeaderBack(Host* leader, Host* rival, Host* third, LogIndex index, Term term);
  /// Looks after every step of a namenode, until it returns true, the time is over, or one of the group falls. Then, also
  /// if it never came to it, the group's links are mended.
  void Watch(const std::vector<Host*>& group, int64_t limit_ns, std::function<bool()> look);
  void EndPlan(const std::vector<Host*>& group, int64_t after_ns);

  Cluster& cluster_;
  const NemesisOptions options_;
  bool running_ = false;
  uint64_t plan_ = 0;  // the one of several steps that is under way
  uint64_t plans_ = 0;
  uint64_t watches_ = 0;
};

}  // namespace dfs::sim
