// What a request is about, for the audit log. Templates for the dispatcher; include in .cc files only.
#pragma once

#include "dfs_types.h"
#include "namenode/service/audit_event.h"
#include "namenode/service/convert.h"

namespace dfs::nn {

template <class Req>
inline constexpr std::string_view kNameOfRequest = "";
#define X(constant, number, name, request, reply) \
  template <>                                     \
  inline constexpr std::string_view kNameOfRequest<idl::request> = name;
DFS_CLIENT_METHODS(X)
#undef X

/// Sessions and the blocks of a file that is being written are no changes that anybody looks for here: its create is,
/// and the close that renames it.
template <class Req>
bool IsAudited(const Req& request) {
  if constexpr (requires { request.rename_to; }) {
    return !request.rename_to.empty();
  } else {
    return requires { request.ref; } || requires { request.source; };
  }
}

template <class Req>
void DescribeForAudit(const Req& request, AuditEvent* event) {
  event->operation = kNameOfRequest<Req>;
  // Relative to the root or absolute, it is the same place.
  const auto from_root = [](const std::string& path) {
    return path.empty() || path[0] != '/' ? "/" + path : path;
  };
  const auto take = [&](const idl::Ref& ref, uint64_t* inode, std::string* path) {
    *inode = Unsigned(ref.inode);
    *path = ref.inode == 0 ? from_root(ref.path) : ref.path;
  };
  if constexpr (requires { request.source; }) {
    take(request.source, &event->inode, &event->path);
    take(request.target, &event->target_inode, &event->target);
    event->has_target = true;
  } else if constexpr (requires { request.existing; }) {
    take(request.existing, &event->inode, &event->path);
    take(request.ref, &event->target_inode, &event->target);
    event->has_target = true;
  } else if constexpr (requires { request.ref; }) {
    take(request.ref, &event->inode, &event->path);
  } else if constexpr (requires { request.rename_to; }) {
    event->inode = Unsigned(request.inode);
    event->target = from_root(request.rename_to);
    event->has_target = true;
  }
}

}  // namespace dfs::nn
