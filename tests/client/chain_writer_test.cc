// Transcripts of the chain writer, and a random run against a model of a chain.
#include "common/wire/chain_writer.h"

#include <gtest/gtest.h>

#include <map>

#include "common/base/random.h"
#include "common/wire/packet.h"

namespace dfs::wire {
namespace {

const DatanodeId kA{1}, kB{2}, kC{3};

Buffer Bytes(size_t n, char c = 'x') {
  return Buffer(std::string(n, c));
}

/// Sends whatever may be sent; the sequence numbers.
std::vector<uint64_t> SendAll(ChainWriter& w, int64_t now) {
  std::vector<uint64_t> sent;
  while (const ChainWriter::Packet* p = w.Next()) {
    sent.push_back(p->seq);
    w.OnSent(now);
  }
  return sent;
}

TEST(ChainWriter, AcksInOrderFreePackets) {
  ChainWriter w(0);
  EXPECT_EQ(w.Add(0, Bytes(100), 0), 1u);
  EXPECT_EQ(w.Add(100, Bytes(50), 0), 2u);
  EXPECT_EQ(w.Next(), nullptr) << "nothing is sent before a stream runs";
  w.Start({kA, kB, kC}, 7, 0);
  EXPECT_EQ(SendAll(w, 0), (std::vector<uint64_t>{1, 2}));
  EXPECT_EQ(w.unacked_bytes(), 150u);
  w.OnAck(1, 7, Code::kOk, {}, 1);
  EXPECT_EQ(w.acked(), 1u);
  EXPECT_EQ(w.acked_length(), 100u);
  w.OnAck(2, 7, Code::kOk, {}, 2);
  EXPECT_TRUE(w.idle());
  EXPECT_EQ(w.acked_length(), 150u);
  EXPECT_EQ(w.deadline_ns(), 0);
}

TEST(ChainWriter, AnAckCoversEveryEarlierPacket) {
  ChainWriter w(0);
  for (int i = 0; i < 5; ++i) w.Add(static_cast<uint64_t>(i) * 10, Bytes(10), 0);
  w.Start({kA}, 1, 0);
  SendAll(w, 0);
  w.OnAck(4, 1, Code::kOk, {}, 1);
  EXPECT_EQ(w.acked(), 4u);
  w.OnAck(2, 1, Code::kOk, {}, 1);  // a late one says nothing new
  EXPECT_EQ(w.acked(), 4u);
}

TEST(ChainWriter, TheWindowBoundsPacketsAndBytes) {
  ChainWriterLimits limits;
  limits.window_packets = 3;
  limits.window_bytes = 250;
  ChainWriter w(0, limits);
  for (int i = 0; i < 6; ++i) w.Add(static_cast<uint64_t>(i) * 100, Bytes(100), 0);
  w.Start({kA}, 1, 0);
  EXPECT_EQ(SendAll(w, 0), (std::vector<uint64_t>{1, 2})) << "250 bytes hold two of them";
  w.OnAck(1, 1, Code::kOk, {}, 1);
  EXPECT_EQ(SendAll(w, 1), (std::vector<uint64_t>{3}));
}

TEST(ChainWriter, SilenceBlamesTheFirstMember) {
  ChainWriter w(0);
  w.Start({kA, kB}, 1, 0);
  w.OnTick(100 * kSecond);
  EXPECT_FALSE(w.fault()) << "nothing is waited for";
  w.Add(0, Bytes(10), 0);
  SendAll(w, 100 * kSecond);
  EXPECT_EQ(w.deadline_ns(), 105 * kSecond);
  w.OnTick(104 * kSecond);
  EXPECT_FALSE(w.fault());
  w.OnTick(105 * kSecond);
  ASSERT_TRUE(w.fault());
  EXPECT_EQ(w.fault()->member, kA);
  EXPECT_EQ(w.fault()->code, Code::kTimedOut);
  EXPECT_EQ(w.Next(), nullptr);
}

TEST(ChainWriter, EverySignOfLifeMovesTheDeadline) {
  ChainWriter w(0);
  w.Start({kA}, 1, 0);
  w.Add(0, Bytes(10), 0);
  w.Add(10, Bytes(10), 0);
  SendAll(w, 0);
  w.OnAck(0, 1, Code::kOk, {}, 4 * kSecond);
  w.OnTick(8 * kSecond);
  EXPECT_FALSE(w.fault());
  EXPECT_EQ(w.deadline_ns(), 9 * kSecond);
}

TEST(ChainWriter, ASyncMayTakeLonger) {
  ChainWriter w(0);
  w.Start({kA}, 1, 0);
  w.Add(0, Bytes(10), kPacketSync);
  SendAll(w, 0);
  w.OnTick(29 * kSecond);
  EXPECT_FALSE(w.fault());
  w.OnTick(30 * kSecond);
  EXPECT_TRUE(w.fault());
}

TEST(ChainWriter, AnErrorNamesTheMemberAtFault) {
  ChainWriter w(0);
  w.Add(0, Bytes(10), 0);
  w.Start({kA, kB, kC}, 1, 0);
  SendAll(w, 0);
  w.OnAck(1, 1, Code::kIoError, kC, 1);
  ASSERT_TRUE(w.fault());
  EXPECT_EQ(w.fault()->member, kC);
  EXPECT_EQ(w.acked(), 0u) << "an error acknowledges nothing";
}

TEST(ChainWriter, ANameThatIsNoMemberFallsBackToTheFirst) {
  ChainWriter w(0);
  w.Add(0, Bytes(10), 0);
  w.Start({kA, kB}, 1, 0);
  SendAll(w, 0);
  w.OnAck(0, 1, Code::kIoError, DatanodeId(99), 1);
  ASSERT_TRUE(w.fault());
  EXPECT_EQ(w.fault()->member, kA);
}

TEST(ChainWriter, AnotherStampIsAFenceOrAStaleMember) {
  ChainWriter w(0);
  w.Add(0, Bytes(10), 0);
  w.Start({kA, kB}, 1, 0);
  SendAll(w, 0);
  w.OnAck(0, 1, Code::kStaleStamp, kB, 1);
  ASSERT_TRUE(w.fault());
  EXPECT_TRUE(w.fault()->fenced);
  EXPECT_EQ(w.fault()->member, kB) << "whether it may be excluded, the commit tells";
}

TEST(ChainWriter, AcksOfAnOlderStreamSayNothing) {
  ChainWriter w(0);
  w.Add(0, Bytes(10), 0);
  w.Start({kA, kB}, 1, 0);
  SendAll(w, 0);
  w.OnBroken(Status(Code::kClosed, "reset"));
  ASSERT_TRUE(w.fault());
  EXPECT_EQ(w.fault()->member, kA);
  w.OnAck(1, 1, Code::kOk, {}, 1);
  EXPECT_EQ(w.acked(), 0u) << "after a fault nothing counts before the new stamp";
  w.Start({kB}, 2, 2);
  EXPECT_EQ(SendAll(w, 2), (std::vector<uint64_t>{1}));
  w.OnAck(1, 1, Code::kOk, {}, 3);
  EXPECT_EQ(w.acked(), 0u);
  w.OnAck(1, 2, Code::kOk, {}, 3);
  EXPECT_EQ(w.acked(), 1u);
}

TEST(ChainWriter, ResendsWhatIsUnacknowledgedInOrderWithNewNumbers) {
  ChainWriter w(0);
  for (int i = 0; i < 4; ++i)
    w.Add(static_cast<uint64_t>(i) * 10, Bytes(10), i == 3 ? kPacketSync : 0);
  w.Start({kA, kB}, 1, 0);
  SendAll(w, 0);
  w.OnAck(2, 1, Code::kOk, {}, 1);
  w.OnAck(2, 1, Code::kUnavailable, kB, 1);
  ASSERT_TRUE(w.fault());
  w.Start({kA}, 2, 1);
  const ChainWriter::Packet* p = w.Next();
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p->seq, 1u);
  EXPECT_EQ(p->offset, 20u);
  w.OnSent(1);
  p = w.Next();
  ASSERT_NE(p, nullptr);
  EXPECT_EQ(p->seq, 2u);
  EXPECT_EQ(p->flags, kPacketSync);
  w.OnSent(1);
  w.OnAck(2, 2, Code::kOk, {}, 2);
  EXPECT_EQ(w.acked(), 4u) << "tickets go on over streams";
}

TEST(ChainWriter, AnAckOfWhatWasNotSentIsAFault) {
  ChainWriter w(0);
  w.Add(0, Bytes(10), 0);
  w.Start({kA}, 1, 0);
  SendAll(w, 0);
  w.OnAck(2, 1, Code::kOk, {}, 1);
  ASSERT_TRUE(w.fault());
  EXPECT_EQ(w.fault()->code, Code::kProtocol);
  EXPECT_EQ(w.acked(), 0u);
}

TEST(ChainWriter, DropUnsentKeepsWhatIsUnderWay) {
  ChainWriterLimits limits;
  limits.window_packets = 1;
  ChainWriter w(5, limits);
  w.Add(5, Bytes(10), 0);
  w.Add(15, Bytes(10), 0);
  w.Start({kA}, 1, 0);
  SendAll(w, 0);
  w.DropUnsent();
  EXPECT_EQ(w.added(), 1u);
  EXPECT_EQ(w.length(), 15u);
  EXPECT_EQ(w.unacked_bytes(), 10u);
}

TEST(ChainWriter, SumsCoverTheSentBytesOfEachChunk) {
  ChainWriter w(4090);
  w.Add(4090, Bytes(10), 0);
  w.Start({kA}, 1, 0);
  const ChainWriter::Packet* p = w.Next();
  ASSERT_NE(p, nullptr);
  ASSERT_EQ(p->sums.size(), 2u);
  EXPECT_EQ(p->sums[0], ChunkSum(std::string(6, 'x')));
  EXPECT_EQ(p->sums[1], ChunkSum(std::string(4, 'x')));
  EXPECT_EQ(p->length, 4100u);
}

/// A writer and a chain of members that lose bytes when they fail, driven at random.
class FaultyChain {
 public:
  explicit FaultyChain(uint64_t seed) : random_(seed), writer_(0, Limits(random_)) { Start(); }

  void Step() {
    ++now_;
    switch (random_.Uniform(5)) {
      case 0:
        Write();
        break;
      case 1:
      case 2:
        Send();
        break;
      case 3:
        Acknowledge(random_.Uniform(3));
        break;
      default:
        if (members_.size() > 1 && random_.OneIn(8)) FailOne();
        break;
    }
  }
  void Finish() {
    while (!writer_.idle()) {
      Send();
      ASSERT_FALSE(wire_.empty());
      Acknowledge(wire_.size());
    }
    EXPECT_EQ(writer_.length(), model_.size());
  }
  /// Every member has everything that is acknowledged; all of it, if nothing newer may have touched it.
  void Check() {
    const bool quiet = wire_.empty() && writer_.idle();
    for (uint64_t m : members_) {
      EXPECT_GE(data_[m].size(), writer_.acked_length());
      if (quiet) {
        EXPECT_EQ(data_[m], model_);
      }
    }
  }

 private:
  static ChainWriterLimits Limits(Random& random) {
    ChainWriterLimits limits;
    limits.window_packets = 1 + static_cast<uint32_t>(random.Uniform(6));
    return limits;
  }
  void Start() {
    std::vector<DatanodeId> ids(members_.begin(), members_.end());
    wire_.clear();
    writer_.Start(ids, stamp_, now_);
  }
  void Write() {
    const uint64_t offset = random_.Uniform(model_.size() + 1);
    const size_t n = 1 + random_.Uniform(64);
    const char c = static_cast<char>('a' + random_.Uniform(26));
    if (offset + n > model_.size()) model_.resize(offset + n);
    model_.replace(offset, n, std::string(n, c));
    writer_.Add(offset, Bytes(n, c), random_.OneIn(4) ? kPacketSync : 0);
  }
  void Send() {
    while (const ChainWriter::Packet* p = writer_.Next()) {
      wire_.push_back(*p);
      writer_.OnSent(now_);
    }
  }
  void Store(uint64_t member, const ChainWriter::Packet& p) {
    std::string& data = data_[member];
    ASSERT_LE(p.offset, data.size());
    if (p.offset + p.data.size() > data.size()) data.resize(p.offset + p.data.size());
    data.replace(p.offset, p.data.size(), p.data.view());
    EXPECT_GE(p.length, data.size());
  }
  /// The members take some packets and acknowledge the last of them.
  void Acknowledge(size_t packets) {
    uint64_t last = 0;
    for (; packets > 0 && !wire_.empty(); --packets) {
      for (uint64_t m : members_) Store(m, wire_.front());
      last = wire_.front().seq;
      wire_.pop_front();
    }
    if (last > 0) writer_.OnAck(last, stamp_, Code::kOk, {}, now_);
  }
  /// One member takes a packet that others do not, then one fails.
  void FailOne() {
    if (!wire_.empty()) Store(members_.front(), wire_.front());
    const size_t victim = random_.Uniform(members_.size());
    writer_.OnAck(0, stamp_, Code::kIoError, DatanodeId(members_[victim]), now_);
    ASSERT_TRUE(writer_.fault());
    members_.erase(members_.begin() + static_cast<ptrdiff_t>(victim));
    ++stamp_;
    Start();
  }

  Random random_;
  ChainWriter writer_;
  std::vector<uint64_t> members_{1, 2, 3};
  std::map<uint64_t, std::string> data_;  // by member
  std::string model_;
  std::deque<ChainWriter::Packet> wire_;  // sent, not yet applied at the members
  uint64_t stamp_ = 1;
  int64_t now_ = 0;
};

TEST(ChainWriter, RandomFaultsNeverLoseAnAcknowledgedByte) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE(seed);
    FaultyChain chain(seed);
    for (int step = 0; step < 400; ++step) {
      chain.Step();
      chain.Check();
    }
    chain.Finish();
    chain.Check();
    if (::testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace dfs::wire
