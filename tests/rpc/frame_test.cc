#include "common/rpc/frame.h"

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "common/base/random.h"
#include "common/rpc/buffer_pool.h"
#include "common/rpc/out_queue.h"

namespace dfs::rpc {
namespace {

struct Frame {
  FrameHeader header;
  std::string payload;
};

FrameHeader Header(Random& random) {
  FrameHeader h;
  h.type = static_cast<FrameType>(random.Between(1, 5));
  h.method = static_cast<uint16_t>(random.Next());
  h.flags = static_cast<uint32_t>(random.Next());
  h.request_id = random.Next();
  h.timeout_ms = static_cast<uint32_t>(random.Next());
  h.applied_index = random.Next();
  return h;
}

std::string Encode(const FrameHeader& header, std::string_view payload) {
  std::string out(kFrameHeaderSize, '\0');
  EncodeFrameHeader(header, static_cast<uint32_t>(payload.size()), out.data());
  out.append(payload);
  return out;
}

void ExpectEqual(const FrameHeader& a, const FrameHeader& b) {
  EXPECT_EQ(a.type, b.type);
  EXPECT_EQ(a.method, b.method);
  EXPECT_EQ(a.flags, b.flags);
  EXPECT_EQ(a.request_id, b.request_id);
  EXPECT_EQ(a.timeout_ms, b.timeout_ms);
  EXPECT_EQ(a.applied_index, b.applied_index);
}

TEST(FrameHeader, LayoutIsStable) {
  FrameHeader h;
  h.type = FrameType::kReply;
  h.method = 0x1234;
  h.flags = 0x01020304;
  h.request_id = 0x1122334455667788;
  h.timeout_ms = 5000;
  h.applied_index = 9;
  std::string bytes = Encode(h, "");
  EXPECT_EQ(bytes.substr(0, 4), "DRF1");
  EXPECT_EQ(bytes[4], 1);
  EXPECT_EQ(bytes[5], 2);
  EXPECT_EQ(static_cast<uint8_t>(bytes[6]), 0x34);
  EXPECT_EQ(static_cast<uint8_t>(bytes[16]), 0x88);
}

TEST(FrameHeader, EveryFlippedBitIsNoticed) {
  Random random(1);
  std::string good = Encode(Header(random), "abc").substr(0, kFrameHeaderSize);
  FrameHeader h;
  uint32_t size = 0;
  ASSERT_TRUE(DecodeFrameHeader(good.data(), &h, &size).ok());
  EXPECT_EQ(size, 3u);
  for (size_t bit = 0; bit < kFrameHeaderSize * 8; ++bit) {
    std::string bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_EQ(DecodeFrameHeader(bad.data(), &h, &size).code(), Code::kProtocol) << "bit " << bit;
  }
}

TEST(FrameHeader, OversizeAndUnknownAreRefusedThoughTheSumIsRight) {
  FrameHeader h;
  uint32_t size = 0;
  std::string bytes(kFrameHeaderSize, '\0');
  EncodeFrameHeader(h, kMaxPayload + 1, bytes.data());
  EXPECT_EQ(DecodeFrameHeader(bytes.data(), &h, &size).code(), Code::kProtocol);
  FrameHeader strange;
  strange.type = static_cast<FrameType>(6);
  EncodeFrameHeader(strange, 0, bytes.data());
  EXPECT_EQ(DecodeFrameHeader(bytes.data(), &h, &size).code(), Code::kProtocol);
  // And nothing is taken from the budget for it.
  EncodeFrameHeader(FrameHeader(), UINT32_MAX, bytes.data());
  FrameParser parser;
  Result<size_t> fed = parser.Feed(bytes, [](const FrameHeader&, Buffer) { return true; });
  EXPECT_FALSE(fed);
  EXPECT_EQ(ReceiveBudget::used_bytes(), 0u);
}

TEST(FrameParser, FindsTheFramesHoweverTheBytesAreCut) {
  for (uint64_t seed = 1; seed <= 60; ++seed) {
    Random random(seed);
    std::vector<Frame> frames;
    std::string stream;
    for (int i = 0; i < 20; ++i) {
      size_t limit = random.OneIn(4) ? 100'000 : 60;
      Frame frame{Header(random), std::string(random.Uniform(limit), '\0')};
      for (char& c : frame.payload) c = static_cast<char>(random.Next());
      stream += Encode(frame.header, frame.payload);
      frames.push_back(std::move(frame));
    }
    FrameParser parser;
    size_t found = 0;
    auto on_frame = [&](const FrameHeader& header, Buffer payload) {
      ExpectEqual(header, frames.at(found).header);
      EXPECT_EQ(payload.view(), frames.at(found).payload);
      ++found;
      return !random.OneIn(3);  // now and then: not now
    };
    size_t at = 0;
    while (at < stream.size() || parser.partial()) {
      size_t piece =
          std::min(stream.size() - at, size_t{1} + random.Uniform(random.OneIn(2) ? 50'000 : 50));
      auto [direct, direct_size] = parser.direct_space();
      if (direct_size > 0 && random.OneIn(2)) {
        size_t n = std::min(piece, direct_size);
        std::memcpy(direct, stream.data() + at, n);
        parser.DirectDone(n);
        at += n;
        piece = 0;
      }
      Result<size_t> taken = parser.Feed(std::string_view(stream).substr(at, piece), on_frame);
      ASSERT_TRUE(taken) << taken.error().ToString();
      at += *taken;
    }
    EXPECT_EQ(found, frames.size()) << "seed " << seed;
    EXPECT_EQ(ReceiveBudget::used_bytes(), 0u);
  }
}

TEST(FrameParser, RandomBytesNeverBecomeFrames) {
  for (uint64_t seed = 1; seed <= 2000; ++seed) {
    Random random(seed);
    std::string bytes(random.Uniform(400), '\0');
    for (char& c : bytes) c = static_cast<char>(random.Next());
    if (random.OneIn(2)) bytes = Encode(Header(random), "ok").substr(0, random.Uniform(45)) + bytes;
    FrameParser parser;
    int frames = 0;
    Result<size_t> fed =
        parser.Feed(bytes, [&](const FrameHeader&, Buffer) { return ++frames > 0; });
    EXPECT_LE(frames, 1);
    EXPECT_TRUE(fed.ok() || fed.error().Is(Code::kProtocol));
  }
  EXPECT_EQ(ReceiveBudget::used_bytes(), 0u);
}

TEST(FrameParser, WaitsForTheBudgetAndGivesItBack) {
  ASSERT_TRUE(ReceiveBudget::TryTake(ReceiveBudget::kLimitBytes));
  std::string payload(100'000, 'p');
  std::string bytes = Encode(FrameHeader(), payload);
  FrameParser parser;
  std::string got;
  auto on_frame = [&](const FrameHeader&, Buffer b) {
    got = std::string(b.view());
    return true;
  };
  Result<size_t> taken = parser.Feed(bytes, on_frame);
  ASSERT_TRUE(taken);
  EXPECT_EQ(*taken, kFrameHeaderSize);
  EXPECT_TRUE(parser.blocked());
  ReceiveBudget::Release(ReceiveBudget::kLimitBytes);
  taken = parser.Feed(std::string_view(bytes).substr(*taken), on_frame);
  ASSERT_TRUE(taken);
  EXPECT_FALSE(parser.blocked());
  EXPECT_EQ(got, payload);
  EXPECT_EQ(ReceiveBudget::used_bytes(), 0u);
  {
    FrameParser half;
    ASSERT_TRUE(half.Feed(std::string_view(bytes).substr(0, 50'000), on_frame));
    EXPECT_EQ(ReceiveBudget::used_bytes(), payload.size());
  }
  EXPECT_EQ(ReceiveBudget::used_bytes(), 0u)
      << "a parser that goes in the middle gives its share back";
}

TEST(BufferPool, GivesMemoryOfEverySize) {
  for (size_t size :
       {size_t{1}, size_t{32768}, size_t{32769}, size_t{524352}, size_t{1} << 20, kMaxPayload}) {
    for (int i = 0; i < 3; ++i) {
      std::shared_ptr<char> memory = AllocatePayload(size);
      std::memset(memory.get(), i, size);
    }
  }
}

}  // namespace
}  // namespace dfs::rpc
