#include "namenode/service/audit_event.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

namespace dfs::nn {

namespace {

/// Length of the well-formed UTF-8 character that text begins with, 0 when there is none.
size_t CharacterAt(std::string_view text, uint32_t* code_point) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  const size_t length = first < 0x80   ? 1
                        : first < 0xC2 ? 0  // in the middle of one, or longer than it need be
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  if (length == 0 || length > text.size()) return 0;
  if (length == 1) {
    *code_point = first;
    return 1;
  }
  uint32_t value = first & (0x7Fu >> length);
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
    value = value << 6 | (byte(i) & 0x3Fu);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < kLeast[length] || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return 0;
  *code_point = value;
  return length;
}

bool IsHarmless(uint32_t c) {
  if (c < 0x20 || (c >= 0x7F && c < 0xA0)) return false;
  // Marks that turn the direction, separators of lines, what is not seen.
  const bool steers = (c >= 0x200B && c <= 0x200F) || (c >= 0x2028 && c <= 0x202E) ||
                      (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || c == 0x061C;
  return !steers;
}

void AppendPlace(std::string* out, std::string_view name, uint64_t inode, const std::string& path) {
  if (inode != 0) fmt::format_to(std::back_inserter(*out), " {}_inode={}", name, inode);
  fmt::format_to(std::back_inserter(*out), " {}={}", name, QuoteForAudit(path));
}

}  // namespace

std::string QuoteForAudit(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    uint32_t code_point = 0;
    const size_t length = CharacterAt(text, &code_point);
    if (length != 0 && IsHarmless(code_point)) {
      if (code_point == '"' || code_point == '\\') out += '\\';
      out += text.substr(0, length);
      text.remove_prefix(length);
      continue;
    }
    for (size_t i = 0; i < std::max<size_t>(length, 1); ++i) {
      fmt::format_to(std::back_inserter(out), "\\x{:02x}", static_cast<unsigned char>(text[i]));
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out + '"';
}

std::string FormatAuditLine(const AuditEvent& event) {
  using namespace std::chrono;
  const sys_time<microseconds> at{floor<microseconds>(nanoseconds(event.wall_ns))};
  const auto day = floor<days>(at);
  const year_month_day date(day);
  const hh_mm_ss<microseconds> time(at - day);
  std::string out = fmt::format(
      "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z uid={} gid={} from={} session={} op={}",
      static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(),
      time.seconds().count(), time.subseconds().count(), event.uid, event.gid,
      event.from.empty() ? "-" : event.from, event.session, event.operation);
  AppendPlace(&out, "path", event.inode, event.path);
  if (event.has_target) AppendPlace(&out, "to", event.target_inode, event.target);
  fmt::format_to(std::back_inserter(out), " outcome={}", event.outcome);
  return out;
}

}  // namespace dfs::nn
