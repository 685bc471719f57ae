#include "common/wire/chain_writer.h"

#include <algorithm>

#include "common/base/check.h"
#include "common/wire/packet.h"

namespace dfs::wire {

ChainWriter::ChainWriter(uint64_t length, ChainWriterLimits limits)
    : limits_(limits), length_(length), acked_length_(length) {}

ChainWriter::Ticket ChainWriter::Add(uint64_t offset, Buffer data, uint16_t flags) {
  DFS_CHECK(data.size() <= kMaxPacketBytes);
  DFS_CHECK(!data.empty() || flags != 0);
  DFS_CHECK(offset <= length_);
  Packet packet;
  packet.flags = flags;
  packet.offset = offset;
  packet.sums = RangeSums(offset, data.view());
  length_ = std::max<uint64_t>(length_, offset + data.size());
  packet.length = length_;
  unacked_bytes_ += data.size();
  packet.data = std::move(data);
  packet.seq = added() + 1 - base_;
  packets_.push_back(std::move(packet));
  return added();
}

void ChainWriter::DropUnsent() {
  while (packets_.size() > sent_) {
    unacked_bytes_ -= packets_.back().data.size();
    packets_.pop_back();
  }
  length_ = packets_.empty() ? acked_length_ : packets_.back().length;
}

void ChainWriter::Start(std::vector<DatanodeId> members, uint64_t stamp, int64_t now_ns) {
  DFS_CHECK(!members.empty());
  members_ = std::move(members);
  stamp_ = stamp;
  base_ = acked_;
  sent_ = 0;
  sent_bytes_ = 0;
  syncs_sent_ = 0;
  uint64_t seq = 0;
  for (Packet& packet : packets_) packet.seq = ++seq;
  last_sign_ns_ = now_ns;
  fault_.reset();
  streaming_ = true;
}

void ChainWriter::Pause() {
  DFS_CHECK(packets_.empty());
  streaming_ = false;
  fault_.reset();
}

const ChainWriter::Packet* ChainWriter::Next() const {
  if (!streaming_ || fault_ || sent_ >= packets_.size()) return nullptr;
  if (sent_ >= limits_.window_packets) return nullptr;
  if (sent_ > 0 && sent_bytes_ + packets_[sent_].data.size() > limits_.window_bytes) return nullptr;
  return &packets_[sent_];
}

void ChainWriter::OnSent(int64_t now_ns) {
  DFS_CHECK(sent_ < packets_.size());
  // The time-out counts from when there began to be something to wait for.
  if (sent_ == 0) last_sign_ns_ = now_ns;
  sent_bytes_ += packets_[sent_].data.size();
  if (packets_[sent_].flags & kPacketSync) ++syncs_sent_;
  ++sent_;
}

void ChainWriter::OnAck(uint64_t seq, uint64_t stamp, Code code, DatanodeId at_fault,
                        int64_t now_ns) {
  if (!streaming_ || fault_) return;
  if (stamp != stamp_) return;  // of a stream that is over
  last_sign_ns_ = now_ns;
  if (code != Code::kOk) {
    const bool known = std::find(members_.begin(), members_.end(), at_fault) != members_.end();
    Blame(known ? at_fault : members_.front(), code,
          "the chain reported " + std::string(CodeName(code)));
    return;
  }
  const uint64_t last_sent_seq = acked_ - base_ + sent_;
  if (seq > last_sent_seq) {
    Blame(members_.front(), Code::kProtocol, "acknowledged a packet that was not sent");
    return;
  }
  DropAcked(seq);
}

void ChainWriter::DropAcked(uint64_t seq) {
  while (!packets_.empty() && packets_.front().seq <= seq) {
    Packet& packet = packets_.front();
    if (packet.flags & kPacketSync) --syncs_sent_;
    sent_bytes_ -= packet.data.size();
    unacked_bytes_ -= packet.data.size();
    acked_length_ = std::max(acked_length_, packet.length);
    packets_.pop_front();
    --sent_;
    ++acked_;
  }
}

void ChainWriter::OnBroken(const Status& why) {
  if (!streaming_ || fault_) return;
  Blame(members_.front(), why.code(), "connection to the first member: " + why.message());
}

void ChainWriter::OnRefused(const Status& why) {
  if (!streaming_ || fault_) return;
  Blame(members_.front(), why.code(), "the first member refused: " + why.message());
}

void ChainWriter::OnTick(int64_t now_ns) {
  const int64_t deadline = deadline_ns();
  if (deadline == 0 || now_ns < deadline) return;
  Blame(members_.front(), Code::kTimedOut, "no acknowledgement in time");
}

int64_t ChainWriter::deadline_ns() const {
  if (!streaming_ || fault_ || sent_ == 0) return 0;
  return last_sign_ns_ + (syncs_sent_ > 0 ? limits_.sync_timeout_ns : limits_.ack_timeout_ns);
}

void ChainWriter::Blame(DatanodeId member, Code code, std::string why) {
  Fault fault;
  fault.fenced = code == Code::kStaleStamp;
  fault.member = member;
  fault.code = code;
  fault.why = std::move(why);
  fault_ = std::move(fault);
  streaming_ = false;
}

}  // namespace dfs::wire
