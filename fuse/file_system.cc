#include "fuse/file_system.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "common/base/defects.h"
#include "fuse/file_system_calls.h"

namespace dfs::fuse {
namespace {

constexpr int32_t kEntriesAtOnce = 1000;
constexpr uint32_t kExchange = 2;  // renameat2

idl::FileType::type SpecialType(uint32_t mode) {
  if (S_ISFIFO(mode)) return idl::FileType::FIFO;
  if (S_ISSOCK(mode)) return idl::FileType::SOCKET;
  if (S_ISCHR(mode)) return idl::FileType::CHAR_DEVICE;
  return idl::FileType::BLOCK_DEVICE;
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
    : core_(std::move(core)),
      options_(options),
      cache_(options.max_leases, options.max_names),
      gate_(new WriteGate*(this)) {
  if (options_.leases) core_->leases().SetHolder(this);
}

FileSystem::~FileSystem() {
  *alive_ = false;
  *gate_ = nullptr;
  core_->leases().SetHolder(nullptr);
}

// ---- Names --------------------------------------------------------------------------------------

void FileSystem::Lookup(const Caller& who, uint64_t parent, std::string name, AttrDone done) {
  done = WithOverlay(std::move(done));
  if (Answer(parent, name, &done)) return;
  idl::StatRequest request;
  Name(parent, name, &request.ref);
  Put(who, &request.caller);
  request.session = LeaseSession();
  client::Read<idl::kStat>(
      *core_, request, core_->Deadline(),
      [this, alive = alive_, parent, name = std::move(name), asked = recalls_,
       done = std::move(done)](Result<idl::StatReply> reply) mutable {
        if (!reply) return done(reply.error());
        if (!*alive) return done(std::move(reply->attr));
        const auto inode = static_cast<uint64_t>(reply->attr.inode);
        if (!name.empty()) {
          LearnName(parent, name, reply->absent ? LeaseCache::kAbsent : inode,
                    reply->name_lease_term, asked);
        }
        if (reply->absent) return done(Status(Code::kNotFound, "no such file or directory"));
        Learn(reply->attr, reply->lease_term, asked);
        done(std::move(reply->attr));
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
  Name(parent, name, &request.ref);
  request.mode = static_cast<int32_t>(mode & 07777);
  ChangeFor<idl::kMkdir>(*core_, who, std::move(request), Made(parent, name, std::move(done)));
}

void FileSystem::Mknod(const Caller& who, uint64_t parent, std::string name, uint32_t mode,
                       uint64_t rdev, AttrDone done) {
  idl::CreateRequest request;
  Name(parent, name, &request.ref);
  request.mode = static_cast<int32_t>(mode & 07777);
  request.exclusive = true;
  request.replication = static_cast<int32_t>(options_.replication);
  if (!S_ISREG(mode)) {
    request.type = SpecialType(mode);
    request.rdev = static_cast<int64_t>(rdev);
  }
  ChangeFor<idl::kCreate>(
      *core_, who, std::move(request),
      [special = !S_ISREG(mode),
       made = Made(parent, name, std::move(done))](Result<idl::CreateReply> reply) mutable {
        if (!reply) {
          made(reply.error());
        } else if (special && reply->attr.type == idl::FileType::REGULAR) {
          made(Status(Code::kNotSupported, "the namenode is of a version without special files"));
        } else {
          idl::AttrReply attr;
          attr.attr = std::move(reply->attr);
          attr.lease_term = reply->lease_term;
          attr.directories = std::move(reply->directories);
          attr.directories_term = reply->directories_term;
          made(std::move(attr));
        }
      });
}

void FileSystem::Symlink(const Caller& who, uint64_t parent, std::string name, std::string target,
                         AttrDone done) {
  idl::SymlinkRequest request;
  Name(parent, name, &request.ref);
  request.target = std::move(target);
  ChangeFor<idl::kSymlink>(*core_, who, std::move(request), Made(parent, name, std::move(done)));
}

void FileSystem::Link(const Caller& who, uint64_t inode, uint64_t parent, std::string name,
                      AttrDone done) {
  idl::LinkRequest request;
  request.existing.inode = static_cast<int64_t>(inode);
  Name(parent, name, &request.ref);
  ChangeFor<idl::kLink>(*core_, who, std::move(request),
                        Made(parent, name, WithOverlay(std::move(done))));
}

void FileSystem::Unlink(const Caller& who, uint64_t parent, std::string name, StatusDone done) {
  idl::UnlinkRequest request;
  Name(parent, name, &request.ref);
  ChangeFor<idl::kUnlink>(*core_, who, std::move(request),
                          Removed(parent, std::move(name), std::move(done)));
}

void FileSystem::Rmdir(const Caller& who, uint64_t parent, std::string name, StatusDone done) {
  idl::RmdirRequest request;
  Name(parent, name, &request.ref);
  ChangeFor<idl::kRmdir>(*core_, who, std::move(request),
                         Removed(parent, std::move(name), std::move(done)));
}

void FileSystem::Rename(const Caller& who, uint64_t parent, std::string name, uint64_t new_parent,
                        std::string new_name, uint32_t flags, StatusDone done) {
  idl::RenameRequest request;
  Name(parent, name, &request.source);
  Name(new_parent, new_name, &request.target);
  request.flags = static_cast<int32_t>(flags);
  ChangeFor<idl::kRename>(
      *core_, who, std::move(request),
      [this, alive = alive_, parent, name = std::move(name), new_parent,
       new_name = std::move(new_name), moved = flags != kExchange, asked = recalls_,
       done = std::move(done)](Result<idl::NamesReply> reply) mutable {
        if (*alive) {
          Renamed(parent, name, new_parent, new_name, reply.ok() && moved, asked);
          if (reply) LearnDirectories(reply->directories, reply->directories_term, asked);
        }
        done(reply.status());
      });
}

void FileSystem::Renamed(uint64_t parent, const std::string& name, uint64_t new_parent,
                         const std::string& new_name, bool moved, uint64_t asked) {
  const std::optional<uint64_t> source = cache_.FindName(parent, name);
  const std::optional<uint64_t> target = cache_.FindName(new_parent, new_name);
  if (source) cache_.DropAttr(*source);
  if (target) cache_.DropAttr(*target);
  // Two names of one file both stay, so it takes to have known both.
  if (moved && source && target && *source != LeaseCache::kAbsent && *source != *target) {
    Changed(parent, name, LeaseCache::kAbsent, asked);
    Changed(new_parent, new_name, *source, asked);
  } else {
    ForgetNameAndInode(parent, name);
    ForgetNameAndInode(new_parent, new_name);
  }
  // The kernel has moved the one to the other by itself.
  if (!DefectOn(Defect::kLeaseRenamedNameKept)) KernelMayKeepNames();
}

UniqueFunction<void(Result<idl::AttrReply>)> FileSystem::Made(uint64_t parent, std::string name,
                                                              AttrDone done) {
  return [this, alive = alive_, parent, name = std::move(name), asked = recalls_,
          done = std::move(done)](Result<idl::AttrReply> reply) mutable {
    if (!*alive) return done(reply ? Result<idl::Attr>(std::move(reply->attr)) : reply.error());
    if (!reply) {
      ForgetNameAndInode(parent, name);
      return done(reply.error());
    }
    const auto inode = static_cast<uint64_t>(reply->attr.inode);
    Changed(parent, name, inode, asked);
    LearnDirectories(reply->directories, reply->directories_term, asked);
    Learn(reply->attr, reply->lease_term, asked);
    // It was empty when the lease was granted.
    const bool directory = reply->attr.type == idl::FileType::DIRECTORY;
    if (directory && cache_.FindAttr(inode) != nullptr) cache_.SetComplete(inode);
    done(std::move(reply->attr));
  };
}

UniqueFunction<void(Result<idl::NamesReply>)> FileSystem::Removed(uint64_t parent,
                                                                  std::string name,
                                                                  StatusDone done) {
  return [this, alive = alive_, parent, name = std::move(name), asked = recalls_,
          done = std::move(done)](Result<idl::NamesReply> reply) mutable {
    if (*alive && reply) {
      if (const auto inode = cache_.FindName(parent, name)) cache_.DropAttr(*inode);
      Changed(parent, name, LeaseCache::kAbsent, asked);
      LearnDirectories(reply->directories, reply->directories_term, asked);
    } else if (*alive) {
      ForgetNameAndInode(parent, name);
    }
    done(reply.status());
  };
}

// ---- Files --------------------------------------------------------------------------------------

std::shared_ptr<OpenFile> FileSystem::FileOf(uint64_t inode, uint64_t block_size) {
  std::weak_ptr<OpenFile>& known = files_[inode];
  auto file = known.lock();
  if (file == nullptr) {
    file = std::make_shared<OpenFile>(core_, inode, block_size, gate_);
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
        [this, alive, flags, asked = recalls_,
         done = std::move(done)](Result<idl::OpenFileReply> reply) mutable {
          if (!reply || !*alive) {
            done(reply ? Status(Code::kClosed, "unmounted") : reply.error(), nullptr);
            return;
          }
          Learn(reply->attr, reply->lease_term, asked);
          Descriptor* descriptor = NewDescriptor(reply->attr, flags);
          const idl::Attr attr = Seen(std::move(reply->attr));
          done(descriptor, &attr);
        });
  });
}

void FileSystem::Create(const Caller& who, uint64_t parent, std::string name, uint32_t mode,
                        int flags, OpenDone done) {
  idl::CreateRequest request;
  Name(parent, name, &request.ref);
  request.mode = static_cast<int32_t>(mode & 07777);
  request.exclusive = (flags & O_EXCL) != 0;
  request.overwrite = (flags & O_TRUNC) != 0;
  request.open_for_write = true;
  request.replication = static_cast<int32_t>(options_.replication);
  ChangeFor<idl::kCreate>(*core_, who, std::move(request),
                          [this, alive = alive_, flags, parent, name, asked = recalls_,
                           done = std::move(done)](Result<idl::CreateReply> reply) mutable {
                            if (!reply || !*alive) {
                              if (*alive) ForgetNameAndInode(parent, name);
                              done(reply ? Status(Code::kClosed, "unmounted") : reply.error(),
                                   nullptr);
                              return;
                            }
                            Changed(parent, name, static_cast<uint64_t>(reply->attr.inode), asked);
                            LearnDirectories(reply->directories, reply->directories_term, asked);
                            Learn(reply->attr, reply->lease_term, asked);
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
  if (DefectOn(Defect::kMountCloseDoesNotFlush)) return done(Status());
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
  request.session = LeaseSession();
  client::Read<idl::kListDirectory>(
      *core_, request, core_->Deadline(),
      [this, alive = alive_, stream, cookie, asked = recalls_,
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
        const idl::ListDirectoryReply& page = *stream->page;
        const int64_t names_term = page.names_lease ? page.lease_term : 0;
        for (idl::DirectoryEntry& entry : stream->page->entries) {
          LearnName(stream->inode, entry.name, static_cast<uint64_t>(entry.inode), names_term,
                    asked);
          if (!entry.__isset.attr) continue;
          Learn(entry.attr, entry.lease ? page.lease_term : 0, asked);
          entry.attr = Seen(std::move(entry.attr));
        }
        stream->next = 0;
        stream->next_cookie = cookie;
        done(Status());
      });
}

void FileSystem::ReleaseDirectory(DirectoryStream* stream) {
  streams_.erase(stream);
}

// ---- The end ------------------------------------------------------------------------------------

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
