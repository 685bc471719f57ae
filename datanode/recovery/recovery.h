// The datanode's part of block recovery (protocols, section 6): fence and report; make equal, cut,
// sync, finalize. Both steps may be repeated. Confined to the network's executor, which may block
// on the disk.
#pragma once

#include <memory>
#include <string>

#include "common/base/task.h"
#include "common/idl/idl_fwd.h"
#include "common/rpc/transport.h"
#include "datanode/store/block_store.h"

namespace dfs::dn {

class ReplicaRecovery {
 public:
  ReplicaRecovery(BlockStore& store, rpc::Network& network, std::string host_id);
  ~ReplicaRecovery();

  /// Blocks on the disk: one fsync of the sidecar.
  Result<idl::InitRecoveryReply> InitRecovery(const idl::InitRecoveryRequest& request);
  void FinishRecovery(const idl::FinishRecoveryRequest& request,
                      UniqueFunction<void(Result<idl::FinishRecoveryReply>)> done);
  void Stop();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
};

}  // namespace dfs::dn
