// Generated structs to those of the wire layer. Include "dfs_types.h" before use.
#pragma once

#include "common/idl/idl_fwd.h"
#include "common/wire/stream_connection.h"
#include "dfs_types.h"

namespace dfs::client {

/// Of idl::LocatedBlock.state.
inline constexpr int kBlockOpen = 1;
inline constexpr int kBlockClosed = 2;

inline wire::Member FromIdl(const idl::ReplicaLocation& location) {
  wire::Member member;
  member.datanode = static_cast<uint64_t>(location.datanode);
  member.tcp_address = location.tcp_address;
  member.unix_address = location.unix_address;
  member.host_id = location.host_id;
  member.rack = location.rack;
  return member;
}

}  // namespace dfs::client
