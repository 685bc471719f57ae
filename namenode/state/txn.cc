#include "namenode/state/txn.h"

#include "common/base/codec.h"

namespace dfs::nn {
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
  reclaim_hint_ = {};
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
  return NewMergedIterator(committed_->Scan(prefix, start), pending_.Sorted(prefix, start));
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
  auto found = committed_->Lookup(key, value, false);
  if (!found) Note(found.error());
  return found;
}

}  // namespace dfs::nn
