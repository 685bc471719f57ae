// Service: what the leader knows of a file's blocks, and what it does about them.
#include <algorithm>
#include <set>

#include "namenode/blocks/block_explain.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
constexpr size_t kMaxBlocks = 256;
constexpr size_t kMaxSessionsNamed = 100;

void FillReplica(const ExplainedReplica& replica, int64_t now, idl::ReplicaExplanation* out) {
  out->datanode = Signed(replica.datanode.value);
  out->replica_state = replica.state;
  out->stamp = Signed(replica.stamp.value);
  if (replica.node == nullptr) {
    out->node_state = "unknown";
    return;
  }
  out->address = replica.node->tcp_address;
  out->host_id = replica.node->host_id;
  out->rack = replica.node->rack;
  out->node_state = NodeStateName(replica.node->state);
  out->last_heartbeat_ms = (now - replica.node->last_heartbeat_ns) / kMillisecond;
}
}  // namespace

Result<idl::ExplainReply> Service::Explain(const idl::ExplainRequest& request,
                                           const PeerInfo& peer) {
  DFS_ASSIGN_OR_RETURN(Credentials who, CredentialsOf(peer, request.caller));
  DFS_ASSIGN_OR_RETURN(Inode inode, ResolveInode(request.ref, who, true));
  const Ownership ownership = OwnershipOf(inode);
  if (!IsSuperuser(who) && who.uid != inode.uid && !MayAccess(who, ownership, kMayRead)) {
    return Status(Code::kAccessDenied, "permission denied");
  }
  idl::ExplainReply reply;
  ToIdl(inode, &reply.attr);
  DFS_ASSIGN_OR_RETURN(reply.path, state_.PathOf(inode.id));
  reply.next_slot = -1;
  reply.has_inline_data = inode.has_inline;
  if (!inode.IsRegular()) return reply;
  std::set<SessionId> sessions;
  for (SessionId session : sessions_.OpenSessions(inode.id)) sessions.insert(session);
  const size_t max = request.max_blocks <= 0
                         ? kMaxBlocks
                         : std::min<size_t>(kMaxBlocks, static_cast<size_t>(request.max_blocks));
  // One more than is answered says whether there are more.
  DFS_ASSIGN_OR_RETURN(
      std::vector<SlotBlock> slots,
      state_.ReadBlocks(inode.id, Unsigned(std::max<int64_t>(request.first_slot, 0)), UINT64_MAX,
                        max + 1));
  if (slots.size() > max) {
    reply.next_slot = Signed(slots.back().slot);
    slots.pop_back();
  }
  const int64_t now = executor_.clock().BootNs();
  for (const SlotBlock& slot : slots) {
    const ExplainedBlock explained = blocks_.Explain(slot.id, slot.block);
    idl::BlockExplanation& b = reply.blocks.emplace_back();
    b.block = Signed(slot.id.value);
    b.slot = Signed(slot.slot);
    b.offset = Signed(slot.slot * inode.block_size);
    b.length = Signed(slot.block.length);
    b.stamp = Signed(slot.block.stamp.value);
    b.state = static_cast<int32_t>(slot.block.state);
    b.expected_replicas = static_cast<int32_t>(slot.block.replication);
    b.condition = explained.condition;
    b.action = explained.action;
    b.why = explained.why;
    b.writer_session = Signed(slot.block.writer.value);
    if (slot.block.writer.valid()) sessions.insert(slot.block.writer);
    if (slot.block.state != BlockState::kClosed) reply.attr.open_for_write = true;
    for (const ExplainedReplica& r : explained.replicas) {
      FillReplica(r, now, &b.replicas.emplace_back());
    }
  }
  for (SessionId id : sessions) {
    if (reply.sessions.size() == kMaxSessionsNamed) break;
    idl::SessionExplanation& s = reply.sessions.emplace_back();
    s.session = Signed(id.value);
    Result<Session> session = state_.GetSession(id);
    if (!session) continue;  // it has just ended
    s.client_name = session->client_name;
    s.uid = static_cast<int32_t>(session->uid);
  }
  return reply;
}

}  // namespace dfs::nn
