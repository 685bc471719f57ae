#include "namenode/state/buffered_store.h"

#include <array>

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
  }

  Result<bool> Get(std::string_view key, std::string* value) override {
    if (const PendingBatch::Entry* entry = buffer_.Find(key)) {
      if (entry->state == PendingBatch::State::kDeleted) return false;
      value->assign(entry->value);
      return true;
    }
    return base_->Get(key, value);
  }

  std::unique_ptr<StateIterator> NewIterator(std::string_view prefix,
                                             std::string_view start) override {
    auto it = base_->NewIterator(prefix, start);
    if (prefix.empty() || has_tag_[static_cast<unsigned char>(prefix[0])])
      it = NewMergedIterator(std::move(it), buffer_.Sorted(prefix, start));
    return std::make_unique<CountedIterator>(std::move(it), &live_iterators_);
  }

  Status Write(const WriteBatch& batch) override {
    DFS_CHECK(live_iterators_ == 0);
    if (!failed_.ok()) return failed_;
    for (const WriteBatch::Entry& entry : batch.entries()) {
      buffer_.Overwrite(entry.key, StateAfter(entry), entry.value);
      if (!entry.key.empty()) has_tag_[static_cast<unsigned char>(entry.key[0])] = true;
    }
    if (buffer_.entries().size() - cancelled_ < options_.max_entries &&
        buffer_.bytes() < options_.max_bytes)
      return Status::Ok();
    return HandOver();
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
    stats.memory_bytes += buffer_.bytes();
    stats.unflushed_bytes += buffer_.bytes();
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

  Status HandOver() {
    DFS_CHECK(live_iterators_ == 0);
    if (!failed_.ok()) return failed_;
    if (buffer_.empty()) return Status::Ok();
    batch_.Clear();
    for (const PendingBatch::Entry* entry : buffer_.Sorted({}, {})) {
      if (entry->state == PendingBatch::State::kPut) batch_.Put(entry->key, entry->value);
      if (entry->state == PendingBatch::State::kDeleted) batch_.Delete(entry->key);
    }
    failed_ = base_->Write(batch_);
    batch_.Clear();
    buffer_.Clear();
    cancelled_ = 0;
    has_tag_.fill(false);
    return failed_;
  }

  std::unique_ptr<StateStore> base_;
  const BufferedStoreOptions options_;
  PendingBatch buffer_;
  size_t cancelled_ = 0;             // entries that are neither put nor deleted any more
  std::array<bool, 256> has_tag_{};  // first bytes of the keys in buffer_
  WriteBatch batch_;
  int live_iterators_ = 0;
  Status failed_;
};

}  // namespace

std::unique_ptr<StateStore> NewBufferedStore(std::unique_ptr<StateStore> base,
                                             const BufferedStoreOptions& options) {
  return std::make_unique<BufferedStore>(std::move(base), options);
}

}  // namespace dfs::nn
