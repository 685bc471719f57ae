// Requests on attributes: of inodes, extended ones, and those of the whole file system.
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <vector>

#include "fuse/kernel_call.h"

namespace dfs::fuse {
namespace {

void GetAttr(fuse_req_t req, fuse_ino_t ino, fuse_file_info*) {
  auto call = Call::Of(req);
  call->files().GetAttr(call->caller(), call->Inode(ino),
                        [call](const Result<idl::Attr>& attr) { call->Attr(attr); });
}

void SetAttr(fuse_req_t req, fuse_ino_t ino, struct stat* st, int to_set, fuse_file_info*) {
  auto call = Call::Of(req);
  AttrChange change;
  const auto take = [&](int fuse_bit, uint32_t bit) {
    if ((to_set & fuse_bit) != 0) change.mask |= bit;
  };
  take(FUSE_SET_ATTR_MODE, 1);
  take(FUSE_SET_ATTR_UID, 2);
  take(FUSE_SET_ATTR_GID, 4);
  take(FUSE_SET_ATTR_SIZE, 8);
  take(FUSE_SET_ATTR_ATIME_NOW, 64);
  take(FUSE_SET_ATTR_MTIME_NOW, 128);
  if ((to_set & FUSE_SET_ATTR_ATIME_NOW) == 0) take(FUSE_SET_ATTR_ATIME, 16);
  if ((to_set & FUSE_SET_ATTR_MTIME_NOW) == 0) take(FUSE_SET_ATTR_MTIME, 32);
  change.mode = st->st_mode & 07777;
  change.uid = st->st_uid;
  change.gid = st->st_gid;
  change.size = static_cast<uint64_t>(st->st_size);
  change.atime_ns = ToNs(st->st_atim);
  change.mtime_ns = ToNs(st->st_mtim);
  auto answer = [call](const Result<idl::Attr>& attr) { call->Attr(attr); };
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) {
    // Whether S_ISGID may stay depends on the groups.
    call->files().SetAttr(call->CallerWithGroups(), call->Inode(ino), change, std::move(answer));
    return;
  }
  OnBehalf(
      call,
      [call, ino = call->Inode(ino), change](const Caller& who, auto done) {
        call->files().SetAttr(who, ino, change, std::move(done));
      },
      std::move(answer));
}

void StatFs(fuse_req_t req, fuse_ino_t) {
  auto call = Call::Of(req);
  call->files().StatFs([call](const Result<idl::StatFsReply>& reply) {
    if (!reply) return call->Error(reply.error());
    // What fits, counted as users see it: each byte takes as many as there are replicas.
    const auto replicas = static_cast<uint64_t>(std::max(reply->default_replication, 1));
    struct statvfs stats = {};
    stats.f_bsize = 4096;
    stats.f_frsize = 4096;
    stats.f_blocks = static_cast<uint64_t>(reply->capacity_bytes) / replicas / 4096;
    stats.f_bfree = static_cast<uint64_t>(reply->available_bytes) / replicas / 4096;
    stats.f_bavail = stats.f_bfree;
    stats.f_files = static_cast<uint64_t>(reply->files + reply->directories) + (1ull << 32);
    stats.f_ffree = 1ull << 32;
    stats.f_favail = stats.f_ffree;
    stats.f_namemax = 255;
    call->StatFs(stats);
  });
}

/// xattr calls ask for the size first (size 0).
void AnswerXattr(const CallPtr& call, const std::string& value, size_t size) {
  if (size == 0) return call->XattrSize(value.size());
  if (value.size() > size) return call->ErrorNumber(ERANGE);
  call->Bytes(value);
}

/// ACLs are not kept yet: an attribute that nobody enforces would be a lie.
bool IsAcl(std::string_view name) {
  return name.starts_with("system.");
}

/// The kernel asks for it before every write, and a mount is nosuid by default.
bool IsCapability(std::string_view name) {
  return name == "security.capability";
}

void GetXattr(fuse_req_t req, fuse_ino_t ino, const char* name, size_t size) {
  auto call = Call::Of(req);
  if (IsCapability(name)) return call->ErrorNumber(ENODATA);
  if (IsAcl(name)) return call->ErrorNumber(EOPNOTSUPP);
  OnBehalf(
      call,
      [call, ino = call->Inode(ino), name = std::string(name)](const Caller& who, auto done) {
        call->files().GetXattr(who, ino, name, std::move(done));
      },
      [call, size](const Result<std::string>& value) {
        if (!value) return call->Error(value.error());
        AnswerXattr(call, *value, size);
      });
}

void ListXattr(fuse_req_t req, fuse_ino_t ino, size_t size) {
  auto call = Call::Of(req);
  call->files().ListXattrs(call->caller(), call->Inode(ino),
                           [call, size](const Result<std::vector<std::string>>& names) {
                             if (!names) return call->Error(names.error());
                             std::string list;
                             for (const std::string& name : *names) {
                               list += name;
                               list += '\0';
                             }
                             AnswerXattr(call, list, size);
                           });
}

void SetXattr(fuse_req_t req, fuse_ino_t ino, const char* name, const char* value, size_t size,
              int flags) {
  auto call = Call::Of(req);
  if (IsCapability(name) || IsAcl(name)) return call->ErrorNumber(EOPNOTSUPP);
  OnBehalf(
      call,
      [call, ino = call->Inode(ino), name = std::string(name), value = std::string(value, size),
       flags](const Caller& who, auto done) {
        call->files().SetXattr(who, ino, name, value, flags, std::move(done));
      },
      [call](const Status& status) { call->Done(status); });
}

void RemoveXattr(fuse_req_t req, fuse_ino_t ino, const char* name) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, ino = call->Inode(ino), name = std::string(name)](const Caller& who, auto done) {
        call->files().RemoveXattr(who, ino, name, std::move(done));
      },
      [call](const Status& status) { call->Done(status); });
}

}  // namespace

void AddAttributeRequests(fuse_lowlevel_ops* ops) {
  ops->getattr = GetAttr;
  ops->setattr = SetAttr;
  ops->statfs = StatFs;
  ops->getxattr = GetXattr;
  ops->listxattr = ListXattr;
  ops->setxattr = SetXattr;
  ops->removexattr = RemoveXattr;
}

}  // namespace dfs::fuse
