// The kernel's side of a mount: transport, attributes, names.
#include "tests/leasesim/kernel_model.h"

#include <algorithm>

namespace dfs::sim {

namespace {
const fuse::Caller kRoot;

int64_t Delay(Random& random) {
  return random.OneIn(50) ? random.Between(0, 2 * kMillisecond) : random.Between(0, 30 * kMicrosecond);
}
}  // namespace

KernelModel::KernelModel(SimNode& kernel, SimNode& daemon, fuse::FileSystem& files, Random random)
    : kernel_(kernel), daemon_(daemon), files_(files), random_(random) {}

// ---- Transport ----------------------------------------------------------------------------------

void KernelModel::ToDaemon(std::function<void()> task) {
  if (dead_) return;
  daemon_.At(Now() + Delay(random_), [self = shared_from_this(), task = std::move(task)] {
    if (!self->dead_) task();
  });
}

void KernelModel::ToKernel(std::function<void()> task) {
  if (dead_) return;
  kernel_.At(Now() + Delay(random_), [self = shared_from_this(), task = std::move(task)] {
    if (!self->dead_) task();
  });
}

void KernelModel::Soon(std::function<void()> task) {
  if (dead_) return;
  kernel_.At(Now(), [self = shared_from_this(), task = std::move(task)] {
    if (!self->dead_) task();
  });
}

/// As Call::Entry and Call::Attr: how long each may be kept is said when the daemon answers.
void KernelModel::AskForEntry(uint64_t parent, const std::string& name, AskAttr ask,
                              std::function<void(Entry)> done) {
  ToDaemon([this, parent, name, ask = std::move(ask), done = std::move(done)] {
    ask(files_, [this, self = shared_from_this(), parent, name, asked = files_.forgotten(),
                 done](Result<idl::Attr> attr) {
      if (dead_) return;
      Entry entry;
      entry.status = attr.status();
      if (attr) {
        entry.attr = *attr;
        const auto inode = static_cast<uint64_t>(attr->inode);
        entry.attr_ns = files_.KeepAttrNs(inode, asked);
        if (!name.empty()) entry.name_ns = files_.KeepNameNs(parent, name, inode);
      } else if (attr.error().Is(Code::kNotFound) && !name.empty()) {
        entry.name_ns = files_.KeepNameNs(parent, name, fuse::LeaseCache::kAbsent);
      }
      ToKernel([done, entry] { done(entry); });
    });
  });
}

void KernelModel::AskForStatus(AskStatus ask, StatusDone done) {
  ToDaemon([this, ask = std::move(ask), done = std::move(done)] {
    ask(files_, [this, self = shared_from_this(), done](Status status) {
      if (!dead_) ToKernel([done, status] { done(status); });
    });
  });
}

// ---- Locks --------------------------------------------------------------------------------------

void KernelModel::Acquire(uint64_t inode, bool exclusive, std::function<void(Held)> go) {
  Lock& lock = locks_[inode];
  lock.waiting.emplace_back(exclusive, [this, self = shared_from_this(), inode, exclusive,
                                        go = std::move(go)] {
    go(Held(this, [self, inode, exclusive](void*) { self->Release(inode, exclusive); }));
  });
  Grant(lock);
}

void KernelModel::Grant(Lock& lock) {
  while (!lock.waiting.empty()) {
    const bool exclusive = lock.waiting.front().first;
    if (lock.exclusive || (exclusive && lock.shared > 0)) return;
    if (exclusive) {
      lock.exclusive = true;
    } else {
      ++lock.shared;
    }
    Soon(std::move(lock.waiting.front().second));
    lock.waiting.pop_front();
  }
}

void KernelModel::Release(uint64_t inode, bool exclusive) {
  Lock& lock = locks_[inode];
  if (exclusive) {
    lock.exclusive = false;
  } else {
    --lock.shared;
  }
  if (!dead_) Grant(lock);
}

// ---- Attributes ---------------------------------------------------------------------------------

/// fuse_reverse_inval_inode.
void KernelModel::ForgetAttributes(uint64_t number) {
  Inode& inode = inodes_[number];
  inode.version = ++attr_version_;
  inode.stale = true;
}

/// fuse_change_attributes_common.
void KernelModel::TakeAttributes(Inode& inode, const idl::Attr& attr, int64_t keep_ns) {
  inode.version = ++attr_version_;
  inode.known = true;
  inode.attr = attr;
  inode.expires = keep_ns > 0 ? Now() + keep_ns : -1;
  inode.stale = inode.atime_stale = false;
}

/// fuse_change_attributes. version: as it was when they were asked for.
void KernelModel::ChangeAttributes(const idl::Attr& attr, int64_t keep_ns, uint64_t version) {
  Inode& inode = inodes_[static_cast<uint64_t>(attr.inode)];
  const bool overtaken = inode.version > version;
  if (inode.known && (inode.size_unstable || inode.write_version > version)) ++inode.ignored;
  if (inode.known && (overtaken || inode.size_unstable)) return;
  const bool known = inode.known;
  const idl::Attr before = inode.attr;
  TakeAttributes(inode, attr, overtaken ? 0 : keep_ns);
  if (!known || attr.type != idl::FileType::REGULAR) return;
  if (before.size != attr.size || before.mtime_ns != attr.mtime_ns) DropPages(inode);
}

void KernelModel::GetAttr(uint64_t number, bool size_only, Done<idl::Attr> done) {
  Inode& inode = inodes_[number];
  const bool fresh = inode.known && !inode.stale && inode.expires >= Now();
  if (fresh && (size_only || !inode.atime_stale)) {
    ++hits_;
    return done(inode.attr);
  }
  const uint64_t version = attr_version_;
  AskForEntry(
      number, {},
      [number](fuse::FileSystem& files, auto answer) {
        files.GetAttr(kRoot, number, std::move(answer));
      },
      [this, self = shared_from_this(), version, done = std::move(done)](const Entry& entry) {
        if (!entry.status.ok()) return done(entry.status);
        ChangeAttributes(entry.attr, entry.attr_ns, version);
        done(entry.attr);
      });
}

// ---- Names --------------------------------------------------------------------------------------

void KernelModel::Walk(const Path& path, Done<Place> done) {
  WalkFrom(files_.root(), path, std::move(done));
}

/// default_permissions: every directory on the way is asked for its attributes when they have expired.
void KernelModel::WalkFrom(uint64_t directory, Path rest, Done<Place> done) {
  GetAttr(directory, true, [this, self = shared_from_this(), directory, rest = std::move(rest),
                            done = std::move(done)](const Result<idl::Attr>& attr) mutable {
    if (!attr) return done(attr.error());
    const std::string name = rest.front();
    if (rest.size() == 1) return done(Place{directory, name});
    rest.erase(rest.begin());
    Lookup(directory, name, false, false,
           [this, self, rest = std::move(rest), done = std::move(done)](Result<uint64_t> next) {
             if (!next) return done(next.error());
             if (*next == 0) return done(Status(Code::kNotFound, "no such directory"));
             WalkFrom(*next, rest, done);
           });
  });
}

/// force: as LOOKUP_EXCL, LOOKUP_RENAME_TARGET: a cached answer does not do. 0: there is no such name.
void KernelModel::Lookup(uint64_t parent, const std::string& name, bool force, bool locked,
                         Done<uint64_t> done) {
  auto it = dentries_.find({parent, name});
  if (it == dentries_.end() || it->second.epoch < epoch_) {
    return LookupAnew(parent, name, locked, std::move(done));
  }
  if (it->second.expires >= Now() && !force) {
    ++hits_;
    return done(it->second.inode);
  }
  if (it->second.inode == 0) return LookupAnew(parent, name, locked, std::move(done));
  Revalidate(parent, name, locked, std::move(done));
}

/// fuse_dentry_revalidate: without the directory's lock.
void KernelModel::Revalidate(uint64_t parent, const std::string& name, bool locked,
                             Done<uint64_t> done) {
  const uint64_t version = attr_version_;
  AskForEntry(
      parent, name,
      [parent, name](fuse::FileSystem& files, auto answer) {
        files.Lookup(kRoot, parent, name, std::move(answer));
      },
      [this, self = shared_from_this(), parent, name, locked, version,
       done = std::move(done)](const Entry& entry) {
        auto it = dentries_.find({parent, name});
        const auto inode = static_cast<uint64_t>(entry.attr.inode);
        if (it == dentries_.end() || !entry.status.ok() || it->second.inode != inode) {
          dentries_.erase({parent, name});
          return LookupAnew(parent, name, locked, done);
        }
        ChangeAttributes(entry.attr, entry.attr_ns, version);
        it->second.expires = entry.name_ns > 0 ? Now() + entry.name_ns : -1;
        done(inode);
      });
}

/// One at a time for each name (d_alloc_parallel).
void KernelModel::LookupAnew(uint64_t parent, const std::string& name, bool locked,
                             Done<uint64_t> done) {
  const NameKey key(parent, name);
  if (auto it = in_lookup_.find(key); it != in_lookup_.end()) {
    it->second.push_back([this, parent, name, locked, done = std::move(done)] {
      Lookup(parent, name, false, locked, done);
    });
    return;
  }
  if (!locked) {
    Acquire(parent, false, [this, parent, name, done = std::move(done)](const Held& held) {
      LookupAnew(parent, name, true, [held, done](const Result<uint64_t>& inode) { done(inode); });
    });
    return;
  }
  in_lookup_[key];
  const uint64_t version = attr_version_;
  AskForEntry(
      parent, name,
      [parent, name](fuse::FileSystem& files, auto answer) {
        files.Lookup(kRoot, parent, name, std::move(answer));
      },
      [this, self = shared_from_this(), key, version, epoch = epoch_,
       done = std::move(done)](const Entry& entry) {
        Instantiate(key.first, key.second, entry, epoch, version);
        const auto waiting = std::move(in_lookup_[key]);
        in_lookup_.erase(key);
        for (const auto& again : waiting) Soon(again);
        if (entry.status.ok()) return done(static_cast<uint64_t>(entry.attr.inode));
        if (entry.status.Is(Code::kNotFound)) return done(uint64_t{0});
        done(entry.status);
      });
}

void KernelModel::Instantiate(uint64_t parent, const std::string& name, const Entry& entry,
                              uint64_t epoch, uint64_t version) {
  const bool absent = entry.status.Is(Code::kNotFound);
  if (!entry.status.ok() && !absent) return;
  Dentry& dentry = dentries_[{parent, name}];
  dentry.inode = absent ? 0 : static_cast<uint64_t>(entry.attr.inode);
  dentry.expires = entry.name_ns > 0 ? Now() + entry.name_ns : -1;
  dentry.epoch = epoch;
  if (!absent) ChangeAttributes(entry.attr, entry.attr_ns, version);
}

// ---- What programs do with names ----------------------------------------------------------------

void KernelModel::Stat(const Path& path, Done<idl::Attr> done) {
  Walk(path, [this, self = shared_from_this(), done = std::move(done)](const Result<Place>& at) {
    if (!at) return done(at.error());
    Lookup(at->parent, at->name, false, false, [this, self, done](Result<uint64_t> inode) {
      if (!inode) return done(inode.error());
      if (*inode == 0) return done(Status(Code::kNotFound, "no such name"));
      GetAttr(*inode, false, [done](Result<idl::Attr> attr) {
        if (!attr && (attr.error().Is(Code::kNotFound) || attr.error().Is(Code::kStaleHandle))) {
          return done(idl::Attr());
        }
        done(std::move(attr));
      });
    });
  });
}

void KernelModel::Unlink(const Path& path, bool directory, StatusDone done) {
  Walk(path, [this, self = shared_from_this(), directory,
              done = std::move(done)](const Result<Place>& at) {
    if (!at) return done(at.error());
    Acquire(at->parent, true, [this, self, at = *at, directory, done](const Held& held) {
      Lookup(at.parent, at.name, false, true,
             [this, self, at, directory, held, done](Result<uint64_t> inode) {
               if (!inode) return done(inode.error());
               if (*inode == 0) return done(Status(Code::kNotFound, "no such name"));
               AskForStatus(
                   [at, directory](fuse::FileSystem& files, auto answer) {
                     if (directory) {
                       files.Rmdir(kRoot, at.parent, at.name, std::move(answer));
                     } else {
                       files.Unlink(kRoot, at.parent, at.name, std::move(answer));
                     }
                   },
                   [this, self, at, held, inode = *inode, done](const Status& status) {
                     if (status.ok()) {
                       dentries_.erase({at.parent, at.name});
                       Invalidate(at.parent);
                       InvalidateTimes(inode);
                     }
                     done(status);
                   });
             });
    });
  });
}

void KernelModel::Mkdir(const Path& path, Done<uint64_t> done) {
  Walk(path, [this, self = shared_from_this(), done = std::move(done)](const Result<Place>& at) {
    if (!at) return done(at.error());
    Acquire(at->parent, true, [this, self, at = *at, done](const Held& held) {
      Lookup(at.parent, at.name, true, true, [this, self, at, held, done](Result<uint64_t> there) {
        if (!there) return done(there.error());
        if (*there != 0) return done(Status(Code::kAlreadyExists, "it is there"));
        AskForEntry(
            at.parent, at.name,
            [at](fuse::FileSystem& files, auto answer) {
              files.Mkdir(kRoot, at.parent, at.name, 0755, std::move(answer));
            },
            [this, self, at, held, epoch = epoch_, version = attr_version_,
             done](const Entry& entry) {
              if (!entry.status.ok()) return done(entry.status);
              Invalidate(at.parent);
              Instantiate(at.parent, at.name, entry, epoch, version);
              done(static_cast<uint64_t>(entry.attr.inode));
            });
      });
    });
  });
}

void KernelModel::Rename(const Path& from, const Path& to, Done<bool> done) {
  Walk(from, [this, self = shared_from_this(), to,
              done = std::move(done)](const Result<Place>& source) {
    if (!source) return done(source.error());
    Walk(to, [this, self, source = *source, done](const Result<Place>& target) {
      if (!target) return done(target.error());
      const uint64_t first = std::min(source.parent, target->parent);
      const uint64_t second = std::max(source.parent, target->parent);
      Acquire(first, true, [this, self, source, target = *target, first, second,
                            done](const Held& held) {
        if (first == second) return RenameLocked(source, target, held, done);
        Acquire(second, true, [this, self, source, target, held, done](const Held& other) {
          auto both = std::make_shared<std::pair<Held, Held>>(held, other);
          RenameLocked(source, target, both, done);
        });
      });
    });
  });
}

void KernelModel::RenameLocked(const Place& from, const Place& to, const Held& held,
                               Done<bool> done) {
  Lookup(from.parent, from.name, false, true, [this, self = shared_from_this(), from, to, held,
                                               done](Result<uint64_t> source) {
    if (!source) return done(source.error());
    if (*source == 0) return done(Status(Code::kNotFound, "no such name"));
    Lookup(to.parent, to.name, true, true, [this, self, from, to, held, source = *source,
                                            done](Result<uint64_t> target) {
      if (!target) return done(target.error());
      if (*target == source) return done(false);
      AskForStatus(
          [from, to](fuse::FileSystem& files, auto answer) {
            files.Rename(kRoot, from.parent, from.name, to.parent, to.name, 0, std::move(answer));
          },
          [this, self, from, to, held, source, target = *target, done](const Status& status) {
            if (status.Is(Code::kNotFound)) dentries_.erase({from.parent, from.name});
            if (!status.ok()) return done(status);
            InvalidateTimes(source);
            Invalidate(from.parent);
            Invalidate(to.parent);
            if (target != 0) InvalidateTimes(target);
            // d_move: the name has moved, and is good for as long as it was.
            auto moved = dentries_.extract({from.parent, from.name});
            dentries_.erase({to.parent, to.name});
            if (!moved.empty()) dentries_[{to.parent, to.name}] = moved.mapped();
            done(true);
          });
    });
  });
}

void KernelModel::Link(const Path& existing, const Path& path, Done<uint64_t> done) {
  Stat(existing, [this, self = shared_from_this(), path,
                  done = std::move(done)](const Result<idl::Attr>& attr) {
    if (!attr) return done(attr.error());
    if (attr->inode == 0) return done(Status(Code::kNotFound, "the inode is gone"));
    Walk(path, [this, self, inode = static_cast<uint64_t>(attr->inode),
                done](const Result<Place>& at) {
      if (!at) return done(at.error());
      Acquire(at->parent, true, [this, self, inode, at = *at, done](const Held& held) {
        Lookup(at.parent, at.name, true, true,
               [this, self, inode, at, held, done](Result<uint64_t> there) {
                 if (!there) return done(there.error());
                 if (*there != 0) return done(Status(Code::kAlreadyExists, "it is there"));
                 AskForEntry(
                     at.parent, at.name,
                     [inode, at](fuse::FileSystem& files, auto answer) {
                       files.Link(kRoot, inode, at.parent, at.name, std::move(answer));
                     },
                     [this, self, at, held, inode, epoch = epoch_, done](const Entry& entry) {
                       if (!entry.status.ok()) return done(entry.status);
                       Invalidate(at.parent);
                       Instantiate(at.parent, at.name, entry, epoch, UINT64_MAX);
                       InvalidateTimes(inode);
                       done(inode);
                     });
               });
      });
    });
  });
}

/// fuse_direntplus_link.
void KernelModel::LinkEntry(uint64_t parent, const idl::DirectoryEntry& entry, int64_t attr_ns,
                            int64_t name_ns, uint64_t version) {
  if (!entry.__isset.attr || in_lookup_.count({parent, entry.name}) > 0) return;
  ChangeAttributes(entry.attr, attr_ns, version);
  Dentry& dentry = dentries_[{parent, entry.name}];
  dentry.inode = static_cast<uint64_t>(entry.inode);
  dentry.epoch = epoch_;
  dentry.expires = name_ns > 0 ? Now() + name_ns : -1;
}

void KernelModel::List(const Path& path, Done<std::map<std::string, uint64_t>> done) {
  using Names = std::map<std::string, uint64_t>;
  struct Kept {
    idl::DirectoryEntry entry;
    int64_t attr_ns;
    int64_t name_ns;
  };
  Path inside = path;
  inside.emplace_back("-");
  Walk(inside, [this, self = shared_from_this(), done = std::move(done)](const Result<Place>& at) {
    if (!at) return done(at.error());
    Acquire(at->parent, false, [this, self, parent = at->parent, done](const Held& held) {
      ToDaemon([this, self, parent, held, version = attr_version_, done] {
        fuse::DirectoryStream* stream = files_.OpenDirectory(kRoot, parent);
        files_.Fill(stream, 0, [this, self, stream, parent, held, version,
                                asked = files_.forgotten(), done](Status status) {
          if (dead_) return;
          auto entries = std::make_shared<std::vector<Kept>>();
          if (status.ok()) {
            for (const idl::DirectoryEntry& entry : stream->page->entries) {
              const auto inode = static_cast<uint64_t>(entry.inode);
              entries->push_back({entry, files_.KeepAttrNs(inode, asked),
                                  files_.KeepNameNs(parent, entry.name, inode)});
            }
          }
          files_.NamesListed();
          files_.ReleaseDirectory(stream);
          ToKernel([this, self, parent, held, version, done, status, entries] {
            if (!status.ok()) return done(status);
            Names names;
            for (const Kept& kept : *entries) {
              LinkEntry(parent, kept.entry, kept.attr_ns, kept.name_ns, version);
              names[kept.entry.name] = static_cast<uint64_t>(kept.entry.inode);
            }
            done(names);
          });
        });
      });
    });
  });
}

}  // namespace dfs::sim
