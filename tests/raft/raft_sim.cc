#include "tests/raft/raft_sim.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/checksum.h"

namespace dfs::raft {

namespace {

struct CheckFailure {
  std::string what;
};

[[noreturn]] void ThrowOnCheck(const char* file, int line, const std::string& message) {
  throw CheckFailure{fmt::format("check failed at {}:{}: {}", file, line, message)};
}

uint64_t HashOf(const Entry& e) {
  return Hash64(e.data.view(), static_cast<uint64_t>(e.type));
}

uint64_t Chain(uint64_t before, const Entry& e) {
  return Hash64(e.data.view(), before * 31 + e.term * 7 + static_cast<uint64_t>(e.type));
}

}  // namespace

Status RaftSim::Disk::Read(LogIndex from, LogIndex to, size_t max_bytes, std::vector<Entry>* out) {
  size_t bytes = 0;
  for (LogIndex i = from; i <= to; ++i) {
    if (i <= prev_index || i > last()) return Status(Code::kNotFound, "read outside of the log");
    const Entry& e = entries[i - prev_index - 1];
    if (bytes > 0 && bytes + e.bytes() > max_bytes) break;
    bytes += e.bytes();
    out->push_back(e);
  }
  return Status();
}

void RaftSim::Disk::Apply(const PersistRequest& r) {
  if (r.reset) {
    prev_index = r.reset->index;
    prev_term = r.reset->term;
    entries.clear();
  }
  if (r.truncate_from != 0 && r.truncate_from <= last()) {
    entries.resize(r.truncate_from - prev_index - 1);
  }
  if (r.hard_state) hard = *r.hard_state;
  for (const Entry& e : r.entries) {
    DFS_CHECK(e.index == last() + 1, "disk: {} after {}", e.index, last());
    entries.push_back(e);
  }
}

RaftSim::RaftSim(uint64_t seed) : seed_(seed), random_(seed) {
  SetCheckFailureHandler(&ThrowOnCheck);
  options_.max_append_bytes = random_.OneIn(3) ? 1 : 40 * random_.Between(1, 8);
  if (random_.OneIn(2)) {  // candidates collide
    options_.election_max_ns = options_.election_min_ns + random_.Between(20, 100) * kMillisecond;
  }
  options_.max_inflight_appends = static_cast<size_t>(random_.Between(1, 5));
  options_.pipeline_min_bytes = random_.OneIn(2) ? 0 : 80;
  options_.log_cache_bytes = static_cast<size_t>(random_.Between(0, 600));
  if (random_.OneIn(2)) {  // without leases the silence after a start is not needed
    options_.lease_ns = 0;
    options_.startup_silence_ns = 0;
  }
  assassin_ = random_.OneIn(2);
  if (assassin_) {  // everything four times as fast, so that there are many leaders
    for (int64_t* t : {&options_.heartbeat_interval_ns, &options_.election_min_ns,
                       &options_.election_max_ns, &options_.lease_ns}) {
      *t /= 4;
    }
    options_.startup_silence_ns /= 4;
  }
  loss_ = static_cast<uint64_t>(random_.Between(0, 60));
  long_delay_ = static_cast<uint64_t>(random_.Between(0, 30));
  crash_one_in_ = static_cast<uint64_t>(random_.Between(60, 500));
  size_t n = random_.OneIn(4) ? 5 : 3;
  for (size_t i = 0; i < n; ++i) {
    auto m = std::make_unique<Member>();
    m->id = NodeId(i + 1);
    m->drift_percent = static_cast<int>(random_.Between(-8, 8));
    m->clock_offset = random_.Between(0, 1000) * kMillisecond;
    members_.push_back(std::move(m));
  }
  for (auto& m : members_) Start(m.get());
}

RaftSim::~RaftSim() {
  SetCheckFailureHandler(nullptr);
}

int64_t RaftSim::Clock(const Member& m) const {
  return m.clock_offset + now_ / 100 * (100 + m.drift_percent);
}

RaftSim::Member* RaftSim::Find(NodeId id) {
  return id.value >= 1 && id.value <= members_.size() ? members_[id.value - 1].get() : nullptr;
}

void RaftSim::Fail(const std::string& what) {
  if (failure_.empty()) failure_ = fmt::format("seed {} at {} ms: {}", seed_, now_ / 1000000, what);
}

void RaftSim::Start(Member* m) {
  Options options = options_;
  options.id = m->id;
  Disk& d = m->disk;
  // As the driver does: the state may be ahead of the log, or off its line.
  bool in_log =
      d.applied >= d.prev_index && d.applied <= d.last() &&
      (d.applied == d.prev_index ? d.prev_term == d.applied_term
                                 : d.entries[d.applied - d.prev_index - 1].term == d.applied_term);
  if (!in_log) {
    if (d.applied < d.prev_index) return Fail("the log was cut before the state was durable");
    d.prev_index = d.applied;
    d.prev_term = d.applied_term;
    d.entries.clear();
    if (d.hard.term < d.applied_term) d.hard = {d.applied_term, NodeId()};
  }
  InitialState initial;
  initial.hard_state = d.hard;
  initial.prev_index = d.prev_index;
  initial.prev_term = d.prev_term;
  initial.last_index = d.last();
  for (const Entry& e : d.entries) {
    if (initial.runs.empty() || initial.runs.back().term != e.term) {
      initial.runs.push_back({e.index, e.term});
    }
  }
  initial.applied = d.applied;
  for (const auto& other : members_) initial.configuration.voters.push_back(other->id);
  m->cache = d;
  m->applied = d.applied;
  m->applied_term = d.applied_term;
  m->state_hash = d.state_hash;
  m->commit_seen = 0;
  m->up = true;
  m->core = std::make_unique<Raft>(options, std::move(initial), &m->cache, Random(random_.Next()),
                                   Clock(*m));
}

void RaftSim::Crash(Member* m) {
  ++stats_.crashes;
  // Of what was written and not synced a prefix survives: the log writer's batches are in order.
  size_t survive = m->writes.empty() ? 0 : random_.Uniform(m->writes.size() + 1);
  if (random_.OneIn(2)) survive = 0;
  for (size_t i = 0; i < survive; ++i) m->disk.Apply(m->writes[i]);
  m->writes.clear();
  m->reads.clear();
  m->core.reset();
  m->up = false;
  m->restart_at =
      now_ + random_.Between(1, random_.OneIn(3) ? 2500 : 200) * kMillisecond / (assassin_ ? 4 : 1);
}

void RaftSim::Send(Message message) {
  if (cut_[{message.from, message.to}]) return;
  if (random_.Chance(loss_, 1000)) return;
  int copies = random_.OneIn(40) ? 2 : 1;
  for (int i = 0; i < copies; ++i) {
    int64_t delay = random_.Between(1, 15) * kMillisecond;
    if (random_.Chance(long_delay_, 1000)) delay = random_.Between(50, 1500) * kMillisecond;
    if (message.type == MessageType::kVote && random_.OneIn(4)) {
      delay = random_.Between(20, 200) * kMillisecond;  // candidates of one term meet
    }
    flights_.push_back({now_ + delay, order_++, message});
  }
}

/// Everything the core has to say, and the disk's part, now or later.
void RaftSim::Drive(Member* m) {
  while (m->up && m->core->HasReady()) {
    Ready ready = m->core->TakeReady(Clock(*m));
    if (!ready.fatal)
      return Fail(fmt::format("member {}: {}", m->id.value, ready.fatal.ToString()));
    if (ready.install_snapshot) {
      // The sender's state at that index, as it is known to everybody.
      ++stats_.snapshots;
      m->applied = ready.install_snapshot->index;
      m->applied_term = ready.install_snapshot->term;
      m->state_hash = applied_hash_[m->applied];
      m->disk.applied = m->applied;  // a durable switch
      m->disk.applied_term = m->applied_term;
      m->disk.state_hash = m->state_hash;
    }
    if (assassin_ && stormy_ && ready.persist && !ready.persist->entries.empty() &&
        ready.persist->entries.back().type == EntryType::kNoop && m->core->is_leader() &&
        random_.OneIn(3)) {
      // Its first entry is on its own disk and nowhere else.
      m->writes.push_back(std::move(*ready.persist));
      for (const PersistRequest& write : m->writes) m->disk.Apply(write);
      m->writes.clear();
      return Crash(m);
    }
    for (Message& message : ready.messages) Send(std::move(message));
    for (const ReadResult& r : ready.reads) {
      auto it = m->reads.find(r.context);
      if (it == m->reads.end()) continue;
      if (r.status.ok()) {
        ++stats_.reads;
        if (r.index < it->second) {
          Fail(fmt::format("stale read at member {}: index {} when {} was acknowledged",
                           m->id.value, r.index, it->second));
        }
      }
      m->reads.erase(it);
    }
    for (NodeId to : ready.send_snapshot_to) {
      bool ok = !random_.OneIn(4);
      LogIndex index = m->applied;
      if (ok) {
        Message snapshot;
        snapshot.type = MessageType::kInstallSnapshot;
        snapshot.from = m->id;
        snapshot.to = to;
        snapshot.term = m->core->term();
        snapshot.snapshot = {index, m->applied_term, m->core->configuration()};
        flights_.push_back({now_ + random_.Between(5, 100) * kMillisecond, order_++, snapshot});
      }
      m->core->OnSnapshotSent(to, index, ok);
    }
    if (ready.persist) {
      if (ready.persist->truncate_from != 0) ++stats_.truncations;
      bool hard = ready.persist->hard_state.has_value();
      m->cache.Apply(*ready.persist);
      m->writes.push_back(std::move(*ready.persist));
      if (hard && stormy_ && random_.OneIn(12)) {  // the moment that matters most
        Crash(m);
        m->restart_at = now_ + random_.Between(1, 30) * kMillisecond;
        return;
      }
      if (random_.OneIn(3)) Persist(m, true);
    }
    CheckLog(m);
  }
}

void RaftSim::Persist(Member* m, bool all) {
  size_t n = all ? m->writes.size() : random_.Uniform(m->writes.size() + 1);
  uint64_t sequence = 0;
  for (size_t i = 0; i < n; ++i) {
    m->disk.Apply(m->writes.front());
    sequence = m->writes.front().sequence;
    m->writes.pop_front();
  }
  if (sequence != 0) m->core->OnPersisted(sequence, Clock(*m));
}

void RaftSim::ApplyCommitted(Member* m) {
  std::vector<Entry> entries;
  Status s = m->core->TakeCommitted(static_cast<size_t>(random_.Between(1, 20)), 400, &entries);
  if (!s) return Fail(s.ToString());
  for (const Entry& e : entries) {
    if (e.index != m->applied + 1) return Fail("applied out of order");
    m->applied = e.index;
    m->applied_term = e.term;
    m->state_hash = Chain(m->state_hash, e);
    auto [it, fresh] = applied_hash_.emplace(e.index, m->state_hash);
    if (!fresh && it->second != m->state_hash) {
      return Fail(fmt::format("member {} has another state at {}", m->id.value, e.index));
    }
    auto proposal = proposed_.find(e.index << 20 | e.term);
    if (m->core->is_leader() && m->core->term() == e.term && proposal != proposed_.end()) {
      acknowledged_ = std::max(acknowledged_, e.index);
    }
  }
}

void RaftSim::Act(Member* m) {
  // Leaders that do not live long leave logs that differ.
  if (assassin_ && stormy_ && m->core->is_leader() && random_.OneIn(12)) {
    Crash(m);
    if (random_.OneIn(2)) m->restart_at = now_ + random_.Between(1, 100) * kMillisecond;
    return;
  }
  switch (random_.Uniform(12)) {
    case 0:
    case 1:
    case 2:
      if (!m->writes.empty()) Persist(m, random_.OneIn(2));
      break;
    case 3:
    case 4: {
      std::string command = fmt::format("c{}", next_command_++);
      auto id = m->core->Propose(Buffer(command));
      if (id) proposed_[id->index << 20 | id->term] = *id;
      break;
    }
    case 5: {
      uint64_t context = next_read_++;
      m->reads[context] = acknowledged_;
      if (!m->core->ReadIndex(context, Clock(*m))) m->reads.erase(context);
      break;
    }
    case 6:
      if (random_.OneIn(4)) {  // flush, and cut the log behind
        m->disk.applied = m->applied;
        m->disk.applied_term = m->applied_term;
        m->disk.state_hash = m->state_hash;
        LogIndex cut = m->applied - std::min<LogIndex>(m->applied, random_.Uniform(12));
        if (cut >= m->core->first_index() && m->writes.empty()) {
          m->core->CompactTo(cut);
          for (Disk* d : {&m->disk, &m->cache}) {
            d->prev_term = d->entries[cut - d->prev_index - 1].term;
            d->entries.erase(d->entries.begin(),
                             d->entries.begin() + static_cast<long>(cut - d->prev_index));
            d->prev_index = cut;
          }
        }
      }
      break;
    case 7:
      if (random_.OneIn(10)) {
        NodeId other(1 + random_.Uniform(members_.size()));
        m->core->OnUnreachable(other, Clock(*m));
      }
      break;
    case 8:
      if (stormy_ && random_.OneIn(crash_one_in_ / 12 + 1)) return Crash(m);
      break;
    default:
      ApplyCommitted(m);
      break;
  }
}

/// Delivers what is due, in an order of its own.
void RaftSim::Network() {
  std::vector<Flight> due;
  auto later = std::stable_partition(flights_.begin(), flights_.end(),
                                     [&](const Flight& f) { return f.at <= now_; });
  due.assign(std::make_move_iterator(flights_.begin()), std::make_move_iterator(later));
  flights_.erase(flights_.begin(), later);
  std::sort(due.begin(), due.end(), [](const Flight& a, const Flight& b) {
    return a.at != b.at ? a.at < b.at : a.order < b.order;
  });
  for (Flight& f : due) {
    Member* to = Find(f.message.to);
    if (!to->up || cut_[{f.message.from, f.message.to}]) continue;
    auto decoded = DecodeMessage(EncodeMessage(f.message));
    if (!decoded) return Fail("message does not survive its encoding");
    LogIndex before = to->core->commit_index();
    to->core->Step(std::move(*decoded), Clock(*to));
    ++stats_.steps;
    Check(to);
    if (assassin_ && stormy_ && to->core->is_leader() && to->core->commit_index() > before &&
        random_.OneIn(4)) {
      Crash(to);  // has committed, and tells nobody
      continue;
    }
    if (random_.OneIn(2)) Drive(to);
    if (!failure_.empty()) return;
  }
}

// --- invariants ---

void RaftSim::Check(Member* m) {
  if (!m->up) return;
  const Raft& core = *m->core;
  LogIndex commit = core.commit_index();
  if (commit < m->commit_seen) Fail("the commit index went back");
  for (LogIndex i = std::max(m->commit_seen, core.log().prev_index()) + 1; i <= commit; ++i) {
    std::vector<Entry> e;
    if (!core.log().Entries(i, i, 1, &e)) return Fail("a committed entry cannot be read");
    auto [it, fresh] = committed_.emplace(i, Committed{e[0].term, HashOf(e[0])});
    if (fresh) ++stats_.commits;
    if (it->second.term != e[0].term || it->second.hash != HashOf(e[0])) {
      Fail(fmt::format("two entries were committed at {}: of terms {} and {}", i, it->second.term,
                       e[0].term));
    }
  }
  m->commit_seen = commit;
  if (core.is_leader()) {
    auto [it, fresh] = leaders_.emplace(core.term(), m->id);
    if (it->second != m->id) Fail(fmt::format("two leaders in term {}", core.term()));
    if (fresh) {
      ++stats_.leaders;
      for (const auto& [index, entry] : committed_) {
        if (index < core.log().prev_index() || entry.term >= core.term()) continue;
        if (core.log().TermAt(index) != entry.term) {
          Fail(fmt::format("the leader of term {} lacks committed entry {}", core.term(), index));
        }
      }
    }
  }
  if (core.HasLease(Clock(*m))) {
    ++stats_.leases;
    if (leaders_.rbegin()->first > core.term()) {
      Fail(fmt::format("member {} has a lease in term {} while term {} has a leader", m->id.value,
                       core.term(), leaders_.rbegin()->first));
    }
  }
}

void RaftSim::CheckLog(Member* m) {
  const RaftLog& log = m->core->log();
  LogIndex from = std::max(log.first_index(), log.cache_first());
  for (LogIndex i = from; i <= log.last_index(); ++i) {
    std::vector<Entry> e;
    if (!log.Entries(i, i, 1, &e)) return Fail("an entry cannot be read");
    if (e[0].term != log.TermAt(i)) Fail("an entry is not of its run's term");
    std::pair<Term, uint64_t> value{log.TermAt(i - 1), HashOf(e[0])};
    auto [it, fresh] = seen_.emplace(std::make_pair(i, e[0].term), value);
    if (!fresh && it->second != value) {
      Fail(fmt::format("logs that agree at ({}, {}) differ there or before", i, e[0].term));
    }
  }
}

bool RaftSim::HasLeader() const {
  for (const auto& m : members_) {
    if (m->up && m->core->committed_in_term()) return true;
  }
  return false;
}

std::string RaftSim::Run(int steps) {
  try {
    // A storm, then calm weather until there is a leader.
    for (int step = 0; step < 2 * steps && failure_.empty(); ++step) {
      if (step >= steps && HasLeader()) break;
      now_ += random_.Between(1, 12) * kMillisecond;
      stormy_ = step < steps * 8 / 10;
      if (stormy_ && random_.OneIn(60)) {
        NodeId a(1 + random_.Uniform(members_.size()));
        NodeId b(1 + random_.Uniform(members_.size()));
        bool cut = random_.OneIn(2);
        cut_[{a, b}] = cut;
        if (random_.OneIn(2)) cut_[{b, a}] = cut;
      }
      if (stormy_ && random_.OneIn(150)) {  // alone
        NodeId a(1 + random_.Uniform(members_.size()));
        for (auto& other : members_) {
          cut_[{a, other->id}] = true;
          cut_[{other->id, a}] = true;
        }
      }
      if (random_.OneIn(200)) cut_.clear();
      if (!stormy_) {
        cut_.clear();
        loss_ = 0;
        long_delay_ = 0;
      }
      Network();
      for (auto& m : members_) {
        if (!failure_.empty()) break;
        if (!m->up) {
          if (now_ >= m->restart_at) Start(m.get());
          continue;
        }
        if (random_.OneIn(25)) continue;  // slow for a moment
        if (Clock(*m) >= m->core->NextDeadlineNs()) {
          uint64_t before = m->core->elections_started();
          m->core->Tick(Clock(*m));
          stats_.elections += m->core->elections_started() - before;
        }
        Check(m.get());
        Act(m.get());
        if (m->up) Drive(m.get());
        Check(m.get());
      }
    }
    if (failure_.empty() && !HasLeader()) Fail("no leader in calm weather");
  } catch (const CheckFailure& failure) {
    Fail(failure.what);
  }
  return failure_;
}

}  // namespace dfs::raft
