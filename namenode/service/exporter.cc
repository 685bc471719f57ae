#include "namenode/service/exporter.h"

#include <algorithm>

#include "common/base/codec.h"
#include "common/base/logging.h"
#include "dfs_types.h"
#include "namenode/service/convert.h"
#include "namenode/state/keys.h"

namespace dfs::nn {

namespace {
constexpr int64_t kIdleNs = 60 * kSecond;
/// Idle for so long it gives way to another: whoever asked for it is likely to be gone.
constexpr int64_t kYieldNs = 5 * kSecond;
// Of a page: a few milliseconds of reading, during which others wait.
constexpr size_t kPageEntries = 256;
constexpr size_t kPageBytes = 256 << 10;
constexpr size_t kEntryOverheadBytes = 200;
constexpr size_t kNamesAtOnce = 64;
constexpr uint64_t kCacheBytes = 4u << 20;
}  // namespace

/// An export under way.
struct Exporter::Run {
  struct Level {
    InodeId directory;
    std::string path;  // with a slash behind
    uint64_t cookie = 0;
    DirectoryPage page;
    size_t next = 0;  // in the page
  };

  int64_t id = 0;
  int64_t asked_ns = 0;
  std::unique_ptr<StateStore> store;
  std::unique_ptr<StateMachine> machine;
  idl::ExportReply last;  // given again when it is asked for again
  int64_t last_page = -1;
  // Where it is.
  bool began = false;
  std::vector<Level> levels;
  bool tree_done = false;
  std::string link;  // the key of the last further link that was given
};

Exporter::Exporter(std::string directory, Env& env, OpenStore open_store, StateMachine& machine,
                   Executor& executor)
    : directory_(std::move(directory)),
      env_(env),
      open_store_(std::move(open_store)),
      machine_(machine),
      executor_(executor) {
  // Of a process that ended in the middle of one.
  if (env_.Exists(directory_)) (void)env_.RemoveTree(directory_);
}

Exporter::~Exporter() {
  Drop();
}

void Exporter::Drop() {
  if (timer_ != 0) executor_.Cancel(timer_);
  timer_ = 0;
  if (run_ == nullptr) return;
  run_.reset();
  if (Status removed = env_.RemoveTree(directory_); !removed.ok()) {
    LogWarning("removing the files of an export: {}", removed.ToString());
  }
}

void Exporter::DropLater() {
  if (timer_ != 0) return;
  timer_ = executor_.RunAfter(kIdleNs, [this] {
    timer_ = 0;
    if (run_ == nullptr) return;
    if (executor_.clock().BootNs() - run_->asked_ns < kIdleNs) return DropLater();
    LogInfo("an export was not asked for any more and is dropped");
    Drop();
  });
}

Result<idl::ExportReply> Exporter::Page(const idl::ExportRequest& request) {
  const int64_t now = executor_.clock().BootNs();
  if (request.export_id == 0) {
    if (request.drop) return idl::ExportReply();
    if (run_ != nullptr && now - run_->asked_ns < kYieldNs) {
      return Status(Code::kBusy, "another export is under way");
    }
    return Begin();
  }
  if (run_ == nullptr || run_->id != request.export_id) {
    if (request.drop) return idl::ExportReply();
    return Status(Code::kNotFound, "the export is no longer there: start it again");
  }
  if (request.drop) {
    Drop();
    return idl::ExportReply();
  }
  run_->asked_ns = now;
  if (request.page == run_->last_page) return run_->last;
  if (request.page != run_->last_page + 1 || run_->last.done) {
    return Status(Code::kInvalidArgument, "a page out of order");
  }
  if (Status filled = Fill(&run_->last); !filled.ok()) {
    Drop();
    return filled;
  }
  run_->last_page = request.page;
  return run_->last;
}

Result<idl::ExportReply> Exporter::Begin() {
  Drop();
  if (env_.Exists(directory_)) DFS_RETURN_IF_ERROR(env_.RemoveTree(directory_));
  DFS_RETURN_IF_ERROR(env_.CreateDir(directory_));
  const std::string checkpoint = directory_ + "/checkpoint";
  auto run = std::make_unique<Run>();
  auto open = [&]() -> Status {
    DFS_RETURN_IF_ERROR(machine_.store().CreateCheckpoint(checkpoint).status());
    DFS_ASSIGN_OR_RETURN(run->store, open_store_(directory_ + "/state"));
    DFS_RETURN_IF_ERROR(run->store->InstallCheckpoint(checkpoint));
    StateMachine::Options options;
    options.cache_bytes = kCacheBytes;
    run->machine = std::make_unique<StateMachine>(run->store.get(), options);
    return run->machine->Load();
  };
  if (Status opened = open(); !opened.ok()) {
    run.reset();
    (void)env_.RemoveTree(directory_);
    return opened.WithContext("making the checkpoint of an export");
  }
  StateReader& reader = run->machine->reader();
  idl::ExportReply& reply = run->last;
  // A number that no other leader gives out, nor this one once more.
  run->id = reply.export_id = std::max<int64_t>(executor_.clock().WallNs(), 1);
  run->asked_ns = executor_.clock().BootNs();
  reply.cluster_id = reader.counters().cluster_id;
  reply.index = Signed(reader.applied().index);
  reply.term = Signed(reader.applied().term);
  AppendBigEndian64(&reply.state_hash, reader.applied().state_hash);
  DFS_ASSIGN_OR_RETURN(Usage usage, reader.TotalUsage());
  ToIdl(usage, &reply.usage);
  run_ = std::move(run);
  DropLater();
  if (Status filled = Fill(&run_->last); !filled.ok()) {
    Drop();
    return filled;
  }
  run_->last_page = 0;
  return run_->last;
}

Status Exporter::Fill(idl::ExportReply* reply) {
  reply->entries.clear();
  size_t bytes = 0;
  if (!run_->tree_done) DFS_RETURN_IF_ERROR(FillTree(reply, &bytes));
  if (run_->tree_done && bytes < kPageBytes && reply->entries.size() < kPageEntries) {
    DFS_RETURN_IF_ERROR(FillLinks(reply, &bytes));
  }
  return Status();
}

Status Exporter::FillTree(idl::ExportReply* reply, size_t* bytes) {
  StateReader& reader = run_->machine->reader();
  std::vector<Run::Level>& levels = run_->levels;
  if (!run_->began) {
    run_->began = true;
    DFS_ASSIGN_OR_RETURN(Inode root, reader.GetInode(kRootInode));
    DFS_RETURN_IF_ERROR(Add(root, "/", reply, bytes));
    levels.push_back({kRootInode, "/", 0, {}, 0});
  }
  while (!levels.empty() && *bytes < kPageBytes && reply->entries.size() < kPageEntries) {
    Run::Level& at = levels.back();
    if (at.next == at.page.entries.size()) {
      if (at.page.done) {
        levels.pop_back();
        continue;
      }
      DFS_ASSIGN_OR_RETURN(
          at.page, reader.ReadDirectory(at.directory, at.cookie, kNamesAtOnce, kPageBytes, false));
      at.next = 0;
      if (!at.page.entries.empty()) at.cookie = at.page.entries.back().cookie;
      continue;
    }
    const DirectoryEntry& entry = at.page.entries[at.next++];
    DFS_ASSIGN_OR_RETURN(Inode inode, reader.GetInode(entry.dentry.inode));
    if (!inode.IsDirectory() && inode.nlink > 1) {
      std::string none;
      DFS_ASSIGN_OR_RETURN(bool further,
                           run_->store->Get(LinkKey(inode.id, at.directory, entry.name), &none));
      if (further) continue;  // comes when all home links are there
    }
    std::string path = at.path + entry.name;
    if (inode.IsDirectory()) {
      const InodeId id = inode.id;
      DFS_RETURN_IF_ERROR(Add(inode, path, reply, bytes));
      levels.push_back({id, path + "/", 0, {}, 0});  // `at` is gone
    } else {
      DFS_RETURN_IF_ERROR(Add(inode, std::move(path), reply, bytes));
    }
  }
  run_->tree_done = levels.empty();
  return Status();
}

Status Exporter::FillLinks(idl::ExportReply* reply, size_t* bytes) {
  constexpr size_t kNameAt = 17;  // behind tag, inode and parent
  StateReader& reader = run_->machine->reader();
  std::vector<std::string> keys;
  {
    auto it = run_->store->NewIterator(TagPrefix(Tag::kLink), run_->link);
    for (; it->Valid() && keys.size() < kNamesAtOnce; it->Next()) {
      if (it->key() != run_->link) keys.emplace_back(it->key());
    }
    DFS_RETURN_IF_ERROR(it->status());
    reply->done = !it->Valid();
  }
  for (const std::string& key : keys) {
    run_->link = key;
    DFS_ASSIGN_OR_RETURN(Inode inode, reader.GetInode(InodeId(KeyNumber(key, 1))));
    DFS_ASSIGN_OR_RETURN(std::string home, reader.PathOf(inode.id));
    DFS_ASSIGN_OR_RETURN(std::string parent, reader.PathOf(InodeId(KeyNumber(key, 9))));
    if (home.empty() || parent.empty()) continue;  // in a tree that was removed
    idl::ExportedEntry& entry = reply->entries.emplace_back();
    entry.path = parent + (parent == "/" ? "" : "/") + key.substr(kNameAt);
    entry.link_to = std::move(home);
    ToIdl(inode, &entry.attr);
    *bytes += kEntryOverheadBytes + entry.path.size() + entry.link_to.size();
  }
  return Status();
}

Status Exporter::Add(const Inode& inode, std::string path, idl::ExportReply* reply,
                     size_t* bytes) {
  StateReader& reader = run_->machine->reader();
  idl::ExportedEntry& entry = reply->entries.emplace_back();
  entry.path = std::move(path);
  ToIdl(inode, &entry.attr);
  if (inode.IsSymlink()) {
    entry.symlink_target = inode.inline_data;
  } else if (inode.IsRegular() && inode.block_count == 0) {
    // Also of an empty file: nothing of it is elsewhere. Behind the inline bytes there may be a hole.
    entry.has_inline_data = true;
    entry.inline_data = inode.inline_data;
  }
  *bytes += kEntryOverheadBytes + entry.path.size() + inode.inline_data.size();
  if (inode.xattr_count == 0) return Status();
  DFS_ASSIGN_OR_RETURN(std::vector<std::string> names, reader.ListXattrs(inode.id));
  for (std::string& name : names) {
    idl::ExportedXattr& xattr = entry.xattrs.emplace_back();
    DFS_ASSIGN_OR_RETURN(xattr.value, reader.GetXattr(inode.id, name));
    xattr.name = std::move(name);
    *bytes += xattr.name.size() + xattr.value.size();
  }
  return Status();
}

}  // namespace dfs::nn
