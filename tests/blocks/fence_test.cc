// What a leader may rely on while orders of the leaders before it, or of its own, may still be carried out.
#include <gtest/gtest.h>

#include "tests/blocks/block_world.h"

namespace dfs::nn {
namespace {

const DatanodeId A(11), B(12), C(13), D(14);

void NewTerm(World& w, Term term) {
  w.node.Run([&] {
    w.blocks->OnLeadershipLost();
    w.blocks->OnLeading(term);
  });
}

// The deposed leader told A to drop its excess replica, and the order is still on its way. A block that is opened with
// A as its only member before A knows the new term would lose its bytes to it.
TEST(Fence, ABlockIsReopenedOnlyOnNodesThatKnowTheTerm) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A}, 1);
  w.silent = {A};
  NewTerm(w, 2);
  const auto members = [&] {
    return w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {});
  };
  EXPECT_TRUE(members().error().Is(Code::kUnavailable));
  EXPECT_GT(members().error().retry_after_ms(), 0);
  w.Run(20 * kSecond);
  EXPECT_TRUE(members().error().Is(Code::kUnavailable));  // however long it takes
  ASSERT_EQ(w.unanswered.size(), 1u);
  w.silent.clear();
  w.node.Run([&] { std::exchange(w.unanswered, {})[0](Status()); });
  ASSERT_TRUE(members().ok());
  EXPECT_EQ(*members(), std::vector<DatanodeId>{A});
}

TEST(Fence, ANodeThatIsSlowToAnswerIsWaitedForAndThenLeftOut) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B}, 2);
  w.silent = {A};
  NewTerm(w, 2);
  w.Run(kSecond);
  const auto members = [&] {
    return w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {});
  };
  EXPECT_TRUE(members().error().Is(Code::kUnavailable));
  w.Run(2 * kSecond);
  ASSERT_TRUE(members().ok());
  EXPECT_EQ(*members(), std::vector<DatanodeId>{B});
}

// Two leaders in turn trim one replica each of a block with one to spare: the second one's picture was drawn before the
// first one's order was carried out.
TEST(Fence, AReportFromBeforeTheFenceDropsNoExcess) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A}, 1);
  w.disks[B][b.block] = w.disks[A][b.block];
  w.Report(B);
  w.silent = {A};
  NewTerm(w, 2);
  w.Run(kSecond);
  w.Report(A);  // not asked for: it says what A had before it knew the term
  w.Run(30 * kSecond);
  EXPECT_TRUE(w.deletions.empty());
  w.disks[A].erase(b.block);  // the order of term 1 arrives
  w.silent.clear();
  w.node.Run([&] { std::exchange(w.unanswered, {})[0](Status()); });
  w.Run(30 * kSecond);
  EXPECT_TRUE(w.deletions.empty());
  EXPECT_EQ(w.Readable(b.block), std::vector<DatanodeId>{B});
}

// The same within a term: nobody answered to the order, so nobody knows whether it will be carried out.
TEST(Fence, AfterAnOrderThatFailedTheNodeIsFencedAnew) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A, B}, 1);
  w.silent = {A, B};
  w.Run(15 * kSecond);
  ASSERT_EQ(w.unanswered.size(), 1u);  // one of them is to drop it
  w.node.Run(
      [&] { std::exchange(w.unanswered, {})[0](Status(Code::kTimedOut, "no answer in time")); });
  // It still has its replica, says so, and is not believed.
  w.Run(kSecond);
  for (DatanodeId id : {A, B}) w.Report(id);
  auto members = w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {});
  EXPECT_TRUE(members.error().Is(Code::kUnavailable));
  w.Run(3 * kSecond);
  members = w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {});
  ASSERT_TRUE(members.ok());
  EXPECT_EQ(members->size(), 1u);
  // Nor is it fenced because it registers anew: the order may wait within it.
  for (DatanodeId id : {A, B}) w.Join(id);
  members = w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {});
  EXPECT_TRUE(members.error().Is(Code::kUnavailable));
}

TEST(Fence, ANodeThatKnewTheTermBeforeIsFencedWhenItComes) {
  World w;
  for (DatanodeId id : {A, B}) w.Join(id);
  OpenBlockResult b = w.Closed("f", {A}, 1);
  w.silent = {A};
  w.Join(A);  // its process was started anew
  EXPECT_TRUE(w.blocks->MembersToReopen(b.block, w.Record(b.block), "", {}).ok());
  EXPECT_TRUE(w.unanswered.empty());
}

}  // namespace
}  // namespace dfs::nn
