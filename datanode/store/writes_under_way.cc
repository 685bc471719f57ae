#include "datanode/store/writes_under_way.h"

#include <algorithm>

namespace dfs::dn {

void WritesUnderWay::Begin(uint64_t epoch, bool tail) {
  std::lock_guard<std::mutex> hold(mutex_);
  epoch_ = epoch;
  if (tail) ranges_.clear();
  for (Range& range : ranges_) range.seq = 0;
  if (ranges_.size() <= kMaxLeft) return;
  Range all = ranges_.front();
  for (const Range& range : ranges_) {
    all.begin = std::min(all.begin, range.begin);
    all.end = std::max(all.end, range.end);
  }
  ranges_ = {all};
}

void WritesUnderWay::Add(uint64_t epoch, uint64_t seq, uint64_t begin, uint64_t end) {
  if (begin >= end) return;
  std::lock_guard<std::mutex> hold(mutex_);
  if (epoch == epoch_) ranges_.push_back({seq, begin, end});
}

void WritesUnderWay::Acked(uint64_t epoch, uint64_t seq) {
  std::lock_guard<std::mutex> hold(mutex_);
  if (epoch != epoch_) return;
  const auto acked = [&](const Range& r) { return r.seq != 0 && r.seq <= seq; };
  for (size_t i = 0; i < ranges_.size(); ++i) {
    if (!acked(ranges_[i])) continue;
    const Range done = ranges_[i];
    for (Range& left : ranges_) {
      if (left.seq == 0 && left.begin >= done.begin && left.end <= done.end) left.end = left.begin;
    }
  }
  std::erase_if(ranges_, [&](const Range& r) { return acked(r) || r.begin == r.end; });
}

void WritesUnderWay::Clear() {
  std::lock_guard<std::mutex> hold(mutex_);
  ranges_.clear();
}

bool WritesUnderWay::Touches(uint64_t begin, uint64_t end) const {
  std::lock_guard<std::mutex> hold(mutex_);
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [&](const Range& r) { return r.begin < end && begin < r.end; });
}

}  // namespace dfs::dn
