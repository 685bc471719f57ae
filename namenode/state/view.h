// StateView: typed reading of the state. Two of them: what is committed (for the service), and what
// is committed overlaid by what is pending (for Apply). Errors of the store and records that cannot
// be decoded are latched in fatal(): they must stop the member and never become a reply.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "namenode/state/keys.h"
#include "namenode/state/kv_cache.h"
#include "namenode/state/records.h"
#include "namenode/state/store.h"

namespace dfs::nn {

class StateView {
 public:
  virtual ~StateView() = default;

  /// False when absent.
  Result<bool> Get(std::string_view key, std::string* value) {
    auto found = GetRaw(key, value);
    if (!found) Note(found.error());
    return found;
  }
  virtual std::unique_ptr<StateIterator> Scan(std::string_view prefix, std::string_view start) = 0;
  std::unique_ptr<StateIterator> Scan(std::string_view prefix) { return Scan(prefix, {}); }
  virtual const Counters& counters() const = 0;

  // Absent is nullopt, or the code that is named; anything else is fatal.
  Result<std::optional<Inode>> FindInode(InodeId inode);
  Result<Inode> GetInode(InodeId inode);  // kStaleHandle
  /// For inodes that a record refers to: their absence is fatal.
  Result<Inode> MustGetInode(InodeId inode);
  Result<InodeHead> MustGetHead(InodeId inode);
  Result<std::optional<Dentry>> FindDentry(InodeId directory, std::string_view name);
  Result<Dentry> GetDentry(InodeId directory, std::string_view name);  // kNotFound
  Result<Usage> GetUsage(InodeId directory);                           // zeros when absent
  Result<std::optional<SlotRecord>> FindSlot(InodeId inode, uint64_t slot);
  Result<std::optional<BlockRecord>> FindBlock(BlockId block);
  Result<BlockRecord> MustGetBlock(BlockId block);
  Result<std::optional<Session>> FindSession(SessionId session);
  Result<bool> Has(std::string_view key);

  const Status& fatal() const { return fatal_; }
  void ClearFatal() { fatal_ = Status(); }
  /// Keeps the first; returns it for `return Latch(...)`.
  Status Latch(Status status) {
    Note(status);
    return status;
  }
  void Note(const Status& status) {
    if (fatal_.ok()) fatal_ = status;
  }

 protected:
  virtual Result<bool> GetRaw(std::string_view key, std::string* value) = 0;

 private:
  template <class T>
  Result<T> Latched(Result<T> result) {
    if (!result) Note(result.error());
    return result;
  }

  Status fatal_;
  std::string scratch_;
};

/// Cache, then store.
class CommittedView final : public StateView {
 public:
  using StateView::Scan;

  CommittedView(StateStore* store, uint64_t cache_bytes) : store_(store), cache_(cache_bytes) {}

  std::unique_ptr<StateIterator> Scan(std::string_view prefix, std::string_view start) override {
    return store_->NewIterator(prefix, start);
  }
  const Counters& counters() const override { return counters_; }
  void set_counters(const Counters& counters) { counters_ = counters; }
  void set_applied(const AppliedMark& mark) { applied_ = mark; }
  const AppliedMark& applied() const { return applied_; }
  KvCache& cache() { return cache_; }
  /// keep_absent: remember a name that is not there. Whoever creates one asks twice, when the path is resolved
  /// and when the command is applied.
  Result<bool> Lookup(std::string_view key, std::string* value, bool keep_absent);

 protected:
  Result<bool> GetRaw(std::string_view key, std::string* value) override;

 private:
  StateStore* store_;
  KvCache cache_;
  Counters counters_;
  AppliedMark applied_;
};

}  // namespace dfs::nn
