// KvCache: a bounded cache of committed key-value pairs, and of keys known to be absent, in front of the store. A
// look-up costs a tenth of RocksDB's. Set-associative, so that there are no lists to keep; confined, like its owner.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace dfs::nn {

class KvCache {
 public:
  explicit KvCache(uint64_t max_bytes);

  enum class Answer { kUnknown, kAbsent, kPresent };
  /// The view is valid until the next change.
  Answer Get(std::string_view key, std::string_view* value);
  /// Values above kMaxValueBytes are not kept (and what was kept under the key is dropped).
  void Put(std::string_view key, std::string_view value);
  /// The store does not have the key: known until the next Put.
  void PutAbsent(std::string_view key);
  void Erase(std::string_view key);
  void Clear();
  uint64_t bytes() const { return bytes_; }

  static constexpr size_t kMaxValueBytes = 1024;

 private:
  struct Entry {
    std::unique_ptr<char[]> data;  // key, then value
    uint64_t hash = 0;
    uint16_t key_size = 0;
    uint16_t value_size = 0;
    bool absent = false;
    bool used = false;  // since the eviction hand came by
  };
  static constexpr size_t kWays = 4;

  Entry* Find(std::string_view key, uint64_t hash);
  void Store(std::string_view key, std::string_view value, bool absent);
  void Drop(Entry* entry);
  void EvictTo(uint64_t bytes);
  void Resize(uint64_t sets);

  uint64_t max_bytes_;
  uint64_t max_sets_;
  uint64_t bytes_ = 0;
  uint64_t count_ = 0;
  uint64_t mask_ = 0;  // of sets; the table grows with what is in it
  size_t hand_ = 0;
  std::vector<Entry> entries_;
};

}  // namespace dfs::nn
