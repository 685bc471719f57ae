// FileWriter: content in the inode, close, truncate, and reading one's own writes.
#include <algorithm>
#include <cstring>

#include "common/base/check.h"
#include "common/base/defects.h"
#include "common/client/core/calls.h"
#include "common/client/core/file_writer.h"
#include "common/client/core/join.h"
#include "dfs_types.h"

namespace dfs::client {
// ---- Inline content -----------------------------------------------------------------------------

void FileWriter::WriteInline(int64_t mtime_ns, StatusDone done) {
  if (inline_writing_) {
    inline_waiters_.push_back(
        [weak = weak_from_this(), mtime_ns, done = std::move(done)](Status status) mutable {
          auto self = weak.lock();
          if (!status.ok() || !self) {
            done(status);
          } else if (self->inline_) {
            self->WriteInline(mtime_ns, std::move(done));
          } else {
            self->Flush(std::move(done));
          }
        });
    return;
  }
  if (!inline_dirty_) {
    done(error_);
    return;
  }
  inline_dirty_ = false;
  inline_writing_ = true;
  idl::WriteInlineRequest request;
  request.inode = static_cast<int64_t>(inode_);
  request.data = inline_data_;
  if (DefectOn(Defect::kMountInlineStaleTail)) request.data.resize(size_);
  // All of the content goes: over another session's write it would undo it.
  request.data_version = attr_->data_version;
  request.mtime_ns = mtime_ns != 0 ? mtime_ns : write_time_ns_;
  core_->FillCaller(&request.caller);
  Change<idl::kWriteInline>(
      *core_, std::move(request), session_, core_->Deadline(),
      [weak = weak_from_this(), done = std::move(done)](Result<idl::AttrReply> reply) {
        auto self = weak.lock();
        if (!self) {
          done(reply.status());
          return;
        }
        self->inline_writing_ = false;
        if (reply) {
          self->server_has_inline_ = true;
          self->attr_->data_version = reply->attr.data_version;
        } else {
          self->Fail(reply.error());
        }
        done(reply.status());
        std::vector<StatusDone> waiters = std::move(self->inline_waiters_);
        self->inline_waiters_.clear();
        self->TakeBlocked();
        for (StatusDone& waiter : waiters) waiter(self->error_);
      });
}

// ---- Closing ------------------------------------------------------------------------------------

void FileWriter::CloseSlot(uint64_t index, BlockClose how, StatusDone done) {
  Slot& slot = slots_[index];
  if (!error_.ok()) {
    done(error_);  // its blocks are given up
    return;
  }
  DFS_CHECK(slot.writer != nullptr && !slot.closing);
  slot.closing = true;
  slot.close_waiters.push_back(std::move(done));
  how.drop_inline = slot.drop_inline;
  how.sync |= slot.drop_inline;
  if (how.mtime_ns == 0) how.mtime_ns = write_time_ns_;
  how.file_size = index * block_size_ + slot.writer->length();
  slot.writer->Close(
      std::move(how),
      [weak = weak_from_this(), index](StatusDone go) mutable {
        // The file grows in order.
        if (auto self = weak.lock()) self->CommitFrom(0, index, Commit::kLengths, std::move(go));
      },
      [weak = weak_from_this(), index](Result<idl::AttrReply> reply) {
        if (auto self = weak.lock()) self->OnSlotClosed(index, reply.status());
      });
}

void FileWriter::OnSlotClosed(uint64_t index, const Status& status) {
  auto keep = shared_from_this();
  Slot& slot = slots_[index];
  slot.closing = false;
  if (!status.ok() || slot.writer == nullptr) {
    if (!status.ok()) Fail(status);
    // Fail does nothing when another block failed first.
    for (StatusDone& waiter : std::exchange(slot.close_waiters, {})) waiter(error_);
    return;
  }
  slot.stamp = slot.writer->stamp();
  slot.length = slot.writer->length();
  exclusions_ += slot.writer->exclusions();
  if (slot.drop_inline) server_has_inline_ = false;
  slot.drop_inline = false;
  layout_version_ += slot.writer->layout_version() + 1;
  // This runs within the block writer.
  core_->executor().Post([writer = std::move(slot.writer)] {});
  slot.writer = nullptr;
  std::vector<StatusDone> waiters = std::move(slot.close_waiters);
  slot.close_waiters.clear();
  DrainDeferred(index);
  for (StatusDone& waiter : waiters) waiter(error_);
  // A writer of a long file does not carry all its slots along.
  auto it = slots_.find(index);
  if (it != slots_.end() && it->second.writer == nullptr && it->second.deferred.empty() &&
      it->second.close_waiters.empty()) {
    slots_.erase(it);
  }
}

void FileWriter::Close(FileClose how, StatusDone done) {
  if (closing_) {
    done(Status(Code::kBadDescriptor, "the file is closed"));
    return;
  }
  if (handles_ > 1) {
    --handles_;
    CloseOneHandle(how, std::move(done));
    return;
  }
  EmitRun(false);
  Settled([weak = weak_from_this(), how = std::move(how),
           done = std::move(done)](Status status) mutable {
    auto self = weak.lock();
    if (!self) {
      done(Status(Code::kClosed, "the file was closed"));
      return;
    }
    self->EmitRun(false);
    self->closing_ = true;
    if (!status.ok()) {
      self->FinishClose(how, false, status, std::move(done));
    } else if (self->inline_) {
      const int64_t mtime_ns = how.mtime_ns;
      self->WriteInline(
          mtime_ns, [weak, how = std::move(how), done = std::move(done)](Status written) mutable {
            auto self2 = weak.lock();
            if (self2) self2->FinishClose(how, false, written, std::move(done));
          });
    } else {
      self->CloseAll(std::move(how), std::move(done));
    }
  });
}

void FileWriter::CloseOneHandle(const FileClose& how, StatusDone done) {
  // The others go on: what a close promises is given without closing anything.
  StatusDone flushed = [weak = weak_from_this(), how,
                        done = std::move(done)](Status status) mutable {
    auto self = weak.lock();
    if (status.ok() && self && !how.rename_to.empty()) {
      self->Rename(how, std::move(done));
    } else {
      done(status);
    }
  };
  if (!how.sync) {
    Flush(std::move(flushed));
    return;
  }
  Sync([weak = weak_from_this(), flushed = std::move(flushed)](Status status) mutable {
    auto self = weak.lock();
    if (status.ok() && self) {
      self->Flush(std::move(flushed));
    } else {
      flushed(status);
    }
  });
}

void FileWriter::CloseAll(FileClose how, StatusDone done) {
  std::vector<uint64_t> open;
  for (const auto& [index, slot] : slots_) {
    if (slot.writer != nullptr && !slot.closing) open.push_back(index);
  }
  // The rename goes with the last commit: that of the highest slot, which waits for all below.
  bool higher_closing = false;
  for (const auto& [index, slot] : slots_) {
    higher_closing |= slot.closing && !open.empty() && index > open.back();
  }
  const bool renames = !open.empty() && !higher_closing && !how.rename_to.empty();
  Join join([weak = weak_from_this(), how, renames, done = std::move(done)](Status status) mutable {
    auto self = weak.lock();
    if (self) self->FinishClose(how, renames, status, std::move(done));
  });
  for (auto& [index, slot] : slots_) {
    if (slot.closing) slot.close_waiters.push_back(join.Part());
  }
  for (size_t i = 0; i < open.size(); ++i) {
    BlockClose block;
    block.sync = how.sync;
    const bool last = i + 1 == open.size();
    if (last) {
      block.mtime_ns = how.mtime_ns;
      if (renames) block.rename_to = how.rename_to;
      block.rename_replace = how.rename_replace;
    }
    CloseSlot(open[i], std::move(block), join.Part());
  }
  join.Start();
}

void FileWriter::FinishClose(const FileClose& how, bool renamed, const Status& status,
                             StatusDone done) {
  if (status.ok() && !how.rename_to.empty() && !renamed) {
    Rename(how, [weak = weak_from_this(), how, done = std::move(done)](Status result) mutable {
      if (auto self = weak.lock()) self->FinishClose(how, true, result, std::move(done));
    });
    return;
  }
  Released();
  done(status);
}

void FileWriter::Rename(const FileClose& how, StatusDone done) {
  idl::RenameRequest request;
  request.source.path = path_;
  request.target.path = how.rename_to;
  request.flags = how.rename_replace ? 0 : 1;
  core_->FillCaller(&request.caller);
  Change<idl::kRename>(
      *core_, std::move(request), session_, core_->Deadline(),
      [done = std::move(done)](Result<idl::NamesReply> reply) { done(reply.status()); });
}

void FileWriter::Released() {
  if (!registered_) return;
  registered_ = false;
  core_->files().Remove(inode_, this);
  GiveUpBlocks();
  const bool still_open = core_->session().RemoveOpenInode(inode_);
  if (still_open || core_->closed() || core_->session().id() != session_) return;
  idl::CloseFileRequest request;
  request.inode = static_cast<int64_t>(inode_);
  request.session = static_cast<int64_t>(session_);
  core_->link().Call(idl::kCloseFile, idl::Encode(request), core_->Now() + 5 * kSecond,
                     [](Result<rpc::Reply>) {});
}

void FileWriter::Abandon() {
  if (closing_ || abandoned_) return;
  if (handles_ > 1) {
    --handles_;
    return;
  }
  closing_ = true;
  abandoned_ = true;
  run_.clear();
  blocked_.clear();
  blocked_bytes_ = 0;
  const Status abandoned(Code::kClosed, "the file was abandoned");
  for (auto& [bytes, done] : std::exchange(below_waiters_, {})) done(abandoned);
  for (StatusDone& done : std::exchange(settle_waiters_, {})) done(abandoned);
  std::vector<uint64_t> open;
  for (auto& [index, slot] : slots_) {
    slot.deferred.clear();
    slot.deferred_bytes = 0;
    for (StatusDone& done : std::exchange(slot.drain_waiters, {})) done(Status());
    if (slot.writer == nullptr) continue;
    if (!slot.closing) slot.writer->DropUnsent();
    open.push_back(index);
  }
  if (!error_.ok() || open.empty() || core_->closed()) {
    Released();
    return;
  }
  // Blocks that stay open would keep other writers out for as long as this session lives.
  core_->Keep(shared_from_this());
  FileClose how;
  how.sync = false;
  CloseAll(how, [self = weak_from_this()](Status) {
    auto closed = self.lock();
    if (closed) closed->core_->Release(closed.get());
  });
}

// ---- Truncate -----------------------------------------------------------------------------------

void FileWriter::Truncate(uint64_t size, StatusDone done) {
  if (!error_.ok()) {
    done(error_);
    return;
  }
  EmitRun(false);
  Settled([weak = weak_from_this(), size, done = std::move(done)](Status status) mutable {
    auto self = weak.lock();
    if (!status.ok() || !self) {
      done(status);
      return;
    }
    if (self->inline_ && size <= self->inline_limit_) {
      if (size > self->inline_data_.size() || !DefectOn(Defect::kMountInlineStaleTail))
        self->inline_data_.resize(size, '\0');
      self->size_ = size;
      self->inline_dirty_ = true;
      self->WriteInline(0, std::move(done));
      return;
    }
    self->EmitRun(false);
    self->truncating_ = true;
    StatusDone cut = [weak, size, done = std::move(done)](Status closed) mutable {
      auto self2 = weak.lock();
      if (!closed.ok() || !self2) {
        done(closed);
      } else {
        self2->SetSize(size, std::move(done));
      }
    };
    if (self->inline_) {
      self->WriteInline(0, std::move(cut));
      return;
    }
    Join join(std::move(cut));
    std::vector<uint64_t> open;
    for (auto& [index, slot] : self->slots_) {
      if (slot.closing) {
        slot.close_waiters.push_back(join.Part());
      } else if (slot.writer != nullptr) {
        open.push_back(index);
      }
    }
    for (uint64_t index : open) self->CloseSlot(index, BlockClose(), join.Part());
    join.Start();
  });
}

void FileWriter::SetSize(uint64_t size, StatusDone done) {
  idl::SetAttrRequest request;
  request.ref.inode = static_cast<int64_t>(inode_);
  request.mask = 8;
  request.size = static_cast<int64_t>(size);
  core_->FillCaller(&request.caller);
  Change<idl::kSetAttr>(
      *core_, std::move(request), session_, core_->Deadline(),
      [weak = weak_from_this(), size, done = std::move(done)](Result<idl::AttrReply> reply) {
        auto self = weak.lock();
        if (!self) {
          done(reply.status());
          return;
        }
        self->truncating_ = false;
        if (reply) {
          self->attr_->data_version = reply->attr.data_version;
          self->size_ = size;
          if (!self->inline_) {
            self->slots_.clear();
            self->hole_from_ = (size + self->block_size_ - 1) / self->block_size_;
            self->inline_ = size == 0;
            if (size == 0) self->server_has_inline_ = false;
          }
          ++self->layout_version_;
          if (self->reader_ != nullptr) self->reader_->Invalidate();
        }
        self->TakeBlocked();
        done(reply.status());
      });
}

// ---- Reading ------------------------------------------------------------------------------------

bool FileWriter::Dirty() const {
  if (!run_.empty() || !blocked_.empty()) return true;
  for (const auto& [index, slot] : slots_) {
    if (!slot.deferred.empty() || slot.closing) return true;
    if (slot.writer == nullptr) continue;
    if (slot.drop_inline || !slot.writer->idle()) return true;
    if (slot.writer->length() > slot.writer->committed_length()) return true;
  }
  return false;
}

void FileWriter::ReadAt(uint64_t offset, char* out, size_t size, FileReader::GuardPtr guard,
                        Done<size_t> done) {
  if (!error_.ok()) {
    done(error_);
    return;
  }
  if (offset >= size_ || size == 0) {
    done(size_t{0});
    return;
  }
  const size_t wanted = std::min<uint64_t>(size, size_ - offset);
  if (inline_) {
    size_t copied = 0;
    if (offset < inline_data_.size()) {
      copied = std::min<uint64_t>(wanted, inline_data_.size() - offset);
      std::memcpy(out, inline_data_.data() + offset, copied);
    }
    std::memset(out + copied, 0, wanted - copied);
    done(wanted);
    return;
  }
  if (!Dirty()) {
    ReadThrough(offset, out, wanted, std::move(guard), std::move(done));
    return;
  }
  FlushAnd(Commit::kLengths,
           [weak = weak_from_this(), offset, out, wanted, guard = std::move(guard),
            done = std::move(done)](Status status) mutable {
             auto self = weak.lock();
             if (!status.ok() || !self) {
               done(status);
             } else if (!guard->cancelled) {
               self->ReadThrough(offset, out, wanted, std::move(guard), std::move(done));
             }
           });
}

void FileWriter::ReadThrough(uint64_t offset, char* out, size_t size, FileReader::GuardPtr guard,
                             Done<size_t> done) {
  if (reader_ == nullptr) reader_ = FileReader::ForInode(core_, inode_, block_size_, path_);
  // What the reader knows of places and sizes is out of date when this writer changed any of it.
  uint64_t layout = layout_version_;
  for (const auto& [index, slot] : slots_) {
    if (slot.writer == nullptr) continue;
    for (uint64_t part : {index, slot.writer->layout_version(), slot.writer->committed_length()}) {
      layout = (layout ^ part) * 0x9E3779B97F4A7C15u;
    }
  }
  if (layout != layout_seen_) reader_->Invalidate();
  layout_seen_ = layout;
  reader_->ReadAt(offset, out, size, std::move(guard), std::move(done));
}

}  // namespace dfs::client
