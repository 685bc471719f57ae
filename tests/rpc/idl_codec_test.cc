// The struct codec under bad input: it is what every request of a stranger goes through.
#include "common/idl/codec.h"

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "dfs_types.h"

namespace dfs::idl {
namespace {

ListDirectoryReply Reply(int entries) {
  ListDirectoryReply reply;
  std::vector<DirectoryEntry> list;
  for (int i = 0; i < entries; ++i) {
    DirectoryEntry entry;
    entry.__set_name("name-" + std::to_string(i));
    entry.__set_inode(i + 100);
    Attr attr;
    attr.__set_size(i * 1000);
    entry.__set_attr(attr);
    list.push_back(std::move(entry));
  }
  reply.__set_entries(std::move(list));
  reply.__set_directory(7);
  return reply;
}

TEST(IdlCodec, RoundTripsOfManySizesOnOneThread) {
  for (int entries : {0, 1, 3000, 2, 20000, 1}) {
    ListDirectoryReply reply = Reply(entries);
    ListDirectoryReply read;
    ASSERT_TRUE(Decode(Encode(reply).view(), &read).ok());
    EXPECT_TRUE(read == reply) << entries;
  }
}

TEST(IdlCodec, ATruncatedMessageFailsAndTheNextOneIsReadAsIfNothingHadHappened) {
  Buffer bytes = Encode(Reply(5));
  for (size_t size = 0; size < bytes.size(); ++size) {
    ListDirectoryReply read;
    EXPECT_EQ(Decode(bytes.view().substr(0, size), &read).code(), Code::kProtocol) << size;
    ListDirectoryReply whole;
    ASSERT_TRUE(Decode(bytes.view(), &whole).ok()) << "after one cut at " << size;
    ASSERT_TRUE(whole == Reply(5));
  }
}

TEST(IdlCodec, ClaimsAreCheckedBeforeTheyAreBelieved) {
  // Field 2 of Ref, a string of 2^31-1 bytes; a list of 2^31-1 entries; nesting without end in an unknown field.
  const std::string string_claim("\x28\xff\xff\xff\xff\x07", 6);
  Ref ref;
  EXPECT_EQ(Decode(string_claim, &ref).code(), Code::kProtocol);
  EXPECT_LT(ref.path.capacity(), 1000u);
  const std::string list_claim("\x29\xfc\xff\xff\xff\xff\x07", 7);
  ListDirectoryReply list;
  EXPECT_EQ(Decode(list_claim, &list).code(), Code::kProtocol);
  EXPECT_LT(list.entries.capacity(), 1000u);
  const std::string modest_claim("\x29\xfc\xff\xff\x3f",
                                 5);  // 2^20 - 1 entries, which the general limit allows
  EXPECT_EQ(Decode(modest_claim, &list).code(), Code::kProtocol);
  EXPECT_LT(list.entries.capacity(), 1000u);
  std::string nested(1 << 20, '\x9c');
  Empty empty;
  EXPECT_EQ(Decode(nested, &empty).code(), Code::kProtocol);
}

TEST(IdlCodec, DamagedMessagesCrashNothing) {
  Buffer good = Encode(Reply(20));
  for (uint64_t seed = 1; seed <= 5000; ++seed) {
    Random random(seed);
    std::string bytes(good.view());
    for (uint64_t i = random.Uniform(5); i < 5; ++i) {
      bytes[random.Uniform(bytes.size())] = static_cast<char>(random.Next());
    }
    ListDirectoryReply read;
    [[maybe_unused]] Status status = Decode(bytes, &read);
    EXPECT_TRUE(status.ok() || status.Is(Code::kProtocol));
  }
}

}  // namespace
}  // namespace dfs::idl
