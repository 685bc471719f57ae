// Forward declarations of the generated structs, for headers. Include "dfs_types.h" only in .cc files.
#pragma once

#include "common/idl/methods.h"

namespace dfs::idl {

#define X(constant, number, name, request, reply) \
  class request;                                  \
  class reply;
DFS_ALL_METHODS(X)
#undef X

class Attr;
class Caller;
class OpId;
class Ref;
class LocatedBlock;
class WritableBlock;
class ReplicaLocation;
class ReplicaReport;
class BlockRef;
class VolumeReport;
class DirectoryEntry;

}  // namespace dfs::idl
