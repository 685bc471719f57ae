// Page: an HTML page of headings, facts and tables. No scripts, no outside assets; it asks the browser to
// load it again every few seconds. Everything that is given to it is text and is escaped.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dfs {

enum class Tone { kPlain, kGood, kWarning, kBad };

class Page {
 public:
  struct Cell {
    std::string text;
    Tone tone = Tone::kPlain;
    bool number = false;  // aligned to the right
  };
  struct Fact {
    std::string name;
    std::string value;
    Tone tone = Tone::kPlain;
  };

  /// title: "namenode 1"; subtitle: below it, small.
  Page(std::string_view title, std::string_view subtitle);
  /// A line of state at the top: "Healthy", "3 blocks are missing".
  void Banner(Tone tone, std::string_view text);
  void Heading(std::string_view text);
  void Facts(const std::vector<Fact>& facts);
  /// A share of something, 0 to 1, as a bar.
  void Bar(std::string_view label, double share);
  /// Nothing but `empty` when there are no rows.
  void Table(const std::vector<std::string>& headers, const std::vector<std::vector<Cell>>& rows,
             std::string_view empty);

  std::string Html() const;

 private:
  std::string title_;
  std::string body_;
};

std::string EscapeHtml(std::string_view text);
/// "17 KiB", "1.5 GiB".
std::string PageSize(uint64_t bytes);
/// "3.2 s", "5 min", "2 h".
std::string PageDuration(int64_t milliseconds);

}  // namespace dfs
