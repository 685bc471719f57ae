#include "common/base/check.h"

#include <atomic>
#include <cstdlib>

#include "common/base/logging.h"

namespace dfs {

namespace {
std::atomic<CheckFailureHandler> g_handler{nullptr};
}

void SetCheckFailureHandler(CheckFailureHandler handler) {
  g_handler.store(handler);
}

void CheckFailed(const char* file, int line, const char* condition, const std::string& detail) {
  std::string message = fmt::format("check failed: {}", condition);
  if (!detail.empty()) message += " (" + detail + ")";
  if (CheckFailureHandler handler = g_handler.load()) handler(file, line, message);
  LogError("{}:{}: {}", file, line, message);
  std::abort();
}

}  // namespace dfs
