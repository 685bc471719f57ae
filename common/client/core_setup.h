// From a user's Options to what a ClientCore and its network need: the cluster found, the key read, the caller named.
#pragma once

#include <memory>

#include "common/base/status.h"
#include "common/client/core/client_core.h"
#include "common/rpc/socket_network.h"
#include "dfs/client.h"

namespace dfs::client {

struct CoreSetup {
  CoreOptions core;
  std::shared_ptr<rpc::NetworkIdentity> identity;
};

/// Fills in what the options do not say (environment, the development cluster of this machine, this process's
/// identity). kInvalidArgument when no namenode is known or an address or the key is malformed.
Result<CoreSetup> SetUpCore(Options* options);

}  // namespace dfs::client
