#include "common/base/status.h"

#include <cerrno>
#include <cstring>

namespace dfs {

namespace {
const std::string kEmpty;
}

Status::Status(Code code, std::string message) : code_(code) {
  if (code_ == Code::kOk) return;
  auto detail = std::make_shared<Detail>();
  detail->message = std::move(message);
  detail_ = std::move(detail);
}

Status Status::FromSystem(int posix_errno, std::string_view context) {
  return Status(FromErrno(posix_errno),
                std::string(context) + ": " + std::strerror(posix_errno));
}

const std::string& Status::message() const { return detail_ ? detail_->message : kEmpty; }
const std::string& Status::leader_hint() const { return detail_ ? detail_->leader_hint : kEmpty; }
int Status::retry_after_ms() const { return detail_ ? detail_->retry_after_ms : 0; }

bool Status::retryable() const {
  switch (code_) {
    case Code::kTimedOut:
    case Code::kUnavailable:
    case Code::kNotLeader:
    case Code::kOverloaded:
    case Code::kOutcomeUnknown:
    case Code::kClosed:
      return true;
    default:
      return false;
  }
}

Status Status::WithLeaderHint(std::string hint) const {
  Status copy = *this;
  auto detail = std::make_shared<Detail>(detail_ ? *detail_ : Detail{});
  detail->leader_hint = std::move(hint);
  copy.detail_ = std::move(detail);
  return copy;
}

Status Status::WithRetryAfter(int ms) const {
  Status copy = *this;
  auto detail = std::make_shared<Detail>(detail_ ? *detail_ : Detail{});
  detail->retry_after_ms = ms;
  copy.detail_ = std::move(detail);
  return copy;
}

Status Status::WithContext(std::string_view context) const {
  if (ok()) return *this;
  Status copy = *this;
  auto detail = std::make_shared<Detail>(detail_ ? *detail_ : Detail{});
  detail->message = std::string(context) + ": " + detail->message;
  copy.detail_ = std::move(detail);
  return copy;
}

std::string Status::ToString() const {
  if (ok()) return "ok";
  std::string out(CodeName(code_));
  if (!message().empty()) out += ": " + message();
  return out;
}

std::string_view CodeName(Code code) {
  switch (code) {
    case Code::kOk: return "ok";
    case Code::kNotFound: return "not_found";
    case Code::kAlreadyExists: return "already_exists";
    case Code::kNotDirectory: return "not_directory";
    case Code::kIsDirectory: return "is_directory";
    case Code::kNotEmpty: return "not_empty";
    case Code::kAccessDenied: return "access_denied";
    case Code::kNotPermitted: return "not_permitted";
    case Code::kInvalidArgument: return "invalid_argument";
    case Code::kNameTooLong: return "name_too_long";
    case Code::kTooManyLinks: return "too_many_links";
    case Code::kNoSpace: return "no_space";
    case Code::kQuotaExceeded: return "quota_exceeded";
    case Code::kCrossDevice: return "cross_device";
    case Code::kBusy: return "busy";
    case Code::kReadOnly: return "read_only";
    case Code::kFileTooBig: return "file_too_big";
    case Code::kNoAttribute: return "no_attribute";
    case Code::kResultTooLarge: return "result_too_large";
    case Code::kSymlinkLoop: return "symlink_loop";
    case Code::kNotSupported: return "not_supported";
    case Code::kStaleHandle: return "stale_handle";
    case Code::kBadDescriptor: return "bad_descriptor";
    case Code::kInterrupted: return "interrupted";
    case Code::kWouldBlock: return "would_block";
    case Code::kDeadlock: return "deadlock";
    case Code::kTooManyLocks: return "too_many_locks";
    case Code::kIoError: return "io_error";
    case Code::kCorrupt: return "corrupt";
    case Code::kTimedOut: return "timed_out";
    case Code::kUnavailable: return "unavailable";
    case Code::kNotLeader: return "not_leader";
    case Code::kOverloaded: return "overloaded";
    case Code::kCancelled: return "cancelled";
    case Code::kUnauthenticated: return "unauthenticated";
    case Code::kProtocol: return "protocol";
    case Code::kWrongCluster: return "wrong_cluster";
    case Code::kVersionMismatch: return "version_mismatch";
    case Code::kUnknownSession: return "unknown_session";
    case Code::kStaleSequence: return "stale_sequence";
    case Code::kStaleIncarnation: return "stale_incarnation";
    case Code::kStaleStamp: return "stale_stamp";
    case Code::kStaleTerm: return "stale_term";
    case Code::kConflict: return "conflict";
    case Code::kOutcomeUnknown: return "outcome_unknown";
    case Code::kClosed: return "closed";
    case Code::kInternal: return "internal";
    case Code::kMissingBlock: return "missing_block";
  }
  return "unknown";
}

int ToErrno(Code code) {
  switch (code) {
    case Code::kOk: return 0;
    case Code::kNotFound: return ENOENT;
    case Code::kAlreadyExists: return EEXIST;
    case Code::kNotDirectory: return ENOTDIR;
    case Code::kIsDirectory: return EISDIR;
    case Code::kNotEmpty: return ENOTEMPTY;
    case Code::kAccessDenied: return EACCES;
    case Code::kNotPermitted: return EPERM;
    case Code::kInvalidArgument: return EINVAL;
    case Code::kNameTooLong: return ENAMETOOLONG;
    case Code::kTooManyLinks: return EMLINK;
    case Code::kNoSpace: return ENOSPC;
    case Code::kQuotaExceeded: return EDQUOT;
    case Code::kCrossDevice: return EXDEV;
    case Code::kBusy: return EBUSY;
    case Code::kReadOnly: return EROFS;
    case Code::kFileTooBig: return EFBIG;
    case Code::kNoAttribute: return ENODATA;
    case Code::kResultTooLarge: return ERANGE;
    case Code::kSymlinkLoop: return ELOOP;
    case Code::kNotSupported: return EOPNOTSUPP;
    case Code::kStaleHandle: return ESTALE;
    case Code::kBadDescriptor: return EBADF;
    case Code::kInterrupted: return EINTR;
    case Code::kWouldBlock: return EAGAIN;
    case Code::kDeadlock: return EDEADLK;
    case Code::kTooManyLocks: return ENOLCK;
    case Code::kTimedOut: return ETIMEDOUT;
    case Code::kUnavailable: return ETIMEDOUT;
    case Code::kNotLeader: return EAGAIN;
    case Code::kOverloaded: return EAGAIN;
    case Code::kCancelled: return ECANCELED;
    case Code::kUnauthenticated: return EACCES;
    case Code::kProtocol: return EPROTO;
    case Code::kWrongCluster: return EPROTO;
    case Code::kVersionMismatch: return EPROTO;
    case Code::kClosed: return EBADF;
    case Code::kIoError:
    case Code::kCorrupt:
    case Code::kUnknownSession:
    case Code::kStaleSequence:
    case Code::kStaleIncarnation:
    case Code::kStaleStamp:
    case Code::kStaleTerm:
    case Code::kConflict:
    case Code::kOutcomeUnknown:
    case Code::kInternal:
    case Code::kMissingBlock: return EIO;
  }
  return EIO;
}

Code FromErrno(int posix_errno) {
  switch (posix_errno) {
    case 0: return Code::kOk;
    case ENOENT: return Code::kNotFound;
    case EEXIST: return Code::kAlreadyExists;
    case ENOTDIR: return Code::kNotDirectory;
    case EISDIR: return Code::kIsDirectory;
    case ENOTEMPTY: return Code::kNotEmpty;
    case EACCES: return Code::kAccessDenied;
    case EPERM: return Code::kNotPermitted;
    case EINVAL: return Code::kInvalidArgument;
    case ENAMETOOLONG: return Code::kNameTooLong;
    case EMLINK: return Code::kTooManyLinks;
    case ENOSPC: return Code::kNoSpace;
    case EDQUOT: return Code::kQuotaExceeded;
    case EXDEV: return Code::kCrossDevice;
    case EBUSY:
    case EADDRINUSE: return Code::kBusy;
    case EROFS: return Code::kReadOnly;
    case EFBIG: return Code::kFileTooBig;
    case ENODATA: return Code::kNoAttribute;
    case ERANGE: return Code::kResultTooLarge;
    case ELOOP: return Code::kSymlinkLoop;
    case EOPNOTSUPP: return Code::kNotSupported;
    case ESTALE: return Code::kStaleHandle;
    case EBADF: return Code::kBadDescriptor;
    case EINTR: return Code::kInterrupted;
    case EDEADLK: return Code::kDeadlock;
    case ENOLCK: return Code::kTooManyLocks;
    case ETIMEDOUT: return Code::kTimedOut;
    case ECONNREFUSED:
    case ECONNRESET:
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EPIPE:
    case EAGAIN: return Code::kUnavailable;
    case ECANCELED: return Code::kCancelled;
    case EPROTO: return Code::kProtocol;
    default: return Code::kIoError;
  }
}

}  // namespace dfs
