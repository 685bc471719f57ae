#include "tools/cli/text.h"

#include <fmt/format.h>

#include <cctype>
#include <charconv>
#include <cmath>
#include <ctime>

namespace dfs::cli {
namespace {

// The unit's factor, 0 when it is none of ours.
uint64_t SizeUnit(std::string_view unit) {
  if (unit.empty() || unit == "B") return 1;
  static constexpr std::string_view kLetters = "kmgtp";
  const size_t power = kLetters.find(static_cast<char>(std::tolower(unit[0])));
  if (power == std::string_view::npos) return 0;
  const std::string_view rest = unit.substr(1);
  const uint64_t base = rest == "B" ? 1000 : 1024;
  if (!rest.empty() && rest != "B" && rest != "iB" && rest != "i") return 0;
  uint64_t factor = 1;
  for (size_t i = 0; i <= power; ++i) factor *= base;
  return factor;
}

// Splits "1.5G" into its number and unit.
bool SplitNumber(std::string_view text, double* number, std::string_view* unit) {
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *number, std::chars_format::fixed);
  if (error != std::errc() || *number < 0) return false;
  *unit = text.substr(static_cast<size_t>(end - text.data()));
  while (!unit->empty() && unit->front() == ' ') unit->remove_prefix(1);
  return true;
}

std::string WithUnits(uint64_t bytes, const char* const (&units)[6], std::string_view space) {
  if (bytes < 1024) return fmt::format("{}{}{}", bytes, space, units[0]);
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1023.5 && unit < 5) {
    value /= 1024;
    ++unit;
  }
  if (value < 9.95) return fmt::format("{:.1f}{}{}", value, space, units[unit]);
  return fmt::format("{:.0f}{}{}", value, space, units[unit]);
}

std::tm BrokenDown(int64_t wall_ns, bool utc) {
  // Floor division: times before 1970 have a negative part.
  int64_t seconds = wall_ns / 1'000'000'000;
  if (wall_ns % 1'000'000'000 < 0) --seconds;
  const std::time_t time = seconds;
  std::tm out{};
  if (utc) {
    gmtime_r(&time, &out);
  } else {
    localtime_r(&time, &out);
  }
  return out;
}

// One clause of a symbolic mode, e.g. "go-w".
bool ApplyModeClause(std::string_view clause, bool is_directory, uint32_t* mode) {
  size_t at = 0;
  uint32_t who = 0;  // bits of 0777 (and special ones) that it concerns
  for (; at < clause.size(); ++at) {
    if (clause[at] == 'u') {
      who |= 04700;
    } else if (clause[at] == 'g') {
      who |= 02070;
    } else if (clause[at] == 'o') {
      who |= 01007;
    } else if (clause[at] == 'a') {
      who |= 07777;
    } else {
      break;
    }
  }
  if (who == 0) who = 07777;
  if (at >= clause.size()) return false;
  while (at < clause.size()) {
    const char op = clause[at++];
    if (op != '+' && op != '-' && op != '=') return false;
    uint32_t bits = 0;
    for (; at < clause.size() && std::string_view("+-=").find(clause[at]) == std::string_view::npos;
         ++at) {
      switch (clause[at]) {
        case 'r':
          bits |= 0444;
          break;
        case 'w':
          bits |= 0222;
          break;
        case 'x':
          bits |= 0111;
          break;
        case 'X':
          bits |= (is_directory || (*mode & 0111) != 0) ? 0111 : 0;
          break;
        case 's':
          bits |= 06000;
          break;
        case 't':
          bits |= 01000;
          break;
        default:
          return false;
      }
    }
    bits &= who;
    if (op == '+') *mode |= bits;
    if (op == '-') *mode &= ~bits;
    if (op == '=') *mode = (*mode & ~(who & 0777)) | bits;
  }
  return true;
}

// Length of the UTF-8 sequence at the front, 0 when invalid.
size_t SequenceLength(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char c = byte(0);
  if (c < 0x80) return 1;
  size_t length = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;
  if (c < 0xC2 || c > 0xF4 || s.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (c == 0xE0 && byte(1) < 0xA0) return 0;
  if (c == 0xED && byte(1) > 0x9F) return 0;  // surrogates
  if (c == 0xF0 && byte(1) < 0x90) return 0;
  if (c == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

uint32_t CodePoint(std::string_view s, size_t length) {
  const auto byte = [&](size_t i) {
    return static_cast<uint32_t>(static_cast<unsigned char>(s[i]));
  };
  if (length == 1) return byte(0);
  uint32_t value = byte(0) & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) value = (value << 6) | (byte(i) & 0x3F);
  return value;
}

bool IsWide(uint32_t c) {
  return (c >= 0x1100 && c <= 0x115F) || (c >= 0x2E80 && c <= 0xA4CF) ||
         (c >= 0xAC00 && c <= 0xD7A3) || (c >= 0xF900 && c <= 0xFAFF) ||
         (c >= 0xFE30 && c <= 0xFE6F) || (c >= 0xFF00 && c <= 0xFF60) ||
         (c >= 0xFFE0 && c <= 0xFFE6) || (c >= 0x1F300 && c <= 0x1FAFF) ||
         (c >= 0x20000 && c <= 0x3FFFD);
}

bool IsCombining(uint32_t c) {
  return (c >= 0x0300 && c <= 0x036F) || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x20D0 && c <= 0x20FF) || (c >= 0xFE00 && c <= 0xFE0F);
}

bool IsControl(uint32_t c) {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0x2028 || c == 0x2029;
}

}  // namespace

bool ParseSize(std::string_view text, uint64_t* bytes) {
  double number = 0;
  std::string_view unit;
  if (!SplitNumber(text, &number, &unit)) return false;
  const uint64_t factor = SizeUnit(unit);
  if (factor == 0) return false;
  if (factor == 1) {  // exact beyond 2^53
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *bytes);
    return error == std::errc() && (end == text.data() + text.size() || *end == 'B' || *end == ' ');
  }
  const double value = number * static_cast<double>(factor);
  if (value >= 9.2e18) return false;
  *bytes = static_cast<uint64_t>(std::llround(value));
  return true;
}

bool ParseDuration(std::string_view text, int64_t* ns) {
  double number = 0;
  std::string_view unit;
  if (!SplitNumber(text, &number, &unit)) return false;
  double seconds = 0;
  if (unit.empty() || unit == "s") {
    seconds = 1;
  } else if (unit == "ms") {
    seconds = 1e-3;
  } else if (unit == "m") {
    seconds = 60;
  } else if (unit == "h") {
    seconds = 3600;
  } else if (unit == "d") {
    seconds = 86400;
  } else {
    return false;
  }
  const double value = number * seconds * 1e9;
  if (value > 9e18) return false;
  *ns = std::llround(value);
  return true;
}

std::string HumanSize(uint64_t bytes) {
  static const char* const kUnits[6] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  return WithUnits(bytes, kUnits, " ");
}

std::string ShortSize(uint64_t bytes) {
  static const char* const kUnits[6] = {"", "K", "M", "G", "T", "P"};
  return WithUnits(bytes, kUnits, "");
}

std::string HumanDuration(int64_t ns) {
  const double seconds = static_cast<double>(ns) / 1e9;
  if (seconds < 60) return fmt::format("{:.1f}s", seconds);
  const int64_t whole = std::llround(seconds);
  if (whole < 3600) return fmt::format("{}m{:02}s", whole / 60, whole % 60);
  return fmt::format("{}h{:02}m", whole / 3600, whole % 3600 / 60);
}

std::string ModeString(char type, uint32_t mode) {
  std::string out(1, type);
  for (int shift = 6; shift >= 0; shift -= 3) {
    const uint32_t bits = (mode >> shift) & 7;
    out += (bits & 4) != 0 ? 'r' : '-';
    out += (bits & 2) != 0 ? 'w' : '-';
    out += (bits & 1) != 0 ? 'x' : '-';
  }
  const auto special = [&](uint32_t bit, size_t at, char with_x) {
    if ((mode & bit) == 0) return;
    out[at] = out[at] == 'x' ? with_x : static_cast<char>(std::toupper(with_x));
  };
  special(04000, 3, 's');
  special(02000, 6, 's');
  special(01000, 9, 't');
  return out;
}

std::string LocalTime(int64_t wall_ns) {
  const std::tm t = BrokenDown(wall_ns, false);
  return fmt::format("{:04}-{:02}-{:02} {:02}:{:02}", t.tm_year + 1900, t.tm_mon + 1, t.tm_mday,
                     t.tm_hour, t.tm_min);
}

std::string IsoTime(int64_t wall_ns) {
  const std::tm t = BrokenDown(wall_ns, true);
  const int64_t fraction = ((wall_ns % 1'000'000'000) + 1'000'000'000) % 1'000'000'000;
  return fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:09}Z", t.tm_year + 1900, t.tm_mon + 1,
                     t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, fraction);
}

bool ParseMode(std::string_view text, uint32_t current, bool is_directory, uint32_t* mode) {
  if (text.empty()) return false;
  if (text[0] >= '0' && text[0] <= '7') {
    uint32_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
    if (error != std::errc() || end != text.data() + text.size() || value > 07777) return false;
    *mode = value;
    return true;
  }
  *mode = current;
  while (true) {
    const size_t comma = text.find(',');
    if (!ApplyModeClause(text.substr(0, comma), is_directory, mode)) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

bool IsValidUtf8(std::string_view bytes) {
  while (!bytes.empty()) {
    const size_t length = SequenceLength(bytes);
    if (length == 0) return false;
    bytes.remove_prefix(length);
  }
  return true;
}

std::string QuoteName(std::string_view name) {
  std::string out;
  bool quoted = name.empty();
  while (!name.empty()) {
    const size_t length = SequenceLength(name);
    const unsigned char first = static_cast<unsigned char>(name[0]);
    if (length == 0) {
      out += fmt::format("\\x{:02x}", first);
      quoted = true;
      name.remove_prefix(1);
      continue;
    }
    if (IsControl(CodePoint(name, length))) {
      quoted = true;
      if (first == '\n') {
        out += "\\n";
      } else if (first == '\t') {
        out += "\\t";
      } else {
        for (size_t i = 0; i < length; ++i) {
          out += fmt::format("\\x{:02x}", static_cast<unsigned char>(name[i]));
        }
      }
    } else {
      out.append(name.substr(0, length));
    }
    name.remove_prefix(length);
  }
  return quoted ? "'" + out + "'" : out;
}

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    if (length == 0) {
      ++width;
      text.remove_prefix(1);
      continue;
    }
    const uint32_t c = CodePoint(text, length);
    if (!IsCombining(c)) width += IsWide(c) ? 2 : 1;
    text.remove_prefix(length);
  }
  return width;
}

std::string Base64(std::string_view bytes) {
  static constexpr char kAlphabet[] =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t group = 0;
    for (size_t j = 0; j < 3; ++j) {
      group = (group << 8) | (i + j < bytes.size() ? static_cast<unsigned char>(bytes[i + j]) : 0u);
    }
    for (size_t j = 0; j < 4; ++j) {
      out += j <= bytes.size() - i ? kAlphabet[(group >> (18 - 6 * j)) & 63] : '=';
    }
  }
  return out;
}

bool ParseBase64(std::string_view text, std::string* bytes) {
  bytes->clear();
  if (text.size() % 4 != 0) return false;
  for (size_t at = 0; at < text.size(); at += 4) {
    const bool last = at + 4 == text.size();
    const size_t padding = !last || text[at + 3] != '=' ? 0 : text[at + 2] == '=' ? 2 : 1;
    uint32_t group = 0;
    for (size_t j = 0; j < 4; ++j) {
      const char c = text[at + j];
      uint32_t digit = 0;
      if (c >= 'A' && c <= 'Z') {
        digit = static_cast<uint32_t>(c - 'A');
      } else if (c >= 'a' && c <= 'z') {
        digit = static_cast<uint32_t>(c - 'a') + 26;
      } else if (c >= '0' && c <= '9') {
        digit = static_cast<uint32_t>(c - '0') + 52;
      } else if (c == '+' || c == '/') {
        digit = c == '+' ? 62 : 63;
      } else if (c != '=' || j < 4 - padding) {
        return false;
      }
      group = group << 6 | digit;
    }
    for (size_t j = 0; j < 3 - padding; ++j) {
      *bytes += static_cast<char>(group >> (16 - 8 * j) & 0xFF);
    }
  }
  return true;
}

Table::Table(std::vector<std::string> headers) : headers_(std::move(headers)) {
  for (std::string& header : headers_) {
    const bool right = !header.empty() && header[0] == '>';
    if (right) header.erase(0, 1);
    right_.push_back(right);
  }
}

void Table::Row(std::vector<std::string> cells) {
  cells.resize(headers_.size());
  rows_.push_back(std::move(cells));
}

std::string Table::ToString(std::string_view indent) const {
  std::vector<size_t> widths(headers_.size(), 0);
  bool has_header = false;
  for (size_t i = 0; i < headers_.size(); ++i) {
    widths[i] = DisplayWidth(headers_[i]);
    has_header |= !headers_[i].empty();
    for (const auto& row : rows_) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string out;
  const auto line = [&](const std::vector<std::string>& cells) {
    std::string text(indent);
    for (size_t i = 0; i < cells.size(); ++i) {
      const std::string pad(widths[i] - DisplayWidth(cells[i]), ' ');
      text += right_[i] ? pad + cells[i] : cells[i] + pad;
      if (i + 1 < cells.size()) text += "  ";
    }
    while (!text.empty() && text.back() == ' ') text.pop_back();
    out += text + "\n";
  };
  if (has_header) line(headers_);
  for (const auto& row : rows_) line(row);
  return out;
}

}  // namespace dfs::cli
