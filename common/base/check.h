// DFS_CHECK: assertions that stay on in every build. For invariants of our own only, never for
// input: a failed check is a bug and the process stops rather than go on with state it cannot
// trust.
#pragma once

#include <fmt/core.h>

#include <string>

namespace dfs {

/// Called when a check fails, before the process aborts; thread-safe. The simulator installs one
/// that throws, so that the failing seed is reported; the daemons leave it alone. Null restores the
/// default.
using CheckFailureHandler = void (*)(const char* file, int line, const std::string& message);
void SetCheckFailureHandler(CheckFailureHandler handler);

[[noreturn]] void CheckFailed(const char* file, int line, const char* condition,
                              const std::string& detail);

namespace internal {
inline std::string CheckDetail() {
  return {};
}
template <class... A>
std::string CheckDetail(fmt::format_string<A...> f, A&&... a) {
  return fmt::format(f, std::forward<A>(a)...);
}
}  // namespace internal

}  // namespace dfs

/// DFS_CHECK(a <= b); DFS_CHECK(a <= b, "a {} b {}", a, b);
#define DFS_CHECK(condition, ...)                                    \
  do {                                                               \
    if (__builtin_expect(!(condition), 0)) {                         \
      ::dfs::CheckFailed(__FILE__, __LINE__, #condition,             \
                         ::dfs::internal::CheckDetail(__VA_ARGS__)); \
    }                                                                \
  } while (false)
