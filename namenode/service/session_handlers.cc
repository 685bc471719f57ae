// Service: sessions.
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr size_t kMaxClientName = 255;
}

Service::Finish Service::SessionFinish() {
  return [this](std::string_view payload, const Op&) -> Result<Buffer> {
    DFS_ASSIGN_OR_RETURN(SessionResult result, DecodeResult<SessionResult>(payload));
    idl::OpenSessionReply reply;
    reply.session = Signed(result.session.value);
    reply.incarnation = Signed(result.incarnation);
    reply.expiry_ms = static_cast<int32_t>(options_.session_expiry_ns / kMillisecond);
    return idl::Encode(reply);
  };
}

Status Service::OpenSession(idl::OpenSessionRequest& request, std::unique_ptr<Op>& op) {
  op->finish = SessionFinish();
  DFS_RETURN_IF_ERROR(Begin(idl::OpId(), nullptr, op.get()));
  OpenSessionCommand command;
  command.client_name = request.client_name.substr(0, kMaxClientName);
  command.secret = std::move(request.secret);
  command.nonce = Unsigned(request.nonce);
  // Without leases until all namenodes are upgraded: the session is told so by never having its term extended.
  command.caches = request.caches && Supports(kFeatureCaches);
  return Propose(op, command);
}

Status Service::ResumeSession(idl::ResumeSessionRequest& request, std::unique_ptr<Op>& op) {
  op->finish = SessionFinish();
  DFS_RETURN_IF_ERROR(Begin(idl::OpId(), nullptr, op.get()));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(SessionId(Unsigned(request.session)), op->peer));
  ResumeSessionCommand command;
  command.session = SessionId(Unsigned(request.session));
  command.secret = std::move(request.secret);
  command.expected_incarnation = Unsigned(request.expected_incarnation);
  return Propose(op, command);
}

Status Service::CloseSession(idl::CloseSessionRequest& request, std::unique_ptr<Op>& op) {
  op->finish = EmptyFinish();
  DFS_RETURN_IF_ERROR(Begin(idl::OpId(), nullptr, op.get()));
  SessionId session(Unsigned(request.session));
  Status owner = CheckSessionOwner(session, op->peer);
  // Gone already: Apply says ok.
  if (!owner.ok() && !owner.Is(Code::kUnknownSession)) return owner;
  CloseSessionCommand command;
  command.session = session;
  command.incarnation = Unsigned(request.incarnation);
  return Propose(op, command);
}

Result<idl::KeepAliveReply> Service::KeepAlive(const idl::KeepAliveRequest& request,
                                               const PeerInfo& peer) {
  SessionId session(Unsigned(request.session));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(session, peer));
  std::vector<InodeId> open;
  open.reserve(request.open_inodes.size());
  for (int64_t inode : request.open_inodes) open.push_back(InodeId(Unsigned(inode)));
  DFS_RETURN_IF_ERROR(
      sessions_.KeepAlive(session, Unsigned(request.incarnation), request.holds_state, open));
  idl::KeepAliveReply reply;
  reply.expiry_ms = static_cast<int32_t>(options_.session_expiry_ns / kMillisecond);
  if (leases_.Caches(session)) {
    session_peers_[session] = peer.connection;
    std::vector<InodeId> returned;
    for (int64_t inode : request.returned) returned.push_back(InodeId(Unsigned(inode)));
    const LeaseManager::Kept kept = leases_.KeepAlive(session, returned);
    reply.term = Signed(leases_.term());
    reply.lease = kept.extended;
    reply.tell_leases = kept.declare;
  }
  return reply;
}

}  // namespace dfs::nn
