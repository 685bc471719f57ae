// Sessions and exactly-once (protocols, section 1), and how the state machine meets bad input.
#include "common/base/defects.h"
#include "namenode/state/consistency.h"
#include "tests/state/harness.h"

namespace dfs::nn {
namespace {

class SessionsTest : public testing::Test {
 protected:
  void TearDown() override { EXPECT_OK(CheckConsistency(*member_.store)); }

  CommandReply Send(SessionId session, uint64_t incarnation, uint64_t sequence, uint64_t first,
                    const std::string& name) {
    CommandHeader header;
    header.session = session;
    header.incarnation = incarnation;
    header.sequence = sequence;
    header.first_outstanding = first;
    return sh_.Run(header, MkdirCommand{kRootInode, name, 0755, false});
  }

  Member member_;
  Shell sh_{&member_};
};

TEST_F(SessionsTest, OpenIsIdempotentByNonce) {
  SessionId one = sh_.OpenSession(55);
  EXPECT_EQ(sh_.OpenSession(55), one);
  EXPECT_NE(sh_.OpenSession(56), one);
  EXPECT_EQ(member_.reader().counters().sessions, 2u);
  EXPECT_CODE(sh_.Run(OpenSessionCommand{"x", "another secret", 55}).status(), Code::kConflict);
  EXPECT_CODE(sh_.Run(OpenSessionCommand{"x", "", 57}).status(), Code::kInvalidArgument);
  EXPECT_CODE(sh_.Run(OpenSessionCommand{"x", std::string(65, 's'), 57}).status(),
              Code::kInvalidArgument);
}

TEST_F(SessionsTest, RetryGivesTheStoredReply) {
  SessionId s = sh_.OpenSession();
  auto first = Send(s, 1, 1, 1, "d");
  ASSERT_OK(first.status());
  uint64_t inodes = member_.reader().counters().next_inode;
  auto again = Send(s, 1, 1, 1, "d");
  EXPECT_EQ(again.code, Code::kOk);
  EXPECT_EQ(again.payload, first.payload);
  EXPECT_EQ(member_.reader().counters().next_inode, inodes);
  // An error is an answer, too, and stays the same when the reason is gone.
  EXPECT_CODE(Send(s, 1, 2, 1, "d").status(), Code::kAlreadyExists);
  ASSERT_OK(sh_.Rmdir("/d"));
  EXPECT_CODE(Send(s, 1, 2, 1, "d").status(), Code::kAlreadyExists);
  EXPECT_FALSE(sh_.Exists("/d"));
  auto found = member_.reader().FindReply(s, 1, 1);
  ASSERT_OK(found);
  EXPECT_TRUE(found->has_value());
}

TEST_F(SessionsTest, RetrySurvivesARestart) {
  SessionId s = sh_.OpenSession();
  auto first = Send(s, 1, 1, 1, "d");
  ASSERT_OK(member_.store->Flush());
  member_.Close();
  member_.Open();
  EXPECT_EQ(Send(s, 1, 1, 1, "d").payload, first.payload);
}

TEST_F(SessionsTest, OutOfOrderAndPruned) {
  SessionId s = sh_.OpenSession();
  ASSERT_OK(Send(s, 1, 3, 1, "c").status());
  ASSERT_OK(Send(s, 1, 1, 1, "a").status());
  ASSERT_OK(Send(s, 1, 2, 1, "b").status());
  ASSERT_OK(Send(s, 1, 4, 3, "d").status());  // 1 and 2 are answered
  EXPECT_CODE(Send(s, 1, 1, 1, "a").status(), Code::kStaleSequence);
  EXPECT_CODE(Send(s, 1, 2, 1, "x").status(), Code::kStaleSequence);
  EXPECT_FALSE(sh_.Exists("/x"));
  EXPECT_OK(Send(s, 1, 3, 1, "c").status());  // a late retry with an old header
  EXPECT_CODE(member_.reader().FindReply(s, 1, 2), Code::kStaleSequence);
  EXPECT_FALSE(member_.reader().FindReply(s, 1, 5)->has_value());
  EXPECT_CODE(Send(s, 1, 0, 0, "x").status(), Code::kStaleSequence);
  EXPECT_CODE(Send(s, 1, 6, 7, "x").status(), Code::kStaleSequence);  // below its own bound
}

TEST_F(SessionsTest, AtMost1024InFlight) {
  SessionId s = sh_.OpenSession();
  EXPECT_CODE(Send(s, 1, 1026, 1, "x").status(), Code::kOverloaded);
  EXPECT_FALSE(sh_.Exists("/x"));
  EXPECT_OK(Send(s, 1, 1025, 1, "x").status());
  EXPECT_OK(Send(s, 1, 5000, 4500, "y").status());
  EXPECT_EQ(member_.reader().GetSession(s)->first_outstanding, 4500u);
}

TEST_F(SessionsTest, UnknownSessionIsAnError) {
  EXPECT_CODE(Send(SessionId(77), 1, 1, 1, "x").status(), Code::kUnknownSession);
  SessionId s = sh_.OpenSession();
  ASSERT_OK(sh_.Run(ExpireSessionCommand{s, 1}).status());
  EXPECT_CODE(Send(s, 1, 1, 1, "x").status(), Code::kUnknownSession);
  EXPECT_FALSE(sh_.Exists("/x"));
  EXPECT_OK(sh_.Run(ExpireSessionCommand{s, 1}).status());
}

TEST_F(SessionsTest, ResumeFencesTheOldProcess) {
  SessionId s = sh_.OpenSession();
  ASSERT_OK(sh_.Create("/f"));
  auto opened = sh_.RunIn(s, OpenBlockCommand{sh_.Id("/f"), 0, Stamp(), {DatanodeId(1)}});
  ASSERT_OK(opened.status());
  ASSERT_OK(Send(s, 1, 2, 1, "a").status());
  EXPECT_CODE(sh_.Run(ResumeSessionCommand{s, "wrong!", 1}).status(), Code::kNotPermitted);
  EXPECT_CODE(sh_.Run(ResumeSessionCommand{SessionId(99), "secret", 1}).status(),
              Code::kUnknownSession);
  auto reply = sh_.Run(ResumeSessionCommand{s, "secret", 1});
  ASSERT_OK(reply.status());
  EXPECT_EQ(Shell::Payload<SessionResult>(reply).incarnation, 2u);
  EXPECT_CODE(sh_.Run(ResumeSessionCommand{s, "secret", 1}).status(), Code::kStaleIncarnation);
  EXPECT_CODE(Send(s, 1, 3, 1, "old").status(), Code::kStaleIncarnation);
  EXPECT_CODE(Send(s, 3, 2, 1, "new").status(), Code::kStaleIncarnation);
  EXPECT_FALSE(sh_.Exists("/old"));
  EXPECT_EQ(member_.reader().ListBlocksToRecover()->size(), 1u);
  // Replies start over: sequence 1 of the new process is another operation.
  ASSERT_OK(Send(s, 2, 1, 1, "b").status());
  EXPECT_TRUE(sh_.Exists("/b"));
  EXPECT_CODE(sh_.Run(ExpireSessionCommand{s, 1}).status(), Code::kStaleIncarnation);
  EXPECT_CODE(sh_.Run(CloseSessionCommand{s, 1}).status(), Code::kStaleIncarnation);
  EXPECT_OK(sh_.Run(CloseSessionCommand{s, 2}).status());
  EXPECT_EQ(member_.reader().counters().sessions, 0u);
}

TEST_F(SessionsTest, Defects) {
  SessionId s = sh_.OpenSession();
  SetDefect(Defect::kReplyNotStored, true);
  ASSERT_OK(Send(s, 1, 1, 1, "d").status());
  EXPECT_CODE(Send(s, 1, 1, 1, "d").status(), Code::kAlreadyExists);  // applied twice
  SetDefect(Defect::kReplyNotStored, false);
  ASSERT_OK(sh_.Run(ResumeSessionCommand{s, "secret", 0}).status());
  SetDefect(Defect::kStaleIncarnationAccepted, true);
  EXPECT_OK(Send(s, 1, 5, 1, "stale").status());
  SetDefect(Defect::kStaleIncarnationAccepted, false);
  EXPECT_TRUE(sh_.Exists("/stale"));
}

TEST_F(SessionsTest, DefectAppliedIndexNotInBatchReplaysTwice) {
  ASSERT_OK(sh_.Mkdir("/a"));
  SetDefect(Defect::kAppliedIndexNotInBatch, true);
  ASSERT_OK(sh_.Mkdir("/b"));
  SetDefect(Defect::kAppliedIndexNotInBatch, false);
  ASSERT_OK(member_.store->Flush());
  LogIndex before = member_.machine->applied_index();
  member_.Close();
  member_.Open();
  EXPECT_EQ(member_.machine->applied_index(), before - 1);
}

TEST_F(SessionsTest, EmptyCommandAdvances) {
  LogIndex index = member_.machine->applied_index();
  uint64_t hash = member_.machine->state_hash();
  auto reply = member_.machine->Apply(index + 1, 3, "");
  ASSERT_OK(reply);
  EXPECT_EQ(*reply, "");
  ASSERT_OK(member_.machine->Commit());
  EXPECT_EQ(member_.machine->applied_index(), index + 1);
  EXPECT_EQ(member_.machine->applied_term(), 3u);
  EXPECT_NE(member_.machine->state_hash(), hash);
  EXPECT_EQ(member_.reader().applied().index, index + 1);
}

TEST_F(SessionsTest, UnknownCommandsStopTheMember) {
  std::string bytes = EncodeCommand({}, MkdirCommand{kRootInode, "x", 0755, false});
  std::string type = bytes, version = bytes;
  type[0] = static_cast<char>(200);
  version[2] = 9;
  for (const std::string& bad : {type, version}) {
    Member member;
    EXPECT_CODE(member.machine->Apply(1, 1, bad), Code::kVersionMismatch);
    EXPECT_CODE(member.machine->Apply(1, 1, bytes), Code::kVersionMismatch);  // it stays stopped
    EXPECT_CODE(member.machine->Commit(), Code::kVersionMismatch);
  }
  Member member;
  EXPECT_CODE(member.machine->Apply(1, 1, bytes.substr(0, bytes.size() - 1)), Code::kCorrupt);
  Member future;
  Shell sh(&future);
  std::string level = EncodeCommand({}, SetMetaCommand{99, "", 0, 0, 0755});
  EXPECT_CODE(future.machine->Apply(1, 1, level), Code::kVersionMismatch);
}

TEST_F(SessionsTest, SetMetaOnce) {
  SetMetaCommand c{1, "cluster-a", 1000, 1000, 01777};
  ASSERT_OK(sh_.Run(c).status());
  EXPECT_EQ(member_.reader().counters().cluster_id, "cluster-a");
  EXPECT_TRUE(member_.reader().counters().initialized);
  EXPECT_EQ(sh_.Stat("/")->uid, 1000u);
  EXPECT_EQ(sh_.Stat("/")->mode, 01777u);
  c.root_uid = 5;
  ASSERT_OK(sh_.Run(c).status());
  EXPECT_EQ(sh_.Stat("/")->uid, 1000u);
  c.cluster_id = "cluster-b";
  EXPECT_CODE(sh_.Run(c).status(), Code::kWrongCluster);
}

TEST_F(SessionsTest, DatanodesAreTakenOutOfServiceAndPutBack) {
  const DatanodeId a(0xA000000000000001), b(7);
  ASSERT_OK(sh_.Run(SetDatanodeCommand{b, NodeAdmin::kDecommission, 0}).status());
  ASSERT_OK(sh_.Run(SetDatanodeCommand{a, NodeAdmin::kMaintenance, 1000}).status());
  ASSERT_OK(sh_.Run(SetDatanodeCommand{a, NodeAdmin::kMaintenance, 2000}).status());
  auto all = member_.reader().ListDatanodes();
  ASSERT_OK(all);
  ASSERT_EQ(all->size(), 2u);
  EXPECT_EQ((*all)[0].first, b);
  EXPECT_EQ((*all)[0].second.admin, NodeAdmin::kDecommission);
  EXPECT_EQ((*all)[1].first, a);
  EXPECT_EQ((*all)[1].second.until_ns, 2000);
  ASSERT_OK(sh_.Run(SetDatanodeCommand{b, NodeAdmin::kInService, 0}).status());
  ASSERT_OK(sh_.Run(SetDatanodeCommand{b, NodeAdmin::kInService, 0}).status());
  EXPECT_EQ(member_.reader().ListDatanodes()->size(), 1u);
  // Nonsense, and those who may not.
  for (const SetDatanodeCommand& bad :
       {SetDatanodeCommand{DatanodeId(), NodeAdmin::kDecommission, 0},
        SetDatanodeCommand{b, NodeAdmin::kDecommission, 5},
        SetDatanodeCommand{b, NodeAdmin::kMaintenance, 0},
        SetDatanodeCommand{b, static_cast<NodeAdmin>(9), 0}}) {
    EXPECT_CODE(sh_.Run(bad).status(), Code::kInvalidArgument);
  }
  CommandHeader header;
  header.caller = User(10);
  EXPECT_CODE(sh_.Run(header, SetDatanodeCommand{b, NodeAdmin::kDecommission, 0}).status(),
              Code::kNotPermitted);
  EXPECT_EQ(member_.reader().ListDatanodes()->size(), 1u);
}

TEST_F(SessionsTest, PendingIsInvisibleUntilCommit) {
  sh_.commit = false;
  CommandHeader header;
  header.now_ns = 1;
  ASSERT_OK(sh_.Run(header, MkdirCommand{kRootInode, "a", 0755, false}).status());
  EXPECT_FALSE(sh_.Exists("/a"));
  EXPECT_CODE(sh_.Run(header, MkdirCommand{kRootInode, "a", 0755, false}).status(),
              Code::kAlreadyExists);  // Apply itself sees it
  EXPECT_GT(member_.machine->pending_bytes(), 0u);
  ASSERT_OK(member_.machine->Commit());
  EXPECT_TRUE(sh_.Exists("/a"));
  EXPECT_EQ(member_.machine->pending_bytes(), 0u);
}

/// Passes everything on, until it fails.
class FailingStore final : public StateStore {
 public:
  using StateStore::NewIterator;
  explicit FailingStore(StateStore* base) : base_(base) {}
  Result<bool> Get(std::string_view key, std::string* value) override {
    if (fail_reads) return Status(Code::kIoError, "injected");
    return base_->Get(key, value);
  }
  std::unique_ptr<StateIterator> NewIterator(std::string_view p, std::string_view s) override {
    return base_->NewIterator(p, s);
  }
  Status Write(const WriteBatch& batch) override {
    return fail_writes ? Status(Code::kNoSpace, "injected") : base_->Write(batch);
  }
  Status Flush() override { return base_->Flush(); }
  Status StartFlush() override { return base_->StartFlush(); }
  Result<AppliedMark> FlushedMark() override { return base_->FlushedMark(); }
  Result<CheckpointInfo> CreateCheckpoint(const std::string& d) override {
    return base_->CreateCheckpoint(d);
  }
  Status RemoveCheckpoint(const std::string& d) override { return base_->RemoveCheckpoint(d); }
  Status InstallCheckpoint(const std::string& d) override { return base_->InstallCheckpoint(d); }
  Stats GetStats() override { return base_->GetStats(); }

  bool fail_reads = false;
  bool fail_writes = false;

 private:
  StateStore* base_;
};

TEST_F(SessionsTest, AStoreThatFailsStopsTheMember) {
  Member member;
  FailingStore failing(member.store.get());
  StateMachine machine(&failing);
  ASSERT_OK(machine.Load());
  std::string make = EncodeCommand({}, MkdirCommand{kRootInode, "x", 0755, false});
  ASSERT_OK(machine.Apply(1, 1, make));
  ASSERT_OK(machine.Commit());
  uint64_t hash = machine.state_hash();
  failing.fail_reads = true;
  // Never a reply: another member would answer otherwise.
  EXPECT_CODE(machine.Apply(2, 1, EncodeCommand({}, RmdirCommand{kRootInode, "y"})),
              Code::kIoError);
  EXPECT_CODE(machine.Commit(), Code::kIoError);
  EXPECT_EQ(machine.state_hash(), hash);
  EXPECT_EQ(machine.applied_index(), 1u);

  StateMachine writing(member.store.get());
  ASSERT_OK(writing.Load());
  FailingStore full(member.store.get());
  StateMachine third(&full);
  ASSERT_OK(third.Load());
  full.fail_writes = true;
  ASSERT_OK(third.Apply(2, 1, EncodeCommand({}, RmdirCommand{kRootInode, "x"})));
  EXPECT_CODE(third.Commit(), Code::kNoSpace);
  EXPECT_CODE(third.Apply(3, 1, make), Code::kNoSpace);
  EXPECT_OK(third.reader().Lookup(kRootInode, "x"));  // committed state only
}

}  // namespace
}  // namespace dfs::nn
