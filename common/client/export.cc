// Client: the whole namespace, page by page.
#include <fmt/format.h>

#include "common/client/client_impl.h"
#include "common/client/convert.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {

namespace {

ExportedEntry ToExportedEntry(idl::ExportedEntry& entry) {
  ExportedEntry out;
  out.path = std::move(entry.path);
  out.status = internal::ToFileStatus(entry.attr);
  out.status.symlink_target = std::move(entry.symlink_target);
  out.is_inline = entry.has_inline_data;
  out.content = std::move(entry.inline_data);
  for (idl::ExportedXattr& x : entry.xattrs) {
    out.xattrs.emplace_back(std::move(x.name), std::move(x.value));
  }
  out.link_to = std::move(entry.link_to);
  return out;
}

ExportInfo ToExportInfo(const idl::ExportReply& reply) {
  ExportInfo info;
  info.cluster_id = reply.cluster_id;
  info.index = static_cast<uint64_t>(reply.index);
  info.term = static_cast<uint64_t>(reply.term);
  for (unsigned char byte : reply.state_hash) info.state_hash += fmt::format("{:02x}", byte);
  info.usage = internal::ToUsage(reply.usage);
  return info;
}

Result<idl::ExportReply> AskForPage(Client::Impl& impl, const idl::ExportRequest& request) {
  client::ClientCore& core = *impl.core;
  return impl.Run<idl::ExportReply>([&](client::Done<idl::ExportReply> done) {
    client::Read<idl::kExport>(core, request, core.Deadline(), std::move(done));
  });
}

}  // namespace

Status Client::export_namespace(const std::function<Status(const ExportInfo&)>& begin,
                                const std::function<Status(const ExportedEntry&)>& visit) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  idl::ExportRequest request;
  impl_->core->FillCaller(&request.caller);
  const auto give_up = [&](Status why) {
    request.drop = true;
    (void)AskForPage(*impl_, request);  // it would be dropped anyway, in a minute
    return why;
  };
  for (;; ++request.page) {
    Result<idl::ExportReply> reply = AskForPage(*impl_, request);
    if (!reply) return reply.error().WithContext("export");
    if (request.page == 0) {
      request.export_id = reply->export_id;
      if (Status began = begin(ToExportInfo(*reply)); !began) return give_up(std::move(began));
    }
    for (idl::ExportedEntry& entry : reply->entries) {
      if (Status seen = visit(ToExportedEntry(entry)); !seen) return give_up(std::move(seen));
    }
    if (reply->done) return give_up(Status());
  }
}

}  // namespace v1
}  // namespace dfs
