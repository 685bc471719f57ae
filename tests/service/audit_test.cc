// The audit log: the form of its lines, and which changes and refusals it is told.
#include <gtest/gtest.h>

#include "namenode/service/audit_event.h"
#include "tests/service/service_client.h"

namespace dfs::nn {
namespace {

TEST(AuditLine, HasEverything) {
  AuditEvent e;
  e.wall_ns = 1'796'069'820 * kSecond + 123'456'789;
  e.uid = 1000;
  e.gid = 100;
  e.from = "10.0.0.9:51322";
  e.session = 7;
  e.operation = "rename";
  e.path = "/a b";
  e.has_target = true;
  e.target_inode = 16400;
  e.target = "c";
  e.outcome = "ok";
  EXPECT_EQ(FormatAuditLine(e),
            "2026-11-30T20:17:00.123456Z uid=1000 gid=100 from=10.0.0.9:51322 session=7 op=rename "
            "path=\"/a b\" to_inode=16400 to=\"c\" outcome=ok");
}

TEST(AuditLine, NothingInAPathForgesAnother) {
  EXPECT_EQ(QuoteForAudit("plain"), "\"plain\"");
  EXPECT_EQ(QuoteForAudit("q\"\\"), "\"q\\\"\\\\\"");
  EXPECT_EQ(QuoteForAudit("a\nb\r\t\x1b[31m\x7f"), "\"a\\x0ab\\x0d\\x09\\x1b[31m\\x7f\"");
  EXPECT_EQ(QuoteForAudit(std::string_view("a\0b", 3)), "\"a\\x00b\"");
  EXPECT_EQ(QuoteForAudit("\xc3\xbc"), "\"\xc3\xbc\"");             // ü stays
  EXPECT_EQ(QuoteForAudit("\xc2\x9b"), "\"\\xc2\\x9b\"");           // CSI of 8 bits
  EXPECT_EQ(QuoteForAudit("\xe2\x80\xae"), "\"\\xe2\\x80\\xae\"");  // right to left
  EXPECT_EQ(QuoteForAudit("\xff\xc3"), "\"\\xff\\xc3\"");           // no UTF-8
  EXPECT_EQ(QuoteForAudit("\xed\xa0\x80"), "\"\\xed\\xa0\\x80\"");  // half a pair
  EXPECT_EQ(QuoteForAudit("\xc0\xaf"), "\"\\xc0\\xaf\"");           // too long a form of '/'
}

TEST(Audit, ChangesAndRefusalsAndNothingElse) {
  std::vector<std::string> lines;
  ServiceWorld w(1, 0, {}, [&lines](AuditEvent e) {
    e.wall_ns = 0;
    e.from.clear();
    e.session = 0;
    std::string line = FormatAuditLine(e);
    lines.push_back(line.substr(line.find("uid=")));
  });
  Client root(w, 1), ann(w, 2);
  ann.caller.uid = ann.caller.gid = 1001;
  ASSERT_OK(root.Mkdir("/d"));
  ASSERT_OK(root.Mkdir("/d", true));  // it is there: no change
  ASSERT_OK(root.Create("/d/f", "x"));
  ASSERT_OK(root.Stat(At("/d/f")));
  EXPECT_CODE(ann.Unlink("/d/f"), Code::kAccessDenied);
  EXPECT_CODE(root.Unlink("/d/none"), Code::kNotFound);
  idl::ListDirectoryRequest list;
  list.ref = At("/d");
  list.caller = ann.caller;
  ASSERT_OK(w.Call<idl::kListDirectory>(list));
  idl::RenameRequest rename;
  rename.op = w.NextOp(root.session);
  rename.source = At("/d/f");
  rename.target = At("/d/g");
  ASSERT_OK(w.Call<idl::kRename>(rename));
  idl::SetAttrRequest chmod;
  chmod.op = w.NextOp(root.session);
  chmod.ref = At("/d");
  chmod.mask = 1;
  chmod.mode = 0700;
  ASSERT_OK(w.Call<idl::kSetAttr>(chmod));
  EXPECT_CODE(w.Call<idl::kListDirectory>(list), Code::kAccessDenied);
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "uid=0 gid=0 from=- session=0 op=mkdir path=\"/d\" outcome=ok",
                       "uid=0 gid=0 from=- session=0 op=create path=\"/d/f\" outcome=ok",
                       "uid=1001 gid=1001 from=- session=0 op=unlink path=\"/d/f\" "
                       "outcome=access_denied",
                       "uid=0 gid=0 from=- session=0 op=rename path=\"/d/f\" to=\"/d/g\" outcome=ok",
                       "uid=0 gid=0 from=- session=0 op=set_attr path=\"/d\" outcome=ok",
                       "uid=1001 gid=1001 from=- session=0 op=list_directory path=\"/d\" "
                       "outcome=access_denied"}));
}

}  // namespace
}  // namespace dfs::nn
