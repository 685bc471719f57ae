// What a development cluster is made of, and its files:
//
//   DIR/dev.json               this structure; also the mark by which we know a directory of ours
//   DIR/dev.lock               held by the dfs dev command at work
//   DIR/cluster.key            mode 0600
//   DIR/<name>/config.toml     of a daemon
//   DIR/<name>/data            its data
//   DIR/<name>/ready           what it printed when it was ready
//   DIR/log/<name>.log         what it logged
//
// Sockets are elsewhere (a socket's path may have 107 bytes): $XDG_RUNTIME_DIR/dfs, /run/user/UID/dfs or
// /tmp/dfs-UID; the discovery file dev.json, by which `dfs` finds the cluster, is there too.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "tools/dev/process.h"

namespace dfs::dev {

struct Member {
  std::string name;  // "namenode-1"
  bool is_namenode = false;
  int number = 0;           // 1..
  std::string address;      // TCP, of clients (namenode) or block streams (datanode)
  std::string raft;         // namenodes only
  std::string http;         // health, metrics, status page; "": none
  std::string unix_socket;  // path
  ProcessId process;
};

struct Layout {
  std::string directory;  // absolute
  std::string cluster_id;
  std::string socket_directory;
  int replication = 0;
  bool tcp = false;  // daemons and clients speak TCP even on this host
  std::string log_level = "info";
  std::vector<std::string>
      namenode_settings;  // lines of "section.key=value" added to every namenode
  std::vector<std::string> datanode_settings;
  std::vector<Member> members;

  std::string FolderOf(const Member& member) const { return directory + "/" + member.name; }
  std::string ConfigOf(const Member& member) const { return FolderOf(member) + "/config.toml"; }
  std::string DataOf(const Member& member) const { return FolderOf(member) + "/data"; }
  std::string ReadyFileOf(const Member& member) const { return FolderOf(member) + "/ready"; }
  std::string LogOf(const Member& member) const {
    return directory + "/log/" + member.name + ".log";
  }
  std::string key_file() const { return directory + "/cluster.key"; }
  Member* Find(const std::string& name);
  size_t CountOf(bool namenodes) const;
  /// Where clients and datanodes reach the namenodes, as Options::namenodes takes it.
  std::vector<std::string> NamenodeAddresses() const;
};

bool IsDevDirectory(const std::string& directory);
Result<Layout> LoadLayout(const std::string& directory);
Status SaveLayout(const Layout& layout);

/// The daemon's TOML file.
std::string ConfigText(const Layout& layout, const Member& member);

/// The directory for sockets and discovery, made (0700) when absent; refused when it is not ours alone.
Result<std::string> RuntimeDirectory();
Status MakePrivateDirectory(const std::string& path);

Status WritePrivateFile(const std::string& path, const std::string& text);

/// The running cluster that `dfs` uses when it is told nothing.
struct Discovery {
  std::string directory;
  std::string cluster_id;
  std::string key_file;
  std::vector<std::string> namenodes;
};
Status WriteDiscovery(const Layout& layout);
/// kNotFound when no cluster is announced.
Result<Discovery> ReadDiscovery();
/// Only when it announces this cluster.
void RemoveDiscovery(const Layout& layout);

}  // namespace dfs::dev
