// The rename matrix.
#include "namenode/state/consistency.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

class RenameTest : public testing::Test {
 protected:
  void TearDown() override {
    sh_.ReclaimAll();
    EXPECT_OK(CheckConsistency(*member_.store));
  }
  Member member_;
  Shell sh_{&member_};
};

struct Case {
  std::string from, to;
  uint32_t flags;
  Code expected;
};

/// /d (a directory with d/f in it), /e (an empty directory), /f and /g (files), /s (a symlink).
void MakeTree(Shell& sh) {
  ASSERT_OK(sh.Mkdir("/d"));
  ASSERT_OK(sh.Create("/d/f", 0644, "in d"));
  ASSERT_OK(sh.Mkdir("/e"));
  ASSERT_OK(sh.Create("/f", 0644, "file f"));
  ASSERT_OK(sh.Create("/g", 0644, "g"));
  ASSERT_OK(sh.Symlink("f", "/s"));
  ASSERT_OK(sh.Link("/f", "/f2"));
}

TEST_F(RenameTest, KindsOfSourceAndTarget) {
  const std::vector<Case> cases = {
      {"/f", "/new", 0, Code::kOk},
      {"/f", "/g", 0, Code::kOk},
      {"/f", "/d", 0, Code::kIsDirectory},
      {"/f", "/e", 0, Code::kIsDirectory},
      {"/s", "/g", 0, Code::kOk},
      {"/d", "/new", 0, Code::kOk},
      {"/d", "/e", 0, Code::kOk},
      {"/e", "/d", 0, Code::kNotEmpty},
      {"/d", "/f", 0, Code::kNotDirectory},
      {"/d", "/s", 0, Code::kNotDirectory},
      {"/d", "/d/inside", 0, Code::kInvalidArgument},
      {"/d/f", "/d", 0, Code::kNotEmpty},  // the target is above the source
      {"/none", "/new", 0, Code::kNotFound},
      {"/f", "/g", kRenameNoReplace, Code::kAlreadyExists},
      {"/f", "/new", kRenameNoReplace, Code::kOk},
      {"/f", "/f", 0, Code::kOk},
      {"/d", "/d", 0, Code::kOk},
      {"/f", "/f2", 0, Code::kOk},  // one inode: nothing happens
      {"/f", "/f2", kRenameNoReplace, Code::kAlreadyExists},
      {"/f", "/d", kRenameExchange, Code::kOk},
      {"/d", "/d/f", kRenameExchange, Code::kInvalidArgument},
      {"/d/f", "/d", kRenameExchange, Code::kInvalidArgument},
      {"/f", "/new", kRenameExchange, Code::kNotFound},
      {"/f", "/g", kRenameExchange | kRenameNoReplace, Code::kInvalidArgument},
      {"/f", "/g", 4, Code::kInvalidArgument},
      {"/f", "/d/f", 0, Code::kOk},
      {"/d/f", "/f", 0, Code::kOk},
      {"/d/f", "/e/f", 0, Code::kOk},
      {"/e", "/d/e", 0, Code::kOk},
  };
  for (const Case& c : cases) {
    SCOPED_TRACE(c.from + " to " + c.to + " flags " + std::to_string(c.flags));
    Member member;
    Shell sh(&member);
    MakeTree(sh);
    InodeId source = sh.Exists(c.from) ? sh.Id(c.from) : InodeId();
    Usage before = sh.Du("/");
    EXPECT_CODE(sh.Rename(c.from, c.to, c.flags), c.expected);
    bool nothing = c.from == c.to || c.to == "/f2";
    if (c.expected == Code::kOk && !nothing) {
      EXPECT_EQ(sh.Id(c.to), source);
      EXPECT_EQ(sh.Exists(c.from), (c.flags & kRenameExchange) != 0);
    } else if (source.valid()) {
      EXPECT_EQ(sh.Id(c.from), source);
      EXPECT_EQ(sh.Du("/"), before);
    }
    sh.ReclaimAll();
    EXPECT_OK(CheckConsistency(*member.store));
  }
}

TEST_F(RenameTest, MovesUsageBetweenChains) {
  for (const char* d : {"/a", "/a/b", "/a/b/c", "/x", "/x/y"}) ASSERT_OK(sh_.Mkdir(d));
  ASSERT_OK(sh_.Create("/a/b/c/f", 0644, "0123456789"));
  ASSERT_OK(sh_.Rename("/a/b", "/x/y/moved"));
  EXPECT_EQ(sh_.Du("/a"), (Usage{0, 0, 0}));
  EXPECT_EQ(sh_.Du("/x"), (Usage{1, 3, 10}));
  EXPECT_EQ(sh_.Du("/x/y"), (Usage{1, 2, 10}));
  EXPECT_EQ(sh_.Du("/x/y/moved"), (Usage{1, 1, 10}));
  EXPECT_EQ(sh_.Du("/"), (Usage{1, 5, 10}));
  EXPECT_EQ(sh_.Stat("/x/y/moved")->parent, sh_.Id("/x/y"));
  EXPECT_EQ(sh_.Stat("/x/y")->nlink, 3u);
  EXPECT_EQ(sh_.Stat("/a")->nlink, 2u);
  EXPECT_EQ(*member_.reader().PathOf(sh_.Id("/x/y/moved/c/f")), "/x/y/moved/c/f");
  auto up = member_.reader().ResolvePath(sh_.Id("/x/y/moved"), "..", {}, {});
  ASSERT_OK(up);
  EXPECT_EQ(up->inode->id, sh_.Id("/x/y"));
}

TEST_F(RenameTest, ExchangeOfAFileAndADirectory) {
  ASSERT_OK(sh_.Mkdir("/a"));
  ASSERT_OK(sh_.Mkdir("/b"));
  ASSERT_OK(sh_.Create("/a/f", 0644, "12345"));
  ASSERT_OK(sh_.Mkdir("/b/d"));
  ASSERT_OK(sh_.Create("/b/d/x", 0644, "123"));
  ASSERT_OK(sh_.Rename("/a/f", "/b/d", kRenameExchange));
  EXPECT_EQ(sh_.Stat("/a/f")->type, FileType::kDirectory);
  EXPECT_EQ(sh_.Stat("/b/d")->type, FileType::kRegular);
  EXPECT_TRUE(sh_.Exists("/a/f/x"));
  EXPECT_EQ(sh_.Stat("/a")->nlink, 3u);
  EXPECT_EQ(sh_.Stat("/b")->nlink, 2u);
  EXPECT_EQ(sh_.Du("/a"), (Usage{1, 1, 3}));
  EXPECT_EQ(sh_.Du("/b"), (Usage{1, 0, 5}));
}

TEST_F(RenameTest, FurtherLinksMoveWithoutTheirCharge) {
  ASSERT_OK(sh_.Mkdir("/a"));
  ASSERT_OK(sh_.Mkdir("/b"));
  ASSERT_OK(sh_.Create("/f", 0644, "123"));
  ASSERT_OK(sh_.Link("/f", "/a/l"));
  ASSERT_OK(sh_.Rename("/a/l", "/b/l"));
  EXPECT_EQ(sh_.Du("/a"), (Usage{0, 0, 0}));
  EXPECT_EQ(sh_.Du("/b"), (Usage{0, 0, 0}));
  ASSERT_OK(sh_.Rename("/f", "/a/f"));
  EXPECT_EQ(sh_.Du("/a"), (Usage{1, 0, 3}));
  ASSERT_OK(sh_.Unlink("/a/f"));
  EXPECT_EQ(sh_.Du("/b"), (Usage{1, 0, 3}));
}

TEST_F(RenameTest, ReplacedFileThatIsOpenBecomesAnOrphan) {
  SessionId session = sh_.OpenSession();
  ASSERT_OK(sh_.Create("/old", 0644, "old"));
  ASSERT_OK(sh_.Create("/new", 0644, "new"));
  InodeId old = sh_.Id("/old");
  auto reply = sh_.Run(RenameCommand{kRootInode, "new", kRootInode, "old", 0, {session}});
  ASSERT_OK(reply.status());
  EXPECT_EQ(member_.reader().GetInode(old)->inline_data, "old");
  ASSERT_OK(sh_.Run(CloseOrphanCommand{old, session}).status());
  EXPECT_CODE(member_.reader().GetInode(old), Code::kStaleHandle);
}

TEST_F(RenameTest, PermissionsAndSticky) {
  ASSERT_OK(sh_.Mkdir("/mine", 0755));
  ASSERT_OK(sh_.Mkdir("/tmp", 01777));
  ASSERT_OK(sh_.Chown("/mine", 10, 10));
  sh_.who = User(10);
  ASSERT_OK(sh_.Create("/mine/f"));
  ASSERT_OK(sh_.Mkdir("/mine/d"));
  ASSERT_OK(sh_.Rename("/mine/f", "/tmp/f"));
  EXPECT_CODE(sh_.Rename("/mine/d", "/d"), Code::kAccessDenied);  // no write on the root
  sh_.who = User(20);
  EXPECT_CODE(sh_.Rename("/tmp/f", "/tmp/g"), Code::kNotPermitted);  // sticky: another's file
  ASSERT_OK(sh_.Create("/tmp/twenty"));
  EXPECT_CODE(sh_.Rename("/tmp/twenty", "/tmp/f"), Code::kNotPermitted);
  EXPECT_CODE(sh_.Rename("/tmp/twenty", "/mine/x"), Code::kAccessDenied);
  sh_.who = User(10);
  EXPECT_OK(sh_.Rename("/tmp/f", "/tmp/g"));
  // ".." changes, so the directory itself must be writable.
  ASSERT_OK(sh_.Chmod("/mine/d", 0555));
  EXPECT_CODE(sh_.Rename("/mine/d", "/tmp/d"), Code::kAccessDenied);
  EXPECT_OK(sh_.Rename("/mine/d", "/mine/d2"));
  sh_.who = Credentials::Root();
  EXPECT_OK(sh_.Rename("/mine/d2", "/tmp/d"));
}

}  // namespace
}  // namespace dfs::nn
