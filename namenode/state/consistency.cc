#include "namenode/state/consistency.h"

#include <map>
#include <set>

#include "namenode/state/keys.h"
#include "namenode/state/locks.h"
#include "namenode/state/records.h"

namespace dfs::nn {
namespace {

Status Wrong(const std::string& what, uint64_t id) {
  return Status(Code::kCorrupt, what + " (" + std::to_string(id) + ")");
}

struct Name {
  InodeId parent;
  std::string name;
  auto operator<=>(const Name&) const = default;
};

/// The whole state, decoded.
class Checker {
 public:
  explicit Checker(StateStore& store) : store_(store) {}

  Status Run() {
    DFS_RETURN_IF_ERROR(LoadInodes());
    DFS_RETURN_IF_ERROR(LoadBlocks());
    DFS_RETURN_IF_ERROR(LoadRest());
    DFS_RETURN_IF_ERROR(CheckNames());
    DFS_RETURN_IF_ERROR(CheckUsage());
    DFS_RETURN_IF_ERROR(CheckFiles());
    DFS_RETURN_IF_ERROR(CheckBlocks());
    DFS_RETURN_IF_ERROR(CheckSessions());
    return CheckLocks();
  }

 private:
  template <class F>
  Status Each(Tag tag, F visit) {
    auto it = store_.NewIterator(TagPrefix(tag));
    for (; it->Valid(); it->Next()) DFS_RETURN_IF_ERROR(visit(it->key(), it->value()));
    return it->status();
  }

  Status LoadInodes() {
    DFS_RETURN_IF_ERROR(Each(Tag::kInode, [&](auto key, auto value) -> Status {
      InodeId id(KeyNumber(key, 1));
      DFS_ASSIGN_OR_RETURN(Inode inode, DecodeInode(id, value));
      inodes_.emplace(id, std::move(inode));
      return Status::Ok();
    }));
    DFS_RETURN_IF_ERROR(Each(Tag::kDentry, [&](auto key, auto value) -> Status {
      InodeId parent(KeyNumber(key, 1));
      std::string name(key.substr(17));
      DFS_ASSIGN_OR_RETURN(Dentry dentry, DecodeDentry(value));
      if (KeyNumber(key, 9) != NameHash(parent, name)) return Wrong("name hash", parent.value);
      auto child = inodes_.find(dentry.inode);
      if (child == inodes_.end()) return Wrong("entry without inode", dentry.inode.value);
      if (child->second.type != dentry.type) return Wrong("entry's type", dentry.inode.value);
      names_[dentry.inode].insert({parent, name});
      entries_[parent].push_back(dentry);
      return Status::Ok();
    }));
    DFS_RETURN_IF_ERROR(Each(Tag::kLink, [&](auto key, auto) -> Status {
      links_[InodeId(KeyNumber(key, 1))].insert(
          {InodeId(KeyNumber(key, 9)), std::string(key.substr(17))});
      return Status::Ok();
    }));
    return Each(Tag::kUsage, [&](auto key, auto value) -> Status {
      DFS_ASSIGN_OR_RETURN(usage_[InodeId(KeyNumber(key, 1))], DecodeUsage(value));
      return Status::Ok();
    });
  }

  Status LoadBlocks() {
    DFS_RETURN_IF_ERROR(Each(Tag::kBlock, [&](auto key, auto value) -> Status {
      DFS_ASSIGN_OR_RETURN(blocks_[BlockId(KeyNumber(key, 1))], DecodeBlock(value));
      return Status::Ok();
    }));
    DFS_RETURN_IF_ERROR(Each(Tag::kSlot, [&](auto key, auto value) -> Status {
      DFS_ASSIGN_OR_RETURN(SlotRecord slot, DecodeSlot(value));
      slots_[InodeId(KeyNumber(key, 1))][KeyNumber(key, 9)] = slot.block;
      return Status::Ok();
    }));
    return Each(Tag::kOpenBlock, [&](auto key, auto) -> Status {
      open_.emplace(BlockId(KeyNumber(key, 9)), SessionId(KeyNumber(key, 1)));
      return Status::Ok();
    });
  }

  Status LoadRest() {
    DFS_RETURN_IF_ERROR(Each(Tag::kSession, [&](auto key, auto value) -> Status {
      if (key.size() == 9) {
        SessionId id(KeyNumber(key, 1));
        DFS_ASSIGN_OR_RETURN(sessions_[id], DecodeSession(id, value));
      } else if (KeyNumber(key, 1) == 0) {
        nonces_[KeyNumber(key, 9)] = SessionId(KeyNumber(value, 0));
      } else {
        replies_[SessionId(KeyNumber(key, 1))].insert(KeyNumber(key, 9));
      }
      return Status::Ok();
    }));
    DFS_RETURN_IF_ERROR(Each(Tag::kOrphan, [&](auto key, auto) -> Status {
      orphans_.insert({InodeId(KeyNumber(key, 1)), SessionId(KeyNumber(key, 9))});
      return Status::Ok();
    }));
    DFS_RETURN_IF_ERROR(Each(Tag::kSessionOrphan, [&](auto key, auto) -> Status {
      session_orphans_.insert({InodeId(KeyNumber(key, 9)), SessionId(KeyNumber(key, 1))});
      return Status::Ok();
    }));
    DFS_RETURN_IF_ERROR(Each(Tag::kXattr, [&](auto key, auto value) -> Status {
      auto& sum = xattrs_[InodeId(KeyNumber(key, 1))];
      sum.first += 1;
      sum.second += key.size() - 9 + value.size();
      return Status::Ok();
    }));
    return Each(Tag::kTodo, [&](auto key, auto) -> Status {
      todo_.insert(InodeId(KeyNumber(key, 1)));
      return Status::Ok();
    });
  }

  bool IsOrphan(InodeId inode) const {
    auto it = orphans_.lower_bound({inode, SessionId()});
    return it != orphans_.end() && it->first == inode;
  }

  Status CheckNames() {
    for (const auto& [id, inode] : inodes_) {
      auto found = names_.find(id);
      size_t names = found == names_.end() ? 0 : found->second.size();
      if (inode.nlink == 0) {
        if (names != 0) return Wrong("unlinked inode with names", id.value);
        if (!IsOrphan(id) && !todo_.contains(id)) return Wrong("lost inode", id.value);
        continue;
      }
      if (todo_.contains(id)) return Wrong("live inode to be reclaimed", id.value);
      if (id != kRootInode && (names == 0 || !found->second.contains({inode.parent, inode.name})))
        return Wrong("no home link", id.value);
      if (inode.IsDirectory()) {
        uint32_t subdirectories = 0;
        for (const Dentry& child : entries_[id])
          subdirectories += child.type == FileType::kDirectory ? 1 : 0;
        if (inode.nlink != 2 + subdirectories) return Wrong("directory's links", id.value);
        if (id != kRootInode && names != 1) return Wrong("directory's names", id.value);
      } else {
        if (inode.nlink != names) return Wrong("file's links", id.value);
        std::set<Name> further = found->second;
        further.erase({inode.parent, inode.name});
        if (links_[id] != further) return Wrong("further links", id.value);
      }
    }
    for (const auto& [id, names] : links_) {
      if (!names.empty() && !inodes_.contains(id)) return Wrong("links without inode", id.value);
    }
    for (const auto& [id, children] : entries_) {
      if (!children.empty() && !inodes_.contains(id)) return Wrong("entries of nothing", id.value);
    }
    for (const auto& [id, inode] : inodes_) {
      if (inode.IsDirectory() && inode.entries != entries_[id].size())
        return Wrong("entry count", id.value);
    }
    return Status::Ok();
  }

  Status CheckUsage() {
    std::map<InodeId, Usage> expected;
    for (const auto& [id, inode] : inodes_) {
      if (inode.nlink == 0 || id == kRootInode) continue;
      Usage own =
          inode.IsDirectory() ? Usage{0, 1, 0} : Usage{1, 0, static_cast<int64_t>(inode.size)};
      for (InodeId at = inode.parent;;) {
        const Inode& directory = inodes_.at(at);
        if (directory.nlink == 0) break;
        Usage& sum = expected[at];
        sum.files += own.files;
        sum.directories += own.directories;
        sum.bytes += own.bytes;
        if (at == kRootInode) break;
        at = directory.parent;
      }
    }
    for (const auto& [id, inode] : inodes_) {
      if (!inode.IsDirectory() || inode.nlink == 0) continue;
      // Inside a removed tree nobody is charged any more.
      bool live = true;
      for (InodeId at = id; at != kRootInode && live; at = inodes_.at(at).parent)
        live = inodes_.at(at).nlink > 0;
      if (live && !(usage_[id] == expected[id])) return Wrong("usage", id.value);
    }
    for (const auto& [id, usage] : usage_) {
      if (!inodes_.contains(id)) {
        if (!(usage == Usage())) return Wrong("usage of nothing", id.value);
      }
    }
    return Status::Ok();
  }

  Status CheckFiles() {
    for (const auto& [id, inode] : inodes_) {
      auto sum = xattrs_[id];
      if (!todo_.contains(id) &&
          (sum.first != inode.xattr_count || sum.second != inode.xattr_bytes))
        return Wrong("attributes", id.value);
      if (!inode.IsRegular()) continue;
      const auto& slots = slots_[id];
      uint64_t allocated = inode.inline_data.size();
      for (const auto& [slot, block_id] : slots) {
        auto block = blocks_.find(block_id);
        if (block == blocks_.end()) return Wrong("slot without block", block_id.value);
        const BlockRecord& b = block->second;
        if (b.inode != id || b.slot != slot) return Wrong("block's slot", block_id.value);
        if (b.length > inode.block_size) return Wrong("block's length", block_id.value);
        if (b.length > 0 && slot * inode.block_size + b.length > inode.size)
          return Wrong("block beyond the end", block_id.value);
        if (b.replication != inode.replication) return Wrong("replication", block_id.value);
        allocated += b.length;
      }
      if (inode.block_count != slots.size()) return Wrong("block count", id.value);
      if (inode.allocated_bytes != allocated) return Wrong("allocated bytes", id.value);
      if (inode.has_inline == inode.inline_data.empty()) return Wrong("inline flag", id.value);
      if (inode.inline_data.size() > inode.size) return Wrong("inline beyond the end", id.value);
    }
    for (const auto& [id, slots] : slots_) {
      if (!slots.empty() && !inodes_.contains(id)) return Wrong("slots of nothing", id.value);
    }
    for (const auto& [id, sum] : xattrs_) {
      if (sum.first > 0 && !inodes_.contains(id)) return Wrong("attributes of nothing", id.value);
    }
    return Status::Ok();
  }

  Status CheckBlocks() {
    std::set<uint64_t> stamps;
    for (const auto& [id, block] : blocks_) {
      if (slots_[block.inode][block.slot] != id) return Wrong("block without slot", id.value);
      if (!stamps.insert(block.stamp.value).second) return Wrong("stamp used twice", id.value);
      if (block.members.empty()) return Wrong("block without members", id.value);
      auto listed = open_.find(id);
      if ((block.state == BlockState::kClosed) != (listed == open_.end()))
        return Wrong("open block index", id.value);
      if (listed != open_.end() && listed->second != block.writer)
        return Wrong("open block's writer", id.value);
      if (block.state == BlockState::kRecovering && !(block.recovery_stamp > block.stamp))
        return Wrong("recovery stamp", id.value);
      if (block.cut_stamp > block.stamp) return Wrong("cut stamp", id.value);
      if (block.writer.valid() && !sessions_.contains(block.writer))
        return Wrong("writer that ended", id.value);
    }
    for (const auto& [id, session] : open_) {
      if (!blocks_.contains(id)) return Wrong("open block that is gone", id.value);
    }
    std::string value;
    DFS_ASSIGN_OR_RETURN(bool found, store_.Get(CountersKey(), &value));
    if (!found) return Wrong("no counters", 0);
    DFS_ASSIGN_OR_RETURN(Counters counters, DecodeCounters(value));
    if (counters.blocks != blocks_.size()) return Wrong("number of blocks", counters.blocks);
    if (counters.sessions != sessions_.size())
      return Wrong("number of sessions", counters.sessions);
    if (!blocks_.empty() && blocks_.rbegin()->first.value >= counters.next_block)
      return Wrong("block counter", counters.next_block);
    if (!inodes_.empty() && inodes_.rbegin()->first.value >= counters.next_inode)
      return Wrong("inode counter", counters.next_inode);
    if (!stamps.empty() && *stamps.rbegin() >= counters.next_stamp)
      return Wrong("stamp counter", counters.next_stamp);
    return Status::Ok();
  }

  Status CheckSessions() {
    if (orphans_ != session_orphans_) return Wrong("orphan indexes", 0);
    for (const auto& [inode, session] : orphans_) {
      auto it = inodes_.find(inode);
      if (it == inodes_.end() || it->second.nlink != 0) return Wrong("orphan", inode.value);
      if (todo_.contains(inode)) return Wrong("orphan to be reclaimed", inode.value);
      if (!sessions_.contains(session)) return Wrong("orphan of an ended session", inode.value);
    }
    for (const auto& [id, session] : sessions_) {
      uint32_t open = 0;
      for (const auto& [block, writer] : open_) open += writer == id ? 1 : 0;
      if (open != session.open_blocks) return Wrong("session's open blocks", id.value);
      if (nonces_[session.nonce] != id) return Wrong("nonce", id.value);
      for (uint64_t sequence : replies_[id]) {
        if (sequence < session.first_outstanding || sequence > session.highest_sequence)
          return Wrong("stored reply", id.value);
      }
    }
    if (nonces_.size() != sessions_.size()) return Wrong("nonces", nonces_.size());
    for (const auto& [id, sequences] : replies_) {
      if (!sequences.empty() && !sessions_.contains(id))
        return Wrong("replies of nobody", id.value);
    }
    return Status::Ok();
  }

  Status CheckLocks() {
    std::map<InodeId, std::vector<Lock>> locks;
    std::map<InodeId, uint64_t> counts;
    std::map<SessionId, uint64_t> of_session, session_counts;
    std::set<std::string> keys, listed;
    DFS_RETURN_IF_ERROR(Each(Tag::kLock, [&](auto key, auto value) -> Status {
      const InodeId inode(KeyNumber(key, 1));
      if (inode.valid() && key.size() == LockCountKey(inode).size()) {
        DFS_ASSIGN_OR_RETURN(counts[inode], DecodeLockCount(value));
      } else if (inode.valid()) {
        DFS_ASSIGN_OR_RETURN(Lock lock, DecodeLock(key, value));
        locks[inode].push_back(lock);
        of_session[lock.owner.session] += 1;
        keys.emplace(key);
      } else if (InodeOfSessionLock(key).valid()) {
        listed.insert(LockKeyOfSessionLock(key));
      } else {
        DFS_ASSIGN_OR_RETURN(SessionLocks session, DecodeSessionLocks(value));
        session_counts[SessionId(KeyNumber(key, 9))] = session.count;
      }
      return Status::Ok();
    }));
    if (keys != listed) return Wrong("locks by session", listed.size());
    for (const auto& [inode, held] : locks) {
      if (!inodes_.contains(inode) || todo_.contains(inode))
        return Wrong("locks of nothing", inode.value);
      if (counts[inode] != held.size()) return Wrong("number of locks", inode.value);
      for (const Lock& lock : held) {
        if (FindConflict(held, lock) != nullptr) return Wrong("locks in conflict", inode.value);
      }
    }
    for (const auto& [inode, count] : counts) {
      if (count != locks[inode].size()) return Wrong("number of locks", inode.value);
    }
    for (const auto& [session, count] : session_counts) {
      if (count != of_session[session]) return Wrong("session's number of locks", session.value);
      if (!sessions_.contains(session)) return Wrong("locks of an ended session", session.value);
    }
    for (const auto& [session, count] : of_session) {
      if (!session_counts.contains(session)) return Wrong("uncounted locks", session.value);
    }
    return Status::Ok();
  }

  StateStore& store_;
  std::map<InodeId, Inode> inodes_;
  std::map<InodeId, std::vector<Dentry>> entries_;
  std::map<InodeId, std::set<Name>> names_;
  std::map<InodeId, std::set<Name>> links_;
  std::map<InodeId, Usage> usage_;
  std::map<BlockId, BlockRecord> blocks_;
  std::map<InodeId, std::map<uint64_t, BlockId>> slots_;
  std::map<BlockId, SessionId> open_;
  std::map<SessionId, Session> sessions_;
  std::map<uint64_t, SessionId> nonces_;
  std::map<SessionId, std::set<uint64_t>> replies_;
  std::set<std::pair<InodeId, SessionId>> orphans_;
  std::set<std::pair<InodeId, SessionId>> session_orphans_;
  std::map<InodeId, std::pair<uint64_t, uint64_t>> xattrs_;
  std::set<InodeId> todo_;
};

}  // namespace

Status CheckConsistency(StateStore& store) {
  return Checker(store).Run();
}

}  // namespace dfs::nn
