#include "common/base/clock.h"

#include <time.h>

namespace dfs {

namespace {

int64_t ReadClock(clockid_t id) {
  timespec ts{};
  ::clock_gettime(id, &ts);
  return static_cast<int64_t>(ts.tv_sec) * kSecond + ts.tv_nsec;
}

class SystemClockImpl final : public Clock {
 public:
  int64_t BootNs() const override { return ReadClock(CLOCK_BOOTTIME); }
  int64_t WallNs() const override { return ReadClock(CLOCK_REALTIME); }
};

}  // namespace

const Clock& SystemClock() {
  static const SystemClockImpl clock;
  return clock;
}

}  // namespace dfs
