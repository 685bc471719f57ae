// Directory: listing page by page.
#include "common/client/client_impl.h"
#include "common/client/convert.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs {
inline namespace v1 {

struct Directory::Impl {
  /// One directory on the way down. Entries of one page are held, never more.
  struct Level {
    uint64_t inode = 0;  // 0: not asked yet
    std::string path;    // of the listing, for the first request only
    std::string prefix;  // of the entries' relative paths, ends with '/'
    std::vector<idl::DirectoryEntry> page;
    size_t next = 0;
    int64_t cookie = 0;
    bool done = false;
  };

  std::shared_ptr<Client::Impl> client;
  std::string path;
  ListOptions options;
  std::vector<Level> levels;
  DirEntry entry;
  Status error;

  Status FetchPage(Level& level);
  bool Advance();
};

Status Directory::Impl::FetchPage(Level& level) {
  idl::ListDirectoryRequest request;
  if (level.inode != 0) {
    request.ref.inode = static_cast<int64_t>(level.inode);
  } else {
    request.ref.path = internal::FromRoot(level.path);
  }
  request.cookie = level.cookie;
  request.max_entries = static_cast<int32_t>(std::clamp<uint32_t>(options.page, 1, 10'000));
  request.with_attributes = options.attributes;
  client->core->FillCaller(&request.caller);
  client::ClientCore& core = *client->core;
  auto reply =
      client->Run<idl::ListDirectoryReply>([&](client::Done<idl::ListDirectoryReply> done) {
        client::Read<idl::kListDirectory>(core, request, core.Deadline(), std::move(done));
      });
  if (!reply) return reply.error();
  level.inode = static_cast<uint64_t>(reply->directory);
  level.page = std::move(reply->entries);
  level.next = 0;
  level.done = reply->done;
  if (!level.page.empty()) {
    level.cookie = level.page.back().cookie;
  } else if (!level.done) {
    return Status(Code::kProtocol, "an empty page that is not the last");
  }
  return Status();
}

bool Directory::Impl::Advance() {
  while (!levels.empty()) {
    Level& level = levels.back();
    if (level.next == level.page.size()) {
      if (level.done) {
        levels.pop_back();
        continue;
      }
      Status status = FetchPage(level);
      if (status.ok()) continue;
      const bool gone = status.Is(Code::kNotFound) || status.Is(Code::kStaleHandle);
      if (gone && levels.size() > 1) {
        levels.pop_back();  // removed since it was listed
        continue;
      }
      error = status.WithContext("list " + path);
      return false;
    }
    idl::DirectoryEntry& found = level.page[level.next++];
    entry.name = std::move(found.name);
    entry.path = level.prefix + entry.name;
    entry.inode = static_cast<uint64_t>(found.inode);
    entry.type = static_cast<FileType>(static_cast<int>(found.type));
    entry.status.reset();
    if (found.__isset.attr) {
      entry.status = internal::ToFileStatus(found.attr);
      if (found.__isset.symlink_target) entry.status->symlink_target = found.symlink_target;
    }
    if (options.recursive && entry.type == FileType::kDirectory) {
      Level below;
      below.inode = entry.inode;
      below.prefix = entry.path + "/";
      levels.push_back(std::move(below));
    }
    return true;
  }
  return false;
}

Directory::Directory() = default;
Directory::~Directory() = default;
Directory::Directory(Directory&&) noexcept = default;
Directory& Directory::operator=(Directory&&) noexcept = default;
Directory::Directory(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

const DirEntry* Directory::next() {
  if (impl_ == nullptr || !impl_->error.ok()) return nullptr;
  return impl_->Advance() ? &impl_->entry : nullptr;
}

const Status& Directory::error() const {
  static const Status closed(Code::kBadDescriptor, "the directory is closed");
  return impl_ == nullptr ? closed : impl_->error;
}

Result<Directory> Client::list(std::string_view path, ListOptions options) const {
  if (impl_ == nullptr) return Status(Code::kClosed, "the client was closed");
  auto impl = std::make_unique<Directory::Impl>();
  impl->client = impl_;
  impl->path = path;
  impl->options = options;
  impl->levels.emplace_back();
  impl->levels.back().path = path;
  // The first page now, so that what is wrong with the path shows here.
  if (Status status = impl->FetchPage(impl->levels.back()); !status.ok()) {
    return status.WithContext("list " + std::string(path));
  }
  return Directory(std::move(impl));
}

}  // namespace v1
}  // namespace dfs
