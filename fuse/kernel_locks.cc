// Requests on file locks that hold between mounts. The kernel sends them only when it was told so at its beginning
// (lock=cluster); otherwise it keeps the locks of this machine's processes by itself.
#include "fuse/kernel_locks.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <utility>

#include "common/base/logging.h"
#include "common/client/core/file_locks.h"

namespace dfs::fuse {
namespace {

using client::FileLock;
using client::LockKind;
using client::LockType;

Descriptor* DescriptorOf(const fuse_file_info* info) {
  return reinterpret_cast<Descriptor*>(info->fh);
}

FileLock PosixLock(const fuse_file_info* info, const struct flock& lock) {
  FileLock out;
  out.inode = DescriptorOf(info)->file->inode();
  out.kind = LockKind::kPosix;
  out.type = lock.l_type == F_WRLCK ? LockType::kExclusive : LockType::kShared;
  out.start = static_cast<uint64_t>(lock.l_start);
  // libfuse has made a length of the kernel's last byte; 0: to the end.
  out.end = lock.l_len == 0 ? static_cast<uint64_t>(INT64_MAX)
                            : static_cast<uint64_t>(lock.l_start + lock.l_len - 1);
  out.owner = info->lock_owner;
  out.pid = static_cast<uint32_t>(lock.l_pid);
  out.handle = DescriptorOf(info);
  return out;
}

void Take(const CallPtr& call, const FileLock& lock, bool wait) {
  client::FileLocks& locks = call->locks();
  const auto ticket = locks.Lock(lock, wait, [call, lock, &locks](const Result<uint64_t>& token) {
    // Somebody may have been told EINTR in this very moment.
    if (token && call->answered()) locks.Unlock(lock, [](const Status&) {});
    call->Done(token.status());
  });
  call->WhenInterrupted([ticket, &locks] { locks.Cancel(ticket); });
}

/// What was written under a lock is seen by who gets it next.
template <class Then>
void FlushFirst(Descriptor* descriptor, Then then) {
  auto file = descriptor->file;
  file->Flush([file, then = std::move(then)](const Status& status) mutable {
    // The descriptors are told at their next write, flush or fsync.
    if (!status.ok()) {
      LogError("inode {}: flush before unlock: {}", file->inode(), status.ToString());
    }
    then();
  });
}

void LetGo(const CallPtr& call, Descriptor* descriptor, const FileLock& lock) {
  FlushFirst(descriptor, [call, lock] {
    call->locks().Unlock(lock, [call](const Status& status) { call->Done(status); });
  });
}

/// A lock that lets others read may be what is left of one that did not.
void TakeOrLower(const CallPtr& call, Descriptor* descriptor, const FileLock& lock, bool wait) {
  if (lock.type == LockType::kExclusive) return Take(call, lock, wait);
  FlushFirst(descriptor, [call, lock, wait] { Take(call, lock, wait); });
}

void GetLk(fuse_req_t req, fuse_ino_t, fuse_file_info* info, struct flock* lock) {
  auto call = Call::Of(req);
  call->locks().Test(PosixLock(info, *lock),
                     [call](const Result<std::optional<FileLock>>& held) {
                       if (!held) return call->Error(held.error());
                       struct flock answer = {};
                       answer.l_type = F_UNLCK;
                       if (*held) {
                         const FileLock& h = **held;
                         answer.l_type = h.type == LockType::kExclusive ? F_WRLCK : F_RDLCK;
                         answer.l_start = static_cast<off_t>(h.start);
                         answer.l_len = h.end == static_cast<uint64_t>(INT64_MAX)
                                            ? 0
                                            : static_cast<off_t>(h.end - h.start + 1);
                         answer.l_pid = static_cast<pid_t>(h.pid);
                       }
                       call->Lock(answer);
                     });
}

void SetLk(fuse_req_t req, fuse_ino_t, fuse_file_info* info, struct flock* lock, int sleep) {
  auto call = Call::Of(req);
  const FileLock wanted = PosixLock(info, *lock);
  if (lock->l_type == F_UNLCK) {
    LetGo(call, DescriptorOf(info), wanted);
  } else {
    TakeOrLower(call, DescriptorOf(info), wanted, sleep != 0);
  }
}

void Flock(fuse_req_t req, fuse_ino_t, fuse_file_info* info, int op) {
  auto call = Call::Of(req);
  FileLock wanted;
  wanted.inode = DescriptorOf(info)->file->inode();
  wanted.kind = LockKind::kFlock;
  wanted.type = (op & LOCK_EX) != 0 ? LockType::kExclusive : LockType::kShared;
  wanted.owner = info->lock_owner;
  wanted.pid = static_cast<uint32_t>(fuse_req_ctx(req)->pid);
  if ((op & LOCK_UN) != 0) {
    LetGo(call, DescriptorOf(info), wanted);
  } else {
    TakeOrLower(call, DescriptorOf(info), wanted, (op & LOCK_NB) == 0);
  }
}

}  // namespace

void ReleaseAtClose(const CallPtr& call, uint64_t inode, uint64_t owner, const Status& flushed) {
  call->locks().ReleaseOwner(inode, LockKind::kPosix, owner,
                             [call, flushed](const Status& status) {
                               if (!status.ok()) LogError("unlock at close: {}", status.ToString());
                               call->Done(flushed);
                             });
}

void ReleaseAtLastClose(const CallPtr& call, const fuse_file_info* info) {
  Descriptor* descriptor = DescriptorOf(info);
  const std::shared_ptr<OpenFile> file = descriptor->file;
  client::FileLocks& locks = call->locks();
  if (info->flock_release) {
    locks.ReleaseOwner(file->inode(), LockKind::kFlock, info->lock_owner, [](const Status&) {});
  }
  locks.ReleaseHandle(file->inode(), descriptor);
  call->files().Release(descriptor);
  if (file->unused()) locks.Closed(file->inode());
}

void AddLockRequests(fuse_lowlevel_ops* ops) {
  ops->getlk = GetLk;
  ops->setlk = SetLk;
  ops->flock = Flock;
}

}  // namespace dfs::fuse
