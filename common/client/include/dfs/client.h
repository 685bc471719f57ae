// libdfs: files of a dfs cluster from C++. Include this header; link dfs::dfs.
//
//   auto fs = dfs::Client::connect({.namenodes = {"127.0.0.1:9700"}});
//   if (!fs) return fail(fs.error().message());
//   if (dfs::Status s = fs->write_file("/hello.txt", "hi\n"); !s) return fail(s.message());
//
// * Nothing throws and nothing is global. Errors are dfs::Status or dfs::Result<T>: code() is exact,
//   posix_errno() is what a POSIX call would set, message() says what failed and why.
// * Calls are retried inside Options::timeout over fail-overs of the namenodes, exactly once. When
//   the time runs out on a change, its outcome is unknown (kTimedOut).
// * A call drives the network on the calling thread. One thread is made, to keep the session alive,
//   once something was changed.
// * After fork() a child's handles answer kClosed; the child connects anew.
//
// | call         | what holds when it returns                                                 |
// |--------------|----------------------------------------------------------------------------|
// | write        | in the library's memory, or further                                        |
// | flush        | in memory of every live replica, length visible to new readers             |
// | sync         | on the disk of every live replica, length visible to new readers           |
// | close        | as sync; as flush without CreateOptions::sync_on_close                     |
// | names, modes | on the disks of a majority of namenodes                                    |
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dfs/status.h>
#include <dfs/types.h>

namespace dfs {
inline namespace v1 {

/// A file open for reading. Move-only. read_at is thread-safe; read and seek belong to one thread
/// at a time. Sees the length the file has when a read asks (at most 3 s old).
class Reader {
 public:
  Reader();  // closed
  ~Reader();
  Reader(Reader&&) noexcept;
  Reader& operator=(Reader&&) noexcept;

  /// Reads at the position and moves it; fills the span unless the file ends. 0: at the end.
  Result<size_t> read(std::span<std::byte> out);
  Result<size_t> read_at(uint64_t offset, std::span<std::byte> out) const;
  void seek(uint64_t offset);
  uint64_t position() const;
  /// As last heard.
  uint64_t size() const;
  /// As of opening.
  const FileStatus& status() const;
  /// Optional; the destructor does the same.
  void close();

  struct Impl;
  explicit Reader(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// A file being written from beginning to end (or appended to). Move-only, for one thread at a
/// time. The destructor without close() abandons: it never blocks and never hides an error. What
/// was flushed or synced by then stays in the file.
class Writer {
 public:
  Writer();  // closed
  ~Writer();
  Writer(Writer&&) noexcept;
  Writer& operator=(Writer&&) noexcept;

  /// The first error is final: every later call returns it.
  Status write(std::span<const std::byte> data);
  Status write(std::string_view data);
  /// hflush: visible to new readers.
  Status flush();
  /// hsync: on the disk of every live replica.
  Status sync();
  /// Ends the file. Reports the first error of any earlier write.
  Status close();
  void abandon();
  uint64_t position() const;
  uint64_t inode() const;

  struct Impl;
  explicit Writer(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// A file open for reading and writing at any offset. Move-only, thread-safe. Writes are in flight
/// together, up to Options::write_buffer_bytes, and reach the replicas in the order of the calls;
/// read_at sees the handle's own writes. The first error of a write is final and reported by every
/// later write, flush, sync and close.
class FileHandle {
 public:
  FileHandle();   // closed
  ~FileHandle();  // abandons what was not flushed
  FileHandle(FileHandle&&) noexcept;
  FileHandle& operator=(FileHandle&&) noexcept;

  Result<size_t> read_at(uint64_t offset, std::span<std::byte> out) const;
  Status write_at(uint64_t offset, std::span<const std::byte> data);
  Status write_at(uint64_t offset, std::string_view data);
  /// At the end of the file as this handle knows it.
  Status append(std::span<const std::byte> data);
  Status append(std::string_view data);
  Status truncate(uint64_t size);
  Status flush();
  Status sync();
  Status close();
  uint64_t size() const;
  const FileStatus& status() const;  ///< as of opening

  struct Impl;
  explicit FileHandle(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// The names of a directory, fetched page by page: constant memory whatever its size. Move-only,
/// for one thread. Names that exist during the whole iteration are returned exactly once.
///
///   for (const dfs::DirEntry& e : *dir) use(e);
///   if (!dir->error()) ...   // an error ends the iteration
class Directory {
 public:
  class Iterator {
   public:
    using iterator_category = std::input_iterator_tag;
    using value_type = DirEntry;
    using difference_type = std::ptrdiff_t;
    using pointer = const DirEntry*;
    using reference = const DirEntry&;
    Iterator() = default;
    explicit Iterator(Directory* directory) : directory_(directory) { ++*this; }
    reference operator*() const { return *entry_; }
    pointer operator->() const { return entry_; }
    Iterator& operator++() {
      entry_ = directory_->next();
      if (entry_ == nullptr) directory_ = nullptr;
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& a, const Iterator& b) {
      return a.directory_ == b.directory_;
    }

   private:
    Directory* directory_ = nullptr;
    const DirEntry* entry_ = nullptr;
  };

  Directory();
  ~Directory();
  Directory(Directory&&) noexcept;
  Directory& operator=(Directory&&) noexcept;

  /// The next entry, valid until the next call; null at the end or on an error.
  const DirEntry* next();
  /// Ok while nothing failed.
  const Status& error() const;
  Iterator begin() { return Iterator(this); }
  Iterator end() { return {}; }

  struct Impl;
  explicit Directory(std::unique_ptr<Impl> impl);

 private:
  std::unique_ptr<Impl> impl_;
};

/// A connection to a cluster. Cheap to copy (copies share), thread-safe.
class Client {
 public:
  /// Reaches one namenode and authenticates; kUnavailable, kUnauthenticated, kWrongCluster,
  /// kInvalidArgument. No session is made before the first change.
  static Result<Client> connect(Options options);

  // ---- Reading the namespace. A final symlink is followed, except by lstat and read_link. ----
  Result<FileStatus> stat(std::string_view path) const;
  Result<FileStatus> lstat(std::string_view path) const;
  /// False also when a parent does not exist.
  Result<bool> exists(std::string_view path) const;
  Result<Directory> list(std::string_view path, ListOptions options = {}) const;
  Result<std::string> read_link(std::string_view path) const;
  /// O(1): files, directories and bytes below path.
  Result<Usage> usage(std::string_view path) const;
  Result<FileSystemStatus> stat_fs() const;
  Result<std::string> get_xattr(std::string_view path, std::string_view name) const;
  Result<std::vector<std::string>> list_xattrs(std::string_view path) const;

  // ---- Changing the namespace ----
  Status mkdir(std::string_view path, uint32_t mode = 0755) const;
  /// As mkdir -p: ok when it exists.
  Status create_directories(std::string_view path, uint32_t mode = 0755) const;
  Status rename(std::string_view from, std::string_view to,
                RenameMode mode = RenameMode::kReplace) const;
  /// A file, symlink or empty directory.
  Status remove(std::string_view path) const;
  Status unlink(std::string_view path) const;
  Status rmdir(std::string_view path) const;
  /// A whole tree, in one atomic step; space is reclaimed in the background. What was removed.
  Result<Usage> remove_all(std::string_view path) const;
  /// Into the caller's trash, /.Trash/UID, in one atomic step, from where a rename brings it back; for good, as
  /// remove_all, where the cluster keeps no trash. A directory only with recursive.
  Result<Removed> move_to_trash(std::string_view path, bool recursive = false) const;
  Status symlink(std::string_view target, std::string_view path) const;
  Status link(std::string_view existing, std::string_view path) const;
  Status chmod(std::string_view path, uint32_t mode) const;
  /// Unset: stays.
  Status chown(std::string_view path, std::optional<uint32_t> uid, std::optional<uint32_t> gid,
               bool follow = true) const;
  Status set_times(std::string_view path, const TimeUpdate& times, bool follow = true) const;
  Status truncate(std::string_view path, uint64_t size) const;
  Status set_replication(std::string_view path, uint32_t replication) const;
  Status set_xattr(std::string_view path, std::string_view name, std::string_view value,
                   XattrMode mode = XattrMode::kAny) const;
  Status remove_xattr(std::string_view path, std::string_view name) const;

  // ---- Files ----
  Result<Reader> open(std::string_view path) const;
  /// kAlreadyExists with CreateOptions::exclusive; kInvalidArgument when neither exclusive nor
  /// overwrite.
  Result<Writer> create(std::string_view path, CreateOptions options = {}) const;
  /// A Writer that begins at the end of an existing file. Waits, up to the time-out (kBusy), while another
  /// client has the end open for writing.
  ///
  /// Within one Client all Writers and FileHandles of a file share one state: each sees at once what any of
  /// them wrote, synced or not, and the same length. Every Writer still writes from its own position.
  /// When writing fails for good (kTimedOut, kIoError, kUnknownSession, ...) all of them fail from then on:
  /// what was acknowledged stays, the namenodes close the file with it within seconds, and a new open
  /// waits for that and goes on from there.
  Result<Writer> append(std::string_view path) const;
  Result<FileHandle> open_rw(std::string_view path, OpenOptions options = {}) const;

  /// The whole file; kFileTooBig above limit.
  Result<std::string> read_file(std::string_view path, uint64_t limit = 1u << 30) const;
  /// Creates or replaces a file with this content; a small one in a single commit.
  Status write_file(std::string_view path, std::string_view content,
                    CreateOptions options = {}) const;
  /// Writes what source gives to a hidden temporary name in the same directory and renames it in
  /// the commit that closes the last block: nobody ever sees half a file under path, and a failure
  /// removes the temporary. Small content is one commit. overwrite false or exclusive:
  /// kAlreadyExists when path exists. Returns the number of bytes.
  Result<uint64_t> write_file_atomically(std::string_view path, const Source& source,
                                         CreateOptions options = {}) const;

  // ---- Placement and health ----
  Result<FileLayout> locate(std::string_view path, uint64_t offset = 0,
                            uint64_t length = UINT64_MAX) const;
  /// For people who ask what is wrong, page by page: what the leader knows of each block from first_slot on, and
  /// what it does about it. Of a directory only what stat says.
  Result<FileExplanation> explain(std::string_view path, uint64_t first_slot = 0) const;
  Status report_bad_replica(uint64_t block, uint64_t stamp, uint64_t datanode,
                            std::string_view why) const;
  /// Of the leader.
  Result<ClusterStatus> cluster_status() const;
  /// The namespace as it is at one log index, while the cluster serves: begin once, then each entry, a directory before
  /// what it holds and further hard links last. In constant memory. For superusers. The leader gives it up when it is
  /// no longer the leader (kNotFound: start again) or is not asked for a minute. An error of the callbacks ends it.
  Status export_namespace(const std::function<Status(const ExportInfo&)>& begin,
                          const std::function<Status(const ExportedEntry&)>& visit) const;
  /// Of every namenode that is configured, that the leader is said to be, or that one of these names
  /// as a member: each asked by itself, at once. The last kind in a second round, each bounded by
  /// per_member.
  std::vector<MemberAnswer> member_status(
      std::chrono::milliseconds per_member = std::chrono::milliseconds(2000)) const;

  // ---- Administration: of root and the user that the namenodes run as ----
  /// Its blocks are copied to other datanodes; ClusterStatus says how far that is.
  Status decommission_datanode(uint64_t datanode) const;
  /// It may go away for so long without its blocks being copied, but for those that are nowhere else.
  Status begin_maintenance(uint64_t datanode, std::chrono::milliseconds duration) const;
  /// Ends either.
  Status recommission_datanode(uint64_t datanode) const;
  /// Excess and outdated replicas that a brake holds back may be deleted.
  Status release_deletions() const;

  /// Ends the session in order (otherwise it expires). Handles made from this client become
  /// unusable.
  void close() const;

  struct Impl;
  explicit Client(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
  const std::shared_ptr<Impl>& impl() const { return impl_; }

 private:
  std::shared_ptr<Impl> impl_;
};

}  // namespace v1
}  // namespace dfs
