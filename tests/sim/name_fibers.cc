// The fibers that work on names: shared ones, and a tree of one's own.
#include <fmt/core.h>

#include "common/client/core/calls.h"
#include "common/idl/methods.h"
#include "dfs_types.h"
#include "tests/sim/fiber.h"

namespace dfs::sim {

namespace {

idl::Ref PathRef(const std::string& path) {
  idl::Ref ref;
  ref.inode = 0;
  ref.path = path.substr(1);
  return ref;
}

class NameFiber final : public Fiber {
 public:
  NameFiber(Workload& workload, ClientHost& host) : Fiber(workload, host, host.name() + ".names") {}

 private:
  void Act() override {
    auto it = workload_.names().begin();
    std::advance(it, static_cast<long>(random().Uniform(workload_.names().size())));
    // A fixed number of operations keeps the search for an order short.
    if (it->second.size() >= 150) {
      Next();
      return;
    }
    const uint64_t dice = random().Uniform(10);
    if (dice < 3) {
      Create(it->first, it->second);
    } else if (dice < 6) {
      Unlink(it->first, it->second);
    } else {
      Stat(it->first, it->second);
    }
  }

  void Create(const std::string& path, NameHistory& history) {
    Doing("create " + path);
    const size_t op = history.Invoke(NameHistory::Kind::kCreate, workload_.Tick());
    idl::CreateRequest request;
    request.ref = PathRef(path);
    request.mode = 0644;
    request.exclusive = true;
    core_->FillCaller(&request.caller);
    client::Change<idl::kCreate>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), op, &history](Result<idl::CreateReply> reply) {
          End(history, op, reply.status(), Code::kAlreadyExists,
              reply ? static_cast<uint64_t>(reply->attr.inode) : 0);
        });
  }

  void Unlink(const std::string& path, NameHistory& history) {
    Doing("unlink " + path);
    const size_t op = history.Invoke(NameHistory::Kind::kUnlink, workload_.Tick());
    idl::UnlinkRequest request;
    request.ref = PathRef(path);
    core_->FillCaller(&request.caller);
    client::Change<idl::kUnlink>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), op, &history](Result<idl::NamesReply> reply) {
          End(history, op, reply.status(), Code::kNotFound, 0);
        });
  }

  void Stat(const std::string& path, NameHistory& history) {
    Doing("stat " + path);
    const size_t op = history.Invoke(NameHistory::Kind::kStat, workload_.Tick());
    idl::StatRequest request;
    request.ref = PathRef(path);
    core_->FillCaller(&request.caller);
    client::Read<idl::kStat>(
        *core_, request, core_->Deadline(),
        [this, self = shared_from_this(), op, &history](Result<idl::StatReply> reply) {
          End(history, op, reply.status(), Code::kNotFound,
              reply ? static_cast<uint64_t>(reply->attr.inode) : 0);
        });
  }

  void End(NameHistory& history, size_t op, const Status& status, Code refusal, uint64_t inode) {
    Note(status);
    NameHistory::Outcome outcome = NameHistory::Outcome::kOk;
    if (status.Is(refusal)) {
      outcome = NameHistory::Outcome::kRefused;
    } else if (!status.ok()) {
      outcome = NameHistory::Outcome::kUnknown;
      if (!OutcomeUnknown(status)) Fail("unexpected: " + status.ToString());
    }
    history.Return(op, outcome, inode, workload_.Tick());
    Next();
  }
};

class TreeFiber final : public Fiber {
 public:
  TreeFiber(Workload& workload, ClientHost& host, TreeModel& tree)
      : Fiber(workload, host, host.name() + ".tree"), tree_(tree) {}

  void OnDeath() override { Retire(); }

 private:
  using Entries = std::map<std::string, TreeModel::Entry>;

  void Act() override {
    touched_.clear();
    if (!tree_.root_made) {
      Mkdir("", /*parents=*/true);
      return;
    }
    const uint64_t dice = random().Uniform(16);
    if (dice >= 12 && tree_.entries.empty()) {
      Create(FreshName());
    } else if (dice >= 14) {
      Link(AnyFile(), FreshName());
    } else if (dice >= 12) {
      Xattr(AnyEntry());
    } else if (tree_.entries.size() < 4 || dice < 2) {
      Create(FreshName());
    } else if (dice < 4) {
      Mkdir(FreshName(), false);
    } else if (dice < 7) {
      Rename(AnyEntry(), FreshName());
    } else if (dice < 9) {
      Remove(AnyEntry());
    } else if (dice < 10) {
      Create(AnyEntry());  // is there: must be refused
    } else if (dice < 11) {
      Stat(AnyEntry());
    } else {
      Rename(FreshName(), FreshName());  // is not there: must be refused
    }
  }

  std::string Full(const std::string& path) const {
    return path.empty() ? tree_.root : tree_.root + "/" + path;
  }
  static std::string Parent(const std::string& path) {
    const size_t slash = path.find('/');
    return slash == std::string::npos ? "" : path.substr(0, slash);
  }
  // At the root or in one of its directories; at most two levels, so that renames stay simple.
  std::string FreshName() {
    std::string name = "n" + std::to_string(tree_.next_name++);
    std::vector<std::string> dirs = {""};
    for (const auto& [path, entry] : tree_.entries) {
      if (entry.is_dir) dirs.push_back(path + "/");
    }
    return dirs[random().Uniform(dirs.size())] + name;
  }
  std::string AnyEntry() {
    auto it = tree_.entries.begin();
    std::advance(it, static_cast<long>(random().Uniform(tree_.entries.size())));
    return it->first;
  }
  /// "" when there is none.
  std::string AnyFile() {
    std::vector<std::string> files;
    for (const auto& [path, entry] : tree_.entries) {
      if (!entry.is_dir) files.push_back(path);
    }
    return files.empty() ? "" : files[random().Uniform(files.size())];
  }
  bool HasChildren(const std::string& path) const {
    auto it = tree_.entries.lower_bound(path + "/");
    if (it != tree_.entries.end() && it->first.starts_with(path + "/")) return true;
    for (const std::string& name : tree_.unknown) {
      if (name.starts_with(path + "/")) return true;
    }
    return false;
  }
  bool MayHaveUnknownChildren(const std::string& path) const {
    for (const std::string& name : tree_.unknown) {
      if (name.starts_with(path + "/")) return true;
    }
    return false;
  }

  // What an operation touches goes out of the model, with everything below, when its outcome is unknown.
  void Retire() {
    for (const std::string& path : touched_) {
      if (path.empty()) continue;
      tree_.unknown.insert(path);
      for (auto it = tree_.entries.begin(); it != tree_.entries.end();) {
        if (it->first == path || it->first.starts_with(path + "/")) {
          tree_.unknown.insert(it->first);
          it = tree_.entries.erase(it);
        } else {
          ++it;
        }
      }
    }
    touched_.clear();
  }

  // True when the operation is known to have had its effect.
  bool Ended(const Status& status, Code expected) {
    Note(status);
    if (OutcomeUnknown(status)) {
      Retire();
      Next();
      return false;
    }
    if (status.code() != expected) {
      Fail(fmt::format("{}: expected {}, got {}", doing(), CodeName(expected), status.ToString()));
    }
    touched_.clear();
    return status.ok();
  }

  void Create(const std::string& path) {
    Doing("create " + Full(path));
    touched_ = {path};
    const Code expected = tree_.entries.contains(path) ? Code::kAlreadyExists : Code::kOk;
    if (expected != Code::kOk) touched_.clear();
    idl::CreateRequest request;
    request.ref = PathRef(Full(path));
    request.mode = 0644;
    request.exclusive = true;
    core_->FillCaller(&request.caller);
    client::Change<idl::kCreate>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), path, expected](Result<idl::CreateReply> reply) {
          if (Ended(reply.status(), expected)) {
            tree_.entries[path] = {false, static_cast<uint64_t>(reply->attr.inode)};
          }
          if (!OutcomeUnknown(reply.status())) Next();
        });
  }

  void Mkdir(const std::string& path, bool parents) {
    Doing("mkdir " + Full(path));
    touched_ = {path};
    idl::MkdirRequest request;
    request.ref = PathRef(Full(path));
    request.mode = 0755;
    request.parents = parents;
    core_->FillCaller(&request.caller);
    client::Change<idl::kMkdir>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), path](Result<idl::AttrReply> reply) {
          if (Ended(reply.status(), Code::kOk)) {
            if (path.empty()) {
              tree_.root_made = true;
            } else {
              tree_.entries[path] = {true, static_cast<uint64_t>(reply->attr.inode)};
            }
          }
          if (!OutcomeUnknown(reply.status())) Next();
        });
  }

  void Rename(const std::string& from, const std::string& to) {
    auto it = tree_.entries.find(from);
    // Directories stay at the root and are not moved into themselves.
    if (it != tree_.entries.end() && it->second.is_dir && !Parent(to).empty()) {
      Next();
      return;
    }
    Doing("rename " + Full(from) + " " + Full(to));
    touched_ = {from, to};
    const Code expected = it != tree_.entries.end() ? Code::kOk : Code::kNotFound;
    if (expected != Code::kOk) touched_.clear();
    idl::RenameRequest request;
    request.source = PathRef(Full(from));
    request.target = PathRef(Full(to));
    core_->FillCaller(&request.caller);
    client::Change<idl::kRename>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), from, to, expected](Result<idl::NamesReply> reply) {
          if (Ended(reply.status(), expected)) Move(from, to);
          if (!OutcomeUnknown(reply.status())) Next();
        });
  }

  void Move(const std::string& from, const std::string& to) {
    Entries moved;
    for (auto it = tree_.entries.begin(); it != tree_.entries.end();) {
      if (it->first == from || it->first.starts_with(from + "/")) {
        moved[to + it->first.substr(from.size())] = it->second;
        it = tree_.entries.erase(it);
      } else {
        ++it;
      }
    }
    tree_.entries.merge(moved);
    // The unknown ones below came along.
    std::set<std::string> unknown;
    for (const std::string& name : tree_.unknown) {
      unknown.insert(name.starts_with(from + "/") ? to + name.substr(from.size()) : name);
    }
    tree_.unknown = std::move(unknown);
  }

  void Remove(const std::string& path) {
    const bool is_dir = tree_.entries.at(path).is_dir;
    if (is_dir && MayHaveUnknownChildren(path)) {
      Next();
      return;
    }
    Doing((is_dir ? "rmdir " : "unlink ") + Full(path));
    touched_ = {path};
    const Code expected = is_dir && HasChildren(path) ? Code::kNotEmpty : Code::kOk;
    if (expected != Code::kOk) touched_.clear();
    const auto done = [this, self = shared_from_this(), path, expected](Result<idl::NamesReply> reply) {
      if (Ended(reply.status(), expected)) tree_.entries.erase(path);
      if (!OutcomeUnknown(reply.status())) Next();
    };
    if (is_dir) {
      idl::RmdirRequest request;
      request.ref = PathRef(Full(path));
      core_->FillCaller(&request.caller);
      client::Change<idl::kRmdir>(*core_, request, 0, core_->Deadline(), done);
    } else {
      idl::UnlinkRequest request;
      request.ref = PathRef(Full(path));
      core_->FillCaller(&request.caller);
      client::Change<idl::kUnlink>(*core_, request, 0, core_->Deadline(), done);
    }
  }

  void Stat(const std::string& path) {
    Doing("stat " + Full(path));
    idl::StatRequest request;
    request.ref = PathRef(Full(path));
    core_->FillCaller(&request.caller);
    client::Read<idl::kStat>(*core_, request, core_->Deadline(),
                             [this, self = shared_from_this(), path](Result<idl::StatReply> reply) {
                               if (Ended(reply.status(), Code::kOk)) {
                                 const uint64_t inode = tree_.entries.at(path).inode;
                                 if (static_cast<uint64_t>(reply->attr.inode) != inode) {
                                   Fail(fmt::format("{} is inode {}, was made as {}", Full(path),
                                                    reply->attr.inode, inode));
                                 }
                               }
                               if (!OutcomeUnknown(reply.status())) Next();
                             });
  }

  void Link(const std::string& existing, const std::string& path) {
    if (existing.empty()) {
      Create(path);
      return;
    }
    Doing("link " + Full(existing) + " " + Full(path));
    touched_ = {path};
    idl::LinkRequest request;
    request.existing = PathRef(Full(existing));
    request.ref = PathRef(Full(path));
    core_->FillCaller(&request.caller);
    const uint64_t inode = tree_.entries.at(existing).inode;
    client::Change<idl::kLink>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), path, inode](Result<idl::AttrReply> reply) {
          if (Ended(reply.status(), Code::kOk)) tree_.entries[path] = {false, inode};
          if (!OutcomeUnknown(reply.status())) Next();
        });
  }

  // Attributes belong to the inode, whatever its names are.
  void Xattr(const std::string& path) {
    const uint64_t inode = tree_.entries.at(path).inode;
    if (tree_.xattrs.contains(inode) && random().OneIn(2)) {
      GetXattr(path, inode);
      return;
    }
    idl::SetXattrRequest request;
    request.ref = PathRef(Full(path));
    request.name = "user.sim";
    request.value = "v" + std::to_string(tree_.next_name++);
    Doing("setxattr " + Full(path) + " " + request.value);
    core_->FillCaller(&request.caller);
    if (!tree_.xattrs.contains(inode)) tree_.xattrs[inode].insert("");
    tree_.xattrs[inode].insert(request.value);
    client::Change<idl::kSetXattr>(
        *core_, request, 0, core_->Deadline(),
        [this, self = shared_from_this(), inode, value = request.value](Result<idl::Empty> reply) {
          if (Ended(reply.status(), Code::kOk)) tree_.xattrs[inode] = {value};
          if (!OutcomeUnknown(reply.status())) Next();
        });
  }

  void GetXattr(const std::string& path, uint64_t inode) {
    Doing("getxattr " + Full(path));
    idl::GetXattrRequest request;
    request.ref = PathRef(Full(path));
    request.name = "user.sim";
    core_->FillCaller(&request.caller);
    client::Read<idl::kGetXattr>(
        *core_, request, core_->Deadline(),
        [this, self = shared_from_this(), inode](Result<idl::GetXattrReply> reply) {
          const std::set<std::string>& allowed = tree_.xattrs[inode];
          const bool none = !reply && reply.error().Is(Code::kNoAttribute);
          if (none && allowed.contains("")) {
            Note(reply.status());
            Next();
            return;
          }
          if (Ended(reply.status(), Code::kOk) && !allowed.contains(reply->value)) {
            Fail(doing() + " shows '" + reply->value + "'");
          }
          if (!OutcomeUnknown(reply.status())) Next();
        });
  }

  TreeModel& tree_;
  std::vector<std::string> touched_;
};

}  // namespace

std::shared_ptr<Fiber> MakeNameFiber(Workload& workload, ClientHost& host) {
  return std::make_shared<NameFiber>(workload, host);
}

std::shared_ptr<Fiber> MakeTreeFiber(Workload& workload, ClientHost& host, TreeModel& tree) {
  return std::make_shared<TreeFiber>(workload, host, tree);
}

}  // namespace dfs::sim
