#include "common/wire/packet.h"

#include <gtest/gtest.h>

#include <string>

namespace dfs::wire {
namespace {

std::string Bytes(size_t size, uint64_t seed) {
  std::string s(size, '\0');
  uint64_t x = seed * 0x9E3779B97F4A7C15ull + 1;
  for (char& c : s) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    c = static_cast<char>(x);
  }
  return s;
}

Buffer Join(const std::vector<Buffer>& parts) {
  std::string all;
  for (const Buffer& part : parts) all.append(part.view());
  return Buffer(std::move(all));
}

PacketHeader DataHeader(uint64_t offset) {
  PacketHeader h;
  h.seq = 7;
  h.stamp = 1001;
  h.offset = offset;
  h.length = offset + 5;
  return h;
}

TEST(PacketTest, RoundTrip) {
  const std::string data = Bytes(10'000, 1);
  PacketHeader h = DataHeader(4000);
  h.flags = kPacketSync | kPacketLast;
  const auto sums = RangeSums(h.offset, data);
  auto packet = ParsePacket(Join(BuildPacket(h, sums, Buffer::Copy(data))));
  ASSERT_TRUE(packet.ok()) << packet.error().ToString();
  EXPECT_EQ(packet->data.view(), data);
  EXPECT_EQ(packet->SumVector(), sums);
  EXPECT_EQ(packet->header.offset, 4000u);
  EXPECT_EQ(packet->header.data_length, 10'000u);
  EXPECT_TRUE(packet->header.sync());
  EXPECT_TRUE(packet->header.last());
}

TEST(PacketTest, EveryFieldSurvives) {
  PacketHeader h;
  h.kind = PacketKind::kAck;
  h.seq = 0x1122334455667788;
  h.stamp = 0x99AABBCCDDEEFF00;
  h.offset = 12345;
  h.length = 67890;
  h.detail = 0xFEDCBA9876543210;
  h.code = Code::kNoSpace;
  auto packet = ParsePacket(Join(BuildPacket(h, std::vector<uint64_t>{}, Buffer())));
  ASSERT_TRUE(packet.ok());
  EXPECT_EQ(packet->header, h);
}

// The layout is a contract with other programs: fixed bytes for a fixed header.
TEST(PacketTest, LayoutIsFixed) {
  PacketHeader h;
  h.kind = PacketKind::kReadEnd;
  h.seq = 1;
  h.stamp = 2;
  h.offset = 3;
  h.length = 4;
  h.detail = 5;
  h.code = Code::kCorrupt;
  char out[kPacketHeaderSize];
  EncodePacketHeader(h, out);
  EXPECT_EQ(std::string_view(out, 4), "DPK1");
  EXPECT_EQ(out[4], 4);
  EXPECT_EQ(out[8], 1);
  EXPECT_EQ(out[16], 2);
  EXPECT_EQ(out[24], 3);
  EXPECT_EQ(out[40], 4);
  EXPECT_EQ(out[48], 5);
  EXPECT_EQ(out[56], 41);
}

TEST(PacketTest, SumsOfRange) {
  EXPECT_EQ(SumsOfRange(0, 0), 0u);
  EXPECT_EQ(SumsOfRange(4095, 1), 1u);
  EXPECT_EQ(SumsOfRange(4095, 2), 2u);
  EXPECT_EQ(SumsOfRange(4096, 4096), 1u);
  EXPECT_EQ(SumsOfRange(1, kMaxPacketData), kMaxPacketData / kChunkSize + 1);
}

TEST(PacketTest, RangeSumsCoverThePiecesOfEachChunk) {
  const std::string data = Bytes(9000, 2);
  const auto sums = RangeSums(4090, data);
  ASSERT_EQ(sums.size(), 4u);
  EXPECT_EQ(sums[0], ChunkSum(std::string_view(data).substr(0, 6)));
  EXPECT_EQ(sums[1], ChunkSum(std::string_view(data).substr(6, 4096)));
  EXPECT_EQ(sums[3], ChunkSum(std::string_view(data).substr(6 + 8192)));
  EXPECT_TRUE(VerifyRangeSums(4090, data, sums.data(), sums.size()).ok());
  std::string bad = data;
  bad[5000] = static_cast<char>(bad[5000] ^ 1);
  EXPECT_TRUE(VerifyRangeSums(4090, bad, sums.data(), sums.size()).Is(Code::kCorrupt));
  EXPECT_TRUE(VerifyRangeSums(4090, data, sums.data(), sums.size() - 1).Is(Code::kCorrupt));
}

TEST(PacketTest, RefusesWhatIsOutOfBounds) {
  const std::string data = Bytes(100, 3);
  const auto sums = RangeSums(0, data);
  auto parse = [&](PacketHeader h, std::vector<uint64_t> s, std::string d) {
    return ParsePacket(Join(BuildPacket(h, s, Buffer(std::move(d)))));
  };
  EXPECT_TRUE(parse(DataHeader(0), sums, data).ok());
  PacketHeader h = DataHeader(0);
  h.seq = 0;
  EXPECT_FALSE(parse(h, sums, data).ok());
  h = DataHeader(0);
  h.flags = 4;
  EXPECT_FALSE(parse(h, sums, data).ok());
  h = DataHeader(kMaxBlockLength);
  h.length = 0;
  EXPECT_FALSE(parse(h, sums, data).ok());
  h = DataHeader(~uint64_t{0});
  h.length = 0;
  EXPECT_FALSE(parse(h, sums, data).ok());
  EXPECT_FALSE(parse(DataHeader(0), {1, 2}, data).ok());
  EXPECT_FALSE(parse(DataHeader(0), {}, "").ok()) << "a data packet that asks for nothing";
  EXPECT_FALSE(parse(DataHeader(0), RangeSums(0, std::string(kMaxPacketData + 1, 'x')),
                     std::string(kMaxPacketData + 1, 'x'))
                   .ok());
  h = DataHeader(0);
  h.kind = PacketKind::kAck;
  EXPECT_FALSE(parse(h, sums, data).ok()) << "an ack with data";
  h.kind = static_cast<PacketKind>(77);
  EXPECT_FALSE(parse(h, {}, "").ok());
  h = PacketHeader();
  h.kind = PacketKind::kReadData;
  EXPECT_TRUE(parse(h, std::vector<uint64_t>(kMaxSumsOnly, 1), "").ok());
  EXPECT_FALSE(parse(h, std::vector<uint64_t>(kMaxSumsOnly + 1, 1), "").ok());
}

TEST(PacketTest, EveryFlippedBitOfTheHeaderIsSeen) {
  const std::string data = Bytes(100, 4);
  const std::string good(
      Join(BuildPacket(DataHeader(0), RangeSums(0, data), Buffer::Copy(data))).view());
  for (size_t bit = 0; bit < kPacketHeaderSize * 8; bit++) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(ParsePacket(Buffer(bad)).ok()) << "bit " << bit;
  }
  for (size_t size = 0; size < good.size(); size++) {
    EXPECT_FALSE(ParsePacket(Buffer(good.substr(0, size))).ok()) << "cut at " << size;
  }
  EXPECT_FALSE(ParsePacket(Buffer(good + "x")).ok());
}

// Random bytes, and headers with a right sum around random fields: never a crash, and whatever is
// accepted fits its payload.
TEST(PacketFuzzTest, RandomInput) {
  uint64_t x = 88172645463325252ull;
  auto next = [&] {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    return x;
  };
  int accepted = 0;
  for (int round = 0; round < 200'000; round++) {
    std::string bytes = Bytes(next() % 400, next());
    if (bytes.size() >= kPacketHeaderSize && next() % 4 != 0) {
      PacketHeader h;
      h.kind = static_cast<PacketKind>(next() % 7);
      h.flags = static_cast<uint16_t>(next() % 5);
      h.seq = next() % 3;
      h.offset = next() % 2 ? next() % 10'000 : next();
      h.sum_count = static_cast<uint32_t>(next() % 3);
      h.length = next() % 2 ? 0 : next();
      h.data_length =
          next() % 8 == 0
              ? static_cast<uint32_t>(next())
              : static_cast<uint32_t>(bytes.size() - kPacketHeaderSize - h.sum_count * 8);
      EncodePacketHeader(h, bytes.data());
    }
    const Buffer payload(std::move(bytes));
    auto packet = ParsePacket(payload);
    if (!packet.ok()) continue;
    accepted++;
    ASSERT_EQ(packet->data.size(), packet->header.data_length);
    ASSERT_EQ(packet->sums.size(), packet->header.sum_count * 8u);
    ASSERT_EQ(payload.size(), kPacketHeaderSize + packet->sums.size() + packet->data.size());
  }
  EXPECT_GT(accepted, 100) << "the fuzz loop must also reach accepted packets";
}

}  // namespace
}  // namespace dfs::wire
