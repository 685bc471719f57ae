// dfs get: files of the cluster to local ones. Each appears under its name only when it is whole.
// Nothing is written outside the target: below it no symlink is followed and no name is trusted.
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fs.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/copy_options.h"
#include "tools/cli/glob.h"
#include "tools/cli/progress.h"
#include "tools/cli/verb.h"
#include "tools/cli/worker_pool.h"

namespace dfs::cli {
namespace {

constexpr size_t kCopyBytes = 1 << 20;

timespec ToTimespec(int64_t ns) {
  timespec t{};
  t.tv_sec = ns / 1'000'000'000;
  t.tv_nsec = ns % 1'000'000'000;
  if (t.tv_nsec < 0) {
    t.tv_nsec += 1'000'000'000;
    --t.tv_sec;
  }
  return t;
}

// Mode, owner and times of a descriptor.
void Decorate(int fd, const FileStatus& s, uint32_t mode, bool preserve) {
  if (preserve && geteuid() == 0 && fchown(fd, s.uid, s.gid) != 0) mode &= 0777;
  fchmod(fd, mode);
  if (!preserve) return;
  const timespec times[2] = {ToTimespec(s.atime_ns), ToTimespec(s.mtime_ns)};
  futimens(fd, times);
}

// An open local directory. What it is to look like in the end it gets when all below it is done, which
// is when the last reference goes.
struct LocalDirectory {
  ~LocalDirectory() {
    if (fd < 0) return;
    if (status) Decorate(fd, *status, mode, preserve);
    close(fd);
  }
  int fd = -1;
  std::shared_ptr<LocalDirectory> parent;
  std::optional<FileStatus> status;
  uint32_t mode = 0;
  bool preserve = false;
};
using DirectoryPtr = std::shared_ptr<LocalDirectory>;

bool IsSafeName(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.find('/') == name.npos &&
         name.find('\0') == name.npos;
}

Status WriteAll(int fd, const std::byte* data, size_t size) {
  while (size > 0) {
    const ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EPIPE) _exit(kExitPipe);  // standard output: nobody reads any more
    if (n <= 0) return Status::FromSystem(errno, "write");
    data += n;
    size -= static_cast<size_t>(n);
  }
  return Status::Ok();
}

class Getter {
 public:
  Getter(Verb& verb, const Client& client, const CopyOptions& options)
      : verb_(verb),
        client_(client),
        o_(options),
        progress_("get", StderrIsTerminal() && !verb.json()) {
    const mode_t mask = umask(0);
    umask(mask);
    mask_ = mask;
    pool_ = std::make_unique<WorkerPool>(static_cast<size_t>(o_.jobs), 512);
  }

  void Get(const std::string& remote, const FileStatus& status, const DirectoryPtr& where,
           const std::string& name);
  void GetToStdout(const std::string& remote);
  void Finish() {
    pool_->Finish();
    progress_.Finish();
  }
  Progress& progress() { return progress_; }

 private:
  uint32_t ModeOf(const FileStatus& s) const {
    return o_.preserve ? s.mode & 07777 : s.mode & 0777 & ~mask_;
  }
  void GetDirectory(const std::string& remote, const FileStatus& status, const DirectoryPtr& where,
                    const std::string& name);
  void GetSymlink(const std::string& remote, const FileStatus& status, const DirectoryPtr& where,
                  const std::string& name);
  Status GetFile(const std::string& remote, const FileStatus& status, const LocalDirectory& where,
                 const std::string& name);
  Status CopyTo(int fd, const std::string& remote);
  Status Publish(const LocalDirectory& where, const std::string& temporary,
                 const std::string& name);
  std::string TemporaryName(const std::string& name);
  void Done(const std::string& remote, const Status& status);

  Verb& verb_;
  const Client& client_;
  const CopyOptions& o_;
  uint32_t mask_ = 0;
  std::atomic<uint64_t> next_temporary_{1};
  Progress progress_;
  std::unique_ptr<WorkerPool> pool_;
};

void Getter::Done(const std::string& remote, const Status& status) {
  if (!status) {
    verb_.Failed("get", remote, status);
    return;
  }
  verb_.Succeeded();
  if (!o_.verbose || verb_.json()) return;
  ClearProgressLine();
  const std::string line = ShownName(remote) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}

std::string Getter::TemporaryName(const std::string& name) {
  return fmt::format(".{}.dfs-{}-{}", name.substr(0, 200), getpid(), next_temporary_++);
}

Status Getter::CopyTo(int fd, const std::string& remote) {
  DFS_ASSIGN_OR_RETURN(Reader reader, client_.open(remote));
  const size_t size = static_cast<size_t>(std::min<uint64_t>(kCopyBytes, reader.size() + 1));
  const std::unique_ptr<std::byte[]> buffer(new std::byte[size]);
  while (true) {
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
    DFS_ASSIGN_OR_RETURN(const size_t n, reader.read({buffer.get(), size}));
    if (n == 0) return Status::Ok();
    DFS_RETURN_IF_ERROR(WriteAll(fd, buffer.get(), n));
    progress_.AddBytes(n);
  }
}

Status Getter::Publish(const LocalDirectory& where, const std::string& temporary,
                       const std::string& name) {
  if (o_.force) {
    if (renameat(where.fd, temporary.c_str(), where.fd, name.c_str()) == 0) return Status::Ok();
    return Status::FromSystem(errno, "rename");
  }
  if (syscall(SYS_renameat2, where.fd, temporary.c_str(), where.fd, name.c_str(),
              RENAME_NOREPLACE) == 0) {
    return Status::Ok();
  }
  if (errno == EINVAL || errno == ENOSYS) {  // a file system without the flag
    if (linkat(where.fd, temporary.c_str(), where.fd, name.c_str(), 0) == 0) {
      unlinkat(where.fd, temporary.c_str(), 0);
      return Status::Ok();
    }
  }
  if (errno == EEXIST) {
    return Status(Code::kAlreadyExists, fmt::format("'{}' exists here (-f replaces it)", name));
  }
  return Status::FromSystem(errno, "rename");
}

Status Getter::GetFile(const std::string& remote, const FileStatus& status,
                       const LocalDirectory& where, const std::string& name) {
  if (Interrupted()) return Status(Code::kCancelled, "interrupted");
  struct stat there {};
  if (!o_.force && fstatat(where.fd, name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0) {
    return Status(Code::kAlreadyExists, fmt::format("'{}' exists here (-f replaces it)", name));
  }
  const std::string temporary = TemporaryName(name);
  const int fd = openat(where.fd, temporary.c_str(),
                        O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) return Status::FromSystem(errno, "open " + temporary);
  Status got = CopyTo(fd, remote);
  if (got.ok()) Decorate(fd, status, ModeOf(status), o_.preserve);
  if (close(fd) != 0 && got.ok()) got = Status::FromSystem(errno, "close");
  if (got.ok()) got = Publish(where, temporary, name);
  if (!got) unlinkat(where.fd, temporary.c_str(), 0);
  progress_.AddFile();
  return got;
}

void Getter::GetSymlink(const std::string& remote, const FileStatus& status,
                        const DirectoryPtr& where, const std::string& name) {
  const std::string temporary = TemporaryName(name);
  if (symlinkat(status.symlink_target.c_str(), where->fd, temporary.c_str()) != 0) {
    Done(remote, Status::FromSystem(errno, "symlink"));
    return;
  }
  const Status done = Publish(*where, temporary, name);
  if (!done) unlinkat(where->fd, temporary.c_str(), 0);
  Done(remote, done);
}

void Getter::GetDirectory(const std::string& remote, const FileStatus& status,
                          const DirectoryPtr& where, const std::string& name) {
  const uint32_t mode = ModeOf(status);
  const bool made = mkdirat(where->fd, name.c_str(), mode | 0700) == 0;
  if (!made && errno != EEXIST) {
    Done(remote, Status::FromSystem(errno, "mkdir"));
    return;
  }
  auto here = std::make_shared<LocalDirectory>();
  here->fd = openat(where->fd, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (here->fd < 0) {
    Done(remote, Status::FromSystem(errno, "open the local directory"));
    return;
  }
  here->parent = where;
  here->mode = mode;
  here->preserve = o_.preserve;
  if (o_.preserve || (made && (mode & 0700) != 0700)) here->status = status;
  ListOptions list;
  list.attributes = true;
  Result<Directory> directory = client_.list(remote, list);
  if (!directory) {
    Done(remote, directory.error());
    return;
  }
  for (const DirEntry& e : *directory) {
    if (Interrupted()) return;
    const std::string path = JoinPath(remote, e.name);
    if (!IsSafeName(e.name)) {
      Done(path, Status(Code::kInvalidArgument, "its name cannot be used for a local file"));
    } else if (!e.status) {
      Done(path, Status(Code::kInternal, "listed without attributes"));
    } else {
      Get(path, *e.status, here, e.name);
    }
  }
  Done(remote, directory->error());
}

void Getter::Get(const std::string& remote, const FileStatus& status, const DirectoryPtr& where,
                 const std::string& name) {
  if (status.is_directory()) {
    if (!o_.recursive) {
      Done(remote, Status(Code::kIsDirectory, "it is a directory (-r copies it)"));
      return;
    }
    GetDirectory(remote, status, where, name);
  } else if (status.is_symlink()) {
    GetSymlink(remote, status, where, name);
  } else if (status.is_regular()) {
    progress_.AddTotal(1, status.size);
    pool_->Submit([this, remote, status, where, name] {
      Done(remote, GetFile(remote, status, *where, name));
    });
  } else {
    Done(remote, Status(Code::kNotSupported, "it is a device, fifo or socket, not a file"));
  }
}

void Getter::GetToStdout(const std::string& remote) {
  Done(remote, CopyTo(1, remote));
  progress_.AddFile();
}

void RaiseFileLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

DirectoryPtr OpenTarget(Verb& verb, const std::string& path) {
  auto out = std::make_shared<LocalDirectory>();
  out->fd = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (out->fd >= 0) return out;
  verb.Failed("get to", path, Status::FromSystem(errno, "open"));
  return nullptr;
}

// Copies each source to where cp would put it.
void GetAll(Verb& verb, const Client& client, Getter& getter,
            const std::vector<std::string>& sources, const std::string& target) {
  struct stat st {};
  const bool into = stat(target.c_str(), &st) == 0 && S_ISDIR(st.st_mode);
  if (!into && (sources.size() > 1)) {
    verb.Failed("get to", target, Status(Code::kNotDirectory, "no such directory"));
    return;
  }
  std::string folder = target;
  std::string new_name;
  if (!into) {
    const std::string trimmed = target.substr(0, target.find_last_not_of('/') + 1);
    new_name = BaseName(trimmed);
    const size_t slash = trimmed.rfind('/');
    folder = slash == std::string::npos ? "." : slash == 0 ? "/" : trimmed.substr(0, slash);
  }
  const DirectoryPtr where = OpenTarget(verb, folder);
  if (where == nullptr) return;
  for (const std::string& typed : sources) {
    const std::string remote = ClusterPath(typed);
    const Result<FileStatus> status = client.stat(remote);
    if (!status) {
      verb.Failed("get", typed, status.error());
      continue;
    }
    std::string name = into ? BaseName(remote) : new_name;
    DirectoryPtr here = where;
    if (name == "/") {  // the root, into a directory that exists: what is in it goes there
      name = ".";
    }
    if (!into && NamesDirectory(target) && !status->is_directory()) {
      verb.Failed("get to", target, Status(Code::kNotDirectory, "no such directory"));
      continue;
    }
    getter.Get(remote, *status, here, name);
  }
}

}  // namespace

int RunGet(const Arguments& arguments) {
  Verb verb(
      "get", "Copy files of the cluster to local ones; the target '-' is standard output.",
      "  dfs get /docs/report.pdf .\n  dfs get -r /backup ~/restored\n  dfs get /db.sql - | psql");
  CopyOptions o;
  std::vector<std::string> paths;
  Args& args = verb.args();
  AddCopyOptions(args, &o);
  verb.TakesGlobs();
  args.Positionals("SOURCE... TARGET", &paths, "What to copy, and the local target (.)", 1);
  if (const auto code = args.Parse(arguments)) return *code;
  std::string target = ".";
  if (paths.size() > 1) {
    target = paths.back();
    paths.pop_back();
  }
  if (target.rfind("file:", 0) == 0) target.erase(0, 5);
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  RaiseFileLimit();
  paths = ExpandGlobs(verb, *client, paths);
  Getter getter(verb, *client, o);
  if (target == "-") {
    for (const std::string& typed : paths) getter.GetToStdout(ClusterPath(typed));
  } else {
    GetAll(verb, *client, getter, paths, target);
  }
  getter.Finish();
  return EndCopy(verb, getter.progress(), target != "-" ? "dfs.get/1" : "");
}

}  // namespace dfs::cli
