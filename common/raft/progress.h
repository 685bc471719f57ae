// Progress: what a leader knows of one member. Plain state; the rules are in leader.cc.
#pragma once

#include <cstdint>
#include <deque>
#include <limits>

#include "common/base/ids.h"

namespace dfs::raft {

/// A stamp or time before any other.
inline constexpr int64_t kNever = std::numeric_limits<int64_t>::min() / 2;

struct Progress {
  enum class State : uint8_t {
    kProbe,      // the follower's log is not known: one append at a time
    kReplicate,  // next runs ahead optimistically, within the window
    kSnapshot,   // the follower needs a snapshot; nothing is appended until it has it
  };
  State state = State::kProbe;
  /// Durable on the follower and equal to ours.
  LogIndex match = 0;
  /// The next entry to send.
  LogIndex next = 1;
  /// Last index of each append under way (kReplicate).
  std::deque<LogIndex> inflight;
  /// kProbe: an append is under way; cleared by a reply or a heartbeat's reply.
  bool probe_sent = false;
  /// The newest stamp it has acknowledged in this term.
  int64_t acked_stamp = kNever;
  /// When anything last arrived, by our clock.
  int64_t heard_ns = 0;
  /// The highest commit index that was sent to it.
  LogIndex commit_sent = 0;

  void BecomeProbe() {
    state = State::kProbe;
    next = match + 1;
    inflight.clear();
    probe_sent = false;
  }
  void BecomeReplicate() {
    state = State::kReplicate;
    next = match + 1;
    inflight.clear();
    probe_sent = false;
  }
  void BecomeSnapshot() {
    state = State::kSnapshot;
    inflight.clear();
    probe_sent = false;
  }
};

}  // namespace dfs::raft
