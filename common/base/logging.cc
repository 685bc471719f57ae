#include "common/base/logging.h"

#include <spdlog/logger.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <syslog.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace dfs {

namespace {

std::atomic<int> g_level{static_cast<int>(LogLevel::kInfo)};

std::atomic<bool> g_to_syslog{false};

std::mutex g_name_mutex;
std::string g_name;  // guarded by g_name_mutex; read once per line

// Never destroyed: a thread that outlives main may still log.
spdlog::logger& Logger() {
  static spdlog::logger* logger = [] {
    auto* l = new spdlog::logger("dfs", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    l->set_formatter(std::make_unique<spdlog::pattern_formatter>("%Y-%m-%dT%H:%M:%S.%eZ %L %v",
                                                                 spdlog::pattern_time_type::utc));
    l->set_level(spdlog::level::trace);  // the level is ours, checked before formatting
    l->flush_on(spdlog::level::trace);
    return l;
  }();
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

int ToSyslog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return LOG_DEBUG;
    case LogLevel::kInfo:
      return LOG_INFO;
    case LogLevel::kWarning:
      return LOG_WARNING;
    case LogLevel::kError:
      return LOG_ERR;
  }
  return LOG_ERR;
}

// Length of the valid UTF-8 sequence of a printable character at text[i], 0 when there is none.
size_t PrintableSequence(std::string_view text, size_t i) {
  const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
  const unsigned char b = byte(i);
  if (b < 0x20 || b == 0x7f) return 0;
  if (b < 0x80) return 1;
  size_t size = 0;
  uint32_t code = 0;
  uint32_t least = 0;
  if (b >= 0xC2 && b <= 0xDF) {
    size = 2, code = b & 0x1Fu, least = 0x80;
  } else if (b >= 0xE0 && b <= 0xEF) {
    size = 3, code = b & 0x0Fu, least = 0x800;
  } else if (b >= 0xF0 && b <= 0xF4) {
    size = 4, code = b & 0x07u, least = 0x10000;
  } else {
    return 0;
  }
  if (text.size() - i < size) return 0;
  for (size_t k = 1; k < size; ++k) {
    if ((byte(i + k) & 0xC0) != 0x80) return 0;
    code = (code << 6) | (byte(i + k) & 0x3Fu);
  }
  if (code < least || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return 0;
  if (code < 0xA0) return 0;  // C1 controls move cursors, too
  // Bidirectional overrides and line separators can forge what a reader sees.
  if ((code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069)) return 0;
  return size;
}

}  // namespace

void SetLogLevel(LogLevel level) {
  g_level.store(static_cast<int>(level), std::memory_order_relaxed);
}

bool ParseLogLevel(std::string_view text, LogLevel* level) {
  if (text == "debug") {
    *level = LogLevel::kDebug;
  } else if (text == "info") {
    *level = LogLevel::kInfo;
  } else if (text == "warning") {
    *level = LogLevel::kWarning;
  } else if (text == "error") {
    *level = LogLevel::kError;
  } else {
    return false;
  }
  return true;
}

bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) >= g_level.load(std::memory_order_relaxed);
}

void SetLogName(std::string name) {
  std::lock_guard lock(g_name_mutex);
  g_name = std::move(name);
}

void LogToSyslog(const char* name) {
  ::openlog(name, LOG_PID, LOG_DAEMON);
  g_to_syslog.store(true, std::memory_order_relaxed);
}

void LogLine(LogLevel level, std::string_view line) {
  std::string text;
  {
    std::lock_guard lock(g_name_mutex);
    if (!g_name.empty()) text = g_name + ": ";
  }
  text += line;
  if (g_to_syslog.load(std::memory_order_relaxed)) {
    ::syslog(ToSyslog(level), "%s", text.c_str());
    return;
  }
  Logger().log(ToSpdlog(level), spdlog::string_view_t(text.data(), text.size()));
}

std::string Printable(std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size());
  for (size_t i = 0; i < bytes.size();) {
    const size_t size = PrintableSequence(bytes, i);
    if (size > 0) {
      out.append(bytes.substr(i, size));
      i += size;
      continue;
    }
    const auto b = static_cast<unsigned char>(bytes[i++]);
    out += "\\x";
    out += kHex[b >> 4];
    out += kHex[b & 15];
  }
  return out;
}

}  // namespace dfs
