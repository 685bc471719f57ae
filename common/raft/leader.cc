#include "common/base/check.h"
#include "common/base/defects.h"
#include "common/raft/quorum.h"
#include "common/raft/raft.h"

namespace dfs::raft {

void Raft::BecomeLeader() {
  DFS_CHECK(role_ == Role::kCandidate);
  role_ = Role::kLeader;
  leader_ = options_.id;
  candidacies_ = 0;
  votes_.clear();
  progress_.clear();
  for (NodeId id : configuration_.All()) {
    if (id == options_.id) continue;
    Progress& p = progress_[id];
    p.next = log_.last_index() + 1;
    p.heard_ns = now_;
  }
  quorum_stamp_ = kNever;
  read_round_stamp_ = kNever;
  pending_reads_.clear();
  commit_notice_due_ns_ = 0;
  size_t inherited = log_.BytesAfter(log_.commit());
  uncommitted_bytes_ = inherited == std::numeric_limits<size_t>::max() ? 0 : inherited;
  term_start_index_ = log_.last_index() + 1;
  // Entries of earlier terms commit only behind one of this term (checklist 9, 19).
  AppendOwn(EntryType::kNoop, Buffer());
  UpdateLease();
  BroadcastHeartbeat();
}

void Raft::StopLeading() {
  for (const PendingRead& read : pending_reads_) {
    if (read.asker != options_.id) continue;
    reads_out_.push_back({read.context, Status(Code::kNotLeader, "leadership was lost"), 0});
  }
  pending_reads_.clear();
  progress_.clear();
  term_start_index_ = 0;
  uncommitted_bytes_ = 0;
  commit_notice_due_ns_ = 0;
  quorum_stamp_ = kNever;
}

const Progress* Raft::progress(NodeId member) const {
  auto it = progress_.find(member);
  return it == progress_.end() ? nullptr : &it->second;
}

// --- log ---

void Raft::AppendOwn(EntryType type, Buffer data) {
  Entry entry;
  entry.term = hard_.term;
  entry.index = log_.last_index() + 1;
  entry.type = type;
  entry.data = std::move(data);
  uncommitted_bytes_ += entry.bytes();
  log_.Append(std::move(entry));
}

Result<ProposalId> Raft::Propose(Buffer command) {
  if (role_ != Role::kLeader) return Status(Code::kNotLeader, "not the leader");
  if (command.size() > kMaxEntryBytes) return Status(Code::kInvalidArgument, "command too large");
  if (uncommitted_bytes_ + command.size() > options_.max_uncommitted_bytes) {
    return Status(Code::kOverloaded, "too much is uncommitted").WithRetryAfter(10);
  }
  AppendOwn(EntryType::kCommand, std::move(command));
  return ProposalId{hard_.term, log_.last_index()};
}

bool Raft::committed_in_term() const {
  return role_ == Role::kLeader && log_.commit() >= term_start_index_;
}

void Raft::MaybeCommit() {
  LogIndex index = QuorumValue<LogIndex>(configuration_, [this](NodeId id) -> LogIndex {
    // Its own entries count once they are on its own disk (checklist 13).
    if (id == options_.id) return log_.durable();
    auto it = progress_.find(id);
    return it == progress_.end() ? 0 : it->second.match;
  });
  LogIndex before = log_.commit();
  if (index <= before) return;
  if (log_.TermAt(index) != hard_.term && !DefectOn(Defect::kCommitOldTermByCounting)) return;
  size_t uncommitted = log_.BytesAfter(before);
  if (uncommitted != std::numeric_limits<size_t>::max()) {
    uncommitted_bytes_ -= std::min(uncommitted_bytes_, uncommitted - log_.BytesAfter(index));
  }
  log_.CommitTo(index);
  if (log_.commit() == log_.last_index()) uncommitted_bytes_ = 0;
  if (commit_notice_due_ns_ == 0 && !progress_.empty()) {
    commit_notice_due_ns_ = now_ + options_.commit_notice_ns;
  }
  ServeReads();
}

// --- sending ---

int64_t Raft::NextStamp() {
  last_stamp_ = std::max(last_stamp_ + 1, now_);
  return last_stamp_;
}

void Raft::SendHeartbeat(NodeId to, Progress* progress) {
  Message m = Make(MessageType::kHeartbeat, to);
  m.stamp = last_stamp_;
  // No further than this follower is known to match: behind that it may have a stale tail.
  m.commit = DefectOn(Defect::kCommitBeyondVerified) ? log_.commit()
                                                     : std::min(progress->match, log_.commit());
  progress->commit_sent = m.commit;
  Send(std::move(m));
}

void Raft::BroadcastHeartbeat() {
  int64_t stamp = NextStamp();
  if (!pending_reads_.empty()) read_round_stamp_ = stamp;
  for (auto& [id, progress] : progress_) SendHeartbeat(id, &progress);
  heartbeat_due_ns_ = now_ + options_.heartbeat_interval_ns;
}

void Raft::SendCommitNotices() {
  commit_notice_due_ns_ = 0;
  NextStamp();
  for (auto& [id, progress] : progress_) {
    if (progress.commit_sent < std::min(progress.match, log_.commit())) {
      SendHeartbeat(id, &progress);
    }
  }
}

bool Raft::CanAppend(const Progress& p) const {
  switch (p.state) {
    case Progress::State::kSnapshot:
      return false;
    case Progress::State::kProbe:
      return !p.probe_sent && p.next <= log_.last_index();
    case Progress::State::kReplicate:
      if (p.next > log_.last_index()) return false;
      if (p.inflight.empty()) return true;
      return p.inflight.size() < options_.max_inflight_appends &&
             log_.BytesAfter(p.next - 1) >= options_.pipeline_min_bytes;
  }
  return false;
}

void Raft::SendAppends() {
  for (auto& [id, progress] : progress_) {
    while (CanAppend(progress) && SendAppend(id, &progress, true)) {
    }
  }
}

bool Raft::SendAppend(NodeId to, Progress* p, bool with_entries) {
  if (p->state == Progress::State::kSnapshot) return false;
  if (p->next <= log_.prev_index()) {
    p->BecomeSnapshot();
    snapshots_out_.push_back(to);
    return false;
  }
  Message m = Make(MessageType::kAppend, to);
  m.index = p->next - 1;
  m.log_term = log_.TermAt(m.index);
  m.commit = log_.commit();
  if (with_entries && p->next <= log_.last_index()) {
    Status read = log_.Entries(p->next, log_.last_index(), options_.max_append_bytes, &m.entries);
    if (!read) {
      fatal_ = read.WithContext("reading the Raft log");
      return false;
    }
  }
  m.stamp = NextStamp();
  p->commit_sent = std::min(m.commit, m.index + m.entries.size());
  if (p->state == Progress::State::kProbe) {
    p->probe_sent = true;
  } else if (!m.entries.empty()) {
    p->next = m.entries.back().index + 1;
    p->inflight.push_back(m.entries.back().index);
  }
  Send(std::move(m));
  return true;
}

// --- replies ---

void Raft::NoteAck(Progress* p, const Message& m) {
  p->heard_ns = now_;
  if (m.stamp <= p->acked_stamp || m.stamp > last_stamp_) return;
  p->acked_stamp = m.stamp;
  UpdateLease();
  ServeReads();
}

void Raft::HandleAppendReply(const Message& m) {
  auto it = progress_.find(m.from);
  if (role_ != Role::kLeader || it == progress_.end()) return;
  Progress& p = it->second;
  NoteAck(&p, m);
  if (m.reject) {
    if (p.state == Progress::State::kSnapshot || m.index <= p.match) return;  // late
    if (p.state == Progress::State::kProbe && m.index != p.next - 1) return;  // late
    LogIndex hint = log_.LastIndexWithTermAtMost(m.hint, m.log_term);
    p.BecomeProbe();
    p.next = std::max(p.match + 1, std::min(m.index, hint + 1));
    return;
  }
  if (m.index > log_.last_index()) return;  // impossible in one term; do not believe it
  p.match = std::max(p.match, m.index);
  p.next = std::max(p.next, p.match + 1);
  p.probe_sent = false;
  while (!p.inflight.empty() && p.inflight.front() <= p.match) p.inflight.pop_front();
  bool caught_up = p.state == Progress::State::kSnapshot && p.match >= log_.prev_index();
  if (caught_up || p.state == Progress::State::kProbe) p.BecomeReplicate();
  MaybeCommit();
}

void Raft::HandleHeartbeatReply(const Message& m) {
  auto it = progress_.find(m.from);
  if (role_ != Role::kLeader || it == progress_.end()) return;
  Progress& p = it->second;
  NoteAck(&p, m);
  p.probe_sent = false;
  // Appends or their replies may have been lost: an empty one finds out.
  if (p.match < log_.last_index()) SendAppend(m.from, &p, p.state == Progress::State::kProbe);
}

void Raft::OnSnapshotSent(NodeId follower, LogIndex index, bool ok) {
  auto it = progress_.find(follower);
  if (it == progress_.end() || it->second.state != Progress::State::kSnapshot) return;
  it->second.BecomeProbe();
  if (ok) {
    it->second.next = std::max(it->second.next, index + 1);
  } else {
    it->second.probe_sent = true;  // try again when a heartbeat is answered
  }
}

// --- leases and reads ---

void Raft::UpdateLease() {
  int64_t stamp = QuorumValue<int64_t>(configuration_, [this](NodeId id) {
    if (id == options_.id) return std::numeric_limits<int64_t>::max();
    auto it = progress_.find(id);
    return it == progress_.end() ? kNever : it->second.acked_stamp;
  });
  quorum_stamp_ = std::max(quorum_stamp_, stamp);
}

bool Raft::HasLease(int64_t now_ns) const {
  if (options_.lease_ns == 0 || !committed_in_term()) return false;
  if (DefectOn(Defect::kLeaseWithoutQuorum)) return true;
  // From the sending of what a quorum acknowledged; voters keep their promise for twice as long.
  return now_ns < quorum_stamp_ || now_ns - quorum_stamp_ < options_.lease_ns;
}

void Raft::AddRead(NodeId asker, uint64_t context) {
  PendingRead read{asker, context, 0, last_stamp_};
  if (committed_in_term()) {
    read.index = log_.commit();
    if (HasLease(now_)) return FinishRead(read);
  }
  pending_reads_.push_back(read);
  ServeReads();
}

void Raft::FinishRead(const PendingRead& read) {
  if (read.asker == options_.id) {
    reads_out_.push_back({read.context, Status(), read.index});
    return;
  }
  Message m = Make(MessageType::kReadIndexReply, read.asker);
  m.context = read.context;
  m.index = read.index;
  Send(std::move(m));
  auto it = progress_.find(read.asker);
  if (it != progress_.end() && it->second.commit_sent < read.index) commit_notice_due_ns_ = now_;
}

/// Finishes reads that a quorum has confirmed, and starts a round for those that came since the
/// last one.
void Raft::ServeReads() {
  if (!committed_in_term()) return;
  while (!pending_reads_.empty() && quorum_stamp_ > pending_reads_.front().stamp) {
    PendingRead read = pending_reads_.front();
    pending_reads_.pop_front();
    // Waited for the first commit of the term (checklist 19).
    if (read.index == 0) read.index = log_.commit();
    FinishRead(read);
  }
  if (!pending_reads_.empty() && read_round_stamp_ <= quorum_stamp_) BroadcastHeartbeat();
}

void Raft::HandleReadIndex(const Message& m) {
  if (role_ != Role::kLeader || pending_reads_.size() >= options_.max_pending_reads) {
    Message reply = Make(MessageType::kReadIndexReply, m.from);
    reply.context = m.context;
    reply.reject = true;
    return Send(std::move(reply));
  }
  AddRead(m.from, m.context);
}

}  // namespace dfs::raft
