#include "tools/dev/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "common/base/clock.h"

namespace dfs::dev {
namespace {

struct Stat {
  char state = 0;
  uint64_t start_ticks = 0;
  double cpu_seconds = 0;
  uint64_t resident_bytes = 0;
};

// /proc/PID/stat; the command name may hold anything, so fields are counted from the last ')'.
bool ReadStat(int pid, Stat* out) {
  char path[64];
  std::snprintf(path, sizeof(path), "/proc/%d/stat", pid);
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  char text[2048];
  const ssize_t n = read(fd, text, sizeof(text) - 1);
  close(fd);
  if (n <= 0) return false;
  text[n] = 0;
  const char* at = std::strrchr(text, ')');
  if (at == nullptr || at[1] != ' ') return false;
  at += 2;
  out->state = *at;
  unsigned long long field = 0;
  unsigned long long utime = 0;
  unsigned long long stime = 0;
  int number = 3;  // the state is field 3
  for (; *at != 0; ++number) {
    field = std::strtoull(at, nullptr, 10);
    if (number == 14) utime = field;
    if (number == 15) stime = field;
    if (number == 22) out->start_ticks = field;
    if (number == 24) out->resident_bytes = field * static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
    at = std::strchr(at, ' ');
    if (at == nullptr) break;
    ++at;
  }
  out->cpu_seconds = static_cast<double>(utime + stime) / static_cast<double>(sysconf(_SC_CLK_TCK));
  return number >= 22;
}

// glibc 2.36 declares these without extern "C".
int PidfdOpen(int pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}
int PidfdSendSignal(int fd, int signal) {
  return static_cast<int>(syscall(SYS_pidfd_send_signal, fd, signal, nullptr, 0));
}

void Reap(int pid) {
  waitpid(pid, nullptr, WNOHANG);
}

bool SameProcess(ProcessId id, Stat* stat) {
  return id.pid > 0 && ReadStat(id.pid, stat) && stat->start_ticks == id.start_ticks;
}

// Only functions that are safe between fork and exec.
[[noreturn]] void RunChild(const SpawnRequest& request, char* const* argv) {
  setsid();
  const int in = open("/dev/null", O_RDONLY);
  const int out = open(request.stdout_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  const int err = open(request.stderr_path.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  if (in < 0 || out < 0 || err < 0) _exit(126);
  dup2(in, 0);
  dup2(out, 1);
  dup2(err, 2);
  close_range(3, ~0u, 0);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (int s : {SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGCHLD}) signal(s, SIG_DFL);
  execv(argv[0], argv);
  _exit(127);
}

}  // namespace

ProcessState StateOf(ProcessId id) {
  Stat stat;
  if (!SameProcess(id, &stat)) return ProcessState::kGone;
  if (stat.state == 'Z' || stat.state == 'X') {
    Reap(id.pid);
    return ProcessState::kGone;
  }
  return stat.state == 'T' || stat.state == 't' ? ProcessState::kPaused : ProcessState::kRunning;
}

Status SendSignal(ProcessId id, int signal) {
  if (id.pid <= 0) return Status(Code::kNotFound, "it is not running");
  const int fd = PidfdOpen(id.pid);
  if (fd < 0) return Status(Code::kNotFound, "it is not running");
  // The descriptor pins whoever has the pid now; only then is it compared with whom we mean.
  Status result;
  if (StateOf(id) == ProcessState::kGone) {
    result = Status(Code::kNotFound, "it is not running");
  } else if (PidfdSendSignal(fd, signal) != 0) {
    result = Status::FromSystem(errno, "signal");
  }
  close(fd);
  return result;
}

bool WaitUntilGone(ProcessId id, int64_t timeout_ns) {
  const int fd = id.pid > 0 ? PidfdOpen(id.pid) : -1;
  if (fd < 0) return true;
  const int64_t until = SystemClock().BootNs() + timeout_ns;
  bool gone = false;
  while (true) {
    gone = StateOf(id) == ProcessState::kGone;
    const int64_t left = until - SystemClock().BootNs();
    if (gone || left <= 0) break;
    pollfd p{fd, POLLIN, 0};
    poll(&p, 1, static_cast<int>(left / kMillisecond) + 1);
  }
  close(fd);
  return gone;
}

Result<ProcessId> Spawn(const SpawnRequest& request) {
  std::vector<char*> argv;
  for (const std::string& a : request.argv) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = fork();
  if (pid < 0) return Status::FromSystem(errno, "fork");
  if (pid == 0) RunChild(request, argv.data());
  Stat stat;
  if (!ReadStat(pid, &stat)) return Status(Code::kInternal, "cannot read /proc of a new child");
  return ProcessId{pid, stat.start_ticks};
}

Result<int> WaitForExit(ProcessId id) {
  int status = 0;
  while (waitpid(id.pid, &status, 0) < 0) {
    if (errno != EINTR) return Status::FromSystem(errno, "waitpid");
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ProcessUsage UsageOf(ProcessId id) {
  Stat stat;
  if (!SameProcess(id, &stat)) return {};
  return {stat.resident_bytes, stat.cpu_seconds};
}

std::string ProgramDirectory() {
  char path[4096];
  const ssize_t n = readlink("/proc/self/exe", path, sizeof(path));
  if (n <= 0) return ".";
  std::string out(path, static_cast<size_t>(n));
  return out.substr(0, out.rfind('/'));
}

}  // namespace dfs::dev
