#include "namenode/state/buffered_store.h"

#include <array>
#include <utility>

#include "common/base/check.h"
#include "namenode/state/pending.h"

namespace dfs::nn {
namespace {

class CountedIterator final : public StateIterator {
 public:
  CountedIterator(std::unique_ptr<StateIterator> it, int* live) : it_(std::move(it)), live_(live) {
    ++*live_;
  }
  ~CountedIterator() override { --*live_; }
  bool Valid() const override { return it_->Valid(); }
  void Next() override { it_->Next(); }
  std::string_view key() const override { return it_->key(); }
  std::string_view value() const override { return it_->value(); }
  Status status() const override { return it_->status(); }

 private:
  std::unique_ptr<StateIterator> it_;
  int* live_;
};

class BufferedStore final : public StateStore {
 public:
  using StateStore::NewIterator;

  BufferedStore(std::unique_ptr<StateStore> base, const BufferedStoreOptions& options)
      : base_(std::move(base)), options_(options) {}

  ~BufferedStore() override {
    // A closed store flushes what it has, which saves the next start from replaying it. Nothing
    // depends on it.
    if (failed_.ok()) failed_ = HandOver();
    if (options_.worker != nullptr) options_.worker->Wait();
  }

  Result<bool> Get(std::string_view key, std::string* value) override {
    const PendingBatch::Entry* entry = buffer_.Find(key);
    if (entry == nullptr) entry = frozen_.Find(key);
    if (entry == nullptr) return base_->Get(key, value);
    if (entry->state == PendingBatch::State::kDeleted) return false;
    value->assign(entry->value);
    return true;
  }

  std::unique_ptr<StateIterator> NewIterator(std::string_view prefix,
                                             std::string_view start) override {
    auto it = base_->NewIterator(prefix, start);
    if (!frozen_.empty()) it = NewMergedIterator(std::move(it), frozen_.Sorted(prefix, start));
    if (prefix.empty() || has_tag_[static_cast<unsigned char>(prefix[0])])
      it = NewMergedIterator(std::move(it), buffer_.Sorted(prefix, start));
    return std::make_unique<CountedIterator>(std::move(it), &live_iterators_);
  }

  Status Write(const WriteBatch& batch) override {
    DFS_CHECK(live_iterators_ == 0);
    if (!failed_.ok()) return failed_;
    if (!frozen_.empty() && !options_.worker->busy()) DFS_RETURN_IF_ERROR(FinishHandOver());
    for (const WriteBatch::Entry& entry : batch.entries()) {
      buffer_.Overwrite(entry.key, StateAfter(entry), entry.value);
      if (!entry.key.empty()) has_tag_[static_cast<unsigned char>(entry.key[0])] = true;
    }
    if (buffer_.entries().size() - cancelled_ < options_.max_entries &&
        buffer_.bytes() < options_.max_bytes)
      return Status::Ok();
    return StartHandOver();
  }

  Status Flush() override {
    DFS_RETURN_IF_ERROR(HandOver());
    return base_->Flush();
  }
  Status StartFlush() override {
    DFS_RETURN_IF_ERROR(HandOver());
    return base_->StartFlush();
  }
  Result<AppliedMark> FlushedMark() override { return base_->FlushedMark(); }

  Result<CheckpointInfo> CreateCheckpoint(const std::string& directory) override {
    DFS_RETURN_IF_ERROR(HandOver());
    return base_->CreateCheckpoint(directory);
  }
  Status RemoveCheckpoint(const std::string& directory) override {
    return base_->RemoveCheckpoint(directory);
  }
  Status InstallCheckpoint(const std::string& directory) override {
    DFS_CHECK(live_iterators_ == 0);
    // A checkpoint that cannot be used leaves what was there, so that must be whole.
    DFS_RETURN_IF_ERROR(HandOver());
    return base_->InstallCheckpoint(directory);
  }

  Stats GetStats() override {
    Stats stats = base_->GetStats();
    stats.memory_bytes += buffer_.bytes() + frozen_.bytes();
    stats.unflushed_bytes += buffer_.bytes() + frozen_.bytes();
    return stats;
  }

 private:
  PendingBatch::State StateAfter(const WriteBatch::Entry& entry) {
    if (!entry.deleted) return PendingBatch::State::kPut;
    if (options_.never_overwritten == nullptr || !options_.never_overwritten(entry.key))
      return PendingBatch::State::kDeleted;
    const PendingBatch::Entry* here = buffer_.Find(entry.key);
    // Absent when it was put, so absent below, unless what is below was deleted here first.
    if (here == nullptr || here->state != PendingBatch::State::kPut || !here->put_first)
      return PendingBatch::State::kDeleted;
    ++cancelled_;  // too often when it is put once more: then the buffer holds a little more
    return PendingBatch::State::kUnknown;
  }

  /// The worker's part: it has frozen_, out_ and written_ to itself until it is done.
  void WriteFrozen() {
    for (const PendingBatch::Entry* entry : frozen_.Sorted({}, {})) {
      if (entry->state == PendingBatch::State::kPut) out_.Put(entry->key, entry->value);
      if (entry->state == PendingBatch::State::kDeleted) out_.Delete(entry->key);
    }
    written_ = base_->Write(out_);
    out_.Clear();
  }

  /// What was collected goes below. Waits only for the one before, when that is still under way.
  Status StartHandOver() {
    DFS_RETURN_IF_ERROR(FinishHandOver());
    if (buffer_.empty()) return Status::Ok();
    std::swap(buffer_, frozen_);
    cancelled_ = 0;
    has_tag_.fill(false);
    if (options_.worker != nullptr) {
      options_.worker->Start([this] { WriteFrozen(); });
      return Status::Ok();
    }
    WriteFrozen();
    return FinishHandOver();
  }
  Status FinishHandOver() {
    DFS_CHECK(live_iterators_ == 0);
    if (!failed_.ok()) return failed_;
    if (frozen_.empty()) return Status::Ok();
    if (options_.worker != nullptr) options_.worker->Wait();
    failed_ = written_;
    frozen_.Clear();
    return failed_;
  }
  Status HandOver() {
    DFS_RETURN_IF_ERROR(StartHandOver());
    return FinishHandOver();
  }

  std::unique_ptr<StateStore> base_;
  const BufferedStoreOptions options_;
  PendingBatch buffer_;
  PendingBatch frozen_;              // being given to base_, not changed until that is over
  WriteBatch out_;                   // of what is frozen
  Status written_;                   // how that went
  size_t cancelled_ = 0;             // entries that are neither put nor deleted any more
  std::array<bool, 256> has_tag_{};  // first bytes of the keys in buffer_
  int live_iterators_ = 0;
  Status failed_;
};

}  // namespace

std::unique_ptr<StateStore> NewBufferedStore(std::unique_ptr<StateStore> base,
                                             const BufferedStoreOptions& options) {
  return std::make_unique<BufferedStore>(std::move(base), options);
}

}  // namespace dfs::nn
