#include "fuse/program.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <sys/epoll.h>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/logging.h"
#include "common/client/core_setup.h"
#include "common/rpc/socket_network.h"
#include "fuse/file_system.h"
#include "fuse/kernel.h"
#include "fuse/mount_options.h"

namespace dfs::fuse {
namespace {

/// What was written is sent to the end when the mount ends, but not for longer than this.
constexpr int64_t kLastFlushNs = 60 * kSecond;

/// Tells the process that was started how the mounting went, and detaches from it.
class Starter {
 public:
  /// In the background process: returns. In the one that was started: waits, prints, exits.
  static Starter Detach() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) return Starter(-1);
    const pid_t child = ::fork();
    if (child < 0) {
      std::fprintf(stderr, "dfs-fuse: fork: %s\n", std::strerror(errno));
      std::_Exit(1);
    }
    if (child == 0) {
      ::close(ends[0]);
      ::setsid();
      return Starter(ends[1]);
    }
    ::close(ends[1]);
    std::string said;
    char piece[512];
    for (ssize_t n; (n = ::read(ends[0], piece, sizeof(piece))) > 0;) {
      said.append(piece, static_cast<size_t>(n));
    }
    if (said == "ready") std::_Exit(0);
    if (!said.empty()) std::fprintf(stderr, "%s\n", said.c_str());
    std::_Exit(1);
  }
  static Starter Foreground() { return Starter(-1); }

  void Ready() {
    if (fd_ < 0) return;
    Say("ready");
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    // Whoever waits for the end of our output must not wait for the end of the mount.
    LogToSyslog("dfs-fuse");
    for (const int fd : {0, 1, 2}) ::dup2(null, fd);
    ::close(null);
    if (::chdir("/") != 0) return;
  }
  int Failed(const std::string& why) {
    if (fd_ < 0) {
      std::fprintf(stderr, "%s\n", why.c_str());
    } else {
      Say(why);
    }
    return 1;
  }

 private:
  explicit Starter(int fd) : fd_(fd) {}
  void Say(const std::string& text) {
    [[maybe_unused]] const ssize_t n = ::write(fd_, text.data(), text.size());
    ::close(fd_);
    fd_ = -1;
  }
  int fd_;
};

Status CheckMountPoint(const std::string& path) {
  struct stat st;
  if (::stat(path.c_str(), &st) != 0) {
    if (errno == ENOTCONN) {
      return Status(Code::kBusy,
                    path + ": a mount whose program died is there: dfs umount " + path);
    }
    return Status::FromSystem(errno, path);
  }
  if (!S_ISDIR(st.st_mode)) return Status(Code::kNotDirectory, path + ": not a directory");
  return Status();
}

/// SIGINT and SIGTERM unmount, as a task on the loop.
class StopSignals {
 public:
  StopSignals(rpc::EventLoop& loop, std::function<void()> stop) : loop_(loop) {
    sigset_t set;
    sigemptyset(&set);
    for (const int s : {SIGINT, SIGTERM, SIGHUP}) sigaddset(&set, s);
    ::sigprocmask(SIG_BLOCK, &set, nullptr);
    fd_ = ::signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    loop_.WatchFd(fd_, EPOLLIN, [this, stop = std::move(stop)](uint32_t) {
      signalfd_siginfo info;
      while (::read(fd_, &info, sizeof(info)) > 0) {
      }
      stop();
    });
  }
  ~StopSignals() {
    loop_.UnwatchFd(fd_);
    ::close(fd_);
  }

 private:
  rpc::EventLoop& loop_;
  int fd_ = -1;
};

/// A mount from its connection to its end, on the loop of this thread.
class Mount {
 public:
  Mount(MountOptions options, Starter starter)
      : options_(std::move(options)), starter_(std::move(starter)) {}

  int Run() {
    if (Status status = Prepare(); !status.ok()) {
      Close();
      return starter_.Failed("dfs-fuse: " + status.message());
    }
    loop_.Post([this] {
      signals_.emplace(loop_, [this] { kernel_->Unmount(); });
      kernel_->Start([this] { starter_.Ready(); }, [this] { FlushAll(); });
    });
    loop_.RunUntil([this] { return flushed_; });
    Close();
    return 0;
  }

 private:
  Status Prepare() {
    DFS_ASSIGN_OR_RETURN(client::CoreSetup setup, client::SetUpCore(&options_.client));
    network_.emplace(loop_, setup.identity);
    core_ = client::ClientCore::Create(*network_, Random::FromSystem(), std::move(setup.core));
    const int64_t deadline_ns = core_->Now() + options_.connect_timeout_ns;
    DFS_RETURN_IF_ERROR(Wait(
        [&](client::StatusDone done) { core_->link().Connect(deadline_ns, std::move(done)); }));
    FileSystemOptions files;
    files.replication = options_.replication;
    DFS_RETURN_IF_ERROR(Wait([&](client::StatusDone done) {
      FindDirectory(*core_, options_.path, deadline_ns,
                    [&files, done = std::move(done)](Result<uint64_t> inode) mutable {
                      if (inode) files.root = *inode;
                      done(inode.status());
                    });
    }));
    files.leases = options_.leases;
    files_ = std::make_unique<FileSystem>(core_, files);
    if (files.leases) {
      DFS_RETURN_IF_ERROR(Wait([&](client::StatusDone done) {
        core_->session().Ensure([done = std::move(done)](Result<uint64_t> session) mutable {
          done(session.status());
        });
      }));
    }
    DFS_ASSIGN_OR_RETURN(kernel_, Kernel::Mount(loop_, *files_, options_.kernel));
    return Status();
  }

  Status Wait(const std::function<void(client::StatusDone)>& start) {
    std::optional<Status> answer;
    loop_.Post([&] { start([&](Status status) { answer = std::move(status); }); });
    loop_.RunUntil([&] { return answer.has_value(); });
    return *answer;
  }

  void FlushAll() {
    files_->FlushAll([this](Status status) {
      if (!status.ok()) LogError("the last flush: {}", status.ToString());
      flushed_ = true;
    });
    loop_.RunAfter(kLastFlushNs, [this] { flushed_ = true; });
  }

  void Close() {
    if (core_ == nullptr) return;
    bool closed = false;
    loop_.Post([&] {
      signals_.reset();
      kernel_.reset();
      files_.reset();
      core_->session().Close();
      loop_.Post([&] {
        core_->Shutdown();
        closed = true;
      });
    });
    loop_.RunUntil([&] { return closed; });
  }

  MountOptions options_;
  Starter starter_;
  rpc::EventLoop loop_;
  std::optional<rpc::SocketNetwork> network_;
  std::shared_ptr<client::ClientCore> core_;
  std::unique_ptr<FileSystem> files_;
  std::unique_ptr<Kernel> kernel_;
  std::optional<StopSignals> signals_;
  bool flushed_ = false;
};

int Run(MountOptions options) {
  if (Status status = CheckMountPoint(options.kernel.mount_point); !status.ok()) {
    std::fprintf(stderr, "dfs-fuse: %s\n", status.message().c_str());
    return 1;
  }
  if (options.fake) return 0;
  // The background process leaves this directory.
  char* absolute = ::realpath(options.kernel.mount_point.c_str(), nullptr);
  if (absolute != nullptr) options.kernel.mount_point = absolute;
  std::free(absolute);
  // Before any thread exists.
  Starter starter = options.foreground ? Starter::Foreground() : Starter::Detach();
  return Mount(std::move(options), std::move(starter)).Run();
}

}  // namespace

int RunProgram(int argc, char** argv) {
  Result<MountOptions> options = ParseCommandLine(argc, argv);
  if (!options) {
    if (options.error().message().empty()) return 0;  // --help
    std::fprintf(stderr, "dfs-fuse: %s\nTry: dfs-fuse --help\n", options.error().message().c_str());
    return 2;
  }
  return Run(std::move(*options));
}

}  // namespace dfs::fuse
