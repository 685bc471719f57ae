// Requests on open files.
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "common/base/logging.h"
#include "fuse/kernel_call.h"

namespace dfs::fuse {
namespace {

Descriptor* DescriptorOf(const fuse_file_info* info) {
  return reinterpret_cast<Descriptor*>(info->fh);
}

void Open(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto call = Call::Of(req);
  // default_permissions: the kernel has checked the bits, and only it knows of a descriptor's own rights.
  Caller root;
  call->files().Open(
      root, call->Inode(ino), info->flags,
      [call, info = *info](Result<Descriptor*> descriptor, const idl::Attr*) mutable {
        if (!descriptor) return call->Error(descriptor.error());
        if (call->answered()) return call->files().Release(*descriptor);
        info.fh = reinterpret_cast<uint64_t>(*descriptor);
        info.keep_cache = call->files().KeepPages((*descriptor)->file->inode()) ? 1 : 0;
        call->Open(info);
      });
}

void Create(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info) {
  auto call = Call::Of(req);
  struct Opened {
    Descriptor* descriptor;
    idl::Attr attr;
  };
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name), mode, flags = info->flags](
          const Caller& who, auto done) {
        call->files().Create(who, parent, name, mode, flags,
                             [done = std::move(done)](Result<Descriptor*> descriptor,
                                                      const idl::Attr* attr) mutable {
                               if (descriptor) {
                                 done(Result<Opened>(Opened{*descriptor, *attr}));
                               } else {
                                 done(Result<Opened>(descriptor.error()));
                               }
                             });
      },
      [call, info = *info, parent = call->Inode(parent),
       name = std::string(name)](Result<Opened> opened) mutable {
        if (!opened) return call->Error(opened.error());
        if (call->answered()) return call->files().Release(opened->descriptor);
        info.fh = reinterpret_cast<uint64_t>(opened->descriptor);
        call->files().KeepPages(static_cast<uint64_t>(opened->attr.inode));
        call->Create(parent, name, opened->attr, info);
      });
}

void Read(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  auto call = Call::Of(req);
  call->files().Read(DescriptorOf(info), static_cast<uint64_t>(offset),
                     std::min<size_t>(size, kMaxIo), [call](const Result<Buffer>& data) {
                       if (data) {
                         call->Bytes(data->view());
                       } else {
                         LogError("read: {}", data.error().ToString());
                         call->Error(data.error());
                       }
                     });
}

void Write(fuse_req_t req, fuse_ino_t, const char* data, size_t size, off_t offset,
           fuse_file_info* info) {
  auto call = Call::Of(req);
  call->files().Write(DescriptorOf(info), static_cast<uint64_t>(offset), Buffer::Copy({data, size}),
                      [call, size](const Status& status) {
                        if (status.ok()) {
                          call->Written(size);
                        } else {
                          LogError("write: {}", status.ToString());
                          call->Error(status);
                        }
                      });
}

void Flush(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  auto call = Call::Of(req);
  call->files().Flush(DescriptorOf(info), [call](const Status& status) { call->Done(status); });
}

void Fsync(fuse_req_t req, fuse_ino_t, int, fuse_file_info* info) {
  auto call = Call::Of(req);
  call->files().Sync(DescriptorOf(info), [call](const Status& status) { call->Done(status); });
}

void Release(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  auto call = Call::Of(req);
  call->files().Release(DescriptorOf(info));
  call->Done(Status());
}

}  // namespace

void AddFileRequests(fuse_lowlevel_ops* ops) {
  ops->open = Open;
  ops->create = Create;
  ops->read = Read;
  ops->write = Write;
  ops->flush = Flush;
  ops->fsync = Fsync;
  ops->release = Release;
}

}  // namespace dfs::fuse
