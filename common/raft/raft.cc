// Time, terms, roles and elections. The follower's part is in follower.cc, the leader's in
// leader.cc.
#include "common/raft/raft.h"

#include "common/base/check.h"
#include "common/base/defects.h"
#include "common/raft/quorum.h"

namespace dfs::raft {

Raft::Raft(const Options& options, InitialState initial, LogReader* reader, Random random,
           int64_t now_ns)
    : options_(options),
      reader_(reader),
      random_(random),
      configuration_(std::move(initial.configuration)),
      log_(initial.prev_index, initial.prev_term, initial.last_index, std::move(initial.runs),
           initial.applied, options.log_cache_bytes, reader),
      now_(now_ns),
      started_ns_(now_ns),
      hard_(initial.hard_state),
      heard_leader_ns_(kNever) {
  DFS_CHECK(options_.id.valid() && options_.election_min_ns > 0 &&
            options_.election_max_ns >= options_.election_min_ns);
  DFS_CHECK(options_.lease_ns * 2 <= options_.election_min_ns, "leader lease too long");
  DFS_CHECK(hard_.term >= log_.last_term(), "term {} behind the log's {}", hard_.term,
            log_.last_term());
  ResetElectionTimer();
  if (SoleVoter()) election_deadline_ns_ = now_;  // nobody to wait for
}

Raft::~Raft() = default;

bool Raft::SoleVoter() const {
  return !configuration_.joint() && configuration_.voters.size() == 1 &&
         configuration_.voters.front() == options_.id;
}

// --- time ---

void Raft::ResetElectionTimer() {
  election_deadline_ns_ =
      now_ + random_.Between(options_.election_min_ns, options_.election_max_ns);
  // A majority answered the pre-vote and yet nobody leads: votes cross, or they take longer than this to become durable.
  if (role_ == Role::kCandidate) {
    election_deadline_ns_ += (election_deadline_ns_ - now_) * (candidacies_ - 1);
  }
}

int64_t Raft::NextDeadlineNs() const {
  int64_t deadline = election_deadline_ns_;
  if (role_ == Role::kLeader) {
    deadline = heartbeat_due_ns_;
    if (commit_notice_due_ns_ != 0) deadline = std::min(deadline, commit_notice_due_ns_);
  }
  if (!forwarded_reads_.empty()) {
    deadline = std::min(deadline, forwarded_reads_.front().deadline_ns);
  }
  return deadline;
}

void Raft::Tick(int64_t now_ns) {
  now_ = std::max(now_, now_ns);
  FailForwardedReads(Code::kTimedOut, "no answer from the leader", now_);
  if (role_ != Role::kLeader) {
    if (now_ < election_deadline_ns_) return;
    // A term or vote on its way to a slow disk: whoever gave it up for another term would need the disk again, and so for
    // ever. When it is durable the waiting for answers begins (OnPersisted).
    const bool waits_for_disk = hard_dirty_ || hard_sequence_ > persisted_sequence_;
    if (configuration_.IsVoter(options_.id) && !waits_for_disk) return Campaign();
    return ResetElectionTimer();
  }
  if (now_ >= heartbeat_due_ns_) {
    int64_t heard = QuorumValue<int64_t>(configuration_, [this](NodeId id) {
      if (id == options_.id) return now_;
      auto it = progress_.find(id);
      return it == progress_.end() ? kNever : it->second.heard_ns;
    });
    // Check-quorum: a leader that a quorum no longer answers must not go on (checklist 4).
    if (now_ - heard >= options_.election_max_ns) return BecomeFollower(hard_.term, NodeId());
    BroadcastHeartbeat();
  }
  if (commit_notice_due_ns_ != 0 && now_ >= commit_notice_due_ns_) SendCommitNotices();
}

// --- messages ---

Message Raft::Make(MessageType type, NodeId to) const {
  Message m;
  m.type = type;
  m.from = options_.id;
  m.to = to;
  m.term = hard_.term;
  return m;
}

void Raft::Send(Message m) {
  out_.push_back(std::move(m));
}

void Raft::HoldUntil(uint64_t sequence, Message m) {
  // Appends that came together are acknowledged together.
  if (m.type == MessageType::kAppendReply && !m.reject && !held_.empty()) {
    Held& last = held_.back();
    if (last.sequence == sequence && last.message.type == m.type && !last.message.reject &&
        last.message.to == m.to && last.message.term == m.term) {
      last.message.index = std::max(last.message.index, m.index);
      last.message.stamp = std::max(last.message.stamp, m.stamp);
      return;
    }
  }
  held_.push_back({sequence, std::move(m)});
}

void Raft::SendWhenHardStateDurable(Message m) {
  if (!DefectOn(Defect::kVoteNotSynced)) {
    if (hard_dirty_) return HoldUntil(next_sequence_, std::move(m));
    if (hard_sequence_ > persisted_sequence_) return HoldUntil(hard_sequence_, std::move(m));
  }
  if (m.to == options_.id) return RecordVote(m.from, !m.reject);
  Send(std::move(m));
}

/// For replies that promise that the log up to m.index is durable.
void Raft::SendWhenDurable(Message m) {
  if (DefectOn(Defect::kAckBeforeLogSync)) return Send(std::move(m));
  if (reset_ || log_.HasUnemitted()) return HoldUntil(next_sequence_, std::move(m));
  if (m.index <= log_.durable()) return SendWhenHardStateDurable(std::move(m));
  if (hard_dirty_) return HoldUntil(next_sequence_, std::move(m));
  if (persisted_sequence_ + 1 >= next_sequence_) return Send(std::move(m));
  HoldUntil(next_sequence_ - 1, std::move(m));
}

void Raft::OnPersisted(uint64_t sequence, int64_t now_ns) {
  now_ = std::max(now_, now_ns);
  DFS_CHECK(sequence < next_sequence_);
  if (sequence <= persisted_sequence_) return;
  persisted_sequence_ = sequence;
  log_.OnPersisted(sequence);
  std::vector<Held> ready;
  auto keep = std::stable_partition(held_.begin(), held_.end(),
                                    [&](const Held& h) { return h.sequence <= sequence; });
  ready.assign(std::make_move_iterator(held_.begin()), std::make_move_iterator(keep));
  held_.erase(held_.begin(), keep);
  for (Held& held : ready) {
    const bool vote = held.message.type == MessageType::kVote ||
                      (held.message.type == MessageType::kVoteReply && !held.message.reject);
    if (vote && role_ != Role::kLeader) ResetElectionTimer();  // it leaves only now
    if (held.message.to != options_.id) {
      Send(std::move(held.message));
    } else if (role_ == Role::kCandidate && held.message.term == hard_.term) {
      RecordVote(options_.id, true);  // one's own vote, durable now (checklist 1)
    }
  }
  if (role_ == Role::kLeader) MaybeCommit();
}

void Raft::Step(Message m, int64_t now_ns) {
  now_ = std::max(now_, now_ns);
  if (m.to != options_.id || m.from == options_.id || !m.from.valid()) return;
  bool is_vote = m.type == MessageType::kVote || m.type == MessageType::kPreVote;
  if (m.term < hard_.term) return HandleLowerTerm(m);
  if (is_vote && !m.force && PromisedToLeader()) return;
  if (m.type == MessageType::kVote && InStartupSilence()) return;
  bool from_leader = m.type == MessageType::kAppend || m.type == MessageType::kHeartbeat ||
                     m.type == MessageType::kInstallSnapshot;
  if (m.term > hard_.term) {
    bool about_future_term =
        m.type == MessageType::kPreVote || (m.type == MessageType::kPreVoteReply && !m.reject);
    if (!about_future_term) BecomeFollower(m.term, from_leader ? m.from : NodeId());
  }
  if (from_leader) {
    if (role_ == Role::kLeader) {
      fatal_ = Status(Code::kInternal, "two leaders in one term");
      return;
    }
    if (role_ != Role::kFollower || leader_ != m.from) BecomeFollower(hard_.term, m.from);
  }
  switch (m.type) {
    case MessageType::kPreVote:
    case MessageType::kVote:
      return HandleVoteRequest(m);
    case MessageType::kPreVoteReply:
      if (role_ == Role::kPreCandidate && (m.reject || m.term == hard_.term + 1)) {
        RecordVote(m.from, !m.reject);
      }
      return;
    case MessageType::kVoteReply:
      if (role_ == Role::kCandidate) RecordVote(m.from, !m.reject);
      return;
    case MessageType::kAppend:
      return HandleAppend(std::move(m));
    case MessageType::kHeartbeat:
      return HandleHeartbeat(m);
    case MessageType::kInstallSnapshot:
      return HandleInstallSnapshot(m);
    case MessageType::kAppendReply:
      return HandleAppendReply(m);
    case MessageType::kHeartbeatReply:
      return HandleHeartbeatReply(m);
    case MessageType::kReadIndex:
      return HandleReadIndex(m);
    case MessageType::kReadIndexReply:
      return HandleReadIndexReply(m);
  }
}

/// Whoever is behind is told so: a deposed leader steps down, a pre-candidate catches up with the
/// term. Silence would leave the group without a leader for ever (checklist 3).
void Raft::HandleLowerTerm(const Message& m) {
  MessageType reply;
  switch (m.type) {
    case MessageType::kPreVote:
      reply = MessageType::kPreVoteReply;
      break;
    case MessageType::kVote:
      reply = MessageType::kVoteReply;
      break;
    case MessageType::kAppend:
    case MessageType::kHeartbeat:
    case MessageType::kInstallSnapshot:
      reply = MessageType::kHeartbeatReply;
      break;
    default:
      return;  // a reply, or a read, of an earlier term (checklist 7)
  }
  Message r = Make(reply, m.from);
  r.reject = true;
  SendWhenHardStateDurable(std::move(r));
}

// --- roles ---

void Raft::SetHardState(Term term, NodeId vote) {
  if (hard_.term == term && hard_.vote == vote) return;
  hard_ = {term, vote};
  hard_dirty_ = true;
}

void Raft::BecomeFollower(Term term, NodeId leader) {
  DFS_CHECK(term >= hard_.term);
  if (role_ == Role::kLeader) StopLeading();
  if (leader_ != leader || term != hard_.term) {
    FailForwardedReads(Code::kUnavailable, "the leader changed",
                       std::numeric_limits<int64_t>::max());
  }
  bool reset_timer = term != hard_.term || role_ == Role::kLeader;
  if (term > hard_.term) SetHardState(term, NodeId());
  role_ = Role::kFollower;
  leader_ = leader;
  votes_.clear();
  if (reset_timer) ResetElectionTimer();
}

void Raft::Campaign() {
  ++elections_started_;
  if (SoleVoter()) return BecomeCandidate();
  BecomePreCandidate();
}

void Raft::BecomePreCandidate() {
  FailForwardedReads(Code::kUnavailable, "the leader is lost", std::numeric_limits<int64_t>::max());
  role_ = Role::kPreCandidate;
  leader_ = NodeId();
  votes_.clear();
  ResetElectionTimer();
  for (NodeId id : configuration_.All()) {
    if (id == options_.id || !configuration_.IsVoter(id)) continue;
    Message m = Make(MessageType::kPreVote, id);
    m.term = hard_.term + 1;
    m.index = log_.last_index();
    m.log_term = log_.last_term();
    Send(std::move(m));
  }
  RecordVote(options_.id, true);
}

void Raft::BecomeCandidate() {
  SetHardState(hard_.term + 1, options_.id);
  role_ = Role::kCandidate;
  candidacies_ = std::min(candidacies_ + 1, kMostCandidacies);
  leader_ = NodeId();
  votes_.clear();
  ResetElectionTimer();
  for (NodeId id : configuration_.All()) {
    if (id == options_.id || !configuration_.IsVoter(id)) continue;
    Message m = Make(MessageType::kVote, id);
    m.index = log_.last_index();
    m.log_term = log_.last_term();
    SendWhenHardStateDurable(std::move(m));
  }
  // One's own vote counts when it is durable, like everybody's.
  SendWhenHardStateDurable(Make(MessageType::kVoteReply, options_.id));
}

void Raft::RecordVote(NodeId from, bool granted) {
  if (role_ != Role::kPreCandidate && role_ != Role::kCandidate) return;
  votes_.emplace(from, granted);
  VoteOutcome outcome = CountVotes(configuration_, [this](NodeId id) -> std::optional<bool> {
    auto it = votes_.find(id);
    if (it == votes_.end()) return std::nullopt;
    return it->second;
  });
  if (outcome == VoteOutcome::kLost) {
    role_ = Role::kFollower;  // the timer set by the campaign goes on
    votes_.clear();
  } else if (outcome == VoteOutcome::kWon) {
    role_ == Role::kPreCandidate ? BecomeCandidate() : BecomeLeader();
  }
}

/// A leader that was answered less than election_min ago may rely on a lease: whoever answered it
/// helps nobody else to the leadership, whatever happened to terms in between.
bool Raft::PromisedToLeader() const {
  return role_ == Role::kLeader || now_ - heard_leader_ns_ < options_.election_min_ns;
}

/// A member that restarted has forgotten what it promised; it waits until no lease can rest on it.
bool Raft::InStartupSilence() const {
  return now_ - started_ns_ < options_.startup_silence_ns && !SoleVoter();
}

void Raft::HandleVoteRequest(const Message& m) {
  bool pre = m.type == MessageType::kPreVote;
  bool grant = log_.IsUpToDate(m.index, m.log_term) && !InStartupSilence();
  Message reply = Make(pre ? MessageType::kPreVoteReply : MessageType::kVoteReply, m.from);
  if (pre) {
    // No change of state here: no term, no vote, no timer (checklist 2).
    grant = grant && m.term > hard_.term;
    reply.reject = !grant;
    if (!grant) return SendWhenHardStateDurable(std::move(reply));
    reply.term = m.term;
    return Send(std::move(reply));
  }
  bool free = hard_.vote == m.from || (!hard_.vote.valid() && !leader_.valid());
  grant = grant && free;
  reply.reject = !grant;
  if (grant) {
    SetHardState(hard_.term, m.from);
    ResetElectionTimer();
  }
  SendWhenHardStateDurable(std::move(reply));
}

// --- outputs ---

bool Raft::HasReady() const {
  if (!out_.empty() || !reads_out_.empty() || !snapshots_out_.empty() || !fatal_.ok() ||
      hard_dirty_ || reset_ || install_ || log_.HasUnemitted()) {
    return true;
  }
  if (role_ != Role::kLeader) return false;
  for (const auto& [id, progress] : progress_) {
    if (CanAppend(progress)) return true;
  }
  return !pending_reads_.empty() && committed_in_term() && read_round_stamp_ <= quorum_stamp_;
}

Ready Raft::TakeReady(int64_t now_ns) {
  now_ = std::max(now_, now_ns);
  if (role_ == Role::kLeader) {
    SendAppends();
    ServeReads();
  }
  Ready ready;
  ready.install_snapshot = std::exchange(install_, std::nullopt);
  if (reset_ || hard_dirty_ || log_.HasUnemitted()) {
    PersistRequest& persist = ready.persist.emplace();
    persist.sequence = next_sequence_++;
    persist.reset = std::exchange(reset_, std::nullopt);
    if (hard_dirty_) {
      persist.hard_state = hard_;
      hard_sequence_ = persist.sequence;
      hard_dirty_ = false;
    }
    log_.Emit(persist.sequence, &persist.truncate_from, &persist.entries);
    if (persist.truncate_from != 0) {
      persist.truncate_term = log_.TermAt(persist.truncate_from - 1);
    }
  }
  ready.messages = std::exchange(out_, {});
  ready.reads = std::exchange(reads_out_, {});
  ready.send_snapshot_to = std::exchange(snapshots_out_, {});
  ready.fatal = fatal_;
  return ready;
}

Status Raft::TakeCommitted(size_t max_entries, size_t max_bytes, std::vector<Entry>* out) {
  if (install_) return Status();  // they follow the snapshot that has yet to be installed
  return log_.TakeCommitted(max_entries, max_bytes, out);
}

void Raft::CompactTo(LogIndex index) {
  log_.CompactTo(index);
}

void Raft::OnUnreachable(NodeId member, int64_t now_ns) {
  now_ = std::max(now_, now_ns);
  if (role_ == Role::kLeader) {
    auto it = progress_.find(member);
    if (it == progress_.end() || it->second.state != Progress::State::kReplicate) return;
    it->second.BecomeProbe();
    it->second.probe_sent = true;  // until a heartbeat is answered again
  } else if (role_ == Role::kFollower && leader_ == member && heard_leader_ns_ != kNever) {
    // Probably dead: do not use up the whole time-out. The promise to it stays as it is.
    int64_t spread = (options_.election_max_ns - options_.election_min_ns) / 3;
    int64_t soon = std::max(now_, heard_leader_ns_ + options_.election_min_ns);
    election_deadline_ns_ = std::min(election_deadline_ns_, soon + random_.Between(0, spread));
  }
}

}  // namespace dfs::raft
