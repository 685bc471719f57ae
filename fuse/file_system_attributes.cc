// FileSystem: attributes of inodes, extended ones, those of the whole file system.
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/base/defects.h"
#include "fuse/file_system_calls.h"

namespace dfs::fuse {
namespace {

constexpr uint32_t kMaskMode = 1;
constexpr uint32_t kMaskUid = 2;
constexpr uint32_t kMaskGid = 4;
constexpr uint32_t kMaskSize = 8;
constexpr uint32_t kMaskMtime = 32;
constexpr uint32_t kMaskMtimeNow = 128;
constexpr int64_t kFirstPollNs = 5 * kMillisecond;
constexpr int64_t kLongestPollNs = 250 * kMillisecond;

}  // namespace

// ---- Attributes ---------------------------------------------------------------------------------

idl::Attr FileSystem::Seen(idl::Attr attr) const {
  auto it = files_.find(static_cast<uint64_t>(attr.inode));
  if (it == files_.end()) return attr;
  auto file = it->second.lock();
  if (file == nullptr) return attr;
  file->NoteVersion(attr.data_version);
  file->Overlay(&attr);
  return attr;
}

FileSystem::AttrDone FileSystem::WithOverlay(AttrDone done) {
  return [this, alive = alive_, done = std::move(done)](Result<idl::Attr> attr) mutable {
    if (attr && *alive) {
      done(Seen(std::move(*attr)));
    } else {
      done(std::move(attr));
    }
  };
}

void FileSystem::GetAttr(const Caller& who, uint64_t inode, AttrDone done) {
  Lookup(who, inode, std::string(), std::move(done));
}

void FileSystem::SetAttr(const Caller& who, uint64_t inode, const AttrChange& change,
                         AttrDone done) {
  if (core_->leases().enabled()) {
    done = [done = std::move(done)](Result<idl::Attr> attr) mutable {
      // The kernel takes the time from this answer without looking after its pages, which may be old, unless the size is
      // another than it knew. By a time that is not quite right, which nobody is shown (it may not be kept), it sees so
      // when it asks next.
      if (attr && attr->type == idl::FileType::REGULAR) attr->mtime_ns ^= 1;
      done(std::move(attr));
    };
  }
  if ((change.mask & kMaskMode) == 0) {
    Change(who, inode, change, std::move(done));
    return;
  }
  Change(who, inode, change,
         [this, alive = alive_, who, inode, change,
          done = std::move(done)](Result<idl::Attr> attr) mutable {
           if (!*alive || attr || !attr.error().Is(Code::kNotPermitted)) {
             done(std::move(attr));
           } else {
             DropPrivileges(who, inode, change, std::move(done));
           }
         });
}

void FileSystem::DropPrivileges(const Caller& who, uint64_t inode, AttrChange change,
                                AttrDone done) {
  GetAttr(who, inode,
          [this, alive = alive_, who, inode, change,
           done = std::move(done)](Result<idl::Attr> attr) mutable {
            if (!attr || !*alive) {
              done(std::move(attr));
              return;
            }
            // Whoever changes a file's content makes the kernel take S_ISUID and S_ISGID away, also when it is not his.
            const auto mode = static_cast<uint32_t>(attr->mode) & 07777;
            if ((change.mode & ~mode) != 0 || (mode & ~change.mode & ~(S_ISUID | S_ISGID)) != 0) {
              done(Status(Code::kNotPermitted, "only the owner changes the mode"));
              return;
            }
            AttrChange bits = change;
            bits.mask = kMaskMode;
            AttrChange rest = change;
            rest.mask &= ~kMaskMode;
            Change(Caller(), inode, bits,
                   [this, alive, who, inode, rest,
                    done = std::move(done)](Result<idl::Attr> set) mutable {
                     if (!set || rest.mask == 0 || !*alive) {
                       done(std::move(set));
                     } else {
                       Change(who, inode, rest, std::move(done));
                     }
                   });
          });
}

void FileSystem::Change(const Caller& who, uint64_t inode, const AttrChange& change,
                        AttrDone done) {
  auto it = files_.find(inode);
  std::shared_ptr<OpenFile> file = it == files_.end() ? nullptr : it->second.lock();
  if (file == nullptr || !file->has_writer()) {
    SendSetAttr(who, inode, change, std::move(done));
    return;
  }
  // What this mount has written goes first, so that it cannot undo what is set now.
  AttrChange rest = change;
  rest.mask &= ~kMaskSize;
  if ((change.mask & kMaskMtime) != 0) file->TimesWereSet(change.mtime_ns);
  if ((change.mask & kMaskMtimeNow) != 0) {
    file->TimesWereSet(core_->executor().clock().WallNs());
  }
  auto then = [this, alive = alive_, who, inode, rest,
               done = std::move(done)](Status status) mutable {
    if (!status.ok()) {
      done(status);
    } else if (!*alive) {
      done(Status(Code::kClosed, "unmounted"));
    } else if (rest.mask == 0) {
      GetAttr(who, inode, std::move(done));
    } else {
      SendSetAttr(who, inode, rest, std::move(done));
    }
  };
  if ((change.mask & kMaskSize) != 0 && DefectOn(Defect::kMountGrowForgotten)) {
    then(Status());
  } else if ((change.mask & kMaskSize) != 0) {
    file->Truncate(change.size, std::move(then));
  } else if ((change.mask & ~(kMaskMode | kMaskUid | kMaskGid)) != 0) {
    file->Flush(std::move(then));
  } else {
    then(Status());
  }
}

void FileSystem::SendSetAttr(const Caller& who, uint64_t inode, const AttrChange& change,
                             AttrDone done) {
  idl::SetAttrRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  request.mask = static_cast<int32_t>(change.mask);
  request.mode = static_cast<int32_t>(change.mode);
  request.uid = static_cast<int32_t>(change.uid);
  request.gid = static_cast<int32_t>(change.gid);
  request.size = static_cast<int64_t>(change.size);
  request.atime_ns = change.atime_ns;
  request.mtime_ns = change.mtime_ns;
  ForgetAttr(inode);
  SendWhenFree(who, request, kFirstPollNs, core_->Deadline(),
               WithOverlay([this, alive = alive_, inode,
                            done = std::move(done)](Result<idl::Attr> attr) mutable {
                 if (*alive) ForgetAttr(inode);
                 done(std::move(attr));
               }));
}

void FileSystem::SendWhenFree(const Caller& who, const idl::SetAttrRequest& request,
                              int64_t poll_ns, int64_t deadline_ns, AttrDone done) {
  AttrChangeFor<idl::kSetAttr>(
      *core_, who, request,
      [this, alive = alive_, who, request, poll_ns, deadline_ns,
       done = std::move(done)](Result<idl::Attr> attr) mutable {
        // Another mount has the end of the file open: it gives it back after its last close, or soon after its last
        // write.
        const bool busy = !attr && attr.error().Is(Code::kBusy);
        if (!busy || !*alive || core_->Now() + poll_ns >= deadline_ns) {
          done(std::move(attr));
          return;
        }
        core_->executor().RunAfter(poll_ns, [this, alive, who, request, poll_ns, deadline_ns,
                                             done = std::move(done)]() mutable {
          if (*alive) {
            SendWhenFree(who, request, std::min(2 * poll_ns, kLongestPollNs), deadline_ns,
                         std::move(done));
          } else {
            done(Status(Code::kClosed, "unmounted"));
          }
        });
      });
}

// ---- The rest -----------------------------------------------------------------------------------

void FileSystem::StatFs(client::Done<idl::StatFsReply> done) {
  client::Read<idl::kStatFs>(*core_, idl::StatFsRequest(), core_->Deadline(), std::move(done));
}

void FileSystem::GetXattr(const Caller& who, uint64_t inode, std::string name,
                          client::Done<std::string> done) {
  idl::GetXattrRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  request.name = std::move(name);
  Put(who, &request.caller);
  client::Read<idl::kGetXattr>(*core_, request, core_->Deadline(),
                               [done = std::move(done)](Result<idl::GetXattrReply> reply) mutable {
                                 if (reply) {
                                   done(std::move(reply->value));
                                 } else {
                                   done(reply.error());
                                 }
                               });
}

void FileSystem::ListXattrs(const Caller& who, uint64_t inode,
                            client::Done<std::vector<std::string>> done) {
  idl::ListXattrsRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  Put(who, &request.caller);
  client::Read<idl::kListXattrs>(
      *core_, request, core_->Deadline(),
      [done = std::move(done)](Result<idl::ListXattrsReply> reply) mutable {
        if (reply) {
          done(std::move(reply->names));
        } else {
          done(reply.error());
        }
      });
}

FileSystem::StatusDone FileSystem::Forgetting(uint64_t inode, StatusDone done) {
  return [this, alive = alive_, inode, done = std::move(done)](Status status) mutable {
    if (*alive) ForgetAttr(inode);
    done(std::move(status));
  };
}

void FileSystem::SetXattr(const Caller& who, uint64_t inode, std::string name, std::string value,
                          int flags, StatusDone done) {
  idl::SetXattrRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  request.name = std::move(name);
  request.value = std::move(value);
  request.flags = flags;
  StatusChangeFor<idl::kSetXattr>(*core_, who, std::move(request),
                                  Forgetting(inode, std::move(done)));
}

void FileSystem::RemoveXattr(const Caller& who, uint64_t inode, std::string name, StatusDone done) {
  idl::RemoveXattrRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  request.name = std::move(name);
  StatusChangeFor<idl::kRemoveXattr>(*core_, who, std::move(request),
                                     Forgetting(inode, std::move(done)));
}

}  // namespace dfs::fuse
