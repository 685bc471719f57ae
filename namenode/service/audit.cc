// Service: what the audit log is told: changes that were applied, and accesses that were refused. What failed for
// another reason changed nothing; what nobody knows the outcome of is told when it is asked for again.
#include "namenode/service/handler_util.h"

namespace dfs::nn {

void Service::Audit(Op& op, Code outcome) {
  if (op.audit == nullptr || (outcome != Code::kOk && !IsRefusal(outcome))) return;
  AuditEvent event = std::move(*op.audit);
  op.audit.reset();
  event.session = op.header.session.value;
  AuditRefusal(std::move(event), op.peer, op.header.caller, outcome);
}

void Service::AuditRefusal(AuditEvent event, const PeerInfo& peer, const Credentials& who,
                           Code outcome) {
  event.wall_ns = executor_.clock().WallNs();
  event.uid = who.uid;
  event.gid = who.gid;
  event.from = peer.address;
  event.outcome = CodeName(outcome);
  audit_(std::move(event));
}

}  // namespace dfs::nn
