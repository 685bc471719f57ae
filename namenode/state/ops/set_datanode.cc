#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const SetDatanodeCommand& command, std::string*) {
  if (!txn.caller().IsRoot())
    return Status(Code::kNotPermitted, "only root takes datanodes out of service");
  const bool maintenance = command.admin == NodeAdmin::kMaintenance;
  if (!command.datanode.valid() || command.admin > NodeAdmin::kMaintenance ||
      (maintenance ? command.until_ns <= 0 : command.until_ns != 0))
    return Status(Code::kInvalidArgument, "no datanode, or no such state of one");
  const std::string key = DatanodeKey(command.datanode);
  DFS_ASSIGN_OR_RETURN(const bool known, txn.Has(key));
  const DatanodeRecord record{command.admin, command.until_ns};
  if (command.admin == NodeAdmin::kInService) {
    if (!known) return Status::Ok();
    txn.Delete(key);
  } else {
    if (!known) {
      DFS_ASSIGN_OR_RETURN(const auto all, txn.Collect(TagPrefix(Tag::kDatanode), {},
                                                       kMaxDatanodeRecords));
      if (all.size() >= kMaxDatanodeRecords)
        return Status(Code::kOverloaded, "too many datanodes are out of service");
    }
    txn.Put(key, EncodeDatanode(record));
  }
  txn.AddEvent(DatanodeChanged{command.datanode, record});
  return Status::Ok();
}

}  // namespace dfs::nn
