#include "common/metrics/exposition.h"

#include <fmt/format.h>

#include <cmath>

namespace dfs {
namespace {

void AppendEscaped(std::string_view text, bool quotes, std::string* out) {
  for (const char c : text) {
    if (c == '\\') {
      *out += "\\\\";
    } else if (c == '\n') {
      *out += "\\n";
    } else if (c == '"' && quotes) {
      *out += "\\\"";
    } else {
      *out += c;
    }
  }
}

std::string Number(double value) {
  // Whole numbers without a point or an exponent: people read this page, too.
  if (value == std::floor(value) && std::fabs(value) < 1e15) return fmt::format("{:.0f}", value);
  return fmt::format("{}", value);
}

}  // namespace

void Exposition::Gauge(std::string_view name, std::string_view help, double value,
                       const Labels& labels) {
  Sample("gauge", name, help, value, labels);
}

void Exposition::Counter(std::string_view name, std::string_view help, double value,
                         const Labels& labels) {
  Sample("counter", name, help, value, labels);
}

void Exposition::Sample(std::string_view type, std::string_view name, std::string_view help,
                        double value, const Labels& labels) {
  if (family_ != name) {
    family_ = name;
    text_ += fmt::format("# HELP {} ", name);
    AppendEscaped(help, false, &text_);
    text_ += fmt::format("\n# TYPE {} {}\n", name, type);
  }
  text_ += name;
  for (size_t i = 0; i < labels.size(); ++i) {
    text_ += i == 0 ? "{" : ",";
    text_ += labels[i].first;
    text_ += "=\"";
    AppendEscaped(labels[i].second, true, &text_);
    text_ += '"';
  }
  if (!labels.empty()) text_ += '}';
  text_ += ' ' + Number(value) + '\n';
}

}  // namespace dfs
