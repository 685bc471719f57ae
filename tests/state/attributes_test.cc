// set_attr, permissions of all operations on names, extended attributes.
#include "namenode/state/consistency.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

class AttributesTest : public testing::Test {
 protected:
  void As(uint32_t uid, uint32_t gid = 0, std::vector<uint32_t> groups = {}) {
    sh_.who = User(uid, gid, std::move(groups));
  }
  void AsRoot() { sh_.who = Credentials::Root(); }
  uint32_t Mode(const std::string& path) { return sh_.Stat(path)->mode; }
  void TearDown() override {
    sh_.ReclaimAll();
    EXPECT_OK(CheckConsistency(*member_.store));
  }

  Member member_;
  Shell sh_{&member_};
};

TEST_F(AttributesTest, NamesNeedWriteAndSearchOnTheDirectory) {
  ASSERT_OK(sh_.Mkdir("/d", 0755));
  ASSERT_OK(sh_.Create("/d/f"));
  ASSERT_OK(sh_.Mkdir("/d/sub"));
  As(10);
  EXPECT_CODE(sh_.Create("/d/x"), Code::kAccessDenied);
  EXPECT_CODE(sh_.Create("/d/f"), Code::kAlreadyExists);  // needs no write permission to be told
  EXPECT_CODE(sh_.Mkdir("/d/x"), Code::kAccessDenied);
  EXPECT_CODE(sh_.Symlink("t", "/d/x"), Code::kAccessDenied);
  EXPECT_CODE(sh_.Link("/d/f", "/d/x"), Code::kAccessDenied);
  EXPECT_CODE(sh_.Unlink("/d/f"), Code::kAccessDenied);
  EXPECT_CODE(sh_.Rmdir("/d/sub"), Code::kAccessDenied);
  EXPECT_CODE(sh_.RemoveTree("/d/sub"), Code::kAccessDenied);
  AsRoot();
  ASSERT_OK(sh_.Chmod("/d", 0776));  // write, but no search
  As(10);
  EXPECT_CODE(sh_.Create("/d/x"), Code::kAccessDenied);
  EXPECT_CODE(sh_.Unlink("/d/nothing"), Code::kAccessDenied);  // EACCES hides what exists
  AsRoot();
  ASSERT_OK(sh_.Chmod("/d", 0777));
  As(10);
  EXPECT_OK(sh_.Create("/d/x"));
  EXPECT_OK(sh_.Unlink("/d/f"));
}

TEST_F(AttributesTest, StickyDirectory) {
  ASSERT_OK(sh_.Mkdir("/tmp", 01777));
  As(10);
  ASSERT_OK(sh_.Create("/tmp/f"));
  ASSERT_OK(sh_.Mkdir("/tmp/d", 0777));
  ASSERT_OK(sh_.Create("/tmp/d/x"));
  As(20);
  EXPECT_CODE(sh_.Unlink("/tmp/f"), Code::kNotPermitted);
  EXPECT_CODE(sh_.Rmdir("/tmp/d"), Code::kNotPermitted);
  EXPECT_CODE(sh_.RemoveTree("/tmp/d"), Code::kNotPermitted);
  As(10);
  EXPECT_OK(sh_.Unlink("/tmp/f"));
  EXPECT_OK(sh_.RemoveTree("/tmp/d"));
}

TEST_F(AttributesTest, RemoveTreeOfAnothersFullDirectoryIsRefused) {
  ASSERT_OK(sh_.Mkdir("/open", 0777));
  As(10);
  ASSERT_OK(sh_.Mkdir("/open/full", 0777));
  ASSERT_OK(sh_.Create("/open/full/f"));
  ASSERT_OK(sh_.Mkdir("/open/empty"));
  As(20);
  EXPECT_CODE(sh_.RemoveTree("/open/full"), Code::kAccessDenied);
  EXPECT_OK(sh_.RemoveTree("/open/empty"));
  As(10);
  ASSERT_OK(sh_.Chmod("/open/full", 0500));
  EXPECT_CODE(sh_.RemoveTree("/open/full"), Code::kAccessDenied);
  ASSERT_OK(sh_.Chmod("/open/full", 0700));
  EXPECT_OK(sh_.RemoveTree("/open/full"));
}

TEST_F(AttributesTest, NewNodesTakeOwnerAndSetgidGroup) {
  ASSERT_OK(sh_.Mkdir("/d", 02777));
  ASSERT_OK(sh_.Chown("/d", 0, 77));
  ASSERT_OK(sh_.Chmod("/d", 02777));
  As(10, 11);
  ASSERT_OK(sh_.Mkdir("/d/sub", 0755));
  ASSERT_OK(sh_.Create("/d/f", 0644));
  EXPECT_EQ(sh_.Stat("/d/sub")->gid, 77u);
  EXPECT_EQ(Mode("/d/sub"), 02755u);
  EXPECT_EQ(sh_.Stat("/d/f")->uid, 10u);
  EXPECT_EQ(sh_.Stat("/d/f")->gid, 77u);
}

TEST_F(AttributesTest, ChmodAndChown) {
  ASSERT_OK(sh_.Create("/f", 0644));
  As(10);
  EXPECT_CODE(sh_.Chmod("/f", 0777), Code::kNotPermitted);
  EXPECT_CODE(sh_.Chown("/f", 10, 10), Code::kNotPermitted);
  AsRoot();
  ASSERT_OK(sh_.Chown("/f", 10, 20));
  ASSERT_OK(sh_.Chmod("/f", 06755));
  EXPECT_EQ(Mode("/f"), 06755u);
  As(10, 10, {30});
  ASSERT_OK(sh_.Chmod("/f", 06755));  // not in group 20: setgid goes
  EXPECT_EQ(Mode("/f"), 04755u);
  EXPECT_CODE(sh_.Chown("/f", 11, 20), Code::kNotPermitted);
  EXPECT_CODE(sh_.Chown("/f", 10, 99), Code::kNotPermitted);
  ASSERT_OK(sh_.Chown("/f", 10, 30));
  EXPECT_EQ(Mode("/f"), 0755u);  // chown takes setuid away
  int64_t before = sh_.Stat("/f")->ctime_ns;
  sh_.now_ns += 10;
  ASSERT_OK(sh_.Chmod("/f", 0600));
  EXPECT_GT(sh_.Stat("/f")->ctime_ns, before);
}

TEST_F(AttributesTest, TruncateNeedsWriteAndClearsSetuid) {
  ASSERT_OK(sh_.Create("/f", 0644, "0123456789"));
  ASSERT_OK(sh_.Chown("/f", 10, 10));
  ASSERT_OK(sh_.Chmod("/f", 04766));
  As(20);
  ASSERT_OK(sh_.Truncate("/f", 4));
  EXPECT_EQ(Mode("/f"), 0766u);
  EXPECT_EQ(sh_.Stat("/f")->inline_data, "0123");
  AsRoot();
  ASSERT_OK(sh_.Chmod("/f", 0444));
  As(10);
  EXPECT_CODE(sh_.Truncate("/f", 1), Code::kAccessDenied);
  SetAttrCommand c;
  c.mask = kSetSize;
  c.size = 2;
  c.by_handle = true;
  EXPECT_OK(sh_.SetAttr("/f", c));  // ftruncate on a descriptor that was opened before
  As(20);
  EXPECT_CODE(sh_.SetAttr("/f", c), Code::kAccessDenied);
  AsRoot();
  ASSERT_OK(sh_.Mkdir("/d"));
  EXPECT_CODE(sh_.Truncate("/d", 0), Code::kIsDirectory);
  EXPECT_CODE(sh_.Truncate("/f", kMaxFileBytes + 1), Code::kFileTooBig);
}

TEST_F(AttributesTest, ModeAndSizeInOneCommand) {
  ASSERT_OK(sh_.Create("/f", 0644, "0123456789"));
  ASSERT_OK(sh_.Chown("/f", 10, 10));
  As(10);
  SetAttrCommand c;
  c.mask = kSetMode | kSetSize;
  c.mode = 0400;
  c.size = 3;
  ASSERT_OK(sh_.SetAttr("/f", c));  // permission as it was before the command
  EXPECT_EQ(Mode("/f"), 0400u);
  EXPECT_EQ(sh_.Stat("/f")->size, 3u);
}

TEST_F(AttributesTest, Times) {
  ASSERT_OK(sh_.Create("/f", 0666));
  As(10);
  SetAttrCommand c;
  c.mask = kSetAtime | kSetMtime;
  c.atime_ns = 111;
  c.mtime_ns = -222;
  EXPECT_CODE(sh_.SetAttr("/f", c), Code::kNotPermitted);
  c.mask = kSetAtimeNow | kSetMtimeNow;
  sh_.now_ns += 500;
  EXPECT_OK(sh_.SetAttr("/f", c));  // who may write may set them to now
  EXPECT_EQ(sh_.Stat("/f")->mtime_ns, sh_.now_ns);
  AsRoot();
  c.mask = kSetAtime | kSetMtime;
  ASSERT_OK(sh_.SetAttr("/f", c));
  EXPECT_EQ(sh_.Stat("/f")->atime_ns, 111);
  EXPECT_EQ(sh_.Stat("/f")->mtime_ns, -222);
  EXPECT_EQ(sh_.Stat("/f")->ctime_ns, sh_.now_ns);
  c.mask = 1024;
  EXPECT_CODE(sh_.SetAttr("/f", c), Code::kInvalidArgument);
}

TEST_F(AttributesTest, Replication) {
  ASSERT_OK(sh_.Create("/f"));
  SetAttrCommand c;
  c.mask = kSetReplication;
  c.replication = 0;
  EXPECT_CODE(sh_.SetAttr("/f", c), Code::kInvalidArgument);
  c.replication = 2;
  EXPECT_OK(sh_.SetAttr("/f", c));
  EXPECT_EQ(sh_.Stat("/f")->replication, 2u);
  As(10);
  EXPECT_CODE(sh_.SetAttr("/f", c), Code::kNotPermitted);
}

TEST_F(AttributesTest, Xattrs) {
  ASSERT_OK(sh_.Create("/f", 0644));
  ASSERT_OK(sh_.Symlink("f", "/s"));
  auto set = [&](const std::string& path, const std::string& name, const std::string& value,
                 uint32_t flags = 0) {
    return sh_.Run(SetXattrCommand{sh_.Id(path), name, value, flags}).status();
  };
  auto remove = [&](const std::string& name) {
    return sh_.Run(RemoveXattrCommand{sh_.Id("/f"), name}).status();
  };
  ASSERT_OK(set("/f", "user.a", "1"));
  EXPECT_CODE(set("/f", "user.a", "2", kXattrCreate), Code::kAlreadyExists);
  EXPECT_CODE(set("/f", "user.b", "2", kXattrReplace), Code::kNoAttribute);
  ASSERT_OK(set("/f", "user.a", "22", kXattrReplace));
  ASSERT_OK(set("/f", "user.empty", ""));
  EXPECT_EQ(*member_.reader().GetXattr(sh_.Id("/f"), "user.a"), "22");
  EXPECT_EQ(*member_.reader().GetXattr(sh_.Id("/f"), "user.empty"), "");
  EXPECT_EQ(member_.reader().ListXattrs(sh_.Id("/f"))->size(), 2u);
  ASSERT_OK(set("/f", "trusted.t", "x"));
  ASSERT_OK(set("/f", "security.s", "x"));
  EXPECT_CODE(set("/f", "system.x", "x"), Code::kNotSupported);
  EXPECT_CODE(set("/s", "user.a", "x"), Code::kNotPermitted);
  EXPECT_CODE(set("/f", "user." + std::string(251, 'n'), "x"), Code::kResultTooLarge);
  EXPECT_OK(set("/f", "user." + std::string(250, 'n'), "x"));
  EXPECT_CODE(set("/f", "", "x"), Code::kResultTooLarge);
  EXPECT_CODE(set("/f", "user.big", std::string(kMaxXattrValueBytes + 1, 'v')),
              Code::kResultTooLarge);
  for (int i = 0; i < 15; ++i)
    ASSERT_OK(set("/f", "user.big" + std::to_string(i), std::string(kMaxXattrValueBytes, 'v')));
  EXPECT_CODE(set("/f", "user.onemore", std::string(kMaxXattrValueBytes, 'v')), Code::kNoSpace);
  As(10);
  EXPECT_CODE(set("/f", "user.a", "3"), Code::kAccessDenied);
  EXPECT_CODE(set("/f", "trusted.t", "3"), Code::kNotPermitted);
  EXPECT_CODE(remove("user.a"), Code::kAccessDenied);
  AsRoot();
  ASSERT_OK(remove("user.a"));
  EXPECT_CODE(remove("user.a"), Code::kNoAttribute);
  EXPECT_CODE(member_.reader().GetXattr(sh_.Id("/f"), "user.a"), Code::kNoAttribute);
  // They go with the inode, in steps.
  InodeId file = sh_.Id("/f");
  ASSERT_OK(sh_.Unlink("/f"));
  EXPECT_CODE(sh_.Run(SetXattrCommand{file, "user.z", "1", 0}).status(), Code::kStaleHandle);
  sh_.ReclaimAll(4);
  EXPECT_EQ(member_.reader().ListXattrs(file)->size(), 0u);
}

}  // namespace
}  // namespace dfs::nn
