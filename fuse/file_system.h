// FileSystem: what a mount does for the kernel, in the client's own terms: inodes and names, descriptors, the caller's
// credentials. It knows nothing of FUSE; kernel.cc translates. Asynchronous and confined to the core's executor: every
// function calls done exactly once, some within the call.
//
// Nothing is cached here but what this mount itself has not sent yet: every answer is the leader's.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/client/core/client_core.h"
#include "common/idl/idl_fwd.h"
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
};

class FileSystem {
 public:
  using AttrDone = client::Done<idl::Attr>;
  using StatusDone = client::StatusDone;

  FileSystem(std::shared_ptr<client::ClientCore> core, FileSystemOptions options);
  ~FileSystem();

  uint64_t root() const { return options_.root; }
  client::FileLocks& locks() { return core_->locks(); }

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
  /// The error that the descriptor was not told yet.
  static Status Untold(Descriptor* descriptor, Status status);

  const std::shared_ptr<client::ClientCore> core_;
  const FileSystemOptions options_;
  std::map<uint64_t, std::weak_ptr<OpenFile>> files_;  // by inode
  std::map<Descriptor*, std::unique_ptr<Descriptor>> descriptors_;
  std::map<DirectoryStream*, std::unique_ptr<DirectoryStream>> streams_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace dfs::fuse
