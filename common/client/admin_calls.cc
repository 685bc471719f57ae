// Client: what operators do.
#include "common/client/client_impl.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {

namespace {

// Numbers as in the IDL.
constexpr int32_t kInService = 0;
constexpr int32_t kDecommission = 1;
constexpr int32_t kMaintenance = 2;

Status SetDatanode(const std::shared_ptr<Client::Impl>& impl, uint64_t datanode, int32_t state,
                   int64_t maintenance_ms = 0) {
  if (impl == nullptr) return Status(Code::kClosed, "the client was closed");
  client::ClientCore& core = *impl->core;
  idl::SetDatanodeRequest request;
  request.datanode = static_cast<int64_t>(datanode);
  request.state = state;
  request.maintenance_ms = maintenance_ms;
  core.FillCaller(&request.caller);
  return impl
      ->Run<idl::Empty>([&](client::Done<idl::Empty> done) {
        client::Change<idl::kSetDatanode>(core, request, 0, core.Deadline(), std::move(done));
      })
      .status();
}

}  // namespace

Status Client::decommission_datanode(uint64_t datanode) const {
  return SetDatanode(impl_, datanode, kDecommission);
}

Status Client::begin_maintenance(uint64_t datanode, std::chrono::milliseconds duration) const {
  return SetDatanode(impl_, datanode, kMaintenance, duration.count());
}

Status Client::recommission_datanode(uint64_t datanode) const {
  return SetDatanode(impl_, datanode, kInService);
}

Status Client::release_deletions() const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  client::ClientCore& core = *impl_->core;
  idl::ReleaseDeletionsRequest request;
  core.FillCaller(&request.caller);
  return impl_
      ->Run<idl::Empty>([&](client::Done<idl::Empty> done) {
        client::Read<idl::kReleaseDeletions>(core, request, core.Deadline(), std::move(done));
      })
      .status();
}

}  // namespace v1
}  // namespace dfs
