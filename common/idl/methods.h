// Numbers and names of all RPC methods; the numbers travel in frames and never change.
#pragma once

#include <cstdint>
#include <string_view>

namespace dfs::idl {

// X(constant, number, "name in the IDL", request struct, reply struct)
#define DFS_CLIENT_METHODS(X)                                                                     \
  X(kOpenSession, 1, "open_session", OpenSessionRequest, OpenSessionReply)                        \
  X(kResumeSession, 2, "resume_session", ResumeSessionRequest, OpenSessionReply)                  \
  X(kKeepAlive, 3, "keep_alive", KeepAliveRequest, KeepAliveReply)                                \
  X(kCloseSession, 4, "close_session", CloseSessionRequest, Empty)                                \
  X(kDeclareLeases, 5, "declare_leases", DeclareLeasesRequest, Empty)                             \
  X(kAcquireLease, 6, "acquire_lease", AcquireLeaseRequest, AcquireLeaseReply)                    \
  X(kStat, 10, "stat", StatRequest, StatReply)                                                    \
  X(kListDirectory, 11, "list_directory", ListDirectoryRequest, ListDirectoryReply)               \
  X(kGetXattr, 12, "get_xattr", GetXattrRequest, GetXattrReply)                                   \
  X(kListXattrs, 13, "list_xattrs", ListXattrsRequest, ListXattrsReply)                           \
  X(kStatFs, 14, "stat_fs", StatFsRequest, StatFsReply)                                           \
  X(kUsage, 15, "usage", UsageRequest, UsageReply)                                                \
  X(kMkdir, 30, "mkdir", MkdirRequest, AttrReply)                                                 \
  X(kCreate, 31, "create", CreateRequest, CreateReply)                                            \
  X(kSymlink, 32, "symlink", SymlinkRequest, AttrReply)                                           \
  X(kLink, 33, "link", LinkRequest, AttrReply)                                                    \
  X(kUnlink, 34, "unlink", UnlinkRequest, NamesReply)                                              \
  X(kRmdir, 35, "rmdir", RmdirRequest, NamesReply)                                                 \
  X(kRemoveTree, 36, "remove_tree", RemoveTreeRequest, RemoveTreeReply)                           \
  X(kRename, 37, "rename", RenameRequest, NamesReply)                                              \
  X(kSetAttr, 38, "set_attr", SetAttrRequest, AttrReply)                                          \
  X(kSetXattr, 39, "set_xattr", SetXattrRequest, Empty)                                           \
  X(kRemoveXattr, 40, "remove_xattr", RemoveXattrRequest, Empty)                                  \
  X(kOpenFile, 50, "open_file", OpenFileRequest, OpenFileReply)                                   \
  X(kCloseFile, 51, "close_file", CloseFileRequest, Empty)                                        \
  X(kGetBlocks, 52, "get_blocks", GetBlocksRequest, GetBlocksReply)                               \
  X(kOpenBlock, 53, "open_block", OpenBlockRequest, OpenBlockReply)                               \
  X(kExcludeMembers, 54, "exclude_members", ExcludeMembersRequest, OpenBlockReply)                \
  X(kCloseBlock, 55, "close_block", CloseBlockRequest, AttrReply)                                 \
  X(kCommitLength, 56, "commit_length", CommitLengthRequest, AttrReply)                           \
  X(kWriteInline, 57, "write_inline", WriteInlineRequest, AttrReply)                              \
  X(kReleaseBlocks, 59, "release_blocks", ReleaseBlocksRequest, Empty)                            \
  X(kReportBadReplica, 58, "report_bad_replica", ReportBadReplicaRequest, Empty)                  \
  X(kLock, 60, "lock", LockRequest, LockReply)                                                    \
  X(kUnlock, 61, "unlock", UnlockRequest, Empty)                                                  \
  X(kGetLock, 62, "get_lock", GetLockRequest, GetLockReply)                                       \
  X(kCancelLock, 63, "cancel_lock", CancelLockRequest, Empty)                                     \
  X(kClusterStatus, 70, "cluster_status", ClusterStatusRequest, ClusterStatusReply)               \
  X(kSetDatanode, 71, "set_datanode", SetDatanodeRequest, Empty)                                  \
  X(kReleaseDeletions, 76, "release_deletions", ReleaseDeletionsRequest, Empty)                   \
  X(kExplain, 72, "explain", ExplainRequest, ExplainReply)                                        \
  X(kExport, 73, "export_namespace", ExportRequest, ExportReply)                                  \
  X(kMoveToTrash, 74, "move_to_trash", MoveToTrashRequest, MoveToTrashReply)

#define DFS_DATANODE_METHODS(X)                                                                   \
  X(kRegisterDatanode, 100, "register_datanode", RegisterDatanodeRequest, RegisterDatanodeReply)  \
  X(kHeartbeat, 101, "heartbeat", HeartbeatRequest, HeartbeatReply)                               \
  X(kBlockReport, 102, "block_report", BlockReportRequest, BlockReportReply)                      \
  X(kIncrementalReport, 103, "incremental_report", IncrementalReportRequest, Empty)

#define DFS_DATANODE_COMMANDS(X)                                                                  \
  X(kReplicateBlock, 120, "replicate_block", ReplicateBlockRequest, Empty)                        \
  X(kDeleteReplicas, 121, "delete_replicas", DeleteReplicasRequest, DeleteReplicasReply)          \
  X(kInitRecovery, 122, "init_recovery", InitRecoveryRequest, InitRecoveryReply)                  \
  X(kFinishRecovery, 123, "finish_recovery", FinishRecoveryRequest, FinishRecoveryReply)

#define DFS_STREAM_METHODS(X)                                                                     \
  X(kOpenWriteStream, 140, "open_write", OpenWriteStreamRequest, OpenWriteStreamReply)            \
  X(kOpenReadStream, 141, "open_read", OpenReadStreamRequest, OpenReadStreamReply)

#define DFS_CLIENT_CALLBACKS(X) X(kRecall, 180, "recall", RecallRequest, Empty)

#define DFS_ALL_METHODS(X)                                                                    \
  DFS_CLIENT_METHODS(X) DFS_DATANODE_METHODS(X) DFS_DATANODE_COMMANDS(X) DFS_STREAM_METHODS(X) \
  DFS_CLIENT_CALLBACKS(X)

enum MethodId : uint16_t {
#define X(constant, number, name, request, reply) constant = number,
  DFS_ALL_METHODS(X)
#undef X
  // Between namenodes; payloads are our own codec (common/raft/message.h), not Thrift.
  kRaftMessage = 160,
  kSnapshotChunk = 161,
  kRaftHello = 162,
  kRaftLevel = 163,
};

/// "" when unknown.
std::string_view MethodName(uint16_t method);
/// A method of ClientService by its IDL name, 0 when unknown (for plain Thrift clients).
uint16_t ClientMethodByName(std::string_view name);

}  // namespace dfs::idl
