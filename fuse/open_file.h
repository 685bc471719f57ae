// OpenFile: one file that somebody has open on this mount, whatever the number of descriptors. It shares one writer
// among them, so that all of the mount sees every write at once, and one reader. The writer is made at the first
// write and closed when the file has been left alone for a while or the last descriptor that may write is gone.
//
// Errors of writing are kept until every descriptor that was open then has been told once (as Linux does for its own
// file systems). Confined to the core's executor; owned by shared_ptr.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/client/core/client_core.h"
#include "common/client/core/file_reader.h"
#include "common/client/core/file_writer.h"
#include "common/idl/idl_fwd.h"

namespace dfs::fuse {

/// Who says when a file may be written to ahead of telling the namenode. Outlives all open files but those that are
/// being closed.
class WriteGate {
 public:
  virtual ~WriteGate() = default;
  virtual bool MayWrite(uint64_t inode) const = 0;
  /// Nobody else writes as long as that is so.
  virtual bool HoldsWrite(uint64_t inode) const = 0;
  virtual void AskToWrite(uint64_t inode, client::StatusDone done) = 0;
  /// The namenode was told of what was written.
  virtual void OnTold(uint64_t inode) = 0;
};

class OpenFile : public std::enable_shared_from_this<OpenFile> {
 public:
  /// gate: null when it is gone.
  OpenFile(std::shared_ptr<client::ClientCore> core, uint64_t inode, uint64_t block_size,
           std::shared_ptr<WriteGate*> gate);
  ~OpenFile();

  uint64_t inode() const { return inode_; }
  void AddDescriptor(bool writable);
  /// The last one that may write ends the writing; whatever fails then, nobody is left to be told but the log.
  void RemoveDescriptor(bool writable);
  bool unused() const { return descriptors_ == 0; }

  /// Fewer bytes than asked for only at the end of the file.
  void Read(uint64_t offset, size_t size, client::Done<Buffer> done);
  /// append: at the end of the file instead of at the offset. Answers when there is room for more.
  void Write(uint64_t offset, bool append, Buffer data, client::StatusDone done);
  /// hflush: other mounts see it.
  void Flush(client::StatusDone done);
  /// hsync.
  void Sync(client::StatusDone done);
  /// The size as this mount's writes make it; only when there is a writer that can take it.
  void Truncate(uint64_t size, client::StatusDone done);
  /// Somebody set the times: a later flush must not change them again unless something was written after.
  void TimesWereSet(int64_t mtime_ns);
  /// Whether a writer exists, and so what the namenode says of size and times may be behind.
  bool has_writer() const { return writer_ != nullptr || opening_; }
  /// Puts what this mount knows better into the namenode's attributes.
  void Overlay(idl::Attr* attr) const;
  /// Cached places of blocks are asked for again when the file has changed since.
  void NoteVersion(int64_t data_version);
  void Invalidate();
  /// Another mount is going to write: what was written here is told, and the writer let go.
  void GiveUp(client::StatusDone done);

  /// Grows with every error of writing; what a descriptor compares to tell whether it was told.
  uint64_t errors() const { return errors_; }
  const Status& last_error() const { return last_error_; }

 private:
  using WriterDone = UniqueFunction<void(Status)>;

  void Told();
  /// Calls back when this mount may write, and writer_ is there and knows the content as it is.
  void WithWriter(WriterDone done);
  void OpenWriter();
  void CheckWriter();
  void RunWaiting(const Status& status);
  /// then, when the writer that is being opened is there and has taken what waited for it.
  void WhenOpened(client::StatusDone done, void (OpenFile::*then)(client::StatusDone));
  /// Nothing of the writer's waits to be told to the namenode.
  bool Clean() const;
  /// Lets go of a clean writer of a small file that another mount has changed since.
  void DropWriterBehind(int64_t data_version);
  void OnWriterOpened(Result<client::FileWriter::Ptr> writer);
  /// Remembers it for the descriptors, and lets go of the writer.
  void NoteError(const Status& why);
  void ArmTimer();
  void OnTimer();
  void CloseWriter(client::StatusDone done);
  /// done, with an error of writer_ noted first.
  client::StatusDone Noting(client::StatusDone done);

  const std::shared_ptr<client::ClientCore> core_;
  const uint64_t inode_;
  const std::shared_ptr<WriteGate*> gate_;
  std::shared_ptr<client::FileReader> reader_;
  client::FileWriter::Ptr writer_;
  bool opening_ = false;
  bool checking_ = false;  // whether writer_ is behind
  bool closing_ = false;
  std::vector<WriterDone> waiting_;  // for the writer to open, or for the old one to close
  std::vector<client::StatusDone> closing_waiters_;
  std::vector<WriterDone> when_opened_;  // after what waits for the writer to write
  int64_t data_version_ = -1;
  int descriptors_ = 0;
  int writable_ = 0;
  uint64_t writes_ = 0;        // so far
  uint64_t flushed_ = 0;       // writes_ when the last flush that succeeded began
  int64_t write_time_ns_ = 0;  // wall clock, of the last write
  int64_t last_write_boot_ns_ = 0;
  Executor::TimerId timer_ = 0;
  uint64_t errors_ = 0;
  bool error_noted_ = false;  // of writer_
  Status last_error_;
};

}  // namespace dfs::fuse
