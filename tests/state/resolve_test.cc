// Path resolution.
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

class ResolveTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_OK(sh_.Mkdir("/a", 0755));
    ASSERT_OK(sh_.Mkdir("/a/b", 0755));
    ASSERT_OK(sh_.Create("/a/b/f", 0644, "x"));
    ASSERT_OK(sh_.Symlink("b/f", "/a/rel"));
    ASSERT_OK(sh_.Symlink("/a/b", "/a/abs"));
    ASSERT_OK(sh_.Symlink("../a/b", "/a/up"));
    ASSERT_OK(sh_.Symlink("loop", "/a/loop"));
    ASSERT_OK(sh_.Symlink("nowhere", "/a/dangling"));
  }
  Result<ResolvedPath> Resolve(std::string_view path, bool follow = true,
                               InodeId start = InodeId()) {
    return member_.reader().ResolvePath(start, path, who_, {follow, false});
  }
  InodeId Found(std::string_view path, bool follow = true) {
    auto r = Resolve(path, follow);
    EXPECT_OK(r);
    return r && r->inode ? r->inode->id : InodeId();
  }

  Member member_;
  Shell sh_{&member_};
  Credentials who_;
};

TEST_F(ResolveTest, PlainPaths) {
  EXPECT_EQ(Found("/"), kRootInode);
  EXPECT_EQ(Found(""), kRootInode);
  EXPECT_EQ(Found("///a//b/"), sh_.Id("/a/b"));
  EXPECT_EQ(Found("/a/./b/../b/f"), sh_.Id("/a/b/f"));
  EXPECT_EQ(Found("/../.."), kRootInode);
  auto r = Resolve("f", true, sh_.Id("/a/b"));
  ASSERT_OK(r);
  EXPECT_EQ(r->parent, sh_.Id("/a/b"));
  EXPECT_EQ(r->name, "f");
  auto self = Resolve("", true, sh_.Id("/a/b/f"));
  ASSERT_OK(self);
  EXPECT_EQ(self->inode->id, sh_.Id("/a/b/f"));
  EXPECT_EQ(self->name, "f");
  EXPECT_EQ(self->parent, sh_.Id("/a/b"));
  EXPECT_TRUE(Resolve("/a/b/..")->must_be_directory);
  EXPECT_TRUE(Resolve("/a/b/")->must_be_directory);
  EXPECT_FALSE(Resolve("/a/b")->must_be_directory);
}

TEST_F(ResolveTest, MissingThings) {
  auto r = Resolve("/a/new");
  ASSERT_OK(r);
  EXPECT_FALSE(r->inode.has_value());
  EXPECT_EQ(r->name, "new");
  EXPECT_EQ(r->parent, sh_.Id("/a"));
  EXPECT_CODE(Resolve("/a/no/new"), Code::kNotFound);
  EXPECT_CODE(Resolve("/a/b/f/x"), Code::kNotDirectory);
  EXPECT_CODE(Resolve("/a/b/f/"), Code::kNotDirectory);
  EXPECT_CODE(Resolve("x", true, InodeId(424242)), Code::kStaleHandle);
  EXPECT_CODE(Resolve("x", true, sh_.Id("/a/b/f")), Code::kNotDirectory);
}

TEST_F(ResolveTest, AllowMissing) {
  auto r = member_.reader().ResolvePath(InodeId(), "/a/b/x/y//z/", who_, {true, true});
  ASSERT_OK(r);
  EXPECT_EQ(r->parent, sh_.Id("/a/b"));
  EXPECT_EQ(r->missing_path, "x/y//z");
  EXPECT_EQ(r->name, "z");
  EXPECT_TRUE(r->must_be_directory);
  r = member_.reader().ResolvePath(InodeId(), "/a/b/x", who_, {true, true});
  ASSERT_OK(r);
  EXPECT_EQ(r->missing_path, "");
  EXPECT_EQ(r->name, "x");
}

TEST_F(ResolveTest, Symlinks) {
  EXPECT_EQ(Found("/a/rel"), sh_.Id("/a/b/f"));
  EXPECT_EQ(Found("/a/rel", false), sh_.Id("/a/rel"));
  EXPECT_EQ(Found("/a/abs/f"), sh_.Id("/a/b/f"));
  EXPECT_EQ(Found("/a/abs/f", false), sh_.Id("/a/b/f"));
  EXPECT_EQ(Found("/a/up/../b/f"), sh_.Id("/a/b/f"));
  EXPECT_EQ(Found("/a/abs/", false), sh_.Id("/a/b"));  // a slash follows even so
  EXPECT_CODE(Resolve("/a/loop"), Code::kSymlinkLoop);
  EXPECT_EQ(Found("/a/loop", false), sh_.Id("/a/loop"));
  EXPECT_CODE(Resolve("/a/loop/x"), Code::kSymlinkLoop);
  auto r = Resolve("/a/dangling");  // where O_CREAT would make the file
  ASSERT_OK(r);
  EXPECT_FALSE(r->inode.has_value());
  EXPECT_EQ(r->name, "nowhere");
  EXPECT_EQ(r->parent, sh_.Id("/a"));
  for (int i = 0; i < 41; ++i)
    ASSERT_OK(sh_.Symlink(i == 0 ? "b" : "l" + std::to_string(i - 1), "/a/l" + std::to_string(i)));
  EXPECT_EQ(Found("/a/l39"), sh_.Id("/a/b"));
  EXPECT_CODE(Resolve("/a/l40"), Code::kSymlinkLoop);
}

TEST_F(ResolveTest, Limits) {
  EXPECT_CODE(Resolve("/a/" + std::string(256, 'x')), Code::kNameTooLong);
  EXPECT_OK(Resolve("/a/" + std::string(255, 'x')));
  EXPECT_CODE(Resolve(std::string(5000, '/')), Code::kNameTooLong);
  EXPECT_CODE(Resolve(std::string_view("a\0b", 3)), Code::kInvalidArgument);
  std::string deep;
  for (int i = 0; i < 1000; ++i) deep += "./";
  EXPECT_EQ(Found("/" + deep + "a"), sh_.Id("/a"));
}

TEST_F(ResolveTest, SearchPermissionOnTheWay) {
  ASSERT_OK(sh_.Chmod("/a", 0700));
  who_ = User(10);
  EXPECT_CODE(Resolve("/a/b/f"), Code::kAccessDenied);
  EXPECT_CODE(Resolve("/a/none"), Code::kAccessDenied);
  EXPECT_OK(Resolve("/a"));
  EXPECT_CODE(Resolve("b", true, sh_.Id("/a")), Code::kAccessDenied);
  EXPECT_OK(Resolve("f", true, sh_.Id("/a/b")));  // an inode below is like a descriptor
  ASSERT_OK(sh_.Chmod("/a", 0711));
  EXPECT_OK(Resolve("/a/b/f"));
}

}  // namespace
}  // namespace dfs::nn
