// Ports on loopback: which are free, and who has those that are not.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/base/status.h"

namespace dfs::dev {

bool PortIsFree(uint16_t port);
/// "pid 4711 (nginx)", or "another process" when it cannot be seen.
std::string PortOwner(uint16_t port);
/// That many free ports below the range from which the kernel takes those of outgoing connections, so
/// that none of these takes one away between a stop and a start.
Result<std::vector<uint16_t>> PickFreePorts(size_t count, Random& random);

}  // namespace dfs::dev
