// Keys of the state store (docs/state.md): a tag byte, then big-endian numbers, then bytes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/ids.h"

namespace dfs::nn {

enum class Tag : char {
  kBlock = 'B',      // block -> BlockRecord
  kDentry = 'D',     // parent, hash63(name), name -> Dentry
  kShortened = 'F',  // inode, slot -> ShortenedBlock: what recovery had to give up; for fsck
  kTodo = 'G',       // inode -> Todo: what is to be reclaimed in bounded steps
  kInode = 'I',      // inode -> Inode
  kLock = 'K',       // locks.h: locks by inode, and by session (as inode 0)
  kLink = 'L',       // inode, parent, name -> nothing: a further hard link
  kMeta = 'M',       // name -> counters, applied mark
  kSession = 'N',    // session -> Session; session, sequence -> stored reply; 0, nonce -> session
  kOrphan = 'O',     // inode, session -> nothing: unlinked but open
  kSessionOrphan = 'P',  // session, inode -> nothing: the same the other way round
  kDatanode = 'R',       // datanode -> DatanodeRecord: what an operator has taken out of service
  kSlot = 'S',           // inode, slot -> SlotRecord
  kUsage = 'U',          // directory -> Usage
  kOpenBlock = 'W',      // writer session, block -> nothing: blocks that are not closed
  kXattr = 'X',          // inode, name -> value
};

/// The first `readdir` cookie that a name can have; 0 to 2 are the start, "." and "..".
inline constexpr uint64_t kFirstNameHash = 3;
inline constexpr uint64_t kMaxNameHash = (uint64_t{1} << 63) - 1;

/// The name's place in its directory and its cookie: kFirstNameHash..kMaxNameHash.
uint64_t NameHash(InodeId directory, std::string_view name);

// Each returns a fresh string; those of one tag and fixed parts only are prefixes for scans.
std::string BlockKey(BlockId block);
std::string DatanodeKey(DatanodeId datanode);
std::string DentryPrefix(InodeId directory);
std::string DentryPrefix(InodeId directory, uint64_t hash);
std::string DentryKey(InodeId directory, std::string_view name);
std::string ShortenedKey(InodeId inode, uint64_t slot);
std::string TodoKey(InodeId inode);
std::string InodeKey(InodeId inode);
std::string LinkPrefix(InodeId inode);
std::string LinkKey(InodeId inode, InodeId parent, std::string_view name);
std::string MetaKey(std::string_view name);
std::string SessionKey(SessionId session);
std::string ReplyKey(SessionId session, uint64_t sequence);
std::string NonceKey(uint64_t nonce);
std::string OrphanPrefix(InodeId inode);
std::string OrphanKey(InodeId inode, SessionId session);
std::string SessionOrphanPrefix(SessionId session);
std::string SessionOrphanKey(SessionId session, InodeId inode);
std::string SlotPrefix(InodeId inode);
std::string SlotKey(InodeId inode, uint64_t slot);
std::string UsageKey(InodeId directory);
std::string OpenBlockPrefix(SessionId session);
std::string OpenBlockKey(SessionId session, BlockId block);
std::string XattrPrefix(InodeId inode);
std::string XattrKey(InodeId inode, std::string_view name);
std::string TagPrefix(Tag tag);

/// The big-endian number that begins at byte `position` of a key; 0 when the key is too short.
uint64_t KeyNumber(std::string_view key, size_t position);

/// Keys of the meta records.
std::string_view AppliedKey();
std::string_view CountersKey();

}  // namespace dfs::nn
