#include "common/http/page.h"

#include <gtest/gtest.h>

namespace dfs {
namespace {

TEST(Page, EscapesEverythingThatItIsGiven) {
  const std::string evil = "<script>\"x\"&'y'";
  Page page(evil, evil);
  page.Banner(Tone::kBad, evil);
  page.Heading(evil);
  page.Facts({{evil, evil}});
  page.Bar(evil, 0.5);
  page.Table({evil}, {{{evil}}}, "");
  page.Table({}, {}, evil);
  const std::string html = page.Html();
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;&quot;x&quot;&amp;&#39;y&#39;"), std::string::npos);
}

TEST(Page, BarsStayInTheirTrack) {
  Page page("t", "s");
  page.Bar("over", 1.7);
  page.Bar("under", -1);
  EXPECT_NE(page.Html().find("width:100.0%"), std::string::npos);
  EXPECT_NE(page.Html().find("width:0.0%"), std::string::npos);
}

TEST(Page, SizesAndDurations) {
  EXPECT_EQ(PageSize(0), "0 B");
  EXPECT_EQ(PageSize(1536), "1.5 KiB");
  EXPECT_EQ(PageSize(uint64_t{300} << 30), "300 GiB");
  EXPECT_EQ(PageDuration(1500), "1.5 s");
  EXPECT_EQ(PageDuration(600'000), "10 min");
  EXPECT_EQ(PageDuration(int64_t{3} * 3'600'000), "3 h");
}

}  // namespace
}  // namespace dfs
