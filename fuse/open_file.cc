#include "fuse/open_file.h"

#include <algorithm>
#include <utility>

#include "common/base/defects.h"
#include "common/base/logging.h"
#include "common/client/core/calls.h"
#include "dfs_types.h"

namespace dfs::fuse {
namespace {
/// Others see what was written after this, also of a file that stays open.
constexpr int64_t kFlushAfterNs = 1 * kSecond;
/// A writer that was left alone this long is closed, so that others may write.
constexpr int64_t kCloseAfterNs = 5 * kSecond;
constexpr uint64_t kMaxUnacked = 8u << 20;
constexpr size_t kOpenBlocks = 16;  // a random writer keeps so many blocks open at once: 2 GiB
}  // namespace

OpenFile::OpenFile(std::shared_ptr<client::ClientCore> core, uint64_t inode, uint64_t block_size,
                   std::shared_ptr<WriteGate*> gate)
    : core_(std::move(core)),
      inode_(inode),
      gate_(std::move(gate)),
      reader_(client::FileReader::ForInode(core_, inode, block_size)) {}

OpenFile::~OpenFile() {
  if (timer_ != 0) core_->executor().Cancel(timer_);
  if (writer_ != nullptr) writer_->Abandon();
}

void OpenFile::AddDescriptor(bool writable) {
  ++descriptors_;
  writable_ += writable ? 1 : 0;
}

void OpenFile::RemoveDescriptor(bool writable) {
  --descriptors_;
  if (!writable || --writable_ > 0) return;
  // The object outlives its descriptors until the writer is closed.
  CloseWriter([self = shared_from_this()](Status status) {
    if (!status.ok()) LogError("inode {}: {}", self->inode_, status.ToString());
  });
}

// ---- Reading ------------------------------------------------------------------------------------

void OpenFile::Read(uint64_t offset, size_t size, client::Done<Buffer> done) {
  if (closing_) {
    closing_waiters_.push_back([self = shared_from_this(), offset, size, done = std::move(done)](
                                   Status) mutable { self->Read(offset, size, std::move(done)); });
    return;
  }
  auto bytes = std::make_shared<std::string>(size, '\0');
  char* out = bytes->data();
  // Whoever reads is kept until the answer: the callbacks of one that is gone are never called.
  auto finish = [bytes, self = shared_from_this(), writer = writer_,
                 done = std::move(done)](Result<size_t> got) mutable {
    if (!got) {
      done(got.error());
      return;
    }
    const char* data = bytes->data();
    done(Buffer::Wrap(std::move(bytes), data, *got));
  };
  auto guard = std::make_shared<client::FileReader::Guard>();
  if (writer_ != nullptr && !DefectOn(Defect::kMountReadBesideWriter)) {
    writer_->ReadAt(offset, out, size, std::move(guard), std::move(finish));
  } else {
    reader_->ReadAt(offset, out, size, std::move(guard), std::move(finish));
  }
}

bool OpenFile::Clean() const {
  return writer_ != nullptr && !closing_ && flushed_ == writes_ && writer_->error().ok();
}

void OpenFile::DropWriterBehind(int64_t data_version) {
  // Blocks that are open keep others out; the content of a small file does not.
  if (!Clean() || !writer_->in_inode() || data_version <= writer_->data_version()) return;
  writer_->Abandon();
  core_->executor().Post([writer = std::move(writer_)] {});
  writer_ = nullptr;
}

void OpenFile::NoteVersion(int64_t data_version) {
  DropWriterBehind(data_version);
  if (std::exchange(data_version_, data_version) == data_version) return;
  if (!DefectOn(Defect::kMountPlacesStay)) Invalidate();
}

void OpenFile::Invalidate() {
  reader_->Invalidate();
}

// ---- Writing ------------------------------------------------------------------------------------

void OpenFile::WithWriter(WriterDone done) {
  if (*gate_ != nullptr && !(*gate_)->MayWrite(inode_)) {
    (*gate_)->AskToWrite(inode_, [self = shared_from_this(),
                                  done = std::move(done)](Status status) mutable {
      if (status.ok()) {
        self->WithWriter(std::move(done));
      } else {
        done(std::move(status));
      }
    });
    return;
  }
  if (writer_ != nullptr && !closing_ && !writer_->error().ok()) NoteError(writer_->error());
  const bool alone = *gate_ != nullptr && (*gate_)->HoldsWrite(inode_);
  if (writer_ != nullptr && !closing_ && !checking_ &&
      (alone || !(Clean() && writer_->in_inode()))) {
    done(Status());
    return;
  }
  waiting_.push_back(std::move(done));
  if (opening_ || closing_ || checking_) return;
  if (writer_ != nullptr) {
    CheckWriter();
  } else {
    OpenWriter();
  }
}

void OpenFile::CheckWriter() {
  // Another mount may have written since: what this writer knows of the content would overwrite that.
  checking_ = true;
  idl::StatRequest request;
  request.ref.inode = static_cast<int64_t>(inode_);
  core_->FillCaller(&request.caller);
  client::Read<idl::kStat>(*core_, request, core_->Deadline(),
                           [self = shared_from_this()](Result<idl::StatReply> reply) {
                             self->checking_ = false;
                             // Without an answer the namenode decides when it is told the new content.
                             if (reply) self->NoteVersion(reply->attr.data_version);
                             if (self->closing_) return;
                             if (self->writer_ == nullptr) {
                               self->OpenWriter();
                             } else {
                               self->RunWaiting(Status());
                             }
                           });
}

void OpenFile::OpenWriter() {
  opening_ = true;
  client::FileOpen how;
  how.inode = inode_;
  client::FileWriter::Open(core_, std::move(how), kOpenBlocks,
                           [weak = weak_from_this()](Result<client::FileWriter::Ptr> writer) {
                             if (auto self = weak.lock()) {
                               self->OnWriterOpened(std::move(writer));
                             } else if (writer) {
                               (*writer)->Abandon();
                             }
                           });
}

void OpenFile::OnWriterOpened(Result<client::FileWriter::Ptr> writer) {
  auto keep = shared_from_this();
  opening_ = false;
  Status status = writer.status();
  if (status.ok()) {
    writer_ = std::move(*writer);
    error_noted_ = false;
  }
  RunWaiting(status);
  for (WriterDone& then : std::exchange(when_opened_, {})) then(status);
}

void OpenFile::WhenOpened(client::StatusDone done,
                          void (OpenFile::*then)(client::StatusDone)) {
  when_opened_.push_back(
      [self = shared_from_this(), then, done = std::move(done)](Status status) mutable {
        if (status.ok()) {
          (self.get()->*then)(std::move(done));
        } else {
          done(std::move(status));
        }
      });
}

void OpenFile::RunWaiting(const Status& status) {
  for (WriterDone& done : std::exchange(waiting_, {})) {
    // What had the right to write when it came is done under it: whoever recalls it waits for that, so that two who write
    // in turns both get on.
    if (status.ok() && (writer_ == nullptr || closing_)) {
      WithWriter(std::move(done));
    } else {
      done(status);
    }
  }
}

client::StatusDone OpenFile::Noting(client::StatusDone done) {
  return [self = shared_from_this(), weak = std::weak_ptr(writer_),
          done = std::move(done)](Status status) mutable {
    // A writer's failure is one error, however many calls it answers.
    const auto writer = weak.lock();
    if (!status.ok() && writer != nullptr && self->writer_ == writer) self->NoteError(status);
    done(std::move(status));
  };
}

void OpenFile::NoteError(const Status& why) {
  if (std::exchange(error_noted_, true)) return;
  ++errors_;
  last_error_ = why;
  if (closing_) return;
  // What was not flushed is lost, and the descriptors are told once. The next write begins anew.
  writer_->Abandon();
  flushed_ = writes_;
  reader_->Invalidate();
  // This may run within it.
  core_->executor().Post([writer = std::move(writer_)] {});
  writer_ = nullptr;
}

void OpenFile::Write(uint64_t offset, bool append, Buffer data, client::StatusDone done) {
  WithWriter([self = shared_from_this(), offset, append, data = std::move(data),
              done = std::move(done)](Status status) mutable {
    if (!status.ok()) {
      done(std::move(status));  // the caller is told, and nothing of others was lost
      return;
    }
    OpenFile& file = *self;
    ++file.writes_;
    file.write_time_ns_ =
        DefectOn(Defect::kMountTimeStandsStill) ? 1 : file.core_->executor().clock().WallNs();
    file.last_write_boot_ns_ = file.core_->Now();
    file.writer_->SetWriteTime(file.write_time_ns_);
    file.writer_->Write(append ? file.writer_->size() : offset, std::move(data));
    file.ArmTimer();
    file.writer_->WhenBelow(kMaxUnacked, file.Noting(std::move(done)));
  });
}

void OpenFile::TimesWereSet(int64_t mtime_ns) {
  write_time_ns_ = mtime_ns;
  if (writer_ != nullptr && !closing_) writer_->SetWriteTime(mtime_ns);
}

void OpenFile::Flush(client::StatusDone done) {
  if (opening_) {
    WhenOpened(std::move(done), &OpenFile::Flush);
    return;
  }
  if (closing_) {
    closing_waiters_.push_back(std::move(done));
    return;
  }
  if (writer_ == nullptr || flushed_ == writes_) {
    done(Status());
    return;
  }
  const uint64_t covers = writes_;
  writer_->Flush(
      Noting([self = shared_from_this(), covers, done = std::move(done)](Status status) mutable {
        if (status.ok()) self->flushed_ = std::max(self->flushed_, covers);
        self->Told();
        done(std::move(status));
      }));
}

void OpenFile::Told() {
  if (*gate_ != nullptr) (*gate_)->OnTold(inode_);
}

void OpenFile::Sync(client::StatusDone done) {
  if (DefectOn(Defect::kMountSyncDoesNothing)) return done(Status());
  if (closing_) {
    closing_waiters_.push_back(std::move(done));  // the close syncs
    return;
  }
  if (writer_ == nullptr) {
    done(Status());
    return;
  }
  // Nobody sees old bytes meanwhile: who reads has the holder of a write lease tell what it wrote.
  const bool alone = *gate_ != nullptr && (*gate_)->HoldsWrite(inode_);
  // On the disks, and at its size for others.
  writer_->Sync(Noting([self = shared_from_this(), alone,
                        done = std::move(done)](Status status) mutable {
    if (!status.ok() || alone) {
      done(std::move(status));
    } else {
      self->Flush(std::move(done));
    }
  }));
}

void OpenFile::Truncate(uint64_t size, client::StatusDone done) {
  WithWriter(
      [self = shared_from_this(), size, done = Noting(std::move(done))](Status status) mutable {
        if (!status.ok()) {
          done(std::move(status));
          return;
        }
        ++self->writes_;
        self->write_time_ns_ = self->core_->executor().clock().WallNs();
        self->last_write_boot_ns_ = self->core_->Now();
        self->writer_->SetWriteTime(self->write_time_ns_);
        self->ArmTimer();
        self->writer_->Truncate(
            size, self->Noting([self, done = std::move(done)](Status cut) mutable {
              self->Told();
              done(std::move(cut));
            }));
      });
}

void OpenFile::Overlay(idl::Attr* attr) const {
  // A writer that is being closed has told the namenode everything, and another mount may have gone on since.
  if (writer_ == nullptr || (closing_ && flushed_ == writes_)) return;
  if (DefectOn(Defect::kMountNoOverlay)) return;
  attr->size = static_cast<int64_t>(writer_->size());
  if (flushed_ != writes_) {
    attr->mtime_ns = std::max(attr->mtime_ns, write_time_ns_);
    attr->ctime_ns = std::max(attr->ctime_ns, write_time_ns_);
  }
}

// ---- In the background --------------------------------------------------------------------------

void OpenFile::ArmTimer() {
  if (timer_ != 0) return;
  timer_ = core_->executor().RunAfter(kFlushAfterNs, [weak = weak_from_this()] {
    if (auto self = weak.lock()) self->OnTimer();
  });
}

void OpenFile::OnTimer() {
  timer_ = 0;
  if (writer_ == nullptr || closing_) return;
  if (core_->Now() - last_write_boot_ns_ >= kCloseAfterNs) {
    CloseWriter([](Status) {});
    return;
  }
  Flush([](Status) {});
  ArmTimer();
}

void OpenFile::GiveUp(client::StatusDone done) {
  CloseWriter([self = shared_from_this(), done = std::move(done)](Status status) mutable {
    self->Invalidate();
    done(std::move(status));
  });
}

void OpenFile::CloseWriter(client::StatusDone done) {
  if (opening_) {
    WhenOpened(std::move(done), &OpenFile::CloseWriter);
    return;
  }
  if (closing_) {
    closing_waiters_.push_back(std::move(done));
    return;
  }
  if (writer_ == nullptr) {
    done(Status());
    return;
  }
  closing_ = true;
  const uint64_t covers = writes_;
  client::FileClose how;
  // close(2) has been answered by then. Without a writer an fsync has nothing to do: this is why.
  how.sync = true;
  how.mtime_ns = write_time_ns_;
  writer_->Close(std::move(how), Noting([self = shared_from_this(), covers,
                                         done = std::move(done)](Status status) mutable {
                   if (status.ok()) {
                     self->flushed_ = covers;
                   } else {
                     self->writer_->Abandon();
                   }
                   self->closing_ = false;
                   self->Told();
                   self->writer_.reset();
                   self->reader_->Invalidate();
                   for (client::StatusDone& waiter : std::exchange(self->closing_waiters_, {}))
                     waiter(status);
                   done(std::move(status));
                   // Who wrote meanwhile goes on with a new writer.
                   std::vector<WriterDone> waiting = std::move(self->waiting_);
                   self->waiting_.clear();
                   for (WriterDone& again : waiting) self->WithWriter(std::move(again));
                 }));
}

}  // namespace dfs::fuse
