#include "namenode/sessions/lease_manager.h"

#include <algorithm>
#include <utility>

#include "common/base/defects.h"
#include "common/base/logging.h"

namespace dfs::nn {

namespace {
constexpr int64_t kTickNs = 50 * kMillisecond;

RecallKind KindOf(TouchKind kind) {
  switch (kind) {
    case TouchKind::kName:
      return RecallKind::kName;
    case TouchKind::kAttributes:
      return RecallKind::kAttributes;
    case TouchKind::kInode:
      break;
  }
  return RecallKind::kInode;
}
}  // namespace

/// Registers what it touches for as long as it lives, and remembers who was told of it.
class LeaseManager::Change {
 public:
  explicit Change(LeaseManager* manager) : manager_(manager), alive_(manager->alive_) {
    manager->changes_.insert(this);
  }
  ~Change() {
    if (alive_.expired()) return;
    manager_->changes_.erase(this);
    for (InodeId inode : inodes_) manager_->Unregistered(inode);
  }
  Change(const Change&) = delete;
  Change& operator=(const Change&) = delete;

  void Add(InodeId inode) {
    if (std::find(inodes_.begin(), inodes_.end(), inode) != inodes_.end()) return;
    inodes_.push_back(inode);
    manager_->Registered(inode);
  }
  /// A directory's lease stays when one of its names is recalled: who was told of it is told once.
  bool Told(SessionId session, const RecallOrder& order) const {
    return told_.contains({session, order});
  }
  void Tell(SessionId session, const RecallOrder& order) { told_.insert({session, order}); }
  /// The session learns what it changes there itself, after it was told.
  void Untell(SessionId session, InodeId inode) {
    std::erase_if(told_, [&](const auto& told) {
      return told.first == session && told.second.inode == inode;
    });
  }

 private:
  LeaseManager* manager_;
  std::weak_ptr<char> alive_;
  std::vector<InodeId> inodes_;
  std::set<std::pair<SessionId, RecallOrder>> told_;
};

LeaseManager::LeaseManager(LeaseOptions options, Executor& executor, Recaller recaller)
    : options_(options),
      executor_(executor),
      recaller_(std::move(recaller)),
      table_(options.max_leases_per_session, options.max_leases) {}

LeaseManager::~LeaseManager() {
  alive_.reset();
  if (timer_ != 0) executor_.Cancel(timer_);
}

// ---- Leadership ---------------------------------------------------------------------------------

void LeaseManager::OnLeading(Term term, const std::vector<Session>& sessions) {
  OnLeadershipLost();
  term_ = term;
  for (const Session& session : sessions) {
    if (session.caches) sessions_[session.id];
  }
  grace_ = !sessions_.empty() && !DefectOn(Defect::kLeaseNoGrace);
  grace_end_ns_ = Now() + TermHere();
  ArmTimer();
}

void LeaseManager::OnLeadershipLost() {
  term_ = 0;
  grace_ = false;
  table_.Clear();
  sessions_.clear();
  // Whoever waits tries again, and finds that this member does not lead.
  std::vector<Task> wake = std::exchange(after_grace_, {});
  for (auto& [session, recalls] : std::exchange(outstanding_, {})) {
    for (const RecallPtr& recall : recalls) {
      for (auto& waiter : std::exchange(recall->waiters, {})) wake.push_back(std::move(*waiter));
    }
  }
  auto acquiring = std::exchange(acquiring_, {});
  waiting_ = 0;
  for (Task& task : wake) task();
  for (auto& [inode, queue] : acquiring) {
    for (Acquiring& one : queue) {
      one.done(Status(Code::kNotLeader, "this namenode no longer leads"));
    }
  }
}

void LeaseManager::EndGraceIfDone() {
  if (!grace_) return;
  const bool all = std::all_of(sessions_.begin(), sessions_.end(),
                               [](const auto& s) { return s.second.declared; });
  if (!all && Now() < grace_end_ns_) return;
  grace_ = false;
  for (auto& [id, entry] : sessions_) {
    if (entry.declared) continue;
    entry.lapsed = true;
    table_.DropAll(id);
  }
  std::vector<InodeId> acquired;
  for (const auto& [inode, queue] : acquiring_) acquired.push_back(inode);
  for (Task& task : std::exchange(after_grace_, {})) {
    --waiting_;
    task();
  }
  for (InodeId inode : acquired) Pump(inode);
}

// ---- Sessions -----------------------------------------------------------------------------------

void LeaseManager::OnSessionOpened(const Session& session) {
  if (term_ == 0 || !session.caches) return;
  Entry& entry = sessions_[session.id];
  entry.declared = true;  // it is new and holds nothing
  entry.term_end_ns = Now() + TermHere();
}

void LeaseManager::OnSessionResumed(const Session& session) {
  if (!sessions_.contains(session.id)) return;
  // A new process, which holds nothing of what the old one did.
  Lapse(session.id);
}

void LeaseManager::OnSessionEnded(SessionId session) {
  if (!sessions_.contains(session)) return;
  Lapse(session);
  sessions_.erase(session);
  EndGraceIfDone();
}

bool LeaseManager::Caches(SessionId session) const {
  return sessions_.contains(session);
}

LeaseManager::Kept LeaseManager::KeepAlive(SessionId session, std::span<const InodeId> returned) {
  Kept kept;
  auto it = sessions_.find(session);
  if (it == sessions_.end()) return kept;
  Entry& entry = it->second;
  if (!entry.declared) {
    kept.declare = true;
    return kept;
  }
  for (InodeId inode : returned) {
    table_.Drop(inode, session);
    Pump(inode);
  }
  if (auto o = outstanding_.find(session); o != outstanding_.end() && !o->second.empty()) {
    // It is there but does not give up what others wait for: then its term has to end.
    if (Now() - o->second.front()->since_ns > options_.recall_patience_ns) return kept;
    const std::deque<RecallPtr> recalls = o->second;
    for (const RecallPtr& recall : recalls) {
      if (!recall->on_its_way) SendRecall(recall);
    }
  }
  entry.term_end_ns = Now() + TermHere();
  kept.extended = true;
  return kept;
}

Status LeaseManager::Declare(SessionId session, Term term, std::span<const InodeId> read,
                             std::span<const InodeId> write, bool last) {
  auto it = sessions_.find(session);
  if (it == sessions_.end()) return Status(Code::kUnknownSession, "the session has ended");
  if (term != term_) return Status(Code::kStaleTerm, "another leader's term");
  Entry& entry = it->second;
  const bool holds = !read.empty() || !write.empty();
  if ((entry.declared || entry.lapsed) && holds) {
    return Status(Code::kConflict, "the session's leases have run out");
  }
  for (InodeId inode : read) table_.Grant(inode, session, LeaseMode::kRead);
  for (InodeId inode : write) table_.Grant(inode, session, LeaseMode::kWrite);
  if (!last || entry.declared) return Status();
  entry.declared = true;
  entry.lapsed = false;
  entry.term_end_ns = Now() + TermHere();
  EndGraceIfDone();
  return Status();
}

/// Whatever the session held is over: it has been silent for a term, or it says so.
void LeaseManager::Lapse(SessionId session) {
  Entry& entry = sessions_[session];
  entry.declared = false;
  entry.lapsed = true;
  table_.DropAll(session);
  ++lapses_;
  std::deque<RecallPtr> recalls;
  if (auto it = outstanding_.find(session); it != outstanding_.end()) {
    recalls = std::move(it->second);
    outstanding_.erase(it);
  }
  for (const RecallPtr& recall : recalls) Finish(*recall);
}

// ---- Granting -----------------------------------------------------------------------------------

bool LeaseManager::Blocked(InodeId inode) const {
  return changing_.contains(inode) || acquiring_.contains(inode);
}

bool LeaseManager::GrantRead(SessionId session, InodeId inode) {
  if (term_ == 0 || !session.valid()) return false;
  auto it = sessions_.find(session);
  if (it == sessions_.end() || !it->second.declared) return false;
  const bool blocked = Blocked(inode) || changing_.contains(kUnmadeDirectories);
  if (blocked && !DefectOn(Defect::kLeaseGrantedDuringChange)) return false;
  if (table_.Holds(inode, session)) return true;
  if (table_.Writer(inode)) return false;
  return table_.Grant(inode, session, LeaseMode::kRead);
}

void LeaseManager::Acquire(SessionId session, InodeId inode, UniqueFunction<void(Status)> done) {
  auto it = sessions_.find(session);
  if (term_ == 0) return done(Status(Code::kNotLeader, "this namenode does not lead"));
  if (it == sessions_.end()) return done(Status(Code::kNotSupported, "the session does not cache"));
  if (waiting_ >= options_.max_waiting) {
    return done(Status(Code::kOverloaded, "too much waits for leases").WithRetryAfter(100));
  }
  ++waiting_;
  acquiring_[inode].push_back({session, false, std::move(done)});
  Pump(inode);
}

/// Write leases are given in the order in which they were asked for.
void LeaseManager::Pump(InodeId inode) {
  for (;;) {
    auto it = acquiring_.find(inode);
    if (it == acquiring_.end() || grace_ || changing_.contains(inode)) return;
    Acquiring& first = it->second.front();
    // What it is asked to give up comes first: its answer would take away what is granted now.
    if (first.recalling || Recalled(first.session, inode)) return;
    std::map<SessionId, std::vector<RecallOrder>> orders;
    for (const LeaseTable::Holder& holder : table_.Holders(inode)) {
      if (holder.session != first.session) {
        orders[holder.session] = {{inode, RecallKind::kInode, {}}};
      }
    }
    if (!orders.empty()) {
      first.recalling = true;
      RecallAll(std::move(orders), [this, inode] {
        auto again = acquiring_.find(inode);
        if (again == acquiring_.end()) return;
        again->second.front().recalling = false;
        Pump(inode);
      });
      return;
    }
    Acquiring next = std::move(first);
    it->second.pop_front();
    if (it->second.empty()) acquiring_.erase(it);
    --waiting_;
    auto session = sessions_.find(next.session);
    if (session == sessions_.end() || !session->second.declared) {
      next.done(Status(Code::kUnavailable, "the session has not said what it holds"));
    } else if (!table_.Grant(inode, next.session, LeaseMode::kWrite)) {
      next.done(Status(Code::kOverloaded, "too many leases").WithRetryAfter(1000));
    } else {
      next.done(Status());
    }
  }
}

// ---- Changes and reads --------------------------------------------------------------------------

void LeaseManager::Registered(InodeId inode) {
  ++changing_[inode];
}

void LeaseManager::Unregistered(InodeId inode) {
  auto it = changing_.find(inode);
  if (it == changing_.end()) return;
  if (--it->second > 0) return;
  changing_.erase(it);
  Pump(inode);
}

std::map<SessionId, std::vector<RecallOrder>> LeaseManager::Contradicted(
    SessionId by, const std::vector<Touch>& touches, const Change& change) const {
  std::map<SessionId, std::vector<RecallOrder>> out;
  for (const Touch& touch : touches) {
    for (const LeaseTable::Holder& holder : table_.Holders(touch.inode)) {
      if (holder.session == by) continue;
      RecallOrder order{touch.inode, KindOf(touch.kind), touch.name};
      if (!change.Told(holder.session, order)) out[holder.session].push_back(std::move(order));
    }
  }
  return out;
}

bool LeaseManager::TryChange(SessionId by, const std::vector<Touch>& touches, ChangePtr* change,
                             Task ready) {
  if (touches.empty() || term_ == 0) return true;
  if (*change == nullptr) *change = std::make_shared<Change>(this);
  for (const Touch& touch : touches) (*change)->Add(touch.inode);
  if (grace_) {
    ++waiting_;
    after_grace_.push_back(std::move(ready));
    return false;
  }
  if (table_.size() == 0 || DefectOn(Defect::kLeaseNotRecalled)) return true;
  auto orders = Contradicted(by, touches, **change);
  if (orders.empty()) {
    Overtakes(by, touches, **change);
    return true;
  }
  for (const auto& [session, told] : orders) {
    for (const RecallOrder& order : told) (*change)->Tell(session, order);
  }
  RecallAll(std::move(orders), std::move(ready));
  return DefectOn(Defect::kLeaseRecallNotAwaited);
}

/// This one is applied before others that wait for the same: what its session makes of its answer they have to recall anew.
void LeaseManager::Overtakes(SessionId by, const std::vector<Touch>& touches,
                             const Change& change) {
  if (DefectOn(Defect::kLeaseOwnChangeNotRecalled)) return;
  for (Change* other : changes_) {
    if (other == &change) continue;
    for (const Touch& touch : touches) other->Untell(by, touch.inode);
  }
}

bool LeaseManager::Unflushed(SessionId reader, InodeId inode) const {
  if (term_ == 0 || DefectOn(Defect::kLeaseWriterNotAsked)) return false;
  if (grace_) {
    // A session that has not spoken may have written to any file.
    return std::any_of(sessions_.begin(), sessions_.end(), [&](const auto& s) {
      return s.first != reader && !s.second.declared;
    });
  }
  const auto writer = table_.Writer(inode);
  return writer && *writer != reader;
}

void LeaseManager::Flush(SessionId reader, std::vector<InodeId> inodes, Task done) {
  if (grace_) {
    ++waiting_;
    after_grace_.push_back(
        [this, reader, inodes = std::move(inodes), done = std::move(done)]() mutable {
          Flush(reader, std::move(inodes), std::move(done));
        });
    return;
  }
  std::map<SessionId, std::vector<RecallOrder>> orders;
  for (InodeId inode : inodes) {
    const auto writer = table_.Writer(inode);
    if (writer && *writer != reader) {
      orders[*writer].push_back({inode, RecallKind::kWrite, {}});
    }
  }
  RecallAll(std::move(orders), std::move(done));
}

// ---- Recalls ------------------------------------------------------------------------------------

void LeaseManager::RecallAll(std::map<SessionId, std::vector<RecallOrder>> orders, Task done) {
  if (orders.empty()) return done();
  auto gather = std::make_shared<Gather>();
  gather->left = orders.size();
  gather->done = std::move(done);
  for (auto& [session, list] : orders) {
    auto recall = std::make_shared<Recall>();
    recall->session = session;
    recall->orders = std::move(list);
    recall->since_ns = Now();
    recall->waiters.push_back(std::make_shared<Task>([gather] {
      if (--gather->left == 0) gather->done();
    }));
    outstanding_[session].push_back(recall);
    SendRecall(recall);
  }
  ArmTimer();
}

void LeaseManager::SendRecall(const RecallPtr& recall) {
  recall->on_its_way = true;
  ++recalls_sent_;
  recaller_(recall->session, recall->orders,
            [this, alive = std::weak_ptr<char>(alive_), recall](Status status) {
              if (alive.expired()) return;
              recall->on_its_way = false;
              // Not reached: told again with its next keep-alive, or its term ends.
              if (status.ok()) OnRecallAnswered(recall);
            });
}

void LeaseManager::OnRecallAnswered(const RecallPtr& recall) {
  auto it = outstanding_.find(recall->session);
  if (it == outstanding_.end()) return;
  auto place = std::find(it->second.begin(), it->second.end(), recall);
  if (place == it->second.end()) return;  // its term had run out
  it->second.erase(place);
  if (it->second.empty()) outstanding_.erase(it);
  Forget(*recall);
  Finish(*recall);
}

/// Whoever waited for it goes on.
void LeaseManager::Finish(Recall& recall) {
  for (auto& waiter : std::exchange(recall.waiters, {})) (*waiter)();
  for (const RecallOrder& order : recall.orders) Pump(order.inode);
}

bool LeaseManager::Recalled(SessionId session, InodeId inode) const {
  auto it = outstanding_.find(session);
  if (it == outstanding_.end()) return false;
  for (const RecallPtr& recall : it->second) {
    for (const RecallOrder& order : recall->orders) {
      if (order.inode == inode) return true;
    }
  }
  return false;
}

void LeaseManager::Forget(const Recall& recall) {
  for (const RecallOrder& order : recall.orders) {
    switch (order.kind) {
      case RecallKind::kName:
      case RecallKind::kAttributes:
        break;  // the lease stays
      case RecallKind::kInode:
        table_.Drop(order.inode, recall.session);
        break;
      case RecallKind::kWrite:
        table_.Downgrade(order.inode, recall.session);
        break;
    }
  }
}

// ---- Time ---------------------------------------------------------------------------------------

void LeaseManager::ArmTimer() {
  if (timer_ != 0 || (outstanding_.empty() && !grace_)) return;
  timer_ = executor_.RunAfter(kTickNs, [this] {
    timer_ = 0;
    OnTimer();
    ArmTimer();
  });
}

void LeaseManager::OnTimer() {
  if (term_ == 0) return;
  EndGraceIfDone();
  std::vector<SessionId> silent;
  for (const auto& [session, recalls] : outstanding_) {
    auto it = sessions_.find(session);
    if (it == sessions_.end() || Now() >= it->second.term_end_ns) silent.push_back(session);
  }
  for (SessionId session : silent) {
    LogInfo("session {}: its leases have run out under a recall", session.value);
    Lapse(session);
  }
}

}  // namespace dfs::nn
