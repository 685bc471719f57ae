// How things look: sizes, times, modes, quoted names, tables. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dfs::cli {

/// "64K", "64KiB", "64kB", "1.5G", "123"; K, M, G, T, P are powers of 1024, kB, MB, GB of 1000.
bool ParseSize(std::string_view text, uint64_t* bytes);
/// "500ms", "10s", "5m", "2h", "7d"; a bare number is seconds.
bool ParseDuration(std::string_view text, int64_t* ns);

/// "0 B", "17 KiB", "1.5 GiB": three significant digits.
std::string HumanSize(uint64_t bytes);
/// As `ls -h` and `du -h` print it: "17K", "1.5G".
std::string ShortSize(uint64_t bytes);
/// "0.2s", "3m12s".
std::string HumanDuration(int64_t ns);

/// "-rw-r--r--" from the type's letter and permission bits.
std::string ModeString(char type, uint32_t mode);
/// "2026-11-21 16:30" in local time.
std::string LocalTime(int64_t wall_ns);
/// "2026-11-21T16:30:05.123456789Z".
std::string IsoTime(int64_t wall_ns);

/// Octal ("644") or symbolic ("u+x,go-w", "a=rX") as chmod takes it; current is what it applies to.
bool ParseMode(std::string_view text, uint32_t current, bool is_directory, uint32_t* mode);

bool IsValidUtf8(std::string_view bytes);
/// For a terminal: as is when printable, else in single quotes with control characters as \n, \xNN.
std::string QuoteName(std::string_view name);
/// Columns of a terminal that the text takes.
size_t DisplayWidth(std::string_view text);
std::string Base64(std::string_view bytes);
/// The other way round; false when it is none.
bool ParseBase64(std::string_view text, std::string* bytes);

/// Aligns columns; those whose header begins with '>' to the right.
class Table {
 public:
  explicit Table(std::vector<std::string> headers);
  void Row(std::vector<std::string> cells);
  bool empty() const { return rows_.empty(); }
  /// Every line ends with a newline; no header line when all headers are empty.
  std::string ToString(std::string_view indent = "") const;

 private:
  std::vector<std::string> headers_;
  std::vector<bool> right_;
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace dfs::cli
