// LeaseTable: which session holds what lease. A lease is on an inode: of a file its attributes, places and data; of a
// directory its attributes and its names, absent ones included. Read leases are shared, a write lease has one holder
// beside whom nobody holds anything.
//
// Data only, no protocol (that is LeaseManager's). Confined to the namenode's executor. Bounded in both directions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "common/base/ids.h"

namespace dfs::nn {

enum class LeaseMode : uint8_t { kRead, kWrite };

class LeaseTable {
 public:
  struct Holder {
    SessionId session;
    LeaseMode mode = LeaseMode::kRead;
  };

  LeaseTable(size_t max_per_session, size_t max_all)
      : max_per_session_(max_per_session), max_all_(max_all) {}

  /// Whoever holds one gets the new mode. False: there is no room. The caller sees to conflicts.
  bool Grant(InodeId inode, SessionId session, LeaseMode mode);
  void Drop(InodeId inode, SessionId session);
  /// From write to read.
  void Downgrade(InodeId inode, SessionId session);
  void DropAll(SessionId session);
  void Clear();

  /// Valid until the next change.
  std::span<const Holder> Holders(InodeId inode) const;
  bool Holds(InodeId inode, SessionId session) const;
  std::optional<SessionId> Writer(InodeId inode) const;
  size_t size() const { return size_; }
  size_t SizeOf(SessionId session) const;

 private:
  const size_t max_per_session_;
  const size_t max_all_;
  size_t size_ = 0;
  std::unordered_map<InodeId, std::vector<Holder>> by_inode_;
  std::unordered_map<SessionId, std::unordered_set<InodeId>> by_session_;
};

}  // namespace dfs::nn
