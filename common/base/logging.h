// Logging. Thread-safe; one line per event on stderr (journald adds the rest):
//   LogInfo("namenode {} became leader of term {}", id, term);
// Messages are dropped below the process's level before they are formatted. Names from users are
// escaped by the caller with Printable().
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

namespace dfs {

enum class LogLevel { kDebug, kInfo, kWarning, kError };

void SetLogLevel(LogLevel level);
bool ParseLogLevel(std::string_view text, LogLevel* level);
bool LogEnabled(LogLevel level);
/// Prefix of every line of this process, e.g. "namenode-1".
void SetLogName(std::string name);
/// From now on to syslog instead of stderr: for a process that went to the background.
void LogToSyslog(const char* name);
void LogLine(LogLevel level, std::string_view line);

template <class... A>
void LogDebug(fmt::format_string<A...> f, A&&... a) {
  if (LogEnabled(LogLevel::kDebug))
    LogLine(LogLevel::kDebug, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void LogInfo(fmt::format_string<A...> f, A&&... a) {
  if (LogEnabled(LogLevel::kInfo)) LogLine(LogLevel::kInfo, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void LogWarning(fmt::format_string<A...> f, A&&... a) {
  if (LogEnabled(LogLevel::kWarning))
    LogLine(LogLevel::kWarning, fmt::format(f, std::forward<A>(a)...));
}
template <class... A>
void LogError(fmt::format_string<A...> f, A&&... a) {
  if (LogEnabled(LogLevel::kError))
    LogLine(LogLevel::kError, fmt::format(f, std::forward<A>(a)...));
}

/// Control characters and invalid UTF-8 as \xNN, so that a name cannot forge a log line or a terminal.
std::string Printable(std::string_view bytes);

}  // namespace dfs
