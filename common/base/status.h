// Status and Result<T>: how every function of this project reports failure. Both are values,
// cheap to move, safe to copy between threads, and [[nodiscard]].
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace dfs {

/// The one error vocabulary. Numbers are stable: they travel in replies and stay in session
/// records; never renumber, only add.
enum class Code : uint16_t {
  kOk = 0,
  // What POSIX calls report.
  kNotFound = 1,           // ENOENT
  kAlreadyExists = 2,      // EEXIST
  kNotDirectory = 3,       // ENOTDIR
  kIsDirectory = 4,        // EISDIR
  kNotEmpty = 5,           // ENOTEMPTY
  kAccessDenied = 6,       // EACCES: permission bits
  kNotPermitted = 7,       // EPERM: ownership, immutable rules
  kInvalidArgument = 8,    // EINVAL
  kNameTooLong = 9,        // ENAMETOOLONG
  kTooManyLinks = 10,      // EMLINK
  kNoSpace = 11,           // ENOSPC
  kQuotaExceeded = 12,     // EDQUOT
  kCrossDevice = 13,       // EXDEV
  kBusy = 14,              // EBUSY: e.g. another live session has the block open
  kReadOnly = 15,          // EROFS
  kFileTooBig = 16,        // EFBIG
  kNoAttribute = 17,       // ENODATA
  kResultTooLarge = 18,    // ERANGE
  kSymlinkLoop = 19,       // ELOOP
  kNotSupported = 20,      // EOPNOTSUPP
  kStaleHandle = 21,       // ESTALE: the inode is gone
  kBadDescriptor = 22,     // EBADF
  kInterrupted = 23,       // EINTR
  kWouldBlock = 24,        // EAGAIN: somebody else holds the lock
  kDeadlock = 25,          // EDEADLK
  kTooManyLocks = 26,      // ENOLCK
  // What a distributed system reports.
  kIoError = 40,           // EIO
  kCorrupt = 41,           // checksum mismatch, malformed stored record
  kTimedOut = 42,          // deadline passed; the outcome may be unknown
  kUnavailable = 43,       // no connection, no leader, no live replica: worth a retry
  kNotLeader = 44,         // retry at leader_hint
  kOverloaded = 45,        // a bounded queue is full: retry after retry_after_ms
  kCancelled = 46,
  kUnauthenticated = 47,   // handshake failed, bad token
  kProtocol = 48,          // malformed or oversize input from a peer
  kWrongCluster = 49,
  kVersionMismatch = 50,
  kUnknownSession = 51,    // expired or never existed: never silently renewed
  kStaleSequence = 52,     // below first_outstanding
  kStaleIncarnation = 53,  // an older process of a resumed session
  kStaleStamp = 54,        // generation stamp compare-and-set failed
  kStaleTerm = 55,         // command of a deposed leader
  kConflict = 56,          // another compare-and-set failed (data version, ...)
  kOutcomeUnknown = 57,    // a proposal was in flight when leadership was lost
  kClosed = 58,            // the connection, file or client was closed
  kInternal = 59,          // a bug of ours
  kMissingBlock = 60,      // no replica of a block could be read
};

/// Stable lower-case name of a code ("not_found"), for logs and JSON.
std::string_view CodeName(Code code);
/// The errno a POSIX caller sees. One exhaustive switch.
int ToErrno(Code code);
/// The inverse for errors of system calls; unknown values become kIoError.
Code FromErrno(int posix_errno);

class [[nodiscard]] Status {
 public:
  Status() = default;  // ok
  Status(Code code, std::string message);

  static Status Ok() { return Status(); }
  /// From errno of a failed system call: "context: strerror".
  static Status FromSystem(int posix_errno, std::string_view context);

  bool ok() const { return code_ == Code::kOk; }
  explicit operator bool() const { return ok(); }
  Code code() const { return code_; }
  bool Is(Code code) const { return code_ == code; }
  const std::string& message() const;
  int posix_errno() const { return ToErrno(code_); }
  /// Whether the same call may succeed later without the caller changing anything.
  bool retryable() const;

  /// Where the leader is believed to be (kNotLeader), "" when unknown.
  const std::string& leader_hint() const;
  int retry_after_ms() const;
  Status WithLeaderHint(std::string hint) const;
  Status WithRetryAfter(int ms) const;
  /// "context: message", same code.
  Status WithContext(std::string_view context) const;

  /// "not_found: no such file", "ok".
  std::string ToString() const;

  friend bool operator==(const Status& a, const Status& b) { return a.code_ == b.code_; }

 private:
  struct Detail {
    std::string message;
    std::string leader_hint;
    int retry_after_ms = 0;
  };
  Code code_ = Code::kOk;
  std::shared_ptr<const Detail> detail_;
};

/// A value or a failed Status; the interface of std::expected.
template <class T>
class [[nodiscard]] Result {
 public:
  using value_type = T;
  Result(T value) : v_(std::in_place_index<0>, std::move(value)) {}  // NOLINT: implicit by design
  Result(Status error) : v_(std::in_place_index<1>, std::move(error)) {}  // NOLINT
  Result(Code code, std::string message)
      : v_(std::in_place_index<1>, Status(code, std::move(message))) {}

  bool ok() const { return v_.index() == 0; }
  bool has_value() const { return ok(); }
  explicit operator bool() const { return ok(); }

  T& operator*() & { return std::get<0>(v_); }
  const T& operator*() const& { return std::get<0>(v_); }
  T&& operator*() && { return std::get<0>(std::move(v_)); }
  T* operator->() { return &std::get<0>(v_); }
  const T* operator->() const { return &std::get<0>(v_); }
  T& value() & { return std::get<0>(v_); }
  const T& value() const& { return std::get<0>(v_); }
  T&& value() && { return std::get<0>(std::move(v_)); }
  template <class U>
  T value_or(U&& other) const& {
    return ok() ? std::get<0>(v_) : static_cast<T>(std::forward<U>(other));
  }

  const Status& error() const { return std::get<1>(v_); }
  /// Ok when there is a value.
  Status status() const { return ok() ? Status() : std::get<1>(v_); }

 private:
  std::variant<T, Status> v_;
};

}  // namespace dfs

#define DFS_CONCAT_INNER(a, b) a##b
#define DFS_CONCAT(a, b) DFS_CONCAT_INNER(a, b)
#define DFS_RETURN_IF_ERROR(expr)                       \
  do {                                                  \
    if (::dfs::Status dfs_status = (expr); !dfs_status) \
      return dfs_status;                                \
  } while (false)
#define DFS_ASSIGN_OR_RETURN(lhs, expr) \
  DFS_ASSIGN_OR_RETURN_IMPL(DFS_CONCAT(dfs_result_, __LINE__), lhs, expr)
#define DFS_ASSIGN_OR_RETURN_IMPL(result, lhs, expr) \
  auto result = (expr);                              \
  if (!result) return result.error();                \
  lhs = std::move(*result)
