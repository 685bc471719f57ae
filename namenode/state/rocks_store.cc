#include "namenode/state/rocks_store.h"

#include <rocksdb/cache.h>
#include <rocksdb/convenience.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/file_system.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/slice_transform.h>
#include <rocksdb/table.h>
#include <rocksdb/utilities/checkpoint.h>
#include <rocksdb/utilities/table_properties_collectors.h>
#include <rocksdb/write_batch.h>

#include <algorithm>

#include "common/base/check.h"
#include "common/base/logging.h"
#include "namenode/state/buffered_store.h"
#include "namenode/state/keys.h"
#include "namenode/state/records.h"

namespace dfs::nn {
namespace {

constexpr const char* kPointerName = "CURRENT_STATE";
constexpr const char* kDatabasePrefix = "state-";
// A tag and one id: what most scans share.
constexpr size_t kPrefixBytes = 9;

Status FromRocks(const rocksdb::Status& s, std::string_view what) {
  if (s.ok()) return Status::Ok();
  Code code = s.IsCorruption() ? Code::kCorrupt : s.IsNoSpace() ? Code::kNoSpace : Code::kIoError;
  return Status(code, std::string(what) + ": " + s.ToString());
}

rocksdb::Slice ToSlice(std::string_view v) {
  return {v.data(), v.size()};
}

/// Stored when there is none, and deleted by one of the next commands. Nonces are under session 0.
bool IsStoredReply(std::string_view key) {
  constexpr size_t kReplyKeyBytes = 17;
  return key.size() == kReplyKeyBytes && key[0] == static_cast<char>(Tag::kSession) &&
         KeyNumber(key, 1) != 0;
}

/// For databases that are only looked at: no LOG file in a checkpoint's directory.
class NullLogger final : public rocksdb::Logger {
 public:
  using rocksdb::Logger::Logv;
  void Logv(const char*, va_list) override {}
};

/// Settings: design, section 4; RocksDB 7.8.3 has bugs in what is off here.
rocksdb::Options MakeOptions(const RocksStoreOptions& o, rocksdb::Env* env,
                             const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::Options options;
  options.env = env;
  options.create_if_missing = true;
  options.paranoid_checks = true;
  options.write_buffer_size = o.write_buffer_bytes;
  options.max_write_buffer_number = 3;
  options.max_background_jobs = o.background_threads;
  options.max_open_files = o.max_open_files;
  options.level_compaction_dynamic_level_bytes = true;
  options.target_file_size_base = 32u << 20;
  options.max_bytes_for_level_base = 128u << 20;
  // Also at the bottom, where ZSTD would take half of compaction's time to save little of a small thing.
  options.compression = rocksdb::kLZ4Compression;
  // A flush comes after each 16 MiB of log: merging every fourth would rewrite the rest too often.
  options.level0_file_num_compaction_trigger = 8;
  options.bytes_per_sync = 1u << 20;
  options.prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(kPrefixBytes));
  options.memtable_prefix_bloom_size_ratio = 0.05;
  // Batches come in key order: each key of a tag is looked for from where the one before it went.
  options.memtable_insert_with_hint_prefix_extractor.reset(rocksdb::NewFixedPrefixTransform(1));
  options.memtable_whole_key_filtering = true;
  // Scans over what a big directory's removal left behind must not crawl.
  options.table_properties_collector_factories.push_back(
      rocksdb::NewCompactOnDeletionCollectorFactory(16'384, 8'192));
  options.stats_dump_period_sec = 0;
  options.stats_persist_period_sec = 0;
  options.max_log_file_size = 1u << 20;
  options.keep_log_file_num = 2;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.max_manifest_file_size = 16u << 20;

  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(10, false));
  table.whole_key_filtering = true;
  table.optimize_filters_for_memory = true;
  table.block_size = 8u << 10;
  table.data_block_index_type = rocksdb::BlockBasedTableOptions::kDataBlockBinaryAndHash;
  table.format_version = 5;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

class RocksIterator final : public StateIterator {
 public:
  RocksIterator(rocksdb::DB* db, std::string_view prefix, std::string_view start, int* live)
      : prefix_(prefix), upper_(prefix), live_(live) {
    ++*live_;
    rocksdb::ReadOptions options;
    // The least key above all that have the prefix, so that the scan does not step over the
    // tombstones of what comes behind.
    while (!upper_.empty() && upper_.back() == '\xff') upper_.pop_back();
    if (!upper_.empty()) {
      ++upper_.back();
      upper_slice_ = upper_;
      options.iterate_upper_bound = &upper_slice_;
    }
    options.total_order_seek = prefix.size() < kPrefixBytes;
    options.prefix_same_as_start = !options.total_order_seek;
    it_.reset(db->NewIterator(options));
    it_->Seek(ToSlice(start > prefix ? start : prefix));
  }
  ~RocksIterator() override {
    it_.reset();
    --*live_;
  }
  bool Valid() const override { return it_->Valid() && key().starts_with(prefix_); }
  void Next() override { it_->Next(); }
  std::string_view key() const override { return {it_->key().data(), it_->key().size()}; }
  std::string_view value() const override { return {it_->value().data(), it_->value().size()}; }
  Status status() const override { return FromRocks(it_->status(), "scan of the state"); }

 private:
  std::string prefix_;
  std::string upper_;
  rocksdb::Slice upper_slice_;
  int* live_;
  std::unique_ptr<rocksdb::Iterator> it_;
};

class RocksStore final : public StateStore {
 public:
  using StateStore::NewIterator;

  explicit RocksStore(const RocksStoreOptions& options) : options_(options) {
    if (options.file_system) {
      own_env_ = rocksdb::NewCompositeEnv(options.file_system);
      env_ = own_env_.get();
    } else {
      env_ = rocksdb::Env::Default();
    }
    cache_ = rocksdb::NewLRUCache(options.block_cache_bytes, 2, false, 0.5);
  }

  ~RocksStore() override { CloseDatabase(true); }

  Status Open() {
    rocksdb::Status made = env_->CreateDirIfMissing(options_.directory);
    DFS_RETURN_IF_ERROR(FromRocks(made, "creating " + options_.directory));
    size_t slash = options_.directory.find_last_of('/');
    DFS_RETURN_IF_ERROR(SyncDirectory(slash == std::string::npos ? "."
                                      : slash == 0               ? "/"
                                                   : options_.directory.substr(0, slash)));
    std::string pointer = options_.directory + "/" + kPointerName;
    if (env_->FileExists(pointer).ok()) {
      rocksdb::Status s = rocksdb::ReadFileToString(env_, pointer, &current_);
      DFS_RETURN_IF_ERROR(FromRocks(s, "reading " + pointer));
      if (Number(current_) == 0) return Status(Code::kCorrupt, pointer + " is damaged");
    } else {
      current_ = kDatabasePrefix + std::string("1");
      DFS_RETURN_IF_ERROR(WritePointer(current_));
    }
    DFS_RETURN_IF_ERROR(RemoveOthers());
    return OpenDatabase();
  }

  Result<bool> Get(std::string_view key, std::string* value) override {
    if (!db_) return Closed();
    rocksdb::PinnableSlice slice;
    rocksdb::Status s =
        db_->Get(rocksdb::ReadOptions(), db_->DefaultColumnFamily(), ToSlice(key), &slice);
    if (s.IsNotFound()) return false;
    if (!s.ok()) return FromRocks(s, "reading the state");
    value->assign(slice.data(), slice.size());
    return true;
  }

  std::unique_ptr<StateIterator> NewIterator(std::string_view prefix,
                                             std::string_view start) override {
    DFS_CHECK(db_ != nullptr);
    return std::make_unique<RocksIterator>(db_.get(), prefix, start, &live_iterators_);
  }

  Status Write(const WriteBatch& batch) override {
    if (!db_) return Closed();
    rocksdb::WriteBatch out;
    for (const WriteBatch::Entry& entry : batch.entries()) {
      rocksdb::Status s = entry.deleted ? out.Delete(ToSlice(entry.key))
                                        : out.Put(ToSlice(entry.key), ToSlice(entry.value));
      DFS_RETURN_IF_ERROR(FromRocks(s, "building a batch"));
    }
    rocksdb::WriteOptions options;
    options.disableWAL = true;
    return FromRocks(db_->Write(options, &out), "writing the state");
  }

  Status Flush() override {
    if (!db_) return Closed();
    rocksdb::FlushOptions options;
    options.wait = true;
    options.allow_write_stall = true;
    return FromRocks(db_->Flush(options), "flushing the state");
  }

  Status StartFlush() override {
    if (!db_) return Closed();
    uint64_t under_way = 0;
    db_->GetIntProperty("rocksdb.mem-table-flush-pending", &under_way);
    uint64_t running = 0;
    db_->GetIntProperty("rocksdb.num-running-flushes", &running);
    if (under_way + running > 0) return Status::Ok();
    rocksdb::FlushOptions options;
    options.wait = false;
    options.allow_write_stall = true;
    return FromRocks(db_->Flush(options), "flushing the state");
  }

  Result<AppliedMark> FlushedMark() override {
    if (!db_) return Closed();
    rocksdb::ReadOptions options;
    options.read_tier = rocksdb::kPersistedTier;
    std::string value;
    rocksdb::Status s = db_->Get(options, ToSlice(AppliedKey()), &value);
    if (s.IsNotFound()) return AppliedMark();
    DFS_RETURN_IF_ERROR(FromRocks(s, "reading the flushed mark"));
    return DecodeApplied(value);
  }

  Result<CheckpointInfo> CreateCheckpoint(const std::string& directory) override {
    if (!db_) return Closed();
    rocksdb::Checkpoint* raw = nullptr;
    rocksdb::Status s = rocksdb::Checkpoint::Create(db_.get(), &raw);
    std::unique_ptr<rocksdb::Checkpoint> checkpoint(raw);
    DFS_RETURN_IF_ERROR(FromRocks(s, "making a checkpoint"));
    // 0: flush first, whatever there is. There is no WAL to copy.
    s = checkpoint->CreateCheckpoint(directory, 0);
    DFS_RETURN_IF_ERROR(FromRocks(s, "making a checkpoint"));
    return Inspect(directory);
  }

  Status RemoveCheckpoint(const std::string& directory) override {
    return RemoveDirectory(directory);
  }

  Status InstallCheckpoint(const std::string& directory) override {
    DFS_CHECK(live_iterators_ == 0);
    DFS_RETURN_IF_ERROR(Inspect(directory).status());
    std::string next = kDatabasePrefix + std::to_string(Number(current_) + 1);
    DFS_RETURN_IF_ERROR(RemoveDirectory(Path(next)));
    rocksdb::Status s = env_->RenameFile(directory, Path(next));
    DFS_RETURN_IF_ERROR(FromRocks(s, "moving a checkpoint into place"));
    DFS_RETURN_IF_ERROR(SyncDirectory(options_.directory));
    DFS_RETURN_IF_ERROR(WritePointer(next));  // from here on the new content is the state
    CloseDatabase(false);
    current_ = next;
    DFS_RETURN_IF_ERROR(RemoveOthers());
    return OpenDatabase();
  }

  Stats GetStats() override {
    Stats stats;
    if (!db_) return stats;
    auto property = [this](const char* name) {
      uint64_t value = 0;
      db_->GetIntProperty(name, &value);
      return value;
    };
    stats.memory_bytes = property("rocksdb.size-all-mem-tables") + cache_->GetUsage() +
                         property("rocksdb.estimate-table-readers-mem");
    stats.disk_bytes = property("rocksdb.total-sst-files-size");
    stats.unflushed_bytes = property("rocksdb.cur-size-all-mem-tables");
    return stats;
  }

 private:
  /// After an install that failed half-way: the member stops, but may still be asked.
  static Status Closed() { return Status(Code::kIoError, "the state store is closed"); }

  std::string Path(const std::string& name) const { return options_.directory + "/" + name; }

  /// Of "state-<n>"; 0 when it is not one.
  static uint64_t Number(const std::string& name) {
    std::string_view digits(name);
    if (!digits.starts_with(kDatabasePrefix)) return 0;
    digits.remove_prefix(std::string_view(kDatabasePrefix).size());
    if (digits.empty() || digits.size() > 18) return 0;
    uint64_t number = 0;
    for (char c : digits) {
      if (c < '0' || c > '9') return 0;
      number = number * 10 + static_cast<uint64_t>(c - '0');
    }
    return number;
  }

  Status OpenDatabase() {
    rocksdb::DB* db = nullptr;
    rocksdb::Status s = rocksdb::DB::Open(MakeOptions(options_, env_, cache_), Path(current_), &db);
    DFS_RETURN_IF_ERROR(FromRocks(s, "opening the state in " + Path(current_)));
    db_.reset(db);
    return SyncDirectory(options_.directory);
  }

  /// Debian's RocksDB asserts that nothing of the database is left when it is closed.
  void CloseDatabase(bool flush) {
    if (!db_) return;
    DFS_CHECK(live_iterators_ == 0);
    if (!flush) {
      rocksdb::Status ignored = db_->SetDBOptions({{"avoid_flush_during_shutdown", "true"}});
      ignored.PermitUncheckedError();
    }
    rocksdb::CancelAllBackgroundWork(db_.get(), true);
    rocksdb::Status s = db_->Close();
    // Nothing is lost: what was not flushed is in the Raft log.
    if (!s.ok()) LogWarning("closing the state: {}", s.ToString());
    db_.reset();
  }

  Status SyncDirectory(const std::string& directory) {
    std::unique_ptr<rocksdb::Directory> handle;
    rocksdb::Status s = env_->NewDirectory(directory, &handle);
    if (s.ok()) s = handle->Fsync();
    return FromRocks(s, "syncing " + directory);
  }

  Status WritePointer(const std::string& name) {
    std::string temporary = Path(kPointerName) + ".tmp";
    rocksdb::Status s = rocksdb::WriteStringToFile(env_, name, temporary, true);
    DFS_RETURN_IF_ERROR(FromRocks(s, "writing " + temporary));
    s = env_->RenameFile(temporary, Path(kPointerName));
    DFS_RETURN_IF_ERROR(FromRocks(s, "renaming " + temporary));
    return SyncDirectory(options_.directory);
  }

  /// What an interrupted install left behind, or replaced.
  Status RemoveOthers() {
    std::vector<std::string> names;
    DFS_RETURN_IF_ERROR(
        FromRocks(env_->GetChildren(options_.directory, &names), "listing " + options_.directory));
    for (const std::string& name : names) {
      if (Number(name) != 0 && name != current_) DFS_RETURN_IF_ERROR(RemoveDirectory(Path(name)));
    }
    return Status::Ok();
  }

  Status RemoveDirectory(const std::string& directory) {
    if (env_->FileExists(directory).IsNotFound()) return Status::Ok();
    std::vector<std::string> names;
    DFS_RETURN_IF_ERROR(FromRocks(env_->GetChildren(directory, &names), "listing " + directory));
    for (const std::string& name : names) {
      if (name == "." || name == "..") continue;
      DFS_RETURN_IF_ERROR(FromRocks(env_->DeleteFile(directory + "/" + name), "removing " + name));
    }
    return FromRocks(env_->DeleteDir(directory), "removing " + directory);
  }

  /// The mark and the files of a checkpoint; fails when it cannot be opened.
  Result<CheckpointInfo> Inspect(const std::string& directory) {
    CheckpointInfo info;
    std::vector<rocksdb::Env::FileAttributes> files;
    rocksdb::Status s = env_->GetChildrenFileAttributes(directory, &files);
    DFS_RETURN_IF_ERROR(FromRocks(s, "listing " + directory));
    for (const auto& file : files) {
      if (file.name != "." && file.name != "..") info.files.push_back({file.name, file.size_bytes});
    }
    std::sort(info.files.begin(), info.files.end(),
              [](const auto& a, const auto& b) { return a.name < b.name; });
    rocksdb::Options options = MakeOptions(options_, env_, cache_);
    options.create_if_missing = false;
    options.info_log = std::make_shared<NullLogger>();
    rocksdb::DB* raw = nullptr;
    s = rocksdb::DB::OpenForReadOnly(options, directory, &raw);
    std::unique_ptr<rocksdb::DB> db(raw);
    DFS_RETURN_IF_ERROR(FromRocks(s, "opening the checkpoint " + directory));
    std::string value;
    s = db->Get(rocksdb::ReadOptions(), ToSlice(AppliedKey()), &value);
    if (!s.IsNotFound()) {
      DFS_RETURN_IF_ERROR(FromRocks(s, "reading the checkpoint " + directory));
      DFS_ASSIGN_OR_RETURN(info.applied, DecodeApplied(value));
    }
    return info;
  }

  RocksStoreOptions options_;
  std::unique_ptr<rocksdb::Env> own_env_;
  rocksdb::Env* env_ = nullptr;
  std::shared_ptr<rocksdb::Cache> cache_;
  std::string current_;  // name of the sub-directory in use
  std::unique_ptr<rocksdb::DB> db_;
  int live_iterators_ = 0;
};

}  // namespace

Result<std::unique_ptr<StateStore>> OpenRocksStore(const RocksStoreOptions& options) {
  auto store = std::make_unique<RocksStore>(options);
  DFS_RETURN_IF_ERROR(store->Open());
  BufferedStoreOptions buffered;
  buffered.worker = options.worker;
  buffered.max_entries = options.buffered_entries;
  buffered.never_overwritten = IsStoredReply;
  return NewBufferedStore(std::move(store), buffered);
}

}  // namespace dfs::nn
