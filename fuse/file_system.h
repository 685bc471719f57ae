// FileSystem: what a mount does for the kernel, in the client's own terms: inodes and names, descriptors, the caller's
// credentials. It knows nothing of FUSE; kernel.cc translates. Asynchronous and confined to the core's executor: every
// function calls done exactly once, some within the call.
//
// Answers come from the leader, or from what this session holds leases on (docs/leases.md); the kernel is told how long it
// may keep each.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/client/core/client_core.h"
#include "common/client/core/leases.h"
#include "common/idl/idl_fwd.h"
#include "fuse/kernel_cache.h"
#include "fuse/lease_cache.h"
#include "fuse/open_file.h"

namespace dfs::fuse {

struct Caller {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
};

struct AttrChange {
  uint32_t mask = 0;  // as SetAttrRequest.mask
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;
  int64_t atime_ns = 0;
  int64_t mtime_ns = 0;
};

/// An open file descriptor of the kernel's.
struct Descriptor {
  std::shared_ptr<OpenFile> file;
  bool readable = false;
  bool writable = false;
  bool append = false;
  uint64_t errors_seen = 0;
};

/// An open directory, and the page of it that is being handed out.
struct DirectoryStream {
  DirectoryStream(uint64_t of, Caller who);
  ~DirectoryStream();

  const uint64_t inode;
  const Caller caller;
  std::unique_ptr<idl::ListDirectoryReply> page;  // null before the first Fill
  size_t next = 0;                                // of page->entries
  uint64_t next_cookie = 0;                       // of the entry before that; 0: none
};

/// The inode of a directory by its path; kNotDirectory when it is something else.
void FindDirectory(client::ClientCore& core, const std::string& path, int64_t deadline_ns,
                   client::Done<uint64_t> done);

struct FileSystemOptions {
  uint64_t root = 1;         // the inode of the directory that is mounted
  uint32_t replication = 0;  // of new files; 0: the cluster's default
  bool leases = true;        // otherwise nothing is cached
  size_t max_leases = 100'000;
  size_t max_names = 400'000;
};

class FileSystem : private client::LeaseHolder, private WriteGate {
 public:
  using AttrDone = client::Done<idl::Attr>;
  using StatusDone = client::StatusDone;

  FileSystem(std::shared_ptr<client::ClientCore> core, FileSystemOptions options);
  ~FileSystem() override;

  uint64_t root() const { return options_.root; }
  client::FileLocks& locks() { return core_->locks(); }

  // ---- What the kernel may keep of an answer that is given now. In nanoseconds; 0: nothing.
  /// Null: there is none (any more).
  void SetKernelCache(KernelCache* kernel) { kernel_ = kernel; }
  /// asked: forgotten() when the kernel asked.
  int64_t KeepAttrNs(uint64_t inode, uint64_t asked = UINT64_MAX);
  uint64_t forgotten() const { return forgotten_; }
  /// That the name leads there (LeaseCache::kAbsent: nowhere).
  int64_t KeepNameNs(uint64_t parent, const std::string& name, uint64_t inode);
  /// It is given a directory's entries with what they are.
  void NamesListed() { names_listed_ns_ = core_->Now(); }
  /// Whether the pages that it has of the file may stay when it is opened.
  bool KeepPages(uint64_t inode);

  // ---- Names. name is one component; parent and inode are the kernel's node ids, which are the inodes' own.
  void Lookup(const Caller& who, uint64_t parent, std::string name, AttrDone done);
  void GetAttr(const Caller& who, uint64_t inode, AttrDone done);
  void SetAttr(const Caller& who, uint64_t inode, const AttrChange& change, AttrDone done);
  void ReadLink(const Caller& who, uint64_t inode, client::Done<std::string> done);
  void Mkdir(const Caller& who, uint64_t parent, std::string name, uint32_t mode, AttrDone done);
  /// mode with the type, as mknod(2).
  void Mknod(const Caller& who, uint64_t parent, std::string name, uint32_t mode, uint64_t rdev,
             AttrDone done);
  void Symlink(const Caller& who, uint64_t parent, std::string name, std::string target,
               AttrDone done);
  void Link(const Caller& who, uint64_t inode, uint64_t parent, std::string name, AttrDone done);
  void Unlink(const Caller& who, uint64_t parent, std::string name, StatusDone done);
  void Rmdir(const Caller& who, uint64_t parent, std::string name, StatusDone done);
  /// flags as renameat2: 1 NOREPLACE, 2 EXCHANGE.
  void Rename(const Caller& who, uint64_t parent, std::string name, uint64_t new_parent,
              std::string new_name, uint32_t flags, StatusDone done);

  // ---- Files. flags as open(2). A descriptor is valid until Release.
  using OpenDone = UniqueFunction<void(Result<Descriptor*>, const idl::Attr*)>;
  void Open(const Caller& who, uint64_t inode, int flags, OpenDone done);
  void Create(const Caller& who, uint64_t parent, std::string name, uint32_t mode, int flags,
              OpenDone done);
  void Read(Descriptor* descriptor, uint64_t offset, size_t size, client::Done<Buffer> done);
  void Write(Descriptor* descriptor, uint64_t offset, Buffer data, StatusDone done);
  /// At each close(2): others that open the file now see what was written.
  void Flush(Descriptor* descriptor, StatusDone done);
  void Sync(Descriptor* descriptor, StatusDone done);
  void Release(Descriptor* descriptor);

  // ---- Directories
  DirectoryStream* OpenDirectory(const Caller& who, uint64_t inode);
  /// Afterwards page->entries[next...] are what follows the cookie; none: the end.
  void Fill(DirectoryStream* stream, uint64_t cookie, StatusDone done);
  void ReleaseDirectory(DirectoryStream* stream);

  // ---- The rest
  void StatFs(client::Done<idl::StatFsReply> done);
  void GetXattr(const Caller& who, uint64_t inode, std::string name,
                client::Done<std::string> done);
  void ListXattrs(const Caller& who, uint64_t inode, client::Done<std::vector<std::string>> done);
  /// flags as setxattr(2).
  void SetXattr(const Caller& who, uint64_t inode, std::string name, std::string value, int flags,
                StatusDone done);
  void RemoveXattr(const Caller& who, uint64_t inode, std::string name, StatusDone done);

  /// Flushes everything that was written; for the end of the mount.
  void FlushAll(StatusDone done);

 private:
  std::shared_ptr<OpenFile> FileOf(uint64_t inode, uint64_t block_size);
  Descriptor* NewDescriptor(const idl::Attr& attr, int flags);
  idl::Attr Seen(idl::Attr attr) const;
  AttrDone WithOverlay(AttrDone done);
  void Change(const Caller& who, uint64_t inode, const AttrChange& change, AttrDone done);
  /// A change of the mode that the namenode refused: the kernel's own, when it does no more than that.
  void DropPrivileges(const Caller& who, uint64_t inode, AttrChange change, AttrDone done);
  void SendSetAttr(const Caller& who, uint64_t inode, const AttrChange& change, AttrDone done);
  void SendWhenFree(const Caller& who, const idl::SetAttrRequest& request, int64_t poll_ns,
                    int64_t deadline_ns, AttrDone done);

  // ---- Leases (file_system_leases.cc)
  bool Serving() const;
  /// Answers from what is known under leases, if it can.
  bool Answer(uint64_t parent, const std::string& name, AttrDone* done);
  /// What came with an answer that was asked for when `recalls_` was `asked`.
  void Learn(const idl::Attr& attr, int64_t lease_term, uint64_t asked);
  void LearnName(uint64_t parent, const std::string& name, uint64_t inode, int64_t lease_term,
                 uint64_t asked);
  /// Those whose names a change of this mount's own has changed.
  void LearnDirectories(const std::vector<idl::Attr>& directories, int64_t term, uint64_t asked);
  /// A change of this mount's own has made the name lead there.
  void Changed(uint64_t parent, const std::string& name, uint64_t inode, uint64_t asked);
  /// A change of this mount's own whose outcome for the name is not known.
  void ForgetName(uint64_t parent, const std::string& name);
  void ForgetInKernel(uint64_t inode, Task done);
  void ForgetNamesInKernel(Task done);
  void PruneKernelAttrs();
  /// The kernel was told names, and may go on with them to the end of the term, that are not known here any more.
  void KernelMayKeepNames();
  /// With the attributes of both ends.
  void ForgetNameAndInode(uint64_t parent, const std::string& name);
  /// What is known after a change of this mount's own; then done.
  UniqueFunction<void(Result<idl::AttrReply>)> Made(uint64_t parent, std::string name,
                                                    AttrDone done);
  UniqueFunction<void(Result<idl::NamesReply>)> Removed(uint64_t parent, std::string name,
                                                        StatusDone done);
  /// moved: it has taken place, and was no exchange.
  void Renamed(uint64_t parent, const std::string& name, uint64_t new_parent,
               const std::string& new_name, bool moved, uint64_t asked);
  StatusDone Forgetting(uint64_t inode, StatusDone done);
  /// For requests whose answers may be kept; 0: none may.
  int64_t LeaseSession();
  void ForgetAttr(uint64_t inode) { cache_.DropAttr(inode); }
  void ReturnEvicted();
  void OnRecall(const idl::RecallRequest& recalls, Task done) override;
  void OnTermEnded() override;
  void ListHeld(std::vector<int64_t>* read, std::vector<int64_t>* write) const override;
  // WriteGate
  bool MayWrite(uint64_t inode) const override;
  bool HoldsWrite(uint64_t inode) const override;
  void AskToWrite(uint64_t inode, StatusDone done) override;
  void OnTold(uint64_t inode) override;
  void SendAcquire(uint64_t inode);
  void Acquired(uint64_t inode, Status status);
  void EndRecall(const std::vector<uint64_t>& inodes);

  /// The error that the descriptor was not told yet.
  static Status Untold(Descriptor* descriptor, Status status);

  const std::shared_ptr<client::ClientCore> core_;
  const FileSystemOptions options_;
  /// What the kernel may have of an inode's attributes.
  struct KernelAttr {
    bool has_pages = false;  // may have
    int64_t given_ns = 0;    // when it was last told
    int64_t until_ns = 0;
    uint64_t forgotten = 0;  // forgotten_ when it was last told to forget them
  };
  LeaseCache cache_;
  std::unordered_map<uint64_t, KernelAttr> kernel_attrs_;
  uint64_t forgotten_ = 0;  // orders to the kernel so far
  KernelCache* kernel_ = nullptr;
  uint64_t recalls_ = 0;                 // so far, and ends of terms
  int64_t kernel_keeps_until_ns_ = 0;    // names that are not in cache_ any more
  int64_t names_listed_ns_ = INT64_MIN / 2;
  std::map<uint64_t, int> recalling_;    // by inode: orders that are not answered yet
  std::map<uint64_t, std::vector<StatusDone>> acquiring_;
  bool ensuring_ = false;       // that there is a session to hold leases
  bool plain_session_ = false;  // the cluster gives no leases
  std::map<uint64_t, std::weak_ptr<OpenFile>> files_;  // by inode
  std::map<Descriptor*, std::unique_ptr<Descriptor>> descriptors_;
  std::map<DirectoryStream*, std::unique_ptr<DirectoryStream>> streams_;
  const std::shared_ptr<WriteGate*> gate_;  // this, as long as it lives
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dfs::fuse
