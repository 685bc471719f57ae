// Nemesis: the stories of Raft that chance alone hardly ever tells.
#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "namenode/service/namenode.h"
#include "tests/sim/nemesis.h"

namespace dfs::sim {

namespace {
const raft::Raft& CoreOf(Host* host) {
  return static_cast<NamenodeHost*>(host)->namenode()->replica().core();
}
}  // namespace

void Nemesis::Watch(const std::vector<Host*>& group, int64_t limit_ns, std::function<bool()> look) {
  if (plan_ == 0) plan_ = ++plans_;
  const uint64_t watch = ++watches_;
  const auto give_up = [this, group, watch] {
    if (watch == watches_ && cluster_.on_namenode_step) EndPlan(group, 0);
  };
  cluster_.scheduler().After(limit_ns, give_up);
  cluster_.on_namenode_step = [this, group, give_up, look = std::move(look)] {
    const bool up = std::all_of(group.begin(), group.end(), [](Host* h) {
      return h->up() && static_cast<NamenodeHost*>(h)->namenode() != nullptr;
    });
    if (!up) {
      cluster_.scheduler().After(0, give_up);
    } else if (look()) {
      cluster_.on_namenode_step = nullptr;
    }
  };
}

void Nemesis::EndPlan(const std::vector<Host*>& group, int64_t after_ns) {
  cluster_.scheduler().After(after_ns, [this, group, plan = plan_] {
    if (plan_ != plan || plan == 0) return;
    plan_ = 0;
    cluster_.on_namenode_step = nullptr;
    for (Host* a : group) {
      for (Host* b : group) {
        if (a != b) HealBoth(*a, *b);
      }
    }
  });
}

// Without the leader one of the others becomes a candidate and the other votes for it. That one falls before its vote
// is on disk, comes back, and hears of the old leader only, who has given up meanwhile.
void Nemesis::ForgottenVote() {
  Host* leader = nullptr;
  std::vector<Host*> others;
  if (plan_ != 0 || !FindGroup(&leader, &others)) return;
  ++cluster_.stats().partitions;
  cluster_.Trace(leader->name() + " is cut off, and whoever votes for another falls");
  for (Host* other : others) cluster_.net().CutBoth(leader->node(), other->node());
  Watch({leader, others[0], others[1]}, 6 * kSecond, [this, leader, others] {
    for (size_t i : {0, 1}) {
      if (CoreOf(others[i]).role() != raft::Role::kCandidate) continue;
      VoterFalls(leader, others[i], others[1 - i]);
      return true;
    }
    return false;
  });
}

void Nemesis::VoterFalls(Host* leader, Host* candidate, Host* voter) {
  EndPlan({leader, candidate, voter}, 9 * kSecond);
  voter->ArmSyncCrash(1, FallMode::kPowerDropAll, true, [this, leader, candidate, voter] {
    cluster_.Trace(voter->name() + " has voted for " + candidate->name());
    Fell(voter, cluster_.random().Between(10 * kMillisecond, 300 * kMillisecond));
    // What it had sent arrives before the cut.
    cluster_.scheduler().After(5 * kMillisecond, [this, candidate, voter] {
      if (plan_ != 0) cluster_.net().CutBoth(candidate->node(), voter->node());
    });
    cluster_.scheduler().After(cluster_.options().election_max_ns + 300 * kMillisecond,
                               [this, leader, voter] {
                                 if (plan_ != 0) HealBoth(*leader, *voter);
                               });
  });
}

// The Raft paper's figure 8. The leader has an entry that nobody else has; a rival is elected and has one in the same
// place that nobody else has. The old leader is elected again and brings its entry to the third, but not the first of its
// new term. Then the rival is elected with the third's vote, and overwrites that entry.
void Nemesis::OldTermEntry() {
  Host* leader = nullptr;
  std::vector<Host*> others;
  if (plan_ != 0 || !FindGroup(&leader, &others)) return;
  ++cluster_.stats().partitions;
  cluster_.Trace(leader->name() + " is cut off with its last entry");
  for (Host* other : others) cluster_.net().CutBoth(leader->node(), other->node());
  Watch({leader, others[0], others[1]}, 6 * kSecond, [this, leader, others] {
    for (size_t i : {0, 1}) {
      if (!CoreOf(others[i]).is_leader()) continue;
      // Its first entry is under way, and does not arrive.
      cluster_.net().CutBoth(others[0]->node(), others[1]->node());
      cluster_.scheduler().After(
          0, [this, leader, others, i] { RivalElected(leader, others[i], others[1 - i]); });
      return true;
    }
    return false;
  });
}

void Nemesis::RivalElected(Host* leader, Host* rival, Host* third) {
  if (plan_ == 0) return;
  const std::vector<Host*> group = {leader, rival, third};
  for (Host* host : group) {
    if (!host->up()) return EndPlan(group, 0);
  }
  const LogIndex index = CoreOf(third).last_index() + 1;
  const raft::RaftLog& log = CoreOf(leader).log();
  if (log.last_index() < index || index < log.first_index() ||
      log.TermAt(index) >= CoreOf(rival).term()) {
    return EndPlan(group, 0);  // it has no such entry
  }
  LeaderBack(leader, rival, third, index, log.TermAt(index));
}

void Nemesis::LeaderBack(Host* leader, Host* rival, Host* third, LogIndex index, Term term) {
  cluster_.Trace(leader->name() + " and " + third->name() + " have each other");
  HealBoth(*leader, *third);
  Watch({leader, rival, third}, 12 * kSecond, [this, leader, rival, third, index, term] {
    const raft::RaftLog& log = CoreOf(third).log();
    if (log.last_index() < index || log.TermAt(index) != term) return false;
    // The third has it, and nothing more gets there. Its acknowledgement does.
    cluster_.net().Cut(leader->node(), third->node());
    const uint64_t plan = plan_;
    cluster_.scheduler().After(50 * kMillisecond, [this, leader, rival, third, plan] {
      if (plan_ != plan) return;
      cluster_.Trace(rival->name() + " and " + third->name() + " have each other");
      cluster_.net().CutBoth(leader->node(), third->node());
      HealBoth(*rival, *third);
    });
    EndPlan({leader, rival, third}, 8 * kSecond);
    return true;
  });
}

}  // namespace dfs::sim
