// Names: making, linking, removing; counts, times and usage that go with them.
#include "namenode/state/keys.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

class NamesTest : public testing::TestWithParam<StoreKind> {
 protected:
  Member member_{GetParam()};
  Shell sh_{&member_};
};
INSTANTIATE_TEST_SUITE_P(Stores, NamesTest, testing::Values(StoreKind::kMemory, StoreKind::kRocks),
                         StoreName);

TEST_P(NamesTest, RootIsThereFirst) {
  auto root = sh_.Stat("/");
  ASSERT_OK(root);
  EXPECT_EQ(root->id, kRootInode);
  EXPECT_EQ(root->nlink, 2u);
  EXPECT_EQ(root->parent, kRootInode);
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 0, 0}));
}

TEST_P(NamesTest, MkdirCountsLinksEntriesAndUsage) {
  sh_.now_ns = 5000;
  ASSERT_OK(sh_.Mkdir("/a", 0751));
  ASSERT_OK(sh_.Mkdir("/a/b"));
  ASSERT_OK(sh_.Create("/a/b/f", 0600, "hello"));
  auto a = sh_.Stat("/a");
  ASSERT_OK(a);
  EXPECT_EQ(a->id.value, kFirstInodeCounter);
  EXPECT_EQ(a->mode, 0751u);
  EXPECT_EQ(a->nlink, 3u);
  EXPECT_EQ(a->entries, 1u);
  EXPECT_EQ(a->mtime_ns, 5000);
  EXPECT_EQ(sh_.Stat("/")->nlink, 3u);
  EXPECT_EQ(sh_.Du("/"), (Usage{1, 2, 5}));
  EXPECT_EQ(sh_.Du("/a"), (Usage{1, 1, 5}));
  EXPECT_EQ(sh_.Du("/a/b"), (Usage{1, 0, 5}));
  EXPECT_CODE(sh_.Mkdir("/a"), Code::kAlreadyExists);
  EXPECT_CODE(sh_.Mkdir("/a/b/f"), Code::kAlreadyExists);
  EXPECT_EQ(*member_.reader().PathOf(sh_.Id("/a/b/f")), "/a/b/f");
}

TEST_P(NamesTest, BadNames) {
  auto make = [&](const std::string& name) {
    return sh_.Run(MkdirCommand{kRootInode, name, 0755, false}).status();
  };
  EXPECT_CODE(make(""), Code::kNotFound);
  EXPECT_CODE(make("."), Code::kInvalidArgument);
  EXPECT_CODE(make(".."), Code::kInvalidArgument);
  EXPECT_CODE(make("a/b"), Code::kInvalidArgument);
  EXPECT_CODE(make(std::string("a\0b", 3)), Code::kInvalidArgument);
  EXPECT_CODE(make(std::string(256, 'x')), Code::kNameTooLong);
  EXPECT_OK(make(std::string(255, 'x')));
  EXPECT_OK(make("\xff\xfe not utf-8"));
  EXPECT_CODE(sh_.Run(MkdirCommand{InodeId(999), "x", 0755, false}).status(), Code::kStaleHandle);
  ASSERT_OK(sh_.Create("/f"));
  EXPECT_CODE(sh_.Run(MkdirCommand{sh_.Id("/f"), "x", 0755, false}).status(), Code::kNotDirectory);
}

TEST_P(NamesTest, MkdirWithParents) {
  auto make = [&](const std::string& path) {
    return sh_.Run(MkdirCommand{kRootInode, path, 0700, true});
  };
  auto reply = make("a/b//c/");
  ASSERT_OK(reply.status());
  EXPECT_TRUE(Shell::Payload<CreateResult>(reply).created);
  EXPECT_EQ(Shell::Payload<CreateResult>(reply).attr.id, sh_.Id("/a/b/c"));
  EXPECT_EQ(sh_.Stat("/a/b")->mode, 0700u);
  reply = make("a/b/c");
  ASSERT_OK(reply.status());
  EXPECT_FALSE(Shell::Payload<CreateResult>(reply).created);
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 3, 0}));
  ASSERT_OK(sh_.Create("/a/f"));
  EXPECT_CODE(make("a/f/x").status(), Code::kNotDirectory);
  EXPECT_CODE(make("a/f").status(), Code::kAlreadyExists);
  ASSERT_OK(sh_.Symlink("b", "/a/s"));
  EXPECT_CODE(make("a/s/x").status(), Code::kConflict);
  EXPECT_CODE(make("a/../x").status(), Code::kConflict);
  // A failure in the middle leaves nothing behind.
  EXPECT_CODE(make("n1/n2/" + std::string(256, 'x')).status(), Code::kNameTooLong);
  EXPECT_FALSE(sh_.Exists("/n1"));
}

TEST_P(NamesTest, CreateExclusiveOpenAndOverwrite) {
  ASSERT_OK(sh_.Create("/f", 0640, "12345"));
  EXPECT_CODE(sh_.Create("/f"), Code::kAlreadyExists);
  CreateCommand c = sh_.Creation("/f");
  c.exclusive = false;
  auto opened = Shell::Payload<CreateResult>(sh_.Run(c));
  EXPECT_FALSE(opened.created);
  EXPECT_EQ(opened.attr.size, 5u);
  c.overwrite = true;
  c.has_inline = true;
  c.inline_data = "ab";
  auto over = Shell::Payload<CreateResult>(sh_.Run(c));
  EXPECT_FALSE(over.created);
  EXPECT_EQ(over.attr.size, 2u);
  EXPECT_EQ(over.attr.mode, 0640u);
  EXPECT_GT(over.attr.data_version, opened.attr.data_version);
  EXPECT_EQ(sh_.Stat("/f")->inline_data, "ab");
  EXPECT_EQ(sh_.Du("/"), (Usage{1, 0, 2}));
  ASSERT_OK(sh_.Mkdir("/d"));
  c = sh_.Creation("/d");
  EXPECT_CODE(sh_.Run(c).status(), Code::kAlreadyExists);
  c.exclusive = false;
  EXPECT_CODE(sh_.Run(c).status(), Code::kIsDirectory);
  ASSERT_OK(sh_.Symlink("f", "/s"));
  c = sh_.Creation("/s");
  c.exclusive = false;
  EXPECT_CODE(sh_.Run(c).status(), Code::kConflict);
}

TEST_P(NamesTest, CreateChecksItsArguments) {
  auto with = [&](auto change) {
    CreateCommand c = sh_.Creation("/x");
    change(c);
    return sh_.Run(c).status();
  };
  EXPECT_CODE(with([](auto& c) { c.block_size = 0; }), Code::kInvalidArgument);
  EXPECT_CODE(with([](auto& c) { c.block_size = 4097; }), Code::kInvalidArgument);
  EXPECT_CODE(with([](auto& c) { c.replication = 0; }), Code::kInvalidArgument);
  EXPECT_CODE(with([](auto& c) { c.replication = 17; }), Code::kInvalidArgument);
  EXPECT_CODE(with([](auto& c) { c.type = FileType::kDirectory; }), Code::kInvalidArgument);
  EXPECT_CODE(with([](auto& c) { c.inline_data.assign(kMaxInlineBytes + 1, 'x'); }),
              Code::kInvalidArgument);
  EXPECT_OK(with([](auto& c) { c.type = FileType::kFifo; }));
  EXPECT_EQ(sh_.Stat("/x")->type, FileType::kFifo);
}

TEST_P(NamesTest, HardLinksAndTheHomeLink) {
  ASSERT_OK(sh_.Mkdir("/a"));
  ASSERT_OK(sh_.Mkdir("/b"));
  ASSERT_OK(sh_.Mkdir("/c"));
  ASSERT_OK(sh_.Create("/a/f", 0644, "1234567"));
  ASSERT_OK(sh_.Link("/a/f", "/b/g"));
  ASSERT_OK(sh_.Link("/b/g", "/c/h"));
  EXPECT_CODE(sh_.Link("/a", "/b/dir"), Code::kNotPermitted);
  EXPECT_CODE(sh_.Link("/a/f", "/c/h"), Code::kAlreadyExists);
  EXPECT_EQ(sh_.Stat("/b/g")->nlink, 3u);
  EXPECT_EQ(sh_.Du("/a"), (Usage{1, 0, 7}));
  EXPECT_EQ(sh_.Du("/b"), (Usage{0, 0, 0}));
  EXPECT_EQ(sh_.Du("/"), (Usage{1, 3, 7}));
  // The home goes: the first further link becomes it.
  ASSERT_OK(sh_.Unlink("/a/f"));
  EXPECT_EQ(sh_.Du("/a"), (Usage{0, 0, 0}));
  EXPECT_EQ(sh_.Du("/b"), (Usage{1, 0, 7}));
  EXPECT_EQ(sh_.Stat("/c/h")->parent, sh_.Id("/b"));
  EXPECT_EQ(sh_.Stat("/c/h")->nlink, 2u);
  // A further one goes: nothing moves.
  ASSERT_OK(sh_.Unlink("/c/h"));
  EXPECT_EQ(sh_.Du("/b"), (Usage{1, 0, 7}));
  ASSERT_OK(sh_.Unlink("/b/g"));
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 3, 0}));
}

TEST_P(NamesTest, UnlinkAndRmdir) {
  ASSERT_OK(sh_.Mkdir("/d"));
  ASSERT_OK(sh_.Create("/d/f"));
  InodeId file = sh_.Id("/d/f");
  EXPECT_CODE(sh_.Unlink("/d"), Code::kIsDirectory);
  EXPECT_CODE(sh_.Rmdir("/d/f"), Code::kNotDirectory);
  EXPECT_CODE(sh_.Rmdir("/d"), Code::kNotEmpty);
  EXPECT_CODE(sh_.Unlink("/d/nothing"), Code::kNotFound);
  ASSERT_OK(sh_.Unlink("/d/f"));
  EXPECT_CODE(member_.reader().GetInode(file), Code::kStaleHandle);
  ASSERT_OK(sh_.Rmdir("/d"));
  EXPECT_EQ(sh_.Stat("/")->nlink, 2u);
  EXPECT_EQ(sh_.Stat("/")->entries, 0u);
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 0, 0}));
}

TEST_P(NamesTest, TimesNeverGoBack) {
  sh_.now_ns = 9000;
  ASSERT_OK(sh_.Mkdir("/d"));
  sh_.now_ns = 4000;  // a new leader whose clock is behind
  ASSERT_OK(sh_.Create("/d/f"));
  EXPECT_EQ(sh_.Stat("/d")->ctime_ns, 9000);
  EXPECT_EQ(sh_.Stat("/d/f")->ctime_ns, 4000);
}

TEST_P(NamesTest, RemoveTreeDetachesAtOnceAndReclaimsInSteps) {
  ASSERT_OK(sh_.Mkdir("/t"));
  ASSERT_OK(sh_.Mkdir("/keep"));
  for (int d = 0; d < 4; ++d) {
    std::string dir = "/t/d" + std::to_string(d);
    ASSERT_OK(sh_.Mkdir(dir));
    for (int f = 0; f < 5; ++f) ASSERT_OK(sh_.Create(dir + "/f" + std::to_string(f), 0644, "abc"));
  }
  // One file has its home inside and a name outside, another the other way round.
  ASSERT_OK(sh_.Link("/t/d0/f0", "/keep/in"));
  ASSERT_OK(sh_.Create("/keep/out", 0644, "xx"));
  ASSERT_OK(sh_.Link("/keep/out", "/t/d1/out"));
  InodeId sub = sh_.Id("/t/d2");
  auto [parent, name] = sh_.Split("/t");
  auto reply = sh_.Run(RemoveTreeCommand{parent, name, {}});
  ASSERT_OK(reply.status());
  EXPECT_EQ(Shell::Payload<RemoveTreeResult>(reply).removed, (Usage{20, 5, 60}));
  EXPECT_FALSE(sh_.Exists("/t"));
  EXPECT_EQ(sh_.Stat("/")->nlink, 3u);
  // Nobody makes anything inside any more, though the inode is still there.
  EXPECT_CODE(sh_.Run(MkdirCommand{sub, "late", 0755, false}).status(), Code::kNotFound);
  EXPECT_CODE(sh_.Run(LinkCommand{sh_.Id("/keep/out"), sub, "late"}).status(), Code::kNotFound);
  EXPECT_CODE(sh_.Run(RenameCommand{sh_.Id("/keep"), "out", sub, "late", 0, {}}).status(),
              Code::kNotFound);
  sh_.ReclaimAll(3);
  EXPECT_CODE(member_.reader().GetInode(sub), Code::kStaleHandle);
  EXPECT_EQ(sh_.Du("/"), (Usage{2, 1, 5}));
  EXPECT_EQ(sh_.Du("/keep"), (Usage{2, 0, 5}));
  EXPECT_EQ(sh_.Stat("/keep/in")->nlink, 1u);
  EXPECT_EQ(sh_.Stat("/keep/out")->nlink, 1u);
  EXPECT_EQ(sh_.Stat("/keep/in")->parent, sh_.Id("/keep"));
}

TEST_P(NamesTest, OrphansStayUntilTheLastSessionIsDone) {
  SessionId one = sh_.OpenSession(), two = sh_.OpenSession();
  ASSERT_OK(sh_.Create("/f", 0644, "data"));
  InodeId file = sh_.Id("/f");
  ASSERT_OK(sh_.Unlink("/f", {one, two, SessionId(777)}));
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 0, 0}));
  ASSERT_OK(member_.reader().GetInode(file));
  EXPECT_EQ(member_.reader().GetInode(file)->nlink, 0u);
  EXPECT_EQ(member_.reader().OrphanSessions(file)->size(), 2u);
  EXPECT_CODE(sh_.Run(LinkCommand{file, kRootInode, "again"}).status(), Code::kNotFound);
  // It can still be written, and is charged to nobody.
  EXPECT_OK(sh_.Run(WriteInlineCommand{file, "longer data", WriteInlineCommand::kAnyVersion, 0})
                .status());
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 0, 0}));
  ASSERT_OK(sh_.Run(CloseOrphanCommand{file, one}).status());
  ASSERT_OK(sh_.Run(CloseOrphanCommand{file, one}).status());
  ASSERT_OK(member_.reader().GetInode(file));
  ASSERT_OK(sh_.Run(ExpireSessionCommand{two, 1}).status());
  EXPECT_CODE(member_.reader().GetInode(file), Code::kStaleHandle);
}

TEST_P(NamesTest, ReaddirPagesAreCompleteAndStable) {
  ASSERT_OK(sh_.Mkdir("/d"));
  std::set<std::string> names;
  for (int i = 0; i < 300; ++i) {
    names.insert("name-" + std::to_string(i));
    ASSERT_OK(sh_.Create("/d/name-" + std::to_string(i)));
  }
  std::set<std::string> seen;
  uint64_t cookie = 0;
  for (int pages = 0;; ++pages) {
    ASSERT_LT(pages, 100);
    auto page = member_.reader().ReadDirectory(sh_.Id("/d"), cookie, 7, 1 << 20, pages % 2 == 0);
    ASSERT_OK(page);
    for (const DirectoryEntry& entry : page->entries) {
      EXPECT_TRUE(seen.insert(entry.name).second) << entry.name;
      EXPECT_GT(entry.cookie, cookie);
      EXPECT_GE(entry.cookie, kFirstNameHash);
      EXPECT_EQ(entry.inode.has_value(), pages % 2 == 0);
      cookie = entry.cookie;
    }
    // What happens behind the cookie's back does not move it.
    if (pages == 3) ASSERT_OK(sh_.Create("/d/extra"));
    if (page->done) break;
  }
  seen.erase("extra");
  EXPECT_EQ(seen, names);
  auto small = member_.reader().ReadDirectory(sh_.Id("/d"), 0, 1000, 500, false);
  ASSERT_OK(small);
  EXPECT_LT(small->entries.size(), 20u);
  EXPECT_FALSE(small->done);
  EXPECT_CODE(member_.reader().ReadDirectory(sh_.Id("/d/extra"), 0, 1, 1, false),
              Code::kNotDirectory);
}

}  // namespace
}  // namespace dfs::nn
