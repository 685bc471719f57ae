// libdfs against real daemons: a development cluster of three namenodes and three datanodes, whose members are
// killed and revived while files are written, overwritten, read and compared.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <filesystem>
#include <mutex>
#include <thread>

#include "common/base/random.h"
#include "dfs/client.h"

namespace dfs {
namespace {

const std::string kBin = DFS_BIN_DIR;

class Cluster : public ::testing::Test {
 protected:
  static bool Built() {
    for (const char* program : {"dfs", "dfs-namenode", "dfs-datanode"}) {
      if (::access((kBin + "/" + program).c_str(), X_OK) != 0) return false;
    }
    return true;
  }
  static int Dev(const std::string& arguments) {
    const std::string command = kBin + "/dfs dev " + arguments + " >" + work_ + "/dev.log 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  static void SetUpTestSuite() {
    if (!Built()) return;
    char name[] = "/tmp/dfs-libdfs-XXXXXX";
    work_ = ::mkdtemp(name);
    const std::string run = work_ + "/run";
    ::mkdir(run.c_str(), 0700);
    ::setenv("XDG_RUNTIME_DIR", run.c_str(), 1);
    ::unsetenv("DFS_NAMENODES");
    ASSERT_EQ(Dev("start " + work_ + "/c --namenodes 3 --datanodes 3"), 0);
  }
  static void TearDownTestSuite() {
    if (work_.empty()) return;
    Dev("destroy " + work_ + "/c --yes");
    std::filesystem::remove_all(work_);
  }
  void SetUp() override {
    if (!Built()) GTEST_SKIP() << "the programs are not built";
    auto connected = Client::connect({});
    ASSERT_TRUE(connected.ok()) << connected.error().ToString();
    fs_ = *connected;
  }
  void TearDown() override {
    if (work_.empty()) return;
    EXPECT_EQ(Dev("start " + work_ + "/c"), 0) << "the dead come back";
  }
  static std::string Pattern(size_t n, uint64_t seed) {
    Random random(seed);
    std::string s(n, '\0');
    for (size_t i = 0; i + 8 <= n; i += 8) {
      const uint64_t word = random.Next();
      s.replace(i, 8, reinterpret_cast<const char*>(&word), 8);
    }
    return s;
  }

  static std::string work_;
  Client fs_{nullptr};
};
std::string Cluster::work_;

#define ASSERT_OK(expression)                        \
  do {                                               \
    const Status status_ = (expression);             \
    ASSERT_TRUE(status_.ok()) << status_.ToString(); \
  } while (false)

TEST_F(Cluster, NamesAndSmallFiles) {
  ASSERT_OK(fs_.create_directories("/names/a/b"));
  ASSERT_OK(fs_.write_file("/names/a/b/f", "hello"));
  EXPECT_EQ(fs_.read_file("/names/a/b/f").value_or(""), "hello");
  EXPECT_EQ(fs_.write_file("/names/a/b/f", "x", {.exclusive = true}).code(), Code::kAlreadyExists);
  ASSERT_OK(fs_.rename("/names/a/b/f", "/names/g"));
  ASSERT_OK(fs_.symlink("g", "/names/link"));
  EXPECT_EQ(fs_.read_file("/names/link").value_or(""), "hello");
  EXPECT_EQ(fs_.read_link("/names/link").value_or(""), "g");
  ASSERT_OK(fs_.link("/names/g", "/names/h"));
  EXPECT_EQ(fs_.stat("/names/h")->nlink, 2u);
  ASSERT_OK(fs_.chmod("/names/g", 0600));
  ASSERT_OK(fs_.set_xattr("/names/g", "user.k", "v"));
  EXPECT_EQ(fs_.get_xattr("/names/h", "user.k").value_or(""), "v");
  EXPECT_EQ(fs_.rmdir("/names").code(), Code::kNotEmpty);
  EXPECT_EQ(fs_.unlink("/names/a").code(), Code::kIsDirectory);
  int seen = 0;
  auto list = fs_.list("/names", {.attributes = true, .recursive = true, .page = 2});
  ASSERT_TRUE(list.ok());
  for (const DirEntry& entry : *list) {
    EXPECT_TRUE(entry.status.has_value()) << entry.path;
    ++seen;
  }
  ASSERT_OK(list->error());
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(fs_.usage("/names")->files, 2u) << "a further link is a name, not a file";
  ASSERT_TRUE(fs_.remove_all("/names").ok());
  EXPECT_FALSE(fs_.exists("/names").value_or(true));
}

TEST_F(Cluster, SizesRoundTripThroughInodesAndBlocks) {
  for (size_t size : {0u, 1u, 4096u, 16384u, 16385u, 100'000u, 1'048'576u, 3'000'001u}) {
    SCOPED_TRACE(size);
    const std::string data = Pattern(size, size + 1);
    size_t given = 0;
    auto written = fs_.write_file_atomically(
        "/round",
        [&](std::span<std::byte> out) -> Result<size_t> {
          const size_t n = std::min<size_t>({out.size(), data.size() - given, 77'777});
          std::memcpy(out.data(), data.data() + given, n);
          given += n;
          return n;
        },
        {.block_size = 1u << 20});
    ASSERT_TRUE(written.ok()) << written.error().ToString();
    EXPECT_EQ(*written, size);
    EXPECT_TRUE(fs_.read_file("/round").value_or("?") == data);
  }
  auto list = fs_.list("/");
  for (const DirEntry& e : *list) EXPECT_EQ(e.name.find(".dfs-"), std::string::npos) << e.name;
}

TEST_F(Cluster, AFailedSourceLeavesNothingBehind) {
  int calls = 0;
  auto written =
      fs_.write_file_atomically("/never", [&](std::span<std::byte> out) -> Result<size_t> {
        if (++calls > 5) return Status(Code::kCancelled, "enough");
        return out.size();
      });
  EXPECT_EQ(written.status().code(), Code::kCancelled);
  auto list = fs_.list("/");
  ASSERT_TRUE(list.ok());
  for (const DirEntry& e : *list) EXPECT_EQ(e.name.find("never"), std::string::npos) << e.name;
}

/// What threads have done so far, for one that waits for it.
class Steps {
 public:
  explicit Steps(int threads) : running_(threads) {}
  void One() {
    const std::lock_guard<std::mutex> hold(mutex_);
    ++steps_;
    changed_.notify_all();
  }
  void ThreadEnds() {
    const std::lock_guard<std::mutex> hold(mutex_);
    --running_;
    changed_.notify_all();
  }
  /// Until so many more were done, or any thread has ended, as one that fails does.
  void WaitForMore(int steps) {
    std::unique_lock<std::mutex> hold(mutex_);
    const int target = steps_ + steps, running = running_;
    changed_.wait(hold, [&] { return steps_ >= target || running_ < running; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  int steps_ = 0;
  int running_;
};

/// Random overwrites, appends, truncations and reads of one file against a model. Ends with the first that goes wrong.
class Hammer {
 public:
  Hammer(const Client& fs, int thread)
      : fs_(fs),
        path_("/hammer" + std::to_string(thread)),
        random_(static_cast<uint64_t>(thread) + 99) {}

  void Run(const std::atomic<bool>& stop, Steps* steps) {
    Open();
    for (int step = 0; !failed_ && (!stop || step < 20); ++step) {
      SCOPED_TRACE(path_ + " step " + std::to_string(step));
      Step();
      steps->One();
    }
    if (!failed_) Finish();
    steps->ThreadEnds();
  }

 private:
  static constexpr uint64_t kMaxBytes = 4u << 20;

  /// Whether to go on.
  bool Ok(const Status& status) {
    EXPECT_TRUE(status.ok()) << status.ToString();
    failed_ |= !status.ok();
    return !failed_;
  }
  bool Same(bool same, const std::string& what) {
    EXPECT_TRUE(same) << what;
    failed_ |= !same;
    return !failed_;
  }
  void Open() {
    OpenOptions options;
    options.create = true;
    options.creation.block_size = 256u << 10;
    auto file = fs_.open_rw(path_, options);
    if (Ok(file.status())) file_ = std::move(*file);
  }
  void Step() {
    switch (random_.Uniform(8)) {
      case 0:
      case 1:
      case 2:
        Overwrite();
        break;
      case 3:
        Append();
        break;
      case 4:
        if (random_.OneIn(4)) {
          Truncate();
        } else {
          Ok(file_.flush());
        }
        break;
      case 5:
        Ok(file_.sync());
        break;
      case 6:
        if (random_.OneIn(4)) Reopen();
        break;
      default:
        Read();
        break;
    }
  }
  void Overwrite() {
    const uint64_t offset = random_.Uniform(model_.size() + 1);
    const std::string data(1 + random_.Uniform(random_.OneIn(4) ? 200'000 : 8000),
                           static_cast<char>('a' + random_.Uniform(26)));
    if (offset + data.size() > kMaxBytes || !Ok(file_.write_at(offset, data))) return;
    if (model_.size() < offset + data.size()) model_.resize(offset + data.size());
    model_.replace(offset, data.size(), data);
  }
  void Append() {
    const std::string data(1 + random_.Uniform(50'000),
                           static_cast<char>('A' + random_.Uniform(26)));
    if (model_.size() + data.size() > kMaxBytes) return;
    if (Ok(file_.append(data))) model_ += data;
  }
  void Truncate() {
    const uint64_t size = random_.Uniform(model_.size() + 100'000);
    if (Ok(file_.truncate(size))) model_.resize(size, '\0');
  }
  void Reopen() {
    if (!Ok(file_.close())) return;
    auto again = fs_.open_rw(path_);
    if (!Ok(again.status())) return;
    file_ = std::move(*again);
    Same(file_.size() == model_.size(), "another size");
  }
  void Read() {
    const uint64_t offset = random_.Uniform(model_.size() + 1);
    std::string out(1 + random_.Uniform(100'000), '\xee');
    auto n = file_.read_at(offset, std::as_writable_bytes(std::span<char>(out)));
    if (!Ok(n.status())) return;
    const std::string expected = model_.substr(offset, out.size());
    out.resize(*n);
    Same(out == expected, "other bytes at " + std::to_string(offset));
  }
  void Finish() {
    if (!Ok(file_.close())) return;
    auto content = fs_.read_file(path_);
    if (!Ok(content.status())) return;
    Same(*content == model_, path_ + ": " + std::to_string(content->size()) + " bytes of " +
                                 std::to_string(model_.size()));
  }

  const Client& fs_;
  const std::string path_;
  Random random_;
  std::string model_;
  FileHandle file_;
  bool failed_ = false;
};

TEST_F(Cluster, RandomWritersSurviveALeaderAndADatanode) {
  constexpr int kThreads = 4;
  std::atomic<bool> stop{false};
  Steps steps(kThreads);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] { Hammer(fs_, t).Run(stop, &steps); });
  }
  steps.WaitForMore(60);
  EXPECT_EQ(Dev("kill " + work_ + "/c leader"), 0);
  steps.WaitForMore(60);
  EXPECT_EQ(Dev("kill " + work_ + "/c datanode-2"), 0);
  steps.WaitForMore(60);
  stop = true;
  for (std::thread& t : threads) t.join();
}

TEST_F(Cluster, AWriterAndAReaderThroughAPausedDatanode) {
  const std::string data = Pattern(8u << 20, 5);
  auto writer = fs_.create("/paused", {.block_size = 1u << 20});
  ASSERT_TRUE(writer.ok());
  ASSERT_OK(writer->write(std::string_view(data).substr(0, 3u << 20)));
  ASSERT_EQ(Dev("pause " + work_ + "/c datanode-1"), 0);
  ASSERT_OK(writer->write(std::string_view(data).substr(3u << 20)));
  ASSERT_OK(writer->close());
  EXPECT_TRUE(fs_.read_file("/paused").value_or("") == data);
  ASSERT_EQ(Dev("resume " + work_ + "/c datanode-1"), 0);
  EXPECT_TRUE(fs_.read_file("/paused").value_or("") == data);
}

TEST_F(Cluster, AChildOfForkIsToldToConnectAnew) {
  ASSERT_OK(fs_.write_file("/fork", "parent"));
  const pid_t child = ::fork();
  if (child == 0) {
    const bool refused = fs_.read_file("/fork").status().Is(Code::kClosed);
    auto anew = Client::connect({});
    const bool works = anew.ok() && anew->read_file("/fork").value_or("") == "parent";
    ::_exit(refused && works ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  EXPECT_EQ(fs_.read_file("/fork").value_or(""), "parent");
}

TEST_F(Cluster, AnAbandonedWriterLetsTheNextOneIn) {
  {
    auto writer = fs_.create("/abandoned");
    ASSERT_TRUE(writer.ok());
    ASSERT_OK(writer->write(Pattern(300'000, 3)));
    ASSERT_OK(writer->flush());
    ASSERT_OK(writer->write(Pattern(700'000, 4)));
  }
  auto other = Client::connect({});
  ASSERT_TRUE(other.ok());
  auto again = other->append("/abandoned");
  ASSERT_TRUE(again.ok()) << again.error().ToString();
  EXPECT_GE(again->position(), 300'000u) << "what was flushed stays";
  ASSERT_OK(again->write("end"));
  ASSERT_OK(again->close());
  const std::string content = other->read_file("/abandoned").value_or("");
  EXPECT_EQ(content.substr(content.size() - 3), "end");
  EXPECT_TRUE(content.substr(0, 300'000) == Pattern(300'000, 3));
}

TEST_F(Cluster, WhatIsSyncedIsReadByAnotherClientAtOnce) {
  auto other = Client::connect({});
  ASSERT_TRUE(other.ok());
  OpenOptions options;
  options.create = true;
  options.creation.block_size = 256u << 10;
  auto file = fs_.open_rw("/synced", options);
  ASSERT_TRUE(file.ok()) << file.error().ToString();
  std::string model;
  // At the end, in a hole three blocks before it, and within a block behind what it has.
  for (const uint64_t offset : {1'000'000u, 300'000u, 400'000u, 350'000u, 1'000'100u, 300'001u}) {
    SCOPED_TRACE(offset);
    const std::string data = Pattern(4'096, offset);
    if (model.size() < offset + data.size()) model.resize(offset + data.size());
    model.replace(offset, data.size(), data);
    ASSERT_OK(file->write_at(offset, data));
    ASSERT_OK(file->sync());
    EXPECT_EQ(other->stat("/synced")->size, model.size());
    EXPECT_TRUE(other->read_file("/synced").value_or("") == model);
  }
  ASSERT_OK(file->close());
}

/// The block files that this process has open, as links that can be opened anew.
std::vector<std::string> OpenBlockFiles() {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const auto target = std::filesystem::read_symlink(entry.path(), error);
    if (!error && target.string().find("/blk_") != std::string::npos) found.push_back(target);
  }
  return found;
}

void Damage(const std::string& path, uint64_t offset) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(fd, 0) << path;
  char byte = 0;
  ASSERT_EQ(::pread(fd, &byte, 1, static_cast<off_t>(offset)), 1);
  byte = static_cast<char>(byte ^ 0x40);
  ASSERT_EQ(::pwrite(fd, &byte, 1, static_cast<off_t>(offset)), 1);
  ::close(fd);
}

TEST_F(Cluster, BlocksOfThisHostAreReadFromTheirFilesAndVerified) {
  const std::string data = Pattern((5u << 20) + 1234, 77);
  auto writer = fs_.create("/local", {.block_size = 2u << 20});
  ASSERT_TRUE(writer.ok());
  ASSERT_OK(writer->write(data));
  ASSERT_OK(writer->close());
  for (size_t step : {1'000u, 4'096u, 65'537u, 1u << 20, 8u << 20}) {
    SCOPED_TRACE(step);
    auto reader = fs_.open("/local");
    ASSERT_TRUE(reader.ok());
    std::string got;
    std::vector<std::byte> piece(step);
    bool from_file = false;
    for (;;) {
      auto n = reader->read(piece);
      ASSERT_TRUE(n.ok()) << n.error().ToString();
      if (*n == 0) break;
      got.append(reinterpret_cast<const char*>(piece.data()), *n);
      from_file |= got.size() < (4u << 20) && !OpenBlockFiles().empty();
      EXPECT_LE(OpenBlockFiles().size(), 2u);
    }
    EXPECT_TRUE(got == data);
    if (step < (4u << 20)) {
      EXPECT_TRUE(from_file) << "it came through a stream";
    }
    auto at = reader->read_at(2'000'001, std::span(piece).first(std::min<size_t>(step, 999)));
    ASSERT_TRUE(at.ok());
    EXPECT_EQ(std::memcmp(piece.data(), data.data() + 2'000'001, *at), 0);
  }
}

TEST_F(Cluster, ADamagedBlockFileIsNeverReturned) {
  const std::string data = Pattern(4u << 20, 78);
  ASSERT_OK(fs_.write_file("/damaged", data));
  auto reader = fs_.open("/damaged");
  ASSERT_TRUE(reader.ok());
  std::vector<std::byte> piece(1u << 20);
  ASSERT_EQ(reader->read(piece).value_or(0), piece.size());
  const std::vector<std::string> files = OpenBlockFiles();
  ASSERT_EQ(files.size(), 1u);
  Damage(files[0], (2u << 20) + 5'000);
  std::string got(reinterpret_cast<const char*>(piece.data()), piece.size());
  for (;;) {
    auto n = reader->read(piece);
    ASSERT_TRUE(n.ok()) << n.error().ToString();
    if (*n == 0) break;
    got.append(reinterpret_cast<const char*>(piece.data()), *n);
  }
  EXPECT_TRUE(got == data) << "another replica has the bytes";
  EXPECT_TRUE(fs_.read_file("/damaged").value_or("") == data);
}

TEST_F(Cluster, AReaderOfABlockFileSeesOverwritesWholeOrNotAtAll) {
  constexpr size_t kSize = 4u << 20;
  const std::string before = Pattern(kSize, 79), after = Pattern(kSize, 80);
  ASSERT_OK(fs_.write_file("/rewritten", before));
  auto reader = fs_.open("/rewritten");
  ASSERT_TRUE(reader.ok());
  std::vector<std::byte> piece(1u << 20);
  ASSERT_EQ(reader->read(piece).value_or(0), piece.size());
  ASSERT_EQ(OpenBlockFiles().size(), 1u);
  std::atomic<bool> written{false};
  std::thread writer([&] {
    auto handle = fs_.open_rw("/rewritten");
    ASSERT_TRUE(handle.ok());
    for (size_t at = 0; at < kSize; at += 64u << 10) {
      ASSERT_OK(handle->write_at(at, std::string_view(after).substr(at, 64u << 10)));
    }
    ASSERT_OK(handle->close());
    written = true;
  });
  int rounds = 0;
  for (bool last = false; !last; ++rounds) {
    last = written;
    reader->seek(0);
    for (size_t at = 0; at < kSize;) {
      auto n = reader->read(piece);
      ASSERT_TRUE(n.ok()) << n.error().ToString();
      ASSERT_GT(*n, 0u);
      ASSERT_EQ(*n % 4096, 0u);
      for (size_t c = 0; c < *n; c += 4096) {
        const auto* got = reinterpret_cast<const char*>(piece.data()) + c;
        ASSERT_TRUE(std::memcmp(got, before.data() + at + c, 4096) == 0 ||
                    std::memcmp(got, after.data() + at + c, 4096) == 0)
            << "at " << at + c;
      }
      at += *n;
    }
  }
  writer.join();
  EXPECT_TRUE(fs_.read_file("/rewritten").value_or("") == after);
}

}  // namespace
}  // namespace dfs
