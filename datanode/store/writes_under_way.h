// WritesUnderWay: which bytes of a replica were overwritten by packets that the members behind have not acknowledged.
// A reader elsewhere must not be shown them: if this member fell away, they could be gone again. Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

namespace dfs::dn {

class WritesUnderWay {
 public:
  /// A stream begins, under a ticket of this epoch; calls for earlier ones have no effect any more. What theirs left
  /// unacknowledged stays so until it is overwritten by an acknowledged packet. tail: nobody is behind, and nothing
  /// is under way.
  void Begin(uint64_t epoch, bool tail);
  /// Before the bytes [begin, end) change.
  void Add(uint64_t epoch, uint64_t seq, uint64_t begin, uint64_t end);
  void Acked(uint64_t epoch, uint64_t seq);
  /// All members are equal.
  void Clear();
  bool Touches(uint64_t begin, uint64_t end) const;

 private:
  struct Range {
    uint64_t seq;  // 0: of an earlier stream
    uint64_t begin;
    uint64_t end;
  };
  static constexpr size_t kMaxLeft = 64;

  mutable std::mutex mutex_;
  uint64_t epoch_ = 0;
  std::vector<Range> ranges_;  // by seq
};

}  // namespace dfs::dn
