// FileWriter: a file open for writing, at any offset. Cuts writes into slots, gathers small ones into
// packets, keeps small files inline until they grow, and commits lengths in the order of the file, so that
// nobody ever sees a later part of an append without the earlier one. Confined to the core's executor;
// owned by shared_ptr.
//
// One client has one FileWriter of a file: a second open shares it (handles_), and Close and Abandon of any but
// the last handle leave it open. A writer that fails has its blocks given up, so that recovery closes them and
// others, a new open of this client among them, may go on with all that was acknowledged.
//
// Inline files (protocols, section 7): a file that outgrows the inline limit is written to slot 0; its old
// inline bytes stay authoritative until the block that holds them is synced on every member and closed with
// drop_inline, which the first flush, sync or close does.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/client/core/block_writer.h"
#include "common/client/core/client_core.h"
#include "common/client/core/file_reader.h"

namespace dfs::client {

struct FileCreate {
  std::string path;
  uint32_t mode = 0644;
  bool exclusive = false;
  bool overwrite = true;
  bool parents = false;
  uint32_t replication = 0;
  uint64_t block_size = 0;
  int64_t mtime_ns = 0;
  uint64_t expected_size = 0;  // more than the inline limit: the first block comes with the file
};

struct FileOpen {
  std::string path;    // relative to the inode; "": the inode itself
  uint64_t inode = 0;  // 0: the root
  bool truncate = false;
};

struct FileClose {
  bool sync = true;
  int64_t mtime_ns = 0;
  std::string rename_to;  // not empty: renamed there in the commit that closes the last block
  bool rename_replace = true;
};

class FileWriter : public std::enable_shared_from_this<FileWriter> {
 public:
  using Ptr = std::shared_ptr<FileWriter>;
  /// max_open: blocks kept open at once; 1 for a writer that goes from beginning to end.
  static void Create(std::shared_ptr<ClientCore> core, FileCreate how, size_t max_open,
                     Done<Ptr> done);
  /// Waits until no other writer's block is left open at the file's end.
  static void Open(std::shared_ptr<ClientCore> core, FileOpen how, size_t max_open, Done<Ptr> done);
  ~FileWriter();

  /// Takes the bytes; never waits. An error comes from whatever is called next.
  void Write(uint64_t offset, Buffer data);
  void Append(Buffer data) { Write(size_, std::move(data)); }
  /// Ok when fewer bytes than this wait for acknowledgement: the back-pressure.
  void WhenBelow(uint64_t bytes, StatusDone done);
  /// The modification time that commits give the file from now on, instead of their own.
  void SetWriteTime(int64_t mtime_ns) { write_time_ns_ = mtime_ns; }
  /// hflush: everything written so far is in memory of every live member, its length committed, and the file has a
  /// new version also if no byte of it was added but some overwritten.
  void Flush(StatusDone done);
  /// hsync: on disk of every live member, and the lengths that grew committed. Overwriting needs no commit.
  void Sync(StatusDone done);
  void Truncate(uint64_t size, StatusDone done);
  /// Sees this writer's own writes.
  void ReadAt(uint64_t offset, char* out, size_t size, FileReader::GuardPtr guard,
              Done<size_t> done);
  /// Nothing may be called after.
  void Close(FileClose how, StatusDone done);
  /// Ends without promise: nothing more is sent; what is open is closed in the background.
  void Abandon();

  uint64_t size() const { return size_; }
  uint64_t inode() const { return inode_; }
  const idl::Attr& attr() const { return *attr_; }  // as of opening
  /// The content is in the inode, as of data_version(); another session's write since makes the next one of this
  /// writer fail with kConflict.
  bool in_inode() const { return inline_; }
  int64_t data_version() const;
  const Status& error() const { return error_; }
  uint64_t unacked_bytes() const;
  /// Members that failed and were excluded so far.
  uint32_t exclusions() const { return exclusions_; }

 private:
  struct Slot {
    bool known = false;  // stamp and length are the namenode's
    bool fetching = false;
    uint64_t stamp = 0;  // 0: a hole
    uint64_t length = 0;
    std::shared_ptr<BlockWriter> writer;
    bool closing = false;
    bool drop_inline = false;                           // the close commits it
    std::vector<std::pair<uint64_t, Buffer>> deferred;  // until it is known, or closed
    uint64_t deferred_bytes = 0;
    std::vector<StatusDone> close_waiters;
    std::vector<StatusDone>
        drain_waiters;  // for what is deferred now to be given to a block writer

    bool InUse() const { return writer != nullptr || !deferred.empty(); }
  };

  FileWriter(std::shared_ptr<ClientCore> core, uint64_t session, size_t max_open);
  void Begin(const idl::Attr& attr, bool has_inline, std::string inline_data,
             uint32_t inline_limit);
  struct Prepared;
  struct Opening {
    bool cut = false;              // to nothing, when it is open
    bool cut_by_namenode = false;  // with the request
    Done<Ptr> done;
  };
  /// What an open needs first; and no other open of this client has the namenode truncate a file.
  static void Prepare(std::shared_ptr<ClientCore> core, Done<Prepared> done);
  Opening BeginOpen(bool truncates, Done<Ptr> done);
  void OnCreated(Opening opening, idl::CreateReply reply, uint32_t inline_limit);
  void OnOpened(Opening opening, idl::OpenFileReply reply, uint32_t inline_limit);
  void AdoptFirstBlock(const idl::WritableBlock& block);
  /// The file's writer of this client, if it can take another handle.
  Ptr Shared(uint64_t inode) const;
  /// Hands a handle out: of this writer, or of the one that was there first. cut: to nothing, before.
  void Ready(bool cut, Done<Ptr> done);
  static void WaitForBlocks(Ptr self, bool cut, Done<Ptr> done);
  void TakeLayout(const std::vector<idl::LocatedBlock>& blocks, uint64_t from, uint64_t to);
  static void WaitForClosedEnd(Ptr self, int64_t deadline_ns, Done<Ptr> done);

  void LeaveInline();
  void Gather(uint64_t offset, Buffer data);
  void EmitRun(bool sync);
  void WriteToBlocks(uint64_t offset, const Buffer& data, bool sync);
  void WriteToSlot(uint64_t slot, uint64_t offset, Buffer data, bool sync);
  void OpenSlot(uint64_t index, Slot& slot);
  void FetchSlot(uint64_t index, int64_t deadline_ns);
  void DrainDeferred(uint64_t index);
  void LimitOpenSlots(uint64_t keep);
  void OnBlockChange(uint64_t index);
  /// Closes a block that is short of members, to be copied; the next write opens it again.
  void RepairSlot(uint64_t index);
  /// Runs done when no write waits for a slot to become known or closed.
  void Settled(StatusDone done);
  void CheckWaiters();

  void CloseSlot(uint64_t index, BlockClose how, StatusDone done);
  void OnSlotClosed(uint64_t index, const Status& status);
  /// Readers need a longer block's length; that bytes were overwritten matters only to those elsewhere, who
  /// learn of it by the file's version.
  enum class Commit { kLengths, kEverything };
  void FlushAnd(Commit what, StatusDone done);
  /// Commits the slots in [index, stop), in order, with all that was written to each before it is its turn.
  void CommitFrom(uint64_t index, uint64_t stop, Commit what, StatusDone done);
  void CommitSlot(uint64_t index, Commit what, StatusDone done);
  /// What the slot's block writer was given.
  void CommitWritten(uint64_t index, Commit what, StatusDone done);
  void CommitAcked(uint64_t index, Commit what, StatusDone done);
  void CloseAll(FileClose how, StatusDone done);
  void FinishClose(const FileClose& how, bool renamed, const Status& status, StatusDone done);
  void WriteInline(int64_t mtime_ns, StatusDone done);
  void SetSize(uint64_t size, StatusDone done);
  void ReadThrough(uint64_t offset, char* out, size_t size, FileReader::GuardPtr guard,
                   Done<size_t> done);
  /// Writes that came while they could not be taken.
  void TakeBlocked();
  void Rename(const FileClose& how, StatusDone done);
  void SyncBlocks(StatusDone done);
  bool Dirty() const;
  /// Some block is longer than the namenode knows, or the gathered bytes make it so.
  bool Longer() const;
  void Released();
  void Fail(const Status& why);
  /// Has the namenode close what is open by recovery.
  void GiveUpBlocks();
  void CloseOneHandle(const FileClose& how, StatusDone done);

  const std::shared_ptr<ClientCore> core_;
  const uint64_t session_;
  size_t max_open_;
  int handles_ = 1;
  std::unique_ptr<idl::Attr> attr_;
  uint64_t inode_ = 0;
  uint64_t block_size_ = 1;
  uint64_t size_ = 0;
  uint64_t inline_limit_ = 0;
  std::string path_;

  bool inline_ = false;  // the content is inline_data_ and nowhere else
  std::string inline_data_;
  bool inline_dirty_ = false;
  bool server_has_inline_ = false;
  bool growing_ = false;  // from a small file, whose version is known
  bool inline_writing_ = false;
  std::vector<StatusDone> inline_waiters_;
  bool truncating_ = false;
  std::vector<std::pair<uint64_t, Buffer>>
      blocked_;  // while the content is leaving the inode or cut
  uint64_t blocked_bytes_ = 0;

  std::map<uint64_t, Slot> slots_;   // in use; one that is closed is forgotten and asked for again
  uint64_t hole_from_ = UINT64_MAX;  // slots from here on are holes, as far as this writer knows
  uint64_t run_offset_ = 0;
  std::string run_;
  std::shared_ptr<FileReader> reader_;
  uint64_t layout_seen_ = 0;

  std::vector<std::pair<uint64_t, StatusDone>> below_waiters_;
  std::vector<StatusDone> settle_waiters_;
  bool registered_ = false;
  bool closing_ = false;
  bool abandoned_ = false;
  int64_t write_time_ns_ = 0;
  uint32_t exclusions_ = 0;
  struct Repair {
    int times = 0;
    bool just_closed = false;
  };
  std::map<uint64_t, Repair> repairs_;  // by slot
  uint64_t layout_version_ = 0;
  Status error_;
};

}  // namespace dfs::client
