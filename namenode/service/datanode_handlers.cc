// Service: what datanodes say. Answered by every member, so that a new leader is warm.
#include "common/rpc/idl_call.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr size_t kMaxAddress = 512;
constexpr size_t kMaxLabel = 255;

template <class Req, class Handler>
void Serve(const Buffer& request, rpc::ResponderPtr& responder, uint64_t applied, Handler handler) {
  Req decoded;
  if (!rpc::DecodeRequest(request, &decoded, responder)) return;
  auto reply = handler(decoded);
  if (reply) {
    responder->Send(idl::Encode(*reply), applied);
  } else {
    responder->Fail(reply.error());
  }
}
}  // namespace

void Service::RunDatanode(rpc::Method method, const Buffer& request,
                          const rpc::CallContext& context, rpc::ResponderPtr responder) {
  if (!context.peer->trusted || context.peer->role != rpc::Role::kDatanode) {
    responder->Fail(Status(Code::kNotPermitted, "only for datanodes of this cluster"));
    return;
  }
  uint64_t applied = replica_.applied_index();
  switch (method) {
    case idl::kRegisterDatanode:
      Serve<idl::RegisterDatanodeRequest>(request, responder, applied,
                                          [&](auto& r) { return Register(r, context); });
      return;
    case idl::kHeartbeat: {
      idl::HeartbeatRequest decoded;
      if (!rpc::DecodeRequest(request, &decoded, responder)) return;
      Heartbeat(decoded, std::move(responder));
      return;
    }
    case idl::kBlockReport:
      Serve<idl::BlockReportRequest>(request, responder, applied,
                                     [&](auto& r) { return BlockReport(r); });
      return;
    case idl::kIncrementalReport:
      Serve<idl::IncrementalReportRequest>(request, responder, applied,
                                           [&](auto& r) { return IncrementalReport(r); });
      return;
    default:
      responder->Fail(Status(Code::kNotSupported, "no such method"));
      return;
  }
}

Result<idl::RegisterDatanodeReply> Service::Register(const idl::RegisterDatanodeRequest& r,
                                                     const rpc::CallContext& context) {
  for (const std::string* s : {&r.tcp_address, &r.unix_address}) {
    if (s->size() > kMaxAddress) return Status(Code::kInvalidArgument, "address too long");
  }
  for (const std::string* s : {&r.host_id, &r.rack, &r.version}) {
    if (s->size() > kMaxLabel) return Status(Code::kInvalidArgument, "label too long");
  }
  if (context.peer->node_id != 0 && context.peer->node_id != Unsigned(r.datanode)) {
    return Status(Code::kInvalidArgument, "a datanode that speaks for another");
  }
  std::shared_ptr<rpc::RpcPeer> peer = context.connection.lock();
  if (peer == nullptr) return Status(Code::kClosed, "the connection is gone");
  BlockManager::Registration registration;
  registration.datanode = DatanodeId(Unsigned(r.datanode));
  registration.tcp_address = r.tcp_address;
  registration.unix_address = r.unix_address;
  registration.host_id = r.host_id;
  registration.rack = r.rack;
  registration.version = r.version;
  registration.volumes = FromIdl(r.volumes);
  registration.highest_term = Unsigned(r.highest_term);
  registration.connection = peer;
  DFS_RETURN_IF_ERROR(blocks_.Register(std::move(registration)));
  peer->user_state = std::make_shared<DatanodeId>(Unsigned(r.datanode));
  idl::RegisterDatanodeReply reply;
  reply.cluster_id = options_.cluster_id;
  reply.node_id = Signed(options_.id.value);
  reply.term = Signed(replica_.term());
  reply.leader = replica_.is_leader();
  reply.token_key = token_key_;
  return reply;
}

void Service::Heartbeat(const idl::HeartbeatRequest& r, rpc::ResponderPtr responder) {
  auto answer = blocks_.Heartbeat(DatanodeId(Unsigned(r.datanode)), FromIdl(r.volumes),
                                  r.active_streams, Unsigned(r.highest_term));
  if (!answer) {
    responder->Fail(answer.error());
    return;
  }
  if (r.wall_clock_ns != 0) {
    clock_offsets_ns_[DatanodeId(Unsigned(r.datanode))] =
        r.wall_clock_ns - executor_.clock().WallNs();
  }
  idl::HeartbeatReply reply;
  reply.term = Signed(replica_.term());
  reply.leader = replica_.is_leader();
  reply.need_report = answer->need_report;
  if (!reply.leader || replica_.HasLease()) {
    reply.lease = reply.leader;
    Send(*responder, reply);
    return;
  }
  // Leader, but without a lease just now (or read_mode=readindex): a quorum round says whether it still is
  // (protocols 2.1); a deposed leader's answer must not let the datanode serve open replicas.
  replica_.ReadBarrier([this, alive = std::weak_ptr<char>(alive_), reply,
                        r2 = std::move(responder)](Status status) mutable {
    if (alive.expired()) return;
    reply.leader = replica_.is_leader();
    reply.lease = status.ok() && reply.leader;
    reply.term = Signed(replica_.term());
    Send(*r2, reply);
  });
}

Result<idl::BlockReportReply> Service::BlockReport(const idl::BlockReportRequest& r) {
  DatanodeId datanode(Unsigned(r.datanode));
  std::vector<ReportedReplica> replicas;
  replicas.reserve(r.replicas.size());
  for (const idl::ReplicaReport& replica : r.replicas)
    replicas.push_back(FromIdl(datanode, replica));
  idl::BlockReportReply reply;
  DFS_ASSIGN_OR_RETURN(reply.accepted, blocks_.FullReport(datanode, Unsigned(r.report_id), r.page,
                                                          r.last, replicas));
  return reply;
}

Result<idl::Empty> Service::IncrementalReport(const idl::IncrementalReportRequest& r) {
  DatanodeId datanode(Unsigned(r.datanode));
  auto convert = [&](const std::vector<idl::ReplicaReport>& in) {
    std::vector<ReportedReplica> out;
    out.reserve(in.size());
    for (const idl::ReplicaReport& replica : in) out.push_back(FromIdl(datanode, replica));
    return out;
  };
  DFS_RETURN_IF_ERROR(blocks_.IncrementalReport(datanode, convert(r.received), convert(r.deleted),
                                                convert(r.corrupt)));
  return idl::Empty();
}

}  // namespace dfs::nn
