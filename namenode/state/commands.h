// The replicated commands: what travels in the Raft log. A command is a header and one body; the
// leader puts into it everything that Apply may not find out for itself: the time, the chosen
// datanodes, who has a file open, on whose behalf. Apply decides the rest from the replicated
// state.
//
// Adding a field means a new kVersion of that body and a feature level that allows proposing it. FieldsV1
// and FieldsV2 are what those versions had; a body that says no more is still encoded so, for members of that level.
// A member that meets a type or version it does not know stops.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/auth/credentials.h"
#include "common/base/ids.h"
#include "common/base/status.h"
#include "namenode/state/records.h"
#include "namenode/state/replies.h"

namespace dfs::nn {

/// Numbers stay: they are in logs.
enum class CommandType : uint16_t {
  kOpenSession = 1,
  kResumeSession = 2,
  kExpireSession = 3,
  kCloseSession = 4,
  kMkdir = 10,
  kCreate = 11,
  kSymlink = 12,
  kLink = 13,
  kUnlink = 14,
  kRmdir = 15,
  kRemoveTree = 16,
  kReclaim = 17,
  kRename = 18,
  kSetAttr = 19,
  kSetXattr = 20,
  kRemoveXattr = 21,
  kCloseOrphan = 22,
  kOpenBlock = 30,
  kExcludeMembers = 31,
  kCommitLength = 32,
  kCloseBlock = 33,
  kWriteInline = 34,
  kReleaseBlocks = 35,
  kBeginBlockRecovery = 40,
  kExcludeFromRecovery = 41,
  kFinishBlockRecovery = 42,
  kSetMeta = 50,
};

/// session 0: nobody's. Then there is no exactly-once (internal commands and plain Thrift clients),
/// and what needs a session is refused.
struct CommandHeader {
  SessionId session;
  uint64_t incarnation = 0;
  uint64_t sequence = 0;           // from 1, of this session
  uint64_t first_outstanding = 0;  // the client will not ask again for anything below
  int64_t now_ns = 0;              // the leader's wall clock
  Credentials caller;
};

// ---- Sessions -----------------------------------------------------------------------------------

/// Idempotent by (nonce, secret): a retry gives the same session. The header's session is 0.
/// Result: SessionResult.
struct OpenSessionCommand {
  static constexpr CommandType kType = CommandType::kOpenSession;
  static constexpr uint8_t kVersion = 2;
  std::string client_name;  // at most 255 bytes
  std::string secret;       // 1 to 64 bytes
  uint64_t nonce = 0;
  bool caches = false;  // it will hold leases
  template <class A>
  void Fields(A& a) {
    FieldsV1(a);
    a(caches);
  }
  template <class A>
  void FieldsV1(A& a) {
    a(client_name, secret, nonce);
  }
  bool SaysVersion1() const { return !caches; }
};

/// A new process takes the session over: raises the incarnation, drops stored replies, fences open
/// blocks (they have to be recovered). The header's session is 0. A retry with the same
/// expected_incarnation is told kStaleIncarnation and asks again. Result: SessionResult.
struct ResumeSessionCommand {
  static constexpr CommandType kType = CommandType::kResumeSession;
  static constexpr uint8_t kVersion = 1;
  SessionId session;
  std::string secret;
  uint64_t expected_incarnation = 0;  // 0: whatever it is
  template <class A>
  void Fields(A& a) {
    a(session, secret, expected_incarnation);
  }
};

/// The leader's decision that a session's keep-alives stopped. Fences its open blocks
/// (BlockRecord:: NeedsRecovery), releases its orphans, drops it and its replies. Ok when it is
/// gone already; kStaleIncarnation when it was resumed in between. Header's session 0.
struct ExpireSessionCommand {
  static constexpr CommandType kType = CommandType::kExpireSession;
  static constexpr uint8_t kVersion = 1;
  SessionId session;
  uint64_t incarnation = 0;  // that the leader watched
  template <class A>
  void Fields(A& a) {
    a(session, incarnation);
  }
};

/// The client's own, orderly end; otherwise as expiry. Header's session 0 (there would be nobody to
/// store the reply for); the incarnation must be the current one. Ok when it is gone already.
struct CloseSessionCommand {
  static constexpr CommandType kType = CommandType::kCloseSession;
  static constexpr uint8_t kVersion = 1;
  SessionId session;
  uint64_t incarnation = 0;
  template <class A>
  void Fields(A& a) {
    a(session, incarnation);
  }
};

// ---- Names --------------------------------------------------------------------------------------
// A parent is the inode of a directory and a name one component in it; search permission on the way
// to the parent was checked by StateReader::ResolvePath.

/// Result: CreateResult (created false only with `parents`, when the directory is there).
struct MkdirCommand {
  static constexpr CommandType kType = CommandType::kMkdir;
  static constexpr uint8_t kVersion = 1;
  InodeId parent;
  std::string name;  // with `parents` a relative path: missing directories are made on the way
  uint32_t mode = 0755;
  bool parents = false;  // as mkdir -p: also ok when it exists. kConflict: resolve the path again
  template <class A>
  void Fields(A& a) {
    a(parent, name, mode, parents);
  }
};

/// Makes a regular file (or fifo, socket, device), or opens the one that is there.
/// An existing file: kAlreadyExists when exclusive, kIsDirectory, kConflict for a symlink (resolve
/// it first); overwrite cuts it to 0 (write permission) and then puts inline data in; neither: it
/// is left alone. Result: CreateResult; with open_first: CreateOpenResult.
struct CreateCommand {
  static constexpr CommandType kType = CommandType::kCreate;
  static constexpr uint8_t kVersion = 2;
  InodeId parent;
  std::string name;  // with `parents` a relative path
  FileType type = FileType::kRegular;
  uint32_t mode = 0644;
  uint64_t rdev = 0;
  bool exclusive = false;
  bool overwrite = false;
  bool parents = false;
  uint32_t replication = 1;  // the leader puts the defaults in
  uint64_t block_size = 128ull << 20;
  bool has_inline = false;
  std::string inline_data;  // the whole content, at most kMaxInlineBytes
  int64_t mtime_ns = 0;     // 0: now
  /// Also opens slot 0 for the header's session, as OpenBlockCommand does, when the file is empty then.
  bool open_first = false;
  std::vector<DatanodeId> first_members =
      {};  // none: the leader found none, and no block is opened
  template <class A>
  void Fields(A& a) {
    FieldsV1(a);
    a(open_first, first_members);
  }
  template <class A>
  void FieldsV1(A& a) {
    a(parent, name, type, mode, rdev, exclusive, overwrite, parents, replication, block_size,
      has_inline, inline_data, mtime_ns);
  }
  bool SaysVersion1() const { return !open_first; }
};

/// Result: AttrResult of the symlink.
struct SymlinkCommand {
  static constexpr CommandType kType = CommandType::kSymlink;
  static constexpr uint8_t kVersion = 1;
  InodeId parent;
  std::string name;
  std::string target;  // 1 to 4095 bytes
  template <class A>
  void Fields(A& a) {
    a(parent, name, target);
  }
};

/// A further hard link; not to directories. Result: AttrResult of the inode.
struct LinkCommand {
  static constexpr CommandType kType = CommandType::kLink;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  InodeId parent;
  std::string name;
  template <class A>
  void Fields(A& a) {
    a(inode, parent, name);
  }
};

/// Not for directories. When the last link goes, the inode stays as an orphan until the sessions
/// named here (those that have it open, as the leader knows) have closed it or ended.
struct UnlinkCommand {
  static constexpr CommandType kType = CommandType::kUnlink;
  static constexpr uint8_t kVersion = 1;
  InodeId parent;
  std::string name;
  std::vector<SessionId> open_sessions;
  template <class A>
  void Fields(A& a) {
    a(parent, name, open_sessions);
  }
};

struct RmdirCommand {
  static constexpr CommandType kType = CommandType::kRmdir;
  static constexpr uint8_t kVersion = 1;
  InodeId parent;
  std::string name;
  template <class A>
  void Fields(A& a) {
    a(parent, name);
  }
};

/// Detaches a file or a whole tree in one command; what was below is reclaimed in steps
/// (ReclaimCommand). Permission: as unlink for the entry; a directory that is not empty must
/// moreover be the caller's own with rwx, or the caller be root (what is below is not looked at:
/// that would not be bounded). Result: RemoveTreeResult.
struct RemoveTreeCommand {
  static constexpr CommandType kType = CommandType::kRemoveTree;
  static constexpr uint8_t kVersion = 1;
  InodeId parent;
  std::string name;
  std::vector<SessionId> open_sessions;  // of the entry itself when it is a file
  template <class A>
  void Fields(A& a) {
    a(parent, name, open_sessions);
  }
};

struct OpenInode {
  InodeId inode;
  std::vector<SessionId> sessions;
  template <class A>
  void Fields(A& a) {
    a(inode, sessions);
  }
};

/// One bounded step on a to-do: drops up to `limit` names or blocks. Proposed by the leader while
/// StateReader::ListTodo gives anything. `open`: which files below are open (the leader may name
/// all open files); when their last link goes here they become orphans. Header's session 0. Result:
/// ReclaimResult.
struct ReclaimCommand {
  static constexpr CommandType kType = CommandType::kReclaim;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  uint32_t limit = 1000;
  std::vector<OpenInode> open;
  template <class A>
  void Fields(A& a) {
    a(inode, limit, open);
  }
};

enum RenameFlags : uint32_t { kRenameNoReplace = 1, kRenameExchange = 2 };

struct RenameCommand {
  static constexpr CommandType kType = CommandType::kRename;
  static constexpr uint8_t kVersion = 1;
  InodeId source_parent;
  std::string source_name;
  InodeId target_parent;
  std::string target_name;
  uint32_t flags = 0;
  std::vector<SessionId> open_sessions;  // of the file that is replaced
  template <class A>
  void Fields(A& a) {
    a(source_parent, source_name, target_parent, target_name, flags, open_sessions);
  }
};

/// Bits as in idl::SetAttrRequest.mask.
enum SetAttrMask : uint32_t {
  kSetMode = 1,
  kSetUid = 2,
  kSetGid = 4,
  kSetSize = 8,
  kSetAtime = 16,
  kSetMtime = 32,
  kSetAtimeNow = 64,
  kSetMtimeNow = 128,
  kSetReplication = 256,
};

/// Size: grows with zeros; shrinking drops slots beyond the end (open ones, too: that fences their
/// writers). A cut inside a block that is open or being recovered is kBusy: close it first.
/// Result: AttrResult.
struct SetAttrCommand {
  static constexpr CommandType kType = CommandType::kSetAttr;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  uint32_t mask = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  uint32_t replication = 0;
  bool by_handle =
      false;  // ftruncate: the owner may without write permission (it was checked at open)
  template <class A>
  void Fields(A& a) {
    a(inode, mask, mode, uid, gid, size, atime_ns, mtime_ns, replication, by_handle);
  }
};

enum XattrFlags : uint32_t { kXattrCreate = 1, kXattrReplace = 2 };

struct SetXattrCommand {
  static constexpr CommandType kType = CommandType::kSetXattr;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  std::string name;
  std::string value;
  uint32_t flags = 0;
  template <class A>
  void Fields(A& a) {
    a(inode, name, value, flags);
  }
};

struct RemoveXattrCommand {
  static constexpr CommandType kType = CommandType::kRemoveXattr;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  std::string name;
  template <class A>
  void Fields(A& a) {
    a(inode, name);
  }
};

/// `session` closed its last descriptor of an unlinked file. Ok when there is nothing to release.
/// Header's session 0.
struct CloseOrphanCommand {
  static constexpr CommandType kType = CommandType::kCloseOrphan;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  SessionId session;
  template <class A>
  void Fields(A& a) {
    a(inode, session);
  }
};

// ---- Files and blocks ---------------------------------------------------------------------------
// All of these need a session, which must be the block's writer. Write permission is decided at
// open; here the file's owner always may, others need the bit.

/// Opens a slot's block for writing: commits {new stamp, members, writer} before any byte changes.
/// kStaleStamp: expected_stamp is not the block's (0: a hole). kBusy: another live session has it
/// open, or it has to be recovered first. Opening one's own open block again is allowed; members
/// must then be among its members (they alone have the acknowledged bytes), unless its writer says
/// that nothing was ever acknowledged. Of a closed block the leader names replicas of its stamp.
/// Result: OpenBlockResult.
struct OpenBlockCommand {
  static constexpr CommandType kType = CommandType::kOpenBlock;
  static constexpr uint8_t kVersion = 3;
  InodeId inode;
  uint64_t slot = 0;
  Stamp expected_stamp;
  std::vector<DatanodeId> members;  // in chain order, 1 to kMaxReplication, distinct
  /// Of the session's own open block without committed bytes: its writer has had no acknowledgement
  /// for it, so anybody may be a member.
  bool members_anew = false;
  /// Of a small file that grows out of its inode: the version of the content that the writer knows. kConflict: another
  /// session has written since, and the writer would put its own over that. 0: not compared.
  uint64_t data_version = 0;
  template <class A>
  void Fields(A& a) {
    FieldsV2(a);
    a(data_version);
  }
  template <class A>
  void FieldsV2(A& a) {
    FieldsV1(a);
    a(members_anew);
  }
  template <class A>
  void FieldsV1(A& a) {
    a(inode, slot, expected_stamp, members);
  }
  bool SaysVersion1() const { return SaysVersion2() && !members_anew; }
  bool SaysVersion2() const { return data_version == 0; }
};

/// The session's writer of a file failed or was abandoned: the session's open blocks in these slots
/// (none named: all of the file's) are left to recovery, as if the session had ended. Ok when there
/// is nothing to do. Result: none.
struct ReleaseBlocksCommand {
  static constexpr CommandType kType = CommandType::kReleaseBlocks;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  std::vector<uint64_t> slots;
  template <class A>
  void Fields(A& a) {
    a(inode, slots);
  }
};

/// Replaces the members by the survivors (among them, at least one) under a new stamp.
/// Result: OpenBlockResult.
struct ExcludeMembersCommand {
  static constexpr CommandType kType = CommandType::kExcludeMembers;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  uint64_t slot = 0;
  BlockId block;
  Stamp stamp;
  std::vector<DatanodeId> survivors;
  template <class A>
  void Fields(A& a) {
    a(inode, slot, block, stamp, survivors);
  }
};

/// hflush, and fsync of an inline file that grew: the length becomes visible. Result: AttrResult.
struct CommitLengthCommand {
  static constexpr CommandType kType = CommandType::kCommitLength;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  uint64_t slot = 0;
  BlockId block;
  Stamp stamp;
  uint64_t length = 0;       // not below the committed length
  uint64_t file_size = 0;    // the file grows to at least this; 0: leave it
  int64_t mtime_ns = 0;      // 0: now
  bool drop_inline = false;  // the block holds the former inline bytes, synced on every member
  template <class A>
  void Fields(A& a) {
    a(inode, slot, block, stamp, length, file_size, mtime_ns, drop_inline);
  }
};

/// members: those that confirmed `length` at `stamp`; at least one, all of them members. When
/// rename_parent is given, the file's home link moves there in the same command, or nothing
/// happens. Result: AttrResult.
struct CloseBlockCommand {
  static constexpr CommandType kType = CommandType::kCloseBlock;
  static constexpr uint8_t kVersion = 1;
  InodeId inode;
  uint64_t slot = 0;
  BlockId block;
  Stamp stamp;
  uint64_t length = 0;
  std::vector<DatanodeId> members;
  uint64_t file_size = 0;
  int64_t mtime_ns = 0;
  bool drop_inline = false;
  InodeId rename_parent;  // 0: no rename
  std::string rename_name;
  bool rename_replace = false;
  std::vector<SessionId> open_sessions;  // of the file that is replaced
  template <class A>
  void Fields(A& a) {
    a(inode, slot, block, stamp, length, members, file_size, mtime_ns, drop_inline, rename_parent,
      rename_name, rename_replace, open_sessions);
  }
};

/// Replaces the whole content of a file that has no blocks. data_version: kConflict unless it is
/// the file's; kAnyVersion: not compared. Needs no session. Result: AttrResult.
struct WriteInlineCommand {
  static constexpr CommandType kType = CommandType::kWriteInline;
  static constexpr uint8_t kVersion = 1;
  static constexpr uint64_t kAnyVersion = ~uint64_t{0};
  InodeId inode;
  std::string data;
  uint64_t data_version = kAnyVersion;
  int64_t mtime_ns = 0;
  template <class A>
  void Fields(A& a) {
    a(inode, data, data_version, mtime_ns);
  }
};

// ---- Block recovery (protocols, section 6): the leader's, header's session 0
// ---------------------

/// Step 1: commits the recovery stamp, which fences the writer. For blocks that NeedsRecovery();
/// again while recovering (an attempt failed); for a closed block only with `closed_too` (none of
/// its members has the committed length any more). kStaleStamp unless expected_stamp is the block's
/// LatestStamp(). kBusy while a live session writes. Result: OpenBlockResult, where stamp is the
/// recovery stamp and old_stamp the writer's.
struct BeginBlockRecoveryCommand {
  static constexpr CommandType kType = CommandType::kBeginBlockRecovery;
  static constexpr uint8_t kVersion = 1;
  BlockId block;
  Stamp expected_stamp;
  bool closed_too = false;
  bool fence_writer = false;  // also when a live session writes: no member takes its bytes any more
  template <class A>
  void Fields(A& a) {
    a(block, expected_stamp, closed_too, fence_writer);
  }
};

/// Leaves the silent members out. Compare-and-set on the recovery stamp.
struct ExcludeFromRecoveryCommand {
  static constexpr CommandType kType = CommandType::kExcludeFromRecovery;
  static constexpr uint8_t kVersion = 1;
  BlockId block;
  Stamp recovery_stamp;
  std::vector<DatanodeId> survivors;
  template <class A>
  void Fields(A& a) {
    a(block, recovery_stamp, survivors);
  }
};

/// Closes the block at the recovery stamp with the members that are durable at it. The file grows
/// to the block's new end if it was shorter. Fewer bytes than were committed only with
/// allow_shorter; the loss is then recorded (StateReader::ListShortened) and a file that ended
/// there is cut. length 0 with no members: nobody ever got a byte; the slot becomes a hole again
/// (only when nothing was committed either, or with allow_shorter).
struct FinishBlockRecoveryCommand {
  static constexpr CommandType kType = CommandType::kFinishBlockRecovery;
  static constexpr uint8_t kVersion = 1;
  BlockId block;
  Stamp recovery_stamp;
  uint64_t length = 0;
  std::vector<DatanodeId> members;
  bool allow_shorter = false;
  template <class A>
  void Fields(A& a) {
    a(block, recovery_stamp, length, members, allow_shorter);
  }
};

// ---- Cluster ------------------------------------------------------------------------------------

/// The first one, which a new cluster's first leader proposes, also sets the cluster's id and who
/// owns the root; later ones only raise the feature level. Header's session 0.
struct SetMetaCommand {
  static constexpr CommandType kType = CommandType::kSetMeta;
  static constexpr uint8_t kVersion = 1;
  uint32_t feature_level = 0;  // 0: leave it
  std::string cluster_id;
  uint32_t root_uid = 0;
  uint32_t root_gid = 0;
  uint32_t root_mode = 0755;
  template <class A>
  void Fields(A& a) {
    a(feature_level, cluster_id, root_uid, root_gid, root_mode);
  }
};

using CommandBody =
    std::variant<OpenSessionCommand, ResumeSessionCommand, ExpireSessionCommand,
                 CloseSessionCommand, MkdirCommand, CreateCommand, SymlinkCommand, LinkCommand,
                 UnlinkCommand, RmdirCommand, RemoveTreeCommand, ReclaimCommand, RenameCommand,
                 SetAttrCommand, SetXattrCommand, RemoveXattrCommand, CloseOrphanCommand,
                 OpenBlockCommand, ExcludeMembersCommand, CommitLengthCommand, CloseBlockCommand,
                 WriteInlineCommand, ReleaseBlocksCommand, BeginBlockRecoveryCommand,
                 ExcludeFromRecoveryCommand, FinishBlockRecoveryCommand, SetMetaCommand>;

struct Command {
  CommandHeader header;
  CommandBody body;
};

/// What goes into the log.
std::string EncodeCommand(const CommandHeader& header, const CommandBody& body);
/// kVersionMismatch: a type or version this member does not know; kCorrupt: malformed. Either stops
/// the member.
Result<Command> DecodeCommand(std::string_view bytes);

CommandType TypeOf(const CommandBody& body);
/// "mkdir", for logs and tests.
std::string_view CommandName(CommandType type);

}  // namespace dfs::nn
