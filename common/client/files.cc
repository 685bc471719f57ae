// Client, Reader, Writer, FileHandle: the content of files.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <utility>

#include "common/client/client_impl.h"
#include "common/client/convert.h"
#include "common/client/core/calls.h"
#include "common/client/core/file_reader.h"
#include "common/client/core/file_writer.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {

using client::FileReader;
using client::FileStream;
using client::FileWriter;
using internal::FromRoot;

namespace {

/// From this size on a read is worth a descriptor of the block file.
constexpr size_t kLocalFrom = 1u << 20;
constexpr size_t kWriteChunk = wire::ChainWriter::kMaxPacketBytes;
/// Blocks that a FileHandle keeps open for writing at once.
constexpr size_t kHandleOpenBlocks = 8;

Status BadHandle() {
  return Status(Code::kBadDescriptor, "the file is closed");
}

std::string_view View(std::span<const std::byte> data) {
  return {reinterpret_cast<const char*>(data.data()), data.size()};
}
char* Chars(std::span<std::byte> out) {
  return reinterpret_cast<char*>(out.data());
}

client::FileCreate CoreCreate(std::string_view path, const CreateOptions& options) {
  client::FileCreate create;
  create.path = FromRoot(path);
  create.mode = options.mode;
  create.exclusive = options.exclusive;
  create.overwrite = options.overwrite;
  create.parents = options.parents;
  create.replication = options.replication;
  create.block_size = options.block_size;
  create.mtime_ns = options.mtime_ns;
  create.expected_size = options.expected_size;
  return create;
}

Result<FileWriter::Ptr> MakeWriter(const std::shared_ptr<Client::Impl>& impl, std::string_view path,
                                   const CreateOptions& options, size_t max_open) {
  auto writer = impl->Run<FileWriter::Ptr>([&](client::Done<FileWriter::Ptr> done) {
    FileWriter::Create(impl->core, CoreCreate(path, options), max_open, std::move(done));
  });
  if (!writer) return writer.error().WithContext("create " + std::string(path));
  return writer;
}

Result<FileWriter::Ptr> OpenWriter(const std::shared_ptr<Client::Impl>& impl, std::string_view path,
                                   size_t max_open) {
  auto writer = impl->Run<FileWriter::Ptr>([&](client::Done<FileWriter::Ptr> done) {
    client::FileOpen open;
    open.path = FromRoot(path);
    FileWriter::Open(impl->core, std::move(open), max_open, std::move(done));
  });
  if (!writer) return writer.error().WithContext("open " + std::string(path));
  return writer;
}

}  // namespace

// ---- Reader -------------------------------------------------------------------------------------

struct Reader::Impl {
  std::shared_ptr<Client::Impl> client;
  std::shared_ptr<FileReader> file;
  std::shared_ptr<FileStream> stream;
  uint64_t position = 0;
  std::atomic<uint64_t> size{0};
  FileStatus status;

  /// What can be read in the calling thread, without the loop: of a block with a replica on this host.
  std::mutex local_mutex;
  FileReader::LocalSpan local;  // block null: none
  uint64_t not_local_from = 0;  // [from, to) has to come through a stream
  uint64_t not_local_to = 0;

  /// As much as can be had so; 0: use a stream. ask: get the block when it is not there.
  size_t ReadLocal(uint64_t offset, char* out, size_t out_size, bool ask) {
    size_t done = 0;
    while (done < out_size) {
      const FileReader::LocalSpan span = LocalAt(offset + done, ask);
      if (span.block == nullptr) break;
      const uint64_t at = offset + done;
      const size_t want = std::min<uint64_t>(out_size - done, span.end - at);
      const Result<size_t> got = span.block->ReadAt(at - span.slot_start, out + done, want);
      if (!got) {
        // Overwritten, cut or damaged meanwhile: the datanode knows.
        std::lock_guard lock(local_mutex);
        local = {};
        not_local_from = at;
        not_local_to = span.end;
        break;
      }
      done += *got;
    }
    return done;
  }

 private:
  FileReader::LocalSpan LocalAt(uint64_t offset, bool ask) {
    {
      std::lock_guard lock(local_mutex);
      if (offset >= not_local_from && offset < not_local_to) return {};
      if (local.block != nullptr && offset >= local.slot_start + local.block->begin() &&
          offset < local.end && client->core->Now() < local.fresh_until_ns) {
        return local;
      }
    }
    if (!ask) return {};
    Result<FileReader::LocalSpan> span = client->Run<FileReader::LocalSpan>(
        [this, offset](client::Done<FileReader::LocalSpan> done) {
          file->Local(offset, [this, done = std::move(done)](Result<FileReader::LocalSpan> found) {
            size = file->size();
            done(std::move(found));
          });
        });
    if (!span) return {};  // a stream will say it better
    std::lock_guard lock(local_mutex);
    if (span->block == nullptr) {
      not_local_from = offset;
      not_local_to = span->end;
      return {};
    }
    local = *span;
    return local;
  }

 public:
  ~Impl() {
    // In this order, on the loop: the stream refers to the file.
    client->Drop(std::move(stream));
    client->Drop(std::move(file));
  }
};

Reader::Reader() = default;
Reader::~Reader() = default;
Reader::Reader(Reader&&) noexcept = default;
Reader& Reader::operator=(Reader&&) noexcept = default;
Reader::Reader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<size_t> Reader::read(std::span<std::byte> out) {
  if (impl_ == nullptr) return BadHandle();
  if (out.empty()) return size_t{0};
  Impl& r = *impl_;
  if (Status usable = r.client->Usable(); !usable.ok()) return usable;
  size_t here = 0;
  if (r.size >= kLocalFrom) {
    here = r.ReadLocal(r.position, Chars(out), out.size(), true);
    r.position += here;
    if (here > 0 && r.stream != nullptr) r.client->Drop(std::exchange(r.stream, nullptr));
    if (here == out.size()) return here;
    out = out.subspan(here);
  }
  Result<size_t> got = r.client->Run<size_t>(
      [&r, out](client::Done<size_t> done) {
        if (r.stream == nullptr) r.stream = FileStream::Create(r.file, r.position);
        r.stream->Read(Chars(out), out.size(), [&r, done = std::move(done)](Result<size_t> result) {
          r.size = r.file->size();
          done(std::move(result));
        });
      },
      true);
  if (!got) {
    if (here > 0) return here;  // the next call meets the error
    return got;
  }
  r.position += *got;
  return here + *got;
}

Result<size_t> Reader::read_at(uint64_t offset, std::span<std::byte> out) const {
  if (impl_ == nullptr) return BadHandle();
  Impl& r = *impl_;
  if (Status usable = r.client->Usable(); !usable.ok()) return usable;
  const size_t here = r.ReadLocal(offset, Chars(out), out.size(), out.size() >= kLocalFrom);
  if (here == out.size()) return here;
  offset += here;
  out = out.subspan(here);
  const Result<size_t> got = r.client->Run<size_t>([&r, offset, out](client::Done<size_t> done) {
    r.file->ReadAt(offset, Chars(out), out.size(), std::make_shared<FileReader::Guard>(),
                   [&r, done = std::move(done)](Result<size_t> result) {
                     r.size = r.file->size();
                     done(std::move(result));
                   });
  });
  if (!got) return got;
  return here + *got;
}

void Reader::seek(uint64_t offset) {
  if (impl_ == nullptr || offset == impl_->position) return;
  impl_->position = offset;
  impl_->client->Drop(std::move(impl_->stream));
  impl_->stream = nullptr;
}

uint64_t Reader::position() const {
  return impl_ == nullptr ? 0 : impl_->position;
}
uint64_t Reader::size() const {
  return impl_ == nullptr ? 0 : impl_->size.load();
}
const FileStatus& Reader::status() const {
  static const FileStatus none;
  return impl_ == nullptr ? none : impl_->status;
}
void Reader::close() {
  impl_.reset();
}

Result<Reader> Client::open(std::string_view path) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  auto file =
      impl_->Run<std::shared_ptr<FileReader>>([&](client::Done<std::shared_ptr<FileReader>> done) {
        FileReader::Open(impl_->core, FromRoot(path), std::move(done));
      });
  if (!file) return file.error().WithContext("open " + std::string(path));
  auto impl = std::make_unique<Reader::Impl>();
  impl->client = impl_;
  impl->file = std::move(*file);
  impl->size = impl->file->size();
  impl->status = internal::ToFileStatus(impl->file->attr());
  return Reader(std::move(impl));
}

// ---- Writer -------------------------------------------------------------------------------------

struct Writer::Impl {
  std::shared_ptr<Client::Impl> client;
  FileWriter::Ptr file;
  std::string pending;  // not handed to the core yet
  uint64_t position = 0;
  CreateOptions options;
  bool closed = false;
  Status error;
  uint64_t inode = 0;

  ~Impl() {
    if (!closed && file != nullptr && !client->in_child()) {
      client->loop->Post([f = file] { f->Abandon(); });
    }
    client->Drop(std::move(file));
  }

  /// Hands the pending bytes over; waits only while too much is unacknowledged.
  Status Push() {
    if (pending.empty()) return error;
    auto data = std::make_shared<Buffer>(std::move(pending));
    pending = std::string();
    const uint64_t offset = position - data->size();
    const uint64_t limit = client->core->options().write_buffer_bytes;
    return Remember(client->RunStatus(
        [f = file, data, offset, limit](client::StatusDone done) {
          f->Write(offset, std::move(*data));
          f->WhenBelow(limit, std::move(done));
        },
        true));
  }
  Status Remember(Status status) {
    if (error.ok()) error = std::move(status);
    return error;
  }
};

Writer::Writer() = default;
Writer::~Writer() = default;
Writer::Writer(Writer&&) noexcept = default;
Writer& Writer::operator=(Writer&&) noexcept = default;
Writer::Writer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Status Writer::write(std::string_view data) {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& w = *impl_;
  while (w.error.ok() && !data.empty()) {
    // Pieces end where packets of the file end, so that most packets are whole.
    const uint64_t room = kWriteChunk - w.position % kWriteChunk;
    const size_t take = std::min<uint64_t>(room, data.size());
    if (w.pending.empty() && data.size() >= kWriteChunk / 8) w.pending.reserve(room);
    w.pending.append(data.data(), take);
    w.position += take;
    data.remove_prefix(take);
    if (take == room) DFS_RETURN_IF_ERROR(w.Push());
  }
  return w.error;
}

Status Writer::write(std::span<const std::byte> data) {
  return write(View(data));
}

Status Writer::flush() {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& w = *impl_;
  DFS_RETURN_IF_ERROR(w.Push());
  return w.Remember(
      w.client->RunStatus([f = w.file](client::StatusDone done) { f->Flush(std::move(done)); }));
}

Status Writer::sync() {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& w = *impl_;
  DFS_RETURN_IF_ERROR(w.Push());
  return w.Remember(
      w.client->RunStatus([f = w.file](client::StatusDone done) { f->Sync(std::move(done)); }));
}

Status Writer::close() {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& w = *impl_;
  if (Status status = w.Push(); !status.ok()) return status;  // the destructor abandons
  client::FileClose how;
  how.sync = w.options.sync_on_close;
  how.mtime_ns = w.options.mtime_ns;
  const Status status = w.Remember(w.client->RunStatus(
      [f = w.file, how](client::StatusDone done) { f->Close(how, std::move(done)); }));
  w.closed = true;
  return status;
}

void Writer::abandon() {
  impl_.reset();
}
uint64_t Writer::position() const {
  return impl_ == nullptr ? 0 : impl_->position;
}
uint64_t Writer::inode() const {
  return impl_ == nullptr ? 0 : impl_->inode;
}

Result<Writer> Client::create(std::string_view path, CreateOptions options) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  if (!options.exclusive && !options.overwrite) {
    return Status(Code::kInvalidArgument, "create needs exclusive or overwrite; see append");
  }
  DFS_ASSIGN_OR_RETURN(FileWriter::Ptr file, MakeWriter(impl_, path, options, 1));
  auto impl = std::make_unique<Writer::Impl>();
  impl->client = impl_;
  impl->inode = file->inode();
  impl->file = std::move(file);
  impl->options = options;
  return Writer(std::move(impl));
}

Result<Writer> Client::append(std::string_view path) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  DFS_ASSIGN_OR_RETURN(FileWriter::Ptr file, OpenWriter(impl_, path, 1));
  auto impl = std::make_unique<Writer::Impl>();
  impl->client = impl_;
  impl->inode = file->inode();
  impl->position = file->size();
  impl->file = std::move(file);
  return Writer(std::move(impl));
}

// ---- FileHandle ---------------------------------------------------------------------------------

struct FileHandle::Impl {
  std::shared_ptr<Client::Impl> client;
  FileWriter::Ptr file;
  FileStatus status;
  std::atomic<uint64_t> size{0};
  std::atomic<bool> closed{false};

  ~Impl() {
    if (!closed && file != nullptr && !client->in_child()) {
      client->loop->Post([f = file] { f->Abandon(); });
    }
    client->Drop(std::move(file));
  }

  Status Write(std::optional<uint64_t> offset, std::string_view bytes) {
    if (closed) return BadHandle();
    const uint64_t limit = client->core->options().write_buffer_bytes;
    while (!bytes.empty()) {
      const std::string_view piece = bytes.substr(0, 4u << 20);
      bytes.remove_prefix(piece.size());
      auto data = std::make_shared<Buffer>(Buffer::Copy(piece));
      DFS_RETURN_IF_ERROR(client->RunStatus(
          [this, offset, data, limit](client::StatusDone done) {
            if (offset) {
              file->Write(*offset, std::move(*data));
            } else {
              file->Append(std::move(*data));
            }
            size = file->size();
            file->WhenBelow(limit, std::move(done));
          },
          true));
      if (offset) *offset += piece.size();
    }
    return Status();
  }
};

FileHandle::FileHandle() = default;
FileHandle::~FileHandle() = default;
FileHandle::FileHandle(FileHandle&&) noexcept = default;
FileHandle& FileHandle::operator=(FileHandle&&) noexcept = default;
FileHandle::FileHandle(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<size_t> FileHandle::read_at(uint64_t offset, std::span<std::byte> out) const {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& h = *impl_;
  return h.client->Run<size_t>([&h, offset, out](client::Done<size_t> done) {
    h.file->ReadAt(offset, Chars(out), out.size(), std::make_shared<FileReader::Guard>(),
                   std::move(done));
  });
}

Status FileHandle::write_at(uint64_t offset, std::string_view data) {
  if (impl_ == nullptr) return BadHandle();
  return impl_->Write(offset, data);
}
Status FileHandle::write_at(uint64_t offset, std::span<const std::byte> data) {
  return write_at(offset, View(data));
}
Status FileHandle::append(std::string_view data) {
  if (impl_ == nullptr) return BadHandle();
  return impl_->Write(std::nullopt, data);
}
Status FileHandle::append(std::span<const std::byte> data) {
  return append(View(data));
}

Status FileHandle::truncate(uint64_t size) {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& h = *impl_;
  return h.client->RunStatus([&h, size](client::StatusDone done) {
    h.file->Truncate(size, [&h, done = std::move(done)](Status status) {
      h.size = h.file->size();
      done(std::move(status));
    });
  });
}

Status FileHandle::flush() {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& h = *impl_;
  return h.client->RunStatus([&h](client::StatusDone done) { h.file->Flush(std::move(done)); });
}

Status FileHandle::sync() {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& h = *impl_;
  return h.client->RunStatus([&h](client::StatusDone done) { h.file->Sync(std::move(done)); });
}

Status FileHandle::close() {
  if (impl_ == nullptr || impl_->closed) return BadHandle();
  Impl& h = *impl_;
  const Status status = h.client->RunStatus(
      [&h](client::StatusDone done) { h.file->Close(client::FileClose(), std::move(done)); });
  h.closed = true;
  return status;
}

uint64_t FileHandle::size() const {
  return impl_ == nullptr ? 0 : impl_->size.load();
}
const FileStatus& FileHandle::status() const {
  static const FileStatus none;
  return impl_ == nullptr ? none : impl_->status;
}

Result<FileHandle> Client::open_rw(std::string_view path, OpenOptions options) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  Result<FileWriter::Ptr> file = options.create
                                     ? MakeWriter(impl_, path, options.creation, kHandleOpenBlocks)
                                     : OpenWriter(impl_, path, kHandleOpenBlocks);
  if (!file) return file.error();
  auto impl = std::make_unique<FileHandle::Impl>();
  impl->client = impl_;
  impl->file = std::move(*file);
  impl->size = impl->file->size();
  impl->status = internal::ToFileStatus(impl->file->attr());
  return FileHandle(std::move(impl));
}

}  // namespace v1
}  // namespace dfs
