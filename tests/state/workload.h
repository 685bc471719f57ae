// Random commands of every type, most of them sensible, from a seed.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "tests/state/harness.h"

namespace dfs::nn {

class Workload {
 public:
  explicit Workload(uint64_t seed) : random_(seed) {}

  /// The next command, encoded. Looks at the committed state to be sensible.
  std::string Next(StateReader& reader) {
    CommandHeader header;
    header.now_ns = now_ns_ += static_cast<int64_t>(random_.Uniform(1000));
    if (random_.OneIn(20)) header.now_ns -= 5000;  // another leader's clock
    if (random_.OneIn(5)) header.caller = User(static_cast<uint32_t>(10 + random_.Uniform(2)));
    if (!last_.empty() && random_.OneIn(30)) return last_;  // a retry
    CommandBody body = Body(reader);
    if (NeedsSession(body) || random_.OneIn(3)) Enter(reader, &header);
    last_ = EncodeCommand(header, body);
    return last_;
  }

 private:
  static bool NeedsSession(const CommandBody& body) {
    CommandType type = TypeOf(body);
    if (type == CommandType::kLock) return std::get<LockCommand>(body).wait_id == 0;
    return (type >= CommandType::kOpenBlock && type <= CommandType::kWriteInline) ||
           type == CommandType::kUnlock;
  }

  void Enter(StateReader& reader, CommandHeader* header) {
    header->session = Session(reader);
    auto session = reader.GetSession(header->session);
    header->incarnation = session ? session->incarnation : 1;
    uint64_t& sequence = sequences_[{header->session.value, header->incarnation}];
    header->sequence = ++sequence + random_.Uniform(3);
    header->first_outstanding = sequence - random_.Uniform(std::min<uint64_t>(sequence, 5) + 1);
  }

  SessionId Session(StateReader& reader) {
    uint64_t next = reader.counters().next_session;
    return SessionId(next - std::min<uint64_t>(next, random_.Uniform(4)));
  }
  InodeId AnyInode(StateReader& reader) {
    uint64_t made = reader.counters().next_inode - kFirstInodeCounter;
    if (made == 0 || random_.OneIn(4)) return kRootInode;
    return InodeId(kFirstInodeCounter + random_.Uniform(made));
  }
  InodeId Directory(StateReader& reader) { return Of(reader, FileType::kDirectory); }
  InodeId File(StateReader& reader) { return Of(reader, FileType::kRegular); }
  InodeId Of(StateReader& reader, FileType type) {
    for (int i = 0; i < 20; ++i) {
      InodeId id = AnyInode(reader);
      auto inode = reader.GetInode(id);
      if (inode && inode->type == type) return id;
    }
    return kRootInode;
  }
  std::string Name() { return std::string(1, static_cast<char>('a' + random_.Uniform(6))); }
  std::string Data() { return std::string(random_.Uniform(200), 'd'); }
  std::vector<DatanodeId> Members() {
    std::vector<DatanodeId> members;
    for (uint64_t d = 1; d <= 4; ++d)
      if (members.empty() || random_.OneIn(2)) members.push_back(DatanodeId(d));
    return members;
  }
  std::vector<DatanodeId> SomeOf(const std::vector<DatanodeId>& members) {
    std::vector<DatanodeId> some;
    for (DatanodeId d : members)
      if (some.empty() || random_.OneIn(2)) some.push_back(d);
    return some;
  }
  std::vector<SessionId> Openers(StateReader& reader) {
    if (!random_.OneIn(3)) return {};
    return {Session(reader), Session(reader)};
  }
  BlockId AnyBlock(StateReader& reader) {
    uint64_t made = reader.counters().next_block - kFirstBlockCounter;
    return BlockId(kFirstBlockCounter + (made == 0 ? 0 : random_.Uniform(made)));
  }
  Stamp Mostly(Stamp stamp) { return random_.OneIn(10) ? Stamp(stamp.value + 1) : stamp; }

  CommandBody Body(StateReader& reader) {
    uint64_t kind = random_.Uniform(100);
    if (reader.counters().sessions < 2 || kind < 3)
      return OpenSessionCommand{"workload", "secret", random_.Uniform(20)};
    if (kind < 5) return EndOfSession(reader);
    if (kind == 5 && random_.OneIn(2))
      return SetDatanodeCommand{DatanodeId(1 + random_.Uniform(4)),
                                random_.OneIn(2) ? NodeAdmin::kInService : NodeAdmin::kDecommission,
                                0};
    if (kind < 60) return Names(reader, kind);
    if (kind < 68) return Locks(reader);
    return Blocks(reader);
  }

  CommandBody EndOfSession(StateReader& reader) {
    SessionId id = Session(reader);
    auto session = reader.GetSession(id);
    uint64_t incarnation = session ? session->incarnation : 1;
    if (random_.OneIn(2)) return ResumeSessionCommand{id, "secret", incarnation};
    if (random_.OneIn(3)) return CloseSessionCommand{id, incarnation};
    return ExpireSessionCommand{id, incarnation};
  }

  CommandBody Names(StateReader& reader, uint64_t kind) {
    InodeId parent = Directory(reader);
    if (kind < 13) return MkdirCommand{parent, Name(), 0777, false};
    if (kind < 15) return MkdirCommand{parent, Name() + "/" + Name() + "/" + Name(), 0777, true};
    if (kind < 27) {
      CreateCommand c;
      c.parent = parent;
      c.name = Name();
      c.mode = 0666;
      c.exclusive = random_.OneIn(2);
      c.overwrite = random_.OneIn(3);
      c.block_size = 4096;
      c.replication = 1 + static_cast<uint32_t>(random_.Uniform(3));
      c.inline_data = random_.OneIn(2) ? Data() : "";
      c.has_inline = !c.inline_data.empty();
      c.open_first = random_.OneIn(3);
      if (random_.OneIn(2)) c.first_members = Members();
      return c;
    }
    if (kind < 28) return SymlinkCommand{parent, Name(), "target"};
    if (kind < 33) return LinkCommand{File(reader), parent, Name()};
    if (kind < 38) return UnlinkCommand{parent, Name(), Openers(reader)};
    if (kind < 40) return RmdirCommand{parent, Name()};
    if (kind < 42) return RemoveTreeCommand{parent, Name(), Openers(reader)};
    if (kind < 46) return Reclaim(reader);
    if (kind < 53) {
      uint32_t dice = static_cast<uint32_t>(random_.Uniform(8));
      uint32_t flags = dice <= 2 ? dice : 0;
      return RenameCommand{parent, Name(), Directory(reader), Name(), flags, Openers(reader)};
    }
    if (kind < 57) {
      SetAttrCommand c;
      c.inode = random_.OneIn(3) ? AnyInode(reader) : File(reader);
      c.mask = random_.OneIn(2) ? uint32_t{kSetSize} : static_cast<uint32_t>(random_.Uniform(512));
      c.mode = static_cast<uint32_t>(random_.Uniform(010000)) | 0700;
      c.uid = random_.OneIn(2) ? 0 : 10;
      c.gid = 10;
      c.size = random_.Uniform(5 * 4096);
      c.mtime_ns = 5;
      c.replication = 1 + static_cast<uint32_t>(random_.Uniform(3));
      return c;
    }
    std::string attribute = "user." + Name();
    if (kind < 59) return SetXattrCommand{AnyInode(reader), attribute, Data(), 0};
    return RemoveXattrCommand{AnyInode(reader), attribute};
  }

  CommandBody Reclaim(StateReader& reader) {
    auto todo = reader.ListTodo(3);
    if (!todo || todo->empty()) return CloseOrphanCommand{AnyInode(reader), Session(reader)};
    ReclaimCommand c;
    c.inode = (*todo)[random_.Uniform(todo->size())].inode;
    c.limit = 1 + static_cast<uint32_t>(random_.Uniform(4));
    c.open.push_back({AnyInode(reader), Openers(reader)});
    return c;
  }

  CommandBody Locks(StateReader& reader) {
    const LockKind lock_kind = random_.OneIn(2) ? LockKind::kPosix : LockKind::kFlock;
    uint64_t start = 0, end = kMaxLockEnd;
    if (lock_kind == LockKind::kPosix) {
      start = random_.Uniform(50);
      if (random_.OneIn(2)) end = start + random_.Uniform(50);
    }
    const uint64_t owner = 1 + random_.Uniform(3), first_wait = random_.Uniform(wait_id_ + 1);
    if (random_.OneIn(3))
      return UnlockCommand{File(reader), lock_kind, start, end, owner, first_wait};
    LockCommand c;
    c.inode = File(reader);
    c.kind = lock_kind;
    c.type = random_.OneIn(2) ? LockType::kShared : LockType::kExclusive;
    c.start = start;
    c.end = end;
    c.owner = owner;
    c.first_wait = first_wait;
    if (random_.OneIn(3)) {  // it waited
      c.session = Session(reader);
      auto session = reader.GetSession(c.session);
      c.incarnation = session ? session->incarnation : 1;
      c.wait_id = ++wait_id_ - random_.Uniform(3);
    }
    return c;
  }

  CommandBody Blocks(StateReader& reader) {
    if (random_.OneIn(3)) {
      OpenBlockCommand c;
      c.inode = File(reader);
      c.slot = random_.Uniform(4);
      auto there = reader.ReadBlocks(c.inode, c.slot, c.slot, 1);
      if (there && !there->empty()) c.expected_stamp = Mostly((*there)[0].block.stamp);
      c.members = Members();
      c.members_anew = random_.OneIn(4);
      return c;
    }
    if (random_.OneIn(20)) {
      ReleaseBlocksCommand c{File(reader), {}};
      if (random_.OneIn(2)) c.slots.push_back(random_.Uniform(4));
      return c;
    }
    if (random_.OneIn(20))
      return WriteInlineCommand{File(reader), Data(), WriteInlineCommand::kAnyVersion, 0};
    BlockId id = AnyBlock(reader);
    auto open = reader.ListOpenBlocks();
    if (open && !open->empty() && !random_.OneIn(10))
      id = (*open)[random_.Uniform(open->size())].first;
    auto block = reader.GetBlock(id);
    if (!block) return BeginBlockRecoveryCommand{id, Stamp(1), false};
    uint64_t length = std::min<uint64_t>(block->length + random_.Uniform(3000), 4096);
    uint64_t size = random_.OneIn(3) ? random_.Uniform(5 * 4096) : 0;
    Stamp stamp = Mostly(block->stamp);
    if (block->NeedsRecovery() || random_.OneIn(10)) return Recovery(id, *block, length);
    switch (random_.Uniform(4)) {
      case 0:
        return ExcludeMembersCommand{block->inode, block->slot, id, stamp, SomeOf(block->members)};
      case 1:
        return CommitLengthCommand{block->inode, block->slot, id, stamp,
                                   length,       size,        0,  random_.OneIn(2)};
      default: {
        CloseBlockCommand c;
        c.inode = block->inode;
        c.slot = block->slot;
        c.block = id;
        c.stamp = stamp;
        c.length = length;
        c.members = SomeOf(block->members);
        c.file_size = size;
        c.drop_inline = random_.OneIn(2);
        if (random_.OneIn(4)) {
          c.rename_parent = Directory(reader);
          c.rename_name = Name();
          c.rename_replace = random_.OneIn(2);
        }
        return c;
      }
    }
  }

  CommandBody Recovery(BlockId id, const BlockRecord& block, uint64_t length) {
    if (block.state != BlockState::kRecovering || random_.OneIn(4))
      return BeginBlockRecoveryCommand{id, Mostly(block.LatestStamp()), random_.OneIn(3)};
    if (random_.OneIn(4))
      return ExcludeFromRecoveryCommand{id, block.recovery_stamp, SomeOf(block.members)};
    if (random_.OneIn(4)) length = random_.Uniform(block.length + 1);
    bool nothing = random_.OneIn(6);
    return FinishBlockRecoveryCommand{id, block.recovery_stamp, nothing ? 0 : length,
                                      nothing ? std::vector<DatanodeId>() : SomeOf(block.members),
                                      random_.OneIn(2)};
  }

  Random random_;
  int64_t now_ns_ = 1'000'000;
  std::string last_;
  uint64_t wait_id_ = 3;
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> sequences_;
};

}  // namespace dfs::nn
