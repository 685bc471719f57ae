// dfs put: local files into the cluster. Each file appears under its name only when it is whole.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/copy_options.h"
#include "tools/cli/progress.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"
#include "tools/cli/worker_pool.h"

namespace dfs::cli {
namespace {

struct PutOptions : CopyOptions {
  bool update = false;
  int64_t replication = 0;
  uint64_t block_size = 0;
};

int64_t Nanoseconds(const timespec& t) {
  return t.tv_sec * 1'000'000'000LL + t.tv_nsec;
}

// Closes a descriptor at the end of its scope.
struct Fd {
  explicit Fd(int descriptor) : fd(descriptor) {}
  ~Fd() {
    if (fd >= 0) close(fd);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int fd;
};

class Putter {
 public:
  Putter(Verb& verb, const Client& client, const PutOptions& options)
      : verb_(verb),
        client_(client),
        o_(options),
        progress_("put", StderrIsTerminal() && !verb.json()) {
    const mode_t mask = umask(0);
    umask(mask);
    mask_ = mask;
  }

  void Run(const std::vector<std::pair<std::string, std::string>>& copies);
  Progress& progress() { return progress_; }
  void PutStream(int fd, const std::string& shown, const std::string& target,
                 const struct stat* st);

 private:
  // What a directory is given when all below it is done: the last reference goes then.
  struct Finisher {
    Finisher(Putter& putter, std::shared_ptr<Finisher> above)
        : owner(putter), parent(std::move(above)) {}
    ~Finisher() { owner.FinishDirectory(*this); }
    Putter& owner;
    std::shared_ptr<Finisher> parent;
    std::string path;
    struct stat st {};
    bool set_mode = false;
  };

  uint32_t ModeOf(const struct stat& st) const {
    return o_.preserve ? st.st_mode & 07777 : st.st_mode & 0777 & ~mask_;
  }
  void Count(const std::string& source);
  void Walk(const std::string& source, const std::string& target,
            const std::shared_ptr<Finisher>& parent, bool top);
  /// Makes it, then gives what is in it to the pool.
  void PutDirectory(const std::string& source, const std::string& target, const struct stat& st,
                    const std::shared_ptr<Finisher>& parent);
  void PutSymlink(const std::string& source, const std::string& target);
  bool IsUpToDate(const struct stat& st, const std::string& target) const;
  void PutFile(const std::string& source, const std::string& target);
  void FinishDirectory(const Finisher& finisher);
  void Done(const std::string& source, const std::string& target);

  Verb& verb_;
  const Client& client_;
  const PutOptions& o_;
  uint32_t mask_ = 0;
  Progress progress_;
  std::unique_ptr<WorkerPool> pool_;
};

void Putter::Done(const std::string& source, const std::string& target) {
  verb_.Succeeded();
  if (!o_.verbose || verb_.json()) return;
  ClearProgressLine();
  const std::string line = ShownName(source) + " -> " + ShownName(target) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}

void Putter::PutStream(int fd, const std::string& shown, const std::string& target,
                       const struct stat* st) {
  CreateOptions create;
  create.exclusive = !o_.force;
  create.overwrite = o_.force;
  create.replication = static_cast<uint32_t>(o_.replication);
  create.block_size = o_.block_size;
  create.mode = st != nullptr ? ModeOf(*st) : 0666 & ~mask_;
  if ((o_.preserve || o_.update) && st != nullptr) create.mtime_ns = Nanoseconds(st->st_mtim);
  const Source source = [&](std::span<std::byte> out) -> Result<size_t> {
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
    while (true) {
      const ssize_t n = read(fd, out.data(), out.size());
      if (Interrupted()) return Status(Code::kCancelled, "interrupted");
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return Status::FromSystem(errno, "read");
      progress_.AddBytes(static_cast<uint64_t>(n));
      return static_cast<size_t>(n);
    }
  };
  Status put = client_.write_file_atomically(target, source, create).status();
  if (put.Is(Code::kAlreadyExists)) {
    put = Status(Code::kAlreadyExists, fmt::format("'{}' exists (-f replaces it)", target));
  }
  if (put.ok() && o_.preserve && st != nullptr && geteuid() == 0) {
    put = client_.chown(target, st->st_uid, st->st_gid);
    // Changing the owner clears the set-id bits, as everywhere.
    if (put.ok() && (st->st_mode & 06000) != 0) put = client_.chmod(target, ModeOf(*st));
  }
  if (!put) {
    verb_.Failed("put", shown, put);
    return;
  }
  Done(shown, target);
}

// By size and time of change, as rsync judges.
bool Putter::IsUpToDate(const struct stat& st, const std::string& target) const {
  const Result<FileStatus> there = client_.lstat(target);
  return there && there->is_regular() && there->size == static_cast<uint64_t>(st.st_size) &&
         there->mtime_ns == Nanoseconds(st.st_mtim);
}

void Putter::PutFile(const std::string& source, const std::string& target) {
  if (Interrupted()) return;
  const Fd file(open(source.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat st {};
  if (file.fd < 0 || fstat(file.fd, &st) != 0) {
    verb_.Failed("put", source, Status::FromSystem(errno, "open"));
    return;
  }
  if (o_.update && IsUpToDate(st, target)) {
    verb_.Succeeded();
    return;
  }
  posix_fadvise(file.fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  PutStream(file.fd, source, target, &st);
  progress_.AddFile();
}

void Putter::PutSymlink(const std::string& source, const std::string& target) {
  char buffer[4097];
  const ssize_t n = readlink(source.c_str(), buffer, sizeof(buffer));
  if (n < 0) {
    verb_.Failed("put", source, Status::FromSystem(errno, "readlink"));
    return;
  }
  const std::string_view content(buffer, static_cast<size_t>(n));
  if (o_.update) {
    const Result<FileStatus> there = client_.lstat(target);
    if (there && there->is_symlink() && there->symlink_target == content) {
      verb_.Succeeded();
      return;
    }
  }
  Status made = client_.symlink(content, target);
  if (made.Is(Code::kAlreadyExists) && o_.force) {
    made = client_.unlink(target);
    if (made.ok()) made = client_.symlink(content, target);
  } else if (made.Is(Code::kAlreadyExists)) {
    made = Status(Code::kAlreadyExists, fmt::format("'{}' exists (-f replaces it)", target));
  }
  if (made.ok() && o_.preserve && geteuid() == 0) {
    struct stat st {};
    if (lstat(source.c_str(), &st) == 0) {
      made = client_.chown(target, st.st_uid, st.st_gid, false);
    }
  }
  if (made.ok()) {
    Done(source, target);
  } else {
    verb_.Failed("put", source, made);
  }
}

void Putter::FinishDirectory(const Finisher& f) {
  if (f.path.empty() || Interrupted()) return;
  Status done;
  if (o_.preserve && geteuid() == 0) done = client_.chown(f.path, f.st.st_uid, f.st.st_gid);
  if (done.ok() && f.set_mode) done = client_.chmod(f.path, ModeOf(f.st));
  if (done.ok() && o_.preserve) {
    TimeUpdate times;
    times.atime_ns = Nanoseconds(f.st.st_atim);
    times.mtime_ns = Nanoseconds(f.st.st_mtim);
    done = client_.set_times(f.path, times);
  }
  if (!done) verb_.Failed("finish", f.path, done);
}

void Putter::PutDirectory(const std::string& source, const std::string& target,
                          const struct stat& st, const std::shared_ptr<Finisher>& parent) {
  if (Interrupted()) return;
  // Writable for us until all is in it.
  const uint32_t mode = ModeOf(st);
  Status made = client_.mkdir(target, mode | 0700);
  bool ours = made.ok();
  if (made.Is(Code::kAlreadyExists)) {
    const Result<FileStatus> there = client_.stat(target);
    made = !there                  ? there.error()
           : there->is_directory() ? Status::Ok()
                                   : Status(Code::kNotDirectory,
                                            fmt::format("'{}' exists and is no directory", target));
  }
  if (!made) {
    verb_.Failed("put", source, made);
    return;
  }
  auto finisher = std::make_shared<Finisher>(*this, parent);
  if (o_.preserve || (ours && (mode & 0700) != 0700)) {
    finisher->path = target;
    finisher->st = st;
    finisher->set_mode = ours || o_.preserve;
  }
  DIR* dir = opendir(source.c_str());
  if (dir == nullptr) {
    verb_.Failed("put", source, Status::FromSystem(errno, "open"));
    return;
  }
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (Interrupted()) break;
    Walk(JoinPath(source, name), JoinPath(target, name), finisher, false);
  }
  closedir(dir);
  verb_.Succeeded();
}

void Putter::Walk(const std::string& source, const std::string& target,
                  const std::shared_ptr<Finisher>& parent, bool top) {
  struct stat st {};
  // What is named is followed, what is found is not: a tree keeps its symlinks.
  const int result = top ? stat(source.c_str(), &st) : lstat(source.c_str(), &st);
  if (result != 0) {
    verb_.Failed("put", source, Status::FromSystem(errno, "stat"));
    return;
  }
  if (S_ISDIR(st.st_mode)) {
    if (!o_.recursive) {
      verb_.Failed("put", source, Status(Code::kIsDirectory, "it is a directory (-r copies it)"));
      return;
    }
    pool_->SubmitOrRun(
        [this, source, target, st, parent] { PutDirectory(source, target, st, parent); });
  } else if (S_ISREG(st.st_mode)) {
    pool_->SubmitOrRun([this, source, target, parent] { PutFile(source, target); });
  } else if (S_ISLNK(st.st_mode)) {
    pool_->SubmitOrRun([this, source, target, parent] { PutSymlink(source, target); });
  } else {
    verb_.Failed("put", source,
                 Status(Code::kNotSupported, "it is a device, fifo or socket, not a file"));
  }
}

// The sums of a tree, for the progress bar.
void Putter::Count(const std::string& source) {
  struct stat st {};
  if (lstat(source.c_str(), &st) != 0 || Interrupted()) return;
  if (S_ISREG(st.st_mode)) progress_.AddTotal(1, static_cast<uint64_t>(st.st_size));
  if (!S_ISDIR(st.st_mode)) return;
  DIR* dir = opendir(source.c_str());
  if (dir == nullptr) return;
  while (const dirent* entry = readdir(dir)) {
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") Count(JoinPath(source, name));
  }
  closedir(dir);
}

void Putter::Run(const std::vector<std::pair<std::string, std::string>>& copies) {
  if (StderrIsTerminal() && !verb_.json()) {
    for (const auto& copy : copies) Count(copy.first);
  }
  pool_ = std::make_unique<WorkerPool>(static_cast<size_t>(o_.jobs), 1024);
  for (const auto& [source, target] : copies) {
    if (!Interrupted()) Walk(source, target, nullptr, true);
  }
  pool_->Finish();
  progress_.Finish();
}

}  // namespace

int RunPut(const Arguments& arguments) {
  Verb verb(
      "put", "Copy local files into the cluster; '-' is standard input.",
      "  dfs put report.pdf /docs/\n  dfs put -r ~/src /backup\n  pg_dump db | dfs put - /db.sql");
  PutOptions o;
  std::vector<std::string> paths;
  Args& args = verb.args();
  AddCopyOptions(args, &o);
  args.Flag("-u,--update", &o.update,
            "Only files that differ in size or time of change; replaces them and keeps times");
  args.Option("--replication", &o.replication, "Replicas of each file (the cluster's default)", 1,
              64);
  args.Size("--block-size", &o.block_size, "Block size of each file (the cluster's default)");
  args.Positionals("SOURCE... TARGET", &paths, "Local files, and where to in the cluster", 2);
  if (const auto code = args.Parse(arguments)) return *code;
  if (o.update) o.force = true;
  const std::string typed_target = paths.back();
  paths.pop_back();
  for (std::string& path : paths) {
    if (path.rfind("file:", 0) == 0) path.erase(0, 5);
    if (path == "-" && paths.size() > 1) return args.UsageError("'-' must be the only source");
  }
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();

  const bool must_be = paths.size() > 1 || (NamesDirectory(typed_target) && !o.recursive);
  const std::optional<bool> into =
      TargetIsDirectory(verb, *client, "put to", typed_target, must_be);
  if (!into) return verb.ExitCode();
  const std::string target = ClusterPath(typed_target);
  Putter putter(verb, *client, o);
  if (paths[0] == "-") {
    if (*into) {
      verb.Failed("put to", typed_target, Status(Code::kIsDirectory, "it is a directory"));
      return verb.ExitCode();
    }
    putter.PutStream(0, "-", target, nullptr);
    putter.progress().AddFile();
  } else {
    std::vector<std::pair<std::string, std::string>> copies;
    for (const std::string& source : paths) {
      const std::string name = BaseName(source);
      const bool whole = name == "." || name == ".." || name == "/";
      copies.emplace_back(source, *into && !whole ? JoinPath(target, name) : target);
    }
    putter.Run(copies);
  }
  putter.progress().Finish();
  return EndCopy(verb, putter.progress(), "dfs.put/1");
}

}  // namespace dfs::cli
