// The messages of the control protocol. Thrift is the IDL, the structs and the compact protocol; on our
// own connections a struct is the payload of a frame and methods.h numbers the methods. A stock
// Thrift client (framed, compact) may call ClientService on a Unix socket or where --insecure is set.
//
// Schema rules: never reuse or renumber a field; one struct per request and reply; a reader ignores what it
// does not know and gives what is missing its default. Times are nanoseconds since the epoch. Paths and
// names are bytes.

namespace cpp dfs.idl
namespace py dfs_idl

exception DfsError {
  1: i32 code            // dfs::Code
  2: string message
  3: i32 posix_errno
  4: i32 retry_after_ms
  5: string leader_hint
}

// ---- Common ---------------------------------------------------------------------------------------------

// On whose behalf. Believed only from a trusted peer (see PeerIdentity); otherwise the peer's own.
struct Caller {
  1: i32 uid
  2: i32 gid
  3: list<i32> groups
}

// Exactly-once header of every change (protocols, section 1). session 0: at most once, no retry across
// a fail-over; allowed for plain Thrift clients only.
struct OpId {
  1: i64 session
  2: i64 incarnation
  3: i64 sequence
  4: i64 first_outstanding
}

// What a call is about: a path relative to an inode (openat). path "": the inode itself; one component
// is (inode, name); inode 0 means the root.
struct Ref {
  1: i64 inode
  2: binary path
}

enum FileType { UNKNOWN = 0, REGULAR = 1, DIRECTORY = 2, SYMLINK = 3, FIFO = 4, SOCKET = 5, CHAR_DEVICE = 6, BLOCK_DEVICE = 7 }

struct Attr {
  1: i64 inode
  2: FileType type
  3: i32 mode              // permission bits, 07777
  4: i32 uid
  5: i32 gid
  6: i32 nlink
  7: i64 size
  8: i64 allocated_bytes   // of data, before replication
  9: i64 atime_ns
  10: i64 mtime_ns
  11: i64 ctime_ns
  12: i64 rdev
  13: i64 block_size
  14: i32 replication
  15: i64 parent           // directories: the parent; files: the home link's directory
  16: i64 data_version     // changes with every change of data, size or blocks
  17: i64 entries          // directories: number of names
  18: bool open_for_write
}

struct Usage { 1: i64 files, 2: i64 directories, 3: i64 bytes }

struct Empty {}

// ---- Sessions -------------------------------------------------------------------------------------------

struct OpenSessionRequest {
  1: string client_name
  2: binary secret
  3: i64 nonce             // makes a retried open the same session
  4: bool caches           // it will hold leases: changes wait for it (docs/leases.md)
}
struct OpenSessionReply { 1: i64 session, 2: i64 incarnation, 3: i32 expiry_ms }
struct ResumeSessionRequest { 1: i64 session, 2: binary secret, 3: i64 expected_incarnation }
struct KeepAliveRequest {
  1: i64 session
  2: i64 incarnation
  3: bool holds_state
  4: list<i64> open_inodes
  5: list<i64> returned    // leases that the session gives back
}
// lease: this namenode leads under a valid leader lease, and knows what the session holds: its term is 3 s from the
// sending of this keep-alive. tell_leases: it does not know; the session is to tell it (declare_leases).
struct KeepAliveReply { 1: i32 expiry_ms, 2: i64 term, 3: bool lease, 4: bool tell_leases }
struct CloseSessionRequest { 1: i64 session, 2: i64 incarnation }

// ---- Leases (docs/leases.md) ------------------------------------------------------------------------------
// A session that caches is granted leases with the answers to what it asks: an answer with `lease_term` (the leader's
// term; 0: no) may be kept until it is recalled, and only while the session's own term runs.

// All that the session holds, to a leader that does not know; in as many parts as it takes.
struct DeclareLeasesRequest { 1: i64 session, 2: i64 incarnation, 3: i64 term, 4: list<i64> read_leases, 5: list<i64> write_leases, 6: bool last }

// The right to write to a file ahead of telling anyone. Answered when nobody else holds a lease on it any more.
struct AcquireLeaseRequest { 1: i64 session, 2: i64 incarnation, 3: i64 inode }
struct AcquireLeaseReply { 1: Attr attr, 2: i64 lease_term }

// Leader to client, over the connection the client opened; answered when nothing of it is served from a cache any more.
enum RecallKind {
  NAME = 1         // one name of a directory, and the directory's attributes; the lease stays
  ATTRIBUTES = 2   // of a directory; the lease stays
  INODE = 3        // all of it: the lease is gone, and the file's writer is closed
  WRITE = 4        // what was written is to be told, and the write lease is gone; a read lease stays
}
struct Recall { 1: i64 inode, 2: i32 kind, 3: binary name }
struct RecallRequest { 1: i64 session, 2: i64 term, 3: list<Recall> recalls }

// ---- Reading the namespace ------------------------------------------------------------------------------

struct StatRequest {
  1: Ref ref
  2: bool follow           // resolve a final symlink
  3: Caller caller
  4: i64 session           // that the lease is for
}
struct StatReply {
  1: Attr attr
  2: binary symlink_target
  3: i64 lease_term        // attr may be kept
  4: i64 name_lease_term   // the name may be kept, too
  5: bool absent           // with session: there is no such name, which may be kept as well
}

struct ListDirectoryRequest {
  1: Ref ref
  2: i64 cookie            // 0: from the start; else the last entry's
  3: i32 max_entries       // server caps at 10,000 and 256 KiB
  4: bool with_attributes
  5: Caller caller
  6: i64 session           // that the leases are for
}
struct DirectoryEntry {
  1: binary name
  2: i64 inode
  3: FileType type
  4: i64 cookie
  5: optional Attr attr
  6: optional binary symlink_target
  7: bool lease            // attr may be kept, in the reply's lease_term
}
struct ListDirectoryReply {
  1: i64 directory
  2: list<DirectoryEntry> entries
  3: bool done
  4: i64 parent
  5: i64 lease_term        // of the leases in this reply, whether there are any or not
  6: bool names_lease      // the names may be kept
}

struct GetXattrRequest { 1: Ref ref, 2: binary name, 3: Caller caller }
struct GetXattrReply { 1: binary value }
struct ListXattrsRequest { 1: Ref ref, 2: Caller caller }
struct ListXattrsReply { 1: list<binary> names }

struct StatFsRequest {}
struct StatFsReply {
  1: i64 capacity_bytes    // of all datanodes, raw
  2: i64 available_bytes   // raw
  3: i64 files, 4: i64 directories, 5: i64 bytes    // of the whole tree
  6: i32 default_replication
  7: i64 default_block_size
  8: i32 inline_limit
  9: string cluster_id
}
struct UsageRequest { 1: Ref ref, 2: Caller caller }
struct UsageReply { 1: Usage usage, 2: Attr attr }

// ---- Changing the namespace -----------------------------------------------------------------------------

struct MkdirRequest { 1: OpId op, 2: Ref ref, 3: i32 mode, 4: Caller caller, 5: bool parents }  // parents: as mkdir -p, also ok when it exists
// directories: those whose names were changed, as they are now, when that may be kept (in directories_term).
struct AttrReply { 1: Attr attr, 2: i64 lease_term, 3: list<Attr> directories, 4: i64 directories_term }   // lease_term: attr, and the name that was made, may be kept
struct NamesReply { 1: list<Attr> directories, 2: i64 directories_term }

struct CreateRequest {
  1: OpId op
  2: Ref ref
  3: i32 mode
  4: Caller caller
  5: bool exclusive        // kAlreadyExists when the name is there; otherwise an existing file is opened
  6: bool overwrite        // truncate an existing file
  7: i32 replication       // 0: default
  8: i64 block_size        // 0: default
  9: binary inline_data    // whole content of a small file, at most inline_limit; one commit
  10: bool has_inline_data
  11: bool open_for_write  // registers the session as having it open
  12: i64 mtime_ns         // 0: now
  13: bool parents         // make missing parent directories
  14: bool open_first_block   // more than inline_limit follows: opens slot 0 for writing in the same commit
  15: string client_host_id
  16: i32 type             // a FileType, as a number, since it may be any. UNKNOWN: REGULAR; or FIFO, SOCKET, CHAR_DEVICE,
                           // BLOCK_DEVICE, which have no data
  17: i64 rdev             // of a device
}
struct ReplicaLocation {
  1: i64 datanode
  2: string tcp_address
  3: string unix_address   // "unix:/..." usable on host_id only
  4: string host_id        // machine id, to recognise the same host
  5: string rack
}
struct WritableBlock {
  1: i64 block
  2: i64 old_stamp         // what members have on disk; 0 when new
  3: i64 stamp             // what they take on
  4: i64 slot
  5: i64 length            // committed length
  6: list<ReplicaLocation> members    // in chain order
  7: binary token          // for writing
  8: i64 cut_stamp         // a member whose replica has at most this stamp cuts it to cut_length before
  9: i64 cut_length        // it takes on `stamp` (a truncation left garbage there); goes into open_write
  10: i32 expected_replicas   // more than there are members: the block is short of them
}
// first_block: when one was opened (open_first_block, and the file was made or overwritten, and there are datanodes)
struct CreateReply { 1: Attr attr, 2: bool created, 3: binary inline_data, 4: optional WritableBlock first_block, 5: i64 lease_term, 6: list<Attr> directories, 7: i64 directories_term }

struct SymlinkRequest { 1: OpId op, 2: Ref ref, 3: binary target, 4: Caller caller }
struct LinkRequest { 1: OpId op, 2: Ref existing, 3: Ref ref, 4: Caller caller }
struct UnlinkRequest { 1: OpId op, 2: Ref ref, 3: Caller caller }
struct RmdirRequest { 1: OpId op, 2: Ref ref, 3: Caller caller }
struct RemoveTreeRequest { 1: OpId op, 2: Ref ref, 3: Caller caller }     // file or directory; detached at once, reclaimed in steps
struct RemoveTreeReply { 1: Usage removed }
struct RenameRequest { 1: OpId op, 2: Ref source, 3: Ref target, 4: i32 flags, 5: Caller caller }   // 1 NOREPLACE, 2 EXCHANGE
struct SetAttrRequest {
  1: OpId op
  2: Ref ref
  3: i32 mask              // 1 mode, 2 uid, 4 gid, 8 size, 16 atime, 32 mtime, 64 atime now, 128 mtime now, 256 replication
  4: i32 mode, 5: i32 uid, 6: i32 gid, 7: i64 size, 8: i64 atime_ns, 9: i64 mtime_ns, 10: i32 replication
  11: bool follow
  12: Caller caller
}
struct SetXattrRequest { 1: OpId op, 2: Ref ref, 3: binary name, 4: binary value, 5: i32 flags, 6: Caller caller }  // 1 CREATE, 2 REPLACE
struct RemoveXattrRequest { 1: OpId op, 2: Ref ref, 3: binary name, 4: Caller caller }

// ---- Files and blocks -----------------------------------------------------------------------------------

// states: 1 open, 2 closed, 3 recovering
struct LocatedBlock {
  1: i64 block             // 0: a hole
  2: i64 slot
  3: i64 offset            // of the slot in the file
  4: i64 length            // committed
  5: i64 stamp
  6: i32 state
  7: list<ReplicaLocation> replicas   // to read: current stamp (closed) or members (open), best first
  8: binary token          // for reading
  9: i64 writer_session
  10: i32 expected_replicas
  11: list<i64> corrupt    // datanodes whose replica is known to be bad
  12: bool repair_wanted   // open and short of live members, and there are others: its writer is to close it, so that
                           // it is copied, and open it again
  40: bool lost            // closed, on no live datanode, and those that had it last have been given up
}

struct OpenFileRequest { 1: Ref ref, 2: bool for_write, 3: i64 session, 4: Caller caller, 5: bool truncate, 6: OpId op, 7: string client_host_id }
struct OpenFileReply { 1: Attr attr, 2: bool has_inline_data, 3: binary inline_data, 4: list<LocatedBlock> blocks, 5: i64 lease_term }   // the first 16 blocks, those of slots 0 to 15 among them
struct CloseFileRequest { 1: i64 inode, 2: i64 session }   // soft: the session no longer has it open

struct GetBlocksRequest { 1: i64 inode, 2: i64 offset, 3: i64 length, 4: Caller caller, 5: string client_host_id, 6: i64 session }
struct GetBlocksReply { 1: Attr attr, 2: list<LocatedBlock> blocks, 3: bool has_inline_data, 4: binary inline_data, 5: i64 lease_term }

// Opens a slot's block for writing: commits {new stamp, members, writer session} before any byte changes.
// A new block when the slot is a hole (expected_stamp 0); else all live finalized replicas of the stamp.
struct OpenBlockRequest {
  1: OpId op
  2: i64 inode
  3: i64 slot
  4: i64 expected_stamp    // 0: a hole
  5: Caller caller
  6: list<i64> exclude     // datanodes the writer could not reach
  7: string client_host_id
  8: bool nothing_acknowledged   // of the caller's own open block: nobody ever acknowledged a byte of it, so
                                 // others may become its members
  9: bool await_copies     // closed to be repaired (protocols 4.4): kBusy while copies are being made, or could be
  10: i64 data_version     // of a file that grows out of its inode: kConflict when another wrote its content since; 0: not compared
}
struct OpenBlockReply { 1: WritableBlock block }

// Replaces the member list by the survivors under a new stamp (compare-and-set on the old one).
struct ExcludeMembersRequest { 1: OpId op, 2: i64 inode, 3: i64 slot, 4: i64 block, 5: i64 stamp, 6: list<i64> survivors, 7: Caller caller, 8: string client_host_id }

// Closes the block: compare-and-set on stamp; members: those that confirmed that they hold length at stamp.
struct CloseBlockRequest {
  1: OpId op, 2: i64 inode, 3: i64 slot, 4: i64 block, 5: i64 stamp, 6: i64 length
  7: list<i64> members
  8: i64 file_size         // grows the file to at least this
  9: i64 mtime_ns          // 0: now
  10: bool drop_inline     // the blocks hold the former inline bytes, synced on every member
  11: binary rename_to     // not empty: then rename the file's home link to this path (replace when rename_replace)
  12: bool rename_replace
  13: Caller caller
}
// hflush: the length becomes visible to readers.
struct CommitLengthRequest { 1: OpId op, 2: i64 inode, 3: i64 slot, 4: i64 block, 5: i64 stamp, 6: i64 length, 7: i64 file_size, 8: i64 mtime_ns, 9: Caller caller, 10: bool drop_inline }   // drop_inline as at close: fsync of a file that grew out of its inode
// Replaces the inline data of a small file (compare-and-set on data_version, -1: do not compare).
struct WriteInlineRequest { 1: OpId op, 2: i64 inode, 3: binary data, 4: i64 data_version, 5: i64 mtime_ns, 6: Caller caller }

// The writer of a file failed or was abandoned: the session's open blocks in these slots (none: all of the file's)
// are closed by recovery, with what their members hold.
struct ReleaseBlocksRequest { 1: OpId op, 2: i64 inode, 3: list<i64> slots, 4: Caller caller }

struct ReportBadReplicaRequest { 1: i64 block, 2: i64 stamp, 3: i64 datanode, 4: string why }

// ---- Locks ----------------------------------------------------------------------------------------------

// kinds: 1 posix record (fcntl), 2 flock (whole files only). types: 1 shared, 2 exclusive. Ranges: first byte, last byte;
// to the end of the file, however long: 2^63 - 1. owner: a process or an open file, by its kernel's number; the locks are
// the session's.
struct LockInfo { 1: i32 kind, 2: i32 type, 3: i64 first, 4: i64 last, 5: i64 session, 6: i64 owner, 7: i32 pid, 8: i64 token }

struct LockRequest {
  1: OpId op               // wait: session and incarnation only, so that a request that waits for long holds up no other
  2: i64 inode
  3: i32 kind
  4: i32 type
  5: i64 first
  6: i64 last
  7: i64 owner
  8: i32 pid
  9: bool wait             // for the lock, or until wait_ms are over: ask again then, with the same wait_id
  10: i32 wait_ms
  11: i64 wait_id          // wait: grows from request to request of a session. Again with the same: the same request
  12: i64 first_wait       // the session will not ask again for any wait_id below, and has the answers that it wants
  13: Caller caller
}
struct LockReply { 1: bool granted, 2: i64 token, 3: optional LockInfo conflict }   // token: to fence with; later holders have larger ones
struct UnlockRequest { 1: OpId op, 2: i64 inode, 3: i32 kind, 4: i64 first, 5: i64 last, 6: i64 owner, 7: i64 first_wait, 8: Caller caller }
// Whether the lock could be had, and if not what is in the way.
struct GetLockRequest { 1: i64 session, 2: i64 inode, 3: i32 kind, 4: i32 type, 5: i64 first, 6: i64 last, 7: i64 owner, 8: Caller caller }
struct GetLockReply { 1: optional LockInfo conflict }
// The request that waits is answered with kCancelled, unless it was granted already.
struct CancelLockRequest { 1: i64 session, 2: i64 wait_id }

// ---- Administration -------------------------------------------------------------------------------------

struct MemberStatus {
  1: i64 node_id, 2: string raft_address, 3: string client_address, 4: bool leader, 5: bool reachable, 6: i64 match_index
}
struct DatanodeStatus {
  1: i64 datanode, 2: string address, 3: string host_id, 4: string rack
  5: string state          // live, stale, dead
  6: i64 capacity_bytes, 7: i64 used_bytes, 8: i64 available_bytes, 9: i64 replicas, 10: i64 last_heartbeat_ms, 11: i32 volumes, 12: i32 failed_volumes
  13: string service_state // in_service, decommissioning, decommissioned, entering_maintenance, maintenance
  14: i64 blocks_left      // that have too few replicas without it; -1: not known (yet)
  15: i64 maintenance_ms   // until it is over
  40: optional i64 clock_offset_ms   // its wall clock less that of who answers, when its last heartbeat came
}
// What an operator wants of a datanode; root or the cluster's own user. state: 0 in service, 1 decommission, 2 maintenance.
struct SetDatanodeRequest {
  1: OpId op
  2: i64 datanode
  3: i32 state
  4: i64 maintenance_ms    // from now on
  5: Caller caller
}
// Replicas that a brake holds back may be deleted: an operator has looked. Of the leader that is asked.
struct ReleaseDeletionsRequest { 1: Caller caller }
struct ClusterStatusRequest {}
struct ClusterStatusReply {
  1: string cluster_id
  2: i64 node_id           // who answers
  3: bool leader
  4: i64 term
  5: i64 commit_index, 6: i64 applied_index, 7: i64 first_log_index, 8: i64 flushed_index
  9: binary state_hash     // 8 bytes, at applied_index
  10: list<MemberStatus> members
  11: list<DatanodeStatus> datanodes
  12: i64 files, 13: i64 directories, 14: i64 bytes, 15: i64 blocks
  16: i64 under_replicated, 17: i64 missing, 18: i64 corrupt_replicas, 19: i64 pending_replications, 20: i64 pending_deletions
  21: bool safe_mode       // re-replication and deletion are withheld
  22: bool insecure
  23: string leader_hint
  24: i64 sessions
  25: i64 open_blocks
  26: i64 log_fsyncs, 27: i64 proposals
  28: i32 default_replication
  29: string version
  30: i32 feature_level    // which commands may be in the log: what all namenodes understand
  40: i64 moving           // blocks with enough replicas, of which some are on datanodes that are decommissioned or to go away
  41: i64 repair_bytes_left          // of copies that are to be made
  42: i64 repair_bytes_per_second    // of copies that were made lately
  43: bool deletions_held  // by a brake, until an operator releases them
  44: string deletions_held_why
  50: i64 wall_clock_ns    // of who answers
  51: i64 trash_keep_ms    // how long what was removed is kept; 0: there is no trash
}

// Removes by one rename into the trash of the caller (/.Trash/UID, docs/operations.md), or, where the cluster keeps no
// trash, for good, as RemoveTree. kIsDirectory without recursive.
struct MoveToTrashRequest { 1: OpId op, 2: Ref ref, 3: Caller caller, 4: bool recursive }
struct MoveToTrashReply {
  1: bool in_trash
  2: binary trash_path     // where it is now; "" when a repeated call is answered that an earlier leader carried out
  3: i64 keep_ms
  4: Usage removed
}

// What the leader knows of a file's blocks, and what it does about them.
struct ExplainRequest { 1: Ref ref, 2: i64 first_slot, 3: i32 max_blocks, 4: Caller caller }   // server caps at 256
struct ReplicaExplanation {
  1: i64 datanode, 2: string address, 3: string host_id, 4: string rack
  5: string node_state     // live, stale, dead; unknown: it has not registered since this namenode began
  6: i64 last_heartbeat_ms // ago
  7: string replica_state  // good, member, being_copied, unfinished, outdated, corrupt, deleting, not_reported
  8: i64 stamp             // 0 when it is not known
  9: optional i64 verified_ns   // when the datanode last read all of it and found it well
}
struct BlockExplanation {
  1: i64 block, 2: i64 slot, 3: i64 offset, 4: i64 length, 5: i64 stamp
  6: i32 state             // as in LocatedBlock
  7: i32 expected_replicas
  8: string condition      // healthy, under_replicated, missing, corrupt, open, recovering
  9: string action         // what is being done: none, waiting, copying, recovering, safe_mode, no_target, no_source
  10: string why           // one sentence for people; "" when there is nothing to say
  11: list<ReplicaExplanation> replicas
  12: i64 writer_session
}
struct SessionExplanation { 1: i64 session, 2: string client_name, 3: i32 uid }
struct ExplainReply {
  1: Attr attr
  2: binary path           // by its home link
  3: bool has_inline_data
  4: list<BlockExplanation> blocks   // in the order of slots, holes left out
  5: i64 next_slot         // to ask for next, -1: that was all
  6: list<SessionExplanation> sessions   // that have it open, and that write its blocks; at most 100
}

// The whole namespace as it was at one log index, page by page (docs/operations.md). Superusers only. The leader
// holds one export at a time, and drops one that nobody has asked for a minute.
struct ExportRequest {
  1: i64 export_id         // 0: begin one
  2: i64 page              // from 0; the page given last may be asked for again
  3: bool drop             // it is not wanted any more
  4: Caller caller
}
struct ExportedXattr { 1: binary name, 2: binary value }
// A directory comes before what it holds; further hard links come last, when all files are there.
struct ExportedEntry {
  1: binary path
  2: Attr attr
  3: binary symlink_target
  4: bool has_inline_data
  5: binary inline_data
  6: list<ExportedXattr> xattrs
  7: binary link_to        // not empty: a further name of the file with this path
}
struct ExportReply {
  1: i64 export_id
  2: string cluster_id
  3: i64 index, 4: i64 term, 5: binary state_hash   // of the state that is exported
  6: Usage usage           // of it all
  7: list<ExportedEntry> entries
  8: bool done
}

service ClientService {
  OpenSessionReply open_session(1: OpenSessionRequest request) throws (1: DfsError e)
  OpenSessionReply resume_session(1: ResumeSessionRequest request) throws (1: DfsError e)
  KeepAliveReply keep_alive(1: KeepAliveRequest request) throws (1: DfsError e)
  Empty close_session(1: CloseSessionRequest request) throws (1: DfsError e)
  Empty declare_leases(1: DeclareLeasesRequest request) throws (1: DfsError e)
  AcquireLeaseReply acquire_lease(1: AcquireLeaseRequest request) throws (1: DfsError e)
  StatReply stat(1: StatRequest request) throws (1: DfsError e)
  ListDirectoryReply list_directory(1: ListDirectoryRequest request) throws (1: DfsError e)
  GetXattrReply get_xattr(1: GetXattrRequest request) throws (1: DfsError e)
  ListXattrsReply list_xattrs(1: ListXattrsRequest request) throws (1: DfsError e)
  StatFsReply stat_fs(1: StatFsRequest request) throws (1: DfsError e)
  UsageReply usage(1: UsageRequest request) throws (1: DfsError e)
  AttrReply mkdir(1: MkdirRequest request) throws (1: DfsError e)
  CreateReply create(1: CreateRequest request) throws (1: DfsError e)
  AttrReply symlink(1: SymlinkRequest request) throws (1: DfsError e)
  AttrReply link(1: LinkRequest request) throws (1: DfsError e)
  NamesReply unlink(1: UnlinkRequest request) throws (1: DfsError e)
  NamesReply rmdir(1: RmdirRequest request) throws (1: DfsError e)
  RemoveTreeReply remove_tree(1: RemoveTreeRequest request) throws (1: DfsError e)
  NamesReply rename(1: RenameRequest request) throws (1: DfsError e)
  AttrReply set_attr(1: SetAttrRequest request) throws (1: DfsError e)
  Empty set_xattr(1: SetXattrRequest request) throws (1: DfsError e)
  Empty remove_xattr(1: RemoveXattrRequest request) throws (1: DfsError e)
  OpenFileReply open_file(1: OpenFileRequest request) throws (1: DfsError e)
  Empty close_file(1: CloseFileRequest request) throws (1: DfsError e)
  GetBlocksReply get_blocks(1: GetBlocksRequest request) throws (1: DfsError e)
  OpenBlockReply open_block(1: OpenBlockRequest request) throws (1: DfsError e)
  OpenBlockReply exclude_members(1: ExcludeMembersRequest request) throws (1: DfsError e)
  AttrReply close_block(1: CloseBlockRequest request) throws (1: DfsError e)
  AttrReply commit_length(1: CommitLengthRequest request) throws (1: DfsError e)
  AttrReply write_inline(1: WriteInlineRequest request) throws (1: DfsError e)
  Empty release_blocks(1: ReleaseBlocksRequest request) throws (1: DfsError e)
  Empty report_bad_replica(1: ReportBadReplicaRequest request) throws (1: DfsError e)
  LockReply lock(1: LockRequest request) throws (1: DfsError e)
  Empty unlock(1: UnlockRequest request) throws (1: DfsError e)
  GetLockReply get_lock(1: GetLockRequest request) throws (1: DfsError e)
  Empty cancel_lock(1: CancelLockRequest request) throws (1: DfsError e)
  ClusterStatusReply cluster_status(1: ClusterStatusRequest request) throws (1: DfsError e)
  Empty set_datanode(1: SetDatanodeRequest request) throws (1: DfsError e)
  Empty release_deletions(1: ReleaseDeletionsRequest request) throws (1: DfsError e)
  ExplainReply explain(1: ExplainRequest request) throws (1: DfsError e)
  ExportReply export_namespace(1: ExportRequest request) throws (1: DfsError e)
  MoveToTrashReply move_to_trash(1: MoveToTrashRequest request) throws (1: DfsError e)
}

service ClientCallbacks {
  Empty recall(1: RecallRequest request) throws (1: DfsError e)
}

// ---- Datanode to namenode -------------------------------------------------------------------------------

struct VolumeReport { 1: i64 storage_id, 2: i64 capacity_bytes, 3: i64 available_bytes, 4: i64 used_bytes, 5: bool failed, 6: string path }

struct RegisterDatanodeRequest {
  1: i64 datanode
  2: string tcp_address
  3: string unix_address
  4: string host_id
  5: string rack
  6: list<VolumeReport> volumes
  7: i64 highest_term      // the highest this datanode has recorded, in its turn, of a command
  8: string version
}
struct RegisterDatanodeReply { 1: string cluster_id, 2: i64 node_id, 3: i64 term, 4: bool leader, 5: binary token_key }   // token_key: to verify tokens; "" without a cluster key

struct HeartbeatRequest {
  1: i64 datanode, 2: list<VolumeReport> volumes, 3: i32 active_streams, 4: i64 highest_term
  40: i64 wall_clock_ns    // of the datanode; 0: it does not say
}
// lease: this namenode is leader under a valid leader lease, so the datanode may serve open replicas for
// 3 s from the sending of this heartbeat. need_report: send a full block report.
struct HeartbeatReply { 1: i64 term, 2: bool leader, 3: bool lease, 4: bool need_report }

// states as in docs/blocks.md: 1 finalized, 2 rbw, 3 rwr, 4 rur, 5 temporary
struct ReplicaReport { 1: i64 block, 2: i64 stamp, 3: i64 length, 4: i32 state, 5: i64 storage_id }
// Full report in pages: first clears what was known once `last` arrives; report_id is the same in all pages.
struct BlockReportRequest { 1: i64 datanode, 2: i64 report_id, 3: i32 page, 4: bool last, 5: list<ReplicaReport> replicas }
struct BlockReportReply { 1: bool accepted }
struct IncrementalReportRequest { 1: i64 datanode, 2: list<ReplicaReport> received, 3: list<ReplicaReport> deleted, 4: list<ReplicaReport> corrupt }

service DatanodeService {
  RegisterDatanodeReply register_datanode(1: RegisterDatanodeRequest request) throws (1: DfsError e)
  HeartbeatReply heartbeat(1: HeartbeatRequest request) throws (1: DfsError e)
  BlockReportReply block_report(1: BlockReportRequest request) throws (1: DfsError e)
  Empty incremental_report(1: IncrementalReportRequest request) throws (1: DfsError e)
}

// ---- Namenode (leader) to datanode, over the connection the datanode opened. Every command carries the
// leader's term; a datanode refuses a lower term than it has seen (kStaleTerm). -----------------------------

struct BlockRef { 1: i64 block, 2: i64 stamp, 3: i64 length }
// Copy a finalized replica to each target, verified against the writer's sums. Answers when the copies are durable.
struct ReplicateBlockRequest { 1: i64 term, 2: BlockRef block, 3: list<ReplicaLocation> targets, 4: binary token, 5: i64 bytes_per_second }
// Delete replicas of these blocks whose stamp is at most the given one. None: the leader's fence, answered when
// everything that came before is done (docs/blocks.md, "Orders and terms").
struct DeleteReplicasRequest { 1: i64 term, 2: list<BlockRef> blocks }
struct DeleteReplicasReply { 1: list<i64> deleted }
// Block recovery, step 1: fence under the recovery stamp (kills every stream of a lower one), report what is here.
struct InitRecoveryRequest { 1: i64 term, 2: i64 block, 3: list<i64> accepted_stamps, 4: i64 recovery_stamp }
struct InitRecoveryReply { 1: bool found, 2: i64 stamp, 3: i64 length, 4: i32 state, 5: i64 synced_length }   // state before it became rur
// Step 2, at the member that others are made equal to and at the others: copy the chunks that differ from
// source (none when this is the source), cut to length, sync, finalize at the recovery stamp.
struct FinishRecoveryRequest { 1: i64 term, 2: i64 block, 3: i64 recovery_stamp, 4: i64 length, 5: optional ReplicaLocation source, 6: binary token }
struct FinishRecoveryReply { 1: i64 length, 2: i64 stamp }

service DatanodeCommands {
  Empty replicate_block(1: ReplicateBlockRequest request) throws (1: DfsError e)
  DeleteReplicasReply delete_replicas(1: DeleteReplicasRequest request) throws (1: DfsError e)
  InitRecoveryReply init_recovery(1: InitRecoveryRequest request) throws (1: DfsError e)
  FinishRecoveryReply finish_recovery(1: FinishRecoveryRequest request) throws (1: DfsError e)
}

// ---- Block streams (datanode's block port): a call opens the stream on the connection; packets follow as
// frames of type kPacket whose request_id is the call's. See docs/wire.md. --------------------------------

struct OpenWriteStreamRequest {
  1: i64 block
  2: i64 old_stamp         // 0: a new block; otherwise members must have this stamp (or already `stamp`)
  3: i64 stamp
  4: i64 length            // what every member is known to have: committed, or acknowledged since. A member with
                           // less refuses; 0: a member without a replica makes a new one
  5: list<ReplicaLocation> rest_of_chain   // the members after this one
  6: binary token
  7: i64 session
  8: bool is_copy          // re-replication: the replica is `temporary` until closed, then finalized
  9: i64 inode             // for messages only
  10: i64 cut_stamp        // from WritableBlock: if the replica's stamp is at most this, cut it to cut_length
  11: i64 cut_length       // first of all (docs/state.md, Truncation)
  // 12 was never used; do not use it
}
struct OpenWriteStreamReply { 1: list<i64> members, 2: i64 stream }   // who is in the chain, this one first
// A chain member failed: which one, so that the writer can exclude it.
struct OpenReadStreamRequest {
  1: i64 block
  2: i64 stamp             // closed: must match; open: any of a member that is under the lease
  3: i64 offset
  4: i64 length
  5: binary token
  6: bool open_block       // serve an open replica (rbw) up to what all members have
  7: bool whole_chunks     // send from chunk boundaries, with the writer's sums (copies, recovery)
  8: bool sums_only        // only the sums of the range
  9: bool pass_file        // with sums_only, on a Unix socket: the block file, open for reading, with the reply
  // 10 was never used; do not use it
}
struct OpenReadStreamReply { 1: i64 length, 2: i64 replica_length, 3: i64 stamp }

service BlockStreams {
  OpenWriteStreamReply open_write(1: OpenWriteStreamRequest request) throws (1: DfsError e)
  OpenReadStreamReply open_read(1: OpenReadStreamRequest request) throws (1: DfsError e)
}
