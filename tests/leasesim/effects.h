// What operations do to the state of a History. A state is one number for each name or cell.
#pragma once

#include <cstdint>

#include "tests/leasesim/history.h"

namespace dfs::sim {

inline constexpr uint64_t kAbsent = 0;
/// Something is there, and no answer has said what.
inline constexpr uint64_t kAny = UINT64_MAX;

// ---- Names: the inode, or kAbsent

inline History::Effect Is(size_t name, uint64_t inode) {
  return [=](History::State& s) {
    if (s[name] == kAny && inode != kAbsent) s[name] = inode;
    return s[name] == inode;
  };
}
inline History::Effect IsThere(size_t name) {
  return [=](History::State& s) { return s[name] != kAbsent; };
}
inline History::Effect Made(size_t name, uint64_t inode) {
  return [=](History::State& s) {
    if (s[name] != kAbsent) return false;
    s[name] = inode;
    return true;
  };
}
inline History::Effect Removed(size_t name) {
  return [=](History::State& s) {
    if (s[name] == kAbsent) return false;
    s[name] = kAbsent;
    return true;
  };
}
inline History::Effect Renamed(size_t from, size_t to) {
  return [=](History::State& s) {
    if (s[from] == kAbsent) return false;
    if (s[from] == s[to] && s[from] != kAny) return true;
    s[to] = s[from];
    s[from] = kAbsent;
    return true;
  };
}

// ---- Numbers: of the last write to a cell, of bytes, of a mode. kAny: one of those before

inline History::Effect Shows(uint64_t value) {
  return [=](History::State& s) {
    if (s[0] == kAny) s[0] = value;
    return s[0] == value;
  };
}
inline History::Effect Set(uint64_t value) {
  return [=](History::State& s) {
    s[0] = value;
    return true;
  };
}
inline History::Effect AtLeast(uint64_t value) {
  return [=](History::State& s) {
    if (s[0] < value) s[0] = value;
    return true;
  };
}

}  // namespace dfs::sim
