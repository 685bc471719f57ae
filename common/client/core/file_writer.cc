#include "common/client/core/file_writer.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/defects.h"
#include "common/client/core/calls.h"
#include "common/client/core/convert.h"
#include "dfs_types.h"

namespace dfs::client {
namespace {
constexpr uint64_t kPacket = wire::ChainWriter::kMaxPacketBytes;
constexpr int64_t kPollNs = 250 * kMillisecond;
constexpr int kMostRepairDoublings = 6;
}  // namespace

FileWriter::FileWriter(std::shared_ptr<ClientCore> core, uint64_t session, size_t max_open)
    : core_(std::move(core)),
      session_(session),
      max_open_(std::max<size_t>(max_open, 1)),
      attr_(std::make_unique<idl::Attr>()) {}

int64_t FileWriter::data_version() const {
  return attr_->data_version;
}

FileWriter::~FileWriter() {
  Released();
}

void FileWriter::TakeLayout(const std::vector<idl::LocatedBlock>& blocks, uint64_t from,
                            uint64_t to) {
  for (uint64_t i = from; i < to; ++i) slots_[i].known = true;  // a hole unless named below
  for (const idl::LocatedBlock& b : blocks) {
    const uint64_t index = static_cast<uint64_t>(b.slot);
    if (b.block == 0 || index < from || index >= to) continue;
    Slot& slot = slots_[index];
    slot.stamp = static_cast<uint64_t>(b.stamp);
    slot.length = static_cast<uint64_t>(b.length);
    slot.known = b.state == kBlockClosed;
  }
}

// ---- Writing ------------------------------------------------------------------------------------

void FileWriter::Write(uint64_t offset, Buffer data) {
  if (!error_.ok() || closing_ || data.empty()) return;
  const uint64_t end = offset + data.size();
  if (truncating_ || !blocked_.empty() ||
      (inline_ && inline_writing_ && std::max(end, size_) > inline_limit_)) {
    size_ = std::max(size_, end);
    blocked_bytes_ += data.size();
    blocked_.emplace_back(offset, std::move(data));
    return;
  }
  size_ = std::max(size_, end);
  if (inline_) {
    if (size_ <= inline_limit_) {
      if (inline_data_.size() < size_)
        inline_data_.resize(size_, DefectOn(Defect::kMountGapNotZero) ? 'x' : '\0');
      inline_data_.replace(offset, data.size(), data.data(), data.size());
      inline_dirty_ = true;
      return;
    }
    LeaveInline();
  }
  Gather(offset, std::move(data));
}

void FileWriter::TakeBlocked() {
  if (truncating_ || inline_writing_) return;
  std::vector<std::pair<uint64_t, Buffer>> blocked = std::move(blocked_);
  blocked_.clear();
  blocked_bytes_ = 0;
  for (auto& [offset, data] : blocked) Write(offset, std::move(data));
  CheckWaiters();
}

void FileWriter::LeaveInline() {
  inline_ = false;
  growing_ = true;
  if (server_has_inline_) slots_[0].drop_inline = true;
  std::string content = std::move(inline_data_);
  inline_data_.clear();
  inline_dirty_ = false;
  if (!content.empty()) Gather(0, Buffer(std::move(content)));
}

void FileWriter::Gather(uint64_t offset, Buffer data) {
  while (!data.empty()) {
    if (!run_.empty() && offset != run_offset_ + run_.size()) EmitRun(false);
    // Packets end at packet boundaries of their block, so that chunks are whole.
    const uint64_t in_block = offset % block_size_;
    const uint64_t boundary = std::min(block_size_, (in_block / kPacket + 1) * kPacket);
    const size_t take = std::min<uint64_t>(data.size(), boundary - in_block);
    const bool reaches = take == boundary - in_block;
    if (run_.empty() && reaches) {
      WriteToBlocks(offset, data.Slice(0, take), false);
    } else {
      if (run_.empty()) {
        run_offset_ = offset;
        if (take < kPacket / 2) run_.reserve(std::max<size_t>(take, 4096));
      }
      run_.append(data.data(), take);
      if (reaches) EmitRun(false);
    }
    data = data.Slice(take, data.size() - take);
    offset += take;
    if (offset % block_size_ == 0 && DefectOn(Defect::kMountBlockBoundaryLost)) break;
  }
}

void FileWriter::EmitRun(bool sync) {
  if (run_.empty()) return;
  Buffer data(std::move(run_));
  run_.clear();
  WriteToBlocks(run_offset_, data, sync);
}

void FileWriter::WriteToBlocks(uint64_t offset, const Buffer& data, bool sync) {
  for (size_t done = 0; done < data.size();) {
    const uint64_t at = offset + done;
    const uint64_t slot = at / block_size_;
    const size_t take = std::min<uint64_t>(data.size() - done, block_size_ - at % block_size_);
    WriteToSlot(slot, at % block_size_, data.Slice(done, take), sync && done + take == data.size());
    done += take;
  }
}

void FileWriter::WriteToSlot(uint64_t index, uint64_t offset, Buffer data, bool sync) {
  if (!error_.ok()) return;
  Slot& slot = slots_[index];
  if (index >= hole_from_) {
    slot.known = true;
    hole_from_ = index + 1;
  }
  if (slot.closing || !slot.known || !slot.deferred.empty()) {
    slot.deferred_bytes += data.size();
    slot.deferred.emplace_back(offset, std::move(data));
    if (!slot.known && !slot.fetching && !slot.closing) FetchSlot(index, core_->Deadline());
    return;
  }
  if (slot.writer == nullptr) OpenSlot(index, slot);
  if (slot.writer == nullptr) return;  // it could not even ask, and the file has failed
  slot.writer->Write(offset, std::move(data), sync);
}

void FileWriter::OpenSlot(uint64_t index, Slot& slot) {
  LimitOpenSlots(index);
  BlockWriterParams params;
  params.inode = inode_;
  params.slot = index;
  params.expected_stamp = slot.stamp;
  params.length = slot.length;
  params.session = session_;
  params.slot_offset = index * block_size_;
  if (growing_) params.data_version = attr_->data_version;
  params.repair_after_ns = core_->options().repair_after_ns;
  if (auto repair = repairs_.find(index); repair != repairs_.end()) {
    params.await_copies = std::exchange(repair->second.just_closed, false);
    // A member that this client alone cannot reach would come and go for ever.
    params.repair_after_ns <<= std::min(repair->second.times, kMostRepairDoublings);
  }
  slot.writer = BlockWriter::Create(core_, params, [weak = weak_from_this(), index] {
    if (auto self = weak.lock()) self->OnBlockChange(index);
  });
  if (!slot.writer->error().ok()) Fail(slot.writer->error());
}

void FileWriter::OnBlockChange(uint64_t index) {
  auto it = slots_.find(index);
  if (it != slots_.end() && it->second.writer != nullptr && !it->second.writer->error().ok()) {
    Fail(it->second.writer->error());
    return;
  }
  if (it != slots_.end() && it->second.writer != nullptr && it->second.writer->repair_wanted()) {
    // This runs within the block writer.
    core_->executor().Post([weak = weak_from_this(), index] {
      if (auto self = weak.lock()) self->RepairSlot(index);
    });
  }
  CheckWaiters();
}

void FileWriter::RepairSlot(uint64_t index) {
  auto it = slots_.find(index);
  if (it == slots_.end() || !error_.ok() || closing_ || abandoned_ || truncating_) return;
  Slot& slot = it->second;
  if (slot.writer == nullptr || slot.closing || !slot.writer->repair_wanted()) return;
  core_->CountRepair();
  Repair& repair = repairs_[index];
  ++repair.times;
  repair.just_closed = true;
  CloseSlot(index, BlockClose(), [](Status) {});
}

void FileWriter::LimitOpenSlots(uint64_t keep) {
  for (;;) {
    size_t open = 0;
    uint64_t oldest = 0;
    int64_t oldest_used = INT64_MAX;
    for (auto& [index, slot] : slots_) {
      if (slot.writer == nullptr || slot.closing || index == keep) continue;
      ++open;
      if (slot.writer->last_used_ns() < oldest_used) {
        oldest = index;
        oldest_used = slot.writer->last_used_ns();
      }
    }
    if (open < max_open_) return;
    BlockClose how;
    CloseSlot(oldest, how, [](Status) {});
  }
}

void FileWriter::FetchSlot(uint64_t index, int64_t deadline_ns) {
  slots_[index].fetching = true;
  idl::GetBlocksRequest request;
  request.inode = static_cast<int64_t>(inode_);
  request.session = static_cast<int64_t>(core_->session().id());
  request.offset = static_cast<int64_t>(index * block_size_);
  request.length = static_cast<int64_t>(block_size_);
  core_->FillCaller(&request.caller);
  request.client_host_id = core_->options().host_id;
  Read<idl::kGetBlocks>(
      *core_, request, deadline_ns,
      [weak = weak_from_this(), index, deadline_ns](Result<idl::GetBlocksReply> reply) {
        auto self = weak.lock();
        if (!self) return;
        Slot& slot = self->slots_[index];
        slot.fetching = false;
        if (!reply) {
          self->Fail(reply.error());
          return;
        }
        slot.stamp = 0;
        slot.length = 0;
        self->TakeLayout(reply->blocks, index, index + 1);
        if (slot.known) {
          self->DrainDeferred(index);
          return;
        }
        // Left open by an earlier writer of this session: this one has it not, or it would not ask.
        for (const idl::LocatedBlock& b : reply->blocks) {
          const bool own = static_cast<uint64_t>(b.writer_session) == self->session_;
          if (static_cast<uint64_t>(b.slot) == index && b.state == kBlockOpen && own &&
              !self->core_->files().releasing(self->inode_)) {
            self->core_->files().Release(self->inode_, self->session_, {index}, {});
          }
        }
        if (self->core_->Now() + kPollNs >= deadline_ns) {
          self->Fail(Status(Code::kBusy, "another writer has the block open"));
          return;
        }
        slot.fetching = true;
        self->core_->executor().RunAfter(kPollNs, [weak, index, deadline_ns] {
          if (auto again = weak.lock()) again->FetchSlot(index, deadline_ns);
        });
      });
}

void FileWriter::DrainDeferred(uint64_t index) {
  Slot& slot = slots_[index];
  std::vector<std::pair<uint64_t, Buffer>> deferred = std::move(slot.deferred);
  slot.deferred.clear();
  slot.deferred_bytes = 0;
  if (error_.ok()) {
    for (auto& [offset, data] : deferred) WriteToSlot(index, offset, std::move(data), false);
  }
  CheckWaiters();
  for (StatusDone& done : std::exchange(slots_[index].drain_waiters, {})) done(error_);
}

// ---- Waiting ------------------------------------------------------------------------------------

uint64_t FileWriter::unacked_bytes() const {
  uint64_t bytes = run_.size() + blocked_bytes_;
  for (const auto& [index, slot] : slots_) {
    bytes += slot.deferred_bytes;
    if (slot.writer != nullptr) bytes += slot.writer->unacked_bytes();
  }
  return bytes;
}

void FileWriter::WhenBelow(uint64_t bytes, StatusDone done) {
  // What is gathered for a packet would wait for more to come.
  if (run_.size() >= bytes) EmitRun(false);
  if (!error_.ok() || unacked_bytes() < bytes) {
    done(error_);
    return;
  }
  below_waiters_.emplace_back(bytes, std::move(done));
}

void FileWriter::Settled(StatusDone done) {
  settle_waiters_.push_back(std::move(done));
  CheckWaiters();
}

void FileWriter::CheckWaiters() {
  auto keep = shared_from_this();
  if (!below_waiters_.empty()) {
    const uint64_t unacked = unacked_bytes();
    for (size_t i = 0; i < below_waiters_.size();) {
      if (error_.ok() && unacked >= below_waiters_[i].first) {
        ++i;
        continue;
      }
      StatusDone done = std::move(below_waiters_[i].second);
      below_waiters_.erase(below_waiters_.begin() + static_cast<ptrdiff_t>(i));
      done(error_);
    }
  }
  if (settle_waiters_.empty()) return;
  const bool waiting =
      !blocked_.empty() || std::any_of(slots_.begin(), slots_.end(), [](const auto& entry) {
        return !entry.second.deferred.empty();
      });
  if (waiting && error_.ok()) return;
  std::vector<StatusDone> ready = std::move(settle_waiters_);
  settle_waiters_.clear();
  for (StatusDone& done : ready) done(error_);
}

void FileWriter::Fail(const Status& why) {
  if (!error_.ok()) return;
  auto keep = shared_from_this();
  error_ = why.WithContext(path_);
  run_.clear();
  blocked_.clear();
  blocked_bytes_ = 0;
  for (auto& [index, slot] : slots_) {
    slot.deferred.clear();
    slot.deferred_bytes = 0;
    std::vector<StatusDone> waiters = std::move(slot.close_waiters);
    slot.close_waiters.clear();
    for (StatusDone& done : waiters) done(error_);
    for (StatusDone& done : std::exchange(slot.drain_waiters, {})) done(error_);
  }
  std::vector<StatusDone> inline_waiters = std::move(inline_waiters_);
  inline_waiters_.clear();
  for (StatusDone& done : inline_waiters) done(error_);
  CheckWaiters();
  GiveUpBlocks();
}

void FileWriter::GiveUpBlocks() {
  std::vector<uint64_t> slots;
  std::vector<std::shared_ptr<BlockWriter>> writers;
  for (auto& [index, slot] : slots_) {
    if (slot.writer == nullptr) continue;
    exclusions_ += slot.writer->exclusions();
    slots.push_back(index);
    writers.push_back(std::move(slot.writer));
    slot.writer = nullptr;
  }
  core_->files().Release(inode_, session_, std::move(slots), std::move(writers));
}

}  // namespace dfs::client
