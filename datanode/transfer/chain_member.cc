#include "datanode/transfer/chain_member.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/base/defects.h"

namespace dfs::dn {

Status ChainMember::OnPacket(const wire::PacketHeader& header) {
  Status bad;
  if (header.kind != wire::PacketKind::kData) {
    bad = Status(Code::kProtocol, "not a data packet");
  } else if (last_received_) {
    bad = Status(Code::kProtocol, "a packet after the last");
  } else if (header.seq != received_ + 1) {
    bad = Status(Code::kProtocol, "packet out of order");
  } else if (Stamp(header.stamp) != config_.stamp) {
    bad = Status(Code::kStaleStamp, "packet of another stamp");
  } else if (unacked_.size() >= wire::kMaxPacketsInFlight) {
    bad = Status(Code::kProtocol, "too many packets in flight");
  }
  if (!bad) {
    Fail(bad.code(), config_.self);
    return bad;
  }
  received_ = header.seq;
  last_received_ = header.last();
  unacked_.push_back({header.seq, 0, header.sync(), header.last()});
  return Status::Ok();
}

uint16_t ChainMember::ForwardFlags(const wire::PacketHeader& header) {
  if (DefectOn(Defect::kSyncNotForwarded)) {
    return static_cast<uint16_t>(header.flags & ~wire::kPacketSync);
  }
  return header.flags;
}

void ChainMember::OnStored(uint64_t seq, uint64_t length) {
  if (failed_) return;
  DFS_CHECK(seq == stored_ + 1 && seq <= received_, "stored {} after {}", seq, stored_);
  stored_ = seq;
  unacked_[seq - acked_ - 1].length = length;
}

void ChainMember::OnSynced(uint64_t seq) {
  synced_ = std::max(synced_, std::min(seq, stored_));
}

void ChainMember::OnLocalError(const Status& why) {
  Fail(why.code(), config_.self);
}

void ChainMember::OnNextAck(uint64_t seq, Code code, DatanodeId at_fault) {
  if (failed_ || !config_.next.valid()) return;
  if (code != Code::kOk) {
    Fail(code, at_fault.valid() ? at_fault : config_.next);
  } else if (seq > received_) {
    Fail(Code::kProtocol, config_.next);  // it acknowledges what it was never sent
  } else {
    next_acked_ = std::max(next_acked_, seq);
  }
}

void ChainMember::OnNextLost(const Status& why) {
  Fail(why.code() == Code::kOk ? Code::kUnavailable : why.code(), config_.next);
}

uint64_t ChainMember::sync_wanted() const {
  uint64_t wanted = 0;
  for (const Entry& entry : unacked_) {
    if (entry.seq > stored_) break;
    if (entry.sync && entry.seq > synced_) wanted = entry.seq;
  }
  return wanted;
}

bool ChainMember::sync_under_way() const {
  return std::any_of(unacked_.begin(), unacked_.end(), [](const Entry& e) { return e.sync; });
}

std::optional<ChainMember::Ack> ChainMember::TakeAck() {
  if (failed_) {
    if (failure_taken_) return std::nullopt;
    failure_taken_ = true;
    return failed_;
  }
  const bool wait_for_next = config_.next.valid() && !DefectOn(Defect::kAckBeforeAllMembers);
  std::optional<Ack> ack;
  while (!unacked_.empty()) {
    const Entry& entry = unacked_.front();
    if (entry.seq > stored_ || (entry.sync && entry.seq > synced_) ||
        (wait_for_next && entry.seq > next_acked_)) {
      break;
    }
    length_ = std::max(length_, entry.length);
    acked_ = entry.seq;
    if (entry.last) finished_ = true;
    unacked_.pop_front();
    ack = Ack{acked_, length_, Code::kOk, DatanodeId(), finished_};
  }
  return ack;
}

void ChainMember::Fail(Code code, DatanodeId at_fault) {
  if (failed_ || finished_) return;
  failed_ = Ack{acked_, length_, code == Code::kOk ? Code::kInternal : code, at_fault, false};
}

}  // namespace dfs::dn
