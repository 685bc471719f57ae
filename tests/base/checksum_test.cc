// The sums that lie on disks: whichever instructions compute them, they are these.
#include "common/base/checksum.h"

#include <gtest/gtest.h>

#include <string>

namespace dfs {
namespace {

TEST(Checksum, IsXxh3OnEveryProcessor) {
  std::string data;
  for (int i = 0; i < (1 << 20); ++i) data.push_back(static_cast<char>(i * 31 + (i >> 8) + 7));
  struct Known {
    size_t size;
    uint64_t sum, seeded;  // by the library's plain functions
  };
  const Known known[] = {
      {0, 0x2d06800538d394c2u, 0xb029411ff43d84d2u},
      {1, 0x4c5cca45d0f4811fu, 0xc72384329881f542u},
      {36, 0x362c6fed990fb45fu, 0xe6e60f85ee40b54du},
      {240, 0xccc7375172c41f03u, 0x4b05be6354f2e1c7u},
      {241, 0x0b3b630948ce4a00u, 0x015f3bb61c188b1au},
      {1024, 0x802a7b75d723b480u, 0xaaae55d7a0d69734u},
      {4095, 0x9fda23696be49be6u, 0x593a090394f2c269u},
      {4096, 0x0d8c6a22f49cd045u, 0x7d4e3c99737b86c0u},
      {1048576, 0x56b7de8e76240a45u, 0x190788feac34c118u},
  };
  for (const Known& k : known) {
    const std::string_view bytes = std::string_view(data).substr(0, k.size);
    EXPECT_EQ(Hash64(bytes), k.sum) << k.size;
    EXPECT_EQ(Hash64(bytes, 42), k.seeded) << k.size;
  }
  EXPECT_EQ(ChunkSum(std::string_view(data).substr(0, kChunkSize)),
            Hash64(std::string_view(data).substr(0, 4096)));
}

}  // namespace
}  // namespace dfs
