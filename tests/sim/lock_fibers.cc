// The fiber that locks files against the others: what was held exclusively was held by nobody else at the time.
//
// A hold counts when its unlock was acknowledged in the session that took it: then it was never lost in between. It
// lasts at least from the answer to the lock until the unlock was asked for.
#include <fmt/core.h>

#include <string>
#include <utility>

#include "common/client/core/calls.h"
#include "common/client/core/file_locks.h"
#include "dfs_types.h"
#include "tests/sim/fiber.h"

namespace dfs::sim {

std::string LockedFile::Add(const Hold& hold) {
  for (const Hold& other : holds) {
    const bool apart = other.until <= hold.from || hold.until <= other.from;
    if (other.kind != hold.kind || !(other.exclusive || hold.exclusive)) continue;
    const bool in_order = (other.from < hold.from) == (other.token < hold.token);
    if (apart && in_order) continue;
    return fmt::format("{}: {} held it from {} to {} (token {}), {} from {} to {} (token {})", path,
                       other.who, other.from, other.until, other.token, hold.who, hold.from,
                       hold.until, hold.token);
  }
  holds.push_back(hold);
  return "";
}

namespace {

using client::FileLock;
using client::LockKind;
using client::LockType;

class LockFiber final : public Fiber {
 public:
  LockFiber(Workload& workload, ClientHost& host) : Fiber(workload, host, host.name() + ".locks") {}

 private:
  void Act() override {
    if (holding_) return Unlock();
    file_ = &workload_.locked()[random().Uniform(workload_.locked().size())];
    if (file_->inode == 0) return Make();
    lock_ = FileLock();
    lock_.inode = file_->inode;
    lock_.kind = random().OneIn(2) ? LockKind::kPosix : LockKind::kFlock;
    lock_.type = random().OneIn(3) ? LockType::kShared : LockType::kExclusive;
    lock_.owner = 1;
    Lock(!random().OneIn(4));
  }

  bool Finish() override {
    if (!holding_) return false;
    Unlock();
    return true;
  }

  void Make() {
    Doing("make " + file_->path);
    idl::CreateRequest request;
    request.ref.path = file_->path;
    request.mode = 0644;
    core_->FillCaller(&request.caller);
    client::Change<idl::kCreate>(
        *core_, std::move(request), 0, core_->Deadline(),
        [this, self = shared_from_this()](Result<idl::CreateReply> reply) {
          Note(reply.status());
          if (reply) file_->inode = static_cast<uint64_t>(reply->attr.inode);
          Next();
        });
  }

  void Lock(bool wait) {
    Doing(fmt::format("{} {} {} {}", wait ? "lock" : "try to lock", file_->path,
                      static_cast<int>(lock_.kind), static_cast<int>(lock_.type)));
    auto self = std::static_pointer_cast<LockFiber>(shared_from_this());
    waiting_ = true;
    const auto ticket = core_->locks().Lock(lock_, wait, [self](Result<uint64_t> token) {
      self->OnLocked(std::move(token));
    });
    if (!waiting_ || !random().OneIn(4)) return;
    core_->executor().RunAfter(random().Between(1, 3000) * kMillisecond,
                               [weak = std::weak_ptr<LockFiber>(self), ticket] {
                                 if (auto fiber = weak.lock()) fiber->core_->locks().Cancel(ticket);
                               });
  }

  void OnLocked(Result<uint64_t> token) {
    waiting_ = false;
    Note(token.status());
    if (token) {
      holding_ = true;
      ++workload_.cluster().stats().locks_granted;
      hold_ = {name(), static_cast<int>(lock_.kind), lock_.type == LockType::kExclusive, *token,
               workload_.Tick(), 0};
    } else if (token.error().Is(Code::kIoError)) {
      // Lost with an earlier session: as if the file were closed and opened again.
      core_->locks().Closed(lock_.inode);
    }
    Next(kMillisecond, 400 * kMillisecond);
  }

  void Unlock() {
    Doing("unlock " + file_->path);
    holding_ = false;
    hold_.until = workload_.Tick();
    core_->locks().Unlock(lock_, [this, self = shared_from_this()](const Status& status) {
      Note(status);
      if (status.ok()) {
        if (std::string wrong = file_->Add(hold_); !wrong.empty()) Fail(wrong);
      } else {
        core_->locks().Closed(lock_.inode);
      }
      Next();
    });
  }

  LockedFile* file_ = nullptr;
  FileLock lock_;
  LockedFile::Hold hold_;
  bool holding_ = false;
  bool waiting_ = false;
};

}  // namespace

std::shared_ptr<Fiber> MakeLockFiber(Workload& workload, ClientHost& host) {
  return std::make_shared<LockFiber>(workload, host);
}

}  // namespace dfs::sim
