// The same expectations of every Env.
#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>

#include "common/base/env.h"
#include "common/base/fault_env.h"

namespace dfs {
namespace {

class EnvTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (std::string(GetParam()) == "posix") {
      char path[] = "/tmp/dfs-env-XXXXXX";
      ASSERT_NE(::mkdtemp(path), nullptr);
      dir_ = path;
      env_ = &PosixEnv();
    } else {
      env_ = &fault_env_;
      dir_ = "/data";
      ASSERT_TRUE(env_->CreateDirs(dir_).ok());
    }
  }
  void TearDown() override { EXPECT_TRUE(env_->RemoveTree(dir_).ok()); }

  std::string P(const std::string& name) const { return dir_ + "/" + name; }
  std::unique_ptr<File> MustOpen(const std::string& name, Env::OpenMode mode) {
    auto file = env_->Open(P(name), mode);
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    return file ? std::move(*file) : nullptr;
  }
  void Write(const std::string& name, std::string_view text) {
    auto file = MustOpen(name, Env::OpenMode::kTruncate);
    ASSERT_TRUE(file->WriteAt(0, text).ok());
  }
  std::string Read(const std::string& name) {
    auto text = env_->ReadFile(P(name));
    return text ? *text : "<" + std::string(CodeName(text.error().code())) + ">";
  }
  Code OpenCode(const std::string& name, Env::OpenMode mode) {
    auto file = env_->Open(P(name), mode);
    return file ? Code::kOk : file.error().code();
  }

  FaultEnv fault_env_;
  Env* env_ = nullptr;
  std::string dir_;
};

TEST_P(EnvTest, OpenModes) {
  EXPECT_EQ(OpenCode("a", Env::OpenMode::kReadOnly), Code::kNotFound);
  EXPECT_EQ(OpenCode("a", Env::OpenMode::kReadWrite), Code::kNotFound);
  EXPECT_EQ(OpenCode("no/a", Env::OpenMode::kCreate), Code::kNotFound);
  EXPECT_EQ(OpenCode("a", Env::OpenMode::kCreateExclusive), Code::kOk);
  EXPECT_EQ(OpenCode("a", Env::OpenMode::kCreateExclusive), Code::kAlreadyExists);
  EXPECT_EQ(OpenCode("a/b", Env::OpenMode::kCreate), Code::kNotDirectory);
  Write("a", "hello");
  EXPECT_EQ(OpenCode("a", Env::OpenMode::kCreate), Code::kOk);
  EXPECT_EQ(Read("a"), "hello");
  EXPECT_EQ(OpenCode("a", Env::OpenMode::kTruncate), Code::kOk);
  EXPECT_EQ(Read("a"), "");
  auto file = MustOpen("a", Env::OpenMode::kReadOnly);
  EXPECT_EQ(file->WriteAt(0, "x").code(), Code::kBadDescriptor);
}

TEST_P(EnvTest, ReadWriteAnywhere) {
  auto file = MustOpen("a", Env::OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(10'000, "end").ok());
  EXPECT_EQ(*file->Size(), 10'003u);
  ASSERT_TRUE(file->WriteAt(4090, "across pages").ok());
  char text[16] = {};
  EXPECT_EQ(*file->ReadAt(4090, text, 12), 12u);
  EXPECT_EQ(std::string(text), "across pages");
  EXPECT_EQ(*file->ReadAt(10'001, text, 16), 2u);
  EXPECT_EQ(*file->ReadAt(20'000, text, 16), 0u);
  EXPECT_EQ(*file->ReadAt(0, text, 4), 4u);
  EXPECT_EQ(std::string_view(text, 4), std::string_view("\0\0\0\0", 4));
  std::string big(3'000'000, 'x');
  for (size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>(i * 7 + i / 4096);
  ASSERT_TRUE(file->WriteAt(5, big).ok());
  std::string back(big.size(), 0);
  EXPECT_EQ(*file->ReadAt(5, back.data(), back.size()), back.size());
  EXPECT_EQ(big, back);
  EXPECT_TRUE(file->Sync().ok());
  file->StartWriteback(0, 100);
  file->DropCache(0, 0);
}

TEST_P(EnvTest, TruncateBothWays) {
  auto file = MustOpen("a", Env::OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(0, std::string(9000, 'x')).ok());
  ASSERT_TRUE(file->Truncate(4100).ok());
  ASSERT_TRUE(file->Truncate(9000).ok());
  std::string back(9000, '?');
  EXPECT_EQ(*file->ReadAt(0, back.data(), back.size()), 9000u);
  EXPECT_EQ(back, std::string(4100, 'x') + std::string(4900, '\0')) << "what grows back is zero";
}

TEST_P(EnvTest, Allocate) {
  auto file = MustOpen("a", Env::OpenMode::kCreate);
  ASSERT_TRUE(file->WriteAt(0, "abc").ok());
  ASSERT_TRUE(file->Allocate(100'000, true).ok());
  EXPECT_EQ(*file->Size(), 3u);
  ASSERT_TRUE(file->Allocate(100'000, false).ok());
  EXPECT_EQ(*file->Size(), 100'000u);
  ASSERT_TRUE(file->Allocate(50, false).ok());
  EXPECT_EQ(*file->Size(), 100'000u) << "never shrinks";
  char text[4];
  EXPECT_EQ(*file->ReadAt(0, text, 4), 4u);
  EXPECT_EQ(std::string_view(text, 4), std::string_view("abc\0", 4));
}

TEST_P(EnvTest, Names) {
  Write("a", "1");
  EXPECT_TRUE(env_->Exists(P("a")));
  ASSERT_TRUE(env_->Rename(P("a"), P("b")).ok());
  EXPECT_FALSE(env_->Exists(P("a")));
  EXPECT_EQ(env_->Rename(P("a"), P("c")).code(), Code::kNotFound);
  Write("c", "2");
  ASSERT_TRUE(env_->Rename(P("b"), P("c")).ok());
  EXPECT_EQ(Read("c"), "1");
  ASSERT_TRUE(env_->Link(P("c"), P("d")).ok());
  EXPECT_EQ(env_->Link(P("c"), P("d")).code(), Code::kAlreadyExists);
  EXPECT_EQ(env_->Link(P("x"), P("y")).code(), Code::kNotFound);
  ASSERT_TRUE(env_->Remove(P("c")).ok());
  EXPECT_EQ(Read("d"), "1");
  EXPECT_EQ(env_->Remove(P("c")).code(), Code::kNotFound);
  EXPECT_EQ(*env_->FileSize(P("d")), 1u);
  EXPECT_EQ(env_->FileSize(P("c")).error().code(), Code::kNotFound);
  EXPECT_TRUE(env_->SyncDir(dir_).ok());
  EXPECT_EQ(env_->SyncDir(P("none")).code(), Code::kNotFound);
  EXPECT_EQ(env_->Remove(P(std::string(300, 'n'))).code(), Code::kNameTooLong);
}

TEST_P(EnvTest, OpenFileOutlivesItsName) {
  Write("a", "still here");
  auto file = MustOpen("a", Env::OpenMode::kReadWrite);
  ASSERT_TRUE(env_->Remove(P("a")).ok());
  Write("a", "another");
  char text[16] = {};
  EXPECT_EQ(*file->ReadAt(0, text, 16), 10u);
  EXPECT_EQ(std::string(text), "still here");
  EXPECT_EQ(Read("a"), "another");
}

TEST_P(EnvTest, Directories) {
  ASSERT_TRUE(env_->CreateDir(P("d")).ok());
  EXPECT_EQ(env_->CreateDir(P("d")).code(), Code::kAlreadyExists);
  EXPECT_EQ(env_->CreateDir(P("x/y")).code(), Code::kNotFound);
  ASSERT_TRUE(env_->CreateDirs(P("d/e/f")).ok());
  ASSERT_TRUE(env_->CreateDirs(P("d/e/f")).ok());
  Write("d/e/file", "x");
  EXPECT_EQ(env_->CreateDirs(P("d/e/file/g")).code(), Code::kNotDirectory);
  auto names = env_->List(P("d/e"));
  ASSERT_TRUE(names.ok());
  std::sort(names->begin(), names->end());
  EXPECT_EQ(*names, (std::vector<std::string>{"f", "file"}));
  EXPECT_EQ(env_->List(P("none")).error().code(), Code::kNotFound);
  EXPECT_EQ(env_->List(P("d/e/file")).error().code(), Code::kNotDirectory);
  EXPECT_EQ(env_->RemoveDir(P("d")).code(), Code::kNotEmpty);
  EXPECT_EQ(env_->RemoveDir(P("none")).code(), Code::kNotFound);
  EXPECT_EQ(env_->RemoveDir(P("d/e/file")).code(), Code::kNotDirectory);
  EXPECT_EQ(env_->Remove(P("d")).code(), Code::kIsDirectory);
  ASSERT_TRUE(env_->CreateDir(P("g")).ok());
  EXPECT_EQ(env_->Rename(P("g"), P("d")).code(), Code::kNotEmpty);
  ASSERT_TRUE(env_->Rename(P("d"), P("g")).ok());
  EXPECT_EQ(Read("g/e/file"), "x");
  ASSERT_TRUE(env_->RemoveTree(P("g")).ok());
  EXPECT_FALSE(env_->Exists(P("g")));
  EXPECT_TRUE(env_->RemoveTree(P("g")).ok());
}

TEST_P(EnvTest, WholeFiles) {
  ASSERT_TRUE(env_->WriteFileAtomically(P("f"), "one").ok());
  ASSERT_TRUE(env_->WriteFileAtomically(P("f"), "two").ok());
  EXPECT_EQ(Read("f"), "two");
  EXPECT_EQ(env_->List(dir_)->size(), 1u) << "no temporary file is left";
  EXPECT_EQ(env_->ReadFile(P("f"), 2).error().code(), Code::kCorrupt);
  EXPECT_EQ(env_->ReadFile(P("g")).error().code(), Code::kNotFound);
}

TEST_P(EnvTest, LockIsForOne) {
  auto lock = env_->Lock(P("LOCK"));
  ASSERT_TRUE(lock.ok());
  auto second = env_->Lock(P("LOCK"));
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code(), Code::kBusy);
  EXPECT_NE(second.error().message().find("process"), std::string::npos);
  if (env_ == &PosixEnv()) {
    EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string::npos)
        << second.error().message();
  }
  lock->reset();
  EXPECT_TRUE(env_->Lock(P("LOCK")).ok());
}

TEST_P(EnvTest, Space) {
  auto space = env_->Space(dir_);
  ASSERT_TRUE(space.ok());
  EXPECT_GT(space->capacity_bytes, 0u);
  EXPECT_LE(space->available_bytes, space->capacity_bytes);
  EXPECT_FALSE(env_->Space(P("none")).ok());
}

INSTANTIATE_TEST_SUITE_P(Envs, EnvTest, testing::Values("posix", "fault"),
                         [](const auto& param) { return std::string(param.param); });

}  // namespace
}  // namespace dfs
