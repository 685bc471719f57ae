#include "common/base/random.h"

#include <errno.h>
#include <sys/random.h>

#include <bit>

#include "common/base/check.h"

namespace dfs {

namespace {

// SplitMix64: spreads one seed word over the whole state, as the generator's authors advise.
uint64_t SplitMix(uint64_t* x) {
  uint64_t z = (*x += 0x9E3779B97F4A7C15ull);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ull;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBull;
  return z ^ (z >> 31);
}

}  // namespace

Random::Random(uint64_t seed) {
  for (uint64_t& s : s_) s = SplitMix(&seed);
}

Random Random::FromSystem() {
  uint64_t seed = 0;
  FillSecureRandom(&seed, sizeof(seed));
  return Random(seed);
}

uint64_t Random::Next() {
  const uint64_t result = std::rotl(s_[1] * 5, 7) * 9;
  const uint64_t t = s_[1] << 17;
  s_[2] ^= s_[0];
  s_[3] ^= s_[1];
  s_[1] ^= s_[2];
  s_[0] ^= s_[3];
  s_[2] ^= t;
  s_[3] = std::rotl(s_[3], 45);
  return result;
}

uint64_t Random::Uniform(uint64_t bound) {
  DFS_CHECK(bound > 0);
  // Multiply-shift with rejection (Lemire): unbiased, and one multiplication in the common case.
  unsigned __int128 m = static_cast<unsigned __int128>(Next()) * bound;
  uint64_t low = static_cast<uint64_t>(m);
  if (low < bound) {
    const uint64_t threshold = -bound % bound;
    while (low < threshold) {
      m = static_cast<unsigned __int128>(Next()) * bound;
      low = static_cast<uint64_t>(m);
    }
  }
  return static_cast<uint64_t>(m >> 64);
}

int64_t Random::Between(int64_t low, int64_t high) {
  DFS_CHECK(low <= high);
  const uint64_t range = static_cast<uint64_t>(high) - static_cast<uint64_t>(low) + 1;
  if (range == 0) return static_cast<int64_t>(Next());  // the whole domain
  return static_cast<int64_t>(static_cast<uint64_t>(low) + Uniform(range));
}

void FillSecureRandom(void* data, uint64_t size) {
  char* p = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t n = ::getrandom(p, size, 0);
    if (n < 0) {
      DFS_CHECK(errno == EINTR, "getrandom failed with errno {}", errno);
      continue;
    }
    p += n;
    size -= static_cast<uint64_t>(n);
  }
}

}  // namespace dfs
