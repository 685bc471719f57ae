#include "datanode/transfer/chain_member.h"

#include <gtest/gtest.h>

#include "common/base/defects.h"
#include "common/base/random.h"

namespace dfs::dn {
namespace {

wire::PacketHeader Packet(uint64_t seq, uint16_t flags = 0) {
  wire::PacketHeader header;
  header.seq = seq;
  header.stamp = 10;
  header.flags = flags;
  header.data_length = 1;
  return header;
}

ChainMember Middle() {
  return ChainMember({DatanodeId(1), DatanodeId(2), Stamp(10)});
}
ChainMember Tail() {
  return ChainMember({DatanodeId(1), DatanodeId(), Stamp(10)});
}

TEST(ChainMemberTest, AcknowledgesWhenStoredHereAndNext) {
  ChainMember m = Middle();
  ASSERT_TRUE(m.OnPacket(Packet(1)).ok());
  EXPECT_FALSE(m.TakeAck());
  m.OnStored(1, 100);
  EXPECT_FALSE(m.TakeAck()) << "the next member has not";
  m.OnNextAck(1, Code::kOk, DatanodeId());
  auto ack = m.TakeAck();
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->seq, 1u);
  EXPECT_EQ(ack->length, 100u);
  EXPECT_FALSE(m.TakeAck());
  ASSERT_TRUE(m.OnPacket(Packet(2)).ok());
  m.OnNextAck(2, Code::kOk, DatanodeId());
  EXPECT_FALSE(m.TakeAck()) << "not stored here";
  m.OnStored(2, 200);
  EXPECT_EQ(m.TakeAck()->seq, 2u);
}

TEST(ChainMemberTest, SyncWaitsForTheDisk) {
  ChainMember m = Tail();
  ASSERT_TRUE(m.OnPacket(Packet(1)).ok());
  ASSERT_TRUE(m.OnPacket(Packet(2, wire::kPacketSync)).ok());
  ASSERT_TRUE(m.OnPacket(Packet(3)).ok());
  m.OnStored(1, 1);
  EXPECT_EQ(m.sync_wanted(), 0u);
  m.OnStored(2, 2);
  m.OnStored(3, 3);
  EXPECT_EQ(m.sync_wanted(), 2u);
  EXPECT_EQ(m.TakeAck()->seq, 1u) << "in order: 3 waits behind 2";
  m.OnSynced(3);
  EXPECT_EQ(m.sync_wanted(), 0u);
  EXPECT_EQ(m.TakeAck()->seq, 3u);
}

TEST(ChainMemberTest, LastEndsTheStream) {
  ChainMember m = Tail();
  ASSERT_TRUE(m.OnPacket(Packet(1, wire::kPacketLast)).ok());
  m.OnStored(1, 5);
  auto ack = m.TakeAck();
  ASSERT_TRUE(ack);
  EXPECT_TRUE(ack->last);
  EXPECT_TRUE(m.finished());
  EXPECT_FALSE(m.OnPacket(Packet(2)).ok());
  EXPECT_FALSE(m.failed()) << "what ended well stays so";
}

TEST(ChainMemberTest, NamesWhoIsAtFault) {
  ChainMember m = Middle();
  ASSERT_TRUE(m.OnPacket(Packet(1)).ok());
  m.OnStored(1, 5);
  m.OnNextAck(0, Code::kNoSpace, DatanodeId(3));
  auto ack = m.TakeAck();
  ASSERT_TRUE(ack);
  EXPECT_EQ(ack->code, Code::kNoSpace);
  EXPECT_EQ(ack->at_fault, DatanodeId(3)) << "further down, as the next member says";
  EXPECT_FALSE(m.TakeAck()) << "nothing follows an error";

  ChainMember lost = Middle();
  lost.OnNextLost(Status(Code::kUnavailable, "gone"));
  EXPECT_EQ(lost.TakeAck()->at_fault, DatanodeId(2));

  ChainMember own = Middle();
  own.OnLocalError(Status(Code::kIoError, "disk"));
  EXPECT_EQ(own.TakeAck()->at_fault, DatanodeId(1));
}

TEST(ChainMemberTest, RefusesWhatIsOutOfOrder) {
  for (auto bad : {Packet(2), Packet(0)}) {
    ChainMember m = Tail();
    EXPECT_FALSE(m.OnPacket(bad).ok());
    EXPECT_TRUE(m.failed());
  }
  ChainMember m = Tail();
  auto other_stamp = Packet(1);
  other_stamp.stamp = 9;
  EXPECT_TRUE(m.OnPacket(other_stamp).Is(Code::kStaleStamp));
  ChainMember flooded = Tail();
  for (uint64_t seq = 1; seq <= wire::kMaxPacketsInFlight; seq++) {
    ASSERT_TRUE(flooded.OnPacket(Packet(seq)).ok());
  }
  EXPECT_TRUE(flooded.OnPacket(Packet(wire::kMaxPacketsInFlight + 1)).Is(Code::kProtocol));
  ChainMember lying_next = Middle();
  lying_next.OnNextAck(7, Code::kOk, DatanodeId());
  EXPECT_EQ(lying_next.TakeAck()->at_fault, DatanodeId(2)) << "acknowledged what was never sent";
}

// Whatever the order of events: nothing is acknowledged that is not stored, synced and acknowledged behind.
int Violations(uint64_t seed) {
  Random random(seed);
  ChainMember m = Middle();
  uint64_t received = 0, stored = 0, synced = 0, next = 0, acked = 0;
  std::vector<bool> sync_flag{false};
  int violations = 0;
  for (int step = 0; step < 300; step++) {
    switch (random.Uniform(5)) {
      case 0: {
        if (received - acked >= 60) break;
        const bool sync = random.OneIn(3);
        EXPECT_TRUE(m.OnPacket(Packet(++received, sync ? wire::kPacketSync : 0)).ok());
        sync_flag.push_back(sync);
        break;
      }
      case 1:
        if (stored < received) {
          stored++;
          m.OnStored(stored, stored);
        }
        break;
      case 2:
        m.OnSynced(synced = stored);
        break;
      case 3:
        if (next < received)
          m.OnNextAck(next += 1 + random.Uniform(received - next), Code::kOk, {});
        break;
      default:
        if (auto ack = m.TakeAck()) {
          EXPECT_GT(ack->seq, acked);
          for (uint64_t s = acked + 1; s <= ack->seq; s++) {
            violations += s > stored || s > next || (sync_flag[s] && s > synced);
          }
          acked = ack->seq;
        }
    }
  }
  return violations;
}

TEST(ChainMemberTest, RandomEvents) {
  for (uint64_t seed = 1; seed < 500; seed++) ASSERT_EQ(Violations(seed), 0) << seed;
  SetDefect(Defect::kAckBeforeAllMembers, true);
  int seen = 0;
  for (uint64_t seed = 1; seed < 20; seed++) seen += Violations(seed);
  SetDefect(Defect::kAckBeforeAllMembers, false);
  EXPECT_GT(seen, 0) << "the check sees the defect";
}

}  // namespace
}  // namespace dfs::dn
