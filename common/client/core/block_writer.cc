#include "common/client/core/block_writer.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/client/core/block_writer_changes.h"
#include "common/client/core/convert.h"
#include "common/wire/packet.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {

constexpr int64_t kBusyRetryNs = 250 * kMillisecond;

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

std::shared_ptr<BlockWriter> BlockWriter::Adopt(std::shared_ptr<ClientCore> core,
                                                BlockWriterParams params,
                                                const idl::WritableBlock& block,
                                                std::function<void()> on_change) {
  std::shared_ptr<BlockWriter> writer(new BlockWriter(std::move(core), params, nullptr));
  writer->new_ = true;
  idl::OpenBlockReply reply;
  reply.block = block;
  writer->OnOpened(std::move(reply));
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
      data_version_(params.data_version),
      committed_length_(params.length),
      await_copies_(params.await_copies),
      last_used_ns_(core_->Now()) {}

BlockWriter::~BlockWriter() {
  if (timer_ != 0) core_->executor().Cancel(timer_);
  if (repair_timer_ != 0) core_->executor().Cancel(repair_timer_);
  if (stream_ != nullptr) stream_->Detach();
}

// ---- Opening ------------------------------------------------------------------------------------

void BlockWriter::SendOpenBlock() {
  idl::OpenBlockRequest request;
  request.inode = static_cast<int64_t>(params_.inode);
  request.slot = static_cast<int64_t>(params_.slot);
  request.expected_stamp = static_cast<int64_t>(expected_stamp_);
  request.nothing_acknowledged = members_anew_;
  request.await_copies = await_copies_;
  request.data_version = data_version_;
  core_->FillCaller(&request.caller);
  for (uint64_t node : unreachable_) request.exclude.push_back(static_cast<int64_t>(node));
  request.client_host_id = core_->options().host_id;
  SendChange<idl::kOpenBlock>(std::move(request),
                              [](BlockWriter& self, Result<idl::OpenBlockReply> reply) {
                                self.OnOpened(std::move(reply));
                              });
}

void BlockWriter::OnOpened(Result<idl::OpenBlockReply> reply) {
  if (state_ != State::kOpening) return;
  if (!reply && reply.error().Is(Code::kBusy)) {
    // Another session has it open: it closes it, or dies and recovery does. Both take a while.
    if (busy_since_ns_ == 0) busy_since_ns_ = core_->Now();
    // The copies may take long, or never succeed: then with the members that there are.
    if (core_->Now() - busy_since_ns_ > core_->options().timeout_ns / 4) await_copies_ = false;
    if (core_->Now() - busy_since_ns_ < core_->options().timeout_ns) {
      RetryAfter(kBusyRetryNs, reopening_ ? &BlockWriter::LookAgain : &BlockWriter::SendOpenBlock);
      return;
    }
  }
  if (!reply && reply.error().Is(Code::kStaleStamp) && (members_anew_ || reopening_)) {
    Reopen(reply.error());
    return;
  }
  if (!reply) {
    Fail(reply.error().WithContext("open a block for writing"));
    return;
  }
  if (reply->block.old_stamp == 0) new_ = true;
  data_version_ = 0;  // from here on the block's stamp tells
  Status status = TakeBlock(reply->block);
  if (status.ok()) status = CheckOpened();
  if (!status.ok()) {
    Fail(status);
    return;
  }
  if (!KnowsAddresses()) {
    // A new leader answered from the stored reply and has not heard from these datanodes yet.
    expected_stamp_ = target_.stamp;
    RetryAfter(kBusyRetryNs, &BlockWriter::SendOpenBlock);
    return;
  }
  BecomeOpen();
}

Status BlockWriter::CheckOpened() {
  if (!reopening_) {
    if (target_.length != params_.length) {
      return Status(Code::kConflict, "the file was changed by another writer");
    }
    return Status();
  }
  // What the writer sent last and nobody acknowledged may have arrived. More than that is not its own.
  if (target_.length < writer_.acked_length() || target_.length > writer_.length()) {
    return Status(Code::kConflict, "the file was changed by another writer");
  }
  confirmed_stamp_ = std::max(confirmed_stamp_, expected_stamp_);
  committed_length_ = target_.length;
  return Status();
}

void BlockWriter::BecomeOpen() {
  state_ = State::kOpen;
  members_anew_ = false;
  reopening_ = false;
  await_copies_ = false;
  busy_since_ns_ = 0;
  ArmRepair();
  // With nothing unacknowledged there is nothing to start a stream for, and the fault has been dealt with.
  if (writer_.idle()) writer_.Pause();
  auto keep = shared_from_this();
  // The LAST packet was of a stream that recovery has ended.
  if (closing_ && writer_.idle() && reopened_ > 0) AddLast();
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
  expected_replicas_ = static_cast<uint64_t>(std::max(block.expected_replicas, 0));
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
  waiters_.push_back({ticket, [weak = weak_from_this(), ticket](Status status) {
                        auto self = weak.lock();
                        if (!self) return;
                        self->sync_under_way_ = false;
                        if (status.ok()) self->synced_ticket_ = ticket;
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
  Changed();
}

void BlockWriter::Changed() {
  // A copy: the owner may retire this writer from within.
  const std::function<void()> notify = on_change_;
  if (notify) notify();
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

}  // namespace dfs::client
