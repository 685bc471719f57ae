// The pure parts of the command line: sizes, modes, quoting, tables, paths.
#include "tools/cli/text.h"

#include <gtest/gtest.h>

namespace dfs::cli {
namespace {

uint64_t SizeOf(std::string_view text) {
  uint64_t out = 0;
  return ParseSize(text, &out) ? out : UINT64_MAX;
}

TEST(Text, ParsesSizes) {
  EXPECT_EQ(SizeOf("0"), 0u);
  EXPECT_EQ(SizeOf("123"), 123u);
  EXPECT_EQ(SizeOf("64K"), 65536u);
  EXPECT_EQ(SizeOf("64KiB"), 65536u);
  EXPECT_EQ(SizeOf("64kB"), 64000u);
  EXPECT_EQ(SizeOf("1.5G"), 1610612736u);
  EXPECT_EQ(SizeOf("9223372036854775807"), 9223372036854775807u);
  EXPECT_EQ(SizeOf("12B"), 12u);
  for (const char* bad : {"", "K", "-1", "1X", "1KK", "1.5", "99999999T", "1e3"}) {
    EXPECT_EQ(SizeOf(bad), UINT64_MAX) << bad;
  }
}

TEST(Text, Base64BothWays) {
  std::string out;
  for (const std::string& bytes :
       {std::string(), std::string("a"), std::string("ab"), std::string("abc"),
        std::string("\0\xff\x80", 3), std::string(1000, '\x7f')}) {
    ASSERT_TRUE(ParseBase64(Base64(bytes), &out)) << bytes;
    EXPECT_EQ(out, bytes);
  }
  for (const char* bad : {"a", "abc", "ab=c", "=abc", "a===", "ab!d", "YQ==YQ=="}) {
    EXPECT_FALSE(ParseBase64(bad, &out)) << bad;
  }
}

TEST(Text, ParsesDurations) {
  int64_t ns = 0;
  EXPECT_TRUE(ParseDuration("500ms", &ns));
  EXPECT_EQ(ns, 500'000'000);
  EXPECT_TRUE(ParseDuration("2h", &ns));
  EXPECT_EQ(ns, 7200LL * 1'000'000'000);
  EXPECT_TRUE(ParseDuration("10", &ns));
  EXPECT_EQ(ns, 10LL * 1'000'000'000);
  EXPECT_FALSE(ParseDuration("5 parsecs", &ns));
  EXPECT_FALSE(ParseDuration("", &ns));
}

TEST(Text, ShowsSizes) {
  EXPECT_EQ(HumanSize(0), "0 B");
  EXPECT_EQ(HumanSize(1023), "1023 B");
  EXPECT_EQ(HumanSize(1024), "1.0 KiB");
  EXPECT_EQ(HumanSize(1536), "1.5 KiB");
  EXPECT_EQ(HumanSize(10240), "10 KiB");
  EXPECT_EQ(HumanSize(1048575), "1.0 MiB");
  EXPECT_EQ(ShortSize(3ull << 30), "3.0G");
}

TEST(Text, ShowsModes) {
  EXPECT_EQ(ModeString('-', 0644), "-rw-r--r--");
  EXPECT_EQ(ModeString('d', 01777), "drwxrwxrwt");
  EXPECT_EQ(ModeString('-', 04711), "-rws--x--x");
  EXPECT_EQ(ModeString('-', 02600), "-rw---S---");
}

TEST(Text, ParsesModes) {
  const auto mode = [](const char* text, uint32_t current, bool directory = false) {
    uint32_t out = 0;
    return ParseMode(text, current, directory, &out) ? static_cast<int>(out) : -1;
  };
  EXPECT_EQ(mode("644", 0), 0644);
  EXPECT_EQ(mode("1777", 0), 01777);
  EXPECT_EQ(mode("u+x", 0644), 0744);
  EXPECT_EQ(mode("go-rw", 0666), 0600);
  EXPECT_EQ(mode("a=r", 0777), 0444);
  EXPECT_EQ(mode("u=rwx,go=rx", 0), 0755);
  EXPECT_EQ(mode("+X", 0644), 0644);
  EXPECT_EQ(mode("+X", 0644, true), 0755);
  EXPECT_EQ(mode("u+s", 0755), 04755);
  EXPECT_EQ(mode("+t", 0755), 01755);
  for (const char* bad : {"", "8", "99999", "u", "u+q", "x+u", "644,", "u+r,"}) {
    EXPECT_EQ(mode(bad, 0), -1) << bad;
  }
}

TEST(Text, QuotesWhatCouldHarmATerminal) {
  EXPECT_EQ(QuoteName("plain.txt"), "plain.txt");
  EXPECT_EQ(QuoteName("gr\xc3\xbc\xc3\x9f"), "gr\xc3\xbc\xc3\x9f");
  EXPECT_EQ(QuoteName("a\nb"), "'a\\nb'");
  EXPECT_EQ(QuoteName("\x1b[31m"), "'\\x1b[31m'");
  EXPECT_EQ(QuoteName("\xff\xfe"), "'\\xff\\xfe'");
  EXPECT_EQ(QuoteName("\xc2\x9b"), "'\\xc2\\x9b'");  // CSI in one character
  EXPECT_EQ(QuoteName(""), "''");
}

TEST(Text, KnowsUtf8) {
  EXPECT_TRUE(IsValidUtf8("a\xe2\x82\xac\xf0\x9f\x98\x80"));
  for (const char* bad : {"\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\x80", "\xe2\x82"}) {
    EXPECT_FALSE(IsValidUtf8(bad));
  }
}

TEST(Text, MeasuresWidth) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("\xe6\xbc\xa2\xe5\xad\x97"), 4u);  // two wide characters
  EXPECT_EQ(DisplayWidth("e\xcc\x81"), 1u);                 // with a combining accent
}

TEST(Text, EncodesBase64) {
  EXPECT_EQ(Base64(""), "");
  EXPECT_EQ(Base64("f"), "Zg==");
  EXPECT_EQ(Base64("fo"), "Zm8=");
  EXPECT_EQ(Base64("foo"), "Zm9v");
  EXPECT_EQ(Base64("foobar"), "Zm9vYmFy");
}

TEST(Text, AlignsTables) {
  Table table({"Name", ">Size"});
  table.Row({"a", "1"});
  table.Row({"long name", "1000"});
  EXPECT_EQ(table.ToString(),
            "Name       Size\n"
            "a             1\n"
            "long name  1000\n");
}

TEST(Text, ShowsTimes) {
  EXPECT_EQ(IsoTime(0), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(IsoTime(-1), "1969-12-31T23:59:59.999999999Z");
  EXPECT_EQ(IsoTime(1'700'000'000'123'456'789), "2023-11-14T22:13:20.123456789Z");
}

}  // namespace
}  // namespace dfs::cli
