#include "common/raft/log.h"

#include <limits>

#include "common/base/check.h"

namespace dfs::raft {

RaftLog::RaftLog(LogIndex prev_index, Term prev_term, LogIndex last_index,
                 std::vector<TermRun> runs, LogIndex applied, size_t cache_bytes, LogReader* reader)
    : prev_index_(prev_index),
      prev_term_(prev_term),
      last_index_(last_index),
      runs_(runs.begin(), runs.end()),
      cache_limit_(cache_bytes),
      reader_(reader),
      emitted_(last_index),
      durable_(last_index),
      commit_(applied),
      handed_out_(applied) {
  DFS_CHECK(prev_index <= applied && applied <= last_index, "prev {} applied {} last {}",
            prev_index, applied, last_index);
  DFS_CHECK((last_index == prev_index) == runs_.empty());
  if (!runs_.empty()) DFS_CHECK(runs_.front().start == prev_index + 1);
}

Term RaftLog::TermAt(LogIndex index) const {
  if (index == prev_index_) return prev_term_;
  if (index < prev_index_ || index > last_index_) return 0;
  // The newest run is nearly always the one.
  if (runs_.back().start <= index) return runs_.back().term;
  auto after = std::upper_bound(runs_.begin(), runs_.end(), index,
                                [](LogIndex i, const TermRun& run) { return i < run.start; });
  return std::prev(after)->term;
}

LogIndex RaftLog::LastIndexWithTermAtMost(LogIndex limit, Term term) const {
  if (limit <= prev_index_) return limit;
  LogIndex index = std::min(limit, last_index_);
  for (auto run = runs_.rbegin(); run != runs_.rend() && index > prev_index_; ++run) {
    if (run->start > index) continue;
    if (run->term <= term) return index;
    index = run->start - 1;
  }
  return index;
}

void RaftLog::AddRun(LogIndex index, Term term) {
  if (runs_.empty() || runs_.back().term != term) runs_.push_back({index, term});
}

void RaftLog::Append(Entry entry) {
  DFS_CHECK(entry.index == last_index_ + 1 && entry.term >= last_term(), "append {}:{} after {}:{}",
            entry.index, entry.term, last_index_, last_term());
  AddRun(entry.index, entry.term);
  ++last_index_;
  sums_.push_back((sums_.empty() ? dropped_sum_ : sums_.back()) + entry.bytes());
  cache_.push_back(std::move(entry));
}

void RaftLog::TruncateFrom(LogIndex index) {
  DFS_CHECK(index > commit_ && index <= last_index_, "truncate from {}, commit {}, last {}", index,
            commit_, last_index_);
  while (!cache_.empty() && cache_.back().index >= index) {
    cache_.pop_back();
    sums_.pop_back();
  }
  while (!runs_.empty() && runs_.back().start >= index) runs_.pop_back();
  last_index_ = index - 1;
  if (emitted_ >= index) {
    emitted_ = index - 1;
    truncated_from_ = truncated_from_ == 0 ? index : std::min(truncated_from_, index);
  }
  durable_ = std::min(durable_, index - 1);
  for (PendingBatch& batch : pending_) batch.last = std::min(batch.last, index - 1);
}

void RaftLog::ResetTo(LogIndex index, Term term) {
  DFS_CHECK(index > commit_, "reset to {} at commit {}", index, commit_);
  cache_.clear();
  sums_.clear();
  dropped_sum_ = 0;
  runs_.clear();
  prev_index_ = last_index_ = emitted_ = durable_ = commit_ = handed_out_ = index;
  prev_term_ = term;
  truncated_from_ = 0;
  for (PendingBatch& batch : pending_) batch.last = 0;
}

void RaftLog::ResetKeepingTail(LogIndex index, Term term) {
  if (last_index_ <= index) return ResetTo(index, term);
  while (!cache_.empty() && cache_.front().index <= index) PopFront();
  while (runs_.size() > 1 && runs_[1].start <= index + 1) runs_.pop_front();
  runs_.front().start = index + 1;
  prev_index_ = commit_ = handed_out_ = index;
  prev_term_ = term;
  emitted_ = std::max(emitted_, index);
  durable_ = std::max(durable_, index);
  truncated_from_ = 0;
}

void RaftLog::CompactTo(LogIndex index) {
  if (index <= prev_index_) return;
  DFS_CHECK(index <= handed_out_ && index <= durable_, "compact to {}, handed out {}, durable {}",
            index, handed_out_, durable_);
  prev_term_ = TermAt(index);
  prev_index_ = index;
  while (!cache_.empty() && cache_.front().index <= index) PopFront();
  while (runs_.size() > 1 && runs_[1].start <= index + 1) runs_.pop_front();
  if (last_index_ == index) {
    runs_.clear();
  } else {
    runs_.front().start = std::max(runs_.front().start, index + 1);
  }
}

void RaftLog::PopFront() {
  dropped_sum_ = sums_.front();
  sums_.pop_front();
  cache_.pop_front();
}

void RaftLog::Evict() {
  LogIndex limit = std::min(durable_, commit_);
  while (!cache_.empty() && cached_bytes() > cache_limit_ && cache_.front().index <= limit) {
    PopFront();
  }
}

Status RaftLog::Entries(LogIndex from, LogIndex limit, size_t max_bytes,
                        std::vector<Entry>* out) const {
  DFS_CHECK(from > prev_index_ && from <= limit && limit <= last_index_,
            "entries {}..{} of ({}, {}]", from, limit, prev_index_, last_index_);
  LogIndex first = cache_first();
  if (from < first) {
    // The rest follows with the next message: what comes from the disk need not be contiguous with
    // it.
    return reader_->Read(from, std::min(limit, first - 1), max_bytes, out);
  }
  size_t bytes = 0;
  for (LogIndex i = from; i <= limit; ++i) {
    const Entry& entry = cache_[i - first];
    if (bytes > 0 && bytes + entry.bytes() > max_bytes) break;
    bytes += entry.bytes();
    out->push_back(entry);
  }
  return Status();
}

void RaftLog::Emit(uint64_t sequence, LogIndex* truncate_from, std::vector<Entry>* entries) {
  *truncate_from = truncated_from_;
  truncated_from_ = 0;
  LogIndex first = cache_first();
  DFS_CHECK(emitted_ + 1 >= first, "emitted {} but cached from {}", emitted_, first);
  entries->assign(cache_.begin() + static_cast<long>(emitted_ + 1 - first), cache_.end());
  emitted_ = last_index_;
  pending_.push_back({sequence, last_index_});
}

void RaftLog::OnPersisted(uint64_t sequence) {
  while (!pending_.empty() && pending_.front().sequence <= sequence) {
    durable_ = std::max(durable_, pending_.front().last);
    pending_.pop_front();
  }
  Evict();
}

void RaftLog::CommitTo(LogIndex index) {
  if (index <= commit_) return;
  DFS_CHECK(index <= last_index_, "commit {} of {}", index, last_index_);
  commit_ = index;
  Evict();
}

Status RaftLog::TakeCommitted(size_t max_entries, size_t max_bytes, std::vector<Entry>* out) {
  if (!HasUnapplied() || max_entries == 0) return Status();
  LogIndex limit = std::min(commit_, handed_out_ + max_entries);
  size_t before = out->size();
  DFS_RETURN_IF_ERROR(Entries(handed_out_ + 1, limit, max_bytes, out));
  handed_out_ += out->size() - before;
  Evict();
  return Status();
}

size_t RaftLog::BytesAfter(LogIndex index) const {
  if (index >= last_index_) return 0;
  LogIndex first = cache_first();
  if (index + 1 < first) return std::numeric_limits<size_t>::max();
  uint64_t before = index + 1 == first ? dropped_sum_ : sums_[index - first];
  return sums_.back() - before;
}

}  // namespace dfs::raft
