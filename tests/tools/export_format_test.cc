// The lines of an export, both ways; and when a clock is said to be wrong.
#include "tools/cli/export_format.h"

#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "tools/cli/cluster_health.h"

namespace dfs::cli {
namespace {

ExportedEntry SomeFile() {
  ExportedEntry e;
  e.path = "/a/\xff odd\n";
  e.status.inode = 16400;
  e.status.type = FileType::kRegular;
  e.status.mode = 04755;
  e.status.uid = 4'000'000'000;
  e.status.gid = 7;
  e.status.size = 5;
  e.status.atime_ns = -1;
  e.status.mtime_ns = 1'796'069'820'123'456'789;
  e.status.block_size = 1 << 20;
  e.status.replication = 2;
  e.is_inline = true;
  e.content = std::string("\0\xff\n", 3);
  e.xattrs = {{"user.\x80", std::string("\0v", 2)}};
  return e;
}

TEST(ExportFormat, AFileGoesBothWays) {
  const ExportedEntry e = SomeFile();
  const Result<ImportLine> line = ParseImportLine(ExportedAsJson(e).dump());
  ASSERT_TRUE(line.ok()) << line.status().ToString();
  const ExportedEntry& b = line->entry;
  EXPECT_EQ(b.path, e.path);
  EXPECT_EQ(b.status.type, e.status.type);
  EXPECT_EQ(b.status.mode, e.status.mode);
  EXPECT_EQ(b.status.uid, e.status.uid);
  EXPECT_EQ(b.status.size, e.status.size);
  EXPECT_EQ(b.status.atime_ns, e.status.atime_ns);
  EXPECT_EQ(b.status.mtime_ns, e.status.mtime_ns);
  EXPECT_EQ(b.status.replication, e.status.replication);
  EXPECT_TRUE(b.is_inline);
  EXPECT_FALSE(line->in_blocks);
  EXPECT_EQ(b.content, e.content);
  EXPECT_EQ(b.xattrs, e.xattrs);
}

TEST(ExportFormat, OthersToo) {
  ExportedEntry e = SomeFile();
  e.is_inline = false;
  e.content.clear();
  EXPECT_TRUE(ParseImportLine(ExportedAsJson(e).dump())->in_blocks);
  e.link_to = "/b";
  EXPECT_EQ(ParseImportLine(ExportedAsJson(e).dump())->entry.link_to, "/b");
  e.link_to.clear();
  e.status.type = FileType::kSymlink;
  e.status.symlink_target = "../x";
  EXPECT_EQ(ParseImportLine(ExportedAsJson(e).dump())->entry.status.symlink_target, "../x");
  EXPECT_EQ(ParseImportLine(ExportEndAsJson(12).dump())->entries, 12u);
  EXPECT_EQ(ParseImportLine(ExportHeaderAsJson({}, 0).dump())->kind, ImportLine::Kind::kHeader);
}

TEST(ExportFormat, NonsenseIsRefused) {
  const nlohmann::json good = ExportedAsJson(SomeFile());
  for (const char* bad : {"", "x", "[]", "1", "{}", R"({"schema":"dfs.export/2","kind":"end"})",
                          R"({"schema":"dfs.export/1"})",
                          R"({"schema":"dfs.export/1","kind":"end"})"}) {
    EXPECT_FALSE(ParseImportLine(bad).ok()) << bad;
  }
  for (const char* field : {"kind", "path_b64", "mode", "uid", "size", "mtime_ns"}) {
    nlohmann::json without = good;
    without.erase(field);
    EXPECT_FALSE(ParseImportLine(without.dump()).ok()) << field;
    without[field] = nlohmann::json::array();
    EXPECT_FALSE(ParseImportLine(without.dump()).ok()) << field;
  }
  for (const auto& [field, value] : std::map<std::string, std::string>{
           {"content_b64", "!"}, {"mode", "999"}, {"path", "relative"}, {"kind", "planet"}}) {
    nlohmann::json wrong = good;
    wrong[field] = value;
    EXPECT_FALSE(ParseImportLine(wrong.dump()).ok()) << field;
  }
}

TEST(ClusterHealth, ClocksThatAreOff) {
  EXPECT_EQ(JudgeClock(0), ClockVerdict::kGood);
  EXPECT_EQ(JudgeClock(1'999), ClockVerdict::kGood);
  EXPECT_EQ(JudgeClock(2'000), ClockVerdict::kOff);
  EXPECT_EQ(JudgeClock(10 * 60 * 1000), ClockVerdict::kTokensFail);
}

}  // namespace
}  // namespace dfs::cli
