// Histogram of latencies: 32 buckets for each power of two, so a percentile is right to 3%. Plain memory,
// fit for a mapping that processes share; each writer has its own.
#pragma once

#include <bit>
#include <cstdint>

namespace dfs::bench {

struct Histogram {
  static constexpr int kSubBits = 5;
  static constexpr int kBuckets = 40 << kSubBits;
  uint64_t counts[kBuckets] = {};
  uint64_t total = 0;
  int64_t max_ns = 0;

  void Add(int64_t ns) {
    ++counts[BucketOf(ns)];
    ++total;
    if (ns > max_ns) max_ns = ns;
  }
  void Merge(const Histogram& other) {
    for (int i = 0; i < kBuckets; ++i) counts[i] += other.counts[i];
    total += other.total;
    if (other.max_ns > max_ns) max_ns = other.max_ns;
  }
  /// part in [0, 1]; 0 when empty.
  int64_t Percentile(double part) const {
    if (total == 0) return 0;
    const auto rank = static_cast<uint64_t>(part * static_cast<double>(total - 1)) + 1;
    uint64_t seen = 0;
    for (int i = 0; i < kBuckets; ++i) {
      seen += counts[i];
      if (seen >= rank) return MiddleOf(i);
    }
    return max_ns;
  }

 private:
  static int BucketOf(int64_t ns) {
    const auto value = static_cast<uint64_t>(ns < 0 ? 0 : ns);
    if (value < (1u << kSubBits)) return static_cast<int>(value);
    const int top = 63 - std::countl_zero(value);
    const int shift = top - kSubBits;
    const int bucket =
        ((shift + 1) << kSubBits) + static_cast<int>((value >> shift) - (1u << kSubBits));
    return bucket < kBuckets ? bucket : kBuckets - 1;
  }
  static int64_t MiddleOf(int bucket) {
    if (bucket < (2 << kSubBits)) return bucket;
    const int shift = (bucket >> kSubBits) - 1;
    const int64_t low = static_cast<int64_t>((bucket & ((1 << kSubBits) - 1)) + (1 << kSubBits))
                        << shift;
    return low + (int64_t{1} << shift) / 2;
  }
};

}  // namespace dfs::bench
