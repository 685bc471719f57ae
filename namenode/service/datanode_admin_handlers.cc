// Service: what an operator does about datanodes and their replicas.
#include "common/base/logging.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr int64_t kMaxMaintenanceMs = int64_t{366} * 24 * 3600 * 1000;
}

Status Service::CheckOperator(const Credentials& who) const {
  if (IsSuperuser(who)) return Status();
  return Status(Code::kNotPermitted, "only root and the user that the namenodes run as may");
}

Status Service::SetDatanode(idl::SetDatanodeRequest& request, std::unique_ptr<Op>& op) {
  op->finish = EmptyFinish();
  DFS_RETURN_IF_ERROR(Begin(request.op, &request.caller, op.get()));
  DFS_RETURN_IF_ERROR(CheckOperator(op->header.caller));
  if (!Supports(kFeatureCaches)) {
    return Status(Code::kNotSupported, "not all namenodes are of a version that knows this");
  }
  SetDatanodeCommand command;
  command.datanode = DatanodeId(Unsigned(request.datanode));
  if (request.state < 0 || request.state > static_cast<int32_t>(NodeAdmin::kMaintenance)) {
    return Status(Code::kInvalidArgument, "no such state of a datanode");
  }
  command.admin = static_cast<NodeAdmin>(request.state);
  if (command.admin == NodeAdmin::kMaintenance) {
    if (request.maintenance_ms <= 0 || request.maintenance_ms > kMaxMaintenanceMs) {
      return Status(Code::kInvalidArgument, "maintenance takes up to a year");
    }
    command.until_ns = op->header.now_ns + request.maintenance_ms * kMillisecond;
  }
  LogInfo("uid {} sets datanode {:016x} to state {}", op->header.caller.uid,
          command.datanode.value, request.state);
  // Who runs the namenodes is a matter of their configuration, which Apply must not look at.
  op->header.caller = Credentials();
  return Propose(op, command);
}

Result<idl::Empty> Service::ReleaseDeletions(const idl::ReleaseDeletionsRequest& request,
                                             const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(const Credentials who, CredentialsOf(peer, request.caller));
  DFS_RETURN_IF_ERROR(CheckOperator(who));
  LogInfo("uid {} releases the brake on deletions", who.uid);
  blocks_.ReleaseBrake();
  return idl::Empty();
}

}  // namespace dfs::nn
