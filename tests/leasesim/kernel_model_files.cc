// The kernel's side of a mount: files and their pages.
#include <fcntl.h>

#include <algorithm>

#include "tests/leasesim/kernel_model.h"

namespace dfs::sim {

namespace {
const fuse::Caller kRoot;
constexpr uint64_t kPage = 4096;
}  // namespace

// ---- Opening ------------------------------------------------------------------------------------

void KernelModel::Open(const Path& path, OpenHow how, Done<OpenPtr> done) {
  Walk(path, [this, self = shared_from_this(), how,
              done = std::move(done)](const Result<Place>& at) {
    if (!at) return done(at.error());
    if (!how.create) {
      Lookup(at->parent, at->name, false, false, [this, self, how, done](Result<uint64_t> inode) {
        if (!inode) return done(inode.error());
        if (*inode == 0) return done(Status(Code::kNotFound, "no such name"));
        OpenInode(*inode, how, done);
      });
      return;
    }
    Acquire(at->parent, true, [this, self, at = *at, how, done](const Held& held) {
      Lookup(at.parent, at.name, how.exclusive, true,
             [this, self, at, how, held, done](Result<uint64_t> inode) {
               if (!inode) return done(inode.error());
               if (*inode == 0) return Create(at, how, held, done);
               if (how.exclusive) return done(Status(Code::kAlreadyExists, "it is there"));
               OpenInode(*inode, how, done);
             });
    });
  });
}

void KernelModel::Create(const Place& at, OpenHow how, const Held& held, Done<OpenPtr> done) {
  const int flags = O_RDWR | O_CREAT | (how.exclusive ? O_EXCL : 0);
  ToDaemon([this, at, flags, held, epoch = epoch_, version = attr_version_,
            done = std::move(done)] {
    files_.Create(kRoot, at.parent, at.name, 0644, flags,
                  [this, self = shared_from_this(), at, held, epoch, version,
                   asked = files_.forgotten(), done](Result<fuse::Descriptor*> descriptor,
                                                     const idl::Attr* attr) {
                    if (dead_) return;
                    if (!descriptor) {
                      ToKernel([done, status = descriptor.status()] { done(status); });
                      return;
                    }
                    Entry entry;
                    entry.attr = *attr;
                    const auto inode = static_cast<uint64_t>(attr->inode);
                    files_.KeepPages(inode);
                    entry.attr_ns = files_.KeepAttrNs(inode, asked);
                    entry.name_ns = files_.KeepNameNs(at.parent, at.name, inode);
                    auto file = std::make_shared<OpenFile>(OpenFile{inode, *descriptor});
                    ToKernel([this, self, at, held, epoch, version, entry, file, done] {
                      Invalidate(at.parent);
                      Instantiate(at.parent, at.name, entry, epoch, version);
                      done(file);
                    });
                  });
  });
}

void KernelModel::OpenInode(uint64_t inode, OpenHow how, Done<OpenPtr> done) {
  ToDaemon([this, inode, how, done = std::move(done)] {
    files_.Open(kRoot, inode, O_RDWR,
                [this, self = shared_from_this(), inode, how, done](
                    Result<fuse::Descriptor*> descriptor, const idl::Attr*) {
                  if (dead_) return;
                  if (!descriptor) {
                    ToKernel([done, status = descriptor.status()] { done(status); });
                    return;
                  }
                  const bool keep = files_.KeepPages(inode);
                  auto file = std::make_shared<OpenFile>(OpenFile{inode, *descriptor});
                  ToKernel([this, self, inode, how, keep, file, done] {
                    if (!keep) DropPages(inodes_[inode]);
                    if (!how.truncate) return done(file);
                    fuse::AttrChange cut;
                    cut.mask = 8;
                    SetAttrOf(inode, cut, [this, self, file, done](const Result<idl::Attr>& attr) {
                      if (attr) return done(file);
                      Close(file, [](const Status&) {});
                      done(attr.error());
                    });
                  });
                });
  });
}

void KernelModel::Close(const OpenPtr& file, StatusDone done) {
  AskForStatus(
      [file](fuse::FileSystem& files, auto answer) {
        files.Flush(file->descriptor, std::move(answer));
      },
      [this, self = shared_from_this(), file, done = std::move(done)](const Status& status) {
        ToDaemon([this, self, file] { files_.Release(file->descriptor); });
        done(status);
      });
}

void KernelModel::Sync(const OpenPtr& file, StatusDone done) {
  Acquire(file->inode, true, [this, self = shared_from_this(), file,
                              done = std::move(done)](const Held& held) {
    AskForStatus([file](fuse::FileSystem& files,
                        auto answer) { files.Sync(file->descriptor, std::move(answer)); },
                 [held, done](const Status& status) { done(status); });
  });
}

// ---- Pages --------------------------------------------------------------------------------------

void KernelModel::LockPage(uint64_t inode, uint64_t number, std::function<void()> go) {
  Page& page = inodes_[inode].pages[number];
  if (!page.locked) {
    page.locked = true;
    return go();
  }
  page.waiting.push_back([this, inode, number, go = std::move(go)] { LockPage(inode, number, go); });
}

void KernelModel::UnlockPage(uint64_t inode, uint64_t number) {
  auto& pages = inodes_[inode].pages;
  Page& page = pages[number];
  page.locked = false;
  if (std::exchange(page.drop, false)) page.good = false;
  const auto waiting = std::move(page.waiting);
  if (!page.good) pages.erase(number);
  for (const auto& again : waiting) Soon(again);
}

/// truncate_pagecache, invalidate_inode_pages2.
void KernelModel::DropPages(Inode& inode, uint64_t from) {
  for (auto it = inode.pages.lower_bound(from); it != inode.pages.end();) {
    if (it->second.locked) {
      it->second.drop = true;
      ++it;
    } else {
      it = inode.pages.erase(it);
    }
  }
}

// ---- Reading ------------------------------------------------------------------------------------

void KernelModel::Read(const OpenPtr& file, uint64_t offset, size_t size,
                       Done<std::string> done) {
  GetAttr(file->inode, true, [this, self = shared_from_this(), file, offset, size,
                              done = std::move(done)](const Result<idl::Attr>& attr) {
    if (!attr) return done(attr.error());
    ReadPages(file, offset, offset + size, {}, done);
  });
}

/// filemap_read.
void KernelModel::ReadPages(const OpenPtr& file, uint64_t at, uint64_t end, std::string so_far,
                            Done<std::string> done) {
  Inode& inode = inodes_[file->inode];
  const auto size = static_cast<uint64_t>(inode.attr.size);
  if (at >= end || at >= size) return done(std::move(so_far));
  const uint64_t number = at / kPage;
  auto it = inode.pages.find(number);
  if (it == inode.pages.end() || !it->second.good || it->second.locked) {
    FetchPage(file, number, [this, self = shared_from_this(), file, at, end,
                             so_far = std::move(so_far), done](const Status& status) {
      if (!status.ok()) return done(status);
      // The page's bytes, as long as nobody drops it; else anew.
      ReadPages(file, at, end, so_far, done);
    });
    return;
  }
  ++hits_;
  const uint64_t to = std::min({end, (number + 1) * kPage, size});
  so_far += it->second.bytes.substr(at % kPage, to - at);
  ReadPages(file, to, end, std::move(so_far), std::move(done));
}

/// fuse_read_folio, with the page's lock.
void KernelModel::FetchPage(const OpenPtr& file, uint64_t number, StatusDone done) {
  LockPage(file->inode, number, [this, self = shared_from_this(), file, number,
                                 done = std::move(done)] {
    if (inodes_[file->inode].pages[number].good) {
      UnlockPage(file->inode, number);
      return Soon([done] { done(Status()); });
    }
    ToDaemon([this, self, file, number, version = attr_version_, done] {
      files_.Read(file->descriptor, number * kPage, kPage, [this, self, file, number, version,
                                                            done](const Result<Buffer>& data) {
        if (dead_) return;
        auto bytes = std::make_shared<std::string>(data ? std::string(data->view()) : "");
        ToKernel([this, self, file, number, version, bytes, status = data.status(), done] {
          Inode& inode = inodes_[file->inode];
          Page& page = inode.pages[number];
          const uint64_t end = number * kPage + bytes->size();
          if (status.ok()) {
            // fuse_short_read: the file ends there.
            if (bytes->size() < kPage && version >= inode.version && !inode.size_unstable &&
                end < static_cast<uint64_t>(inode.attr.size)) {
              inode.version = ++attr_version_;
              inode.attr.size = static_cast<int64_t>(end);
            }
            bytes->resize(kPage, '\0');
            page.bytes = *bytes;
            page.good = true;
            inode.atime_stale = true;
          }
          UnlockPage(file->inode, number);
          done(status);
        });
      });
    });
  });
}

// ---- Writing ------------------------------------------------------------------------------------

/// Within one page.
void KernelModel::Write(const OpenPtr& file, uint64_t offset, std::string data, StatusDone done) {
  Acquire(file->inode, true, [this, self = shared_from_this(), file, offset, data = std::move(data),
                              done = std::move(done)](const Held& held) {
    LockPage(file->inode, offset / kPage, [this, self, file, offset, data, held, done] {
      WritePage(file, offset, data, held, done);
    });
  });
}

/// fuse_perform_write, without the write-back cache.
void KernelModel::WritePage(const OpenPtr& file, uint64_t offset, const std::string& data,
                            const Held& held, StatusDone done) {
  Inode& inode = inodes_[file->inode];
  const uint64_t number = offset / kPage;
  const uint64_t end = offset + data.size();
  Page& page = inode.pages[number];
  const bool good = page.good;
  if (good) {
    page.bytes.replace(offset % kPage, data.size(), data);
    UnlockPage(file->inode, number);
  }
  inode.size_unstable = end > static_cast<uint64_t>(inode.attr.size);
  AskForStatus(
      [file, offset, data](fuse::FileSystem& files, auto answer) {
        files.Write(file->descriptor, offset, Buffer(std::string(data)), std::move(answer));
      },
      [this, self = shared_from_this(), file, number, end, good, held,
       done = std::move(done)](const Status& status) {
        Inode& written = inodes_[file->inode];
        if (good && !status.ok()) {
          auto it = written.pages.find(number);
          if (it != written.pages.end() && it->second.locked) it->second.drop = true;
          if (it != written.pages.end() && !it->second.locked) written.pages.erase(it);
        }
        if (!good) UnlockPage(file->inode, number);
        // fuse_write_update_attr.
        written.version = written.write_version = ++attr_version_;
        if (status.ok() && end > static_cast<uint64_t>(written.attr.size)) {
          written.attr.size = static_cast<int64_t>(end);
        }
        written.stale = true;
        written.size_unstable = false;
        done(status);
      });
}

void KernelModel::SetAttr(const Path& path, const fuse::AttrChange& change, Done<idl::Attr> done) {
  Stat(path, [this, self = shared_from_this(), change,
              done = std::move(done)](const Result<idl::Attr>& attr) {
    if (!attr) return done(attr.error());
    if (attr->inode == 0) return done(Status(Code::kNotFound, "the inode is gone"));
    SetAttrOf(static_cast<uint64_t>(attr->inode), change, done);
  });
}

/// fuse_do_setattr: no version guards what it answers, and pages go for another size only.
void KernelModel::SetAttrOf(uint64_t number, const fuse::AttrChange& change,
                            Done<idl::Attr> done) {
  Acquire(number, true, [this, self = shared_from_this(), number, change,
                         done = std::move(done)](const Held& held) {
    const bool cut = (change.mask & 8) != 0;
    if (cut) inodes_[number].size_unstable = true;
    AskForEntry(
        number, {},
        [number, change](fuse::FileSystem& files, auto answer) {
          files.SetAttr(kRoot, number, change, std::move(answer));
        },
        [this, self, number, cut, held, done](const Entry& entry) {
          Inode& inode = inodes_[number];
          if (cut) inode.size_unstable = false;
          if (!entry.status.ok()) return done(entry.status);
          const int64_t size = inode.attr.size;
          TakeAttributes(inode, entry.attr, entry.attr_ns);
          if (cut) inode.write_version = inode.version;
          if (size != entry.attr.size) DropPages(inode);
          done(entry.attr);
        });
  });
}

}  // namespace dfs::sim
