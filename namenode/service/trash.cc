#include "namenode/service/trash.h"

#include <algorithm>

#include "common/base/logging.h"
#include "common/base/trash_name.h"
#include "namenode/state/replies.h"

namespace dfs::nn {

namespace {
constexpr size_t kPageEntries = 64;
constexpr size_t kPageBytes = 32 << 10;
// Between pages, and between removals: others get most of the time.
constexpr int64_t kPauseNs = 20 * kMillisecond;
constexpr int64_t kRetryNs = kSecond;
// Between passes: so often that nothing stays much longer than it should.
constexpr int64_t kPassesInKeep = 20;
constexpr int64_t kMinPassNs = kSecond;
constexpr int64_t kMaxPassNs = 600 * kSecond;
constexpr uint32_t kTrashMode = 0711;  // everybody gets through to his own, only root lists
constexpr uint32_t kUserMode = 0700;
constexpr int kMaxSteps = 8;
}  // namespace

int64_t EffectiveTrashKeep(int64_t keep_ns, uint64_t available_bytes, uint64_t capacity_bytes) {
  constexpr double kPlenty = 0.10, kShort = 0.05, kLeast = 1.0 / 24;
  if (capacity_bytes == 0) return keep_ns;
  const double free = static_cast<double>(available_bytes) / static_cast<double>(capacity_bytes);
  const double part = std::clamp((free - kShort) / (kPlenty - kShort), 0.0, 1.0);
  return static_cast<int64_t>(static_cast<double>(keep_ns) * (kLeast + (1 - kLeast) * part));
}

Trash::Trash(int64_t keep_ns, Executor& executor, StateReader& state, SpaceSource space,
             Proposer proposer)
    : keep_ns_(keep_ns),
      executor_(executor),
      state_(state),
      space_(std::move(space)),
      proposer_(std::move(proposer)) {}

int64_t Trash::effective_keep_ns() const {
  const Space space = space_();
  return EffectiveTrashKeep(keep_ns_, space.available_bytes, space.capacity_bytes);
}

Trash::~Trash() {
  OnLeadershipLost();
}

// ---- Places -------------------------------------------------------------------------------------

struct Trash::Preparation {
  Credentials who;
  std::string path;
  UniqueFunction<void(Result<Place>)> done;
  int steps = 0;
};

void Trash::Prepare(const Credentials& who, const std::string& path,
                    UniqueFunction<void(Result<Place>)> done) {
  PrepareStep(std::make_shared<Preparation>(Preparation{who, path, std::move(done)}));
}

void Trash::Continue(std::shared_ptr<Preparation> p, Credentials who, CommandBody body) {
  proposer_(std::move(who), std::move(body),
            [this, alive = std::weak_ptr<char>(alive_), p](Result<std::string> reply) {
              if (alive.expired()) return;
              // Somebody else may have made it meanwhile.
              if (!reply && !reply.error().Is(Code::kAlreadyExists)) {
                p->done(reply.error().WithContext("making room in the trash"));
              } else {
                PrepareStep(p);
              }
            });
}

// Looks what is there and makes the first thing that is not.
void Trash::PrepareStep(std::shared_ptr<Preparation> p) {
  if (++p->steps > kMaxSteps) {
    return p->done(Status(Code::kBusy, "the trash is being changed by others"));
  }
  Result<Dentry> trash = state_.Lookup(kRootInode, kTrashName);
  if (!trash && !trash.error().Is(Code::kNotFound)) return p->done(trash.error());
  if (!trash) {
    MkdirCommand make;
    make.parent = kRootInode;
    make.name = kTrashName;
    make.mode = kTrashMode;
    return Continue(p, Credentials::Root(), make);
  }
  Result<Inode> top = state_.GetInode(trash->inode);
  if (!top) return p->done(top.error());
  if (!top->IsDirectory() || top->uid != 0 || (top->mode & 022) != 0) {
    // In a directory that others may write a user's trash could be anybody's.
    return p->done(Status(Code::kNotPermitted,
                          "/.Trash is not root's alone to write, and so no trash (remove or rename "
                          "it, or --skip-trash)"));
  }
  const std::string name = std::to_string(p->who.uid);
  Result<Dentry> own = state_.Lookup(top->id, name);
  if (!own && !own.error().Is(Code::kNotFound)) return p->done(own.error());
  if (!own) {
    MkdirCommand make;
    make.parent = top->id;
    make.name = name;
    make.mode = kUserMode;
    return Continue(p, Credentials::Root(), make);
  }
  Result<Inode> user = state_.GetInode(own->inode);
  if (!user) return p->done(user.error());
  if (!user->IsDirectory()) {
    return p->done(Status(Code::kNotDirectory, "/.Trash/" + name + " is not a directory"));
  }
  if (user->uid != p->who.uid) {
    SetAttrCommand give;
    give.inode = user->id;
    give.mask = kSetUid | kSetGid;
    give.uid = p->who.uid;
    give.gid = p->who.gid;
    return Continue(p, Credentials::Root(), give);
  }
  MakeEntry(p, user->id);
}

void Trash::MakeEntry(std::shared_ptr<Preparation> p, InodeId own) {
  const size_t last_slash = p->path.rfind('/');
  TrashEntry entry;
  entry.depth = static_cast<size_t>(std::count(p->path.begin(), p->path.end(), '/'));
  // No two of them at one time: each entry holds one thing.
  entry.removed_ns = last_entry_ns_ = std::max(executor_.clock().WallNs(), last_entry_ns_ + 1);
  MkdirCommand make;
  make.parent = own;
  make.name = TrashEntryName(entry) + p->path.substr(0, last_slash);
  make.mode = kUserMode;
  make.parents = true;
  std::string directory_path =
      std::string(kTrashPath) + "/" + std::to_string(p->who.uid) + "/" + make.name;
  if (directory_path.size() + p->path.size() - last_slash > kMaxPathBytes) {
    return p->done(Status(Code::kNameTooLong,
                          "its path in the trash would be too long (--skip-trash removes it)"));
  }
  Credentials who = p->who;
  proposer_(std::move(who), make,
            [p, path = std::move(directory_path)](Result<std::string> reply) mutable {
              if (!reply) return p->done(reply.error().WithContext("making room in the trash"));
              Result<CreateResult> made = DecodeResult<CreateResult>(*reply);
              if (!made) return p->done(made.error());
              p->done(Place{made->attr.id, std::move(path), p->path});
            });
}

// ---- Expiry -------------------------------------------------------------------------------------

void Trash::OnLeading() {
  leading_ = true;
  user_cookie_ = 0;
  user_ = InodeId();
  due_.clear();
  if (keeps()) StepAfter(kRetryNs);
}

void Trash::OnLeadershipLost() {
  leading_ = false;
  if (timer_ != 0) executor_.Cancel(timer_);
  timer_ = 0;
}

void Trash::StepAfter(int64_t delay_ns) {
  if (!leading_ || timer_ != 0) return;
  timer_ = executor_.RunAfter(delay_ns, [this] {
    timer_ = 0;
    Step();
  });
}

void Trash::Step() {
  if (!leading_) return;
  if (!due_.empty()) return RemoveNext();
  Result<bool> more = Look();
  if (!more) {
    // What was looked at is gone: from the beginning.
    LogDebug("looking through the trash: {}", more.error().ToString());
    user_ = InodeId();
    user_cookie_ = 0;
    return StepAfter(std::clamp(keep_ns_ / kPassesInKeep, kMinPassNs, kMaxPassNs));
  }
  if (!due_.empty()) return RemoveNext();
  StepAfter(*more ? kPauseNs : std::clamp(keep_ns_ / kPassesInKeep, kMinPassNs, kMaxPassNs));
}

Result<bool> Trash::Look() {
  if (!user_.valid()) {
    Result<Dentry> trash = state_.Lookup(kRootInode, kTrashName);
    if (!trash && trash.error().Is(Code::kNotFound)) return false;
    if (!trash) return trash.error();
    if (trash->type != FileType::kDirectory) return false;
    DFS_ASSIGN_OR_RETURN(DirectoryPage users,
                         state_.ReadDirectory(trash->inode, user_cookie_, 1, kPageBytes, false));
    if (users.entries.empty()) {
      user_cookie_ = 0;
      return false;
    }
    user_cookie_ = users.entries.back().cookie;
    if (users.entries[0].dentry.type != FileType::kDirectory) return true;
    user_ = users.entries[0].dentry.inode;
    entry_cookie_ = 0;
  }
  DFS_ASSIGN_OR_RETURN(DirectoryPage page, state_.ReadDirectory(user_, entry_cookie_, kPageEntries,
                                                                kPageBytes, false));
  const int64_t until = executor_.clock().WallNs() - effective_keep_ns();
  for (const DirectoryEntry& e : page.entries) {
    TrashEntry entry;
    entry_cookie_ = e.cookie;
    // What users put there by themselves is theirs to keep.
    if (!ParseTrashEntryName(e.name, &entry)) continue;
    if (entry.removed_ns <= until) due_.push_back(e.name);
  }
  if (page.done && due_.empty()) user_ = InodeId();
  return true;
}

void Trash::RemoveNext() {
  RemoveTreeCommand remove;
  remove.parent = user_;
  remove.name = std::move(due_.front());
  due_.pop_front();
  proposer_(Credentials::Root(), std::move(remove),
            [this, alive = std::weak_ptr<char>(alive_)](Result<std::string> reply) {
              if (alive.expired()) return;
              const bool gone = reply.ok() || reply.error().Is(Code::kNotFound);
              if (!gone) LogWarning("emptying the trash: {}", reply.error().ToString());
              StepAfter(gone ? kPauseNs : kRetryNs);
            });
}

}  // namespace dfs::nn
