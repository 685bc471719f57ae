// Service: file locks.
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {

// What is none comes out as such, and Apply refuses it.
LockKind KindOf(int32_t number) {
  return number == 1 || number == 2 ? static_cast<LockKind>(number) : LockKind();
}
LockType TypeOf(int32_t number) {
  return number == 1 || number == 2 ? static_cast<LockType>(number) : LockType();
}

void ToIdl(const Lock& lock, idl::LockInfo* out) {
  out->kind = static_cast<int32_t>(lock.kind);
  out->type = static_cast<int32_t>(lock.type);
  out->first = Signed(lock.start);
  out->last = Signed(lock.end);
  out->session = Signed(lock.owner.session.value);
  out->owner = Signed(lock.owner.owner);
  out->pid = static_cast<int32_t>(lock.pid);
  out->token = Signed(lock.token);
}

idl::LockReply ToReply(const LockResult& result) {
  idl::LockReply reply;
  reply.granted = result.granted;
  reply.token = Signed(result.token);
  // None when the time to wait is over.
  if (!result.granted && result.conflict.owner.session.valid()) {
    ToIdl(result.conflict, &reply.conflict);
    reply.__isset.conflict = true;
  }
  return reply;
}

Status NotYet() {
  return Status(Code::kNotSupported,
                "locks between clients take namenodes that are all of this version");
}

}  // namespace

Status Service::Lock(idl::LockRequest& request, std::unique_ptr<Op>& op) {
  op->finish = [](std::string_view payload, const Op&) -> Result<Buffer> {
    DFS_ASSIGN_OR_RETURN(LockResult result, DecodeResult<LockResult>(payload));
    return idl::Encode(ToReply(result));
  };
  // A request that waits has no sequence: there is no stored reply to look for.
  DFS_RETURN_IF_ERROR(
      Begin(request.wait ? idl::OpId() : request.op, &request.caller, op.get()));
  if (!Supports(kFeatureCaches)) return NotYet();
  LockCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  command.kind = KindOf(request.kind);
  command.type = TypeOf(request.type);
  command.start = Unsigned(request.first);
  command.end = Unsigned(request.last);
  command.owner = Unsigned(request.owner);
  command.pid = static_cast<uint32_t>(request.pid);
  command.first_wait = Unsigned(request.first_wait);
  if (request.wait) return WaitForLock(request, std::move(command), op);
  return Propose(op, command);
}

Status Service::WaitForLock(const idl::LockRequest& request, LockCommand command,
                            std::unique_ptr<Op>& op) {
  command.session = SessionId(Unsigned(request.op.session));
  command.incarnation = Unsigned(request.op.incarnation);
  command.wait_id = Unsigned(request.wait_id);
  DFS_RETURN_IF_ERROR(CheckSessionOwner(command.session, op->peer));
  DFS_ASSIGN_OR_RETURN(Session session, state_.GetSession(command.session));
  if (session.incarnation != command.incarnation) {
    return Status(Code::kStaleIncarnation, "the session was resumed by another process");
  }
  if (command.wait_id == 0) return Status(Code::kInvalidArgument, "a wait takes an id");
  const Credentials who = op->header.caller;
  const void* connection = op->peer.connection.lock().get();  // to be compared only
  lock_waiters_.Wait(command, who, connection, request.wait_ms * kMillisecond,
                     [this, mine = std::move(op)](Result<LockResult> result) {
                       if (result) {
                         Send(*mine->responder, ToReply(*result));
                       } else {
                         mine->responder->Fail(result.error());
                       }
                     });
  return Status();
}

LockWaiters::Proposer Service::LockProposer() {
  return [this](const Credentials& who, const LockCommand& command, LockWaiters::Done done) {
    CommandHeader header;
    header.now_ns = executor_.clock().WallNs();
    header.caller = who;
    replica_.Propose(EncodeCommand(header, command),
                     [done = std::move(done)](Result<std::string> reply) {
                       Result<std::string> payload = PayloadOf(std::move(reply));
                       done(payload ? DecodeResult<LockResult>(*payload)
                                    : Result<LockResult>(payload.error()));
                     });
  };
}

Status Service::Unlock(idl::UnlockRequest& request, std::unique_ptr<Op>& op) {
  op->finish = EmptyFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  if (!Supports(kFeatureCaches)) return NotYet();
  UnlockCommand command;
  command.inode = InodeId(Unsigned(request.inode));
  command.kind = KindOf(request.kind);
  command.start = Unsigned(request.first);
  command.end = Unsigned(request.last);
  command.owner = Unsigned(request.owner);
  command.first_wait = Unsigned(request.first_wait);
  return Propose(op, command);
}

Result<idl::GetLockReply> Service::GetLock(const idl::GetLockRequest& request,
                                           const PeerInfo& peer) {
  const SessionId session(Unsigned(request.session));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(session, peer));
  struct Lock wanted;
  wanted.kind = KindOf(request.kind);
  wanted.type = TypeOf(request.type);
  wanted.owner = {session, Unsigned(request.owner)};
  wanted.start = Unsigned(request.first);
  wanted.end = Unsigned(request.last);
  const InodeId inode(Unsigned(request.inode));
  DFS_ASSIGN_OR_RETURN(auto held, state_.ListLocks(inode, wanted.kind));
  // The first in the file, as fcntl(2) has it.
  std::sort(held.begin(), held.end(),
            [](const auto& a, const auto& b) { return a.start < b.start; });
  idl::GetLockReply reply;
  if (const auto* conflict = FindConflict(held, wanted)) {
    ToIdl(*conflict, &reply.conflict);
    reply.__isset.conflict = true;
  }
  return reply;
}

Result<idl::Empty> Service::CancelLock(const idl::CancelLockRequest& request,
                                       const PeerInfo& peer) {
  const SessionId session(Unsigned(request.session));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(session, peer));
  lock_waiters_.Cancel(session, Unsigned(request.wait_id));
  return idl::Empty();
}

}  // namespace dfs::nn
