#include "common/http/page.h"

#include <fmt/format.h>

#include <algorithm>

namespace dfs {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --text: #1c2024; --soft: #60666e; --line: #d8dce1; --back: #fbfbfc;
  --card: #fff; --good: #15734a; --warning: #8a5a00; --bad: #b3261e; --bar: #3a6ea5; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e8ea; --soft: #9aa2ab; --line: #343a41;
  --back: #15181b; --card: #1d2125; --good: #58c08b; --warning: #e0ab4d; --bad: #ff8a80; --bar: #6fa3d8; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 72rem; padding: 1rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0; } h2 { font-size: 1.05rem; margin: 1.6rem 0 .5rem; }
.soft { color: var(--soft); font-size: .85rem; overflow-wrap: anywhere; }
.banner { margin: 1rem 0 0; padding: .5rem .8rem; border-left: 4px solid; background: var(--card); }
.good { color: var(--good); } .warning { color: var(--warning); } .bad { color: var(--bad); }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)); gap: .6rem; margin: 0; }
dl div { background: var(--card); border: 1px solid var(--line); border-radius: 6px; padding: .45rem .7rem; }
dt { color: var(--soft); font-size: .8rem; } dd { margin: 0; font-size: 1.1rem; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .35rem .7rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
tr:last-child td { border-bottom: 0; } th { color: var(--soft); font-weight: 500; font-size: .8rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.track { height: .6rem; background: var(--line); border-radius: 3px; overflow: hidden; margin-top: .25rem; }
.fill { height: 100%; background: var(--bar); }
)";

const char* ClassOf(Tone tone) {
  switch (tone) {
    case Tone::kPlain:
      return "";
    case Tone::kGood:
      return "good";
    case Tone::kWarning:
      return "warning";
    case Tone::kBad:
      return "bad";
  }
  return "";
}

}  // namespace

Page::Page(std::string_view title, std::string_view subtitle) : title_(title) {
  body_ = fmt::format("<header><h1>{}</h1><div class=\"soft\">{}</div></header>\n",
                      EscapeHtml(title), EscapeHtml(subtitle));
}

void Page::Banner(Tone tone, std::string_view text) {
  body_ += fmt::format("<p class=\"banner {}\">{}</p>\n", ClassOf(tone), EscapeHtml(text));
}

void Page::Heading(std::string_view text) {
  body_ += fmt::format("<h2>{}</h2>\n", EscapeHtml(text));
}

void Page::Facts(const std::vector<Fact>& facts) {
  body_ += "<dl>\n";
  for (const Fact& fact : facts) {
    body_ += fmt::format("<div><dt>{}</dt><dd class=\"{}\">{}</dd></div>\n", EscapeHtml(fact.name),
                         ClassOf(fact.tone), EscapeHtml(fact.value));
  }
  body_ += "</dl>\n";
}

void Page::Bar(std::string_view label, double share) {
  body_ += fmt::format(
      "<div class=\"soft\">{}<div class=\"track\"><div class=\"fill\" "
      "style=\"width:{:.1f}%\"></div>"
      "</div></div>\n",
      EscapeHtml(label), 100 * std::clamp(share, 0.0, 1.0));
}

void Page::Table(const std::vector<std::string>& headers,
                 const std::vector<std::vector<Cell>>& rows, std::string_view empty) {
  if (rows.empty()) {
    body_ += fmt::format("<p class=\"soft\">{}</p>\n", EscapeHtml(empty));
    return;
  }
  body_ += "<div class=\"scroll\"><table><thead><tr>";
  for (size_t i = 0; i < headers.size(); ++i) {
    const bool number = i < rows[0].size() && rows[0][i].number;
    body_ +=
        fmt::format("<th{}>{}</th>", number ? " class=\"number\"" : "", EscapeHtml(headers[i]));
  }
  body_ += "</tr></thead><tbody>\n";
  for (const auto& row : rows) {
    body_ += "<tr>";
    for (const Cell& cell : row) {
      body_ += fmt::format("<td class=\"{}{}\">{}</td>", ClassOf(cell.tone),
                           cell.number ? " number" : "", EscapeHtml(cell.text));
    }
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

std::string Page::Html() const {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
      "<meta http-equiv=\"refresh\" content=\"5\"><title>{} - dfs</title><style>{}</style></head>\n"
      "<body>\n{}</body></html>\n",
      EscapeHtml(title_), kStyle, body_);
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string PageSize(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  for (; value >= 1023.5 && unit + 1 < std::size(kUnits); ++unit) value /= 1024;
  if (unit == 0 || value >= 9.95) return fmt::format("{:.0f} {}", value, kUnits[unit]);
  return fmt::format("{:.1f} {}", value, kUnits[unit]);
}

std::string PageDuration(int64_t milliseconds) {
  const double seconds = static_cast<double>(milliseconds) / 1000;
  if (seconds < 120) return fmt::format("{:.1f} s", seconds);
  if (seconds < 7200) return fmt::format("{:.0f} min", seconds / 60);
  return fmt::format("{:.0f} h", seconds / 3600);
}

}  // namespace dfs
