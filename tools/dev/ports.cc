#include "tools/dev/ports.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace dfs::dev {
namespace {

// The inode of the listening socket of a port, 0 when there is none.
uint64_t ListeningInode(const char* table, uint16_t port) {
  std::ifstream in(table);
  std::string line;
  std::getline(in, line);
  while (std::getline(in, line)) {
    std::istringstream fields(line);
    std::string number, local, remote, state, queues, timer, retransmit, uid, timeout;
    uint64_t inode = 0;
    fields >> number >> local >> remote >> state >> queues >> timer >> retransmit >> uid >>
        timeout >> inode;
    const size_t colon = local.rfind(':');
    if (state != "0A" || colon == std::string::npos) continue;
    if (std::strtoul(local.c_str() + colon + 1, nullptr, 16) == port) return inode;
  }
  return 0;
}

bool HoldsSocket(const std::string& pid, const std::string& link) {
  const std::string folder = "/proc/" + pid + "/fd";
  DIR* dir = opendir(folder.c_str());
  if (dir == nullptr) return false;
  bool found = false;
  while (const dirent* entry = readdir(dir)) {
    char target[128];
    const ssize_t n = readlink((folder + "/" + entry->d_name).c_str(), target, sizeof(target) - 1);
    if (n > 0 && std::string_view(target, static_cast<size_t>(n)) == link) {
      found = true;
      break;
    }
  }
  closedir(dir);
  return found;
}

}  // namespace

bool PortIsFree(uint16_t port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  // As the daemons bind: connections that linger in TIME_WAIT are no obstacle.
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool ok =
      bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 && listen(fd, 1) == 0;
  close(fd);
  return ok;
}

std::string PortOwner(uint16_t port) {
  uint64_t inode = ListeningInode("/proc/net/tcp", port);
  if (inode == 0) inode = ListeningInode("/proc/net/tcp6", port);
  if (inode == 0) return "another process";
  const std::string link = fmt::format("socket:[{}]", inode);
  DIR* proc = opendir("/proc");
  if (proc == nullptr) return "another process";
  std::string owner = "another process";
  while (const dirent* entry = readdir(proc)) {
    const std::string pid = entry->d_name;
    if (pid.find_first_not_of("0123456789") != std::string::npos || !HoldsSocket(pid, link)) {
      continue;
    }
    std::ifstream comm("/proc/" + pid + "/comm");
    std::string name;
    std::getline(comm, name);
    owner = fmt::format("pid {} ({})", pid, name);
    break;
  }
  closedir(proc);
  return owner;
}

Result<std::vector<uint16_t>> PickFreePorts(size_t count, Random& random) {
  constexpr uint64_t kLow = 10'240;
  constexpr uint64_t kHigh = 32'000;
  std::vector<uint16_t> ports;
  for (int tries = 0; tries < 2'000 && ports.size() < count; ++tries) {
    const auto port = static_cast<uint16_t>(kLow + random.Uniform(kHigh - kLow));
    if (std::find(ports.begin(), ports.end(), port) != ports.end()) continue;
    if (PortIsFree(port)) ports.push_back(port);
  }
  if (ports.size() < count) return Status(Code::kUnavailable, "no free ports on 127.0.0.1");
  return ports;
}

}  // namespace dfs::dev
