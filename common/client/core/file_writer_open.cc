// FileWriter: opening, and waiting for what others left open.
#include <algorithm>

#include "common/client/core/calls.h"
#include "common/client/core/convert.h"
#include "common/client/core/file_writer.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr int64_t kPollNs = 250 * kMillisecond;
}  // namespace

struct FileWriter::Prepared {
  uint32_t inline_limit = 0;
  uint64_t session = 0;
};

void FileWriter::Prepare(std::shared_ptr<ClientCore> core, Done<Prepared> done) {
  ClientCore& c = *core;
  c.InlineLimit([core = std::move(core), done = std::move(done)](Result<uint32_t> limit) mutable {
    if (!limit) {
      done(limit.error());
      return;
    }
    ClientCore& c2 = *core;
    c2.session().Ensure([core = std::move(core), limit = *limit,
                         done = std::move(done)](Result<uint64_t> session) mutable {
      if (!session) {
        done(session.error());
        return;
      }
      core->files().WhenNobodyCuts([prepared = Prepared{limit, *session},
                                    done = std::move(done)]() mutable { done(prepared); });
    });
  });
}

FileWriter::Opening FileWriter::BeginOpen(bool truncates, Done<Ptr> done) {
  OpenFiles& files = core_->files();
  // A writer of this client is told of a cut; the namenode would make it behind its back.
  Opening opening;
  opening.cut = truncates && !files.Idle();
  opening.cut_by_namenode = truncates && !opening.cut;
  if (opening.cut_by_namenode) files.BeginCut();
  opening.done = [under_way = files.BeginOpen(), done = std::move(done)](Result<Ptr> file) mutable {
    under_way.reset();
    done(std::move(file));
  };
  return opening;
}

void FileWriter::Create(std::shared_ptr<ClientCore> core, FileCreate how, size_t max_open,
                        Done<Ptr> done) {
  Prepare(core, [core, how = std::move(how), max_open,
                 done = std::move(done)](Result<Prepared> prepared) mutable {
    if (!prepared) {
      done(prepared.error());
      return;
    }
    Ptr self(new FileWriter(core, prepared->session, max_open));
    self->path_ = how.path;
    const bool overwrite = how.overwrite && !how.exclusive;
    Opening opening = self->BeginOpen(overwrite, std::move(done));
    idl::CreateRequest request;
    request.ref.path = how.path;
    request.mode = static_cast<int32_t>(how.mode);
    core->FillCaller(&request.caller);
    request.exclusive = how.exclusive;
    request.overwrite = opening.cut_by_namenode;
    request.replication = static_cast<int32_t>(how.replication);
    request.block_size = static_cast<int64_t>(how.block_size);
    request.open_for_write = true;
    request.mtime_ns = how.mtime_ns;
    request.parents = how.parents;
    request.open_first_block = how.expected_size > prepared->inline_limit;
    request.client_host_id = core->options().host_id;
    Change<idl::kCreate>(*core, std::move(request), prepared->session, core->Deadline(),
                         [self, opening = std::move(opening),
                          limit = prepared->inline_limit](Result<idl::CreateReply> reply) mutable {
                           const bool cut_by_namenode = opening.cut_by_namenode;
                           if (reply) {
                             self->OnCreated(std::move(opening), std::move(*reply), limit);
                           } else {
                             opening.done(reply.error());
                           }
                           if (cut_by_namenode) self->core_->files().EndCut();
                         });
  });
}

void FileWriter::OnCreated(Opening opening, idl::CreateReply reply, uint32_t inline_limit) {
  Begin(reply.attr, !reply.created, std::move(reply.inline_data), inline_limit);
  if (reply.created || opening.cut_by_namenode) {
    hole_from_ = 0;
    if (reply.__isset.first_block) AdoptFirstBlock(reply.first_block);
    Ready(false, std::move(opening.done));
  } else {
    // Of a file that was there already it is not said whether it is inline.
    WaitForBlocks(shared_from_this(), opening.cut, std::move(opening.done));
  }
}

void FileWriter::AdoptFirstBlock(const idl::WritableBlock& block) {
  inline_ = false;
  hole_from_ = 1;
  Slot& slot = slots_[0];
  slot.known = true;
  BlockWriterParams params;
  params.inode = inode_;
  params.session = session_;
  params.repair_after_ns = core_->options().repair_after_ns;
  slot.writer = BlockWriter::Adopt(core_, params, block, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->OnBlockChange(0);
  });
  if (!slot.writer->error().ok()) Fail(slot.writer->error());
}

FileWriter::Ptr FileWriter::Shared(uint64_t inode) const {
  Ptr other = core_->files().Find(inode);
  const bool usable = other != nullptr && other.get() != this && other->session_ == session_ &&
                      other->error_.ok() && !other->closing_;
  return usable ? other : nullptr;
}

void FileWriter::Ready(bool cut, Done<Ptr> done) {
  Ptr writer = Shared(inode_);
  if (writer != nullptr) {
    ++writer->handles_;
    writer->max_open_ = std::max(writer->max_open_, max_open_);
    Released();  // of this one nothing is needed any more
  } else {
    writer = shared_from_this();
    core_->files().Add(inode_, writer);
  }
  if (!cut || writer->size_ == 0) {
    done(std::move(writer));
    return;
  }
  FileWriter& w = *writer;
  w.Truncate(0, [writer = std::move(writer), done = std::move(done)](Status status) mutable {
    if (status.ok()) {
      done(std::move(writer));
    } else {
      writer->Abandon();
      done(status);
    }
  });
}

void FileWriter::WaitForBlocks(Ptr self, bool cut, Done<Ptr> done) {
  if (self->Shared(self->inode_) != nullptr) {
    self->Ready(cut, std::move(done));
    return;
  }
  OpenFiles& files = self->core_->files();
  const uint64_t inode = self->inode_;
  files.WhenReleased(inode, [self = std::move(self), cut, done = std::move(done)](Status) mutable {
    const int64_t deadline_ns = self->core_->Deadline();
    WaitForClosedEnd(self, deadline_ns,
                     [self, cut, done = std::move(done)](Result<Ptr> waited) mutable {
                       if (waited) {
                         self->Ready(cut, std::move(done));
                       } else {
                         done(waited.error());
                       }
                     });
  });
}

void FileWriter::Open(std::shared_ptr<ClientCore> core, FileOpen how, size_t max_open,
                      Done<Ptr> done) {
  Prepare(core, [core, how = std::move(how), max_open,
                 done = std::move(done)](Result<Prepared> prepared) mutable {
    if (!prepared) {
      done(prepared.error());
      return;
    }
    Ptr self(new FileWriter(core, prepared->session, max_open));
    self->path_ = how.inode == 0 ? how.path : "inode " + std::to_string(how.inode) + how.path;
    Opening opening = self->BeginOpen(how.truncate, std::move(done));
    idl::OpenFileRequest request;
    request.ref.inode = static_cast<int64_t>(how.inode);
    request.ref.path = how.path;
    request.for_write = true;
    request.session = static_cast<int64_t>(prepared->session);
    core->FillCaller(&request.caller);
    request.truncate = opening.cut_by_namenode;
    request.client_host_id = core->options().host_id;
    Change<idl::kOpenFile>(*core, std::move(request), prepared->session, core->Deadline(),
                           [self, opening = std::move(opening), limit = prepared->inline_limit](
                               Result<idl::OpenFileReply> reply) mutable {
                             const bool cut_by_namenode = opening.cut_by_namenode;
                             if (reply) {
                               self->OnOpened(std::move(opening), std::move(*reply), limit);
                             } else {
                               opening.done(reply.error());
                             }
                             if (cut_by_namenode) self->core_->files().EndCut();
                           });
  });
}

void FileWriter::OnOpened(Opening opening, idl::OpenFileReply reply, uint32_t inline_limit) {
  if (reply.attr.type == idl::FileType::DIRECTORY) {
    opening.done(Status(Code::kIsDirectory, "is a directory"));
    return;
  }
  const bool in_inode = reply.has_inline_data || reply.attr.size == 0;
  Begin(reply.attr, reply.has_inline_data, std::move(reply.inline_data), inline_limit);
  if (in_inode && reply.blocks.empty()) {
    hole_from_ = 0;
    Ready(opening.cut, std::move(opening.done));
  } else {
    WaitForBlocks(shared_from_this(), opening.cut, std::move(opening.done));
  }
}

void FileWriter::Begin(const idl::Attr& attr, bool has_inline, std::string inline_data,
                       uint32_t inline_limit) {
  *attr_ = attr;
  inode_ = static_cast<uint64_t>(attr.inode);
  block_size_ = std::max<uint64_t>(static_cast<uint64_t>(attr.block_size), 1);
  size_ = static_cast<uint64_t>(attr.size);
  inline_limit_ = inline_limit;
  server_has_inline_ = has_inline;
  inline_ = size_ == 0 || !inline_data.empty();
  inline_data_ = std::move(inline_data);
  if (!registered_) {
    registered_ = true;
    core_->session().AddOpenInode(inode_);
  }
}

void FileWriter::WaitForClosedEnd(Ptr self, int64_t deadline_ns, Done<Ptr> done) {
  // The end of the file as the last writer left it is known when no block of another session is open
  // there: its session closes it, or recovery does.
  const uint64_t last = self->size_ == 0 ? 0 : (self->size_ - 1) / self->block_size_;
  idl::GetBlocksRequest request;
  request.inode = static_cast<int64_t>(self->inode_);
  request.session = static_cast<int64_t>(self->core_->session().id());
  request.offset = static_cast<int64_t>(last * self->block_size_);
  // Also what lies behind: a dead writer's block there would lengthen the file when it is recovered.
  request.length = INT64_MAX - request.offset;
  self->core_->FillCaller(&request.caller);
  request.client_host_id = self->core_->options().host_id;
  Read<idl::kGetBlocks>(
      *self->core_, request, deadline_ns,
      [self, last, deadline_ns, done = std::move(done)](Result<idl::GetBlocksReply> reply) mutable {
        if (!reply) {
          done(reply.error());
          return;
        }
        bool foreign = false;
        std::vector<uint64_t> left;  // open for this session, and nobody here writes them
        const bool nobody = self->core_->files().Find(self->inode_) == nullptr &&
                            !self->core_->files().releasing(self->inode_);
        for (const idl::LocatedBlock& b : reply->blocks) {
          if (b.block == 0 || b.state == kBlockClosed) continue;
          foreign = true;
          const bool own = static_cast<uint64_t>(b.writer_session) == self->session_;
          if (b.state == kBlockOpen && own && nobody) left.push_back(static_cast<uint64_t>(b.slot));
        }
        self->core_->files().Release(self->inode_, self->session_, std::move(left), {});
        const bool moved = static_cast<uint64_t>(reply->attr.size) > (last + 2) * self->block_size_;
        self->size_ = static_cast<uint64_t>(reply->attr.size);
        *self->attr_ = reply->attr;
        if (!foreign && !moved) {
          self->inline_ = reply->has_inline_data || (self->size_ == 0 && reply->blocks.empty());
          self->inline_data_ = std::move(reply->inline_data);
          self->server_has_inline_ = reply->has_inline_data;
          self->TakeLayout(reply->blocks, last, last + 2);
          self->hole_from_ = last + 2;
          done(self);
          return;
        }
        if (self->core_->Now() + kPollNs >= deadline_ns) {
          done(Status(Code::kBusy, "another writer has the end of the file open"));
          return;
        }
        self->core_->executor().RunAfter(moved ? 0 : kPollNs,
                                         [self, deadline_ns, done = std::move(done)]() mutable {
                                           WaitForClosedEnd(self, deadline_ns, std::move(done));
                                         });
      });
}

}  // namespace dfs::client
