// Service: leases - declared, acquired, granted with answers, recalled.
#include "common/rpc/idl_call.h"
#include "namenode/service/handler_util.h"

namespace dfs::nn {

namespace {
/// A session that has not answered a recall by then has lost its leases.
constexpr int64_t kRecallTimeoutNs = 5 * kSecond;

std::vector<InodeId> Inodes(const std::vector<int64_t>& numbers) {
  std::vector<InodeId> out;
  out.reserve(numbers.size());
  for (int64_t number : numbers) out.push_back(InodeId(Unsigned(number)));
  return out;
}
}  // namespace

Result<idl::Empty> Service::DeclareLeases(const idl::DeclareLeasesRequest& request,
                                          const PeerInfo& peer) {
  const SessionId session(Unsigned(request.session));
  DFS_RETURN_IF_ERROR(CheckSessionOwner(session, peer));
  if (leases_.Caches(session)) session_peers_[session] = peer.connection;
  DFS_RETURN_IF_ERROR(leases_.Declare(session, Unsigned(request.term), Inodes(request.read_leases),
                                      Inodes(request.write_leases), request.last));
  return idl::Empty();
}

void Service::AcquireLease(const idl::AcquireLeaseRequest& request, const PeerInfo& peer,
                           rpc::ResponderPtr responder) {
  const SessionId session(Unsigned(request.session));
  if (Status owner = CheckSessionOwner(session, peer); !owner.ok()) return responder->Fail(owner);
  // Not to be taken for one that was opened without leases.
  if (Result<Session> known = state_.GetSession(session); !known) {
    return responder->Fail(known.error());
  }
  const InodeId inode(Unsigned(request.inode));
  auto shared = std::make_shared<rpc::ResponderPtr>(std::move(responder));
  leases_.Acquire(session, inode,
                  [this, alive = std::weak_ptr<char>(alive_), inode, shared](Status status) {
                    if (alive.expired()) return;
                    if (!replica_.is_leader()) return (*shared)->Fail(replica_.NotLeader());
                    if (!status.ok()) return (*shared)->Fail(status);
                    Result<Inode> record = state_.GetInode(inode);
                    if (!record) return (*shared)->Fail(record.error());
                    idl::AcquireLeaseReply reply;
                    ToIdl(*record, &reply.attr);
                    reply.lease_term = Signed(leases_.term());
                    Send(**shared, reply);
                  });
}

int64_t Service::LeaseTerm(SessionId session, InodeId inode, bool regular_file) {
  if (!session.valid() || !leases_.Caches(session)) return 0;
  // Who does not cache cannot be asked whether it is writing.
  const auto caches = [this](SessionId other) { return leases_.Caches(other); };
  if (regular_file && sessions_.OpenElsewhere(inode, session, caches)) return 0;
  return leases_.GrantRead(session, inode) ? Signed(leases_.term()) : 0;
}

int64_t Service::LeaseTerm(const Op& op, InodeId inode, bool regular_file) {
  return op.replayed ? 0 : LeaseTerm(op.header.session, inode, regular_file);
}

int64_t Service::LeaseDirectories(const Op& op, std::vector<idl::Attr>* out) {
  int64_t term = 0;
  for (InodeId directory : op.directories) {
    const int64_t granted = LeaseTerm(op, directory, false);
    Result<Inode> record = granted == 0 ? Status(Code::kNotFound, {}) : state_.GetInode(directory);
    if (!record) continue;
    term = granted;
    ToIdl(*record, &out->emplace_back());
  }
  return term;
}

bool Service::AwaitWriter(SessionId reader, const InodeAttr& inode) {
  if (written_out_ || !inode.IsRegular() || !leases_.Unflushed(reader, inode.id)) return false;
  awaited_.push_back(inode.id);
  awaiting_ = reader;
  return true;
}

Status Service::Awaiting() {
  return Status(Code::kUnavailable, "a writer elsewhere is being asked");
}

void Service::Recall(SessionId session, const std::vector<RecallOrder>& orders,
                     UniqueFunction<void(Status)> done) {
  auto it = session_peers_.find(session);
  auto peer = it == session_peers_.end() ? nullptr : it->second.lock();
  if (peer == nullptr || peer->closed()) {
    executor_.Post([done = std::move(done)] {
      done(Status(Code::kUnavailable, "the session is not connected"));
    });
    return;
  }
  idl::RecallRequest request;
  request.session = Signed(session.value);
  request.term = Signed(leases_.term());
  for (const RecallOrder& order : orders) {
    idl::Recall& out = request.recalls.emplace_back();
    out.inode = Signed(order.inode.value);
    out.kind = static_cast<int32_t>(order.kind);
    out.name = order.name;
  }
  peer->Call(idl::kRecall, idl::Encode(request), kRecallTimeoutNs,
             [this, alive = std::weak_ptr<char>(alive_),
              done = std::move(done)](Result<rpc::Reply> reply) mutable {
               if (alive.expired()) return;
               executor_.Post([done = std::move(done), status = reply.status()] { done(status); });
             });
}

}  // namespace dfs::nn
