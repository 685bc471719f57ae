// Client: names and attributes.
#include "common/client/client_impl.h"
#include "common/client/convert.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {

using internal::FromRoot;
using internal::ToFileStatus;

namespace {

constexpr int32_t kMaskMode = 1;
constexpr int32_t kMaskUid = 2;
constexpr int32_t kMaskGid = 4;
constexpr int32_t kMaskSize = 8;
constexpr int32_t kMaskAtime = 16;
constexpr int32_t kMaskMtime = 32;
constexpr int32_t kMaskAtimeNow = 64;
constexpr int32_t kMaskMtimeNow = 128;
constexpr int32_t kMaskReplication = 256;

Status NoClient() {
  return Status(Code::kClosed, "the client was closed");
}

template <rpc::Method kMethod>
Result<rpc::ReplyOf<kMethod>> ReadCall(const std::shared_ptr<Client::Impl>& impl,
                                       const rpc::RequestOf<kMethod>& request) {
  if (impl == nullptr) return NoClient();
  using Reply = rpc::ReplyOf<kMethod>;
  client::ClientCore& core = *impl->core;
  return impl->Run<Reply>([&](client::Done<Reply> done) {
    client::Read<kMethod>(core, request, core.Deadline(), std::move(done));
  });
}

template <rpc::Method kMethod>
Result<rpc::ReplyOf<kMethod>> ChangeCall(const std::shared_ptr<Client::Impl>& impl,
                                         const rpc::RequestOf<kMethod>& request) {
  if (impl == nullptr) return NoClient();
  using Reply = rpc::ReplyOf<kMethod>;
  client::ClientCore& core = *impl->core;
  return impl->Run<Reply>([&](client::Done<Reply> done) {
    client::Change<kMethod>(core, request, 0, core.Deadline(), std::move(done));
  });
}

template <class Request>
Request ForPath(const std::shared_ptr<Client::Impl>& impl, std::string_view path) {
  Request request;
  request.ref.path = FromRoot(path);
  if (impl != nullptr) impl->core->FillCaller(&request.caller);
  return request;
}

/// "verb path: why"
Status Named(const Status& status, std::string_view verb, std::string_view path) {
  if (status.ok()) return status;
  return status.WithContext(std::string(verb) + " " + std::string(path));
}

Result<FileStatus> StatPath(const std::shared_ptr<Client::Impl>& impl, std::string_view path,
                            bool follow) {
  auto request = ForPath<idl::StatRequest>(impl, path);
  request.follow = follow;
  auto reply = ReadCall<idl::kStat>(impl, request);
  if (!reply) return Named(reply.error(), "stat", path);
  FileStatus status = ToFileStatus(reply->attr);
  status.symlink_target = reply->symlink_target;
  return status;
}

Status SetAttr(const std::shared_ptr<Client::Impl>& impl, std::string_view path, const char* verb,
               idl::SetAttrRequest request) {
  return Named(ChangeCall<idl::kSetAttr>(impl, request).status(), verb, path);
}

}  // namespace

Result<Client> Client::connect(Options options) {
  Result<std::shared_ptr<Impl>> impl = Impl::Create(std::move(options));
  if (!impl) return impl.error();
  return Client(std::move(*impl));
}

void Client::close() const {
  if (impl_ != nullptr && impl_->Usable().ok()) impl_->Close();
}

Result<FileStatus> Client::stat(std::string_view path) const {
  return StatPath(impl_, path, true);
}

Result<FileStatus> Client::lstat(std::string_view path) const {
  return StatPath(impl_, path, false);
}

Result<bool> Client::exists(std::string_view path) const {
  Result<FileStatus> status = stat(path);
  if (status) return true;
  if (status.error().Is(Code::kNotFound) || status.error().Is(Code::kNotDirectory)) return false;
  return status.error();
}

Result<std::string> Client::read_link(std::string_view path) const {
  Result<FileStatus> status = lstat(path);
  if (!status) return status.error();
  if (!status->is_symlink()) {
    return Status(Code::kInvalidArgument, "not a symbolic link").WithContext(path);
  }
  return std::move(status->symlink_target);
}

Result<Usage> Client::usage(std::string_view path) const {
  auto reply = ReadCall<idl::kUsage>(impl_, ForPath<idl::UsageRequest>(impl_, path));
  if (!reply) return Named(reply.error(), "usage of", path);
  return internal::ToUsage(reply->usage);
}

Result<FileSystemStatus> Client::stat_fs() const {
  auto reply = ReadCall<idl::kStatFs>(impl_, idl::StatFsRequest());
  if (!reply) return reply.error();
  FileSystemStatus s;
  s.capacity_bytes = static_cast<uint64_t>(reply->capacity_bytes);
  s.available_bytes = static_cast<uint64_t>(reply->available_bytes);
  s.usage = {static_cast<uint64_t>(reply->files), static_cast<uint64_t>(reply->directories),
             static_cast<uint64_t>(reply->bytes)};
  s.default_replication = static_cast<uint32_t>(reply->default_replication);
  s.default_block_size = static_cast<uint64_t>(reply->default_block_size);
  s.inline_limit = static_cast<uint32_t>(reply->inline_limit);
  s.cluster_id = reply->cluster_id;
  return s;
}

Result<std::string> Client::get_xattr(std::string_view path, std::string_view name) const {
  auto request = ForPath<idl::GetXattrRequest>(impl_, path);
  request.name = name;
  auto reply = ReadCall<idl::kGetXattr>(impl_, request);
  if (!reply) return Named(reply.error(), "get attribute of", path);
  return std::move(reply->value);
}

Result<std::vector<std::string>> Client::list_xattrs(std::string_view path) const {
  auto reply = ReadCall<idl::kListXattrs>(impl_, ForPath<idl::ListXattrsRequest>(impl_, path));
  if (!reply) return Named(reply.error(), "list attributes of", path);
  return std::move(reply->names);
}

// ---- Changes ------------------------------------------------------------------------------------

Status Client::mkdir(std::string_view path, uint32_t mode) const {
  auto request = ForPath<idl::MkdirRequest>(impl_, path);
  request.mode = static_cast<int32_t>(mode);
  return Named(ChangeCall<idl::kMkdir>(impl_, request).status(), "mkdir", path);
}

Status Client::create_directories(std::string_view path, uint32_t mode) const {
  auto request = ForPath<idl::MkdirRequest>(impl_, path);
  if (request.ref.path.empty()) return Status();  // the root is there
  request.mode = static_cast<int32_t>(mode);
  request.parents = true;
  return Named(ChangeCall<idl::kMkdir>(impl_, request).status(), "create directories", path);
}

Status Client::rename(std::string_view from, std::string_view to, RenameMode mode) const {
  idl::RenameRequest request;
  request.source.path = FromRoot(from);
  request.target.path = FromRoot(to);
  request.flags = static_cast<int32_t>(mode);
  if (impl_ != nullptr) impl_->core->FillCaller(&request.caller);
  const Status status = ChangeCall<idl::kRename>(impl_, request).status();
  return Named(status, "rename", std::string(from) + " to " + std::string(to));
}

Status Client::unlink(std::string_view path) const {
  auto request = ForPath<idl::UnlinkRequest>(impl_, path);
  return Named(ChangeCall<idl::kUnlink>(impl_, request).status(), "unlink", path);
}

Status Client::rmdir(std::string_view path) const {
  auto request = ForPath<idl::RmdirRequest>(impl_, path);
  return Named(ChangeCall<idl::kRmdir>(impl_, request).status(), "rmdir", path);
}

Status Client::remove(std::string_view path) const {
  const Status status = unlink(path);
  return status.Is(Code::kIsDirectory) ? rmdir(path) : status;
}

Result<Usage> Client::remove_all(std::string_view path) const {
  auto request = ForPath<idl::RemoveTreeRequest>(impl_, path);
  auto reply = ChangeCall<idl::kRemoveTree>(impl_, request);
  if (!reply) return Named(reply.error(), "remove", path);
  return internal::ToUsage(reply->removed);
}

Result<Removed> Client::move_to_trash(std::string_view path, bool recursive) const {
  auto request = ForPath<idl::MoveToTrashRequest>(impl_, path);
  request.recursive = recursive;
  auto reply = ChangeCall<idl::kMoveToTrash>(impl_, request);
  if (!reply) return Named(reply.error(), "remove", path);
  return Removed{reply->in_trash, reply->trash_path, std::chrono::milliseconds(reply->keep_ms),
                 internal::ToUsage(reply->removed)};
}

Status Client::symlink(std::string_view target, std::string_view path) const {
  auto request = ForPath<idl::SymlinkRequest>(impl_, path);
  request.target = target;
  return Named(ChangeCall<idl::kSymlink>(impl_, request).status(), "symlink", path);
}

Status Client::link(std::string_view existing, std::string_view path) const {
  auto request = ForPath<idl::LinkRequest>(impl_, path);
  request.existing.path = FromRoot(existing);
  return Named(ChangeCall<idl::kLink>(impl_, request).status(), "link", path);
}

Status Client::chmod(std::string_view path, uint32_t mode) const {
  auto request = ForPath<idl::SetAttrRequest>(impl_, path);
  request.mask = kMaskMode;
  request.mode = static_cast<int32_t>(mode);
  request.follow = true;
  return SetAttr(impl_, path, "chmod", std::move(request));
}

Status Client::chown(std::string_view path, std::optional<uint32_t> uid,
                     std::optional<uint32_t> gid, bool follow) const {
  auto request = ForPath<idl::SetAttrRequest>(impl_, path);
  if (uid) request.mask |= kMaskUid;
  if (gid) request.mask |= kMaskGid;
  request.uid = static_cast<int32_t>(uid.value_or(0));
  request.gid = static_cast<int32_t>(gid.value_or(0));
  request.follow = follow;
  return SetAttr(impl_, path, "chown", std::move(request));
}

Status Client::set_times(std::string_view path, const TimeUpdate& times, bool follow) const {
  auto request = ForPath<idl::SetAttrRequest>(impl_, path);
  if (times.atime_now) {
    request.mask |= kMaskAtimeNow;
  } else if (times.atime_ns) {
    request.mask |= kMaskAtime;
    request.atime_ns = *times.atime_ns;
  }
  if (times.mtime_now) {
    request.mask |= kMaskMtimeNow;
  } else if (times.mtime_ns) {
    request.mask |= kMaskMtime;
    request.mtime_ns = *times.mtime_ns;
  }
  request.follow = follow;
  return SetAttr(impl_, path, "set times of", std::move(request));
}

Status Client::truncate(std::string_view path, uint64_t size) const {
  auto request = ForPath<idl::SetAttrRequest>(impl_, path);
  request.mask = kMaskSize;
  request.size = static_cast<int64_t>(size);
  request.follow = true;
  return SetAttr(impl_, path, "truncate", std::move(request));
}

Status Client::set_replication(std::string_view path, uint32_t replication) const {
  auto request = ForPath<idl::SetAttrRequest>(impl_, path);
  request.mask = kMaskReplication;
  request.replication = static_cast<int32_t>(replication);
  request.follow = true;
  return SetAttr(impl_, path, "set replication of", std::move(request));
}

Status Client::set_xattr(std::string_view path, std::string_view name, std::string_view value,
                         XattrMode mode) const {
  auto request = ForPath<idl::SetXattrRequest>(impl_, path);
  request.name = name;
  request.value = value;
  request.flags = static_cast<int32_t>(mode);
  return Named(ChangeCall<idl::kSetXattr>(impl_, request).status(), "set attribute of", path);
}

Status Client::remove_xattr(std::string_view path, std::string_view name) const {
  auto request = ForPath<idl::RemoveXattrRequest>(impl_, path);
  request.name = name;
  return Named(ChangeCall<idl::kRemoveXattr>(impl_, request).status(), "remove attribute of", path);
}

// ---- Placement and health -----------------------------------------------------------------------

Result<FileLayout> Client::locate(std::string_view path, uint64_t offset, uint64_t length) const {
  constexpr uint64_t kSlotsAtOnce = 256;
  Result<FileStatus> status = stat(path);
  if (!status) return status.error();
  if (status->is_directory())
    return Named(Status(Code::kIsDirectory, "is a directory"), "locate", path);
  FileLayout layout;
  layout.status = *status;
  const uint64_t block_size = std::max<uint64_t>(status->block_size, 1);
  uint64_t size = status->size;
  const uint64_t end = length > UINT64_MAX - offset ? UINT64_MAX : offset + length;
  bool first = true;
  for (uint64_t at = offset; at < std::min(end, size) || first;) {
    idl::GetBlocksRequest request;
    request.inode = static_cast<int64_t>(status->inode);
    request.offset = static_cast<int64_t>(at);
    request.length = static_cast<int64_t>(std::min(end - at, kSlotsAtOnce * block_size));
    impl_->core->FillCaller(&request.caller);
    request.client_host_id = impl_->core->options().host_id;
    auto reply = ReadCall<idl::kGetBlocks>(impl_, request);
    if (!reply) return Named(reply.error(), "locate", path);
    if (first) {
      layout.status = ToFileStatus(reply->attr);
      layout.status.symlink_target = status->symlink_target;
    }
    first = false;
    size = static_cast<uint64_t>(reply->attr.size);
    if (reply->has_inline_data) layout.is_inline = true;
    // Holes are not always named: what was asked for and is not there is one.
    uint64_t next = (at / block_size + kSlotsAtOnce) * block_size;
    if (!reply->blocks.empty()) {
      const uint64_t last = static_cast<uint64_t>(reply->blocks.back().offset) + block_size;
      if (reply->blocks.size() >= kSlotsAtOnce) next = std::max(last, at + 1);
    }
    for (const idl::LocatedBlock& block : reply->blocks) {
      layout.blocks.push_back(internal::ToBlockLocation(block));
    }
    at = next;
  }
  return layout;
}

Result<FileExplanation> Client::explain(std::string_view path, uint64_t first_slot) const {
  auto request = ForPath<idl::ExplainRequest>(impl_, path);
  request.first_slot = static_cast<int64_t>(first_slot);
  auto reply = ReadCall<idl::kExplain>(impl_, request);
  if (!reply) return Named(reply.error(), "explain", path);
  return internal::ToFileExplanation(*reply);
}

Status Client::report_bad_replica(uint64_t block, uint64_t stamp, uint64_t datanode,
                                  std::string_view why) const {
  idl::ReportBadReplicaRequest request;
  request.block = static_cast<int64_t>(block);
  request.stamp = static_cast<int64_t>(stamp);
  request.datanode = static_cast<int64_t>(datanode);
  request.why = why;
  return ReadCall<idl::kReportBadReplica>(impl_, request).status();
}

Result<ClusterStatus> Client::cluster_status() const {
  if (impl_ == nullptr) return NoClient();
  client::ClientCore& core = *impl_->core;
  auto reply = impl_->Run<idl::ClusterStatusReply>([&](client::Done<idl::ClusterStatusReply> done) {
    core.ClusterStatus(core.Deadline(), std::move(done));
  });
  if (!reply) return reply.error();
  return internal::ToClusterStatus(*reply);
}

namespace {

// One attempt at each of them, all at once.
template <class Impl>
std::vector<MemberAnswer> AskMembers(Impl& impl, const std::vector<rpc::Address>& addresses,
                                     int64_t timeout_ns) {
  struct Asked {
    std::vector<MemberAnswer> answers;
    size_t left = 0;
  };
  auto asked = std::make_shared<Asked>();
  asked->left = addresses.size();
  for (const rpc::Address& address : addresses) {
    asked->answers.push_back({address.ToString(), Status(Code::kTimedOut, "no answer")});
  }
  client::ClientCore& core = *impl.core;
  const Status status = impl.RunStatus([&](client::StatusDone done) {
    auto all_done = std::make_shared<client::StatusDone>(std::move(done));
    for (size_t i = 0; i < addresses.size(); ++i) {
      core.link().CallMember(
          addresses[i], idl::kClusterStatus, idl::Encode(idl::ClusterStatusRequest()), timeout_ns,
          [asked, all_done, i](Result<rpc::Reply> raw) {
            auto reply = client::Decoded<idl::ClusterStatusReply>(std::move(raw));
            if (reply) {
              asked->answers[i].status = internal::ToClusterStatus(*reply);
            } else {
              asked->answers[i].status = reply.error();
            }
            if (--asked->left == 0) (*all_done)(Status());
          });
    }
  });
  if (!status.ok()) return {};
  return std::move(asked->answers);
}

// Members that those who answered know of and that nobody has asked. A member has several addresses, so that the ones
// that did not answer may be among these under another: there are never more in all than the group has members.
std::vector<rpc::Address> UnaskedMembers(const std::vector<MemberAnswer>& answers) {
  std::vector<rpc::Address> out;
  for (const MemberAnswer& answer : answers) {
    if (!answer.status) continue;
    for (const NamenodeMember& member : answer.status->members) {
      const bool known = std::any_of(answers.begin(), answers.end(), [&](const MemberAnswer& a) {
        return a.address == member.client_address ||
               (a.status && a.status->node_id == member.node_id);
      });
      const Result<rpc::Address> address = rpc::Address::Parse(member.client_address);
      if (known || !address || answers.size() + out.size() >= answer.status->members.size())
        continue;
      if (std::find(out.begin(), out.end(), *address) == out.end()) out.push_back(*address);
    }
  }
  return out;
}

}  // namespace

std::vector<MemberAnswer> Client::member_status(std::chrono::milliseconds per_member) const {
  if (impl_ == nullptr) return {};
  const int64_t timeout_ns = std::max<int64_t>(per_member.count(), 1) * kMillisecond;
  std::vector<MemberAnswer> answers =
      AskMembers(*impl_, impl_->core->link().addresses(), timeout_ns);
  if (const std::vector<rpc::Address> more = UnaskedMembers(answers); !more.empty()) {
    std::vector<MemberAnswer> rest = AskMembers(*impl_, more, timeout_ns);
    std::move(rest.begin(), rest.end(), std::back_inserter(answers));
  }
  return answers;
}

}  // namespace v1
}  // namespace dfs
