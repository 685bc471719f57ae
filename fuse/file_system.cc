#include "fuse/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "common/client/core/calls.h"
#include "dfs_types.h"

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
constexpr int32_t kEntriesAtOnce = 1000;

void Put(const Caller& who, idl::Caller* out) {
  out->uid = static_cast<int32_t>(who.uid);
  out->gid = static_cast<int32_t>(who.gid);
  out->groups.assign(who.groups.begin(), who.groups.end());
}

void Name(uint64_t parent, std::string name, idl::Ref* ref) {
  ref->inode = static_cast<int64_t>(parent);
  ref->path = std::move(name);
}

idl::FileType::type SpecialType(uint32_t mode) {
  if (S_ISFIFO(mode)) return idl::FileType::FIFO;
  if (S_ISSOCK(mode)) return idl::FileType::SOCKET;
  if (S_ISCHR(mode)) return idl::FileType::CHAR_DEVICE;
  return idl::FileType::BLOCK_DEVICE;
}

/// A change, with the reply reduced to what the caller wants of it.
template <rpc::Method kMethod, class DoneFn>
void ChangeFor(client::ClientCore& core, const Caller& who, rpc::RequestOf<kMethod> request,
               DoneFn done) {
  Put(who, &request.caller);
  client::Change<kMethod>(core, std::move(request), 0, core.Deadline(), std::move(done));
}

template <rpc::Method kMethod>
void AttrChangeFor(client::ClientCore& core, const Caller& who, rpc::RequestOf<kMethod> request,
                   FileSystem::AttrDone done) {
  ChangeFor<kMethod>(core, who, std::move(request),
                     [done = std::move(done)](Result<idl::AttrReply> reply) mutable {
                       if (reply) {
                         done(std::move(reply->attr));
                       } else {
                         done(reply.error());
                       }
                     });
}

template <rpc::Method kMethod>
void StatusChangeFor(client::ClientCore& core, const Caller& who, rpc::RequestOf<kMethod> request,
                     client::StatusDone done) {
  ChangeFor<kMethod>(
      core, who, std::move(request),
      [done = std::move(done)](Result<idl::Empty> reply) mutable { done(reply.status()); });
}

}  // namespace

void FindDirectory(client::ClientCore& core, const std::string& path, int64_t deadline_ns,
                   client::Done<uint64_t> done) {
  idl::StatRequest request;
  request.ref.path = path;
  core.FillCaller(&request.caller);
  client::Read<idl::kStat>(
      core, request, deadline_ns,
      [path, done = std::move(done)](Result<idl::StatReply> reply) mutable {
        if (!reply) {
          done(reply.error().WithContext(path));
        } else if (reply->attr.type != idl::FileType::DIRECTORY) {
          done(Status(Code::kNotDirectory, path + ": not a directory of the cluster"));
        } else {
          done(static_cast<uint64_t>(reply->attr.inode));
        }
      });
}

FileSystem::FileSystem(std::shared_ptr<client::ClientCore> core, FileSystemOptions options)
    : core_(std::move(core)), options_(options) {}

FileSystem::~FileSystem() {
  *alive_ = false;
}

// ---- Names --------------------------------------------------------------------------------------

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

void FileSystem::Lookup(const Caller& who, uint64_t parent, std::string name, AttrDone done) {
  idl::StatRequest request;
  Name(parent, std::move(name), &request.ref);
  Put(who, &request.caller);
  client::Read<idl::kStat>(
      *core_, request, core_->Deadline(),
      [done = WithOverlay(std::move(done))](Result<idl::StatReply> reply) mutable {
        if (reply) {
          done(std::move(reply->attr));
        } else {
          done(reply.error());
        }
      });
}

void FileSystem::GetAttr(const Caller& who, uint64_t inode, AttrDone done) {
  Lookup(who, inode, std::string(), std::move(done));
}

void FileSystem::SetAttr(const Caller& who, uint64_t inode, const AttrChange& change,
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
  if ((change.mask & kMaskSize) != 0) {
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
  SendWhenFree(who, request, kFirstPollNs, core_->Deadline(), WithOverlay(std::move(done)));
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

void FileSystem::ReadLink(const Caller& who, uint64_t inode, client::Done<std::string> done) {
  idl::StatRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  Put(who, &request.caller);
  client::Read<idl::kStat>(*core_, request, core_->Deadline(),
                           [done = std::move(done)](Result<idl::StatReply> reply) mutable {
                             if (!reply) {
                               done(reply.error());
                             } else if (reply->attr.type != idl::FileType::SYMLINK) {
                               done(Status(Code::kInvalidArgument, "not a symbolic link"));
                             } else {
                               done(std::move(reply->symlink_target));
                             }
                           });
}

void FileSystem::Mkdir(const Caller& who, uint64_t parent, std::string name, uint32_t mode,
                       AttrDone done) {
  idl::MkdirRequest request;
  Name(parent, std::move(name), &request.ref);
  request.mode = static_cast<int32_t>(mode & 07777);
  AttrChangeFor<idl::kMkdir>(*core_, who, std::move(request), std::move(done));
}

void FileSystem::Mknod(const Caller& who, uint64_t parent, std::string name, uint32_t mode,
                       uint64_t rdev, AttrDone done) {
  idl::CreateRequest request;
  Name(parent, std::move(name), &request.ref);
  request.mode = static_cast<int32_t>(mode & 07777);
  request.exclusive = true;
  request.replication = static_cast<int32_t>(options_.replication);
  if (!S_ISREG(mode)) {
    request.type = SpecialType(mode);
    request.rdev = static_cast<int64_t>(rdev);
  }
  ChangeFor<idl::kCreate>(
      *core_, who, std::move(request),
      [special = !S_ISREG(mode), done = std::move(done)](Result<idl::CreateReply> reply) mutable {
        if (!reply) {
          done(reply.error());
        } else if (special && reply->attr.type == idl::FileType::REGULAR) {
          done(Status(Code::kNotSupported, "the namenode is of a version without special files"));
        } else {
          done(std::move(reply->attr));
        }
      });
}

void FileSystem::Symlink(const Caller& who, uint64_t parent, std::string name, std::string target,
                         AttrDone done) {
  idl::SymlinkRequest request;
  Name(parent, std::move(name), &request.ref);
  request.target = std::move(target);
  AttrChangeFor<idl::kSymlink>(*core_, who, std::move(request), std::move(done));
}

void FileSystem::Link(const Caller& who, uint64_t inode, uint64_t parent, std::string name,
                      AttrDone done) {
  idl::LinkRequest request;
  request.existing.inode = static_cast<int64_t>(inode);
  Name(parent, std::move(name), &request.ref);
  AttrChangeFor<idl::kLink>(*core_, who, std::move(request), WithOverlay(std::move(done)));
}

void FileSystem::Unlink(const Caller& who, uint64_t parent, std::string name, StatusDone done) {
  idl::UnlinkRequest request;
  Name(parent, std::move(name), &request.ref);
  StatusChangeFor<idl::kUnlink>(*core_, who, std::move(request), std::move(done));
}

void FileSystem::Rmdir(const Caller& who, uint64_t parent, std::string name, StatusDone done) {
  idl::RmdirRequest request;
  Name(parent, std::move(name), &request.ref);
  StatusChangeFor<idl::kRmdir>(*core_, who, std::move(request), std::move(done));
}

void FileSystem::Rename(const Caller& who, uint64_t parent, std::string name, uint64_t new_parent,
                        std::string new_name, uint32_t flags, StatusDone done) {
  idl::RenameRequest request;
  Name(parent, std::move(name), &request.source);
  Name(new_parent, std::move(new_name), &request.target);
  request.flags = static_cast<int32_t>(flags);
  StatusChangeFor<idl::kRename>(*core_, who, std::move(request), std::move(done));
}

// ---- Files --------------------------------------------------------------------------------------

std::shared_ptr<OpenFile> FileSystem::FileOf(uint64_t inode, uint64_t block_size) {
  std::weak_ptr<OpenFile>& known = files_[inode];
  auto file = known.lock();
  if (file == nullptr) {
    file = std::make_shared<OpenFile>(core_, inode, block_size);
    known = file;
  }
  return file;
}

Descriptor* FileSystem::NewDescriptor(const idl::Attr& attr, int flags) {
  const uint64_t inode = static_cast<uint64_t>(attr.inode);
  auto descriptor = std::make_unique<Descriptor>();
  descriptor->file = FileOf(inode, static_cast<uint64_t>(attr.block_size));
  const int access = flags & O_ACCMODE;
  descriptor->readable = access != O_WRONLY;
  descriptor->writable = access != O_RDONLY;
  descriptor->append = (flags & O_APPEND) != 0;
  descriptor->errors_seen = descriptor->file->errors();
  descriptor->file->AddDescriptor(descriptor->writable);
  descriptor->file->Invalidate();
  core_->session().AddOpenInode(inode);
  Descriptor* raw = descriptor.get();
  descriptors_[raw] = std::move(descriptor);
  return raw;
}

void FileSystem::Open(const Caller& who, uint64_t inode, int flags, OpenDone done) {
  core_->session().Ensure([this, alive = alive_, who, inode, flags,
                           done = std::move(done)](Result<uint64_t> session) mutable {
    if (!session || !*alive) {
      done(session ? Status(Code::kClosed, "unmounted") : session.error(), nullptr);
      return;
    }
    idl::OpenFileRequest request;
    request.ref.inode = static_cast<int64_t>(inode);
    request.for_write = (flags & O_ACCMODE) != O_RDONLY;
    request.session = static_cast<int64_t>(*session);
    request.client_host_id = core_->options().host_id;
    ChangeFor<idl::kOpenFile>(
        *core_, who, std::move(request),
        [this, alive, flags, done = std::move(done)](Result<idl::OpenFileReply> reply) mutable {
          if (!reply || !*alive) {
            done(reply ? Status(Code::kClosed, "unmounted") : reply.error(), nullptr);
            return;
          }
          Descriptor* descriptor = NewDescriptor(reply->attr, flags);
          const idl::Attr attr = Seen(std::move(reply->attr));
          done(descriptor, &attr);
        });
  });
}

void FileSystem::Create(const Caller& who, uint64_t parent, std::string name, uint32_t mode,
                        int flags, OpenDone done) {
  idl::CreateRequest request;
  Name(parent, std::move(name), &request.ref);
  request.mode = static_cast<int32_t>(mode & 07777);
  request.exclusive = (flags & O_EXCL) != 0;
  request.overwrite = (flags & O_TRUNC) != 0;
  request.open_for_write = true;
  request.replication = static_cast<int32_t>(options_.replication);
  ChangeFor<idl::kCreate>(*core_, who, std::move(request),
                          [this, alive = alive_, flags,
                           done = std::move(done)](Result<idl::CreateReply> reply) mutable {
                            if (!reply || !*alive) {
                              done(reply ? Status(Code::kClosed, "unmounted") : reply.error(),
                                   nullptr);
                              return;
                            }
                            Descriptor* descriptor = NewDescriptor(reply->attr, flags);
                            const idl::Attr attr = Seen(std::move(reply->attr));
                            done(descriptor, &attr);
                          });
}

Status FileSystem::Untold(Descriptor* descriptor, Status status) {
  const OpenFile& file = *descriptor->file;
  if (status.ok() && descriptor->errors_seen != file.errors()) status = file.last_error();
  descriptor->errors_seen = file.errors();
  return status;
}

void FileSystem::Read(Descriptor* descriptor, uint64_t offset, size_t size,
                      client::Done<Buffer> done) {
  descriptor->file->Read(offset, size, std::move(done));
}

void FileSystem::Write(Descriptor* descriptor, uint64_t offset, Buffer data, StatusDone done) {
  // The kernel releases a descriptor only after its calls were answered, but an interrupted one counts as answered.
  auto file = descriptor->file;
  file->Write(offset, descriptor->append, std::move(data),
              [this, alive = alive_, descriptor, done = std::move(done)](Status status) mutable {
                const bool open = *alive && descriptors_.count(descriptor) != 0;
                done(open ? Untold(descriptor, std::move(status)) : std::move(status));
              });
}

void FileSystem::Flush(Descriptor* descriptor, StatusDone done) {
  auto file = descriptor->file;
  file->Flush([this, alive = alive_, descriptor, done = std::move(done)](Status status) mutable {
    const bool open = *alive && descriptors_.count(descriptor) != 0;
    done(open ? Untold(descriptor, std::move(status)) : std::move(status));
  });
}

void FileSystem::Sync(Descriptor* descriptor, StatusDone done) {
  auto file = descriptor->file;
  file->Sync([this, alive = alive_, descriptor, done = std::move(done)](Status status) mutable {
    const bool open = *alive && descriptors_.count(descriptor) != 0;
    done(open ? Untold(descriptor, std::move(status)) : std::move(status));
  });
}

void FileSystem::Release(Descriptor* descriptor) {
  auto it = descriptors_.find(descriptor);
  if (it == descriptors_.end()) return;
  std::shared_ptr<OpenFile> file = descriptor->file;
  const uint64_t inode = file->inode();
  file->RemoveDescriptor(descriptor->writable);
  descriptors_.erase(it);
  core_->session().RemoveOpenInode(inode);
  if (!file->unused()) return;
  // Told once nothing of it is under way: an unlinked file goes with this.
  idl::CloseFileRequest request;
  request.inode = static_cast<int64_t>(inode);
  request.session = static_cast<int64_t>(core_->session().id());
  file->Flush([this, alive = alive_, file, inode, request](Status) {
    if (!*alive || !file->unused()) return;
    core_->link().Tell(idl::kCloseFile, idl::Encode(request));
    auto known = files_.find(inode);
    if (known != files_.end() && known->second.lock() == file) files_.erase(known);
  });
}

// ---- Directories --------------------------------------------------------------------------------

DirectoryStream::DirectoryStream(uint64_t of, Caller who) : inode(of), caller(std::move(who)) {}

DirectoryStream::~DirectoryStream() = default;

DirectoryStream* FileSystem::OpenDirectory(const Caller& who, uint64_t inode) {
  auto stream = std::make_unique<DirectoryStream>(inode, who);
  DirectoryStream* raw = stream.get();
  streams_[raw] = std::move(stream);
  return raw;
}

void FileSystem::Fill(DirectoryStream* stream, uint64_t cookie, StatusDone done) {
  if (stream->page != nullptr && stream->next_cookie == cookie &&
      (stream->next < stream->page->entries.size() || stream->page->done)) {
    done(Status());
    return;
  }
  idl::ListDirectoryRequest request;
  request.ref.inode = static_cast<int64_t>(stream->inode);
  request.cookie = static_cast<int64_t>(cookie);
  request.max_entries = kEntriesAtOnce;
  request.with_attributes = true;
  Put(stream->caller, &request.caller);
  client::Read<idl::kListDirectory>(
      *core_, request, core_->Deadline(),
      [this, alive = alive_, stream, cookie,
       done = std::move(done)](Result<idl::ListDirectoryReply> reply) mutable {
        if (!reply) {
          done(reply.error());
          return;
        }
        if (!*alive || streams_.count(stream) == 0) {
          done(Status(Code::kBadDescriptor, "the directory was closed"));
          return;
        }
        stream->page = std::make_unique<idl::ListDirectoryReply>(std::move(*reply));
        for (idl::DirectoryEntry& entry : stream->page->entries) {
          if (entry.__isset.attr) entry.attr = Seen(std::move(entry.attr));
        }
        stream->next = 0;
        stream->next_cookie = cookie;
        done(Status());
      });
}

void FileSystem::ReleaseDirectory(DirectoryStream* stream) {
  streams_.erase(stream);
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

void FileSystem::SetXattr(const Caller& who, uint64_t inode, std::string name, std::string value,
                          int flags, StatusDone done) {
  idl::SetXattrRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  request.name = std::move(name);
  request.value = std::move(value);
  request.flags = flags;
  StatusChangeFor<idl::kSetXattr>(*core_, who, std::move(request), std::move(done));
}

void FileSystem::RemoveXattr(const Caller& who, uint64_t inode, std::string name, StatusDone done) {
  idl::RemoveXattrRequest request;
  request.ref.inode = static_cast<int64_t>(inode);
  request.name = std::move(name);
  StatusChangeFor<idl::kRemoveXattr>(*core_, who, std::move(request), std::move(done));
}

void FileSystem::FlushAll(StatusDone done) {
  struct Rest {
    size_t left = 1;
    Status first;
    StatusDone done;
  };
  auto rest = std::make_shared<Rest>();
  rest->done = std::move(done);
  auto part = [rest](Status status) {
    if (rest->first.ok()) rest->first = std::move(status);
    if (--rest->left == 0) rest->done(rest->first);
  };
  for (auto& [inode, known] : files_) {
    auto file = known.lock();
    if (file == nullptr) continue;
    ++rest->left;
    file->Sync(part);
  }
  part(Status());
}

}  // namespace dfs::fuse
