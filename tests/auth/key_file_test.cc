#include "common/auth/key_file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <thread>
#include <vector>

#include "common/auth/mac.h"

namespace dfs {
namespace {

class KeyFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/dfskey.XXXXXX";
    dir_ = ::mkdtemp(name);
    path_ = dir_ + "/key";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void Write(const std::string& text, mode_t mode = 0600) {
    std::ofstream(path_) << text;
    ::chmod(path_.c_str(), mode);
  }
  std::string dir_;
  std::string path_;
};

TEST_F(KeyFileTest, CreatesPrivateAndLoads) {
  Result<std::string> key = CreateKeyFile(path_);
  ASSERT_TRUE(key) << key.error().ToString();
  EXPECT_EQ(key->size(), kKeySize);
  struct stat st {};
  ASSERT_EQ(::stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600u);
  EXPECT_EQ(*LoadKeyFile(path_), *key);
  EXPECT_EQ(CreateKeyFile(path_).error().code(), Code::kAlreadyExists);
  EXPECT_EQ(*LoadOrCreateKeyFile(path_), *key);
  size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(dir_))
    files += entry.exists() ? 1 : 0;
  EXPECT_EQ(files, 1u) << "no temporary file is left";
}

TEST_F(KeyFileTest, RefusesWhatOthersMayTouch) {
  std::string text(64, 'a');
  for (mode_t mode : {0640, 0604, 0660, 0610, 0644, 0777}) {
    Write(text, mode);
    Result<std::string> key = LoadKeyFile(path_);
    ASSERT_FALSE(key) << std::oct << mode;
    EXPECT_EQ(key.error().code(), Code::kAccessDenied);
    EXPECT_NE(key.error().message().find("chmod 600"), std::string::npos);
  }
  Write(text, 0400);
  EXPECT_TRUE(LoadKeyFile(path_));
}

TEST_F(KeyFileTest, RefusesWhatIsNoKey) {
  for (const std::string& text : {std::string(), std::string(63, 'a'), std::string(65, 'a'),
                                  std::string(64, 'g'), std::string(500, 'a')}) {
    Write(text);
    EXPECT_EQ(LoadKeyFile(path_).error().code(), Code::kCorrupt);
  }
  EXPECT_EQ(LoadKeyFile(path_ + "-missing").error().code(), Code::kNotFound);
  EXPECT_FALSE(LoadKeyFile(dir_));
}

TEST_F(KeyFileTest, TwoThatCreateAtOnceAgree) {
  std::vector<std::string> keys(8);
  std::vector<std::thread> threads;
  for (std::string& key : keys) {
    threads.emplace_back([&] {
      Result<std::string> got = LoadOrCreateKeyFile(path_);
      if (got) key = *got;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::set<std::string>(keys.begin(), keys.end()).size(), 1u);
  EXPECT_EQ(keys[0].size(), kKeySize);
}

}  // namespace
}  // namespace dfs
