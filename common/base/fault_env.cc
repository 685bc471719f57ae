#include "common/base/fault_env.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "common/base/fault_file.h"

namespace dfs {

using fault_internal::FileData;

namespace {

struct Node;
using NodePtr = std::shared_ptr<Node>;

// A file or directory. Directories keep their names twice: as seen now, and as a power cut leaves
// them.
struct Node {
  explicit Node(bool dir) : is_dir(dir) {}
  const bool is_dir;
  FileData data;
  uint64_t links = 0;  // names that refer to it now
  std::map<std::string, NodePtr> entries;
  std::map<std::string, NodePtr> durable;
};

// One atomic change of names that is not durable yet.
struct NameChange {
  Node* dir;  // alive: the pending list or the tree refers to it through holder
  NodePtr holder;
  std::string name;
  NodePtr target;  // null: removed
};
using NameOp = std::vector<NameChange>;

struct Position {
  NodePtr dir;
  std::string name;  // "" for the root itself
  NodePtr node;      // null when there is none
};

Status NoEntry(const std::string& path) {
  return Status(Code::kNotFound, path + ": No such file or directory");
}

}  // namespace

struct FaultEnv::State {
  mutable std::mutex mutex;
  NodePtr root = std::make_shared<Node>(true);
  std::vector<NameOp> pending;
  std::set<std::string> locks;
  bool offline = false;
  uint64_t epoch = 1;  // handles of earlier epochs are dead
  uint64_t capacity = 0;
  uint64_t used = 0;
  uint64_t writeback_chance = 0;
  std::vector<Fault> faults;
  std::function<void(const std::string&)> sync_hook;
  Counters counters;
  Random random{1};

  // Everything below is called with the mutex held.

  Status Check(Op op, const std::string& path) {
    for (Fault& fault : faults) {
      if (fault.op != op || fault.count == 0) continue;
      if (fault.matches && !fault.matches(path)) continue;
      if (fault.skip > 0) {
        --fault.skip;
        continue;
      }
      --fault.count;
      ++counters.faults;
      return Status(fault.error, path + ": injected fault");
    }
    return Status::Ok();
  }

  // Resolves all but the last component to directories.
  Result<Position> Find(const std::string& path) const {
    if (offline) return Status(Code::kClosed, path + ": the machine is off");
    Position at{root, "", root};
    size_t begin = 0;
    while (begin < path.size()) {
      size_t end = path.find('/', begin);
      if (end == std::string::npos) end = path.size();
      const std::string name = path.substr(begin, end - begin);
      begin = end + 1;
      if (name.empty() || name == ".") continue;
      if (name == "..") return Status(Code::kInvalidArgument, path + ": FaultEnv knows no ..");
      if (name.size() > 255) return Status(Code::kNameTooLong, path + ": File name too long");
      if (!at.node) return NoEntry(path);
      if (!at.node->is_dir) return Status(Code::kNotDirectory, path + ": Not a directory");
      at.dir = at.node;
      at.name = name;
      auto it = at.dir->entries.find(name);
      at.node = it == at.dir->entries.end() ? nullptr : it->second;
    }
    return at;
  }

  Result<NodePtr> FindExisting(const std::string& path) const {
    DFS_ASSIGN_OR_RETURN(Position at, Find(path));
    if (!at.node) return NoEntry(path);
    return at.node;
  }

  void SetEntry(const NodePtr& dir, const std::string& name, NodePtr target, NameOp* op) {
    auto it = dir->entries.find(name);
    if (it != dir->entries.end()) {
      Unlink(*it->second);
      dir->entries.erase(it);
    }
    if (target) {
      if (target->links++ == 0) used += target->data.allocated();
      dir->entries[name] = target;
    }
    op->push_back({dir.get(), dir, name, std::move(target)});
  }

  void Unlink(Node& node) {
    if (--node.links == 0) used -= node.data.allocated();
  }

  static void ApplyDurably(const NameChange& change) {
    if (change.target) {
      change.dir->durable[change.name] = change.target;
    } else {
      change.dir->durable.erase(change.name);
    }
  }

  // An operation on several directories takes with it what came before it in each of them.
  void MakeNamesDurable(const NodePtr& dir) {
    std::set<Node*> dirs{dir.get()};
    for (bool grew = true; grew;) {
      grew = false;
      for (const NameOp& op : pending) {
        const bool touches = std::any_of(op.begin(), op.end(),
                                         [&](const NameChange& c) { return dirs.contains(c.dir); });
        if (!touches) continue;
        for (const NameChange& c : op) grew |= dirs.insert(c.dir).second;
      }
    }
    std::erase_if(pending, [&](const NameOp& op) {
      if (!dirs.contains(op.front().dir)) return false;
      for (const NameChange& change : op) ApplyDurably(change);
      return true;
    });
  }

  void CrashNames(Random& r, CrashMode mode) {
    const uint64_t keep_percent = mode == CrashMode::kDropUnsynced ? 0 : 25 * r.Uniform(5);
    std::set<std::pair<Node*, std::string>> dropped;
    for (const NameOp& op : pending) {
      bool keep = r.Chance(keep_percent, 100);
      for (const NameChange& c : op) keep = keep && !dropped.contains({c.dir, c.name});
      for (const NameChange& c : op) {
        if (keep) {
          ApplyDurably(c);
        } else {
          dropped.insert({c.dir, c.name});
        }
      }
    }
    pending.clear();
  }

  // Makes the durable tree the only one, and settles the content of every file in it.
  void CrashTree(const NodePtr& dir, Random& r, CrashMode mode, std::set<Node*>* seen) {
    dir->entries = dir->durable;
    for (auto& [name, node] : dir->entries) {
      if (seen->insert(node.get()).second) {
        node->links = 0;
        if (node->is_dir) {
          CrashTree(node, r, mode, seen);
        } else {
          counters.torn_pages += node->data.Crash(r, mode == CrashMode::kKeepRandom);
        }
      }
      if (node->links++ == 0) used += node->data.allocated();
    }
  }

  uint64_t DirtyBytes(const Node& dir) const {
    uint64_t sum = 0;
    for (const auto& [name, node] : dir.entries) {
      sum += node->is_dir ? DirtyBytes(*node) : node->data.dirty_bytes();
    }
    return sum;
  }
};

class FaultEnv::FaultFile final : public File {
 public:
  FaultFile(std::shared_ptr<State> state, NodePtr node, std::string path, bool writable)
      : state_(std::move(state)),
        node_(std::move(node)),
        path_(std::move(path)),
        writable_(writable),
        epoch_(state_->epoch) {}

  Result<size_t> ReadAt(uint64_t offset, char* data, size_t size) const override {
    std::lock_guard lock(state_->mutex);
    DFS_RETURN_IF_ERROR(Usable());
    ++state_->counters.reads;
    DFS_RETURN_IF_ERROR(state_->Check(Op::kRead, path_));
    return node_->data.Read(offset, data, size);
  }

  Status WriteAt(uint64_t offset, std::string_view data) override {
    std::lock_guard lock(state_->mutex);
    DFS_RETURN_IF_ERROR(UsableForWriting());
    ++state_->counters.writes;
    DFS_RETURN_IF_ERROR(state_->Check(Op::kWrite, path_));
    DFS_RETURN_IF_ERROR(CheckSpace(node_->data.AllocatedAfterWrite(offset, data.size())));
    const uint64_t before = node_->data.allocated();
    Random* random = state_->writeback_chance > 0 ? &state_->random : nullptr;
    node_->data.Write(offset, data, random, state_->writeback_chance);
    state_->counters.bytes_written += data.size();
    Charge(before);
    return Status::Ok();
  }

  Status Truncate(uint64_t size) override {
    std::lock_guard lock(state_->mutex);
    DFS_RETURN_IF_ERROR(UsableForWriting());
    DFS_RETURN_IF_ERROR(state_->Check(Op::kTruncate, path_));
    const uint64_t before = node_->data.allocated();
    node_->data.Truncate(size);
    Charge(before);
    return Status::Ok();
  }

  Status Allocate(uint64_t size, bool keep_size) override {
    std::lock_guard lock(state_->mutex);
    DFS_RETURN_IF_ERROR(UsableForWriting());
    DFS_RETURN_IF_ERROR(state_->Check(Op::kAllocate, path_));
    DFS_RETURN_IF_ERROR(CheckSpace(std::max(node_->data.allocated(), size)));
    const uint64_t before = node_->data.allocated();
    node_->data.Reserve(size);
    if (!keep_size && size > node_->data.size()) node_->data.Truncate(size);
    Charge(before);
    return Status::Ok();
  }

  Status Sync() override {
    std::function<void(const std::string&)> hook;
    {
      std::lock_guard lock(state_->mutex);
      DFS_RETURN_IF_ERROR(Usable());
      hook = state_->sync_hook;
    }
    if (hook) hook(path_);
    std::lock_guard lock(state_->mutex);
    DFS_RETURN_IF_ERROR(Usable());
    if (sync_failed_) return Status(Code::kIoError, path_ + ": an earlier sync failed");
    if (Status injected = state_->Check(Op::kSync, path_); !injected) {
      sync_failed_ = true;
      node_->data.LoseDirty();
      return injected;
    }
    node_->data.Sync();
    ++state_->counters.syncs;
    return Status::Ok();
  }

  void StartWriteback(uint64_t, uint64_t) override {}
  void DropCache(uint64_t, uint64_t) override {}

  Result<uint64_t> Size() const override {
    std::lock_guard lock(state_->mutex);
    DFS_RETURN_IF_ERROR(Usable());
    return node_->data.size();
  }

 private:
  Status Usable() const {
    if (epoch_ == state_->epoch) return Status::Ok();
    return Status(Code::kClosed, path_ + ": the machine crashed");
  }
  Status UsableForWriting() const {
    DFS_RETURN_IF_ERROR(Usable());
    if (writable_) return Status::Ok();
    return Status(Code::kBadDescriptor, path_ + ": opened for reading");
  }
  Status CheckSpace(uint64_t allocated_after) {
    const uint64_t now = node_->data.allocated();
    if (allocated_after <= now || state_->used + (allocated_after - now) <= state_->capacity) {
      return Status::Ok();
    }
    ++state_->counters.faults;
    return Status(Code::kNoSpace, path_ + ": No space left on device");
  }
  void Charge(uint64_t before) {
    if (node_->links > 0) state_->used += node_->data.allocated() - before;
  }

  const std::shared_ptr<State> state_;
  const NodePtr node_;
  const std::string path_;
  const bool writable_;
  const uint64_t epoch_;
  bool sync_failed_ = false;
};

class FaultEnv::FaultLock final : public FileLock {
 public:
  FaultLock(std::shared_ptr<State> state, std::string path)
      : state_(std::move(state)), path_(std::move(path)), epoch_(state_->epoch) {}
  ~FaultLock() override {
    std::lock_guard lock(state_->mutex);
    if (epoch_ == state_->epoch) state_->locks.erase(path_);
  }

 private:
  const std::shared_ptr<State> state_;
  const std::string path_;
  const uint64_t epoch_;
};

FaultEnv::FaultEnv(uint64_t seed, uint64_t capacity_bytes) : state_(std::make_shared<State>()) {
  state_->random = Random(seed);
  state_->capacity = capacity_bytes;
  state_->root->links = 1;
}

FaultEnv::~FaultEnv() = default;

Result<std::unique_ptr<File>> FaultEnv::Open(const std::string& path, OpenMode mode) {
  std::lock_guard lock(state_->mutex);
  DFS_RETURN_IF_ERROR(state_->Check(Op::kOpen, path));
  DFS_ASSIGN_OR_RETURN(Position at, state_->Find(path));
  if (at.node && at.node->is_dir) return Status(Code::kIsDirectory, path + ": Is a directory");
  if (!at.node && (mode == OpenMode::kReadOnly || mode == OpenMode::kReadWrite))
    return NoEntry(path);
  if (at.node && mode == OpenMode::kCreateExclusive) {
    return Status(Code::kAlreadyExists, path + ": File exists");
  }
  if (!at.node) {
    if (state_->used >= state_->capacity) {
      ++state_->counters.faults;
      return Status(Code::kNoSpace, path + ": No space left on device");
    }
    at.node = std::make_shared<Node>(false);
    NameOp op;
    state_->SetEntry(at.dir, at.name, at.node, &op);
    state_->pending.push_back(std::move(op));
  } else if (mode == OpenMode::kTruncate) {
    state_->used -= at.node->data.allocated();
    at.node->data.Truncate(0);
    state_->used += at.node->data.allocated();
  }
  return std::unique_ptr<File>(
      std::make_unique<FaultFile>(state_, at.node, path, mode != OpenMode::kReadOnly));
}

bool FaultEnv::Exists(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  return state_->FindExisting(path).ok();
}

Status FaultEnv::Remove(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  DFS_RETURN_IF_ERROR(state_->Check(Op::kRemove, path));
  DFS_ASSIGN_OR_RETURN(Position at, state_->Find(path));
  if (!at.node) return NoEntry(path);
  if (at.node->is_dir) return Status(Code::kIsDirectory, path + ": Is a directory");
  NameOp op;
  state_->SetEntry(at.dir, at.name, nullptr, &op);
  state_->pending.push_back(std::move(op));
  return Status::Ok();
}

Status FaultEnv::Rename(const std::string& from, const std::string& to) {
  std::lock_guard lock(state_->mutex);
  DFS_RETURN_IF_ERROR(state_->Check(Op::kRename, from));
  DFS_ASSIGN_OR_RETURN(Position source, state_->Find(from));
  DFS_ASSIGN_OR_RETURN(Position target, state_->Find(to));
  if (!source.node) return NoEntry(from);
  if (source.node == state_->root || target.node == state_->root) {
    return Status(Code::kBusy, from + ": cannot rename the root");
  }
  if (source.node == target.node) return Status::Ok();
  if (target.node) {
    if (source.node->is_dir && !target.node->is_dir) {
      return Status(Code::kNotDirectory, to + ": Not a directory");
    }
    if (!source.node->is_dir && target.node->is_dir) {
      return Status(Code::kIsDirectory, to + ": Is a directory");
    }
    if (target.node->is_dir && !target.node->entries.empty()) {
      return Status(Code::kNotEmpty, to + ": Directory not empty");
    }
  }
  NameOp op;
  state_->SetEntry(target.dir, target.name, source.node, &op);
  state_->SetEntry(source.dir, source.name, nullptr, &op);
  state_->pending.push_back(std::move(op));
  return Status::Ok();
}

Status FaultEnv::Link(const std::string& from, const std::string& to) {
  std::lock_guard lock(state_->mutex);
  DFS_ASSIGN_OR_RETURN(NodePtr node, state_->FindExisting(from));
  if (node->is_dir) return Status(Code::kNotPermitted, from + ": Operation not permitted");
  DFS_ASSIGN_OR_RETURN(Position target, state_->Find(to));
  if (target.node) return Status(Code::kAlreadyExists, to + ": File exists");
  NameOp op;
  state_->SetEntry(target.dir, target.name, node, &op);
  state_->pending.push_back(std::move(op));
  return Status::Ok();
}

Status FaultEnv::CreateDir(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  DFS_ASSIGN_OR_RETURN(Position at, state_->Find(path));
  if (at.node) return Status(Code::kAlreadyExists, path + ": File exists");
  NameOp op;
  state_->SetEntry(at.dir, at.name, std::make_shared<Node>(true), &op);
  state_->pending.push_back(std::move(op));
  return Status::Ok();
}

Status FaultEnv::CreateDirs(const std::string& path) {
  for (size_t at = 1; at <= path.size(); ++at) {
    if (at != path.size() && path[at] != '/') continue;
    const std::string prefix = path.substr(0, at);
    if (Status made = CreateDir(prefix); made.ok()) {
      DFS_RETURN_IF_ERROR(SyncDir(ParentDir(prefix)));
    } else if (!made.Is(Code::kAlreadyExists)) {
      return made;
    }
  }
  std::lock_guard lock(state_->mutex);
  DFS_ASSIGN_OR_RETURN(NodePtr node, state_->FindExisting(path));
  if (!node->is_dir) return Status(Code::kNotDirectory, path + ": Not a directory");
  return Status::Ok();
}

Status FaultEnv::RemoveDir(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  DFS_RETURN_IF_ERROR(state_->Check(Op::kRemove, path));
  DFS_ASSIGN_OR_RETURN(Position at, state_->Find(path));
  if (!at.node) return NoEntry(path);
  if (!at.node->is_dir) return Status(Code::kNotDirectory, path + ": Not a directory");
  if (at.node == state_->root) return Status(Code::kBusy, path + ": the root stays");
  if (!at.node->entries.empty()) return Status(Code::kNotEmpty, path + ": Directory not empty");
  NameOp op;
  state_->SetEntry(at.dir, at.name, nullptr, &op);
  state_->pending.push_back(std::move(op));
  return Status::Ok();
}

Status FaultEnv::RemoveTree(const std::string& path) {
  auto names = List(path);
  if (!names) {
    if (names.error().Is(Code::kNotFound)) return Status::Ok();
    if (names.error().Is(Code::kNotDirectory)) return Remove(path);
    return names.error();
  }
  for (const std::string& name : *names) DFS_RETURN_IF_ERROR(RemoveTree(path + "/" + name));
  return RemoveDir(path);
}

Result<std::vector<std::string>> FaultEnv::List(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  DFS_RETURN_IF_ERROR(state_->Check(Op::kList, path));
  DFS_ASSIGN_OR_RETURN(NodePtr node, state_->FindExisting(path));
  if (!node->is_dir) return Status(Code::kNotDirectory, path + ": Not a directory");
  std::vector<std::string> names;
  for (const auto& [name, child] : node->entries) names.push_back(name);
  return names;
}

Status FaultEnv::SyncDir(const std::string& path) {
  std::function<void(const std::string&)> hook;
  uint64_t epoch = 0;
  {
    std::lock_guard lock(state_->mutex);
    hook = state_->sync_hook;
    epoch = state_->epoch;
  }
  if (hook) hook(path);
  std::lock_guard lock(state_->mutex);
  if (epoch != state_->epoch) return Status(Code::kClosed, path + ": the machine crashed");
  DFS_RETURN_IF_ERROR(state_->Check(Op::kSyncDir, path));
  DFS_ASSIGN_OR_RETURN(NodePtr node, state_->FindExisting(path));
  if (!node->is_dir) return Status(Code::kNotDirectory, path + ": Not a directory");
  state_->MakeNamesDurable(node);
  ++state_->counters.dir_syncs;
  return Status::Ok();
}

Result<uint64_t> FaultEnv::FileSize(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  DFS_ASSIGN_OR_RETURN(NodePtr node, state_->FindExisting(path));
  return node->data.size();
}

Result<std::unique_ptr<FileLock>> FaultEnv::Lock(const std::string& path) {
  DFS_ASSIGN_OR_RETURN(auto file, Open(path, OpenMode::kCreate));
  std::lock_guard lock(state_->mutex);
  if (!state_->locks.insert(path).second) {
    return Status(Code::kBusy, path + " is locked by process 1");
  }
  return std::unique_ptr<FileLock>(std::make_unique<FaultLock>(state_, path));
}

Result<SpaceInfo> FaultEnv::Space(const std::string& path) {
  std::lock_guard lock(state_->mutex);
  DFS_RETURN_IF_ERROR(state_->FindExisting(path).status());
  SpaceInfo info;
  info.capacity_bytes = state_->capacity;
  info.available_bytes = state_->capacity - std::min(state_->capacity, state_->used);
  return info;
}

void FaultEnv::Crash(Random& random, CrashMode mode) {
  std::lock_guard lock(state_->mutex);
  ++state_->epoch;
  ++state_->counters.crashes;
  state_->locks.clear();
  state_->CrashNames(random, mode);
  state_->used = 0;
  std::set<Node*> seen;
  state_->CrashTree(state_->root, random, mode, &seen);
}

void FaultEnv::KillProcess() {
  std::lock_guard lock(state_->mutex);
  ++state_->epoch;
  state_->locks.clear();
}

void FaultEnv::SetOffline(bool offline) {
  std::lock_guard lock(state_->mutex);
  state_->offline = offline;
}

void FaultEnv::AddFault(Fault fault) {
  std::lock_guard lock(state_->mutex);
  state_->faults.push_back(std::move(fault));
}

void FaultEnv::ClearFaults() {
  std::lock_guard lock(state_->mutex);
  state_->faults.clear();
}

void FaultEnv::SetCapacity(uint64_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->capacity = bytes;
}

Status FaultEnv::FlipBit(const std::string& path, uint64_t offset, int bit) {
  std::lock_guard lock(state_->mutex);
  DFS_ASSIGN_OR_RETURN(NodePtr node, state_->FindExisting(path));
  if (node->is_dir || offset >= node->data.size()) {
    return Status(Code::kInvalidArgument, path + ": no such byte");
  }
  node->data.FlipBit(offset, bit);
  return Status::Ok();
}

void FaultEnv::SetSyncHook(std::function<void(const std::string&)> hook) {
  std::lock_guard lock(state_->mutex);
  state_->sync_hook = std::move(hook);
}

void FaultEnv::SetWritebackChance(uint64_t n) {
  std::lock_guard lock(state_->mutex);
  state_->writeback_chance = n;
}

FaultEnv::Counters FaultEnv::counters() const {
  std::lock_guard lock(state_->mutex);
  return state_->counters;
}

uint64_t FaultEnv::dirty_bytes() const {
  std::lock_guard lock(state_->mutex);
  return state_->DirtyBytes(*state_->root);
}

}  // namespace dfs
