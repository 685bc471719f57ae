#include "fuse/mount_options.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

namespace dfs::fuse {
namespace {

/// As long as a client can wait: a mount that never gives up.
constexpr auto kForEver = std::chrono::hours(10 * 365 * 24);

std::vector<std::string> Split(const std::string& text, char separator) {
  std::vector<std::string> out;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(separator, at), text.size());
    if (end > at) out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

bool OneOf(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// For the kernel; libfuse passes them on.
bool IsKernelFlag(const std::string& name) {
  return OneOf(name, {"suid", "nosuid", "dev", "nodev", "exec", "noexec", "atime", "noatime",
                      "nodiratime", "sync", "async", "dirsync"});
}

/// What mount(8), fstab and other file systems' habits bring along and what changes nothing here: permissions are
/// always checked by the kernel, access times are never written by reads, and one thread serves a mount.
bool IsWithoutEffect(const std::string& name) {
  return OneOf(name, {"rw",         "defaults",    "_netdev",  "nofail",
                      "auto",       "noauto",      "user",     "nouser",
                      "users",      "group",       "owner",    "relatime",
                      "norelatime", "strictatime", "lazytime", "default_permissions",
                      "clone_fd",   "max_threads", "soft",     "comment",
                      "subtype"}) ||
         name.starts_with("x-");
}

bool IsOfLaterVersions(const std::string& name) {
  return OneOf(name, {"retry", "bg", "rsize", "wsize", "readahead", "direct_io", "cache-dir",
                      "cache-size", "memory-limit", "token-file", "uid", "gid", "umask", "idmap",
                      "prefer", "remount", "allow_root", "max_read"});
}

Status Malformed(const std::string& option, const std::string& wanted) {
  return Status(Code::kInvalidArgument, "mount option " + option + ": " + wanted);
}

Result<uint64_t> Number(const std::string& option, std::string_view text, uint64_t low,
                        uint64_t high) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    return Malformed(
        option, "not a number between " + std::to_string(low) + " and " + std::to_string(high));
  }
  return value;
}

Result<uint64_t> Seconds(const std::string& option, std::string_view text) {
  if (text.ends_with('s')) text.remove_suffix(1);
  return Number(option, text, 1, 1'000'000);
}

/// Of two choices one is there: what else a value may be comes later.
Status OnlyChoice(const std::string& option, const std::string& value, std::string_view there,
                  std::initializer_list<std::string_view> later) {
  if (value == there) return Status();
  if (OneOf(value, later)) {
    return Malformed(option, "not supported yet, only " + std::string(there));
  }
  return Malformed(option, "not a choice; there is " + std::string(there));
}

void AppendPath(const std::string& more, std::string* path) {
  for (const std::string& name : Split(more, '/')) {
    if (path->back() != '/') *path += '/';
    *path += name;
  }
}

Status ApplyValue(const std::string& option, const std::string& name, const std::string& value,
                  MountOptions* out) {
  if (name == "fsname") {
    out->kernel.source = value;
  } else if (name == "key_file") {
    out->client.key_file = value;
  } else if (name == "cluster_id") {
    out->client.cluster_id = value;
  } else if (name == "namenodes") {
    // Commas separate mount options.
    out->client.namenodes = Split(value, '+');
  } else if (name == "subdir") {
    AppendPath(value, &out->path);
  } else if (name == "timeo") {
    DFS_ASSIGN_OR_RETURN(const uint64_t seconds, Seconds(option, value));
    out->client.timeout = std::chrono::seconds(seconds);
  } else if (name == "mount-timeout") {
    DFS_ASSIGN_OR_RETURN(const uint64_t seconds, Seconds(option, value));
    out->connect_timeout_ns = static_cast<int64_t>(seconds) * kSecond;
  } else if (name == "replication") {
    DFS_ASSIGN_OR_RETURN(const uint64_t count, Number(option, value, 1, 16));
    out->replication = static_cast<uint32_t>(count);
  } else if (name == "cache") {
    if (OneOf(value, {"leased", "none"})) {
      out->leases = value == "leased";
      return Status();
    }
    return OnlyChoice(option, value, "leased and none", {"single"});
  } else if (name == "lock") {
    return OnlyChoice(option, value, "local", {"cluster", "none"});
  } else {
    return Status(Code::kInvalidArgument, "unknown mount option: " + option);
  }
  return Status();
}

Status ApplyMountOption(const std::string& option, MountOptions* out) {
  const size_t equals = option.find('=');
  const std::string name = option.substr(0, equals);
  if (IsWithoutEffect(name)) return Status();
  if (IsOfLaterVersions(name)) return Malformed(option, "not supported yet");
  if (option == "ro") {
    out->kernel.read_only = true;
  } else if (option == "allow_other") {
    out->kernel.allow_other = true;
  } else if (option == "insecure") {
    out->client.insecure = true;
  } else if (option == "hard") {
    out->client.timeout = kForEver;
  } else if (IsKernelFlag(option)) {
    out->kernel.kernel_flags.push_back(option);
  } else if (equals == std::string::npos || equals + 1 == option.size()) {
    return Status(Code::kInvalidArgument, "unknown mount option: " + option);
  } else {
    return ApplyValue(option, name, option.substr(equals + 1), out);
  }
  return Status();
}

/// a:9700,b:9700:/path, dfs, dfs:/path, :/path.
void ApplySource(const std::string& source, MountOptions* out) {
  const size_t colon = source.rfind(":/");
  const std::string cluster = source.substr(0, colon);
  if (colon != std::string::npos) AppendPath(source.substr(colon + 1), &out->path);
  if (!cluster.empty() && cluster != "dfs") out->client.namenodes = Split(cluster, ',');
  out->kernel.source = source;
}

/// Whether it was started as mount(8) starts it: with its grammar.
bool IsMountHelper(const char* program) {
  const std::string name = program;
  return name.substr(name.rfind('/') + 1).starts_with("mount.");
}

}  // namespace

Result<MountOptions> ParseCommandLine(int argc, char** argv) {
  const bool helper = IsMountHelper(argv[0]);
  MountOptions out;
  CLI::App app("Mounts a dfs cluster as a file system.", helper ? "mount.dfs" : "dfs-fuse");
  std::string source;
  std::string namenodes;
  std::string path;
  std::vector<std::string> lists;
  std::string type;
  bool ignored = false;
  if (helper) app.add_option("SOURCE", source, "a:9700,b:9700[:/path], or dfs[:/path]")->required();
  app.add_option("MOUNTPOINT", out.kernel.mount_point, "An existing directory")->required();
  app.add_option("-o", lists, "Mount options: ro,allow_other,timeo=60s,... (docs/mount.md)")
      ->expected(1)
      ->take_all();
  if (helper) {
    app.add_flag("-f", out.fake, "Check everything, mount nothing");
    app.add_flag("-n,-s,-v", ignored, "As mount(8) passes them; without effect");
    app.add_option("-t", type, "The type, as mount(8) passes it");
  } else {
    app.add_flag("-f,--foreground", out.foreground, "Do not go to the background; log to stderr");
    app.add_flag("-d,--debug", out.kernel.debug, "Print every request of the kernel's; with -f");
    app.add_option("--path", path, "The cluster's directory to mount; default: /");
    app.add_option("--namenodes", namenodes,
                   "a:9700,b:9700; default: DFS_NAMENODES, or `dfs dev`'s");
    app.add_option("--cluster-id", out.client.cluster_id, "Refuse any other cluster");
    app.add_option("--key-file", out.client.key_file, "The cluster key; default: DFS_KEY_FILE");
    app.add_flag("--insecure", out.client.insecure, "Connect without a key");
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    std::fputs(app.help().c_str(), stdout);
    return Status(Code::kInvalidArgument, "");
  } catch (const CLI::ParseError& error) {
    return Status(Code::kInvalidArgument, error.what());
  }
  out.client.namenodes = Split(namenodes, ',');
  AppendPath(path, &out.path);
  if (helper) ApplySource(source, &out);
  for (const std::string& list : lists) {
    for (const std::string& option : Split(list, ',')) {
      DFS_RETURN_IF_ERROR(ApplyMountOption(option, &out));
    }
  }
  out.client.client_name = "dfs-fuse";
  return out;
}

}  // namespace dfs::fuse
