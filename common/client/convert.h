// Generated structs to those of the public API.
#pragma once

#include "dfs/types.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {
namespace internal {

FileStatus ToFileStatus(const idl::Attr& attr);
FileExplanation ToFileExplanation(const idl::ExplainReply& reply);
ClusterStatus ToClusterStatus(const idl::ClusterStatusReply& reply);
BlockLocation ToBlockLocation(const idl::LocatedBlock& block);
Usage ToUsage(const idl::Usage& usage);

}  // namespace internal
}  // namespace v1
}  // namespace dfs
