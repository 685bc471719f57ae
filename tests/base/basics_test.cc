#include <gtest/gtest.h>

#include <set>

#include "common/base/check.h"
#include "common/base/clock.h"
#include "common/base/codec.h"
#include "common/base/defects.h"
#include "common/base/logging.h"
#include "common/base/random.h"
#include "common/base/status.h"
#include "common/base/worker.h"

namespace dfs {
namespace {

TEST(Clock, BothGoOn) {
  const Clock& clock = SystemClock();
  const int64_t a = clock.BootNs();
  const int64_t b = clock.BootNs();
  EXPECT_GT(a, 0);
  EXPECT_LE(a, b);
  EXPECT_GT(clock.WallNs(), 1'600'000'000 * kSecond);
}

TEST(Random, SameSeedSameNumbers) {
  Random a(7);
  Random b(7);
  Random c(8);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const uint64_t x = a.Next();
    EXPECT_EQ(x, b.Next());
    differs |= x != c.Next();
  }
  EXPECT_TRUE(differs);
}

TEST(Random, UniformStaysInBoundAndReachesAll) {
  Random random(1);
  std::set<uint64_t> seen;
  for (int i = 0; i < 1000; ++i) {
    const uint64_t x = random.Uniform(7);
    ASSERT_LT(x, 7u);
    seen.insert(x);
  }
  EXPECT_EQ(seen.size(), 7u);
  EXPECT_EQ(random.Uniform(1), 0u);
  for (int i = 0; i < 1000; ++i) {
    const int64_t x = random.Between(-3, 3);
    ASSERT_GE(x, -3);
    ASSERT_LE(x, 3);
  }
  random.Between(INT64_MIN, INT64_MAX);
  int heads = 0;
  for (int i = 0; i < 10'000; ++i) heads += random.Chance(1, 4) ? 1 : 0;
  EXPECT_NEAR(heads, 2500, 250);
}

TEST(Random, SystemSeedsDiffer) {
  EXPECT_NE(Random::FromSystem().Next(), Random::FromSystem().Next());
}

TEST(Logging, PrintableEscapesWhatForges) {
  EXPECT_EQ(Printable("plain name"), "plain name");
  EXPECT_EQ(Printable("a\nb"), "a\\x0ab");
  EXPECT_EQ(Printable("\x1b[31m"), "\\x1b[31m");
  EXPECT_EQ(Printable("\x7f"), "\\x7f");
  EXPECT_EQ(Printable("Grüße €"), "Grüße €");
  EXPECT_EQ(Printable("\xf0\x9f\x98\x80"), "\xf0\x9f\x98\x80");
  EXPECT_EQ(Printable("\xc3"), "\\xc3");                    // cut
  EXPECT_EQ(Printable("\xc0\xaf"), "\\xc0\\xaf");           // overlong
  EXPECT_EQ(Printable("\xed\xa0\x80"), "\\xed\\xa0\\x80");  // surrogate
  EXPECT_EQ(Printable("\xc2\x85"), "\\xc2\\x85");           // C1 control
  EXPECT_EQ(Printable("\xe2\x80\xae"
                      "x"),
            "\\xe2\\x80\\xaex");  // right-to-left override
  EXPECT_EQ(Printable(std::string_view("\0", 1)), "\\x00");
}

TEST(Logging, Levels) {
  LogLevel level = LogLevel::kInfo;
  EXPECT_TRUE(ParseLogLevel("error", &level));
  EXPECT_EQ(level, LogLevel::kError);
  EXPECT_FALSE(ParseLogLevel("loud", &level));
  EXPECT_EQ(level, LogLevel::kError);
  SetLogLevel(LogLevel::kWarning);
  EXPECT_FALSE(LogEnabled(LogLevel::kInfo));
  EXPECT_TRUE(LogEnabled(LogLevel::kError));
  SetLogLevel(LogLevel::kInfo);
}

TEST(Logging, LineHasTimeLevelNameAndText) {
  SetLogName("namenode-7");
  testing::internal::CaptureStderr();
  LogWarning("became leader of term {}", 12);
  const std::string line = testing::internal::GetCapturedStderr();
  SetLogName("");
  EXPECT_NE(line.find(" W namenode-7: became leader of term 12\n"), std::string::npos) << line;
  EXPECT_EQ(line.find("T"), 10u) << line;  // 2026-01-31T...
}

TEST(Worker, DoesOneTaskAtATimeAndIsWaitedFor) {
  std::vector<int> done;  // no lock: what a task did is seen after Wait
  std::unique_ptr<Worker> worker = NewThreadWorker("test");
  EXPECT_FALSE(worker->busy());
  for (int i = 0; i < 100; ++i) {
    worker->Start([&done, i] { done.push_back(i); });
    worker->Wait();
    ASSERT_FALSE(worker->busy());
    ASSERT_EQ(done.size(), static_cast<size_t>(i) + 1);
  }
  worker->Start([&done] { done.push_back(100); });
  worker = nullptr;
  EXPECT_EQ(done.back(), 100);
}

TEST(Check, HandlerSeesTheFailure) {
  SetCheckFailureHandler([](const char*, int, const std::string& message) { throw message; });
  const int one = 1;
  try {
    DFS_CHECK(one == 2, "one is {}", one);
    FAIL();
  } catch (const std::string& message) {
    EXPECT_EQ(message, "check failed: one == 2 (one is 1)");
  }
  SetCheckFailureHandler(nullptr);
  DFS_CHECK(one == 1);
  EXPECT_DEATH(DFS_CHECK(one == 3), "check failed: one == 3");
}

TEST(Defects, SwitchedOneByOneAndNamed) {
  std::set<std::string> names;
  for (int i = 0; i < static_cast<int>(Defect::kCount); ++i) {
    const auto d = static_cast<Defect>(i);
    EXPECT_FALSE(DefectOn(d));
    SetDefect(d, true);
    EXPECT_TRUE(DefectOn(d));
    SetDefect(d, false);
    EXPECT_FALSE(DefectOn(d));
    names.insert(DefectName(d));
  }
  EXPECT_EQ(names.size(), static_cast<size_t>(Defect::kCount));
  EXPECT_FALSE(names.contains("unknown"));
}

TEST(Codec, RoundTripAndBounds) {
  std::string bytes;
  Encoder out(&bytes);
  out.U8(200);
  out.U16(60'000);
  out.U32(4'000'000'000u);
  out.U64(UINT64_MAX);
  out.I64(-5);
  out.Bool(true);
  out.Varint(300);
  out.Varint(UINT64_MAX);
  out.Bytes("hello");
  out.Id(InodeId(77));
  {
    Decoder in(bytes);
    EXPECT_EQ(in.U8(), 200);
    EXPECT_EQ(in.U16(), 60'000);
    EXPECT_EQ(in.U32(), 4'000'000'000u);
    EXPECT_EQ(in.U64(), UINT64_MAX);
    EXPECT_EQ(in.I64(), -5);
    EXPECT_TRUE(in.Bool());
    EXPECT_EQ(in.Varint(), 300u);
    EXPECT_EQ(in.Varint(), UINT64_MAX);
    EXPECT_EQ(in.Bytes(), "hello");
    EXPECT_EQ(in.Id<InodeId>(), InodeId(77));
    EXPECT_TRUE(in.done());
  }
  for (size_t cut = 0; cut < bytes.size(); ++cut) {
    Decoder in(std::string_view(bytes).substr(0, cut));
    in.U8(), in.U16(), in.U32(), in.U64(), in.I64(), in.Bool();
    in.Varint(), in.Varint(), in.Bytes(), in.Id<InodeId>();
    EXPECT_FALSE(in.ok()) << cut;
  }
}

TEST(Codec, RefusesImpossibleCountsAndVarints) {
  std::string bytes;
  Encoder(&bytes).Varint(1'000'000);
  Decoder count(bytes);
  EXPECT_EQ(count.Count(8), 0u);
  EXPECT_FALSE(count.ok());
  const std::string overlong(11, '\xff');
  Decoder varint(overlong);
  varint.Varint();
  EXPECT_FALSE(varint.ok());
}

}  // namespace
}  // namespace dfs
