// What a program on a mount does.
#include <fmt/core.h>

#include <cstring>

#include "tests/leasesim/effects.h"
#include "tests/leasesim/lease_world.h"
#include "tests/sim/workload.h"

namespace dfs::sim {

namespace {
constexpr size_t kMostOps = 220;  // in one history: the search for an order has to end

std::string ThingName(const Thing& thing) {
  return std::string(thing.directory) + "/" + thing.name;
}

class MountProgram final : public Program {
 public:
  MountProgram(LeaseWorld& world, Mount& mount, size_t number)
      : Program(world, mount.kernel_node(), fmt::format("{}.{}", mount.name(), number)),
        mount_(mount),
        kernel_(mount.kernel()->shared_from_this()) {}
  const Mount* mount() const override { return &mount_; }

 private:
  using OpenPtr = KernelModel::OpenPtr;
  using Path = KernelModel::Path;

  /// One call, in the history of one thing.
  struct Call {
    History* history;
    size_t op;
  };

  void Act() override {
    const uint64_t dice = random().Uniform(world_.files() ? 20 : 12);
    if (dice < 5) return SingleName();
    if (dice < 9) return PairName();
    if (dice < 10) return ListDirectory();
    if (dice < 12) return Attributes();
    FileCall(random().Uniform(std::size(kFiles)));
  }

  bool Finish() override {
    for (size_t i = 0; i < std::size(kFiles); ++i) {
      if (open_[i] == nullptr) continue;
      CloseFile(i);
      return true;
    }
    return false;
  }

  Call Begin(const std::string& thing, const std::string& what, History::Effect if_unknown) {
    Doing(what + " " + thing);
    History& history = world_.Of(thing);
    return {&history, history.Invoke(doing(), world_.Tick(), std::move(if_unknown))};
  }
  void End(const Call& call, const Status& status, const std::string& how, History::Effect effect) {
    Note(status);
    call.history->Return(call.op, how, world_.Tick(), std::move(effect));
    Next();
  }
  /// It has failed, and how does not tell what it did; a call that only looks has done nothing.
  void EndUnknown(const Status& status) {
    Note(status);
    // Conflicts: what was written under a lease that has run out is fenced.
    const bool fenced = status.Is(Code::kConflict) || status.Is(Code::kBusy) ||
                        status.Is(Code::kStaleStamp) || status.Is(Code::kIoError);
    if (!OutcomeUnknown(status) && !fenced && !status.Is(Code::kNotFound)) {
      Fail(status.ToString());
    }
    Next();
  }

  /// What was seen belongs to more than one moment.
  void EndNothing(const Call& call, const Status& status) {
    call.history->Forget(call.op);
    Note(status);
    Next();
  }

  // ---- Names

  void SingleName() {
    const Thing& thing = kSingles[random().Uniform(std::size(kSingles))];
    const std::string name = ThingName(thing);
    const Path path = {thing.directory, thing.name};
    const bool directory = thing.name[0] == 's';
    if (world_.Of(name).size() >= kMostOps) return Next();
    const uint64_t dice = random().Uniform(10);
    if (dice < 3 && directory) {
      const Call call = Begin(name, "mkdir", Made(0, kAny));
      kernel_->Mkdir(path, [this, self = shared_from_this(), call](const Result<uint64_t>& inode) {
        EndMade(call, 0, inode);
      });
    } else if (dice < 3) {
      const Call call = Begin(name, "create", Made(0, kAny));
      MakeFile(path, call, 0);
    } else if (dice < 6) {
      const Call call = Begin(name, "unlink", Removed(0));
      kernel_->Unlink(path, directory, [this, self = shared_from_this(), call](const Status& s) {
        EndRemoved(call, 0, s);
      });
    } else {
      const Call call = Begin(name, "stat", nullptr);
      Look(path, call, 0);
    }
  }

  void MakeFile(const Path& path, const Call& call, size_t index) {
    KernelModel::OpenHow how;
    how.create = how.exclusive = true;
    kernel_->Open(path, how, [this, self = shared_from_this(), call,
                              index](const Result<OpenPtr>& file) {
      if (file) kernel_->Close(*file, [](const Status&) {});
      EndMade(call, index, file ? Result<uint64_t>((*file)->inode) : file.error());
    });
  }

  void Look(const Path& path, const Call& call, size_t index) {
    kernel_->Stat(path, [this, self = shared_from_this(), call,
                         index](const Result<idl::Attr>& attr) {
      if (attr && attr->inode != 0) {
        const auto inode = static_cast<uint64_t>(attr->inode);
        End(call, attr.status(), fmt::format("inode {}", inode), Is(index, inode));
      } else if (!attr && attr.error().Is(Code::kNotFound)) {
        End(call, attr.status(), "absent", Is(index, kAbsent));
      } else if (attr) {
        EndNothing(call, Status());  // it went between the two looks
      } else {
        EndUnknown(attr.status());
      }
    });
  }

  void EndMade(const Call& call, size_t index, const Result<uint64_t>& inode) {
    if (inode) {
      End(call, inode.status(), fmt::format("inode {}", *inode), Made(index, *inode));
    } else if (inode.error().Is(Code::kAlreadyExists)) {
      End(call, inode.status(), "exists", IsThere(index));
    } else {
      EndUnknown(inode.status());
    }
  }
  void EndRemoved(const Call& call, size_t index, const Status& status) {
    if (status.ok()) {
      End(call, status, "ok", Removed(index));
    } else if (status.Is(Code::kNotFound)) {
      End(call, status, "absent", Is(index, kAbsent));
    } else {
      EndUnknown(status);
    }
  }

  void PairName() {
    if (world_.Of("pair").size() >= kMostOps) return Next();
    const size_t a = random().Uniform(std::size(kPair));
    const size_t b = (a + 1 + random().Uniform(std::size(kPair) - 1)) % std::size(kPair);
    const Path from = {kPair[a].directory, kPair[a].name};
    const Path to = {kPair[b].directory, kPair[b].name};
    const std::string first = " " + ThingName(kPair[a]);
    const std::string second = first + " " + ThingName(kPair[b]) + " of";
    const uint64_t dice = random().Uniform(10);
    auto self = shared_from_this();
    if (dice < 1) {
      const Call call = Begin("pair", "create" + first + " of", Made(a, kAny));
      MakeFile(from, call, a);
    } else if (dice < 2) {
      const Call call = Begin("pair", "unlink" + first + " of", Removed(a));
      kernel_->Unlink(from, false, [this, self, call, a](const Status& s) {
        EndRemoved(call, a, s);
      });
    } else if (dice < 5) {
      const Call call = Begin("pair", "rename" + second, Renamed(a, b));
      kernel_->Rename(from, to, [this, self, call, a, b](const Result<bool>& moved) {
        if (moved && !*moved) return EndNothing(call, Status());
        if (moved) return End(call, Status(), "ok", Renamed(a, b));
        EndRemoved(call, a, moved.status());
      });
    } else if (dice < 6) {
      const Call call = Begin("pair", "link" + second, Made(b, kAny));
      kernel_->Link(from, to, [this, self, call, b](const Result<uint64_t>& inode) {
        const Status status = inode.status();
        if (status.Is(Code::kNotFound) || status.Is(Code::kStaleHandle)) {
          return EndNothing(call, status);
        }
        EndMade(call, b, inode);
      });
    } else {
      const Call call = Begin("pair", "stat" + first + " of", nullptr);
      Look(from, call, a);
    }
  }

  /// Every name is looked at by itself.
  void ListDirectory() {
    const char* directory = random().OneIn(2) ? "d1" : "d2";
    struct Seen {
      std::string name;
      size_t index;
      Call call;
    };
    auto seen = std::make_shared<std::vector<Seen>>();
    const auto add = [&](const Thing& thing, const std::string& history, size_t index) {
      if (std::strcmp(thing.directory, directory) != 0) return;
      if (world_.Of(history).size() >= kMostOps) return;
      const std::string what = fmt::format("list ({}) of", thing.name);
      seen->push_back({thing.name, index, Begin(history, what, nullptr)});
    };
    for (const Thing& thing : kSingles) add(thing, ThingName(thing), 0);
    for (size_t i = 0; i < std::size(kPair); ++i) add(kPair[i], "pair", i);
    Doing(std::string("list ") + directory);
    kernel_->List({directory}, [this, self = shared_from_this(), seen](
                                   const Result<std::map<std::string, uint64_t>>& names) {
      if (!names) return EndUnknown(names.status());
      Note(Status());
      for (const Seen& one : *seen) {
        auto it = names->find(one.name);
        const uint64_t inode = it == names->end() ? kAbsent : it->second;
        one.call.history->Return(one.call.op, fmt::format("inode {}", inode), world_.Tick(),
                                 Is(one.index, inode));
      }
      Next();
    });
  }

  // ---- Attributes

  void Attributes() {
    const size_t which = random().Uniform(3);
    static const Path kPaths[] = {{"d1"}, {"d1", "f1"}, {"d1", "u"}};
    static const char* const kThings[] = {"mode d1", "mode f1", "mtime u"};
    const Path& path = kPaths[which];
    if (world_.Of(kThings[which]).size() >= kMostOps) return Next();
    auto self = shared_from_this();
    if (random().OneIn(3)) {
      fuse::AttrChange change;
      const uint64_t value = which == 2 ? world_.NextValue() * 1000 : world_.NextValue() & 0777;
      change.mask = which == 2 ? 32 : 1;
      change.mode = static_cast<uint32_t>(value);
      change.mtime_ns = static_cast<int64_t>(value);
      const Call call = Begin(kThings[which], fmt::format("set {}", value), Set(value));
      kernel_->SetAttr(path, change, [this, self, call, value](const Result<idl::Attr>& attr) {
        if (!attr) return EndUnknown(attr.status());
        End(call, Status(), "ok", Set(value));
      });
      return;
    }
    const Call call = Begin(kThings[which], "stat", nullptr);
    kernel_->Stat(path, [this, self, call, which](const Result<idl::Attr>& attr) {
      if (!attr) return EndUnknown(attr.status());
      const auto value = static_cast<uint64_t>(which == 2 ? attr->mtime_ns : attr->mode & 0777);
      End(call, Status(), std::to_string(value), Shows(value));
    });
  }

  // ---- Bytes

  std::string SizeOf(size_t file) const { return fmt::format("size of {}", kFiles[file].name); }
  std::string CellOf(size_t file, uint64_t offset) const {
    return fmt::format("{} at {}", kFiles[file].name, offset);
  }

  void FileCall(size_t file) {
    if (open_[file] == nullptr) return OpenFile(file);
    const uint64_t cell = kFiles[file].cells[random().Uniform(4)];
    const uint64_t dice = random().Uniform(24);
    if (world_.Of(CellOf(file, cell)).size() >= kMostOps) return Next();
    if (dice < 7) return WriteCell(file, cell);
    if (dice < 16) return ReadCell(file, cell);
    if (dice < 20) return StatSize(file);
    if (dice < 21) return Truncate(file, cell);
    if (dice < 23) return SyncFile(file);
    CloseFile(file);
  }

  void OpenFile(size_t file) {
    Doing(fmt::format("open {}", kFiles[file].name));
    kernel_->Open({kFiles[file].directory, kFiles[file].name}, {},
                  [this, self = shared_from_this(), file](const Result<OpenPtr>& open) {
                    if (!open) return EndUnknown(open.status());
                    Note(Status());
                    open_[file] = *open;
                    Next();
                  });
  }

  void WriteCell(size_t file, uint64_t offset) {
    if (world_.Of(SizeOf(file)).size() >= kMostOps) return Next();
    const uint64_t value = world_.NextValue();
    const uint64_t end = offset + kCell;
    Doing(fmt::format("write {} to {}", value, CellOf(file, offset)));
    const uint64_t began = world_.Tick();
    History& cell = world_.Of(CellOf(file, offset));
    History& size = world_.Of(SizeOf(file));
    const size_t of_cell = cell.Invoke(doing(), began, Set(value));
    const size_t of_size = size.Invoke(doing(), began, AtLeast(end));
    std::string data;
    while (data.size() < kCell) {
      data.append(reinterpret_cast<const char*>(&value), sizeof(value));
    }
    world_.under_way().insert(value);
    kernel_->Write(open_[file], offset, std::move(data),
                   [this, self = shared_from_this(), file, offset, value, end, began, &cell, &size,
                    of_cell, of_size, losses = mount_.losses()](const Status& status) {
                     world_.under_way().erase(value);
                     if (!status.ok()) {
                       mount_.NoteLost();  // what was written before it, too
                       return EndUnknown(status);
                     }
                     Note(status);
                     const uint64_t now = world_.Tick();
                     cell.Return(of_cell, "ok", now, Set(value));
                     size.Return(of_size, "ok", now, AtLeast(end));
                     mount_.NoteWritten({CellOf(file, offset), SizeOf(file), file, began});
                     if (mount_.losses() != losses) mount_.NoteLost();
                     Next();
                   });
  }

  void ReadCell(size_t file, uint64_t offset) {
    const Call call = Begin(CellOf(file, offset), "read", nullptr);
    const uint64_t inode = open_[file]->inode;
    kernel_->Read(open_[file], offset, kCell, [this, self = shared_from_this(), call, inode,
                                               ignored = kernel_->IgnoredAnswers(inode)](
                                                  const Result<std::string>& data) {
      if (!data) return EndUnknown(data.status());
      uint64_t value = 0;
      if (data->size() == kCell) std::memcpy(&value, data->data(), sizeof(value));
      if (!data->empty() && data->size() != kCell) Fail(fmt::format("{} bytes", data->size()));
      for (size_t i = 0; i + sizeof(value) <= data->size(); i += sizeof(value)) {
        if (std::memcmp(data->data() + i, &value, sizeof(value)) != 0) Fail("torn");
      }
      ++world_.cluster().stats().reads_checked;
      // Linux shows old pages beside a write or a change of the size on the same mount (docs/leases.md).
      if (kernel_->IgnoredAnswers(inode) != ignored) return EndNothing(call, Status());
      if (world_.under_way().count(value) > 0) {
        // The kernel shows on its mount what is being written before the write has been answered.
        return EndNothing(call, Status());
      }
      End(call, Status(), std::to_string(value), Shows(value));
    });
  }

  void StatSize(size_t file) {
    if (world_.Of(SizeOf(file)).size() >= kMostOps) return Next();
    const Call call = Begin(SizeOf(file), "stat", nullptr);
    kernel_->Stat({kFiles[file].directory, kFiles[file].name},
                  [this, self = shared_from_this(), call](const Result<idl::Attr>& attr) {
                    if (!attr) return EndUnknown(attr.status());
                    const auto size = static_cast<uint64_t>(attr->size);
                    End(call, Status(), std::to_string(size), Shows(size));
                  });
  }

  void Truncate(size_t file, uint64_t size) {
    Doing(fmt::format("truncate {} to {}", kFiles[file].name, size));
    const uint64_t began = world_.Tick();
    auto calls = std::make_shared<std::vector<Call>>();
    History& of_size = world_.Of(SizeOf(file));
    calls->push_back({&of_size, of_size.Invoke(doing(), began, Set(size))});
    for (const uint64_t cell : kFiles[file].cells) {
      History& history = world_.Of(CellOf(file, cell));
      if (cell >= size) calls->push_back({&history, history.Invoke(doing(), began, Set(0))});
    }
    fuse::AttrChange change;
    change.mask = 8;
    change.size = size;
    kernel_->SetAttrOf(open_[file]->inode, change,
                       [this, self = shared_from_this(), calls,
                        size](const Result<idl::Attr>& attr) {
                         if (!attr) return EndUnknown(attr.status());
                         const uint64_t now = world_.Tick();
                         for (size_t i = 0; i < calls->size(); ++i) {
                           const Call& call = (*calls)[i];
                           call.history->Return(call.op, "ok", now, Set(i == 0 ? size : 0));
                         }
                         Note(Status());
                         Next();
                       });
  }

  void SyncFile(size_t file) {
    Doing(fmt::format("fsync {}", kFiles[file].name));
    kernel_->Sync(open_[file], [this, self = shared_from_this(), file, losses = mount_.losses(),
                                began = world_.Tick()](const Status& status) {
      if (!status.ok()) {
        mount_.NoteLost();
        return EndUnknown(status);
      }
      if (mount_.losses() == losses) mount_.NoteSynced(file, began);
      Note(status);
      Next();
    });
  }

  void CloseFile(size_t file) {
    Doing(fmt::format("close {}", kFiles[file].name));
    kernel_->Close(std::exchange(open_[file], nullptr),
                   [this, self = shared_from_this()](const Status& status) {
                     if (!status.ok()) {
                       mount_.NoteLost();
                       return EndUnknown(status);
                     }
                     Note(status);
                     Next();
                   });
  }

  Mount& mount_;
  const std::shared_ptr<KernelModel> kernel_;
  OpenPtr open_[std::size(kFiles)];
};

}  // namespace

std::shared_ptr<Program> MakeMountProgram(LeaseWorld& world, Mount& mount, size_t number) {
  return std::make_shared<MountProgram>(world, mount, number);
}

}  // namespace dfs::sim
