// Requests on names.
#include <utility>

#include "fuse/kernel_call.h"

namespace dfs::fuse {
namespace {

void Lookup(fuse_req_t req, fuse_ino_t parent, const char* name) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name)](const Caller& who, auto done) {
        call->files().Lookup(who, parent, name, std::move(done));
      },
      [call, parent = call->Inode(parent), name = std::string(name)](
          const Result<idl::Attr>& attr) { call->Entry(parent, name, attr); });
}

/// Inodes are known by their number: there is nothing to forget.
void Forget(fuse_req_t req, fuse_ino_t, uint64_t) {
  fuse_reply_none(req);
}

void ForgetMulti(fuse_req_t req, size_t, fuse_forget_data*) {
  fuse_reply_none(req);
}

void ReadLink(fuse_req_t req, fuse_ino_t ino) {
  auto call = Call::Of(req);
  call->files().ReadLink(call->caller(), call->Inode(ino),
                         [call](const Result<std::string>& target) {
                           if (target) {
                             call->Link(*target);
                           } else {
                             call->Error(target.error());
                           }
                         });
}

void Mknod(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name), mode, rdev](const Caller& who,
                                                                                 auto done) {
        call->files().Mknod(who, parent, name, mode, rdev, std::move(done));
      },
      [call, parent = call->Inode(parent), name = std::string(name)](
          const Result<idl::Attr>& attr) { call->Entry(parent, name, attr); });
}

void Mkdir(fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name), mode](const Caller& who,
                                                                           auto done) {
        call->files().Mkdir(who, parent, name, mode, std::move(done));
      },
      [call, parent = call->Inode(parent), name = std::string(name)](
          const Result<idl::Attr>& attr) { call->Entry(parent, name, attr); });
}

void Unlink(fuse_req_t req, fuse_ino_t parent, const char* name) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name)](const Caller& who, auto done) {
        call->files().Unlink(who, parent, name, std::move(done));
      },
      [call](const Status& status) { call->Done(status); });
}

void Rmdir(fuse_req_t req, fuse_ino_t parent, const char* name) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name)](const Caller& who, auto done) {
        call->files().Rmdir(who, parent, name, std::move(done));
      },
      [call](const Status& status) { call->Done(status); });
}

void Symlink(fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name), target = std::string(target)](
          const Caller& who, auto done) {
        call->files().Symlink(who, parent, name, target, std::move(done));
      },
      [call, parent = call->Inode(parent), name = std::string(name)](
          const Result<idl::Attr>& attr) { call->Entry(parent, name, attr); });
}

void Rename(fuse_req_t req, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, parent = call->Inode(parent), name = std::string(name),
       new_parent = call->Inode(new_parent), new_name = std::string(new_name),
       flags](const Caller& who, auto done) {
        call->files().Rename(who, parent, name, new_parent, new_name, flags, std::move(done));
      },
      [call](const Status& status) { call->Done(status); });
}

void Link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char* new_name) {
  auto call = Call::Of(req);
  OnBehalf(
      call,
      [call, ino = call->Inode(ino), new_parent = call->Inode(new_parent),
       new_name = std::string(new_name)](const Caller& who, auto done) {
        call->files().Link(who, ino, new_parent, new_name, std::move(done));
      },
      [call, parent = call->Inode(new_parent), name = std::string(new_name)](
          const Result<idl::Attr>& attr) { call->Entry(parent, name, attr); });
}

}  // namespace

void AddNameRequests(fuse_lowlevel_ops* ops) {
  ops->lookup = Lookup;
  ops->forget = Forget;
  ops->forget_multi = ForgetMulti;
  ops->readlink = ReadLink;
  ops->mknod = Mknod;
  ops->mkdir = Mkdir;
  ops->unlink = Unlink;
  ops->rmdir = Rmdir;
  ops->symlink = Symlink;
  ops->rename = Rename;
  ops->link = Link;
}

}  // namespace dfs::fuse
