// Blocks: open, exclude, commit, close, truncate, recovery (protocols, sections 4, 6, 7).
#include "common/base/defects.h"
#include "namenode/state/consistency.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

constexpr uint64_t kBlock = 4096;
using Members = std::vector<DatanodeId>;
const DatanodeId A{11}, B{12}, C{13}, D{14};

class BlocksTest : public testing::Test {
 protected:
  void SetUp() override {
    session_ = sh_.OpenSession();
    other_ = sh_.OpenSession();
    ASSERT_OK(sh_.Create("/f"));
    file_ = sh_.Id("/f");
  }
  void TearDown() override {
    sh_.ReclaimAll();
    EXPECT_OK(CheckConsistency(*member_.store));
  }

  CommandReply Open(SessionId session, uint64_t slot, Stamp expected, Members members = {A, B, C}) {
    return sh_.RunIn(session, OpenBlockCommand{file_, slot, expected, std::move(members)});
  }
  OpenBlockResult Opened(uint64_t slot, Stamp expected = Stamp()) {
    auto reply = Open(session_, slot, expected);
    EXPECT_OK(reply.status());
    return Shell::Payload<OpenBlockResult>(reply);
  }
  CloseBlockCommand Closing(const OpenBlockResult& b, uint64_t length) {
    CloseBlockCommand c;
    c.inode = file_;
    c.slot = b.slot;
    c.block = b.block;
    c.stamp = b.stamp;
    c.length = length;
    c.members = b.members;
    return c;
  }
  Status Close(const OpenBlockResult& b, uint64_t length) {
    return sh_.RunIn(session_, Closing(b, length)).status();
  }
  /// A closed block of `length` bytes in the slot.
  OpenBlockResult Written(uint64_t slot, uint64_t length) {
    OpenBlockResult b = Opened(slot);
    EXPECT_OK(Close(b, length));
    return b;
  }
  BlockRecord Record(BlockId id) {
    auto block = member_.reader().GetBlock(id);
    EXPECT_OK(block);
    return block ? *block : BlockRecord();
  }

  Member member_;
  Shell sh_{&member_};
  SessionId session_, other_;
  InodeId file_;
};

TEST_F(BlocksTest, OpenWriteClose) {
  uint64_t version = sh_.Stat("/f")->data_version;
  auto opened = Opened(0);
  EXPECT_EQ(opened.block.value, kFirstBlockCounter);
  EXPECT_FALSE(opened.old_stamp.valid());
  EXPECT_TRUE(opened.stamp.valid());
  EXPECT_EQ(opened.members, (Members{A, B, C}));
  EXPECT_GT(sh_.Stat("/f")->data_version, version);
  EXPECT_EQ(Record(opened.block).state, BlockState::kOpen);
  EXPECT_EQ(Record(opened.block).replication, 3u);
  EXPECT_EQ(member_.reader().GetSession(session_)->open_blocks, 1u);
  EXPECT_EQ(member_.reader().ListOpenBlocks()->size(), 1u);
  EXPECT_TRUE(member_.reader().ListBlocksToRecover()->empty());

  sh_.now_ns = 7'000'000;
  CommitLengthCommand commit{file_, 0, opened.block, opened.stamp, 100, 100, 0, false};
  ASSERT_OK(sh_.RunIn(session_, commit).status());
  EXPECT_EQ(sh_.Stat("/f")->size, 100u);
  EXPECT_EQ(sh_.Du("/"), (Usage{1, 0, 100}));
  commit.length = 50;
  EXPECT_CODE(sh_.RunIn(session_, commit).status(), Code::kInvalidArgument);
  commit.length = kBlock + 1;
  EXPECT_CODE(sh_.RunIn(session_, commit).status(), Code::kInvalidArgument);

  auto closing = Closing(opened, 200);
  closing.members = {A, B};
  closing.mtime_ns = 42;
  ASSERT_OK(sh_.RunIn(session_, closing).status());
  BlockRecord record = Record(opened.block);
  EXPECT_EQ(record.state, BlockState::kClosed);
  EXPECT_EQ(record.length, 200u);
  EXPECT_EQ(record.members, (Members{A, B}));
  EXPECT_EQ(record.stamp, opened.stamp);
  auto inode = sh_.Stat("/f");
  EXPECT_EQ(inode->size, 200u);
  EXPECT_EQ(inode->allocated_bytes, 200u);
  EXPECT_EQ(inode->mtime_ns, 42);
  EXPECT_EQ(inode->ctime_ns, 7'000'000);
  EXPECT_EQ(member_.reader().GetSession(session_)->open_blocks, 0u);
  EXPECT_CODE(sh_.RunIn(session_, closing).status(), Code::kStaleStamp);  // closed already
}

TEST_F(BlocksTest, OpenIsCompareAndSet) {
  auto first = Written(0, 100);
  EXPECT_CODE(Open(session_, 0, Stamp()).status(), Code::kStaleStamp);
  EXPECT_CODE(Open(session_, 0, Stamp(first.stamp.value + 1)).status(), Code::kStaleStamp);
  EXPECT_CODE(Open(session_, 1, first.stamp).status(), Code::kStaleStamp);
  auto again = Open(session_, 0, first.stamp, {A, D});
  ASSERT_OK(again.status());
  auto opened = Shell::Payload<OpenBlockResult>(again);
  EXPECT_EQ(opened.block, first.block);
  EXPECT_EQ(opened.old_stamp, first.stamp);
  EXPECT_GT(opened.stamp, first.stamp);
  EXPECT_EQ(opened.length, 100u);
}

TEST_F(BlocksTest, DefectOpenWithoutCompareAndSet) {
  auto first = Written(0, 100);
  SetDefect(Defect::kOpenNotCompareAndSet, true);
  Code code = Open(session_, 0, Stamp(first.stamp.value - 1)).code;
  SetDefect(Defect::kOpenNotCompareAndSet, false);
  EXPECT_EQ(code, Code::kOk);
}

TEST_F(BlocksTest, OnlyOneWriter) {
  auto opened = Opened(0);
  EXPECT_CODE(Open(other_, 0, opened.stamp).status(), Code::kBusy);
  EXPECT_CODE(sh_.RunIn(other_, Closing(opened, 10)).status(), Code::kStaleStamp);
  ExcludeMembersCommand exclude{file_, 0, opened.block, opened.stamp, {A}};
  EXPECT_CODE(sh_.RunIn(other_, exclude).status(), Code::kStaleStamp);
  // One's own again: among the members only.
  EXPECT_CODE(Open(session_, 0, opened.stamp, {A, D}).status(), Code::kConflict);
  auto again = Open(session_, 0, opened.stamp, {C, A});
  ASSERT_OK(again.status());
  EXPECT_EQ(Shell::Payload<OpenBlockResult>(again).old_stamp, opened.stamp);
  EXPECT_EQ(member_.reader().GetSession(session_)->open_blocks, 1u);
  EXPECT_CODE(Close(opened, 10), Code::kStaleStamp);  // the old stream's stamp
}

TEST_F(BlocksTest, NeedsASessionAndGoodMembers) {
  OpenBlockCommand c{file_, 0, Stamp(), {A}};
  EXPECT_CODE(sh_.Run(c).status(), Code::kUnknownSession);
  EXPECT_CODE(Open(SessionId(999), 0, Stamp()).status(), Code::kUnknownSession);
  EXPECT_CODE(Open(session_, 0, Stamp(), {}).status(), Code::kInvalidArgument);
  EXPECT_CODE(Open(session_, 0, Stamp(), {A, A}).status(), Code::kInvalidArgument);
  EXPECT_CODE(Open(session_, 0, Stamp(), {DatanodeId()}).status(), Code::kInvalidArgument);
  EXPECT_CODE(Open(session_, 0, Stamp(), Members(17, A)).status(), Code::kInvalidArgument);
  EXPECT_CODE(Open(session_, kMaxFileBytes / kBlock, Stamp()).status(), Code::kFileTooBig);
  sh_.who = User(10);
  EXPECT_CODE(Open(session_, 0, Stamp()).status(), Code::kAccessDenied);
  sh_.who = Credentials::Root();
  ASSERT_OK(sh_.Chown("/f", 10, 10));
  ASSERT_OK(sh_.Chmod("/f", 0444));
  sh_.who = User(10);
  EXPECT_OK(Open(session_, 0, Stamp()).status());  // the owner: it was decided at open
  sh_.who = Credentials::Root();
}

TEST_F(BlocksTest, ExcludeMembers) {
  auto opened = Opened(0);
  ExcludeMembersCommand c{file_, 0, opened.block, opened.stamp, {C, A}};
  auto reply = sh_.RunIn(session_, c);
  ASSERT_OK(reply.status());
  auto result = Shell::Payload<OpenBlockResult>(reply);
  EXPECT_EQ(result.members, (Members{C, A}));
  EXPECT_GT(result.stamp, opened.stamp);
  EXPECT_EQ(Record(opened.block).members, (Members{C, A}));
  EXPECT_CODE(sh_.RunIn(session_, c).status(), Code::kStaleStamp);
  c.stamp = result.stamp;
  c.survivors = {B};
  EXPECT_CODE(sh_.RunIn(session_, c).status(), Code::kConflict);
  c.survivors = {};
  EXPECT_CODE(sh_.RunIn(session_, c).status(), Code::kInvalidArgument);
  auto closing = Closing(result, 10);
  closing.members = {A, B};
  EXPECT_CODE(sh_.RunIn(session_, closing).status(), Code::kConflict);
}

TEST_F(BlocksTest, DefectExclusionNotCommitted) {
  auto opened = Opened(0);
  SetDefect(Defect::kExclusionNotCommitted, true);
  auto reply =
      sh_.RunIn(session_, ExcludeMembersCommand{file_, 0, opened.block, opened.stamp, {A}});
  SetDefect(Defect::kExclusionNotCommitted, false);
  ASSERT_OK(reply.status());
  EXPECT_EQ(Shell::Payload<OpenBlockResult>(reply).members, (Members{A}));
  EXPECT_EQ(Record(opened.block).members, (Members{A, B, C}));
}

TEST_F(BlocksTest, InlineStaysUntilTheBlockHasIt) {
  ASSERT_OK(sh_.Create("/i", 0644, "inline bytes"));
  file_ = sh_.Id("/i");
  auto opened = Opened(0);
  EXPECT_EQ(sh_.Stat("/i")->inline_data, "inline bytes");
  EXPECT_CODE(sh_.Run(WriteInlineCommand{file_, "x", WriteInlineCommand::kAnyVersion, 0}).status(),
              Code::kInvalidArgument);
  CommitLengthCommand commit{file_, 0, opened.block, opened.stamp, 50, 50, 0, false};
  ASSERT_OK(sh_.RunIn(session_, commit).status());
  EXPECT_TRUE(sh_.Stat("/i")->has_inline);
  commit.drop_inline = true;
  ASSERT_OK(sh_.RunIn(session_, commit).status());
  EXPECT_FALSE(sh_.Stat("/i")->has_inline);
  EXPECT_EQ(sh_.Stat("/i")->inline_data, "");
  EXPECT_EQ(sh_.Stat("/i")->size, 50u);
  EXPECT_EQ(sh_.Stat("/i")->allocated_bytes, 50u);
}

TEST_F(BlocksTest, AFileThatGrowsOutOfItsInodeComparesTheVersion) {
  ASSERT_OK(sh_.Run(WriteInlineCommand{file_, "one", WriteInlineCommand::kAnyVersion, 0}).status());
  OpenBlockCommand grow{file_, 0, Stamp(), {A, B}};
  grow.data_version = member_.reader().GetInode(file_)->data_version;
  // Another session writes to it in that moment: what it wrote must not be undone.
  ASSERT_OK(sh_.Run(WriteInlineCommand{file_, "two", WriteInlineCommand::kAnyVersion, 0}).status());
  EXPECT_CODE(sh_.RunIn(session_, grow).status(), Code::kConflict);
  SetDefect(Defect::kGrowthNotCompared, true);
  auto undone = sh_.RunIn(session_, grow);
  SetDefect(Defect::kGrowthNotCompared, false);
  EXPECT_OK(undone.status());
  // Once there are blocks their stamps tell.
  OpenBlockCommand next{file_, 1, Stamp(), {A, B}};
  next.data_version = grow.data_version;
  EXPECT_OK(sh_.RunIn(session_, next).status());
}

TEST_F(BlocksTest, WriteInlineComparesTheVersion) {
  uint64_t version = sh_.Stat("/f")->data_version;
  ASSERT_OK(sh_.Run(WriteInlineCommand{file_, "one", version, 0}).status());
  EXPECT_CODE(sh_.Run(WriteInlineCommand{file_, "two", version, 0}).status(), Code::kConflict);
  EXPECT_EQ(sh_.Stat("/f")->inline_data, "one");
  EXPECT_OK(sh_.Run(WriteInlineCommand{file_, "", WriteInlineCommand::kAnyVersion, 0}).status());
  EXPECT_FALSE(sh_.Stat("/f")->has_inline);
  EXPECT_EQ(sh_.Stat("/f")->size, 0u);
  EXPECT_CODE(sh_.Run(WriteInlineCommand{file_, std::string(kMaxInlineBytes + 1, 'x'),
                                         WriteInlineCommand::kAnyVersion, 0})
                  .status(),
              Code::kInvalidArgument);
}

TEST_F(BlocksTest, CloseRenamesInTheSameCommand) {
  ASSERT_OK(sh_.Mkdir("/d"));
  ASSERT_OK(sh_.Create("/d/final", 0644, "old"));
  auto opened = Opened(0);
  auto closing = Closing(opened, 10);
  closing.rename_parent = sh_.Id("/d");
  closing.rename_name = "final";
  EXPECT_CODE(sh_.RunIn(session_, closing).status(), Code::kAlreadyExists);
  EXPECT_EQ(Record(opened.block).state, BlockState::kOpen);  // all or nothing
  EXPECT_EQ(sh_.Stat("/f")->size, 0u);
  closing.rename_replace = true;
  auto reply = sh_.RunIn(session_, closing);
  ASSERT_OK(reply.status());
  EXPECT_EQ(Shell::Payload<AttrResult>(reply).attr.parent, sh_.Id("/d"));
  EXPECT_EQ(sh_.Id("/d/final"), file_);
  EXPECT_FALSE(sh_.Exists("/f"));
  EXPECT_EQ(sh_.Du("/d"), (Usage{1, 0, 10}));
  EXPECT_EQ(Record(opened.block).state, BlockState::kClosed);
}

TEST_F(BlocksTest, TruncateDropsCutsAndGrows) {
  auto zero = Written(0, kBlock);
  auto one = Written(1, kBlock);
  auto two = Written(2, 100);
  EXPECT_EQ(sh_.Stat("/f")->size, 2 * kBlock + 100);
  ASSERT_OK(sh_.Truncate("/f", kBlock + 1000));
  EXPECT_CODE(member_.reader().GetBlock(two.block), Code::kNotFound);
  BlockRecord cut = Record(one.block);
  EXPECT_EQ(cut.length, 1000u);
  EXPECT_EQ(cut.cut_stamp, one.stamp);
  EXPECT_EQ(cut.cut_length, 1000u);
  EXPECT_EQ(sh_.Stat("/f")->allocated_bytes, kBlock + 1000);
  EXPECT_EQ(sh_.Du("/").bytes, static_cast<int64_t>(kBlock + 1000));
  // Growing again gives zeros: the block stays cut.
  ASSERT_OK(sh_.Truncate("/f", 3 * kBlock));
  EXPECT_EQ(Record(one.block).length, 1000u);
  ASSERT_OK(sh_.Truncate("/f", kBlock + 500));
  EXPECT_EQ(Record(one.block).cut_length, 500u);
  // The writer is told where replicas of the old stamp have to be cut.
  auto reply = Open(session_, 1, one.stamp);
  ASSERT_OK(reply.status());
  auto opened = Shell::Payload<OpenBlockResult>(reply);
  EXPECT_EQ(opened.cut_stamp, one.stamp);
  EXPECT_EQ(opened.cut_length, 500u);
  EXPECT_CODE(sh_.Truncate("/f", kBlock + 100), Code::kBusy);
  // The exclusion keeps the cut: a member may not have been told yet.
  auto excluded =
      sh_.RunIn(session_, ExcludeMembersCommand{file_, 1, one.block, opened.stamp, {A, B}});
  EXPECT_EQ(Shell::Payload<OpenBlockResult>(excluded).cut_length, 500u);
  opened = Shell::Payload<OpenBlockResult>(excluded);
  ASSERT_OK(Close(opened, 600));
  EXPECT_FALSE(Record(one.block).cut_stamp.valid());
  // Dropping an open block fences its writer.
  auto reopened = Shell::Payload<OpenBlockResult>(Open(session_, 1, opened.stamp, {A}));
  ASSERT_OK(sh_.Truncate("/f", kBlock));
  EXPECT_CODE(Close(reopened, 700), Code::kStaleStamp);
  EXPECT_EQ(member_.reader().GetSession(session_)->open_blocks, 0u);
  ASSERT_OK(sh_.Truncate("/f", 0));
  EXPECT_CODE(member_.reader().GetBlock(zero.block), Code::kNotFound);
  EXPECT_EQ(sh_.Stat("/f")->block_count, 0u);
  EXPECT_EQ(member_.reader().counters().blocks, 0u);
}

TEST_F(BlocksTest, TruncateCutsInlineData) {
  ASSERT_OK(sh_.Create("/i", 0644, "0123456789"));
  ASSERT_OK(sh_.Truncate("/i", 4));
  ASSERT_OK(sh_.Truncate("/i", 8));
  EXPECT_EQ(sh_.Stat("/i")->inline_data, "0123");
  EXPECT_EQ(sh_.Stat("/i")->size, 8u);
  ASSERT_OK(sh_.Truncate("/i", 0));
  EXPECT_FALSE(sh_.Stat("/i")->has_inline);
}

TEST_F(BlocksTest, HolesAndReadBlocks) {
  auto three = Written(3, 10);
  auto seven = Written(7, 20);
  EXPECT_EQ(sh_.Stat("/f")->size, 7 * kBlock + 20);
  auto all = member_.reader().ReadBlocks(file_, 0, ~uint64_t{0}, 100);
  ASSERT_OK(all);
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].id, three.block);
  EXPECT_EQ((*all)[1].slot, 7u);
  EXPECT_EQ((*all)[1].id, seven.block);
  EXPECT_EQ(member_.reader().ReadBlocks(file_, 4, 6, 100)->size(), 0u);
  EXPECT_EQ(member_.reader().ReadBlocks(file_, 0, 7, 1)->size(), 1u);
  size_t seen = 0;
  EXPECT_OK(member_.reader().ForEachBlock(BlockId(), [&](BlockId, const BlockRecord&) {
    ++seen;
    return true;
  }));
  EXPECT_EQ(seen, 2u);
}

TEST_F(BlocksTest, UnlinkedFileGivesItsBlocksBackInSteps) {
  for (uint64_t slot = 0; slot < 5; ++slot) Written(slot, kBlock);
  auto open = Opened(5);
  ASSERT_OK(sh_.Unlink("/f"));
  EXPECT_EQ(sh_.Du("/"), (Usage{0, 0, 0}));
  EXPECT_CODE(Close(open, 1), Code::kStaleHandle);
  EXPECT_EQ(member_.reader().ListTodo(10)->size(), 1u);
  auto step = sh_.Run(ReclaimCommand{file_, 4, {}});
  EXPECT_FALSE(Shell::Payload<ReclaimResult>(step).done);
  EXPECT_EQ(member_.reader().counters().blocks, 2u);
  sh_.ReclaimAll();
  EXPECT_EQ(member_.reader().counters().blocks, 0u);
  EXPECT_TRUE(member_.reader().ListOpenBlocks()->empty());
  EXPECT_CODE(member_.reader().GetInode(file_), Code::kStaleHandle);
}

TEST_F(BlocksTest, RecoveryAfterExpiry) {
  auto opened = Opened(0);
  BeginBlockRecoveryCommand begin{opened.block, opened.stamp, false};
  EXPECT_CODE(sh_.Run(begin).status(), Code::kBusy);  // its writer lives
  ASSERT_OK(sh_.Run(ExpireSessionCommand{session_, 1}).status());
  EXPECT_TRUE(Record(opened.block).NeedsRecovery());
  EXPECT_EQ(member_.reader().ListBlocksToRecover()->size(), 1u);
  EXPECT_CODE(Open(other_, 0, opened.stamp).status(), Code::kBusy);

  begin.expected_stamp = Stamp(1);
  EXPECT_CODE(sh_.Run(begin).status(), Code::kStaleStamp);
  begin.expected_stamp = opened.stamp;
  auto reply = sh_.Run(begin);
  ASSERT_OK(reply.status());
  auto first = Shell::Payload<OpenBlockResult>(reply);
  EXPECT_GT(first.stamp, opened.stamp);
  EXPECT_EQ(first.old_stamp, opened.stamp);
  // Again: the first attempt is fenced.
  begin.expected_stamp = first.stamp;
  auto second = Shell::Payload<OpenBlockResult>(sh_.Run(begin));
  EXPECT_GT(second.stamp, first.stamp);
  FinishBlockRecoveryCommand finish{opened.block, first.stamp, 700, {A, B}, false};
  EXPECT_CODE(sh_.Run(finish).status(), Code::kStaleStamp);
  ASSERT_OK(sh_.Run(ExcludeFromRecoveryCommand{opened.block, second.stamp, {A, B}}).status());
  finish.recovery_stamp = second.stamp;
  finish.members = {A, C};
  EXPECT_CODE(sh_.Run(finish).status(), Code::kConflict);  // C was left out
  finish.members = {A, B};
  ASSERT_OK(sh_.Run(finish).status());
  BlockRecord record = Record(opened.block);
  EXPECT_EQ(record.state, BlockState::kClosed);
  EXPECT_EQ(record.stamp, second.stamp);
  EXPECT_EQ(record.length, 700u);
  EXPECT_EQ(sh_.Stat("/f")->size, 700u);
  EXPECT_OK(Open(other_, 0, second.stamp, {A, B}).status());
}

TEST_F(BlocksTest, RecoveryOfABlockNobodyWrote) {
  auto opened = Opened(0);
  ASSERT_OK(sh_.Run(ExpireSessionCommand{session_, 1}).status());
  auto begun = Shell::Payload<OpenBlockResult>(
      sh_.Run(BeginBlockRecoveryCommand{opened.block, opened.stamp, false}));
  ASSERT_OK(sh_.Run(FinishBlockRecoveryCommand{opened.block, begun.stamp, 0, {}, false}).status());
  EXPECT_CODE(member_.reader().GetBlock(opened.block), Code::kNotFound);
  EXPECT_EQ(sh_.Stat("/f")->block_count, 0u);
}

TEST_F(BlocksTest, ShorterThanCommittedIsRecorded) {
  auto b = Written(0, 1000);
  BeginBlockRecoveryCommand begin{b.block, b.stamp, false};
  EXPECT_CODE(sh_.Run(begin).status(), Code::kConflict);
  begin.closed_too = true;
  auto begun = Shell::Payload<OpenBlockResult>(sh_.Run(begin));
  FinishBlockRecoveryCommand finish{b.block, begun.stamp, 600, {A}, false};
  EXPECT_CODE(sh_.Run(finish).status(), Code::kInvalidArgument);
  finish.allow_shorter = true;
  ASSERT_OK(sh_.Run(finish).status());
  EXPECT_EQ(sh_.Stat("/f")->size, 600u);
  EXPECT_TRUE(sh_.Stat("/f")->shortened);
  EXPECT_EQ(Record(b.block).length, 600u);
  auto losses = member_.reader().ListShortened(10);
  ASSERT_OK(losses);
  ASSERT_EQ(losses->size(), 1u);
  EXPECT_EQ((*losses)[0].old_length, 1000u);
  EXPECT_EQ((*losses)[0].new_length, 600u);
  EXPECT_EQ((*losses)[0].inode, file_);
  ASSERT_OK(sh_.Unlink("/f"));
  sh_.ReclaimAll();
  EXPECT_TRUE(member_.reader().ListShortened(10)->empty());
}

TEST_F(BlocksTest, ReplicationReachesTheBlocks) {
  auto b = Written(0, 10);
  SetAttrCommand c;
  c.mask = kSetReplication;
  c.replication = 2;
  ASSERT_OK(sh_.SetAttr("/f", c));
  EXPECT_EQ(Record(b.block).replication, 2u);
}

TEST_F(BlocksTest, CreateOpensTheFirstBlockInOneCommand) {
  CreateCommand c;
  c.parent = kRootInode;
  c.name = "one";
  c.block_size = kBlock;
  c.replication = 3;
  c.open_first = true;
  c.first_members = {A, B, C};
  auto reply = sh_.RunIn(session_, c);
  ASSERT_OK(reply.status());
  auto result = Shell::Payload<CreateOpenResult>(reply);
  EXPECT_TRUE(result.created);
  ASSERT_TRUE(result.opened);
  EXPECT_EQ(result.block.members, c.first_members);
  EXPECT_EQ(result.attr.block_count, 1u);
  BlockRecord block = Record(result.block.block);
  EXPECT_EQ(block.state, BlockState::kOpen);
  EXPECT_EQ(block.writer, session_);
  EXPECT_EQ(block.stamp, result.block.stamp);
  EXPECT_EQ(member_.reader().GetSession(session_)->open_blocks, 1u);
  // And the second commit is the last: length, size and name.
  file_ = result.attr.id;
  CloseBlockCommand closing = Closing(result.block, 700);
  closing.rename_parent = kRootInode;
  closing.rename_name = "two";
  ASSERT_OK(sh_.RunIn(session_, closing).status());
  EXPECT_EQ(sh_.Stat("/two")->size, 700u);

  // Nothing is opened in a file that is left alone, and no file depends on there being datanodes.
  c.name = "two";
  result = Shell::Payload<CreateOpenResult>(sh_.RunIn(session_, c));
  EXPECT_FALSE(result.created);
  EXPECT_FALSE(result.opened);
  EXPECT_EQ(result.attr.size, 700u);
  c.overwrite = true;
  result = Shell::Payload<CreateOpenResult>(sh_.RunIn(session_, c));
  EXPECT_TRUE(result.opened);
  EXPECT_EQ(result.attr.size, 0u);
  c.name = "three";
  c.first_members.clear();
  result = Shell::Payload<CreateOpenResult>(sh_.RunIn(session_, c));
  EXPECT_TRUE(result.created);
  EXPECT_FALSE(result.opened);
}

TEST_F(BlocksTest, MembersAreChosenAnewOnlyForWhatNobodyAcknowledged) {
  auto b = Opened(0);
  OpenBlockCommand c{file_, 0, b.stamp, {D}};
  EXPECT_CODE(sh_.RunIn(session_, c).status(), Code::kConflict);
  c.members_anew = true;
  EXPECT_CODE(sh_.RunIn(other_, c).status(), Code::kBusy);
  auto reply = sh_.RunIn(session_, c);
  ASSERT_OK(reply.status());
  auto moved = Shell::Payload<OpenBlockResult>(reply);
  EXPECT_EQ(moved.block, b.block);
  EXPECT_GT(moved.stamp, b.stamp);
  EXPECT_EQ(Record(b.block).members, Members{D});
  CommitLengthCommand commit{file_, 0, moved.block, moved.stamp, 100, 100, 0, false};
  ASSERT_OK(sh_.RunIn(session_, commit).status());
  c.expected_stamp = moved.stamp;
  c.members = {A};
  EXPECT_CODE(sh_.RunIn(session_, c).status(), Code::kConflict);
}

TEST_F(BlocksTest, BlocksThatAreGivenUpAreRecovered) {
  auto first = Opened(0), second = Opened(1);
  auto others = sh_.RunIn(other_, OpenBlockCommand{file_, 2, Stamp(), {A}});
  ASSERT_OK(others.status());
  ASSERT_OK(sh_.RunIn(session_, ReleaseBlocksCommand{file_, {1, 2, 9}}).status());
  EXPECT_TRUE(Record(second.block).NeedsRecovery());
  EXPECT_FALSE(Record(first.block).NeedsRecovery());
  EXPECT_EQ(Record(Shell::Payload<OpenBlockResult>(others).block).writer, other_);
  EXPECT_EQ(member_.reader().GetSession(session_)->open_blocks, 1u);
  // The writer is fenced, whatever it still sends.
  EXPECT_CODE(Close(second, 10), Code::kStaleStamp);
  EXPECT_CODE(Open(session_, 1, second.stamp).status(), Code::kBusy);
  ASSERT_OK(sh_.RunIn(session_, ReleaseBlocksCommand{file_, {}}).status());
  EXPECT_TRUE(Record(first.block).NeedsRecovery());
  EXPECT_EQ(member_.reader().ListBlocksToRecover()->size(), 2u);
  EXPECT_CODE(sh_.Run(ReleaseBlocksCommand{file_, {}}).status(), Code::kUnknownSession);
}

struct Recorder : StateObserver {
  std::vector<std::string> seen;
  void OnBlockChanged(BlockId id, const BlockRecord& b) override {
    seen.push_back("block " + std::to_string(id.value - kFirstBlockCounter) + " state " +
                   std::to_string(static_cast<int>(b.state)));
  }
  void OnBlockRemoved(BlockId) override { seen.push_back("removed"); }
  void OnSessionEnded(SessionId) override { seen.push_back("ended"); }
  void OnTodoAdded(InodeId) override { seen.push_back("todo"); }
  void OnInodeRemoved(InodeId) override { seen.push_back("inode"); }
};

TEST_F(BlocksTest, ObserverHearsOfCommittedChangesOnly) {
  Recorder recorder;
  member_.machine->SetObserver(&recorder);
  sh_.commit = false;
  auto b = Opened(0);
  EXPECT_CODE(Open(other_, 0, b.stamp).status(), Code::kBusy);
  EXPECT_TRUE(recorder.seen.empty());
  ASSERT_OK(member_.machine->Commit());
  EXPECT_EQ(recorder.seen, (std::vector<std::string>{"block 0 state 1"}));
  recorder.seen.clear();
  sh_.commit = true;
  ASSERT_OK(sh_.Run(ExpireSessionCommand{session_, 1}).status());
  EXPECT_EQ(recorder.seen, (std::vector<std::string>{"block 0 state 1", "ended"}));
  recorder.seen.clear();
  ASSERT_OK(sh_.Unlink("/f"));
  sh_.ReclaimAll();
  EXPECT_EQ(recorder.seen, (std::vector<std::string>{"todo", "removed", "inode"}));
  member_.machine->SetObserver(nullptr);
}

}  // namespace
}  // namespace dfs::nn
