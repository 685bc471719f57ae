#include "namenode/sessions/lease_table.h"

#include <algorithm>

namespace dfs::nn {

bool LeaseTable::Grant(InodeId inode, SessionId session, LeaseMode mode) {
  std::unordered_set<InodeId>& mine = by_session_[session];
  if (mine.contains(inode)) {
    for (Holder& holder : by_inode_[inode]) {
      if (holder.session == session) holder.mode = mode;
    }
    return true;
  }
  if (mine.size() >= max_per_session_ || size_ >= max_all_) return false;
  mine.insert(inode);
  by_inode_[inode].push_back({session, mode});
  ++size_;
  return true;
}

void LeaseTable::Drop(InodeId inode, SessionId session) {
  auto mine = by_session_.find(session);
  if (mine == by_session_.end() || mine->second.erase(inode) == 0) return;
  if (mine->second.empty()) by_session_.erase(mine);
  auto it = by_inode_.find(inode);
  std::erase_if(it->second, [&](const Holder& holder) { return holder.session == session; });
  if (it->second.empty()) by_inode_.erase(it);
  --size_;
}

void LeaseTable::Downgrade(InodeId inode, SessionId session) {
  if (Holds(inode, session)) Grant(inode, session, LeaseMode::kRead);
}

void LeaseTable::DropAll(SessionId session) {
  auto mine = by_session_.find(session);
  if (mine == by_session_.end()) return;
  const std::vector<InodeId> inodes(mine->second.begin(), mine->second.end());
  for (InodeId inode : inodes) Drop(inode, session);
}

void LeaseTable::Clear() {
  by_inode_.clear();
  by_session_.clear();
  size_ = 0;
}

std::span<const LeaseTable::Holder> LeaseTable::Holders(InodeId inode) const {
  auto it = by_inode_.find(inode);
  if (it == by_inode_.end()) return {};
  return it->second;
}

bool LeaseTable::Holds(InodeId inode, SessionId session) const {
  auto it = by_session_.find(session);
  return it != by_session_.end() && it->second.contains(inode);
}

std::optional<SessionId> LeaseTable::Writer(InodeId inode) const {
  for (const Holder& holder : Holders(inode)) {
    if (holder.mode == LeaseMode::kWrite) return holder.session;
  }
  return std::nullopt;
}

size_t LeaseTable::SizeOf(SessionId session) const {
  auto it = by_session_.find(session);
  return it == by_session_.end() ? 0 : it->second.size();
}

}  // namespace dfs::nn
