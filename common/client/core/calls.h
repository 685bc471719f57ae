// Typed calls of a ClientCore. Include "dfs_types.h" where one is made.
//
//   Read<idl::kStat>(core, request, core.Deadline(), [](Result<idl::StatReply> reply) {...});
//   Change<idl::kMkdir>(core, request, 0, core.Deadline(), [](Result<idl::AttrReply> reply) {...});
#pragma once

#include <utility>

#include "common/client/core/client_core.h"
#include "common/rpc/idl_call.h"

namespace dfs::client {

template <class Reply>
Result<Reply> Decoded(Result<rpc::Reply> raw) {
  if (!raw) return raw.error();
  Reply reply;
  DFS_RETURN_IF_ERROR(idl::Decode(raw->payload.view(), &reply));
  return reply;
}

/// To the leader, with retries: for calls that change nothing or that may be repeated.
template <rpc::Method kMethod, class DoneFn>
void Read(ClientCore& core, const rpc::RequestOf<kMethod>& request, int64_t deadline_ns,
          DoneFn done) {
  core.link().Call(kMethod, idl::Encode(request), deadline_ns,
                   [done = std::move(done)](Result<rpc::Reply> raw) mutable {
                     done(Decoded<rpc::ReplyOf<kMethod>>(std::move(raw)));
                   });
}

/// The same with an exactly-once header. scope: the session it must belong to, 0: any.
template <rpc::Method kMethod, class DoneFn>
void Change(ClientCore& core, rpc::RequestOf<kMethod> request, uint64_t scope, int64_t deadline_ns,
            DoneFn done) {
  core.session().Submit(
      kMethod, scope, deadline_ns,
      [request = std::move(request)](const OpHeader& op) mutable {
        request.op.session = static_cast<int64_t>(op.session);
        request.op.incarnation = static_cast<int64_t>(op.incarnation);
        request.op.sequence = static_cast<int64_t>(op.sequence);
        request.op.first_outstanding = static_cast<int64_t>(op.first_outstanding);
        return idl::Encode(request);
      },
      [done = std::move(done)](Result<rpc::Reply> raw) mutable {
        done(Decoded<rpc::ReplyOf<kMethod>>(std::move(raw)));
      });
}

}  // namespace dfs::client
