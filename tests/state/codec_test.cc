// Encodings: round trips, and what a decoder makes of damaged input.
#include "common/base/random.h"
#include "namenode/state/keys.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

std::vector<CommandBody> AllBodies() {
  DatanodeId a(0xffffffffffffffff), b(2);
  return {OpenSessionCommand{"client", "secret", 9},
          ResumeSessionCommand{SessionId(1), "secret", 2},
          ExpireSessionCommand{SessionId(1), 2},
          CloseSessionCommand{SessionId(1), 2},
          MkdirCommand{InodeId(5), "a/b", 0755, true},
          CreateCommand{InodeId(5),
                        "f",
                        FileType::kRegular,
                        0644,
                        7,
                        true,
                        true,
                        true,
                        3,
                        4096,
                        true,
                        "inline",
                        -5,
                        true,
                        {a, b}},
          SymlinkCommand{InodeId(5), "s", "target"},
          LinkCommand{InodeId(5), InodeId(6), "l"},
          UnlinkCommand{InodeId(5), "u", {SessionId(1), SessionId(2)}},
          RmdirCommand{InodeId(5), "d"},
          RemoveTreeCommand{InodeId(5), "t", {SessionId(3)}},
          ReclaimCommand{InodeId(5), 10, {{InodeId(7), {SessionId(1)}}}},
          RenameCommand{InodeId(5), "x", InodeId(6), "y", 2, {SessionId(4)}},
          SetAttrCommand{InodeId(5), 511, 1, 2, 3, 4, -5, -6, 7, true},
          SetXattrCommand{InodeId(5), "user.a", std::string("\0v", 2), 1},
          RemoveXattrCommand{InodeId(5), "user.a"},
          CloseOrphanCommand{InodeId(5), SessionId(1)},
          OpenBlockCommand{InodeId(5), 1, Stamp(2), {a, b}, true},
          ExcludeMembersCommand{InodeId(5), 1, BlockId(2), Stamp(3), {a}},
          CommitLengthCommand{InodeId(5), 1, BlockId(2), Stamp(3), 4, 5, 6, true},
          CloseBlockCommand{InodeId(5),
                            1,
                            BlockId(2),
                            Stamp(3),
                            4,
                            {a, b},
                            5,
                            6,
                            true,
                            InodeId(7),
                            "n",
                            true,
                            {SessionId(1)}},
          WriteInlineCommand{InodeId(5), "data", 8, 9},
          ReleaseBlocksCommand{InodeId(5), {0, 7}},
          BeginBlockRecoveryCommand{BlockId(5), Stamp(6), true},
          ExcludeFromRecoveryCommand{BlockId(5), Stamp(6), {b}},
          FinishBlockRecoveryCommand{BlockId(5), Stamp(6), 7, {a, b}, true},
          SetMetaCommand{1, "id", 2, 3, 0700},
          LockCommand{InodeId(5), LockKind::kFlock, LockType::kExclusive, 6, 7, 8, 9, 10,
                      SessionId(11), 12, 13},
          UnlockCommand{InodeId(5), LockKind::kPosix, 6, 7, 8, 9},
          SetDatanodeCommand{a, NodeAdmin::kMaintenance, 77}};
}

CommandHeader Header() {
  return {SessionId(3), 4, 5, 6, -7, Credentials{1, 2, {3, 4}}};
}

TEST(CodecTest, WhatVersion1CouldSayIsSaidInVersion1) {
  // Members of feature level 1 decode it, and logs of that time are read.
  OpenBlockCommand open{InodeId(5), 1, Stamp(2), {DatanodeId(1)}};
  CreateCommand create;
  create.name = "f";
  for (const CommandBody& body : {CommandBody(open), CommandBody(create)}) {
    const std::string bytes = EncodeCommand(Header(), body);
    EXPECT_EQ(bytes[2], 1);
    auto decoded = DecodeCommand(bytes);
    ASSERT_OK(decoded);
    EXPECT_EQ(EncodeCommand(decoded->header, decoded->body), bytes);
  }
  open.members_anew = true;
  create.open_first = true;
  EXPECT_EQ(EncodeCommand(Header(), open)[2], 2);
  EXPECT_EQ(EncodeCommand(Header(), create)[2], 2);
}

TEST(CodecTest, EveryCommandSurvivesTheLog) {
  auto bodies = AllBodies();
  ASSERT_EQ(bodies.size(), std::variant_size_v<CommandBody>);
  for (size_t i = 0; i < bodies.size(); ++i) {
    ASSERT_EQ(bodies[i].index(), i);
    std::string bytes = EncodeCommand(Header(), bodies[i]);
    auto decoded = DecodeCommand(bytes);
    ASSERT_OK(decoded);
    EXPECT_EQ(TypeOf(decoded->body), TypeOf(bodies[i]));
    EXPECT_NE(CommandName(TypeOf(decoded->body)), "unknown");
    EXPECT_EQ(decoded->header.caller, Header().caller);
    EXPECT_EQ(decoded->header.now_ns, -7);
    // The same bytes again, so no field was forgotten in one direction.
    EXPECT_EQ(EncodeCommand(decoded->header, decoded->body), bytes);
    for (size_t cut = 0; cut < bytes.size(); ++cut)
      EXPECT_FALSE(DecodeCommand(bytes.substr(0, cut)).ok());
    EXPECT_FALSE(DecodeCommand(bytes + "x").ok());
  }
}

TEST(CodecTest, FieldsKeepTheirValues) {
  CloseBlockCommand c = std::get<CloseBlockCommand>(AllBodies()[20]);
  auto decoded = DecodeCommand(EncodeCommand(Header(), c));
  ASSERT_OK(decoded);
  const auto& d = std::get<CloseBlockCommand>(decoded->body);
  EXPECT_EQ(d.inode, c.inode);
  EXPECT_EQ(d.members, c.members);
  EXPECT_EQ(d.rename_name, "n");
  EXPECT_TRUE(d.rename_replace);
  EXPECT_EQ(d.open_sessions, c.open_sessions);
  EXPECT_EQ(d.mtime_ns, 6);
}

TEST(CodecTest, RandomBytesNeverDecodeBeyondTheirEnd) {
  Random random(42);
  auto bodies = AllBodies();
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes = EncodeCommand(Header(), bodies[random.Uniform(bodies.size())]);
    for (uint64_t n = random.Uniform(4) + 1; n > 0; --n)
      bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next());
    if (random.OneIn(3)) bytes.resize(random.Uniform(bytes.size() + 1));
    // Must not crash or allocate what is claimed; what decodes encodes again.
    auto decoded = DecodeCommand(bytes);
    if (decoded) EncodeCommand(decoded->header, decoded->body);
  }
  for (int i = 0; i < 100'000; ++i) {
    std::string bytes(random.Uniform(60), '\0');
    for (char& c : bytes) c = static_cast<char>(random.Next());
    if (!bytes.empty() && random.OneIn(2)) bytes[0] = 1;
    (void)DecodeInode(InodeId(1), bytes).ok();
    (void)DecodeBlock(bytes).ok();
    (void)DecodeSession(SessionId(1), bytes).ok();
    (void)DecodeCounters(bytes).ok();
    (void)DecodeUsage(bytes).ok();
    (void)DecodeReply(bytes).ok();
    (void)DecodeResult<OpenBlockResult>(bytes).ok();
    (void)DecodeResult<CreateResult>(bytes).ok();
  }
}

TEST(CodecTest, InodeRecord) {
  Inode inode;
  inode.id = InodeId(77);
  inode.type = FileType::kRegular;
  inode.mode = 07777;
  inode.uid = inode.gid = 0xffffffff;
  inode.nlink = 3;
  inode.parent = InodeId(5);
  inode.size = ~uint64_t{0};
  inode.ctime_ns = 100;
  inode.mtime_ns = INT64_MIN;
  inode.atime_ns = INT64_MAX;
  inode.entries = 9;
  inode.has_inline = true;
  inode.shortened = true;
  inode.name = std::string("n\xff\0m", 4);
  inode.inline_data = std::string(1000, '\0');
  std::string bytes = EncodeInode(inode);
  auto decoded = DecodeInode(inode.id, bytes);
  ASSERT_OK(decoded);
  EXPECT_EQ(EncodeInode(*decoded), bytes);
  EXPECT_EQ(decoded->mtime_ns, INT64_MIN);
  EXPECT_EQ(decoded->atime_ns, INT64_MAX);
  EXPECT_EQ(decoded->size, ~uint64_t{0});
  EXPECT_EQ(decoded->name, inode.name);
  EXPECT_EQ(decoded->inline_data, inode.inline_data);
  auto head = DecodeInodeHead(bytes);
  ASSERT_OK(head);
  EXPECT_EQ(head->nlink, 3u);
  EXPECT_EQ(head->parent, InodeId(5));
  bytes[0] = 2;  // a version from the future
  EXPECT_CODE(DecodeInode(inode.id, bytes), Code::kCorrupt);
}

TEST(CodecTest, KeysSortByNumberAndHash) {
  EXPECT_LT(InodeKey(InodeId(255)), InodeKey(InodeId(256)));
  EXPECT_LT(SlotKey(InodeId(1), 0xff), SlotKey(InodeId(1), 0x100));
  EXPECT_EQ(KeyNumber(SlotKey(InodeId(7), 9), 1), 7u);
  EXPECT_EQ(KeyNumber(SlotKey(InodeId(7), 9), 9), 9u);
  std::string key = DentryKey(InodeId(7), "name");
  EXPECT_EQ(key.substr(17), "name");
  EXPECT_EQ(KeyNumber(key, 9), NameHash(InodeId(7), "name"));
  EXPECT_NE(NameHash(InodeId(7), "name"), NameHash(InodeId(8), "name"));
  for (uint64_t i = 0; i < 1000; ++i) {
    uint64_t hash = NameHash(InodeId(i), "x");
    EXPECT_GE(hash, kFirstNameHash);
    EXPECT_LE(hash, kMaxNameHash);
  }
}

}  // namespace
}  // namespace dfs::nn
