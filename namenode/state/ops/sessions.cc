// open_session, resume_session, expire_session, close_session (protocols, section 1).
#include "common/base/codec.h"
#include "namenode/state/ops/blocks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

/// Takes the same time wherever they differ.
bool SameSecret(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) difference |= static_cast<unsigned char>(a[i] ^ b[i]);
  return difference == 0;
}

Result<std::optional<Session>> FindByNonce(Txn& txn, uint64_t nonce) {
  std::string value;
  DFS_ASSIGN_OR_RETURN(bool found, txn.Get(NonceKey(nonce), &value));
  if (!found) return std::optional<Session>();
  return txn.FindSession(SessionId(KeyNumber(value, 0)));
}

Status End(Txn& txn, SessionId id, uint64_t incarnation) {
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(id));
  if (!session) return Status::Ok();
  if (session->incarnation != incarnation)
    return Status(Code::kStaleIncarnation, "the session was resumed");
  return EndSession(txn, *session);
}

}  // namespace

Status ApplyOp(Txn& txn, const OpenSessionCommand& command, std::string* payload) {
  if (command.secret.empty() || command.secret.size() > kMaxSecretBytes ||
      command.client_name.size() > kMaxNameBytes)
    return Status(Code::kInvalidArgument, "bad secret or client name");
  DFS_ASSIGN_OR_RETURN(std::optional<Session> known, FindByNonce(txn, command.nonce));
  if (known) {
    if (!SameSecret(known->secret, command.secret))
      return Status(Code::kConflict, "the nonce is another session's");
    *payload = EncodeResult(SessionResult{known->id, known->incarnation});
    return Status::Ok();
  }
  Counters& counters = txn.mutable_counters();
  if (counters.sessions >= kMaxSessions)
    return Status(Code::kOverloaded, "too many sessions").WithRetryAfter(1000);
  Session session;
  session.id = SessionId(counters.next_session++);
  session.secret = command.secret;
  session.nonce = command.nonce;
  session.uid = txn.caller().uid;
  session.opened_ns = txn.now();
  session.client_name = command.client_name;
  session.caches = command.caches;
  counters.sessions += 1;
  txn.PutSession(session);
  std::string id;
  AppendBigEndian64(&id, session.id.value);
  txn.Put(NonceKey(session.nonce), id);
  txn.AddEvent(SessionOpened{session});
  *payload = EncodeResult(SessionResult{session.id, session.incarnation});
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const ResumeSessionCommand& command, std::string* payload) {
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(command.session));
  if (!session) return Status(Code::kUnknownSession, "no such session");
  if (!SameSecret(session->secret, command.secret))
    return Status(Code::kNotPermitted, "wrong secret");
  if (command.expected_incarnation != 0 && command.expected_incarnation != session->incarnation)
    return Status(Code::kStaleIncarnation, "resumed by somebody else");
  DFS_RETURN_IF_ERROR(FenceOpenBlocks(txn, session->id));
  // Behind the session's own record, which has the same prefix.
  DFS_ASSIGN_OR_RETURN(auto replies, txn.Collect(SessionKey(session->id), ReplyKey(session->id, 0),
                                                 kMaxStoredReplies + 16));
  for (const auto& [key, value] : replies) txn.Delete(key);
  session->incarnation += 1;
  session->first_outstanding = 1;
  session->highest_sequence = 0;
  session->open_blocks = 0;
  txn.PutSession(*session);
  txn.AddEvent(SessionResumed{*session});
  *payload = EncodeResult(SessionResult{session->id, session->incarnation});
  return Status::Ok();
}

Status ApplyOp(Txn& txn, const ExpireSessionCommand& command, std::string*) {
  return End(txn, command.session, command.incarnation);
}

Status ApplyOp(Txn& txn, const CloseSessionCommand& command, std::string*) {
  return End(txn, command.session, command.incarnation);
}

}  // namespace dfs::nn
