// What the audit log (docs/operations.md) says of one change, or of one access that was refused. Pure: who writes it
// where is the daemon's business (namenode/gateway/audit_log.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "common/base/status.h"

namespace dfs::nn {

struct AuditEvent {
  int64_t wall_ns = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::string from;            // the caller's address
  uint64_t session = 0;        // 0: none
  std::string_view operation;  // as in the IDL
  // A path as it was given: relative to the inode, which is 0 for the root.
  uint64_t inode = 0;
  std::string path;
  bool has_target = false;  // of a rename or link
  uint64_t target_inode = 0;
  std::string target;
  std::string_view outcome;  // "ok", or the name of the error's code
};

using AuditSink = std::function<void(AuditEvent)>;

/// One line without its end:
///   2026-11-30T20:17:00.123456Z uid=1000 gid=1000 from=10.0.0.9:51322 session=7 op=rename path="/a" to="/b" outcome=ok
/// Whatever a path holds, the line is one line of printable characters: bytes that are none, and characters that steer
/// a terminal or the direction of writing, are \xNN.
std::string FormatAuditLine(const AuditEvent& event);
/// In double quotes, as above.
std::string QuoteForAudit(std::string_view text);

/// An access that was refused, and not only an operation that failed.
inline bool IsRefusal(Code code) {
  return code == Code::kAccessDenied || code == Code::kNotPermitted;
}

}  // namespace dfs::nn
