#include "namenode/state/ops/names.h"
#include "namenode/state/ops/ops.h"

namespace dfs::nn {

Status ApplyOp(Txn& txn, const CloseOrphanCommand& command, std::string*) {
  return ReleaseOrphan(txn, command.inode, command.session);
}

}  // namespace dfs::nn
