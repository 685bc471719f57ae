#include "namenode/blocks/block_health.h"

#include <algorithm>
#include <map>

namespace dfs::nn {

const char* VerdictName(ReplicaVerdict verdict) {
  switch (verdict) {
    case ReplicaVerdict::kGood:
      return "good";
    case ReplicaVerdict::kMember:
      return "member";
    case ReplicaVerdict::kUnfinished:
      return "unfinished";
    case ReplicaVerdict::kWrongLength:
      return "wrong length";
    case ReplicaVerdict::kOutdated:
      return "outdated";
    case ReplicaVerdict::kAhead:
      return "ahead";
    case ReplicaVerdict::kCopying:
      return "copying";
    case ReplicaVerdict::kDeleted:
      return "deleted";
    case ReplicaVerdict::kUnknownFuture:
      return "unknown";
  }
  return "?";
}

ReplicaVerdict JudgeReplica(const ReportedReplica& replica, const BlockFacts* facts,
                            const BlockCounters& counters) {
  if (replica.block.value >= counters.next_block || replica.stamp.value >= counters.next_stamp) {
    return ReplicaVerdict::kUnknownFuture;
  }
  if (replica.state == ReplicaState::kTemporary) return ReplicaVerdict::kCopying;
  if (facts == nullptr) return ReplicaVerdict::kDeleted;
  if (facts->open) {
    bool member = std::find(facts->members.begin(), facts->members.end(), replica.datanode) !=
                  facts->members.end();
    // A member counts whatever stamp its file shows: the writer may have died between the commit and
    // telling it. Nobody else does.
    return member ? ReplicaVerdict::kMember : ReplicaVerdict::kOutdated;
  }
  if (replica.stamp > facts->stamp) return ReplicaVerdict::kAhead;
  if (replica.stamp < facts->stamp) return ReplicaVerdict::kOutdated;
  if (replica.state != ReplicaState::kFinalized) return ReplicaVerdict::kUnfinished;
  // A longer one is fine: a truncation inside the block changes the record only, readers clip.
  return replica.length >= facts->length ? ReplicaVerdict::kGood : ReplicaVerdict::kWrongLength;
}

BlockHealth EvaluateClosed(const BlockFacts& facts, std::span<const ReplicaView> replicas) {
  BlockHealth health;
  health.counted = facts.away;
  for (const ReplicaView& v : replicas) {
    if (v.node == NodeState::kDead) {
      const bool good = v.replica.stamp == facts.stamp && !v.replica.corrupt &&
                        v.replica.state == ReplicaState::kFinalized;
      if (good && v.admin == NodeAdmin::kMaintenance) ++health.counted;
      continue;
    }
    if (v.replica.state == ReplicaState::kTemporary || v.replica.stamp > facts.stamp) continue;
    if (v.replica.stamp < facts.stamp) {
      health.outdated.push_back(v.replica.node);
    } else if (v.replica.corrupt) {
      health.corrupt.push_back(v.replica.node);
    } else if (v.replica.state == ReplicaState::kFinalized) {
      health.good.push_back(v.replica.node);
      health.in_service += v.admin == NodeAdmin::kInService ? 1 : 0;
      health.counted += v.admin != NodeAdmin::kDecommission ? 1 : 0;
    } else {
      health.unfinished.push_back(v.replica.node);
    }
  }
  health.live = health.good.size();
  health.missing_copies = health.counted < facts.expected ? facts.expected - health.counted : 0;
  if (health.in_service == 0 && facts.expected > 0) {
    health.missing_copies = std::max<size_t>(health.missing_copies, 1);
  }
  health.excess = health.in_service > facts.expected ? health.in_service - facts.expected : 0;
  health.missing = health.live == 0;
  return health;
}

std::vector<NodeIndex> ChooseExcess(const BlockFacts& facts,
                                    std::span<const ReplicaView> replicas) {
  std::vector<const ReplicaView*> good;
  for (const ReplicaView& v : replicas) {
    // A node that has not spoken in this term may have lost, or be ordered by a former leader to lose,
    // what it had; nothing is dropped on its account.
    if (!v.reported_in_term || v.node != NodeState::kLive) return {};
    if (v.replica.stamp == facts.stamp && !v.replica.corrupt &&
        v.replica.state == ReplicaState::kFinalized && v.admin == NodeAdmin::kInService) {
      good.push_back(&v);
    }
  }
  std::vector<NodeIndex> drop;
  while (good.size() > facts.expected && good.size() > 1) {
    std::map<std::string_view, size_t> per_rack;
    for (const ReplicaView* v : good) ++per_rack[v->rack];
    auto worse = [&](const ReplicaView* a, const ReplicaView* b) {
      size_t ra = per_rack[a->rack], rb = per_rack[b->rack];
      if (ra != rb) return ra > rb;
      if (a->available_bytes != b->available_bytes) return a->available_bytes < b->available_bytes;
      return a->replica.node < b->replica.node;
    };
    auto victim = std::min_element(good.begin(), good.end(), worse);
    drop.push_back((*victim)->replica.node);
    good.erase(victim);
  }
  return drop;
}

std::vector<NodeIndex> ChooseObsolete(const BlockFacts& facts,
                                      std::span<const ReplicaView> replicas, size_t nodes) {
  BlockHealth health = EvaluateClosed(facts, replicas);
  if (health.live == 0) return {};
  size_t bad = health.outdated.size() + health.unfinished.size() + health.corrupt.size();
  if (bad == 0) return {};
  if (health.missing_copies > 0) {
    // Not all copies yet. What is outdated or unfinished is replaced when a copy is complete, and stays until then,
    // unless it takes the very room that the copy needs beside it.
    // That, and what the datanode takes for finalized (a reader found it corrupt, or it is too short), has to make
    // room, but only when its node is the only place left for the missing copy.
    std::vector<NodeIndex> blocking;
    const auto add = [&](auto blocks) {
      for (const ReplicaView& v : replicas) {
        const bool is_place = v.node != NodeState::kDead && v.admin == NodeAdmin::kInService;
        if (is_place && blocks(v)) blocking.push_back(v.replica.node);
      }
    };
    const auto among = [](const std::vector<NodeIndex>& list, const ReplicaView& v) {
      return std::find(list.begin(), list.end(), v.replica.node) != list.end();
    };
    add([&](const ReplicaView& v) { return among(health.corrupt, v); });
    add([&](const ReplicaView& v) {
      return among(health.outdated, v) && v.available_bytes <= facts.length;
    });
    add([&](const ReplicaView& v) {
      return v.replica.state == ReplicaState::kWrongLength && v.replica.stamp == facts.stamp &&
             !v.replica.corrupt;
    });
    if (blocking.empty() || health.in_service + blocking.size() < nodes) return {};
    return {blocking.front()};
  }
  std::vector<NodeIndex> out = health.outdated;
  out.insert(out.end(), health.unfinished.begin(), health.unfinished.end());
  out.insert(out.end(), health.corrupt.begin(), health.corrupt.end());
  return out;
}

}  // namespace dfs::nn
