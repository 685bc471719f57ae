// Credentials: on whose behalf an operation is done. Plain numbers; names are the caller's
// business.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace dfs {

struct Credentials {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;  // supplementary; gid need not be repeated

  static Credentials Root() { return {}; }
  bool IsRoot() const { return uid == 0; }
  bool InGroup(uint32_t group) const {
    return gid == group || std::find(groups.begin(), groups.end(), group) != groups.end();
  }
  friend bool operator==(const Credentials&, const Credentials&) = default;
};

/// More supplementary groups than this are refused at the door (NGROUPS_MAX of Linux is 65,536; NFS
/// stops at 16; commands carry them, so they are bounded here).
inline constexpr size_t kMaxGroups = 1024;

}  // namespace dfs
