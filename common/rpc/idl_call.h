// Typed calls: Thrift structs in, Thrift structs out, over an RpcPeer or a Channel.
//
//   idl::StatRequest request = ...;
//   rpc::Call<idl::kStat>(channel, request, 5 * kSecond, [](Result<rpc::Typed<idl::StatReply>> r)
//   {...});
//
// The structs must be complete where a call is made: include "dfs_types.h" there, in the .cc file.
#pragma once

#include <utility>

#include "common/idl/codec.h"
#include "common/idl/idl_fwd.h"
#include "common/idl/methods.h"
#include "common/rpc/peer.h"

namespace dfs::rpc {

/// The request and reply structs of each method.
template <Method kMethod>
struct MethodTypes;
#define X(constant, number, name, request, reply) \
  template <>                                     \
  struct MethodTypes<idl::constant> {             \
    using Request = idl::request;                 \
    using Reply = idl::reply;                     \
  };
DFS_ALL_METHODS(X)
#undef X

template <Method kMethod>
using RequestOf = typename MethodTypes<kMethod>::Request;
template <Method kMethod>
using ReplyOf = typename MethodTypes<kMethod>::Reply;

template <class Rep>
struct Typed {
  Rep value;
  uint64_t applied_index = 0;
};

template <class Rep>
Result<Typed<Rep>> DecodeReply(Result<Reply> reply) {
  if (!reply) return reply.error();
  Typed<Rep> typed;
  DFS_RETURN_IF_ERROR(idl::Decode(reply->payload.view(), &typed.value));
  typed.applied_index = reply->applied_index;
  return typed;
}

/// Target is RpcPeer or Channel. done(Result<Typed<Reply>>) is called once, on the target's
/// executor.
template <Method kMethod, class Target, class Done>
void Call(Target& target, const RequestOf<kMethod>& request, int64_t timeout_ns, Done done,
          uint64_t min_applied_index = 0) {
  target.Call(
      kMethod, idl::Encode(request), timeout_ns,
      [done = std::move(done)](Result<Reply> reply) mutable {
        done(DecodeReply<ReplyOf<kMethod>>(std::move(reply)));
      },
      min_applied_index);
}

/// For handlers: the request's struct; on failure the responder has been answered with kProtocol.
template <class Req>
bool DecodeRequest(const Buffer& payload, Req* request, ResponderPtr& responder) {
  Status status = idl::Decode(payload.view(), request);
  if (status.ok()) return true;
  if (responder) std::exchange(responder, nullptr)->Fail(status);
  return false;
}

template <class Rep>
void SendReply(Responder& responder, const Rep& reply, uint64_t applied_index = 0) {
  responder.Send(idl::Encode(reply), applied_index);
}

}  // namespace dfs::rpc
