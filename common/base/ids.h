// Strong identifiers. Each is a number that cannot be mistaken for another kind of number.
#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace dfs {

template <class Tag, class Rep = uint64_t>
struct StrongId {
  using rep = Rep;
  Rep value = 0;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep v) : value(v) {}
  constexpr bool valid() const { return value != 0; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;
};

/// 0 | 15-bit shard | 48-bit counter; never reused. 0 is "none".
using InodeId = StrongId<struct InodeIdTag>;
/// Positive from 2^30+1; bit 62 is synthetic; 0 is "none".
using BlockId = StrongId<struct BlockIdTag>;
/// Generation stamp of a block: from one replicated counter, only ever grows.
using Stamp = StrongId<struct StampTag>;
using SessionId = StrongId<struct SessionIdTag>;
/// Random 64-bit, made when a datanode formats its first volume, kept in its VERSION files.
using DatanodeId = StrongId<struct DatanodeIdTag>;
/// A Raft member, used once: a wiped disk comes back under a new id.
using NodeId = StrongId<struct NodeIdTag>;

/// Raft's own counters stay plain numbers: the algorithm does arithmetic on them.
using Term = uint64_t;
using LogIndex = uint64_t;

inline constexpr InodeId kRootInode{1};
inline constexpr uint64_t kFirstInodeCounter = 16386;
inline constexpr uint64_t kFirstBlockCounter = (uint64_t{1} << 30) + 1;

}  // namespace dfs

template <class Tag, class Rep>
struct std::hash<dfs::StrongId<Tag, Rep>> {
  size_t operator()(dfs::StrongId<Tag, Rep> id) const noexcept {
    uint64_t x = static_cast<uint64_t>(id.value) * 0x9E3779B97F4A7C15ull;
    return static_cast<size_t>(x ^ (x >> 32));
  }
};
