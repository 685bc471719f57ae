// The trash, on real namenodes in the simulated world: what goes in, who gets at it, when it goes.
#include <gtest/gtest.h>

#include "common/base/trash_name.h"
#include "namenode/service/trash.h"
#include "namenode/state/reader.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

constexpr int64_t kKeepNs = 3600 * kSecond;

Result<idl::MoveToTrashReply> Trashed(Client& c, const std::string& path, bool recursive = false) {
  idl::MoveToTrashRequest r;
  r.op = c.w.NextOp(c.session);
  r.ref = At(path);
  r.recursive = recursive;
  r.caller = c.caller;
  return c.w.Call<idl::kMoveToTrash>(r);
}

Result<idl::NamesReply> Moved(Client& c, const std::string& from, const std::string& to) {
  idl::RenameRequest r;
  r.op = c.w.NextOp(c.session);
  r.source = At(from);
  r.target = At(to);
  r.flags = 1;
  r.caller = c.caller;
  return c.w.Call<idl::kRename>(r);
}

std::vector<std::string> Names(Client& c, const std::string& path, Status* why = nullptr) {
  idl::ListDirectoryRequest r;
  r.ref = At(path);
  r.caller = c.caller;
  auto page = c.w.Call<idl::kListDirectory>(r);
  if (why != nullptr) *why = page.status();
  std::vector<std::string> names;
  if (!page) return names;
  for (const auto& e : page->entries) names.push_back(e.name);
  return names;
}

void SetOwner(Client& root, const std::string& path, int32_t uid, int32_t mode) {
  idl::SetAttrRequest r;
  r.op = root.w.NextOp(root.session);
  r.ref = At(path);
  r.mask = 1 | 2 | 4;
  r.mode = mode;
  r.uid = r.gid = uid;
  ASSERT_OK(root.w.Call<idl::kSetAttr>(r));
}

/// A root and two users who may all write in /open.
struct TrashWorld {
  explicit TrashWorld(int namenodes = 1, int64_t keep_ns = kKeepNs)
      : w(namenodes, 0, [keep_ns](NamenodeOptions& o) { o.trash_keep_ns = keep_ns; }),
        root(w, 1),
        ann(w, 2),
        bob(w, 3) {
    ann.caller.uid = ann.caller.gid = 1001;
    bob.caller.uid = bob.caller.gid = 1002;
    EXPECT_TRUE(root.Mkdir("/open").ok());
    SetOwner(root, "/open", 0, 0777);
  }
  ServiceWorld w;
  Client root, ann, bob;
};

TEST(Trash, WhatIsRemovedComesBack) {
  TrashWorld t;
  ASSERT_OK(t.ann.Mkdir("/open/docs"));
  ASSERT_OK(t.ann.Create("/open/docs/report", "text"));
  EXPECT_CODE(Trashed(t.ann, "/open/docs"), Code::kIsDirectory);
  EXPECT_CODE(Trashed(t.ann, "/open/none"), Code::kNotFound);
  EXPECT_CODE(Trashed(t.root, "/", true), Code::kBusy);
  auto file = Trashed(t.ann, "/open/docs/report");
  ASSERT_OK(file);
  EXPECT_TRUE(file->in_trash);
  EXPECT_EQ(file->keep_ms, 3'600'000);
  EXPECT_EQ(file->removed.files, 1);
  EXPECT_EQ(file->removed.bytes, 4);
  EXPECT_CODE(t.ann.Stat(At("/open/docs/report")), Code::kNotFound);
  auto there = t.ann.Stat(At(file->trash_path));
  ASSERT_OK(there);
  EXPECT_EQ(there->attr.size, 4);
  // The path it had is in the path it has.
  EXPECT_EQ(file->trash_path.substr(0, 13), "/.Trash/1001/");
  TrashEntry entry;
  size_t slash = file->trash_path.find('/', 13);
  ASSERT_TRUE(ParseTrashEntryName(file->trash_path.substr(13, slash - 13), &entry));
  EXPECT_EQ(entry.depth, 3u);
  EXPECT_EQ(file->trash_path.substr(slash), "/open/docs/report");

  auto tree = Trashed(t.ann, "/open/docs", true);
  ASSERT_OK(tree);
  EXPECT_EQ(tree->removed.directories, 1);
  ASSERT_OK(Moved(t.ann, tree->trash_path, "/open/docs"));
  ASSERT_OK(Moved(t.ann, file->trash_path, "/open/docs/report"));
  ASSERT_OK(t.ann.Stat(At("/open/docs/report")));
  // It does not go there twice.
  auto again = Trashed(t.ann, "/open/docs/report");
  ASSERT_OK(again);
  EXPECT_CODE(Trashed(t.ann, again->trash_path), Code::kInvalidArgument);
  EXPECT_CODE(Trashed(t.root, "/.Trash", true), Code::kInvalidArgument);
}

TEST(Trash, IsItsOwnersAndNobodyElses) {
  TrashWorld t;
  ASSERT_OK(t.ann.Create("/open/a", "ann"));
  ASSERT_OK(t.bob.Create("/open/b", "bob"));
  auto a = Trashed(t.ann, "/open/a");
  auto b = Trashed(t.bob, "/open/b");
  ASSERT_OK(a);
  ASSERT_OK(b);
  EXPECT_CODE(t.bob.Stat(At(a->trash_path)), Code::kAccessDenied);
  Status why;
  EXPECT_TRUE(Names(t.bob, "/.Trash/1001", &why).empty());
  EXPECT_TRUE(why.Is(Code::kAccessDenied));
  Names(t.bob, "/.Trash", &why);
  EXPECT_TRUE(why.Is(Code::kAccessDenied));
  EXPECT_EQ(Names(t.bob, "/.Trash/1002").size(), 1u);
  // Nobody makes another's, and none but root sees it in the root directory.
  EXPECT_CODE(t.bob.Mkdir("/.Trash/1003"), Code::kAccessDenied);
  EXPECT_EQ(Names(t.bob, "/"), std::vector<std::string>{"open"});
  EXPECT_EQ(Names(t.root, "/").size(), 2u);
  idl::ListDirectoryRequest one;
  one.ref = At("/");
  one.max_entries = 1;
  one.caller = t.bob.caller;
  auto page = t.w.Call<idl::kListDirectory>(one);  // never an empty page before the end
  ASSERT_OK(page);
  EXPECT_EQ(page->entries.size(), 1u);
  EXPECT_EQ(Names(t.root, "/.Trash").size(), 2u);
  // The trash is no way around what removing asks for.
  ASSERT_OK(t.bob.Mkdir("/open/bobs"));
  ASSERT_OK(t.bob.Create("/open/bobs/file", "x"));
  SetOwner(t.root, "/open/bobs", 1002, 0777);
  EXPECT_CODE(Trashed(t.ann, "/open/bobs", true), Code::kAccessDenied);
  SetOwner(t.root, "/open", 0, 01777);
  EXPECT_CODE(Trashed(t.ann, "/open/bobs/file/"), Code::kNotDirectory);
  ASSERT_OK(t.bob.Create("/open/sticky", "x"));
  EXPECT_CODE(Trashed(t.ann, "/open/sticky"), Code::kNotPermitted);
}

TEST(Trash, AnEmptyDirectoryThatCannotBeMovedGoesForGood) {
  TrashWorld t;
  ASSERT_OK(t.ann.Mkdir("/open/fixed"));
  SetOwner(t.root, "/open/fixed", 1001, 0555);
  auto gone = Trashed(t.ann, "/open/fixed", true);
  ASSERT_OK(gone);
  EXPECT_FALSE(gone->in_trash);
  EXPECT_CODE(t.ann.Stat(At("/open/fixed")), Code::kNotFound);
  // With something in it neither would do.
  ASSERT_OK(t.ann.Mkdir("/open/fixed"));
  ASSERT_OK(t.ann.Create("/open/fixed/f", "x"));
  SetOwner(t.root, "/open/fixed", 1001, 0555);
  EXPECT_CODE(Trashed(t.ann, "/open/fixed", true), Code::kAccessDenied);
}

TEST(Trash, ADirectoryOfThatNameThatOthersWriteIsNone) {
  TrashWorld t;
  ASSERT_OK(t.root.Mkdir("/.Trash"));
  SetOwner(t.root, "/.Trash", 1002, 0755);
  ASSERT_OK(t.ann.Create("/open/a", "ann"));
  EXPECT_CODE(Trashed(t.ann, "/open/a"), Code::kNotPermitted);
  ASSERT_OK(t.ann.Stat(At("/open/a")));
}

TEST(Trash, GoesWhenItsTimeHasCome) {
  TrashWorld t;
  for (int i = 0; i < 200; ++i) {
    std::string name = "/open/" + std::to_string(i);
    ASSERT_OK(t.ann.Create(name, "old"));
    ASSERT_OK(Trashed(t.ann, name));
  }
  ASSERT_OK(t.root.Create("/open/roots", "old"));
  ASSERT_OK(Trashed(t.root, "/open/roots"));
  t.w.RunUntil([] { return false; }, kKeepNs / 2);
  EXPECT_EQ(Names(t.root, "/.Trash/1001").size(), 200u);
  // Sessions have expired meanwhile.
  Client late(t.w, 9);
  late.caller = t.ann.caller;
  ASSERT_OK(late.Create("/open/young", "young"));
  auto young = Trashed(late, "/open/young");
  ASSERT_OK(young);
  // What a user put there is left alone.
  ASSERT_OK(late.Mkdir("/.Trash/1001/mine"));
  t.w.RunUntil([&] { return Names(t.root, "/.Trash/1001").size() == 2; }, kKeepNs);
  EXPECT_EQ(Names(t.root, "/.Trash/1001").size(), 2u);
  EXPECT_TRUE(Names(t.root, "/.Trash/0").empty());
  ASSERT_OK(t.root.Stat(At(young->trash_path)));
  EXPECT_TRUE(t.w.RunUntil(
      [&] {
        return t.w.nn(0).state().TotalUsage()->files == 0 &&
               t.w.nn(0).state().ListTodo(1)->empty();
      },
      kKeepNs));
  EXPECT_EQ(Names(t.root, "/.Trash/1001"), std::vector<std::string>{"mine"});
}

TEST(Trash, IsKeptLessLongWhenSpaceRunsShort) {
  EXPECT_EQ(EffectiveTrashKeep(24'000, 50, 100), 24'000);
  EXPECT_EQ(EffectiveTrashKeep(24'000, 10, 100), 24'000);
  EXPECT_NEAR(static_cast<double>(EffectiveTrashKeep(24'000, 75, 1000)), 12'500.0, 1.0);
  EXPECT_EQ(EffectiveTrashKeep(24'000, 5, 100), 1'000);
  EXPECT_EQ(EffectiveTrashKeep(24'000, 0, 100), 1'000);
  EXPECT_EQ(EffectiveTrashKeep(24'000, 0, 0), 24'000);  // no datanode has said anything
  ServiceWorld w(1, 1, [](NamenodeOptions& o) { o.trash_keep_ns = 24 * kKeepNs; });
  Client root(w, 1);
  ASSERT_OK(root.Create("/a", "x"));
  ASSERT_OK(Trashed(root, "/a"));
  w.RunUntil([] { return false; }, 2 * kKeepNs);
  EXPECT_EQ(Names(root, "/.Trash/0").size(), 1u);
  w.datanodes[0]->available_bytes = 1;
  EXPECT_TRUE(w.RunUntil([&] { return Names(root, "/.Trash/0").empty(); }, kKeepNs));
  auto status = w.CallAt<idl::kClusterStatus>(0, {});
  ASSERT_OK(status);
  EXPECT_EQ(status->trash_keep_ms, 3'600'000);
}

TEST(Trash, IsEmptiedByTheNextLeaderToo) {
  TrashWorld t(3);
  ASSERT_OK(t.ann.Create("/open/a", "x"));
  ASSERT_OK(Trashed(t.ann, "/open/a"));
  t.w.Crash(t.w.Leader());
  t.w.Leader();
  EXPECT_TRUE(t.w.RunUntil([&] { return Names(t.root, "/.Trash/1001").empty(); }, 2 * kKeepNs));
}

TEST(Trash, WithoutOneEverythingGoesForGood) {
  TrashWorld t(1, 0);
  ASSERT_OK(t.ann.Mkdir("/open/d"));
  ASSERT_OK(t.ann.Create("/open/d/f", "four"));
  EXPECT_CODE(Trashed(t.ann, "/open/d"), Code::kIsDirectory);
  auto gone = Trashed(t.ann, "/open/d", true);
  ASSERT_OK(gone);
  EXPECT_FALSE(gone->in_trash);
  EXPECT_EQ(gone->keep_ms, 0);
  EXPECT_EQ(gone->removed.files, 1);
  EXPECT_EQ(gone->removed.directories, 1);
  EXPECT_EQ(gone->removed.bytes, 4);
  EXPECT_CODE(t.root.Stat(At("/.Trash")), Code::kNotFound);
}

TEST(Trash, ARetryAfterAFailOverIsAnsweredOnceMore) {
  TrashWorld t(3);
  ASSERT_OK(t.ann.Create("/open/a", "first"));
  int first = t.w.Leader();
  idl::MoveToTrashRequest r;
  r.op = t.w.NextOp(t.ann.session);
  r.ref = At("/open/a");
  r.caller = t.ann.caller;
  auto moved = t.w.CallAt<idl::kMoveToTrash>(first, r);
  ASSERT_OK(moved);
  t.w.Crash(first);
  int second = t.w.Leader();
  // Another file has the name meanwhile, and is not what was removed.
  ASSERT_OK(t.ann.Create("/open/a", "second"));
  auto again = t.w.CallAt<idl::kMoveToTrash>(second, r);
  ASSERT_OK(again);
  EXPECT_TRUE(again->in_trash);
  ASSERT_OK(t.ann.Stat(At("/open/a")));
  ASSERT_OK(t.ann.Stat(At(moved->trash_path)));
}

TEST(Trash, WaitsForLeasesAndMakesOnePlace) {
  TrashWorld t;
  ASSERT_OK(t.ann.Create("/open/a", "x"));
  idl::OpenSessionRequest open;
  open.client_name = "a mount";
  open.secret = "secret";
  open.nonce = 77;
  open.caches = true;
  auto mount = t.w.Call<idl::kOpenSession>(open);
  ASSERT_OK(mount);
  // It keeps what it knows of the file, and answers no recall: the change waits until its term has run out.
  idl::StatRequest stat;
  stat.ref = At("/open/a");
  stat.session = mount->session;
  ASSERT_TRUE(t.w.RunUntil([&] {
    idl::KeepAliveRequest alive;
    alive.session = mount->session;
    alive.incarnation = mount->incarnation;
    if (!t.w.Call<idl::kKeepAlive>(alive) || !t.ann.KeepAlive()) return false;
    auto reply = t.w.Call<idl::kStat>(stat);
    return reply.ok() && reply->lease_term != 0;
  }));
  const int64_t began_ns = t.w.scheduler.now_ns();
  auto moved = Trashed(t.ann, "/open/a");
  ASSERT_OK(moved);
  EXPECT_GT(t.w.scheduler.now_ns() - began_ns, kSecond);
  ASSERT_OK(t.ann.Stat(At(moved->trash_path)));
  EXPECT_EQ(Names(t.root, "/.Trash/1001").size(), 1u);
}

TEST(Trash, LongPathsAreRefusedAndStay) {
  TrashWorld t;
  std::string path = "/open";
  while (path.size() < kMaxPathBytes - 210) {
    path += "/" + std::string(200, 'd');
    ASSERT_OK(t.ann.Mkdir(path));
  }
  path += "/" + std::string(kMaxPathBytes - path.size() - 1, 'f');
  ASSERT_OK(t.ann.Create(path, "x"));
  EXPECT_CODE(Trashed(t.ann, path), Code::kNameTooLong);
  ASSERT_OK(t.ann.Stat(At(path)));
}

}  // namespace
}  // namespace dfs::nn
