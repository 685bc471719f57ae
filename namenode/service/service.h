// Service: the handlers of ClientService and DatanodeService. Thin: decode, bound, establish on whose behalf,
// resolve, propose or read, encode. One class, its methods in files by theme:
//   dispatch.cc            requests in, replies out, leadership and read barrier
//   namespace_handlers.cc  names and attributes          file_handlers.cc   open, list blocks, inline
//   block_handlers.cc      blocks for writing            session_handlers.cc
//   lease_handlers.cc      leases: granted, declared, recalled
//   datanode_handlers.cc   register, heartbeat, reports  admin_handlers.cc  cluster status
//   lock_handlers.cc       file locks
//   datanode_admin_handlers.cc  datanodes out of service, brakes
//   trash_handlers.cc      removing into the trash       explain_handlers.cc
//   audit.cc               what the audit log is told
//
// Confined to the namenode's executor. Reads are answered on the leader only, inside the handler while the
// leader lease holds.
#pragma once

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>

#include "common/base/random.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/peer.h"
#include "namenode/blocks/block_manager.h"
#include "namenode/replication/replica.h"
#include "namenode/service/audit_event.h"
#include "namenode/service/convert.h"
#include "namenode/service/exporter.h"
#include "namenode/service/namenode.h"
#include "namenode/service/trash.h"
#include "namenode/sessions/lease_manager.h"
#include "namenode/sessions/lock_waiters.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/commands.h"
#include "namenode/state/reader.h"
#include "namenode/state/state_machine.h"

namespace dfs::nn {

/// The payload of a command's reply, or the error it was answered with.
Result<std::string> PayloadOf(Result<std::string> reply);

class Service : public rpc::RequestHandler, public Replica::LeadershipListener {
 public:
  struct Parts {
    const NamenodeOptions& options;
    Executor& executor;
    Replica& replica;
    StateMachine& machine;
    BlockManager& blocks;
    SessionManager& sessions;
    LeaseManager& leases;
    Trash& trash;
    Exporter& exporter;
    AuditSink audit;        // null: there is no audit log
    std::string token_key;  // "" without a cluster key
  };
  explicit Service(const Parts& parts);
  ~Service() override;

  void HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                     rpc::ResponderPtr responder) override;
  void HandleDisconnect(rpc::RpcPeer& peer, const Status& why) override;
  /// Told of a peer's end after the handlers were.
  std::function<void(rpc::RpcPeer&)> on_disconnect;

  void OnLeading(Term term) override;
  void OnLeadershipLost(Term term) override;
  /// LeaseManager's: asks a session to give up leases.
  void Recall(SessionId session, const std::vector<RecallOrder>& orders,
              UniqueFunction<void(Status)> done);
  void OnSessionEnded(SessionId session) { session_peers_.erase(session); }
  /// Answers what waits and drops the callbacks under way.
  void Stop();
  void OnLocksReleased(InodeId inode) { lock_waiters_.OnLocksReleased(inode); }

  /// Of this member, and what it knows of the cluster.
  idl::ClusterStatusReply ClusterStatus() const;
  /// How many requests came, by method number, since the start.
  using RequestCounts = std::array<uint64_t, 128>;
  const RequestCounts& requests() const { return requests_; }

 private:
  struct Op;
  /// Turns a reply's payload into the answer.
  using Finish = UniqueFunction<Result<Buffer>(std::string_view payload, const Op& op)>;
  /// What a request is, and what it holds back since an earlier try.
  struct Origin {
    rpc::Method method = 0;
    LeaseManager::ChangePtr change;
    std::shared_ptr<const Trash::Place> trash_place;  // made by an earlier try
  };
  /// A change under way: whose it is, whom to answer and how. A handler sets finish first; what it then finds
  /// wrong does not matter if this very operation was applied already (Replay).
  struct Op {
    CommandHeader header;
    rpc::ResponderPtr responder;
    PeerInfo peer;
    Finish finish;
    std::vector<InodeId> directories;  // whose names it changes
    bool replayed = false;  // applied before: what the answer says may be out of date by now
    Origin origin;
    Buffer request;  // to begin anew when it had to wait for leases: the state may have changed meanwhile
    std::unique_ptr<AuditEvent> audit;  // null: it is none of the audit log's
  };
  struct Waiting {
    rpc::Method method;
    Buffer request;
    PeerInfo peer;
    rpc::ResponderPtr responder;
    int64_t deadline_ns;
  };

  // dispatch.cc
  void Run(rpc::Method method, const Buffer& request, const PeerInfo& peer,
           rpc::ResponderPtr responder);
  void RunRead(Origin origin, const Buffer& request, const PeerInfo& peer,
               rpc::ResponderPtr responder);
  void RunChange(Origin origin, const Buffer& request, const PeerInfo& peer,
                 rpc::ResponderPtr responder);
  /// For a change that waited for leases.
  void RunAgain(std::unique_ptr<Op> op);
  /// Has the writers tell what the answer lacks (awaited_), then answers anew.
  void ReadAgain(Origin origin, const Buffer& request, const PeerInfo& peer,
                 rpc::ResponderPtr responder);
  void WaitForLeadership(Waiting waiting);
  void ExpireWaiting();
  template <class Req, class Rep>
  void Read(const Origin& origin, const Buffer& request, const PeerInfo& peer,
            rpc::ResponderPtr responder,
            Result<Rep> (Service::*handler)(const Req&, const PeerInfo&));
  template <class Req>
  void Change(Origin origin, const Buffer& request, const PeerInfo& peer,
              rpc::ResponderPtr responder,
              Status (Service::*handler)(Req&, std::unique_ptr<Op>&));
  template <class Rep>
  void Send(rpc::Responder& responder, const Rep& reply);
  /// Fills the header of a change; not ok when the caller may not use the session.
  Status Begin(const idl::OpId& id, const idl::Caller* caller, Op* op);
  Status CheckSessionOwner(SessionId session, const PeerInfo& peer);
  /// Takes the op; the answer follows when the command was applied.
  Status Propose(std::unique_ptr<Op>& op, const CommandBody& body);
  void Answer(Op& op, Result<std::string> payload);
  /// Answers with the stored reply, if there is one; why becomes that nobody can know any more, when that is so.
  bool Replay(Op& op, Status* why);
  void Refuse(std::unique_ptr<Op> op, Status why);
  /// op: whose session may keep the attributes.
  Finish AttrFinish();
  Finish NamesFinish();
  Finish EmptyFinish();
  /// Those of the operation that its session may keep, as they are now; returns the term.
  int64_t LeaseDirectories(const Op& op, std::vector<idl::Attr>* out);
  /// Operations of sessions that cache, in the log and not applied: session, incarnation, sequence.
  using Proposed = std::multiset<std::tuple<SessionId, uint64_t, uint64_t>>;
  Proposed::iterator NoteProposed(Op& op);

  // namespace_handlers.cc
  Result<ResolvedPath> Resolve(const idl::Ref& ref, const Credentials& who, bool follow,
                               bool allow_missing = false);
  Result<Inode> ResolveInode(const idl::Ref& ref, const Credentials& who, bool follow);
  std::vector<SessionId> OpenersOf(const ResolvedPath& path) const;
  Result<idl::StatReply> Stat(const idl::StatRequest& request, const PeerInfo& peer);
  Result<idl::ListDirectoryReply> ListDirectory(const idl::ListDirectoryRequest& request,
                                                const PeerInfo& peer);
  Result<idl::GetXattrReply> GetXattr(const idl::GetXattrRequest& request, const PeerInfo& peer);
  Result<idl::ListXattrsReply> ListXattrs(const idl::ListXattrsRequest& request,
                                          const PeerInfo& peer);
  Result<idl::StatFsReply> StatFs(const idl::StatFsRequest& request, const PeerInfo& peer);
  Result<idl::UsageReply> GetUsage(const idl::UsageRequest& request, const PeerInfo& peer);
  Status Mkdir(idl::MkdirRequest& request, std::unique_ptr<Op>& op);
  Status Symlink(idl::SymlinkRequest& request, std::unique_ptr<Op>& op);
  Status Link(idl::LinkRequest& request, std::unique_ptr<Op>& op);
  Status Unlink(idl::UnlinkRequest& request, std::unique_ptr<Op>& op);
  Status Rmdir(idl::RmdirRequest& request, std::unique_ptr<Op>& op);
  Status RemoveTree(idl::RemoveTreeRequest& request, std::unique_ptr<Op>& op);
  Status Rename(idl::RenameRequest& request, std::unique_ptr<Op>& op);
  Status SetAttr(idl::SetAttrRequest& request, std::unique_ptr<Op>& op);
  Status SetXattr(idl::SetXattrRequest& request, std::unique_ptr<Op>& op);
  Status RemoveXattr(idl::RemoveXattrRequest& request, std::unique_ptr<Op>& op);

  // file_handlers.cc
  Status Create(idl::CreateRequest& request, std::unique_ptr<Op>& op);
  Status WriteInline(idl::WriteInlineRequest& request, std::unique_ptr<Op>& op);
  Status OpenFile(idl::OpenFileRequest& request, std::unique_ptr<Op>& op);
  Result<idl::OpenFileReply> OpenReply(InodeId inode, const std::string& client_host);
  Result<idl::Empty> CloseFile(const idl::CloseFileRequest& request, const PeerInfo& peer);
  Result<idl::GetBlocksReply> GetBlocks(const idl::GetBlocksRequest& request, const PeerInfo& peer);
  Status LocateSlots(const Inode& inode, uint64_t first, uint64_t last, size_t max,
                     const std::string& client_host, std::vector<idl::LocatedBlock>* out,
                     bool* open_for_write);

  // block_handlers.cc
  Status OpenBlock(idl::OpenBlockRequest& request, std::unique_ptr<Op>& op);
  Result<std::vector<DatanodeId>> ChooseMembers(const idl::OpenBlockRequest& request,
                                                SessionId session, const Inode& inode);
  Status ExcludeMembers(idl::ExcludeMembersRequest& request, std::unique_ptr<Op>& op);
  Status ReleaseBlocks(idl::ReleaseBlocksRequest& request, std::unique_ptr<Op>& op);
  Status CloseBlock(idl::CloseBlockRequest& request, std::unique_ptr<Op>& op);
  Status CommitLength(idl::CommitLengthRequest& request, std::unique_ptr<Op>& op);
  Result<idl::Empty> ReportBadReplica(const idl::ReportBadReplicaRequest& request,
                                      const PeerInfo& peer);
  Finish WritableFinish(SessionId session);
  /// kUnavailable: a member has not registered here yet.
  Status FillWritable(const OpenBlockResult& result, SessionId session, idl::WritableBlock* out);
  /// Whether commands of this level may be proposed.
  bool Supports(uint32_t feature_level) const;
  std::string Token(BlockId block, Stamp stamp, bool write, SessionId session) const;

  // lock_handlers.cc
  Status Lock(idl::LockRequest& request, std::unique_ptr<Op>& op);
  Status WaitForLock(const idl::LockRequest& request, LockCommand command, std::unique_ptr<Op>& op);
  Status Unlock(idl::UnlockRequest& request, std::unique_ptr<Op>& op);
  Result<idl::GetLockReply> GetLock(const idl::GetLockRequest& request, const PeerInfo& peer);
  Result<idl::Empty> CancelLock(const idl::CancelLockRequest& request, const PeerInfo& peer);
  LockWaiters::Proposer LockProposer();

  // session_handlers.cc
  Status OpenSession(idl::OpenSessionRequest& request, std::unique_ptr<Op>& op);
  Status ResumeSession(idl::ResumeSessionRequest& request, std::unique_ptr<Op>& op);
  Status CloseSession(idl::CloseSessionRequest& request, std::unique_ptr<Op>& op);
  Result<idl::KeepAliveReply> KeepAlive(const idl::KeepAliveRequest& request, const PeerInfo& peer);
  Finish SessionFinish();

  // lease_handlers.cc
  Result<idl::Empty> DeclareLeases(const idl::DeclareLeasesRequest& request, const PeerInfo& peer);
  void AcquireLease(const idl::AcquireLeaseRequest& request, const PeerInfo& peer,
                    rpc::ResponderPtr responder);
  /// The leader's term when the session may keep what was just read of the inode; 0: it may not.
  int64_t LeaseTerm(SessionId session, InodeId inode, bool regular_file);
  /// Of what the operation's reply says, which is out of date when it was replayed.
  int64_t LeaseTerm(const Op& op, InodeId inode, bool regular_file);
  /// True when a writer elsewhere has to tell what it wrote before the answer is right; then the answer that is being made
  /// is thrown away, and made anew after that.
  bool AwaitWriter(SessionId reader, const InodeAttr& inode);
  static Status Awaiting();

  // datanode_handlers.cc
  void RunDatanode(rpc::Method method, const Buffer& request, const rpc::CallContext& context,
                   rpc::ResponderPtr responder);
  Result<idl::RegisterDatanodeReply> Register(const idl::RegisterDatanodeRequest& request,
                                              const rpc::CallContext& context);
  void Heartbeat(const idl::HeartbeatRequest& request, rpc::ResponderPtr responder);
  Result<idl::BlockReportReply> BlockReport(const idl::BlockReportRequest& request);
  Result<idl::Empty> IncrementalReport(const idl::IncrementalReportRequest& request);

  // datanode_admin_handlers.cc
  Status SetDatanode(idl::SetDatanodeRequest& request, std::unique_ptr<Op>& op);
  Result<idl::Empty> ReleaseDeletions(const idl::ReleaseDeletionsRequest& request,
                                      const PeerInfo& peer);
  /// Root, and whom the namenodes run as.
  Status CheckOperator(const Credentials& who) const;
  // audit.cc
  void Audit(Op& op, Code outcome);
  void AuditRefusal(AuditEvent event, const PeerInfo& peer, const Credentials& who, Code outcome);

  // explain_handlers.cc
  Result<idl::ExplainReply> Explain(const idl::ExplainRequest& request, const PeerInfo& peer);

  // trash_handlers.cc
  Status MoveToTrash(idl::MoveToTrashRequest& request, std::unique_ptr<Op>& op);
  // admin_handlers.cc
  Result<idl::ExportReply> Export(const idl::ExportRequest& request, const PeerInfo& peer);
  /// Root, or whom the root directory of a new cluster belongs to: the user that the namenodes run as.
  bool IsSuperuser(const Credentials& who) const;

  const NamenodeOptions& options_;
  RequestCounts requests_{};
  Executor& executor_;
  Replica& replica_;
  StateMachine& machine_;
  StateReader& state_;
  BlockManager& blocks_;
  SessionManager& sessions_;
  LeaseManager& leases_;
  Proposed proposed_;
  Trash& trash_;
  Exporter& exporter_;
  const AuditSink audit_;
  /// Their wall clocks less ours, when they were last heard.
  std::unordered_map<DatanodeId, int64_t> clock_offsets_ns_;
  const std::string token_key_;
  std::map<SessionId, std::weak_ptr<rpc::RpcPeer>> session_peers_;  // where each was last heard
  // Of the read that is being answered.
  std::vector<InodeId> awaited_;
  SessionId awaiting_;
  bool written_out_ = false;  // its writers have been asked
  LockWaiters lock_waiters_;
  std::deque<Waiting> waiting_;
  Executor::TimerId waiting_timer_ = 0;
  std::shared_ptr<char> alive_ = std::make_shared<char>();
};

}  // namespace dfs::nn
