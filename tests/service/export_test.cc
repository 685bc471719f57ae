// Exports of the namespace, on real namenodes in the simulated world.
#include <gtest/gtest.h>

#include <map>

#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

Result<idl::ExportReply> Page(ServiceWorld& w, int64_t id, int64_t page, int32_t uid = 0,
                              bool drop = false) {
  idl::ExportRequest r;
  r.export_id = id;
  r.page = page;
  r.caller.uid = uid;
  r.drop = drop;
  return w.Call<idl::kExport>(r);
}

/// What is exported by path, with the changes of `between` after the first page.
std::map<std::string, idl::ExportedEntry> All(ServiceWorld& w,
                                              const std::function<void()>& between = {}) {
  std::map<std::string, idl::ExportedEntry> all;
  auto page = Page(w, 0, 0);
  EXPECT_TRUE(page.ok()) << page.status().ToString();
  for (int64_t number = 1; page.ok(); ++number) {
    for (const auto& e : page->entries) {
      EXPECT_TRUE(all.emplace(e.path, e).second) << e.path << " twice";
      const std::string parent = e.path.substr(0, e.path.rfind('/'));
      EXPECT_TRUE(parent.empty() || all.count(parent) == 1) << e.path << " before its directory";
      EXPECT_TRUE(e.link_to.empty() || all.count(e.link_to) == 1) << e.path;
    }
    if (page->done) break;
    if (between && number == 1) between();
    page = Page(w, page->export_id, number);
    EXPECT_TRUE(page.ok()) << page.status().ToString();
  }
  if (page.ok()) {
    EXPECT_TRUE(Page(w, page->export_id, 0, 0, true).ok());
  }
  return all;
}

TEST(Export, HasEverythingOnce) {
  ServiceWorld w(1);
  Client c(w, 1);
  auto empty = All(w);
  EXPECT_EQ(empty.size(), 1u);
  ASSERT_EQ(empty.count("/"), 1u);
  ASSERT_OK(c.Mkdir("/a/b", true));
  ASSERT_OK(c.Create("/a/b/f", "content"));
  idl::SymlinkRequest symlink;
  symlink.op = w.NextOp(c.session);
  symlink.ref = At("/a/s");
  symlink.target = "b/f";
  ASSERT_OK(w.Call<idl::kSymlink>(symlink));
  for (const char* name : {"/0first", "/zlast"}) {
    idl::LinkRequest link;
    link.op = w.NextOp(c.session);
    link.existing = At("/a/b/f");
    link.ref = At(name);
    ASSERT_OK(w.Call<idl::kLink>(link));
  }
  idl::SetXattrRequest xattr;
  xattr.op = w.NextOp(c.session);
  xattr.ref = At("/a/b");
  xattr.name = "user.colour";
  xattr.value = std::string("\0blue", 5);
  ASSERT_OK(w.Call<idl::kSetXattr>(xattr));
  auto all = All(w);
  EXPECT_EQ(all.size(), 7u);
  EXPECT_TRUE(all["/a/b/f"].has_inline_data);
  EXPECT_EQ(all["/a/b/f"].inline_data, "content");
  EXPECT_EQ(all["/a/b/f"].attr.nlink, 3);
  EXPECT_EQ(all["/a/s"].symlink_target, "b/f");
  EXPECT_EQ(all["/0first"].link_to, "/a/b/f");
  EXPECT_EQ(all["/zlast"].link_to, "/a/b/f");
  ASSERT_EQ(all["/a/b"].xattrs.size(), 1u);
  EXPECT_EQ(all["/a/b"].xattrs[0].value, xattr.value);
}

TEST(Export, IsOfOneMoment) {
  ServiceWorld w(1);
  Client c(w, 1);
  ASSERT_OK(c.Mkdir("/d"));
  for (int i = 0; i < 600; ++i) ASSERT_OK(c.Create("/d/" + std::to_string(i), "old"));
  auto all = All(w, [&] {
    for (int i = 0; i < 600; ++i) ASSERT_OK(c.Unlink("/d/" + std::to_string(i)));
    for (int i = 0; i < 600; ++i) ASSERT_OK(c.Create("/d/new" + std::to_string(i), "new"));
  });
  EXPECT_EQ(all.size(), 602u);
  for (const auto& [path, entry] : all) EXPECT_EQ(path.find("new"), std::string::npos) << path;
  EXPECT_EQ(All(w).size(), 602u);
}

TEST(Export, OneAtATimeForSuperusers) {
  ServiceWorld w(1);
  Client c(w, 1);
  ASSERT_OK(c.Mkdir("/d"));
  for (int i = 0; i < 600; ++i) ASSERT_OK(c.Create("/d/" + std::to_string(i), "x"));
  EXPECT_CODE(Page(w, 0, 0, 1001), Code::kNotPermitted);
  auto first = Page(w, 0, 0);
  ASSERT_OK(first);
  EXPECT_GT(first->index, 600);
  EXPECT_EQ(first->usage.files, 600);
  EXPECT_CODE(Page(w, 0, 0), Code::kBusy);
  EXPECT_CODE(Page(w, first->export_id, 1, 1001), Code::kNotPermitted);
  EXPECT_CODE(Page(w, first->export_id, 2), Code::kInvalidArgument);
  EXPECT_CODE(Page(w, first->export_id + 1, 1), Code::kNotFound);
  // An answer that was lost is given again.
  auto again = Page(w, first->export_id, 0);
  ASSERT_OK(again);
  EXPECT_EQ(again->entries.size(), first->entries.size());
  // Who no longer asks gives way, and is forgotten after a minute.
  w.RunUntil([] { return false; }, 6 * kSecond);
  auto second = Page(w, 0, 0);
  ASSERT_OK(second);
  EXPECT_CODE(Page(w, first->export_id, 1), Code::kNotFound);
  w.RunUntil([] { return false; }, 130 * kSecond);
  EXPECT_CODE(Page(w, second->export_id, 1), Code::kNotFound);
}

TEST(Export, EndsWithItsLeader) {
  ServiceWorld w(3);
  Client c(w, 1);
  ASSERT_OK(c.Mkdir("/d"));
  for (int i = 0; i < 600; ++i) ASSERT_OK(c.Create("/d/" + std::to_string(i), "x"));
  auto first = Page(w, 0, 0);
  ASSERT_OK(first);
  int leader = w.Leader();
  w.Crash(leader);
  w.Leader();
  EXPECT_CODE(Page(w, first->export_id, 1), Code::kNotFound);
  EXPECT_EQ(All(w).size(), 602u);
  // What it left behind is in nobody's way.
  w.Restart(leader);
  ASSERT_TRUE(w.RunUntil([&] {
    return w.nn(leader).replica().applied_index() == w.nn(w.Leader()).replica().applied_index();
  }));
}

}  // namespace
}  // namespace dfs::nn
