// Templates shared by the handler files. Include in .cc files only.
#pragma once

#include "common/auth/permissions.h"
#include "common/idl/codec.h"
#include "dfs_types.h"
#include "namenode/service/service.h"

namespace dfs::nn {

inline Ownership OwnershipOf(const InodeAttr& a) {
  Ownership o;
  o.uid = a.uid;
  o.gid = a.gid;
  o.mode = a.mode;
  o.is_directory = a.IsDirectory();
  return o;
}

/// As in idl::DatanodeStatus.
const char* NodeStateName(NodeState state);

template <class Rep>
void Service::Send(rpc::Responder& responder, const Rep& reply) {
  responder.Send(idl::Encode(reply), replica_.applied_index());
}

}  // namespace dfs::nn
