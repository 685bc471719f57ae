#include "tests/sim/raft_invariants.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace dfs::sim {

void RaftInvariants::Fail(std::string what) {
  if (violation_.empty()) violation_ = std::move(what);
}

void RaftInvariants::Crashed(size_t member) {
  views_[member] = {};
  commit_seen_[member] = 0;
}

void RaftInvariants::Step(size_t member, const View& view) {
  views_[member] = view;
  if (view.core == nullptr) return;
  CheckCommit(member);
  if (view.core->is_leader()) CheckLeader(member);
  if (view.applied > 0 && view.state_hash != 0) {
    auto [it, fresh] = hashes_.emplace(view.applied, view.state_hash);
    if (!fresh && it->second != view.state_hash) {
      Fail(fmt::format("state machine safety: member {} has another state at index {}", member + 1,
                       view.applied));
    }
  }
  if (++steps_ % 64 == 0) CheckLogs();
}

void RaftInvariants::CheckCommit(size_t member) {
  const raft::Raft& core = *views_[member].core;
  const LogIndex commit = core.commit_index();
  LogIndex& seen = commit_seen_[member];
  if (commit < seen) {
    Fail(fmt::format("member {}: commit index went from {} to {}", member + 1, seen, commit));
    return;
  }
  if (commit > core.log().last_index()) {
    Fail(fmt::format("member {}: commit index {} is behind its log's end {}", member + 1, commit,
                     core.log().last_index()));
    return;
  }
  for (LogIndex i = std::max(seen + 1, core.log().first_index()); i <= commit; ++i) {
    const Term term = core.log().TermAt(i);
    auto [it, fresh] = committed_.emplace(i, Committed{term, core.term()});
    if (!fresh && it->second.term != term) {
      Fail(fmt::format(
          "state machine safety: member {} committed index {} of term {}, another has term {}",
          member + 1, i, term, it->second.term));
      return;
    }
  }
  seen = commit;
}

void RaftInvariants::CheckLeader(size_t member) {
  const raft::Raft& core = *views_[member].core;
  auto [it, fresh] = leaders_.emplace(core.term(), core.id());
  if (!fresh) {
    if (it->second != core.id()) {
      Fail(fmt::format("election safety: term {} has leaders {} and {}", core.term(),
                       it->second.value, core.id().value));
    }
    return;
  }
  for (const auto& [index, committed] : committed_) {
    if (committed.seen_term >= core.term() || index <= core.log().prev_index()) continue;
    if (index > core.log().last_index() || core.log().TermAt(index) != committed.term) {
      Fail(fmt::format("leader completeness: leader {} of term {} lacks index {} (term {})",
                       core.id().value, core.term(), index, committed.term));
      return;
    }
  }
}

void RaftInvariants::CheckLogs() {
  for (size_t a = 0; a < views_.size(); ++a) {
    for (size_t b = a + 1; b < views_.size(); ++b) CheckPair(a, b);
  }
}

void RaftInvariants::CheckPair(size_t a, size_t b) {
  if (views_[a].core == nullptr || views_[b].core == nullptr) return;
  const raft::RaftLog& x = views_[a].core->log();
  const raft::RaftLog& y = views_[b].core->log();
  const LogIndex first = std::max(x.first_index(), y.first_index());
  bool same = false;
  for (LogIndex i = std::min(x.last_index(), y.last_index()); i >= first && i > 0; --i) {
    const bool equal = x.TermAt(i) == y.TermAt(i);
    if (same && !equal) {
      Fail(fmt::format("log matching: members {} and {} differ at index {} below an equal entry",
                       a + 1, b + 1, i));
      return;
    }
    same = same || equal;
  }
}

}  // namespace dfs::sim
