#include "tools/hadoop/listings.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "tools/cli/glob.h"
#include "tools/cli/verb.h"

namespace dfs::hadoop {
namespace {

using cli::ClusterPath;
using cli::ExpandGlobs;
using cli::JoinPath;
using cli::Verb;

struct Named {
  std::string path;
  FileStatus status;
};

// The verb and its connection; paths relative to the home directory when none is given.
struct Run {
  explicit Run(const std::string& name) : verb("fs -" + name, "") {
    verb.args().Parse({});
    client = verb.Connect();
  }
  std::vector<std::string> Paths(const std::vector<std::string>& typed) {
    std::vector<std::string> out =
        ExpandGlobs(verb, *client, typed.empty() ? std::vector<std::string>{""} : typed);
    for (std::string& path : out) path = ClusterPath(path);
    return out;
  }
  Verb verb;
  std::optional<Client> client;
};

// "1.5 K" as Hadoop's -h prints it: one decimal unless it is a whole number.
std::string HadoopSize(uint64_t bytes, bool human) {
  if (!human || bytes < 1024) return std::to_string(bytes);
  static constexpr std::string_view kUnits = "KMGTPE";
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  for (; value >= 1024 && unit + 1 < kUnits.size(); ++unit) value /= 1024;
  const bool whole = value == static_cast<double>(static_cast<uint64_t>(value));
  return whole ? fmt::format("{:.0f} {}", value, kUnits[unit])
               : fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string Time(int64_t ns, const char* format, bool utc) {
  const time_t seconds = ns / 1'000'000'000;
  tm parts{};
  utc ? gmtime_r(&seconds, &parts) : localtime_r(&seconds, &parts);
  char text[64];
  return {text, strftime(text, sizeof(text), format, &parts)};
}

void PrintNamed(const ListingOptions& o, std::vector<Named> items) {
  const auto before = [&](const Named& a, const Named& b) {
    if (o.by_time && a.status.mtime_ns != b.status.mtime_ns) {
      return a.status.mtime_ns > b.status.mtime_ns;
    }
    if (o.by_size && a.status.size != b.status.size) return a.status.size > b.status.size;
    return a.path < b.path;
  };
  std::stable_sort(items.begin(), items.end(), before);
  if (o.reverse) std::reverse(items.begin(), items.end());
  // Hadoop's columns are as wide as the widest value, the size at least 10 and the replication 3.
  size_t owner = 0, group = 0, size = 10;
  for (const Named& item : items) {
    owner = std::max(owner, cli::UserName(item.status.uid).size());
    group = std::max(group, cli::GroupName(item.status.gid).size());
    size = std::max(size, HadoopSize(item.status.size, o.human).size());
  }
  for (const Named& item : items) {
    const FileStatus& s = item.status;
    if (o.paths_only) {
      fmt::print("{}\n", cli::ShownName(item.path));
      continue;
    }
    const std::string replication = s.is_regular() ? std::to_string(s.replication) : "-";
    fmt::print("{} {:>3} {:<{}} {:<{}} {:>{}} {} {}\n",
               cli::ModeString(cli::TypeLetter(s.type), s.mode), replication, cli::UserName(s.uid),
               owner, cli::GroupName(s.gid), group,
               HadoopSize(s.is_directory() ? 0 : s.size, o.human), size,
               Time(s.mtime_ns, "%Y-%m-%d %H:%M", false), cli::ShownName(item.path));
  }
}

void ListDirectory(Run& run, const ListingOptions& o, const std::string& path) {
  ListOptions list;
  list.attributes = true;
  Result<Directory> directory = run.client->list(path, list);
  if (!directory) {
    run.verb.Failed("ls", path, directory.error());
    return;
  }
  std::vector<Named> items;
  for (const DirEntry& e : *directory) {
    if (e.status) items.push_back({JoinPath(path, e.name), *e.status});
  }
  if (!directory->error().ok()) {
    run.verb.Failed("ls", path, directory->error());
    return;
  }
  run.verb.Succeeded();
  if (!o.recursive && !o.paths_only && !items.empty()) {
    fmt::print("Found {} items\n", items.size());
  }
  if (!o.recursive) {
    PrintNamed(o, std::move(items));
    return;
  }
  std::sort(items.begin(), items.end(),
            [](const Named& a, const Named& b) { return a.path < b.path; });
  for (const Named& item : items) {
    PrintNamed(o, {item});
    if (item.status.is_directory()) ListDirectory(run, o, item.path);
  }
}

std::string Described(const std::string& format, const std::string& path, const FileStatus& s) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] != '%' || i + 1 == format.size()) {
      out += format[i];
      continue;
    }
    switch (format[++i]) {
      case 'a':
        out += fmt::format("{:o}", s.mode);
        break;
      case 'A':
        out += cli::ModeString('-', s.mode).substr(1);
        break;
      case 'b':
        out += std::to_string(s.is_directory() ? 0 : s.size);
        break;
      case 'F':
        out += s.is_directory() ? "directory" : s.is_symlink() ? "symlink" : "regular file";
        break;
      case 'g':
        out += cli::GroupName(s.gid);
        break;
      case 'n':
        out += cli::BaseName(path);
        break;
      case 'o':
        out += std::to_string(s.block_size);
        break;
      case 'r':
        out += std::to_string(s.replication);
        break;
      case 'u':
        out += cli::UserName(s.uid);
        break;
      case 'x':
        out += Time(s.atime_ns, "%Y-%m-%d %H:%M:%S", true);
        break;
      case 'X':
        out += std::to_string(s.atime_ns / 1'000'000);
        break;
      case 'y':
        out += Time(s.mtime_ns, "%Y-%m-%d %H:%M:%S", true);
        break;
      case 'Y':
        out += std::to_string(s.mtime_ns / 1'000'000);
        break;
      default:
        out += format[i];
        break;
    }
  }
  return out;
}

Status WriteAll(int fd, const void* data, size_t size) {
  const char* at = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t n = write(fd, at, size);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return Status::FromSystem(errno, "write");
    at += n;
    size -= static_cast<size_t>(n);
  }
  return Status::Ok();
}

Status AppendTo(int fd, const Client& client, const std::string& path) {
  DFS_ASSIGN_OR_RETURN(Reader reader, client.open(path));
  constexpr size_t kBytes = 1 << 20;
  const std::unique_ptr<std::byte[]> buffer(new std::byte[kBytes]);
  while (true) {
    DFS_ASSIGN_OR_RETURN(const size_t n, reader.read({buffer.get(), kBytes}));
    if (n == 0) return Status::Ok();
    DFS_RETURN_IF_ERROR(WriteAll(fd, buffer.get(), n));
  }
}

// The files that a source of getmerge stands for, by name.
Result<std::vector<Named>> FilesOf(const Client& client, const std::string& path) {
  DFS_ASSIGN_OR_RETURN(const FileStatus status, client.stat(path));
  std::vector<Named> out;
  if (!status.is_directory()) return std::vector<Named>{{path, status}};
  ListOptions list;
  list.attributes = true;
  DFS_ASSIGN_OR_RETURN(Directory directory, client.list(path, list));
  for (const DirEntry& e : directory) {
    if (e.status && e.status->is_regular()) out.push_back({JoinPath(path, e.name), *e.status});
  }
  DFS_RETURN_IF_ERROR(directory.error());
  std::sort(out.begin(), out.end(), [](const Named& a, const Named& b) { return a.path < b.path; });
  return out;
}

}  // namespace

int List(const ListingOptions& options, const std::vector<std::string>& paths) {
  Run run("ls");
  if (!run.client) return run.verb.ExitCode();
  for (const std::string& path : run.Paths(paths)) {
    const Result<FileStatus> status = run.client->stat(path);
    if (!status) {
      run.verb.Failed("ls", path, status.error());
    } else if (status->is_directory() && !options.directory_itself) {
      ListDirectory(run, options, path);
    } else {
      run.verb.Succeeded();
      PrintNamed(options, {{path, *status}});
    }
  }
  return run.verb.ExitCode();
}

int DiskUsage(const std::vector<std::string>& paths, bool summarize, bool human, bool header) {
  Run run("du");
  if (!run.client) return run.verb.ExitCode();
  std::vector<std::array<std::string, 3>> rows;
  if (header) rows.push_back({"SIZE", "DISK_SPACE_CONSUMED_WITH_ALL_REPLICAS", "FULL_PATH_NAME"});
  const Result<FileSystemStatus> cluster = run.client->stat_fs();
  const uint64_t replicas = cluster ? cluster->default_replication : 1;
  const auto add = [&](const std::string& path, const FileStatus& s) {
    const Result<Usage> usage = run.client->usage(path);
    if (!usage) {
      run.verb.Failed("du", path, usage.error());
      return;
    }
    // Directories know their bytes, not their replicas: the default stands in.
    const uint64_t copies = s.is_regular() ? s.replication : replicas;
    rows.push_back({HadoopSize(usage->bytes, human), HadoopSize(usage->bytes * copies, human),
                    cli::ShownName(path)});
    run.verb.Succeeded();
  };
  for (const std::string& path : run.Paths(paths)) {
    const Result<FileStatus> status = run.client->stat(path);
    if (!status) {
      run.verb.Failed("du", path, status.error());
      continue;
    }
    if (summarize || !status->is_directory()) {
      add(path, *status);
      continue;
    }
    ListOptions list;
    list.attributes = true;
    Result<Directory> directory = run.client->list(path, list);
    if (!directory) {
      run.verb.Failed("du", path, directory.error());
      continue;
    }
    for (const DirEntry& e : *directory) {
      if (e.status) add(JoinPath(path, e.name), *e.status);
    }
    if (!directory->error().ok()) run.verb.Failed("du", path, directory->error());
  }
  size_t first = 0, second = 0;
  for (const auto& row : rows) {
    first = std::max(first, row[0].size());
    second = std::max(second, row[1].size());
  }
  for (const auto& row : rows) {
    fmt::print("{:<{}}  {:<{}}  {}\n", row[0], first, row[1], second, row[2]);
  }
  return run.verb.ExitCode();
}

int FreeSpace(bool human) {
  Run run("df");
  if (!run.client) return run.verb.ExitCode();
  const Result<FileSystemStatus> s = run.client->stat_fs();
  if (!s) {
    run.verb.Failed("df", "/", s.error());
    return run.verb.ExitCode();
  }
  const uint64_t used = s->capacity_bytes - std::min(s->capacity_bytes, s->available_bytes);
  const uint64_t percent = s->capacity_bytes == 0 ? 0 : used * 100 / s->capacity_bytes;
  const std::string name = "dfs://" + s->cluster_id;
  const std::string size = HadoopSize(s->capacity_bytes, human);
  const std::string taken = HadoopSize(used, human);
  const std::string left = HadoopSize(s->available_bytes, human);
  const size_t w = std::max<size_t>({size.size(), taken.size(), left.size(), 9});
  fmt::print("{:<{}}  {:>{}}  {:>{}}  {:>{}}  Use%\n", "Filesystem", name.size(), "Size", w, "Used",
             w, "Available", w);
  fmt::print("{}  {:>{}}  {:>{}}  {:>{}}  {:>3}%\n", name, size, w, taken, w, left, w, percent);
  return run.verb.ExitCode();
}

int CountAll(const std::vector<std::string>& paths, bool human, bool header) {
  Run run("count");
  if (!run.client) return run.verb.ExitCode();
  if (header)
    fmt::print("{:>12} {:>12} {:>18} PATHNAME\n", "DIR_COUNT", "FILE_COUNT", "CONTENT_SIZE");
  for (const std::string& path : run.Paths(paths)) {
    const Result<FileStatus> status = run.client->stat(path);
    const Result<Usage> usage = status ? run.client->usage(path) : status.error();
    if (!usage) {
      run.verb.Failed("count", path, usage.error());
      continue;
    }
    run.verb.Succeeded();
    // Hadoop counts the directory itself.
    const uint64_t directories = usage->directories + (status->is_directory() ? 1 : 0);
    fmt::print("{:>12} {:>12} {:>18} {}\n", directories, usage->files,
               HadoopSize(usage->bytes, human), cli::ShownName(path));
  }
  return run.verb.ExitCode();
}

int Describe(const std::string& format, const std::vector<std::string>& paths) {
  Run run("stat");
  if (!run.client) return run.verb.ExitCode();
  for (const std::string& path : run.Paths(paths)) {
    const Result<FileStatus> status = run.client->stat(path);
    if (!status) {
      run.verb.Failed("stat", path, status.error());
      continue;
    }
    run.verb.Succeeded();
    fmt::print("{}\n", Described(format, path, *status));
  }
  return run.verb.ExitCode();
}

int MergeTo(const std::vector<std::string>& sources, const std::string& local, bool newlines,
            bool skip_empty) {
  Run run("getmerge");
  if (!run.client) return run.verb.ExitCode();
  const std::string temporary = fmt::format("{}.dfs-{}", local, getpid());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (fd < 0) {
    run.verb.Failed("write", local, Status::FromSystem(errno, "open"));
    return run.verb.ExitCode();
  }
  for (const std::string& source : run.Paths(sources)) {
    const Result<std::vector<Named>> files = FilesOf(*run.client, source);
    if (!files) run.verb.Failed("get", source, files.error());
    if (!files) continue;
    for (const Named& file : *files) {
      if (skip_empty && file.status.size == 0) continue;
      Status done = AppendTo(fd, *run.client, file.path);
      if (done.ok() && newlines) done = WriteAll(fd, "\n", 1);
      if (!done) run.verb.Failed("get", file.path, done);
    }
  }
  const bool closed = close(fd) == 0;
  if (!closed) run.verb.Failed("write", local, Status::FromSystem(errno, "close"));
  // Half of what was asked for is nothing under the name that was asked for.
  if (run.verb.any_failed()) {
    unlink(temporary.c_str());
  } else if (rename(temporary.c_str(), local.c_str()) != 0) {
    run.verb.Failed("write", local, Status::FromSystem(errno, "rename"));
    unlink(temporary.c_str());
  }
  return run.verb.ExitCode();
}

int RemoveDirectories(const std::vector<std::string>& paths, bool ignore_non_empty) {
  Run run("rmdir");
  if (!run.client) return run.verb.ExitCode();
  for (const std::string& path : run.Paths(paths)) {
    const Status removed = run.client->rmdir(path);
    if (removed.ok() || (ignore_non_empty && removed.Is(Code::kNotEmpty))) {
      run.verb.Succeeded();
    } else {
      run.verb.Failed("rmdir", path, removed);
    }
  }
  return run.verb.ExitCode();
}

}  // namespace dfs::hadoop
