#include "namenode/blocks/block_recovery.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/defects.h"

namespace dfs::nn {

namespace {
/// Whether the member held every acknowledged byte without a restart in between: an open replica that never went
/// down, or one that its writer had already finalized.
bool DidNotRestart(const RecoveryAnswer& a) {
  return a.state == ReplicaState::kRbw || a.state == ReplicaState::kFinalized;
}
bool HasReplica(const RecoveryAnswer& a) {
  return a.found && a.state != ReplicaState::kTemporary;
}
}  // namespace

std::optional<RecoveryChoice> ChooseRecovery(const std::vector<MemberAnswer>& answers,
                                             bool was_closed, uint64_t committed_length) {
  // Those that did not restart prove the most; of the others, one that is shorter than what was committed has lost
  // bytes that every member had.
  const auto rank = [&](const RecoveryAnswer& a) {
    return DidNotRestart(a) ? 2 : a.length >= committed_length ? 1 : 0;
  };
  const MemberAnswer* full = nullptr;      // has the committed length of a closed block
  const MemberAnswer* shortest = nullptr;  // in the best class
  for (const MemberAnswer& m : answers) {
    if (!HasReplica(m.answer)) continue;
    if (was_closed && m.answer.length >= committed_length &&
        (full == nullptr || (DidNotRestart(m.answer) && !DidNotRestart(full->answer)))) {
      full = &m;
    }
    if (shortest == nullptr) {
      shortest = &m;
      continue;
    }
    const int mine = rank(m.answer), best = rank(shortest->answer);
    if (mine != best ? mine > best : m.answer.length < shortest->answer.length) shortest = &m;
  }
  if (shortest == nullptr) return std::nullopt;
  if (was_closed && full != nullptr) return RecoveryChoice{committed_length, full->datanode};
  return RecoveryChoice{shortest->answer.length, shortest->datanode};
}

BlockRecovery::Member* BlockRecovery::Find(DatanodeId id) {
  for (Member& m : members_) {
    if (m.id == id) return &m;
  }
  return nullptr;
}

BlockRecovery::Actions BlockRecovery::Propose(Action action) {
  proposal_ = action;
  propose_again_ns_ = 0;
  return {std::move(action)};
}

BlockRecovery::Actions BlockRecovery::Start(int64_t now_ns) {
  phase_began_ns_ = now_ns;
  Action fence;
  fence.kind = Action::Kind::kProposeFence;
  fence.stamp = target_.stamp;
  return Propose(std::move(fence));
}

BlockRecovery::Actions BlockRecovery::OnFenced(Target target, int64_t now_ns) {
  if (phase_ != Phase::kFencing) return {};
  proposal_.reset();
  target_ = std::move(target);
  phase_ = Phase::kAsking;
  phase_began_ns_ = now_ns;
  for (DatanodeId id : target_.members) {
    Member m;
    m.id = id;
    members_.push_back(std::move(m));
  }
  return Ask(now_ns);
}

BlockRecovery::Actions BlockRecovery::OnExcluded(const std::vector<DatanodeId>& members,
                                                 int64_t now_ns) {
  if (phase_ != Phase::kExcluding) return {};
  proposal_.reset();
  target_.members = members;
  std::erase_if(members_, [&](const Member& m) {
    return std::find(members.begin(), members.end(), m.id) == members.end();
  });
  if (source_.valid() && Find(source_) == nullptr) {
    // The source that was left out may still carry out what it was told, and would then be finalized at the very stamp
    // that the block is closed with, with other bytes than its members. So all over again, under a higher stamp.
    members_.clear();
    source_ = DatanodeId();
    length_ = 0;
    phase_ = Phase::kFencing;
    return Start(now_ns);
  }
  phase_ = Phase::kAsking;
  phase_began_ns_ = now_ns;
  return Decide(now_ns);
}

void BlockRecovery::OnProposalFailed(int64_t now_ns) {
  if (proposal_) propose_again_ns_ = now_ns + options_.retry_ns;
}

BlockRecovery::Actions BlockRecovery::Ask(int64_t now_ns) {
  Actions out;
  for (Member& m : members_) {
    if (m.answer || m.asked || now_ns < m.ask_again_ns) continue;
    m.asked = true;
    Action ask;
    ask.kind = Action::Kind::kSendInit;
    ask.stamp = target_.stamp;
    ask.to = m.id;
    out.push_back(std::move(ask));
  }
  return out;
}

BlockRecovery::Actions BlockRecovery::OnInit(DatanodeId from, Stamp stamp,
                                             const RecoveryAnswer& answer, int64_t now_ns) {
  Member* m = Find(from);
  // An answer to an earlier question says nothing about a replica under this stamp.
  if (phase_ != Phase::kAsking || m == nullptr || stamp != target_.stamp) return {};
  m->asked = false;
  m->answer = answer;
  if (answer.stamp <= target_.cut_stamp) {
    m->answer->length = std::min(answer.length, target_.cut_length);
  }
  return Decide(now_ns);
}

void BlockRecovery::OnInitFailed(DatanodeId from, Stamp stamp, int64_t now_ns) {
  Member* m = Find(from);
  if (phase_ != Phase::kAsking || m == nullptr || stamp != target_.stamp) return;
  m->asked = false;
  m->ask_again_ns = now_ns + options_.retry_ns;
}

BlockRecovery::Actions BlockRecovery::Exclude(std::vector<DatanodeId> survivors) {
  phase_ = Phase::kExcluding;
  Action exclude;
  exclude.kind = Action::Kind::kProposeExclude;
  exclude.stamp = target_.stamp;
  exclude.members = std::move(survivors);
  return Propose(std::move(exclude));
}

BlockRecovery::Actions BlockRecovery::Decide(int64_t now_ns) {
  std::vector<MemberAnswer> answers;
  std::vector<DatanodeId> with_replica;
  for (const Member& m : members_) {
    if (!m.answer) continue;
    answers.push_back({m.id, *m.answer});
    if (HasReplica(*m.answer)) with_replica.push_back(m.id);
  }
  bool all = answers.size() == members_.size();
  bool patient = now_ns - phase_began_ns_ < options_.patience_ns;
  if (answers.empty() && !patient && DefectOn(Defect::kRecoveryOnSilence)) {
    phase_ = Phase::kClosing;
    Action close;
    close.kind = Action::Kind::kProposeClose;
    close.stamp = target_.stamp;
    close.members = target_.members;
    return Propose(std::move(close));
  }
  if (with_replica.empty()) {
    // Nobody who spoke has it. With members still silent, or bytes committed, there is something to wait for.
    if (!all || members_.empty() || target_.committed_length > 0 || target_.was_closed) return {};
    phase_ = Phase::kClosing;
    Action abandon;
    abandon.kind = Action::Kind::kProposeAbandon;
    abandon.stamp = target_.stamp;
    return Propose(std::move(abandon));
  }
  if (!all && patient) return {};
  RecoveryChoice choice = *ChooseRecovery(answers, target_.was_closed, target_.committed_length);
  // Committed bytes are given up only when every member has spoken and none has them (6.4).
  if (!all && choice.length < target_.committed_length) return {};
  // The shortest of those that did not restart is right whoever else would speak. Those that restarted
  // prove less; yet every one holds what was synced, and the patience is over.
  if (with_replica.size() < members_.size()) return Exclude(std::move(with_replica));

  if (choice.source != source_ || choice.length != length_) {
    for (Member& m : members_) m.finished = false;
  }
  phase_ = Phase::kFinishing;
  phase_began_ns_ = now_ns;
  source_ = choice.source;
  length_ = choice.length;
  for (Member& m : members_) {
    m.asked = false;
    m.ask_again_ns = 0;
  }
  return Finish(now_ns);
}

BlockRecovery::Action BlockRecovery::SendFinish(Member& member) {
  member.asked = true;
  Action send;
  send.kind = Action::Kind::kSendFinish;
  send.stamp = target_.stamp;
  send.to = member.id;
  send.source = member.id == source_ ? DatanodeId() : source_;
  send.length = length_;
  return send;
}

BlockRecovery::Actions BlockRecovery::Finish(int64_t now_ns) {
  Actions out;
  // The source first: the others copy from what it made final.
  Member* source = Find(source_);
  DFS_CHECK(source != nullptr);
  std::vector<DatanodeId> finished;
  bool all = true;
  bool patient = now_ns - phase_began_ns_ < options_.patience_ns;
  for (Member& m : members_) {
    if (m.finished) {
      finished.push_back(m.id);
      continue;
    }
    all = false;
    if (m.asked || now_ns < m.ask_again_ns) continue;
    if (&m == source || source->finished) out.push_back(SendFinish(m));
  }
  if (all) {
    phase_ = Phase::kClosing;
    Action close;
    close.kind = Action::Kind::kProposeClose;
    close.stamp = target_.stamp;
    close.length = length_;
    close.members = std::move(finished);
    close.allow_shorter = length_ < target_.committed_length;
    return Propose(std::move(close));
  }
  // Time is over: without the source another one must be it; without a copy it is not a member. Either way by
  // commit, and the survivors are asked again. The last one is never given up.
  if (!patient && out.empty()) {
    bool waiting = std::any_of(members_.begin(), members_.end(),
                               [](const Member& m) { return !m.finished && m.asked; });
    if (waiting && now_ns - phase_began_ns_ < 12 * options_.patience_ns) return out;
    std::vector<DatanodeId> survivors = finished;
    if (survivors.empty()) {
      for (const Member& m : members_) {
        if (&m != source) survivors.push_back(m.id);
      }
    }
    if (!survivors.empty()) return Exclude(std::move(survivors));
  }
  return out;
}

BlockRecovery::Actions BlockRecovery::OnFinish(DatanodeId from, Stamp stamp, uint64_t length,
                                               int64_t now_ns) {
  Member* m = Find(from);
  if (phase_ != Phase::kFinishing || m == nullptr || stamp != target_.stamp) return {};
  m->asked = false;
  if (length != length_) {  // it did something else: not a copy
    m->ask_again_ns = now_ns + options_.retry_ns;
    return {};
  }
  m->finished = true;
  return Finish(now_ns);
}

void BlockRecovery::OnFinishFailed(DatanodeId from, Stamp stamp, int64_t now_ns) {
  Member* m = Find(from);
  if (phase_ != Phase::kFinishing || m == nullptr || stamp != target_.stamp) return;
  m->asked = false;
  m->ask_again_ns = now_ns + options_.retry_ns;
}

BlockRecovery::Actions BlockRecovery::OnTick(int64_t now_ns) {
  if (proposal_) {
    if (propose_again_ns_ == 0 || now_ns < propose_again_ns_) return {};
    return Propose(*proposal_);
  }
  switch (phase_) {
    case Phase::kAsking: {
      Actions out = Decide(now_ns);
      if (phase_ == Phase::kAsking) {
        Actions ask = Ask(now_ns);
        out.insert(out.end(), ask.begin(), ask.end());
      }
      return out;
    }
    case Phase::kFinishing:
      return Finish(now_ns);
    default:
      return {};
  }
}

std::string BlockRecovery::Describe() const {
  static const char* const kNames[] = {"fencing",   "asking",  "excluding",
                                       "finishing", "closing", "done"};
  size_t answered = 0, found = 0, finished = 0;
  for (const Member& m : members_) {
    answered += m.answer ? 1 : 0;
    found += m.answer && HasReplica(*m.answer) ? 1 : 0;
    finished += m.finished ? 1 : 0;
  }
  return fmt::format("block {} stamp {}: {}, {} members, {} answered, {} have it, {} finished",
                     target_.block.value, target_.stamp.value, kNames[static_cast<int>(phase_)],
                     target_.members.size(), answered, found, finished);
}

}  // namespace dfs::nn
