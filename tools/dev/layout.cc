#include "tools/dev/layout.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <map>
#include <nlohmann/json.hpp>

#include "common/base/env.h"

namespace dfs::dev {
namespace {

using nlohmann::json;

json ToJson(const Layout& layout) {
  json members = json::array();
  for (const Member& m : layout.members) {
    members.push_back({{"name", m.name},
                       {"role", m.is_namenode ? "namenode" : "datanode"},
                       {"number", m.number},
                       {"address", m.address},
                       {"raft", m.raft},
                       {"http", m.http},
                       {"unix", m.unix_socket},
                       {"pid", m.process.pid},
                       {"start_ticks", m.process.start_ticks}});
  }
  return {{"schema", "dfs.dev/1"},
          {"cluster_id", layout.cluster_id},
          {"socket_directory", layout.socket_directory},
          {"replication", layout.replication},
          {"tcp", layout.tcp},
          {"log_level", layout.log_level},
          {"namenode_settings", layout.namenode_settings},
          {"datanode_settings", layout.datanode_settings},
          {"members", members}};
}

Layout FromJson(const std::string& directory, const json& j) {
  Layout out;
  out.directory = directory;
  out.cluster_id = j.at("cluster_id");
  out.socket_directory = j.at("socket_directory");
  out.replication = j.at("replication");
  out.tcp = j.value("tcp", false);
  out.log_level = j.value("log_level", "info");
  out.namenode_settings = j.value("namenode_settings", std::vector<std::string>{});
  out.datanode_settings = j.value("datanode_settings", std::vector<std::string>{});
  for (const json& m : j.at("members")) {
    Member member;
    member.name = m.at("name");
    member.is_namenode = m.at("role") == "namenode";
    member.number = m.at("number");
    member.address = m.at("address");
    member.raft = m.at("raft");
    member.http = m.value("http", "");
    member.unix_socket = m.at("unix");
    member.process.pid = m.at("pid");
    member.process.start_ticks = m.at("start_ticks");
    out.members.push_back(std::move(member));
  }
  return out;
}

// A basic TOML string.
std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\u{:04X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

std::string QuotedList(const std::vector<std::string>& values) {
  std::string out = "[";
  for (size_t i = 0; i < values.size(); ++i) out += (i > 0 ? ", " : "") + Quoted(values[i]);
  return out + "]";
}

// section -> key -> TOML value, in the order in which they are to stand.
class Toml {
 public:
  void Set(const std::string& section, const std::string& key, std::string value) {
    if (sections_.find(section) == sections_.end()) order_.push_back(section);
    sections_[section][key] = std::move(value);
  }
  // "section.key=value" as typed by a person: numbers, booleans and lists as they are, the rest quoted.
  void SetFromText(const std::string& line) {
    const size_t equals = line.find('=');
    const size_t dot = line.find('.');
    if (equals == std::string::npos || dot == std::string::npos || dot > equals) return;
    std::string value = line.substr(equals + 1);
    const bool plain = value == "true" || value == "false" || (!value.empty() && value[0] == '[') ||
                       (!value.empty() && value.find_first_not_of("0123456789") == value.npos);
    Set(line.substr(0, dot), line.substr(dot + 1, equals - dot - 1), plain ? value : Quoted(value));
  }
  std::string ToString() const {
    std::string out;
    for (const std::string& section : order_) {
      out += "\n[" + section + "]\n";
      for (const auto& [key, value] : sections_.at(section)) out += key + " = " + value + "\n";
    }
    return out;
  }

 private:
  std::vector<std::string> order_;
  std::map<std::string, std::map<std::string, std::string>> sections_;
};

Result<json> ParseJsonFile(const std::string& path) {
  DFS_ASSIGN_OR_RETURN(const std::string text, PosixEnv().ReadFile(path));
  json parsed = json::parse(text, nullptr, false);
  if (!parsed.is_object()) return Status(Code::kCorrupt, path + " is not JSON of ours");
  return parsed;
}

}  // namespace

Member* Layout::Find(const std::string& name) {
  for (Member& member : members) {
    if (member.name == name) return &member;
  }
  return nullptr;
}

size_t Layout::CountOf(bool namenodes) const {
  size_t count = 0;
  for (const Member& member : members) count += member.is_namenode == namenodes ? 1 : 0;
  return count;
}

std::vector<std::string> Layout::NamenodeAddresses() const {
  std::vector<std::string> out;
  for (const Member& member : members) {
    if (member.is_namenode) out.push_back(tcp ? member.address : "unix:" + member.unix_socket);
  }
  return out;
}

bool IsDevDirectory(const std::string& directory) {
  return PosixEnv().Exists(directory + "/dev.json");
}

Result<Layout> LoadLayout(const std::string& directory) {
  const std::string path = directory + "/dev.json";
  if (!PosixEnv().Exists(path)) {
    return Status(Code::kNotFound,
                  fmt::format("'{}' holds no development cluster (no dev.json)", directory));
  }
  DFS_ASSIGN_OR_RETURN(const json parsed, ParseJsonFile(path));
  if (parsed.value("schema", "") != "dfs.dev/1") {
    return Status(Code::kCorrupt, path + " is not a file of dfs dev");
  }
  try {
    return FromJson(directory, parsed);
  } catch (const json::exception& e) {
    return Status(Code::kCorrupt, fmt::format("{} is damaged: {}", path, e.what()));
  }
}

Status SaveLayout(const Layout& layout) {
  return WritePrivateFile(layout.directory + "/dev.json", ToJson(layout).dump(1) + "\n");
}

std::string ConfigText(const Layout& layout, const Member& member) {
  Toml toml;
  toml.Set("cluster", "id", Quoted(layout.cluster_id));
  toml.Set("cluster", "key_file", Quoted(layout.key_file()));
  toml.Set("log", "level", Quoted(layout.log_level));
  toml.Set("listen", "http", Quoted(member.http));
  if (member.is_namenode) {
    std::vector<std::string> members;
    const std::vector<std::string> addresses = layout.NamenodeAddresses();
    for (const Member& m : layout.members) {
      if (!m.is_namenode) continue;
      members.push_back(fmt::format("{}={},{}", m.number, m.raft, addresses[members.size()]));
    }
    toml.Set("node", "id", std::to_string(member.number));
    toml.Set("storage", "directory", Quoted(layout.DataOf(member)));
    toml.Set("listen", "client", Quoted(member.address));
    toml.Set("listen", "client_unix", Quoted(member.unix_socket));
    toml.Set("listen", "raft", Quoted(member.raft));
    toml.Set("raft", "members", QuotedList(members));
    toml.Set("namespace", "default_replication", std::to_string(layout.replication));
    // One machine, one person watching: notice a dead datanode soon, give space back soon.
    toml.Set("blocks", "stale_after_ms", "3000");
    toml.Set("blocks", "dead_after_ms", "10000");
    toml.Set("blocks", "deletion_delay_ms", "10000");
    for (const std::string& line : layout.namenode_settings) toml.SetFromText(line);
  } else {
    toml.Set("storage", "volumes", QuotedList({layout.DataOf(member)}));
    toml.Set("listen", "block", Quoted(member.address));
    if (!layout.tcp) toml.Set("listen", "block_unix", Quoted(member.unix_socket));
    toml.Set("namenodes", "addresses", QuotedList(layout.NamenodeAddresses()));
    for (const std::string& line : layout.datanode_settings) toml.SetFromText(line);
  }
  return "# Written by dfs dev; made anew when the cluster's ports or size change.\n" +
         toml.ToString();
}

Status MakePrivateDirectory(const std::string& path) {
  if (mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) {
    return Status::FromSystem(errno, "cannot make " + path);
  }
  struct stat st {};
  if (lstat(path.c_str(), &st) != 0) return Status::FromSystem(errno, path);
  if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
    return Status(Code::kAccessDenied,
                  path + " belongs to somebody else or others may write to it; remove it");
  }
  return Status::Ok();
}

Result<std::string> RuntimeDirectory() {
  // "<this>/dev-12345678/dn12.sock" must fit a socket's address.
  constexpr size_t kLongest = 80;
  std::string base;
  if (const char* xdg = std::getenv("XDG_RUNTIME_DIR"); xdg != nullptr && xdg[0] == '/') {
    base = std::string(xdg) + "/dfs";
  }
  if (base.empty() || base.size() > kLongest ||
      access(base.substr(0, base.size() - 4).c_str(), W_OK) != 0) {
    const std::string run = fmt::format("/run/user/{}", geteuid());
    base = access(run.c_str(), W_OK) == 0 ? run + "/dfs" : fmt::format("/tmp/dfs-{}", geteuid());
  }
  DFS_RETURN_IF_ERROR(MakePrivateDirectory(base));
  return base;
}

Status WritePrivateFile(const std::string& path, const std::string& text) {
  const std::string temporary = path + ".tmp";
  unlink(temporary.c_str());
  const int fd = open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return Status::FromSystem(errno, "cannot write " + temporary);
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) {
      const int error = errno;
      close(fd);
      return Status::FromSystem(error, "cannot write " + temporary);
    }
    done += static_cast<size_t>(n);
  }
  const bool synced = fdatasync(fd) == 0;
  const int error = errno;
  close(fd);
  if (!synced) return Status::FromSystem(error, "cannot sync " + temporary);
  if (rename(temporary.c_str(), path.c_str()) != 0) {
    return Status::FromSystem(errno, "cannot write " + path);
  }
  return Status::Ok();
}

Status WriteDiscovery(const Layout& layout) {
  DFS_ASSIGN_OR_RETURN(const std::string runtime, RuntimeDirectory());
  const json j = {{"schema", "dfs.discovery/1"},
                  {"directory", layout.directory},
                  {"cluster_id", layout.cluster_id},
                  {"key_file", layout.key_file()},
                  {"namenodes", layout.NamenodeAddresses()}};
  return WritePrivateFile(runtime + "/dev.json", j.dump(1) + "\n");
}

Result<Discovery> ReadDiscovery() {
  DFS_ASSIGN_OR_RETURN(const std::string runtime, RuntimeDirectory());
  const std::string path = runtime + "/dev.json";
  if (!PosixEnv().Exists(path)) return Status(Code::kNotFound, "no development cluster is running");
  DFS_ASSIGN_OR_RETURN(const json j, ParseJsonFile(path));
  Discovery out;
  try {
    out.directory = j.at("directory");
    out.cluster_id = j.at("cluster_id");
    out.key_file = j.at("key_file");
    out.namenodes = j.at("namenodes").get<std::vector<std::string>>();
  } catch (const json::exception& e) {
    return Status(Code::kCorrupt, fmt::format("{} is damaged: {}", path, e.what()));
  }
  return out;
}

void RemoveDiscovery(const Layout& layout) {
  const Result<Discovery> found = ReadDiscovery();
  if (!found || found->cluster_id != layout.cluster_id) return;
  const Result<std::string> runtime = RuntimeDirectory();
  if (runtime) unlink((*runtime + "/dev.json").c_str());
}

}  // namespace dfs::dev
