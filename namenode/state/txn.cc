#include "namenode/state/txn.h"

#include "common/base/codec.h"

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

void Txn::SetSavepoint() {
  pending_.SetSavepoint();
  saved_effects_ = effects_.size();
  saved_events_ = events_.size();
  saved_counters_ = counters_;
}

void Txn::Rollback() {
  pending_.Rollback();
  effects_.resize(saved_effects_);
  events_.resize(saved_events_, StateEvent(BlockRemoved{}));
  counters_ = saved_counters_;
}

void Txn::Put(std::string_view key, std::string_view value) {
  Encoder e(&effects_);
  e.U8(1);
  e.Bytes(key);
  e.Bytes(value);
  pending_.Put(key, value);
}

void Txn::Delete(std::string_view key) {
  Encoder e(&effects_);
  e.U8(2);
  e.Bytes(key);
  pending_.Delete(key);
}

void Txn::PutBlock(BlockId id, const BlockRecord& block) {
  Put(BlockKey(id), EncodeBlock(block));
  AddEvent(BlockChanged{id, block});
}

std::unique_ptr<StateIterator> Txn::Scan(std::string_view prefix, std::string_view start) {
  return std::make_unique<MergedIterator>(committed_->Scan(prefix, start),
                                          pending_.Sorted(prefix, start));
}

Result<std::vector<std::pair<std::string, std::string>>> Txn::Collect(std::string_view prefix,
                                                                      std::string_view start,
                                                                      size_t max) {
  std::vector<std::pair<std::string, std::string>> found;
  auto it = Scan(prefix, start);
  for (; found.size() < max && it->Valid(); it->Next()) found.emplace_back(it->key(), it->value());
  if (Status s = it->status(); !s.ok()) return Latch(s);
  return found;
}

Result<bool> Txn::GetRaw(std::string_view key, std::string* value) {
  if (const PendingBatch::Entry* entry = pending_.Find(key)) {
    if (entry->state == PendingBatch::State::kDeleted) return false;
    value->assign(entry->value);
    return true;
  }
  auto found = committed_->Get(key, value);
  if (!found) Note(found.error());
  return found;
}

}  // namespace dfs::nn
