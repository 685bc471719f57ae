// The handlers, on real namenodes in the simulated world.
#include <gtest/gtest.h>

#include <algorithm>

#include "common/auth/block_token.h"
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

TEST(Namenode, SymlinksRenamesAttributesAndPages) {
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

TEST(Namenode, ABlockIsWrittenReadReopenedAndGuarded) {
  ServiceWorld w(1, 3);
  Client c(w, 1), other(w, 2);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  int64_t inode = file->attr.inode;
  auto opened = c.OpenBlock(inode);
  ASSERT_OK(opened);
  const idl::WritableBlock& b = opened->block;
  ASSERT_EQ(b.members.size(), 3u);
  std::set<int64_t> distinct;
  for (const auto& m : b.members) {
    distinct.insert(m.datanode);
    EXPECT_FALSE(m.tcp_address.empty());
  }
  EXPECT_EQ(distinct.size(), 3u);
  auto token = VerifyToken(b.token, "", w.client.clock().WallNs() / kMillisecond);
  ASSERT_OK(token);
  EXPECT_TRUE(CheckToken(*token, BlockId(static_cast<uint64_t>(b.block)),
                         Stamp(static_cast<uint64_t>(b.stamp)), BlockToken::Mode::kWrite)
                  .ok());
  auto while_open = c.Blocks(inode);
  ASSERT_OK(while_open);
  ASSERT_EQ(while_open->blocks.size(), 1u);
  EXPECT_EQ(while_open->blocks[0].state, 1);
  EXPECT_TRUE(while_open->attr.open_for_write);
  ASSERT_EQ(while_open->blocks[0].replicas.size(), 3u);
  EXPECT_EQ(while_open->blocks[0].replicas[0].datanode, b.members.back().datanode);  // the tail
  auto busy = other.OpenBlock(inode, 0, b.stamp);
  EXPECT_CODE(busy, Code::kBusy);
  EXPECT_GT(busy.error().retry_after_ms(), 0);

  // A member fails: the survivors go on under a new stamp; the old one is void.
  idl::ExcludeMembersRequest exclude;
  exclude.op = w.NextOp(c.session);
  exclude.inode = inode;
  exclude.block = b.block;
  exclude.stamp = b.stamp;
  exclude.survivors = {b.members[0].datanode, b.members[1].datanode};
  auto survivors = w.Call<idl::kExcludeMembers>(exclude);
  ASSERT_OK(survivors);
  EXPECT_GT(survivors->block.stamp, b.stamp);
  EXPECT_EQ(survivors->block.members.size(), 2u);
  EXPECT_CODE(c.Close(inode, b, 1000), Code::kStaleStamp);
  auto closed = c.Close(inode, survivors->block, 1000);
  ASSERT_OK(closed);
  EXPECT_EQ(closed->attr.size, 1000);
  auto located = c.Blocks(inode);
  ASSERT_OK(located);
  EXPECT_EQ(located->blocks[0].replicas.size(), 2u);
  EXPECT_FALSE(located->attr.open_for_write);

  EXPECT_CODE(other.OpenBlock(inode, 0, b.stamp), Code::kStaleStamp);
  auto reopened = other.OpenBlock(inode, 0, survivors->block.stamp);
  ASSERT_OK(reopened);
  EXPECT_EQ(reopened->block.old_stamp, survivors->block.stamp);
  EXPECT_EQ(reopened->block.length, 1000);
  EXPECT_EQ(reopened->block.members.size(), 2u);
}

TEST(Namenode, AWriterThatDiesIsFencedAndItsBlockClosed) {
  ServiceWorld w(1, 3);
  Client c(w, 1), other(w, 2);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) {
    dn->replicas[b->block.block] = {b->block.stamp, 700 + (dn->id - 1000) * 100, 2};
  }
  int64_t died = w.scheduler.now_ns();
  Result<idl::OpenBlockReply> taken = Status(Code::kBusy, "");
  ASSERT_TRUE(w.RunUntil(
      [&] {
        (void)other.KeepAlive();
        auto blocks = other.Blocks(file->attr.inode);
        if (!blocks || blocks->blocks[0].state != 2) return false;
        taken = other.OpenBlock(file->attr.inode, 0, blocks->blocks[0].stamp);
        return true;
      },
      40 * kSecond));
  EXPECT_LT(w.scheduler.now_ns() - died, 15 * kSecond);  // expiry is 10 s here
  ASSERT_OK(taken);
  EXPECT_EQ(taken->block.length, 700);  // the shortest that did not restart
  EXPECT_EQ(taken->block.members.size(), 3u);
  EXPECT_EQ(w.nn(0).sessions().expiries(), 1u);
  EXPECT_CODE(c.Close(file->attr.inode, b->block, 900), Code::kUnknownSession);
  EXPECT_CODE(c.KeepAlive(), Code::kUnknownSession);
}

TEST(Namenode, ABlockThatItsWriterGivesUpIsClosedAtOnce) {
  ServiceWorld w(1, 3);
  Client c(w, 1), other(w, 2);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) dn->replicas[b->block.block] = {b->block.stamp, 700, 2};
  const int64_t began = w.scheduler.now_ns();
  idl::ReleaseBlocksRequest release;
  release.op = w.NextOp(c.session);
  release.inode = file->attr.inode;
  release.slots = {0};
  release.caller = c.caller;
  ASSERT_OK(w.Call<idl::kReleaseBlocks>(release));
  ASSERT_TRUE(w.RunUntil([&] {
    (void)c.KeepAlive();
    auto blocks = other.Blocks(file->attr.inode);
    return blocks && blocks->blocks[0].state == 2;
  }));
  EXPECT_LT(w.scheduler.now_ns() - began, 3 * kSecond) << "not when the session ends";
  auto blocks = other.Blocks(file->attr.inode);
  EXPECT_EQ(blocks->blocks[0].length, 700);
  EXPECT_EQ(blocks->attr.size, 700);
  EXPECT_CODE(c.Close(file->attr.inode, b->block, 900), Code::kStaleStamp);
  ASSERT_OK(c.KeepAlive());
}

TEST(Namenode, CreateBringsTheFirstBlockAndOthersForAnUnreachableOne) {
  ServiceWorld w(3, 6);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  idl::CreateRequest r;
  r.op = w.NextOp(c.session);
  r.ref = At("/f");
  r.mode = 0644;
  r.caller = c.caller;
  r.exclusive = true;
  r.open_for_write = true;
  r.open_first_block = true;
  auto made = w.Call<idl::kCreate>(r);
  ASSERT_OK(made);
  ASSERT_TRUE(made->__isset.first_block);
  const idl::WritableBlock b = made->first_block;
  EXPECT_EQ(b.members.size(), 3u);
  EXPECT_FALSE(b.members[0].tcp_address.empty());
  EXPECT_FALSE(b.token.empty());
  // The retry gets the same, also from a new leader.
  w.Crash(w.Leader());
  auto again = w.Call<idl::kCreate>(r);
  ASSERT_OK(again);
  EXPECT_TRUE(again->created);
  EXPECT_EQ(again->first_block.block, b.block);
  EXPECT_EQ(again->first_block.stamp, b.stamp);

  idl::OpenBlockRequest anew;
  anew.op = w.NextOp(c.session);
  anew.inode = made->attr.inode;
  anew.expected_stamp = b.stamp;
  anew.caller = c.caller;
  anew.nothing_acknowledged = true;
  for (const auto& m : b.members) anew.exclude.push_back(m.datanode);
  auto moved = w.Call<idl::kOpenBlock>(anew);
  ASSERT_OK(moved);
  EXPECT_EQ(moved->block.block, b.block);
  EXPECT_EQ(moved->block.members.size(), 3u);
  for (const auto& m : moved->block.members) {
    for (const auto& old : b.members) EXPECT_NE(m.datanode, old.datanode);
  }
  ASSERT_OK(c.Close(made->attr.inode, moved->block, 10));
}

TEST(Namenode, CreateMakesSpecialFiles) {
  ServiceWorld w(1, 1);
  Client c(w, 1);
  const auto make = [&](const std::string& name, idl::FileType::type type, int uid) {
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
  EXPECT_CODE(make("/x", static_cast<idl::FileType::type>(99), 0), Code::kInvalidArgument);
  EXPECT_CODE(make("/y", static_cast<idl::FileType::type>(-1), 0), Code::kInvalidArgument);
}

// Who opens a file for writing waits for what another left open behind its end, so it has to hear of it.
TEST(Namenode, AnOpenNamesABlockFarBehindTheEnd) {
  ServiceWorld w(1, 3);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f", "inline");
  ASSERT_OK(file);
  auto opened = c.OpenFile("/f");
  ASSERT_OK(opened);
  EXPECT_TRUE(opened->blocks.empty());
  EXPECT_FALSE(opened->attr.open_for_write);
  ASSERT_OK(c.OpenBlock(file->attr.inode, 40));
  opened = c.OpenFile("/f");
  ASSERT_OK(opened);
  ASSERT_EQ(opened->blocks.size(), 1u);
  EXPECT_EQ(opened->blocks[0].slot, 40);
  EXPECT_TRUE(opened->attr.open_for_write);
}

TEST(Namenode, FailOverAnswersARetryOnceMore) {
  ServiceWorld w(3);
  Client c(w, 1);
  int first = w.Leader();
  idl::MkdirRequest mkdir;
  mkdir.op = w.NextOp(c.session);
  mkdir.ref = At("/once");
  auto made = w.CallAt<idl::kMkdir>(first, mkdir);
  ASSERT_OK(made);
  idl::UnlinkRequest unlink;
  ASSERT_OK(c.Create("/gone", "x"));
  unlink.op = w.NextOp(c.session);
  unlink.ref = At("/gone");
  ASSERT_OK(w.CallAt<idl::kUnlink>(first, unlink));
  // Followers send one to the leader.
  for (int n = 0; n < 3; ++n) {
    if (n == first) continue;
    auto refused = w.CallAt<idl::kStat>(n, idl::StatRequest());
    EXPECT_CODE(refused, Code::kNotLeader);
    EXPECT_EQ(refused.error().leader_hint(), "nn" + std::to_string(first + 1) + ":9700");
  }
  w.Crash(first);
  int second = w.Leader();
  ASSERT_NE(second, first);
  auto again = w.CallAt<idl::kMkdir>(second, mkdir);
  ASSERT_OK(again);
  EXPECT_EQ(again->attr.inode, made->attr.inode);
  // The name is gone; the check before proposing must not say so to who removed it.
  ASSERT_OK(w.CallAt<idl::kUnlink>(second, unlink));
  unlink.op = w.NextOp(c.session);
  EXPECT_CODE(w.CallAt<idl::kUnlink>(second, unlink), Code::kNotFound);
  ASSERT_OK(c.Stat(At("/once")));
  // All three agree in the end.
  w.Restart(first);
  ASSERT_TRUE(w.RunUntil([&] {
    return w.nn(0).replica().applied_index() == w.nn(1).replica().applied_index() &&
           w.nn(1).replica().applied_index() == w.nn(2).replica().applied_index();
  }));
  auto s0 = w.CallAt<idl::kClusterStatus>(0, {}), s1 = w.CallAt<idl::kClusterStatus>(1, {}),
       s2 = w.CallAt<idl::kClusterStatus>(2, {});
  ASSERT_OK(s0);
  EXPECT_EQ(s0->state_hash, s1->state_hash);
  EXPECT_EQ(s1->state_hash, s2->state_hash);
  EXPECT_EQ(s0->leader + s1->leader + s2->leader, 1);
  EXPECT_EQ(s0->members.size(), 3u);
}

TEST(Namenode, ARetryAfterItsSessionEndedIsNotToldHowItWouldGoNow) {
  ServiceWorld w(3);
  const int64_t session = w.OpenSession(1);
  idl::MkdirRequest mkdir;
  mkdir.op = w.NextOp(session);
  mkdir.ref = At("/once");
  ASSERT_OK(w.Call<idl::kMkdir>(mkdir));
  idl::CloseSessionRequest close;
  close.session = session;
  close.incarnation = 1;
  ASSERT_OK(w.Call<idl::kCloseSession>(close));
  EXPECT_CODE(w.Call<idl::kMkdir>(mkdir), Code::kUnknownSession);  // and not kAlreadyExists
  idl::UnlinkRequest missing;
  missing.op = w.NextOp(session);
  missing.ref = At("/never");
  EXPECT_CODE(w.Call<idl::kUnlink>(missing), Code::kUnknownSession);
}

TEST(Namenode, ANewLeaderIsWarm) {
  ServiceWorld w(3, 3);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  auto file = c.Create("/f");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) dn->replicas[b->block.block] = {b->block.stamp, 1000, 1};
  ASSERT_OK(c.Close(file->attr.inode, b->block, 1000));
  w.scheduler.RunFor(kSecond);
  w.Crash(w.Leader());
  w.Leader();
  auto located = c.Blocks(file->attr.inode);
  ASSERT_OK(located);
  EXPECT_EQ(located->blocks[0].replicas.size(), 3u);
  ASSERT_OK(c.OpenBlock(file->attr.inode, 0, b->block.stamp));
}

TEST(Namenode, TheLeaseFlagIsTheLeadersAndOnlyUnderAQuorum) {
  ServiceWorld w(3, 1);
  int leader = w.Leader();
  w.scheduler.RunFor(2 * kSecond);
  FakeDatanode& dn = *w.datanodes[0];
  for (int n = 0; n < 3; ++n) {
    EXPECT_EQ(dn.last_reply[static_cast<size_t>(n)].lease, n == leader);
    EXPECT_EQ(dn.last_reply[static_cast<size_t>(n)].leader, n == leader);
  }
  for (int n = 0; n < 3; ++n) {
    if (n != leader) w.net.CutBoth(w.node(leader), w.node(n));
  }
  // Cut off, it may think for a while that it leads; but from the end of its lease it says so to nobody.
  w.scheduler.RunFor(400 * kMillisecond);
  dn.last_reply[static_cast<size_t>(leader)].lease = false;
  for (int n = 0; n < 100; ++n) {
    w.scheduler.RunFor(100 * kMillisecond);
    EXPECT_FALSE(dn.last_reply[static_cast<size_t>(leader)].lease);
  }
  idl::StatRequest stat;
  stat.ref = At("/");
  EXPECT_FALSE(w.CallAt<idl::kStat>(leader, stat).ok());
}

TEST(Namenode, AnOpenFileOutlivesItsNameAlsoOverAFailOver) {
  ServiceWorld w(3);
  Client c(w, 1), other(w, 2);
  auto file = c.Create("/f", "bytes");
  ASSERT_OK(file);
  ASSERT_OK(c.KeepAlive({file->attr.inode}));
  w.Crash(w.Leader());
  w.Leader();
  // The new leader has not heard yet who has what open: it takes everybody to have everything.
  ASSERT_OK(other.Unlink("/f"));
  auto orphan = other.Stat(At(file->attr.inode));
  ASSERT_OK(orphan);
  EXPECT_EQ(orphan->attr.nlink, 0);
  ASSERT_OK(other.KeepAlive());  // does not have it
  w.scheduler.RunFor(kSecond);
  ASSERT_OK(c.Stat(At(file->attr.inode)));
  ASSERT_OK(c.KeepAlive({file->attr.inode}));
  w.scheduler.RunFor(kSecond);
  ASSERT_OK(c.Stat(At(file->attr.inode)));
  idl::CloseFileRequest close;
  close.inode = file->attr.inode;
  close.session = c.session;
  ASSERT_OK(w.Call<idl::kCloseFile>(close));
  ASSERT_TRUE(
      w.RunUntil([&] { return c.Stat(At(file->attr.inode)).status().Is(Code::kStaleHandle); }));
}

// A new leader takes everybody to have everything open; the orphan that it makes on that account must not live as long as
// a session that never had the file.
TEST(Namenode, AnOrphanThatNobodyHasOpenIsLetGoAfterAFailOver) {
  ServiceWorld w(3);
  Client c(w, 1), other(w, 2);
  auto file = c.Create("/f", "bytes");
  ASSERT_OK(file);
  w.Crash(w.Leader());
  w.Leader();
  ASSERT_OK(c.Unlink("/f"));
  for (int n = 0; n < 20; ++n) {
    ASSERT_OK(c.KeepAlive());
    ASSERT_OK(other.KeepAlive());
    w.scheduler.RunFor(500 * kMillisecond);
  }
  EXPECT_CODE(c.Stat(At(file->attr.inode)), Code::kStaleHandle);
}

TEST(Namenode, ARemovedTreeIsReclaimedInStepsAndItsReplicasDeleted) {
  ServiceWorld w(1, 3);
  Client c(w, 1);
  w.scheduler.RunFor(2 * kSecond);
  ASSERT_OK(c.Mkdir("/t/a/b", true));
  for (int n = 0; n < 1200; ++n) ASSERT_OK(c.Create("/t/a/f" + std::to_string(n), "x"));
  auto file = c.Create("/t/a/b/big");
  ASSERT_OK(file);
  auto b = c.OpenBlock(file->attr.inode);
  ASSERT_OK(b);
  for (auto& dn : w.datanodes) dn->replicas[b->block.block] = {b->block.stamp, 1000, 1};
  ASSERT_OK(c.Close(file->attr.inode, b->block, 1000));
  // Nobody has them open any more.
  ASSERT_OK(c.KeepAlive());
  w.scheduler.RunFor(11 * kSecond);
  Client d(w, 2);
  idl::RemoveTreeRequest remove;
  remove.op = w.NextOp(d.session);
  remove.ref = At("/t");
  auto removed = w.Call<idl::kRemoveTree>(remove);
  ASSERT_OK(removed);
  EXPECT_EQ(removed->removed.files, 1201);
  EXPECT_CODE(d.Stat(At("/t")), Code::kNotFound);
  ASSERT_TRUE(w.RunUntil([&] { return w.nn(0).state().ListTodo(1)->empty(); }));
  EXPECT_EQ(w.nn(0).state().counters().blocks, 0u);
  for (auto& dn : w.datanodes) EXPECT_TRUE(dn->replicas.contains(b->block.block));
  ASSERT_TRUE(w.RunUntil(
      [&] {
        return std::all_of(w.datanodes.begin(), w.datanodes.end(),
                           [](const auto& dn) { return dn->replicas.empty(); });
      },
      40 * kSecond));
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
