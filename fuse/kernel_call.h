// What the files that answer the kernel share: a request (Call), the mount it belongs to (Kernel::Impl), and attributes
// as FUSE has them. libfuse's types stay in this and in kernel*.cc.
#pragma once

#define FUSE_USE_VERSION 314
#include <fuse3/fuse_lowlevel.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "dfs_types.h"
#include "fuse/kernel.h"

namespace dfs::fuse {

/// The largest read, write or page of a directory: what the connection is told at its beginning.
inline constexpr uint32_t kMaxIo = 1u << 20;

struct Kernel::Impl : KernelCache {
  rpc::EventLoop& loop;
  FileSystem& files;
  KernelOptions options;
  fuse_session* session = nullptr;
  fuse_buf buffer = {};
  int fd = -1;  // to the kernel; libfuse closes it when it unmounts
  bool mounted = false;
  bool watching = false;
  bool ended = false;
  bool forgets_names = false;
  std::function<void()> on_ready;
  std::function<void()> on_end;

  Impl(rpc::EventLoop& l, FileSystem& f, KernelOptions o)
      : loop(l), files(f), options(std::move(o)) {}

  // KernelCache
  bool ForgetsNames() const override { return forgets_names; }
  void ForgetNames() override;
  void ForgetAttributes(uint64_t inode) override;
  void OnReadable();
  void Unwatch();
  void End();
};

mode_t TypeBits(idl::FileType::type type);
int64_t ToNs(const timespec& time);
/// With how long the kernel may keep it, as the answer to `name` in `parent`.
/// asked: FileSystem::forgotten() when it asked.
fuse_entry_param ToEntry(FileSystem& files, uint64_t parent, const std::string& name,
                         const idl::Attr& attr, uint64_t asked);

/// One request of the kernel's that is not answered yet. It is answered once: by its outcome, or with EINTR when a
/// signal came and the outcome did not.
class Call : public std::enable_shared_from_this<Call> {
 public:
  static std::shared_ptr<Call> Of(fuse_req_t req);

  // These are good after the answer, too, when the request is gone.
  Kernel::Impl& kernel() const { return kernel_; }
  FileSystem& files() const { return kernel().files; }
  client::FileLocks& locks() const { return kernel().files.locks(); }
  fuse_req_t req() const { return req_; }
  /// FileSystem::forgotten() when the kernel asked.
  uint64_t asked() const { return asked_; }
  bool answered() const { return self_ == nullptr; }
  /// The kernel knows inodes by their numbers, except that the root of a mount is always 1.
  uint64_t Inode(fuse_ino_t ino) const { return ino == FUSE_ROOT_ID ? files().root() : ino; }

  Caller caller() const;
  /// With supplementary groups, which cost a look into /proc.
  Caller CallerWithGroups() const;

  // Each answers, and does nothing when that was done.
  void Error(const Status& status) { ErrorNumber(status.posix_errno()); }
  void ErrorNumber(int number);
  void Done(const Status& status) { ErrorNumber(status.ok() ? 0 : status.posix_errno()); }
  void Entry(uint64_t parent, const std::string& name, const Result<idl::Attr>& attr);
  void Attr(const Result<idl::Attr>& attr);
  void Bytes(std::string_view bytes);
  void Written(size_t count);
  void Link(const std::string& target);
  void XattrSize(size_t size);
  void Open(const fuse_file_info& info);
  void Create(uint64_t parent, const std::string& name, const idl::Attr& attr,
              const fuse_file_info& info);
  void StatFs(const struct statvfs& stats);
  void Lock(const struct flock& lock);

  /// Called when a signal came, if it is not answered by then: to end what it waits for.
  void WhenInterrupted(std::function<void()> end_wait) { end_wait_ = std::move(end_wait); }

 private:
  explicit Call(fuse_req_t req)
      : req_(req),
        kernel_(*static_cast<Kernel::Impl*>(fuse_req_userdata(req))),
        asked_(kernel_.files.forgotten()) {}
  /// The right to answer; the request is gone afterwards.
  bool Take();
  static void OnInterrupt(fuse_req_t req, void* data);

  fuse_req_t req_;
  Kernel::Impl& kernel_;
  const uint64_t asked_;
  std::shared_ptr<Call> self_;  // until it is answered
  std::function<void()> end_wait_;
};
using CallPtr = std::shared_ptr<Call>;

/// Runs a call on behalf of the caller; again with the supplementary groups if it was refused without them.
template <class Start, class Finish>
void OnBehalf(const CallPtr& call, Start start, Finish finish) {
  const Caller who = call->caller();
  start(who, [call, start, finish](auto result) mutable {
    const Status status = [&] {
      if constexpr (std::is_same_v<std::decay_t<decltype(result)>, Status>) {
        return result;
      } else {
        return result.status();
      }
    }();
    const bool refused = status.Is(Code::kAccessDenied) || status.Is(Code::kNotPermitted);
    if (!refused || call->answered() || call->caller().uid == 0) return finish(std::move(result));
    const Caller again = call->CallerWithGroups();
    if (again.groups.empty()) return finish(std::move(result));
    start(again, [finish](auto second) mutable { finish(std::move(second)); });
  });
}

// The requests, by the file that answers them.
void AddNameRequests(fuse_lowlevel_ops* ops);       // kernel_names.cc
void AddAttributeRequests(fuse_lowlevel_ops* ops);  // kernel_attributes.cc
void AddFileRequests(fuse_lowlevel_ops* ops);       // kernel_files.cc
void AddDirectoryRequests(fuse_lowlevel_ops* ops);  // kernel_directories.cc
void AddLockRequests(fuse_lowlevel_ops* ops);       // kernel_locks.cc

}  // namespace dfs::fuse
