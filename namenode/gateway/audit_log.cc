#include "namenode/gateway/audit_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <syslog.h>
#include <unistd.h>

#include <cerrno>

#include "common/base/clock.h"
#include "common/base/logging.h"

namespace dfs::nn {

AuditLog::AuditLog(AuditLogOptions options)
    : options_(std::move(options)), syslog_(options_.target == "syslog") {}

Result<std::unique_ptr<AuditLog>> AuditLog::Open(AuditLogOptions options) {
  std::unique_ptr<AuditLog> log(new AuditLog(std::move(options)));
  if (log->syslog_) {
    openlog("dfs-audit", LOG_PID, LOG_AUTHPRIV);
  } else {
    DFS_RETURN_IF_ERROR(log->OpenFile());
  }
  log->thread_ = std::thread([raw = log.get()] { raw->Run(); });
  return log;
}

AuditLog::~AuditLog() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (fd_ >= 0) ::close(fd_);
}

Status AuditLog::OpenFile() {
  const int fd = ::open(options_.target.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  if (fd < 0) return Status::FromSystem(errno, options_.target);
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
  return Status();
}

void AuditLog::Add(const AuditEvent& event) {
  if (event.outcome != "ok" && !options_.refused) return;
  std::string line = FormatAuditLine(event);
  const std::lock_guard<std::mutex> lock(mutex_);
  if (queue_.size() >= options_.max_queue) {
    ++dropped_;
    ++untold_;
    return;
  }
  queue_.push_back(std::move(line));
  wake_.notify_one();
}

void AuditLog::Reopen() {
  const std::lock_guard<std::mutex> lock(mutex_);
  reopen_ = true;
  wake_.notify_one();
}

uint64_t AuditLog::dropped() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return dropped_;
}

void AuditLog::Run() {
  std::unique_lock<std::mutex> lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stop_ || reopen_ || !queue_.empty(); });
    std::deque<std::string> lines;
    lines.swap(queue_);
    const bool reopen = std::exchange(reopen_, false);
    const uint64_t untold = std::exchange(untold_, 0);
    const bool last = stop_;
    lock.unlock();
    if (reopen && !syslog_) {
      if (Status opened = OpenFile(); !opened.ok()) {
        LogError("audit log: {}; it goes on in the old file", opened.ToString());
      }
    }
    for (const std::string& line : lines) Write(line);
    if (untold > 0) {
      AuditEvent gap;
      gap.wall_ns = SystemClock().WallNs();
      gap.operation = "events_lost";
      gap.path = std::to_string(untold);
      gap.outcome = "overloaded";
      Write(FormatAuditLine(gap));
    }
    lock.lock();
    if (last && queue_.empty()) return;
  }
}

void AuditLog::Write(const std::string& line) {
  if (syslog_) {
    ::syslog(LOG_INFO, "%s", line.c_str());
    return;
  }
  const std::string whole = line + "\n";
  size_t done = 0;
  while (done < whole.size()) {
    const ssize_t n = ::write(fd_, whole.data() + done, whole.size() - done);
    if (n > 0) {
      done += static_cast<size_t>(n);
    } else if (n < 0 && errno != EINTR) {
      break;
    }
  }
  const bool failed = done < whole.size();
  if (failed) {
    const std::lock_guard<std::mutex> lock(mutex_);
    ++dropped_;
    ++untold_;
  }
  // Once, not for each line.
  if (failed && !failing_) {
    LogError("audit log: {}", Status::FromSystem(errno, options_.target).ToString());
  }
  failing_ = failed;
}

}  // namespace dfs::nn
