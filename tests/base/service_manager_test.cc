#include "common/base/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace dfs {
namespace {

/// A manager's socket at this address; '@' in front: abstract.
class Manager {
 public:
  explicit Manager(const std::string& name) {
    fd_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path, name.data(), name.size());
    if (name[0] == '@') address.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(::bind(fd_, reinterpret_cast<sockaddr*>(&address), size), 0) << name;
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Manager() {
    ::unsetenv("NOTIFY_SOCKET");
    ::close(fd_);
  }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;
  std::string Heard() {
    char text[64];
    const ssize_t n = ::recv(fd_, text, sizeof(text), 0);
    return n < 0 ? "" : std::string(text, static_cast<size_t>(n));
  }

 private:
  int fd_ = -1;
};

TEST(ServiceManager, IsToldOverItsSocket) {
  const std::string path = "/tmp/dfs-notify-" + std::to_string(::getpid());
  for (const std::string& name : {path, "@dfs-notify-" + std::to_string(::getpid())}) {
    Manager manager(name);
    NotifyServiceManager("READY=1");
    EXPECT_EQ(manager.Heard(), "READY=1") << name;
  }
  ::unlink(path.c_str());
}

TEST(ServiceManager, NobodyNeedsToListen) {
  ::unsetenv("NOTIFY_SOCKET");
  NotifyServiceManager("READY=1");
  for (const std::string& name :
       {std::string("/nowhere/at/all"), std::string("relative"), std::string(200, '/')}) {
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
    NotifyServiceManager("READY=1");
  }
  ::unsetenv("NOTIFY_SOCKET");
}

}  // namespace
}  // namespace dfs
