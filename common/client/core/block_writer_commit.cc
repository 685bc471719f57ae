// BlockWriter: faults, exclusions, reopening, committing, the end.
#include <algorithm>

#include "common/base/check.h"
#include "common/client/core/block_writer.h"
#include "common/client/core/block_writer_changes.h"
#include "common/client/core/convert.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {

constexpr int64_t kLookAgainNs = 250 * kMillisecond;
constexpr int64_t kSameMembersRetryNs = 300 * kMillisecond;
/// Recoveries of one block under a living writer; more is no accident.
constexpr int kMaxReopens = 8;

}  // namespace

// ---- Faults -------------------------------------------------------------------------------------

int64_t BlockWriter::GiveUpAt() {
  const int64_t now = core_->Now();
  if (trouble_since_ns_ == 0) {
    trouble_since_ns_ = now;
    acked_at_trouble_ = writer_.acked();
  }
  return trouble_since_ns_ + core_->options().timeout_ns;
}

void BlockWriter::HandleFault() {
  const wire::ChainWriter::Fault fault = *writer_.fault();
  NoteConfirmed();
  if (stream_ != nullptr) {
    stream_->Detach();
    stream_.reset();
  }
  if (core_->Now() >= GiveUpAt()) {
    Fail(Status(Code::kTimedOut, "no chain of datanodes takes the data: " + fault.why));
    return;
  }
  const uint64_t at_fault = fault.member.value;
  const bool again =
      std::find(unreachable_.begin(), unreachable_.end(), at_fault) != unreachable_.end();
  if (!again) unreachable_.push_back(at_fault);
  core_->MarkSlow(at_fault);
  std::vector<int64_t> survivors;
  for (const wire::Member& member : target_.members) {
    if (member.datanode != at_fault) survivors.push_back(static_cast<int64_t>(member.datanode));
  }
  // The members went one by one, the last one for want of space: waiting would not make any.
  if (survivors.empty() && fault.code == Code::kNoSpace) {
    Fail(Status(Code::kNoSpace, "no space left on the datanodes: " + fault.why));
    return;
  }
  ++exclusions_;
  if (NothingAcknowledged()) {
    // Nobody has anything of it, so it goes to others, with as many members as it should have.
    state_ = State::kOpening;
    members_anew_ = true;
    expected_stamp_ = target_.stamp;
    confirmed_stamp_ = 0;
    if (survivors.empty() || again) {
      // There are no others: it may be back, or recovered, a little later.
      RetryAfter(kSameMembersRetryNs, &BlockWriter::SendOpenBlock);
    } else {
      SendOpenBlock();
    }
    return;
  }
  state_ = State::kExcluding;
  if (survivors.empty()) {
    // The last member failed. It alone has the acknowledged bytes, so it is asked again, under a new stamp,
    // for no packet of the old stream may come in late.
    RetryAfter(kSameMembersRetryNs, &BlockWriter::ExcludeNobody);
    return;
  }
  Exclude(std::move(survivors));
}

bool BlockWriter::NothingAcknowledged() const {
  return new_ && reopened_ == 0 && committed_length_ == 0 && !writer_.ever_acked();
}

void BlockWriter::ExcludeNobody() {
  std::vector<int64_t> same;
  for (const wire::Member& m : target_.members) same.push_back(static_cast<int64_t>(m.datanode));
  Exclude(std::move(same));
}

void BlockWriter::Exclude(std::vector<int64_t> survivors) {
  idl::ExcludeMembersRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.slot = static_cast<int64_t>(params_.slot);
  request.block = static_cast<int64_t>(target_.block);
  request.stamp = static_cast<int64_t>(target_.stamp);
  request.survivors = std::move(survivors);
  core_->FillCaller(&request.caller);
  request.client_host_id = core_->options().host_id;
  SendChange<idl::kExcludeMembers>(std::move(request),
                                   [](BlockWriter& self, Result<idl::OpenBlockReply> reply) {
                                     self.OnExcluded(std::move(reply));
                                   });
}

void BlockWriter::OnExcluded(Result<idl::OpenBlockReply> reply) {
  if (state_ != State::kExcluding) return;
  if (!reply && reply.error().Is(Code::kStaleStamp)) {
    Reopen(reply.error());
    return;
  }
  Status status = reply ? TakeBlock(reply->block) : reply.error();
  if (!status.ok()) {
    Fail(status.WithContext("exclude a failed datanode"));
    return;
  }
  state_ = State::kOpen;
  ArmRepair();
  // With nothing unacknowledged there is nothing to start a stream for, and the fault has been dealt with.
  if (writer_.idle()) writer_.Pause();
  auto keep = shared_from_this();
  StartStream();
  NotifyWaiters();
  MaybeCommitClose();
  Changed();
}

// ---- After a recovery ---------------------------------------------------------------------------

void BlockWriter::Reopen(const Status& why) {
  if (stream_ != nullptr) {
    stream_->Detach();
    stream_.reset();
  }
  if (writer_.acked() > synced_ticket_) {
    // Its members lost their memory, or it was given up: what they had not on disk may be gone.
    Fail(Status(
        Code::kIoError,
        "recovery closed a block of this handle, and bytes that were not synced may be lost: "
        "open the file again (" +
            why.message() + ")"));
    return;
  }
  if (++reopened_ > kMaxReopens) {
    Fail(why);
    return;
  }
  state_ = State::kOpening;
  reopening_ = true;
  members_anew_ = false;
  LookAgain();
}

void BlockWriter::LookAgain() {
  idl::GetBlocksRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.session = static_cast<int64_t>(core_->session().id());
  request.offset = static_cast<int64_t>(params_.slot_offset);
  request.length = 1;
  core_->FillCaller(&request.caller);
  request.client_host_id = core_->options().host_id;
  Read<idl::kGetBlocks>(*core_, request, core_->Deadline(),
                        [weak = weak_from_this()](Result<idl::GetBlocksReply> reply) {
                          if (auto self = weak.lock()) self->OnLooked(std::move(reply));
                        });
}

void BlockWriter::OnLooked(Result<idl::GetBlocksReply> reply) {
  if (state_ != State::kOpening) return;
  if (!reply) {
    Fail(reply.error().WithContext("look at a block that is not ours any more"));
    return;
  }
  const idl::LocatedBlock* found = nullptr;
  for (const idl::LocatedBlock& b : reply->blocks) {
    if (static_cast<uint64_t>(b.block) == target_.block) found = &b;
  }
  if (found == nullptr) {
    // Nothing of a new block was stored anywhere, and recovery made it a hole again; or somebody cut the file.
    if (!(new_ && committed_length_ == 0 && !writer_.ever_acked()) ||
        static_cast<uint64_t>(reply->attr.size) < params_.slot_offset) {
      Fail(Status(Code::kStaleStamp, "the block was removed: somebody cut the file"));
      return;
    }
    expected_stamp_ = 0;
    confirmed_stamp_ = 0;
    SendOpenBlock();
    return;
  }
  if (found->state != kBlockClosed) {
    // It is being recovered, or another session is faster.
    if (core_->Now() >= GiveUpAt()) {
      Fail(Status(Code::kStaleStamp, "the block is not open for this writer any more"));
    } else {
      RetryAfter(kLookAgainNs, &BlockWriter::LookAgain);
    }
    return;
  }
  expected_stamp_ = static_cast<uint64_t>(found->stamp);
  SendOpenBlock();
}

void BlockWriter::RetryAfter(int64_t delay_ns, void (BlockWriter::*what)()) {
  timer_ = core_->executor().RunAfter(delay_ns, [weak = weak_from_this(), what] {
    auto self = weak.lock();
    if (!self || self->state_ == State::kFailed) return;
    self->timer_ = 0;
    (self.get()->*what)();
  });
}

// ---- Committing ---------------------------------------------------------------------------------

void BlockWriter::CommitLength(uint64_t file_size, int64_t mtime_ns, StatusDone done) {
  if (!error_.ok()) {
    done(error_);
    return;
  }
  if (closing_ && (state_ == State::kCommitting || state_ == State::kClosed)) {
    // The close commits at least this length.
    if (state_ == State::kClosed) {
      done(Status());
    } else {
      close_waiters_.push_back(std::move(done));
    }
    return;
  }
  if (state_ != State::kOpen || writer_.fault()) {
    // The stamp is changing: when the chain is back, everything is acknowledged under the new one.
    waiters_.push_back({writer_.added(), [weak = weak_from_this(), file_size, mtime_ns,
                                          done = std::move(done)](Status status) mutable {
                          auto self = weak.lock();
                          if (!status.ok() || !self) {
                            done(status);
                          } else {
                            self->CommitLength(file_size, mtime_ns, std::move(done));
                          }
                        }});
    return;
  }
  const uint64_t length = writer_.acked_length();
  const uint64_t covers = writer_.acked();
  idl::CommitLengthRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.slot = static_cast<int64_t>(params_.slot);
  request.block = static_cast<int64_t>(target_.block);
  request.stamp = static_cast<int64_t>(target_.stamp);
  request.length = static_cast<int64_t>(length);
  request.file_size = static_cast<int64_t>(file_size);
  request.mtime_ns = mtime_ns;
  core_->FillCaller(&request.caller);
  const uint64_t waiter = ++last_length_waiter_;
  length_waiters_[waiter] = std::move(done);
  SendChange<idl::kCommitLength>(
      std::move(request), [waiter, length, covers, file_size, mtime_ns, stamp = target_.stamp](
                              BlockWriter& self, Result<idl::AttrReply> reply) {
        if (reply) {
          self.committed_ticket_ = std::max(self.committed_ticket_, covers);
        }
        auto it = self.length_waiters_.find(waiter);
        if (it == self.length_waiters_.end()) return;  // the close was faster, or failed
        StatusDone waiting = std::move(it->second);
        self.length_waiters_.erase(it);
        self.OnLengthCommitted(reply.status(), length, file_size, mtime_ns, stamp,
                               std::move(waiting));
      });
}

void BlockWriter::OnLengthCommitted(const Status& status, uint64_t length, uint64_t file_size,
                                    int64_t mtime_ns, uint64_t stamp, StatusDone done) {
  if (status.ok()) {
    committed_length_ = std::max(committed_length_, length);
    done(Status());
    return;
  }
  if (!status.Is(Code::kStaleStamp) || !error_.ok()) {
    done(status);
    return;
  }
  // Either our own exclusion or close overtook it, or the block is not ours any more.
  if (state_ == State::kOpen && target_.stamp == stamp) Reopen(status);
  CommitLength(file_size, mtime_ns, std::move(done));
}

void BlockWriter::Close(BlockClose how, BeforeCommit before_commit, Done<idl::AttrReply> done) {
  DFS_CHECK(!closing_);
  if (!error_.ok()) {
    done(error_);
    return;
  }
  closing_ = true;
  close_ = std::move(how);
  before_commit_ = std::move(before_commit);
  close_done_ = std::move(done);
  AddLast();
  if (stream_ != nullptr) {
    stream_->Pump();
  } else {
    StartStream();
  }
}

void BlockWriter::AddLast() {
  close_.sync |= !sync_next_.empty();
  const uint16_t sync = close_.sync ? wire::kPacketSync : 0;
  const uint64_t ticket =
      writer_.Add(writer_.length(), Buffer(), static_cast<uint16_t>(wire::kPacketLast | sync));
  if (close_.sync) {
    waiters_.push_back({ticket, [weak = weak_from_this(), ticket](Status status) {
                          auto self = weak.lock();
                          if (self && status.ok()) self->synced_ticket_ = ticket;
                        }});
  }
  for (StatusDone& waiting : sync_next_) waiters_.push_back({ticket, std::move(waiting)});
  sync_next_.clear();
}

void BlockWriter::MaybeCommitClose() {
  if (!closing_ || state_ != State::kOpen || !writer_.idle() || writer_.fault()) return;
  state_ = State::kCommitting;
  if (stream_ != nullptr) {
    stream_->Detach();  // gives the connection back: the stream ended by LAST
    stream_.reset();
  }
  if (before_commit_) {
    BeforeCommit before = std::move(before_commit_);
    before_commit_ = nullptr;
    before([weak = weak_from_this()](Status status) {
      auto self = weak.lock();
      if (!self || self->state_ != State::kCommitting) return;
      if (status.ok()) {
        self->CommitClose();
      } else {
        self->Fail(status);
      }
    });
    return;
  }
  CommitClose();
}

void BlockWriter::CommitClose() {
  idl::CloseBlockRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.slot = static_cast<int64_t>(params_.slot);
  request.block = static_cast<int64_t>(target_.block);
  request.stamp = static_cast<int64_t>(target_.stamp);
  request.length = static_cast<int64_t>(writer_.length());
  for (const wire::Member& m : target_.members) {
    request.members.push_back(static_cast<int64_t>(m.datanode));
  }
  request.file_size = static_cast<int64_t>(close_.file_size);
  request.mtime_ns = close_.mtime_ns;
  request.drop_inline = close_.drop_inline;
  request.rename_to = close_.rename_to;
  request.rename_replace = close_.rename_replace;
  core_->FillCaller(&request.caller);
  SendChange<idl::kCloseBlock>(std::move(request),
                               [](BlockWriter& self, Result<idl::AttrReply> reply) {
                                 self.OnCloseCommitted(std::move(reply));
                               });
}

void BlockWriter::OnCloseCommitted(Result<idl::AttrReply> reply) {
  if (state_ != State::kCommitting) return;
  if (!reply && reply.error().Is(Code::kStaleStamp)) {
    Reopen(reply.error());
    return;
  }
  if (!reply) {
    Fail(reply.error().WithContext("close a block"));
    return;
  }
  state_ = State::kClosed;
  committed_length_ = writer_.length();
  ++layout_version_;
  auto keep = shared_from_this();
  for (auto& [id, waiting] : std::exchange(length_waiters_, {})) waiting(Status());
  for (StatusDone& waiting : std::exchange(close_waiters_, {})) waiting(Status());
  Done<idl::AttrReply> done = std::move(close_done_);
  close_done_ = nullptr;
  if (done) done(std::move(reply));
}

// ---- The end ------------------------------------------------------------------------------------

void BlockWriter::Fail(Status why) {
  if (state_ == State::kFailed || state_ == State::kClosed) return;
  auto keep = shared_from_this();
  state_ = State::kFailed;
  error_ = std::move(why);
  if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  if (repair_timer_ != 0) core_->executor().Cancel(std::exchange(repair_timer_, 0));
  if (stream_ != nullptr) {
    stream_->Detach();
    stream_.reset();
  }
  std::vector<StatusDone> syncs = std::move(sync_next_);
  sync_next_.clear();
  NotifyWaiters();
  for (StatusDone& done : syncs) done(error_);
  for (auto& [id, done] : std::exchange(length_waiters_, {})) done(error_);
  for (StatusDone& done : std::exchange(close_waiters_, {})) done(error_);
  if (close_done_) {
    Done<idl::AttrReply> done = std::move(close_done_);
    close_done_ = nullptr;
    done(error_);
  }
  Changed();
}

void BlockWriter::Retire(Task done) {
  on_change_ = nullptr;
  retired_ = std::move(done);
  Fail(Status(Code::kClosed, "the file was abandoned"));
  CheckRetired();
}

void BlockWriter::CheckRetired() {
  if (changes_ > 0 || !retired_) return;
  core_->executor().Post(std::exchange(retired_, nullptr));
}

}  // namespace dfs::client
