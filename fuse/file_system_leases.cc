// FileSystem: what is kept under leases, and giving it up (docs/leases.md).
#include <algorithm>
#include <utility>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "fuse/file_system_calls.h"

namespace dfs::fuse {
namespace {
constexpr int64_t kAcquireAgainNs = 20 * kMillisecond;
/// A thread that waits for an answer runs by then.
constexpr int64_t kSettleNs = 3 * kMillisecond;
constexpr size_t kMaxKernelAttrs = 400'000;
constexpr size_t kMaxNameBytes = 255;
}  // namespace

// ---- Serving ------------------------------------------------------------------------------------

bool FileSystem::Serving() const {
  return core_->leases().TermLeftNs() > 0;
}

int64_t FileSystem::KeepAttrNs(uint64_t inode, uint64_t asked) {
  const idl::Attr* attr = cache_.FindAttr(inode);
  if (attr == nullptr) return 0;
  const int64_t keep_ns = core_->leases().TermLeftNs();
  if (keep_ns == 0) return 0;
  KernelAttr& kernel = kernel_attrs_[inode];
  // The kernel takes no attributes that it had asked for before it was told to forget them.
  if (kernel.forgotten > asked) return 0;
  kernel.until_ns = core_->Now() + keep_ns;
  kernel.has_pages = attr->type == idl::FileType::REGULAR;
  kernel.given_ns = core_->Now();
  if (kernel_attrs_.size() > kMaxKernelAttrs) PruneKernelAttrs();
  return keep_ns;
}

void FileSystem::PruneKernelAttrs() {
  std::erase_if(kernel_attrs_,
                [now = core_->Now()](const auto& known) { return known.second.until_ns < now; });
}

/// Only of what it may have, and not before it has had time to take that: it takes no answer that an order to forget
/// overtakes, and it is by answers that it sees that its pages are old.
void FileSystem::ForgetInKernel(uint64_t inode, Task done) {
  auto it = kernel_attrs_.find(inode);
  if (kernel_ == nullptr || it == kernel_attrs_.end() || it->second.until_ns < core_->Now()) {
    return done();
  }
  const int64_t settle_ns = it->second.given_ns + kSettleNs - core_->Now();
  if (it->second.has_pages && settle_ns > 0) {
    core_->executor().RunAfter(
        settle_ns, [this, alive = alive_, inode, done = std::move(done)]() mutable {
          if (*alive) ForgetInKernel(inode, std::move(done));
        });
    return;
  }
  it->second.until_ns = 0;
  it->second.forgotten = ++forgotten_;
  kernel_->ForgetAttributes(inode);
  done();
}

/// Names that come with a directory's entries count as learned when the kernel takes them, not when it asked: what it may
/// be about to take has to be forgotten after that.
void FileSystem::ForgetNamesInKernel(Task done) {
  if (kernel_ == nullptr) return done();
  kernel_->ForgetNames();
  const int64_t settle_ns = names_listed_ns_ + kSettleNs - core_->Now();
  if (settle_ns <= 0) return done();
  core_->executor().RunAfter(settle_ns, [this, alive = alive_, done = std::move(done)]() mutable {
    if (*alive && kernel_ != nullptr) kernel_->ForgetNames();
    done();
  });
}

int64_t FileSystem::KeepNameNs(uint64_t parent, const std::string& name, uint64_t inode) {
  if (kernel_ == nullptr || !kernel_->ForgetsNames()) return 0;
  return cache_.FindName(parent, name) == inode ? core_->leases().TermLeftNs() : 0;
}

bool FileSystem::KeepPages(uint64_t inode) {
  const bool keep = Serving() && cache_.pages(inode);
  cache_.SetPages(inode);
  return keep;
}

bool FileSystem::Answer(uint64_t parent, const std::string& name, AttrDone* done) {
  if (!Serving()) return false;
  uint64_t inode = parent;
  if (name.size() > kMaxNameBytes) return false;  // absent is not what is wrong with it
  if (!name.empty()) {
    const std::optional<uint64_t> known = cache_.FindName(parent, name);
    if (!known) return false;
    if (*known == LeaseCache::kAbsent) {
      (*done)(Status(Code::kNotFound, "no such file or directory"));
      return true;
    }
    inode = *known;
  }
  const idl::Attr* attr = cache_.FindAttr(inode);
  if (attr == nullptr) return false;
  (*done)(idl::Attr(*attr));
  return true;
}

// ---- Learning -----------------------------------------------------------------------------------

void FileSystem::Learn(const idl::Attr& attr, int64_t lease_term, uint64_t asked) {
  const auto inode = static_cast<uint64_t>(attr.inode);
  const bool overtaken = asked != recalls_ && !DefectOn(Defect::kLeaseOldGrantKept);
  if (overtaken || !core_->leases().Granted(lease_term)) {
    cache_.DropAttr(inode);
    return;
  }
  cache_.Hold(inode);
  cache_.PutAttr(attr);
  ReturnEvicted();
}

void FileSystem::LearnDirectories(const std::vector<idl::Attr>& directories, int64_t term,
                                  uint64_t asked) {
  for (const idl::Attr& attr : directories) Learn(attr, term, asked);
}

void FileSystem::LearnName(uint64_t parent, const std::string& name, uint64_t inode,
                           int64_t lease_term, uint64_t asked) {
  const bool overtaken = asked != recalls_ && !DefectOn(Defect::kLeaseOldGrantKept);
  if (overtaken || !core_->leases().Granted(lease_term)) {
    ForgetName(parent, name);
    return;
  }
  cache_.Hold(parent);
  cache_.PutName(parent, name, inode);
  ReturnEvicted();
}

void FileSystem::Changed(uint64_t parent, const std::string& name, uint64_t inode,
                         uint64_t asked) {
  // Nobody recalls from a session what it changes itself.
  cache_.DropAttr(parent);
  if (asked == recalls_ && Serving()) {
    cache_.PutName(parent, name, inode);
  } else {
    ForgetName(parent, name);
  }
}

void FileSystem::ForgetName(uint64_t parent, const std::string& name) {
  if (cache_.DropName(parent, name)) KernelMayKeepNames();
}

void FileSystem::ForgetNameAndInode(uint64_t parent, const std::string& name) {
  if (const auto inode = cache_.FindName(parent, name)) cache_.DropAttr(*inode);
  ForgetName(parent, name);
  cache_.DropAttr(parent);
}

void FileSystem::KernelMayKeepNames() {
  kernel_keeps_until_ns_ =
      std::max(kernel_keeps_until_ns_, core_->Now() + core_->leases().TermLeftNs());
}

int64_t FileSystem::LeaseSession() {
  if (!core_->leases().enabled()) return 0;
  if (!core_->session().open() && !std::exchange(ensuring_, true)) {
    core_->session().Ensure([this, alive = alive_](const Result<uint64_t>&) {
      if (*alive) ensuring_ = false;
    });
  }
  return static_cast<int64_t>(core_->session().id());
}

void FileSystem::ReturnEvicted() {
  const std::vector<uint64_t> evicted = cache_.TakeEvicted();
  if (evicted.empty()) return;
  KernelMayKeepNames();
  for (uint64_t inode : evicted) core_->leases().Return(inode);
}

// ---- Giving up ----------------------------------------------------------------------------------

void FileSystem::OnRecall(const idl::RecallRequest& recalls, Task done) {
  ++recalls_;
  struct Rest {
    size_t left = 1;
    Task done;
  };
  auto rest = std::make_shared<Rest>();
  std::vector<uint64_t> inodes;
  bool names = core_->Now() < kernel_keeps_until_ns_;
  for (const idl::Recall& recall : recalls.recalls) {
    const auto inode = static_cast<uint64_t>(recall.inode);
    const auto it = files_.find(inode);
    const auto file = it == files_.end() ? nullptr : it->second.lock();
    ++recalling_[inode];  // first of all: what is asked for anew waits for the end of it
    inodes.push_back(inode);
    auto told = [rest](Status status) {
      if (!status.ok()) LogError("a recalled file: {}", status.ToString());
      if (--rest->left == 0) rest->done();
    };
    switch (recall.kind) {
      case idl::RecallKind::NAME:
        names = cache_.DropName(inode, recall.name) || names;
        cache_.DropAttr(inode);
        break;
      case idl::RecallKind::WRITE:
        cache_.EndWrite(inode);
        cache_.DropAttr(inode);
        if (file == nullptr) break;
        ++rest->left;
        file->Flush(told);
        break;
      case idl::RecallKind::ATTRIBUTES:
        cache_.DropAttr(inode);
        break;
      case idl::RecallKind::INODE:
      default:
        names = cache_.HasNames(inode) || names;
        cache_.Drop(inode);
        if (file == nullptr) break;
        ++rest->left;
        file->GiveUp(told);
        break;
    }
    if (DefectOn(Defect::kLeaseKernelNotTold)) continue;
    ++rest->left;
    ForgetInKernel(inode, [told] { told(Status()); });
  }
  if (names && !DefectOn(Defect::kLeaseKernelNotTold)) {
    ++rest->left;
    ForgetNamesInKernel([rest] {
      if (--rest->left == 0) rest->done();
    });
  }
  rest->done = [this, alive = alive_, inodes = std::move(inodes), done = std::move(done)] {
    // Answered first: what this mount asks for next is to find the lease given up.
    done();
    if (*alive) EndRecall(inodes);
  };
  if (--rest->left == 0) rest->done();
}

void FileSystem::EndRecall(const std::vector<uint64_t>& inodes) {
  for (uint64_t inode : inodes) {
    auto it = recalling_.find(inode);
    if (it == recalling_.end() || --it->second > 0) continue;
    recalling_.erase(it);
    if (acquiring_.count(inode) > 0) SendAcquire(inode);
  }
}

void FileSystem::OnTermEnded() {
  ++recalls_;
  cache_.Clear();
  // What the kernel keeps ends with the term by itself.
  for (auto& [inode, known] : files_) {
    if (auto file = known.lock()) file->Invalidate();
  }
}

void FileSystem::ListHeld(std::vector<int64_t>* read, std::vector<int64_t>* write) const {
  cache_.List(read, write);
}

// ---- Writing ------------------------------------------------------------------------------------

bool FileSystem::HoldsWrite(uint64_t inode) const {
  return cache_.HoldsWrite(inode) && Serving();
}

bool FileSystem::MayWrite(uint64_t inode) const {
  return !core_->leases().enabled() || plain_session_ || HoldsWrite(inode);
}

void FileSystem::AskToWrite(uint64_t inode, StatusDone done) {
  std::vector<StatusDone>& waiting = acquiring_[inode];
  waiting.push_back(std::move(done));
  if (waiting.size() == 1 && recalling_.count(inode) == 0) SendAcquire(inode);
}

void FileSystem::SendAcquire(uint64_t inode) {
  core_->leases().Acquire(inode, [this, alive = alive_,
                                  inode](Result<idl::AcquireLeaseReply> reply) {
    if (!*alive) return;
    if (!reply) {
      // Not all namenodes were upgraded when it was opened: the session is one without leases.
      plain_session_ = plain_session_ || reply.error().Is(Code::kNotSupported);
      return Acquired(inode, plain_session_ ? Status() : reply.error());
    }
    if (!core_->leases().Granted(reply->lease_term)) {
      // The leader has changed, and does not know yet what this session holds.
      core_->executor().RunAfter(kAcquireAgainNs, [this, alive, inode] {
        if (*alive && acquiring_.count(inode) > 0) SendAcquire(inode);
      });
      return;
    }
    cache_.HoldWrite(inode);
    cache_.PutAttr(reply->attr);
    ReturnEvicted();
    Seen(std::move(reply->attr));
    Acquired(inode, Status());
  });
}

void FileSystem::Acquired(uint64_t inode, Status status) {
  auto it = acquiring_.find(inode);
  if (it == acquiring_.end()) return;
  std::vector<StatusDone> waiting = std::move(it->second);
  acquiring_.erase(it);
  for (StatusDone& done : waiting) done(status);
}

void FileSystem::OnTold(uint64_t inode) {
  cache_.DropAttr(inode);
  ForgetInKernel(inode, [] {});
}

}  // namespace dfs::fuse
