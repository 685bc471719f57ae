// What a mount does for the kernel, against fake namenodes and datanodes: one writer for all descriptors of a file, what
// others see and when, errors told once to each descriptor.
#include "fuse/file_system.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "tests/client/client_fixture.h"

namespace dfs::fuse {
namespace {

using client::FakeCluster;
using client::Pattern;
constexpr uint64_t kRoot = 1;

/// One mount. What the kernel would ask is asked and waited for.
class Mounted {
 public:
  explicit Mounted(FakeCluster& c) : c_(c), core_(c.MakeClient()) {
    FileSystemOptions options;
    options.leases = false;
    c_.OnClient([&] { files_ = std::make_unique<FileSystem>(core_, options); });
  }
  ~Mounted() {
    c_.OnClient([&] { files_.reset(); });
  }

  Descriptor* Create(const std::string& name, int flags = O_RDWR) {
    return Opened([&](FileSystem::OpenDone done) {
      files_->Create(Caller(), kRoot, name, 0644, flags, std::move(done));
    });
  }
  Descriptor* Open(uint64_t inode, int flags = O_RDWR) {
    return Opened(
        [&](FileSystem::OpenDone done) { files_->Open(Caller(), inode, flags, std::move(done)); });
  }
  Status Write(Descriptor* d, uint64_t offset, std::string data) {
    return c_.WaitStatus([&](client::StatusDone done) {
      files_->Write(d, offset, Buffer(std::move(data)), std::move(done));
    });
  }
  std::string Read(Descriptor* d, uint64_t offset, size_t size) {
    auto data = c_.Wait<Buffer>(
        [&](client::Done<Buffer> done) { files_->Read(d, offset, size, std::move(done)); });
    return data ? std::string(data->view()) : "error: " + data.error().ToString();
  }
  Status Flush(Descriptor* d) {
    return c_.WaitStatus([&](client::StatusDone done) { files_->Flush(d, std::move(done)); });
  }
  Status Sync(Descriptor* d) {
    return c_.WaitStatus([&](client::StatusDone done) { files_->Sync(d, std::move(done)); });
  }
  void Release(Descriptor* d) {
    c_.OnClient([&] { files_->Release(d); });
  }
  idl::Attr GetAttr(uint64_t inode) {
    auto attr = c_.Wait<idl::Attr>(
        [&](client::Done<idl::Attr> done) { files_->GetAttr(Caller(), inode, std::move(done)); });
    EXPECT_TRUE(attr.ok()) << attr.status().ToString();
    return attr.value_or(idl::Attr());
  }
  Status SetAttr(uint64_t inode, const AttrChange& change) {
    return c_
        .Wait<idl::Attr>([&](client::Done<idl::Attr> done) {
          files_->SetAttr(Caller(), inode, change, std::move(done));
        })
        .status();
  }
  Status Truncate(uint64_t inode, uint64_t size) {
    AttrChange change;
    change.mask = 8;
    change.size = size;
    return SetAttr(inode, change);
  }

 private:
  Descriptor* Opened(const std::function<void(FileSystem::OpenDone)>& start) {
    std::optional<Result<Descriptor*>> answer;
    c_.OnClient([&] {
      start([&](Result<Descriptor*> d, const idl::Attr*) { answer.emplace(std::move(d)); });
    });
    EXPECT_TRUE(c_.RunUntil([&] { return answer.has_value(); }));
    EXPECT_TRUE(answer.has_value() && answer->ok());
    return answer.has_value() && answer->ok() ? **answer : nullptr;
  }

  FakeCluster& c_;
  std::shared_ptr<client::ClientCore> core_;
  std::unique_ptr<FileSystem> files_;
};

uint64_t InodeOf(FakeCluster& c, const std::string& name) {
  return c.names[name];
}
client::FakeFile& FileOf(FakeCluster& c, const std::string& name) {
  return client::File(c, name);
}

bool NoBlockOpen(FakeCluster& c, const std::string& name) {
  for (const auto& [slot, block] : FileOf(c, name).slots) {
    if (block.open) return false;
  }
  return true;
}

TEST(FuseFileSystem, WhatIsWrittenIsReadAndSeenBeforeItIsFlushed) {
  for (const size_t size : {10u, 10'000u, 100'000u}) {
    FakeCluster c(size);
    Mounted m(c);
    const std::string data = Pattern(size, 1);
    Descriptor* d = m.Create("f");
    Descriptor* other = m.Open(InodeOf(c, "f"), O_RDONLY);
    ASSERT_TRUE(m.Write(d, 0, data).ok());
    EXPECT_EQ(m.GetAttr(InodeOf(c, "f")).size, static_cast<int64_t>(size));
    EXPECT_TRUE(m.Read(other, 0, size + 100) == data) << "another descriptor of the mount";
    ASSERT_TRUE(m.Flush(d).ok());
    EXPECT_TRUE(Content(c, "f") == data) << "another mount, after close(2)";
    m.Release(d);
    m.Release(other);
    ASSERT_TRUE(c.RunUntil([&] { return NoBlockOpen(c, "f"); }));
    EXPECT_TRUE(Content(c, "f") == data);
    EXPECT_EQ(c.violations, std::vector<std::string>());
  }
}

TEST(FuseFileSystem, AppendingGoesToTheTrueEnd) {
  FakeCluster c(2);
  Mounted m(c);
  Descriptor* a = m.Create("f", O_WRONLY | O_APPEND);
  Descriptor* b = m.Open(InodeOf(c, "f"), O_WRONLY | O_APPEND);
  // The kernel's offsets are its own idea of the end.
  ASSERT_TRUE(m.Write(a, 0, "one").ok());
  ASSERT_TRUE(m.Write(b, 0, "two").ok());
  ASSERT_TRUE(m.Write(a, 3, "three").ok());
  ASSERT_TRUE(m.Sync(b).ok());
  EXPECT_EQ(Content(c, "f"), "onetwothree");
}

TEST(FuseFileSystem, AWriteIsOnTheDisksWhenSyncReturnsAlsoFromAnotherDescriptor) {
  FakeCluster c(3);
  Mounted m(c);
  const std::string data = Pattern(200'000, 1);
  Descriptor* writer = m.Create("f");
  Descriptor* reader = m.Open(InodeOf(c, "f"), O_RDONLY);
  ASSERT_TRUE(m.Write(writer, 0, data).ok());
  m.Release(writer);  // closing goes on in the background, and the sync waits for it
  ASSERT_TRUE(m.Sync(reader).ok());
  const auto& block = FileOf(c, "f").slots[0];
  ASSERT_EQ(block.members.size(), 3u);
  for (const uint64_t member : block.members) {
    EXPECT_TRUE(c.replicas[member][block.id].synced == data);
  }
}

TEST(FuseFileSystem, OthersSeeWhatWasWrittenASecondLaterAndMayWriteSoonAfter) {
  FakeCluster c(4);
  Mounted m(c);
  const std::string data = Pattern(100'000, 1);
  Descriptor* d = m.Create("f");
  ASSERT_TRUE(m.Write(d, 0, data).ok());
  ASSERT_TRUE(c.RunUntil([&] { return FileOf(c, "f").attr.size == 100'000; }, 3 * kSecond));
  EXPECT_FALSE(NoBlockOpen(c, "f"));
  ASSERT_TRUE(c.RunUntil([&] { return NoBlockOpen(c, "f"); }, 10 * kSecond))
      << "the descriptor is open, but nobody writes";
  ASSERT_TRUE(m.Write(d, 100'000, "more").ok());
  ASSERT_TRUE(m.Sync(d).ok());
  EXPECT_TRUE(Content(c, "f") == data + "more");
}

TEST(FuseFileSystem, TruncationDownAndUpLeavesZeros) {
  for (const size_t size : {5'000u, 100'000u}) {
    FakeCluster c(size + 5);
    Mounted m(c);
    const std::string data = Pattern(size, 1);
    Descriptor* d = m.Create("f");
    const uint64_t inode = InodeOf(c, "f");
    ASSERT_TRUE(m.Write(d, 0, data).ok());
    ASSERT_TRUE(m.Truncate(inode, 1'000).ok());
    EXPECT_EQ(m.GetAttr(inode).size, 1'000);
    ASSERT_TRUE(m.Truncate(inode, size).ok());
    const std::string expected = data.substr(0, 1'000) + std::string(size - 1'000, '\0');
    EXPECT_TRUE(m.Read(d, 0, size) == expected);
    ASSERT_TRUE(m.Write(d, size, "end").ok());
    EXPECT_TRUE(m.Read(d, 0, size + 3) == expected + "end");
    ASSERT_TRUE(m.Sync(d).ok());
    EXPECT_EQ(c.violations, std::vector<std::string>());
  }
}

TEST(FuseFileSystem, TimesThatWereSetStayThroughAFlush) {
  for (const size_t size : {10u, 100'000u}) {
    FakeCluster c(size + 6);
    Mounted m(c);
    Descriptor* d = m.Create("f");
    const uint64_t inode = InodeOf(c, "f");
    ASSERT_TRUE(m.Write(d, 0, Pattern(size, 1)).ok());
    AttrChange times;
    times.mask = 32;
    times.mtime_ns = 1'234;
    ASSERT_TRUE(m.SetAttr(inode, times).ok());
    m.Release(d);
    ASSERT_TRUE(c.RunUntil([&] { return NoBlockOpen(c, "f"); }));
    EXPECT_EQ(FileOf(c, "f").attr.size, static_cast<int64_t>(size));
    EXPECT_EQ(FileOf(c, "f").attr.mtime_ns, 1'234);
  }
}

TEST(FuseFileSystem, ATruncationWaitsForAnotherMountsClose) {
  FakeCluster c(7);
  Mounted one(c);
  Mounted two(c);
  Descriptor* d = one.Create("f");
  ASSERT_TRUE(one.Write(d, 0, Pattern(100'000, 1)).ok());
  ASSERT_TRUE(one.Flush(d).ok());
  EXPECT_FALSE(NoBlockOpen(c, "f"));
  ASSERT_TRUE(two.Truncate(InodeOf(c, "f"), 5'000).ok()) << "not busy: the writer is idle soon";
  EXPECT_EQ(FileOf(c, "f").attr.size, 5'000);
}

TEST(FuseFileSystem, TwoMountsThatWriteToASmallFileInTurnsKeepAllOfIt) {
  FakeCluster c(10);
  Mounted one(c);
  Mounted two(c);
  Descriptor* a = one.Create("f", O_RDWR | O_APPEND);
  Descriptor* b = two.Open(InodeOf(c, "f"), O_RDWR | O_APPEND);
  std::string expected;
  for (int i = 0; i < 20; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    Mounted& m = i % 3 == 0 ? one : two;
    Descriptor* d = i % 3 == 0 ? a : b;
    ASSERT_TRUE(m.Write(d, 0, line).ok());
    ASSERT_TRUE(m.Sync(d).ok());
    expected += line;
    one.GetAttr(InodeOf(c, "f"));  // as the kernel does before it reads
    EXPECT_EQ(one.Read(a, 0, 1'000), expected);
  }
  EXPECT_EQ(c.Content(InodeOf(c, "f")), expected);
}

TEST(FuseFileSystem, TwoMountsThatWriteToASmallFileAtOnceLoseNothingThatWasSynced) {
  FakeCluster c(11);
  Mounted one(c);
  Mounted two(c);
  Descriptor* a = one.Create("f");
  Descriptor* b = two.Open(InodeOf(c, "f"));
  ASSERT_TRUE(one.Write(a, 0, "first").ok());
  ASSERT_TRUE(two.Write(b, 5, "second").ok());
  ASSERT_TRUE(one.Sync(a).ok());
  EXPECT_FALSE(two.Sync(b).ok()) << "its content is without the other's bytes";
  EXPECT_EQ(c.Content(InodeOf(c, "f")), "first");
  ASSERT_TRUE(two.Write(b, 5, "second").ok()) << "told once, it goes on";
  ASSERT_TRUE(two.Sync(b).ok());
  EXPECT_EQ(c.Content(InodeOf(c, "f")), "firstsecond");
}

TEST(FuseFileSystem, AnErrorOfWritingIsToldToEachDescriptorOnce) {
  FakeCluster c(8);
  Mounted m(c);
  Descriptor* a = m.Create("f");
  Descriptor* b = m.Open(InodeOf(c, "f"), O_RDWR);
  ASSERT_TRUE(m.Write(a, 0, Pattern(100'000, 1)).ok());
  ASSERT_TRUE(m.Sync(a).ok());
  for (uint64_t datanode = 1; datanode <= 3; ++datanode) c.DatanodeDown(datanode);
  ASSERT_TRUE(m.Write(a, 0, Pattern(100'000, 2)).ok()) << "taken, not yet sent";
  EXPECT_FALSE(m.Sync(a).ok());
  EXPECT_FALSE(m.Flush(b).ok()) << "whichever descriptor's write it was";
  EXPECT_TRUE(m.Flush(b).ok()) << "once";
  EXPECT_TRUE(m.Flush(a).ok());
  Descriptor* later = m.Open(InodeOf(c, "f"), O_RDONLY);
  EXPECT_TRUE(m.Flush(later).ok()) << "opened after the error";
}

TEST(FuseFileSystem, ADescriptorMayGoWhileItsWriteIsUnderWay) {
  FakeCluster c(9);
  Mounted m(c);
  const std::string data = Pattern(300'000, 1);
  Descriptor* d = m.Create("f");
  ASSERT_TRUE(m.Write(d, 0, data).ok());
  m.Release(d);
  Descriptor* again = m.Open(InodeOf(c, "f"), O_RDWR);
  ASSERT_TRUE(m.Write(again, data.size(), "more").ok());
  ASSERT_TRUE(m.Sync(again).ok());
  EXPECT_TRUE(Content(c, "f") == data + "more");
  EXPECT_EQ(c.violations, std::vector<std::string>());
}

}  // namespace
}  // namespace dfs::fuse
