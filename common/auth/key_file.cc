#include "common/auth/key_file.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "common/auth/mac.h"
#include "common/base/random.h"

namespace dfs {

namespace {

/// Closes the descriptor at the end of the scope.
struct Descriptor {
  int fd;
  explicit Descriptor(int descriptor) : fd(descriptor) {}
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
};

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Status CheckOwnerAndMode(int fd, const std::string& path) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) return Status::FromSystem(errno, path);
  if (!S_ISREG(st.st_mode)) return Status(Code::kInvalidArgument, path + ": not a regular file");
  // Root may read all of them, a daemon's own, too.
  if (st.st_uid != 0 && st.st_uid != ::geteuid() && ::geteuid() != 0) {
    return Status(Code::kAccessDenied,
                  fmt::format("{}: the key belongs to another user (uid {})", path, st.st_uid));
  }
  if ((st.st_mode & 077) != 0) {
    return Status(Code::kAccessDenied,
                  fmt::format("{}: the key may be touched by others (mode {:04o}); chmod 600 it",
                              path, st.st_mode & 07777));
  }
  return Status();
}

Status SyncParent(const std::string& path) {
  size_t slash = path.rfind('/');
  std::string parent = slash == std::string::npos ? "." : path.substr(0, slash == 0 ? 1 : slash);
  Descriptor dir(::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (dir.fd < 0 || ::fsync(dir.fd) != 0) return Status::FromSystem(errno, parent);
  return Status();
}

/// Writes the key under a name of its own, so that no half-written key ever has the real name.
Status WriteTemporary(const std::string& temporary, std::string_view text) {
  Descriptor file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (file.fd < 0) return Status::FromSystem(errno, temporary);
  if (::write(file.fd, text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return Status::FromSystem(errno, temporary);
  }
  if (::fsync(file.fd) != 0) return Status::FromSystem(errno, temporary);
  return Status();
}

}  // namespace

Result<std::string> LoadKeyFile(const std::string& path) {
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.fd < 0) return Status::FromSystem(errno, path);
  DFS_RETURN_IF_ERROR(CheckOwnerAndMode(file.fd, path));
  char text[kKeySize * 2 + 8];
  ssize_t size = ::read(file.fd, text, sizeof(text));
  if (size < 0) return Status::FromSystem(errno, path);
  while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r')) --size;
  Status bad(Code::kCorrupt, path + ": not a cluster key (64 hexadecimal digits expected)");
  if (size != static_cast<ssize_t>(kKeySize * 2)) return bad;
  std::string key;
  for (size_t i = 0; i < kKeySize; ++i) {
    int high = HexDigit(text[2 * i]);
    int low = HexDigit(text[2 * i + 1]);
    if (high < 0 || low < 0) return bad;
    key.push_back(static_cast<char>(high << 4 | low));
  }
  return key;
}

Result<std::string> CreateKeyFile(const std::string& path) {
  std::string key(kKeySize, '\0');
  FillSecureRandom(key.data(), key.size());
  std::string text;
  for (char c : key) text += fmt::format("{:02x}", static_cast<unsigned char>(c));
  text += '\n';

  uint64_t suffix = 0;
  FillSecureRandom(&suffix, sizeof(suffix));
  std::string temporary = fmt::format("{}.{:016x}.tmp", path, suffix);
  Status status = WriteTemporary(temporary, text);
  // link() does not replace: of two processes that make a key at once, one wins and the other sees
  // it.
  if (status.ok() && ::link(temporary.c_str(), path.c_str()) != 0) {
    status = Status::FromSystem(errno, path);
  }
  ::unlink(temporary.c_str());
  DFS_RETURN_IF_ERROR(status);
  DFS_RETURN_IF_ERROR(SyncParent(path));
  return key;
}

Result<std::string> LoadOrCreateKeyFile(const std::string& path) {
  Result<std::string> loaded = LoadKeyFile(path);
  if (loaded.ok() || !loaded.error().Is(Code::kNotFound)) return loaded;
  Result<std::string> created = CreateKeyFile(path);
  if (created.ok() || !created.error().Is(Code::kAlreadyExists)) return created;
  return LoadKeyFile(path);
}

}  // namespace dfs
