#include "common/base/trash_name.h"

#include <fmt/format.h>

#include <charconv>
#include <chrono>

#include "common/base/clock.h"

namespace dfs {

namespace {
constexpr std::string_view kForm = "00000000T000000.000000000Z-";  // 0: a digit
constexpr size_t kMaxDepthDigits = 5;

bool ParseDigits(std::string_view text, int64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size();
}
}  // namespace

std::string TrashEntryName(const TrashEntry& entry) {
  using namespace std::chrono;
  const sys_time<nanoseconds> at{nanoseconds(entry.removed_ns)};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss<nanoseconds> time(at - day);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}.{:09}Z-{}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()),
                     time.hours().count(), time.minutes().count(), time.seconds().count(),
                     time.subseconds().count(), entry.depth);
}

bool ParseTrashEntryName(std::string_view name, TrashEntry* entry) {
  if (name.size() <= kForm.size() || name.size() > kForm.size() + kMaxDepthDigits) return false;
  for (size_t i = 0; i < kForm.size(); ++i) {
    const bool digit = name[i] >= '0' && name[i] <= '9';
    if (kForm[i] == '0' ? !digit : name[i] != kForm[i]) return false;
  }
  const std::string_view tail = name.substr(kForm.size());
  int64_t year = 0, month = 0, day = 0, hour = 0, minute = 0, second = 0, fraction = 0, depth = 0;
  if (!ParseDigits(name.substr(0, 4), &year) || !ParseDigits(name.substr(4, 2), &month) ||
      !ParseDigits(name.substr(6, 2), &day) || !ParseDigits(name.substr(9, 2), &hour) ||
      !ParseDigits(name.substr(11, 2), &minute) || !ParseDigits(name.substr(13, 2), &second) ||
      !ParseDigits(name.substr(16, 9), &fraction) || !ParseDigits(tail, &depth) || depth < 1) {
    return false;
  }
  using namespace std::chrono;
  const year_month_day date(std::chrono::year(static_cast<int>(year)),
                            std::chrono::month(static_cast<unsigned>(month)),
                            std::chrono::day(static_cast<unsigned>(day)));
  // Years that nanoseconds can count.
  if (!date.ok() || year < 1970 || year > 2200 || hour > 23 || minute > 59 || second > 59) {
    return false;
  }
  const int64_t days_since = sys_days(date).time_since_epoch().count();
  entry->removed_ns =
      (((days_since * 24 + hour) * 60 + minute) * 60 + second) * kSecond + fraction;
  entry->depth = static_cast<size_t>(depth);
  return true;
}

bool IsInTrash(std::string_view path) {
  return path.substr(0, kTrashPath.size()) == kTrashPath &&
         (path.size() == kTrashPath.size() || path[kTrashPath.size()] == '/');
}

}  // namespace dfs
