// What the tests of datanode/store share.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "common/base/fault_env.h"
#include "common/wire/packet.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

inline constexpr const char* kTestCluster = "11111111-2222-3333-4444-555555555555";

class ManualClock : public Clock {
 public:
  int64_t BootNs() const override { return now_; }
  int64_t WallNs() const override { return now_; }
  void Advance(int64_t ns) { now_ += ns; }

 private:
  int64_t now_ = 1000 * kSecond;
};

inline std::string RandomBytes(Random& random, size_t size) {
  std::string s(size, '\0');
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    const uint64_t x = random.Next();
    std::memcpy(s.data() + i, &x, 8);
  }
  for (; i < size; i++) s[i] = static_cast<char>(random.Next());
  return s;
}

inline Status WriteBytes(const OpenedReplica& open, uint64_t offset, std::string_view data) {
  const auto sums = wire::RangeSums(offset, data);
  return open.replica->Write(open.ticket, offset, data, sums.data(), sums.size());
}

inline Result<OpenedReplica> OpenWrite(BlockStore& store, uint64_t block, uint64_t old_stamp,
                                       uint64_t stamp, uint64_t acked) {
  OpenForWriteRequest request;
  request.old_stamp = Stamp(old_stamp);
  request.stamp = Stamp(stamp);
  request.acked_length = acked;
  return store.OpenForWrite(BlockId(block), request);
}

/// The whole content, verified.
inline Result<std::string> ReadAll(const ReplicaPtr& replica) {
  std::string all;
  const uint64_t length = replica->info().length;
  for (uint64_t at = 0; at < length; at += 1 << 20) {
    DFS_ASSIGN_OR_RETURN(const ChunkData data, replica->Read(at, 1 << 20));
    all.append(data.data.view());
  }
  return all;
}

inline StoreOptions TestOptions(std::vector<std::string> volumes) {
  StoreOptions options;
  options.cluster_id = kTestCluster;
  options.volumes = std::move(volumes);
  return options;
}

#define DFS_EXPECT_OK(expr)                                    \
  do {                                                         \
    const ::dfs::Status dfs_expected = (expr);                 \
    EXPECT_TRUE(dfs_expected.ok()) << dfs_expected.ToString(); \
  } while (false)
#define DFS_ASSERT_OK(expr)                                    \
  do {                                                         \
    const ::dfs::Status dfs_expected = (expr);                 \
    ASSERT_TRUE(dfs_expected.ok()) << dfs_expected.ToString(); \
  } while (false)

}  // namespace dfs::dn
