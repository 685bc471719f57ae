// AuditLog: writes the audit events of a namenode to a file or to syslog, from a thread of its own, so that a disk that
// is slow or full holds nothing up. What does not fit the queue is counted, and the count is written when there is room:
// a gap is never silent. Thread-safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/base/status.h"
#include "namenode/service/audit_event.h"

namespace dfs::nn {

struct AuditLogOptions {
  std::string target;  // "syslog" (journald takes it from there), or a file to append to
  bool refused = true;  // refused accesses, too
  size_t max_queue = 10'000;
};

class AuditLog {
 public:
  /// Fails when the file cannot be opened; an existing one is appended to, a new one has mode 0600.
  static Result<std::unique_ptr<AuditLog>> Open(AuditLogOptions options);
  /// Writes what is queued.
  ~AuditLog();
  AuditLog(const AuditLog&) = delete;
  AuditLog& operator=(const AuditLog&) = delete;

  /// Never waits for the disk.
  void Add(const AuditEvent& event);
  /// The file was moved away: the next line goes to a new one.
  void Reopen();
  uint64_t dropped() const;

 private:
  explicit AuditLog(AuditLogOptions options);
  Status OpenFile();
  void Run();
  void Write(const std::string& line);

  const AuditLogOptions options_;
  const bool syslog_;
  int fd_ = -1;  // the thread's, but for the first opening
  bool failing_ = false;

  mutable std::mutex mutex_;  // guards the rest
  std::condition_variable wake_;
  std::deque<std::string> queue_;
  uint64_t dropped_ = 0;
  uint64_t untold_ = 0;  // of the dropped: not written yet
  bool reopen_ = false;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace dfs::nn
