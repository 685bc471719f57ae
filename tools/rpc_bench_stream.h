// Part of dfs-rpc-bench: one stream of block packets over our frames beside the same bytes over a bare socket.
#pragma once

#include <cstdint>

#include "common/rpc/transport.h"

namespace dfs::rpc {

/// Prints a line for each of TCP and Unix, ours and bare; best of the rounds.
void BenchStreams(const Address& tcp, const Address& local, int64_t duration_ns, int rounds,
                  bool json);

}  // namespace dfs::rpc
