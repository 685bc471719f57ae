// Exposition: a page of metrics in Prometheus's text format, version 0.0.4
// (https://prometheus.io/docs/instrumenting/exposition_formats/). Thread-compatible.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dfs {

inline constexpr std::string_view kExpositionType = "text/plain; version=0.0.4; charset=utf-8";

class Exposition {
 public:
  using Labels = std::vector<std::pair<std::string_view, std::string>>;

  /// May go down. All samples of a name follow each other.
  void Gauge(std::string_view name, std::string_view help, double value, const Labels& labels = {});
  /// Since the start of the process; only grows. The name ends in _total.
  void Counter(std::string_view name, std::string_view help, double value,
               const Labels& labels = {});

  const std::string& text() const { return text_; }

 private:
  void Sample(std::string_view type, std::string_view name, std::string_view help, double value,
              const Labels& labels);
  std::string text_;
  std::string family_;  // of the sample before
};

}  // namespace dfs
