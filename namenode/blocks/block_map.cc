#include "namenode/blocks/block_map.h"

#include <algorithm>

#include "common/base/check.h"

namespace dfs::nn {

namespace {
// A replica in 64 bits: stamp 44 | node 15 | unconfirmed 1 | corrupt 1 | state 3. A word of 0 is no replica
// (states begin at 1). Stamps come from one counter, so 44 bits are decades at 15,000 opens a second; what
// is larger is not a stamp of this namespace and is kept as the largest.
constexpr uint64_t kUnconfirmed = 1u << 4;
constexpr uint64_t kCorrupt = 1u << 3;
constexpr uint64_t kMaxStamp = (uint64_t{1} << 44) - 1;

uint64_t Pack(const BlockReplica& r) {
  return std::min(r.stamp.value, kMaxStamp) << 20 | uint64_t{r.node} << 5 |
         (r.corrupt ? kCorrupt : 0) | static_cast<uint64_t>(r.state);
}
NodeIndex NodeOf(uint64_t word) {
  return static_cast<NodeIndex>(word >> 5 & 0x7FFF);
}
BlockReplica Unpack(uint64_t word) {
  return BlockReplica{NodeOf(word), static_cast<ReplicaState>(word & 7), (word & kCorrupt) != 0,
                      Stamp(word >> 20)};
}
}  // namespace

BlockMap::BlockMap() = default;

uint64_t BlockMap::Hash(BlockId block) {
  uint64_t x = block.value * 0x9E3779B97F4A7C15ull;
  x ^= x >> 32;
  x *= 0xD6E8FEB86659FD93ull;
  x ^= x >> 32;
  return x;
}

uint32_t BlockMap::Home(const Shard& shard, uint64_t hash) {
  // The low 32 bits spread over [0, capacity) without a division; the shard took the top bits.
  return static_cast<uint32_t>((hash & 0xFFFFFFFFu) * shard.capacity >> 32);
}

BlockMap::Entry* BlockMap::Lookup(const Shard& shard, uint64_t hash, BlockId block) {
  if (shard.capacity == 0) return nullptr;
  for (uint32_t i = Home(shard, hash);; i = i + 1 == shard.capacity ? 0 : i + 1) {
    Entry& e = shard.entries[i];
    if (e.block == block.value) return &e;
    if (e.block == 0) return nullptr;
  }
}

BlockMap::Entry* BlockMap::Insert(Shard& shard, uint64_t hash, uint64_t block) {
  // At most 0.85 full and grown by a fifth: never below 0.7, so an entry of 32 bytes costs at most 46.
  if ((shard.used + 1) * uint64_t{20} > shard.capacity * uint64_t{17}) Grow(shard);
  uint32_t i = Home(shard, hash);
  while (shard.entries[i].block != 0) i = i + 1 == shard.capacity ? 0 : i + 1;
  shard.entries[i].block = block;
  shard.entries[i].words = {};
  ++shard.used;
  return &shard.entries[i];
}

void BlockMap::Grow(Shard& shard) {
  Shard bigger;
  bigger.capacity =
      std::max<uint32_t>(8, shard.capacity + std::max<uint32_t>(4, shard.capacity / 5));
  bigger.entries = std::make_unique<Entry[]>(bigger.capacity);
  for (uint32_t i = 0; i < shard.capacity; ++i) {
    const Entry& e = shard.entries[i];
    if (e.block == 0) continue;
    uint32_t j = Home(bigger, Hash(BlockId(e.block)));
    while (bigger.entries[j].block != 0) j = j + 1 == bigger.capacity ? 0 : j + 1;
    bigger.entries[j] = e;
  }
  bigger.used = shard.used;
  shard = std::move(bigger);
}

void BlockMap::Erase(Shard& shard, Entry* entry) {
  // Linear probing without tombstones: pull back every later entry that the hole cuts off from its home.
  uint32_t hole = static_cast<uint32_t>(entry - shard.entries.get());
  uint32_t i = hole;
  while (true) {
    i = i + 1 == shard.capacity ? 0 : i + 1;
    const Entry& e = shard.entries[i];
    if (e.block == 0) break;
    uint32_t home = Home(shard, Hash(BlockId(e.block)));
    uint32_t to_hole = (hole + shard.capacity - home) % shard.capacity;
    uint32_t to_here = (i + shard.capacity - home) % shard.capacity;
    if (to_hole <= to_here) {
      shard.entries[hole] = e;
      hole = i;
    }
  }
  shard.entries[hole] = Entry{};
  --shard.used;
  --blocks_;
}

void BlockMap::Count(NodeIndex node, int change) {
  if (node >= per_node_.size()) per_node_.resize(node + 1, 0);
  per_node_[node] += static_cast<uint32_t>(change);
  replicas_ += static_cast<size_t>(static_cast<int64_t>(change));
}

bool BlockMap::Set(BlockId block, const BlockReplica& replica) {
  DFS_CHECK(block.valid() && replica.node < kNoNode);
  uint64_t hash = Hash(block);
  Shard& shard = ShardOf(hash);
  Entry* e = Lookup(shard, hash, block);
  if (e == nullptr) {
    e = Insert(shard, hash, block.value);
    ++blocks_;
  }
  uint64_t word = Pack(replica);
  uint64_t* free_word = nullptr;
  for (uint64_t& w : e->words) {
    if (w == 0) {
      if (free_word == nullptr) free_word = &w;
    } else if (NodeOf(w) == replica.node) {
      w = word;
      return true;
    }
  }
  if (!overflow_.empty()) {
    if (auto it = overflow_.find(block.value); it != overflow_.end()) {
      for (uint64_t& w : it->second) {
        if (NodeOf(w) == replica.node) {
          w = word;
          return true;
        }
      }
    }
  }
  if (free_word != nullptr) {
    *free_word = word;
  } else {
    std::vector<uint64_t>& more = overflow_[block.value];
    if (more.size() + kInline >= kMaxReplicas) return false;
    more.push_back(word);
  }
  Count(replica.node, +1);
  return true;
}

void BlockMap::RemoveWord(Shard& shard, Entry* entry, NodeIndex node) {
  uint64_t* found = nullptr;
  for (uint64_t& w : entry->words) {
    if (w != 0 && NodeOf(w) == node) found = &w;
  }
  auto more = overflow_.empty() ? overflow_.end() : overflow_.find(entry->block);
  if (found != nullptr) {
    *found = 0;
    if (more != overflow_.end()) {  // keep the inline words full while there is overflow
      *found = more->second.back();
      more->second.pop_back();
    }
  } else {
    std::erase_if(more->second, [&](uint64_t w) { return NodeOf(w) == node; });
  }
  if (more != overflow_.end() && more->second.empty()) overflow_.erase(more);
  Count(node, -1);
  if (std::all_of(entry->words.begin(), entry->words.end(), [](uint64_t w) { return w == 0; })) {
    Erase(shard, entry);
  }
}

bool BlockMap::Remove(BlockId block, NodeIndex node) {
  BlockReplica unused;
  if (!Find(block, node, &unused)) return false;
  uint64_t hash = Hash(block);
  Shard& shard = ShardOf(hash);
  RemoveWord(shard, Lookup(shard, hash, block), node);
  return true;
}

uint64_t BlockMap::FindWord(BlockId block, NodeIndex node) const {
  uint64_t hash = Hash(block);
  const Entry* e = Lookup(ShardOf(hash), hash, block);
  if (e == nullptr) return 0;
  for (uint64_t w : e->words) {
    if (w != 0 && NodeOf(w) == node) return w;
  }
  if (overflow_.empty()) return 0;
  auto it = overflow_.find(block.value);
  if (it == overflow_.end()) return 0;
  for (uint64_t w : it->second) {
    if (NodeOf(w) == node) return w;
  }
  return 0;
}

bool BlockMap::Find(BlockId block, NodeIndex node, BlockReplica* replica) const {
  uint64_t word = FindWord(block, node);
  if (word != 0) *replica = Unpack(word);
  return word != 0;
}

bool BlockMap::Confirmed(BlockId block, NodeIndex node) const {
  uint64_t word = FindWord(block, node);
  return word != 0 && (word & kUnconfirmed) == 0;
}

void BlockMap::Get(BlockId block, std::vector<BlockReplica>* out) const {
  uint64_t hash = Hash(block);
  const Entry* e = Lookup(ShardOf(hash), hash, block);
  if (e == nullptr) return;
  for (uint64_t w : e->words) {
    if (w != 0) out->push_back(Unpack(w));
  }
  if (overflow_.empty()) return;
  if (auto it = overflow_.find(block.value); it != overflow_.end()) {
    for (uint64_t w : it->second) out->push_back(Unpack(w));
  }
}

bool BlockMap::Contains(BlockId block) const {
  uint64_t hash = Hash(block);
  return Lookup(ShardOf(hash), hash, block) != nullptr;
}

void BlockMap::BeginReport(NodeIndex node) {
  auto mark = [&](uint64_t& w) {
    if (w != 0 && NodeOf(w) == node) w |= kUnconfirmed;
  };
  for (Shard& shard : shards_) {
    for (uint32_t i = 0; i < shard.capacity; ++i) {
      if (shard.entries[i].block == 0) continue;
      for (uint64_t& w : shard.entries[i].words) mark(w);
    }
  }
  for (auto& [block, words] : overflow_) {
    for (uint64_t& w : words) mark(w);
  }
}

size_t BlockMap::FinishReport(NodeIndex node, const std::function<void(BlockId)>& removed) {
  std::vector<BlockId> gone;
  auto unconfirmed = [&](uint64_t w) { return w != 0 && NodeOf(w) == node && (w & kUnconfirmed); };
  for (const Shard& shard : shards_) {
    for (uint32_t i = 0; i < shard.capacity; ++i) {
      const Entry& e = shard.entries[i];
      if (e.block != 0 && std::any_of(e.words.begin(), e.words.end(), unconfirmed)) {
        gone.push_back(BlockId(e.block));
      }
    }
  }
  for (const auto& [block, words] : overflow_) {
    if (std::any_of(words.begin(), words.end(), unconfirmed)) gone.push_back(BlockId(block));
  }
  for (BlockId block : gone) {
    Remove(block, node);
    removed(block);
  }
  return gone.size();
}

void BlockMap::ForEachInShard(size_t index, const std::function<void(BlockId)>& visit) const {
  const Shard& shard = shards_[index];
  for (uint32_t i = 0; i < shard.capacity; ++i) {
    if (shard.entries[i].block != 0) visit(BlockId(shard.entries[i].block));
  }
}

void BlockMap::ForEachOfNode(size_t index, NodeIndex node,
                             const std::function<void(BlockId)>& visit) const {
  const Shard& shard = shards_[index];
  for (uint32_t i = 0; i < shard.capacity; ++i) {
    const Entry& e = shard.entries[i];
    if (e.block == 0) continue;
    bool here = false;
    for (uint64_t w : e.words) here = here || (w != 0 && NodeOf(w) == node);
    if (!here && !overflow_.empty()) {
      if (auto it = overflow_.find(e.block); it != overflow_.end()) {
        for (uint64_t w : it->second) here = here || NodeOf(w) == node;
      }
    }
    if (here) visit(BlockId(e.block));
  }
}

size_t BlockMap::memory_bytes() const {
  size_t total = sizeof(*this) + per_node_.capacity() * sizeof(uint32_t);
  for (const Shard& shard : shards_) total += shard.capacity * sizeof(Entry);
  for (const auto& [block, words] : overflow_) total += 64 + words.capacity() * sizeof(uint64_t);
  return total;
}

}  // namespace dfs::nn
