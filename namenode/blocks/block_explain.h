// What is known of a block, and what is being done about it, for people: dfs explain. Nothing decides by it.
#pragma once

#include <string>
#include <vector>

#include "common/base/ids.h"
#include "namenode/blocks/datanode_registry.h"

namespace dfs::nn {

struct ExplainedReplica {
  DatanodeId datanode;
  const Datanode* node = nullptr;  // null: it has not registered here
  const char* state = "";          // as idl::ReplicaExplanation::replica_state
  Stamp stamp;                     // 0: not known
};

struct ExplainedBlock {
  const char* condition = "";  // as in idl::BlockExplanation
  const char* action = "none";
  std::string why;
  std::vector<ExplainedReplica> replicas;  // in the order of datanodes' ids
};

}  // namespace dfs::nn
