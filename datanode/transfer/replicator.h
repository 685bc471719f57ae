// Replicator: copies finalized replicas to other datanodes (replicate_block), verified against the
// writer's sums, through the same chain that clients write with. Confined to the network's
// executor, which may block on the disk.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>

#include "common/base/task.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/transport.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

class Replicator {
 public:
  Replicator(BlockStore& store, rpc::Network& network, std::string host_id);
  ~Replicator();

  /// done: ok when every target has it on disk.
  void Replicate(const idl::ReplicateBlockRequest& request, UniqueFunction<void(Status)> done);
  size_t active() const;
  void Stop();

 private:
  struct Copy;
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace dfs::dn
