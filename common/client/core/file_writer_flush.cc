// FileWriter: flush, sync, and the order in which lengths are told.
#include <algorithm>

#include "common/client/core/file_writer.h"
#include "common/client/core/join.h"
#include "dfs_types.h"

namespace dfs::client {

// ---- Flush and sync -----------------------------------------------------------------------------

void FileWriter::Flush(StatusDone done) {
  FlushAnd(Commit::kEverything, std::move(done));
}

void FileWriter::FlushAnd(Commit what, StatusDone done) {
  if (!error_.ok()) {
    done(error_);
    return;
  }
  EmitRun(false);
  if (inline_ && blocked_.empty()) {
    WriteInline(0, std::move(done));
    return;
  }
  Settled([weak = weak_from_this(), what, done = std::move(done)](Status status) mutable {
    auto self = weak.lock();
    if (!status.ok() || !self) {
      done(status);
    } else if (self->inline_) {
      self->WriteInline(0, std::move(done));
    } else {
      self->EmitRun(false);
      self->CommitFrom(0, UINT64_MAX, what, std::move(done));
    }
  });
}

void FileWriter::Sync(StatusDone done) {
  if (!error_.ok()) {
    done(error_);
    return;
  }
  EmitRun(!Longer());
  if (inline_ && blocked_.empty()) {
    WriteInline(0, std::move(done));
    return;
  }
  Settled([weak = weak_from_this(), done = std::move(done)](Status status) mutable {
    auto self = weak.lock();
    if (!status.ok() || !self) {
      done(status);
    } else if (self->inline_) {
      self->WriteInline(0, std::move(done));
    } else {
      self->EmitRun(!self->Longer());
      self->SyncBlocks(std::move(done));
    }
  });
}

bool FileWriter::Longer() const {
  if (!run_.empty()) {
    auto slot = slots_.find(run_offset_ / block_size_);
    const bool open = slot != slots_.end() && slot->second.writer != nullptr;
    const uint64_t end = run_offset_ % block_size_ + run_.size();
    if (!open || end > slot->second.writer->committed_length()) return true;
  }
  return std::any_of(slots_.begin(), slots_.end(), [](const auto& entry) {
    const std::shared_ptr<BlockWriter>& writer = entry.second.writer;
    return writer != nullptr && writer->length() > writer->committed_length();
  });
}

void FileWriter::SyncBlocks(StatusDone done) {
  Join join(std::move(done));
  // Others read what is within the committed lengths only, so those that grew are told, while the disks work.
  CommitFrom(0, UINT64_MAX, Commit::kLengths, join.Part());
  std::vector<uint64_t> indices;
  for (const auto& [index, slot] : slots_) {
    if (slot.writer != nullptr) indices.push_back(index);
  }
  for (uint64_t index : indices) {
    Slot& slot = slots_[index];
    if (slot.closing) {
      slot.close_waiters.push_back(join.Part());
    } else if (slot.writer == nullptr) {
      continue;
    } else if (slot.drop_inline) {
      // The old inline bytes are authoritative until this commit; a sync must not depend on them.
      CloseSlot(index, BlockClose(), join.Part());
    } else {
      slot.writer->Sync(join.Part());
    }
  }
  join.Start();
}

// ---- Committing lengths -------------------------------------------------------------------------

void FileWriter::CommitFrom(uint64_t index, uint64_t stop, Commit what, StatusDone done) {
  auto it = slots_.lower_bound(index);
  while (it != slots_.end() && it->first < stop && !it->second.InUse()) ++it;
  if (!error_.ok() || it == slots_.end() || it->first >= stop) {
    done(error_);
    return;
  }
  CommitSlot(it->first, what,
             [weak = weak_from_this(), index = it->first, stop, what,
              done = std::move(done)](Status status) mutable {
               auto self = weak.lock();
               if (!status.ok() || !self) {
                 done(status);
               } else {
                 self->CommitFrom(index + 1, stop, what, std::move(done));
               }
             });
}

void FileWriter::CommitSlot(uint64_t index, Commit what, StatusDone done) {
  Slot& slot = slots_[index];
  if (slot.deferred.empty()) {
    CommitWritten(index, what, std::move(done));
    return;
  }
  // What waits for the block to be opened, or opened again, is older than anything that the caller is about to
  // tell of what lies behind. What comes after it is not: one look more is enough.
  slot.drain_waiters.push_back(
      [weak = weak_from_this(), index, what, done = std::move(done)](Status status) mutable {
        auto self = weak.lock();
        if (!status.ok() || !self) {
          done(status);
        } else {
          self->CommitWritten(index, what, std::move(done));
        }
      });
}

void FileWriter::CommitWritten(uint64_t index, Commit what, StatusDone done) {
  Slot& slot = slots_[index];
  if (slot.closing) {
    slot.close_waiters.push_back(std::move(done));
  } else if (slot.writer == nullptr) {
    done(error_);
  } else if (slot.drop_inline) {
    CloseSlot(index, BlockClose(), std::move(done));
  } else {
    slot.writer->WhenAcked(
        [weak = weak_from_this(), index, what, done = std::move(done)](Status status) mutable {
          auto self = weak.lock();
          if (!status.ok() || !self) {
            done(status);
          } else {
            self->CommitAcked(index, what, std::move(done));
          }
        });
  }
}

void FileWriter::CommitAcked(uint64_t index, Commit what, StatusDone done) {
  Slot& slot = slots_[index];
  if (slot.closing) {
    slot.close_waiters.push_back(std::move(done));
    return;
  }
  BlockWriter* writer = slot.writer.get();
  const bool longer = writer != nullptr && writer->acked_length() > writer->committed_length();
  const bool overwritten = writer != nullptr && writer->uncommitted();
  if (!longer && !(overwritten && what == Commit::kEverything)) {
    done(error_);
    return;
  }
  const uint64_t end = index * block_size_ + writer->acked_length();
  writer->CommitLength(
      end, write_time_ns_,
      [weak = weak_from_this(), index, done = std::move(done)](Status committed) mutable {
        auto self = weak.lock();
        if (!committed.ok() && self && self->slots_[index].closing) {
          // The close overtook it and commits at least this length.
          self->slots_[index].close_waiters.push_back(std::move(done));
          return;
        }
        if (!committed.ok() && self) self->Fail(committed);
        done(committed);
      });
}

}  // namespace dfs::client
