#include "common/raft/message.h"

#include <gtest/gtest.h>

#include "common/base/random.h"

namespace dfs::raft {
namespace {

Message Full() {
  Message m;
  m.type = MessageType::kAppend;
  m.from = NodeId(1);
  m.to = NodeId(2);
  m.term = 300;
  m.index = 70'000;
  m.log_term = 299;
  m.commit = 69'999;
  m.stamp = -5;
  m.context = 1ull << 60;
  for (LogIndex i = 1; i <= 3; ++i) {
    Entry e;
    e.index = m.index + i;
    e.term = 299 + i / 3;
    e.type = i == 1 ? EntryType::kNoop : EntryType::kCommand;
    if (i > 1) e.data = Buffer(std::string(i * 1000, 'd'));
    m.entries.push_back(e);
  }
  return m;
}

TEST(RaftMessageTest, SurvivesItsEncoding) {
  Message m = Full();
  auto d = DecodeMessage(EncodeMessage(m));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->type, m.type);
  EXPECT_EQ(d->from, m.from);
  EXPECT_EQ(d->to, m.to);
  EXPECT_EQ(d->term, m.term);
  EXPECT_EQ(d->index, m.index);
  EXPECT_EQ(d->log_term, m.log_term);
  EXPECT_EQ(d->commit, m.commit);
  EXPECT_EQ(d->stamp, m.stamp);
  EXPECT_EQ(d->context, m.context);
  ASSERT_EQ(d->entries.size(), 3u);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(d->entries[i].index, m.entries[i].index);
    EXPECT_EQ(d->entries[i].term, m.entries[i].term);
    EXPECT_EQ(d->entries[i].type, m.entries[i].type);
    EXPECT_EQ(d->entries[i].data.view(), m.entries[i].data.view());
  }
  Message r;
  r.type = MessageType::kAppendReply;
  r.from = NodeId(3);
  r.to = NodeId(1);
  r.reject = true;
  r.hint = 12;
  d = DecodeMessage(EncodeMessage(r));
  ASSERT_TRUE(d);
  EXPECT_TRUE(d->reject);
  EXPECT_EQ(d->hint, 12u);
  Message s;
  s.type = MessageType::kInstallSnapshot;
  s.from = NodeId(3);
  s.to = NodeId(1);
  s.snapshot = {55, 4, {}};
  s.snapshot.configuration.voters = {NodeId(1), NodeId(3)};
  s.snapshot.configuration.old_voters = {NodeId(2), NodeId(3)};
  s.snapshot.configuration.learners = {NodeId(9)};
  d = DecodeMessage(EncodeMessage(s));
  ASSERT_TRUE(d);
  EXPECT_EQ(d->snapshot.index, 55u);
  EXPECT_EQ(d->snapshot.configuration, s.snapshot.configuration);
}

TEST(RaftMessageTest, TruncatedInputIsRefused) {
  std::string whole(EncodeMessage(Full()).view());
  for (size_t n = 0; n < whole.size(); n = n < 100 ? n + 1 : n + 97) {
    EXPECT_FALSE(DecodeMessage(Buffer(whole.substr(0, n)))) << n;
  }
  EXPECT_FALSE(DecodeMessage(Buffer(whole + "x")));
}

TEST(RaftMessageTest, RandomInputNeverHurts) {
  Random random(11);
  std::string whole(EncodeMessage(Full()).view());
  for (int i = 0; i < 20'000; ++i) {
    std::string bytes = whole.substr(0, 40 + random.Uniform(60));
    for (uint64_t k = 1 + random.Uniform(6); k > 0; --k) {
      bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next());
    }
    auto d = DecodeMessage(Buffer(bytes));
    if (d) {
      EXPECT_LE(d->entries.size(), bytes.size());
    }
  }
}

}  // namespace
}  // namespace dfs::raft
