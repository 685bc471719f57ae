#include "tests/crash/fault_fs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

namespace dfs::nn {

namespace fs = std::filesystem;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

namespace {

uint64_t InodeOf(const std::string& path) {
  struct stat st;
  return stat(path.c_str(), &st) == 0 ? st.st_ino : 0;
}

std::string Clean(const std::string& path) {
  std::string clean = fs::path(path).lexically_normal();
  while (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

}  // namespace

class FaultWritableFile final : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FaultWritableFile(FaultFileSystem* fs, uint64_t inode, uint64_t size,
                    std::unique_ptr<rocksdb::FSWritableFile> target)
      : FSWritableFileOwnerWrapper(std::move(target)), fs_(fs), inode_(inode), size_(size) {}

  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* dbg) override {
    if (IOStatus s = fs_->Step(); !s.ok()) return s;
    IOStatus s = FSWritableFileOwnerWrapper::Append(data, options, dbg);
    if (s.ok()) fs_->Wrote(inode_, size_ += data.size());
    return s;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* dbg) override {
    return Append(data, options, dbg);
  }
  IOStatus Truncate(uint64_t size, const IOOptions& options, IODebugContext* dbg) override {
    // Only ever to the size that was written, to give preallocated space back.
    return FSWritableFileOwnerWrapper::Truncate(size, options, dbg);
  }
  IOStatus Flush(const IOOptions& options, IODebugContext* dbg) override {
    return FSWritableFileOwnerWrapper::Flush(options, dbg);
  }
  IOStatus Sync(const IOOptions&, IODebugContext*) override {
    if (IOStatus s = fs_->Step(); !s.ok()) return s;
    fs_->Synced(inode_);  // the model's; the real disk needs none
    return IOStatus::OK();
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* dbg) override {
    return Sync(options, dbg);
  }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();  // promises nothing
  }

 private:
  FaultFileSystem* fs_;
  uint64_t inode_;
  uint64_t size_;
};

class FaultDirectory final : public rocksdb::FSDirectory {
 public:
  FaultDirectory(FaultFileSystem* fs, std::string path) : fs_(fs), path_(std::move(path)) {}
  IOStatus Fsync(const IOOptions&, IODebugContext*) override {
    if (IOStatus s = fs_->Step(); !s.ok()) return s;
    fs_->SyncNames(path_);
    return IOStatus::OK();
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* dbg,
                               const rocksdb::DirFsyncOptions&) override {
    return Fsync(options, dbg);
  }

 private:
  FaultFileSystem* fs_;
  std::string path_;
};

FaultFileSystem::FaultFileSystem(std::string root, std::string graveyard)
    : FileSystemWrapper(rocksdb::FileSystem::Default()),
      root_(Clean(root)),
      graveyard_(std::move(graveyard)) {
  fs::create_directories(graveyard_);
}

void FaultFileSystem::CutAfter(uint64_t operations) {
  std::lock_guard lock(mutex_);
  cut_after_ = operations_ + operations;
}

bool FaultFileSystem::off() const {
  std::lock_guard lock(mutex_);
  return operations_ >= cut_after_;
}

uint64_t FaultFileSystem::operations() const {
  std::lock_guard lock(mutex_);
  return operations_;
}

IOStatus FaultFileSystem::Step() {
  std::lock_guard lock(mutex_);
  if (operations_ >= cut_after_) return IOStatus::IOError("the power is off");
  ++operations_;
  return IOStatus::OK();
}

void FaultFileSystem::Note(Change change) {
  change.path = Clean(change.path);
  if (!change.path.starts_with(root_)) return;
  std::lock_guard lock(mutex_);
  changes_.push_back(std::move(change));
}

std::string FaultFileSystem::Bury(const std::string& path) {
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return "";
  std::string backup = graveyard_ + "/" + std::to_string(++buried_);
  fs::create_hard_link(path, backup);
  return backup;
}

void FaultFileSystem::Wrote(uint64_t inode, uint64_t size) {
  std::lock_guard lock(mutex_);
  bytes_[inode].size = size;
}

void FaultFileSystem::Synced(uint64_t inode) {
  std::lock_guard lock(mutex_);
  bytes_[inode].synced = bytes_[inode].size;
}

void FaultFileSystem::SyncNames(const std::string& directory) {
  std::lock_guard lock(mutex_);
  std::string parent = Clean(directory);
  std::vector<Change> left;
  for (Change& change : changes_) {
    if (fs::path(change.path).parent_path() != parent) {
      left.push_back(std::move(change));
      continue;
    }
    if (!change.backup.empty()) fs::remove(change.backup);
    // A directory that is gone for good takes along what was still to be undone inside it; another
    // one may have its name now.
    if (change.kind != Change::kDirectoryRemoved && change.kind != Change::kRenamed) continue;
    std::string gone = (change.kind == Change::kRenamed ? Clean(change.other) : change.path) + "/";
    std::erase_if(left, [&](const Change& inside) { return inside.path.starts_with(gone); });
  }
  changes_ = std::move(left);
}

void FaultFileSystem::Undo(const Change& change) {
  std::error_code ec;
  switch (change.kind) {
    case Change::kCreated:
      fs::remove(change.path, ec);
      break;
    case Change::kRemoved:
      fs::rename(change.backup, change.path, ec);
      break;
    case Change::kRenamed:
      fs::rename(change.path, change.other, ec);
      if (!change.backup.empty()) fs::rename(change.backup, change.path, ec);
      break;
    case Change::kDirectoryCreated:
      fs::remove_all(change.path, ec);
      break;
    case Change::kDirectoryRemoved:
      fs::create_directory(change.path, ec);
      break;
  }
}

void FaultFileSystem::Crash(Random& random) {
  std::lock_guard lock(mutex_);
  // A journal's order: the last changes are lost, as many as chance has it.
  size_t kept = random.OneIn(3) ? 0 : random.Uniform(changes_.size() + 1);
  while (changes_.size() > kept) {
    Undo(changes_.back());
    changes_.pop_back();
    ++losses_.names;
  }
  changes_.clear();
  for (const auto& entry : fs::recursive_directory_iterator(root_)) {
    if (!entry.is_regular_file()) continue;
    std::string path = entry.path();
    auto it = bytes_.find(InodeOf(path));
    if (it == bytes_.end()) continue;
    uint64_t size = fs::file_size(path);
    uint64_t lost = size > it->second.synced ? size - it->second.synced : 0;
    if (lost == 0) continue;
    uint64_t left = it->second.synced + (random.OneIn(2) ? 0 : random.Uniform(lost + 1));
    losses_.bytes += size - left;
    fs::resize_file(path, left);
  }
  bytes_.clear();
  for (const auto& entry : fs::directory_iterator(graveyard_)) fs::remove(entry);
  cut_after_ = ~uint64_t{0};
}

IOStatus FaultFileSystem::Wrap(const std::string& path, bool existed,
                               std::unique_ptr<rocksdb::FSWritableFile>* result) {
  if (!Clean(path).starts_with(root_)) return IOStatus::OK();
  if (!existed) Note({Change::kCreated, path, "", ""});
  uint64_t inode = InodeOf(path);
  uint64_t size = fs::file_size(path);
  {
    std::lock_guard lock(mutex_);
    // A reused inode number is another file; what a reopened file had is durable already.
    bytes_[inode] = {size, size};
  }
  *result = std::make_unique<FaultWritableFile>(this, inode, size, std::move(*result));
  return IOStatus::OK();
}

IOStatus FaultFileSystem::NewWritableFile(const std::string& path,
                                          const rocksdb::FileOptions& options,
                                          std::unique_ptr<rocksdb::FSWritableFile>* result,
                                          IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  bool existed = fs::exists(path);
  if (existed) {  // truncated: the old content comes back unless the directory is synced
    std::string backup = Bury(path);
    fs::remove(path);
    Note({Change::kRemoved, path, "", backup});
    existed = false;
  }
  IOStatus s = FileSystemWrapper::NewWritableFile(path, options, result, dbg);
  return s.ok() ? Wrap(path, existed, result) : s;
}

IOStatus FaultFileSystem::ReopenWritableFile(const std::string& path,
                                             const rocksdb::FileOptions& options,
                                             std::unique_ptr<rocksdb::FSWritableFile>* result,
                                             IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  bool existed = fs::exists(path);
  IOStatus s = FileSystemWrapper::ReopenWritableFile(path, options, result, dbg);
  return s.ok() ? Wrap(path, existed, result) : s;
}

IOStatus FaultFileSystem::ReuseWritableFile(const std::string&, const std::string&,
                                            const rocksdb::FileOptions&,
                                            std::unique_ptr<rocksdb::FSWritableFile>*,
                                            IODebugContext*) {
  return IOStatus::NotSupported("only for recycled WAL files, which are not used");
}

IOStatus FaultFileSystem::NewDirectory(const std::string& path, const IOOptions&,
                                       std::unique_ptr<rocksdb::FSDirectory>* result,
                                       IODebugContext*) {
  if (!fs::is_directory(path)) return IOStatus::PathNotFound(path);
  *result = std::make_unique<FaultDirectory>(this, path);
  return IOStatus::OK();
}

IOStatus FaultFileSystem::DeleteFile(const std::string& path, const IOOptions& options,
                                     IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  std::string backup = Bury(path);
  IOStatus s = FileSystemWrapper::DeleteFile(path, options, dbg);
  if (s.ok()) Note({Change::kRemoved, path, "", backup});
  return s;
}

IOStatus FaultFileSystem::CreateDir(const std::string& path, const IOOptions& options,
                                    IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  IOStatus s = FileSystemWrapper::CreateDir(path, options, dbg);
  if (s.ok()) Note({Change::kDirectoryCreated, path, "", ""});
  return s;
}

IOStatus FaultFileSystem::CreateDirIfMissing(const std::string& path, const IOOptions& options,
                                             IODebugContext* dbg) {
  return fs::is_directory(path) ? IOStatus::OK() : CreateDir(path, options, dbg);
}

IOStatus FaultFileSystem::DeleteDir(const std::string& path, const IOOptions& options,
                                    IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  IOStatus s = FileSystemWrapper::DeleteDir(path, options, dbg);
  if (s.ok()) Note({Change::kDirectoryRemoved, path, "", ""});
  return s;
}

IOStatus FaultFileSystem::RenameFile(const std::string& from, const std::string& to,
                                     const IOOptions& options, IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  std::string backup = Bury(to);
  IOStatus s = FileSystemWrapper::RenameFile(from, to, options, dbg);
  if (s.ok()) Note({Change::kRenamed, to, from, backup});
  return s;
}

IOStatus FaultFileSystem::LinkFile(const std::string& from, const std::string& to,
                                   const IOOptions& options, IODebugContext* dbg) {
  if (IOStatus s = Step(); !s.ok()) return s;
  IOStatus s = FileSystemWrapper::LinkFile(from, to, options, dbg);
  if (s.ok()) Note({Change::kCreated, to, "", ""});
  return s;
}

}  // namespace dfs::nn
