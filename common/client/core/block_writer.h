// BlockWriter: one slot of a file being written. Opens the block (commit), streams packets down the chain,
// has failed members excluded (commit) and goes on, closes the block (commit). A write goes on with at
// least one live member; a new block of which nothing was acknowledged yet gets other members instead.
// Confined to the core's executor; owned by shared_ptr.
//
// Recovery may close the block although the session lives (all its members had restarted). When everything
// that was acknowledged had been synced nothing can be lost: the block is opened again and what is not
// acknowledged is sent again. Otherwise the writer fails for good, with kIoError.
//
// Invariants: no byte is sent before the stamp and members it is sent under are committed; after a fault
// nothing counts as acknowledged before the exclusion is committed and the chain was opened under the new
// stamp; an acknowledged packet is on every committed member.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/client/core/client_core.h"
#include "common/wire/chain_stream.h"
#include "common/wire/chain_writer.h"

namespace dfs::client {

struct BlockWriterParams {
  uint64_t inode = 0;
  uint64_t slot = 0;
  uint64_t expected_stamp = 0;  // 0: a hole
  uint64_t length = 0;          // committed
  uint64_t session = 0;
  uint64_t slot_offset = 0;  // in the file
  int64_t data_version = 0;  // of the file, which grows out of its inode: kConflict when it has changed; 0: whatever it is
  /// How long after it was opened or lost a member the namenode is asked whether the block could have more; 0: never.
  int64_t repair_after_ns = 0;
  bool await_copies =
      false;  // it was closed to be repaired: opened when it has its replicas again, or after a while
};

struct BlockClose {
  bool sync = true;
  uint64_t file_size = 0;
  int64_t mtime_ns = 0;
  bool drop_inline = false;
  std::string rename_to;
  bool rename_replace = false;
};

class BlockWriter : public std::enable_shared_from_this<BlockWriter> {
 public:
  /// on_change: bytes were acknowledged, or the writer failed. Not called from within the owner's calls.
  static std::shared_ptr<BlockWriter> Create(std::shared_ptr<ClientCore> core,
                                             BlockWriterParams params,
                                             std::function<void()> on_change);
  /// Of a block that create opened already.
  static std::shared_ptr<BlockWriter> Adopt(std::shared_ptr<ClientCore> core,
                                            BlockWriterParams params,
                                            const idl::WritableBlock& block,
                                            std::function<void()> on_change);
  ~BlockWriter();

  /// Bytes at an offset of the block; a gap behind its end is filled with zeros. sync: the packet asks
  /// for the disk. Order is kept.
  void Write(uint64_t offset, Buffer data, bool sync);
  /// Ok when everything written so far is in memory of every member.
  void WhenAcked(StatusDone done);
  /// Ok when everything written so far is on disk of every member.
  void Sync(StatusDone done);
  /// hflush's commit: the acknowledged length becomes visible. Call after WhenAcked.
  void CommitLength(uint64_t file_size, int64_t mtime_ns, StatusDone done);
  /// Ends the stream and closes the block; nothing may be written after. before_commit, when given, is
  /// called when every member holds everything, and the commit goes out when it calls back.
  using BeforeCommit = UniqueFunction<void(StatusDone)>;
  void Close(BlockClose how, BeforeCommit before_commit, Done<idl::AttrReply> done);
  /// Forgets what was not sent yet, so that a Close ends the block soon.
  void DropUnsent();
  /// Drops the stream and everything not acknowledged. done runs, never from within the call, when no change
  /// of this writer's is under way any more; the block may still be open then.
  void Retire(Task done);

  const Status& error() const { return error_; }
  uint64_t length() const { return writer_.length(); }
  uint64_t stamp() const { return target_.stamp; }
  uint64_t acked_length() const { return writer_.acked_length(); }
  uint64_t committed_length() const { return committed_length_; }
  /// Bytes were added since the last commit of the length, overwritten ones included.
  bool uncommitted() const { return writer_.added() > committed_ticket_; }
  uint64_t slot() const { return params_.slot; }
  uint64_t unacked_bytes() const { return writer_.unacked_bytes(); }
  /// Bytes were added since the last sync began.
  bool unsynced() const { return unsynced_; }
  bool closing() const { return closing_; }
  bool idle() const { return writer_.idle(); }
  int64_t last_used_ns() const { return last_used_ns_; }
  /// Grows whenever stamp or members change.
  uint64_t layout_version() const { return layout_version_; }
  uint32_t exclusions() const { return exclusions_; }
  /// The block is short of members, and there are datanodes for more: it should be closed, and opened again with
  /// await_copies (protocols 4.4). Told by on_change.
  bool repair_wanted() const { return repair_wanted_; }

 private:
  enum class State { kOpening, kOpen, kExcluding, kCommitting, kClosed, kFailed };
  struct Waiter {
    uint64_t ticket;
    StatusDone done;
  };

  BlockWriter(std::shared_ptr<ClientCore> core, BlockWriterParams params,
              std::function<void()> on_change);
  template <rpc::Method kMethod, class Request, class Handler>
  void SendChange(Request request, Handler handler);
  void SendOpenBlock();
  void OnOpened(Result<idl::OpenBlockReply> reply);
  Status CheckOpened();
  void BecomeOpen();
  Status TakeBlock(const idl::WritableBlock& block);
  bool KnowsAddresses() const;
  void NoteConfirmed();
  void StartStream();
  void OnProgress();
  void Changed();
  void HandleFault();
  /// The block is new and nobody ever acknowledged a byte of it.
  bool NothingAcknowledged() const;
  void Exclude(std::vector<int64_t> survivors);
  void OnExcluded(Result<idl::OpenBlockReply> reply);
  void ExcludeNobody();
  /// The stamp is not ours any more: recovery may have closed the block.
  void Reopen(const Status& why);
  void LookAgain();
  void OnLooked(Result<idl::GetBlocksReply> reply);
  void NotifyWaiters();
  void SendSync();
  void BeginSync(uint64_t ticket);
  void OnLengthCommitted(const Status& status, uint64_t length, uint64_t file_size,
                         int64_t mtime_ns, uint64_t stamp, StatusDone done);
  void AddLast();
  void MaybeCommitClose();
  void CommitClose();
  void OnCloseCommitted(Result<idl::AttrReply> reply);
  void RetryAfter(int64_t delay_ns, void (BlockWriter::*what)());
  void Fail(Status why);
  // block_writer_repair.cc
  void ArmRepair();
  void AskForRepair();
  void OnRepairAnswer(uint64_t stamp, const Result<idl::GetBlocksReply>& reply);
  void CheckRetired();
  int64_t GiveUpAt();

  const std::shared_ptr<ClientCore> core_;
  const BlockWriterParams params_;
  std::function<void()> on_change_;
  wire::ChainWriter writer_;
  std::shared_ptr<wire::ChainStream> stream_;
  wire::ChainTarget target_;  // as last committed
  State state_ = State::kOpening;
  Status error_;
  uint64_t expected_stamp_;       // of the next open_block
  uint64_t confirmed_stamp_ = 0;  // the highest that all members took on; 0: none, the block is new
  int64_t data_version_;  // of a file that grows, for the first opening
  uint64_t committed_length_ = 0;
  uint64_t committed_ticket_ = 0;      // what had been added when it was last committed
  std::vector<uint64_t> unreachable_;  // told to the namenode when a block is opened
  std::vector<Waiter> waiters_;        // by ticket
  std::vector<StatusDone> sync_next_;  // wait for the sync after the one under way
  bool sync_under_way_ = false;
  uint64_t sync_ticket_ = 0;    // of the one under way
  uint64_t synced_ticket_ = 0;  // everything up to it is on the members' disks
  bool unsynced_ = false;
  bool new_ = false;           // this writer's opening made the block
  bool members_anew_ = false;  // of the opening under way
  bool reopening_ = false;     // after a recovery
  int reopened_ = 0;
  int changes_ = 0;  // under way
  Task retired_;
  bool closing_ = false;
  BlockClose close_;
  BeforeCommit before_commit_;
  Done<idl::AttrReply> close_done_;
  std::map<uint64_t, StatusDone> length_waiters_;  // commits of the length under way
  uint64_t last_length_waiter_ = 0;
  std::vector<StatusDone> close_waiters_;  // lengths that the commit of the close covers
  int64_t trouble_since_ns_ = 0;           // 0: none
  int64_t busy_since_ns_ = 0;
  bool await_copies_ = false;
  uint64_t expected_replicas_ = 0;
  bool repair_wanted_ = false;
  Executor::TimerId repair_timer_ = 0;
  uint64_t acked_at_trouble_ = 0;
  uint64_t layout_version_ = 0;
  uint32_t exclusions_ = 0;
  int64_t last_used_ns_ = 0;
  Executor::TimerId timer_ = 0;
};

}  // namespace dfs::client
