// The cache in front of the store may forget, but what it says is so.
#include "namenode/state/kv_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <optional>

#include "common/base/random.h"

namespace dfs::nn {
namespace {

TEST(KvCache, KnowsOrDoesNotKnowAndIsNeverWrong) {
  KvCache cache(64u << 10);                                // much less than what is put
  std::map<std::string, std::optional<std::string>> told;  // nullopt: absent
  Random random(11);
  int present = 0, absent = 0;
  for (int i = 0; i < 200'000; ++i) {
    const std::string key = "k" + std::to_string(random.Uniform(3'000));
    switch (random.Uniform(5)) {
      case 0: {
        const std::string value(random.Uniform(10) == 0 ? 1'500 : random.Uniform(200), 'v');
        cache.Put(key, value);
        told[key] = value;
        break;
      }
      case 1:
        cache.PutAbsent(key);
        told[key] = std::nullopt;
        break;
      case 2:
        if (random.Uniform(4) == 0) {
          cache.Erase(key);
          told.erase(key);
        }
        break;
      default: {
        std::string_view value;
        const KvCache::Answer answer = cache.Get(key, &value);
        if (answer == KvCache::Answer::kUnknown) break;
        auto it = told.find(key);
        ASSERT_NE(it, told.end()) << "erased";
        ASSERT_EQ(answer == KvCache::Answer::kPresent, it->second.has_value());
        if (it->second) {
          ASSERT_EQ(value, *it->second);
        }
        ++(it->second ? present : absent);
      }
    }
    ASSERT_LE(cache.bytes(), 64u << 10);
  }
  EXPECT_GT(present, 1'000);
  EXPECT_GT(absent, 1'000);
  cache.Clear();
  std::string_view value;
  for (const auto& [key, v] : told) {
    EXPECT_EQ(cache.Get(key, &value), KvCache::Answer::kUnknown);
  }
}

}  // namespace
}  // namespace dfs::nn
