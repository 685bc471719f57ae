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

/// A store on one volume, on disks that can be made to fail.
class StoreTest : public ::testing::Test {
 protected:
  StoreTest() : random_(7) { EXPECT_TRUE(env_.CreateDirs("/v1").ok()); }

  void OpenStore(std::vector<std::string> volumes = {"/v1"}) {
    store_.reset();
    auto store = BlockStore::Open(TestOptions(std::move(volumes)), env_, clock_, 3);
    ASSERT_TRUE(store.ok()) << store.error().ToString();
    store_ = std::move(*store);
    corrupt_.clear();
    BlockStore::Events events;
    events.corrupt = [this](const ReplicaInfo& info) { corrupt_.push_back(info); };
    events.finalized = [this](const ReplicaInfo& info) { finalized_.push_back(info); };
    store_->SetEvents(std::move(events));
  }

  OpenedReplica New(uint64_t block = 5, uint64_t stamp = 10) {
    auto open = OpenWrite(*store_, block, 0, stamp, 0);
    EXPECT_TRUE(open.ok()) << open.error().ToString();
    return *open;
  }

  /// A finalized block on disk.
  std::string MakeFinalized(uint64_t block, uint64_t stamp, size_t size) {
    auto open = New(block, stamp);
    const std::string data = RandomBytes(random_, size);
    for (size_t at = 0; at < size; at += 512 << 10) {
      EXPECT_TRUE(WriteBytes(open, at, std::string_view(data).substr(at, 512 << 10)).ok());
    }
    EXPECT_TRUE(store_->Finalize(open.replica, open.ticket, true).ok());
    return data;
  }

  void Restart(bool power_cut) {
    store_.reset();
    if (power_cut) {
      env_.Crash(random_, FaultEnv::CrashMode::kDropUnsynced);
    } else {
      env_.KillProcess();
    }
    OpenStore();
  }

  FaultEnv env_;
  ManualClock clock_;
  Random random_;
  std::unique_ptr<BlockStore> store_;
  std::vector<ReplicaInfo> corrupt_;
  std::vector<ReplicaInfo> finalized_;
};

}  // namespace dfs::dn
