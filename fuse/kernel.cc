#include "fuse/kernel.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>
#include <vector>

#include "common/base/defects.h"
#include "fuse/kernel_call.h"

namespace dfs::fuse {
namespace {

/// Requests taken before the loop looks at its sockets again.
constexpr int kRequestsPerTurn = 32;

void Init(void* userdata, fuse_conn_info* connection) {
  connection->max_write = kMaxIo;
  connection->max_read = kMaxIo;
  connection->max_readahead = kMaxIo;
  connection->max_background = 64;
  connection->congestion_threshold = 48;
  connection->time_gran = 1;
  // Pages of a file whose size or time has changed are dropped: what another mount has flushed is seen.
  connection->want |= connection->capable & (FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS |
                                             FUSE_CAP_ASYNC_READ | FUSE_CAP_READDIRPLUS |
                                             FUSE_CAP_CACHE_SYMLINKS);  // a target never changes
  if (DefectOn(Defect::kMountPagesStay)) {
    connection->want &= ~static_cast<unsigned>(FUSE_CAP_AUTO_INVAL_DATA);
  }
  // The kernel sends a truncation by itself, and takes the privileges bits away by itself.
  connection->want &=
      ~static_cast<unsigned>(FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_READDIRPLUS_AUTO |
                             FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_HANDLE_KILLPRIV |
                             FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE | FUSE_CAP_SPLICE_MOVE);
  auto* kernel = static_cast<Kernel::Impl*>(userdata);
  kernel->loop.Post([kernel] { kernel->ForgetNames(); });  // whether it can
  if (kernel->on_ready) kernel->loop.Post(std::exchange(kernel->on_ready, nullptr));
}

/// In libfuse's options a comma separates and a backslash quotes.
std::string Escaped(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

fuse_lowlevel_ops Operations() {
  fuse_lowlevel_ops ops = {};
  ops.init = Init;
  AddNameRequests(&ops);
  AddAttributeRequests(&ops);
  AddFileRequests(&ops);
  AddDirectoryRequests(&ops);
  return ops;
}

}  // namespace

// ---- The session --------------------------------------------------------------------------------

Kernel::Kernel(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Kernel::~Kernel() {
  Impl& k = *impl_;
  k.files.SetKernelCache(nullptr);
  k.Unwatch();
  if (k.mounted) fuse_session_unmount(k.session);
  if (k.session != nullptr) fuse_session_destroy(k.session);
  free(k.buffer.mem);
}

Result<std::unique_ptr<Kernel>> Kernel::Mount(rpc::EventLoop& loop, FileSystem& files,
                                              KernelOptions options) {
  if (access("/dev/fuse", F_OK) != 0) {
    return Status(Code::kUnavailable,
                  "/dev/fuse is missing: load the kernel's module (modprobe fuse), and in a "
                  "container pass the device in (--device /dev/fuse --cap-add SYS_ADMIN)");
  }
  if (geteuid() != 0 && access("/usr/bin/fusermount3", X_OK) != 0 &&
      access("/bin/fusermount3", X_OK) != 0) {
    return Status(Code::kUnavailable,
                  "fusermount3 is missing: only root can mount without it (apt install fuse3)");
  }
  auto impl = std::make_unique<Impl>(loop, files, std::move(options));
  std::string flags = "fsname=" + Escaped(impl->options.source) +
                      ",subtype=dfs,default_permissions,max_read=" + std::to_string(kMaxIo);
  if (impl->options.allow_other) flags += ",allow_other";
  if (impl->options.read_only) flags += ",ro";
  for (const std::string& flag : impl->options.kernel_flags) flags += "," + flag;
  std::vector<std::string> words = {"dfs-fuse", "-o", flags};
  if (impl->options.debug) words.emplace_back("-d");
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  fuse_args args = FUSE_ARGS_INIT(static_cast<int>(argv.size()), argv.data());
  static const fuse_lowlevel_ops kOperations = Operations();
  Impl* raw = impl.get();
  std::unique_ptr<Kernel> kernel(new Kernel(std::move(impl)));
  raw->session = fuse_session_new(&args, &kOperations, sizeof(kOperations), raw);
  fuse_opt_free_args(&args);
  if (raw->session == nullptr) {
    return Status(Code::kInvalidArgument, "libfuse did not take the mount options");
  }
  if (fuse_session_mount(raw->session, raw->options.mount_point.c_str()) != 0) {
    return Status(Code::kUnavailable,
                  "cannot mount at " + raw->options.mount_point + " (the reason is above)");
  }
  raw->mounted = true;
  files.SetKernelCache(raw);
  raw->fd = fuse_session_fd(raw->session);
  const int old = fcntl(raw->fd, F_GETFL);
  if (old < 0 || fcntl(raw->fd, F_SETFL, old | O_NONBLOCK) != 0) {
    return Status::FromSystem(errno, "fcntl of /dev/fuse");
  }
  return kernel;
}

void Kernel::Start(std::function<void()> on_ready, std::function<void()> on_end) {
  impl_->on_ready = std::move(on_ready);
  impl_->on_end = std::move(on_end);
  impl_->watching = true;
  impl_->loop.WatchFd(impl_->fd, EPOLLIN, [impl = impl_.get()](uint32_t) { impl->OnReadable(); });
}

void Kernel::Impl::OnReadable() {
  for (int i = 0; i < kRequestsPerTurn && !ended; ++i) {
    const int got = fuse_session_receive_buf(session, &buffer);
    // ENOENT: the request was interrupted and taken back.
    if (got == -EINTR || got == -ENOENT) continue;
    if (got == -EAGAIN) return;
    if (got <= 0) return End();
    fuse_session_process_buf(session, &buffer);
    if (fuse_session_exited(session) != 0) return End();
  }
}

// ---- What the kernel keeps ----------------------------------------------------------------------

/// FUSE_NOTIFY_INC_EPOCH, of protocol 7.44 (Linux 6.17), which libfuse 3.14 does not know.
void Kernel::Impl::ForgetNames() {
  constexpr int32_t kIncEpoch = 8;
  struct {
    uint32_t length;
    int32_t code;
    uint64_t unique;  // 0: it answers nothing
  } const message = {sizeof(message), kIncEpoch, 0};
  if (ended || !mounted) return;
  forgets_names = ::write(fd, &message, sizeof(message)) == sizeof(message);
}

void Kernel::Impl::ForgetAttributes(uint64_t inode) {
  if (ended || !mounted) return;
  // A negative offset: no pages, whose locks requests under way may hold.
  fuse_lowlevel_notify_inval_inode(session, inode == files.root() ? FUSE_ROOT_ID : inode, -1, 0);
}

void Kernel::Impl::Unwatch() {
  if (std::exchange(watching, false)) loop.UnwatchFd(fd);
}

void Kernel::Impl::End() {
  if (std::exchange(ended, true)) return;
  Unwatch();
  if (on_end) on_end();
}

void Kernel::Unmount() {
  Impl& k = *impl_;
  k.Unwatch();
  if (std::exchange(k.mounted, false)) fuse_session_unmount(k.session);
  k.End();
}

}  // namespace dfs::fuse
