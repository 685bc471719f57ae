// dfs cp: copies inside the cluster. The bytes go through this process; each file appears under its name
// only when it is whole.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <memory>

#include "tools/cli/commands.h"
#include "tools/cli/copy_options.h"
#include "tools/cli/glob.h"
#include "tools/cli/progress.h"
#include "tools/cli/tree.h"
#include "tools/cli/verb.h"
#include "tools/cli/worker_pool.h"

namespace dfs::cli {
namespace {

class Copier {
 public:
  Copier(Verb& verb, const Client& client, const CopyOptions& options)
      : verb_(verb),
        client_(client),
        o_(options),
        progress_("cp", StderrIsTerminal() && !verb.json()),
        pool_(static_cast<size_t>(options.jobs), 1024) {
    mask_ = umask(0);
    umask(mask_);
  }

  void Copy(const std::string& source, const std::string& target);
  /// Waits for the files, then gives the directories their modes and times, innermost first.
  void Finish();
  Progress& progress() { return progress_; }

 private:
  struct MadeDirectory {
    std::string path;
    FileStatus source;
  };

  uint32_t ModeOf(const FileStatus& s) const {
    return o_.preserve ? s.mode : s.mode & 0777 & ~mask_;
  }
  void CopyTree(const std::string& source, const FileStatus& status, const std::string& target);
  /// The inode of the directory, or why there is none.
  Result<uint64_t> MakeDirectory(const FileStatus& source, const std::string& target);
  void CopyOne(const std::string& source, const FileStatus& status, const std::string& target);
  Status CopyFile(const std::string& source, const FileStatus& status, const std::string& target);
  Status CopySymlink(const FileStatus& status, const std::string& target);
  Status Decorate(const FileStatus& source, const std::string& target);
  void Done(const std::string& source, const std::string& target, const Status& done);

  Verb& verb_;
  const Client& client_;
  const CopyOptions& o_;
  Progress progress_;
  WorkerPool pool_;
  mode_t mask_ = 0;
  std::vector<MadeDirectory> made_;
};

void Copier::Done(const std::string& source, const std::string& target, const Status& done) {
  if (!done) {
    verb_.Failed("copy", source, done);
    return;
  }
  verb_.Succeeded();
  if (!o_.verbose || verb_.json()) return;
  ClearProgressLine();
  const std::string line = ShownName(source) + " -> " + ShownName(target) + "\n";
  std::fwrite(line.data(), 1, line.size(), stdout);
}

// Owner and, where they were not set on the way, times.
Status Copier::Decorate(const FileStatus& source, const std::string& target) {
  const bool follow = !source.is_symlink();
  if (geteuid() == 0) {
    DFS_RETURN_IF_ERROR(client_.chown(target, source.uid, source.gid, follow));
    // Changing the owner clears the set-id bits, as everywhere.
    if (follow && (source.mode & 06000) != 0) {
      DFS_RETURN_IF_ERROR(client_.chmod(target, source.mode));
    }
  }
  TimeUpdate times;
  times.atime_ns = source.atime_ns;
  times.mtime_ns = source.mtime_ns;
  return client_.set_times(target, times, follow);
}

Status Copier::CopyFile(const std::string& source, const FileStatus& status,
                        const std::string& target) {
  if (Interrupted()) return Status(Code::kCancelled, "interrupted");
  if (o_.force) {
    const Result<FileStatus> there = client_.stat(target);
    if (there && there->inode == status.inode) {
      return Status(Code::kInvalidArgument, fmt::format("'{}' is the same file", target));
    }
  }
  DFS_ASSIGN_OR_RETURN(Reader reader, client_.open(source));
  CreateOptions create;
  create.exclusive = !o_.force;
  create.overwrite = o_.force;
  create.mode = ModeOf(status);
  create.expected_size = status.size;
  if (o_.preserve) {
    create.replication = status.replication;
    create.block_size = status.block_size;
  }
  const Source bytes = [&](std::span<std::byte> out) -> Result<size_t> {
    if (Interrupted()) return Status(Code::kCancelled, "interrupted");
    Result<size_t> n = reader.read(out);
    if (n) progress_.AddBytes(*n);
    return n;
  };
  const Status copied = client_.write_file_atomically(target, bytes, create).status();
  if (copied.Is(Code::kAlreadyExists)) {
    return Status(Code::kAlreadyExists, fmt::format("'{}' exists (-f replaces it)", target));
  }
  DFS_RETURN_IF_ERROR(copied);
  progress_.AddFile();
  return o_.preserve ? Decorate(status, target) : Status::Ok();
}

Status Copier::CopySymlink(const FileStatus& status, const std::string& target) {
  Status made = client_.symlink(status.symlink_target, target);
  if (made.Is(Code::kAlreadyExists) && o_.force) {
    DFS_RETURN_IF_ERROR(client_.unlink(target));
    made = client_.symlink(status.symlink_target, target);
  } else if (made.Is(Code::kAlreadyExists)) {
    return Status(Code::kAlreadyExists, fmt::format("'{}' exists (-f replaces it)", target));
  }
  DFS_RETURN_IF_ERROR(made);
  return o_.preserve ? Decorate(status, target) : Status::Ok();
}

void Copier::CopyOne(const std::string& source, const FileStatus& status,
                     const std::string& target) {
  if (status.is_regular()) {
    progress_.AddTotal(1, status.size);
    pool_.Submit([=, this] { Done(source, target, CopyFile(source, status, target)); });
  } else if (status.is_symlink()) {
    pool_.Submit([=, this] { Done(source, target, CopySymlink(status, target)); });
  } else {
    Done(source, target, Status(Code::kNotSupported, "it is a device, fifo or socket, not a file"));
  }
}

Result<uint64_t> Copier::MakeDirectory(const FileStatus& source, const std::string& target) {
  // Writable for us until all is in it.
  const Status made = client_.mkdir(target, ModeOf(source) | 0700);
  if (!made && !made.Is(Code::kAlreadyExists)) return made;
  DFS_ASSIGN_OR_RETURN(const FileStatus there, client_.stat(target));
  if (!there.is_directory()) {
    return Status(Code::kNotDirectory, fmt::format("'{}' exists and is no directory", target));
  }
  if (o_.preserve || (made.ok() && (ModeOf(source) & 0700) != 0700)) {
    made_.push_back({target, source});
  }
  return there.inode;
}

void Copier::CopyTree(const std::string& source, const FileStatus& status,
                      const std::string& target) {
  if (target == source || target.rfind(source == "/" ? "/" : source + "/", 0) == 0) {
    Done(source, target, Status(Code::kInvalidArgument, fmt::format("'{}' is inside it", target)));
    return;
  }
  const Result<uint64_t> top = MakeDirectory(status, target);
  Done(source, target, top.status());
  if (!top) return;
  ListOptions list;
  list.attributes = true;
  list.recursive = true;
  Result<Directory> directory = client_.list(source, list);
  if (!directory) {
    Done(source, target, directory.error());
    return;
  }
  for (const DirEntry& e : *directory) {
    if (Interrupted()) return;
    const std::string from = JoinPath(source, e.path);
    const std::string to = JoinPath(target, e.path);
    if (!e.status) {
      Done(from, to, Status(Code::kInternal, "listed without attributes"));
    } else if (e.status->inode == *top) {
      // Through a symlink the target may lie in the source: what is copied is not copied again.
      Done(from, to, Status(Code::kInvalidArgument, "it is the target of this copy"));
      return;
    } else if (e.status->is_directory()) {
      Done(from, to, MakeDirectory(*e.status, to).status());
    } else {
      CopyOne(from, *e.status, to);
    }
  }
  if (!directory->error().ok()) Done(source, target, directory->error());
}

void Copier::Copy(const std::string& source, const std::string& target) {
  // What is named is followed, what is found is not: a tree keeps its symlinks.
  const Result<FileStatus> status = client_.stat(source);
  if (!status) {
    Done(source, target, status.error());
  } else if (!status->is_directory()) {
    CopyOne(source, *status, target);
  } else if (!o_.recursive) {
    Done(source, target, Status(Code::kIsDirectory, "it is a directory (-r copies it)"));
  } else {
    CopyTree(source, *status, target);
  }
}

void Copier::Finish() {
  pool_.Finish();
  for (auto it = made_.rbegin(); it != made_.rend() && !Interrupted(); ++it) {
    Status done = client_.chmod(it->path, ModeOf(it->source));
    if (done.ok() && o_.preserve) done = Decorate(it->source, it->path);
    if (!done) verb_.Failed("finish", it->path, done);
  }
  progress_.Finish();
}

}  // namespace

int RunCp(const Arguments& arguments) {
  Verb verb(
      "cp", "Copy files inside the cluster.",
      "  dfs cp /a/report.pdf /b/\n  dfs cp -rp /data /data.old\n  dfs cp '/logs/*.gz' /old/");
  CopyOptions o;
  std::vector<std::string> paths;
  AddCopyOptions(verb.args(), &o);
  verb.TakesGlobs();
  verb.args().Positionals("SOURCE... TARGET", &paths, "What to copy, and where to", 2);
  if (const auto code = verb.args().Parse(arguments)) return *code;
  const std::string typed_target = paths.back();
  paths.pop_back();
  const std::optional<Client> client = verb.Connect();
  if (!client) return verb.ExitCode();
  CatchInterrupts();
  paths = ExpandGlobs(verb, *client, paths);
  const bool must_be = paths.size() > 1 || (NamesDirectory(typed_target) && !o.recursive);
  const std::optional<bool> into =
      TargetIsDirectory(verb, *client, "copy to", typed_target, must_be);
  if (!into) return verb.ExitCode();
  const std::string target = ClusterPath(typed_target);
  Copier copier(verb, *client, o);
  for (const std::string& typed : paths) {
    const std::string source = ClusterPath(typed);
    const bool beneath = *into && source != "/";
    copier.Copy(source, beneath ? JoinPath(target, BaseName(source)) : target);
  }
  copier.Finish();
  return EndCopy(verb, copier.progress(), "dfs.cp/1");
}

}  // namespace dfs::cli
