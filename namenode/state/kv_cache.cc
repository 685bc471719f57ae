#include "namenode/state/kv_cache.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "common/base/checksum.h"

namespace dfs::nn {
namespace {

constexpr uint64_t kTypicalEntryBytes = 192;
constexpr size_t kAllocationOverhead = 16;
constexpr size_t kMaxKeyBytes = 512;
constexpr uint64_t kFirstSets = 256;

}  // namespace

KvCache::KvCache(uint64_t max_bytes)
    : max_bytes_(max_bytes),
      max_sets_(std::bit_floor(max_bytes / (kTypicalEntryBytes * kWays) + 1)) {
  Resize(std::min(kFirstSets, max_sets_));
}

void KvCache::Resize(uint64_t sets) {
  std::vector<Entry> old = std::move(entries_);
  entries_ = std::vector<Entry>(sets * kWays);
  mask_ = sets - 1;
  for (Entry& entry : old) {
    if (!entry.data) continue;
    Entry* set = &entries_[(entry.hash & mask_) * kWays];
    // Sets only split, so there is always room.
    while (set->data) ++set;
    *set = std::move(entry);
  }
}

KvCache::Entry* KvCache::Find(std::string_view key, uint64_t hash) {
  Entry* set = &entries_[(hash & mask_) * kWays];
  for (size_t i = 0; i < kWays; ++i) {
    Entry& e = set[i];
    if (e.data && e.hash == hash && std::string_view(e.data.get(), e.key_size) == key) return &e;
  }
  return nullptr;
}

KvCache::Answer KvCache::Get(std::string_view key, std::string_view* value) {
  Entry* entry = Find(key, Hash64(key));
  if (!entry) return Answer::kUnknown;
  entry->used = true;
  if (entry->absent) return Answer::kAbsent;
  *value = {entry->data.get() + entry->key_size, entry->value_size};
  return Answer::kPresent;
}

void KvCache::Put(std::string_view key, std::string_view value) {
  Store(key, value, false);
}

void KvCache::PutAbsent(std::string_view key) {
  Store(key, {}, true);
}

void KvCache::Drop(Entry* entry) {
  bytes_ -= entry->key_size + entry->value_size + kAllocationOverhead;
  --count_;
  *entry = Entry();
}

void KvCache::Store(std::string_view key, std::string_view value, bool absent) {
  uint64_t hash = Hash64(key);
  Entry* entry = Find(key, hash);
  if (key.size() > kMaxKeyBytes || value.size() > kMaxValueBytes) {
    if (entry) Drop(entry);
    return;
  }
  if (entry && entry->value_size == value.size()) {
    if (!value.empty()) {
      std::memcpy(entry->data.get() + entry->key_size, value.data(), value.size());
    }
    entry->absent = absent;
    entry->used = true;
    return;
  }
  if (!entry) {
    Entry* set = &entries_[(hash & mask_) * kWays];
    entry = &set[hash >> 62];  // when all are in use, whichever
    for (size_t i = 0; i < kWays; ++i) {
      if (!set[i].data) {
        entry = &set[i];
        break;
      }
      if (!set[i].used) entry = &set[i];
    }
    for (size_t i = 0; i < kWays; ++i) set[i].used = false;
  }
  if (entry->data) Drop(entry);
  uint64_t size = key.size() + value.size() + kAllocationOverhead;
  if (bytes_ + size > max_bytes_) EvictTo(max_bytes_ - std::min(max_bytes_, size));
  entry->data = std::make_unique_for_overwrite<char[]>(key.size() + value.size());
  std::memcpy(entry->data.get(), key.data(), key.size());
  if (!value.empty()) std::memcpy(entry->data.get() + key.size(), value.data(), value.size());
  entry->hash = hash;
  entry->key_size = static_cast<uint16_t>(key.size());
  entry->value_size = static_cast<uint16_t>(value.size());
  entry->absent = absent;
  entry->used = true;
  bytes_ += size;
  if (++count_ * 2 > entries_.size() && mask_ + 1 < max_sets_) Resize((mask_ + 1) * 2);
}

void KvCache::Erase(std::string_view key) {
  if (Entry* entry = Find(key, Hash64(key))) Drop(entry);
}

void KvCache::EvictTo(uint64_t bytes) {
  for (size_t steps = 0; bytes_ > bytes && steps < 2 * entries_.size(); ++steps) {
    Entry& entry = entries_[hand_];
    hand_ = (hand_ + 1) % entries_.size();
    if (!entry.data) continue;
    if (entry.used) {
      entry.used = false;
    } else {
      Drop(&entry);
    }
  }
}

void KvCache::Clear() {
  for (Entry& entry : entries_) {
    if (entry.data) Drop(&entry);
  }
}

}  // namespace dfs::nn
