// Client: whole files in one call.
#include <algorithm>

#include "common/client/client_impl.h"
#include "common/client/core/calls.h"
#include "common/client/core/file_writer.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {

using client::FileWriter;
using internal::FromRoot;

namespace {

constexpr size_t kChunk = wire::ChainWriter::kMaxPacketBytes;

/// A small file in one commit.
Status CreateInline(const std::shared_ptr<Client::Impl>& impl, std::string_view path,
                    std::string content, const CreateOptions& options) {
  idl::CreateRequest request;
  request.ref.path = FromRoot(path);
  request.mode = static_cast<int32_t>(options.mode);
  impl->core->FillCaller(&request.caller);
  request.exclusive = options.exclusive || !options.overwrite;
  request.overwrite = !request.exclusive;
  request.replication = static_cast<int32_t>(options.replication);
  request.block_size = static_cast<int64_t>(options.block_size);
  request.inline_data = std::move(content);
  request.has_inline_data = true;
  request.mtime_ns = options.mtime_ns;
  request.parents = options.parents;
  client::ClientCore& core = *impl->core;
  return impl
      ->Run<idl::CreateReply>([&](client::Done<idl::CreateReply> done) {
        client::Change<idl::kCreate>(core, request, 0, core.Deadline(), std::move(done));
      })
      .status();
}

Result<uint32_t> InlineLimit(const std::shared_ptr<Client::Impl>& impl) {
  return impl->Run<uint32_t>(
      [&](client::Done<uint32_t> done) { impl->core->InlineLimit(std::move(done)); });
}

/// ".name.dfs-0123456789abcdef" in the same directory; a name is at most 255 bytes.
std::string TemporaryName(std::string_view path, uint64_t random) {
  const size_t slash = path.rfind('/');
  const std::string_view directory =
      slash == std::string_view::npos ? "" : path.substr(0, slash + 1);
  std::string_view name = slash == std::string_view::npos ? path : path.substr(slash + 1);
  char suffix[24];
  std::snprintf(suffix, sizeof(suffix), ".dfs-%016llx", static_cast<unsigned long long>(random));
  name = name.substr(0, 255 - 1 - (sizeof(".dfs-0123456789abcdef") - 1));
  return std::string(directory) + "." + std::string(name) + suffix;
}

/// Fills the string up to size bytes; fewer: the source is at its end.
Status Fill(const Source& source, size_t size, std::string* out) {
  const size_t start = out->size();
  out->resize(start + size);
  size_t got = 0;
  while (got < size) {
    Result<size_t> n =
        source(std::as_writable_bytes(std::span<char>(out->data() + start + got, size - got)));
    if (!n || *n == 0 || *n > size - got) {
      out->resize(start + got);
      if (!n) return n.error();
      if (*n > 0) return Status(Code::kInvalidArgument, "the source gave more than was asked for");
      return Status();
    }
    got += *n;
  }
  return Status();
}

/// Streams source into an open file and closes it under its final name.
Result<uint64_t> WriteAndRename(const std::shared_ptr<Client::Impl>& impl,
                                const FileWriter::Ptr& file, std::string first,
                                const Source& source, std::string_view path,
                                const CreateOptions& options) {
  const uint64_t limit = impl->core->options().write_buffer_bytes;
  uint64_t total = 0;
  std::string chunk = std::move(first);
  // The first piece brings the rest of its packet along, so that all others are whole.
  DFS_RETURN_IF_ERROR(Fill(source, kChunk - chunk.size() % kChunk, &chunk));
  while (!chunk.empty()) {
    auto data = std::make_shared<Buffer>(std::move(chunk));
    const uint64_t offset = total;
    total += data->size();
    DFS_RETURN_IF_ERROR(impl->RunStatus(
        [file, data, offset, limit](client::StatusDone done) {
          file->Write(offset, std::move(*data));
          file->WhenBelow(limit, std::move(done));
        },
        true));
    chunk = std::string();
    DFS_RETURN_IF_ERROR(Fill(source, kChunk, &chunk));
  }
  client::FileClose how;
  how.sync = options.sync_on_close;
  how.mtime_ns = options.mtime_ns;
  how.rename_to = FromRoot(path);
  how.rename_replace = options.overwrite && !options.exclusive;
  DFS_RETURN_IF_ERROR(
      impl->RunStatus([file, how](client::StatusDone done) { file->Close(how, std::move(done)); }));
  return total;
}

}  // namespace

Result<std::string> Client::read_file(std::string_view path, uint64_t limit) const {
  DFS_ASSIGN_OR_RETURN(Reader reader, open(path));
  std::string content;
  if (reader.size() > limit) {
    return Status(Code::kFileTooBig, "larger than the limit").WithContext(path);
  }
  content.resize(reader.size());
  size_t got = 0;
  for (;;) {
    if (got == content.size()) {
      // It may have grown; and the end is only known when a read says so.
      if (reader.size() <= got) break;
      if (reader.size() > limit) {
        return Status(Code::kFileTooBig, "larger than the limit").WithContext(path);
      }
      content.resize(reader.size());
    }
    Result<size_t> n = reader.read(
        std::as_writable_bytes(std::span<char>(content.data() + got, content.size() - got)));
    if (!n) return n.error().WithContext("read " + std::string(path));
    if (*n == 0) break;
    got += *n;
  }
  content.resize(got);
  return content;
}

Status Client::write_file(std::string_view path, std::string_view content,
                          CreateOptions options) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  DFS_ASSIGN_OR_RETURN(const uint32_t limit, InlineLimit(impl_));
  if (content.size() <= limit) {
    const Status status = CreateInline(impl_, path, std::string(content), options);
    return status.ok() ? status : status.WithContext("write " + std::string(path));
  }
  options.exclusive |= !options.overwrite;
  options.expected_size = content.size();
  DFS_ASSIGN_OR_RETURN(Writer writer, create(path, options));
  DFS_RETURN_IF_ERROR(writer.write(content));
  return writer.close();
}

Result<uint64_t> Client::write_file_atomically(std::string_view path, const Source& source,
                                               CreateOptions options) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  const std::string context = "write " + std::string(path);
  Result<uint32_t> limit = InlineLimit(impl_);
  if (!limit) return limit.error().WithContext(context);
  std::string first;
  if (Status status = Fill(source, size_t{*limit} + 1, &first); !status.ok()) return status;
  if (first.size() <= *limit) {
    const uint64_t size = first.size();
    const Status status = CreateInline(impl_, path, std::move(first), options);
    if (!status.ok()) return status.WithContext(context);
    return size;
  }
  // Tell what is wrong before the bytes are sent, not after.
  const bool replace = options.overwrite && !options.exclusive;
  if (Result<FileStatus> there = lstat(path); there) {
    if (there->is_directory())
      return Status(Code::kIsDirectory, "is a directory").WithContext(context);
    if (!replace) return Status(Code::kAlreadyExists, "exists already").WithContext(context);
  }
  uint64_t random = 0;
  FillSecureRandom(&random, sizeof(random));
  const std::string temporary = TemporaryName(path, random);
  client::FileCreate create;
  create.path = FromRoot(temporary);
  create.mode = options.mode;
  create.exclusive = true;
  create.parents = options.parents;
  create.replication = options.replication;
  create.block_size = options.block_size;
  create.expected_size = first.size();  // at least
  auto file = impl_->Run<FileWriter::Ptr>([&](client::Done<FileWriter::Ptr> done) {
    FileWriter::Create(impl_->core, create, 1, std::move(done));
  });
  if (!file) return file.error().WithContext(context);
  Result<uint64_t> written = WriteAndRename(impl_, *file, std::move(first), source, path, options);
  if (!written) {
    if (!impl_->in_child()) impl_->loop->Post([f = *file] { f->Abandon(); });
    (void)unlink(temporary);
  }
  impl_->Drop(std::move(*file));
  if (!written) return written.error().WithContext(context);
  return written;
}

}  // namespace v1
}  // namespace dfs
