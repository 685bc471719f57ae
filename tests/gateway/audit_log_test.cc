// The audit log's file: appended to, opened anew, and never a reason to wait.
#include "namenode/gateway/audit_log.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace dfs::nn {
namespace {

class AuditLogTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/audit-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    file_ = directory_ + "/audit.log";
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  static std::string Read(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream text;
    text << in.rdbuf();
    return text.str();
  }
  static AuditEvent Event(const std::string& path, std::string_view outcome = "ok") {
    AuditEvent e;
    e.operation = "mkdir";
    e.path = path;
    e.outcome = outcome;
    return e;
  }
  static size_t Lines(const std::string& text) {
    return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
  }

  std::string directory_;
  std::string file_;
};

TEST_F(AuditLogTest, AppendsAndKeepsWhatWasThere) {
  for (int round = 1; round <= 2; ++round) {
    auto log = AuditLog::Open({.target = file_});
    ASSERT_TRUE(log.ok()) << log.status().ToString();
    for (int i = 0; i < 100; ++i) (*log)->Add(Event("/" + std::to_string(i)));
    log->reset();  // writes what is queued
    EXPECT_EQ(Lines(Read(file_)), 100u * static_cast<size_t>(round));
  }
  struct stat st {};
  ASSERT_EQ(stat(file_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777u, 0600u);
  EXPECT_NE(Read(file_).find("op=mkdir path=\"/99\" outcome=ok\n"), std::string::npos);
}

TEST_F(AuditLogTest, OpensAnotherFileWhenAsked) {
  auto log = AuditLog::Open({.target = file_});
  ASSERT_TRUE(log.ok());
  (*log)->Add(Event("/old"));
  // What was there when the old file went away may be in either.
  std::filesystem::rename(file_, file_ + ".1");
  (*log)->Reopen();
  while (!std::filesystem::exists(file_)) usleep(1000);
  (*log)->Add(Event("/new"));
  log->reset();
  EXPECT_NE(Read(file_).find("/new"), std::string::npos);
  EXPECT_EQ(Read(file_ + ".1").find("/new"), std::string::npos);
}

TEST_F(AuditLogTest, RefusalsWhenTheyAreWanted) {
  auto log = AuditLog::Open({.target = file_, .refused = false});
  ASSERT_TRUE(log.ok());
  (*log)->Add(Event("/no", "access_denied"));
  (*log)->Add(Event("/yes"));
  log->reset();
  EXPECT_EQ(Lines(Read(file_)), 1u);
}

TEST_F(AuditLogTest, WhatIsLostIsCounted) {
  // A pipe that nobody reads, until it is full.
  const std::string pipe = directory_ + "/pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::ifstream reader;
  std::thread opener([&] { reader.open(pipe, std::ios::binary); });
  auto log = AuditLog::Open({.target = pipe, .max_queue = 10});
  opener.join();
  ASSERT_TRUE(log.ok());
  const std::string long_name(1000, 'x');
  for (int i = 0; i < 1000; ++i) (*log)->Add(Event(long_name));
  EXPECT_GT((*log)->dropped(), 0u);
  std::thread ender([&] { log->reset(); });
  std::stringstream text;
  text << reader.rdbuf();
  ender.join();
  EXPECT_NE(text.str().find("op=events_lost path=\""), std::string::npos);
  EXPECT_LT(Lines(text.str()), 1000u);
}

TEST_F(AuditLogTest, SaysWhyItCannotBegin) {
  auto log = AuditLog::Open({.target = directory_ + "/none/audit.log"});
  ASSERT_FALSE(log.ok());
  EXPECT_NE(log.error().message().find("/none/audit.log"), std::string::npos);
}

}  // namespace
}  // namespace dfs::nn
