#include "common/client/core/block_writer.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/client/core/calls.h"
#include "common/client/core/convert.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {

constexpr int64_t kBusyRetryNs = 250 * kMillisecond;
constexpr int64_t kSameMembersRetryNs = 300 * kMillisecond;

Buffer Zeros(size_t size) {
  static const auto zeros =
      std::make_shared<const std::string>(wire::ChainWriter::kMaxPacketBytes, '\0');
  return Buffer::Wrap(zeros, zeros->data(), size);
}

}  // namespace

std::shared_ptr<BlockWriter> BlockWriter::Create(std::shared_ptr<ClientCore> core,
                                                 BlockWriterParams params,
                                                 std::function<void()> on_change) {
  std::shared_ptr<BlockWriter> writer(new BlockWriter(std::move(core), params, nullptr));
  // Opening may fail at once (the session is over). The owner must not hear of it before it has the writer:
  // it would take the block for one that nobody has written to.
  writer->SendOpenBlock();
  writer->on_change_ = std::move(on_change);
  return writer;
}

BlockWriter::BlockWriter(std::shared_ptr<ClientCore> core, BlockWriterParams params,
                         std::function<void()> on_change)
    : core_(std::move(core)),
      params_(params),
      on_change_(std::move(on_change)),
      writer_(params.length, core_->options().chain),
      expected_stamp_(params.expected_stamp),
      confirmed_stamp_(params.expected_stamp),
      committed_length_(params.length),
      last_used_ns_(core_->Now()) {}

BlockWriter::~BlockWriter() {
  if (timer_ != 0) core_->executor().Cancel(timer_);
  if (stream_ != nullptr) stream_->Detach();
}

// ---- Opening ------------------------------------------------------------------------------------

void BlockWriter::SendOpenBlock() {
  idl::OpenBlockRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.slot = static_cast<int64_t>(params_.slot);
  request.expected_stamp = static_cast<int64_t>(expected_stamp_);
  core_->FillCaller(&request.caller);
  for (uint64_t node : unreachable_) request.exclude.push_back(static_cast<int64_t>(node));
  request.client_host_id = core_->options().host_id;
  Change<idl::kOpenBlock>(*core_, std::move(request), params_.session, core_->Deadline(),
                          [weak = weak_from_this()](Result<idl::OpenBlockReply> reply) {
                            if (auto self = weak.lock()) self->OnOpened(std::move(reply));
                          });
}

void BlockWriter::OnOpened(Result<idl::OpenBlockReply> reply) {
  if (state_ != State::kOpening) return;
  if (!reply && reply.error().Is(Code::kBusy)) {
    // Another session has it open: it closes it, or dies and recovery does. Both take a while.
    if (busy_since_ns_ == 0) busy_since_ns_ = core_->Now();
    if (core_->Now() - busy_since_ns_ < core_->options().timeout_ns) {
      RetryAfter(kBusyRetryNs, &BlockWriter::SendOpenBlock);
      return;
    }
  }
  if (!reply) {
    Fail(reply.error().WithContext("open a block for writing"));
    return;
  }
  if (Status status = TakeBlock(reply->block); !status.ok()) {
    Fail(status);
    return;
  }
  if (target_.length != params_.length) {
    Fail(Status(Code::kConflict, "the file was changed by another writer"));
    return;
  }
  if (!KnowsAddresses()) {
    // A new leader answered from the stored reply and has not heard from these datanodes yet.
    expected_stamp_ = target_.stamp;
    RetryAfter(kBusyRetryNs, &BlockWriter::SendOpenBlock);
    return;
  }
  state_ = State::kOpen;
  auto keep = shared_from_this();
  StartStream();
  NotifyWaiters();
  MaybeCommitClose();
}

Status BlockWriter::TakeBlock(const idl::WritableBlock& block) {
  if (block.members.empty()) return Status(Code::kProtocol, "a block without members");
  target_.block = static_cast<uint64_t>(block.block);
  target_.stamp = static_cast<uint64_t>(block.stamp);
  target_.length = static_cast<uint64_t>(block.length);
  std::vector<wire::Member> known = std::move(target_.members);
  target_.members.clear();
  for (const idl::ReplicaLocation& location : block.members) {
    wire::Member member = FromIdl(location);
    for (const wire::Member& before : known) {
      const bool same = before.datanode == member.datanode;
      if (same && member.tcp_address.empty() && member.unix_address.empty()) member = before;
    }
    target_.members.push_back(std::move(member));
  }
  target_.cut_stamp = static_cast<uint64_t>(block.cut_stamp);
  target_.cut_length = static_cast<uint64_t>(block.cut_length);
  target_.token = block.token;
  target_.session = params_.session;
  target_.inode = params_.inode;
  ++layout_version_;
  return Status();
}

bool BlockWriter::KnowsAddresses() const {
  return std::all_of(target_.members.begin(), target_.members.end(), [](const wire::Member& m) {
    return !m.tcp_address.empty() || !m.unix_address.empty();
  });
}

void BlockWriter::NoteConfirmed() {
  if (stream_ != nullptr && stream_->open()) confirmed_stamp_ = target_.stamp;
}

void BlockWriter::StartStream() {
  if (stream_ != nullptr || state_ != State::kOpen || writer_.idle()) return;
  wire::ChainTarget target = target_;
  // A member with less than this is not one. While the block is open its members may have taken on different
  // stamps: a chain that broke while it was being opened did not reach all of them.
  target.length = std::max(committed_length_, writer_.acked_length());
  target.old_stamp = confirmed_stamp_;
  stream_ = wire::ChainStream::Open(core_->executor(), core_->pool(), writer_, std::move(target),
                                    [weak = weak_from_this()] {
                                      if (auto self = weak.lock()) self->OnProgress();
                                    });
}

// ---- Writing ------------------------------------------------------------------------------------

void BlockWriter::Write(uint64_t offset, Buffer data, bool sync) {
  DFS_CHECK(!closing_);
  if (state_ == State::kFailed || data.empty()) return;
  last_used_ns_ = core_->Now();
  unsynced_ = true;
  while (offset > writer_.length()) {
    const uint64_t gap = offset - writer_.length();
    // Up to the next packet boundary, so that what follows is aligned.
    const uint64_t room =
        wire::ChainWriter::kMaxPacketBytes - writer_.length() % wire::ChainWriter::kMaxPacketBytes;
    writer_.Add(writer_.length(), Zeros(std::min(gap, room)), 0);
  }
  for (size_t done = 0; done < data.size();) {
    const size_t take = std::min<size_t>(data.size() - done, wire::ChainWriter::kMaxPacketBytes);
    const bool flagged = sync && !sync_under_way_ && done + take == data.size();
    const uint64_t ticket =
        writer_.Add(offset + done, data.Slice(done, take), flagged ? wire::kPacketSync : 0);
    if (flagged) BeginSync(ticket);
    done += take;
  }
  if (stream_ != nullptr) {
    stream_->Pump();
  } else {
    StartStream();
  }
}

void BlockWriter::WhenAcked(StatusDone done) {
  if (!error_.ok()) {
    done(error_);
  } else if (writer_.idle() && state_ != State::kOpening && state_ != State::kExcluding) {
    done(Status());
  } else {
    waiters_.push_back({writer_.added(), std::move(done)});
  }
}

void BlockWriter::Sync(StatusDone done) {
  last_used_ns_ = core_->Now();
  if (!error_.ok()) {
    done(error_);
  } else if (!unsynced_ && !sync_under_way_ && state_ == State::kOpen && writer_.idle()) {
    done(Status());
  } else if (sync_under_way_ && !unsynced_) {
    waiters_.push_back({sync_ticket_, std::move(done)});
  } else {
    // One at a time: all that ask meanwhile share the next.
    sync_next_.push_back(std::move(done));
    SendSync();
  }
}

void BlockWriter::SendSync() {
  if (sync_next_.empty() || sync_under_way_ || closing_ || !error_.ok()) return;
  BeginSync(writer_.Add(writer_.length(), Buffer(), wire::kPacketSync));
  for (StatusDone& done : sync_next_) waiters_.push_back({sync_ticket_, std::move(done)});
  sync_next_.clear();
  if (stream_ != nullptr) {
    stream_->Pump();
  } else {
    StartStream();
  }
}

void BlockWriter::BeginSync(uint64_t ticket) {
  sync_under_way_ = true;
  sync_ticket_ = ticket;
  unsynced_ = false;
  waiters_.push_back({ticket, [weak = weak_from_this()](Status) {
                        auto self = weak.lock();
                        if (!self) return;
                        self->sync_under_way_ = false;
                        self->SendSync();
                      }});
}

void BlockWriter::DropUnsent() {
  if (closing_ || state_ == State::kFailed) return;
  writer_.DropUnsent();
  // Whoever waits for what was dropped would wait for ever.
  auto keep = shared_from_this();
  const Status dropped(Code::kClosed, "the file was abandoned");
  for (StatusDone& done : std::exchange(sync_next_, {})) done(dropped);
  for (size_t i = 0; i < waiters_.size();) {
    if (waiters_[i].ticket <= writer_.added()) {
      ++i;
      continue;
    }
    StatusDone done = std::move(waiters_[i].done);
    waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
    done(dropped);
  }
}

void BlockWriter::OnProgress() {
  if (state_ == State::kClosed || state_ == State::kFailed) return;
  if (writer_.acked() > acked_at_trouble_) trouble_since_ns_ = 0;
  NoteConfirmed();
  if (writer_.fault()) {
    HandleFault();
    return;
  }
  if (!writer_.streaming() && stream_ != nullptr) {
    // The connection ended while nothing was under way.
    stream_->Detach();
    stream_.reset();
    StartStream();
  }
  auto keep = shared_from_this();
  NotifyWaiters();
  MaybeCommitClose();
  if (on_change_) on_change_();
}

void BlockWriter::NotifyWaiters() {
  while (!waiters_.empty()) {
    auto ready = std::find_if(waiters_.begin(), waiters_.end(), [this](const Waiter& w) {
      return !error_.ok() || w.ticket <= writer_.acked();
    });
    if (ready == waiters_.end()) return;
    StatusDone done = std::move(ready->done);
    waiters_.erase(ready);
    done(error_);
  }
}

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
  if (std::find(unreachable_.begin(), unreachable_.end(), at_fault) == unreachable_.end()) {
    unreachable_.push_back(at_fault);
  }
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
  state_ = State::kExcluding;
  if (survivors.empty()) {
    RestartElsewhere();
    return;
  }
  Exclude(std::move(survivors));
}

void BlockWriter::RestartElsewhere() {
  // The last member failed. It alone has the acknowledged bytes, so it is asked again, under a new stamp,
  // for no packet of the old stream may come in late.
  RetryAfter(kSameMembersRetryNs, nullptr);
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
  Change<idl::kExcludeMembers>(*core_, std::move(request), params_.session, core_->Deadline(),
                               [weak = weak_from_this()](Result<idl::OpenBlockReply> reply) {
                                 if (auto self = weak.lock()) self->OnExcluded(std::move(reply));
                               });
}

void BlockWriter::OnExcluded(Result<idl::OpenBlockReply> reply) {
  if (state_ != State::kExcluding) return;
  Status status = reply ? TakeBlock(reply->block) : reply.error();
  if (!status.ok()) {
    Fail(status.WithContext("exclude a failed datanode"));
    return;
  }
  state_ = State::kOpen;
  // With nothing unacknowledged there is nothing to start a stream for, and the fault has been dealt with.
  if (writer_.idle()) writer_.Pause();
  auto keep = shared_from_this();
  StartStream();
  NotifyWaiters();
  MaybeCommitClose();
  if (on_change_) on_change_();
}

void BlockWriter::RetryAfter(int64_t delay_ns, void (BlockWriter::*what)()) {
  timer_ = core_->executor().RunAfter(delay_ns, [weak = weak_from_this(), what] {
    auto self = weak.lock();
    if (!self || self->state_ == State::kFailed) return;
    self->timer_ = 0;
    if (what != nullptr) {
      (self.get()->*what)();
      return;
    }
    std::vector<int64_t> same;
    for (const wire::Member& m : self->target_.members) {
      same.push_back(static_cast<int64_t>(m.datanode));
    }
    self->Exclude(std::move(same));
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
  idl::CommitLengthRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.slot = static_cast<int64_t>(params_.slot);
  request.block = static_cast<int64_t>(target_.block);
  request.stamp = static_cast<int64_t>(target_.stamp);
  request.length = static_cast<int64_t>(length);
  request.file_size = static_cast<int64_t>(file_size);
  request.mtime_ns = mtime_ns;
  core_->FillCaller(&request.caller);
  Change<idl::kCommitLength>(
      *core_, std::move(request), params_.session, core_->Deadline(),
      [weak = weak_from_this(), length, file_size, mtime_ns, stamp = target_.stamp,
       done = std::move(done)](Result<idl::AttrReply> reply) mutable {
        auto self = weak.lock();
        if (!self) {
          done(Status(Code::kClosed, "the file was closed"));
          return;
        }
        if (reply) {
          self->committed_length_ = std::max(self->committed_length_, length);
          done(Status());
        } else if (reply.error().Is(Code::kStaleStamp) &&
                   (self->state_ == State::kExcluding || self->target_.stamp != stamp)) {
          self->CommitLength(file_size, mtime_ns,
                             std::move(done));  // our own exclusion overtook it
        } else {
          done(reply.error());
        }
      });
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
  const uint16_t sync = close_.sync || !sync_next_.empty() ? wire::kPacketSync : 0;
  const uint64_t ticket =
      writer_.Add(writer_.length(), Buffer(), static_cast<uint16_t>(wire::kPacketLast | sync));
  last_added_ = true;
  for (StatusDone& waiting : sync_next_) waiters_.push_back({ticket, std::move(waiting)});
  sync_next_.clear();
  if (stream_ != nullptr) {
    stream_->Pump();
  } else {
    StartStream();
  }
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
  Change<idl::kCloseBlock>(*core_, std::move(request), params_.session, core_->Deadline(),
                           [weak = weak_from_this()](Result<idl::AttrReply> reply) {
                             auto self = weak.lock();
                             if (!self || self->state_ != State::kCommitting) return;
                             if (!reply) {
                               self->Fail(reply.error().WithContext("close a block"));
                               return;
                             }
                             self->state_ = State::kClosed;
                             self->committed_length_ = self->writer_.length();
                             ++self->layout_version_;
                             for (StatusDone& waiting : std::exchange(self->close_waiters_, {})) {
                               waiting(Status());
                             }
                             Done<idl::AttrReply> done = std::move(self->close_done_);
                             self->close_done_ = nullptr;
                             if (done) done(std::move(reply));
                           });
}

// ---- The end ------------------------------------------------------------------------------------

void BlockWriter::Fail(Status why) {
  if (state_ == State::kFailed || state_ == State::kClosed) return;
  auto keep = shared_from_this();
  state_ = State::kFailed;
  error_ = std::move(why);
  if (timer_ != 0) core_->executor().Cancel(std::exchange(timer_, 0));
  if (stream_ != nullptr) {
    stream_->Detach();
    stream_.reset();
  }
  std::vector<StatusDone> syncs = std::move(sync_next_);
  sync_next_.clear();
  NotifyWaiters();
  for (StatusDone& done : syncs) done(error_);
  for (StatusDone& done : std::exchange(close_waiters_, {})) done(error_);
  if (close_done_) {
    Done<idl::AttrReply> done = std::move(close_done_);
    close_done_ = nullptr;
    done(error_);
  }
  if (on_change_) on_change_();
}

void BlockWriter::Abandon() {
  on_change_ = nullptr;
  Fail(Status(Code::kClosed, "the file was abandoned"));
}

}  // namespace dfs::client
