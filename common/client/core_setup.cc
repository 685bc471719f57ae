#include "common/client/core_setup.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <fstream>

#include "common/auth/key_file.h"
#include "common/client/discovery.h"

namespace dfs::client {
namespace {

std::string MachineId() {
  std::ifstream file("/etc/machine-id");
  std::string id;
  std::getline(file, id);
  if (!id.empty()) return id;
  char name[256] = {};
  if (::gethostname(name, sizeof(name) - 1) == 0) return name;
  return {};
}

std::string ProgramName() {
  std::string name = program_invocation_short_name != nullptr ? program_invocation_short_name : "";
  return (name.empty() ? "client" : name) + "." + std::to_string(::getpid());
}

/// What the caller did not say: the environment, then the development cluster that runs here.
Status FindCluster(Options* options) {
  if (!options->namenodes.empty()) return Status();
  if (const char* env = std::getenv("DFS_NAMENODES"); env != nullptr && *env != '\0') {
    options->namenodes.emplace_back(env);
    return Status();
  }
  Result<DiscoveredCluster> found = DiscoverDevCluster();
  if (!found) {
    if (!found.error().Is(Code::kNotFound)) return found.error();
    return Status(Code::kInvalidArgument,
                  "no namenode addresses: set Options::namenodes or DFS_NAMENODES");
  }
  options->namenodes = found->namenodes;
  if (options->cluster_id.empty()) options->cluster_id = found->cluster_id;
  if (options->key_file.empty() && options->cluster_key.empty())
    options->key_file = found->key_file;
  return Status();
}

Result<std::vector<rpc::Address>> ParseAddresses(const std::vector<std::string>& texts) {
  std::vector<rpc::Address> addresses;
  for (const std::string& list : texts) {
    for (size_t at = 0; at <= list.size();) {
      const size_t comma = std::min(list.find(',', at), list.size());
      const std::string text = list.substr(at, comma - at);
      at = comma + 1;
      if (text.empty()) continue;
      DFS_ASSIGN_OR_RETURN(rpc::Address address, rpc::Address::Parse(text));
      addresses.push_back(std::move(address));
    }
  }
  if (addresses.empty()) {
    return Status(Code::kInvalidArgument, "no namenode addresses in Options::namenodes");
  }
  return addresses;
}

Result<std::string> ClusterKey(const Options& options) {
  if (!options.cluster_key.empty()) {
    if (options.cluster_key.size() != 32) {
      return Status(Code::kInvalidArgument, "a cluster key has 32 bytes");
    }
    return options.cluster_key;
  }
  std::string path = options.key_file;
  if (path.empty()) {
    if (const char* env = std::getenv("DFS_KEY_FILE"); env != nullptr) path = env;
  }
  if (path.empty()) return std::string();
  return LoadKeyFile(path);
}

}  // namespace

Result<CoreSetup> SetUpCore(Options* options) {
  DFS_RETURN_IF_ERROR(FindCluster(options));
  CoreSetup setup;
  CoreOptions& core = setup.core;
  DFS_ASSIGN_OR_RETURN(core.namenodes, ParseAddresses(options->namenodes));
  DFS_ASSIGN_OR_RETURN(std::string key, ClusterKey(*options));
  if (!options->caller) options->caller = Identity::OfProcess();
  core.client_name = options->client_name.empty() ? ProgramName() : options->client_name;
  if (core.client_name.size() > 255) core.client_name.resize(255);
  core.host_id = options->host_id.empty() ? MachineId() : options->host_id;
  core.uid = options->caller->uid;
  core.gid = options->caller->gid;
  core.groups = options->caller->groups;
  core.timeout_ns = std::max<int64_t>(options->timeout.count(), 1) * kMillisecond;
  core.read_ahead_bytes = std::max<size_t>(options->read_ahead_bytes, 64u << 10);
  core.write_buffer_bytes = std::max<size_t>(options->write_buffer_bytes, 64u << 10);

  setup.identity = std::make_shared<rpc::NetworkIdentity>();
  setup.identity->cluster_id = options->cluster_id;
  setup.identity->role = rpc::Role::kClient;
  setup.identity->cluster_key = std::move(key);
  setup.identity->insecure = options->insecure;
  return setup;
}

}  // namespace dfs::client
