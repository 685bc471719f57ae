#include "common/idl/methods.h"

namespace dfs::idl {

std::string_view MethodName(uint16_t method) {
  switch (method) {
#define X(constant, number, name, request, reply) \
  case number:                                    \
    return name;
    DFS_ALL_METHODS(X)
#undef X
    case kRaftMessage: return "raft_message";
    case kSnapshotChunk: return "snapshot_chunk";
    case kRaftHello: return "raft_hello";
    case kRaftLevel: return "raft_level";
  }
  return "";
}

uint16_t ClientMethodByName(std::string_view method) {
#define X(constant, number, name, request, reply) \
  if (method == name) return number;
  DFS_CLIENT_METHODS(X)
#undef X
  return 0;
}

}  // namespace dfs::idl
