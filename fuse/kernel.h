// Kernel: answers the kernel's requests out of a FileSystem. FUSE types are in kernel*.cc only.
//
// One thread: the event loop watches the connection to the kernel as it watches the sockets to the cluster, so that a
// request goes from one to the other without a hand-over.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/rpc/event_loop.h"
#include "fuse/file_system.h"

namespace dfs::fuse {

struct KernelOptions {
  std::string mount_point;
  std::string source = "dfs";
  bool allow_other = false;
  bool read_only = false;
  /// File locks hold between mounts; otherwise the kernel keeps them for this machine.
  bool cluster_locks = false;
  std::vector<std::string> kernel_flags;  // nosuid, noexec, ...
  bool debug = false;
};

/// Confined to the loop's thread.
class Kernel {
 public:
  /// Mounts. kUnavailable without /dev/fuse or the right to it, with what to do about it.
  static Result<std::unique_ptr<Kernel>> Mount(rpc::EventLoop& loop, FileSystem& files,
                                               KernelOptions options);
  /// Unmounts, when that was not done from outside.
  ~Kernel();

  /// on_ready: the kernel and we have agreed, calls are answered. on_end: the file system was unmounted. Call once.
  void Start(std::function<void()> on_ready, std::function<void()> on_end);
  /// Takes the mount point away; what is open keeps working until it is closed. Calls on_end.
  void Unmount();

  struct Impl;  // kernel_call.h

 private:
  explicit Kernel(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace dfs::fuse
