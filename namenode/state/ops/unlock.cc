#include "namenode/state/ops/locks.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const UnlockCommand& command, std::string*) {
  const SessionId session = txn.header().session;
  if (!session.valid()) return Status(Code::kInvalidArgument, "unlocking takes a session");
  if (command.start > command.end) return Status(Code::kInvalidArgument, "not a range");
  DFS_ASSIGN_OR_RETURN(SessionLocks session_locks,
                       AdvanceWaits(txn, session, command.first_wait, 0));
  DFS_ASSIGN_OR_RETURN(std::vector<Lock> held, LoadLocks(txn, command.inode, command.kind));
  const LockOwner owner{session, command.owner};
  std::vector<Lock> own;
  for (const Lock& lock : held) {
    if (lock.owner == owner) own.push_back(lock);
  }
  // No look at the inode: what is locked is there, and whoever locked it may unlock it.
  return ReplaceLocks(txn, command.inode, session_locks, own,
                      WithoutRange(own, command.start, command.end), session);
}

}  // namespace dfs::nn
