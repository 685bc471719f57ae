#include "datanode/transfer/write_stream.h"

#include <algorithm>

#include "common/base/logging.h"
#include "common/idl/codec.h"
#include "datanode/transfer/remote_reader.h"
#include "dfs_types.h"

namespace dfs::dn {
namespace {

constexpr size_t kMaxChain = 16;
constexpr int64_t kConnectTimeoutNs = 2 * kSecond;
/// After a time-out what the loop has not looked at yet gets a last chance to count as an answer: this
/// thread may itself have been held up by its disk.
constexpr int64_t kLastChanceNs = 50 * kMillisecond;

}  // namespace

WriteStream::WriteStream(StreamContext& context, StreamIo& io, uint64_t stream)
    : context_(context), io_(&io), stream_(stream) {
  context_.active_streams++;
}

WriteStream::~WriteStream() {
  End(false);
}

// ---- Opening ----------------------------------------------------------------------------------

void WriteStream::Open(const idl::OpenWriteStreamRequest& request) {
  ChainMember::Config config;
  config.self = context_.store.id();
  config.stamp = Stamp(static_cast<uint64_t>(request.stamp));
  if (!request.rest_of_chain.empty()) {
    config.next = DatanodeId(static_cast<uint64_t>(request.rest_of_chain[0].datanode));
  }
  stamp_ = config.stamp.value;
  chain_ = std::make_unique<ChainMember>(config);
  if (Status opened = OpenReplica(request); !opened) {
    LogWarning("block {}: cannot be opened for writing: {}", request.block, opened.ToString());
    return Fail(opened);
  }
  if (request.rest_of_chain.empty()) {
    state_ = State::kOpen;
    SendOpenReply({static_cast<int64_t>(config.self.value)});
    return;
  }
  has_next_ = true;
  OpenNext(request);
}

Status WriteStream::OpenReplica(const idl::OpenWriteStreamRequest& request) {
  if (request.block <= 0 || request.stamp <= 0 || request.old_stamp < 0 || request.length < 0 ||
      request.cut_stamp < 0 || request.cut_length < 0 || request.rest_of_chain.size() > kMaxChain) {
    return Status(Code::kInvalidArgument, "open_write: fields out of bounds");
  }
  DFS_RETURN_IF_ERROR(CheckStreamToken(context_, request.token,
                                       static_cast<uint64_t>(request.block),
                                       static_cast<uint64_t>(request.stamp), true));
  const BlockId block(static_cast<uint64_t>(request.block));
  const Stamp stamp(static_cast<uint64_t>(request.stamp));
  is_copy_ = request.is_copy;
  if (is_copy_) {
    DFS_ASSIGN_OR_RETURN(open_, context_.store.CreateCopy(block, stamp));
  } else {
    OpenForWriteRequest open;
    open.old_stamp = Stamp(static_cast<uint64_t>(request.old_stamp));
    open.stamp = stamp;
    open.acked_length = static_cast<uint64_t>(request.length);
    open.cut_stamp = Stamp(static_cast<uint64_t>(request.cut_stamp));
    open.cut_length = static_cast<uint64_t>(request.cut_length);
    DFS_ASSIGN_OR_RETURN(open_, context_.store.OpenForWrite(block, open));
  }
  open_.replica->writes_under_way().Begin(open_.ticket.epoch, request.rest_of_chain.empty());
  return Status::Ok();
}

void WriteStream::OpenNext(const idl::OpenWriteStreamRequest& request) {
  idl::OpenWriteStreamRequest onward = request;
  onward.rest_of_chain.erase(onward.rest_of_chain.begin());
  next_timeout_ns_ =
      context_.next_ack_timeout_ns +
      static_cast<int64_t>(onward.rest_of_chain.size()) * context_.next_ack_timeout_step_ns;
  next_progress_ns_ = context_.clock.BootNs();
  const auto address = AddressFrom(context_.host_id, request.rest_of_chain[0]);
  if (!address) {
    chain_->OnNextLost(address.error());
    return Pump();
  }
  next_address_ = *address;
  next_name_ = address->ToString();
  next_request_ = idl::Encode(onward);
  ConnectNext(false);
}

void WriteStream::ConnectNext(bool fresh) {
  state_ = State::kConnecting;
  if (!paused_) io_->PauseReading(paused_ = true);
  io_->onward().Get(next_address_, kConnectTimeoutNs, fresh,
                    [weak = weak_from_this()](Result<std::shared_ptr<Onward>> connection) {
                      auto self = weak.lock();
                      if (self) self->NextConnected(std::move(connection));
                    });
}

void WriteStream::NextConnected(Result<std::shared_ptr<Onward>> onward) {
  if (state_ != State::kConnecting) return;
  if (!onward) {
    LogWarning("chain: next member {}: {}", next_name_, onward.error().ToString());
    chain_->OnNextLost(onward.error());
    return Pump();
  }
  next_ = std::move(*onward);
  next_->Open(next_request_, NextEvents());
  state_ = State::kOpen;
  next_progress_ns_ = context_.clock.BootNs();
  ArmNextTimer();
  for (const auto& parts : unheard_) {
    if (next_) next_->Send(parts);
  }
  while (!waiting_.empty() && state_ == State::kOpen) {
    auto [packet, payload] = std::move(waiting_.front());
    waiting_.pop_front();
    Handle(packet, payload);
  }
  if (io_ && state_ == State::kOpen && next_ && next_->writable()) {
    io_->PauseReading(paused_ = false);
  }
}

Onward::Events WriteStream::NextEvents() {
  Onward::Events events;
  const auto weak = weak_from_this();
  events.on_reply = [weak](Result<Buffer> reply) {
    if (auto self = weak.lock()) self->NextReplied(std::move(reply));
  };
  events.on_ack = [weak](const wire::PacketHeader& ack) {
    auto self = weak.lock();
    if (!self || self->state_ == State::kDone) return;
    self->HeardFromNext();
    self->chain_->OnNextAck(ack.seq, ack.code, DatanodeId(ack.detail));
    self->Pump();
  };
  events.on_closed = [weak](const Status& why) {
    if (auto self = weak.lock()) self->NextClosed(why);
  };
  events.on_writable = [weak] {
    auto self = weak.lock();
    if (!self || !self->paused_ || !self->io_) return;
    self->io_->PauseReading(self->paused_ = false);
  };
  return events;
}

void WriteStream::HeardFromNext() {
  next_progress_ns_ = context_.clock.BootNs();
  next_heard_ = true;
  unheard_.clear();
}

void WriteStream::NextClosed(const Status& why) {
  if (state_ == State::kDone) return;
  const bool try_again = !next_heard_ && next_ && next_->used();
  next_ = nullptr;
  if (try_again && io_) {
    // The other side had given the kept connection up; that is nobody's fault.
    LogDebug("chain: the kept connection to {} was dead: {}", next_name_, why.ToString());
    return ConnectNext(true);
  }
  LogWarning("chain: next member {}: {}", next_name_, why.ToString());
  chain_->OnNextLost(Status(Code::kUnavailable, why.message()));
  Pump();
}

void WriteStream::NextReplied(Result<Buffer> reply) {
  if (state_ == State::kDone) return;
  HeardFromNext();
  idl::OpenWriteStreamReply next;
  Status status = reply ? idl::Decode(reply->view(), &next) : reply.error();
  if (!status) {
    // An ack that names the member at fault came before this, if there is one behind the next.
    LogWarning("chain: next member {} cannot open: {}", next_name_, status.ToString());
    chain_->OnNextLost(status);
    return Pump();
  }
  next.members.insert(next.members.begin(), static_cast<int64_t>(context_.store.id().value));
  SendOpenReply(std::move(next.members));
}

void WriteStream::SendOpenReply(std::vector<int64_t> members) {
  if (!io_ || replied_) return;
  replied_ = true;
  idl::OpenWriteStreamReply reply;
  reply.members = std::move(members);
  reply.stream = static_cast<int64_t>(stream_);
  io_->Reply(stream_, idl::Encode(reply));
}

// ---- Packets ----------------------------------------------------------------------------------

void WriteStream::OnPacket(const wire::Packet& packet, const Buffer& payload) {
  if (state_ == State::kDone) return;
  if (state_ == State::kConnecting) {
    if (waiting_.size() >= wire::kMaxPacketsInFlight) {
      return Fail(Status(Code::kProtocol, "too many packets before the stream was open"));
    }
    waiting_.emplace_back(packet, payload);
    return;
  }
  Handle(packet, payload);
}

void WriteStream::Handle(const wire::Packet& packet, const Buffer& payload) {
  if (Status fits = chain_->OnPacket(packet.header); !fits) {
    LogWarning("block {}: {}", open_.replica->block().value, fits.ToString());
    return Pump();
  }
  if (!has_next_) {
    Store(packet);
  } else if (auto admission = Replica::Admit(open_.replica, open_.ticket); admission) {
    Forward(packet, payload);
    Store(packet);
  } else {
    chain_->OnLocalError(admission.status());
  }
  Pump();
}

void WriteStream::Forward(const wire::Packet& packet, const Buffer& payload) {
  if (!next_) return;
  if (chain_->awaited_from_next() == 1) next_progress_ns_ = context_.clock.BootNs();
  const uint16_t flags = ChainMember::ForwardFlags(packet.header);
  std::vector<Buffer> parts{payload};  // the very bytes that came
  if (flags != packet.header.flags) {
    wire::PacketHeader header = packet.header;
    header.flags = flags;
    parts = wire::BuildPacket(header, packet.sums.view(), packet.data);
  }
  if (!next_heard_) unheard_.push_back(parts);
  next_->Send(std::move(parts));
  if (io_ && !paused_ && next_ && !next_->writable()) io_->PauseReading(paused_ = true);
}

void WriteStream::Store(const wire::Packet& packet) {
  if (chain_->failed()) return;
  const auto sums = packet.SumVector();
  if (has_next_) {
    const uint64_t end = packet.header.offset + packet.data.size();
    open_.replica->writes_under_way().Add(open_.ticket.epoch, packet.header.seq,
                                          packet.header.offset,
                                          std::min(end, open_.replica->info().length));
  }
  const Status stored = open_.replica->Write(open_.ticket, packet.header.offset, packet.data.view(),
                                             sums.data(), sums.size());
  if (!stored) {
    if (stored.Is(Code::kCorrupt)) context_.store.ReportCorrupt(open_.replica, stored);
    LogWarning("block {}: {}", open_.replica->block().value, stored.ToString());
    return chain_->OnLocalError(stored);
  }
  context_.stored_bytes.fetch_add(packet.data.size(), std::memory_order_relaxed);
  chain_->OnStored(packet.header.seq, open_.replica->info().length);
  last_stored_ = packet.header.last();
  if (packet.header.sync() || (last_stored_ && (is_copy_ || chain_->sync_wanted() != 0))) {
    ScheduleSync();
  } else if (last_stored_) {
    finalized_ = true;
    const Status done = context_.store.Finalize(open_.replica, open_.ticket, false);
    if (!done) chain_->OnLocalError(done);
  }
}

/// After the loop has sent what was forwarded, so that the members sync at the same time; and once for all
/// packets that arrived together.
void WriteStream::ScheduleSync() {
  if (sync_scheduled_) return;
  sync_scheduled_ = true;
  io_->executor().Post([weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self || !self->io_) return;
    self->io_->executor().Post([weak] {
      auto alive = weak.lock();
      if (alive) alive->SyncNow();
    });
  });
}

void WriteStream::SyncNow() {
  sync_scheduled_ = false;
  if (state_ == State::kDone || chain_->failed()) return;
  const uint64_t seq = chain_->stored();
  Status synced;
  if (last_stored_ && !finalized_) {
    finalized_ = true;
    synced = context_.store.Finalize(open_.replica, open_.ticket, true);
  } else if (!finalized_) {
    synced = open_.replica->Sync(open_.ticket);
  }
  if (synced.ok()) {
    chain_->OnSynced(seq);
  } else {
    LogWarning("block {}: {}", open_.replica->block().value, synced.ToString());
    chain_->OnLocalError(synced);
  }
  Pump();
}

/// Sends what may be acknowledged now; ends the stream after an error or the last acknowledgement.
void WriteStream::Pump() {
  if (state_ == State::kDone) return;
  // A copy is acknowledged when it is on disk and in its place, whatever the flags said.
  if (is_copy_ && last_stored_ && !finalized_ && !chain_->failed()) return;
  if (auto ack = chain_->TakeAck()) SendAck(*ack);
  if (chain_->failed()) {
    // The ack has named the member at fault; a writer that still waits for the open hears of it too.
    if (io_ && !replied_) {
      replied_ = true;
      io_->ReplyError(stream_, Status(Code::kUnavailable, "the chain could not be opened"));
    }
    return End(false);
  }
  if (chain_->finished()) return End(true);
}

void WriteStream::SendAck(const ChainMember::Ack& ack) {
  if (ack.code == Code::kOk) {
    open_.replica->SetVisibleLength(ack.length);
    open_.replica->writes_under_way().Acked(open_.ticket.epoch, ack.seq);
  }
  if (!io_) return;
  wire::PacketHeader header;
  header.kind = wire::PacketKind::kAck;
  header.seq = ack.seq;
  header.stamp = stamp_;
  header.length = ack.length;
  header.code = ack.code;
  header.detail = ack.at_fault.value;
  io_->SendPacket(stream_, wire::BuildPacket(header, std::string_view(), Buffer()));
}

// ---- The next member's silence ------------------------------------------------------------------

void WriteStream::ArmNextTimer() {
  if (next_timer_ != 0 || !io_ || state_ == State::kDone) return;
  const int64_t wait = next_warned_ ? kLastChanceNs : next_timeout_ns_ / 4;
  next_timer_ = io_->executor().RunAfter(wait, [weak = weak_from_this()] {
    auto self = weak.lock();
    if (!self) return;
    self->next_timer_ = 0;
    self->CheckNext();
  });
}

void WriteStream::CheckNext() {
  if (state_ != State::kOpen) return;
  const bool owes = !replied_ || chain_->awaited_from_next() > 0;
  const int64_t patience =
      next_timeout_ns_ + (chain_->sync_under_way() ? context_.sync_ack_extra_ns : 0);
  const bool late = owes && context_.clock.BootNs() - next_progress_ns_ > patience;
  if (late && next_warned_) {
    LogWarning("chain: next member {} has not answered for {} ms", next_name_,
               (context_.clock.BootNs() - next_progress_ns_) / kMillisecond);
    chain_->OnNextLost(Status(Code::kTimedOut, "no answer"));
    return Pump();
  }
  next_warned_ = late;
  ArmNextTimer();
}

// ---- Ending -----------------------------------------------------------------------------------

void WriteStream::Fail(const Status& why) {
  chain_->OnLocalError(why);
  if (io_ && !replied_) {
    replied_ = true;
    if (auto ack = chain_->TakeAck()) SendAck(*ack);
    io_->ReplyError(stream_, why);
    return End(false);
  }
  Pump();
}

void WriteStream::Abort() {
  StreamIo* const io = std::exchange(io_, nullptr);
  if (io && next_timer_ != 0) io->executor().Cancel(next_timer_);
  next_timer_ = 0;
  End(false);
}

void WriteStream::End(bool well) {
  if (state_ == State::kDone) return;
  state_ = State::kDone;
  context_.active_streams--;
  if (io_ && next_timer_ != 0) io_->executor().Cancel(next_timer_);
  next_timer_ = 0;
  if (next_) {
    // A stream that broke off takes its connection with it: the members behind must hear of it.
    well ? next_->Release() : next_->Close();
    next_ = nullptr;
  }
  waiting_.clear();
  unheard_.clear();
  if (!well && open_.replica) {
    if (is_copy_) {
      context_.store.AbandonCopy(open_.replica);
    } else {
      context_.store.LeftOpen(open_.replica->block());
    }
  }
  if (io_ && paused_) io_->PauseReading(paused_ = false);
  open_ = OpenedReplica();
}

}  // namespace dfs::dn
