// StateReader: the committed state as the service reads it. Confined to the namenode's loop;
// nothing it returns refers to the store. Errors other than POSIX's (kIoError, kCorrupt) stop the
// member.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/auth/credentials.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "namenode/state/locks.h"
#include "namenode/state/records.h"

namespace dfs::nn {

class CommittedView;

/// Where a path leads.
struct ResolvedPath {
  InodeId parent;    // the directory of the last component ("" and "/": the inode's own parent)
  std::string name;  // the last component, as a name in parent; "" for the root
  std::optional<Inode> inode;  // absent: there is no such name (yet)
  /// The path ended in '/', or in "." or "..": only a directory will do.
  bool must_be_directory = false;
  /// With allow_missing: `parent` is the deepest directory that exists, and this is the whole rest
  /// of the path from there (its last component included). "" when only the last component is
  /// missing.
  std::string missing_path;
};

struct ResolveOptions {
  bool follow_final = true;    // follow a symlink in the last place
  bool allow_missing = false;  // do not fail at a missing directory on the way (mkdir -p)
};

struct DirectoryEntry {
  std::string name;
  Dentry dentry;
  uint64_t cookie = 0;
  std::optional<Inode> inode;  // with attributes; without inline data, but with a symlink's target
};

struct DirectoryPage {
  std::vector<DirectoryEntry> entries;
  bool done = false;
};

struct SlotBlock {
  uint64_t slot = 0;
  BlockId id;
  BlockRecord block;
};

class StateReader {
 public:
  explicit StateReader(CommittedView* view) : view_(view) {}

  // ---- Names
  /// Walks path from start (InodeId 0: the root; absolute paths also begin there). Checks search
  /// permission on every directory it goes through. kNotFound, kNotDirectory, kAccessDenied,
  /// kNameTooLong, kSymlinkLoop, kStaleHandle when start is gone.
  Result<ResolvedPath> ResolvePath(InodeId start, std::string_view path, const Credentials& who,
                                   const ResolveOptions& options);
  /// kNotFound when the name is not there. No permission check.
  Result<Dentry> Lookup(InodeId directory, std::string_view name);
  /// kStaleHandle when it is gone.
  Result<Inode> GetInode(InodeId inode);
  /// Entries after cookie (0: from the start) in cookie order; "." and ".." are the caller's. Stops
  /// after max_entries or about max_bytes, but never between names of equal hash.
  Result<DirectoryPage> ReadDirectory(InodeId directory, uint64_t cookie, size_t max_entries,
                                      size_t max_bytes, bool with_attributes);
  /// The path of an inode by its home links, "" when it is unlinked.
  Result<std::string> PathOf(InodeId inode);
  Result<Usage> GetUsage(InodeId directory);
  /// Of the whole tree, the root itself not counted.
  Result<Usage> TotalUsage() { return GetUsage(kRootInode); }
  /// kNoAttribute when it is not there.
  Result<std::string> GetXattr(InodeId inode, std::string_view name);
  Result<std::vector<std::string>> ListXattrs(InodeId inode);

  // ---- Blocks
  /// The slots in [first, last] that are not holes, at most max.
  Result<std::vector<SlotBlock>> ReadBlocks(InodeId inode, uint64_t first, uint64_t last,
                                            size_t max);
  /// kNotFound when a command deleted it (its id is below the counter) or it never was.
  Result<BlockRecord> GetBlock(BlockId block);
  /// In id order, from `from`; stops when visit returns false.
  Status ForEachBlock(BlockId from, const std::function<bool(BlockId, const BlockRecord&)>& visit);
  /// Blocks that are not closed.
  Result<std::vector<std::pair<BlockId, BlockRecord>>> ListOpenBlocks();
  /// Those that need recovery: recovering, or open without a writer.
  Result<std::vector<std::pair<BlockId, BlockRecord>>> ListBlocksToRecover();
  Result<std::vector<ShortenedBlock>> ListShortened(size_t max);

  // ---- Datanodes
  /// Those that an operator has taken out of service.
  Result<std::vector<std::pair<DatanodeId, DatanodeRecord>>> ListDatanodes();

  // ---- Sessions and to-do
  /// kUnknownSession.
  Result<Session> GetSession(SessionId session);
  Status ForEachSession(const std::function<void(const Session&)>& visit);
  /// The stored reply (encoded CommandReply) of an operation that was applied already; nothing when
  /// it was not. kUnknownSession, kStaleIncarnation, kStaleSequence as Apply would say.
  Result<std::optional<std::string>> FindReply(SessionId session, uint64_t incarnation,
                                               uint64_t sequence);
  /// In the order of inodes, from one on.
  Result<std::vector<Todo>> ListTodo(size_t max, InodeId from = InodeId());
  Result<std::vector<SessionId>> OrphanSessions(InodeId inode);
  Status ForEachOrphan(const std::function<void(InodeId, SessionId)>& visit);

  // ---- Locks
  /// In the order of their owners and ranges.
  Result<std::vector<Lock>> ListLocks(InodeId inode, LockKind kind);

  /// Committed.
  const Counters& counters() const;
  AppliedMark applied() const;

 private:
  CommittedView* view_;
};

}  // namespace dfs::nn
