// Leases that come with the answers to a session's own changes.
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

/// A session that caches, as a mount's.
struct Mount {
  explicit Mount(ServiceWorld& world) : w(world) {
    idl::OpenSessionRequest open;
    open.client_name = "a mount";
    open.secret = "secret";
    open.nonce = 77;
    open.caches = true;
    auto reply = w.Call<idl::kOpenSession>(open);
    EXPECT_TRUE(reply.ok()) << reply.status().ToString();
    session = reply.value_or(idl::OpenSessionReply()).session;
    EXPECT_TRUE(w.RunUntil([&] {
      idl::KeepAliveRequest alive;
      alive.session = session;
      alive.incarnation = 1;
      auto kept = w.Call<idl::kKeepAlive>(alive);
      return kept.ok() && kept->lease;
    }));
  }
  idl::MkdirRequest MkdirOf(const std::string& path) {
    idl::MkdirRequest r;
    r.op = w.NextOp(session);
    r.ref = At(path);
    r.mode = 0755;
    return r;
  }
  bool Holds(int64_t inode) {
    idl::StatRequest r;
    r.ref = At(inode);
    r.session = session;
    auto reply = w.Call<idl::kStat>(r);
    return reply.ok() && reply->lease_term != 0;
  }

  ServiceWorld& w;
  int64_t session = 0;
};

struct GrantsWorld {
  ServiceWorld w{1};
  Client plain{w, 1};
  Mount mount{w};
};

TEST(LeaseGrants, AChangeBringsItsDirectoryAsItIsAfter) {
  GrantsWorld t;
  auto made = t.w.Call<idl::kMkdir>(t.mount.MkdirOf("/d"));
  ASSERT_OK(made);
  EXPECT_NE(made->lease_term, 0) << "of the new directory";
  ASSERT_EQ(made->directories.size(), 1u);
  EXPECT_NE(made->directories_term, 0);
  auto root = t.plain.Stat(At("/"));
  ASSERT_OK(root);
  EXPECT_EQ(made->directories[0].inode, root->attr.inode);
  EXPECT_EQ(made->directories[0].mtime_ns, root->attr.mtime_ns);
  EXPECT_EQ(made->directories[0].nlink, root->attr.nlink);

  ASSERT_OK(t.w.Call<idl::kMkdir>(t.mount.MkdirOf("/d/from")));
  ASSERT_OK(t.w.Call<idl::kMkdir>(t.mount.MkdirOf("/d/to")));
  ASSERT_OK(t.w.Call<idl::kMkdir>(t.mount.MkdirOf("/d/from/x")));
  idl::RenameRequest rename;
  rename.op = t.w.NextOp(t.mount.session);
  rename.source = At("/d/from/x");
  rename.target = At("/d/to/x");
  auto renamed = t.w.Call<idl::kRename>(rename);
  ASSERT_OK(renamed);
  ASSERT_EQ(renamed->directories.size(), 2u);
  EXPECT_EQ(renamed->directories[0].nlink, 2) << "the source's";
  EXPECT_EQ(renamed->directories[1].nlink, 3) << "the target's";
}

TEST(LeaseGrants, WhoDoesNotCacheIsGrantedNothing) {
  GrantsWorld t;
  auto made = t.plain.Mkdir("/d");
  ASSERT_OK(made);
  EXPECT_EQ(made->lease_term, 0);
  EXPECT_TRUE(made->directories.empty());
}

TEST(LeaseGrants, AReplyThatIsGivenAgainGrantsNothing) {
  GrantsWorld t;
  const idl::MkdirRequest mkdir = t.mount.MkdirOf("/d");
  ASSERT_OK(t.w.Call<idl::kMkdir>(mkdir));
  // What the stored reply says of the directory is old by now.
  idl::SetAttrRequest chmod;
  chmod.op = t.w.NextOp(t.mount.session);
  chmod.ref = At("/d");
  chmod.mask = 1;
  chmod.mode = 0700;
  ASSERT_OK(t.w.Call<idl::kSetAttr>(chmod));
  auto again = t.w.Call<idl::kMkdir>(mkdir);
  ASSERT_OK(again);
  EXPECT_EQ(again->attr.mode, 0755);
  EXPECT_EQ(again->lease_term, 0);
  EXPECT_TRUE(again->directories.empty());
  EXPECT_TRUE(t.mount.Holds(again->attr.inode)) << "of what is read now";
}

}  // namespace
}  // namespace dfs::nn
