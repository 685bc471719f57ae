// How FileSystem asks the namenode: on behalf of the caller, with the reply reduced to what the kernel wants of it.
#pragma once

#include <string>
#include <utility>

#include "common/client/core/calls.h"
#include "dfs_types.h"
#include "fuse/file_system.h"

namespace dfs::fuse {

inline void Put(const Caller& who, idl::Caller* out) {
  out->uid = static_cast<int32_t>(who.uid);
  out->gid = static_cast<int32_t>(who.gid);
  out->groups.assign(who.groups.begin(), who.groups.end());
}

inline void Name(uint64_t parent, std::string name, idl::Ref* ref) {
  ref->inode = static_cast<int64_t>(parent);
  ref->path = std::move(name);
}

/// A change, with the reply reduced to what the caller wants of it.
template <rpc::Method kMethod, class DoneFn>
void ChangeFor(client::ClientCore& core, const Caller& who, rpc::RequestOf<kMethod> request,
               DoneFn done) {
  Put(who, &request.caller);
  client::Change<kMethod>(core, std::move(request), 0, core.Deadline(), std::move(done));
}

template <rpc::Method kMethod>
void AttrChangeFor(client::ClientCore& core, const Caller& who, rpc::RequestOf<kMethod> request,
                   FileSystem::AttrDone done) {
  ChangeFor<kMethod>(core, who, std::move(request),
                     [done = std::move(done)](Result<idl::AttrReply> reply) mutable {
                       if (reply) {
                         done(std::move(reply->attr));
                       } else {
                         done(reply.error());
                       }
                     });
}

template <rpc::Method kMethod>
void StatusChangeFor(client::ClientCore& core, const Caller& who, rpc::RequestOf<kMethod> request,
                     client::StatusDone done) {
  ChangeFor<kMethod>(
      core, who, std::move(request),
      [done = std::move(done)](Result<rpc::ReplyOf<kMethod>> reply) mutable { done(reply.status()); });
}

}  // namespace dfs::fuse
