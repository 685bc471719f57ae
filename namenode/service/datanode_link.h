// DatanodeLink: the leader's orders to datanodes, over the connections they opened.
#pragma once

#include <memory>
#include <string>

#include "common/base/executor.h"
#include "namenode/blocks/block_manager.h"

namespace dfs::rpc {
class RpcPeer;
}

namespace dfs::nn {

/// Confined to the namenode's executor.
class DatanodeLink : public DatanodeCommander {
 public:
  DatanodeLink(Executor& executor, std::string token_key)
      : executor_(executor), token_key_(std::move(token_key)) {}

  void Fence(const Datanode& node, Term term, Done done) override;
  void Copy(const Datanode& source, Term term, BlockId block, const BlockRecord& record,
            const Datanode& target, const CopyLimits& limits, Done done) override;
  void Delete(const Datanode& node, Term term, std::vector<DeleteOrder> orders, Done done) override;
  void InitRecovery(const Datanode& node, Term term, BlockId block, std::vector<Stamp> accepted,
                    Stamp recovery_stamp,
                    UniqueFunction<void(Result<RecoveryAnswer>)> done) override;
  void FinishRecovery(const Datanode& node, Term term, BlockId block, Stamp recovery_stamp,
                      uint64_t length, const Datanode* source,
                      UniqueFunction<void(Result<uint64_t>)> done) override;

 private:
  /// Null when the node has no connection here.
  static std::shared_ptr<rpc::RpcPeer> PeerOf(const Datanode& node);
  std::string Token(BlockId block, Stamp stamp, bool write) const;
  template <class T, class Callback>
  void Unreachable(Callback done);

  Executor& executor_;
  const std::string token_key_;
};

}  // namespace dfs::nn
