#include "tools/bench/fs_workload.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <mutex>
#include <thread>

#include "common/base/clock.h"
#include "common/base/random.h"

namespace dfs::bench {
namespace {

constexpr size_t kSmall = 4096;
constexpr size_t kLarge = 1 << 20;

Status Errno(const std::string& what) {
  return Status::FromSystem(errno, what);
}

class Fd {
 public:
  Fd(const std::string& path, int flags) : fd_(open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int Close() { return close(std::exchange(fd_, -1)); }

 private:
  int fd_;
};

// Forgets what the kernel keeps of names, attributes and pages. As root only; others get warm numbers.
Status DropCaches() {
  ::sync();
  Fd drop("/proc/sys/vm/drop_caches", O_WRONLY);
  if (!drop.ok() || write(drop.get(), "3", 1) != 1)
    return Errno("drop_caches (cold rows need root)");
  return Status::Ok();
}

Status Run(const std::string& command) {
  const int status = std::system(command.c_str());
  if (status == -1 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Status(Code::kIoError, fmt::format("'{}' failed", command));
  }
  return Status::Ok();
}

std::string Quoted(const std::string& path) {
  std::string out = "'";
  for (const char c : path) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

double Seconds(int64_t since_ns) {
  return static_cast<double>(SystemClock().BootNs() - since_ns) / 1e9;
}

double MibPerSecond(uint64_t bytes, int64_t since_ns) {
  return static_cast<double>(bytes) / (1 << 20) / Seconds(since_ns);
}

}  // namespace

FsWorkload::FsWorkload(Options options)
    : o_(std::move(options)),
      created_(static_cast<size_t>(o_.callers)),
      small_(static_cast<size_t>(o_.callers)) {}

FsWorkload::~FsWorkload() {
  std::error_code ignored;
  if (!root_.empty()) std::filesystem::remove_all(root_, ignored);
  if (!archive_.empty()) unlink(archive_.c_str());
}

std::string FsWorkload::Dir(int caller) const {
  return fmt::format("{}/caller{}", root_, caller);
}

std::string FsWorkload::Name(int caller, const char* prefix, uint64_t number) const {
  return fmt::format("{}/caller{}/{}{}", root_, caller, prefix, number);
}

Status FsWorkload::Prepare() {
  const std::string root = fmt::format("{}/dfs-bench-{}", o_.directory, getpid());
  if (mkdir(root.c_str(), 0755) != 0) return Errno(root);
  root_ = root;
  for (int caller = 0; caller < o_.callers; ++caller) {
    if (mkdir(Dir(caller).c_str(), 0755) != 0) return Errno(Dir(caller));
  }
  if (o_.tree.empty()) return Status::Ok();
  archive_ = fmt::format("/var/tmp/dfs-bench-{}.tar", getpid());
  DFS_RETURN_IF_ERROR(Run(fmt::format("tar -C {} -cf {} .", Quoted(o_.tree), Quoted(archive_))));
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(o_.tree, error);
       !error && it != std::filesystem::recursive_directory_iterator(); it.increment(error)) {
    ++tree_files_;
  }
  return Status::Ok();
}

Result<FsResult> FsWorkload::Timed(int callers, const Call& call, uint64_t limit) {
  std::vector<Histogram> latency(static_cast<size_t>(callers));
  std::mutex mutex;
  Status first;
  const int64_t begin = SystemClock().BootNs();
  const int64_t deadline = begin + static_cast<int64_t>(o_.seconds * 1e9);
  const auto work = [&](int caller) {
    int64_t before = SystemClock().BootNs();
    for (uint64_t number = 0; number < limit && before < deadline; ++number) {
      const Status done = call(caller, number);
      const int64_t after = SystemClock().BootNs();
      if (!done) {
        const std::lock_guard<std::mutex> lock(mutex);
        if (first.ok()) first = done;
        return;
      }
      latency[static_cast<size_t>(caller)].Add(after - before);
      before = after;
    }
  };
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller) threads.emplace_back(work, caller);
  for (std::thread& t : threads) t.join();
  DFS_RETURN_IF_ERROR(first);
  const double seconds = Seconds(begin);
  auto all = std::make_unique<Histogram>();
  for (const Histogram& one : latency) all->Merge(one);
  FsResult result;
  result.rate = static_cast<double>(all->total) / seconds;
  result.p50_us = static_cast<double>(all->Percentile(0.5)) / 1e3;
  result.p99_us = static_cast<double>(all->Percentile(0.99)) / 1e3;
  return result;
}

// ---- One large file

Result<FsResult> FsWorkload::WriteSequentially() {
  const std::string data(kLarge, 'w');
  uint64_t bytes = 0;
  const int64_t begin = SystemClock().BootNs();
  // The whole file once, for the rows that read it; then over again until the time is over.
  while (bytes < o_.file_bytes || Seconds(begin) < o_.seconds) {
    Fd file(root_ + "/large", O_WRONLY | O_CREAT | O_TRUNC);
    if (!file.ok()) return Errno("open");
    for (uint64_t done = 0; done < o_.file_bytes; done += kLarge) {
      if (write(file.get(), data.data(), kLarge) != kLarge) return Errno("write");
    }
    if (fsync(file.get()) != 0) return Errno("fsync");
    if (file.Close() != 0) return Errno("close");
    bytes += o_.file_bytes;
  }
  return FsResult{.rate = MibPerSecond(bytes, begin)};
}

Result<FsResult> FsWorkload::ReadSequentially(bool cold) {
  const std::unique_ptr<char[]> buffer(new char[kLarge]);
  uint64_t bytes = 0;
  double seconds = 0;
  while (seconds < o_.seconds) {
    if (cold) DFS_RETURN_IF_ERROR(DropCaches());
    const int64_t begin = SystemClock().BootNs();
    Fd file(root_ + "/large", O_RDONLY);
    if (!file.ok()) return Errno("open");
    ssize_t n = 0;
    while ((n = read(file.get(), buffer.get(), kLarge)) > 0) bytes += static_cast<uint64_t>(n);
    if (n < 0) return Errno("read");
    seconds += Seconds(begin);
  }
  return FsResult{.rate = static_cast<double>(bytes) / (1 << 20) / seconds};
}

Result<FsResult> FsWorkload::ReadRandomly(int callers) {
  DFS_RETURN_IF_ERROR(DropCaches());
  const uint64_t slots = o_.file_bytes / kSmall;
  std::vector<std::unique_ptr<Fd>> files;
  std::vector<Random> random;
  for (int caller = 0; caller < callers; ++caller) {
    files.push_back(std::make_unique<Fd>(root_ + "/large", O_RDONLY));
    if (!files.back()->ok()) return Errno("open");
    random.emplace_back(static_cast<uint64_t>(caller) + 1);
  }
  return Timed(callers, [&](int caller, uint64_t) -> Status {
    char buffer[kSmall];
    const auto c = static_cast<size_t>(caller);
    const auto offset = static_cast<off_t>(random[c].Uniform(slots) * kSmall);
    return pread(files[c]->get(), buffer, kSmall, offset) == kSmall ? Status::Ok() : Errno("pread");
  });
}

Result<FsResult> FsWorkload::WriteRandomly(bool sync) {
  Fd file(root_ + "/large", O_WRONLY);
  if (!file.ok()) return Errno("open");
  const uint64_t slots = o_.file_bytes / kSmall;
  Random random(7);
  const std::string data(kSmall, 'r');
  const int64_t begin = SystemClock().BootNs();
  uint64_t calls = 0;
  Result<FsResult> result = Timed(1, [&](int, uint64_t) -> Status {
    ++calls;
    const auto offset = static_cast<off_t>(random.Uniform(slots) * kSmall);
    if (pwrite(file.get(), data.data(), kSmall, offset) != kSmall) return Errno("pwrite");
    return !sync || fdatasync(file.get()) == 0 ? Status::Ok() : Errno("fdatasync");
  });
  if (fsync(file.get()) != 0) return Errno("fsync");
  // What was not yet on the disk when the time was over is part of the price.
  if (result && !sync) result->rate = static_cast<double>(calls) / Seconds(begin);
  return result;
}

// ---- Many files

Result<FsResult> FsWorkload::Create() {
  return Timed(o_.callers, [&](int caller, uint64_t n) -> Status {
    Fd file(Name(caller, "f", n), O_WRONLY | O_CREAT | O_EXCL);
    if (!file.ok()) return Errno("create");
    created_[static_cast<size_t>(caller)] = n + 1;
    return Status::Ok();
  });
}

Result<FsResult> FsWorkload::Stat(bool cold) {
  if (cold) {
    DFS_RETURN_IF_ERROR(DropCaches());
    // Each name once.
    const uint64_t least = *std::min_element(created_.begin(), created_.end());
    return Timed(
        o_.callers,
        [&](int caller, uint64_t n) -> Status {
          struct stat st {};
          return stat(Name(caller, "f", n).c_str(), &st) == 0 ? Status::Ok() : Errno("stat");
        },
        least);
  }
  return Timed(o_.callers, [&](int caller, uint64_t n) -> Status {
    struct stat st {};
    const uint64_t few = std::min<uint64_t>(created_[static_cast<size_t>(caller)], 100);
    return stat(Name(caller, "f", n % few).c_str(), &st) == 0 ? Status::Ok() : Errno("stat");
  });
}

Result<FsResult> FsWorkload::ListCold() {
  const std::string directory = root_ + "/listed";
  if (mkdir(directory.c_str(), 0755) != 0) return Errno("mkdir");
  for (int i = 0; i < o_.entries; ++i) {
    Fd file(fmt::format("{}/entry{}", directory, i), O_WRONLY | O_CREAT);
    if (!file.ok()) return Errno("create");
  }
  uint64_t entries = 0;
  double seconds = 0;
  while (seconds < o_.seconds) {
    DFS_RETURN_IF_ERROR(DropCaches());
    const int64_t begin = SystemClock().BootNs();
    DIR* dir = opendir(directory.c_str());
    if (dir == nullptr) return Errno("opendir");
    while (const dirent* entry = readdir(dir)) {
      struct stat st {};
      if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) return Errno("stat");
      ++entries;
    }
    closedir(dir);
    seconds += Seconds(begin);
  }
  return FsResult{.rate = static_cast<double>(entries) / seconds};
}

Result<FsResult> FsWorkload::Rename() {
  return Timed(o_.callers, [&](int caller, uint64_t n) -> Status {
    const uint64_t count = created_[static_cast<size_t>(caller)];
    const bool there = n / count % 2 == 0;
    const std::string a = Name(caller, "f", n % count);
    const std::string b = Name(caller, "g", n % count);
    return rename((there ? a : b).c_str(), (there ? b : a).c_str()) == 0 ? Status::Ok()
                                                                         : Errno("rename");
  });
}

Result<FsResult> FsWorkload::Unlink() {
  const uint64_t least = *std::min_element(created_.begin(), created_.end());
  return Timed(
      o_.callers,
      [&](int caller, uint64_t n) -> Status {
        // Rename has left it under one of two names.
        if (unlink(Name(caller, "f", n).c_str()) == 0) return Status::Ok();
        return unlink(Name(caller, "g", n).c_str()) == 0 ? Status::Ok() : Errno("unlink");
      },
      least);
}

Result<FsResult> FsWorkload::WriteSmall() {
  const std::string data(kSmall, 's');
  return Timed(o_.callers, [&](int caller, uint64_t n) -> Status {
    Fd file(Name(caller, "s", n), O_WRONLY | O_CREAT | O_EXCL);
    if (!file.ok()) return Errno("create");
    if (write(file.get(), data.data(), kSmall) != kSmall) return Errno("write");
    if (file.Close() != 0) return Errno("close");
    small_[static_cast<size_t>(caller)] = n + 1;
    return Status::Ok();
  });
}

Result<FsResult> FsWorkload::ReadSmall() {
  DFS_RETURN_IF_ERROR(DropCaches());
  const uint64_t least = *std::min_element(small_.begin(), small_.end());
  return Timed(
      o_.callers,
      [&](int caller, uint64_t n) -> Status {
        char buffer[kSmall];
        Fd file(Name(caller, "s", n), O_RDONLY);
        if (!file.ok()) return Errno("open");
        return read(file.get(), buffer, kSmall) == kSmall ? Status::Ok() : Errno("read");
      },
      least);
}

// ---- Programs

Result<FsResult> FsWorkload::Untar() {
  const int64_t begin = SystemClock().BootNs();
  while (Seconds(begin) < o_.seconds) {
    const std::string to = fmt::format("{}/tree{}", root_, trees_++);
    if (mkdir(to.c_str(), 0755) != 0) return Errno("mkdir");
    DFS_RETURN_IF_ERROR(Run(fmt::format("tar -C {} -xf {}", Quoted(to), Quoted(archive_))));
  }
  return FsResult{.rate = static_cast<double>(trees_ * tree_files_) / Seconds(begin)};
}

Result<FsResult> FsWorkload::GitStatus() {
  const std::string tree = root_ + "/tree0";
  const std::string git = fmt::format("git -C {} -c user.name=x -c user.email=x@x", Quoted(tree));
  DFS_RETURN_IF_ERROR(Run(git + " init -q"));
  DFS_RETURN_IF_ERROR(Run(git + " add -A"));
  DFS_RETURN_IF_ERROR(Run(git + " commit -q --allow-empty -m x"));
  uint64_t rounds = 0;
  double seconds = 0;
  while (seconds < o_.seconds) {
    DFS_RETURN_IF_ERROR(DropCaches());
    const int64_t begin = SystemClock().BootNs();
    DFS_RETURN_IF_ERROR(Run(git + " status --porcelain > /dev/null"));
    seconds += Seconds(begin);
    ++rounds;
  }
  return FsResult{.rate = static_cast<double>(rounds * tree_files_) / seconds};
}

Result<FsResult> FsWorkload::RemoveTrees() {
  const int64_t begin = SystemClock().BootNs();
  DFS_RETURN_IF_ERROR(Run(fmt::format("rm -rf {}/tree*", Quoted(root_))));
  return FsResult{.rate = static_cast<double>(trees_ * tree_files_) / Seconds(begin)};
}

std::vector<FsRow> FsWorkload::Rows() {
  const std::string many = fmt::format(", {} callers", o_.callers);
  std::vector<FsRow> rows = {
      {"write in sequence, then fsync", "MiB/s", [this] { return WriteSequentially(); }},
      {"read in sequence, cold", "MiB/s", [this] { return ReadSequentially(true); }},
      {"read in sequence, warm", "MiB/s", [this] { return ReadSequentially(false); }},
      {"random 4 KiB reads, cold, 1 caller", "calls/s", [this] { return ReadRandomly(1); }},
      {"random 4 KiB reads, cold" + many, "calls/s", [this] { return ReadRandomly(o_.callers); }},
      {"random 4 KiB writes, 1 caller", "calls/s", [this] { return WriteRandomly(false); }},
      {"4 KiB write and fdatasync, 1 caller", "calls/s", [this] { return WriteRandomly(true); }},
      {"create" + many, "calls/s", [this] { return Create(); }},
      {"stat, cached" + many, "calls/s", [this] { return Stat(false); }},
      {"stat, cold" + many, "calls/s", [this] { return Stat(true); }},
      {fmt::format("ls -l of {} entries, cold", o_.entries), "entries/s",
       [this] { return ListCold(); }},
      {"rename" + many, "calls/s", [this] { return Rename(); }},
      {"unlink" + many, "calls/s", [this] { return Unlink(); }},
      {"write files of 4 KiB" + many, "files/s", [this] { return WriteSmall(); }},
      {"read files of 4 KiB, cold" + many, "files/s", [this] { return ReadSmall(); }},
  };
  if (!o_.tree.empty()) {
    rows.push_back({"tar x of a source tree", "files/s", [this] { return Untar(); }});
    rows.push_back({"git status of it, cold", "files/s", [this] { return GitStatus(); }});
    rows.push_back({"rm -r of it", "files/s", [this] { return RemoveTrees(); }});
  }
  return rows;
}

}  // namespace dfs::bench
