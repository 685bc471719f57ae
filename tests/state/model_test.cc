// Random sequences of operations against a naive model of a file system, on both stores; and random
// commands of every type, after which all records must agree.
#include <set>

#include "namenode/state/consistency.h"
#include "tests/state/workload.h"

namespace dfs::nn {
namespace {

using Name = std::pair<InodeId, std::string>;

struct Node {
  FileType type;
  InodeId parent;                           // directories
  std::map<std::string, InodeId> children;  // directories
  std::set<Name> names;
  Name home;
  std::string data;  // files
  bool IsDirectory() const { return type == FileType::kDirectory; }
};

/// What a file system does, as simply as it can be said.
class Model {
 public:
  Model() { nodes[kRootInode] = {FileType::kDirectory, kRootInode, {}, {}, {}, {}}; }

  InodeId Find(InodeId parent, const std::string& name) {
    auto it = nodes[parent].children.find(name);
    return it == nodes[parent].children.end() ? InodeId() : it->second;
  }
  void Add(InodeId parent, const std::string& name, InodeId id, FileType type,
           const std::string& data) {
    nodes[id] = {type, parent, {}, {{parent, name}}, {parent, name}, data};
    nodes[parent].children[name] = id;
  }
  Code Link(InodeId id, InodeId parent, const std::string& name) {
    if (nodes[id].IsDirectory()) return Code::kNotPermitted;
    if (Find(parent, name).valid()) return Code::kAlreadyExists;
    nodes[parent].children[name] = id;
    nodes[id].names.insert({parent, name});
    return Code::kOk;
  }
  void Drop(InodeId parent, const std::string& name) {
    InodeId id = Find(parent, name);
    nodes[parent].children.erase(name);
    Node& node = nodes[id];
    node.names.erase({parent, name});
    if (node.names.empty()) {
      nodes.erase(id);
    } else if (node.home == Name{parent, name}) {
      node.home = *node.names.begin();
    }
  }
  Code Unlink(InodeId parent, const std::string& name) {
    InodeId id = Find(parent, name);
    if (!id.valid()) return Code::kNotFound;
    if (nodes[id].IsDirectory()) return Code::kIsDirectory;
    Drop(parent, name);
    return Code::kOk;
  }
  Code Rmdir(InodeId parent, const std::string& name) {
    InodeId id = Find(parent, name);
    if (!id.valid()) return Code::kNotFound;
    if (!nodes[id].IsDirectory()) return Code::kNotDirectory;
    if (!nodes[id].children.empty()) return Code::kNotEmpty;
    Drop(parent, name);
    return Code::kOk;
  }
  Code RemoveTree(InodeId parent, const std::string& name) {
    InodeId id = Find(parent, name);
    if (!id.valid()) return Code::kNotFound;
    if (nodes[id].IsDirectory()) {
      auto children = nodes[id].children;
      for (const auto& [child, unused] : children) RemoveTree(id, child);
    }
    Drop(parent, name);
    return Code::kOk;
  }
  bool IsAbove(InodeId upper, InodeId lower) {
    for (InodeId at = lower;; at = nodes[at].parent) {
      if (at == upper) return true;
      if (at == kRootInode) return false;
    }
  }
  void Move(InodeId from, const std::string& from_name, InodeId id, InodeId to,
            const std::string& to_name) {
    Node& node = nodes[id];
    node.names.erase({from, from_name});
    node.names.insert({to, to_name});
    if (node.home == Name{from, from_name}) node.home = {to, to_name};
    if (node.IsDirectory()) node.parent = to;
    nodes[to].children[to_name] = id;
  }
  Code Rename(InodeId from, const std::string& from_name, InodeId to, const std::string& to_name,
              uint32_t flags) {
    InodeId source = Find(from, from_name), target = Find(to, to_name);
    bool exchange = flags == kRenameExchange;
    if (!source.valid() || (exchange && !target.valid())) return Code::kNotFound;
    if (target.valid() && flags == kRenameNoReplace) return Code::kAlreadyExists;
    if (from != to && IsAbove(source, to)) return Code::kInvalidArgument;
    if (from != to && target.valid() && IsAbove(target, from))
      return exchange ? Code::kInvalidArgument : Code::kNotEmpty;
    if (source == target) return Code::kOk;
    if (exchange) {
      nodes[from].children.erase(from_name);
      nodes[to].children.erase(to_name);
      Move(from, from_name, source, to, to_name);
      Move(to, to_name, target, from, from_name);
      return Code::kOk;
    }
    if (target.valid()) {
      const Node& t = nodes[target];
      if (nodes[source].IsDirectory() && !t.IsDirectory()) return Code::kNotDirectory;
      if (!nodes[source].IsDirectory() && t.IsDirectory()) return Code::kIsDirectory;
      if (!t.children.empty()) return Code::kNotEmpty;
      Drop(to, to_name);
    }
    nodes[from].children.erase(from_name);
    Move(from, from_name, source, to, to_name);
    return Code::kOk;
  }
  Usage Below(InodeId directory) {
    Usage sum;
    for (const auto& [name, id] : nodes[directory].children) {
      const Node& node = nodes[id];
      if (node.IsDirectory()) {
        Usage below = Below(id);
        sum.files += below.files;
        sum.directories += below.directories + 1;
        sum.bytes += below.bytes;
      } else if (node.home == Name{directory, name}) {
        sum.files += 1;
        sum.bytes += static_cast<int64_t>(node.data.size());
      }
    }
    return sum;
  }

  std::map<InodeId, Node> nodes;
};

class ModelTest : public testing::TestWithParam<StoreKind> {
 protected:
  InodeId Pick(bool directory) {
    std::vector<InodeId> ids;
    for (const auto& [id, node] : model_.nodes)
      if (node.IsDirectory() == directory) ids.push_back(id);
    return ids.empty() ? kRootInode : ids[random_.Uniform(ids.size())];
  }
  std::string PickName() { return std::string(1, static_cast<char>('a' + random_.Uniform(4))); }

  void Step() {
    InodeId parent = Pick(true), other = Pick(true);
    std::string name = PickName(), second = PickName();
    std::string data(random_.Uniform(50), 'x');
    InodeId there = model_.Find(parent, name);
    Code expected = Code::kOk;
    CommandReply reply;
    switch (random_.Uniform(10)) {
      case 0:
      case 1:
        expected = there.valid() ? Code::kAlreadyExists : Code::kOk;
        reply = sh_.Run(MkdirCommand{parent, name, 0755, false});
        if (!there.valid()) Added(reply, parent, name, FileType::kDirectory, "");
        break;
      case 2:
      case 3: {
        CreateCommand c;
        c.parent = parent;
        c.name = name;
        c.exclusive = true;
        c.has_inline = true;
        c.inline_data = data;
        expected = there.valid() ? Code::kAlreadyExists : Code::kOk;
        reply = sh_.Run(c);
        if (!there.valid()) Added(reply, parent, name, FileType::kRegular, data);
        break;
      }
      case 4: {
        InodeId file = Pick(false);
        expected = model_.Link(file, parent, name);
        reply = sh_.Run(LinkCommand{file, parent, name});
        break;
      }
      case 5:
        expected = model_.Unlink(parent, name);
        reply = sh_.Run(UnlinkCommand{parent, name, {}});
        break;
      case 6:
        expected = model_.Rmdir(parent, name);
        reply = sh_.Run(RmdirCommand{parent, name});
        break;
      case 7: {
        if (!random_.OneIn(4)) return;
        expected = model_.RemoveTree(parent, name);
        reply = sh_.Run(RemoveTreeCommand{parent, name, {}});
        sh_.ReclaimAll(1 + static_cast<uint32_t>(random_.Uniform(5)));
        break;
      }
      case 8: {
        uint32_t flags = static_cast<uint32_t>(random_.Uniform(3));
        expected = model_.Rename(parent, name, other, second, flags);
        reply = sh_.Run(RenameCommand{parent, name, other, second, flags, {}});
        break;
      }
      default: {
        InodeId file = Pick(false);
        if (file == kRootInode) return;
        model_.nodes[file].data = data;
        reply = sh_.Run(WriteInlineCommand{file, data, WriteInlineCommand::kAnyVersion, 0});
      }
    }
    ASSERT_EQ(CodeName(reply.code), CodeName(expected)) << reply.message;
  }
  void Added(const CommandReply& reply, InodeId parent, const std::string& name, FileType type,
             const std::string& data) {
    ASSERT_OK(reply.status());
    model_.Add(parent, name, Shell::Payload<CreateResult>(reply).attr.id, type, data);
  }

  void Compare() {
    ASSERT_OK(CheckConsistency(*member_.store));
    for (const auto& [id, node] : model_.nodes) {
      auto inode = sh_.reader().GetInode(id);
      ASSERT_OK(inode);
      ASSERT_EQ(inode->type, node.type);
      if (!node.IsDirectory()) {
        ASSERT_EQ(inode->nlink, node.names.size());
        ASSERT_EQ(inode->inline_data, node.data);
        ASSERT_EQ(inode->parent, node.home.first);
        ASSERT_EQ(inode->name, node.home.second);
        continue;
      }
      ASSERT_EQ(inode->parent, node.parent);
      ASSERT_EQ(*sh_.reader().GetUsage(id), model_.Below(id));
      std::map<std::string, InodeId> seen;
      uint64_t cookie = 0;
      for (bool done = false; !done;) {
        auto page = sh_.reader().ReadDirectory(id, cookie, 3, 1 << 20, false);
        ASSERT_OK(page);
        for (const DirectoryEntry& e : page->entries) {
          seen[e.name] = e.dentry.inode;
          cookie = e.cookie;
        }
        done = page->done;
      }
      ASSERT_EQ(seen, node.children);
    }
  }

  Member member_{GetParam()};
  Shell sh_{&member_};
  Model model_;
  Random random_{20260101};
};
INSTANTIATE_TEST_SUITE_P(Stores, ModelTest, testing::Values(StoreKind::kMemory, StoreKind::kRocks),
                         StoreName);

TEST_P(ModelTest, AgreesWithTheNaiveOne) {
  for (int round = 0; round < 40; ++round) {
    for (int i = 0; i < 60; ++i) {
      Step();
      if (HasFatalFailure()) return;
    }
    Compare();
    if (HasFatalFailure()) return;
    if (round % 10 == 9) {
      ASSERT_OK(member_.store->Flush());
      member_.Close();
      member_.Open();
    }
  }
}

/// A log of random commands, applied one by one on a memory store.
std::vector<std::string> MakeLog(uint64_t seed, int commands, uint64_t* hash, uint64_t* content,
                                 std::map<std::string_view, int>* kinds) {
  Member member;
  Shell sh(&member);
  Workload workload(seed);
  for (int i = 0; i < commands; ++i) {
    std::string bytes = workload.Next(member.reader());
    CommandReply reply = sh.RunEncoded(bytes);
    if (reply.code == Code::kOk && kinds)
      ++(*kinds)[CommandName(TypeOf(DecodeCommand(bytes)->body))];
    if (i % 50 == 0 || i + 1 == commands) {
      Status s = CheckConsistency(*member.store);
      EXPECT_TRUE(s.ok()) << s.ToString() << " after " << i << " commands of seed " << seed;
      if (!s.ok()) break;
    }
  }
  *hash = member.machine->state_hash();
  *content = *ContentHash(*member.store);
  return sh.log;
}

TEST(WorkloadTest, RecordsAgreeWhateverHappens) {
  std::map<std::string_view, int> kinds;
  uint64_t hash = 0, content = 0;
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    MakeLog(seed, 1500, &hash, &content, &kinds);
    if (testing::Test::HasFailure()) return;
  }
  // A workload that never gets anywhere would test nothing.
  for (const char* kind : {"open_session",
                           "resume_session",
                           "expire_session",
                           "mkdir",
                           "create",
                           "link",
                           "unlink",
                           "rmdir",
                           "remove_tree",
                           "reclaim",
                           "rename",
                           "set_attr",
                           "set_xattr",
                           "remove_xattr",
                           "close_orphan",
                           "open_block",
                           "exclude_members",
                           "commit_length",
                           "close_block",
                           "write_inline",
                           "begin_block_recovery",
                           "exclude_from_recovery",
                           "finish_block_recovery",
                           "lock",
                           "unlock"})
    EXPECT_GT(kinds[kind], 5) << kind;
}

TEST(WorkloadTest, ReplayGivesTheSameStateEverywhere) {
  for (uint64_t seed = 100; seed < 104; ++seed) {
    uint64_t hash = 0, content = 0;
    std::vector<std::string> log = MakeLog(seed, 800, &hash, &content, nullptr);
    for (StoreKind kind : {StoreKind::kMemory, StoreKind::kRocks}) {
      // Other batches, flushes and restarts than the first member had.
      Member member(kind);
      Random random(seed);
      for (size_t i = 0; i < log.size(); ++i) {
        ASSERT_OK(member.machine->Apply(i + 1, 1, log[i]));
        if (random.OneIn(20)) {
          ASSERT_OK(member.machine->Commit());
        }
        if (random.OneIn(200)) {
          ASSERT_OK(member.machine->Commit());
          ASSERT_OK(member.store->Flush());
          member.Close();
          member.Open();
          ASSERT_EQ(member.machine->applied_index(), i + 1);
        }
      }
      ASSERT_OK(member.machine->Commit());
      EXPECT_EQ(member.machine->state_hash(), hash);
      EXPECT_EQ(*ContentHash(*member.store), content);
    }
  }
}

TEST(WorkloadTest, CrashBetweenCommitAndFlushThenReplay) {
  uint64_t hash = 0, content = 0;
  std::vector<std::string> log = MakeLog(200, 1500, &hash, &content, nullptr);
  Member member;
  Random random(200);
  int crashes = 0;
  LogIndex flushed = 0;
  while (member.machine->applied_index() < log.size()) {
    LogIndex next = member.machine->applied_index() + 1;
    ASSERT_OK(member.machine->Apply(next, 1, log[next - 1]));
    if (random.OneIn(5)) ASSERT_OK(member.machine->Commit());
    if (random.OneIn(60)) {
      ASSERT_OK(member.machine->Commit());
      ASSERT_OK(member.store->Flush());
      flushed = *member.store->flushed_index();
      ASSERT_EQ(flushed, next);
    }
    if (random.OneIn(40)) {
      ++crashes;
      member.Close();
      member.env().Crash(random, FaultEnv::CrashMode::kKeepRandom);
      member.Open();
      ASSERT_EQ(member.machine->applied_index(), flushed);
      ASSERT_OK(CheckConsistency(*member.store));
    }
  }
  ASSERT_OK(member.machine->Commit());
  EXPECT_GT(crashes, 10);
  EXPECT_EQ(member.machine->state_hash(), hash);
  EXPECT_EQ(*ContentHash(*member.store), content);
}

TEST(WorkloadTest, ACheckpointCatchesAFollowerUp) {
  for (StoreKind kind : {StoreKind::kMemory, StoreKind::kRocks}) {
    uint64_t hash = 0, content = 0;
    std::vector<std::string> log = MakeLog(300, 600, &hash, &content, nullptr);
    Member leader(kind), follower(kind);
    for (size_t i = 0; i < 400; ++i) ASSERT_OK(leader.machine->Apply(i + 1, 1, log[i]));
    ASSERT_OK(leader.machine->Commit());
    auto info = leader.store->CreateCheckpoint(leader.Path("c"));
    ASSERT_OK(info);
    EXPECT_EQ(info->applied.index, 400u);
    EXPECT_EQ(info->applied.state_hash, leader.machine->state_hash());
    // The follower has something of its own, and something pending.
    for (size_t i = 0; i < 100; ++i) ASSERT_OK(follower.machine->Apply(i + 1, 1, log[i]));
    ASSERT_OK(follower.machine->Commit());
    ASSERT_OK(follower.machine->Apply(101, 1, log[100]));
    struct Replaced : StateObserver {
      void OnStateReplaced() override { ++times; }
      int times = 0;
    } observer;
    follower.machine->SetObserver(&observer);
    if (kind == StoreKind::kRocks) {
      std::filesystem::copy(leader.Path("c"), follower.Path("in"));
    } else {
      ASSERT_OK(follower.env().CreateDir(follower.Path("in")));
      ASSERT_OK(follower.env().WriteFileAtomically(
          follower.Path("in") + "/state", *leader.env().ReadFile(leader.Path("c") + "/state")));
    }
    ASSERT_OK(follower.machine->InstallFrom(follower.Path("in")));
    EXPECT_EQ(observer.times, 1);
    EXPECT_EQ(follower.machine->applied_index(), 400u);
    EXPECT_EQ(*follower.store->flushed_index(), 400u);
    for (size_t i = 400; i < 600; ++i) ASSERT_OK(follower.machine->Apply(i + 1, 1, log[i]));
    ASSERT_OK(follower.machine->Commit());
    EXPECT_EQ(follower.machine->state_hash(), hash);
    EXPECT_EQ(*ContentHash(*follower.store), content);
    follower.machine->SetObserver(nullptr);
  }
}

}  // namespace
}  // namespace dfs::nn
