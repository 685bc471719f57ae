#include "namenode/service/datanode_link.h"

#include "common/auth/block_token.h"
#include "common/rpc/idl_call.h"
#include "dfs_types.h"
#include "namenode/service/convert.h"

namespace dfs::nn {

namespace {
constexpr int64_t kDeleteTimeoutNs = 30 * kSecond;
constexpr int64_t kFenceTimeoutNs = 10 * kSecond;
constexpr int64_t kInitTimeoutNs = 3 * kSecond;
constexpr int64_t kFinishTimeoutNs = 30 * kSecond;  // and a second a MiB
constexpr int64_t kTokenLifeMs = 3600 * 1000;
}  // namespace

std::shared_ptr<rpc::RpcPeer> DatanodeLink::PeerOf(const Datanode& node) {
  auto peer = std::static_pointer_cast<rpc::RpcPeer>(node.connection.lock());
  return peer != nullptr && !peer->closed() ? peer : nullptr;
}

template <class T, class Callback>
void DatanodeLink::Unreachable(Callback done) {
  executor_.Post([done = std::move(done)] {
    done(T(Status(Code::kUnavailable, "the datanode is not connected")));
  });
}

std::string DatanodeLink::Token(BlockId block, Stamp stamp, bool write) const {
  BlockToken token;
  token.block = block;
  token.stamp = stamp;
  token.mode = write ? BlockToken::Mode::kWrite : BlockToken::Mode::kRead;
  token.expiry_wall_ms = executor_.clock().WallNs() / kMillisecond + kTokenLifeMs;
  return SignToken(token, token_key_);
}

void DatanodeLink::Copy(const Datanode& source, Term term, BlockId block, const BlockRecord& record,
                        const Datanode& target, const CopyLimits& limits, Done done) {
  auto peer = PeerOf(source);
  if (peer == nullptr) return Unreachable<Status>(std::move(done));
  idl::ReplicateBlockRequest request;
  request.term = Signed(term);
  request.block.block = Signed(block.value);
  request.block.stamp = Signed(record.stamp.value);
  request.block.length = Signed(record.length);
  ToIdl(target, &request.targets.emplace_back());
  request.token = Token(block, record.stamp, true);
  request.bytes_per_second = Signed(limits.bytes_per_second);
  rpc::Call<idl::kReplicateBlock>(
      *peer, request, limits.timeout_ns,
      [done = std::move(done)](Result<rpc::Typed<idl::Empty>> reply) { done(reply.status()); });
}

void DatanodeLink::Fence(const Datanode& node, Term term, Done done) {
  auto peer = PeerOf(node);
  if (peer == nullptr) return Unreachable<Status>(std::move(done));
  // An order to delete nothing: the datanode takes on its term, and answers when it has done all that came before.
  idl::DeleteReplicasRequest request;
  request.term = Signed(term);
  rpc::Call<idl::kDeleteReplicas>(
      *peer, request, kFenceTimeoutNs,
      [done = std::move(done)](Result<rpc::Typed<idl::DeleteReplicasReply>> reply) {
        done(reply.status());
      });
}

void DatanodeLink::Delete(const Datanode& node, Term term, std::vector<DeleteOrder> orders,
                          Done done) {
  auto peer = PeerOf(node);
  if (peer == nullptr) return Unreachable<Status>(std::move(done));
  idl::DeleteReplicasRequest request;
  request.term = Signed(term);
  request.blocks.reserve(orders.size());
  for (const DeleteOrder& order : orders) {
    idl::BlockRef& ref = request.blocks.emplace_back();
    ref.block = Signed(order.block.value);
    ref.stamp = Signed(order.stamp.value);
  }
  rpc::Call<idl::kDeleteReplicas>(
      *peer, request, kDeleteTimeoutNs,
      [done = std::move(done),
       asked = orders.size()](Result<rpc::Typed<idl::DeleteReplicasReply>> reply) {
        if (!reply) return done(reply.error());
        if (reply->value.deleted.size() >= asked) return done(Status());
        done(Status(Code::kIoError, "deleted " + std::to_string(reply->value.deleted.size()) +
                                        " of " + std::to_string(asked)));
      });
}

void DatanodeLink::InitRecovery(const Datanode& node, Term term, BlockId block,
                                std::vector<Stamp> accepted, Stamp recovery_stamp,
                                UniqueFunction<void(Result<RecoveryAnswer>)> done) {
  auto peer = PeerOf(node);
  if (peer == nullptr) return Unreachable<Result<RecoveryAnswer>>(std::move(done));
  idl::InitRecoveryRequest request;
  request.term = Signed(term);
  request.block = Signed(block.value);
  for (Stamp stamp : accepted) request.accepted_stamps.push_back(Signed(stamp.value));
  request.recovery_stamp = Signed(recovery_stamp.value);
  rpc::Call<idl::kInitRecovery>(
      *peer, request, kInitTimeoutNs,
      [done = std::move(done)](Result<rpc::Typed<idl::InitRecoveryReply>> reply) {
        if (!reply) return done(reply.error());
        const idl::InitRecoveryReply& r = reply->value;
        RecoveryAnswer answer;
        answer.found = r.found;
        if (r.found) {
          if (r.length < 0 || r.state < 1 || r.state > 5) {
            return done(Status(Code::kProtocol, "a senseless answer to init_recovery"));
          }
          answer.stamp = Stamp(Unsigned(r.stamp));
          answer.length = Unsigned(r.length);
          answer.state = static_cast<ReplicaState>(r.state);
        }
        done(answer);
      });
}

void DatanodeLink::FinishRecovery(const Datanode& node, Term term, BlockId block,
                                  Stamp recovery_stamp, uint64_t length, const Datanode* source,
                                  UniqueFunction<void(Result<uint64_t>)> done) {
  auto peer = PeerOf(node);
  if (peer == nullptr) return Unreachable<Result<uint64_t>>(std::move(done));
  idl::FinishRecoveryRequest request;
  request.term = Signed(term);
  request.block = Signed(block.value);
  request.recovery_stamp = Signed(recovery_stamp.value);
  request.length = Signed(length);
  if (source != nullptr) {
    request.__isset.source = true;
    ToIdl(*source, &request.source);
  }
  request.token = Token(block, recovery_stamp, false);
  rpc::Call<idl::kFinishRecovery>(
      *peer, request, kFinishTimeoutNs + static_cast<int64_t>(length >> 20) * kSecond,
      [done = std::move(done), recovery_stamp](Result<rpc::Typed<idl::FinishRecoveryReply>> reply) {
        if (!reply) return done(reply.error());
        if (Unsigned(reply->value.stamp) != recovery_stamp.value) {
          return done(Status(Code::kStaleStamp, "it is at another stamp"));
        }
        done(Unsigned(reply->value.length));
      });
}

}  // namespace dfs::nn
