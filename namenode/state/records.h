// The values of the state store. Every record begins with a version byte; a decoder refuses what it
// does not know (the member stops) and never reads past its input.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/ids.h"
#include "common/base/status.h"
#include "namenode/state/store.h"

namespace dfs::nn {

/// Numbers as in idl::FileType.
enum class FileType : uint8_t {
  kUnknown = 0,
  kRegular = 1,
  kDirectory = 2,
  kSymlink = 3,
  kFifo = 4,
  kSocket = 5,
  kCharDevice = 6,
  kBlockDevice = 7,
};

inline constexpr size_t kMaxNameBytes = 255;
inline constexpr size_t kMaxPathBytes = 4096;
inline constexpr int kMaxSymlinks = 40;
inline constexpr size_t kMaxXattrNameBytes = 255;
inline constexpr size_t kMaxXattrValueBytes = 64 * 1024;
inline constexpr uint32_t kMaxXattrs = 1000;             // per inode
inline constexpr uint64_t kMaxXattrBytes = 1024 * 1024;  // per inode, names and values
inline constexpr size_t kMaxInlineBytes = 64 * 1024;     // the configured limit is at most this
inline constexpr uint32_t kMaxLinks = 65'000;
inline constexpr uint64_t kMaxFileBytes = uint64_t{1} << 60;
inline constexpr uint64_t kMinBlockBytes = 4096;  // and a multiple of it
inline constexpr uint64_t kMaxBlockBytes = uint64_t{2} << 30;  // what a datanode stores (wire::kMaxBlockLength)
inline constexpr uint32_t kMaxReplication = 16;
inline constexpr uint32_t kMaxDepth = 4096;        // of directories
inline constexpr size_t kMaxStoredReplies = 1024;  // per session, in flight
inline constexpr uint32_t kMaxSessions = 100'000;
inline constexpr uint32_t kMaxOpenBlocksPerSession = 4096;

/// What stat shows, and what replies carry.
struct InodeAttr {
  InodeId id;
  FileType type = FileType::kUnknown;
  uint32_t mode = 0;  // permission bits, 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;  // 0: unlinked, kept while open or until reclaimed
  InodeId parent;  // directories: the parent (root: itself; detached: 0); others: of the home link
  uint64_t size = 0;             // symlinks: of the target; directories: 0
  uint64_t allocated_bytes = 0;  // committed block lengths and inline data, before replication
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  uint64_t rdev = 0;
  uint64_t block_size = 0;    // files
  uint32_t replication = 0;   // files
  uint64_t data_version = 0;  // grows with every change of data, size or blocks
  uint64_t entries = 0;       // directories: number of names
  uint64_t block_count = 0;   // files: slots that are not holes
  uint32_t xattr_count = 0;
  uint64_t xattr_bytes = 0;
  bool has_inline = false;
  bool shortened = false;  // recovery had to give up committed bytes: StateReader::ListShortened

  bool IsDirectory() const { return type == FileType::kDirectory; }
  bool IsRegular() const { return type == FileType::kRegular; }
  bool IsSymlink() const { return type == FileType::kSymlink; }
};

struct Inode : InodeAttr {
  std::string name;  // of the home link, so that a path can be told from an inode; "" for the root
  std::string inline_data;  // has_inline: the first bytes of the file; symlinks: the target
};

struct Dentry {
  InodeId inode;
  FileType type = FileType::kUnknown;
};

/// Exact and recursive: everything below a directory, without itself. Bytes are the sizes of what
/// has its home link there.
struct Usage {
  int64_t files = 0;  // everything that is no directory
  int64_t directories = 0;
  int64_t bytes = 0;
  friend bool operator==(const Usage&, const Usage&) = default;
};

struct SlotRecord {
  BlockId block;
};

/// Numbers as in idl::LocatedBlock.
enum class BlockState : uint8_t { kOpen = 1, kClosed = 2, kRecovering = 3 };

/// `length` bytes of the block are the file's; readers always clip to it, and what lies between it
/// and the end of the slot (within the file's size) are zeros. Replicas may be longer: a writer's
/// unfinished tail, or what a truncation inside the block left behind. Of the latter cut_stamp
/// tells: a replica whose stamp is at most cut_stamp holds garbage from cut_length on; it is cut
/// there before it takes on a newer stamp, and recovery counts it as min(its length, cut_length).
struct BlockRecord {
  InodeId inode;
  uint64_t slot = 0;
  Stamp stamp;
  uint64_t length = 0;  // committed
  BlockState state = BlockState::kClosed;
  uint32_t replication = 0;  // the file's, so that the block map needs no inode
  uint32_t references = 1;
  SessionId writer;  // kOpen; 0 when it is fenced and has to be recovered
  uint64_t writer_incarnation = 0;
  Stamp recovery_stamp;             // kRecovering
  std::vector<DatanodeId> members;  // open: who holds the acknowledged bytes; closed: the last ones
  Stamp cut_stamp;
  uint64_t cut_length = 0;

  /// Not closed, and nobody writes: the leader is to recover it.
  bool NeedsRecovery() const {
    return state == BlockState::kRecovering || (state == BlockState::kOpen && !writer.valid());
  }
  /// The highest stamp that was committed for it.
  Stamp LatestStamp() const { return recovery_stamp > stamp ? recovery_stamp : stamp; }
};

struct Session {
  SessionId id;
  std::string secret;
  uint64_t incarnation = 1;
  uint64_t nonce = 0;
  uint64_t first_outstanding = 1;
  uint64_t highest_sequence = 0;  // that was applied
  uint32_t open_blocks = 0;
  uint32_t uid = 0;  // who opened it
  int64_t opened_ns = 0;
  std::string client_name;
  bool caches = false;  // it may hold leases: a new leader waits for it to say which
};

enum class TodoKind : uint8_t { kDirectory = 1, kFile = 2 };
struct Todo {
  InodeId inode;
  TodoKind kind = TodoKind::kFile;
};

/// What recovery had to give up: committed bytes that no member had any more (protocols, 6.4).
struct ShortenedBlock {
  InodeId inode;
  uint64_t slot = 0;
  BlockId block;
  uint64_t old_length = 0;
  uint64_t new_length = 0;
  int64_t when_ns = 0;
};

/// The replicated counters.
struct Counters {
  uint64_t next_inode = kFirstInodeCounter;
  uint64_t next_block = kFirstBlockCounter;
  uint64_t next_stamp = 1001;
  uint64_t next_session = 1;
  uint64_t blocks = 0;    // that exist
  uint64_t sessions = 0;  // that are alive
  uint32_t feature_level = 1;
  bool initialized = false;  // the first SetMeta was applied
  std::string cluster_id;
  friend bool operator==(const Counters&, const Counters&) = default;
};

// Encode* gives the value that is stored. Decode* is kCorrupt for anything malformed; ids that are
// in the key are passed in.
std::string EncodeInode(const Inode& inode);
Result<Inode> DecodeInode(InodeId id, std::string_view value);
/// Only what a walk up the tree needs.
struct InodeHead {
  FileType type;
  uint32_t nlink;
  InodeId parent;
};
Result<InodeHead> DecodeInodeHead(std::string_view value);
std::string EncodeDentry(const Dentry& dentry);
Result<Dentry> DecodeDentry(std::string_view value);
std::string EncodeUsage(const Usage& usage);
Result<Usage> DecodeUsage(std::string_view value);
std::string EncodeSlot(const SlotRecord& slot);
Result<SlotRecord> DecodeSlot(std::string_view value);
std::string EncodeBlock(const BlockRecord& block);
Result<BlockRecord> DecodeBlock(std::string_view value);
std::string EncodeSession(const Session& session);
Result<Session> DecodeSession(SessionId id, std::string_view value);
std::string EncodeTodo(const Todo& todo);
Result<Todo> DecodeTodo(InodeId inode, std::string_view value);
std::string EncodeShortened(const ShortenedBlock& shortened);
Result<ShortenedBlock> DecodeShortened(InodeId inode, uint64_t slot, std::string_view value);
std::string EncodeCounters(const Counters& counters);
Result<Counters> DecodeCounters(std::string_view value);
std::string EncodeApplied(const AppliedMark& mark);
Result<AppliedMark> DecodeApplied(std::string_view value);

/// 1 to 255 bytes, no '/', no NUL, not "." or "..".
Status CheckName(std::string_view name);

}  // namespace dfs::nn
