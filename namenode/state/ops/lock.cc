#include "namenode/state/ops/locks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {
namespace {

/// The session that takes the lock: the header's, which was admitted, or that of a request that waited.
Result<SessionId> SessionOf(Txn& txn, const LockCommand& command) {
  if (txn.header().session.valid()) return txn.header().session;
  if (!command.session.valid() || command.wait_id == 0)
    return Status(Code::kInvalidArgument, "locking takes a session");
  DFS_ASSIGN_OR_RETURN(std::optional<Session> session, txn.FindSession(command.session));
  if (!session) return Status(Code::kUnknownSession, "the session has ended");
  if (session->incarnation != command.incarnation)
    return Status(Code::kStaleIncarnation, "the session was resumed by another process");
  return command.session;
}

Status CheckRange(const LockCommand& command) {
  const bool known =
      (command.kind == LockKind::kPosix || command.kind == LockKind::kFlock) &&
      (command.type == LockType::kShared || command.type == LockType::kExclusive);
  const bool whole = command.start == 0 && command.end == kMaxLockEnd;
  if (!known || command.start > command.end || command.end > kMaxLockEnd ||
      (command.kind == LockKind::kFlock && !whole))
    return Status(Code::kInvalidArgument, "not a lock");
  return Status::Ok();
}

}  // namespace

Status ApplyOp(Txn& txn, const LockCommand& command, std::string* payload) {
  DFS_RETURN_IF_ERROR(CheckRange(command));
  DFS_ASSIGN_OR_RETURN(SessionId session, SessionOf(txn, command));
  DFS_ASSIGN_OR_RETURN(SessionLocks session_locks,
                       AdvanceWaits(txn, session, command.first_wait, command.wait_id));
  DFS_ASSIGN_OR_RETURN(Inode inode, LoadLockable(txn, command.inode));
  DFS_ASSIGN_OR_RETURN(std::vector<Lock> held, LoadLocks(txn, inode.id, command.kind));
  Lock wanted{command.kind, {session, command.owner}, command.start, command.end,
              command.type, command.pid,              txn.index()};
  std::vector<Lock> own;
  for (const Lock& lock : held) {
    if (lock.owner == wanted.owner) own.push_back(lock);
  }
  LockResult result;
  if (const Lock* conflict = FindConflict(held, wanted)) {
    result.conflict = *conflict;
    *payload = EncodeResult(result);
    // flock gives the old lock up before it asks for the new one: two holders that both convert would wait for each
    // other for ever otherwise.
    if (command.kind == LockKind::kPosix || own.empty()) return Status::Ok();
    return ReplaceLocks(txn, inode.id, session_locks, own, {}, session);
  }
  DFS_RETURN_IF_ERROR(
      ReplaceLocks(txn, inode.id, session_locks, own, WithLock(own, wanted), session));
  result.granted = true;
  result.token = txn.index();
  *payload = EncodeResult(result);
  return Status::Ok();
}

}  // namespace dfs::nn
