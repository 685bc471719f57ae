#include "namenode/sessions/session_manager.h"

#include <algorithm>

#include "common/base/logging.h"

namespace dfs::nn {

namespace {
constexpr int64_t kOrphanScanNs = 2 * kSecond;
}  // namespace

SessionManager::SessionManager(SessionManagerOptions options, Executor& executor,
                               StateReader& state, Proposer proposer)
    : options_(options), executor_(executor), state_(state), proposer_(std::move(proposer)) {}

SessionManager::~SessionManager() {
  Stop();
}

void SessionManager::Start() {
  if (timer_ == 0) ScheduleTick();
}

void SessionManager::Stop() {
  if (timer_ != 0) executor_.Cancel(timer_);
  timer_ = 0;
  alive_.reset();
  OnLeadershipLost();
}

void SessionManager::ScheduleTick() {
  timer_ = executor_.RunAfter(options_.tick_ns, [this] {
    timer_ = 0;
    Tick();
    ScheduleTick();
  });
}

void SessionManager::OnLeading() {
  OnLeadershipLost();
  leading_ = true;
  last_tick_ns_ = Now();
  Status status = state_.ForEachSession([&](const Session& session) {
    Entry& entry = sessions_[session.id];
    entry.incarnation = session.incarnation;
    entry.heard_ns = Now();
    undeclared_.insert(session.id);
  });
  if (!status.ok()) LogError("cannot list the sessions: {}", status.ToString());
  status = state_.ForEachOrphan([&](InodeId inode, SessionId session) {
    orphans_.insert({session, inode});
  });
  if (!status.ok()) LogError("cannot list the orphans: {}", status.ToString());
}

void SessionManager::OnLeadershipLost() {
  leading_ = false;
  sessions_.clear();
  openers_.clear();
  undeclared_.clear();
  orphans_.clear();
  proposals_ = 0;
}

void SessionManager::OnSessionOpened(const Session& session) {
  if (!leading_) return;
  Entry& entry = sessions_[session.id];
  entry.incarnation = session.incarnation;
  entry.heard_ns = Now();
  entry.declared = true;  // it is new: it has nothing open that this leader does not know of
}

void SessionManager::OnSessionResumed(const Session& session) {
  if (!leading_) return;
  Entry& entry = sessions_[session.id];
  // A new process: what the old one had open is closed, unless the new one says otherwise.
  while (!entry.open.empty()) Forget(entry, session.id, entry.open.begin()->first);
  entry.incarnation = session.incarnation;
  entry.heard_ns = Now();
  entry.ending = false;
  entry.declared = false;
  undeclared_.insert(session.id);
}

void SessionManager::OnSessionEnded(SessionId session) {
  auto it = sessions_.find(session);
  if (it == sessions_.end()) return;
  for (const auto& [inode, when] : it->second.open) {
    auto openers = openers_.find(inode);
    if (openers == openers_.end()) continue;
    openers->second.erase(session);
    if (openers->second.empty()) openers_.erase(openers);
  }
  undeclared_.erase(session);
  // Its orphans went with the command that ended it.
  auto orphan = orphans_.lower_bound({session, InodeId()});
  while (orphan != orphans_.end() && orphan->first == session) orphan = orphans_.erase(orphan);
  sessions_.erase(it);
}

void SessionManager::OnInodeRemoved(InodeId inode) {
  auto it = openers_.find(inode);
  if (it == openers_.end()) return;
  for (SessionId session : it->second) {
    if (auto s = sessions_.find(session); s != sessions_.end()) s->second.open.erase(inode);
    orphans_.erase({session, inode});
  }
  openers_.erase(it);
}

Status SessionManager::KeepAlive(SessionId session, uint64_t incarnation, bool holds_state,
                                 std::span<const InodeId> open_inodes) {
  auto it = sessions_.find(session);
  if (it == sessions_.end()) return Status(Code::kUnknownSession, "the session has ended");
  Entry& entry = it->second;
  if (incarnation != entry.incarnation) {
    return Status(Code::kStaleIncarnation, "another process has taken the session over");
  }
  if (open_inodes.size() > options_.max_open_files) {
    return Status(Code::kOverloaded, "too many open files");
  }
  entry.heard_ns = Now();
  entry.holds_state = holds_state;
  for (InodeId inode : open_inodes) {
    if (!inode.valid()) continue;
    entry.open[inode] = Now();
    openers_[inode].insert(session);
  }
  if (!entry.declared) {
    entry.declared = true;
    undeclared_.erase(session);
    // While it had not spoken it counted as having every file open. Let go what it does not have.
    std::vector<InodeId> gone;
    for (auto o = orphans_.lower_bound({session, InodeId()});
         o != orphans_.end() && o->first == session; ++o) {
      if (!entry.open.contains(o->second)) gone.push_back(o->second);
    }
    for (InodeId inode : gone) ReleaseOrphan(session, inode);
  }
  // A close that got lost: not named for long.
  std::vector<InodeId> forgotten;
  for (const auto& [inode, when] : entry.open) {
    if (Now() - when >= options_.undeclared_ns) forgotten.push_back(inode);
  }
  for (InodeId inode : forgotten) Forget(entry, session, inode);
  return Status();
}

Status SessionManager::Opened(SessionId session, InodeId inode) {
  auto it = sessions_.find(session);
  if (it == sessions_.end() || !inode.valid()) return Status();
  if (it->second.open.size() >= options_.max_open_files) {
    return Status(Code::kOverloaded, "too many open files");
  }
  it->second.open[inode] = Now();
  openers_[inode].insert(session);
  return Status();
}

void SessionManager::Closed(SessionId session, InodeId inode) {
  auto it = sessions_.find(session);
  if (it != sessions_.end()) Forget(it->second, session, inode);
}

void SessionManager::Forget(Entry& entry, SessionId session, InodeId inode) {
  entry.open.erase(inode);
  auto openers = openers_.find(inode);
  if (openers != openers_.end()) {
    openers->second.erase(session);
    if (openers->second.empty()) openers_.erase(openers);
  }
  // Almost always it still has a name, and there is nothing to release.
  Result<Inode> record = state_.GetInode(inode);
  if (!record || record->nlink > 0) return;
  auto sessions = state_.OrphanSessions(inode);
  if (!sessions) return;
  for (SessionId holder : *sessions) {
    if (holder == session) ReleaseOrphan(session, inode);
  }
}

void SessionManager::ReleaseOrphan(SessionId session, InodeId inode) {
  orphans_.erase({session, inode});
  if (proposals_ >= options_.max_proposals * 16) return;  // it goes with the session, then
  ++proposals_;
  CloseOrphanCommand command;
  command.session = session;
  command.inode = inode;
  proposer_(command, [this, alive = std::weak_ptr<char>(alive_)](Status) {
    if (!alive.expired() && proposals_ > 0) --proposals_;
  });
}

std::vector<SessionId> SessionManager::OpenSessions(InodeId inode) const {
  std::vector<SessionId> out(undeclared_.begin(), undeclared_.end());
  auto it = openers_.find(inode);
  if (it == openers_.end()) return out;
  for (SessionId session : it->second) {
    if (!undeclared_.contains(session)) out.push_back(session);
  }
  return out;
}

std::vector<OpenInode> SessionManager::AllOpen() const {
  std::vector<OpenInode> out;
  out.reserve(openers_.size());
  for (const auto& [inode, sessions] : openers_) {
    out.push_back({inode, {sessions.begin(), sessions.end()}});
  }
  return out;
}

bool SessionManager::HasOpen(SessionId session, InodeId inode) const {
  auto it = openers_.find(inode);
  return it != openers_.end() && it->second.contains(session);
}

bool SessionManager::OpenElsewhere(InodeId inode, SessionId session,
                                   const std::function<bool(SessionId)>& ignored) const {
  const auto counts = [&](SessionId other) { return other != session && !ignored(other); };
  if (std::any_of(undeclared_.begin(), undeclared_.end(), counts)) return true;
  auto it = openers_.find(inode);
  return it != openers_.end() && std::any_of(it->second.begin(), it->second.end(), counts);
}

/// What was unlinked while a session had not declared itself counts it among those that have it open, and may become an
/// orphan of its only after it has said that it has not.
void SessionManager::ReleaseStrayOrphans() {
  if (!undeclared_.empty() || Now() < next_orphan_scan_ns_) return;
  next_orphan_scan_ns_ = Now() + kOrphanScanNs;
  std::vector<std::pair<SessionId, InodeId>> stray;
  Status status = state_.ForEachOrphan([&](InodeId inode, SessionId session) {
    auto it = sessions_.find(session);
    if (it != sessions_.end() && !it->second.open.contains(inode)) {
      stray.emplace_back(session, inode);
    }
  });
  if (!status.ok()) LogError("cannot list the orphans: {}", status.ToString());
  for (const auto& [session, inode] : stray) ReleaseOrphan(session, inode);
}

void SessionManager::Tick() {
  if (!leading_) return;
  int64_t now = Now();
  // This process itself may not have run for a while; nobody could be heard then.
  int64_t gap_ns = now - last_tick_ns_ - options_.tick_ns;
  last_tick_ns_ = now;
  if (gap_ns > 2 * kSecond) {
    for (auto& [id, entry] : sessions_) entry.heard_ns += gap_ns;
  }
  ReleaseStrayOrphans();
  for (auto& [id, entry] : sessions_) {
    if (entry.ending || now - entry.heard_ns < options_.expiry_ns) continue;
    if (proposals_ >= options_.max_proposals) break;
    entry.ending = true;
    ++proposals_;
    LogInfo("session {} expires: silent for {} ms", id.value,
            (now - entry.heard_ns) / kMillisecond);
    ExpireSessionCommand command;
    command.session = id;
    command.incarnation = entry.incarnation;
    proposer_(command, [this, alive = std::weak_ptr<char>(alive_), session = id](Status status) {
      if (alive.expired()) return;
      if (proposals_ > 0) --proposals_;
      if (status.ok()) {
        ++expiries_;
      } else if (auto it = sessions_.find(session); it != sessions_.end()) {
        it->second.ending = false;  // the next tick tries again
      }
    });
  }
}

}  // namespace dfs::nn
