// What a mount may serve by itself, and what it gives back to make room.
#include "fuse/lease_cache.h"

#include <gtest/gtest.h>

#include "dfs_types.h"

namespace dfs::fuse {
namespace {

constexpr uint64_t kDir = 10, kOther = 11, kFile = 20;

TEST(LeaseCache, KnowsNothingOfWhatItHoldsNoLeaseOn) {
  LeaseCache cache(10, 10);
  cache.PutName(kDir, "n", kFile);
  cache.SetComplete(kDir);
  EXPECT_FALSE(cache.FindName(kDir, "n"));
  cache.Hold(kDir);
  EXPECT_FALSE(cache.FindName(kDir, "n")) << "from before the lease";
  EXPECT_FALSE(cache.HasNames(kDir));
}

TEST(LeaseCache, InACompleteDirectoryUnknownNamesAreAbsent) {
  LeaseCache cache(10, 10);
  cache.Hold(kDir);
  cache.SetComplete(kDir);
  EXPECT_TRUE(cache.HasNames(kDir)) << "absent ones";
  EXPECT_EQ(cache.FindName(kDir, "n"), LeaseCache::kAbsent);
  cache.PutName(kDir, "n", kFile);
  EXPECT_EQ(cache.FindName(kDir, "n"), kFile);
  EXPECT_EQ(cache.FindName(kDir, "other"), LeaseCache::kAbsent);
}

TEST(LeaseCache, ADroppedNameEndsCompleteness) {
  LeaseCache cache(10, 10);
  cache.Hold(kDir);
  cache.SetComplete(kDir);
  cache.PutName(kDir, "n", kFile);
  EXPECT_TRUE(cache.DropName(kDir, "never seen")) << "the kernel may have been told that it is absent";
  EXPECT_FALSE(cache.FindName(kDir, "never seen"));
  EXPECT_EQ(cache.FindName(kDir, "n"), kFile);
  EXPECT_FALSE(cache.DropName(kDir, "never seen"));
  EXPECT_TRUE(cache.DropName(kDir, "n"));
  cache.Drop(kDir);
  cache.Hold(kDir);
  EXPECT_FALSE(cache.FindName(kDir, "n"));
}

TEST(LeaseCache, TheLeastUsedLeasesGo) {
  LeaseCache cache(2, 10);
  cache.Hold(kDir);
  cache.Hold(kOther);
  EXPECT_FALSE(cache.FindName(kDir, "n"));  // used
  cache.Hold(kFile);
  EXPECT_EQ(cache.TakeEvicted(), std::vector<uint64_t>{kOther});
  EXPECT_TRUE(cache.Holds(kDir));
}

TEST(LeaseCache, OneDirectoryWithTooManyNamesGoes) {
  LeaseCache cache(10, 3);
  cache.Hold(kDir);
  cache.SetComplete(kDir);
  for (int i = 0; i < 3; ++i) cache.PutName(kDir, std::to_string(i), kFile);
  EXPECT_TRUE(cache.TakeEvicted().empty());
  cache.PutName(kDir, "3", kFile);
  EXPECT_EQ(cache.TakeEvicted(), std::vector<uint64_t>{kDir});
  EXPECT_EQ(cache.names(), 0u);
  EXPECT_FALSE(cache.FindName(kDir, "4")) << "not taken for absent";
}

}  // namespace
}  // namespace dfs::fuse
