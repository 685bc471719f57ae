// RaftLog: what a member knows of its log - the terms of all entries (as runs, so a few words
// however long the log is), the newest entries themselves, and how far it is durable, committed and
// handed out. Not thread-safe.
#pragma once

#include <deque>
#include <vector>

#include "common/base/status.h"
#include "common/raft/types.h"

namespace dfs::raft {

/// Reads entries that are durable and no longer cached. Called from the core, on its thread.
class LogReader {
 public:
  virtual ~LogReader() = default;
  /// Appends entries from..to (inclusive, all in the log) to out, at least one, stopping after
  /// max_bytes.
  virtual Status Read(LogIndex from, LogIndex to, size_t max_bytes, std::vector<Entry>* out) = 0;
};

class RaftLog {
 public:
  RaftLog(LogIndex prev_index, Term prev_term, LogIndex last_index, std::vector<TermRun> runs,
          LogIndex applied, size_t cache_bytes, LogReader* reader);

  /// The entry before the first: the point of the last compaction or snapshot.
  LogIndex prev_index() const { return prev_index_; }
  LogIndex first_index() const { return prev_index_ + 1; }
  LogIndex last_index() const { return last_index_; }
  Term last_term() const { return TermAt(last_index_); }
  /// Of an entry in [prev_index, last_index]; 0 outside.
  Term TermAt(LogIndex index) const;
  bool Matches(LogIndex index, Term term) const {
    return index >= prev_index_ && index <= last_index_ && TermAt(index) == term;
  }
  /// Whether a log ending in (index, term) is at least as new as this one.
  bool IsUpToDate(LogIndex index, Term term) const {
    return term > last_term() || (term == last_term() && index >= last_index_);
  }
  /// The largest index <= limit whose term is <= term (prev_index when there is none).
  LogIndex LastIndexWithTermAtMost(LogIndex limit, Term term) const;

  /// entry.index is last_index() + 1, entry.term at least last_term().
  void Append(Entry entry);
  /// Drops index and everything after it; never committed entries.
  void TruncateFrom(LogIndex index);
  /// The log becomes empty after the snapshot (index, term), committed and handed out up to it.
  void ResetTo(LogIndex index, Term term);
  /// Defect kSnapshotKeepsOldLog: as ResetTo, but what lies behind the snapshot stays.
  void ResetKeepingTail(LogIndex index, Term term);
  void CompactTo(LogIndex index);

  /// Entries from..limit (inclusive), at least one, stopping after max_bytes.
  Status Entries(LogIndex from, LogIndex limit, size_t max_bytes, std::vector<Entry>* out) const;

  // What is to be written: entries after emitted() were not yet given to the driver.
  LogIndex durable() const { return durable_; }
  bool HasUnemitted() const { return emitted_ < last_index_ || truncated_from_ != 0; }
  /// Moves what is to be written into the arguments, as batch `sequence`.
  void Emit(uint64_t sequence, LogIndex* truncate_from, std::vector<Entry>* entries);
  /// Batches up to sequence are durable. What was truncated since is not counted: a completion for
  /// an entry that was dropped never covers the entry that took its place.
  void OnPersisted(uint64_t sequence);

  LogIndex commit() const { return commit_; }
  void CommitTo(LogIndex index);
  /// Committed entries that were not yet handed out; bounded.
  bool HasUnapplied() const { return handed_out_ < commit_; }
  Status TakeCommitted(size_t max_entries, size_t max_bytes, std::vector<Entry>* out);
  LogIndex handed_out() const { return handed_out_; }

  /// Sum of bytes() of the entries after index; huge when they are not all cached.
  size_t BytesAfter(LogIndex index) const;
  size_t cached_bytes() const { return sums_.empty() ? 0 : sums_.back() - dropped_sum_; }
  LogIndex cache_first() const { return last_index_ + 1 - cache_.size(); }

 private:
  struct PendingBatch {
    uint64_t sequence;
    LogIndex last;
  };
  void AddRun(LogIndex index, Term term);
  void Evict();
  void PopFront();

  LogIndex prev_index_;
  Term prev_term_;
  LogIndex last_index_;
  std::deque<TermRun> runs_;  // covers (prev_index_, last_index_]
  std::deque<Entry> cache_;   // the newest entries, ending at last_index_
  std::deque<uint64_t>
      sums_;  // of bytes() up to and with each cached entry, from an arbitrary origin
  uint64_t dropped_sum_ = 0;  // the sum just before the first cached entry
  const size_t cache_limit_;
  LogReader* const reader_;

  LogIndex emitted_;
  LogIndex truncated_from_ = 0;  // to be told with the next Emit; 0: nothing
  LogIndex durable_;
  std::deque<PendingBatch> pending_;
  LogIndex commit_;
  LogIndex handed_out_;
};

}  // namespace dfs::raft
