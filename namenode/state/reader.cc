#include "namenode/state/reader.h"

#include "namenode/state/keys.h"
#include "namenode/state/view.h"

namespace dfs::nn {
namespace {

constexpr size_t kEntryOverheadBytes = 64;  // of a name in a page, without attributes
constexpr size_t kAttributesOverheadBytes = 120;

Status CheckDirectory(const Inode& inode) {
  if (!inode.IsDirectory()) return Status(Code::kNotDirectory, "not a directory");
  return Status::Ok();
}

}  // namespace

Result<Dentry> StateReader::Lookup(InodeId directory, std::string_view name) {
  DFS_RETURN_IF_ERROR(CheckName(name));
  return view_->GetDentry(directory, name);
}

Result<Inode> StateReader::GetInode(InodeId inode) {
  return view_->GetInode(inode);
}

Result<DirectoryPage> StateReader::ReadDirectory(InodeId directory, uint64_t cookie,
                                                 size_t max_entries, size_t max_bytes,
                                                 bool with_attributes) {
  DFS_ASSIGN_OR_RETURN(Inode inode, view_->GetInode(directory));
  DFS_RETURN_IF_ERROR(CheckDirectory(inode));
  DirectoryPage page;
  if (cookie >= kMaxNameHash) {
    page.done = true;
    return page;
  }
  size_t bytes = 0;
  {
    auto it = view_->Scan(DentryPrefix(directory), DentryPrefix(directory, cookie + 1));
    for (; it->Valid(); it->Next()) {
      uint64_t hash = KeyNumber(it->key(), 9);
      // Names of equal hash have one cookie, so they must all be in one page.
      bool full = page.entries.size() >= max_entries || bytes >= max_bytes;
      if (full && !page.entries.empty() && page.entries.back().cookie != hash) break;
      DFS_ASSIGN_OR_RETURN(Dentry dentry, DecodeDentry(it->value()));
      page.entries.push_back({std::string(it->key().substr(17)), dentry, hash, std::nullopt});
      bytes += page.entries.back().name.size() + kEntryOverheadBytes +
               (with_attributes ? kAttributesOverheadBytes : 0);
    }
    DFS_RETURN_IF_ERROR(it->status());
    page.done = !it->Valid();
  }
  if (!with_attributes) return page;
  for (DirectoryEntry& entry : page.entries) {
    DFS_ASSIGN_OR_RETURN(Inode child, view_->MustGetInode(entry.dentry.inode));
    if (!child.IsSymlink()) child.inline_data.clear();
    entry.inode = std::move(child);
  }
  return page;
}

Result<std::string> StateReader::PathOf(InodeId inode) {
  std::vector<std::string> names;
  for (InodeId at = inode; at != kRootInode;) {
    DFS_ASSIGN_OR_RETURN(Inode node, view_->GetInode(at));
    if (node.nlink == 0 || !node.parent.valid()) return std::string();
    names.push_back(std::move(node.name));
    at = node.parent;
  }
  if (names.empty()) return std::string("/");
  std::string path;
  for (auto it = names.rbegin(); it != names.rend(); ++it) path += "/" + *it;
  return path;
}

Result<Usage> StateReader::GetUsage(InodeId directory) {
  return view_->GetUsage(directory);
}

Result<std::string> StateReader::GetXattr(InodeId inode, std::string_view name) {
  std::string value;
  DFS_ASSIGN_OR_RETURN(bool found, view_->Get(XattrKey(inode, name), &value));
  if (!found) return Status(Code::kNoAttribute, "no such attribute");
  return value;
}

Result<std::vector<std::string>> StateReader::ListXattrs(InodeId inode) {
  std::vector<std::string> names;
  auto it = view_->Scan(XattrPrefix(inode));
  for (; it->Valid(); it->Next()) names.emplace_back(it->key().substr(9));
  DFS_RETURN_IF_ERROR(it->status());
  return names;
}

Result<std::vector<SlotBlock>> StateReader::ReadBlocks(InodeId inode, uint64_t first, uint64_t last,
                                                       size_t max) {
  std::vector<SlotBlock> blocks;
  {
    auto it = view_->Scan(SlotPrefix(inode), SlotKey(inode, first));
    for (; it->Valid() && blocks.size() < max; it->Next()) {
      uint64_t slot = KeyNumber(it->key(), 9);
      if (slot > last) break;
      DFS_ASSIGN_OR_RETURN(SlotRecord record, DecodeSlot(it->value()));
      blocks.push_back({slot, record.block, {}});
    }
    DFS_RETURN_IF_ERROR(it->status());
  }
  for (SlotBlock& slot : blocks) {
    DFS_ASSIGN_OR_RETURN(slot.block, view_->MustGetBlock(slot.id));
  }
  return blocks;
}

Result<BlockRecord> StateReader::GetBlock(BlockId block) {
  DFS_ASSIGN_OR_RETURN(std::optional<BlockRecord> record, view_->FindBlock(block));
  if (!record) return Status(Code::kNotFound, "no such block");
  return std::move(*record);
}

Status StateReader::ForEachBlock(BlockId from,
                                 const std::function<bool(BlockId, const BlockRecord&)>& visit) {
  auto it = view_->Scan(TagPrefix(Tag::kBlock), BlockKey(from));
  for (; it->Valid(); it->Next()) {
    DFS_ASSIGN_OR_RETURN(BlockRecord block, DecodeBlock(it->value()));
    if (!visit(BlockId(KeyNumber(it->key(), 1)), block)) break;
  }
  return it->status();
}

Result<std::vector<std::pair<BlockId, BlockRecord>>> StateReader::ListOpenBlocks() {
  std::vector<std::pair<BlockId, BlockRecord>> blocks;
  {
    auto it = view_->Scan(TagPrefix(Tag::kOpenBlock));
    for (; it->Valid(); it->Next())
      blocks.emplace_back(BlockId(KeyNumber(it->key(), 9)), BlockRecord());
    DFS_RETURN_IF_ERROR(it->status());
  }
  for (auto& [id, block] : blocks) {
    DFS_ASSIGN_OR_RETURN(block, view_->MustGetBlock(id));
  }
  return blocks;
}

Result<std::vector<std::pair<BlockId, BlockRecord>>> StateReader::ListBlocksToRecover() {
  DFS_ASSIGN_OR_RETURN(auto blocks, ListOpenBlocks());
  std::erase_if(blocks, [](const auto& pair) { return !pair.second.NeedsRecovery(); });
  return blocks;
}

Result<std::vector<ShortenedBlock>> StateReader::ListShortened(size_t max) {
  std::vector<ShortenedBlock> losses;
  auto it = view_->Scan(TagPrefix(Tag::kShortened));
  for (; it->Valid() && losses.size() < max; it->Next()) {
    DFS_ASSIGN_OR_RETURN(
        ShortenedBlock loss,
        DecodeShortened(InodeId(KeyNumber(it->key(), 1)), KeyNumber(it->key(), 9), it->value()));
    losses.push_back(loss);
  }
  DFS_RETURN_IF_ERROR(it->status());
  return losses;
}

Result<std::vector<std::pair<DatanodeId, DatanodeRecord>>> StateReader::ListDatanodes() {
  std::vector<std::pair<DatanodeId, DatanodeRecord>> out;
  auto it = view_->Scan(TagPrefix(Tag::kDatanode));
  for (; it->Valid(); it->Next()) {
    DFS_ASSIGN_OR_RETURN(DatanodeRecord record, DecodeDatanode(it->value()));
    out.emplace_back(DatanodeId(KeyNumber(it->key(), 1)), record);
  }
  DFS_RETURN_IF_ERROR(it->status());
  return out;
}

Result<Session> StateReader::GetSession(SessionId session) {
  DFS_ASSIGN_OR_RETURN(std::optional<Session> found, view_->FindSession(session));
  if (!found) return Status(Code::kUnknownSession, "no such session: it expired or never was");
  return std::move(*found);
}

Status StateReader::ForEachSession(const std::function<void(const Session&)>& visit) {
  constexpr size_t kRecordKeyBytes = 9;  // replies and nonces are longer
  auto it = view_->Scan(TagPrefix(Tag::kSession));
  for (; it->Valid(); it->Next()) {
    if (it->key().size() != kRecordKeyBytes) continue;
    DFS_ASSIGN_OR_RETURN(Session session,
                         DecodeSession(SessionId(KeyNumber(it->key(), 1)), it->value()));
    visit(session);
  }
  return it->status();
}

Result<std::optional<std::string>> StateReader::FindReply(SessionId id, uint64_t incarnation,
                                                          uint64_t sequence) {
  DFS_ASSIGN_OR_RETURN(Session session, GetSession(id));
  if (session.incarnation != incarnation)
    return Status(Code::kStaleIncarnation, "the session was resumed by another process");
  if (sequence < session.first_outstanding)
    return Status(Code::kStaleSequence, "the operation was answered already");
  std::string reply;
  DFS_ASSIGN_OR_RETURN(bool found, view_->Get(ReplyKey(id, sequence), &reply));
  if (!found) return std::optional<std::string>();
  return std::optional<std::string>(std::move(reply));
}

Result<std::vector<Todo>> StateReader::ListTodo(size_t max, InodeId from) {
  std::vector<Todo> todos;
  auto it = view_->Scan(TagPrefix(Tag::kTodo), TodoKey(from));
  for (; it->Valid() && todos.size() < max; it->Next()) {
    DFS_ASSIGN_OR_RETURN(Todo todo, DecodeTodo(InodeId(KeyNumber(it->key(), 1)), it->value()));
    todos.push_back(todo);
  }
  DFS_RETURN_IF_ERROR(it->status());
  return todos;
}

Result<std::vector<SessionId>> StateReader::OrphanSessions(InodeId inode) {
  std::vector<SessionId> sessions;
  auto it = view_->Scan(OrphanPrefix(inode));
  for (; it->Valid(); it->Next()) sessions.push_back(SessionId(KeyNumber(it->key(), 9)));
  DFS_RETURN_IF_ERROR(it->status());
  return sessions;
}

Status StateReader::ForEachOrphan(const std::function<void(InodeId, SessionId)>& visit) {
  auto it = view_->Scan(TagPrefix(Tag::kOrphan));
  for (; it->Valid(); it->Next())
    visit(InodeId(KeyNumber(it->key(), 1)), SessionId(KeyNumber(it->key(), 9)));
  return it->status();
}

Result<std::vector<Lock>> StateReader::ListLocks(InodeId inode, LockKind kind) {
  std::vector<Lock> locks;
  // Most files have none, which the cache knows without a look into the store.
  DFS_ASSIGN_OR_RETURN(bool any, view_->Has(LockCountKey(inode)));
  if (!any) return locks;
  auto it = view_->Scan(LockPrefix(inode, kind));
  for (; it->Valid(); it->Next()) {
    DFS_ASSIGN_OR_RETURN(Lock lock, DecodeLock(it->key(), it->value()));
    locks.push_back(lock);
  }
  DFS_RETURN_IF_ERROR(it->status());
  return locks;
}

const Counters& StateReader::counters() const {
  return view_->counters();
}

AppliedMark StateReader::applied() const {
  return view_->applied();
}

}  // namespace dfs::nn
