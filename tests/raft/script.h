// A small scripted group: members step by step, messages in the test's hands. For golden transcripts.
#pragma once

#include <fmt/format.h>

#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/raft/raft.h"

namespace dfs::raft {

inline std::string Describe(const Message& m) {
  std::string s =
      fmt::format("{}>{} {} t{}", m.from.value, m.to.value, MessageTypeName(m.type), m.term);
  switch (m.type) {
    case MessageType::kPreVote:
    case MessageType::kVote:
      s += fmt::format(" last {}/{}", m.index, m.log_term);
      break;
    case MessageType::kPreVoteReply:
    case MessageType::kVoteReply:
      s += m.reject ? " no" : " yes";
      break;
    case MessageType::kAppend:
      s += fmt::format(" after {}/{} n{} commit {}", m.index, m.log_term, m.entries.size(),
                       m.commit);
      break;
    case MessageType::kAppendReply:
      s += m.reject ? fmt::format(" no {} hint {}/{}", m.index, m.hint, m.log_term)
                    : fmt::format(" match {}", m.index);
      break;
    case MessageType::kHeartbeat:
      s += fmt::format(" commit {}", m.commit);
      break;
    case MessageType::kHeartbeatReply:
      s += m.reject ? " no" : "";
      break;
    case MessageType::kReadIndexReply:
      s += m.reject ? " no" : fmt::format(" {}", m.index);
      break;
    default:
      break;
  }
  return s;
}

class Script : public LogReader {
 public:
  static constexpr int64_t kStart = 1000 * kSecond;

  explicit Script(size_t members, Options options = Options()) : base(options), now(kStart) {
    for (size_t i = 1; i <= members; ++i) {
      initial_.configuration.voters.push_back(NodeId(i));
    }
    for (size_t i = 1; i <= members; ++i) Start(i, {}, {});
    now += kSecond / 2;  // past the silence after the start
  }
  /// (Re)starts a member with this hard state and these entries' terms, all durable.
  void Start(size_t id, HardState hard, const std::vector<Term>& terms, LogIndex applied = 0) {
    InitialState state = initial_;
    state.hard_state = hard;
    stored[id].clear();
    for (Term term : terms) {
      LogIndex index = ++state.last_index;
      if (state.runs.empty() || state.runs.back().term != term) state.runs.push_back({index, term});
      Entry e;
      e.term = term;
      e.index = index;
      stored[id].push_back(e);
    }
    state.applied = applied;
    Options options = base;
    options.id = NodeId(id);
    cores[id] = std::make_unique<Raft>(options, std::move(state), this, Random(id), now);
    held[id].clear();
  }
  Raft& at(size_t id) { return *cores[id]; }

  /// Takes everything the member has to say: messages to the wire, writes to `held`.
  void Collect(size_t id) {
    while (at(id).HasReady()) {
      Ready ready = at(id).TakeReady(now);
      for (Message& m : ready.messages) wire.push_back(std::move(m));
      if (ready.persist) held[id].push_back(std::move(*ready.persist));
      for (ReadResult& r : ready.reads) reads[id].push_back(r);
      for (NodeId to : ready.send_snapshot_to) snapshots.push_back(to);
      if (!ready.fatal) fatal = ready.fatal;
    }
  }
  void Persist(size_t id) {
    Collect(id);
    while (!held[id].empty()) {
      uint64_t sequence = held[id].front().sequence;
      held[id].pop_front();
      at(id).OnPersisted(sequence, now);
      Collect(id);
    }
  }
  void PersistAll() {
    for (auto& [id, core] : cores) Persist(id);
  }
  /// Makes the member's election timer run out.
  void TimeOut(size_t id) {
    now = std::max(now, at(id).NextDeadlineNs());
    at(id).Tick(now);
    Collect(id);
  }
  void Step(const Message& m) {
    at(m.to.value).Step(m, now);
    Collect(m.to.value);
  }
  /// Takes the messages on the wire, as text.
  std::vector<std::string> Wire() {
    std::vector<std::string> out;
    for (const Message& m : wire) out.push_back(Describe(m));
    return out;
  }
  std::vector<Message> TakeWire() {
    std::vector<Message> out(wire.begin(), wire.end());
    wire.clear();
    return out;
  }
  /// Delivers what is on the wire now (not what that causes).
  void Deliver() {
    for (const Message& m : TakeWire()) Step(m);
  }
  /// Until nobody has anything to say; everything becomes durable at once.
  void Settle() {
    for (int i = 0; i < 200; ++i) {
      PersistAll();
      if (wire.empty()) return;
      Deliver();
    }
  }
  /// Makes the member the leader of a settled group.
  void Elect(size_t id) {
    now += base.election_max_ns;
    TimeOut(id);
    Settle();
  }
  /// Advances the time with the leader's ticks.
  void Advance(size_t leader, int64_t duration_ns) {
    int64_t end = now + duration_ns;
    while (now < end) {
      now = std::min(end, std::max(now + kMillisecond, at(leader).NextDeadlineNs()));
      at(leader).Tick(now);
      Settle();
    }
  }
  Message Make(MessageType type, size_t from, size_t to, Term term) {
    Message m;
    m.type = type;
    m.from = NodeId(from);
    m.to = NodeId(to);
    m.term = term;
    return m;
  }
  static Entry MakeEntry(LogIndex index, Term term) {
    Entry e;
    e.index = index;
    e.term = term;
    return e;
  }
  Status Read(LogIndex from, LogIndex to, size_t, std::vector<Entry>* out) override {
    // Members of a script have one common past.
    for (auto& [id, entries] : stored) {
      if (entries.size() < to) continue;
      for (LogIndex i = from; i <= to; ++i) out->push_back(entries[i - 1]);
      return Status();
    }
    return Status(Code::kNotFound, "no such entry");
  }

  Options base;
  int64_t now;
  std::map<size_t, std::unique_ptr<Raft>> cores;
  std::map<size_t, std::deque<PersistRequest>> held;
  std::map<size_t, std::vector<ReadResult>> reads;
  std::map<size_t, std::vector<Entry>> stored;
  std::deque<Message> wire;
  std::vector<NodeId> snapshots;
  Status fatal;

 private:
  InitialState initial_;
};

using Lines = std::vector<std::string>;

}  // namespace dfs::raft
