#include "common/client/core/open_files.h"

#include <utility>

#include "common/client/core/block_writer.h"
#include "common/client/core/calls.h"
#include "common/client/core/file_writer.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {

constexpr int64_t kRetryNs = 500 * kMillisecond;

/// Whether the same request may succeed while the session lives.
bool WorthRepeating(Code code) {
  switch (code) {
    case Code::kTimedOut:
    case Code::kUnavailable:
    case Code::kNotLeader:
    case Code::kOverloaded:
    case Code::kOutcomeUnknown:
      return true;
    default:
      return false;
  }
}

}  // namespace

void OpenFiles::Add(uint64_t inode, std::weak_ptr<FileWriter> writer) {
  writers_[inode] = std::move(writer);
}

void OpenFiles::Remove(uint64_t inode, const FileWriter* writer) {
  auto it = writers_.find(inode);
  if (it == writers_.end()) return;
  const std::shared_ptr<FileWriter> now = it->second.lock();
  if (now == nullptr || now.get() == writer) writers_.erase(it);
}

std::shared_ptr<void> OpenFiles::BeginOpen() {
  ++opening_;
  return std::shared_ptr<void>(nullptr, [weak = core_.weak_from_this()](void*) {
    if (auto core = weak.lock()) --core->files().opening_;
  });
}

void OpenFiles::EndCut() {
  cutting_ = false;
  // One of them may be the next that cuts.
  while (!cutting_ && !waiting_for_cut_.empty()) {
    Task open = std::move(waiting_for_cut_.front());
    waiting_for_cut_.pop_front();
    open();
  }
}

void OpenFiles::WhenNobodyCuts(Task open) {
  if (cutting_) {
    waiting_for_cut_.push_back(std::move(open));
  } else {
    open();
  }
}

std::shared_ptr<FileWriter> OpenFiles::Find(uint64_t inode) const {
  auto it = writers_.find(inode);
  return it == writers_.end() ? nullptr : it->second.lock();
}

void OpenFiles::Release(uint64_t inode, uint64_t session, std::vector<uint64_t> slots,
                        std::vector<std::shared_ptr<BlockWriter>> writers) {
  if (core_.closed()) {
    for (const std::shared_ptr<BlockWriter>& writer : writers) writer->Retire(nullptr);
    // This may run within one of them.
    core_.executor().Post([writers = std::move(writers)] {});
    return;
  }
  if (slots.empty()) return;
  ++releasing_[inode].count;
  auto left = std::make_shared<size_t>(writers.size() + 1);
  auto one_less = [weak = core_.weak_from_this(), left, inode, session,
                   slots = std::move(slots)]() mutable {
    if (--*left > 0) return;
    if (auto core = weak.lock()) core->files().Send(inode, session, slots);
  };
  for (std::shared_ptr<BlockWriter>& writer : writers) {
    core_.Keep(writer);
    writer->Retire([weak = core_.weak_from_this(), writer = writer.get(), one_less]() mutable {
      if (auto core = weak.lock()) core->Release(writer);
      one_less();
    });
  }
  one_less();
}

void OpenFiles::Send(uint64_t inode, uint64_t session, std::vector<uint64_t> slots) {
  if (core_.closed() || core_.session().id() != session) {
    Finish(inode);  // recovery closes the blocks of a session that has ended
    return;
  }
  idl::ReleaseBlocksRequest request;
  request.inode = static_cast<int64_t>(inode);
  for (uint64_t slot : slots) request.slots.push_back(static_cast<int64_t>(slot));
  core_.FillCaller(&request.caller);
  Change<idl::kReleaseBlocks>(core_, std::move(request), session, core_.Deadline(),
                              [weak = core_.weak_from_this(), inode, session,
                               slots = std::move(slots)](Result<idl::Empty> reply) mutable {
                                auto core = weak.lock();
                                if (!core) return;
                                if (reply || !WorthRepeating(reply.error().code())) {
                                  core->files().Finish(inode);
                                  return;
                                }
                                core->executor().RunAfter(
                                    kRetryNs, [weak, inode, session, slots = std::move(slots)] {
                                      if (auto again = weak.lock())
                                        again->files().Send(inode, session, slots);
                                    });
                              });
}

void OpenFiles::Finish(uint64_t inode) {
  auto it = releasing_.find(inode);
  if (it == releasing_.end() || --it->second.count > 0) return;
  std::vector<StatusDone> waiters = std::move(it->second.waiters);
  releasing_.erase(it);
  for (StatusDone& done : waiters) done(Status());
}

void OpenFiles::WhenReleased(uint64_t inode, StatusDone done) {
  auto it = releasing_.find(inode);
  if (it == releasing_.end()) {
    done(Status());
  } else {
    it->second.waiters.push_back(std::move(done));
  }
}

}  // namespace dfs::client
