// Requests on open directories.
#include <sys/stat.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "fuse/kernel_call.h"

namespace dfs::fuse {
namespace {

constexpr off_t kDotCookie = 1;
constexpr off_t kDotDotCookie = 2;  // the namenode's own begin at 3

DirectoryStream* StreamOf(const fuse_file_info* info) {
  return reinterpret_cast<DirectoryStream*>(info->fh);
}

void OpenDir(fuse_req_t req, fuse_ino_t ino, fuse_file_info* info) {
  auto call = Call::Of(req);
  DirectoryStream* stream = call->files().OpenDirectory(call->CallerWithGroups(), call->Inode(ino));
  info->fh = reinterpret_cast<uint64_t>(stream);
  call->Open(*info);
}

void ReleaseDir(fuse_req_t req, fuse_ino_t, fuse_file_info* info) {
  auto call = Call::Of(req);
  call->files().ReleaseDirectory(StreamOf(info));
  call->Done(Status());
}

/// Packs entries into one reply as long as they fit.
class DirectoryReply {
 public:
  DirectoryReply(const CallPtr& call, uint64_t directory, size_t size, bool plus)
      : call_(call), directory_(directory), plus_(plus), bytes_(size) {}

  /// attr: null when unknown.
  bool Add(const std::string& name, uint64_t inode, mode_t type, const idl::Attr* attr,
           off_t cookie) {
    char* out = bytes_.data() + used_;
    const size_t room = bytes_.size() - used_;
    fuse_entry_param entry = {};
    entry.attr.st_ino = static_cast<ino_t>(inode);
    entry.attr.st_mode = type;
    if (attr != nullptr) entry = ToEntry(call_->files(), directory_, name, *attr, call_->asked());
    const size_t needed =
        plus_ ? fuse_add_direntry_plus(call_->req(), out, room, name.c_str(), &entry, cookie)
              : fuse_add_direntry(call_->req(), out, room, name.c_str(), &entry.attr, cookie);
    if (needed > room) return false;
    used_ += needed;
    return true;
  }
  std::string_view bytes() const { return {bytes_.data(), used_}; }

 private:
  const CallPtr call_;
  const uint64_t directory_;
  const bool plus_;
  std::vector<char> bytes_;
  size_t used_ = 0;
};

void ReadDirectory(fuse_req_t req, size_t size, off_t offset, fuse_file_info* info, bool plus) {
  auto call = Call::Of(req);
  DirectoryStream* stream = StreamOf(info);
  const uint64_t cookie = offset > kDotDotCookie ? static_cast<uint64_t>(offset) : 0;
  call->files().Fill(stream, cookie, [call, stream, size, offset, plus](const Status& status) {
    if (!status.ok()) return call->Error(status);
    if (call->answered()) return;
    DirectoryReply reply(call, stream->inode, std::min<size_t>(size, kMaxIo), plus);
    // An inode of 0 in the extended form tells the kernel nothing but the name.
    bool room = true;
    if (offset < kDotCookie) room = reply.Add(".", stream->inode, S_IFDIR, nullptr, kDotCookie);
    if (room && offset < kDotDotCookie) {
      room = reply.Add("..", static_cast<uint64_t>(stream->page->parent), S_IFDIR, nullptr,
                       kDotDotCookie);
    }
    const auto& entries = stream->page->entries;
    while (room && stream->next < entries.size()) {
      const idl::DirectoryEntry& entry = entries[stream->next];
      room = reply.Add(entry.name, static_cast<uint64_t>(entry.inode), TypeBits(entry.type),
                       plus && entry.__isset.attr ? &entry.attr : nullptr,
                       static_cast<off_t>(entry.cookie));
      if (!room) break;
      ++stream->next;
      stream->next_cookie = static_cast<uint64_t>(entry.cookie);
    }
    if (plus) call->files().NamesListed();
    call->Bytes(reply.bytes());
  });
}

void ReadDir(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  ReadDirectory(req, size, offset, info, false);
}

void ReadDirPlus(fuse_req_t req, fuse_ino_t, size_t size, off_t offset, fuse_file_info* info) {
  ReadDirectory(req, size, offset, info, true);
}

/// A directory's names are durable when their calls return.
void FsyncDir(fuse_req_t req, fuse_ino_t, int, fuse_file_info*) {
  Call::Of(req)->Done(Status());
}

}  // namespace

void AddDirectoryRequests(fuse_lowlevel_ops* ops) {
  ops->opendir = OpenDir;
  ops->readdir = ReadDir;
  ops->readdirplus = ReadDirPlus;
  ops->releasedir = ReleaseDir;
  ops->fsyncdir = FsyncDir;
}

}  // namespace dfs::fuse
