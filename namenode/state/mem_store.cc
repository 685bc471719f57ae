#include "namenode/state/mem_store.h"

#include <map>

#include "common/base/check.h"
#include "common/base/checksum.h"
#include "common/base/codec.h"
#include "namenode/state/keys.h"
#include "namenode/state/records.h"

namespace dfs::nn {
namespace {

constexpr uint32_t kMagic = 0x314d5344;  // "DSM1"
constexpr uint64_t kMaxFileSize = uint64_t{4} << 30;
constexpr const char* kFlushedName = "/flushed";
constexpr const char* kCheckpointName = "state";

using Content = std::map<std::string, std::string, std::less<>>;

std::string EncodeContent(const Content& content) {
  std::string out;
  Encoder e(&out);
  e.U32(kMagic);
  e.Varint(content.size());
  for (const auto& [key, value] : content) {
    e.Bytes(key);
    e.Bytes(value);
  }
  e.U64(Hash64(out));
  return out;
}

Result<Content> DecodeContent(std::string_view bytes) {
  Status damaged(Code::kCorrupt, "the flushed state is damaged");
  if (bytes.size() < 12) return damaged;
  std::string_view body = bytes.substr(0, bytes.size() - 8);
  if (Decoder(bytes.substr(body.size())).U64() != Hash64(body)) return damaged;
  Decoder in(body);
  if (in.U32() != kMagic) return damaged;
  size_t count = in.Count(2);
  Content content;
  for (size_t i = 0; i < count && in.ok(); ++i) {
    std::string key(in.Bytes());
    content.emplace_hint(content.end(), std::move(key), std::string(in.Bytes()));
  }
  if (!in.done()) return damaged;
  return content;
}

std::string ParentOf(const std::string& path) {
  size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<AppliedMark> MarkOf(const Content& content) {
  auto it = content.find(AppliedKey());
  if (it == content.end()) return AppliedMark();
  return DecodeApplied(it->second);
}

class MemStore final : public StateStore {
 public:
  using StateStore::NewIterator;

  MemStore(Env* env, std::string directory) : env_(env), directory_(std::move(directory)) {}
  ~MemStore() override { DFS_CHECK(live_iterators_ == 0); }

  Status Load() {
    DFS_RETURN_IF_ERROR(env_->CreateDirs(directory_));
    DFS_RETURN_IF_ERROR(env_->SyncDir(ParentOf(directory_)));
    if (!env_->Exists(directory_ + kFlushedName)) return Status::Ok();
    DFS_ASSIGN_OR_RETURN(std::string bytes,
                         env_->ReadFile(directory_ + kFlushedName, kMaxFileSize));
    DFS_ASSIGN_OR_RETURN(content_, DecodeContent(bytes));
    DFS_ASSIGN_OR_RETURN(flushed_, MarkOf(content_));
    return Status::Ok();
  }

  Result<bool> Get(std::string_view key, std::string* value) override {
    auto it = content_.find(key);
    if (it == content_.end()) return false;
    *value = it->second;
    return true;
  }

  std::unique_ptr<StateIterator> NewIterator(std::string_view prefix,
                                             std::string_view start) override {
    return std::make_unique<Iterator>(this, prefix, start);
  }

  Status Write(const WriteBatch& batch) override {
    DFS_CHECK(live_iterators_ == 0);
    for (const WriteBatch::Entry& entry : batch.entries()) {
      unflushed_bytes_ += entry.key.size() + entry.value.size();
      if (!entry.deleted) {
        content_.insert_or_assign(std::string(entry.key), std::string(entry.value));
      } else if (auto it = content_.find(entry.key); it != content_.end()) {
        content_.erase(it);
      }
    }
    return Status::Ok();
  }

  Status Flush() override {
    DFS_RETURN_IF_ERROR(
        env_->WriteFileAtomically(directory_ + kFlushedName, EncodeContent(content_)));
    unflushed_bytes_ = 0;
    DFS_ASSIGN_OR_RETURN(flushed_, MarkOf(content_));
    return Status::Ok();
  }
  Status StartFlush() override { return Flush(); }
  Result<AppliedMark> FlushedMark() override { return flushed_; }

  Result<CheckpointInfo> CreateCheckpoint(const std::string& directory) override {
    if (env_->Exists(directory)) return Status(Code::kAlreadyExists, directory + " exists");
    DFS_RETURN_IF_ERROR(Flush());
    DFS_RETURN_IF_ERROR(env_->CreateDir(directory));
    std::string bytes = EncodeContent(content_);
    DFS_RETURN_IF_ERROR(env_->WriteFileAtomically(directory + "/" + kCheckpointName, bytes));
    DFS_RETURN_IF_ERROR(env_->SyncDir(ParentOf(directory)));
    CheckpointInfo info;
    DFS_ASSIGN_OR_RETURN(info.applied, MarkOf(content_));
    info.files.push_back({kCheckpointName, bytes.size()});
    return info;
  }

  Status RemoveCheckpoint(const std::string& directory) override {
    return env_->Exists(directory) ? env_->RemoveTree(directory) : Status::Ok();
  }

  Status InstallCheckpoint(const std::string& directory) override {
    DFS_CHECK(live_iterators_ == 0);
    DFS_ASSIGN_OR_RETURN(std::string bytes,
                         env_->ReadFile(directory + "/" + kCheckpointName, kMaxFileSize));
    DFS_ASSIGN_OR_RETURN(Content content, DecodeContent(bytes));
    DFS_ASSIGN_OR_RETURN(AppliedMark mark, MarkOf(content));
    DFS_RETURN_IF_ERROR(env_->WriteFileAtomically(directory_ + kFlushedName, bytes));
    content_ = std::move(content);
    flushed_ = mark;
    unflushed_bytes_ = 0;
    return env_->RemoveTree(directory);
  }

  Stats GetStats() override {
    Stats stats;
    for (const auto& [key, value] : content_) stats.memory_bytes += key.size() + value.size();
    stats.unflushed_bytes = unflushed_bytes_;
    return stats;
  }

 private:
  class Iterator final : public StateIterator {
   public:
    Iterator(MemStore* store, std::string_view prefix, std::string_view start)
        : store_(store), prefix_(prefix) {
      ++store_->live_iterators_;
      it_ = store_->content_.lower_bound(start > prefix ? start : prefix);
    }
    ~Iterator() override { --store_->live_iterators_; }
    bool Valid() const override {
      return it_ != store_->content_.end() && std::string_view(it_->first).starts_with(prefix_);
    }
    void Next() override { ++it_; }
    std::string_view key() const override { return it_->first; }
    std::string_view value() const override { return it_->second; }
    Status status() const override { return Status::Ok(); }

   private:
    MemStore* store_;
    std::string prefix_;
    Content::const_iterator it_;
  };

  Env* env_;
  std::string directory_;
  Content content_;
  AppliedMark flushed_;
  uint64_t unflushed_bytes_ = 0;
  int live_iterators_ = 0;
};

}  // namespace

Result<std::unique_ptr<StateStore>> OpenMemStore(Env* env, const std::string& directory) {
  auto store = std::make_unique<MemStore>(env, directory);
  DFS_RETURN_IF_ERROR(store->Load());
  return std::unique_ptr<StateStore>(std::move(store));
}

Result<uint64_t> ContentHash(StateStore& store) {
  uint64_t hash = 0;
  std::string pair;
  auto it = store.NewIterator({});
  for (; it->Valid(); it->Next()) {
    pair.clear();
    Encoder e(&pair);
    e.Bytes(it->key());
    e.Bytes(it->value());
    hash = Hash64(pair, hash);
  }
  DFS_RETURN_IF_ERROR(it->status());
  return hash;
}

}  // namespace dfs::nn
