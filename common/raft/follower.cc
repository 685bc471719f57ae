#include "common/base/defects.h"
#include "common/raft/raft.h"

namespace dfs::raft {

namespace {
constexpr int64_t kForwardedReadTimeoutNs = 1 * kSecond;
constexpr size_t kMaxForwardedReads = 16384;
}  // namespace

void Raft::HeardLeader(const Message& m) {
  leader_ = m.from;
  heard_leader_ns_ = now_;
  candidacies_ = 0;
  ResetElectionTimer();
}

void Raft::RejectAppend(const Message& m) {
  Message reply = Make(MessageType::kAppendReply, m.from);
  reply.reject = true;
  reply.index = m.index;
  reply.stamp = m.stamp;
  // The last of our entries that can be in the leader's log: skips a whole term at a time.
  reply.hint = log_.LastIndexWithTermAtMost(std::min(m.index, log_.last_index()), m.log_term);
  reply.log_term = log_.TermAt(reply.hint);
  SendWhenHardStateDurable(std::move(reply));
}

void Raft::HandleAppend(Message m) {
  Term term_before = m.log_term;
  for (size_t i = 0; i < m.entries.size(); ++i) {
    const Entry& e = m.entries[i];
    if (e.index != m.index + 1 + i || e.term < term_before || e.term > m.term) return;  // malformed
    term_before = e.term;
  }
  HeardLeader(m);
  LogIndex verified = m.index + m.entries.size();
  size_t skip = 0;
  if (m.index < log_.commit()) {
    // What is committed here equals the leader's, also where our log no longer reaches (checklist
    // 30).
    if (verified <= log_.commit()) {
      verified = log_.commit();
      skip = m.entries.size();
    } else {
      skip = log_.commit() - m.index;
    }
  } else if (!log_.Matches(m.index, m.log_term)) {
    return RejectAppend(m);
  }
  if (DefectOn(Defect::kTruncateWithoutConflict) && !m.entries.empty() &&
      log_.last_index() > std::max(m.index, log_.commit())) {
    log_.TruncateFrom(std::max(m.index, log_.commit()) + 1);
  }
  for (size_t i = skip; i < m.entries.size(); ++i) {
    Entry& e = m.entries[i];
    if (e.index <= log_.last_index()) {
      if (log_.TermAt(e.index) == e.term) continue;
      log_.TruncateFrom(e.index);  // a real conflict, and only that (checklist 11)
    }
    log_.Append(std::move(e));
  }
  // Only as far as this message has verified: behind it may lie entries of a deposed leader.
  LogIndex limit = DefectOn(Defect::kCommitBeyondVerified) ? log_.last_index() : verified;
  log_.CommitTo(std::min(m.commit, limit));
  Message reply = Make(MessageType::kAppendReply, m.from);
  reply.index = verified;
  reply.stamp = m.stamp;
  SendWhenDurable(std::move(reply));
}

void Raft::HandleHeartbeat(const Message& m) {
  HeardLeader(m);
  LogIndex commit = m.commit;
  if (commit > log_.last_index()) {
    if (!DefectOn(Defect::kCommitBeyondVerified)) {
      fatal_ = Status(Code::kCorrupt,
                      "the leader has acknowledgements from this member for entries it does not "
                      "have: its log lost durable data");
      return;
    }
    commit = log_.last_index();
  }
  log_.CommitTo(commit);
  Message reply = Make(MessageType::kHeartbeatReply, m.from);
  reply.stamp = m.stamp;
  SendWhenHardStateDurable(std::move(reply));
}

void Raft::HandleInstallSnapshot(const Message& m) {
  const SnapshotMeta& snapshot = m.snapshot;
  Message reply = Make(MessageType::kAppendReply, m.from);
  reply.stamp = kNever;  // acknowledges no heartbeat
  if (snapshot.index <= log_.commit()) {
    reply.index = log_.commit();  // would rewind; the leader goes on from here
  } else if (log_.Matches(snapshot.index, snapshot.term)) {
    log_.CommitTo(snapshot.index);  // nothing to install: the log has it all
    reply.index = snapshot.index;
  } else {
    if (DefectOn(Defect::kSnapshotKeepsOldLog)) {
      log_.ResetKeepingTail(snapshot.index, snapshot.term);
    } else {
      log_.ResetTo(snapshot.index, snapshot.term);
      reset_ = snapshot;
    }
    configuration_ = snapshot.configuration;
    install_ = snapshot;
    reply.index = snapshot.index;
  }
  SendWhenDurable(std::move(reply));
}

// --- reads through the leader ---

Status Raft::ReadIndex(uint64_t context, int64_t now_ns) {
  now_ = std::max(now_, now_ns);
  if (role_ == Role::kLeader) {
    if (pending_reads_.size() >= options_.max_pending_reads) {
      return Status(Code::kOverloaded, "too many reads wait").WithRetryAfter(10);
    }
    AddRead(options_.id, context);
    return Status();
  }
  if (role_ != Role::kFollower || !leader_.valid()) {
    reads_out_.push_back({context, Status(Code::kUnavailable, "no leader is known"), 0});
    return Status();
  }
  if (forwarded_reads_.size() >= kMaxForwardedReads) {
    return Status(Code::kOverloaded, "too many reads wait").WithRetryAfter(10);
  }
  forwarded_reads_.push_back({context, now_ + kForwardedReadTimeoutNs});
  Message m = Make(MessageType::kReadIndex, leader_);
  m.context = context;
  Send(std::move(m));
  return Status();
}

void Raft::HandleReadIndexReply(const Message& m) {
  for (auto it = forwarded_reads_.begin(); it != forwarded_reads_.end(); ++it) {
    if (it->context != m.context) continue;
    forwarded_reads_.erase(it);
    if (m.reject) {
      reads_out_.push_back({m.context, Status(Code::kUnavailable, "the leader changed"), 0});
    } else {
      reads_out_.push_back({m.context, Status(), m.index});
    }
    return;
  }
}

void Raft::FailForwardedReads(Code code, const char* why, int64_t not_after_ns) {
  while (!forwarded_reads_.empty() && forwarded_reads_.front().deadline_ns <= not_after_ns) {
    reads_out_.push_back({forwarded_reads_.front().context, Status(code, why), 0});
    forwarded_reads_.pop_front();
  }
}

}  // namespace dfs::raft
