// The handlers, on real namenodes in the simulated world.
#include <gtest/gtest.h>

#include <algorithm>

#include "namenode/blocks/block_manager.h"
#include "namenode/sessions/session_manager.h"
#include "namenode/state/reader.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

TEST(Namenode, NamesAndAttributes) {
  ServiceWorld w(1);
  Client c(w, 1);
  ASSERT_OK(c.Mkdir("/a"));
  EXPECT_CODE(c.Mkdir("/a"), Code::kAlreadyExists);
  EXPECT_CODE(c.Mkdir("/x/y"), Code::kNotFound);
  ASSERT_OK(c.Mkdir("/x/y/z", true));
  ASSERT_OK(c.Mkdir("/x/y/z", true));
  EXPECT_CODE(c.Mkdir("/"), Code::kAlreadyExists);
  auto made = c.Create("/a/f", "hello");
  ASSERT_OK(made);
  EXPECT_TRUE(made->created);
  EXPECT_EQ(made->attr.size, 5);
  EXPECT_CODE(c.Create("/a/f"), Code::kAlreadyExists);
  auto again = c.Create("/a/f", "", false);
  ASSERT_OK(again);
  EXPECT_FALSE(again->created);
  EXPECT_EQ(again->inline_data, "hello");
  EXPECT_CODE(c.Create("/a"), Code::kAlreadyExists);
  EXPECT_CODE(c.Create("/a", "", false), Code::kIsDirectory);
  auto stat = c.Stat(At("/a/f"));
  ASSERT_OK(stat);
  EXPECT_EQ(stat->attr.inode, made->attr.inode);
  EXPECT_EQ(stat->attr.type, idl::FileType::REGULAR);
  ASSERT_OK(c.Stat(At(made->attr.inode)));
  EXPECT_CODE(c.Stat(At("/a/f/")), Code::kNotDirectory);
  EXPECT_CODE(c.Stat(At("/a/g")), Code::kNotFound);
  EXPECT_CODE(c.Stat(At(int64_t{999'999})), Code::kStaleHandle);
  EXPECT_CODE(c.Stat(At("/" + std::string(256, 'n'))), Code::kNameTooLong);
  EXPECT_CODE(c.Stat(At("/" + std::string(5000, 'n'))), Code::kNameTooLong);
}

TEST(Namenode, SymlinksAndPages) {
  ServiceWorld w(1);
  Client c(w, 1);
  ASSERT_OK(c.Mkdir("/a"));
  ASSERT_OK(c.Mkdir("/x"));
  ASSERT_OK(c.Create("/a/f", "hello"));
  idl::SymlinkRequest link;
  link.op = w.NextOp(c.session);
  link.ref = At("/link");
  link.target = "/a/f";
  ASSERT_OK(w.Call<idl::kSymlink>(link));
  auto shallow = c.Stat(At("/link"));
  ASSERT_OK(shallow);
  EXPECT_EQ(shallow->symlink_target, "/a/f");

  idl::ListDirectoryRequest list;
  list.ref = At("/");
  list.with_attributes = true;
  std::vector<std::string> names;
  for (int pages = 0; pages < 10; ++pages) {
    list.max_entries = 1;
    auto page = w.Call<idl::kListDirectory>(list);
    ASSERT_OK(page);
    for (const auto& e : page->entries) {
      names.push_back(e.name);
      EXPECT_EQ(e.attr.inode, e.inode);
      list.cookie = e.cookie;
    }
    if (page->done) break;
  }
  std::sort(names.begin(), names.end());
  EXPECT_EQ(names, (std::vector<std::string>{"a", "link", "x"}));
}

TEST(Namenode, RenamesAttributesAndUsage) {
  ServiceWorld w(1);
  Client c(w, 1);
  ASSERT_OK(c.Mkdir("/a"));
  ASSERT_OK(c.Mkdir("/x"));
  ASSERT_OK(c.Create("/a/f", "hello"));
  idl::SymlinkRequest link;
  link.op = w.NextOp(c.session);
  link.ref = At("/link");
  link.target = "/a/f";
  ASSERT_OK(w.Call<idl::kSymlink>(link));
  idl::RenameRequest rename;
  rename.op = w.NextOp(c.session);
  rename.source = At("/a/f");
  rename.target = At("/x/g");
  ASSERT_OK(w.Call<idl::kRename>(rename));
  ASSERT_OK(c.Stat(At("/x/g")));
  EXPECT_CODE(c.Stat(At("/a/f")), Code::kNotFound);

  idl::SetAttrRequest set;
  set.op = w.NextOp(c.session);
  set.ref = At("/x/g");
  set.mask = 1;
  set.mode = 0600;
  auto changed = w.Call<idl::kSetAttr>(set);
  ASSERT_OK(changed);
  EXPECT_EQ(changed->attr.mode, 0600);

  idl::SetXattrRequest xattr;
  xattr.op = w.NextOp(c.session);
  xattr.ref = At("/x/g");
  xattr.name = "user.k";
  xattr.value = "v";
  ASSERT_OK(w.Call<idl::kSetXattr>(xattr));
  idl::GetXattrRequest get;
  get.ref = At("/x/g");
  get.name = "user.k";
  auto value = w.Call<idl::kGetXattr>(get);
  ASSERT_OK(value);
  EXPECT_EQ(value->value, "v");

  idl::UsageRequest usage;
  usage.ref = At("/");
  auto used = w.Call<idl::kUsage>(usage);
  ASSERT_OK(used);
  EXPECT_EQ(used->usage.files, 2);
  EXPECT_EQ(used->usage.directories, 2);
  auto fs = w.Call<idl::kStatFs>(idl::StatFsRequest());
  ASSERT_OK(fs);
  EXPECT_EQ(fs->cluster_id, kClusterId);
}

TEST(Namenode, PermissionFollowsTheCallerOfATrustedPeerOnly) {
  ServiceWorld w(1);
  Client root(w, 1);
  Client user(w, 2);
  user.caller.uid = user.caller.gid = 1000;
  EXPECT_CODE(user.Mkdir("/mine"), Code::kAccessDenied);
  ASSERT_OK(root.Mkdir("/d"));
  idl::SetAttrRequest chown;
  chown.op = w.NextOp(root.session);
  chown.ref = At("/d");
  chown.mask = 2 | 4;
  chown.uid = chown.gid = 1000;
  ASSERT_OK(w.Call<idl::kSetAttr>(chown));
  auto made = user.Create("/d/f", "x");
  ASSERT_OK(made);
  EXPECT_EQ(made->attr.uid, 1000);
  // An untrusted peer is who the kernel says, whatever it says of itself.
  rpc::PeerIdentity local;
  local.is_unix = true;
  local.uid = local.gid = 2000;
  w.net.SetIdentity(w.client, local);
  w.net.BreakConnections(&w.client, nullptr);
  w.scheduler.RunFor(kSecond);
  Client liar(w, 3);
  EXPECT_CODE(liar.Mkdir("/d/sub"), Code::kAccessDenied);
  EXPECT_CODE(liar.Create("/f"), Code::kAccessDenied);
  // Nor may it use what belongs to another.
  idl::MkdirRequest stolen;
  stolen.op = w.NextOp(user.session);
  stolen.ref = At("/d/sub");
  EXPECT_CODE(w.Call<idl::kMkdir>(stolen), Code::kNotPermitted);
  EXPECT_CODE(w.CallAt<idl::kHeartbeat>(0, idl::HeartbeatRequest()), Code::kNotPermitted);
}

TEST(Namenode, BadInputIsRefusedAndNothingElse) {
  ServiceWorld w(1);
  Client c(w, 1);
  EXPECT_TRUE(w.CallRaw(0, idl::kStat, Buffer(std::string(100, '\xff'))).Is(Code::kProtocol));
  EXPECT_TRUE(w.CallRaw(0, idl::kMkdir, Buffer(std::string("\x1c"))).Is(Code::kProtocol));
  EXPECT_TRUE(w.CallRaw(0, 9999, Buffer()).Is(Code::kNotSupported));
  EXPECT_CODE(c.Create("/big", std::string(70'000, 'x')), Code::kInvalidArgument);
  idl::CreateRequest create;
  create.op = w.NextOp(c.session);
  create.ref = At("/f");
  // No multiple, and one step beyond what datanodes store.
  for (int64_t size : {int64_t{1000}, (int64_t{2} << 30) + 4096}) {
    create.block_size = size;
    EXPECT_CODE(w.Call<idl::kCreate>(create), Code::kInvalidArgument);
  }
  create.block_size = 0;
  create.replication = -1;
  EXPECT_CODE(w.Call<idl::kCreate>(create), Code::kInvalidArgument);
  idl::MkdirRequest groups;
  groups.op = w.NextOp(c.session);
  groups.ref = At("/g");
  groups.caller.groups.resize(5000);
  EXPECT_CODE(w.Call<idl::kMkdir>(groups), Code::kInvalidArgument);
  EXPECT_CODE(c.OpenBlock(1), Code::kInvalidArgument);
  auto made = c.Create("/file");
  ASSERT_OK(made);
  EXPECT_CODE(c.OpenBlock(made->attr.inode, int64_t{1} << 60), Code::kFileTooBig);
  EXPECT_CODE(c.OpenBlock(made->attr.inode, -1), Code::kFileTooBig);
  EXPECT_CODE(c.OpenBlock(made->attr.inode), Code::kUnavailable);  // no datanode
  ASSERT_OK(c.Stat(At("/")));
}

TEST(Namenode, CreateMakesSpecialFiles) {
  ServiceWorld w(1, 1);
  Client c(w, 1);
  const auto make = [&](const std::string& name, int type, int uid) {
    idl::CreateRequest r;
    r.op = w.NextOp(c.session);
    r.ref = At(name);
    r.mode = 0640;
    r.caller = c.caller;
    r.caller.uid = uid;
    r.exclusive = true;
    r.type = type;
    r.rdev = 259;
    return w.Call<idl::kCreate>(r);
  };
  for (const auto type : {idl::FileType::FIFO, idl::FileType::SOCKET, idl::FileType::CHAR_DEVICE,
                          idl::FileType::BLOCK_DEVICE}) {
    const auto made = make("/s" + std::to_string(type), type, 0);
    ASSERT_OK(made);
    EXPECT_EQ(made->attr.type, type);
    EXPECT_EQ(made->attr.mode & 07777, 0640);
    EXPECT_EQ(made->attr.size, 0);
    EXPECT_EQ(made->attr.rdev, type >= idl::FileType::CHAR_DEVICE ? 259 : 0);
  }
  const auto plain = make("/plain", idl::FileType::UNKNOWN, 0);
  ASSERT_OK(plain);
  EXPECT_EQ(plain->attr.type, idl::FileType::REGULAR);
  EXPECT_CODE(make("/d", idl::FileType::DIRECTORY, 0), Code::kInvalidArgument);
  EXPECT_CODE(make("/l", idl::FileType::SYMLINK, 0), Code::kInvalidArgument);
  EXPECT_CODE(make("/x", 99, 0), Code::kInvalidArgument);
  EXPECT_CODE(make("/y", -1, 0), Code::kInvalidArgument);
}

TEST(Namenode, ADirectoryOfAnotherMemberOrClusterIsRefused) {
  FaultEnv env;
  NamenodeOptions o;
  o.id = NodeId(1);
  o.cluster_id = kClusterId;
  o.directory = "/nn";
  ASSERT_TRUE(Namenode::Format(o, env, 1).ok());
  EXPECT_TRUE(Namenode::Format(o, env, 1).Is(Code::kAlreadyExists));
  sim::SimScheduler scheduler(1);
  sim::SimNet net(scheduler);
  sim::SimNode& node = scheduler.AddNode("x");
  NamenodeWorld world;
  world.network = &net.Join(node, rpc::PeerIdentity());
  world.env = &env;
  node.Run([&] {
    o.id = NodeId(2);
    EXPECT_TRUE(Namenode(o, world).Start().Is(Code::kInvalidArgument));
    o.id = NodeId(1);
    o.cluster_id = "00000000-e89b-12d3-a456-426614174000";
    EXPECT_TRUE(Namenode(o, world).Start().Is(Code::kWrongCluster));
    o.cluster_id = kClusterId;
    o.directory = "/elsewhere";
    EXPECT_TRUE(Namenode(o, world).Start().Is(Code::kNotFound));
  });
}

}  // namespace
}  // namespace dfs::nn
