// Service: requests in, replies out.
#include "common/base/logging.h"
#include "common/rpc/idl_call.h"
#include "namenode/service/audit_describe.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
/// Requests that wait for a new leader's first entry to be applied.
constexpr size_t kMaxWaiting = 4096;

bool IsDatanodeMethod(rpc::Method m) {
  return m >= 100 && m < 120;
}
/// Answered from the state, after a read barrier.
bool IsRead(rpc::Method m) {
  switch (m) {
    case idl::kStat:
    case idl::kListDirectory:
    case idl::kGetXattr:
    case idl::kListXattrs:
    case idl::kStatFs:
    case idl::kUsage:
    case idl::kGetBlocks:
    case idl::kOpenFile:  // may truncate as well; what it answers is read
    case idl::kKeepAlive:
    case idl::kDeclareLeases:
    case idl::kAcquireLease:
    case idl::kCloseFile:
    case idl::kReportBadReplica:
    case idl::kGetLock:
    case idl::kCancelLock:
    case idl::kReleaseDeletions:
    case idl::kExplain:
    case idl::kExport:
      return true;
    default:
      return false;
  }
}
}  // namespace

Result<std::string> PayloadOf(Result<std::string> reply) {
  if (!reply) return reply.error();
  Result<CommandReply> decoded = DecodeReply(*reply);
  if (!decoded) return decoded.error();
  if (decoded->code != Code::kOk) return decoded->status();
  return std::move(decoded->payload);
}

Service::Service(const Parts& parts)
    : options_(parts.options),
      executor_(parts.executor),
      replica_(parts.replica),
      machine_(parts.machine),
      state_(parts.machine.reader()),
      blocks_(parts.blocks),
      sessions_(parts.sessions),
      leases_(parts.leases),
      trash_(parts.trash),
      exporter_(parts.exporter),
      audit_(parts.audit),
      token_key_(parts.token_key),
      lock_waiters_(LockWaitersOptions(), parts.executor, state_, LockProposer()) {}

Service::~Service() {
  Stop();
}

void Service::Stop() {
  alive_.reset();
  if (waiting_timer_ != 0) executor_.Cancel(waiting_timer_);
  waiting_timer_ = 0;
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  for (Waiting& w : waiting) w.responder->Fail(Status(Code::kUnavailable, "the namenode stops"));
  lock_waiters_.Clear(Status(Code::kUnavailable, "the namenode stops"));
}

void Service::HandleRequest(rpc::Method method, Buffer request, const rpc::CallContext& context,
                            rpc::ResponderPtr responder) {
  if (responder == nullptr) return;  // nothing here is one-way
  if (method < requests_.size()) ++requests_[method];
  if (IsDatanodeMethod(method)) {
    RunDatanode(method, request, context, std::move(responder));
    return;
  }
  if (method == idl::kClusterStatus) {
    Send(*responder, ClusterStatus());
    return;
  }
  PeerInfo peer = PeerInfo::Of(*context.peer);
  peer.connection = context.connection;
  Run(method, request, peer, std::move(responder));
}

void Service::HandleDisconnect(rpc::RpcPeer& peer, const Status&) {
  if (peer.user_state != nullptr) {
    blocks_.OnDisconnect(*std::static_pointer_cast<DatanodeId>(peer.user_state), &peer);
  }
  lock_waiters_.ConnectionClosed(&peer);
  if (on_disconnect) on_disconnect(peer);
}

void Service::Run(rpc::Method method, const Buffer& request, const PeerInfo& peer,
                  rpc::ResponderPtr responder) {
  if (!replica_.is_leader()) {
    if (replica_.core().is_leader()) {
      WaitForLeadership({method, request, peer, std::move(responder),
                         executor_.clock().BootNs() + options_.leadership_wait_ns});
    } else {
      responder->Fail(replica_.NotLeader());
    }
    return;
  }
  if (!IsRead(method)) {
    RunChange({method, nullptr, nullptr}, request, peer, std::move(responder));
    return;
  }
  if (replica_.HasLease()) {
    RunRead({method, nullptr, nullptr}, request, peer, std::move(responder));
    return;
  }
  // No lease just now (or read_mode=readindex): a quorum round first.
  replica_.ReadBarrier([this, alive = std::weak_ptr<char>(alive_), method, request, peer,
                        r = std::move(responder)](Status status) mutable {
    if (alive.expired()) return;
    if (!status.ok()) {
      r->Fail(replica_.is_leader() ? status : replica_.NotLeader());
    } else {
      RunRead({method, nullptr, nullptr}, request, peer, std::move(r));
    }
  });
}

void Service::RunAgain(std::unique_ptr<Op> op) {
  if (!replica_.is_leader()) {
    op->responder->Fail(replica_.NotLeader());
  } else if (op->origin.method == idl::kOpenFile) {
    RunRead(std::move(op->origin), op->request, op->peer, std::move(op->responder));
  } else {
    RunChange(std::move(op->origin), op->request, op->peer, std::move(op->responder));
  }
}

void Service::ReadAgain(Origin origin, const Buffer& request, const PeerInfo& peer,
                        rpc::ResponderPtr responder) {
  auto shared = std::make_shared<rpc::ResponderPtr>(std::move(responder));
  leases_.Flush(awaiting_, std::exchange(awaited_, {}),
                [this, alive = std::weak_ptr<char>(alive_), origin = std::move(origin), request,
                 peer, shared]() mutable {
                  if (alive.expired()) return;
                  if (!replica_.is_leader()) return (*shared)->Fail(replica_.NotLeader());
                  written_out_ = true;
                  RunRead(std::move(origin), request, peer, std::move(*shared));
                  written_out_ = false;
                });
}

void Service::RunRead(Origin origin, const Buffer& request, const PeerInfo& peer,
                      rpc::ResponderPtr responder) {
  switch (origin.method) {
    case idl::kStat:
      return Read(origin, request, peer, std::move(responder), &Service::Stat);
    case idl::kListDirectory:
      return Read(origin, request, peer, std::move(responder), &Service::ListDirectory);
    case idl::kGetXattr:
      return Read(origin, request, peer, std::move(responder), &Service::GetXattr);
    case idl::kListXattrs:
      return Read(origin, request, peer, std::move(responder), &Service::ListXattrs);
    case idl::kStatFs:
      return Read(origin, request, peer, std::move(responder), &Service::StatFs);
    case idl::kUsage:
      return Read(origin, request, peer, std::move(responder), &Service::GetUsage);
    case idl::kGetBlocks:
      return Read(origin, request, peer, std::move(responder), &Service::GetBlocks);
    case idl::kOpenFile:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::OpenFile);
    case idl::kKeepAlive:
      return Read(origin, request, peer, std::move(responder), &Service::KeepAlive);
    case idl::kDeclareLeases:
      return Read(origin, request, peer, std::move(responder), &Service::DeclareLeases);
    case idl::kAcquireLease: {
      idl::AcquireLeaseRequest decoded;
      if (!rpc::DecodeRequest(request, &decoded, responder)) return;
      return AcquireLease(decoded, peer, std::move(responder));
    }
    case idl::kCloseFile:
      return Read(origin, request, peer, std::move(responder), &Service::CloseFile);
    case idl::kReportBadReplica:
      return Read(origin, request, peer, std::move(responder), &Service::ReportBadReplica);
    case idl::kGetLock:
      return Read(origin, request, peer, std::move(responder), &Service::GetLock);
    case idl::kCancelLock:
      return Read(origin, request, peer, std::move(responder), &Service::CancelLock);
    case idl::kReleaseDeletions:
      return Read(origin, request, peer, std::move(responder), &Service::ReleaseDeletions);
    case idl::kExplain:
      return Read(origin, request, peer, std::move(responder), &Service::Explain);
    case idl::kExport:
      return Read(origin, request, peer, std::move(responder), &Service::Export);
    default:
      responder->Fail(Status(Code::kInternal, "no such read"));
      return;
  }
}

void Service::RunChange(Origin origin, const Buffer& request, const PeerInfo& peer,
                        rpc::ResponderPtr responder) {
  switch (origin.method) {
    case idl::kOpenSession:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::OpenSession);
    case idl::kResumeSession:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::ResumeSession);
    case idl::kCloseSession:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::CloseSession);
    case idl::kMkdir:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Mkdir);
    case idl::kCreate:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Create);
    case idl::kSymlink:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Symlink);
    case idl::kLink:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Link);
    case idl::kUnlink:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Unlink);
    case idl::kRmdir:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Rmdir);
    case idl::kRemoveTree:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::RemoveTree);
    case idl::kRename:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Rename);
    case idl::kSetAttr:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::SetAttr);
    case idl::kSetXattr:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::SetXattr);
    case idl::kRemoveXattr:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::RemoveXattr);
    case idl::kOpenBlock:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::OpenBlock);
    case idl::kExcludeMembers:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::ExcludeMembers);
    case idl::kCloseBlock:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::CloseBlock);
    case idl::kReleaseBlocks:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::ReleaseBlocks);
    case idl::kCommitLength:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::CommitLength);
    case idl::kWriteInline:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::WriteInline);
    case idl::kLock:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Lock);
    case idl::kUnlock:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::Unlock);
    case idl::kSetDatanode:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::SetDatanode);
    case idl::kMoveToTrash:
      return Change(std::move(origin), request, peer, std::move(responder), &Service::MoveToTrash);
    default:
      responder->Fail(Status(Code::kNotSupported, "no such method: " + std::to_string(origin.method)));
      return;
  }
}

template <class Req, class Rep>
void Service::Read(const Origin& origin, const Buffer& request, const PeerInfo& peer,
                   rpc::ResponderPtr responder,
                   Result<Rep> (Service::*handler)(const Req&, const PeerInfo&)) {
  Req decoded;
  if (!rpc::DecodeRequest(request, &decoded, responder)) return;
  Result<Rep> reply = (this->*handler)(decoded, peer);
  if (!awaited_.empty()) {
    ReadAgain(origin, request, peer, std::move(responder));
    return;
  }
  if (reply) {
    Send(*responder, *reply);
    return;
  }
  responder->Fail(reply.error());
  if constexpr (requires { decoded.ref; decoded.caller; }) {
    if (!audit_ || !IsRefusal(reply.error().code())) return;
    AuditEvent event;
    DescribeForAudit(decoded, &event);
    auto who = CredentialsOf(peer, decoded.caller);
    AuditRefusal(std::move(event), peer, who ? *who : OwnCredentials(peer), reply.error().code());
  }
}

template <class Req>
void Service::Change(Origin origin, const Buffer& request, const PeerInfo& peer,
                     rpc::ResponderPtr responder,
                     Status (Service::*handler)(Req&, std::unique_ptr<Op>&)) {
  Req decoded;
  if (!rpc::DecodeRequest(request, &decoded, responder)) return;
  auto op = std::make_unique<Op>();
  op->responder = std::move(responder);
  op->peer = peer;
  if (audit_ && IsAudited(decoded)) {
    op->audit = std::make_unique<AuditEvent>();
    DescribeForAudit(decoded, op->audit.get());
  }
  op->origin = std::move(origin);
  op->request = request;
  Status status = (this->*handler)(decoded, op);
  if (!awaited_.empty()) {
    ReadAgain(std::move(op->origin), request, peer, std::move(op->responder));
    return;
  }
  // A handler that fails leaves the op; one that proposed has taken it.
  if (!status.ok() && op != nullptr) Refuse(std::move(op), std::move(status));
}

/// What a handler refuses it has read from the state, and a deposed leader's may be old: it is an answer only when
/// this member still leads.
void Service::Refuse(std::unique_ptr<Op> op, Status why) {
  if (Replay(*op, &why)) return;
  Audit(*op, why.code());
  if (replica_.HasLease()) {
    op->responder->Fail(why);
    return;
  }
  replica_.ReadBarrier([this, alive = std::weak_ptr<char>(alive_), why = std::move(why),
                        r = std::move(op->responder)](Status status) mutable {
    if (alive.expired()) return;
    if (status.ok()) {
      r->Fail(why);
    } else {
      r->Fail(replica_.is_leader() ? status : replica_.NotLeader());
    }
  });
}

Status Service::CheckSessionOwner(SessionId session, const PeerInfo& peer) {
  if (!session.valid() || peer.trusted) return Status();
  Result<Session> record = state_.GetSession(session);
  if (!record) return record.error();
  if (record->uid != OwnCredentials(peer).uid) {
    return Status(Code::kNotPermitted, "the session belongs to another user");
  }
  return Status();
}

Status Service::Begin(const idl::OpId& id, const idl::Caller* caller, Op* op) {
  CommandHeader& h = op->header;
  h.session = SessionId(Unsigned(id.session));
  h.incarnation = Unsigned(id.incarnation);
  h.sequence = Unsigned(id.sequence);
  h.first_outstanding = Unsigned(id.first_outstanding);
  h.now_ns = executor_.clock().WallNs();
  if (caller != nullptr) {
    DFS_ASSIGN_OR_RETURN(h.caller, CredentialsOf(op->peer, *caller));
  } else {
    h.caller = OwnCredentials(op->peer);
  }
  return CheckSessionOwner(h.session, op->peer);
}

Status Service::Propose(std::unique_ptr<Op>& op, const CommandBody& body) {
  auto waiting = std::make_shared<std::unique_ptr<Op>>();
  const bool alone = leases_.TryChange(op->header.session, TouchedBy(body, state_),
                                       &op->origin.change,
                                       [this, alive = std::weak_ptr<char>(alive_), waiting] {
                                         if (alive.expired() || *waiting == nullptr) return;
                                         RunAgain(std::move(*waiting));
                                       });
  if (!alone) {
    *waiting = std::move(op);
    return Status();
  }
  std::string command = EncodeCommand(op->header, body);
  const auto proposed = NoteProposed(*op);
  replica_.Propose(std::move(command), [this, alive = std::weak_ptr<char>(alive_), proposed,
                                        mine = std::move(op)](Result<std::string> reply) {
    if (alive.expired()) return;
    if (proposed != proposed_.end()) proposed_.erase(proposed);
    mine->origin.change.reset();  // it is applied: what it says may be kept
    Answer(*mine, PayloadOf(std::move(reply)));
  });
  return Status();
}

/// A retry of what was applied, or is about to be, is answered with what is stored of that.
Service::Proposed::iterator Service::NoteProposed(Op& op) {
  const CommandHeader& h = op.header;
  if (!leases_.Caches(h.session)) return proposed_.end();
  const Proposed::value_type id(h.session, h.incarnation, h.sequence);
  const auto stored = state_.FindReply(h.session, h.incarnation, h.sequence);
  op.replayed = !stored || stored->has_value() || proposed_.contains(id);
  return proposed_.insert(id);
}

void Service::Answer(Op& op, Result<std::string> payload) {
  Audit(op, payload.status().code());
  if (!payload) {
    op.responder->Fail(payload.error());
    return;
  }
  Result<Buffer> reply = op.finish(*payload, op);
  if (reply) {
    op.responder->Send(std::move(*reply), replica_.applied_index());
  } else {
    op.responder->Fail(reply.error());
  }
}

bool Service::Replay(Op& op, Status* why) {
  const CommandHeader& h = op.header;
  if (!h.session.valid() || !op.finish) return false;
  auto stored = state_.FindReply(h.session, h.incarnation, h.sequence);
  if (!stored) {
    // An earlier try may have taken effect, and its reply is gone with the session: how it would go now is not how it went.
    *why = stored.error();
    return false;
  }
  if (!stored->has_value()) return false;
  op.replayed = true;
  Answer(op, PayloadOf(std::move(**stored)));
  return true;
}

Service::Finish Service::AttrFinish() {
  return [this](std::string_view payload, const Op& op) -> Result<Buffer> {
    DFS_ASSIGN_OR_RETURN(AttrResult result, DecodeResult<AttrResult>(payload));
    idl::AttrReply reply;
    ToIdl(result.attr, &reply.attr);
    reply.lease_term = LeaseTerm(op, result.attr.id, result.attr.IsRegular());
    reply.directories_term = LeaseDirectories(op, &reply.directories);
    return idl::Encode(reply);
  };
}

Service::Finish Service::NamesFinish() {
  return [this](std::string_view, const Op& op) -> Result<Buffer> {
    idl::NamesReply reply;
    reply.directories_term = LeaseDirectories(op, &reply.directories);
    return idl::Encode(reply);
  };
}

Service::Finish Service::EmptyFinish() {
  return [](std::string_view, const Op&) -> Result<Buffer> { return idl::Encode(idl::Empty()); };
}

void Service::WaitForLeadership(Waiting waiting) {
  if (waiting_.size() >= kMaxWaiting) {
    waiting.responder->Fail(
        Status(Code::kOverloaded, "a new leader takes over").WithRetryAfter(100));
    return;
  }
  waiting_.push_back(std::move(waiting));
  if (waiting_timer_ == 0) {
    waiting_timer_ = executor_.RunAfter(options_.leadership_wait_ns, [this] {
      waiting_timer_ = 0;
      ExpireWaiting();
    });
  }
}

void Service::ExpireWaiting() {
  int64_t now = executor_.clock().BootNs();
  while (!waiting_.empty() && waiting_.front().deadline_ns <= now) {
    Waiting w = std::move(waiting_.front());
    waiting_.pop_front();
    w.responder->Fail(
        Status(Code::kUnavailable, "the new leader is not ready").WithRetryAfter(100));
  }
  if (!waiting_.empty()) {
    waiting_timer_ = executor_.RunAfter(waiting_.front().deadline_ns - now, [this] {
      waiting_timer_ = 0;
      ExpireWaiting();
    });
  }
}

void Service::OnLeading(Term) {
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  for (Waiting& w : waiting) Run(w.method, w.request, w.peer, std::move(w.responder));
}

void Service::OnLeadershipLost(Term) {
  std::deque<Waiting> waiting;
  waiting.swap(waiting_);
  for (Waiting& w : waiting) w.responder->Fail(replica_.NotLeader());
  lock_waiters_.Clear(replica_.NotLeader());
}

}  // namespace dfs::nn
