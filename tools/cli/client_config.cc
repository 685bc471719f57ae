#include "tools/cli/client_config.h"

#include <fmt/format.h>
#include <unistd.h>

#include <toml++/toml.h>
#include <cstdlib>
#include <vector>

#include "tools/cli/text.h"
#include "tools/dev/layout.h"

namespace dfs::cli {
namespace {

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::vector<std::string> SplitCommas(const std::string& text) {
  std::vector<std::string> out;
  size_t at = 0;
  while (at <= text.size()) {
    const size_t comma = std::min(text.find(',', at), text.size());
    if (comma > at) out.push_back(text.substr(at, comma - at));
    at = comma + 1;
  }
  return out;
}

// The settings of one table (the file itself, or [cluster.NAME]) into options.
Status Apply(const toml::table& table, const std::string& where, Options* options) {
  for (const auto& [key, value] : table) {
    const std::string_view name = key.str();
    if (name == "cluster" || name == "default_cluster") continue;
    if (name == "namenodes" && value.is_array()) {
      options->namenodes.clear();
      for (const auto& item : *value.as_array()) {
        options->namenodes.push_back(item.value_or(std::string()));
      }
    } else if (name == "namenodes" && value.is_string()) {
      options->namenodes = SplitCommas(value.value_or(std::string()));
    } else if (name == "cluster_id" && value.is_string()) {
      options->cluster_id = value.value_or(std::string());
    } else if (name == "key_file" && value.is_string()) {
      options->key_file = value.value_or(std::string());
    } else if (name == "insecure" && value.is_boolean()) {
      options->insecure = value.value_or(false);
    } else if (name == "timeout" && value.is_string()) {
      int64_t ns = 0;
      if (!ParseDuration(value.value_or(std::string()), &ns)) {
        return Status(Code::kInvalidArgument, where + ": timeout is no duration such as 60s");
      }
      options->timeout = std::chrono::milliseconds(ns / 1'000'000);
    } else {
      return Status(Code::kInvalidArgument,
                    fmt::format("{}: unknown setting, or one of the wrong type: {}", where, name));
    }
  }
  return Status::Ok();
}

// Reads one client.toml when it is there. named: --cluster, "" for the default one.
Status ApplyFile(const std::string& path, const std::string& named, bool* found_named,
                 Options* options) {
  if (access(path.c_str(), R_OK) != 0) return Status::Ok();
  toml::table table;
  try {
    table = toml::parse_file(path);
  } catch (const toml::parse_error& e) {
    return Status(Code::kInvalidArgument, fmt::format("{}:{}: {}", path, e.source().begin.line,
                                                      std::string(e.description())));
  }
  DFS_RETURN_IF_ERROR(Apply(table, path, options));
  const std::string cluster =
      named.empty() ? table["default_cluster"].value_or(std::string()) : named;
  if (cluster.empty()) return Status::Ok();
  const toml::table* section = table["cluster"][cluster].as_table();
  if (section == nullptr) return Status::Ok();
  *found_named = true;
  return Apply(*section, fmt::format("{}, [cluster.{}]", path, cluster), options);
}

Status ApplyFiles(const std::string& named, Options* options) {
  bool found_named = false;
  DFS_RETURN_IF_ERROR(ApplyFile("/etc/dfs/client.toml", named, &found_named, options));
  std::string home = Environment("XDG_CONFIG_HOME");
  if (home.empty() && !Environment("HOME").empty()) home = Environment("HOME") + "/.config";
  if (!home.empty()) {
    DFS_RETURN_IF_ERROR(ApplyFile(home + "/dfs/client.toml", named, &found_named, options));
  }
  if (!named.empty() && !found_named) {
    return Status(
        Code::kInvalidArgument,
        fmt::format("no [cluster.{}] in /etc/dfs/client.toml or ~/.config/dfs/client.toml", named));
  }
  return Status::Ok();
}

}  // namespace

Result<Options> FindCluster(const ClientConfigFlags& flags) {
  Options options;
  const std::string named = flags.cluster.empty() ? Environment("DFS_CLUSTER") : flags.cluster;
  DFS_RETURN_IF_ERROR(ApplyFiles(named, &options));
  if (const std::string e = Environment("DFS_NAMENODES"); !e.empty()) {
    options.namenodes = SplitCommas(e);
  }
  if (const std::string e = Environment("DFS_KEY_FILE"); !e.empty()) options.key_file = e;
  if (!flags.namenodes.empty()) options.namenodes = SplitCommas(flags.namenodes);
  if (!flags.key_file.empty()) options.key_file = flags.key_file;
  const std::string timeout = flags.timeout.empty() ? Environment("DFS_TIMEOUT") : flags.timeout;
  if (!timeout.empty()) {
    int64_t ns = 0;
    if (!ParseDuration(timeout, &ns) || ns < 1'000'000) {
      return Status(Code::kInvalidArgument, "'" + timeout + "' is no duration such as 500ms or 5m");
    }
    options.timeout = std::chrono::milliseconds(ns / 1'000'000);
  }
  if (options.namenodes.empty()) {
    const Result<dev::Discovery> found = dev::ReadDiscovery();
    if (!found) {
      if (!found.error().Is(Code::kNotFound)) return found.error();
      return Status(Code::kUnavailable,
                    "no cluster is named and no development cluster runs here; start one with "
                    "'dfs dev start DIR', or give --namenodes or $DFS_NAMENODES");
    }
    options.namenodes = found->namenodes;
    options.cluster_id = found->cluster_id;
    if (options.key_file.empty()) options.key_file = found->key_file;
  }
  return options;
}

std::string DescribeCluster(const Options& options) {
  std::string out;
  for (const std::string& address : options.namenodes) out += (out.empty() ? "" : ",") + address;
  return out;
}

}  // namespace dfs::cli
