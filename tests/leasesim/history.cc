#include "tests/leasesim/history.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

namespace dfs::sim {

size_t History::Invoke(std::string what, uint64_t time, Effect if_unknown) {
  Op op;
  op.what = std::move(what);
  op.looks = if_unknown == nullptr;
  op.effect = std::move(if_unknown);
  op.invoked = time;
  ops_.push_back(std::move(op));
  return ops_.size() - 1;
}

void History::Return(size_t op, const std::string& how, uint64_t time, Effect effect) {
  ops_[op].what += " -> " + how;
  ops_[op].effect = std::move(effect);
  ops_[op].known = true;
  ops_[op].returned = time;
}

void History::Forget(size_t op) {
  ops_[op].effect = nullptr;
}

struct History::Search {
  std::vector<Op> ops;  // those that count, in the order of their invocation
  size_t states_left;
  std::vector<bool> done;
  std::set<std::pair<std::vector<bool>, State>> seen;

  Verdict Run(State state) {
    // What only looks comes as early as it can: that is as good as any time.
    for (bool moved = true; moved;) {
      moved = false;
      const uint64_t limit = EarliestReturn();
      if (limit == UINT64_MAX) return Verdict::kLinearizable;  // only unknown ones are left
      for (size_t i = 0; i < ops.size() && ops[i].invoked < limit; ++i) {
        if (done[i] || !ops[i].looks || !ops[i].known) continue;
        State after = state;
        if (!ops[i].effect(after) || after != state) continue;
        done[i] = true;
        moved = true;
      }
    }
    if (!seen.insert({done, state}).second) return Verdict::kViolation;
    if (states_left == 0) return Verdict::kTooHard;
    --states_left;
    const uint64_t limit = EarliestReturn();
    const std::vector<bool> before = done;
    for (size_t i = 0; i < ops.size() && ops[i].invoked < limit; ++i) {
      State after = state;
      if (before[i] || !ops[i].effect(after)) continue;
      done = before;
      done[i] = true;
      const Verdict verdict = Run(std::move(after));
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

History::Verdict History::CheckUntil(uint64_t time, size_t max_states) const {
  Search search{{}, max_states, {}, {}};
  for (const Op& op : ops_) {
    if (!op.effect || op.invoked > time) continue;
    search.ops.push_back(op);
    if (op.returned <= time) continue;
    search.ops.back().known = false;
    search.ops.back().returned = UINT64_MAX;
  }
  search.done.resize(search.ops.size());
  return search.Run(initial_);
}

History::Verdict History::Check(size_t max_states) const {
  return CheckUntil(UINT64_MAX - 1, max_states);
}

uint64_t History::FirstViolation() const {
  uint64_t good = 0;
  uint64_t bad = 0;
  for (const Op& op : ops_) bad = std::max(bad, op.known ? op.returned : op.invoked);
  while (bad - good > 1) {
    const uint64_t middle = good + (bad - good) / 2;
    (CheckUntil(middle, 20'000) == Verdict::kViolation ? bad : good) = middle;
  }
  return bad;
}

std::string History::Describe() const {
  const uint64_t first = FirstViolation();
  std::string out = fmt::format("  (until {} there is one)\n", first);
  for (const Op& op : ops_) {
    if (op.invoked > first) continue;
    out += fmt::format("  [{:>5}, {:>5}] {}{}\n", op.invoked,
                       op.returned == UINT64_MAX ? std::string("-") : std::to_string(op.returned),
                       op.what, op.effect == nullptr ? " (does not count)" : "");
  }
  return out;
}

}  // namespace dfs::sim
