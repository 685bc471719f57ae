// A state machine over a store of either kind, with commands as one-liners.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "common/base/fault_env.h"
#include "namenode/state/mem_store.h"
#include "namenode/state/reader.h"
#include "namenode/state/rocks_store.h"
#include "namenode/state/state_machine.h"

namespace dfs::nn {

#define ASSERT_OK(expr)                                      \
  do {                                                       \
    auto&& dfs_s = (expr);                                   \
    ASSERT_TRUE(dfs_s.ok()) << #expr << ": " << Text(dfs_s); \
  } while (false)
#define EXPECT_OK(expr)                                      \
  do {                                                       \
    auto&& dfs_s = (expr);                                   \
    EXPECT_TRUE(dfs_s.ok()) << #expr << ": " << Text(dfs_s); \
  } while (false)
#define EXPECT_CODE(expr, expected) EXPECT_EQ(CodeName(CodeOf(expr)), CodeName(expected)) << #expr

inline std::string Text(const Status& s) {
  return s.ToString();
}
template <class T>
std::string Text(const Result<T>& r) {
  return r.status().ToString();
}
inline Code CodeOf(const Status& s) {
  return s.code();
}
template <class T>
Code CodeOf(const Result<T>& r) {
  return r.status().code();
}

enum class StoreKind { kMemory, kRocks };
inline std::string StoreName(const testing::TestParamInfo<StoreKind>& info) {
  return info.param == StoreKind::kMemory ? "Memory" : "Rocks";
}

/// A directory of its own, in memory where there is such a place: what a power cut leaves is modelled,
/// so a real disk would only be slower.
class TempDir {
 public:
  TempDir() {
    std::error_code ignored;
    std::string base = std::filesystem::is_directory("/dev/shm", ignored)
                           ? "/dev/shm"
                           : std::filesystem::temp_directory_path().string();
    std::string pattern = base + "/dfs-state-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

/// One member's state, reopened at will.
class Member {
 public:
  explicit Member(StoreKind kind = StoreKind::kMemory) : kind_(kind) {
    if (kind == StoreKind::kMemory) {
      env_ = std::make_unique<FaultEnv>();
      EXPECT_OK(env_->CreateDirs("/data"));
    } else {
      directory_ = std::make_unique<TempDir>();
    }
    Open();
  }
  ~Member() { Close(); }

  std::string Path(const std::string& name) const {
    return (kind_ == StoreKind::kMemory ? std::string("/data") : directory_->path()) + "/" + name;
  }
  void Open() {
    auto opened = kind_ == StoreKind::kMemory ? OpenMemStore(env_.get(), Path("state"))
                                              : OpenRocksStore(RocksOptions());
    ASSERT_OK(opened);
    store = std::move(*opened);
    machine = std::make_unique<StateMachine>(store.get());
    ASSERT_OK(machine->Load());
  }
  void Close() {
    machine.reset();
    store.reset();
  }
  RocksStoreOptions RocksOptions() const {
    RocksStoreOptions options;
    options.directory = Path("state");
    options.write_buffer_bytes = 1u << 20;
    options.block_cache_bytes = 4u << 20;
    return options;
  }
  StateReader& reader() { return machine->reader(); }
  FaultEnv& env() { return *env_; }

  std::unique_ptr<StateStore> store;
  std::unique_ptr<StateMachine> machine;

 private:
  StoreKind kind_;
  std::unique_ptr<FaultEnv> env_;
  std::unique_ptr<TempDir> directory_;
};

inline Credentials User(uint32_t uid, uint32_t gid = 0, std::vector<uint32_t> groups = {}) {
  return {uid, gid == 0 ? uid : gid, std::move(groups)};
}

/// Commands as calls. Each is applied and committed; everything goes into `log`, so that it can be
/// replayed elsewhere.
class Shell {
 public:
  explicit Shell(Member* member) : member_(member) {}

  CommandReply Run(CommandHeader header, const CommandBody& body) {
    header.now_ns = now_ns;
    return RunEncoded(EncodeCommand(header, body));
  }
  CommandReply RunEncoded(const std::string& bytes) {
    log.push_back(bytes);
    auto reply = member_->machine->Apply(member_->machine->applied_index() + 1, 1, bytes);
    EXPECT_OK(reply);
    if (commit) EXPECT_OK(member_->machine->Commit());
    if (!reply) return {reply.error().code(), "", ""};
    auto decoded = DecodeReply(*reply);
    EXPECT_OK(decoded);
    return *decoded;
  }
  /// As nobody's session.
  CommandReply Run(const CommandBody& body) {
    CommandHeader header;
    header.caller = who;
    return Run(header, body);
  }
  /// As `session`, with the next sequence.
  CommandReply RunIn(SessionId session, const CommandBody& body, uint64_t incarnation = 1) {
    CommandHeader header;
    header.caller = who;
    header.session = session;
    header.incarnation = incarnation;
    header.sequence = ++sequence_;
    header.first_outstanding = sequence_;
    return Run(header, body);
  }
  template <class T>
  static T Payload(const CommandReply& reply) {
    auto result = DecodeResult<T>(reply.payload);
    EXPECT_OK(result);
    return result ? *result : T();
  }

  // Paths below are absolute and walked as root, so that tests of permissions meet only Apply's.
  std::pair<InodeId, std::string> Split(const std::string& path) {
    auto resolved = member_->reader().ResolvePath(InodeId(), path.substr(0, path.rfind('/') + 1),
                                                  Credentials::Root(), {});
    EXPECT_OK(resolved);
    InodeId parent = resolved && resolved->inode ? resolved->inode->id : InodeId();
    return {parent, path.substr(path.rfind('/') + 1)};
  }
  Status Mkdir(const std::string& path, uint32_t mode = 0755) {
    auto [parent, name] = Split(path);
    return Run(MkdirCommand{parent, name, mode, false}).status();
  }
  CreateCommand Creation(const std::string& path) {
    CreateCommand c;
    std::tie(c.parent, c.name) = Split(path);
    c.exclusive = true;
    c.block_size = 4096;
    c.replication = 3;
    return c;
  }
  Status Create(const std::string& path, uint32_t mode = 0644, const std::string& data = "") {
    CreateCommand c = Creation(path);
    c.mode = mode;
    c.has_inline = !data.empty();
    c.inline_data = data;
    return Run(c).status();
  }
  Status Symlink(const std::string& target, const std::string& path) {
    auto [parent, name] = Split(path);
    return Run(SymlinkCommand{parent, name, target}).status();
  }
  Status Link(const std::string& from, const std::string& to) {
    auto [parent, name] = Split(to);
    return Run(LinkCommand{Id(from), parent, name}).status();
  }
  Status Unlink(const std::string& path, std::vector<SessionId> open = {}) {
    auto [parent, name] = Split(path);
    return Run(UnlinkCommand{parent, name, std::move(open)}).status();
  }
  Status Rmdir(const std::string& path) {
    auto [parent, name] = Split(path);
    return Run(RmdirCommand{parent, name}).status();
  }
  Status RemoveTree(const std::string& path) {
    auto [parent, name] = Split(path);
    return Run(RemoveTreeCommand{parent, name, {}}).status();
  }
  Status Rename(const std::string& from, const std::string& to, uint32_t flags = 0) {
    auto [source, source_name] = Split(from);
    auto [target, target_name] = Split(to);
    return Run(RenameCommand{source, source_name, target, target_name, flags, {}}).status();
  }
  Status SetAttr(const std::string& path, SetAttrCommand command) {
    command.inode = Id(path);
    return Run(command).status();
  }
  Status Chmod(const std::string& path, uint32_t mode) {
    SetAttrCommand c;
    c.mask = kSetMode;
    c.mode = mode;
    return SetAttr(path, c);
  }
  Status Chown(const std::string& path, uint32_t uid, uint32_t gid) {
    SetAttrCommand c;
    c.mask = kSetUid | kSetGid;
    c.uid = uid;
    c.gid = gid;
    return SetAttr(path, c);
  }
  Status Truncate(const std::string& path, uint64_t size) {
    SetAttrCommand c;
    c.mask = kSetSize;
    c.size = size;
    return SetAttr(path, c);
  }
  SessionId OpenSession(uint64_t nonce = 0) {
    OpenSessionCommand c{"test", "secret", nonce == 0 ? ++nonce_ : nonce};
    return Payload<SessionResult>(Run(c)).session;
  }
  /// Until nothing is left to reclaim.
  void ReclaimAll(uint32_t limit = 3) {
    for (int i = 0; i < 100'000; ++i) {
      auto todo = member_->reader().ListTodo(1);
      ASSERT_OK(todo);
      if (todo->empty()) return;
      EXPECT_OK(Run(ReclaimCommand{(*todo)[0].inode, limit, {}}).status());
    }
    FAIL() << "reclamation does not end";
  }

  // Reading, as root and without following.
  Result<Inode> Stat(const std::string& path) {
    auto resolved =
        member_->reader().ResolvePath(InodeId(), path, Credentials::Root(), {false, false});
    if (!resolved) return resolved.error();
    if (!resolved->inode) return Status(Code::kNotFound, path);
    return *resolved->inode;
  }
  InodeId Id(const std::string& path) {
    auto inode = Stat(path);
    EXPECT_OK(inode);
    return inode ? inode->id : InodeId();
  }
  bool Exists(const std::string& path) { return Stat(path).ok(); }
  Usage Du(const std::string& path) {
    auto usage = member_->reader().GetUsage(Id(path));
    EXPECT_OK(usage);
    return usage ? *usage : Usage();
  }
  StateReader& reader() { return member_->reader(); }

  Credentials who;
  int64_t now_ns = 1'000'000;
  bool commit = true;
  std::vector<std::string> log;

 private:
  Member* member_;
  uint64_t sequence_ = 0;
  uint64_t nonce_ = 0;
};

inline void PrintTo(const Usage& u, std::ostream* out) {
  *out << u.files << " files " << u.directories << " directories " << u.bytes << " bytes";
}

}  // namespace dfs::nn
