// KernelModel: the kernel of a mount, as far as it caches: Linux' FUSE with the options that kernel.cc asks for, on a real
// FileSystem. It runs on a node of its own, so that it goes on when the daemon is stopped; what the daemon tells it
// (KernelCache) takes effect at once.
//
//  * Names: dentries with an expiry and an epoch, absent ones too; what is looked up takes the epoch from before the question,
//    what READDIRPLUS brings that from after the answer. A rename moves the dentry with what it was allowed.
//  * Attributes: an expiry, and a version against answers that an invalidation overtook. SETATTR and LINK heed none.
//  * Pages of 4 KiB: dropped when attributes come with another size or modification time (AUTO_INVAL_DATA), and at open
//    without keep_cache. SETATTR drops them for another size only.
//  * Locks: a directory's is held by changes alone and by lookups together; a file's by writes and SETATTR; a page's by READ and
//    by WRITE to a part of it.
//
// Kinder than Linux: an inode that is new has a version, too (docs/leases.md, "What is left"), and whoever waits for the lock of a
// page that is being dropped reads it anew. Owned by shared_ptr: everything under way holds it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "dfs_types.h"
#include "fuse/file_system.h"
#include "tests/sim/scheduler.h"

namespace dfs::sim {

class KernelModel final : public fuse::KernelCache,
                          public std::enable_shared_from_this<KernelModel> {
 public:
  template <class T>
  using Done = std::function<void(Result<T>)>;
  using StatusDone = std::function<void(Status)>;
  using Path = std::vector<std::string>;
  struct OpenFile {
    uint64_t inode = 0;
    fuse::Descriptor* descriptor = nullptr;
  };
  using OpenPtr = std::shared_ptr<OpenFile>;
  struct OpenHow {
    bool create = false;
    bool exclusive = false;
    bool truncate = false;
  };

  KernelModel(SimNode& kernel, SimNode& daemon, fuse::FileSystem& files, Random random);
  /// The daemon is gone, or the mount: nothing is answered any more.
  void Kill() { dead_ = true; }

  // ---- KernelCache
  bool ForgetsNames() const override { return true; }
  void ForgetNames() override { ++epoch_; }
  void ForgetAttributes(uint64_t inode) override;

  // ---- What programs call, on the kernel's node. Paths begin at the root.
  /// inode 0 in the answer: the name leads there and then, but the inode was gone.
  void Stat(const Path& path, Done<idl::Attr> done);
  void Open(const Path& path, OpenHow how, Done<OpenPtr> done);
  void Read(const OpenPtr& file, uint64_t offset, size_t size, Done<std::string> done);
  void Write(const OpenPtr& file, uint64_t offset, std::string data, StatusDone done);
  void Sync(const OpenPtr& file, StatusDone done);
  void Close(const OpenPtr& file, StatusDone done);
  void SetAttr(const Path& path, const fuse::AttrChange& change, Done<idl::Attr> done);
  void SetAttrOf(uint64_t inode, const fuse::AttrChange& change, Done<idl::Attr> done);
  void Unlink(const Path& path, bool directory, StatusDone done);
  void Mkdir(const Path& path, Done<uint64_t> done);
  /// false: both names lead to the same inode, and nothing is done.
  void Rename(const Path& from, const Path& to, Done<bool> done);
  void Link(const Path& existing, const Path& path, Done<uint64_t> done);
  void List(const Path& path, Done<std::map<std::string, uint64_t>> done);

  /// Answers about the file that came while its size was being changed here, and so were not heeded.
  uint64_t IgnoredAnswers(uint64_t inode) { return inodes_[inode].ignored; }
  uint64_t hits() const { return hits_; }

 private:
  using Held = std::shared_ptr<void>;
  struct Lock {
    int shared = 0;
    bool exclusive = false;
    std::deque<std::pair<bool, std::function<void()>>> waiting;
  };
  struct Dentry {
    uint64_t inode = 0;  // 0: there is no such name
    int64_t expires = -1;
    uint64_t epoch = 0;
  };
  struct Page {
    std::string bytes;
    bool good = false;
    bool locked = false;
    bool drop = false;  // when it is unlocked
    std::vector<std::function<void()>> waiting;
  };
  struct Inode {
    bool known = false;
    idl::Attr attr;
    int64_t expires = -1;
    bool stale = true;
    bool atime_stale = false;
    bool size_unstable = false;
    uint64_t write_version = 0;  // as of the last write or truncation by this mount
    uint64_t ignored = 0;        // answers, because of either
    uint64_t version = 0;
    std::map<uint64_t, Page> pages;
  };
  struct Entry {
    Status status;
    idl::Attr attr;
    int64_t attr_ns = 0;
    int64_t name_ns = 0;
  };
  struct Place {
    uint64_t parent = 0;
    std::string name;
  };
  using NameKey = std::pair<uint64_t, std::string>;
  using AskAttr = std::function<void(fuse::FileSystem&, fuse::FileSystem::AttrDone)>;
  using AskStatus = std::function<void(fuse::FileSystem&, fuse::FileSystem::StatusDone)>;

  int64_t Now() const { return kernel_.scheduler().now_ns(); }
  void ToDaemon(std::function<void()> task);
  void ToKernel(std::function<void()> task);
  void Soon(std::function<void()> task);
  void AskForEntry(uint64_t parent, const std::string& name, AskAttr ask,
                   std::function<void(Entry)> done);
  void AskForStatus(AskStatus ask, StatusDone done);
  void Acquire(uint64_t inode, bool exclusive, std::function<void(Held)> go);
  void Release(uint64_t inode, bool exclusive);
  void Grant(Lock& lock);

  // ---- Attributes
  void ChangeAttributes(const idl::Attr& attr, int64_t keep_ns, uint64_t version);
  void TakeAttributes(Inode& inode, const idl::Attr& attr, int64_t keep_ns);
  void GetAttr(uint64_t inode, bool size_only, Done<idl::Attr> done);
  void Invalidate(uint64_t inode) { inodes_[inode].stale = true; }
  /// Only what read() does not ask for.
  void InvalidateTimes(uint64_t inode) { inodes_[inode].atime_stale = true; }

  // ---- Names
  void Walk(const Path& path, Done<Place> done);
  void WalkFrom(uint64_t directory, Path rest, Done<Place> done);
  void Lookup(uint64_t parent, const std::string& name, bool force, bool locked,
              Done<uint64_t> done);
  void Revalidate(uint64_t parent, const std::string& name, bool locked, Done<uint64_t> done);
  void LookupAnew(uint64_t parent, const std::string& name, bool locked, Done<uint64_t> done);
  void Instantiate(uint64_t parent, const std::string& name, const Entry& entry, uint64_t epoch,
                   uint64_t version);
  void RenameLocked(const Place& from, const Place& to, const Held& held, Done<bool> done);
  void LinkEntry(uint64_t parent, const idl::DirectoryEntry& entry, int64_t attr_ns,
                 int64_t name_ns, uint64_t version);

  // ---- Files
  void OpenInode(uint64_t inode, OpenHow how, Done<OpenPtr> done);
  void Create(const Place& place, OpenHow how, const Held& held, Done<OpenPtr> done);
  void ReadPages(const OpenPtr& file, uint64_t at, uint64_t end, std::string so_far,
                 Done<std::string> done);
  void FetchPage(const OpenPtr& file, uint64_t number, StatusDone done);
  void WritePage(const OpenPtr& file, uint64_t offset, const std::string& data, const Held& held,
                 StatusDone done);
  void LockPage(uint64_t inode, uint64_t number, std::function<void()> go);
  void UnlockPage(uint64_t inode, uint64_t number);
  void DropPages(Inode& inode, uint64_t from = 0);

  SimNode& kernel_;
  SimNode& daemon_;
  fuse::FileSystem& files_;
  Random random_;
  bool dead_ = false;
  uint64_t epoch_ = 1;
  uint64_t attr_version_ = 1;
  uint64_t hits_ = 0;
  std::map<NameKey, Dentry> dentries_;
  std::map<NameKey, std::vector<std::function<void()>>> in_lookup_;
  std::map<uint64_t, Inode> inodes_;
  std::map<uint64_t, Lock> locks_;
};

}  // namespace dfs::sim
