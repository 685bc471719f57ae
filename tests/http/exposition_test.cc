// The text format of Prometheus, as its documentation has it.
#include "common/metrics/exposition.h"

#include <gtest/gtest.h>

#include "common/metrics/process_metrics.h"

namespace dfs {
namespace {

TEST(Exposition, NamesEachFamilyOnce) {
  Exposition page;
  page.Gauge("a", "What a is.", 1, {{"x", "1"}});
  page.Gauge("a", "What a is.", 2.5, {{"x", "2"}, {"y", "z"}});
  page.Counter("b_total", "What b counts.", 12345678901.0);
  EXPECT_EQ(page.text(),
            "# HELP a What a is.\n# TYPE a gauge\na{x=\"1\"} 1\na{x=\"2\",y=\"z\"} 2.5\n"
            "# HELP b_total What b counts.\n# TYPE b_total counter\nb_total 12345678901\n");
}

TEST(Exposition, Escapes) {
  Exposition page;
  page.Gauge("a", "back\\slash\nline", 0, {{"x", "quote\" back\\slash\nline"}});
  EXPECT_EQ(page.text(),
            "# HELP a back\\\\slash\\nline\n# TYPE a gauge\n"
            "a{x=\"quote\\\" back\\\\slash\\nline\"} 0\n");
}

TEST(Exposition, KnowsTheProcess) {
  Exposition page;
  AddProcessMetrics(&page);
  for (const char* name : {"process_cpu_seconds_total", "process_resident_memory_bytes",
                           "process_open_fds", "process_max_fds", "process_start_time_seconds"}) {
    EXPECT_NE(page.text().find(std::string("\n") + name + " "), std::string::npos) << name;
  }
  EXPECT_EQ(page.text().find("process_resident_memory_bytes 0\n"), std::string::npos);
}

}  // namespace
}  // namespace dfs
