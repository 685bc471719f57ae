// The values of the client API: what stat, list, locate and status return, and the options of
// calls. Paths and names are bytes; times are nanoseconds since the epoch; sizes are bytes.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dfs/status.h>

namespace dfs {
inline namespace v1 {

/// On whose behalf calls are made. The namenode believes it only from a trusted client (one that
/// holds the cluster key, or root or the daemon's own user on its Unix socket).
struct Identity {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;

  /// The effective ids and the groups of this process.
  static Identity OfProcess();
};

struct Options {
  /// Client addresses of the namenodes, any or all: "host:port", "[v6]:port", "unix:/path". A list
  /// in one string may be separated by commas. Empty: $DFS_NAMENODES, else the development cluster
  /// that this user runs (`dfs dev start`).
  std::vector<std::string> namenodes{};
  std::string cluster_id{};   ///< UUID text; "": takes the cluster that answers
  std::string key_file{};     ///< the cluster key's file; "": $DFS_KEY_FILE, or no key
  std::string cluster_key{};  ///< the key itself (32 bytes); goes before key_file
  bool insecure = false;      ///< speak TCP without a key (the cluster must run with --insecure)
  std::optional<Identity> caller{};           ///< default: Identity::OfProcess()
  std::chrono::milliseconds timeout{60'000};  ///< of each call, fail-over and retries included
  std::string client_name{};  ///< for the cluster's logs; "": the program's name and pid
  std::string host_id{};      ///< machine id, to prefer replicas of this host; "": /etc/machine-id
  size_t read_ahead_bytes = 8u << 20;    ///< of a Reader that reads in sequence
  size_t write_buffer_bytes = 8u << 20;  ///< unacknowledged bytes of one Writer or FileHandle
};

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

struct FileStatus {
  uint64_t inode = 0;
  FileType type = FileType::kUnknown;
  uint32_t mode = 0;  ///< permission bits, 07777
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  uint64_t size = 0;
  uint64_t allocated_bytes = 0;  ///< of data, before replication
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  uint64_t rdev = 0;
  uint64_t block_size = 0;
  uint32_t replication = 0;
  uint64_t parent = 0;        ///< directories: the parent; files: the home link's directory
  uint64_t data_version = 0;  ///< changes with every change of data, size or blocks
  uint64_t entries = 0;       ///< directories: number of names
  bool open_for_write = false;
  std::string symlink_target;

  bool is_directory() const { return type == FileType::kDirectory; }
  bool is_regular() const { return type == FileType::kRegular; }
  bool is_symlink() const { return type == FileType::kSymlink; }
};

struct DirEntry {
  std::string name;
  std::string
      path;  ///< relative to the listed directory; equals name unless the listing is recursive
  uint64_t inode = 0;
  FileType type = FileType::kUnknown;
  std::optional<FileStatus> status;  ///< with ListOptions::attributes
};

struct ListOptions {
  bool attributes = false;  ///< fetch each entry's FileStatus along
  bool recursive =
      false;  ///< depth first, a directory before what it holds; symlinks are not followed
  uint32_t page = 1000;  ///< entries fetched at once
};

struct Usage {
  uint64_t files = 0;
  uint64_t directories = 0;
  uint64_t bytes = 0;
};

struct FileSystemStatus {
  uint64_t capacity_bytes = 0;   ///< raw, of all datanodes
  uint64_t available_bytes = 0;  ///< raw
  Usage usage;                   ///< of the whole tree
  uint32_t default_replication = 0;
  uint64_t default_block_size = 0;
  uint32_t inline_limit = 0;
  std::string cluster_id;
};

struct CreateOptions {
  bool exclusive = false;  ///< kAlreadyExists when the name is there
  bool overwrite =
      true;  ///< an existing file is truncated; false (and not exclusive): kept (FileHandle only)
  bool parents = false;      ///< make missing parent directories
  uint32_t mode = 0644;      ///< as given; no umask is applied
  uint32_t replication = 0;  ///< 0: the cluster's default
  uint64_t block_size = 0;   ///< 0: the cluster's default
  int64_t mtime_ns = 0;      ///< 0: now
  bool sync_on_close =
      true;  ///< close() returns when the bytes are on the disks of all live replicas
  /// A hint: at least so much will be written. Above the cluster's inline limit it saves a commit.
  uint64_t expected_size = 0;
};

struct OpenOptions {
  bool create = false;  ///< create when absent, with `creation`
  CreateOptions creation{};
};

enum class RenameMode : uint8_t { kReplace = 0, kNoReplace = 1, kExchange = 2 };

/// Times to set; an unset one stays.
struct TimeUpdate {
  std::optional<int64_t> atime_ns{};
  std::optional<int64_t> mtime_ns{};
  bool atime_now = false;
  bool mtime_now = false;
};

enum class XattrMode : uint8_t { kAny = 0, kCreate = 1, kReplace = 2 };

struct ReplicaInfo {
  uint64_t datanode = 0;
  std::string address;  ///< TCP
  std::string host_id;
  std::string rack;
};

enum class BlockState : uint8_t { kUnknown = 0, kOpen = 1, kClosed = 2, kRecovering = 3 };

/// One slot of a file. block 0: a hole.
struct BlockLocation {
  uint64_t block = 0;
  uint64_t slot = 0;
  uint64_t offset = 0;  ///< in the file
  uint64_t length = 0;
  uint64_t stamp = 0;
  BlockState state = BlockState::kUnknown;
  std::vector<ReplicaInfo> replicas;  ///< readable ones, best for this client first
  std::vector<uint64_t> corrupt;      ///< datanodes whose replica is known to be bad
  uint32_t expected_replicas = 0;
  uint64_t writer_session = 0;
};

struct FileLayout {
  FileStatus status;
  bool is_inline = false;  ///< the content is in the inode: no blocks
  std::vector<BlockLocation> blocks;
};

struct NamenodeMember {
  uint64_t node_id = 0;
  std::string raft_address;
  std::string client_address;
  bool leader = false;
  bool reachable = false;
  uint64_t match_index = 0;
};

struct DatanodeInfo {
  uint64_t datanode = 0;
  std::string address;
  std::string host_id;
  std::string rack;
  std::string state;  ///< "live", "stale", "dead"
  uint64_t capacity_bytes = 0;
  uint64_t used_bytes = 0;
  uint64_t available_bytes = 0;
  uint64_t replicas = 0;
  int64_t last_heartbeat_ms = 0;  ///< ago
  uint32_t volumes = 0;
  uint32_t failed_volumes = 0;
  /// "in_service", "decommissioning", "decommissioned", "entering_maintenance", "maintenance"
  std::string service;
  int64_t blocks_left = -1;    ///< that have too few replicas without it; -1: not known (yet)
  int64_t maintenance_ms = 0;  ///< until it is over
  /// Its wall clock less that of the namenode that answered, when it was last heard.
  std::optional<int64_t> clock_offset_ms;
};

struct ClusterStatus {
  std::string cluster_id;
  uint64_t node_id = 0;  ///< who answered
  bool leader = false;
  uint64_t term = 0;
  uint64_t commit_index = 0;
  uint64_t applied_index = 0;
  uint64_t first_log_index = 0;
  uint64_t flushed_index = 0;
  std::string state_hash;  ///< 16 hex digits, at applied_index; "" when the member has none yet
  std::vector<NamenodeMember> members;
  std::vector<DatanodeInfo> datanodes;
  Usage usage;
  uint64_t blocks = 0;
  uint64_t under_replicated = 0;
  uint64_t missing = 0;
  uint64_t corrupt_replicas = 0;
  uint64_t pending_replications = 0;
  uint64_t pending_deletions = 0;
  bool safe_mode = false;
  bool insecure = false;
  std::string leader_hint;
  uint64_t sessions = 0;
  uint64_t open_blocks = 0;
  uint64_t log_fsyncs = 0;
  uint64_t proposals = 0;
  uint32_t default_replication = 0;
  std::string version;
  uint32_t feature_level = 0;  // up to which all namenodes understand commands
  uint64_t moving = 0;  ///< blocks with enough replicas, of which some leave with their datanode
  uint64_t repair_bytes_left = 0;
  uint64_t repair_bytes_per_second = 0;
  bool deletions_held = false;  ///< by a brake: release_deletions()
  std::string deletions_held_why;
  int64_t wall_clock_ns = 0;   ///< of who answered, 0 when it is of a version that does not say
  std::chrono::milliseconds trash_keep{};  ///< 0: there is no trash
};

/// A replica of a block, or of a datanode that is to have one.
struct ReplicaExplanation {
  uint64_t datanode = 0;
  std::string address;
  std::string host_id;
  std::string rack;
  std::string node_state;  ///< "live", "stale", "dead", "unknown"
  int64_t last_heartbeat_ms = 0;  ///< ago
  /// "good", "member", "being_copied", "unfinished", "outdated", "ahead", "corrupt", "deleting", "not_reported"
  std::string replica_state;
  uint64_t stamp = 0;                  ///< 0: not known
  std::optional<int64_t> verified_ns;  ///< when the datanode last read all of it and found it well
};

struct BlockExplanation {
  uint64_t block = 0;
  uint64_t slot = 0;
  uint64_t offset = 0;  ///< in the file
  uint64_t length = 0;
  uint64_t stamp = 0;
  BlockState state = BlockState::kUnknown;
  uint32_t expected_replicas = 0;
  std::string condition;  ///< "healthy", "under_replicated", "missing", "corrupt", "open", "recovering"
  /// "none", "waiting", "copying", "recovering", "safe_mode", "no_target", "no_source"
  std::string action;
  std::string why;  ///< a sentence, or ""
  std::vector<ReplicaExplanation> replicas;
  uint64_t writer_session = 0;
};

struct SessionInfo {
  uint64_t session = 0;
  std::string client_name;
  uint32_t uid = 0;
};

/// A page of what the leader knows of a file's blocks.
struct FileExplanation {
  FileStatus status;
  std::string path;
  bool is_inline = false;
  std::vector<BlockExplanation> blocks;  ///< holes left out
  std::optional<uint64_t> next_slot;     ///< of the next page
  std::vector<SessionInfo> sessions;     ///< that have it open, or write these blocks
};

/// What became of something that was removed.
struct Removed {
  bool in_trash = false;    ///< else it is gone for good
  std::string trash_path;   ///< where it is now; "" also when a repeated call was answered
  std::chrono::milliseconds keep{};  ///< how long it stays there
  Usage usage;              ///< what it was, itself included
};

/// The whole namespace as it was at one log index: of the directory tree everything but the bytes of blocks.
struct ExportedEntry {
  std::string path;
  FileStatus status;
  bool is_inline = false;   ///< the content is content; else it is in blocks, and not here
  std::string content;
  std::vector<std::pair<std::string, std::string>> xattrs;
  std::string link_to;      ///< not empty: a further name of the file with this path, which came before
};

struct ExportInfo {
  std::string cluster_id;
  uint64_t index = 0;       ///< of the log
  uint64_t term = 0;
  std::string state_hash;   ///< 16 hex digits
  Usage usage;              ///< of it all
};

/// What one namenode said, or why it said nothing.
struct MemberAnswer {
  std::string address;
  Result<ClusterStatus> status;
};

/// Fills the span and returns how many bytes; fewer than asked for is allowed, 0 is the end.
using Source = std::function<Result<size_t>(std::span<std::byte>)>;

}  // namespace v1
}  // namespace dfs
