#include "fuse/kernel_call.h"

#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <vector>

namespace dfs::fuse {
namespace {

/// A call that a signal interrupts is given so long to end by itself: most signals are not there to end it, and what
/// it changes may be on its way.
constexpr int64_t kInterruptGraceNs = 250 * kMillisecond;
/// In FUSE's unit.
double Seconds(int64_t ns) {
  return static_cast<double>(ns) / static_cast<double>(kSecond);
}

timespec ToTimespec(int64_t ns) {
  timespec out;
  out.tv_sec = static_cast<time_t>(ns / kSecond);
  out.tv_nsec = static_cast<long>(ns % kSecond);
  if (out.tv_nsec < 0) {
    out.tv_nsec += static_cast<long>(kSecond);
    --out.tv_sec;
  }
  return out;
}

struct stat ToStat(const idl::Attr& attr) {
  struct stat st = {};
  st.st_ino = static_cast<ino_t>(attr.inode);
  st.st_mode = TypeBits(attr.type) | (static_cast<mode_t>(attr.mode) & 07777);
  st.st_nlink = static_cast<nlink_t>(attr.nlink);
  st.st_uid = static_cast<uid_t>(attr.uid);
  st.st_gid = static_cast<gid_t>(attr.gid);
  st.st_rdev = static_cast<dev_t>(attr.rdev);
  st.st_size = attr.type == idl::FileType::DIRECTORY ? 4096 : attr.size;
  st.st_blksize = 512 << 10;
  const int64_t bytes = attr.type == idl::FileType::REGULAR ? attr.allocated_bytes : 0;
  st.st_blocks = (bytes + 511) / 512;
  st.st_atim = ToTimespec(attr.atime_ns);
  st.st_mtim = ToTimespec(attr.mtime_ns);
  st.st_ctim = ToTimespec(attr.ctime_ns);
  return st;
}

}  // namespace

int64_t ToNs(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * kSecond + time.tv_nsec;
}

mode_t TypeBits(idl::FileType::type type) {
  switch (type) {
    case idl::FileType::DIRECTORY:
      return S_IFDIR;
    case idl::FileType::SYMLINK:
      return S_IFLNK;
    case idl::FileType::FIFO:
      return S_IFIFO;
    case idl::FileType::SOCKET:
      return S_IFSOCK;
    case idl::FileType::CHAR_DEVICE:
      return S_IFCHR;
    case idl::FileType::BLOCK_DEVICE:
      return S_IFBLK;
    case idl::FileType::REGULAR:
    case idl::FileType::UNKNOWN:
      break;
  }
  return S_IFREG;
}

fuse_entry_param ToEntry(FileSystem& files, uint64_t parent, const std::string& name,
                         const idl::Attr& attr, uint64_t asked) {
  fuse_entry_param entry = {};
  entry.ino = static_cast<fuse_ino_t>(attr.inode);
  entry.generation = 0;  // inode numbers are never used again
  entry.attr = ToStat(attr);
  const auto inode = static_cast<uint64_t>(attr.inode);
  entry.attr_timeout = Seconds(files.KeepAttrNs(inode, asked));
  entry.entry_timeout = Seconds(files.KeepNameNs(parent, name, inode));
  return entry;
}

// ---- Call ----------------------------------------------------------------------------------------

std::shared_ptr<Call> Call::Of(fuse_req_t req) {
  auto call = std::shared_ptr<Call>(new Call(req));
  call->self_ = call;
  fuse_req_interrupt_func(req, &Call::OnInterrupt, call.get());
  return call;
}

Caller Call::caller() const {
  const fuse_ctx* context = fuse_req_ctx(req_);
  Caller who;
  who.uid = context->uid;
  who.gid = context->gid;
  return who;
}

Caller Call::CallerWithGroups() const {
  Caller who = caller();
  std::vector<gid_t> groups(64);
  int count = fuse_req_getgroups(req_, static_cast<int>(groups.size()), groups.data());
  if (count > static_cast<int>(groups.size())) {
    groups.resize(static_cast<size_t>(count));
    count = fuse_req_getgroups(req_, count, groups.data());
  }
  if (count > 0) {
    groups.resize(std::min(groups.size(), static_cast<size_t>(count)));
    who.groups.assign(groups.begin(), groups.end());
  }
  return who;
}

bool Call::Take() {
  if (answered()) return false;
  fuse_req_interrupt_func(req_, nullptr, nullptr);
  self_.reset();
  return true;
}

void Call::OnInterrupt(fuse_req_t, void* data) {
  // Within libfuse's locks: answered later. Only a call that is unanswered is known to libfuse.
  auto call = static_cast<Call*>(data)->shared_from_this();
  call->kernel().loop.Post([call] {
    if (call->answered()) return;
    if (call->end_wait_) call->end_wait_();
    if (call->answered()) return;
    call->kernel().loop.RunAfter(kInterruptGraceNs, [call] { call->ErrorNumber(EINTR); });
  });
}

void Call::ErrorNumber(int number) {
  if (Take()) fuse_reply_err(req_, number);
}

void Call::Entry(uint64_t parent, const std::string& name, const Result<idl::Attr>& attr) {
  fuse_entry_param entry = {};  // inode 0: there is no such name
  if (attr) {
    entry = ToEntry(files(), parent, name, *attr, asked_);
  } else {
    if (attr.error().Is(Code::kNotFound)) {
      entry.entry_timeout = Seconds(files().KeepNameNs(parent, name, LeaseCache::kAbsent));
    }
    if (entry.entry_timeout == 0) return Error(attr.error());
  }
  if (Take()) fuse_reply_entry(req_, &entry);
}

void Call::Attr(const Result<idl::Attr>& attr) {
  if (!attr) return Error(attr.error());
  if (!Take()) return;
  const struct stat st = ToStat(*attr);
  const int64_t keep_ns = files().KeepAttrNs(static_cast<uint64_t>(attr->inode), asked_);
  fuse_reply_attr(req_, &st, Seconds(keep_ns));
}

void Call::Bytes(std::string_view bytes) {
  if (Take()) fuse_reply_buf(req_, bytes.data(), bytes.size());
}

void Call::Written(size_t count) {
  if (Take()) fuse_reply_write(req_, count);
}

void Call::Link(const std::string& target) {
  if (Take()) fuse_reply_readlink(req_, target.c_str());
}

void Call::XattrSize(size_t size) {
  if (Take()) fuse_reply_xattr(req_, size);
}

void Call::Open(const fuse_file_info& info) {
  if (Take()) fuse_reply_open(req_, &info);
}

void Call::Create(uint64_t parent, const std::string& name, const idl::Attr& attr,
                  const fuse_file_info& info) {
  if (!Take()) return;
  const fuse_entry_param entry = ToEntry(files(), parent, name, attr, asked_);
  fuse_reply_create(req_, &entry, &info);
}

void Call::Lock(const struct flock& lock) {
  if (Take()) fuse_reply_lock(req_, &lock);
}

void Call::StatFs(const struct statvfs& stats) {
  if (Take()) fuse_reply_statfs(req_, &stats);
}

}  // namespace dfs::fuse
