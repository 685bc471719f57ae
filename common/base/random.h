// Seedable randomness (xoshiro256**, Blackman and Vigna 2018). Thread-compatible.
#pragma once

#include <cstdint>

namespace dfs {

class Random {
 public:
  explicit Random(uint64_t seed);
  /// Seeded from the operating system.
  static Random FromSystem();

  uint64_t Next();
  /// Uniform in [0, bound); bound > 0.
  uint64_t Uniform(uint64_t bound);
  /// Uniform in [low, high].
  int64_t Between(int64_t low, int64_t high);
  bool OneIn(uint64_t n) { return Uniform(n) == 0; }
  /// True with probability numerator/denominator.
  bool Chance(uint64_t numerator, uint64_t denominator) { return Uniform(denominator) < numerator; }

 private:
  uint64_t s_[4];
};

/// Fills with bytes fit for keys and secrets (getrandom).
void FillSecureRandom(void* data, uint64_t size);

}  // namespace dfs
