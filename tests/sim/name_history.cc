#include "tests/sim/name_history.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

namespace dfs::sim {

namespace {
constexpr uint64_t kAbsent = 0;
constexpr uint64_t kSomeInode = UINT64_MAX;  // there, made by a create that never returned
}  // namespace

size_t NameHistory::Invoke(Kind kind, uint64_t time) {
  Op op;
  op.kind = kind;
  op.invoked = time;
  ops_.push_back(op);
  return ops_.size() - 1;
}

void NameHistory::Return(size_t op, Outcome outcome, uint64_t inode, uint64_t time) {
  ops_[op].outcome = outcome;
  ops_[op].inode = inode;
  ops_[op].returned = outcome == Outcome::kUnknown ? UINT64_MAX : time;
}

struct NameHistory::Search {
  const std::vector<Op>& ops;
  size_t states_left;
  std::vector<bool> done;
  std::set<std::pair<std::vector<bool>, uint64_t>> seen;

  // Whether the operation fits here, and the state after it.
  static bool Apply(const Op& op, uint64_t state, uint64_t* after) {
    *after = state;
    const bool unknown = op.outcome == Outcome::kUnknown;
    switch (op.kind) {
      case Kind::kCreate:
        if (op.outcome == Outcome::kRefused) return state != kAbsent;
        *after = unknown ? kSomeInode : op.inode;
        return state == kAbsent;
      case Kind::kUnlink:
        if (op.outcome == Outcome::kRefused) return state == kAbsent;
        *after = kAbsent;
        return state != kAbsent;
      case Kind::kStat:
        if (op.outcome == Outcome::kRefused) return state == kAbsent;
        if (unknown) return false;  // without effect
        *after = op.inode;
        return state == op.inode || state == kSomeInode;
    }
    return false;
  }

  Verdict Run(uint64_t state) {
    // What must come first: nothing that was invoked after the earliest return.
    for (bool moved = true; moved;) {
      moved = false;
      const uint64_t limit = EarliestReturn();
      if (limit == UINT64_MAX) return Verdict::kLinearizable;  // only unknown ones are left
      for (size_t i = 0; i < ops.size() && ops[i].invoked < limit; ++i) {
        uint64_t after = 0;
        if (done[i] || ops[i].outcome == Outcome::kUnknown || !Apply(ops[i], state, &after))
          continue;
        if (after != state) continue;
        done[i] = true;  // changes nothing: as early as possible is as good as any time
        moved = true;
      }
    }
    if (!seen.insert({done, state}).second) return Verdict::kViolation;
    if (states_left-- == 0) {
      states_left = 0;
      return Verdict::kTooHard;
    }
    const uint64_t limit = EarliestReturn();
    const std::vector<bool> before = done;
    for (size_t i = 0; i < ops.size() && ops[i].invoked < limit; ++i) {
      uint64_t after = 0;
      if (before[i] || !Apply(ops[i], state, &after)) continue;
      done = before;
      done[i] = true;
      const Verdict verdict = Run(after);
      if (verdict != Verdict::kViolation) return verdict;
    }
    done = before;
    return Verdict::kViolation;
  }

  uint64_t EarliestReturn() const {
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < ops.size(); ++i) {
      if (!done[i]) least = std::min(least, ops[i].returned);
    }
    return least;
  }
};

NameHistory::Verdict NameHistory::Check(size_t max_states) const {
  Search search{ops_, max_states, std::vector<bool>(ops_.size()), {}};
  return search.Run(kAbsent);
}

std::string NameHistory::Describe() const {
  static constexpr const char* kKinds[] = {"create", "unlink", "stat"};
  static constexpr const char* kOutcomes[] = {"ok", "refused", "unknown"};
  std::string out;
  for (const Op& op : ops_) {
    out += fmt::format("  {:>6} {:<7} inode {:<8} [{}, {}]\n", kKinds[static_cast<int>(op.kind)],
                       kOutcomes[static_cast<int>(op.outcome)], op.inode, op.invoked,
                       op.returned == UINT64_MAX ? std::string("-") : std::to_string(op.returned));
  }
  return out;
}

}  // namespace dfs::sim
