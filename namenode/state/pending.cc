#include "namenode/state/pending.h"

#include <algorithm>
#include <cstring>

#include "common/base/checksum.h"

namespace dfs::nn {
namespace {

/// The store's keys and the pending ones as one sequence; a pending entry hides the store's.
class MergedIterator final : public StateIterator {
 public:
  MergedIterator(std::unique_ptr<StateIterator> base,
                 std::vector<const PendingBatch::Entry*> pending)
      : base_(std::move(base)), pending_(std::move(pending)) {
    Settle();
  }
  bool Valid() const override { return on_pending_ ? at_ < pending_.size() : base_->Valid(); }
  void Next() override {
    if (on_pending_) {
      ++at_;
    } else {
      base_->Next();
    }
    Settle();
  }
  std::string_view key() const override { return on_pending_ ? pending_[at_]->key : base_->key(); }
  std::string_view value() const override {
    return on_pending_ ? pending_[at_]->value : base_->value();
  }
  Status status() const override { return base_->status(); }

 private:
  void Settle() {
    for (;; ++at_) {
      on_pending_ =
          at_ < pending_.size() && (!base_->Valid() || pending_[at_]->key <= base_->key());
      if (!on_pending_) return;
      if (base_->Valid() && base_->key() == pending_[at_]->key) base_->Next();
      if (pending_[at_]->state == PendingBatch::State::kPut) return;
    }
  }

  std::unique_ptr<StateIterator> base_;
  std::vector<const PendingBatch::Entry*> pending_;
  size_t at_ = 0;
  bool on_pending_ = false;
};

}  // namespace

std::unique_ptr<StateIterator> NewMergedIterator(std::unique_ptr<StateIterator> base,
                                                 std::vector<const PendingBatch::Entry*> pending) {
  return std::make_unique<MergedIterator>(std::move(base), std::move(pending));
}

PendingBatch::PendingBatch() : table_(1024) {}

size_t PendingBatch::Probe(std::string_view key, uint64_t hash) const {
  size_t mask = table_.size() - 1;
  for (size_t i = hash & mask;; i = (i + 1) & mask) {
    if (table_[i] == 0) return i;
    const Entry& entry = entries_[table_[i] - 1];
    if (entry.hash == hash && entry.key == key) return i;
  }
}

const PendingBatch::Entry* PendingBatch::Find(std::string_view key) const {
  if (entries_.empty()) return nullptr;
  uint32_t at = table_[Probe(key, Hash64(key))];
  if (at == 0 || entries_[at - 1].state == State::kUnknown) return nullptr;
  return &entries_[at - 1];
}

void PendingBatch::Put(std::string_view key, std::string_view value) {
  Set(key, State::kPut, Store(value));
}

void PendingBatch::Delete(std::string_view key) {
  Set(key, State::kDeleted, {});
}

void PendingBatch::Set(std::string_view key, State state, std::string_view value) {
  uint64_t hash = Hash64(key);
  size_t slot = Probe(key, hash);
  if (table_[slot] == 0) {
    entries_.push_back({Store(key), value, hash, state, false});
    table_[slot] = static_cast<uint32_t>(entries_.size());
    undo_.push_back({table_[slot] - 1, State::kUnknown, {}});
    if (entries_.size() * 2 > table_.size()) Grow();
    return;
  }
  Entry& entry = entries_[table_[slot] - 1];
  undo_.push_back({table_[slot] - 1, entry.state, entry.value});
  entry.state = state;
  entry.value = value;
}

void PendingBatch::Overwrite(std::string_view key, State state, std::string_view value) {
  uint64_t hash = Hash64(key);
  size_t slot = Probe(key, hash);
  if (table_[slot] == 0) {
    entries_.push_back({Store(key), Store(value), hash, state, state == State::kPut});
    table_[slot] = static_cast<uint32_t>(entries_.size());
    if (entries_.size() * 2 > table_.size()) Grow();
    return;
  }
  Entry& entry = entries_[table_[slot] - 1];
  entry.state = state;
  if (state != State::kPut) return;  // its bytes stay for the next value
  if (entry.value.size() == value.size() && !value.empty()) {
    if (!value.empty()) {
      std::memcpy(const_cast<char*>(entry.value.data()), value.data(), value.size());
    }
  } else {
    entry.value = Store(value);
  }
}

void PendingBatch::Rollback() {
  for (auto it = undo_.rbegin(); it != undo_.rend(); ++it) {
    entries_[it->entry].state = it->state;
    entries_[it->entry].value = it->value;
  }
  undo_.clear();
}

std::vector<const PendingBatch::Entry*> PendingBatch::Sorted(std::string_view prefix,
                                                             std::string_view start) const {
  std::vector<const Entry*> found;
  for (const Entry& entry : entries_) {
    if (entry.state != State::kUnknown && entry.key.starts_with(prefix) && entry.key >= start)
      found.push_back(&entry);
  }
  std::sort(found.begin(), found.end(),
            [](const Entry* a, const Entry* b) { return a->key < b->key; });
  return found;
}

std::string_view PendingBatch::Store(std::string_view bytes) {
  if (bytes.empty()) return {};
  if (bytes.size() > free_bytes_) {
    size_t size = std::max(kChunkBytes, bytes.size());
    chunks_.push_back(std::make_unique_for_overwrite<char[]>(size));
    free_ = chunks_.back().get();
    free_bytes_ = size;
  }
  char* at = free_;
  if (!bytes.empty()) std::memcpy(at, bytes.data(), bytes.size());
  free_ += bytes.size();
  free_bytes_ -= bytes.size();
  bytes_ += bytes.size();
  return {at, bytes.size()};
}

void PendingBatch::Grow() {
  std::vector<uint32_t> bigger(table_.size() * 2);
  size_t mask = bigger.size() - 1;
  for (uint32_t i = 0; i < entries_.size(); ++i) {
    size_t at = entries_[i].hash & mask;
    while (bigger[at] != 0) at = (at + 1) & mask;
    bigger[at] = i + 1;
  }
  table_ = std::move(bigger);
}

void PendingBatch::Clear() {
  size_t wanted = 1024;
  if (table_.size() > wanted * 64) table_.resize(wanted);
  std::fill(table_.begin(), table_.end(), 0);
  entries_.clear();
  undo_.clear();
  if (chunks_.size() > 1) chunks_.resize(1);
  if (!chunks_.empty()) {
    // The first chunk may be larger than usual; what counts is that it is at least kChunkBytes.
    free_ = chunks_[0].get();
    free_bytes_ = kChunkBytes;
  }
  bytes_ = 0;
}

}  // namespace dfs::nn
