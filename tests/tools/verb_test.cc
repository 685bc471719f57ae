// Paths as typed, and exit codes.
#include "tools/cli/verb.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace dfs::cli {
namespace {

TEST(Paths, AreResolved) {
  EXPECT_EQ(ClusterPath("/"), "/");
  EXPECT_EQ(ClusterPath("//a///b/"), "/a/b");
  EXPECT_EQ(ClusterPath("/a/./b/../c"), "/a/c");
  EXPECT_EQ(ClusterPath("/../.."), "/");
  EXPECT_EQ(ClusterPath("dfs:/a/b"), "/a/b");
  EXPECT_EQ(ClusterPath("dfs://host:9700/a"), "/a");
  EXPECT_EQ(ClusterPath("dfs://host:9700"), "/");
  EXPECT_EQ(ClusterPath("x"), "/user/" + UserName(geteuid()) + "/x");
}

TEST(Paths, KnowsDirectories) {
  for (const char* yes : {"/", "a/", ".", "..", "/a/.", "/a/.."}) EXPECT_TRUE(NamesDirectory(yes));
  for (const char* no : {"a", "/a", "/a/.b", "/a/b.."}) EXPECT_FALSE(NamesDirectory(no)) << no;
}

TEST(Paths, BaseNames) {
  EXPECT_EQ(BaseName("/a/b"), "b");
  EXPECT_EQ(BaseName("b"), "b");
  EXPECT_EQ(BaseName("/a/b//"), "b");
  EXPECT_EQ(BaseName("/"), "/");
}

TEST(ExitCodes, FollowTheTable) {
  EXPECT_EQ(ExitCodeOf(Status::Ok()), 0);
  EXPECT_EQ(ExitCodeOf(Status(Code::kNotFound, "")), 1);
  EXPECT_EQ(ExitCodeOf(Status(Code::kAlreadyExists, "")), 1);
  EXPECT_EQ(ExitCodeOf(Status(Code::kAccessDenied, "")), 4);
  EXPECT_EQ(ExitCodeOf(Status(Code::kUnauthenticated, "")), 4);
  EXPECT_EQ(ExitCodeOf(Status(Code::kUnavailable, "")), 5);
  EXPECT_EQ(ExitCodeOf(Status(Code::kTimedOut, "")), 5);
  EXPECT_EQ(ExitCodeOf(Status(Code::kNoSpace, "")), 6);
  EXPECT_EQ(ExitCodeOf(Status(Code::kCorrupt, "")), 7);
  EXPECT_EQ(ExitCodeOf(Status(Code::kMissingBlock, "")), 7);
}

}  // namespace
}  // namespace dfs::cli
